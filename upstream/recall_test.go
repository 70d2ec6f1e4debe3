package upstream

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// notes is a Memory that outlives pools, and forgets in time.
type notes struct {
	mu  sync.Mutex
	all map[string]note
}

type note struct {
	known     Known
	at, until time.Time
}

func (n *notes) Recall(mailbox string) (Known, time.Time) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if k, ok := n.all[mailbox]; ok && time.Now().Before(k.until) {
		return k.known, k.at
	}
	return NoSource, time.Time{}
}

func (n *notes) Keep(mailbox string, known Known, at time.Time, keep time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.all[mailbox] = note{known, at, at.Add(keep)}
}

func (n *notes) Forget(mailbox string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.all, mailbox)
}

// TestRecall: what one pool has found out serves the next one for as long as it would have served the first.
func TestRecall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := &notes{all: map[string]note{}}
		a := &answering{}
		anew := func() Ask {
			return Ask{
				Pool:     pool(t, Config{Servers: []string{"s1.test:25"}, Dial: a.dial, Memory: memory}),
				Positive: 12 * time.Hour, Negative: 5 * time.Minute,
			}
		}
		k, questions := anew(), 0
		check := func(what, to string, known Known, more int) {
			t.Helper()
			got, err := k.Lookup(t.Context(), address(t, to))
			if questions += more; got != known || (err != nil) != (known == NoSource) || a.asked() != questions {
				t.Errorf("%s: %v, %v, asked %d times, not %d", what, got, err, a.asked(), questions)
			}
		}
		a.answer("250 ok")
		check("first", "bob@y.test", Yes, 1)
		a.answer("550 5.1.1 no such user")
		check("first, unknown", "none@y.test", No, 1)
		k = anew()
		check("another pool", "BOB@y.test", Yes, 0)
		check("another pool, unknown", "none@y.test", No, 0)
		time.Sleep(6 * time.Minute)
		k = anew()
		check("too old", "none@y.test", No, 1)
		check("not so old", "bob@y.test", Yes, 0)
		time.Sleep(12 * time.Hour)
		k = anew()
		a.answer("450 4.7.1 later")
		check("too old, and the server does not say", "bob@y.test", Yes, 1)
		time.Sleep(7 * 24 * time.Hour)
		k = anew()
		check("far too old", "bob@y.test", NoSource, 1)

		a.answer("250 ok")
		check("again", "bob@y.test", Yes, 1)
		if k = anew(); k.Pool.Forget(address(t, "bob@y.test")) != 1 {
			t.Error("nothing was forgotten")
		}
		k = anew()
		check("forgotten", "bob@y.test", Yes, 1)
		k = anew()
		k.Pool.asked.forget(address(t, "bob@y.test")) // a server refuses it now
		a.answer("550 5.1.1 no such user")
		check("refused since", "bob@y.test", No, 1)

		memory.Keep("ann@y.test", Yes, time.Now().Add(time.Hour), keepKnown)
		check("from the future", "ann@y.test", No, 1)
	})
}
