//go:build linux

package app

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"net/smtp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/postern-mail/postern/internal/peertest"
)

// blackHole is a port where packets are lost: its backlog is full, so that the kernel answers no SYN. open ends that.
func blackHole(t *testing.T) (l *net.TCPListener, open func()) {
	t.Helper()
	any, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l = any.(*net.TCPListener)
	raw, err := l.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	backlog := func(n int) {
		if err := raw.Control(func(fd uintptr) { _ = syscall.Listen(int(fd), n) }); err != nil {
			t.Fatal(err)
		}
	}
	backlog(0)
	var filling []net.Conn
	t.Cleanup(func() {
		_ = l.Close()
		for _, c := range filling {
			_ = c.Close()
		}
	})
	for range 10 {
		c, err := net.DialTimeout("tcp", l.Addr().String(), 200*time.Millisecond)
		var late net.Error
		if errors.As(err, &late) && late.Timeout() {
			return l, func() { backlog(128) }
		}
		if err != nil {
			t.Fatal(err)
		}
		filling = append(filling, c)
	}
	t.Fatal("the backlog is never full")
	return nil, nil
}

// takeMail is a small server that takes all mail.
func takeMail(l net.Listener, took *sync.Map) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			fmt.Fprint(c, "220 small\r\n")
			for in, content := bufio.NewReader(c), false; ; {
				line, err := in.ReadString('\n')
				if err != nil {
					return
				}
				switch {
				case content && line != ".\r\n":
					continue
				case content:
					took.Store(c.RemoteAddr().String()+time.Now().String(), true)
					content = false
				case strings.HasPrefix(line, "DATA"):
					content = true
					fmt.Fprint(c, "354 go\r\n")
					continue
				}
				fmt.Fprint(c, "250 2.0.0 ok\r\n")
			}
		}()
	}
}

// TestOneOfThreeIsGone: of three servers one swallows all packets. Mail goes to the two others, and nobody waits for long;
// and it goes to the third one as well when that is back.
func TestOneOfThreeIsGone(t *testing.T) {
	t.Parallel()
	postfix := peertest.StartPostfix(t, peertest.MTAOptions{})
	exim := peertest.StartExim(t, peertest.MTAOptions{})
	hole, open := blackHole(t)
	gone := hole.Addr().String()
	metrics := peertest.FreeAddr(t)
	g := startGateway(t, fmt.Sprintf(`hostname: mx.example.org
listeners: {public: {address: "127.0.0.1:0"}}
routes: [{to: [example.org], upstream: inside, recipients: callout}]
upstreams: {inside: {servers: [{address: "%s", weight: 1}, "%s", "%s"]}}
state: {directory: {{dir}}/state}
metrics: {address: "%s"}
filters: []
`, gone, postfix.Addr, exim.Addr, metrics))
	send := func(i int) time.Duration {
		start := time.Now()
		err := smtp.SendMail(g.addr, nil, "a@example.net", []string{fmt.Sprintf("user%d@example.org", i)}, fmt.Appendf(nil, "Subject: %d\r\n\r\nx\r\n", i))
		if err != nil {
			t.Errorf("message %d: %v", i, err)
		}
		return time.Since(start)
	}
	var wg sync.WaitGroup
	for worker := range 4 {
		wg.Go(func() {
			for i := range 6 {
				// RCPT and the reply to the final dot may each take as long as it takes to find out: two seconds. On a busy machine
				// it is more; a connection that is tried to its end takes ten.
				if took := send(6*worker + i); took > 9*time.Second {
					t.Errorf("message %d took %v", 6*worker+i, took)
				}
			}
		})
	}
	wg.Wait()
	for i := range 6 {
		if took := send(24 + i); took > 5*time.Second {
			t.Errorf("when it is known: message %d took %v", 24+i, took)
		}
	}
	one, two := len(postfix.Messages(t, 1)), len(exim.Messages(t, 1))
	for end := time.Now().Add(10 * time.Second); one+two < 30 && time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		one, two = len(postfix.Stored(t)), len(exim.Stored(t))
	}
	if one+two != 30 || one == 0 || two == 0 {
		t.Errorf("%d and %d messages", one, two)
	}
	series := func(name, more string) string {
		return metric(t, metrics, fmt.Sprintf(`%s{backend="%s"%s}`, name, gone, more))
	}
	if up, breaker := series("postern_upstream_up", ""), series("postern_upstream_breaker_state", `,state="open"`); up != "0" || breaker != "1" {
		t.Errorf("up %s, open %s", up, breaker)
	}
	probes := func() string { return series("postern_upstream_probes_total", `,result="unreachable"`) }
	for end := time.Now().Add(10 * time.Second); probes() == "0" && time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
	}
	if n := probes(); n == "0" || n == "" {
		t.Errorf("%q probes found nobody", n)
	}
	var took sync.Map
	open()
	go takeMail(hole, &took)
	back := func() bool { return series("postern_upstream_up", "") == "1" }
	for end := time.Now().Add(10 * time.Second); !back() && time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
	}
	count := func() (n int) {
		took.Range(func(any, any) bool { n++; return true })
		return n
	}
	for i := 30; count() == 0 && i < 200; i++ {
		send(i)
	}
	if count() == 0 || !back() {
		t.Errorf("the third has %d messages, up %v", count(), back())
	}
	told := func(msg string) (n int) {
		for _, l := range g.log.lines(t, msg) {
			if l["server"] == gone {
				n++
			}
		}
		return n
	}
	if down, up := told("upstream server marked down"), told("upstream server serves again"); down != 1 || up != 1 {
		t.Errorf("told %d times that it is down, %d times that it is up", down, up)
	}
}

// TestUpstreamTakenAway: a delivery that is under way when a reload takes its upstream away is carried out, and the next message goes to the new one.
func TestUpstreamTakenAway(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var old, fresh sync.Map
	held, let := make(chan struct{}), make(chan struct{})
	go takeMail(holding{l, held, let}, &old)
	other, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	go takeMail(other, &fresh)
	text := func(server net.Listener) string {
		return fmt.Sprintf(`hostname: mx.example.org
listeners: {public: {address: "127.0.0.1:0", early_talkers: 0s}}
routes: [{to: [example.org], upstream: inside}]
upstreams: {inside: {servers: [%q]}}
state: {directory: %q}
filters: []
`, server.Addr(), dir)
	}
	g := startGateway(t, text(l))
	send := func() error {
		return smtp.SendMail(g.addr, nil, "a@example.net", []string{"bob@example.org"}, []byte("Subject: x\r\n\r\nx\r\n"))
	}
	sent := make(chan error, 1)
	go func() { sent <- send() }()
	<-held
	g.take(t, text(other))
	if err := send(); err != nil {
		t.Errorf("to the new one: %v", err)
	}
	close(let)
	if err := <-sent; err != nil {
		t.Errorf("to the old one: %v", err)
	}
	for what, took := range map[string]*sync.Map{"old": &old, "new": &fresh} {
		n := 0
		took.Range(func(any, any) bool { n++; return true })
		if n != 1 {
			t.Errorf("the %s one has %d messages", what, n)
		}
	}
}

// holding is a listener whose connections hold the reply to the final dot back.
type holding struct {
	net.Listener
	held, let chan struct{}
}

func (h holding) Accept() (net.Conn, error) {
	c, err := h.Listener.Accept()
	return &holdingConn{Conn: c, h: h}, err
}

type holdingConn struct {
	net.Conn
	h       holding
	content bool
}

func (c *holdingConn) Write(p []byte) (int, error) {
	if c.content {
		c.content = false
		close(c.h.held)
		<-c.h.let
	}
	c.content = strings.HasPrefix(string(p), "354")
	return c.Conn.Write(p)
}
