package app

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/postern-mail/postern/internal/peertest"
)

// people gives the LDIF of n people, u0@example.org and so on.
func people(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "dn: cn=u%d,%s\nobjectClass: inetOrgPerson\nsn: x\nmail: U%d@example.org\n\n", i, peertest.SlapdBase, i)
	}
	return b.String()
}

// askingGateway is the configuration of a gateway whose first route asks a directory.
type askingGateway struct {
	dir, url, ca, more string
	timeout            string // "": more than a directory needs on a machine under load
}

func (c askingGateway) text() string {
	ca := ""
	if c.ca != "" {
		ca = fmt.Sprintf("ca_file: %q, ", c.ca)
	}
	return fmt.Sprintf(`hostname: mx.example.org
listeners: {public: {address: "127.0.0.1:0", early_talkers: 0s, limits: {errors: 1000, rate: 100000}}}
routes:
  - to: [example.org, example.net]
    upstream: local
    recipients: {verify: ldap, url: [%s], base: %q, bind: {user: %q, password_file: "%s/password"}, %stimeout: %s, %s}
  - {to: [other.example], upstream: local}
upstreams: {local: {maildir: "%s/mail"}}
state: {directory: "%s/state"}
filters: []
big_senders: []
`, c.url, peertest.SlapdBase, peertest.SlapdUser, c.dir, ca, cmp.Or(c.timeout, "30s"), c.more, c.dir, c.dir)
}

// password writes the password for the directory.
func (c askingGateway) password(t *testing.T, password string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(c.dir, "password"), []byte(password+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
}

// until waits until the directory of a gateway is in a state: whether what it says is taken, and how many mailboxes are known.
func (g *testGateway) until(t *testing.T, taken bool, entries int) {
	t.Helper()
	if !comesTrue(func() bool {
		s := g.relays.asked.states()
		return len(s) == 1 && s[0].Taken == taken && s[0].Entries == entries
	}) {
		t.Fatalf("the directory is %+v", g.relays.asked.states())
	}
}

// notTaken waits until the log has told at least n times that a list is not taken, and gives these lines: they come after the state.
func (g *testGateway) notTaken(t *testing.T, n int) (all []map[string]any) {
	t.Helper()
	if !comesTrue(func() bool {
		all = g.log.lines(t, "recipients can't be taken from the directory: what was read before is in force")
		return len(all) >= n
	}) {
		t.Fatalf("told %d times", len(all))
	}
	return all
}

// ask names recipients to a gateway, and gives the codes of its replies. None may wait for a directory: twenty of them that did would
// take twenty times the second that one which says nothing has.
func (g *testGateway) ask(t *testing.T, recipients ...string) string {
	t.Helper()
	lines := []string{"MAIL FROM:<ann@client.test>"}
	for _, r := range recipients {
		lines = append(lines, "RCPT TO:<"+r+">")
	}
	began := time.Now()
	got := dialog(t, g.addr, "127.0.0.1", lines...)
	if took := time.Since(began); took > 15*time.Second {
		t.Errorf("%d recipients took %v", len(recipients), took)
	}
	return strings.TrimPrefix(codes(got), "250 ")
}

// TestDirectory: recipients are known by a real directory, with TLS, in any case, with delimiters and aliases; where there is no
// such mailbox the client is told so; the metrics and the log tell of it, and no password.
func TestDirectory(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cert, key := writeCertificate(t, dir, "localhost")
	p := peertest.StartSlapd(t, peertest.SlapdOptions{Entries: people(1200), CertFile: cert, KeyFile: key})
	c := askingGateway{dir: dir, url: "ldaps://" + p.Secure, ca: cert, more: `recipient_delimiter: "+", domain_aliases: {example.net: example.org}`}
	c.password(t, peertest.SlapdPassword)
	g := startGateway(t, c.text())
	g.until(t, true, 1200)
	if got := g.ask(t, "u0@example.org", "U1199@Example.ORG", "u5+tag@example.org", "u7@example.net", "u8+x@example.net", "postmaster@example.org",
		"u1200@example.org", "nobody+tag@example.org", "nobody@example.net", `"u0@foreign.test"@example.org`, "u0%foreign.test@example.org"); got != "250 250 250 250 250 452 550 550 550 550 550" {
		t.Errorf("got %s", got)
	}
	for series, want := range map[string]string{
		`postern_recipient_snapshot_entries{source="ldap:example.org"}`:              "1200",
		`postern_recipient_snapshot_last_read_successful{source="ldap:example.org"}`: "1",
		`postern_recipients_total{result="unknown",source="ldap"}`:                   "5",
		`postern_recipients_total{result="accepted",source="ldap"}`:                  "5",
	} {
		if got := g.metric(t, series); got != want {
			t.Errorf("%s is %s, not %s", series, got, want)
		}
	}
	if age := g.metric(t, `postern_recipient_snapshot_age_seconds{source="ldap:example.org"}`); age == "absent" {
		t.Error("no age")
	}
	// A reload takes what is there now; another filter is another question, to which the old list answers until there is a new one.
	p.Change(t, "dn: cn=new,"+peertest.SlapdBase+"\nchangetype: add\nobjectClass: inetOrgPerson\nsn: x\nmail: new@example.org\n")
	g.reload(t.Context())
	g.until(t, true, 1201)
	p.Change(t, "dn: cn=newer,"+peertest.SlapdBase+"\nchangetype: add\nobjectClass: inetOrgPerson\nsn: x\nmail: newer@example.org\n")
	if err := g.app.Flush(t.Context(), []string{"newer@example.org"}); err != nil {
		t.Error(err)
	}
	g.until(t, true, 1202)
	c.more = `filter: "(&(mail=*)(!(cn=u11*)))"`
	g.take(t, c.text())
	if got := g.ask(t, "u1@example.org"); got != "250" {
		t.Errorf("with another filter: %s", got)
	}
	g.until(t, true, 1091)
	if got := g.ask(t, "u1@example.org", "u11@example.org"); got != "250 550" {
		t.Errorf("with another filter: %s", got)
	}
	// Where many are gone the log has the command that takes the list, and nothing else is needed.
	var gone []string
	for i := 800; i < 1100; i++ {
		gone = append(gone, fmt.Sprintf("cn=u%d", i))
	}
	p.Delete(t, gone...)
	g.reload(t.Context())
	g.until(t, false, 1091)
	told := fmt.Sprint(g.notTaken(t, 1)[0]["error"])
	_, word, _ := strings.Cut(told, "791 entries, 1091 are in force: over 20 % fewer; if that is right: touch ")
	if err := os.WriteFile(word, nil, 0o600); err != nil {
		t.Errorf("%v, by %q", err, told)
	}
	g.until(t, true, 791)
	if got := g.ask(t, "u1000@example.org", "u700@example.org"); got != "550 250" {
		t.Errorf("after the word: %s", got)
	}
	if log := g.log.String(); strings.Contains(log, peertest.SlapdPassword) || !strings.Contains(log, "recipients read from the directory") {
		t.Error("the log lacks the reading, or has the password")
	}
}

// TestBrokenDirectory breaks the directory in every way that there is: whoever is known is never refused with a 5yz, by a gateway that runs or
// one that starts, no reply waits for it, and other mail is unharmed.
func TestBrokenDirectory(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cert, key := writeCertificate(t, dir, "localhost")
	other := filepath.Join(dir, "other")
	if err := os.Mkdir(other, 0o700); err != nil {
		t.Fatal(err)
	}
	wrong, _ := writeCertificate(t, other, "localhost")
	p := peertest.StartSlapd(t, peertest.SlapdOptions{Entries: people(20), CertFile: cert, KeyFile: key})
	hole, err := net.Listen("tcp", "127.0.0.1:0") // nobody accepts, and the kernel lets them wait
	if err != nil {
		t.Fatal(err)
	}
	defer hole.Close()
	c := askingGateway{dir: dir, url: "ldaps://" + p.Secure, ca: cert}
	c.password(t, peertest.SlapdPassword)
	g := startGateway(t, c.text())
	g.until(t, true, 20)
	all := make([]string, 20)
	for i := range all {
		all[i] = fmt.Sprintf("u%d@example.org", i)
	}
	refused := 0
	check := func(what string) {
		t.Helper()
		got := g.ask(t, append(all, "anybody@other.example")...)
		refused += strings.Count(" "+got, " 5")
		if want := strings.Repeat(" 250", 21)[1:]; got != want {
			t.Errorf("%s: %s", what, got)
		}
		if got := g.ask(t, "nobody@example.org"); got != "550" {
			t.Errorf("%s: nobody: %s", what, got)
		}
	}
	check("whole")
	mended := func() {
		t.Helper()
		c.url, c.ca, c.timeout = "ldaps://"+p.Secure, cert, ""
		c.password(t, peertest.SlapdPassword)
		g.take(t, c.text())
		g.until(t, true, 20)
	}
	for _, fault := range []struct {
		name   string
		breaks func()
	}{
		{"wrong password", func() { c.password(t, "not this one") }},
		{"wrong authority", func() { c.ca = wrong }},
		{"a server that says nothing", func() { c.url, c.timeout = "ldaps://"+hole.Addr().String(), "1s" }},
		{"nobody there", func() { c.url = "ldaps://" + peertest.FreeAddr(t) }},
	} {
		fault.breaks()
		g.take(t, c.text())
		g.until(t, false, 20)
		check(fault.name)
		mended()
	}
	p.Stop()
	g.reload(t.Context())
	g.until(t, false, 20)
	check("down")
	g.restart(t)
	g.until(t, false, 20)
	check("down at the start")
	p.Start()
	mended()
	p.Delete(t, "cn=u0", "cn=u1", "cn=u2", "cn=u3", "cn=u4")
	g.reload(t.Context())
	g.until(t, false, 20)
	check("shrunk")
	for i := 5; i < 20; i++ {
		p.Delete(t, fmt.Sprintf("cn=u%d", i))
	}
	g.reload(t.Context())
	time.Sleep(200 * time.Millisecond)
	g.until(t, false, 20)
	check("empty")
	if refused > 0 {
		t.Errorf("%d known recipients were refused", refused)
	}
	g.notTaken(t, 6)
}

// TestNoDirectoryYet: without a snapshot, and with the directory down, recipients are put off, and other mail is unharmed.
func TestNoDirectoryYet(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := peertest.StartSlapd(t, peertest.SlapdOptions{Entries: people(3)})
	p.Stop()
	c := askingGateway{dir: dir, url: "ldap://" + p.Addr, more: "tls: none"}
	c.password(t, peertest.SlapdPassword)
	g := startGateway(t, c.text())
	got := dialog(t, g.addr, "127.0.0.1", "MAIL FROM:<ann@client.test>", "RCPT TO:<u0@example.org>", "RCPT TO:<nobody@example.org>", "RCPT TO:<a@other.example>")
	if codes(got) != "250 451 451 250" || !strings.HasPrefix(got[1], "451 4.4.3 ") {
		t.Errorf("got %q", got)
	}
	if n := g.metric(t, `postern_recipients_total{result="deferred",source="ldap"}`); n != "2" {
		t.Errorf("deferred: %s", n)
	}
	p.Start()
	g.until(t, true, 3) // by itself
	if got := g.ask(t, "u0@example.org", "nobody@example.org"); got != "250 550" {
		t.Errorf("with the directory: %s", got)
	}
}

// TestRouteWithDirectory: the command answers from the snapshot, and asks no directory.
func TestRouteWithDirectory(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := peertest.StartSlapd(t, peertest.SlapdOptions{Entries: people(3)})
	c := askingGateway{dir: dir, url: "ldap://" + p.Addr, more: `tls: none, recipient_delimiter: "+"`}
	c.password(t, peertest.SlapdPassword)
	g := startGateway(t, c.text())
	g.until(t, true, 3)
	g.close()
	p.Stop()
	var out lockedBuffer
	ask := func(address string) (a routeAnswer) {
		t.Helper()
		app, err := New(Options{Config: g.app.o.Config, ConfigGiven: true, Stdin: strings.NewReader(""), Stdout: &out, Stderr: &out})
		if err != nil {
			t.Fatal(err)
		}
		before := len(out.String())
		if err := app.Route(t.Context(), RouteOptions{Addresses: []string{address}, JSON: true}); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal([]byte(out.String()[before:]), &a); err != nil {
			t.Fatal(err)
		}
		return a
	}
	for address, want := range map[string]struct {
		known string
		code  int
	}{"u1@example.org": {"yes", 250}, "U2+x@example.org": {"yes", 250}, "nobody@example.org": {"no", 550}} {
		if a := ask(address); a.Known != want.known || a.Code != want.code || !strings.HasPrefix(a.Source, "ldap ldap://"+p.Addr+"; 3 entries, read 2") {
			t.Errorf("%s: %+v", address, a)
		}
	}
	files, _ := filepath.Glob(filepath.Join(dir, "state", "recipients", "*.list"))
	if len(files) != 1 {
		t.Fatalf("snapshots: %v", files)
	}
	if err := os.WriteFile(files[0], []byte("postern recipients 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if a := ask("u1@example.org"); a.Known != "can not tell" || a.Code != 451 || !strings.Contains(a.Error, "damaged") {
		t.Errorf("damaged: %+v", a)
	}
	if err := os.Remove(files[0]); err != nil {
		t.Fatal(err)
	}
	if a := ask("u1@example.org"); a.Code != 451 || !strings.Contains(a.Error, "nothing was read yet") {
		t.Errorf("none: %+v", a)
	}
}

// TestAlikeDirectories: two routes that ask the same share a source, and must reach it alike. No directory is asked for that.
func TestAlikeDirectories(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "c.yaml")
	for second, fault := range map[string]string{
		"refresh: 5m":                                "",
		"refresh: 10m":                               "c.yaml:5:53: the route a.example asks the same of the same servers",
		"page: 7, filter: (mail=*)":                  "",
		"refresh: 10m, attributes: [mail]":           "",
		"refresh: 10m, url: [\"ldaps://192.0.2.2\"]": "", // two directories of one form
	} {
		if !strings.Contains(second, "url:") {
			second += `, url: "ldaps://192.0.2.1"`
		}
		text := fmt.Sprintf(`hostname: mx.example.org
listeners: {public: {address: ":25"}}
routes:
  - {to: [a.example], upstream: local, recipients: {verify: ldap, url: "ldaps://192.0.2.1", base: dc=x}}
  - {to: [b.example], upstream: local, recipients: {verify: ldap, base: dc=x, %s}}
upstreams: {local: {maildir: %q}}
state: {directory: %q}
`, second, filepath.Join(dir, "mail"), filepath.Join(dir, "state"))
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		var out lockedBuffer
		a, err := New(Options{Config: file, ConfigGiven: true, Stdin: strings.NewReader(""), Stdout: &out, Stderr: &out})
		if err != nil {
			t.Fatal(err)
		}
		switch err := a.Check(); {
		case fault == "" && err != nil:
			t.Errorf("%s: %v", second, err)
		case fault != "" && (err == nil || !strings.Contains(err.Error(), strings.SplitN(fault, ": ", 2)[1])):
			t.Errorf("%s: %v", second, err)
		}
		if _, err := os.Stat(filepath.Join(dir, "state")); err == nil {
			t.Error("check made a folder")
		}
	}
}
