package app

import (
	"fmt"
	"strings"
	"testing"

	"github.com/postern-mail/postern/internal/peertest"
)

// TestRequireTLSTo: a real Postfix without TLS gets no mail for a domain that needs it, and all other mail; one with TLS gets it all, where
// the certificate is asked for, too.
func TestRequireTLSTo(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cert, key := writeCertificate(t, dir, "127.0.0.1")
	for name, tt := range map[string]struct{ cert, entry, ca, reply string }{
		"none":       {"", "example.org", "", "451 4.7.0 the next server has no secure connection"},
		"other":      {"", "other.example", "", "250 "},
		"offered":    {cert, "example.org", "", "250 "},
		"unverified": {cert, "{domain: example.org, verify: true}", "", "451 4.7.0 "},
		"verified":   {cert, "{domain: example.org, verify: true}", ", ca_file: " + cert, "250 "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := peertest.MTAOptions{Domain: "example.org"}
			if tt.cert != "" {
				o.CertFile, o.KeyFile = cert, key
			}
			p := peertest.StartPostfix(t, o)
			g := startGateway(t, fmt.Sprintf(`
hostname: mx.example.org
listeners: {public: {address: 127.0.0.1:0}}
routes: [{to: [example.org], upstream: postfix}]
upstreams: {postfix: {servers: [%q]%s}}
require_tls_to: [%s]
filters: []
state: {directory: "{{dir}}/state"}
dns: {servers: ["127.0.0.1:9"]}
`, p.Addr, tt.ca, tt.entry))
			if r := sendFrom(t, "127.0.0.1", g.addr, "client.test"); !strings.HasPrefix(r, tt.reply) {
				t.Fatal(r)
			}
			if tt.reply == "250 " {
				p.Messages(t, 1)
			}
		})
	}
}
