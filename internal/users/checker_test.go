package users

import (
	"context"
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/postern-mail/postern/internal/peertest/leaks"
)

func TestMain(m *testing.M) { leaks.Main(m) }

func login(name, password, client string) Attempt {
	return Attempt{Client: netip.MustParseAddr(client), Name: name, Password: password}
}

func TestCheck(t *testing.T) {
	l := list(t, "ann "+cheapHash(t, "secret")+" send=*\nÉva "+cheapHash(t, "p\u00e4ss")+" send=*\n")
	for _, tt := range []struct {
		name, password, want string
	}{
		{"ann", "secret", "ann"},
		{"ANN", "secret", "ann"},
		{"ann", "secret", "ann"}, // the third time from memory
		{"e\u0301va", "pa\u0308ss", "Éva"},
		{"ann", "Secret", ""},
		{"ann", "", ""},
		{"ann", "secret\x00", ""},
		{"ann", "secret ", ""},
		{"bob", "secret", ""},
		{"", "secret", ""},
		{"ann\x00", "secret", ""},
		{"\xff", "\xff", ""},
	} {
		c := NewChecker()
		for range 2 {
			got := ""
			u, r := c.Check(t.Context(), l, login(tt.name, tt.password, "192.0.2.1"))
			if u != nil {
				got = u.Name
			}
			if got != tt.want || (r == Right) != (tt.want != "") || r != Right && r != Wrong {
				t.Errorf("%q, %q: %q, %v", tt.name, tt.password, got, r)
			}
		}
	}
	if u, r := NewChecker().Check(t.Context(), list(t, ""), login("ann", "none", "192.0.2.1")); u != nil || r != Wrong {
		t.Errorf("nobody is there: %v, %v", u, r)
	}
}

// What is remembered holds for the hash: a new password, or another user of the name, is not let in by it.
func TestCheckRemembers(t *testing.T) {
	c := NewChecker()
	before := list(t, "ann "+cheapHash(t, "old")+" send=*\n")
	if _, r := c.Check(t.Context(), before, login("ann", "old", "192.0.2.1")); r != Right || len(c.proofs) != 1 {
		t.Fatal(r, len(c.proofs))
	}
	if !c.known(before.Find("ann"), []byte("old")) || c.known(before.Find("ann"), []byte("new")) {
		t.Error("not what was said is remembered")
	}
	after := list(t, "ann "+cheapHash(t, "new")+" send=*\n")
	if _, r := c.Check(t.Context(), after, login("ann", "old", "192.0.2.1")); r != Wrong {
		t.Errorf("the old password: %v", r)
	}
	if _, r := c.Check(t.Context(), after, login("ann", "new", "192.0.2.1")); r != Right {
		t.Errorf("the new password: %v", r)
	}
	if _, r := c.Check(t.Context(), list(t, "bob "+cheapHash(t, "new")+" send=*\n"), login("ann", "new", "192.0.2.1")); r != Wrong {
		t.Errorf("a user that is gone: %v", r)
	}
	synctest.Test(t, func(t *testing.T) {
		c := NewChecker()
		c.learn(before.Find("ann"), []byte("old"))
		time.Sleep(remember)
		if c.known(before.Find("ann"), []byte("old")) {
			t.Error("remembered for ever")
		}
	})
	for i := range maxProofs + 100 {
		c.learn(&User{key: fmt.Sprint(i)}, []byte("x"))
	}
	if len(c.proofs) > maxProofs {
		t.Errorf("%d passwords are remembered", len(c.proofs))
	}
}

// Only so many hashes are made at once, only so many wait for that, and those not for ever.
func TestCheckIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := NewChecker()
		l := list(t, "ann "+cheapHash(t, "secret")+" send=*\n")
		for range workers {
			c.slots <- struct{}{} // hashes that take long
		}
		var mu sync.Mutex
		results := map[Result]int{}
		count := func(r Result) int {
			mu.Lock()
			defer mu.Unlock()
			return results[r]
		}
		began := time.Now()
		var all sync.WaitGroup
		for i := range queue + 10 {
			all.Go(func() {
				a := login("ann", "secret", fmt.Sprintf("192.0.2.%d", i))
				a.Home = i < queueHome
				if a.Home {
					time.Sleep(time.Millisecond) // behind the others
				}
				_, r := c.Check(t.Context(), l, a)
				mu.Lock()
				results[r]++
				mu.Unlock()
			})
		}
		time.Sleep(10 * time.Millisecond)
		if count(Busy) != 10 || c.waiting.Load() != queue {
			t.Errorf("at once: %v, and %d wait", results, c.waiting.Load())
		}
		time.Sleep(time.Second - 10*time.Millisecond)
		<-c.slots
		synctest.Wait()
		if count(Right) != queue {
			t.Errorf("when a slot is free: %v", results)
		}
		c.slots <- struct{}{}
		_, r := c.Check(t.Context(), list(t, "bob "+cheapHash(t, "x")+" send=*\n"), login("bob", "x", "192.0.2.1"))
		if r != Busy || time.Since(began) != time.Second+queueTime {
			t.Errorf("%v after %v", r, time.Since(began))
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, r := c.Check(ctx, l, login("carol", "x", "192.0.2.1")); r != Busy {
			t.Errorf("the connection is gone: %v", r)
		}
		all.Wait()
	})
}

// Failures make the next attempt wait, then turn it away; that it was right does not matter then.
func TestCheckThrottles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := NewChecker()
		l := list(t, "ann "+cheapHash(t, "secret")+" send=*\n")
		began := time.Now()
		for i := range ofNetwork.free + 1 {
			if _, r := c.Check(t.Context(), l, login("ann", "wrong", "192.0.2.1")); r != Wrong || time.Since(began) != 0 {
				t.Errorf("%d: %v after %v", i, r, time.Since(began))
			}
		}
		if _, r := c.Check(t.Context(), l, login("ann", "wrong", "192.0.2.1")); r != Wrong || time.Since(began) != firstWait {
			t.Errorf("%v after %v", r, time.Since(began))
		}
		for range 10 {
			c.Check(t.Context(), l, login("ann", "wrong", "192.0.2.1"))
		}
		began = time.Now()
		if _, r := c.Check(t.Context(), l, login("ann", "secret", "192.0.2.1")); r != Throttled || time.Since(began) != 0 {
			t.Errorf("%v after %v", r, time.Since(began))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		for range 7 {
			c.Check(t.Context(), l, login("ann", "wrong", "10.0.0.1"))
		}
		if _, r := c.Check(ctx, l, login("ann", "secret", "10.0.0.1")); r != Busy && r != Throttled {
			t.Errorf("whoever does not wait: %v", r)
		}
	})
}

// A name that there is not takes as long as one that there is: both make one hash.
func TestDecoy(t *testing.T) {
	l := list(t, "ann "+cheap+" send=*\nbob "+cheap+" send=*\n")
	if one, two := l.decoy("x"), l.decoy("x"); one != two || one.memory != 8 {
		t.Errorf("%+v", l.decoy("x"))
	}
	if d := list(t, "").decoy("x"); d.memory != newMemory || d.time != newTime {
		t.Errorf("%+v", d)
	}
	if d := (&List{}).decoy("x"); d.matches([]byte("")) || d.matches([]byte("none")) {
		t.Error("the decoy has a password")
	}
}

func BenchmarkCheckKnown(b *testing.B) {
	c, l := NewChecker(), list(b, "ann "+cheapHash(b, "secret")+" send=*\n")
	for b.Loop() {
		if _, r := c.Check(b.Context(), l, login("ann", "secret", "192.0.2.1")); r != Right {
			b.Fatal(r)
		}
	}
}
