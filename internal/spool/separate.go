package spool

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/postern-mail/postern/internal/store"
)

// Those who came together share a file until the last of them is gone: a message that stays for days keeps the octets of all the
// others. As long as there is room that costs nothing. When half of it is used, entries that keep much more than is theirs are given
// files of their own.

const (
	mostKept     = 4        // an entry may keep so many times its octets
	smallFile    = 64 << 10 // octets of a file with which nothing is done
	separatedGap = time.Minute
	inVainGap    = 10 * time.Minute // where there was nothing to do
)

// wantsRoom begins to make room where little is left; s.mu is held, free is what the file system has.
func (s *Store) wantsRoom(free int64) {
	much := s.size > 0 && s.usage.Octets > s.size/2 || s.minFree > 0 && free/2 < s.minFree
	if !much || s.separating || s.closed || time.Now().Before(s.separateAt) {
		return
	}
	s.separating = true
	s.puts.Add(1)
	go s.separateAll()
}

// separateAll gives files of their own to all entries that keep too much.
func (s *Store) separateAll() {
	defer s.puts.Done()
	gap := inVainGap
	ids, err := s.IDs()
	for i := 0; i < len(ids) && err == nil && !s.isClosed(); i++ {
		var done bool
		if done, err = s.separate(ids[i]); done {
			gap = separatedGap
		} else if errors.Is(err, ErrNotFound) || errors.Is(err, ErrDamaged) {
			err = nil // who reads it is told
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.separating, s.separateAt = false, time.Now().Add(gap)
}

func (s *Store) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

// separate gives an entry a file of its own, if it keeps too much in the one that it has, and reports whether it did.
func (s *Store) separate(id string) (bool, error) {
	path := s.path(id, messageSuffix)
	if info, err := s.fs.Stat(path); errors.Is(err, os.ErrNotExist) || err == nil && info.Size() < smallFile {
		return false, nil
	} else if err != nil {
		return false, err
	}
	letGo, err := s.hold(id)
	if err != nil {
		return false, err
	}
	defer letGo()
	o, err := s.open(id)
	if err != nil {
		return false, err
	}
	defer o.file.Close()
	info, err := o.file.Stat()
	x := index{parts: []part{{id: id}}}
	x.parts[0].off = x.length()
	x.size = x.length() + o.head.size()
	if err != nil || info.Size()/store.Links(info) < mostKept*x.size {
		return false, err
	}
	tmp := path + tmpSuffix
	if err = s.remove(tmp); err == nil {
		err = s.write(tmp, func(w io.Writer) error { return copyPart(w, &x, o) })
	}
	if err == nil {
		err = s.replace(tmp, path, o, x.size)
	}
	if err != nil {
		return false, errors.Join(err, s.remove(tmp))
	}
	s.names.later(nil) // until it is synced the entry lies in the one or the other
	return true, nil
}

// replace puts an entry's own file, of so many octets, in the place of the one that it shares.
func (s *Store) replace(tmp, path string, o *opened, octets int64) error {
	s.unlinking.Lock()
	defer s.unlinking.Unlock()
	info, err := o.file.Stat()
	if err == nil {
		err = s.fs.Rename(tmp, path)
	}
	if err != nil {
		return err
	}
	if store.Links(info) == 1 {
		octets -= info.Size()
	}
	s.account(0, octets)
	return nil
}

// copyPart writes a file of one entry out of another file, and proves it.
func copyPart(w io.Writer, x *index, o *opened) error {
	record := make([]byte, o.head.record)
	if err := readAt(o.file, record, o.begin-o.head.record); err != nil {
		return err
	}
	if checksum(record) != o.head.recordSum {
		return fmt.Errorf("%w: the record's checksum", ErrDamaged)
	}
	if _, err := w.Write(append(o.head.append(x.append(nil)), record...)); err != nil {
		return err
	}
	got, err := sum(func(h io.Writer) error {
		n, err := io.Copy(io.MultiWriter(w, h), io.NewSectionReader(o.file, o.begin, o.head.octets))
		if err == nil && n != o.head.octets {
			err = fmt.Errorf("%w: it ends early", ErrDamaged)
		}
		return err
	})
	if err == nil && got != o.head.octetsSum {
		err = fmt.Errorf("%w: the octets' checksum", ErrDamaged)
	}
	return err
}
