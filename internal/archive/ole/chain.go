package ole

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sort"

	"github.com/postern-mail/postern/internal/archive"
)

// run is a piece of a stream that lies in one place.
type run struct {
	at   int64 // in the stream
	from int64 // in the file
	size int64
}

// runs gives the content of a stream from its pieces.
type runs struct {
	f    *archive.File
	list []run
	size int64
}

// ReadAt implements io.ReaderAt.
func (r *runs) ReadAt(p []byte, off int64) (n int, err error) {
	i := sort.Search(len(r.list), func(i int) bool { return r.list[i].at+r.list[i].size > off })
	for ; i < len(r.list) && n < len(p); i++ {
		piece := r.list[i]
		skip := off - piece.at
		m := int(min(int64(len(p)-n), piece.size-skip))
		got, err := r.f.ReadAt(p[n:n+m], piece.from+skip)
		n, off = n+got, off+int64(got)
		if got < m {
			if err == nil {
				err = io.ErrUnexpectedEOF
			}
			return n, err
		}
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// chain follows the sectors of a stream from start, for size octets or, where that is negative, to the end of the
// chain. The first sector lies base octets into f.
func (c *compound) chain(f *archive.File, table []uint32, start uint32, shift uint, base, size int64) (*archive.File, error) {
	r := &runs{f: f}
	full := int64(1) << shift
	var problem error
	next := start
	for seen := 0; size < 0 || r.size < size; seen++ {
		if next > lastRegular {
			if size >= 0 {
				problem = fmt.Errorf("its sectors end after %d of %d octets", r.size, size)
			}
			break
		}
		from := base + int64(next)<<shift
		if c.steps--; c.steps < 0 || seen > len(table) {
			problem = errors.New("its sectors go in circles or belong to others too")
			break
		}
		n := min(full, f.Size()-from)
		if size >= 0 {
			n = min(n, size-r.size)
		}
		if n <= 0 || int64(next) >= int64(len(table)) {
			problem = fmt.Errorf("its sector %d lies outside of the file", next)
			break
		}
		r.add(from, n)
		if n < full && size >= 0 && r.size < size {
			problem = fmt.Errorf("the file ends after %d of its %d octets", r.size, size)
			break
		}
		next = table[next]
	}
	return archive.FileAt(r, r.size), problem
}

// add puts a sector to the end of the stream.
func (r *runs) add(from, n int64) {
	if l := len(r.list) - 1; l >= 0 && r.list[l].from+r.list[l].size == from {
		r.list[l].size += n
	} else {
		r.list = append(r.list, run{at: r.size, from: from, size: n})
	}
	r.size += n
}

// open finds the content of a stream.
func (c *compound) open(s *Stream) (*archive.File, error) {
	var f *archive.File
	var problem error
	switch {
	case s.Size <= 0:
		return archive.NewFile(nil), nil
	case s.Size >= c.cutoff:
		f, problem = c.chain(c.f, c.fat, s.start, c.shift, int64(1)<<c.shift, s.Size)
	case c.mini == nil:
		return archive.NewFile(nil), fmt.Errorf("ole: stream %q: there are no mini sectors", s.Name)
	default:
		f, problem = c.chain(c.mini, c.miniFAT, s.start, c.miniShift, 0, s.Size)
	}
	if problem != nil {
		problem = fmt.Errorf("ole: stream %q: %w", s.Name, problem)
	}
	return f, problem
}

// readMini finds the mini sectors: they are the content of the root (MS-CFB 2.4, 2.6.2).
func (c *compound) readMini(ctx context.Context, first, start uint32, size int64) (problem, err error) {
	if size == 0 || first > lastRegular {
		return nil, nil
	}
	table, problem := c.chain(c.f, c.fat, first, c.shift, int64(1)<<c.shift, -1)
	if problem != nil {
		problem = fmt.Errorf("ole: the table of mini sectors: %w", problem)
	}
	b := make([]byte, 64<<10)
	for at := int64(0); at < table.Size() && len(c.miniFAT) < maxSectors; at += int64(len(b)) {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		n, err := table.ReadAt(b, at)
		if err != nil && err != io.EOF {
			return nil, err
		}
		c.miniFAT = appendTable(c.miniFAT, b[:n], n/4, maxSectors)
	}
	mini, p := c.chain(c.f, c.fat, start, c.shift, int64(1)<<c.shift, size)
	if p != nil && problem == nil {
		problem = fmt.Errorf("ole: the mini sectors: %w", p)
	}
	c.mini = mini
	c.steps += 4 * len(c.miniFAT)
	return problem, nil
}
