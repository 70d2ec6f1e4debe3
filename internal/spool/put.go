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

// mostLeft is how many Puts may be under way whose callers have left: where a disk hangs, no more are begun.
const mostLeft = 256

var errHangs = errors.New("spool: the disk does not answer")

// Put takes a message. When the error is nil it is on disk, durably; when it is not, the entry is not there, and after a
// crash not there or whole. The error is ErrFull where the bounds of the Store or the disk leave no room; then nothing is left
// behind.
//
// Put returns when the context ends, whatever the disk does then. What is under way is undone as soon as the disk lets it be, and
// nobody sees the entry before.
//
// messages[i] is what e.Groups[i] gets. What of it lies in original is kept once for all. Put takes over no reference.
func (s *Store) Put(ctx context.Context, e Entry, original *mail.Blob, messages []*mail.Message) error {
	p, err := s.compile(ctx, e, original, messages)
	if err == nil {
		err = ctx.Err()
	}
	if err == nil {
		err = s.begin()
	}
	if err != nil {
		return err
	}
	p.layout.retain()
	go s.carryOut(p) // any call of the system may hang
	select {
	case <-p.over:
		return p.err
	case <-ctx.Done():
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if p.told {
		return p.err
	}
	p.left = true
	s.left++
	return fmt.Errorf("spool: put %s: not on disk in time: %w", p.id, ctx.Err())
}

// begin reports whether a Put may begin, which Close waits for then.
func (s *Store) begin() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return errClosed
	case s.left >= mostLeft:
		return errHangs
	}
	s.puts.Add(1)
	return nil
}

// carryOut does the work of a Put and tells its caller; where that has left, the entry goes again.
func (s *Store) carryOut(p *putting) {
	defer s.puts.Done()
	defer p.layout.release()
	letGo, err := s.hold(p.id)
	if err == nil {
		defer letGo()
		err = s.guarded(p)
	}
	if s.tell(p, err) {
		return
	}
	if err == nil {
		err = s.removeHeld(p.id)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.left--
	if p.err == nil && err != nil {
		p.stays = true // and is tried after the next Open: a double, and no loss
	}
	s.show(p)
}

// guarded calls putHeld; what panics there is its caller's matter, and must not end the process.
func (s *Store) guarded(p *putting) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("spool: put %s: panic: %v", p.id, v)
		}
	}()
	return s.putHeld(p)
}

// tell gives the caller of a Put its result, and reports whether it is still there to get it.
func (s *Store) tell(p *putting, err error) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	p.err = err
	if p.left {
		return false
	}
	p.told = true
	s.show(p)
	close(p.over)
	return true
}

// show ends that nobody sees an entry; s.mu is held.
func (s *Store) show(p *putting) {
	if !p.stays {
		delete(s.hidden, p.id)
	}
}

// putHeld finds room for an entry and writes it.
func (s *Store) putHeld(p *putting) error {
	if err := s.reserve(p.need(), p.report); err != nil {
		return err
	}
	defer s.unreserve(p.need())
	err := p.sum()
	if err == nil {
		err = s.put(p)
	}
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		err = fmt.Errorf("%w: %w", ErrFull, err)
	}
	return err
}

// putting is a message on its way to the disk.
type putting struct {
	ctx    context.Context //nolint:containedctx // of the call of Put
	id     string
	report bool
	layout *layout
	head   head
	record []byte

	done    chan struct{} // closed when the commit is over, and the next two are known
	failure error
	lingers bool // it may come back with a crash, although there was an error
	stays   bool // it is there, although there was an error: nobody is to see it before the next Open

	over       chan struct{} // closed when err is known, and the caller has not left before
	err        error
	told, left bool // which of the two was first; under the Store's mu
}

// need gives the octets that the files of the message take at most.
func (p *putting) need() int64 {
	return indexStart + 4 + partLength(p.id) + p.head.size() + p.head.original
}

// compile makes all that is written of an entry but the octets themselves, which are not looked at.
func (s *Store) compile(ctx context.Context, e Entry, original *mail.Blob, messages []*mail.Message) (*putting, error) {
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
	p := &putting{ctx: ctx, id: e.ID, report: e.Report, layout: l, record: data, done: make(chan struct{}), over: make(chan struct{})}
	p.head = head{record: int64(len(data)), octets: l.octets(), recordSum: checksum(data)}
	if l.large {
		p.head.original = original.Size()
	}
	return p, nil
}

// sum reads the octets for their checksums.
func (p *putting) sum() (err error) {
	l := p.layout
	if p.head.octetsSum, err = sum(l.writeTo); err == nil && l.large {
		p.head.originalSum, err = sum(l.writeOriginal)
	}
	return err
}

// reserve takes room for n octets, or says ErrFull. A report has an eighth of the spool, and half of what must stay free, for
// itself: when it is there the message that it is about may go.
func (s *Store) reserve(n int64, report bool) error {
	free, err := s.free()
	if err != nil {
		return fmt.Errorf("spool: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wantsRoom(free)
	size, minFree := s.size, s.minFree
	if report { // else a full spool could give nothing up
		size, minFree = size+size/8, minFree/2
	}
	if size > 0 && s.usage.Octets+s.reserved+n > size {
		return fmt.Errorf("%w: %d octets of %d are in use, %d are needed", ErrFull, s.usage.Octets+s.reserved, size, n)
	}
	// What others are writing may or may not be there yet: it is counted twice rather than not.
	if minFree > 0 && free-s.reserved-n < minFree {
		return fmt.Errorf("%w: the file system has room for %d octets, %d are needed and %d must stay free", ErrFull, free, s.reserved+n, minFree)
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
	s.mu.Lock()
	hangs := s.left >= mostLeft
	s.mu.Unlock()
	if hangs || s.reserve(octets, false) != nil {
		return false
	}
	s.unreserve(octets)
	return true
}

// put writes the files of an entry. What a failure leaves is removed, the commit point first.
func (s *Store) put(p *putting) error {
	if err := s.isNew(p.id); err != nil {
		return err
	}
	err := p.ctx.Err()
	if err == nil && p.layout.large {
		if err = s.putOriginal(p); err == nil {
			err = s.names.wait() // else the name of the rest might be there after a crash, and this not
		}
	}
	if err == nil {
		err = p.ctx.Err() // the client may be gone: before the commit point, not after
	}
	if err == nil && (p.head.size() > mostOctets || s.alone.Load()) {
		s.commit([]*putting{p}) // nobody is to wait for so much, or can share a file
		err = p.failure
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

// isNew refuses an id that an entry has, and hides that of a new one until its caller knows of it.
func (s *Store) isNew(id string) error {
	if _, err := s.fs.Stat(s.path(id, messageSuffix)); err == nil {
		return fmt.Errorf("%w: %s", ErrExists, id)
	} else if !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("spool: %w", err)
	}
	s.mu.Lock()
	_, gone := s.gone[id]
	_, stray := s.strays[id]
	if !gone {
		s.hidden[id] = struct{}{}
	}
	s.mu.Unlock()
	switch {
	case gone:
		return fmt.Errorf("%w: %s", ErrExists, id)
	case !stray:
		return nil
	}
	if err := s.removeRest(id, logSuffix, originalSuffix); err != nil { // else it would inherit marks
		return fmt.Errorf("spool: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.strays, id)
	return nil
}

// isHidden reports whether an entry is of a Put that has not returned, or is taken back.
func (s *Store) isHidden(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, hidden := s.hidden[id]
	return hidden
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
	return s.write(path, p.layout.writeOriginal)
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
