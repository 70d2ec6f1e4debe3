package directory

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/postern-mail/postern/internal/peertest"
	"github.com/postern-mail/postern/internal/store"
	"github.com/postern-mail/postern/mail"
	"github.com/postern-mail/postern/upstream"
)

// people gives the LDIF of n people: u0@example.org with another address at example.net, and so on.
func people(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "dn: cn=u%d,%s\nobjectClass: inetOrgPerson\nobjectClass: extensibleObject\nsn: x\nmail: U%d@example.org\nmailAlternateAddress: other%d@example.net\n\n",
			i, peertest.SlapdBase, i, i)
	}
	return b.String()
}

// settings are those for a slapd without TLS.
func settings(addr string) Settings {
	attributes := []string{"mail", "mailAlternateAddress", "proxyAddresses"}
	return Settings{
		URLs: []string{"ldap://" + addr}, Base: []string{peertest.SlapdBase}, Filter: DefaultFilter(attributes), Attributes: attributes,
		User: peertest.SlapdUser, Password: peertest.SlapdPassword, TLS: TLSNone,
		Refresh: time.Minute, Full: time.Hour, Timeout: time.Minute, Stale: 24 * time.Hour, Page: 400,
	}
}

func known(t *testing.T, d *Source, s string) upstream.Known {
	t.Helper()
	k, err := d.Lookup(t.Context(), parse(t, s))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func parse(t *testing.T, s string) mail.Address {
	t.Helper()
	a, err := mail.ParseAddress(s)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// read lets a source read once, and gives what Err says then.
func read(t *testing.T, d *Source, all bool) error {
	t.Helper()
	d.Read(t.Context(), all)
	return d.Err()
}

// TestPages: all of 5 000 entries are read page by page from a server that gives 500 at most, and none of a part of them is
// taken where it gives no pages. They serve from the disk after a start with the directory down.
func TestPages(t *testing.T) {
	p := peertest.StartSlapd(t, peertest.SlapdOptions{Entries: people(5000)})
	dir, s := t.TempDir(), settings(p.Addr)
	d := Open("test", store.OS, dir, s, Hooks{})
	if _, err := d.Lookup(t.Context(), mail.Address{}); !errors.Is(err, ErrNothing) || !errors.Is(d.Err(), ErrNothing) {
		t.Errorf("before: %v, %v", err, d.Err())
	}
	wide := s
	wide.Page = 2000 // more than the server gives: it ends the search
	d.Configure(wide)
	if err := read(t, d, true); err == nil || !strings.Contains(err.Error(), "Limit Exceeded") {
		t.Errorf("a list that the server cut: %v", err)
	}
	d.Configure(s)
	if err := read(t, d, true); err != nil {
		t.Fatal(err)
	}
	p.Stop()
	check := func(d *Source) {
		t.Helper()
		if n, at, ok := d.State(); n != 10_000 || !ok || time.Since(at) > time.Minute {
			t.Errorf("%d entries of %v", n, at)
		}
		for s, want := range map[string]upstream.Known{
			"u0@example.org": upstream.Yes, "U4999@EXAMPLE.org": upstream.Yes, "other2500@example.net": upstream.Yes,
			"u5000@example.org": upstream.No, "other1@example.org": upstream.No,
		} {
			if got := known(t, d, s); got != want {
				t.Errorf("%s: %v", s, got)
			}
		}
	}
	check(d)
	if err := read(t, d, true); err == nil || !strings.Contains(err.Error(), "refused") {
		t.Errorf("directory down: %v", err)
	}
	check(d)
	after := Open("test", store.OS, dir, s, Hooks{})
	if err := after.Err(); err != nil {
		t.Error(err)
	}
	check(after)
	if err := read(t, after, true); err == nil {
		t.Error("the directory is down, and nothing is told of it")
	}
	check(after)
}

// TestChanges: what is new is found by an incremental read, what is gone by a full one.
func TestChanges(t *testing.T) {
	p := peertest.StartSlapd(t, peertest.SlapdOptions{Entries: people(20)})
	d := Open("test", store.OS, t.TempDir(), settings(p.Addr), Hooks{})
	if err := read(t, d, true); err != nil {
		t.Fatal(err)
	}
	if d.mark.none() {
		t.Fatal("no mark")
	}
	p.Change(t, "dn: cn=new,"+peertest.SlapdBase+"\nchangetype: add\nobjectClass: inetOrgPerson\nsn: x\nmail: new@example.org\n")
	p.Delete(t, "cn=u1")
	for _, c := range []struct {
		what         string
		all          bool
		newOne, gone upstream.Known
	}{{"incremental", false, upstream.Yes, upstream.Yes}, {"full", true, upstream.Yes, upstream.No}} {
		if err := read(t, d, c.all); err != nil {
			t.Fatal(err)
		}
		if a, b := known(t, d, "new@example.org"), known(t, d, "u1@example.org"); a != c.newOne || b != c.gone {
			t.Errorf("%s: the new one %v, the one that is gone %v", c.what, a, b)
		}
	}
}

// TestActiveDirectory: numbers of changes, proxyAddresses with their kinds, contacts and groups, disabled accounts by a filter.
func TestActiveDirectory(t *testing.T) {
	entry := func(name string, lines ...string) string {
		return "dn: cn=" + name + "," + peertest.SlapdBase + "\nobjectClass: inetOrgPerson\nobjectClass: extensibleObject\nsn: x\n" + strings.Join(lines, "\n") + "\n\n"
	}
	p := peertest.StartSlapd(t, peertest.SlapdOptions{
		RootDSE: "dsServiceName: CN=NTDS Settings,CN=DC1\nhighestCommittedUSN: 200",
		Entries: entry("bob", "userAccountControl: 512", "proxyAddresses: SMTP:Bob@example.org", "proxyAddresses: smtp:b.other@example.net",
			"proxyAddresses: X500:/o=Org/ou=x/cn=bob", "proxyAddresses: sip:sip.bob@example.org", "proxyAddresses: smtp:not an address",
			"userPrincipalName: bob@corp.example", "uSNChanged: 150") +
			entry("gone", "userAccountControl: 514", "proxyAddresses: SMTP:gone@example.org", "uSNChanged: 150") +
			entry("shared", "userAccountControl: 514", "proxyAddresses: smtp:shared@example.org", "mail: primary@example.org", "uSNChanged: 150") +
			entry("contact", "proxyAddresses: smtp:contact@example.org", "uSNChanged: 200") +
			entry("folder", "proxyAddresses: smtp:@wild.example", "uSNChanged: 100"),
	})
	s := settings(p.Addr)
	s.Attributes = []string{"proxyAddresses", "mail"}
	s.Filter = "(&(proxyAddresses=*)(!(userAccountControl:1.2.840.113556.1.4.803:=2)))"
	var taken []Taken
	d := Open("test", store.OS, t.TempDir(), s, Hooks{Taken: func(t Taken) { taken = append(taken, t) }})
	if err := read(t, d, true); err != nil {
		t.Fatal(err)
	}
	for s, want := range map[string]upstream.Known{
		"bob@example.org": upstream.Yes, "b.other@example.net": upstream.Yes, "sip.bob@example.org": upstream.No, "bob@corp.example": upstream.No,
		"gone@example.org": upstream.No, "primary@example.org": upstream.No, "contact@example.org": upstream.Yes, "any@wild.example": upstream.Yes,
	} {
		if got := known(t, d, s); got != want {
			t.Errorf("%s: %v", s, got)
		}
	}
	if len(taken) != 1 || taken[0].Mailboxes != 4 || taken[0].Skipped != 1 {
		t.Errorf("taken: %+v", taken)
	}
	if want := (mark{server: "CN=NTDS Settings,CN=DC1", usn: 200}); d.mark != want {
		t.Errorf("mark %+v", d.mark)
	}
	// A change that is numbered after the mark is found, one that is not waits for the next full read.
	p.Change(t, strings.ReplaceAll(entry("late", "proxyAddresses: smtp:late@example.org", "uSNChanged: 201")+
		entry("old", "proxyAddresses: smtp:old@example.org", "uSNChanged: 200"), "\nobjectClass: inetOrg", "\nchangetype: add\nobjectClass: inetOrg"))
	if err := read(t, d, false); err != nil {
		t.Fatal(err)
	}
	if a, b := known(t, d, "late@example.org"), known(t, d, "old@example.org"); a != upstream.Yes || b != upstream.No {
		t.Errorf("late %v, old %v", a, b)
	}
	// Numbers of another server mean nothing: everything is read.
	d.mark.server = "CN=NTDS Settings,CN=DC2"
	if err := read(t, d, false); err != nil || known(t, d, "old@example.org") != upstream.Yes {
		t.Errorf("another server: %v", err)
	}
}

// TestShrunk: a directory that has lost many entries, or all of them, changes nothing, until an administrator says that it is right;
// his word holds for the one list.
func TestShrunk(t *testing.T) {
	p := peertest.StartSlapd(t, peertest.SlapdOptions{Entries: people(10)})
	dir, s := t.TempDir(), settings(p.Addr)
	var told []string
	report := Hooks{Report: func(err error) { told = append(told, fmt.Sprint(err)) }}
	d := Open("test", store.OS, dir, s, report)
	if err := read(t, d, true); err != nil {
		t.Fatal(err)
	}
	check := func(what string, entries int, fault string) {
		t.Helper()
		err := read(t, d, false)
		if n, _, _ := d.State(); n != entries || fault == "" && err != nil || fault != "" && (err == nil || !strings.Contains(err.Error(), fault)) {
			t.Errorf("%s: %d entries, %v", what, n, err)
		}
	}
	p.Delete(t, "cn=u0", "cn=u1")
	d.full = time.Time{}
	check("20 % fewer", 16, "")
	p.Delete(t, "cn=u2", "cn=u3")
	d.full = time.Time{}
	word := d.word()
	check("25 % fewer", 16, "12 entries, 16 are in force: over 20 % fewer; if that is right: touch "+word)
	// It survives a start.
	d = Open("test", store.OS, dir, s, report)
	check("after a start", 16, "12 entries, 16 are in force")
	touch := func(at time.Time) {
		t.Helper()
		if err := errors.Join(os.WriteFile(word, nil, 0o600), os.Chtimes(word, at, at)); err != nil {
			t.Fatal(err)
		}
	}
	touch(time.Now().Add(-time.Hour))
	check("a word of before", 16, "12 entries")
	touch(time.Now().Add(time.Second))
	p.Delete(t, "cn=u4")
	time.Sleep(1100 * time.Millisecond) // the word is older than what is found now
	check("a word about another list", 16, "10 entries, 16 are in force")
	touch(time.Now().Add(time.Second))
	d.takeOnWord()
	if err := d.Err(); err != nil {
		t.Error(err)
	}
	check("a word", 10, "")
	if left, _ := filepath.Glob(filepath.Join(dir, "*.found")); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
	for i := 5; i < 10; i++ {
		p.Delete(t, fmt.Sprintf("cn=u%d", i))
	}
	d.full = time.Time{}
	check("empty", 10, "no address in it")
	touch(time.Now().Add(time.Minute))
	check("empty, and a word", 10, "no address in it")
	if after := Open("test", store.OS, dir, s, Hooks{}); after.Err() != nil || known(t, after, "u9@example.org") != upstream.Yes {
		t.Errorf("after a start: %v", after.Err())
	}
	if last := told[len(told)-1]; !strings.Contains(last, "no address") || len(told) < 4 {
		t.Errorf("told: %q", told)
	}
}

// TestServers: faults of one server are no matter where another answers; a wrong password is tried once.
func TestServers(t *testing.T) {
	p := peertest.StartSlapd(t, peertest.SlapdOptions{Entries: people(3)})
	hole := blackHole(t)
	s := settings(p.Addr)
	s.Timeout = 2 * time.Second // also for the one that answers
	s.URLs = []string{"ldap://" + peertest.FreeAddr(t), "ldap://" + hole, "ldap://" + p.Addr}
	d := Open("test", store.OS, t.TempDir(), s, Hooks{})
	began := time.Now()
	if err := read(t, d, true); err != nil {
		t.Error(err)
	}
	if took := time.Since(began); took > 30*time.Second { // without an end of its own it would take for ever
		t.Errorf("took %v", took)
	}
	s.Timeout = time.Minute
	if n, _, _ := d.State(); n != 6 {
		t.Errorf("%d entries", n)
	}
	// So is one that has lost its entries.
	empty := peertest.StartSlapd(t, peertest.SlapdOptions{})
	few := peertest.StartSlapd(t, peertest.SlapdOptions{Entries: people(1)})
	s.URLs = []string{"ldap://" + empty.Addr, "ldap://" + few.Addr, "ldap://" + p.Addr}
	dir := t.TempDir()
	d = Open("test", store.OS, dir, s, Hooks{})
	if err := d.save(mailboxes("u0@example.org", "u1@example.org", "u2@example.org", "other0@example.net", "other1@example.net", "other2@example.net"), time.Now()); err != nil {
		t.Fatal(err)
	}
	d = Open("test", store.OS, dir, s, Hooks{})
	if err := read(t, d, true); err != nil || d.last != s.URLs[2] {
		t.Errorf("read from %s: %v", d.last, err)
	}
	s.Password = "wrong and secret"
	s.URLs = []string{"ldap://" + p.Addr, "ldap://" + p.Addr}
	d = Open("test", store.OS, t.TempDir(), s, Hooks{})
	err := read(t, d, true)
	if err == nil || strings.Count(err.Error(), "Invalid Credentials") != 1 || strings.Contains(err.Error(), "secret") {
		t.Errorf("wrong password: %v", err)
	}
	s.URLs, s.Password = []string{"ldap://" + hole}, "x"
	d = Open("test", store.OS, t.TempDir(), s, Hooks{})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	s.Timeout = time.Hour
	d.Configure(s)
	go func() { d.Run(ctx); close(ended) }()
	time.Sleep(50 * time.Millisecond)
	cancel()
	select {
	case <-ended:
	case <-time.After(time.Minute):
		t.Error("a server that says nothing keeps the source from its end")
	}
}

// blackHole accepts connections and never answers.
func blackHole(t *testing.T) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { c.Close() })
		}
	}()
	return l.Addr().String()
}
