package queue

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/postern-mail/postern/internal/spool"
	"github.com/postern-mail/postern/mail/dsn"
)

const (
	// roundEvery is the pause between two looks for mail that is late.
	roundEvery = 30 * time.Second
	// choresAtOnce are taken out of the queue at once, so that the rest can be tried meanwhile, and worked on by choreWorkers: they
	// write to the disk together.
	choresAtOnce = 256
	choreWorkers = 16
	// choreFailures end a round: the disk is full, most likely.
	choreFailures = 16
	// choreLast is the longest pause after a chore that failed.
	choreLast = time.Hour
)

// duty is what a group's sender is to be told.
type duty uint8

const (
	nothing duty = iota
	delay        // that it takes its time
	end          // that we have given up
)

// chore is a group that is out of the queue while its sender is told.
type chore struct {
	*item
	duty duty
}

// rounds looks for mail that is late, until the queue ends: nobody else does, where a destination is not tried.
func (q *Queue) rounds() {
	tick := time.NewTicker(roundEvery)
	defer tick.Stop()
	for {
		select {
		case <-q.ends:
			return
		case <-tick.C:
		}
		q.pay()
		q.reread()
		q.chores()
	}
}

// chores tells whoever is to be told something now.
func (q *Queue) chores() {
	var failed atomic.Int32
	for failed.Load() < choreFailures && !q.isClosed() {
		all := q.late()
		if len(all) == 0 {
			return
		}
		var workers sync.WaitGroup
		for w := range min(choreWorkers, len(all)) {
			workers.Go(func() {
				for i := w; i < len(all); i += choreWorkers {
					c := all[i]
					if failed.Load() >= choreFailures || q.isClosed() {
						q.back(c.item, result{})
						continue
					}
					r := q.guarded(c.item, func() result { return q.do(c) })
					if r.again {
						failed.Add(1)
					}
					q.back(c.item, r)
				}
			})
		}
		workers.Wait()
	}
}

// late takes some of the groups out of the queue whose senders are to be told something.
func (q *Queue) late() (all []chore) {
	q.mu.Lock()
	defer q.mu.Unlock()
	now := time.Now()
	for _, en := range q.entries {
		for _, it := range en.items {
			if it.state != deferred && it.state != ready {
				continue
			}
			if d := q.settings.duty(it, now); d != nothing {
				it.dest.leave(it)
				all = append(all, chore{it, d})
			}
		}
		if len(all) >= choresAtOnce {
			break
		}
	}
	return all
}

// duty says what a group's sender is to be told. Nobody is told of what was not tried, nor kept by its upstream, since this queue
// began or it was released, and for a while after that: what lay here while no gateway ran is to be delivered, not to be bounced.
func (s *Settings) duty(it *item, now time.Time) duty {
	if now.Before(it.quiet) || !it.tried && !it.dest.down {
		return nothing
	}
	switch age := now.Sub(it.entry.taken); {
	case age >= s.Expire:
		return end
	case s.Warn > 0 && age >= s.Warn && !it.warned && it.bounce:
		return delay
	}
	return nothing
}

// grace is how long nobody is told of what lay here when the queue began, or of what was released.
func (s *Settings) grace() time.Duration { return min(s.Most, s.Expire) }

// back enters what a chore came to. One that failed has a pause that grows; the group is tried all the same.
func (q *Queue) back(it *item, r result) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if r.again {
		it.quiet = time.Now().Add(spread(min(2*roundEvery<<min(it.chores, 10), choreLast)))
		it.chores++
	}
	r.again, r.counted, r.next = false, 0, it.next
	q.settle(it, &r)
	q.dispatch()
}

// do tells a sender of a delay, or gives a group up whose time is over.
func (q *Queue) do(c chore) result {
	q.mu.Lock()
	s, cause := q.settings, c.dest.cause
	q.mu.Unlock()
	e, err := q.entry(c.entry.id)
	if err != nil {
		return q.lost(c.entry.id, err)
	}
	ctx, cancel := context.WithTimeout(q.ctx, tryTime)
	defer cancel()
	g := &e.Groups[c.group]
	to := waiting(g)
	for _, i := range to {
		if p := &g.To[i]; p.Reply.IsZero() && p.Cause == "" {
			p.Cause = cause
		}
	}
	if c.duty == delay {
		return q.warn(ctx, s, &e, c.group, to)
	}
	marks, err := q.giveUp(ctx, s, &e, c.group, to, fmt.Sprintf("it could not be delivered within %s", forPeople(s.Expire)))
	if err != nil {
		q.fault(e.ID, err)
		return result{again: true}
	}
	if len(e.Groups) == 1 {
		q.remove(e.ID, marks...)
	} else {
		q.mark(e.ID, marks...)
	}
	return result{gone: true}
}

// warn tells a sender that a message is delayed, once.
func (q *Queue) warn(ctx context.Context, s *Settings, e *spool.Entry, group int, to []int) result {
	g := &e.Groups[group]
	var told []int
	for _, i := range to {
		if asksFor(&g.To[i], "DELAY") {
			told = append(told, i)
		}
	}
	if len(told) == 0 || g.Warned {
		return result{warned: true} // nobody is to be told, which needs no mark
	}
	sent, err := q.report(ctx, s, e, news{group: group, to: told, what: dsn.Delayed, why: "it could not be delivered yet"})
	if err != nil {
		q.fault(e.ID, err)
		return result{again: true}
	}
	if sent {
		q.mark(e.ID, spool.Mark{Time: time.Now(), Group: group, Warned: true})
	}
	return result{warned: true}
}

// forPeople writes a time that somebody has configured.
func forPeople(d time.Duration) string {
	const day = 24 * time.Hour
	for _, u := range []struct {
		d    time.Duration
		name string
	}{{day, "day"}, {time.Hour, "hour"}, {time.Minute, "minute"}} {
		switch {
		case d == u.d:
			return "1 " + u.name
		case d > u.d && d%u.d == 0:
			return fmt.Sprintf("%d %ss", d/u.d, u.name)
		}
	}
	return d.String()
}
