package edge

import (
	"context"
	"io"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/internal/ledger"
	"github.com/postern-mail/postern/pipeline"
)

// earlyDoor is a bubble's door with the test; early gives what filters were told at the last EHLO.
func earlyDoor(t *testing.T, change func(*door, *ListenerConfig)) (d *door, connect func(string) *slow, early func() bool) {
	var mu sync.Mutex
	var last bool
	plan, err := pipeline.Compile([]pipeline.Stage{{
		Spec: filter.Spec{Name: "listener", Phases: filter.In(filter.Connect)},
		Filter: filter.Func(func(_ context.Context, in *filter.Input) (filter.Result, error) {
			mu.Lock()
			defer mu.Unlock()
			last = in.Session.Early
			return filter.Result{}, nil
		}),
	}})
	if err != nil {
		t.Fatal(err)
	}
	d, connect = bubbleDoor(t, nil, func(d *door, cfg *ListenerConfig) {
		cfg.Early = EarlyTalkers{Wait: 3 * time.Second, Remember: 7 * 24 * time.Hour}
		d.gw.State, d.gw.Plan = ledger.New(), plan
		if change != nil {
			change(d, cfg)
		}
	})
	return d, connect, func() bool { mu.Lock(); defer mu.Unlock(); return last }
}

// greeted reads the greeting, and gives its lines and the time it took.
func (s *slow) greeted() (lines []string, took time.Duration) {
	s.t.Helper()
	for {
		line, err := s.r.ReadString('\n')
		if err != nil {
			s.t.Fatalf("%v, after %q", err, lines)
		}
		lines = append(lines, line)
		if line[3] == ' ' {
			return lines, time.Since(s.began).Truncate(time.Second) // the wire's deadlines are a little generous
		}
	}
}

func (s *slow) hello() {
	s.t.Helper()
	s.say("EHLO x\r\n", "250")
	s.say("QUIT\r\n", "221")
	_ = s.conn.Close()
}

func TestPatientClient(t *testing.T) {
	for _, engine := range []string{EnginePostern, EngineGoSMTP} {
		t.Run(engine, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d, connect, early := earlyDoor(t, func(_ *door, cfg *ListenerConfig) { cfg.Engine = engine })
				for i, want := range []struct {
					from  string
					after time.Duration
					took  time.Duration
				}{
					{"203.0.113.5", 0, 3 * time.Second},
					{"203.0.113.5", 0, 0},
					{"203.0.113.6", 0, 3 * time.Second},
					{"203.0.113.5", 6 * 24 * time.Hour, 0},
					{"203.0.113.5", 2 * 24 * time.Hour, 3 * time.Second},
					{"2001:db8::1", 0, 3 * time.Second},
					{"2001:db8::2", 0, 0},
				} {
					time.Sleep(want.after)
					s := connect(want.from)
					lines, took := s.greeted()
					if took != want.took || len(lines) != 1+min(1, int(want.took)) || !strings.HasPrefix(lines[0], "220") {
						t.Errorf("%d: greeted after %v with %q", i, took, lines)
					}
					if s.hello(); early() {
						t.Errorf("%d: taken for an early talker", i)
					}
				}
				if got := d.metrics.talks; got[EarlyPassed] != 4 || len(got) != 1 {
					t.Errorf("counted %v", got)
				}
				_ = d.srv.Close()
			})
		})
	}
}

func TestEarlyTalker(t *testing.T) {
	for _, engine := range []string{EnginePostern, EngineGoSMTP} {
		t.Run(engine, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d, connect, early := earlyDoor(t, func(_ *door, cfg *ListenerConfig) { cfg.Engine = engine })
				speak := func(after time.Duration) {
					t.Helper()
					s := connect("203.0.113.5")
					if _, err := s.r.ReadString('\n'); err != nil {
						t.Fatal(err)
					}
					time.Sleep(after)
					if _, err := io.WriteString(s.conn, "EHLO x\r\n"); err != nil {
						t.Fatal(err)
					}
					s.expect("220") // nothing of what it said is lost
					s.expect("250")
					if got := time.Since(s.began); got != after {
						t.Errorf("greeted after %v", got)
					}
					s.say("QUIT\r\n", "221")
					_ = s.conn.Close()
				}
				speak(time.Second)
				if !early() {
					t.Error("not told to filters")
				}
				s := connect("203.0.113.5")
				if _, took := s.greeted(); took != 3*time.Second {
					t.Errorf("greeted after %v when it came again", took)
				}
				if s.hello(); !early() {
					t.Error("forgotten at once")
				}
				s = connect("203.0.113.6")
				s.greeted()
				if s.hello(); early() {
					t.Error("a neighbour is taken for it")
				}
				time.Sleep(earlyFor)
				s = connect("203.0.113.5")
				s.greeted()
				if s.hello(); early() {
					t.Error("not forgotten")
				}
				if got := d.metrics.talks; got[EarlySpoke] != 1 || got[EarlyPassed] != 3 {
					t.Errorf("counted %v", got)
				}
				_ = d.srv.Close()
			})
		})
	}
}

func TestWhoNeedNotWait(t *testing.T) {
	network := []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")}
	for name, change := range map[string]func(*door, *ListenerConfig){
		"no test":     func(_ *door, cfg *ListenerConfig) { cfg.Early.Wait = 0 },
		"exempt":      func(d *door, _ *ListenerConfig) { d.gw.ExemptNetworks = network },
		"relay":       func(_ *door, cfg *ListenerConfig) { cfg.Relay.Networks = network },
		"big sender":  func(d *door, _ *ListenerConfig) { d.gw.Big = func(netip.Addr) string { return "big.example" } },
		"check":       func(_ *door, cfg *ListenerConfig) { cfg.Proxies = network },
		"front":       func(_ *door, cfg *ListenerConfig) { cfg.Fronts = network },
		"good sender": func(d *door, _ *ListenerConfig) { becomeGood(d.gw.State, "203.0.113.5") },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d, connect, _ := earlyDoor(t, change)
				s := connect("203.0.113.5")
				if name == "check" {
					if _, err := io.WriteString(s.conn, "PROXY UNKNOWN\r\n"); err != nil {
						t.Fatal(err)
					}
				}
				if lines, took := s.greeted(); took != 0 || len(lines) != 1 {
					t.Errorf("greeted after %v with %q", took, lines)
				}
				s.hello()
				_ = d.srv.Close()
			})
		})
	}
}

// becomeGood gives a client a past.
func becomeGood(state filter.State, client string) {
	s := &Server{gateway: func() *Gateway { return &Gateway{State: state} }}
	for range knownDays {
		s.memory().note(netip.MustParseAddr(client), 3, 0)
		time.Sleep(24 * time.Hour)
	}
}

func TestSilentWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, connect, _ := earlyDoor(t, func(_ *door, cfg *ListenerConfig) { cfg.Early.Silent = true })
		s := connect("203.0.113.5")
		if lines, took := s.greeted(); took != 3*time.Second || len(lines) != 1 {
			t.Errorf("greeted after %v with %q", took, lines)
		}
		_ = d.srv.Close()
	})
}

func TestWaitEndsWithDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, connect, _ := earlyDoor(t, nil)
		s := connect("203.0.113.5")
		if _, err := s.r.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		go func() { _ = d.srv.Drain(t.Context()) }()
		s.expect("421 4.3.2")
		if got := s.ended(); got != time.Second {
			t.Errorf("ended after %v", got)
		}
		synctest.Wait()
	})
}

func TestLeavesBeforeTheGreeting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, connect, _ := earlyDoor(t, nil)
		s := connect("203.0.113.5")
		if _, err := s.r.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
		_ = s.conn.Close()
		synctest.Wait()
		if got := d.metrics.talks; got[EarlyLeft] != 1 || d.metrics.open != 0 {
			t.Errorf("counted %v; %d are open", got, d.metrics.open)
		}
		if _, took := connect("203.0.113.5").greeted(); took != 3*time.Second {
			t.Errorf("greeted after %v when it came again", took)
		}
		_ = d.srv.Close()
	})
}

// TestWaitOnSockets: the same where reads are the socket's own, and without memory.
func TestWaitOnSockets(t *testing.T) {
	const wait = 3 * time.Second // within which, on a machine under load, one has spoken and one has gone
	d := newDoor(t, nil, func(d *door, cfg *ListenerConfig) {
		d.gw.ExemptNetworks, d.gw.State = nil, ledger.New()
		cfg.Early = EarlyTalkers{Wait: wait, Remember: time.Hour}
	})
	comes := func(from string) *client {
		c := dialFrom(t, d, from)
		if line, err := c.r.ReadString('\n'); err != nil || !strings.HasPrefix(line, "220-") {
			t.Fatalf("%q, %v", line, err)
		}
		return c
	}
	began := time.Now()
	patient := comes("127.0.0.2")
	comes("127.0.0.3").close()
	comes("127.0.0.4").steps("C: EHLO x\nS: 220\nS: 250" + oneMessage)
	patient.steps("S: 220\nC: EHLO x\nS: 250" + oneMessage)
	if took := time.Since(began); took < wait {
		t.Errorf("greeted after %v", took)
	}
	waitFor(t, func() bool { d.metrics.mu.Lock(); defer d.metrics.mu.Unlock(); return d.metrics.talks[EarlyLeft] == 1 })
	if got := d.metrics.talks; got[EarlyPassed] != 1 || got[EarlySpoke] != 1 {
		t.Errorf("counted %v", got)
	}
	if line, err := dialFrom(t, d, "127.0.0.2").r.ReadString('\n'); err != nil || !strings.HasPrefix(line, "220 ") {
		t.Errorf("it had to wait again: %q, %v", line, err)
	}
}

// TestGoodHistory: who has brought good mail for some days may come ten times as often.
func TestGoodHistory(t *testing.T) {
	a := netip.MustParseAddr("192.0.2.1")
	type day struct{ accepted, refused int }
	for _, tt := range []struct {
		name string
		past []day
		wait int // days after it
		want bool
	}{
		{"nobody", nil, 0, false},
		{"much mail in a day", []day{{1000, 0}}, 0, false},
		{"two days", []day{{5, 0}, {5, 0}}, 0, false},
		{"three days", []day{{1, 0}, {1, 0}, {1, 0}}, 0, true},
		{"three days with pauses", []day{{1, 0}, {}, {}, {1, 0}, {}, {1, 0}}, 0, true},
		{"three days long ago", []day{{1, 0}, {1, 0}, {1, 0}}, 31, false},
		{"refused as often", []day{{1, 1}, {1, 1}, {1, 1}}, 0, false},
		{"refused now and then", []day{{9, 2}, {9, 2}, {9, 2}}, 0, true},
		{"gone bad", []day{{100, 0}, {100, 0}, {100, 0}, {0, 76}}, 0, false},
		{"bettered itself", []day{{1, 3000}, {1, 1000}, {4000, 0}, {4000, 0}, {4000, 0}}, 0, true},
		{"only refused", []day{{0, 1}, {0, 1}, {0, 1}}, 0, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				state := ledger.New()
				s := &Server{gateway: func() *Gateway { return &Gateway{State: state} }}
				for _, d := range tt.past {
					s.memory().note(a, d.accepted, d.refused)
					time.Sleep(24 * time.Hour)
				}
				time.Sleep(time.Duration(tt.wait) * 24 * time.Hour)
				if got := s.memory().good(a); got != tt.want {
					t.Errorf("good: %v", got)
				}
				if s.memory().good(netip.MustParseAddr("192.0.2.2")) {
					t.Error("a neighbour is good, too")
				}
			})
		})
	}
	nothing := &Server{gateway: func() *Gateway { return &Gateway{} }}
	nothing.memory().note(a, 1, 0)
	if nothing.memory().good(a) || nothing.memory().manners(a) != "" {
		t.Error("known without a memory")
	}
}

func TestGoodHistoryIsMade(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, connect := bubbleDoor(t, nil, func(d *door, _ *ListenerConfig) { d.gw.State = ledger.New() })
		for range 3 {
			for range 2 {
				s := connect("203.0.113.5")
				s.expect("220")
				brings(s)
				s.say("QUIT\r\n", "221")
				_ = s.conn.Close()
			}
			time.Sleep(24 * time.Hour)
		}
		for from, want := range map[string]int{"203.0.113.5": 600, "198.51.100.5": 60} {
			if n, _ := visits(connect, always(from), func(*slow) {}); n < want*9/10 || n > want*11/10 {
				t.Errorf("%s was let in %d times, want %d", from, n, want)
			}
		}
		_ = d.srv.Close()
	})
}
