package pdf

import (
	"bytes"
	"context"
	"io"

	"github.com/postern-mail/postern/internal/archive"
)

// wholeFile is the size of a file that is held in memory as a whole; of a larger one only a window is.
const (
	wholeFile  = 16 << 20
	windowSize = 256 << 10
)

// window gives the octets of a file at any place, and fast those near the last one.
type window struct {
	ctx  context.Context // of one call
	f    *archive.File
	size int64
	buf  []byte
	base int64
	err  error // the first failure; the file then seems to end there
}

func newWindow(ctx context.Context, f *archive.File) *window {
	w := &window{ctx: ctx, f: f, size: f.Size()}
	if b, ok, err := f.Bytes(wholeFile); ok {
		w.buf = b
	} else if err != nil {
		w.err, w.size = err, 0
	}
	return w
}

// at gives the octet at pos, -1 outside of the file.
func (w *window) at(pos int64) int {
	if i := pos - w.base; uint64(i) < uint64(len(w.buf)) {
		return int(w.buf[i])
	}
	return w.load(pos)
}

func (w *window) load(pos int64) int {
	if pos < 0 || pos >= w.size {
		return -1
	}
	if w.err = w.ctx.Err(); w.err != nil {
		w.size = 0
		return -1
	}
	// Some octets before pos stay in view: the scan looks back.
	base := max(0, pos-1024)
	if w.buf == nil || len(w.buf) != windowSize {
		w.buf = make([]byte, windowSize)
	}
	n, err := w.f.ReadAt(w.buf, base)
	if err != nil && err != io.EOF {
		w.err, w.size = err, 0
		w.buf = nil
		return -1
	}
	w.base = base
	if pos-base >= int64(n) {
		w.size = base + int64(n) // shorter than it said
		w.buf = nil
		return -1
	}
	c := w.buf[pos-base]
	if n < windowSize {
		w.buf = w.buf[:n]
	}
	return int(c)
}

// hasPrefix reports whether s stands at pos.
func (w *window) hasPrefix(pos int64, s string) bool {
	for i := range len(s) {
		if w.at(pos+int64(i)) != int(s[i]) {
			return false
		}
	}
	return true
}

// find gives the first place of word in [pos, end), -1 where there is none.
func (w *window) find(pos, end int64, word []byte) int64 {
	end = min(end, w.size)
	for pos < end {
		if w.at(pos) < 0 {
			return -1
		}
		view := w.buf[pos-w.base:]
		if left := end - pos; int64(len(view)) > left {
			view = view[:left]
		}
		if i := bytes.Index(view, word); i >= 0 {
			return pos + int64(i)
		}
		if pos+int64(len(view)) >= end {
			return -1
		}
		// The word may lie across the edge of the view.
		pos += int64(max(1, len(view)-len(word)+1))
		if w.at(pos+int64(len(word))) < 0 {
			return -1
		}
		w.reload(pos)
	}
	return -1
}

// reload moves the window so that it goes on beyond pos.
func (w *window) reload(pos int64) {
	if w.base+int64(len(w.buf))-pos < windowSize/2 && int64(len(w.buf)) < w.size {
		w.load(pos)
	}
}
