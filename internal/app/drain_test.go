package app

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/postern-mail/postern/internal/edge"
)

// TestDrainWaitsForTransactionsOnly stops a gateway with clients in every state in which nothing is owed to them: it does not
// wait for them, and tells those that can hear it.
func TestDrainWaitsForTransactionsOnly(t *testing.T) {
	t.Parallel()
	for _, engine := range edge.Engines() {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			g, _, _ := startTLSGateway(t, fmt.Sprintf(`
hostname: mx.example.org
exempt_networks: []
listeners:
  public: {address: "127.0.0.1:0", engine: %[1]s, early_talkers: 0s, tls: {certificate: "{{dir}}/cert.pem", key: "{{dir}}/key.pem"}}
  implicit: {address: "127.0.0.4:0", engine: %[1]s, tls: {certificate: "{{dir}}/cert.pem", key: "{{dir}}/key.pem", mode: implicit}}
  early: {address: "127.0.0.2:0", engine: %[1]s, early_talkers: 20s}
  proxied: {address: "127.0.0.3:0", engine: %[1]s, proxy_protocol: [127.0.0.0/8]}
routes: [{to: [example.org], upstream: local}]
upstreams: {local: {maildir: "{{dir}}/mail"}}
state: {directory: "{{dir}}/state"}
dns: {servers: ["127.0.0.1:9"]}
filters: []
big_senders: []
`, engine))
			at := map[string]string{}
			for _, l := range g.listeners {
				at[l.cfg.Name] = l.net.Addr().String()
			}
			type waiting struct {
				name, listener, say string // say: lines apart by |, after which it is silent
				hears               string // what it hears at the end, "" for nothing in particular
			}
			var clients []net.Conn
			var names []waiting
			for _, w := range []waiting{
				{"greeted", "public", "", "421 4.3.2"},
				{"said EHLO", "public", "EHLO x.test\r\n", "421 4.3.2"},
				{"sent half a command", "public", "EHLO x.test\r\n|MAIL FR", "421 4.3.2"},
				{"gave up a transaction", "public", "EHLO x.test\r\n|MAIL FROM:<a@x.test>\r\n|RSET\r\n", "421 4.3.2"},
				{"asked for TLS", "public", "EHLO x.test\r\n|STARTTLS\r\n", ""},
				{"began a handshake", "public", "EHLO x.test\r\n|STARTTLS\r\n|\x16\x03\x01\x02\x00\x01", ""},
				{"silent before TLS", "implicit", "", ""},
				{"before the greeting", "early", "", ""},
				{"before the PROXY header", "proxied", "", ""},
				{"in the PROXY header", "proxied", "PROXY TCP4 192.", ""},
			} {
				c, err := net.Dial("tcp", at[w.listener])
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				_ = c.SetDeadline(time.Now().Add(time.Minute))
				r := bufio.NewReader(c)
				if w.listener == "public" {
					if _, err := readReply(r); err != nil {
						t.Fatal(err)
					}
				}
				for line := range strings.SplitSeq(w.say, "|") {
					if _, err := io.WriteString(c, line); err != nil {
						t.Fatal(err)
					}
					if strings.HasSuffix(line, "\r\n") {
						if _, err := readReply(r); err != nil {
							t.Fatalf("%s: %v", w.name, err)
						}
					}
				}
				clients, names = append(clients, c), append(names, w)
			}
			time.Sleep(50 * time.Millisecond) // what was sent is to be read
			began := time.Now()
			if err := g.drain(nil); err != nil {
				t.Error(err)
			}
			// The one before the greeting would have twenty seconds, and anybody whom it waits for thirty.
			if took := time.Since(began); took > 15*time.Second {
				t.Errorf("it waited for %s", took)
			}
			for i, c := range clients {
				rest, err := io.ReadAll(c)
				if !strings.HasPrefix(string(rest), names[i].hears) {
					t.Errorf("%s: heard %q, %v", names[i].name, rest, err)
				}
			}
		})
	}
}
