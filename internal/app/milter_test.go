package app

import (
	"fmt"
	"strings"
	"testing"

	"github.com/postern-mail/postern/internal/peertest"
)

// TestOpenDKIM has a real opendkim as a milter: it signs what comes, a second one verifies that, and finds a change.
func TestOpenDKIM(t *testing.T) {
	t.Parallel()
	d := peertest.StartOpenDKIM(t, "sv", "InternalHosts 127.0.0.1\nOn-BadSignature reject\n")
	g := startGatewayWith(t, fmt.Sprintf(scannerGateway, `milter: {name: opendkim, servers: ["unix:`+d.Addr+`"]}`))
	text := "From: Bob <bob@example.org>\r\nTo: bob@example.org\r\nSubject:  two blanks\r\n and a fold\r\nDate: Mon, 23 Nov 2026 09:00:00 +0000\r\n" +
		"Message-ID: <1@example.org>\r\n\r\nHello Bob.\r\n"
	g.wants(t, "sign", text, "250")
	all := g.stored(t)
	if len(all) != 1 || strings.Count(all[0], "DKIM-Signature: v=1;") != 1 || !strings.Contains(all[0], " d=example.org; s=s;") {
		t.Fatalf("no signature: %q", all)
	}
	_, field, _ := strings.Cut(strings.ReplaceAll(all[0], "\r\n", "\n"), "DKIM-Signature:")
	signed := "DKIM-Signature:"
	for line := range strings.Lines(field) {
		if signed != "DKIM-Signature:" && line[0] != ' ' && line[0] != '\t' {
			break
		}
		signed += strings.TrimSuffix(line, "\n") + "\r\n"
	}
	for _, c := range []struct{ what, content, code string }{
		{"verify", signed + text, "250"},
		{"changed", strings.Replace(signed+text, "Hello Bob.", "Hello Eve.", 1), "550 5.7.0 bad DKIM signature data"},
	} {
		reply, err := sample{from: "bob@example.org", to: "bob@example.org", content: []byte(c.content)}.send(t.Context(), g.from(t, "203.0.113.7"))
		if err != nil || !strings.HasPrefix(reply, c.code) {
			t.Errorf("%s: %s, %v", c.what, reply, err)
		}
	}
	if all := strings.Join(g.stored(t), "\n"); !strings.Contains(all, "dkim=pass (2048-bit key") {
		t.Errorf("no result of opendkim's: %s", all)
	}
}

// TestOpenDKIMFails kills and stalls a real opendkim.
func TestOpenDKIMFails(t *testing.T) {
	t.Parallel()
	d := peertest.StartOpenDKIM(t, "v", "On-BadSignature reject\n")
	g := startGatewayWith(t, fmt.Sprintf(scannerGateway, `milter: {name: opendkim, servers: ["unix:`+d.Addr+`"], faults: 3, pause: 1s, timeout: 2s}`))
	bad := "DKIM-Signature: v=1; a=rsa-sha256; c=simple/simple; d=example.org; s=s; h=from; bh=AAAA; b=AAAA\r\n" + fmt.Sprintf(plainText, "x", "x")
	scannerFails(t, g, d, "opendkim", fmt.Sprintf(plainText, "x", "x"), bad)
}

// TestSpamassMilter has a real spamass-milter, which asks a real spamd.
func TestSpamassMilter(t *testing.T) {
	t.Parallel()
	d := peertest.StartSpamassMilter(t, "body T_PILLS /cheap pills/\nscore T_PILLS 6\nbody T_VERY /very cheap/\nscore T_VERY 9\nrequired_score 5\nreport_safe 0\nadd_header all Status _YESNO_, score=_SCORE_\n", "12")
	g := startGatewayWith(t, fmt.Sprintf(scannerGateway, `milter: {name: sa, servers: ["unix:`+d.Addr+`"], body: ignore}`))
	g.wants(t, "clean", fmt.Sprintf(plainText, "x", "hello"), "250")
	g.wants(t, "spam", fmt.Sprintf(plainText, "x", "cheap pills"), "250")
	g.wants(t, "much spam", fmt.Sprintf(plainText, "x", "very cheap pills"), "550 5.7.1")
	all := g.stored(t)
	if len(all) != 2 || strings.Count(strings.Join(all, ""), "X-Spam-Status: Yes, score=6.0") != 1 {
		t.Errorf("stored: %q", all)
	}
	if !strings.Contains(g.log.String(), `"symbol":"MILTER"`) {
		t.Error("no MILTER in the log")
	}
}
