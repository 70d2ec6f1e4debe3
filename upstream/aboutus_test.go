package upstream

import (
	"net"
	"net/netip"
	"testing"

	"github.com/postern-mail/postern/mail"
)

func TestNamesAddress(t *testing.T) {
	for _, c := range []struct {
		text, local string
		want        bool
	}{
		{"refused: [192.0.2.1]", "192.0.2.1", true},
		{"192.0.2.1.", "192.0.2.1", true},
		{"see http://list.test/?ip=192.0.2.1&x", "192.0.2.1", true},
		{"192.0.2.10 192.0.2.1.5 192.0.2", "192.0.2.1", false},
		{"[ipv6:2001:db8:0::1]", "2001:db8::1", true},
		{"host 2001:db8::1: refused", "2001:db8::1", true},
		{"2001:db8::11", "2001:db8::1", false},
		{"from mta([127.0.0.1]:10025): 550 spam", "127.0.0.1", true},
		{"no address", "", false},
	} {
		local, _ := netip.ParseAddr(c.local)
		if got := namesAddress(c.text, local); got != c.want {
			t.Errorf("%q: %v", c.text, got)
		}
	}
}

func TestNamesUs(t *testing.T) {
	for _, c := range []struct {
		text, hello, to string
		want            bool
	}{
		{"host gw.test: refused", "GW.test", "b@y.test", true},
		{"gw.test.", "gw.test", "b@y.test", true},
		{"gw.test.example, other-gw.test", "gw.test", "b@y.test", false},
		{"nobody in gw.test", "gw.test", "b@gw.test", false},
		{"mail refused", "mail", "b@y.test", false},
	} {
		tr := transaction{c: &conn{hello: c.hello}, env: mail.Envelope{To: []mail.Address{address(t, c.to)}}}
		if got := tr.namesUs(c.text); got != c.want {
			t.Errorf("%q: %v", c.text, got)
		}
	}
}

func TestWithoutAddresses(t *testing.T) {
	for text, want := range map[string]string{
		"<b@y.test>: Client Host\nrejected":     ": client host rejected",
		"<unknown[10.0.0.1]>: refused":          "<unknown[10.0.0.1]>: refused",
		"a@[10.0.0.1] is bad":                   "is bad",
		`"client \"host"@y.test unknown`:        "unknown",
		"<client host@y.test> unknown":          "unknown",
		"http://x.test/?id=a@y.test;ip=1.2.3.4": "http://x.test/?id= ;ip=1.2.3.4",
	} {
		if got := withoutAddresses(text); got != want {
			t.Errorf("%q: %q", text, got)
		}
	}
}

// TestAboutHost holds judgements on the host apart from words that the sender, or whoever wrote a footer, chose.
func TestAboutHost(t *testing.T) {
	ours, theirs := net.Pipe()
	defer ours.Close()
	defer theirs.Close()
	tr := transaction{c: &conn{raw: ours, hello: "mx.example.org"}, env: mail.Envelope{To: []mail.Address{address(t, "b@y.test")}}}
	for _, c := range []struct {
		text      string
		e         mail.Enhanced
		rcpt, dot bool
	}{
		{"<unknown[10.0.0.1]>: Client host rejected: cannot find your hostname", mail.Enhanced{5, 7, 1}, true, true},
		{"Service unavailable; Client host [10.0.0.1] blocked using zen.test", mail.Enhanced{5, 7, 1}, true, true},
		{"External client with IP address 10.0.0.1 does not have permissions to submit", mail.Enhanced{5, 7, 1}, true, true},
		{"SPF check failed", mail.Enhanced{5, 7, 23}, true, true},
		{"Sender address [x@spf.listed.test] blocked using dbl.test; https://dbl.test/?domain=spf.listed.test", mail.Enhanced{5, 7, 1}, false, false},
		{"<helo.evil.test>: sender domain is not welcome", mail.Enhanced{5, 7, 1}, false, false},
		{"Reject - BANNED: .exe,reverse dns.exe", mail.Enhanced{5, 7, 0}, false, false},
		{"Message looks like spam. Contact us; client (10.0.0.5)", mail.Enhanced{5, 7, 1}, false, false},
		{"mx.example.org: no mailbox here by that name", mail.Enhanced{}, false, false},
		{"user unknown", mail.Enhanced{}, false, false},
	} {
		r := mail.Reply{Code: 550, Enhanced: c.e, Text: c.text}
		if rcpt, dot := tr.aboutHost(r, false), tr.aboutHost(r, true); rcpt != c.rcpt || dot != c.dot {
			t.Errorf("%q: %v, at the dot %v", c.text, rcpt, dot)
		}
	}
}
