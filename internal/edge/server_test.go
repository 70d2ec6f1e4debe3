package edge

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	"weak"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/mail"
	"github.com/postern-mail/postern/pipeline"
	"github.com/postern-mail/postern/upstream"
)

// begin opens a connection and reads up to the answer to EHLO.
func begin(t *testing.T, d *door) *client {
	t.Helper()
	c := dialDoor(t, d)
	t.Cleanup(c.close)
	c.where = t.Name()
	c.step("S: 220")
	c.step("C: EHLO client.example")
	c.step("S: 250")
	return c
}

func (c *client) steps(script string) {
	c.t.Helper()
	for _, line := range strings.Split(script, "\n") {
		c.where = line
		c.step(strings.TrimSpace(line))
	}
}

const oneMessage = `
	C: MAIL FROM:<a@sender.example>
	S: 250
	C: RCPT TO:<b@ours.example>
	S: 250
	C: DATA
	S: 354
	raw: "\r\nx\r\n.\r\n"
	S: 250 2\.0\.0 Ok: queued`

func TestConnectionLimits(t *testing.T) {
	t.Run("all", func(t *testing.T) {
		d := newDoor(t, nil, func(_ *door, cfg *ListenerConfig) { cfg.Limits.Connections = 1 })
		begin(t, d)
		c := dialDoor(t, d)
		defer c.close()
		c.steps("S: 421 4\\.3\\.2\nEOF:")
	})
	t.Run("client", func(t *testing.T) {
		d := newDoor(t, nil, func(d *door, cfg *ListenerConfig) { cfg.Limits.PerClient, d.gw.ExemptNetworks = 1, nil })
		first := begin(t, d)
		c := dialDoor(t, d)
		c.steps("S: 421 4\\.7\\.0\nEOF:")
		c.close()
		first.steps("C: QUIT\nS: 221\nEOF:")
		waitFor(t, func() bool { return d.srv.clients.Open(netip.MustParseAddr("127.0.0.1")) == 0 })
		begin(t, d)
		if d.metrics.refused != 1 {
			t.Errorf("%d connections counted as refused", d.metrics.refused)
		}
	})
	t.Run("client that comes again as soon as it is told good-bye", func(t *testing.T) {
		for _, engine := range Engines() {
			d := newDoor(t, nil, func(d *door, cfg *ListenerConfig) {
				cfg.Engine, cfg.Limits.PerClient, cfg.Limits.Rate, d.gw.ExemptNetworks = engine, 1, 100_000, nil
			})
			for range 100 {
				c := dialDoor(t, d)
				c.steps("S: 220\nC: QUIT\nS: 221")
				defer c.close()
			}
		}
	})
	t.Run("exempt", func(t *testing.T) {
		d := newDoor(t, nil, func(_ *door, cfg *ListenerConfig) { cfg.Limits.PerClient = 1 })
		begin(t, d)
		begin(t, d)
	})
}

// longWait is how long a test waits for what is about to come. On a machine under load that is late, and where it does not come a test
// has time to fail.
const longWait = 2 * time.Minute

// waitFor waits for something that another goroutine is about to do.
func waitFor(t *testing.T, done func() bool) {
	t.Helper()
	for end := time.Now().Add(longWait); !done(); {
		if time.Now().After(end) {
			t.Fatal("waited in vain")
		}
		time.Sleep(time.Millisecond)
	}
}

func TestDrain(t *testing.T) {
	d := newDoor(t, nil, nil)
	idle, busy, secured := begin(t, d), begin(t, d), begin(t, d)
	secured.steps("C: STARTTLS\nS: 220\nstarttls:\nC: EHLO x.example\nS: 250")
	busy.steps("C: MAIL FROM:<a@sender.example>\nS: 250")
	drained := make(chan error, 1)
	go func() { drained <- d.srv.Drain(t.Context()) }()
	idle.steps("S: 421 4\\.3\\.2\nEOF:")
	secured.steps("S: 421 4\\.3\\.2\nEOF:")
	if _, err := net.Dial("tcp", d.addr); err == nil {
		t.Error("still listening")
	}
	busy.steps("C: RCPT TO:<b@ours.example>\nS: 250\nC: DATA\nS: 354\nraw: \"\\r\\nx\\r\\n.\\r\\n\"\nS: 250 2\\.0\\.0\ndelivered: 1\nS: 421 4\\.3\\.2\nEOF:")
	if err := <-drained; err != nil {
		t.Errorf("Drain: %v", err)
	}
}

func TestDrainRefusesPipelinedMail(t *testing.T) {
	d := newDoor(t, nil, nil)
	c := begin(t, d)
	c.steps("C: MAIL FROM:<a@sender.example>\nS: 250\nC: RCPT TO:<b@ours.example>\nS: 250")
	drained := make(chan error, 1)
	go func() { drained <- d.srv.Drain(t.Context()) }()
	waitFor(t, func() bool {
		d.srv.mu.Lock()
		defer d.srv.mu.Unlock()
		for w := range d.srv.wires {
			if !w.isDraining() {
				return false
			}
		}
		return d.srv.stopped
	})
	c.steps(`raw: "RSET\r\nMAIL FROM:<c@sender.example>\r\n"
		S: 250
		S: 421 4\.3\.2
		EOF:`)
	if err := <-drained; err != nil {
		t.Errorf("Drain: %v", err)
	}
}

func TestDrainEndsWithItsContext(t *testing.T) {
	d := newDoor(t, nil, nil)
	c := begin(t, d)
	c.steps("C: MAIL FROM:<a@sender.example>\nS: 250")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := d.srv.Drain(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Drain: %v", err)
	}
	c.steps("EOF:")
}

// TestViewsAreForgotten: what filters have made of a message does not live on while it is handed on.
func TestViewsAreForgotten(t *testing.T) {
	var view atomic.Pointer[weak.Pointer[[1 << 20]byte]]
	var left atomic.Bool
	d := newDoor(t, nil, func(d *door, _ *ListenerConfig) {
		look := filter.Func(func(_ context.Context, in *filter.Input) (filter.Result, error) {
			p := weak.Make(mail.Memo(in.Content, "view", func() *[1 << 20]byte { return new([1 << 20]byte) }))
			view.Store(&p)
			return filter.Result{}, nil
		})
		plan, err := pipeline.Compile([]pipeline.Stage{{Spec: filter.Spec{Name: "look", Phases: filter.In(filter.Data)}, Filter: look}})
		if err != nil {
			t.Fatal(err)
		}
		d.gw.Plan, d.gw.Policies["default"].Plan = plan, plan
		d.relay.before = func() {
			runtime.GC()
			left.Store(view.Load().Value() != nil)
		}
	})
	c := begin(t, d)
	c.steps("C: MAIL FROM:<a@sender.example>\nS: 250\nC: RCPT TO:<b@ours.example>\nS: 250\nC: DATA\nS: 354\nraw: \"\\r\\nx\\r\\n.\\r\\n\"\nS: 250")
	if view.Load() == nil || len(d.relay.all()) != 1 {
		t.Fatal("nobody has looked, or nothing was handed on")
	}
	if left.Load() {
		t.Error("the view is still there")
	}
}

func TestCloseDuringDelivery(t *testing.T) {
	entered, release := make(chan struct{}), make(chan struct{})
	d := newDoor(t, nil, func(d *door, _ *ListenerConfig) {
		d.relay.before = func() { close(entered); <-release }
	})
	c := begin(t, d)
	c.steps("C: MAIL FROM:<a@sender.example>\nS: 250\nC: RCPT TO:<b@ours.example>\nS: 250\nC: DATA\nS: 354\nraw: \"\\r\\nx\\r\\n.\\r\\n\"")
	<-entered
	closed := make(chan struct{})
	go func() { _ = d.srv.Close(); close(closed) }()
	c.steps("EOF:")
	close(release)
	<-closed
}

// countingConn counts what a server writes to it.
type countingConn struct {
	net.Conn
	mu     sync.Mutex
	writes int
}

func (c *countingConn) Write(p []byte) (int, error) {
	c.mu.Lock()
	c.writes++
	c.mu.Unlock()
	return c.Conn.Write(p)
}

func (c *countingConn) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.writes
}

type countingListener struct {
	net.Listener
	conns chan *countingConn
}

func (l countingListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	counting := &countingConn{Conn: c}
	l.conns <- counting
	return counting, nil
}

func TestOneWriteForABatch(t *testing.T) {
	d := newDoor(t, nil, nil)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	counting := countingListener{l, make(chan *countingConn, 1)}
	served := make(chan error, 1)
	go func() { served <- d.srv.Serve(counting) }()
	d.addr = l.Addr().String()
	c := begin(t, d)
	server := <-counting.conns
	before := server.count()
	c.steps(`raw: "MAIL FROM:<a@sender.example>\r\nRCPT TO:<b@ours.example>\r\nRCPT TO:<c@ours.example>\r\nDATA\r\n"
		S: 250
		S: 250
		S: 250
		S: 354`)
	if n := server.count() - before; n != 1 {
		t.Errorf("%d writes for one batch", n)
	}
	_ = d.srv.Close()
	if err := <-served; err != nil {
		t.Error(err)
	}
}

func TestManyClients(t *testing.T) {
	d := newDoor(t, []string{"data score SOME 1", "rcpt score OTHER 1"}, nil)
	const clients, each = 20, 10
	var wg sync.WaitGroup
	for i := range clients {
		wg.Go(func() {
			if err := talk(d.addr, i, each, i%2 == 0); err != nil {
				t.Errorf("client %d: %v", i, err)
			}
		})
	}
	wg.Wait()
	seen := map[string]int{}
	for _, m := range d.relay.all() {
		_, content := splitTop(m.content)
		seen[content]++
	}
	if len(seen) != clients*each {
		t.Errorf("%d different messages arrived, want %d", len(seen), clients*each)
	}
	for content, n := range seen {
		if n != 1 {
			t.Errorf("%d copies of %.40q", n, content)
		}
	}
	waitFor(t, func() bool { d.metrics.mu.Lock(); defer d.metrics.mu.Unlock(); return d.metrics.open == 0 })
}

// talk sends messages of several sizes over one connection.
func talk(addr string, who, n int, secure bool) error {
	var conn net.Conn
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(5 * longWait)) // of all its messages
	r := bufio.NewReader(conn)
	say := func(s, want string) error {
		if _, err := io.WriteString(conn, s); err != nil {
			return err
		}
		for {
			line, err := r.ReadString('\n')
			if err != nil {
				return err
			}
			if !strings.HasPrefix(line, want) {
				return fmt.Errorf("%.40q: got %q", s, line)
			}
			if line[3] == ' ' {
				return nil
			}
		}
	}
	steps := [][2]string{{"", "220"}, {"EHLO x\r\n", "250"}}
	if secure {
		steps = append(steps, [2]string{"STARTTLS\r\n", "220"})
	}
	for _, s := range steps {
		if err := say(s[0], s[1]); err != nil {
			return err
		}
	}
	if secure {
		tc := tls.Client(conn, &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // our own certificate
		conn, r = tc, bufio.NewReader(tc)
		if err := say("EHLO x\r\n", "250"); err != nil {
			return err
		}
	}
	for i := range n {
		body := fmt.Sprintf("Subject: %d-%d\r\n\r\n", who, i) + strings.Repeat("..line of text\r\n", i*i*1000) + ".\r\n"
		for _, s := range [][2]string{{"MAIL FROM:<a@s.example>\r\n", "250"}, {"RCPT TO:<b@ours.example>\r\n", "250"}, {"DATA\r\n", "354"}, {body, "250"}} {
			if err := say(s[0], s[1]); err != nil {
				return err
			}
		}
	}
	return say("QUIT\r\n", "221")
}

func TestSessionLife(t *testing.T) {
	w := &wire{began: time.Now().Add(-sessionLife - time.Second)}
	if why := w.whyNoMore(); !strings.HasPrefix(why, "421 4.3.2") {
		t.Errorf("MAIL after the session's life: %q", why)
	}
	w.busy = true
	if why := w.whyNoMore(); why != "" {
		t.Errorf("MAIL in a transaction: %q", why)
	}
}

func TestReload(t *testing.T) {
	d := newDoor(t, nil, nil)
	c := begin(t, d)
	c.steps("C: MAIL FROM:<a@sender.example>\nS: 250")
	next := *d.gw
	table, err := upstream.NewTable([]upstream.Rule{{To: []string{"new.example"}, Route: upstream.Route{Upstream: "two"}}})
	if err != nil {
		t.Fatal(err)
	}
	next.Router = table
	d.current.Store(&next)
	c.steps(`C: RCPT TO:<b@ours.example>
		S: 250
		C: RSET
		S: 250
		C: MAIL FROM:<a@sender.example>
		S: 250
		C: RCPT TO:<b@ours.example>
		S: 554
		C: RCPT TO:<b@new.example>
		S: 250`)
}

// BenchmarkMessages sends 4 KB messages over one connection, with no filters and a relay that takes all.
func BenchmarkMessages(b *testing.B) {
	d := newDoor(b, nil, nil)
	d.current.Load().Log = slog.New(slog.DiscardHandler)
	conn, err := net.Dial("tcp", d.addr)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	r := bufio.NewReader(conn)
	expect := func(n int) {
		for range n {
			for {
				line, err := r.ReadString('\n')
				if err != nil || line[0] != '2' && line[0] != '3' {
					b.Fatalf("%q, %v", line, err)
				}
				if line[3] == ' ' {
					break
				}
			}
		}
	}
	_, _ = io.WriteString(conn, "EHLO x\r\n")
	expect(2)
	message := "Subject: x\r\n\r\n" + strings.Repeat(strings.Repeat("x", 76)+"\r\n", 50) + ".\r\n"
	b.ReportAllocs()
	for b.Loop() {
		_, _ = io.WriteString(conn, "MAIL FROM:<a@s.example>\r\nRCPT TO:<b@ours.example>\r\nDATA\r\n")
		expect(3)
		_, _ = io.WriteString(conn, message)
		expect(1)
	}
}

func TestLostInContent(t *testing.T) {
	for name, sent := range map[string]string{
		"amid a line":     "\r\nbeginning",
		"after a line":    "\r\nbeginning\r\n",
		"amid the end":    "\r\nbeginning\r\n.",
		"amid its CRLF":   "\r\nbeginning\r\n.\r",
		"after a lone LF": "\r\nbeginning\n.\n",
	} {
		t.Run(name, func(t *testing.T) {
			d := newDoor(t, nil, nil)
			c := begin(t, d)
			c.steps("C: MAIL FROM:<a@sender.example>\nS: 250\nC: RCPT TO:<b@ours.example>\nS: 250\nC: DATA\nS: 354")
			c.send(sent)
			_ = c.conn.(*net.TCPConn).CloseWrite()
			c.steps("S: 421 4\\.4\\.2\nEOF:\ndelivered: 0")
			c.steps(`log: "msg":"delivery".*"stage":"eod","action":"defer".*"code":421`)
		})
	}
}

// brokenListener fails a few times.
type brokenListener struct {
	net.Listener
	errs []error
}

func (l *brokenListener) Accept() (net.Conn, error) {
	if len(l.errs) > 0 {
		err := l.errs[0]
		l.errs = l.errs[1:]
		return nil, err
	}
	return l.Listener.Accept()
}

func TestAcceptErrors(t *testing.T) {
	d := makeDoor(t, nil, nil)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d.addr = l.Addr().String()
	accept := func(err error) error { return &net.OpError{Op: "accept", Err: err} }
	go func() {
		d.served <- d.srv.Serve(&brokenListener{l, []error{accept(syscall.EMFILE), accept(syscall.ENOMEM), accept(syscall.EPROTO)}})
	}()
	begin(t, d).steps("C: QUIT\nS: 221")
	_ = d.srv.Close()
	if err := <-d.served; err != nil {
		t.Errorf("Serve after Close: %v", err)
	}
	if err := d.srv.Serve(l); err != nil {
		t.Errorf("Serve of a closed server: %v", err)
	}
	d = makeDoor(t, nil, nil)
	if l, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	if err := d.srv.Serve(&brokenListener{l, []error{accept(syscall.EBADF)}}); err == nil {
		t.Error("Serve went on without its listener")
	}
}

func TestTLS(t *testing.T) {
	for name, version := range map[string]uint16{"1.2": tls.VersionTLS12, "1.3": tls.VersionTLS13} {
		t.Run(name, func(t *testing.T) {
			d := newDoor(t, nil, nil)
			c := begin(t, d)
			c.steps("C: STARTTLS\nS: 220")
			tc := tls.Client(c.conn, &tls.Config{InsecureSkipVerify: true, MaxVersion: version}) //nolint:gosec // our own certificate
			c.conn, c.r = tc, bufio.NewReader(tc)
			c.steps("C: EHLO x\nS: 250" + oneMessage + "\ntop: using TLS " + name + " with cipher TLS_\nC: QUIT\nS: 221\nEOF:")
			waitFor(t, func() bool { d.metrics.mu.Lock(); defer d.metrics.mu.Unlock(); return d.metrics.tls == TLSStart })
			if got := strings.Join(d.metrics.handshakes, ","); got != name+" ok" {
				t.Errorf("handshakes counted: %s", got)
			}
		})
	}
	t.Run("failed", func(t *testing.T) {
		d := newDoor(t, nil, nil)
		c := begin(t, d)
		c.steps("C: STARTTLS\nS: 220\nC: MAIL FROM:<a@sender.example>")
		got, err := io.ReadAll(c.r)
		if strings.Contains(string(got), "50") || strings.Contains(string(got), "250") {
			t.Errorf("in clear after a failed handshake: %q, %v", got, err)
		}
		waitFor(t, func() bool { d.metrics.mu.Lock(); defer d.metrics.mu.Unlock(); return d.metrics.open == 0 })
		if got := strings.Join(d.metrics.handshakes, ","); got != "none failed" {
			t.Errorf("handshakes counted: %s", got)
		}
	})
	t.Run("implicit and silent", func(t *testing.T) {
		d := newDoor(t, nil, func(_ *door, cfg *ListenerConfig) { cfg.Implicit = true })
		c := dialDoor(t, d)
		c.close()
		waitFor(t, func() bool { d.metrics.mu.Lock(); defer d.metrics.mu.Unlock(); return len(d.metrics.handshakes) == 1 })
	})
}
