package directory

import (
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	ber "github.com/go-asn1-ber/asn1-ber"

	"github.com/postern-mail/postern/internal/peertest"
	"github.com/postern-mail/postern/internal/store"
	"github.com/postern-mail/postern/upstream"
)

func TestAddress(t *testing.T) {
	for value, want := range map[string]struct {
		entry  string
		should bool
	}{
		"bob@example.org":            {"bob@example.org", true},
		" Bob@Example.ORG ":          {"bob@example.org", true},
		"SMTP:Bob@example.org":       {"bob@example.org", true},
		"smtp:b@xn--bcher-kva.test":  {"b@xn--bcher-kva.test", true},
		"b@bücher.test":              {"b@xn--bcher-kva.test", true},
		"Smtp:@wild.test":            {"@wild.test", true},
		"@wild.test":                 {"@wild.test", true},
		`"a:b"@example.org`:          {"a:b@example.org", true},
		"müller@example.org":         {"müller@example.org", true},
		"X500:/o=Org/ou=x":           {"", false},
		"x400:c=DE;a= ;p=Org;s=Bob;": {"", false},
		"sip:bob@example.org":        {"", false},
		"SPO:SPO_1@SPO_2":            {"", false},
		"smtp:":                      {"", true},
		"smtp:bob":                   {"", true},
		"bob":                        {"", true},
		"postmaster":                 {"", true},
		`""@example.org`:             {"", true},
		"a@b@example.org":            {"", true},
		"bob@example.org\x00":        {"", true},
		"":                           {"", true},
	} {
		if entry, should := Address(value); entry != want.entry || should != want.should {
			t.Errorf("%q: %q, %v", value, entry, should)
		}
	}
}

// FuzzAddress: whatever a directory holds makes an entry that can stand in a snapshot, or none.
func FuzzAddress(f *testing.F) {
	for _, s := range []string{"SMTP:Bob@example.org", "x500:/o=Org", "@wild.test", `smtp:"a b"@c.test`, "sip:", "\"\n\"@b.test"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, value string) {
		entry, should := Address(value)
		if entry == "" {
			return
		}
		if !should || strings.ContainsAny(entry, "\r\n\x00") || !strings.Contains(entry, "@") || len(entry) >= maxLine {
			t.Errorf("%q: %q, %v", value, entry, should)
		}
	})
}

func TestRangeEnd(t *testing.T) {
	for options, want := range map[string]struct {
		last int
		more bool
	}{
		"": {0, false}, "binary": {0, false}, "range=0-1499": {1499, true}, "binary;Range=1500-2999": {2999, true},
		"range=3000-*": {0, false}, "range=": {0, false}, "range=0--1": {0, false}, "range=0-99999999": {0, false},
	} {
		if last, more := rangeEnd(options); more != want.more || more && last != want.last {
			t.Errorf("%q: %d, %v", options, last, more)
		}
	}
}

func TestMarkCondition(t *testing.T) {
	at := time.Date(2026, 11, 26, 0, 5, 0, 0, time.UTC)
	for want, m := range map[string]mark{
		"(&(mail=*)(uSNChanged>=43))":                   {usn: 42},
		"(&(mail=*)(modifyTimestamp>=20261125235500Z))": {since: at},
	} {
		if got := m.condition("(mail=*)"); got != want || CheckFilter(got) != nil {
			t.Errorf("%s", got)
		}
	}
}

// serve plays a server: answer gives the operations with which each search is answered, by the attributes that it asks for.
func serve(t *testing.T, answer func(attributes []string, conn net.Conn) []*ber.Packet) (addr string) {
	t.Helper()
	return peertest.Serve(t, func(c net.Conn) {
		for {
			p, err := ber.ReadPacket(c)
			if err != nil || len(p.Children) < 2 {
				return
			}
			var all []*ber.Packet
			switch op := p.Children[1]; op.Tag {
			case 0:
				all = []*ber.Packet{done(1, 0)}
			case 3:
				var attributes []string
				for _, a := range op.Children[7].Children {
					attributes = append(attributes, a.Value.(string))
				}
				if attributes[0] == "highestCommittedUSN" {
					all = []*ber.Packet{done(5, 0)}
				} else {
					all = answer(attributes, c)
				}
			default:
				return
			}
			for _, o := range all {
				m := ber.NewSequence("")
				m.AppendChild(ber.NewInteger(ber.ClassUniversal, ber.TypePrimitive, ber.TagInteger, p.Children[0].Value, ""))
				m.AppendChild(o)
				if _, err := c.Write(m.Bytes()); err != nil {
					return
				}
			}
		}
	})
}

// done makes the end of an operation.
func done(tag ber.Tag, code int64) *ber.Packet {
	p := ber.Encode(ber.ClassApplication, ber.TypeConstructed, tag, nil, "")
	p.AppendChild(ber.NewInteger(ber.ClassUniversal, ber.TypePrimitive, ber.TagEnumerated, code, ""))
	for range 2 {
		p.AppendChild(ber.NewString(ber.ClassUniversal, ber.TypePrimitive, ber.TagOctetString, "", ""))
	}
	return p
}

// one makes an entry with one attribute.
func one(name string, values ...string) *ber.Packet {
	p := ber.Encode(ber.ClassApplication, ber.TypeConstructed, 4, nil, "")
	p.AppendChild(ber.NewString(ber.ClassUniversal, ber.TypePrimitive, ber.TagOctetString, "cn=x", ""))
	all, a := ber.NewSequence(""), ber.NewSequence("")
	a.AppendChild(ber.NewString(ber.ClassUniversal, ber.TypePrimitive, ber.TagOctetString, name, ""))
	set := ber.Encode(ber.ClassUniversal, ber.TypeConstructed, ber.TagSet, nil, "")
	for _, v := range values {
		set.AppendChild(ber.NewString(ber.ClassUniversal, ber.TypePrimitive, ber.TagOctetString, v, ""))
	}
	a.AppendChild(set)
	all.AppendChild(a)
	p.AppendChild(all)
	return p
}

// TestAwkwardServers: what a server must not do, or rarely does, loses no mailbox and takes no part of a list.
func TestAwkwardServers(t *testing.T) {
	for what, c := range map[string]struct {
		answer func(attributes []string, conn net.Conn) []*ber.Packet
		known  string
		fault  string
	}{
		"many values": {func(a []string, _ net.Conn) []*ber.Packet {
			switch a[0] {
			case "proxyAddresses;range=2-*":
				return []*ber.Packet{one("proxyAddresses;range=2-2", "smtp:c@example.org"), done(5, 0)}
			case "proxyAddresses;range=3-*":
				return []*ber.Packet{one("proxyAddresses;range=3-*", "smtp:d@example.org"), done(5, 0)}
			}
			return []*ber.Packet{one("proxyAddresses;range=0-1", "smtp:a@example.org", "smtp:b@example.org"), done(5, 0)}
		}, "a b c d", ""},
		"values in circles": {func([]string, net.Conn) []*ber.Packet {
			return []*ber.Packet{one("proxyAddresses;range=0-1", "smtp:a@example.org"), done(5, 0)}
		}, "", "round in circles"},
		"names in other cases": {func([]string, net.Conn) []*ber.Packet {
			return []*ber.Packet{one("PROXYADDRESSES", "a@example.org"), done(5, 0)}
		}, "a", ""},
		"a limit": {func([]string, net.Conn) []*ber.Packet { return []*ber.Packet{one("mail", "a@example.org"), done(5, 4)} }, "", "Size Limit Exceeded"},
		"a referral": {func([]string, net.Conn) []*ber.Packet {
			return []*ber.Packet{one("mail", "a@example.org"), done(5, 10)}
		}, "", "Referral"},
		"silence in the middle": {func([]string, net.Conn) []*ber.Packet { return []*ber.Packet{one("mail", "a@example.org")} }, "", "timed out"},
		"closed":                {func(_ []string, c net.Conn) []*ber.Packet { c.Close(); return nil }, "", "unable to read"},
		"an enormous message": {func(_ []string, c net.Conn) []*ber.Packet {
			_, _ = c.Write([]byte{0x30, 0x84, 0x7f, 0xff, 0xff, 0xff})
			return nil
		}, "", "greater than maximum"},
		"noise": {func(_ []string, c net.Conn) []*ber.Packet {
			_, _ = io.WriteString(c, strings.Repeat("noise", 1000))
			return nil
		}, "", "127.0.0.1"},
		"an empty list": {func([]string, net.Conn) []*ber.Packet { return []*ber.Packet{done(5, 0)} }, "", "no address in it"},
	} {
		t.Run(what, func(t *testing.T) {
			s := settings(serve(t, c.answer))
			if strings.HasPrefix(what, "silence") {
				s.Timeout = 500 * time.Millisecond
			}
			d := Open("test", store.OS, t.TempDir(), s, Hooks{})
			err := read(t, d, true)
			if c.fault != "" {
				if err == nil || !strings.Contains(err.Error(), c.fault) {
					t.Errorf("%v, not %q", err, c.fault)
				}
				if n, _, ok := d.State(); ok {
					t.Errorf("%d entries were taken", n)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			for name := range strings.FieldsSeq(c.known) {
				if known(t, d, name+"@example.org") != upstream.Yes {
					t.Errorf("%s is not known", name)
				}
			}
		})
	}
}

// TestRefusedLogin: a password that is refused is tried once in a read, and not again for an hour: accounts are locked for that.
func TestRefusedLogin(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var logins atomic.Int32
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				p, err := ber.ReadPacket(c)
				if err != nil {
					return
				}
				logins.Add(1)
				m := ber.NewSequence("")
				m.AppendChild(ber.NewInteger(ber.ClassUniversal, ber.TypePrimitive, ber.TagInteger, p.Children[0].Value, ""))
				m.AppendChild(done(1, 49))
				_, _ = c.Write(m.Bytes())
				_, _ = ber.ReadPacket(c)
			}()
		}
	}()
	s := settings(l.Addr().String())
	for what, full := range map[string]bool{"everything": true, "what changed": false} {
		d := Open("test", store.OS, t.TempDir(), s, Hooks{})
		d.inForce.Store(&inForce{list: mailboxes("a@b.test"), at: time.Now(), own: true})
		d.last, d.mark, d.full = s.URLs[0], mark{since: time.Now()}, time.Now()
		for range 3 {
			logins.Store(0)
			pause := d.Read(t.Context(), full)
			if n := logins.Load(); n != 1 || pause < refusedPause*9/10 || d.Err() == nil || !strings.Contains(d.Err().Error(), "Invalid Credentials") {
				t.Errorf("%s: %d logins, the next one after %v: %v", what, n, pause, d.Err())
			}
		}
	}
}

// TestReferences: what another server has is told of, but not the partitions without mailboxes of which every domain controller speaks.
func TestReferences(t *testing.T) {
	for _, c := range []struct {
		refs []string
		want string
	}{
		{nil, ""},
		{[]string{"ldap://DomainDnsZones.corp.example/DC=DomainDnsZones,DC=corp,DC=example", "ldap://corp.example/CN=Configuration,DC=corp,DC=example"}, ""},
		{[]string{"ldap://ForestDnsZones.corp.example/DC=ForestDnsZones,DC=corp,DC=example", "ldap://child.corp.example/DC=child,DC=corp,DC=example"}, "ldap://child.corp.example/DC=child,DC=corp,DC=example"},
	} {
		addr := serve(t, func([]string, net.Conn) []*ber.Packet {
			all := []*ber.Packet{one("mail", "a@example.org")}
			for _, ref := range c.refs {
				p := ber.Encode(ber.ClassApplication, ber.TypeConstructed, 19, nil, "")
				p.AppendChild(ber.NewString(ber.ClassUniversal, ber.TypePrimitive, ber.TagOctetString, ref, ""))
				all = append(all, p)
			}
			return append(all, done(5, 0))
		})
		var taken []Taken
		d := Open("test", store.OS, t.TempDir(), settings(addr), Hooks{Taken: func(t Taken) { taken = append(taken, t) }})
		if err := read(t, d, true); err != nil || len(taken) != 1 || taken[0].Others != c.want || taken[0].Mailboxes != 1 {
			t.Errorf("%q: %v, %+v", c.refs, err, taken)
		}
	}
}

// TestPanic: what panics while the directory is read is an error of that read, and the list of before serves on.
func TestPanic(t *testing.T) {
	d := Open("test", panicking{store.OS}, t.TempDir(), settings(serve(t, func([]string, net.Conn) []*ber.Packet {
		return []*ber.Packet{one("mail", "a@example.org"), done(5, 0)}
	})), Hooks{})
	for range 2 {
		if err := read(t, d, true); err == nil || !strings.Contains(err.Error(), "panicked: no disk") || known(t, d, "a@example.org") != upstream.Yes {
			t.Errorf("%v", err)
		}
	}
}

// panicking is a file system on which to make a folder panics.
type panicking struct{ store.FS }

func (panicking) MkdirAll(string, os.FileMode) error { panic("no disk") }

// TestTooMuch: a server that sends without an end is not read for ever.
func TestTooMuch(t *testing.T) {
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	go func() { _, _ = io.WriteString(b, "0123456789") }()
	got, err := io.ReadAll(&bounded{Conn: a, left: 4})
	if string(got) != "0123" || !errors.Is(err, errTooMuch) {
		t.Errorf("%q, %v", got, err)
	}
}

func TestCheckURL(t *testing.T) {
	for url, ok := range map[string]bool{
		"ldap://dc1.corp.example": true, "ldaps://dc1.corp.example": true, "LDAPS://dc1:3269": true, "ldap://127.0.0.1:389/": true, "ldaps://[::1]:636": true,
		"": false, "dc1": false, "dc1:389": false, "http://dc1": false, "ldapi:///x": false, "ldap://": false, "ldap://:389": false, "ldap://dc1:0": false,
		"ldap://dc1:99999": false, "ldap://dc1:ldap": false, "ldap://u:p@dc1": false, "ldap://dc1/dc=x": false, "ldap://dc1?x": false, "ldap://dc1#x": false,
		"ldap://dc 1": false,
	} {
		if err := CheckURL(url); (err == nil) != ok {
			t.Errorf("%q: %v", url, err)
		}
	}
	if !Loopback("ldap://127.0.0.1:1") || !Loopback("ldap://localhost") || !Loopback("ldap://[::1]") || Loopback("ldap://dc1") || Loopback("ldap://10.0.0.1") {
		t.Error("loopback")
	}
}

func TestChecks(t *testing.T) {
	for filter, ok := range map[string]bool{
		"(mail=*)": true, "(&(mail=*)(!(a:1.2.840.113556.1.4.803:=2)))": true, "": false, "mail=*": false, "(mail=*": false, "(mail=*)(x=*)": false,
	} {
		if err := CheckFilter(filter); (err == nil) != ok {
			t.Errorf("%q: %v", filter, err)
		}
	}
	for dn, ok := range map[string]bool{"dc=example,dc=org": true, "OU=A\\,B,DC=x": true, "": false, "example.org": false} {
		if err := CheckDN(dn); (err == nil) != ok {
			t.Errorf("%q: %v", dn, err)
		}
	}
	for name, ok := range map[string]bool{"mail": true, "msExchX-1": true, "": false, "1x": false, "mail;x": false, "a b": false, "*": false} {
		if err := CheckAttribute(name); (err == nil) != ok {
			t.Errorf("%q: %v", name, err)
		}
	}
}
