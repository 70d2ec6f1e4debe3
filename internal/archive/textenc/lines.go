package textenc

import (
	"bytes"
	"context"
	"io"

	"github.com/postern-mail/postern/internal/archive"
)

const (
	longest = 64 << 10  // octets of a line that are given at once
	window  = 256 << 10 // octets of the text in memory
)

// line is a line of a text, or a piece of one that is longer than longest.
type line struct {
	text       []byte // without the line's end; valid until the next one is read
	start, end int64  // end is behind the line's end
	cont       bool   // it goes on with the line before
	cut        bool   // the next one goes on with it
}

// lines gives the lines of a file, which end in LF, CR LF or CR alone.
type lines struct {
	line
	ctx    context.Context
	f      *archive.File
	buf    []byte
	base   int64 // where buf begins in the file
	pos    int   // where the next line begins in buf
	lf, cr mark  // the first LF and CR in buf from pos on
	eof    bool
	err    error
}

// mark is a place in buf, before which there is none like it from another place on.
type mark struct{ from, at int }

// unknown is a mark that is right for no place.
var unknown = mark{0, -1}

func linesOf(ctx context.Context, f *archive.File) *lines {
	return &lines{ctx: ctx, f: f, lf: unknown, cr: unknown, buf: make([]byte, 0, min(window, f.Size()))}
}

// next goes to the next line. It is false at the end and where the file can't be read.
func (l *lines) next() bool {
	if len(l.buf)-l.pos <= longest && !l.eof {
		l.fill()
	}
	rest := len(l.buf) - l.pos
	if rest == 0 || l.err != nil {
		return false
	}
	lf, cr := l.find(&l.lf, '\n'), l.find(&l.cr, '\r')
	l.cont = l.cut
	end, after := min(lf, cr), 0
	if l.cut = end-l.pos > longest; l.cut {
		end, after = l.pos+longest, l.pos+longest
	} else if after = min(end+1, len(l.buf)); cr+1 == lf && lf < len(l.buf) {
		after++
	}
	l.text = l.buf[l.pos:end]
	l.start, l.end = l.base+int64(l.pos), l.base+int64(after)
	l.pos = after
	return true
}

// find gives the first place of an octet from pos on, len(buf) for none. Going back must not cost a search of all.
func (l *lines) find(m *mark, c byte) int {
	if l.pos < m.from || l.pos > m.at {
		*m = mark{l.pos, len(l.buf)}
		if i := bytes.IndexByte(l.buf[l.pos:], c); i >= 0 {
			m.at = l.pos + i
		}
	}
	return m.at
}

// fill reads on behind the octets that are left.
func (l *lines) fill() {
	if l.err = l.ctx.Err(); l.err != nil {
		return
	}
	l.base += int64(l.pos)
	kept := copy(l.buf[:cap(l.buf)], l.buf[l.pos:])
	l.pos, l.lf, l.cr = 0, unknown, unknown
	n, err := l.f.ReadAt(l.buf[kept:cap(l.buf)], l.base+int64(kept))
	l.buf = l.buf[:kept+n]
	if err != nil && err != io.EOF {
		l.err = err
	}
	l.eof = err != nil || l.base+int64(len(l.buf)) >= l.f.Size()
}

// seek makes the line at off the next one.
func (l *lines) seek(off int64) {
	l.cut = false
	if in := off - l.base; in >= 0 && in <= int64(len(l.buf)) {
		l.pos = int(in)
		return
	}
	l.buf, l.base, l.pos, l.lf, l.cr, l.eof = l.buf[:0], off, 0, unknown, unknown, false
}

// decoder reads what the lines of a file decode to.
type decoder struct {
	lines  *lines
	decode func(dst []byte, l *line) []byte // appends what one line decodes to
	buf    []byte
	out    []byte
}

func (d *decoder) Read(p []byte) (int, error) {
	for len(d.out) == 0 {
		if !d.lines.next() {
			if d.lines.err != nil {
				return 0, d.lines.err
			}
			return 0, io.EOF
		}
		d.buf = d.decode(d.buf[:0], &d.lines.line)
		d.out = d.buf
	}
	n := copy(p, d.out)
	d.out = d.out[n:]
	return n, nil
}
