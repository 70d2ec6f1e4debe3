package pdf

import (
	"bufio"
	"compress/flate"
	"encoding/hex"
	"errors"
	"fmt"
	"io"

	"github.com/postern-mail/postern/internal/archive"
)

// maxFilters is how many filters one stream may have behind one another.
const maxFilters = 16

var errFilter = errors.New("pdf: unknown filter")

// open gives a reader of the octets of a stream, decrypted and unpacked (ISO 32000-1 7.3.8, 7.4). An error that is
// no *archive.ErrBudget and not errWork means that it can't be unpacked.
func (w *walker) open(o *object) (io.Reader, error) {
	if o.value.has("F") {
		return nil, errors.New("pdf: the octets of the stream are in another file")
	}
	raw, err := w.extent(o)
	if err != nil {
		return nil, err
	}
	filters, parms, err := w.filters(o)
	if err != nil {
		return nil, err
	}
	r, err := w.decrypt(&rawReader{w, raw.Reader()}, o, filters, parms)
	if err != nil {
		return nil, err
	}
	for i, f := range filters {
		if i > 0 {
			r = &spender{r, w.budget}
		}
		if r, err = w.filter(r, f, parms[i], o); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// spender counts what goes from one filter to the next.
type spender struct {
	r io.Reader
	b *archive.Budget
}

func (s *spender) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if serr := s.b.Spend(int64(n)); serr != nil {
		return 0, serr
	}
	return n, err
}

// extent finds the octets of a stream: as many as it says where the word endstream follows them, else those up to
// that word.
func (w *walker) extent(o *object) (*archive.File, error) {
	src := w.sources[inFile]
	lengths, err := w.resolveAll(o.value, "Length", o)
	if err != nil {
		return nil, err
	}
	for i := len(lengths) - 1; i >= 0; i-- {
		n := lengths[i].value.n
		if lengths[i].value.kind != integer || n < 0 || n > src.size-o.stream {
			continue
		}
		l := &lexer{w: src, pos: o.stream + n}
		for isSpace(src.at(l.pos)) && l.pos < o.stream+n+16 {
			l.pos++
		}
		if src.hasPrefix(l.pos, "endstream") || src.hasPrefix(l.pos, "endobj") {
			return src.f.Section(o.stream, n), nil
		}
	}
	stop := src.find(o.stream, src.size, []byte("endstream"))
	if stop < 0 {
		stop = src.size
	}
	if w.work -= stop - o.stream; w.work < 0 {
		return nil, errWork
	}
	if stop > o.stream && src.at(stop-1) == '\n' {
		stop--
	}
	if stop > o.stream && src.at(stop-1) == '\r' {
		stop--
	}
	return src.f.Section(o.stream, stop-o.stream), nil
}

// filters gives the names of the filters of a stream, and the parameters of each.
func (w *walker) filters(o *object) (names []string, parms []value, err error) {
	filter, parm, err := w.filterEntries(o)
	if err != nil {
		return nil, nil, err
	}
	list, parmList := []value{filter}, []value{parm}
	if filter.kind == array {
		list = filter.kids
	}
	if parm.kind == array {
		parmList = parm.kids
	}
	if len(list) > maxFilters {
		return nil, nil, fmt.Errorf("pdf: more than %d filters", maxFilters)
	}
	for i, f := range list {
		found, err := w.resolve(f, o)
		if err != nil {
			return nil, nil, err
		}
		if len(found) == 0 || found[len(found)-1].value.kind == null {
			continue
		}
		p := value{}
		if i < len(parmList) {
			resolved, err := w.resolve(parmList[i], o)
			if err != nil {
				return nil, nil, err
			}
			if len(resolved) > 0 {
				p = resolved[len(resolved)-1].value
			}
		}
		names, parms = append(names, found[len(found)-1].value.s), append(parms, p)
	}
	return names, parms, nil
}

// filterEntries gives the entries for filters and parameters, abbreviated as in inline pictures or not.
func (w *walker) filterEntries(o *object) (filter, parm value, err error) {
	entries := [4]value{}
	for i, key := range []string{"Filter", "F", "DecodeParms", "DP"} {
		if key == "F" {
			continue // a file in a stream that is none of an inline picture
		}
		all := o.value.all(key)
		for _, v := range all[min(1, len(all)):] {
			if !same(v, all[0]) {
				return value{}, value{}, fmt.Errorf("pdf: the stream has two entries /%s", key)
			}
		}
		if entries[i], err = w.last(o.value, key, o); err != nil {
			return value{}, value{}, err
		}
	}
	if entries[2].kind == null {
		entries[2] = entries[3]
	}
	return entries[0], entries[2], nil
}

func same(a, b value) bool {
	if a.kind != b.kind || a.n != b.n || a.s != b.s || len(a.kids) != len(b.kids) {
		return false
	}
	for i := range a.kids {
		if !same(a.kids[i], b.kids[i]) {
			return false
		}
	}
	return true
}

// filter puts one filter before r.
func (w *walker) filter(r io.Reader, name string, parms value, o *object) (io.Reader, error) {
	switch name {
	case "FlateDecode", "Fl":
		return w.predict(inflate(r), parms, o)
	case "LZWDecode", "LZW":
		early, err := w.last(parms, "EarlyChange", o)
		if err != nil {
			return nil, err
		}
		return w.predict(newLZW(r, early.kind != integer || early.n != 0), parms, o)
	case "ASCIIHexDecode", "AHx":
		return &hexReader{r: bufio.NewReader(r)}, nil
	case "ASCII85Decode", "A85":
		return &base85Reader{r: bufio.NewReader(r)}, nil
	case "RunLengthDecode", "RL":
		return &runReader{r: bufio.NewReader(r)}, nil
	case "Crypt":
		return r, nil // by decrypt
	}
	return nil, fmt.Errorf("%w %s", errFilter, quote(name))
}

// inflate reads zlib data (RFC 1950) without asking for its header and checksum to be right: readers don't.
func inflate(r io.Reader) io.Reader {
	b := bufio.NewReader(r)
	if head, err := b.Peek(2); err == nil && head[0]&15 == 8 {
		_, _ = b.Discard(2)
	}
	return flate.NewReader(b)
}

// hexReader decodes ASCIIHexDecode (ISO 32000-1 7.4.2).
type hexReader struct {
	r    *bufio.Reader
	done bool
}

func (h *hexReader) Read(p []byte) (int, error) {
	n, high := 0, -1
	for n < len(p) && !h.done {
		c, err := h.r.ReadByte()
		if err != nil && err != io.EOF {
			return n, err
		}
		if h.done = err == io.EOF || c == '>'; h.done {
			break
		}
		d := hexDigit(int(c))
		switch {
		case d < 0 && isSpace(int(c)):
		case d < 0:
			h.done = true
			return n, hex.InvalidByteError(c)
		case high < 0:
			high = d
		default:
			p[n], high = byte(high<<4|d), -1
			n++
		}
	}
	if high >= 0 {
		p[n] = byte(high << 4)
		n++
	}
	if n == 0 && len(p) > 0 {
		return 0, io.EOF
	}
	return n, nil
}

// runReader decodes RunLengthDecode (ISO 32000-1 7.4.5).
type runReader struct {
	r    *bufio.Reader
	left int  // of the run
	same bool // all of it is c
	c    byte
	done bool
}

func (u *runReader) Read(p []byte) (int, error) {
	n := 0
	for n < len(p) && !u.done {
		if u.left == 0 {
			c, err := u.r.ReadByte()
			if u.done = err == io.EOF || c == 128; u.done {
				break
			}
			if err != nil {
				return n, err
			}
			u.left, u.same = int(c)+1, c > 128
			if u.same {
				u.left = 257 - int(c)
				if u.c, err = u.r.ReadByte(); err != nil {
					u.done = true
					return n, io.ErrUnexpectedEOF
				}
			}
		}
		if !u.same {
			var err error
			if u.c, err = u.r.ReadByte(); err != nil {
				u.done = true
				return n, io.ErrUnexpectedEOF
			}
		}
		p[n] = u.c
		n++
		u.left--
	}
	if n == 0 && len(p) > 0 {
		return 0, io.EOF
	}
	return n, nil
}
