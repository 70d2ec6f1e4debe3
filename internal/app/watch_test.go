package app

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/postern-mail/postern/internal/systemd"
)

// TestPulse: a check that fails or hangs gives an error each time, and one that ends at last is heard.
func TestPulse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begun, answer := 0, make(chan error)
		p := pulse{check: func(at func(string)) error {
			begun++
			at("the brakes")
			return <-answer
		}}
		beat := func(want string) {
			t.Helper()
			err := p.beat(t.Context(), time.Second)
			if got := ""; err != nil {
				got = err.Error()
				if !strings.Contains(got, want) || want == "" {
					t.Errorf("%q, not %q", got, want)
				}
			} else if want != "" {
				t.Errorf("no error, not %q", want)
			}
		}
		reply := func(err error) { go func() { answer <- err }() }
		reply(nil)
		beat("")
		reply(errors.New("broken"))
		beat("broken")
		beat(`hangs at "the brakes"`)
		beat(`hangs at "the brakes"`)
		reply(nil)
		beat("")
		reply(nil)
		beat("")
		if begun != 4 {
			t.Errorf("%d checks were begun: one that hangs is not begun again", begun)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := p.beat(ctx, time.Second); !errors.Is(err, context.Canceled) {
			t.Errorf("at the end: %v", err)
		}
		answer <- nil
	})
}

// manager listens to what a gateway tells its service manager.
type manager struct {
	t testing.TB
	c *net.UnixConn
}

func listenAsManager(t testing.TB) *manager {
	t.Helper()
	path := filepath.Join(t.TempDir(), "notify")
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return &manager{t, c}
}

func (m *manager) path() string { return m.c.LocalAddr().String() }

// hear gives the next message, "" where none comes within the time.
func (m *manager) hear(within time.Duration) string {
	_ = m.c.SetReadDeadline(time.Now().Add(within))
	b := make([]byte, 4096)
	n, _ := m.c.Read(b)
	return string(b[:n])
}

// expect waits for a message that matches; the others are passed over.
func (m *manager) expect(re string) string {
	m.t.Helper()
	end := time.Now().Add(2 * time.Minute)
	var heard []string
	for time.Now().Before(end) {
		s := m.hear(time.Until(end))
		if regexp.MustCompile(re).MatchString(s) {
			return s
		}
		heard = append(heard, s)
	}
	m.t.Fatalf("heard %q, and not %s", heard, re)
	return ""
}

const plainGateway = `
hostname: mx.example.org
listeners: {public: {address: "127.0.0.1:0"}}
routes: [{to: [example.org], upstream: local}]
upstreams: {local: {maildir: "{{dir}}/mail"}}
state: {directory: "{{dir}}/state"}
filters: []
`

// TestWatchdog: the watchdog is told that the gateway is alive while it is, and not while somebody holds a lock that
// each message needs.
func TestWatchdog(t *testing.T) {
	m := listenAsManager(t)
	t.Setenv("NOTIFY_SOCKET", m.path())
	t.Setenv("WATCHDOG_USEC", "1600000") // it is told every 400 ms
	g := startGateway(t, plainGateway)
	m.expect(`^READY=1\nSTATUS=taking mail: 0 connections, 0 with a transaction; configuration of 2[0-9-]+ [0-9:]+$`)
	m.expect("^WATCHDOG=1\nSTATUS=taking mail")
	c := connect(t, g.addr)
	c.say("EHLO client.test", "250")
	c.say("MAIL FROM:<a@client.test>", "250")
	m.expect("^WATCHDOG=1\nSTATUS=taking mail: 1 connections, 1 with a transaction")
	g.relays.mu.Lock()
	for m.hear(900*time.Millisecond) != "" { // what was on its way
	}
	if s := m.hear(900 * time.Millisecond); s != "" {
		t.Errorf("while a lock is held: %q", s)
	}
	g.relays.mu.Unlock()
	m.expect("^WATCHDOG=1\n")
	ill := g.log.lines(t, "not alive: the watchdog is not told otherwise, and ends the gateway")
	if len(ill) == 0 || !strings.Contains(ill[len(ill)-1]["error"].(string), "the relays") {
		t.Errorf("told %v", ill)
	}
	if n := len(g.log.lines(t, "alive again: the watchdog is told so")); n != len(ill) {
		t.Errorf("%d times alive again, after %d", n, len(ill))
	}
}

// TestStatus: the service manager learns of reloads, of one that was refused too.
func TestStatus(t *testing.T) {
	m := listenAsManager(t)
	t.Setenv("NOTIFY_SOCKET", m.path())
	g := startGateway(t, plainGateway)
	m.expect("^READY=1\n")
	g.reload(t.Context())
	m.expect("^RELOADING=1\nMONOTONIC_USEC=[0-9]+$")
	m.expect("^READY=1\nSTATUS=taking mail: .*; configuration of [0-9: -]+$")
	put(t, g.app.o.Config, []byte("hostname: ["))
	g.reload(t.Context())
	m.expect("^RELOADING=1\n")
	m.expect("^READY=1\nSTATUS=taking mail: .*; configuration of [0-9: -]+, that of [0-9: -]+ was refused$")
	if err := g.drain(nil); err != nil {
		t.Fatal(err)
	}
	m.expect("^STOPPING=1\nEXTEND_TIMEOUT_USEC=30000000\nSTATUS=draining: 0 connections")
	if !strings.Contains(systemd.Status("%s", "x"), "STATUS=x") {
		t.Error("no status")
	}
}

// TestHealth: /healthz says that the gateway is alive while it is, and what hangs while it does.
func TestHealth(t *testing.T) {
	t.Parallel()
	g := startGateway(t, plainGateway+"metrics: {address: \"127.0.0.1:0\"}\n")
	get := func() (int, string) {
		t.Helper()
		res, err := http.Get("http://" + g.web.addr.String() + "/healthz")
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return res.StatusCode, string(body)
	}
	var code int
	var body string
	becomes := func(want int, says string) bool { // a busy machine may look ill for a moment
		return comesTrue(func() bool { code, body = get(); return code == want && strings.Contains(body, says) })
	}
	if !becomes(200, "ok\n") || body != "ok\n" {
		t.Errorf("%d %q", code, body)
	}
	g.relays.mu.Lock()
	ill := becomes(503, "the relays")
	g.relays.mu.Unlock()
	if !ill {
		t.Errorf("%d %q", code, body)
	}
	if !becomes(200, "") {
		t.Errorf("well again: %d", code)
	}
}
