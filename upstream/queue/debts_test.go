package queue

import (
	"fmt"
	"slices"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/postern-mail/postern/mail"
)

// broken is run for what makes faults.
func broken(t *testing.T, f func(t *testing.T, b *bench)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		defer b.stop()
		f(t, b)
	})
}

// TestDebts: who has a message does not get it again, and is not given up, while the disk takes no word of it; nor after a restart
// once it has.
func TestDebts(t *testing.T) {
	broken(t, func(t *testing.T, b *bench) {
		b.s.Expire = 12 * time.Hour
		b.q.Configure(b.s)
		b.in.one = true
		b.in.is(refuses(map[string]mail.Reply{"y@example.org": mail.NewReply(452, 4, 2, 2, "full")}))
		b.disk.fails("Mark", syscall.ENOSPC)
		for i := range 30 {
			b.put(message{id: fmt.Sprintf("m-%02d", i), from: "a@sender.example", bounce: true, to: []string{"in x@example.org", "in y@example.org"}})
		}
		sleep(6 * time.Hour)
		if n := len(b.in.taken()); n != 30 {
			t.Errorf("%d deliveries to 30 recipients", n)
		}
		if n := len(b.noted(&b.faults)); n < 2 || n > 6*120+1 {
			t.Errorf("%d faults told", n)
		}
		l, err := b.q.Get("m-00")
		if err != nil || l.Groups[0].To[0].State != "delivered" || l.Groups[0].To[1].State != "waiting" {
			t.Errorf("%+v, %v", l, err)
		}
		b.q.mu.Lock()
		for id, d := range b.q.debts {
			if len(d.marks) > 2 { // of x, and that a was warned
				t.Errorf("%s: %d marks are owed", id, len(d.marks))
			}
		}
		b.q.mu.Unlock()
		b.disk.fails("Mark", nil)
		sleep(2 * time.Minute)
		b.restart()
		sleep(10 * time.Hour)
		equal(t, "left", b.left())
		if n := len(b.in.taken()); n != 30 {
			t.Errorf("%d deliveries to 30 recipients", n)
		}
		for _, s := range []string{"m-00 x@example.org failed", "m-00 y@example.org delivered"} {
			if slices.Contains(b.noted(&b.ended), s) {
				t.Error(s)
			}
		}
	})
}

// TestOwedUntilExpiry: what is owed holds when a message is given up, too.
func TestOwedUntilExpiry(t *testing.T) {
	broken(t, func(t *testing.T, b *bench) {
		b.s.Expire = 5 * time.Hour
		b.q.Configure(b.s)
		b.in.one = true
		b.in.is(refuses(map[string]mail.Reply{"y@example.org": mail.NewReply(452, 4, 2, 2, "full")}))
		b.disk.fails("Mark", syscall.EROFS)
		b.put(message{id: "m-1", from: "a@sender.example", bounce: true, to: []string{"in x@example.org", "in y@example.org", "out z@elsewhere.example"}})
		sleep(6 * time.Hour)
		ended := b.noted(&b.ended)
		if !slices.Contains(ended, "m-1 y@example.org failed") || slices.Contains(ended, "m-1 x@example.org failed") {
			t.Errorf("%q", ended)
		}
		equal(t, "left", b.left())
	})
}

// TestNotRemoved: what can't be removed is not tried again, not even after a restart, as long as it can be marked.
func TestNotRemoved(t *testing.T) {
	broken(t, func(t *testing.T, b *bench) {
		b.disk.fails("Remove", syscall.EIO)
		b.put(message{id: "m-1", from: "a@sender.example", to: []string{"in x@example.org"}})
		b.put(message{id: "m-2", from: "a@sender.example", to: []string{"in x@example.org", "out z@elsewhere.example"}})
		sleep(time.Minute)
		equal(t, "left", b.left(), "m-1", "m-2")
		if l, err := b.q.Get("m-1"); err == nil {
			t.Errorf("%+v", l)
		}
		b.restart()
		sleep(time.Hour)
		if n := len(b.in.taken()) + len(b.out.taken()); n != 3 {
			t.Errorf("%d deliveries to 3 recipients", n)
		}
		b.disk.fails("Remove", nil)
		sleep(time.Minute)
		equal(t, "left", b.left())
	})
}
