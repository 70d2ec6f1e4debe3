package queue

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/postern-mail/postern/internal/spool"
	"github.com/postern-mail/postern/mail/dsn"
)

// roundEvery is the pause between two looks for mail that is late.
const roundEvery = 30 * time.Second

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
		for _, it := range q.late() {
			if q.isClosed() {
				q.back(it, result{})
				continue
			}
			q.back(it, q.guarded(it, func() result { return q.chore(it) }))
		}
	}
}

// late takes the groups out of the queue whose senders are to be told something.
func (q *Queue) late() (all []*item) {
	q.mu.Lock()
	defer q.mu.Unlock()
	now := time.Now()
	for _, en := range q.entries {
		for _, it := range en.items {
			if (it.state == deferred || it.state == ready) && q.settings.late(it, now) {
				it.dest.leave(it)
				all = append(all, it)
			}
		}
	}
	slices.SortFunc(all, func(a, b *item) int { return byAge(a.entry, b.entry) })
	return all
}

// late reports whether a group's sender is to be told of a delay, or that we have given up.
func (s *Settings) late(it *item, now time.Time) bool {
	age := now.Sub(it.entry.taken)
	return age >= s.Expire || s.Warn > 0 && age >= s.Warn && !it.warned
}

// back enters what a chore came to.
func (q *Queue) back(it *item, r result) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if r.next.IsZero() {
		r.next = it.next
	}
	q.settle(it, &r)
	q.dispatch()
}

// chore tells a sender of a delay, or gives a group up whose time is over.
func (q *Queue) chore(it *item) result {
	q.mu.Lock()
	s, cause := q.settings, it.dest.cause
	q.mu.Unlock()
	e, err := q.entry(it.entry.id)
	if err != nil {
		return q.lost(it.entry.id, err)
	}
	ctx, cancel := context.WithTimeout(q.ctx, tryTime)
	defer cancel()
	g := &e.Groups[it.group]
	to := waiting(g)
	for _, i := range to {
		if p := &g.To[i]; p.Reply.IsZero() && p.Cause == "" {
			p.Cause = cause
		}
	}
	if time.Since(e.Time) < s.Expire {
		return q.warn(ctx, s, &e, it, to)
	}
	marks, err := q.giveUp(ctx, s, &e, it.group, to, fmt.Sprintf("it could not be delivered within %s", s.Expire))
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
func (q *Queue) warn(ctx context.Context, s *Settings, e *spool.Entry, it *item, to []int) result {
	var told []int
	for _, i := range to {
		if asksFor(&e.Groups[it.group].To[i], "DELAY") {
			told = append(told, i)
		}
	}
	if len(told) > 0 {
		if _, err := q.report(ctx, s, e, news{group: it.group, to: told, what: dsn.Delayed, why: "it could not be delivered yet"}); err != nil {
			q.fault(e.ID, err)
			return result{again: true}
		}
	}
	q.mark(e.ID, spool.Mark{Time: time.Now(), Group: it.group, Warned: true})
	return result{warned: true}
}
