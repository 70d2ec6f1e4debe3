package spool

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/postern-mail/postern/internal/store/storetest"
	"github.com/postern-mail/postern/mail"
)

// smallLarge is the size beyond which an original has a file of its own in these tests.
const smallLarge = 1000

// life is what a test has asked of a store about one entry, and what the store has said.
type life struct {
	*sample
	acked   bool             // Put gave nil
	failed  bool             // Put gave an error
	removal bool             // Remove was called
	gone    bool             // Remove gave nil, and its second is over
	said    map[[2]int]State // asked for: of group and recipient
	settled map[[2]int]State // and acknowledged
}

func newLife(id string, size int) *life {
	return &life{sample: sampleOf(id, size), said: map[[2]int]State{}, settled: map[[2]int]State{}}
}

func (l *life) put(s *Store) error {
	b := mail.NewBlob(l.original)
	defer b.Release()
	err := l.sample.put(s, b)
	l.acked, l.failed = err == nil, err != nil
	return err
}

func (l *life) mark(s *Store, group, to int, state State) error {
	at := [2]int{group, to}
	l.said[at] = state
	err := s.Mark(l.entry.ID, Mark{Group: group, To: []int{to}, State: state, Tried: true, Cause: strings.Repeat("x", 100)})
	if err == nil && state != Waiting {
		l.settled[at] = state
	}
	return err
}

func (l *life) remove(s *Store) error {
	l.removal = true
	return s.Remove(l.entry.ID)
}

// verify proves that a store holds what it has to, and nothing half.
func verify(s *Store, f *storetest.FS, lives []*life) error {
	ids, err := s.IDs()
	if err != nil {
		return err
	}
	known := map[string]bool{}
	for _, l := range lives {
		id := l.entry.ID
		known[id] = true
		there := slices.Contains(ids, id)
		switch {
		case l.acked && !l.removal && !there:
			return fmt.Errorf("%s is lost", id)
		case l.gone && there:
			return fmt.Errorf("%s has come back", id)
		case !there:
			continue
		}
		if err := l.check(s); err != nil {
			return fmt.Errorf("%s (acknowledged %v): %w", id, l.acked, err)
		}
		e, err := s.Load(id)
		if err != nil {
			return err
		}
		for i, g := range e.Groups {
			for j, r := range g.To {
				at := [2]int{i, j}
				if want, ok := l.settled[at]; ok && r.State != want || r.State != Waiting && r.State != l.said[at] {
					return fmt.Errorf("%s: recipient %v is %q, and was to be %q", id, at, r.State, l.said[at])
				}
			}
		}
	}
	for _, id := range ids {
		if !known[id] {
			return fmt.Errorf("%s is nobody's", id)
		}
	}
	if n := s.Usage().Entries; n != len(ids) {
		return fmt.Errorf("%d entries are counted, there are %d", n, len(ids))
	}
	return nil
}

// clean proves that a store that was opened just now has nothing but whole entries, and that its account is right.
func clean(s *Store, f *storetest.FS) error {
	ids, err := s.IDs()
	if err != nil {
		return err
	}
	for path := range f.Files() {
		id, suffix, _ := strings.Cut(filepath.Base(path), ".")
		if suffix != "" && (!slices.Contains(ids, id) || strings.HasSuffix(suffix, "tmp")) {
			return fmt.Errorf("%s is a leftover", path)
		}
	}
	for _, id := range ids {
		if err := s.Remove(id); err != nil {
			return err
		}
	}
	if u := s.Usage(); u.Entries != 0 || u.Octets < -5 || u.Octets > 5 { // shares of files are rounded
		return fmt.Errorf("%+v is left of nothing", u)
	}
	return nil
}

// bubble runs f where time stands still unless all wait.
func bubble(t *testing.T, f func() error) error {
	var err error
	synctest.Test(t, func(*testing.T) { err = f() })
	return err
}

// TestSlowRemovals: who waits for a sync does not wait for files that are removed.
func TestSlowRemovals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c syncer
		c.start(func() error { return nil })
		var begun, ended atomic.Int64
		slow := make(chan struct{})
		for range 3 {
			c.later(func() { begun.Add(1); <-slow; ended.Add(1) })
			time.Sleep(2 * removalDelay)
		}
		if begun.Load() != 1 {
			t.Errorf("%d are removed at once", begun.Load())
		}
		begin := time.Now()
		if err := c.wait(); err != nil || time.Since(begin) > 0 {
			t.Errorf("%v, after %v", err, time.Since(begin))
		}
		close(slow)
		if err := c.stop(); err != nil || ended.Load() != 3 {
			t.Errorf("%v, %d of 3 done", err, ended.Load())
		}
	})
}

// TestRemovalsAreSyncedLater: a removal is durable within its time, and what has to wait for that is done then, also where a
// sync fails before.
func TestRemovalsAreSyncedLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const fails = 2
		var syncs, done atomic.Int64
		var c syncer
		c.start(func() error {
			if syncs.Add(1) <= fails {
				return syscall.EIO
			}
			return nil
		})
		c.later(func() { done.Add(1) })
		c.later(func() { done.Add(1) })
		time.Sleep(removalDelay / 2)
		synctest.Wait()
		if syncs.Load() != 0 {
			t.Error("synced at once")
		}
		for i := range int64(fails + 1) {
			if done.Load() != 0 {
				t.Errorf("done before it was durable")
			}
			time.Sleep(removalDelay)
			synctest.Wait()
			if syncs.Load() != i+1 {
				t.Errorf("%d syncs after %d seconds", syncs.Load(), i+1)
			}
		}
		if done.Load() != 2 {
			t.Errorf("%d of 2 done", done.Load())
		}
		c.later(nil)
		if err := c.wait(); err != nil || syncs.Load() != fails+2 {
			t.Errorf("%d syncs, %v", syncs.Load(), err)
		}
		time.Sleep(2 * removalDelay)
		synctest.Wait()
		if syncs.Load() != fails+2 {
			t.Error("a removal that was synced with something else was synced once more")
		}
		c.later(func() { done.Add(1) })
		if err := c.stop(); err != nil || done.Load() != 3 || c.wait() == nil {
			t.Errorf("%v, %d of 3 done", err, done.Load())
		}
	})
}
