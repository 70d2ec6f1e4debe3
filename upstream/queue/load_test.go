package queue

import (
	"errors"
	"fmt"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/postern-mail/postern/internal/spool"
)

// TestReadLater: what can't be read when the queue begins is delivered when it can be.
func TestReadLater(t *testing.T) {
	for _, method := range []string{"IDs", "Load"} {
		t.Run(method, func(t *testing.T) {
			broken(t, func(t *testing.T, b *bench) {
				b.in.is(down)
				for i := range 40 {
					b.put(message{id: fmt.Sprintf("m-%02d", i), from: "a@sender.example", to: []string{"in x@example.org"}})
				}
				b.stop()
				b.disk.fails(method, syscall.EMFILE)
				b.start()
				b.in.is(nil)
				sleep(time.Minute)
				b.disk.fails("Load", nil) // to deliver what comes, which is not to come again
				b.put(message{id: "n-1", from: "a@sender.example", to: []string{"in x@example.org"}})
				if method == "Load" {
					b.disk.fails(method, syscall.EMFILE)
				}
				_, _, listed := b.q.List(t.Context(), Filter{}, Place{}, 0, func(Listed) bool { return true })
				if n, loaded := b.q.Len(); method == "IDs" && loaded || method == "Load" && !errors.Is(listed, syscall.EMFILE) {
					t.Errorf("%d, %v, %v: it does not tell that some is missing", n, loaded, listed)
				}
				b.disk.fails(method, nil)
				sleep(2 * time.Minute)
				if n := len(b.in.taken()); n != 41 {
					t.Errorf("%d of 41 delivered", n)
				}
				equal(t, "left", b.left())
				if _, loaded := b.q.Len(); !loaded {
					t.Error("it is not told that all is known")
				}
			})
		})
	}
}

// TestNotSetAside: what is damaged and can't be set aside is not said to be, and is set aside when it can be.
func TestNotSetAside(t *testing.T) {
	broken(t, func(t *testing.T, b *bench) {
		b.in.is(down)
		b.put(message{id: "m-1", from: "a@sender.example", to: []string{"in x@example.org"}})
		b.stop()
		b.disk.fails("Load", spool.ErrDamaged)
		b.disk.fails("SetAside", syscall.ENOSPC)
		b.start()
		sleep(time.Minute)
		equal(t, "damaged", b.noted(&b.damaged))
		if !slices.ContainsFunc(b.noted(&b.faults), func(s string) bool { return len(s) > 4 && s[:4] == "m-1:" }) {
			t.Errorf("faults: %q", b.noted(&b.faults))
		}
		equal(t, "left", b.left(), "m-1")
		b.disk.fails("SetAside", nil)
		sleep(time.Minute)
		equal(t, "damaged", b.noted(&b.damaged), "m-1")
		equal(t, "left", b.left())
	})
}
