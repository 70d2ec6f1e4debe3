package app

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/postern-mail/postern/internal/dns/zone"
)

// TestExceptionsNeedProof runs a gateway with lists, and sends it what is proved and what is only claimed: by real
// SPF records and signatures, over SMTP.
func TestExceptionsNeedProof(t *testing.T) {
	zones, err := samples.ReadFile("samples/zones.txt")
	if err != nil {
		t.Fatal(err)
	}
	names, err := zone.Serve(string(zones))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = names.Close() })
	g := startGateway(t, fmt.Sprintf(`
hostname: mx.postern.example
exempt_networks: []
listeners: {public: {address: "127.0.0.1:0", early_talkers: 0s}}
routes: [{to: [postern.example], upstream: local}]
upstreams: {local: {maildir: "{{dir}}/mail"}}
state: {directory: "{{dir}}/state"}
dns: {servers: [%q]}
filters:
- spf
- dkim
- heuristics
- access:
    allow_entries:
    - signed.example proof=dkim waive=score until=never
    - silent.example proof=spf waive=heuristics until=never
    block_entries: [partner.example, "author.example"]
policies: {default: {reject: 15, weights: {DKIM_PASS: 20, DKIM_NONE: 20, DKIM_FAIL: 20}}}
`, names.Addr()))
	text, err := samples.ReadFile("samples/03-signed.eml")
	if err != nil {
		t.Fatal(err)
	}
	_, message, _ := strings.Cut(string(text), "\n\n")
	message = strings.ReplaceAll(message, "{{date}}", time.Now().Format(time.RFC1123Z))
	signed := strings.ReplaceAll(strings.ReplaceAll(message, "\r\n", "\n"), "\n", "\r\n")
	unsigned := signed[strings.Index(signed, "From: "):]
	from := func(author string) string {
		return fmt.Sprintf("DKIM-Signature: v=1; a=rsa-sha256; d=x.example; s=s; h=from; bh=; b=\r\nFrom: <%s>\r\nTo: bob@postern.example\r\n"+
			"Subject: x\r\nDate: %s\r\nMessage-ID: <1@x.example>\r\n\r\nx\r\n", author, time.Now().Format(time.RFC1123Z))
	}
	for _, c := range []struct {
		name, from, to, content string
		want                    string // of the reply
		log                     string // in the verdict's line
	}{
		{"signed", "letter@signed.example", "bob", signed, "250 2.0.0", "waived by allow_entries:1 (dkim signed.example): score 20 reaches reject 15 (DKIM_PASS 20)"},
		{"signed, by way of another", "bounce@bulk.example", "bob", signed, "250 2.0.0", "waived by allow_entries:1 (dkim signed.example)"},
		{"not signed", "letter@signed.example", "bob", unsigned, "550 5.7.1", "score 20 reaches reject 15 (DKIM_NONE 20)"},
		{"changed", "letter@signed.example", "bob", strings.Replace(signed, "a word", "a line", 1), "550 5.7.1", "score 20 reaches reject 15 (DKIM_FAIL 20)"},
		{"a second author", "letter@signed.example", "bob", "From: <boss@postern.example>\r\n" + signed, "550 5.7.1", "reaches reject 15"},
		{"SPF", "noreply@silent.example", "bob", from("noreply@silent.example"), "250 2.0.0", "waived by allow_entries:2 (spf silent.example): heuristics: NULL_MX"},
		{"SPF, and another author", "noreply@silent.example", "bob", from("boss@bulk.example"), "550 5.7.27", "heuristics: NULL_MX"},
		{"blocked", "a@partner.example", "bob", from("a@partner.example"), "550 5.7.1 refused by local policy", "access: ACCESS_BLOCKED block_entries:1: reverse-path a@partner.example"},
		{"blocked, by its author", "a@bulk.example", "bob", from("a@author.example"), "550 5.7.1 refused by local policy", "access: ACCESS_BLOCKED block_entries:2: From author.example"},
		{"blocked, and for the postmaster", "a@partner.example", "postmaster", from("a@author.example"), "250 2.0.0", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			reply, err := (sample{from: c.from, to: c.to + "@postern.example", content: []byte(c.content)}).send(context.Background(), g.addr)
			if err != nil || !strings.HasPrefix(reply, c.want) {
				t.Errorf("%s, %v", reply, err)
			}
			lines := g.log.lines(t, "verdict")
			if len(lines) == 0 {
				t.Fatal("no verdict in the log")
			}
			if because := fmt.Sprint(lines[len(lines)-1]["because"]); !strings.Contains(because, c.log) {
				t.Errorf("because %s", because)
			}
		})
	}
	if !bytes.Contains([]byte(g.log.String()), []byte(`"waivers":[{"domain":"signed.example","proof":"dkim","waives":["score"],"entry":"allow_entries:1"}]`)) {
		t.Error("the log does not name the entry")
	}
}
