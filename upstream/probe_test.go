package upstream

import (
	"context"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func fleetPool(t *testing.T, f *fleet, servers ...string) *Pool {
	t.Helper()
	p := pool(t, Config{Servers: servers, Dial: f.dial, Probe: true})
	p.Watch()
	synctest.Wait()
	return p
}

// TestProbes: how often servers are looked at.
func TestProbes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, "a.test:25")
		a := f.servers["a.test:25"]
		var results []string
		p := pool(t, Config{Servers: []string{"a.test:25"}, Dial: f.dial, Probe: true, Hooks: Hooks{Probed: func(server string, r Probed) {
			results = append(results, r.String())
		}}})
		looks := func(d time.Duration) int {
			before, _ := a.count()
			time.Sleep(d)
			synctest.Wait()
			after, _ := a.count()
			return after - before
		}
		if n := looks(time.Hour); n != 0 {
			t.Errorf("%d before Watch", n)
		}
		p.Watch()
		if n := looks(time.Second); n != 1 {
			t.Errorf("%d at the start", n)
		}
		if n := looks(5 * time.Minute); n != 10 {
			t.Errorf("%d in five minutes of a server that is well", n)
		}
		deliver(t, p)
		before, _ := a.count()
		for range 100 {
			deliver(t, p)
			time.Sleep(10 * time.Second)
		}
		if after, _ := a.count(); after-before > 3 { // connections get old
			t.Errorf("%d of a server that serves", after-before)
		}
		a.set(fleetRefuses)
		time.Sleep(30 * time.Second)
		synctest.Wait()
		if p.Available() {
			t.Error("available")
		}
		if n := looks(30 * time.Second); n < 13 || n > 16 {
			t.Errorf("%d in 30 s of one that is down", n)
		}
		time.Sleep(2 * time.Minute)
		if n := looks(2 * time.Minute); n != 4 {
			t.Errorf("%d in two minutes of one that is down for long", n)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		before, _ = a.count()
		if err := awaitUp(ctx, p); err == nil {
			t.Error("it is up")
		}
		if after, _ := a.count(); after-before < 9 || after-before > 11 {
			t.Errorf("%d in ten seconds while somebody waits", after-before)
		}
		time.AfterFunc(500*time.Millisecond, func() { a.set(fleetUp) })
		start := time.Now()
		if err := awaitUp(t.Context(), p); err != nil || time.Since(start) > time.Second+time.Millisecond {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		if o, took := deliver(t, p); o.Kind != Delivered || took > atOnce {
			t.Errorf("%+v after %v", o, took)
		}
		if results[0] != "ok" || results[len(results)-1] != "ok" || results[len(results)-2] != "unreachable" {
			t.Errorf("results %v", results)
		}
	})
}

// TestBlackHole: a server of three that swallows all packets costs nobody more than a moment, also not those who are in the
// middle of something with it.
func TestBlackHole(t *testing.T) {
	names := []string{"a.test:25", "b.test:25", "c.test:25"}
	for name, c := range map[string]struct {
		mode int
		most time.Duration
	}{"hole": {fleetHole, 2 * time.Second}, "hung": {fleetHung, 4 * time.Second}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFleet(t, names...)
				a := f.servers["a.test:25"]
				p := fleetPool(t, f, names...)
				ask := Ask{Pool: p, Positive: time.Minute, Negative: time.Minute}
				var wg sync.WaitGroup
				for range 5 {
					wg.Go(func() { deliver(t, p) })
				}
				wg.Wait()
				if _, messages := a.count(); messages != 5 {
					t.Fatalf("%d messages", messages)
				}
				a.set(c.mode)
				for range 30 { // more than there are slots
					wg.Go(func() {
						if o, took := deliver(t, p); o.Kind != Delivered || took > c.most {
							t.Errorf("%+v after %v", o, took)
						}
					})
				}
				wg.Go(func() {
					start := time.Now()
					if known, err := ask.Lookup(t.Context(), address(t, "x@y.test")); known != Yes || time.Since(start) > 2*time.Second {
						t.Errorf("RCPT: %v, %v after %v", known, err, time.Since(start))
					}
				})
				wg.Wait()
				for range 3 {
					if o, took := deliver(t, p); o.Kind != Delivered || took > atOnce || o.Server != "b.test:25" {
						t.Errorf("when it is known: %+v after %v", o, took)
					}
				}
				time.Sleep(10 * time.Minute)
				if o, took := deliver(t, p); o.Kind != Delivered || took > atOnce {
					t.Errorf("long after: %+v after %v", o, took)
				}
				a.set(fleetUp)
				time.Sleep(31 * time.Second)
				if o, took := deliver(t, p); o.Kind != Delivered || took > atOnce || o.Server != "a.test:25" {
					t.Errorf("when it is back: %+v after %v", o, took)
				}
			})
		})
	}
}

// TestBlackHoleAtFirst: the same of a server of which nothing is known yet, with probes and without.
func TestBlackHoleAtFirst(t *testing.T) {
	for name, probe := range map[string]bool{"probes": true, "no probes": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFleet(t, "a.test:25", "b.test:25")
				f.servers["a.test:25"].set(fleetHole)
				p := pool(t, Config{Servers: []string{"a.test:25", "b.test:25"}, Dial: f.dial, Probe: probe})
				p.Watch()
				for i := range 3 {
					if o, took := deliver(t, p); o.Kind != Delivered || took > 2*time.Second || i > 0 && took > atOnce {
						t.Errorf("%d: %+v after %v", i, o, took)
					}
				}
			})
		})
	}
}

// TestAllDark: where nobody is there, it does not take long to say so, nor to find out that somebody is again.
func TestAllDark(t *testing.T) {
	for name, servers := range map[string][]string{"one": {"a.test:25"}, "two": {"a.test:25", "b.test:25"}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFleet(t, servers...)
				for _, s := range f.servers {
					s.set(fleetHole)
				}
				p := fleetPool(t, f, servers...)
				time.Sleep(time.Minute)
				for range 3 {
					if o, took := deliver(t, p); o.Kind != Unreachable || took > 2*time.Second || o.ClientReply("ID", false).Code != 451 {
						t.Errorf("%+v after %v", o, took)
					}
				}
				time.Sleep(time.Hour)
				f.servers["a.test:25"].set(fleetUp)
				if o, took := deliver(t, p); o.Kind != Delivered || took > 2*time.Second {
					t.Errorf("when it is back: %+v after %v", o, took)
				}
			})
		})
	}
}

// TestSlowIsNotDown: a server that is slow to greet is not taken for one that is down, when that is known.
func TestSlowIsNotDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, "a.test:25", "b.test:25")
		f.servers["a.test:25"].slow(&f.servers["a.test:25"].greets, 6*time.Second)
		p := fleetPool(t, f, "a.test:25", "b.test:25")
		time.Sleep(10 * time.Second)
		if o, took := deliver(t, p); o.Kind != Delivered || o.Server != "a.test:25" || took > 6*time.Second+atOnce {
			t.Errorf("%+v after %v", o, took)
		}
		f.servers["a.test:25"].slow(&f.servers["a.test:25"].pause, 30*time.Second) // nothing may be said of it after the final dot
		if o, took := deliver(t, p); o.Kind != Delivered || o.Server != "a.test:25" || took > 30*time.Second+atOnce {
			t.Errorf("%+v after %v", o, took)
		}
	})
}

// TestAllSlow: where all servers have become slow, the last one is not left for that, and the others come back.
func TestAllSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, "a.test:25", "b.test:25")
		p := fleetPool(t, f, "a.test:25", "b.test:25")
		for _, s := range f.servers {
			s.slow(&s.greets, 8*time.Second)
		}
		var wg sync.WaitGroup
		for range 5 {
			wg.Go(func() {
				if o, took := deliver(t, p); o.Kind != Delivered || o.Server != "b.test:25" || took > 13*time.Second {
					t.Errorf("%+v after %v", o, took)
				}
			})
		}
		wg.Wait()
		time.Sleep(time.Minute)
		if p.servers[0].down.Load() || p.servers[1].down.Load() {
			t.Error("down")
		}
	})
}

// TestHurry: a look that has much time is cut short where somebody waits.
func TestHurry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, "a.test:25", "b.test:25")
		p := fleetPool(t, f, "a.test:25", "b.test:25")
		if o, _ := deliver(t, p); o.Server != "a.test:25" {
			t.Fatalf("%+v", o)
		}
		time.Sleep(29 * time.Second)
		f.servers["a.test:25"].set(fleetHole)
		time.Sleep(2 * time.Second)
		s := p.servers[0]
		s.mu.Lock()
		if !s.watch.probing || s.health.state != BreakerClosed {
			t.Error("it is not being looked at, or known to be down")
		}
		s.mu.Unlock()
		if o, took := deliver(t, p); o.Kind != Delivered || took > 2*time.Second {
			t.Errorf("%+v after %v", o, took)
		}
	})
}

// TestDoubt: a server on which an impatient client gave up is looked at, though it has served a moment ago, and is out of
// reach for those who come later.
func TestDoubt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, "a.test:25")
		p := fleetPool(t, f, "a.test:25")
		time.Sleep(20 * time.Second)
		deliver(t, p)
		f.servers["a.test:25"].set(fleetHole)
		env := envelope(t, "b@y.test")
		env.Patience = time.Second
		if o := p.Deliver(t.Context(), env, message(t, "Subject: x\r\n\r\n")); o.Kind != Unreachable || !p.Available() {
			t.Errorf("%+v, available %v", o, p.Available())
		}
		time.Sleep(12 * time.Second) // as long as a connection may take, and a pause
		if p.Available() {
			t.Error("available")
		}
		f.servers["a.test:25"].set(fleetUp)
		if err := awaitUp(t.Context(), p); err != nil {
			t.Error(err)
		}
		s := p.servers[0]
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.health.state != BreakerHalfOpen || s.most(time.Now()) != trials {
			t.Errorf("%v, %d slots", s.health.state, s.most(time.Now()))
		}
	})
}

// TestOldConnections: connections from before a server was gone are not used when it is back.
func TestOldConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, "a.test:25")
		a := f.servers["a.test:25"]
		p := fleetPool(t, f, "a.test:25")
		a.slow(&a.pause, 90*time.Second)
		var wg sync.WaitGroup
		wg.Go(func() { deliver(t, p) })
		time.Sleep(time.Second)
		a.slow(&a.pause, 0)
		deliver(t, p)
		a.set(fleetHole)
		time.Sleep(45 * time.Second)
		s := p.servers[0]
		s.mu.Lock()
		if !s.dark.Load() || len(s.idle) != 0 || s.open != 1 {
			t.Errorf("dark %v, %d idle of %d", s.dark.Load(), len(s.idle), s.open)
		}
		s.mu.Unlock()
		a.set(fleetUp)
		wg.Wait()
		s.mu.Lock()
		defer s.mu.Unlock()
		if len(s.idle) != 0 || s.open != 0 {
			t.Errorf("%d idle of %d", len(s.idle), s.open)
		}
	})
}

// TestAfterTheDot: a message whose final dot is out is never tried elsewhere, whatever becomes of the server.
func TestAfterTheDot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, "a.test:25", "b.test:25")
		a := f.servers["a.test:25"]
		a.slow(&a.pause, time.Second)
		p := fleetPool(t, f, "a.test:25", "b.test:25")
		time.AfterFunc(500*time.Millisecond, func() { a.set(fleetHole) })
		if o, took := deliver(t, p); o.Kind != Unknown || o.Server != "a.test:25" || took < 2*time.Minute {
			t.Errorf("%+v after %v", o, took)
		}
		if _, messages := f.servers["b.test:25"].count(); messages != 0 {
			t.Errorf("b had it, too")
		}
	})
}

// TestBusyIsThere: a server that lets nobody else in keeps what it has.
func TestBusyIsThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, "a.test:25")
		a := f.servers["a.test:25"]
		p := fleetPool(t, f, "a.test:25")
		deliver(t, p)
		a.set(fleetFull)
		time.Sleep(time.Minute)
		if p.servers[0].dark.Load() {
			t.Error("it is dark")
		}
		if o, took := deliver(t, p); o.Kind != Delivered || took > atOnce {
			t.Errorf("%+v after %v", o, took)
		}
	})
}

// TestLosesEach: a server that greets and loses each connection is not tried again by each message, for all that probes say.
func TestLosesEach(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, "a.test:25", "b.test:25")
		a := f.servers["a.test:25"]
		p := fleetPool(t, f, "a.test:25", "b.test:25")
		a.set(fleetLoses)
		for range 100 {
			if o, _ := deliver(t, p); o.Kind != Delivered {
				t.Errorf("%+v", o)
			}
			time.Sleep(10 * time.Millisecond)
		}
		if dials, _ := a.count(); dials > 5 {
			t.Errorf("%d connections", dials)
		}
		if !p.Available() {
			t.Error("not available")
		}
	})
}

// TestWaitersAreTold: who waits for a connection with a server that is found down goes elsewhere.
func TestWaitersAreTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, "a.test:25", "b.test:25")
		f.servers["a.test:25"].slow(&f.servers["a.test:25"].pause, time.Hour)
		p := pool(t, Config{Servers: []string{"a.test:25", "b.test:25"}, Dial: f.dial, Probe: true, MaxConnections: 1})
		p.Watch()
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { p.Deliver(ctx, envelope(t, "b@y.test"), message(t, "Subject: x\r\n\r\n")) })
		time.Sleep(time.Second)
		f.servers["a.test:25"].set(fleetHole)
		if o, took := deliver(t, p); o.Kind != Delivered || o.Server != "b.test:25" || took > 31*time.Second {
			t.Errorf("%+v after %v", o, took)
		}
		cancel()
		wg.Wait()
		f.servers["a.test:25"].set(fleetRefuses)
		f.servers["a.test:25"].slow(&f.servers["a.test:25"].pause, 0)
	})
}

// TestProbePanics: what panics while a server is looked at is a fault of that look.
func TestProbePanics(t *testing.T) {
	p := pool(t, Config{Servers: []string{"s1.test:25"}, Dial: func(context.Context, string, string) (net.Conn, error) { panic("no network") }})
	if o := p.servers[0].dialer.guarded(t.Context(), time.Second, time.Second); o.Kind != OurFault || !strings.Contains(o.Err.Error(), "panicked: no network") {
		t.Errorf("%+v", o)
	}
}
