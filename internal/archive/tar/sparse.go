package tar

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/postern-mail/postern/internal/archive"
	"github.com/postern-mail/postern/internal/archive/tell"
)

// sparseFile is a file with holes: its size, where the octets are that it has, and where they belong.
type sparseFile struct {
	size    int64
	at      int64 // first stored octet
	stored  int64
	regions []int64 // offsets and lengths in turn
}

var errSparse = errors.New("the map of its holes is damaged")

// sparse reads the map of a sparse file in the formats of GNU tar ("Storing Sparse Files"), and passes over its
// content. It is nil for other files.
func (r *reading) sparse(h *header, own *pax, size int64) (*sparseFile, error) {
	var s *sparseFile
	var err error
	switch {
	case h.kind == typeSparse:
		s, err = r.oldSparse(h, size)
	case own.sparse && plain(h.kind) && own.sparseMajor == "1":
		s, err = r.sparse1(own, size)
	case own.sparse && plain(h.kind):
		s = &sparseFile{size: own.sparseSize, at: r.at, stored: size, regions: own.sparseMap}
		r.at += padded(size)
	default:
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return s, nil
}

// oldSparse reads the map in the header and in the blocks after it.
func (r *reading) oldSparse(h *header, size int64) (*sparseFile, error) {
	s := &sparseFile{stored: size}
	s.size, _ = number(h.raw[483:495])
	take := func(b []byte) {
		for ; len(b) >= 24; b = b[24:] {
			from, ok1 := number(b[:12])
			n, ok2 := number(b[12:24])
			if b[0] == 0 || !ok1 || !ok2 || len(s.regions) >= maxMap {
				return
			}
			s.regions = append(s.regions, from, n)
		}
	}
	take(h.raw[386:482])
	for more := h.raw[482] != 0; more; {
		b, err := r.read(r.at, blockSize)
		if err != nil {
			return nil, err
		}
		if len(b) < blockSize || len(s.regions) >= maxMap {
			s.regions = nil
			s.size = -1
			break
		}
		take(b[:504])
		more = b[504] != 0
		r.at += blockSize
	}
	s.at = r.at
	r.at += padded(size)
	return s, nil
}

// sparse1 reads the map of version 1.0, which stands before the content: numbers in lines, padded to a block.
func (r *reading) sparse1(own *pax, size int64) (*sparseFile, error) {
	end := r.at + padded(size)
	s := &sparseFile{size: -1, at: r.at, stored: size}
	b, err := r.read(r.at, int(min(size, maxMeta)))
	if err != nil {
		return nil, err
	}
	r.at = end
	rest := b
	line := func() (int64, bool) {
		digits, after, found := bytes.Cut(rest, []byte("\n"))
		n, err := strconv.ParseInt(string(digits), 10, 64)
		rest = after
		return n, found && err == nil && n >= 0 && n <= maxNumber
	}
	n, ok := line()
	if !ok || n > maxMap/2 {
		return s, nil
	}
	for range 2 * n {
		v, ok := line()
		if !ok {
			return s, nil
		}
		s.regions = append(s.regions, v)
	}
	head := padded(int64(len(b) - len(rest)))
	s.at += head
	s.stored = max(0, size-head)
	s.size = own.sparseSize
	return s, nil
}

// giveSparse hands on a sparse file with its holes filled.
func (r *reading) giveSparse(ctx context.Context, e *archive.Entry, s *sparseFile) error {
	if err := r.b.Entry(); err != nil {
		return err
	}
	e.Size = s.size
	content, problem, err := archive.Spool(ctx, &sparseReader{f: r.f.Section(s.at, s.stored), s: s}, r.b)
	if err != nil {
		return err
	}
	defer func() { _ = content.Close() }()
	e.File = content
	if s.size < 0 {
		// Without its map it can still be looked at as it is stored.
		e.File = r.f.Section(s.at, s.stored)
		if spent := r.b.Spend(e.File.Size()); spent != nil {
			problem = spent
		}
	}
	if err := r.v.File(e); err != nil {
		return err
	}
	var spent *archive.ErrBudget
	if errors.As(problem, &spent) {
		return spent
	}
	if problem != nil {
		r.say(archive.Unreadable, "sparse", fmt.Sprintf("%s: %s", tell.Name(e.Names), problem))
	}
	return nil
}

// sparseReader reads the content of a sparse file.
type sparseReader struct {
	f    *archive.File
	s    *sparseFile
	pos  int64 // in the file
	from int64 // in the stored octets
}

func (r *sparseReader) Read(p []byte) (int, error) {
	if r.s.size < 0 {
		return 0, errSparse
	}
	for len(r.s.regions) >= 2 && r.s.regions[1] == 0 {
		r.s.regions = r.s.regions[2:]
	}
	stop := r.s.size
	if len(r.s.regions) >= 2 {
		at, n := r.s.regions[0], r.s.regions[1]
		if at < r.pos || n > r.s.size-at {
			return 0, errSparse
		}
		if at == r.pos {
			return r.data(p, n)
		}
		stop = at
	}
	n := int(min(int64(len(p)), stop-r.pos))
	if n == 0 {
		return 0, io.EOF
	}
	clear(p[:n])
	r.pos += int64(n)
	return n, nil
}

// data reads of the first region, of which n octets are left.
func (r *sparseReader) data(p []byte, n int64) (int, error) {
	m, err := r.f.ReadAt(p[:min(int64(len(p)), n)], r.from)
	if m == 0 {
		if err == nil || err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return 0, err
	}
	r.pos += int64(m)
	r.from += int64(m)
	r.s.regions[0], r.s.regions[1] = r.pos, n-int64(m)
	return m, nil
}
