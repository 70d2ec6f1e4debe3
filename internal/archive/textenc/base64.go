package textenc

import (
	"bytes"
)

const (
	shortLine = 16 // octets from which a line of nothing but base64 may begin a run
	longLine  = 60 // octets of a line that is a run by itself
	runLines  = 3  // lines that are a run together
)

// shape is a set of alphabets.
type shape byte

const (
	standard shape = 1 << iota // RFC 4648 4
	urlSafe                    // RFC 4648 5
	letters
)

// shapes holds the alphabets of each octet, and sextets their values.
var shapes, sextets = func() (shapes [256]shape, sextets [256]byte) {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	for i := range sextets {
		sextets[i] = 0xff
	}
	for i := range len(alphabet) {
		shapes[alphabet[i]], sextets[alphabet[i]] = standard|urlSafe, byte(i)
	}
	for i, c := range []byte("+/") {
		shapes[c], sextets[c] = standard, byte(62+i)
	}
	for i, c := range []byte("-_") {
		shapes[c], sextets[c] = urlSafe, byte(62+i)
	}
	return shapes, sextets
}()

// shapeOf gives the alphabets in which all of a line is base64, blanks around it and padding aside, and the length of
// that. A line that is too short to begin a run has none.
func shapeOf(text []byte) (shape, int) {
	if len(text) < shortLine {
		return 0, 0
	}
	text = unindented(text)
	all, length := shapeOfAny(text)
	if all == 0 {
		return 0, 0
	}
	return worthy(all, text[:length]), length
}

func unindented(text []byte) []byte {
	for len(text) > 0 && (text[0] == ' ' || text[0] == '\t') {
		text = text[1:]
	}
	return text
}

// shapeOfAny is shapeOf for a line that may go on a run, of whatever length.
func shapeOfAny(text []byte) (shape, int) {
	text = unindented(text)
	all := standard | urlSafe
	for i, c := range text {
		if all &= shapes[c]; all == 0 {
			if c == '=' || c == ' ' || c == '\t' {
				return endOf(text, i)
			}
			return 0, 0
		}
	}
	return all, len(text)
}

// endOf judges a line that is base64 up to i: behind it may be padding and blanks.
func endOf(text []byte, i int) (shape, int) {
	if i+1 < len(text) && shapes[text[i+1]] != 0 {
		return 0, 0 // prose
	}
	rest := bytes.TrimRight(text[i:], " \t")
	if pad := bytes.TrimLeft(rest, "="); len(pad) > 0 || len(rest) > 3 {
		return 0, 0
	}
	all := standard | urlSafe
	for _, c := range text[:i] {
		all &= shapes[c]
	}
	if i == 0 {
		all = 0
	}
	return all, i + len(rest)
}

// worthy takes away the alphabets of which a line must show more: rules, names and drawings are made of their
// special characters.
func worthy(all shape, text []byte) shape {
	if all == urlSafe {
		var upper, lower, digit bool
		for _, c := range text {
			upper = upper || c >= 'A' && c <= 'Z'
			lower = lower || c >= 'a' && c <= 'z'
			digit = digit || c >= '0' && c <= '9'
		}
		if !upper || !lower || !digit || text[0] == '-' {
			return 0
		}
	}
	if all == standard && len(bytes.Trim(text, "+/=")) == 0 {
		return 0
	}
	return all
}

// run is a run of base64 lines that grows.
type run struct {
	shape   shape
	start   int64
	end     int64
	lines   int // those that are not short
	first   int // length of the first line
	longest int
	blanks  int
	short   bool // the last line was a short one
	pad     bool // the last line ended in padding
	padded  bool // and was not like the first
}

// base64 reads a run of base64 that begins with the current line.
func (s *scanner) base64(all shape) error {
	r := run{shape: all, start: s.lines.start}
	r.add(s.wholeLine())
	for s.lines.next() {
		if len(bytes.TrimRight(s.lines.text, " \t")) == 0 {
			// Twice spaced lines are a run too; a blank line anywhere else ends it.
			if r.blanks++; r.blanks != r.lines || r.padded || r.short {
				break
			}
			continue
		}
		all, length := shapeOfAny(s.lines.text)
		spaced := r.blanks > 0
		if all &= r.shape; all == 0 || r.padded || length < shortLine && r.short {
			break
		}
		if spaced && (r.blanks != r.lines || r.pad || length > r.first || length < shortLine && !pads(s.lines.text)) {
			break
		}
		r.shape = all
		if !r.add(s.wholeLine()) || spaced && length < r.first {
			break
		}
	}
	if s.lines.err != nil {
		return s.lines.err
	}
	s.lines.seek(r.end)
	if r.lines < runLines && r.longest < longLine {
		return nil
	}
	f := Find{Kind: Base64, Start: r.start, End: r.end}
	if r.shape&standard == 0 {
		f.Kind = Base64URL
	}
	names, err := s.namesBefore(r.start)
	if err != nil {
		return err
	}
	f.Names = names
	return s.found(f, s.section(r.start, r.end, new(sextetReader).line))
}

// whole is what a line was like that may have been given in pieces.
type whole struct {
	end    int64
	length int
	pad    bool
	broken bool // a piece of it is no base64
}

// wholeLine goes to the last piece of the current line.
func (s *scanner) wholeLine() whole {
	w := whole{}
	for {
		text := bytes.TrimRight(s.lines.text, " \t")
		w.end = s.lines.end
		w.length += len(bytes.TrimLeft(text, " \t"))
		w.pad = pads(text)
		if !s.lines.cut || !s.lines.next() {
			return w
		}
		if all, _ := shapeOfAny(s.lines.text); all == 0 && len(s.lines.text) > 0 {
			w.broken = true
			return w
		}
	}
}

// pads reports whether a line ends in padding.
func pads(text []byte) bool { return bytes.HasSuffix(bytes.TrimRight(text, " \t"), []byte("=")) }

// add takes one more line; it is false where the run ends with it.
func (r *run) add(w whole) bool {
	r.end = w.end
	if r.short = w.length < shortLine; !r.short {
		r.lines++
	}
	if r.first == 0 {
		r.first = w.length
	}
	r.longest = max(r.longest, w.length)
	r.pad, r.padded = w.pad, w.pad && w.length != r.first
	return !w.broken
}

// sextetReader decodes base64 of both alphabets and passes over everything else; padding ends a group of four.
type sextetReader struct {
	bits  uint32
	count int
}

func (r *sextetReader) line(dst []byte, l *line) []byte {
	for _, c := range l.text {
		if c == '=' {
			r.bits, r.count = 0, 0
			continue
		}
		v := sextets[c]
		if v > 63 {
			continue
		}
		r.bits, r.count = r.bits<<6|uint32(v), r.count+6
		if r.count >= 8 {
			r.count -= 8
			dst = append(dst, byte(r.bits>>r.count))
		}
	}
	return dst
}
