package app

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/postern-mail/postern/internal/peertest"
	"github.com/postern-mail/postern/internal/quarantine"
)

// TestSpoolInFrontOfDovecot: with a spool a message for several goes to a Dovecot in one transaction with the client, and has
// an end of its own for each recipient: who has room gets it, and of who has none the sender is told, or where nobody can be,
// the message is held.
func TestSpoolInFrontOfDovecot(t *testing.T) {
	t.Parallel()
	d := peertest.StartDovecot(t, peertest.DovecotOptions{Mailboxes: dovecotBoxes})
	g := startGatewayWith(t, fmt.Sprintf(`
hostname: mx.example.org
listeners:
  public: {address: "127.0.0.1:0", early_talkers: 0s}
  office: {address: "127.0.0.2:0", early_talkers: 0s, relay: {networks: [127.0.0.0/8]}}
routes:
  - {to: [example.org], upstream: dovecot, spool: true}
  - {to: ["*"], upstream: outside}
upstreams: {dovecot: {servers: [%q], protocol: lmtp}, outside: {maildir: "{{dir}}/outside"}}
state: {directory: "{{dir}}/state"}
dns: {servers: ["127.0.0.1:9"]}
filters: []
big_senders: []
`, d.Addr))
	content := "From: <ann@client.test>\r\nSubject: for all\r\n\r\n" + strings.Repeat("0123456789abcdef\r\n", 200)
	for i, l := range g.listeners {
		lines := []string{"MAIL FROM:<ann@client.test>"}
		for _, local := range []string{"full", "alice", "bob", "nobody." + l.cfg.Name} {
			lines = append(lines, "RCPT TO:<"+local+"@example.org>")
		}
		got := dialog(t, l.net.Addr().String(), "127.0.0.1", append(lines, "DATA "+strings.TrimSuffix(content, "\r\n"))...)
		if codes(got) != "250 250 250 250 250 250" {
			t.Fatalf("%s: %q", l.cfg.Name, got)
		}
		if !comesTrue(func() bool { n, _ := g.queue.Len(); return n == 0 }) {
			t.Fatalf("%s: something waits", l.cfg.Name)
		}
		for box, octets := range dovecotBoxes {
			if n := len(d.Stored(t, box)); octets > 0 && n > 0 || (box[0] == 'a' || box[0] == 'b') && n != i+1 {
				t.Errorf("%s: %d messages for %s", l.cfg.Name, n, box)
			}
		}
	}

	reports := files(t, filepath.Join(g.dir, "outside")) // of the office's message, in one: both were given up together
	if len(reports) != 1 {
		t.Fatalf("%d reports: %s", len(reports), reports)
	}
	for _, want := range []string{
		"\r\nTo: <ann@client.test>\r\n", "report-type=delivery-status", "Auto-Submitted: auto-replied",
		"Final-Recipient: rfc822; full@example.org\r\n", "Status: 5.2.2\r\n", "Quota exceeded",
		"Final-Recipient: rfc822; nobody.office@example.org\r\n", "Status: 5.1.1\r\n", "\r\nSubject: for all\r\n",
	} {
		if !strings.Contains(reports[0], want) {
			t.Errorf("the report lacks %q", want)
		}
	}
	if t.Failed() {
		t.Log(reports[0])
	}

	held, err := g.held.List()
	if err != nil || len(held) != 1 || held[0].Kind != quarantine.Undeliverable || strings.Join(held[0].To, " ") != "full@example.org nobody.public@example.org" ||
		!strings.Contains(held[0].Because, "552 5.2.2") {
		t.Errorf("held: %+v, %v", held, err)
	}
}
