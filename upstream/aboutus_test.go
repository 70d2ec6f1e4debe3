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

// TestOursAtDot: of the refusals of the final dot those are ours to mend that speak of the dialog, of the server, or of the host.
func TestOursAtDot(t *testing.T) {
	for line, ours := range map[string]bool{
		"421 4.3.2 closing":                                     true,
		"503 5.5.1 need MAIL first":                             true,
		"503 bad sequence of commands":                          true,
		"500 5.5.2 unknown command":                             true,
		"501 5.5.4 Invalid arguments":                           true,
		"554 5.5.1 no valid recipients":                         true,
		"530 5.7.0 must issue a STARTTLS command first":         true,
		"530 5.7.57 SMTP; Client was not authenticated":         true,
		"535 5.7.8 authentication failed":                       true,
		"538 5.7.11 encryption required":                        true,
		"554 5.7.1 <b@y.test>: Relay access denied":             true,
		"550 5.7.54 SMTP; Unable to relay recipient":            true,
		"550 5.7.64 TenantAttribution; Relay Access Denied":     true,
		"554 5.7.1 Relaying is not permitted":                   true,
		"550 5.3.1 system full":                                 true,
		"550 5.3.2 system not accepting messages":               true,
		"554 5.3.5 local configuration error":                   true,
		"554 5.7.1 client [10.0.0.1] blocked":                   true,
		"452 4.3.1 full":                                        false, // handed on, as all of these are
		"451 4.3.5 server configuration error":                  false,
		"451 4.5.0 try again":                                   false,
		"500 5.5.2 line too long":                               false,
		"500 Line of more than 998 octets is too long":          false,
		"501 5.6.0 malformed header":                            false,
		"552 5.3.4 too big":                                     false,
		"552 5.3.1 too big":                                     false,
		"554 5.3.0 rejected":                                    false,
		"554 5.5.0 message rejected":                            false,
		"554 5.5.3 too many recipients":                         false,
		"550 5.4.1 recipient address rejected":                  false,
		"550 5.1.1 no such user":                                false,
		"550 5.2.2 over quota":                                  false,
		"554 5.7.1 the attachment relay access denied.doc":      false,
		"554 5.7.1 spam":                                        false,
		"550 5.7.1 refused by policy: unable to relay.exe here": false,
	} {
		code, text, _, ok := splitLine([]byte(line + "\r\n"))
		if !ok {
			t.Fatal(line)
		}
		r := mail.Reply{Code: code}
		var rest []byte
		r.Enhanced, rest = splitEnhanced(text, code)
		r.Text = string(rest)
		client, server := net.Pipe()
		_, _ = client.Close(), server.Close()
		tr := transaction{c: &conn{hello: "gw.test", raw: client}}
		if got := tr.oursAtDot(r); got != ours {
			t.Errorf("%s: %v", line, got)
		}
	}
}

// TestAboutSystem: a server that is full, closed or misconfigured says nothing about a recipient.
func TestAboutSystem(t *testing.T) {
	for _, c := range []struct {
		code int
		e    mail.Enhanced
		want bool
	}{
		{550, mail.Enhanced{5, 3, 1}, true},
		{451, mail.Enhanced{4, 3, 5}, true},
		{554, mail.Enhanced{5, 3, 2}, true},
		{550, mail.Enhanced{5, 3, 3}, true},
		{550, mail.Enhanced{5, 3, 0}, false},
		{552, mail.Enhanced{5, 3, 4}, false},
		{552, mail.Enhanced{5, 3, 1}, false},
		{550, mail.Enhanced{5, 4, 1}, false},
	} {
		if r := (mail.Reply{Code: c.code, Enhanced: c.e, Text: "no"}); aboutSystem(r) != c.want {
			t.Errorf("%v", r)
		}
	}
}
