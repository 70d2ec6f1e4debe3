package app

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/postern-mail/postern/internal/dns/zone"
	"github.com/postern-mail/postern/internal/peertest"
)

// TestNoticesOfSuccess: who asks to be told of success is told by the gateway where the server behind it does not do that, of
// mail from the spool and of mail that never was there; where the server does, the gateway keeps quiet.
func TestNoticesOfSuccess(t *testing.T) {
	t.Parallel()
	server, err := zone.ServeRecords([]zone.Record{{Name: "client.test", Type: "TXT", Text: []string{"v=spf1 ip4:127.0.0.1 -all"}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	postfix := peertest.StartPostfix(t, peertest.MTAOptions{Domain: "postfix.test"})
	exim := peertest.StartExim(t, peertest.MTAOptions{Domain: "exim.test", NoDSN: true})
	dovecot := peertest.StartDovecot(t, peertest.DovecotOptions{Mailboxes: dovecotBoxes})
	g := startGatewayWith(t, fmt.Sprintf(`
hostname: mx.example.org
listeners:
  public: {address: "127.0.0.1:0", early_talkers: 0s, dsn: true}
  office: {address: "127.0.0.2:0", early_talkers: 0s, dsn: true, relay: {networks: [127.0.0.0/8]}}
routes:
  - {to: [postfix.test], upstream: postfix}
  - {to: [exim.test], upstream: exim}
  - {to: [example.org], upstream: dovecot}
  - {to: [folder.test], upstream: folder}
  - {to: ["*"], upstream: outside}
upstreams:
  postfix: {servers: [%q]}
  exim: {servers: [%q]}
  dovecot: {servers: [%q], protocol: lmtp}
  folder: {maildir: "{{dir}}/folder"}
  outside: {maildir: "{{dir}}/outside"}
state: {directory: "{{dir}}/state"}
dns: {servers: [%q]}
filters: [spf]
big_senders: []
`, postfix.Addr, exim.Addr, dovecot.Addr, server.Addr()))
	reports := map[string]string{} // by who asked, and of whom
	told := map[string]string{"alice@exim.test": "relayed", "alice@example.org": "delivered", "alice@folder.test": "delivered"}
	for _, l := range g.listeners {
		for _, to := range []string{"alice@postfix.test", "alice@exim.test", "alice@example.org", "alice@folder.test"} {
			for _, from := range []string{"ann@client.test", "ann@unproved.test"} {
				from = strings.Replace(from, "@", "-"+l.cfg.Name+"@", 1)
				got := dialog(t, l.net.Addr().String(), "127.0.0.1", "MAIL FROM:<"+from+"> ENVID=4711", "RCPT TO:<"+to+"> NOTIFY=SUCCESS,FAILURE",
					"DATA From: <"+from+">\r\nSubject: did it arrive?\r\n\r\nbody")
				if codes(got) != "250 250 250" {
					t.Fatalf("%s, %s: %q", l.cfg.Name, to, got)
				}
				if what := told[to]; what != "" && (l.cfg.Name == "office" || strings.HasSuffix(from, "@client.test")) {
					reports[from+" "+to] = what
				}
			}
		}
	}
	outside := func() []string { return files(t, filepath.Join(g.dir, "outside")) }
	if !comesTrue(func() bool { n, _ := g.queue.Len(); return n == 0 && len(outside()) >= len(reports) }) {
		t.Errorf("reports: %d, want %d", len(outside()), len(reports))
	}
	for _, r := range outside() {
		for key, what := range reports {
			from, to, _ := strings.Cut(key, " ")
			if !strings.Contains(r, "\r\nTo: <"+from+">\r\n") || !strings.Contains(r, "\r\nFinal-Recipient: rfc822; "+to+"\r\nAction: "+what+"\r\nStatus: 2.") {
				continue
			}
			delete(reports, key)
			for _, want := range []string{"Return-Path: <>\r\n", "\r\nOriginal-Envelope-Id: 4711\r\n", "\r\nSubject: did it arrive?\r\n"} {
				if !strings.Contains(r, want) {
					t.Errorf("the report lacks %q:\n%s", want, r)
				}
			}
			r = ""
		}
		if r != "" {
			t.Errorf("a report that nobody should have:\n%s", r)
		}
	}
	if len(reports) > 0 {
		t.Errorf("no reports of %v", reports)
	}
	if n := len(g.log.lines(t, "sender told")); n != 9 {
		t.Errorf("%d lines say that a sender was told", n)
	}
}
