package queue

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/postern-mail/postern/internal/spool"
)

// readFailures end a further attempt to read what could not be read: the process has no descriptors left, most likely.
const readFailures = 16

// load takes what lies in the spool into the queue, oldest first.
func (q *Queue) load() {
	defer func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		q.loading, q.fresh = false, nil
	}()
	ids, err := q.o.Store.IDs()
	q.mu.Lock()
	q.unlisted = err != nil
	ids = slices.DeleteFunc(ids, func(id string) bool { return q.entries[id] != nil })
	q.mu.Unlock()
	if err != nil {
		q.fault("", fmt.Errorf("what waits can't be listed, and is not tried until it can: %w", err))
		return
	}
	const readers, batch = 4, 256
	for len(ids) > 0 && q.ctx.Err() == nil && !q.isClosed() {
		part := ids[:min(batch, len(ids))]
		ids = ids[len(part):]
		found := make([]*spool.Entry, len(part))
		var wg sync.WaitGroup
		for r := range readers {
			wg.Go(func() {
				for i := r; i < len(part); i += readers {
					found[i], _ = q.read(part[i])
				}
			})
		}
		wg.Wait()
		q.mu.Lock()
		for _, e := range found {
			if e != nil && !q.fresh[e.ID] {
				q.add(e, time.Now().Add(q.settings.grace()))
			}
		}
		q.dispatch()
		q.mu.Unlock()
	}
}

// reread reads what could not be read before.
func (q *Queue) reread() {
	q.mu.Lock()
	busy, again := q.loading, q.unlisted
	if !busy && again {
		q.loading, q.fresh = true, map[string]bool{}
	}
	ids := slices.Collect(maps.Keys(q.unread)) // in no order: one that is never read does not stand before the others
	q.mu.Unlock()
	switch {
	case busy:
		return
	case again:
		q.load()
	}
	failed := 0
	for _, id := range ids {
		if q.isClosed() || failed == readFailures {
			return
		}
		e, err := q.read(id)
		if err != nil {
			failed++
		}
		if e != nil {
			q.mu.Lock()
			q.add(e, time.Now().Add(q.settings.grace()))
			q.dispatch()
			q.mu.Unlock()
		}
	}
}

// read loads one entry for the queue; nil where nothing of it waits. What can't be read is read again in the next round.
func (q *Queue) read(id string) (*spool.Entry, error) {
	e, err := q.entry(id)
	if err != nil && q.unreadable(id, err) {
		err = nil
	} else if err == nil {
		for i := range e.Groups {
			if len(waiting(&e.Groups[i])) > 0 {
				q.setRead(id, nil)
				return &e, nil
			}
		}
		q.remove(id) // it ended, and then the machine did
	}
	q.setRead(id, err)
	return nil, err
}

func (q *Queue) setRead(id string, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if err != nil {
		q.unread[id] = err
	} else {
		delete(q.unread, id)
	}
}

// unreadable sets a damaged entry aside: it must not stop the rest, and nobody must lose it. It reports whether the entry is no
// longer in the spool.
func (q *Queue) unreadable(id string, err error) (gone bool) {
	switch {
	case errors.Is(err, spool.ErrNotFound): // removed meanwhile
		return true
	case errors.Is(err, spool.ErrDamaged):
		aside := q.o.Store.SetAside(id, err)
		if aside == nil || errors.Is(aside, spool.ErrNotFound) {
			if f := q.o.Hooks.Damaged; f != nil {
				f(id, err)
			}
			return true
		}
		err = fmt.Errorf("%w, and it can't be set aside: %w", err, aside)
	}
	q.fault(id, err)
	return false
}
