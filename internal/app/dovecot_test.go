package app

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/postern-mail/postern/internal/peertest"
)

// dovecotBoxes are the mailboxes of the Dovecot behind the gateway, and how many octets one may hold.
var dovecotBoxes = map[string]int{"alice@example.org": 0, "bob@example.org": 0, "carol@example.org": 0, "full@example.org": 2000}

// inFrontOfDovecot is a gateway in front of a real Dovecot, of which upstream says how it is reached.
func inFrontOfDovecot(t *testing.T, upstream string) *testGateway {
	t.Helper()
	return startGateway(t, fmt.Sprintf(`
hostname: mx.example.org
listeners: {public: {address: "127.0.0.1:0", early_talkers: 0s}}
routes: [{to: [example.org], upstream: dovecot}]
upstreams: {dovecot: {%s}}
state: {directory: "{{dir}}/state"}
dns: {servers: ["127.0.0.1:9"]}
filters: []
big_senders: []
`, upstream))
}

// awkward is content in which a relay could lose an octet: dots that lead lines, a line of 998 octets, eight bits, blanks
// at the ends of lines.
var awkward = "From: Ann <ann@client.test>\r\nSubject: awkward\r\nX-Blank: x \r\n\r\n.\r\n..\r\n.dot\r\nblanks  \r\n\tÄ €\r\n" +
	strings.Repeat("y", 998) + "\r\n\r\n\r\n" + strings.Repeat(".0123456789\r\n", 20_000)

// storedAs looks for a message that ends with the content, and tells what stands above it by the names of fields.
func storedAs(all [][]byte, content string) (fields []string, ok bool) {
	for _, raw := range all {
		if top, found := strings.CutSuffix(string(raw), content); found {
			for line := range strings.Lines(top) {
				if name, _, isField := strings.Cut(line, ":"); isField && line[0] != ' ' && line[0] != '\t' {
					fields = append(fields, name)
				}
			}
			return fields, true
		}
	}
	return nil, false
}

// TestInFrontOfDovecot: over TCP, with STARTTLS and over its UNIX socket a Dovecot stores what was sent, octet for octet
// below its own fields and ours, and what it refuses the client is told: a recipient at once or when it comes again, a
// full mailbox when the message is there.
func TestInFrontOfDovecot(t *testing.T) {
	t.Parallel()
	cert, key := writeCertificate(t, t.TempDir(), "127.0.0.1")
	d := peertest.StartDovecot(t, peertest.DovecotOptions{Mailboxes: dovecotBoxes, CertFile: cert, KeyFile: key})
	for _, way := range []struct{ name, upstream, box, with string }{
		{"tcp", fmt.Sprintf("servers: [%q], protocol: lmtp, tls: none", d.Addr), "alice@example.org", "LMTP"},
		{"starttls", fmt.Sprintf("servers: [%q], protocol: lmtp, tls: required", d.Addr), "bob@example.org", "LMTPS"},
		{"socket", fmt.Sprintf("servers: [%q], protocol: lmtp", "unix:"+d.Socket), "carol@example.org", "LMTP"},
	} {
		t.Run(way.name, func(t *testing.T) {
			g := inFrontOfDovecot(t, way.upstream)
			const sender = "MAIL FROM:<ann@client.test> BODY=8BITMIME"
			to := "RCPT TO:<" + way.box + ">"
			stuffed := strings.ReplaceAll(awkward, "\r\n.", "\r\n..")
			got := dialog(t, g.addr, "127.0.0.1",
				sender, to, "RCPT TO:<full@example.org>", "DATA "+strings.TrimSuffix(stuffed, "\r\n"),
				sender, "RCPT TO:<full@example.org>", "DATA "+strings.TrimSuffix(stuffed, "\r\n"),
				sender, "RCPT TO:<nobody@example.org>", "DATA "+strings.TrimSuffix(stuffed, "\r\n"),
				sender, "RCPT TO:<nobody@example.org>", to, "DATA Subject: small\r\n\r\n"+way.name)
			if want := "250 250 452 250 250 250 552 250 250 451 250 550 250 250"; codes(got) != want {
				t.Fatalf("got %s, not %s:\n%s", codes(got), want, strings.Join(got, "\n"))
			}
			for i, want := range map[int]string{
				2: "452 4.5.3 One recipient at a time here", 6: "552 5.2.2 the next server refused the message (",
				9: "451 4.3.0 a recipient is no longer accepted", 11: "550 5.1.1 the next server refused this recipient",
			} {
				if !strings.HasPrefix(got[i], want) {
					t.Errorf("reply %d: %q, not %q", i, got[i], want)
				}
			}
			stored := d.Stored(t, way.box)
			fields, ok := storedAs(stored, awkward)
			if !ok || len(stored) != 2 {
				t.Fatalf("%d messages stored, what was sent among them: %v", len(stored), ok)
			}
			if above := strings.Join(fields, " "); !strings.HasPrefix(above, "Return-Path ") || strings.Count(above, "Received") != 2 {
				t.Errorf("above what was sent stand %s", above)
			}
			if !regexp.MustCompile(`with ` + way.with + `\r\n`).Match(stored[0]) {
				t.Errorf("Dovecot did not take it by %s: %.500q", way.with, stored[0])
			}
		})
	}
	if n := len(d.Stored(t, "full@example.org")); n > 0 {
		t.Errorf("%d messages in the mailbox that is full", n)
	}
}

// TestWrongProtocol: a Dovecot of whom nobody said that it speaks LMTP, and a server of SMTP of whom somebody did, are our
// fault; the log says what to look at.
func TestWrongProtocol(t *testing.T) {
	t.Parallel()
	d := peertest.StartDovecot(t, peertest.DovecotOptions{Mailboxes: dovecotBoxes})
	smtp := backend(t, map[string]string{"LHLO": "502 5.5.2 Error: command not recognized"})
	for _, c := range []struct{ name, upstream, hint string }{
		{"LMTP unsaid", fmt.Sprintf("servers: [%q]", d.Addr), "if it speaks LMTP, say protocol: lmtp"},
		{"SMTP taken for LMTP", fmt.Sprintf("servers: [%q], protocol: lmtp", smtp), "it seems to speak SMTP, and protocol is lmtp"},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := inFrontOfDovecot(t, c.upstream)
			got := dialog(t, g.addr, "127.0.0.1", "MAIL FROM:<ann@client.test>", "RCPT TO:<alice@example.org>", "DATA Subject: x\r\n\r\nx")
			if codes(got) != "250 250 451" {
				t.Errorf("got %q", got)
			}
			lines := g.log.lines(t, "upstream server does not take mail from us: mend this")
			if len(lines) != 1 || !strings.Contains(fmt.Sprint(lines[0]["error"]), c.hint) {
				t.Errorf("the log says %v", lines)
			}
		})
	}
	if n := len(d.Stored(t, "alice@example.org")); n > 0 {
		t.Errorf("%d messages stored", n)
	}
}

// TestServerInFrontOfLMTP: a mail server with a message for several, one of whom has no room, brings it to each of them
// once, and gives back the one.
func TestServerInFrontOfLMTP(t *testing.T) {
	t.Parallel()
	d := peertest.StartDovecot(t, peertest.DovecotOptions{Mailboxes: dovecotBoxes})
	g := inFrontOfDovecot(t, fmt.Sprintf("servers: [%q], protocol: lmtp", d.Addr))
	mta := peertest.StartExim(t, peertest.MTAOptions{Domain: "client.test", Paths: []peertest.Path{{Domain: "example.org", Addr: g.addr, TLS: "none"}}})
	content := "From: <ann@client.test>\r\nSubject: for all\r\n\r\n" + strings.Repeat("0123456789abcdef\r\n", 200)
	lines := []string{"MAIL FROM:<ann@client.test>"}
	for _, local := range []string{"full", "alice", "bob", "carol"} { // Exim keeps to the order
		lines = append(lines, "RCPT TO:<"+local+"@example.org>")
	}
	if got := dialog(t, mta.Addr, "127.0.0.1", append(lines, "DATA "+strings.TrimSuffix(content, "\r\n"))...); codes(got) != "250 250 250 250 250 250" {
		t.Fatalf("Exim says %q", got)
	}
	mta.Settle(t, 5*time.Minute)
	for box, octets := range dovecotBoxes {
		stored := d.Stored(t, box)
		want := 1
		if octets > 0 {
			want = 0
		}
		if len(stored) != want || want == 1 && !strings.HasSuffix(string(stored[0]), content[strings.Index(content, "\r\n\r\n"):]) {
			t.Errorf("%d messages stored for %s", len(stored), box)
		}
	}
	bounces := mta.Stored(t)
	if len(bounces) != 1 || !strings.Contains(string(bounces[0]), "full@example.org") || !strings.Contains(string(bounces[0]), "552 5.2.2 the next server refused the message") {
		t.Errorf("%d bounces: %.2000s", len(bounces), bounces)
	}
	if t.Failed() {
		t.Logf("%s\nExim's log:\n%s", bounces, mta.Log())
	}
}
