package queue

import (
	"errors"
	"fmt"
	"hash/maphash"
	"slices"
	"time"

	"github.com/postern-mail/postern/internal/spool"
)

// Order is what an operator wants done to messages.
type Order string

// The orders.
const (
	Retry   Order = "retry"   // to be tried now; what is held stays so
	Hold    Order = "hold"    // not to be tried until it is released
	Release Order = "release" // to be tried again
	Remove  Order = "rm"      // to be forgotten; nobody is told
)

// Orders lists them.
func Orders() []Order { return []Order{Retry, Hold, Release, Remove} }

// Ordered tells what an order came to for one message.
type Ordered struct {
	From      string
	Size      int64
	To        []string // to whom it was done
	Upstreams []string // where they belong
	Others    int      // recipients who were not meant: of Remove, who wait on; else, who share a group with one who was meant
	Held      int      // groups that Retry has left on hold
	Busy      int      // groups that were being tried, and need no Retry
}

// ErrNotMeant says that nothing of a message is what a filter means (any more).
var ErrNotMeant = errors.New("queue: nothing of it is meant")

// share is a group of a message, and who of it is meant.
type share struct {
	it   *item
	to   []int // places
	rest int   // who wait, and are not meant
}

// Do does one thing to what f means of a message: Remove to the recipients who are meant, and nobody else; the others to the
// groups that have one who is meant, since a group is tried as a whole. The error is spool.ErrNotFound, ErrNotMeant, ErrBusy of what is to
// be removed and is being delivered at the moment, or the spool's.
func (q *Queue) Do(o Order, id string, f Filter) (Ordered, error) {
	// Two orders about one message come one after the other, in the spool as in memory.
	turn := &q.orders[maphash.String(orderSeed, id)%uint64(len(q.orders))]
	turn.Lock()
	defer turn.Unlock()
	e, err := q.entry(id)
	whole := f.From == "" && f.To == ""
	if err != nil && (!whole || errors.Is(err, spool.ErrNotFound) || errors.Is(err, spool.ErrID)) {
		return Ordered{}, err
	}
	// What can't be read can be removed, too, if all of it is meant.
	if !whole && f.From != "" && !sameAddress(f.From, e.From) {
		return Ordered{}, fmt.Errorf("%w: %s", ErrNotMeant, id)
	}
	d := Ordered{From: e.From, Size: e.Size}
	switch o {
	case Retry:
		err = q.retry(&e, id, &f, &d)
	case Hold, Release:
		err = q.hold(&e, id, &f, o == Hold, &d)
	case Remove:
		err = q.forget(&e, id, &f, &d)
	default:
		err = fmt.Errorf("queue: no order %q", o)
	}
	return d, err
}

var orderSeed = maphash.MakeSeed()

// shares gives what f means of a message; q.mu is held.
func (q *Queue) shares(e *spool.Entry, id string, f *Filter) ([]share, error) {
	en := q.entries[id]
	if en == nil {
		return nil, fmt.Errorf("%w: %s", spool.ErrNotFound, id)
	}
	var all []share
	for _, it := range en.items {
		if f.Upstream != "" && it.dest.name != f.Upstream || f.State != "" && it.stateName() != f.State {
			continue
		}
		s := share{it: it}
		if it.group < len(e.Groups) {
			s.choose(&e.Groups[it.group], f)
		}
		if len(s.to) > 0 || f.To == "" {
			all = append(all, s)
		}
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%w: %s", ErrNotMeant, id)
	}
	return all, nil
}

// choose says who of a group is meant.
func (s *share) choose(g *spool.Group, f *Filter) {
	s.to, s.rest = nil, 0
	for _, i := range waiting(g) {
		if f.To == "" || sameAddress(f.To, g.To[i].Address) {
			s.to = append(s.to, i)
		} else {
			s.rest++
		}
	}
}

// note tells whom an order was about.
func (d *Ordered) note(e *spool.Entry, s *share) {
	if !slices.Contains(d.Upstreams, s.it.dest.name) {
		d.Upstreams = append(d.Upstreams, s.it.dest.name)
	}
	for _, i := range s.to {
		d.To = append(d.To, e.Groups[s.it.group].To[i].Address)
	}
	d.Others += s.rest
}

// retry makes it the turn of what is meant. Its upstreams are woken by whoever gives the order, once for all messages: one that
// is down would be asked again for each.
func (q *Queue) retry(e *spool.Entry, id string, f *Filter, d *Ordered) error {
	now := time.Now()
	var marks []spool.Mark
	q.mu.Lock()
	all, err := q.shares(e, id, f)
	for i := range all {
		it := all[i].it
		switch {
		case it.held:
			d.Held++
			continue
		case it.state == busy:
			d.Busy++
			continue
		}
		d.note(e, &all[i])
		it.dest.leave(it)
		it.next = now
		it.dest.enter(it, now)
		marks = append(marks, spool.Mark{Time: now, Group: it.group, Next: now})
	}
	q.dispatch()
	q.mu.Unlock()
	if err == nil && q.o.Idle { // it is for the gateway that starts next
		err = q.o.Store.Mark(id, marks...)
	}
	return err
}

// hold keeps what is meant from being tried, or ends that.
func (q *Queue) hold(e *spool.Entry, id string, f *Filter, hold bool, d *Ordered) error {
	q.mu.Lock()
	all, err := q.shares(e, id, f)
	q.mu.Unlock()
	if err != nil {
		return err
	}
	marks := make([]spool.Mark, 0, len(all))
	for i := range all {
		d.note(e, &all[i])
		marks = append(marks, spool.Mark{Time: time.Now(), Group: all[i].it.group, Held: &hold})
	}
	if err := q.o.Store.Mark(id, marks...); err != nil {
		return err
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, s := range all {
		it := s.it
		was := it.held
		it.held = hold
		if was && !hold {
			it.tried, it.quiet = false, time.Now().Add(q.settings.grace())
		}
		if it.state == busy || it.state == over || was == hold {
			continue // it is entered when its try has ended
		}
		it.dest.leave(it)
		it.dest.enter(it, time.Now())
	}
	q.dispatch()
	return nil
}

// forget removes who is meant, and the message with the last of them.
func (q *Queue) forget(e *spool.Entry, id string, f *Filter, d *Ordered) error {
	q.mu.Lock()
	all, err := q.shares(e, id, f)
	if err == nil && slices.ContainsFunc(all, func(s share) bool { return s.it.state == busy }) {
		err = fmt.Errorf("%w: %s", ErrBusy, id)
	}
	if err != nil {
		q.mu.Unlock()
		return err
	}
	for _, s := range all { // from here on nobody else has them
		s.it.dest.leave(s.it)
	}
	rest := len(q.entries[id].items) - len(all)
	q.mu.Unlock()
	if rest == 0 && f.To == "" {
		return q.forgetWhole(e, id, all, d)
	}
	// A try may have ended since the entry was read.
	now, err := q.entry(id)
	var marks []spool.Mark
	for i := range all {
		s := &all[i]
		if err != nil {
			break
		}
		if s.choose(&now.Groups[s.it.group], f); len(s.to) > 0 {
			marks = append(marks, spool.Mark{Time: time.Now(), Group: s.it.group, To: s.to, State: spool.Removed})
		}
	}
	if err == nil {
		err = q.o.Store.Mark(id, marks...)
	}
	last := q.without(all, err == nil)
	if err != nil {
		return err
	}
	for i := range all {
		d.note(&now, &all[i])
	}
	if len(marks) == 0 {
		err = fmt.Errorf("%w: %s", ErrNotMeant, id)
	}
	d.Others = 0
	for i := range now.Groups {
		d.Others += len(waiting(&now.Groups[i]))
	}
	d.Others -= len(d.To)
	if last { // who waited is marked, so that nothing depends on it but room
		q.remove(id)
	}
	return err
}

// without puts groups back that forget has taken, but for those of which nobody waits any more. It reports whether the message
// has ended with them.
func (q *Queue) without(all []share, done bool) (last bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	en := all[0].it.entry
	for _, s := range all {
		if it := s.it; done && s.rest == 0 {
			it.state = over
			en.items = slices.DeleteFunc(en.items, func(o *item) bool { return o == it })
		} else {
			if done {
				it.recipients = s.rest
			}
			it.dest.enter(it, time.Now())
		}
	}
	if len(en.items) == 0 {
		delete(q.entries, en.id)
		last = true
	}
	q.dispatch()
	return last
}

// forgetWhole removes a message of which nobody is to be left.
func (q *Queue) forgetWhole(e *spool.Entry, id string, all []share, d *Ordered) error {
	if err := q.o.Store.Remove(id); err != nil {
		q.without(all, false)
		return err
	}
	for i := range all {
		all[i].rest = 0
		d.note(e, &all[i])
	}
	q.without(all, true)
	if err := q.o.Store.Durable(); err != nil {
		return fmt.Errorf("it is removed, and a power cut might bring it back: %w", err)
	}
	return nil
}
