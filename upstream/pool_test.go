package upstream

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/postern-mail/postern/mail"
)

func envelope(t testing.TB, to ...string) mail.Envelope {
	env := mail.Envelope{ID: "ID", From: address(t, "a@x.test")}
	for _, a := range to {
		env.To = append(env.To, address(t, a))
	}
	return env
}

func pool(t testing.TB, cfg Config) *Pool {
	t.Helper()
	cfg.Hello = "gw.test"
	p, err := NewPool(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

// TestWait: a delivery waits for a connection as long as its context and the time-out let it.
func TestWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var dialed atomic.Int64
		p := pool(t, Config{
			Servers: []string{"s1.test:25"}, MaxConnections: 2,
			Timeouts: Timeouts{Dial: time.Hour},
			Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
				dialed.Add(1)
				<-ctx.Done()
				return nil, ctx.Err()
			},
		})
		m := message(t, "x\r\n")
		held, release := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for range 2 {
			wg.Go(func() {
				if o := p.Deliver(held, envelope(t, "b@y.test"), m); o.Kind != Unreachable || o.Stage != StageDial {
					t.Errorf("%+v", o)
				}
			})
		}
		synctest.Wait()
		start := time.Now()
		o := p.Deliver(t.Context(), envelope(t, "b@y.test"), m)
		if o.Stage != StageWait || o.Kind != Unreachable || !errors.Is(o.Err, errWait) || time.Since(start) != 30*time.Second {
			t.Errorf("%+v after %v", o, time.Since(start))
		}
		if got := o.ClientReply("ID", false); got.Code != 451 || got.Enhanced != (mail.Enhanced{4, 4, 1}) {
			t.Error(got)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start = time.Now()
		o = p.Deliver(ctx, envelope(t, "b@y.test"), m)
		if o.Stage != StageWait || !errors.Is(o.Err, context.DeadlineExceeded) || time.Since(start) != time.Second {
			t.Errorf("%+v after %v", o, time.Since(start))
		}
		if dialed.Load() != 2 || p.servers[0].isDown(time.Now()) {
			t.Errorf("dialed %d times, down %v", dialed.Load(), p.servers[0].isDown(time.Now()))
		}
		release()
		wg.Wait()
	})
}

// TestCancel: a canceled context ends a delivery at once, wherever it stands.
func TestCancel(t *testing.T) {
	upTo := map[Stage]string{
		StageGreeting: "",
		StageHello:    "S 220 s1\nC EHLO gw.test",
		StageMail:     "S 220 s1\nC EHLO gw.test\nS 250 s1\nC MAIL FROM:<a@x.test>",
		StageData:     "S 220 s1\nC EHLO gw.test\nS 250 s1\nC MAIL FROM:<a@x.test>\nS 250 Ok\nC RCPT TO:<b@y.test>\nS 250 Ok\nC DATA",
	}
	upTo[StageBody] = upTo[StageData] + "\nS 354 go"
	upTo[StageDot] = upTo[StageBody] + "\nBODY"
	for stage, script := range upTo {
		t.Run(string(stage), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := &backend{
					name: "s1", done: make(chan struct{}),
					scripts: [][]string{append(strings.FieldsFunc(script, func(r rune) bool { return r == '\n' }), "STALL")},
				}
				p := pool(t, Config{Servers: []string{"s1.test:25"}, Dial: pipeNet{"s1.test:25": b}.dial})
				ctx, cancel := context.WithCancel(t.Context())
				time.AfterFunc(time.Second, cancel)
				start := time.Now()
				o := p.Deliver(ctx, envelope(t, "b@y.test"), message(t, "x\r\n"))
				want := Unreachable
				if stage == StageDot {
					want = Unknown
				}
				if o.Kind != want || o.Stage != stage || time.Since(start) != time.Second {
					t.Errorf("%+v after %v", o, time.Since(start))
				}
				if s := p.servers[0]; s.open != 0 || s.isDown(time.Now()) {
					t.Errorf("%d open, down %v", s.open, s.isDown(time.Now()))
				}
				if err := b.stop(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// TestInterrupted: what is begun after the interrupt ends at once, too.
func TestInterrupted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := net.Pipe()
		defer server.Close() //nolint:errcheck // a test's
		timeouts := Timeouts{Command: time.Hour}
		c := newConn(client, "s1.test:25", &timeouts)
		defer c.quit()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		c.attach(ctx)
		synctest.Wait()
		start := time.Now()
		if _, err := c.ask("EHLO gw.test"); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(start) != 0 {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		c.broken = false
		if c.detach(); !c.broken {
			t.Error("an interrupted connection is fit for more")
		}
	})
}

// TestBackoff: it doubles with each failure after the last one is over, and ends with a success.
func TestBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ups []bool
		p := pool(t, Config{Servers: []string{"s1.test:25"}, Hooks: Hooks{Up: func(_ string, up bool) { ups = append(ups, up) }}})
		s := p.servers[0]
		for _, want := range []time.Duration{30 * time.Second, time.Minute, 2 * time.Minute, 4 * time.Minute, 5 * time.Minute, 5 * time.Minute} {
			for range 20 {
				s.fails(faultReach)
			}
			time.Sleep(want - 1)
			if !s.isDown(time.Now()) {
				t.Errorf("up before %v", want)
			}
			time.Sleep(2 * time.Nanosecond)
			if s.isDown(time.Now()) {
				t.Errorf("down after %v", want)
			}
		}
		s.serves(time.Now())
		s.serves(time.Now())
		s.fails(faultReach)
		if time.Sleep(30*time.Second + 1); s.isDown(time.Now()) {
			t.Error("a success did not end it")
		}
		if want := []bool{true, false, true, false}; !slices.Equal(ups, want) {
			t.Errorf("told %v", ups)
		}
	})
}

// TestMaxSize: the most that a server has said lately; nothing where one takes anything, or none has said.
func TestMaxSize(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := pool(t, Config{Servers: []string{"s1.test:25", "s2.test:25"}})
		check := func(what string, want int64) {
			t.Helper()
			if got := p.MaxSize(); got != want {
				t.Errorf("%s: %d, want %d", what, got, want)
			}
		}
		check("at first", 0)
		p.servers[0].opened(extensions{size: true, maxSize: 1000}, time.Now())
		check("one has said", 1000)
		time.Sleep(sizeFor / 2)
		p.servers[1].opened(extensions{size: true, maxSize: 3000}, time.Now())
		check("both have said", 3000)
		time.Sleep(sizeFor / 2)
		check("one has not said lately", 3000)
		p.servers[0].opened(extensions{size: true}, time.Now())
		check("one takes anything", 0)
		p.servers[0].opened(extensions{}, time.Now())
		check("one does not say", 0)
		time.Sleep(sizeFor)
		check("none has said lately", 0)
	})
}

// TestConnectionsAreCounted: the numbers that two pools of one server tell add up to those there are, and to none
// when both are closed.
func TestConnectionsAreCounted(t *testing.T) {
	s := newSink(t, false)
	var mu sync.Mutex
	open, idle := 0, 0
	hooks := Hooks{Connections: func(_ string, o, i int) {
		mu.Lock()
		defer mu.Unlock()
		open, idle = open+o, idle+i
	}}
	check := func(what string, want int) {
		t.Helper()
		mu.Lock()
		defer mu.Unlock()
		if open != want || idle != want {
			t.Errorf("%s: %d open, %d idle, want %d", what, open, idle, want)
		}
	}
	a := pool(t, Config{Servers: []string{s.addr}, Hooks: hooks})
	b := pool(t, Config{Servers: []string{s.addr}, Hooks: hooks})
	for range 2 {
		for _, p := range []*Pool{a, b} {
			if o := p.Deliver(t.Context(), envelope(t, "b@y.test"), message(t, "X-Id: 1\r\n\r\n")); o.Kind != Delivered {
				t.Fatalf("%+v", o)
			}
		}
	}
	check("after deliveries", 2)
	a.Close()
	check("one is closed", 1)
	b.Close()
	b.Close()
	check("both are closed", 0)
}

// TestStalledServer: over TCP, too, a server that takes no more is given up when a block does not get out.
func TestStalledServer(t *testing.T) {
	b := &backend{name: "s1", done: make(chan struct{}), scripts: [][]string{{
		"S 220 s1", "C EHLO gw.test", "S 250 s1", "C MAIL FROM:<a@x.test>", "S 250 Ok", "C RCPT TO:<b@y.test>",
		"S 250 Ok", "C DATA", "S 354 go", "STALL",
	}}}
	p := pool(t, Config{Servers: []string{listen(t, b)}, Timeouts: Timeouts{Block: 50 * time.Millisecond}})
	o := p.Deliver(t.Context(), envelope(t, "b@y.test"), message(t, strings.Repeat("0123456789abc\r\n", 1<<20)))
	if o.Kind != Unreachable || o.Stage != StageBody || !errors.Is(o.Err, os.ErrDeadlineExceeded) {
		t.Errorf("%+v", o)
	}
	if err := b.stop(); err != nil {
		t.Error(err)
	}
}

// TestContentGone: when the message can't be read, nothing of it becomes a message, and it is ours to mend.
func TestContentGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{name: "s1", done: make(chan struct{}), scripts: [][]string{{
			"S 220 s1", "C EHLO gw.test", "S 250 s1", "C MAIL FROM:<a@x.test>", "S 250 Ok", "C RCPT TO:<b@y.test>",
			"S 250 Ok", "C DATA", "S 354 go", "EOF",
		}}}
		faults := 0
		p := pool(t, Config{
			Servers: []string{"s1.test:25", "s2.test:25"}, Dial: pipeNet{"s1.test:25": b}.dial,
			Hooks: Hooks{Fault: func(string, Stage, mail.Reply, error) { faults++ }},
		})
		m := message(t, "x\r\n")
		m.Release()
		o := p.Deliver(t.Context(), envelope(t, "b@y.test"), m)
		if o.Kind != OurFault || o.Stage != StageContent || !errors.Is(o.Err, mail.ErrReleased) || faults != 0 {
			t.Errorf("%+v, %d faults", o, faults)
		}
		if got := o.ClientReply("ID", true).String(); got != "451 4.3.0 local error, please try again later (ID)" {
			t.Error(got)
		}
		if err := b.stop(); err != nil {
			t.Error(err)
		}
	})
}

// TestFaults: many deliveries at once through servers that fail in every way. Whatever is reported as
// delivered was taken exactly once; what was not reported was not taken, but for lost replies; nothing
// is refused for good.
func TestFaults(t *testing.T) {
	t.Run("data", func(t *testing.T) { testFaults(t, false) })
	t.Run("chunking", func(t *testing.T) { testFaults(t, true) })
}

func testFaults(t *testing.T, chunking bool) {
	a, b := newSink(t, true), newSink(t, true)
	var open, most atomic.Int64
	p := pool(t, Config{
		Servers: []string{a.addr, b.addr}, MaxConnections: 8, Chunking: chunking,
		Hooks: Hooks{Connections: func(server string, n, _ int) {
			if server != a.addr {
				return
			}
			now := open.Add(int64(n))
			for m := most.Load(); now > m && !most.CompareAndSwap(m, now); m = most.Load() {
			}
		}},
	})
	const workers, each = 16, 100
	var mu sync.Mutex
	kinds, told := map[Kind]int{}, map[string]Kind{}
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := range each {
				id := fmt.Sprintf("%d-%d", w, i)
				m := message(t, "X-Id: "+id+"\r\n\r\n.dot\r\n"+strings.Repeat("0123456789\r\n", 100*(i%7)))
				o := p.Deliver(t.Context(), envelope(t, fmt.Sprintf("u%d@y.test", i%5)), m)
				if r := o.ClientReply(id, false); r.Permanent() || r.Positive() != (o.Kind == Delivered) {
					t.Errorf("%v for %+v", r, o)
				}
				mu.Lock()
				kinds[o.Kind]++
				told[id] = o.Kind
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	taken := a.taken()
	for id, n := range b.taken() {
		taken[id] += n
	}
	for id, kind := range told {
		switch n := taken[id]; {
		case kind == Delivered && n != 1, kind == Unknown && n > 1, kind != Delivered && kind != Unknown && n != 0:
			t.Errorf("%s: %v, taken %d times", id, kind, n)
		}
	}
	if kinds[Delivered] < workers*each/2 || kinds[Unknown] == 0 || kinds[Refused] == 0 {
		t.Errorf("the faults did not happen: %v", kinds)
	}
	if most.Load() > 8 {
		t.Errorf("%d connections open at once", most.Load())
	}
	t.Logf("%v, at most %d connections", kinds, most.Load())
}

func TestConfigErrors(t *testing.T) {
	bad := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(bad, []byte("no certificate\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, cfg := range map[string]Config{
		"no servers":     {},
		"no port":        {Servers: []string{"s1.test"}},
		"empty port":     {Servers: []string{"s1.test:"}},
		"empty host":     {Servers: []string{":25"}},
		"no CA file":     {Servers: []string{"s1.test:25"}, TLS: TLSVerify, CAFile: bad + ".missing"},
		"CA file is bad": {Servers: []string{"s1.test:25"}, TLS: TLSVerify, CAFile: bad},
	} {
		cfg.Name = "exchange"
		if _, err := NewPool(cfg); err == nil || !strings.HasPrefix(err.Error(), "upstream: exchange: ") {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, m := range []TLSMode{TLSNone, TLSOpportunistic, TLSRequired, TLSVerify} {
		if got, err := ParseTLSMode(m.String()); err != nil || got != m {
			t.Errorf("%v: %v, %v", m, got, err)
		}
	}
	if _, err := ParseTLSMode("always"); err == nil {
		t.Error("tls always")
	}
	p := pool(t, Config{Servers: []string{"s1.test:25"}})
	if o := p.Deliver(t.Context(), mail.Envelope{}, message(t, "x")); o.Kind != OurFault || o.ClientReply("ID", false).Code != 451 {
		t.Errorf("no recipients: %+v", o)
	}
}
