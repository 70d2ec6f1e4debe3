package app

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/postern-mail/postern/internal/peertest/exchange"
)

const beforeExchange = `
hostname: mx.example.org
listeners: {public: {address: "127.0.0.1:0", limits: {recipients: 300, errors: 1000}}}
routes: [{to: [example.org], upstream: exchange%s}]
upstreams: {exchange: {servers: [%q], profile: exchange}}
policies: {default: {tag: %d, reject: 1000}}
filters: %s
state: {directory: "{{dir}}/state"}
dns: {servers: ["127.0.0.1:9"]}
`

// forOutsiders are fields that somebody outside has no business with, and one that he may well have signed.
const forOutsiders = "X-MS-Exchange-Organization-SCL: -1\r\nX-MS-Exchange-Organization-AuthAs: Internal\r\nX-MS-Exchange-Forest-RulesExecuted: x\r\n" +
	"X-MS-Exchange-CrossTenant-Id: 1\r\nFrom: a@client.test\r\nDate: Thu, 26 Nov 2026 10:00:00 +0000\r\nMessage-ID: <1@client.test>\r\nSubject: x\r\n\r\nhello\r\n"

// TestExchangeFields: what Exchange believes of its own servers comes from nobody outside, and what the filters found is
// said in its own words.
func TestExchangeFields(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, filters string
		tag, scl      int
	}{
		{"marked", "[heuristics: {on_error: continue}]", -1000, 6},
		{"clean", "[heuristics: {on_error: continue}]", 500, 0},
		{"no filters", "[]", -1000, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := exchange.Start(t, exchange.Options{Organization: true})
			g := startGateway(t, fmt.Sprintf(beforeExchange, "", s.Addr, c.tag, c.filters))
			replies := exchanged(t, g.addr, "EHLO client.test", "MAIL FROM:<a@client.test>", "RCPT TO:<bob@example.org>", "DATA", forOutsiders+".")
			if last := replies[len(replies)-1]; !strings.HasPrefix(last, "250 ") {
				t.Fatal(last)
			}
			got := s.Taken()
			if len(got) != 1 || got[0].SCL() != c.scl {
				t.Fatalf("SCL is not %d: %+v", c.scl, got)
			}
			for field, want := range map[string]bool{
				"X-MS-Exchange-Organization-AuthAs": false, "X-MS-Exchange-Forest-RulesExecuted": false, "X-MS-Exchange-CrossTenant-Id": true,
				"X-Spam-Flag: YES": c.scl > 0,
			} {
				if strings.Contains(got[0].Content, field) != want {
					t.Errorf("%s: %v\n%s", field, !want, got[0].Content)
				}
			}
		})
	}
}

// TestExchangeRecipients: no transaction has more recipients than Exchange takes, whatever the listener allows.
func TestExchangeRecipients(t *testing.T) {
	t.Parallel()
	s := exchange.Start(t, exchange.Options{})
	g := startGateway(t, fmt.Sprintf(beforeExchange, "", s.Addr, 500, "[]"))
	lines := []string{"EHLO client.test", "MAIL FROM:<a@client.test>"}
	for i := range 201 {
		lines = append(lines, fmt.Sprintf("RCPT TO:<u%d@example.org>", i))
	}
	replies := exchanged(t, g.addr, append(lines, "DATA", forOutsiders+".")...)
	if n := len(replies); !strings.HasPrefix(replies[n-4], "250 ") || !strings.HasPrefix(replies[n-3], "452 4.5.3 ") || !strings.HasPrefix(replies[n-1], "250 ") {
		t.Fatalf("%q", replies[n-4:])
	}
	if got := s.Taken(); len(got) != 1 || len(got[0].To) != 200 {
		t.Errorf("%d messages", len(got))
	}
}

// TestExchangeTarpit: a callout waits for what Exchange is slow to say.
func TestExchangeTarpit(t *testing.T) {
	t.Parallel()
	s := exchange.Start(t, exchange.Options{Mailboxes: []string{"bob@example.org"}, Tarpit: 2500 * time.Millisecond})
	g := startGateway(t, fmt.Sprintf(beforeExchange, ", recipients: callout", s.Addr, 500, "[]"))
	replies := exchanged(t, g.addr, "EHLO client.test", "MAIL FROM:<a@client.test>", "RCPT TO:<who@example.org>", "RCPT TO:<bob@example.org>")
	if n := len(replies); !strings.HasPrefix(replies[n-2], "550 5.1.1 ") || !strings.HasPrefix(replies[n-1], "250 ") {
		t.Errorf("%q", replies[n-2:])
	}
}

// exchanged says lines to a server and gives its replies, the greeting first.
func exchanged(t *testing.T, addr string, lines ...string) (replies []string) {
	t.Helper()
	c, err := net.DialTimeout("tcp", addr, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(2 * time.Minute))
	r := bufio.NewReader(c)
	for _, line := range append([]string{""}, lines...) {
		if line != "" {
			if _, err := io.WriteString(c, line+"\r\n"); err != nil {
				t.Fatal(err)
			}
		}
		reply, err := readReply(r)
		if err != nil {
			t.Fatalf("%.60q: %v", line, err)
		}
		replies = append(replies, reply)
	}
	return replies
}

// TestExchangeIdle: limits with which Exchange closes connections first are told of.
func TestExchangeIdle(t *testing.T) {
	t.Parallel()
	for idle, warned := range map[string]bool{"3m": false, "4m": true, "10m": true} {
		s := exchange.Start(t, exchange.Options{})
		g := startGateway(t, fmt.Sprintf(`
hostname: mx.example.org
listeners: {public: {address: "127.0.0.1:0"}}
routes: [{to: [example.org], upstream: exchange}]
upstreams: {exchange: {servers: [%q], profile: exchange, limits: {idle: %s}}}
state: {directory: "{{dir}}/state"}
filters: []
`, s.Addr, idle))
		if got := strings.Contains(g.log.String(), "limits.idle should be below 4m"); got != warned {
			t.Errorf("%s: warned: %v", idle, got)
		}
		g.close()
	}
}
