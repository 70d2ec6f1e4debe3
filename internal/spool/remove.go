package spool

import (
	"errors"
	"fmt"
	"os"

	"github.com/postern-mail/postern/internal/store"
)

// Remove removes an entry. The removal is durable about a second later: a power cut before that brings the whole entry
// back. The error is ErrNotFound where there is none.
func (s *Store) Remove(id string) error {
	letGo, err := s.hold(id)
	if err != nil {
		return err
	}
	defer letGo()
	return s.removeHeld(id)
}

func (s *Store) removeHeld(id string) error {
	rest, err := s.unlink(id)
	if err != nil {
		return err
	}
	if len(rest) == 0 {
		s.names.later(nil)
		return nil
	}
	// The rest goes when the first removal is durable: the entry must not come back without its original, or its marks.
	s.mu.Lock()
	s.gone[id] = struct{}{}
	s.mu.Unlock()
	s.names.later(func() {
		err := s.removeRest(id, rest...) // what stays is a leftover, which the next Open removes
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.gone, id)
		if err != nil {
			s.strays[id] = struct{}{}
		}
	})
	return nil
}

// Durable waits until what was removed by now is removed for good: no power cut brings it back.
func (s *Store) Durable() error {
	if err := s.names.wait(); err != nil {
		return fmt.Errorf("spool: %w", err)
	}
	return nil
}

// unlink removes the name that makes the entry one, and takes its octets off the account. It tells which other files it has.
func (s *Store) unlink(id string) (rest []string, err error) {
	s.unlinking.Lock() // the last name of a file is one only
	defer s.unlinking.Unlock()
	octets, rest, err := s.sizes(id)
	if err == nil {
		err = s.fs.Remove(s.path(id, messageSuffix))
	}
	if err != nil {
		return nil, fmt.Errorf("spool: remove %s: %w", id, err)
	}
	s.account(-1, -octets)
	s.mu.Lock()
	delete(s.logs, id)
	delete(s.torn, id)
	s.mu.Unlock()
	return rest, nil
}

// removeRest removes files of what is no entry.
func (s *Store) removeRest(id string, suffixes ...string) error {
	var errs []error
	for _, suffix := range suffixes {
		errs = append(errs, s.remove(s.path(id, suffix)))
	}
	return errors.Join(errs...)
}

// sizes gives the octets of files that no other entry has a part of, and which an entry has beside the one that every entry
// has: ErrNotFound where there is none.
func (s *Store) sizes(id string) (octets int64, rest []string, err error) {
	for _, suffix := range []string{messageSuffix, logSuffix, originalSuffix} {
		info, err := s.fs.Stat(s.path(id, suffix))
		switch {
		case err == nil:
			if store.Links(info) == 1 {
				octets += info.Size()
			}
			if suffix != messageSuffix {
				rest = append(rest, suffix)
			}
		case !errors.Is(err, os.ErrNotExist):
			return 0, nil, err
		case suffix == messageSuffix:
			return 0, nil, ErrNotFound
		}
	}
	return octets, rest, nil
}
