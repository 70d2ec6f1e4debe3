package app

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/postern-mail/postern/internal/config"
	"github.com/postern-mail/postern/internal/dns/zone"
	"github.com/postern-mail/postern/internal/edge"
)

// pretended is a listener whose clients have the address that it says.
type pretended struct {
	net.Listener
	client net.Addr
}

type pretender struct {
	*net.TCPConn
	client net.Addr
}

func (p pretender) RemoteAddr() net.Addr { return p.client }

func (p pretended) Accept() (net.Conn, error) {
	c, err := p.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return pretender{TCPConn: c.(*net.TCPConn), client: p.client}, nil
}

// from opens a further door of the gateway's first listener, whose clients come from an address of the internet.
func (g *testGateway) from(t *testing.T, addr string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := g.listeners[0].server
	g.background.Go(func() {
		if err := server.Serve(pretended{Listener: l, client: &net.TCPAddr{IP: net.ParseIP(addr), Port: 4711}}); err != nil && !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
	})
	return l.Addr().String()
}

// metric gives the value of a series, as /metrics shows it.
func (g *testGateway) metric(t *testing.T, series string) string {
	t.Helper()
	w := httptest.NewRecorder()
	g.metrics.Handler().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "GET", "/metrics", nil))
	for line := range strings.Lines(w.Body.String()) {
		if v, ok := strings.CutPrefix(line, series+" "); ok {
			return strings.TrimSpace(v)
		}
	}
	return "absent"
}

const listGateway = `hostname: mx.example.org
listeners: {public: {address: "127.0.0.1:0", early_talkers: 0s, limits: {per_client: 100}}}
routes: [{to: [example.org], upstream: local}]
upstreams: {local: {maildir: "{{dir}}/mail"}}
state: {directory: "{{dir}}/state"}
dns: {servers: [%q]}
policies: {default: {tag: 5, reject: 10}}
filters:
  - dnsbl:
      budget: %s
      lists:
        bl.example: {weight: 6, reason: true}
        %s: {weight: 6}
        wl.example: {weight: -4, codes: {"127.0.[0..255].3": {symbol: WL_HIGH, weight: -8}}}
        names.example: {of: [helo, sender], weight: 6}
`

// TestDNSLists sends mail through a gateway that asks DNS lists which are as lists are: with entries, with errors, without
// answers, and with an entry for everybody. Only entries count, and no mail waits longer than the budget.
func TestDNSLists(t *testing.T) {
	t.Parallel()
	ended := watchGoroutines(t)
	server, err := zone.Serve(`
bl.example SOA ns.example. h.example. 1 2 3 4 60
2.0.0.127.bl.example A 127.0.0.2
7.113.0.203.bl.example A 127.0.0.2
7.113.0.203.bl.example TXT see https://bl.example/203.0.113.7
9.113.0.203.bl.example A 127.255.255.254
8.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.bl.example A 127.0.0.2
2.0.0.127.wl.example A 127.0.10.0
8.113.0.203.wl.example A 127.0.9.3
8.113.0.203.bl.example A 127.0.0.2
8.113.0.203.honest.example A 127.0.0.2
7.113.0.203.honest.example A 127.0.0.2
2.0.0.127.honest.example A 127.0.0.2
test.names.example A 127.0.0.2
bad.example.names.example A 127.0.1.2
*.world.example A 127.0.0.2
*.errors.example A 127.255.255.254
*.hijacked.example A 198.51.100.99
` + faulty("servfail.example", "SERVFAIL") + faulty("silent.example", "SILENT") + faulty("garbage.example", "GARBAGE"))
	if err != nil {
		t.Fatal(err)
	}
	t.Run("second list", func(t *testing.T) {
		for _, second := range []struct{ zone, result, code string }{
			{"honest.example", "listed", "550"}, // together with bl.example
			{"world.example", "off", "250"},
			{"errors.example", "error_code", "250"},
			{"hijacked.example", "error_code", "250"},
			{"servfail.example", "failed", "250"},
			{"silent.example", "timeout", "250"},
			{"garbage.example", "failed", "250"},
		} {
			t.Run(second.zone, func(t *testing.T) {
				t.Parallel()
				budget := 15 * time.Second // what lists that answer have on a machine under load
				if second.result == "timeout" {
					budget = 2 * time.Second
				}
				g := startGatewayWith(t, fmt.Sprintf(listGateway, server.Addr(), budget, second.zone))
				for _, c := range []struct{ client, from, code string }{
					{"203.0.113.7", "a@good.example", second.code},
					{"203.0.113.8", "a@good.example", "250"}, // listed, and good by another
					{"203.0.113.9", "a@good.example", "250"}, // an error code
					{"2001:db8::8", "a@good.example", "250"},
					{"2001:db8::8", "a@bad.example", "550"}, // the sender is listed too
					{"127.0.0.1", "a@bad.example", "250"},   // exempt
				} {
					began := time.Now()
					reply, err := sample{from: c.from, to: "bob@example.org", content: []byte(invoice)}.send(context.Background(), g.from(t, c.client))
					if err != nil || !strings.HasPrefix(reply, c.code) {
						t.Errorf("%s: reply %q, %v; want %s", c.client, reply, err, c.code)
					}
					// Two phases may use the budget up; the rest is what a machine under load takes.
					if took := time.Since(began); took > 2*budget+20*time.Second {
						t.Errorf("%s waited %s", c.client, took)
					}
				}
				if got := g.metric(t, `postern_dnsbl_queries_total{result="`+second.result+`",zone="`+second.zone+`"}`); got == "0" || got == "absent" {
					t.Errorf("%s is counted %s times", second.result, got)
				}
				if got := g.metric(t, `postern_dnsbl_queries_total{result="error_code",zone="bl.example"}`); got != "1" {
					t.Errorf("error codes of bl.example: %s", got)
				}
				for _, want := range []string{`"symbol":"DNSBL_BL_EXAMPLE"`, `203.0.113.7: bl.example 127.0.0.2 (see https://bl.example/203.0.113.7)`, `"code":"127.255.255.254"`} {
					if !strings.Contains(g.log.String(), want) {
						t.Errorf("no %s in the log", want)
					}
				}
				if told := strings.Contains(g.log.String(), "lists what no list may"); told != (second.result == "off") {
					t.Errorf("told of a list that has an entry for everybody: %v", told)
				}
				g.close()
			})
		}
	})
	if err := server.Close(); err != nil {
		t.Error(err)
	}
	ended()
}

// faulty makes the names below a zone that the test asks for fail.
func faulty(zone, fault string) string {
	var b strings.Builder
	for _, name := range []string{"1.0.0.127", "2.0.0.127", "7.113.0.203", "8.113.0.203", "9.113.0.203"} {
		fmt.Fprintf(&b, "%s.%s %s\n", name, zone, fault)
	}
	return b.String()
}

// TestDocumentedLists reads the sample of docs/filters/dnsbl.md.
func TestDocumentedLists(t *testing.T) {
	doc, err := os.ReadFile(filepath.Join("..", "..", "docs", "filters", "dnsbl.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(string(doc), "```yaml\n")
	text, _, _ = strings.Cut(text, "```")
	file := filepath.Join(t.TempDir(), "postern.yaml")
	text += "hostname: mx.example.org\nlisteners: {public: {address: \":25\"}}\nroutes: [{to: [example.org], upstream: x}]\nupstreams: {x: {maildir: m}}\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	a, err := New(Options{Config: file, ConfigGiven: true, Stdin: strings.NewReader(""), Stdout: &out, Stderr: &out})
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Check(); err != nil {
		t.Errorf("%v\n%s", err, out.String())
	}
	cfg, err := config.Parse("c", []byte(text), a.kinds)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(cfg.Show()), "127.0.0.[4..7]") {
		t.Errorf("config show has no codes:\n%s", cfg.Show())
	}
}

// TestListedClientCountsOnce: what lists say of a client is counted once, though he says EHLO behind STARTTLS, too. A
// name that he changes counts anew.
func TestListedClientCountsOnce(t *testing.T) {
	server, err := zone.Serve(`
bl.example SOA ns.example. h.example. 1 2 3 4 60
2.0.0.127.bl.example A 127.0.0.2
7.113.0.203.bl.example A 127.0.0.2
`)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	for _, engine := range edge.Engines() {
		t.Run(engine, func(t *testing.T) {
			g, _, _ := startTLSGateway(t, fmt.Sprintf(`
hostname: mx.example.org
listeners: {public: {address: "127.0.0.1:0", engine: %s, early_talkers: 0s, tls: {certificate: "{{dir}}/cert.pem", key: "{{dir}}/key.pem"}}}
routes: [{to: [example.org], upstream: local}]
upstreams: {local: {maildir: "{{dir}}/mail"}}
state: {directory: "{{dir}}/state"}
dns: {servers: [%q]}
filters: [{dnsbl: {lists: {bl.example: {weight: 1}, names.example: {of: [helo], weight: 1}}}}]
`, engine, server.Addr()))
			c := connect(t, g.from(t, "203.0.113.7"))
			c.startTLS()
			c.message()
			counts := func(listed, clean string) {
				t.Helper()
				if got := g.metric(t, `postern_dnsbl_queries_total{result="listed",zone="bl.example"}`); got != listed {
					t.Errorf("listed %s times, not %s", got, listed)
				}
				if got := g.metric(t, `postern_dnsbl_queries_total{result="clean",zone="names.example"}`); got != clean {
					t.Errorf("names clean %s times, not %s", got, clean)
				}
			}
			counts("1", "1")
			c.say("EHLO other.test", "250")
			c.message()
			counts("1", "2")
			c = connect(t, g.from(t, "203.0.113.7"))
			c.say("EHLO client.test", "250")
			counts("2", "3")
		})
	}
}
