package app

import (
	"fmt"
	"strings"
	"testing"

	"github.com/postern-mail/postern/internal/peertest"
)

// gtube is the text that spam filters call spam. It stands here in pieces, so that this file is none.
func gtube() string {
	return "XJS*C4JDBQADN1.NSBN3*2IDNEN*" + "GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL" + "*C.34X"
}

const plainText = "From: Alice <alice@client.test>\r\nTo: Bob <bob@example.org>\r\nSubject: %s\r\nDate: Mon, 23 Nov 2026 09:00:00 +0000\r\n" +
	"Message-ID: <1@client.test>\r\n\r\n%s\r\n"

// rspamdRules give points by the subject, and greet with a field.
const rspamdRules = `regexp {
  SPAMMY { re = "Subject=/cheap pills/i"; score = 7.5; description = "pills"; }
  VERY { re = "Subject=/very cheap/i"; score = 3.5; }
  HELO_TOLD { re = "Subject=/greet/i"; score = 4.5; }
}
milter_headers { use = ["x-spamd-result"]; skip_local = false; skip_authenticated = false; }
`

// TestRspamd has a real rspamd in front of the mailbox: its score, its symbols, its action and its fields arrive.
func TestRspamd(t *testing.T) {
	t.Parallel()
	d := peertest.StartRspamd(t, "", rspamdRules)
	g := startGatewayWith(t, fmt.Sprintf(scannerGateway, `rspamd: {servers: ["unix:`+d.Addr+`"], headers: [X-Spamd-Result], subject: true, timeout: 1m}`))
	g.wants(t, "clean", fmt.Sprintf(plainText, "hello", "Hello Bob."), "250")
	g.wants(t, "spam", fmt.Sprintf(plainText, "cheap pills", "x"), "250")
	g.wants(t, "more spam", fmt.Sprintf(plainText, "very cheap pills", "x"), "250")
	g.wants(t, "gtube", fmt.Sprintf(plainText, "x", gtube()), "550 5.7.1")
	all := strings.Join(g.stored(t), "\n")
	for _, want := range []string{"X-Spamd-Result: default: False", "Subject: [SPAM] very cheap pills", "Subject: cheap pills"} {
		if !strings.Contains(all, want) {
			t.Errorf("no %q in what is stored:\n%s", want, all)
		}
	}
	for _, want := range []string{`"symbol":"RSPAMD"`, `of 15, add header; SPAMMY 7.5`, `"action":"tag"`, `of 15, reject`, `SPAMMY 7.5; VERY 3.5`} {
		if !strings.Contains(g.log.String(), want) {
			t.Errorf("no %s in the log", want)
		}
	}
}

// TestRspamdFails kills and stalls a real rspamd.
func TestRspamdFails(t *testing.T) {
	t.Parallel()
	d := peertest.StartRspamd(t, "", rspamdRules)
	options := `rspamd: {servers: ["unix:` + d.Addr + `"]`
	g := startScanned(t, options)
	scannerFails(t, g, options, d, "rspamd", fmt.Sprintf(plainText, "hello", "Hello Bob."), fmt.Sprintf(plainText, "x", gtube()))
}
