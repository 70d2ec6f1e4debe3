package scanner

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/postern-mail/postern/filter"
)

func testPool(t *testing.T, ps *Pools, log *bytes.Buffer, c Config) *Pool {
	t.Helper()
	if log == nil {
		log = new(bytes.Buffer)
	}
	p, err := ps.Pool(filter.Env{Name: "x", Log: slog.New(slog.NewTextHandler(log, nil))}, Options{Kind: "x", Config: c})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

var errDown = errors.New("down")

// script makes a function for Ask that ends as it is told by server; "hang" waits for its context to end.
func script(by map[string]string) func(context.Context, *Server) error {
	return func(ctx context.Context, s *Server) error {
		switch by[s.Address] {
		case "down":
			return errDown
		case "hang":
			<-ctx.Done()
			return ctx.Err()
		case "ours":
			return Blameless(errDown)
		}
		return nil
	}
}

// ask asks with a deadline of 20 s and gives the error.
func ask(t *testing.T, p *Pool, f func(context.Context, *Server) error) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	return p.Ask(ctx, f)
}

// TestBreaker: it opens after so many faults in a row, one message at a time tries after a pause, which grows, and it closes
// when that one is served.
func TestBreaker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		p := testPool(t, new(Pools), &log, Defaults(10, "a:1"))
		how := map[string]string{"a:1": "down"}
		asked := 0
		f := func(ctx context.Context, s *Server) error { asked++; return script(how)(ctx, s) }
		want := func(calls int, state State, open bool) {
			t.Helper()
			asked = 0
			err := ask(t, p, f)
			if asked != calls || p.State() != state || errors.Is(err, filter.ErrBreakerOpen) != open {
				t.Fatalf("asked %d times, %v, %v; want %d, %v, open %v", asked, p.State(), err, calls, state, open)
			}
		}
		for range 4 {
			want(1, Closed, false)
		}
		how["a:1"] = "ours" // says nothing, neither way
		want(1, Closed, false)
		how["a:1"] = ""
		want(1, Closed, false)
		how["a:1"] = "down" // a row begins anew
		for range 4 {
			want(1, Closed, false)
		}
		want(1, Open, false)
		want(0, Open, true)
		pause := 5 * time.Second
		for range 8 {
			time.Sleep(pause - time.Nanosecond)
			want(0, Open, true)
			time.Sleep(time.Nanosecond)
			want(1, Open, false)
			pause = min(2*pause, time.Minute)
		}
		time.Sleep(pause)
		how["a:1"] = "ours" // the next one tries, at once
		want(1, Open, false)
		how["a:1"] = ""
		want(1, Closed, false)
		if n := strings.Count(log.String(), "not asked for a while"); n != 1 {
			t.Errorf("told %d times that it fails:\n%s", n, log.String())
		}
		if n := strings.Count(log.String(), "answers again"); n != 1 {
			t.Errorf("told %d times that it answers:\n%s", n, log.String())
		}
		how["a:1"] = "down"
		for range 4 {
			want(1, Closed, false)
		}
		want(1, Open, false)
		time.Sleep(5 * time.Second) // the first pause is short again
		want(1, Open, false)
	})
}

// TestBreakerExplains: whoever is not asked for says why, for each server and since when, and the log hears of it now and then as long as it
// lasts.
func TestBreakerExplains(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		c := Defaults(10, "a:1", "b:1")
		c.Faults = 1
		p := testPool(t, new(Pools), &log, c)
		began := time.Now().UTC()
		down := script(map[string]string{"a:1": "down", "b:1": "down"})
		_ = ask(t, p, down)
		err := ask(t, p, down)
		for _, want := range []string{"a:1 since " + began.Format("15:04:05Z") + ", at last: down", "b:1 since "} {
			if !errors.Is(err, filter.ErrBreakerOpen) || !strings.Contains(err.Error(), want) {
				t.Errorf("%v does not say %q", err, want)
			}
		}
		for range 60 { // of the next hour, one a minute
			time.Sleep(time.Minute)
			_ = ask(t, p, down)
		}
		want := "msg=\"scanner still fails: it is not asked\" server=a:1 since=" + began.Format(time.RFC3339) + " error=down"
		if n := strings.Count(log.String(), want); n < 4 || n > 6 {
			t.Errorf("told %d times in an hour:\n%s", n, log.String())
		}
		h := p.Health()
		if len(h.Servers) != 2 || h.Servers[1] != (filter.ServerHealth{Name: "b:1", Breaker: "open"}) {
			t.Errorf("health: %+v", h)
		}
	})
}

// TestOneTries: while one message tries a server, others are told that the breaker is open.
func TestOneTries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := Defaults(10, "a:1")
		c.Faults = 1
		p := testPool(t, new(Pools), nil, c)
		_ = ask(t, p, script(map[string]string{"a:1": "down"}))
		time.Sleep(5 * time.Second)
		go func() { _ = ask(t, p, script(map[string]string{"a:1": "hang"})) }()
		synctest.Wait()
		if p.State() != HalfOpen {
			t.Errorf("the state is %v", p.State())
		}
		if err := ask(t, p, script(nil)); !errors.Is(err, filter.ErrBreakerOpen) {
			t.Errorf("another one: %v", err)
		}
		time.Sleep(20 * time.Second)
		synctest.Wait()
		if p.State() != Open {
			t.Errorf("after a vain try the state is %v", p.State())
		}
		// A panic is no answer, and leaves nothing behind.
		time.Sleep(10 * time.Second)
		func() {
			defer func() { _ = recover() }()
			_ = ask(t, p, func(context.Context, *Server) error { panic("x") })
		}()
		if err := ask(t, p, script(nil)); err != nil || p.State() != Closed {
			t.Errorf("after a panic: %v, %v", err, p.State())
		}
	})
}

// TestTurnsToAnother: where a server fails the next one is asked, and one that hangs leaves it time.
func TestTurnsToAnother(t *testing.T) {
	for _, c := range []struct {
		name  string
		how   map[string]string
		after time.Duration
		err   error
	}{
		{"first", nil, 0, nil},
		{"second", map[string]string{"a:1": "down"}, 0, nil},
		{"first hangs", map[string]string{"a:1": "hang"}, 10 * time.Second, nil},
		{"two hang", map[string]string{"a:1": "hang", "b:1": "hang"}, 15 * time.Second, nil},
		{"all hang", map[string]string{"a:1": "hang", "b:1": "hang", "c:1": "hang"}, 20 * time.Second, context.DeadlineExceeded},
		{"all down", map[string]string{"a:1": "down", "b:1": "down", "c:1": "down"}, 0, errDown},
		{"our fault", map[string]string{"a:1": "ours"}, 0, errDown},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := testPool(t, new(Pools), nil, Defaults(10, "a:1", "b:1", "c:1"))
				began := time.Now()
				err := ask(t, p, script(c.how))
				if !errors.Is(err, c.err) || time.Since(began) != c.after {
					t.Errorf("%v after %s; want %v after %s", err, time.Since(began), c.err, c.after)
				}
			})
		})
	}
}

// TestWhoIsBlamed: that the caller has gone, or that the wait for a turn took the time, is not held against the server.
func TestWhoIsBlamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := Defaults(1, "a:1")
		c.Faults = 1
		p := testPool(t, new(Pools), nil, c)
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		if err := p.Ask(ctx, script(map[string]string{"a:1": "hang"})); !errors.Is(err, context.Canceled) || p.State() != Closed {
			t.Errorf("caller gone: %v, %v", err, p.State())
		}
		go func() {
			_ = ask(t, p, func(context.Context, *Server) error { time.Sleep(15 * time.Second); return nil })
		}()
		synctest.Wait()
		if err := ask(t, p, script(map[string]string{"a:1": "hang"})); err == nil || p.State() != Closed {
			t.Errorf("after a long wait: %v, %v", err, p.State())
		}
		if err := ask(t, p, script(map[string]string{"a:1": "hang"})); err == nil || p.State() != Open {
			t.Errorf("without a wait: %v, %v", err, p.State())
		}
	})
}

// TestWaitIsBounded: so many ask at once, so many wait, and others are sent away at once.
func TestWaitIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := testPool(t, new(Pools), nil, Defaults(2, "a:1"))
		var now, most, busy, served atomic.Int64
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() {
				err := ask(t, p, func(context.Context, *Server) error {
					n := now.Add(1)
					for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
					}
					time.Sleep(time.Second)
					now.Add(-1)
					return nil
				})
				if errors.Is(err, ErrBusy) {
					busy.Add(1)
				} else if err == nil {
					served.Add(1)
				}
			})
		}
		wg.Wait()
		if most.Load() != 2 || served.Load() != 22 || busy.Load() != 28 {
			t.Errorf("at once %d, served %d, busy %d", most.Load(), served.Load(), busy.Load())
		}
		go func() { _ = ask(t, p, script(map[string]string{"a:1": "hang"})) }()
		go func() { _ = ask(t, p, script(map[string]string{"a:1": "hang"})) }()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := p.Ask(ctx, script(nil)); !errors.Is(err, ErrBusy) {
			t.Errorf("a wait that is too long: %v", err)
		}
	})
}

// TestPoolsOutliveReloads: the same options give the same pool as long as somebody has it.
func TestPoolsOutliveReloads(t *testing.T) {
	var ps Pools
	a := testPool(t, &ps, nil, Defaults(1, "a:1"))
	if b := testPool(t, &ps, nil, Defaults(1, "a:1")); a != b {
		t.Error("another pool of the same options")
	}
	other := Defaults(1, "a:1")
	other.Pause++
	if b := testPool(t, &ps, nil, other); a == b {
		t.Error("the same pool of other options")
	}
	runtime.KeepAlive(a)
	for end := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		runtime.GC()
		ps.mu.Lock()
		n := len(ps.known)
		ps.mu.Unlock()
		if n == 0 {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("%d pools are kept that nobody has", n)
		}
	}
}

func TestConfigs(t *testing.T) {
	ok := Defaults(1, "a:1")
	for _, c := range []struct {
		name   string
		change func(*Config)
		want   string
	}{
		{"none", func(c *Config) { c.Servers = nil }, "at least one"},
		{"too many", func(c *Config) { c.Servers = make([]string, 17) }, "at most 16"},
		{"connect", func(c *Config) { c.Connect = 0 }, "connect:"},
		{"parallel", func(c *Config) { c.Parallel = 0 }, "parallel:"},
		{"faults", func(c *Config) { c.Faults = 0 }, "faults:"},
		{"pause", func(c *Config) { c.Pause = 0 }, "pause:"},
		{"address", func(c *Config) { c.Servers = []string{"a"} }, "neither host:port nor unix:/path"},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := ok
			c.change(&cfg)
			_, err := new(Pools).Pool(filter.Env{Log: slog.New(slog.DiscardHandler)}, Options{Kind: "x", Config: cfg})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %s", err, c.want)
			}
		})
	}
}

func TestAddresses(t *testing.T) {
	for _, c := range []struct{ text, path, want string }{
		{"clamd:3310", "", "tcp clamd:3310 "},
		{"[2001:db8::1]:3310", "", "tcp [2001:db8::1]:3310 "},
		{"unix:/run/clamav/clamd.ctl", "", "unix /run/clamav/clamd.ctl "},
		{"unix:clamd.ctl", "", ""},
		{"unix:", "", ""},
		{"clamd", "", ""},
		{":3310", "", ""},
		{"clamd:0", "", ""},
		{"clamd:99999", "", ""},
		{"a b:1", "", ""},
		{"rspamd:11333", "/checkv2", "tcp rspamd:11333 http://rspamd:11333/checkv2"},
		{"unix:/run/x", "/checkv2", "unix /run/x http://localhost/checkv2"},
		{"http://h", "/checkv2", "tcp h:80 http://h/checkv2"},
		{"https://h/own?a=b", "/checkv2", "tcp h:443 https://h/own?a=b"},
		{"https://[2001:db8::1]:8443", "/", "tcp [2001:db8::1]:8443 https://[2001:db8::1]:8443/"},
		{"ftp://h", "/", ""},
		{"http://user:secret@h", "/", ""},
		{"http://", "/", ""},
		{"http://h:0/", "/", ""},
		{"http://h/#x", "/", ""},
		{"h", "/", ""},
	} {
		s, err := parseServer(c.text)
		if c.path != "" {
			s, err = parseURL(c.text, c.path)
		}
		got := ""
		if err == nil {
			u := ""
			if s.URL != nil {
				u = s.URL.String()
			}
			got = fmt.Sprintf("%s %s %s", s.Network, s.Address, u)
		}
		if got != c.want {
			t.Errorf("%s: got %q (%v), want %q", c.text, got, err, c.want)
		}
	}
}

// askingLog asks for the state of a pool's servers whenever something is logged.
type askingLog struct {
	slog.Handler
	pool *Pool
	said []string
}

func (l *askingLog) Handle(_ context.Context, r slog.Record) error {
	l.said = append(l.said, fmt.Sprint(r.Level, " ", l.pool.State()))
	return nil
}

// TestLogWithoutLock: a log that is slow, or asks itself how the server is, holds up nobody.
func TestLogWithoutLock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &askingLog{Handler: slog.NewTextHandler(new(bytes.Buffer), nil)}
		p := testPool(t, new(Pools), nil, Defaults(1, "a:1"))
		log.pool = p
		p.log.Store(slog.New(log))
		how := map[string]string{"a:1": "down"}
		for range 5 {
			_ = ask(t, p, script(how))
		}
		how["a:1"] = ""
		time.Sleep(5 * time.Second)
		if err := ask(t, p, script(how)); err != nil {
			t.Error(err)
		}
		if got := fmt.Sprint(log.said); got != "[ERROR open INFO closed]" {
			t.Errorf("got %s", got)
		}
	})
}
