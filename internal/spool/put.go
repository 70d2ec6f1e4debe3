package spool

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"syscall"

	"github.com/postern-mail/postern/internal/store"
	"github.com/postern-mail/postern/mail"
)

// Put takes a message. When the error is nil it is on disk, durably; when it is not, the entry is not there, and after a
// crash not there or whole. The error is ErrFull where the bounds of the Store or the disk leave no room; then nothing is left
// behind. The context is heeded up to the point from which on the entry would outlive a crash.
//
// messages[i] is what e.Groups[i] gets. What of it lies in original is kept once for all. Put takes over no reference.
func (s *Store) Put(ctx context.Context, e Entry, original *mail.Blob, messages []*mail.Message) error {
	p, err := s.compile(e, original, messages)
	if err != nil {
		return err
	}
	letGo, err := s.hold(e.ID)
	if err != nil {
		return err
	}
	defer letGo()
	if err := s.reserve(p.need()); err != nil {
		return err
	}
	defer s.unreserve(p.need())
	if err = s.put(ctx, p); errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		err = fmt.Errorf("%w: %w", ErrFull, err)
	}
	return err
}

// putting is a message on its way to the disk.
type putting struct {
	id     string
	layout *layout
	head   head
	record []byte

	done    chan struct{} // closed when the next two are known
	err     error
	lingers bool // it may come back with a crash, although there was an error
}

// need gives the octets that the files of the message take at most.
func (p *putting) need() int64 {
	return indexStart + 4 + partLength(p.id) + p.head.size() + p.head.original
}

// compile makes all that is written of an entry but the octets themselves.
func (s *Store) compile(e Entry, original *mail.Blob, messages []*mail.Message) (*putting, error) {
	if err := checkID(e.ID); err != nil {
		return nil, err
	}
	if err := checkEntry(&e); err != nil {
		return nil, err
	}
	if len(messages) != len(e.Groups) {
		return nil, fmt.Errorf("spool: entry %s has %d groups and %d messages", e.ID, len(e.Groups), len(messages))
	}
	l := newLayout(original, messages, s.large)
	if e.Time.IsZero() {
		e.Time = s.now()
	}
	e.Size = original.Size()
	e.Groups = append([]Group(nil), e.Groups...)
	for i, m := range messages {
		e.Groups[i].Size = m.Size()
	}
	data, err := (&record{Entry: e, Runs: l.runs}).encode()
	if err != nil {
		return nil, err
	}
	p := &putting{id: e.ID, layout: l, record: data, done: make(chan struct{})}
	p.head = head{record: int64(len(data)), octets: l.octets(), recordSum: checksum(data)}
	if p.head.octetsSum, err = sum(l.writeTo); err != nil {
		return nil, err
	}
	if l.large {
		p.head.original = original.Size()
		whole := mail.Run{Blob: original, N: original.Size()}
		if p.head.originalSum, err = sum(func(w io.Writer) error { return writeRun(w, whole) }); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// reserve takes room for n octets, or says ErrFull.
func (s *Store) reserve(n int64) error {
	free, err := s.free()
	if err != nil {
		return fmt.Errorf("spool: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.size > 0 && s.usage.Octets+s.reserved+n > s.size {
		return fmt.Errorf("%w: %d octets of %d are in use, %d are needed", ErrFull, s.usage.Octets+s.reserved, s.size, n)
	}
	// What others are writing may or may not be there yet: it is counted twice rather than not.
	if s.minFree > 0 && free-s.reserved-n < s.minFree {
		return fmt.Errorf("%w: the file system has room for %d octets, %d are needed and %d must stay free", ErrFull, free, s.reserved+n, s.minFree)
	}
	s.reserved += n
	return nil
}

// free tells how much room the file system has; very much where nobody wants to know or the system does not say.
func (s *Store) free() (int64, error) {
	s.mu.Lock()
	look := s.minFree > 0
	s.mu.Unlock()
	if !look {
		return math.MaxInt64, nil
	}
	n, err := s.fs.Free(s.dir)
	if errors.Is(err, errors.ErrUnsupported) {
		return math.MaxInt64, nil
	}
	return n, err
}

func (s *Store) unreserve(n int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reserved -= n
}

// Room reports whether Put would find room for a message of so many octets at this moment.
func (s *Store) Room(octets int64) bool {
	if s.reserve(octets) != nil {
		return false
	}
	s.unreserve(octets)
	return true
}

// put writes the files of an entry. What a failure leaves is removed, the commit point first.
func (s *Store) put(ctx context.Context, p *putting) error {
	s.mu.Lock()
	_, gone := s.gone[p.id]
	s.mu.Unlock()
	if _, err := s.fs.Stat(s.path(p.id, messageSuffix)); err == nil || gone {
		return fmt.Errorf("%w: %s", ErrExists, p.id)
	} else if !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("spool: %w", err)
	}
	err := ctx.Err()
	if err == nil && p.layout.large {
		if err = s.putOriginal(p); err == nil {
			err = s.names.wait() // else the name of the rest might be there after a crash, and this not
		}
	}
	if err == nil {
		err = ctx.Err() // the client may be gone: before the commit point, not after
	}
	if err == nil && (p.head.size() > mostOctets || s.alone.Load()) {
		s.commit([]*putting{p}) // nobody is to wait for so much, or can share a file
		err = p.err
	} else if err == nil {
		err = s.batches.commit(p)
	}
	if err == nil {
		s.account(0, p.head.original)
		return nil
	}
	if p.layout.large && !p.lingers {
		err = errors.Join(err, s.remove(s.path(p.id, originalSuffix)))
	}
	return fmt.Errorf("spool: put %s: %w", p.id, err)
}

// remove removes a file that may not be there.
func (s *Store) remove(path string) error {
	if err := s.fs.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// putOriginal gives the original a file of its own, synced, without a copy where that can be done.
func (s *Store) putOriginal(p *putting) error {
	path := s.path(p.id, originalSuffix)
	if s.fs == store.OS {
		err := p.layout.original.LinkTo(path)
		if !errors.Is(err, errors.ErrUnsupported) {
			return err
		}
	}
	return s.write(path, func(w io.Writer) error {
		return writeRun(w, mail.Run{Blob: p.layout.original, N: p.layout.original.Size()})
	})
}

// write makes a file and syncs it.
func (s *Store) write(path string, content func(io.Writer) error) error {
	f, err := s.fs.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	err = content(f)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}
