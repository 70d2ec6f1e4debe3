package queue

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/postern-mail/postern/internal/spool"
	"github.com/postern-mail/postern/mail"
	"github.com/postern-mail/postern/upstream"
)

// TestOneClock: where the clock was set, a sender is told once all the same.
func TestOneClock(t *testing.T) {
	for _, shift := range []time.Duration{-10 * time.Minute, 10 * time.Minute, 3 * time.Hour} {
		t.Run(shift.String(), func(t *testing.T) {
			run(t, func(t *testing.T, b *bench) {
				b.s.Expire = 8 * time.Hour
				b.q.Configure(b.s)
				b.disk.shift = shift
				b.in.is(down)
				b.put(message{id: "m-1", from: "a@sender.example", bounce: true, to: []string{"in x@example.org"}})
				sleep(7 * time.Hour)
				equal(t, "reported", b.noted(&b.reported), "a@sender.example delayed")
				sleep(time.Hour + time.Minute)
				equal(t, "reported", b.noted(&b.reported), "a@sender.example delayed", "a@sender.example failed")
				equal(t, "left", b.left())
			})
		})
	}
}

// TestLongStop: what lay in the spool while no gateway ran is tried, and not bounced; nor is what was held for long.
func TestLongStop(t *testing.T) {
	fill := func(b *bench) {
		b.in.is(down)
		for i := range 3 {
			b.put(message{id: fmt.Sprintf("m-%d", i), from: "a@sender.example", bounce: true, to: []string{"in x@example.org"}})
		}
		sleep(time.Second)
	}
	t.Run("the server is back", func(t *testing.T) {
		run(t, func(t *testing.T, b *bench) {
			fill(b)
			b.stop()
			sleep(6 * 24 * time.Hour)
			b.start()
			sleep(10 * time.Minute) // it starts, too
			b.in.is(nil)
			sleep(time.Minute)
			if n := len(b.in.taken()); n != 3 {
				t.Errorf("%d delivered", n)
			}
			equal(t, "reported", b.noted(&b.reported))
		})
	})
	t.Run("the server stays away", func(t *testing.T) {
		run(t, func(t *testing.T, b *bench) {
			fill(b)
			b.stop()
			sleep(6 * 24 * time.Hour)
			b.start()
			sleep(b.s.Most + time.Minute)
			if n := len(b.noted(&b.reported)); n != 3 {
				t.Errorf("%d reported", n)
			}
		})
	})
	t.Run("held", func(t *testing.T) {
		run(t, func(t *testing.T, b *bench) {
			b.s.Expire = 8 * time.Hour
			b.q.Configure(b.s)
			fill(b)
			if _, err := b.q.Do(Hold, "m-0", Filter{}); err != nil {
				t.Fatal(err)
			}
			sleep(9 * time.Hour)
			reported := len(b.noted(&b.reported)) // of the others
			if _, err := b.q.Do(Release, "m-0", Filter{}); err != nil {
				t.Fatal(err)
			}
			sleep(10 * time.Minute)
			b.in.is(nil)
			sleep(time.Minute)
			if n := len(b.noted(&b.reported)); n != reported {
				t.Errorf("%d reported after it was released", n-reported)
			}
			equal(t, "left", b.left())
		})
	})
}

// TestReportNotPut: what can't be reported waits on, is tried, and costs less and less; an error for each round, and not for each message, tells of it.
func TestReportNotPut(t *testing.T) {
	broken(t, func(t *testing.T, b *bench) {
		b.s.Expire = time.Hour
		b.q.Configure(b.s)
		b.in.is(down)
		var puts atomic.Int32
		b.disk.answers("Put", func(id string) error {
			if strings.HasPrefix(id, "m-") && strings.Count(id, "-") == 1 {
				return nil
			}
			puts.Add(1)
			return spool.ErrFull
		})
		for i := range 100 {
			b.put(message{id: fmt.Sprintf("m-%03d", i), from: "a@sender.example", bounce: true, to: []string{"in x@example.org"}})
		}
		sleep(7 * time.Hour)
		if n := int(puts.Load()); n < 100 || n > 100*14 { // one after 0, 1, 3, 7, 15, 31, 63, 123 … minutes
			t.Errorf("%d attempts to report 100 messages in 6 h", n)
		}
		b.in.is(nil)
		sleep(time.Minute)
		if n := len(b.in.taken()); n != 100 {
			t.Errorf("%d of 100 delivered, late as they are", n)
		}
	})
}

// TestManyLate: many that are late at once are told of soon, are in the queue meanwhile, and cost no mark where nobody is to be told.
func TestManyLate(t *testing.T) {
	run(t, func(t *testing.T, b *bench) {
		var marks atomic.Int32
		b.disk.answers("Mark", func(string) error { marks.Add(1); return nil })
		b.in.is(down)
		for i := range 1500 {
			b.put(message{id: fmt.Sprintf("m-%04d", i), from: fmt.Sprintf("u%d@sender.example", i), bounce: i%3 == 0, to: []string{"in x@example.org"}})
		}
		sleep(5 * time.Hour)
		if n := len(b.noted(&b.reported)); n != 500 {
			t.Errorf("%d told of the delay", n)
		}
		if n := marks.Load(); n != 500 {
			t.Errorf("%d marks", n)
		}
		b.q.mu.Lock()
		for _, en := range b.q.entries {
			en.items[0].warned = false
		}
		b.q.mu.Unlock()
		if n := len(b.q.late()); n > choresAtOnce {
			t.Errorf("%d out of the queue at once", n)
		}
	})
}

// TestManyOrigins: it costs no more to take somebody's mail out of turn where there are many others.
func TestManyOrigins(t *testing.T) {
	var d *destination
	enterAndLeave := func(n int) time.Duration {
		d = &destination{origins: map[string]*origin{}}
		var all []*item
		now := time.Now()
		for i := range n {
			it := &item{entry: &entry{id: fmt.Sprint(i)}, origin: fmt.Sprint(i), index: -1}
			d.enter(it, now)
			all = append(all, it)
		}
		slices.Reverse(all)
		for _, it := range all[:n-3] {
			d.leave(it)
		}
		return time.Since(now)
	}
	// What looks at all for each takes a hundred times as long for ten times as many. A busy machine may stand still meanwhile, but not each time.
	for try := 1; ; try++ {
		if few, many := enterAndLeave(20_000), enterAndLeave(200_000); many < 40*few {
			break
		} else if try == 5 {
			t.Errorf("20,000 took %v, ten times as many %v", few, many)
			break
		}
	}
	for i := range 3 {
		if it := d.take(); it.origin != fmt.Sprint(i) {
			t.Errorf("the turn of %s, not of %d", it.origin, i)
		}
	}
	if d.turn != nil || len(d.origins) > 0 || d.ready != 0 {
		t.Errorf("%+v", d)
	}
}

// TestPanicAfterwards: what has been delivered when something panics has been delivered.
func TestPanicAfterwards(t *testing.T) {
	run(t, func(t *testing.T, b *bench) {
		b.in.one = true
		b.panics = "y@example.org"
		b.put(message{id: "m-1", from: "a@sender.example", to: []string{"in x@example.org", "in y@example.org", "in z@example.org"}})
		sleep(time.Hour)
		equal(t, "taken for", whose(b.in.taken()), "x@example.org", "y@example.org", "z@example.org")
		equal(t, "left", b.left())
	})
	run(t, func(t *testing.T, b *bench) { // the server takes it, and what tells of it breaks each time
		b.in.is(refuses(map[string]mail.Reply{"x@example.org": mail.NewReply(450, 4, 2, 1, "later")}))
		b.panics = "x@example.org"
		b.put(message{id: "m-1", from: "a@sender.example", to: []string{"in x@example.org"}})
		sleep(3 * time.Hour)
		if b.in.tries > 12 {
			t.Errorf("%d tries", b.in.tries)
		}
	})
}

func TestForPeople(t *testing.T) {
	for d, want := range map[time.Duration]string{
		5 * 24 * time.Hour: "5 days", 24 * time.Hour: "1 day", 36 * time.Hour: "36 hours", time.Hour: "1 hour", 90 * time.Minute: "90 minutes", 61 * time.Second: "1m1s",
	} {
		if got := forPeople(d); got != want {
			t.Errorf("%v: %q", d, got)
		}
	}
}

// TestPause: however long the first pause is, the next one is no shorter, and none is longer than the longest.
func TestPause(t *testing.T) {
	for _, first := range []time.Duration{time.Second, 3 * time.Hour, 24 * time.Hour} {
		s := Settings{First: first, Most: 24 * time.Hour}
		for n := range 100 {
			if d := s.pause(n); d < first*4/5 || d > s.Most*6/5 {
				t.Errorf("first %v, try %d: %v", first, n, d)
			}
		}
	}
}

// TestClockWasAhead: a time that was noted under a clock years ahead keeps no message.
func TestClockWasAhead(t *testing.T) {
	run(t, func(t *testing.T, b *bench) {
		b.in.is(refuses(map[string]mail.Reply{"x@example.org": mail.NewReply(450, 4, 2, 1, "later")}))
		b.put(message{id: "m-1", from: "a@sender.example", to: []string{"in x@example.org"}})
		sleep(time.Second)
		b.stop()
		b.start() // which may have begun to read
		if err := b.store.Mark("m-1", spool.Mark{Next: time.Now().AddDate(10, 0, 0)}); err != nil {
			t.Fatal(err)
		}
		b.restart()
		b.in.is(nil)
		sleep(b.s.Most * 6 / 5)
		equal(t, "left", b.left())
	})
}

// TestReportOfReport: a report that somebody's mail was given up is not lost with it; one that tells of a delay may be.
func TestReportOfReport(t *testing.T) {
	run(t, func(t *testing.T, b *bench) {
		no := refuses(map[string]mail.Reply{"x@example.org": mail.NewReply(550, 5, 7, 1, "no"), "printer@sender.example": mail.NewReply(550, 5, 1, 1, "no such user")})
		b.in.is(no)
		b.out.is(no)
		b.put(message{id: "m-1", from: "printer@sender.example", bounce: true, to: []string{"in x@example.org"}})
		b.in.is(func(env mail.Envelope) upstream.Outcome {
			if env.To[0].String() == "y@example.org" {
				return down(env)
			}
			return no(env)
		})
		b.put(message{id: "m-2", from: "printer@sender.example", bounce: true, to: []string{"in y@example.org"}})
		sleep(5 * time.Hour)
		equal(t, "kept", b.noted(&b.kept), "printer@sender.example: refused by in:25: 550 5.1.1 no such user")
		if n := len(b.noted(&b.reported)); n != 2 {
			t.Errorf("%d reports", n)
		}
		equal(t, "left", b.left(), "m-2")
	})
}
