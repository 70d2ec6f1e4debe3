package upstream

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// atOnce is what counts as no time: a pipe is listened to for as long as glance.
const atOnce = 10 * time.Millisecond

// deliver sends one message, and gives what became of it and how long that took.
func deliver(t *testing.T, p *Pool) (Outcome, time.Duration) {
	t.Helper()
	start := time.Now()
	o := p.Deliver(t.Context(), envelope(t, "b@y.test"), message(t, "Subject: x\r\n\r\n"))
	return o, time.Since(start)
}

// TestRanks: the lowest priority has all the work, and within it each server its share.
func TestRanks(t *testing.T) {
	p := pool(t, Config{
		Servers: []string{"a.test:25", "b.test:25", "c.test:25", "d.test:25"},
		Ranks:   []Rank{{20, 1}, {10, 1}, {10, 3}, {10, 6}},
	})
	const n = 20000
	first, second, last := map[string]int{}, map[string]int{}, map[string]int{}
	now := time.Now()
	for range n {
		all := p.order(now)
		first[all[0].address]++
		second[all[1].address]++
		last[all[3].address]++
	}
	for address, want := range map[string]float64{"b.test:25": 0.1, "c.test:25": 0.3, "d.test:25": 0.6} {
		if got := float64(first[address]) / n; got < want-0.03 || got > want+0.03 {
			t.Errorf("%s is the first %.2f of the times, want %.2f", address, got, want)
		}
	}
	if last["a.test:25"] != n || len(second) != 3 {
		t.Errorf("the last: %v, the second: %v", last, second)
	}
	p.servers[3].fails(faultReach)
	if got := p.order(now); got[2].address != "a.test:25" || got[3].address != "d.test:25" {
		t.Errorf("%s and %s are the last, and d is down", got[2].address, got[3].address)
	}
}

// TestPreference: without ranks the order of the list is that of preference, always.
func TestPreference(t *testing.T) {
	p := pool(t, Config{Servers: []string{"a.test:25", "b.test:25", "c.test:25"}})
	for range 100 {
		var got []string
		for _, s := range p.order(time.Now()) {
			got = append(got, s.address)
		}
		if !slices.Equal(got, p.cfg.Servers) {
			t.Fatal(got)
		}
	}
}

func TestRankErrors(t *testing.T) {
	for name, ranks := range map[string][]Rank{"too few": {{1, 1}}, "no weight": {{1, 1}, {1, 0}}} {
		if _, err := NewPool(Config{Servers: []string{"a.test:25", "b.test:25"}, Ranks: ranks, Hello: "gw.test"}); err == nil {
			t.Error(name)
		}
	}
}

// TestHalfOpen: a server whose back-off is over is tried by one message at a time, while the others have the rest. When it
// has served, it gets its share bit by bit.
func TestHalfOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, "a.test:25", "b.test:25")
		a, b := f.servers["a.test:25"], f.servers["b.test:25"]
		var mu sync.Mutex
		var states []string
		p := pool(t, Config{
			Servers: []string{"a.test:25", "b.test:25"}, Dial: f.dial, MaxConnections: 10,
			Hooks: Hooks{Breaker: func(server string, b Breaker) {
				mu.Lock()
				defer mu.Unlock()
				states = append(states, fmt.Sprintf("%s %s", server[:1], b))
			}},
		})
		a.set(fleetRefuses)
		for range 3 {
			if o, _ := deliver(t, p); o.Kind != Delivered || o.Server != "b.test:25" {
				t.Fatalf("%+v", o)
			}
		}
		if dials, _ := a.count(); dials != 1 {
			t.Errorf("a is dialed %d times before its back-off is over", dials)
		}
		time.Sleep(31 * time.Second)
		a.set(fleetUp)
		a.slow(&a.pause, time.Second)
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() {
				if o, _ := deliver(t, p); o.Kind != Delivered {
					t.Errorf("%+v", o)
				}
			})
			synctest.Wait()
		}
		wg.Wait()
		if _, messages := a.count(); messages != 1 {
			t.Errorf("%d messages went to a on trial", messages)
		}
		if want := []string{"a closed", "b closed", "a open", "a half_open", "a closed"}; !cmp.Equal(want, states) {
			t.Errorf("states %v", states)
		}
		_, before := b.count()
		time.Sleep(2 * time.Second)
		if got := p.servers[0].most(time.Now()); got != 2 {
			t.Errorf("%d slots after 2 s", got)
		}
		a.slow(&a.pause, 0)
		for range 100 {
			deliver(t, p)
		}
		if _, after := b.count(); after-before < 50 {
			t.Errorf("b had %d of 100 messages in the slow start of a", after-before)
		}
		time.Sleep(slowStart)
		_, before = b.count()
		for range 10 {
			deliver(t, p)
		}
		if _, after := b.count(); after != before {
			t.Errorf("b had %d messages after the slow start of a", after-before)
		}
	})
}

// TestTrialFails: a trial that fails doubles the back-off.
func TestTrialFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, "a.test:25", "b.test:25")
		a := f.servers["a.test:25"]
		p := pool(t, Config{Servers: []string{"a.test:25", "b.test:25"}, Dial: f.dial})
		a.set(fleetDenies)
		deliver(t, p)
		for want := range 4 {
			if dials, _ := a.count(); dials != want+1 {
				t.Errorf("dialed %d times, want %d", dials, want+1)
			}
			time.Sleep(backoffFirst << want)
			time.Sleep(time.Nanosecond)
			a.set(fleetLoses)
			deliver(t, p)
			deliver(t, p)
		}
	})
}

// TestOneMessageRefused: a server that does not take one message is there for others, and at its full strength.
func TestOneMessageRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, "a.test:25")
		p := pool(t, Config{Servers: []string{"a.test:25"}, Dial: f.dial})
		f.servers["a.test:25"].set(fleetDenies)
		if o, _ := deliver(t, p); o.Kind != OurFault || !p.Available() {
			t.Errorf("%+v, available %v", o, p.Available())
		}
		f.servers["a.test:25"].set(fleetUp)
		if o, took := deliver(t, p); o.Kind != Delivered || took > atOnce || p.servers[0].most(time.Now()) != 20 {
			t.Errorf("%+v after %v, %d slots", o, took, p.servers[0].most(time.Now()))
		}
	})
}

// TestSlowStartGrows: who waits for a slot of a server that is just back has one as soon as there are more, though none is given back.
func TestSlowStartGrows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := pool(t, Config{Servers: []string{"s1.test:25"}, MaxConnections: 10})
		s := p.servers[0]
		s.health.closed = time.Now()
		for i := range 5 {
			start := time.Now()
			if _, err := s.acquire(t.Context()); err != nil || time.Since(start) > slowStart/5+time.Millisecond {
				t.Errorf("slot %d: after %v, %v", i+1, time.Since(start), err)
			}
		}
		if since := time.Since(s.health.closed); since < 4*time.Second || since > 5*time.Second {
			t.Errorf("5 of 10 slots after %v", since)
		}
		for range 5 {
			s.release()
		}
	})
}

// isDown reports whether a server is marked down, and its back-off is not over.
func (s *server) isDown(now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.health.state == BreakerOpen && now.Before(s.health.until)
}
