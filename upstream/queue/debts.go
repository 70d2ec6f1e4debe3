package queue

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/postern-mail/postern/internal/spool"
)

// debt is what the spool would not take of what became of an entry. It is done to the entry whenever that is read, so that nobody
// gets a message again, and offered to the spool again: nothing depends on it but that a restart before makes a double. It has an
// end for each recipient at most.
type debt struct {
	marks []spool.Mark // that settle something
	gone  bool         // it is to be removed
}

// payFailures are how many debts a round offers in vain: the disk is full, most likely.
const payFailures = 16

// entry gives an entry with all that has become of it.
func (q *Queue) entry(id string) (spool.Entry, error) {
	e, err := q.o.Store.Load(id)
	if err != nil {
		return e, err
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if d := q.debts[id]; d != nil {
		if d.gone {
			return spool.Entry{}, fmt.Errorf("%w: %s", spool.ErrNotFound, id)
		}
		e.Apply(d.marks...)
	}
	return e, nil
}

// mark puts marks into the spool, or owes them.
func (q *Queue) mark(id string, marks ...spool.Mark) {
	if len(marks) == 0 {
		return
	}
	if err := q.o.Store.Mark(id, marks...); err != nil {
		q.owe(id, marks, false, err)
	}
}

// remove takes an entry out of the spool, or owes it, and the marks that say that nobody waits any more.
func (q *Queue) remove(id string, marks ...spool.Mark) {
	if err := q.o.Store.Remove(id); err != nil {
		q.owe(id, nil, true, err)
		q.mark(id, marks...)
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	delete(q.debts, id)
}

func (q *Queue) owe(id string, marks []spool.Mark, gone bool, err error) {
	if errors.Is(err, spool.ErrNotFound) {
		return
	}
	q.mu.Lock()
	d := q.debts[id]
	if d == nil {
		d = &debt{}
	}
	d.gone = d.gone || gone
	for i := range marks {
		if marks[i].Settled() {
			d.marks = append(d.marks, marks[i])
		}
	}
	if d.gone || len(d.marks) > 0 {
		q.debts[id] = d
	}
	q.mu.Unlock()
	q.complain(id, err)
}

// complain tells of what can't be noted, once in a round.
func (q *Queue) complain(id string, err error) {
	q.mu.Lock()
	now, n := time.Now(), len(q.debts)
	tell := q.complained.IsZero() || now.Sub(q.complained) >= roundEvery
	if tell {
		q.complained = now
	}
	q.mu.Unlock()
	if tell {
		q.fault(id, fmt.Errorf("what became of a message can't be noted, and of %d messages a restart before it can would try some recipients again: %w", n, err))
	}
}

// pay offers the spool what it would not take.
func (q *Queue) pay() {
	q.mu.Lock()
	ids := slices.Collect(maps.Keys(q.debts)) // in no order: one that is never taken does not stand before the others
	q.mu.Unlock()
	failed := 0
	for _, id := range ids {
		if err := q.payOne(id); err != nil {
			q.complain(id, err)
			if failed++; failed == payFailures {
				return
			}
		}
	}
}

func (q *Queue) payOne(id string) (err error) {
	q.mu.Lock()
	d := q.debts[id]
	if d == nil {
		q.mu.Unlock()
		return nil
	}
	marks, gone := slices.Clone(d.marks), d.gone
	q.mu.Unlock()
	if gone {
		err = q.o.Store.Remove(id)
	} else {
		err = q.o.Store.Mark(id, marks...)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case gone && err == nil, errors.Is(err, spool.ErrNotFound):
		delete(q.debts, id)
		return nil
	case err != nil:
		return err
	}
	if d.marks = d.marks[len(marks):]; len(d.marks) == 0 && !d.gone {
		delete(q.debts, id)
	}
	return nil
}
