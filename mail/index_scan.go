package mail

import (
	"bytes"
	"io"
	"sync"
)

const (
	scanBlock = 64 << 10 // octets read at a time of a content that is not in memory
	maxLine   = 2 << 10  // octets of a line that are compared with boundaries
)

// scanner reads a content block by block, or in place where it is in memory. Offsets are those of the
// content. Nothing of what it gives may be kept after close: the memory may become another message's.
type scanner struct {
	r    io.ReaderAt
	size int64
	step int64  // octets read at a time
	mem  []byte // the whole content, where it is in memory
	held *Blob  // the Blob that mem belongs to, with a reference until close
	buf  []byte // the block
	at   int64  // offset of buf[0]

	lines []fieldLine // of the last header, to be used again
}

// fieldLines gives an empty list for the lines of the next header.
func (s *scanner) fieldLines() []fieldLine {
	if s.lines == nil {
		s.lines = make([]fieldLine, 0, 32)
	}
	return s.lines[:0]
}

func newScanner(r io.ReaderAt, size int64) *scanner {
	s := &scanner{}
	s.open(r, size)
	return s
}

// scanners are those that read a header, and are closed. One that has met more than mostLines is not kept.
var scanners = sync.Pool{New: func() any { return &scanner{} }}

const mostLines = 256

// open begins to read what r has, of that size.
func (s *scanner) open(r io.ReaderAt, size int64) {
	*s = scanner{r: r, size: size, step: scanBlock, lines: s.lines}
	// Not by Bytes: what it lends is lost for the buffer pool. A Blob that was released is read by ReadAt, which
	// says so.
	if b, ok := r.(*Blob); ok && b.file == nil && size <= b.size && b.acquire() {
		s.held, s.mem = b, b.mem[:b.size:b.size]
	}
}

// close ends the use of the content's memory.
func (s *scanner) close() {
	if s.held != nil {
		s.held.Release()
	}
	s.r, s.held, s.mem, s.buf = nil, nil, nil, nil
}

// peek gives the n octets at off, or those up to the end of the content. They are valid until the next
// call.
func (s *scanner) peek(off, n int64) ([]byte, error) {
	n = min(n, s.size-off)
	if n <= 0 {
		return nil, nil
	}
	if s.mem != nil {
		return s.mem[off : off+n], nil
	}
	if off >= s.at && off+n <= s.at+int64(len(s.buf)) {
		return s.buf[off-s.at:][:n], nil
	}
	want := int(min(max(n, s.step), s.size-off))
	if cap(s.buf) < want {
		s.buf = make([]byte, want)
	}
	s.buf, s.at = s.buf[:want], off
	if got, err := s.r.ReadAt(s.buf, off); got < want {
		s.buf = s.buf[:0]
		if err == nil || err == io.EOF {
			err = io.ErrUnexpectedEOF // the Blob is shorter than it says
		}
		return nil, err
	}
	return s.buf[:n], nil
}

// block gives what can be had at once from off on, at least n octets where the content, or [off, end),
// has them.
func (s *scanner) block(off, n, end int64) ([]byte, error) {
	if s.mem == nil && off >= s.at && off+n <= s.at+int64(len(s.buf)) {
		n = s.at + int64(len(s.buf)) - off
	} else {
		n = max(n, s.step)
	}
	return s.peek(off, min(n, end-off))
}

// find gives the offset of the first pat that lies within [off, end), and -1 when there is none.
func (s *scanner) find(pat []byte, off, end int64) (int64, error) {
	for off+int64(len(pat)) <= end {
		b, err := s.block(off, int64(len(pat)), end)
		if err != nil {
			return -1, err
		}
		if i := bytes.Index(b, pat); i >= 0 {
			return off + int64(i), nil
		}
		off += int64(len(b) - len(pat) + 1)
	}
	return -1, nil
}

var dashLine = []byte("\r\n--")

// dash finds the first line that begins with "--" at or behind off, which is the start of a line or lies
// behind it. The line is given up to maxLine octets, with its CRLF where that is among them; at is -1
// where there is no such line.
func (s *scanner) dash(off int64) (at int64, line []byte, err error) {
	if off == 0 {
		if b, err := s.peek(0, maxLine); err != nil || bytes.HasPrefix(b, dashLine[2:]) {
			return 0, cutLine(b), err
		}
	}
	// Two hyphens are searched for and not the line end before them, of which an encoded body has far more.
	for {
		at, err = s.find(dashLine[2:], off, s.size)
		if at < 0 || err != nil {
			return -1, nil, err
		}
		before, err := s.peek(max(at-2, 0), min(at, 2))
		if err != nil {
			return -1, nil, err
		}
		if string(before) == "\r\n" {
			b, err := s.peek(at, maxLine)
			return at, cutLine(b), err
		}
		end, err := s.find(dashLine[1:2], at, s.size)
		if end < 0 || err != nil {
			return -1, nil, err
		}
		off = end + 1
	}
}

func cutLine(b []byte) []byte {
	if i := bytes.IndexByte(b, '\n'); i >= 0 {
		return b[:i+1]
	}
	return b
}
