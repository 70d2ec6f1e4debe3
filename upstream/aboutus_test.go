package upstream

import (
	"net/netip"
	"testing"

	"github.com/postern-mail/postern/mail"
)

func TestNamesAddress(t *testing.T) {
	for _, c := range []struct {
		text, local string
		rcpt, dot   bool
	}{
		{"refused: [192.0.2.1]", "192.0.2.1", true, true},
		{"192.0.2.1.", "192.0.2.1", true, true},
		{"see http://list.test/?ip=192.0.2.1&x", "192.0.2.1", true, true},
		{"192.0.2.10 192.0.2.1.5 192.0.2", "192.0.2.1", false, false},
		{"[ipv6:2001:db8:0::1]", "2001:db8::1", true, true},
		{"host 2001:db8::1: refused", "2001:db8::1", true, true},
		{"2001:db8::11", "2001:db8::1", false, false},
		{"from mta([127.0.0.1]:10025): 550 spam", "127.0.0.1", true, false},
		{"no address", "", false, false},
	} {
		local, _ := netip.ParseAddr(c.local)
		if rcpt, dot := namesAddress(c.text, local, false), namesAddress(c.text, local, true); rcpt != c.rcpt || dot != c.dot {
			t.Errorf("%q: %v, at the dot %v", c.text, rcpt, dot)
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
