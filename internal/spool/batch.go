package spool

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"time"
)

// Group commit. A disk syncs a few hundred times a second, whatever the amount, and making a file costs more than writing a
// message into it. So the messages of those who come while another file is being written go into one file, which gets a name
// for each of them when it is synced, and then the folder is synced once for all these names. Several files under way at a
// time have been tried: they make more syncs of smaller files, and fewer messages.
//
// Whoever has just been served comes back with the next message, as a rule, and as soon as that is here. So the next file is begun
// when as many are there as there were, or after a part of the time that the last one took: else two halves of them would take turns,
// each with syncs of its own.

const (
	// What lingers keeps its neighbours' octets on the disk.
	mostParts  = 64
	mostOctets = 1 << 20
)

// committer has the messages of all who wait written.
type committer struct {
	write func([]*putting)
	wg    sync.WaitGroup

	mu      sync.Mutex
	more    sync.Cond
	waiting []*putting
	expects int       // messages at once, as there were last
	until   time.Time // how long they are waited for
	late    *time.Timer
	stopped bool
}

func (c *committer) start(write func([]*putting)) {
	c.write, c.more.L = write, &c.mu
	c.late = time.AfterFunc(time.Hour, func() {
		c.mu.Lock() // run has looked, and waits, or has not, and will
		defer c.mu.Unlock()
		c.more.Signal()
	})
	c.wg.Go(c.run)
}

// stop waits for what is under way.
func (c *committer) stop() {
	c.mu.Lock()
	c.stopped = true
	c.more.Signal()
	c.mu.Unlock()
	c.wg.Wait()
	c.late.Stop()
}

// commit returns when the message is durable, or can't be made so. As long as it has not been begun, its context is heeded.
func (c *committer) commit(p *putting) error {
	c.mu.Lock()
	if c.stopped {
		c.mu.Unlock()
		return errClosed
	}
	c.waiting = append(c.waiting, p)
	c.more.Signal()
	c.mu.Unlock()
	select {
	case <-p.done:
		return p.failure
	case <-p.ctx.Done():
	}
	c.mu.Lock()
	if i := slices.Index(c.waiting, p); i >= 0 {
		c.waiting = slices.Delete(c.waiting, i, i+1)
		c.mu.Unlock()
		return p.ctx.Err()
	}
	c.mu.Unlock()
	<-p.done // it has been begun, and is to be over before anything of it is undone
	return p.failure
}

func (c *committer) run() {
	for {
		batch := c.next()
		if batch == nil {
			return
		}
		began := time.Now()
		c.write(batch)
		now := time.Now()
		c.mu.Lock()
		c.expects, c.until = len(batch)+len(c.waiting), now.Add(now.Sub(began)/4)
		c.mu.Unlock()
		for _, p := range batch {
			close(p.done)
		}
	}
}

// next waits for messages and gives as many of them as go into one file; nil at the end.
func (c *committer) next() []*putting {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.waiting) == 0 || c.gathers() {
		if c.stopped {
			return nil
		}
		c.more.Wait()
	}
	n, octets := 0, int64(0)
	for n < len(c.waiting) && n < mostParts && (n == 0 || octets+c.waiting[n].head.size() <= mostOctets) {
		octets += c.waiting[n].head.size()
		n++
	}
	batch := slices.Clone(c.waiting[:n])
	c.waiting = slices.Delete(c.waiting, 0, n)
	return batch
}

// gathers reports whether some who have just been served may be back in a moment; then somebody will signal. mu is held.
func (c *committer) gathers() bool {
	left := time.Until(c.until)
	if left <= 0 || c.stopped || len(c.waiting) >= min(c.expects, mostParts) {
		return false
	}
	c.late.Reset(left)
	return true
}

// commit makes one file of messages, with a name for each. One whose content can't be read does not fail the others, which are
// tried without it, and where files have one name only each gets its own; whatever else fails is the disk's, and would fail
// them one by one as well, while all others wait.
func (s *Store) commit(batch []*putting) {
	for len(batch) > 0 {
		size, err := s.writeBatch(batch)
		switch unread := (*contentError)(nil); {
		case err == nil:
			for _, p := range batch {
				p.stays, p.lingers = false, false // of a try before
			}
			s.account(len(batch), size)
			return
		case errors.Is(err, errOneName):
			for i := range batch {
				s.commit(batch[i : i+1])
			}
			return
		case errors.As(err, &unread):
			unread.of.failure = err
			batch = slices.DeleteFunc(slices.Clone(batch), func(p *putting) bool { return p == unread.of })
		default:
			for _, p := range batch {
				p.failure = err
			}
			return
		}
	}
}

// errOneName says that files can't have two names here.
var errOneName = errors.New("spool: files have one name only")

// noLinks reports whether an error of Link says that this file system has none: link(2) has EPERM for it.
func noLinks(err error) bool {
	return errors.Is(err, errors.ErrUnsupported) || errors.Is(err, os.ErrPermission)
}

// contentError is of content that can't be read, and no fault of where it was to be written.
type contentError struct {
	of  *putting
	err error
}

func (e *contentError) Error() string { return "spool: content: " + e.err.Error() }
func (e *contentError) Unwrap() error { return e.err }

// writeBatch writes and syncs a file, names it, and syncs the names. What a failure leaves is removed.
func (s *Store) writeBatch(batch []*putting) (size int64, err error) {
	x := index{parts: make([]part, len(batch))}
	for i, p := range batch {
		x.parts[i].id = p.id
	}
	x.size = x.length()
	for i, p := range batch {
		x.parts[i].off = x.size
		x.size += p.head.size()
	}
	tmp := s.path(batch[0].id, messageSuffix+tmpSuffix)
	if err := s.write(tmp, func(w io.Writer) error { return writeParts(w, &x, batch) }); err != nil {
		return 0, errors.Join(err, s.remove(tmp))
	}
	// The last name is that of the first: the file has a name of ours until all others are made.
	for i := len(batch) - 1; i >= 0 && err == nil; i-- {
		if path := s.path(batch[i].id, messageSuffix); i > 0 {
			if err = s.fs.Link(tmp, path); noLinks(err) {
				s.alone.Store(true)
				err = fmt.Errorf("%w: %w", errOneName, err)
			}
		} else {
			err = s.fs.Rename(tmp, path)
		}
	}
	if err == nil {
		if err = s.names.wait(); err == nil {
			return x.size, nil
		}
	}
	return 0, errors.Join(err, s.unname(batch), s.remove(tmp))
}

// unname takes the names of a batch away again, for good, since they may be durable.
func (s *Store) unname(batch []*putting) error {
	var errs []error
	for _, p := range batch {
		err := s.remove(s.path(p.id, messageSuffix))
		p.stays = err != nil
		errs = append(errs, err)
	}
	err := errors.Join(append(errs, s.names.wait())...)
	for _, p := range batch {
		p.lingers = err != nil
	}
	return err
}

// blocks are what messages are written through: large enough for many to take one write.
var blocks = sync.Pool{New: func() any { return bufio.NewWriterSize(nil, 256<<10) }}

func writeParts(w io.Writer, x *index, batch []*putting) error {
	b := blocks.Get().(*bufio.Writer)
	defer blocks.Put(b)
	defer b.Reset(nil)
	b.Reset(w)
	_, err := b.Write(x.append(nil))
	for _, p := range batch {
		var h [headSize]byte
		if err == nil {
			_, err = b.Write(p.head.append(h[:0]))
		}
		if err == nil {
			_, err = b.Write(p.record)
		}
		if err == nil {
			err = p.layout.writeTo(b)
			if unread := (*contentError)(nil); errors.As(err, &unread) {
				unread.of = p
			}
		}
	}
	if err == nil {
		err = b.Flush()
	}
	return err
}
