package quarantine

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/postern-mail/postern/internal/store"
)

// Remove removes an entry, also one whose record is damaged. An entry that is being released is ErrBusy.
func (s *Store) Remove(id string) error {
	if err := checkID(id); err != nil {
		return err
	}
	return s.forget(id, &s.usage.Removed)
}

// forget removes an entry, takes it off the account and counts that.
func (s *Store) forget(id string, count *int64) error {
	s.folder.RLock()
	defer s.folder.RUnlock()
	octets, err := s.remove(id)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.usage.Messages = max(0, s.usage.Messages-1)
	s.usage.Octets = max(0, s.usage.Octets-octets)
	*count++
	return nil
}

// remove removes the files of an entry, the record first and synced: without it the rest is a leftover,
// whatever becomes of this process. It gives their octets.
func (s *Store) remove(id string) (octets int64, err error) {
	for _, suffix := range []string{recordSuffix, contentSuffix} {
		if info, err := s.o.FS.Stat(s.path(id, suffix)); err == nil {
			octets += info.Size()
		} else if suffix == recordSuffix {
			if errors.Is(err, os.ErrNotExist) {
				err = fmt.Errorf("%w: %s", ErrNotFound, id)
			}
			return 0, err
		}
	}
	f, err := s.o.FS.OpenFile(s.path(id, contentSuffix), os.O_RDONLY, 0)
	if err == nil {
		defer f.Close()
		free, err := store.TryLock(f)
		if err != nil {
			return 0, err
		}
		if !free {
			return 0, fmt.Errorf("%w: %s", ErrBusy, id)
		}
	} else if !errors.Is(err, os.ErrNotExist) {
		return 0, fmt.Errorf("quarantine: %w", err)
	}
	err = s.o.FS.Remove(s.path(id, recordSuffix))
	if errors.Is(err, os.ErrNotExist) {
		return 0, fmt.Errorf("%w: %s", ErrNotFound, id) // who had the lock before was quicker
	}
	if err == nil {
		err = s.o.FS.SyncDir(s.dir)
	}
	for _, suffix := range []string{claimSuffix, contentSuffix} {
		if err == nil {
			if err = s.o.FS.Remove(s.path(id, suffix)); errors.Is(err, os.ErrNotExist) {
				err = nil
			}
		}
	}
	if err != nil {
		return 0, fmt.Errorf("quarantine: %w", err)
	}
	return octets, nil
}

// Sweep removes entries that are older than Keep, and what crashes have left behind, and counts anew what
// is there. It tells how many entries went. What can't be removed is told in the error and stops nothing.
func (s *Store) Sweep(now time.Time) (int, error) {
	files, err := s.look()
	if err != nil {
		return 0, err
	}
	removed := 0
	var errs []error
	note := func(err error) {
		if err != nil && !errors.Is(err, os.ErrNotExist) && !errors.Is(err, ErrNotFound) && !errors.Is(err, ErrBusy) {
			errs = append(errs, err)
		}
	}
	for id, g := range files {
		for _, f := range g.strays {
			if now.Sub(f.modified) > leftoverAge {
				note(s.o.FS.Remove(filepath.Join(s.dir, f.name)))
			}
		}
		switch {
		case !g.record && g.content && now.Sub(g.kept) > leftoverAge:
			note(s.o.FS.Remove(s.path(id, contentSuffix)))
		case !g.record && !g.content && g.claim:
			note(s.o.FS.Remove(s.path(id, claimSuffix)))
		case g.record && s.expired(id, g, now):
			err := s.forget(id, &s.usage.Expired)
			note(err)
			if err == nil {
				removed++
			}
		}
	}
	return removed, errors.Join(errs...)
}

// expired tells whether an entry is older than Keep. The content's file is as old as the entry, or looks
// younger after a restoration: only the records of old files are read. A record that can't be read goes by
// its file.
func (s *Store) expired(id string, g *group, now time.Time) bool {
	keep := time.Duration(s.keepFor.Load())
	if keep <= 0 || g.content && now.Sub(g.kept) < keep {
		return false
	}
	e, err := s.Get(id)
	switch {
	case err == nil:
		return now.Sub(e.Time) >= keep
	case errors.Is(err, ErrDamaged):
		return g.content
	}
	return false
}
