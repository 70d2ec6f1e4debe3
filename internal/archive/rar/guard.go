package rar

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/postern-mail/postern/internal/archive"
	"github.com/postern-mail/postern/internal/archive/tell"
)

// RAR has filters that change what was unpacked: up to RAR 4 they are programs for a machine of its own. Some octets can
// name thousands of them for the same place, each of which may run for a good part of a second, and the library runs
// them all within one call, in which it reads nothing and looks at no context. So its calls are made beside us: when
// one takes too long, or nobody wants to know any more, the decoder is left to itself until it ends, and reads nothing
// of ours from then on. There are never more than a few of those: meanwhile no others are begun.
const (
	patience = 20 * time.Second // for one call, which may fill a dictionary
	maxLeft  = 2                // decoders that are left to themselves
)

var (
	errSlow = errors.New("unpacking it takes too long")
	errBusy = errors.New("others that took too long are still being unpacked")
	errLeft = errors.New("rar: the file is gone")
)

// left counts the decoders that were left to themselves in this process.
var left atomic.Int32

// do makes one call of the library. The call must touch nothing but what belongs to the source.
func (s *source) do(ctx context.Context, call func() error) error {
	if left.Load() >= maxLeft {
		return errBusy
	}
	done := make(chan error, 1)
	go func() { done <- tell.Contain(call) }()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	var err error
	select {
	case err := <-done:
		return err
	case <-timer.C:
		err = errSlow
	case <-ctx.Done():
		err = ctx.Err()
	}
	s.mu.Lock()
	s.gone = true
	s.mu.Unlock()
	left.Add(1)
	go func() {
		<-done
		left.Add(-1)
	}()
	return err
}

// PPMd of RAR 3 and 4 takes up to 256 MiB for its model, and a third more in the library: each block of the packed data
// says how much, and the library takes it at its word. The first block is looked at beforehand. For those behind it there
// is one decoder that may have a model in this process, beside those that were left to themselves: others wait. It
// is given up before the content is looked into, unless files behind need it; an archive in such a one then has to do
// without.
const (
	maxModel    = 64  // MiB, in the first block
	maxReleases = 256 // decoders that are given up in one walk, each with a dictionary of up to 4 MiB
)

var (
	slot   = make(chan struct{}, 1)
	holder atomic.Pointer[archive.Budget] // of the message that has the slot
)

var errNested = errors.New("it may need as much memory as the archive in which it lies")

// take waits until a file may be unpacked. A problem is that it will never be.
func (w *walk) take(k *block) (problem, err error) {
	if !k.models || w.holds {
		return nil, nil
	}
	if holder.Load() == w.b {
		return errNested, nil
	}
	w.b.Aside(func() {
		select {
		case slot <- struct{}{}:
			holder.Store(w.b)
			w.holds = true
		case <-w.ctx.Done():
			err = w.ctx.Err()
		}
	})
	return nil, err
}

// release gives up a decoder that may have a model.
func (w *walk) release() {
	if !w.holds {
		return
	}
	w.from, w.holds = nil, false
	w.releases++
	holder.Store(nil)
	<-slot
}

// model gives the size of the model that the first block of a file asks for, in MiB.
func (w *walk) model(k *block) (int, error) {
	b := make([]byte, 2)
	if ok, err := tell.ReadAt(w.f, b, k.data); err != nil || !ok || !k.models || b[0]&0x80 == 0 || b[0]&0x20 == 0 {
		return 0, err
	}
	return int(b[1]) + 1, nil
}

// content reads the file at which the library stands.
type content struct {
	ctx context.Context
	s   *source
	err error
}

// Read implements io.Reader.
func (c *content) Read(p []byte) (int, error) {
	if c.err != nil {
		return 0, c.err
	}
	// Its own, not p: a decoder that is left to itself may still write there.
	buf, n := make([]byte, len(p)), new(int)
	c.err = c.s.do(c.ctx, func() (err error) {
		*n, err = c.s.r.Read(buf)
		return err
	})
	if c.err != nil && c.err != io.EOF && c.s.isGone() {
		return 0, c.err
	}
	if *n < 0 || *n > len(buf) {
		c.err = errForm
		return 0, c.err
	}
	return copy(p, buf[:*n]), c.err
}

// isGone reports whether the source was left to itself.
func (s *source) isGone() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.gone
}

// source is the library, reading an archive made here: only of the blocks of files that are to be unpacked, each of
// them put behind the last when it is its turn. So what is wrong with other blocks does not matter to it.
type source struct {
	r reader

	mu    sync.Mutex
	parts []io.Reader
	gone  bool
}

// reader is what the library is here.
type reader interface {
	io.Reader
	next() error
}

func (s *source) next() error { return s.r.next() }

// Read implements io.Reader for the library.
func (s *source) Read(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.gone {
		return 0, errLeft
	}
	for len(s.parts) > 0 {
		n, err := s.parts[0].Read(p)
		if err == io.EOF {
			s.parts = s.parts[1:]
			err = nil
		}
		if n > 0 || err != nil {
			return n, err
		}
	}
	return 0, io.EOF
}
