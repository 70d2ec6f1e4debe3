//go:build linux

package app

import (
	"bufio"
	"encoding/json"
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
	"github.com/postern-mail/postern/internal/store"
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
		c, err := net.DialTimeout("tcp", l.Addr().String(), time.Second) // the kernel takes a connection at once, or answers nothing
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
	// How long a message waits at most is what upstream's TestBlackHole says, in a time that no busy machine stretches. Here one
	// of each few must be quick: a connection that is tried to its end takes ten seconds.
	var wg sync.WaitGroup
	for worker := range 4 {
		wg.Go(func() {
			quickest := time.Hour
			for i := range 6 { // RCPT and the reply to the final dot may each take as long as it takes to find out: two seconds
				quickest = min(quickest, send(6*worker+i))
			}
			if quickest > 9*time.Second {
				t.Errorf("no message took less than %v", quickest)
			}
		})
	}
	wg.Wait()
	quickest := time.Hour
	for i := range 6 {
		quickest = min(quickest, send(24+i))
	}
	if quickest > 5*time.Second {
		t.Errorf("when it is known: no message took less than %v", quickest)
	}
	sent := 30
	var one, two int
	if !comesTrue(func() bool {
		one, two = len(postfix.Stored(t)), len(exim.Stored(t))
		if one+two == sent && (one == 0 || two == 0) { // it was slow, was left out for that, and comes back
			send(sent)
			sent++
		}
		return one+two == sent && one > 0 && two > 0
	}) {
		t.Errorf("%d and %d messages of %d", one, two, sent)
	}
	series := func(name, more string) string {
		return metric(t, metrics, fmt.Sprintf(`%s{backend="%s"%s}`, name, gone, more))
	}
	var up, breaker string
	if !comesTrue(func() bool {
		up, breaker = series("postern_upstream_up", ""), series("postern_upstream_breaker_state", `,state="open"`)
		return up == "0" && breaker == "1"
	}) {
		t.Errorf("up %s, open %s", up, breaker)
	}
	probes := func() string { return series("postern_upstream_probes_total", `,result="unreachable"`) }
	if !comesTrue(func() bool { n := probes(); return n != "0" && n != "" }) {
		t.Errorf("%q probes found nobody", probes())
	}
	var took sync.Map
	open()
	go takeMail(hole, &took)
	back := func() bool { return series("postern_upstream_up", "") == "1" }
	comesTrue(back)
	count := func() (n int) {
		took.Range(func(any, any) bool { n++; return true })
		return n
	}
	for i := sent; count() == 0 && i < sent+200; i++ {
		send(i)
	}
	if count() == 0 || !comesTrue(back) {
		t.Errorf("the third has %d messages, up %v", count(), back())
	}
	var told []string // by turns: on a busy machine it may seem to be gone once more
	for line := range strings.Lines(g.log.String()) {
		var l struct{ Msg, Server string }
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			t.Fatal(err)
		}
		if l.Server == gone && (l.Msg == "upstream server marked down" || l.Msg == "upstream server serves again") {
			told = append(told, l.Msg)
		}
	}
	for i, msg := range told {
		if want := []string{"upstream server marked down", "upstream server serves again"}[i%2]; msg != want {
			t.Errorf("told: %q", told)
			break
		}
	}
	if len(told) < 2 {
		t.Errorf("told: %q", told)
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

// TestAcceptsAnyTooLate: an answer that comes after a reload has taken its upstream away says nothing.
func TestAcceptsAnyTooLate(t *testing.T) {
	t.Parallel()
	text := askingOf(t.TempDir())
	old, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer old.Close()
	held, let := make(chan struct{}, 100), make(chan struct{})
	go takeMail(slowToAsk{old, held, let}, new(sync.Map))
	g := startGateway(t, text(old.Addr().String()))
	trial := make(chan struct{})
	go func() {
		defer close(trial)
		g.tryRoutes(t.Context(), map[asking]time.Time{})
	}()
	<-held // this one's
	<-held // that of the gateway itself
	g.take(t, text(backend(t, map[string]string{"RCPT": "550 5.1.1 no such user"})))
	g.tryRoutes(t.Context(), map[asking]time.Time{})
	close(let)
	<-trial
	if got := g.metric(t, `postern_recipient_callout_accepts_any{route="example.org"}`); got != "0" {
		t.Errorf("%q of the new upstream", got)
	}
	if all := g.log.lines(t, "the upstream accepts recipients that nobody can have: recipients: callout refuses none there"); len(all) != 0 {
		t.Errorf("told: %v", all)
	}
	if all, err := loadTrials(store.OS, g.cfg.Load()); err != nil || len(all) != 1 || all[0].Any {
		t.Errorf("%+v, %v", all, err)
	}
}

// slowToAsk is a listener whose connections hold each RCPT back.
type slowToAsk struct {
	net.Listener
	held chan<- struct{}
	let  <-chan struct{}
}

func (s slowToAsk) Accept() (net.Conn, error) {
	c, err := s.Listener.Accept()
	return slowToAskConn{c, s}, err
}

type slowToAskConn struct {
	net.Conn
	s slowToAsk
}

func (c slowToAskConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if strings.HasPrefix(string(p[:n]), "RCPT") {
		c.s.held <- struct{}{}
		<-c.s.let
	}
	return n, err
}
