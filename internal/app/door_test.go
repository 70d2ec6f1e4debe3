package app

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/postern-mail/postern/internal/peertest"
)

const doorGateway = `
hostname: mx.example.org
exempt_networks: []
listeners: {public: {address: "127.0.0.1:0", %s}}
routes: [{to: [example.org], upstream: local, recipients: {verify: file, file: "{{dir}}/recipients"}}]
upstreams: {local: {maildir: "{{dir}}/mail"}}
state: {directory: "{{dir}}/state"}
metrics: {address: %q}
filters: []
`

// greeting connects from an address, and gives the greeting, and whether it was that of one who has to wait: in two lines, between
// which so much time passes.
func (g *testGateway) greeting(t *testing.T, from string, wait time.Duration) (reply string, waited bool) {
	t.Helper()
	began := time.Now()
	c := dialVia(t, g.addr, from)
	r := bufio.NewReader(c)
	first, err := r.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(first, "220-") {
		_ = c.Close()
		return first, false
	}
	reply, err = readReply(r)
	if took := time.Since(began); err != nil || took < wait {
		t.Errorf("%s is greeted after %v: %q, %v", from, took, reply, err)
	}
	_ = c.Close()
	return reply, true
}

// metric gives the line of a metric.
func metric(t *testing.T, addr, name string) string {
	t.Helper()
	r, err := http.Get("http://" + addr + "/metrics") //nolint:noctx // a test's
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, name+" "); ok {
			return strings.TrimSpace(rest)
		}
	}
	return ""
}

// TestPatienceOutlivesARestart: who has waited for the greeting need not wait again, nor when the gateway was started anew.
func TestPatienceOutlivesARestart(t *testing.T) {
	t.Parallel()
	const wait = 700 * time.Millisecond
	g := startGateway(t, fmt.Sprintf(doorGateway, "early_talkers: 700ms", peertest.FreeAddr(t)))
	for i, want := range []bool{true, false, false} {
		if i == 2 {
			g.restart(t)
		}
		if reply, waited := g.greeting(t, "127.0.0.9", wait); !strings.HasPrefix(reply, "220 ") || waited != want {
			t.Errorf("%d: %q, has waited: %v", i, reply, waited)
		}
	}
	if _, waited := g.greeting(t, "127.0.0.10", wait); !waited {
		t.Error("another client was greeted at once")
	}
}

// TestGuesserIsHeldOff: a whole gateway lets few of a guesser's connections in, and says why.
func TestGuesserIsHeldOff(t *testing.T) {
	t.Parallel()
	web := peertest.FreeAddr(t)
	g := startGateway(t, fmt.Sprintf(doorGateway, "early_talkers: 0s, limits: {rate: 20, errors: 100}", web))
	var last string
	in := 0
	for ; in < 50; in++ {
		c := dialVia(t, g.addr, "127.0.0.9")
		lines := []string{"EHLO x.example", "MAIL FROM:<a@client.test>"}
		for i := range 9 {
			lines = append(lines, fmt.Sprintf("RCPT TO:<guess%d@example.org>", i))
		}
		last = talk(t, c, append(lines, "QUIT")...)
		_ = c.Close()
		if strings.HasPrefix(last, "421") {
			break
		}
	}
	if in < 2 || in > 4 || !strings.HasPrefix(last, "421 4.7.0 Too many new connections from your address") {
		t.Errorf("%d connections came in, then %q", in, last)
	}
	if n := metric(t, web, `postern_smtp_connections_rejected_total{listener="public",reason="rate"}`); n != "1" {
		t.Errorf("counted %q", n)
	}
	if lines := g.log.lines(t, "connection refused"); len(lines) != 1 || lines[0]["because"] != "rate" || lines[0]["client"] != "127.0.0.9" {
		t.Errorf("the log says %v", lines)
	}
	if reply, _ := g.greeting(t, "127.0.0.10", 0); !strings.HasPrefix(reply, "220") {
		t.Errorf("another client got %q", reply)
	}
}
