package onenote

import (
	"bufio"
	"errors"
	"io"
	"math/bits"

	"github.com/postern-mail/postern/internal/archive"
)

// Stream objects (MS-FSSHTTPB 2.2.1.5.1, 2.2.1.5.2) that matter here.
const (
	objectBlob = 0x02 // MS-FSSHTTPB 2.2.1.12.8
	fragment   = 0x6a // MS-FSSHTTPB 2.2.1.12.7
)

// packageAt is where the stream objects of a package begin (MS-ONESTORE 2.8.1).
const packageAt = 68

// elements reads the form in which a section comes from OneDrive and SharePoint: stream objects, some of which hold
// others. Where one ends and what holds it is of no interest, so they are read one after the other.
func (w *walker) elements() error {
	s := &elementReader{pos: packageAt}
	s.r = bufio.NewReaderSize(w.f.Section(packageAt, w.f.Size()).Reader(), 64<<10)
	for n := 0; ; n++ {
		if n%1024 == 0 && w.ctx.Err() != nil {
			return w.ctx.Err()
		}
		kind, length, err := s.next()
		switch {
		case err == io.EOF:
			return nil
		case errors.Is(err, io.ErrUnexpectedEOF):
			return w.t.Sign(archive.Unreadable, "the section is cut short")
		case err != nil:
			return err
		case kind == objectBlob && len(w.objects) < limit:
			o, err := w.blob(s.pos, length)
			if err != nil {
				return err
			}
			w.objects = append(w.objects, o)
		case kind == fragment:
			err = w.t.Sign(archive.Unreadable, "a section in fragments")
		}
		if err == nil {
			err = s.skip(length)
		}
		if errors.Is(err, io.ErrUnexpectedEOF) {
			return w.t.Sign(archive.Unreadable, "the section is cut short")
		}
		if err != nil {
			return err
		}
	}
}

// blob takes down the content of a file, which has its length in front.
func (w *walker) blob(at, length int64) (object, error) {
	p, err := w.read(at, 9)
	if err != nil {
		return object{}, err
	}
	if n, size := compact(p); size > 0 && int64(size) <= length && n == uint64(length-int64(size)) {
		return object{at, at + int64(size), length - int64(size)}, nil
	}
	return object{at, at, length}, nil
}

// compact reads a compact unsigned 64-bit integer (MS-FSSHTTPB 2.2.1.1): as many octets as the first one has zero
// bits at its low end, and one more. The size is 0 where there are too few.
func compact(p []byte) (n uint64, size int) {
	if len(p) == 0 {
		return 0, 0
	}
	if p[0] == 0 {
		return 0, 1
	}
	size = bits.TrailingZeros8(p[0]) + 1
	if size == 8 {
		if len(p) < 9 {
			return 0, 0
		}
		return le.Uint64(p[1:]), 9
	}
	if len(p) < size {
		return 0, 0
	}
	for i := size - 1; i >= 0; i-- {
		n = n<<8 | uint64(p[i])
	}
	return n >> size, size
}

// elementReader reads the headers of stream objects.
type elementReader struct {
	r   *bufio.Reader
	pos int64
}

func (s *elementReader) take(n int) ([]byte, error) {
	p, err := s.r.Peek(n)
	if len(p) < n {
		if err == io.EOF && len(p) > 0 {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	_, _ = s.r.Discard(n)
	s.pos += int64(n)
	return p, nil
}

// next reads a header: the type of the object that begins, and how many octets of its own it has. For the end of one
// they are 0.
func (s *elementReader) next() (kind uint32, length int64, err error) {
	const shortEnd, longStart, longEnd = 1, 2, 3
	first, err := s.r.Peek(1)
	if len(first) == 0 {
		return 0, 0, err
	}
	switch first[0] & 3 {
	case shortEnd:
		_, err = s.take(1)
		return 0, 0, err
	case longEnd:
		_, err = s.take(2)
		return 0, 0, err
	case longStart:
		p, err := s.take(4)
		if err != nil {
			return 0, 0, err
		}
		head := le.Uint32(p)
		kind, length = head>>3&0x3fff, int64(head>>17)
		if length == 0x7fff {
			length, err = s.large()
		}
		return kind, length, err
	}
	p, err := s.take(2)
	if err != nil {
		return 0, 0, err
	}
	head := le.Uint16(p)
	return uint32(head >> 3 & 0x3f), int64(head >> 9), nil
}

func (s *elementReader) large() (int64, error) {
	p, err := s.r.Peek(9)
	n, size := compact(p)
	if size == 0 {
		if err == nil || err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return 0, err
	}
	_, err = s.take(size)
	return int64(min(n, 1<<62)), err
}

func (s *elementReader) skip(n int64) error {
	for n > 0 {
		took, err := s.r.Discard(int(min(n, 1<<30)))
		s.pos += int64(took)
		n -= int64(took)
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return err
		}
	}
	return nil
}
