package textenc

import (
	"bytes"
	"encoding/base64"
	"strings"

	"github.com/postern-mail/postern/internal/archive/tell"
)

// patience is how many lines in a row that are no data a reader passes over in search of more.
const patience = 64

// open is the line with which a uuencoded file begins (POSIX.1 uuencode; the options -m and -e of GNU sharutils).
type open struct {
	base64  bool
	encoded bool   // the name is in base64
	mode    bool   // it says the permissions, as it must
	rest    []byte // the permissions and the name, valid as long as the line is
	name    []byte
}

// opening reads such a line. Some readers take it in any case, and old Outlook also without permissions.
func opening(text []byte) (o open, ok bool) {
	rest, ok := cutFold(text, "begin")
	if !ok {
		return o, false
	}
	rest, o.base64 = cutFold(rest, "-base64")
	rest, o.encoded = cutFold(rest, "-encoded")
	name := bytes.TrimLeft(rest, " \t")
	if len(name) == len(rest) {
		return o, false
	}
	o.rest = name
	digits := 0
	for digits < len(name) && name[digits] >= '0' && name[digits] <= '9' {
		digits++
	}
	if digits > 0 && (digits == len(name) || name[digits] == ' ' || name[digits] == '\t') {
		o.mode = digits >= 3 && digits <= 7 && !bytes.ContainsAny(name[:digits], "89")
		name = name[digits:]
	}
	o.name = name
	return o, true
}

// names gives the names that readers make of the line.
func (o open) names() (names []string) {
	name := bytes.Trim(o.name, " \t")
	if o.encoded {
		if decoded, err := base64.StdEncoding.DecodeString(string(name)); err == nil {
			names = tell.AddRaw(names, decoded)
		}
	}
	names = tell.AddRaw(names, name)
	if bare := bytes.Trim(name, `"'`); len(bare) < len(name) {
		names = tell.AddRaw(names, bare)
	}
	if !o.mode || len(names) == 0 {
		names = tell.AddRaw(names, o.rest)
	}
	return names
}

// escapes are those of HTML, which some readers undo in lines that are no data else.
var escapes = strings.NewReplacer("&lt;", "<", "&gt;", ">", "&amp;", "&")

// plain gives a line without the escapes of HTML, where it is from HTML.
func plain(text []byte) []byte {
	if bytes.IndexByte(text, '&') < 0 || bytes.IndexByte(text, ';') < 0 || len(text) > longLine*5 {
		return text
	}
	if f, _ := uuCoding.data(text); f == exact || f == trimmed {
		return text
	}
	return []byte(escapes.Replace(string(text)))
}

// blank reports whether a line has nothing but blanks.
func blank(text []byte) bool {
	for _, c := range text {
		if c != ' ' && c != '\t' {
			return false
		}
	}
	return true
}

// cutFold cuts a prefix in any case; without it, text is given back.
func cutFold(text []byte, prefix string) ([]byte, bool) {
	if len(text) >= len(prefix) && bytes.EqualFold(text[:len(prefix)], []byte(prefix)) {
		return text[len(prefix):], true
	}
	return text, false
}

// closing reports whether a line ends a uuencoded file.
func closing(text []byte) bool {
	rest, ok := cutFold(text, "end")
	return ok && len(bytes.TrimRight(rest, " \t")) == 0
}

// form is what a line is as uuencode or xxencode.
type form byte

const (
	junk     form = iota
	empty         // no octets: the line before the last, or a blank one
	exact         // as long as it says, or a little longer: some add a checksum
	long          // with anything behind its data
	trimmed       // shorter: blanks at its end were lost
	high          // as long as it says, with octets of which readers take the low bits
	allForms = iota
)

// coding is one of the two alphabets.
type coding struct {
	value [256]byte // 0xff for what is not in it
	blank bool      // blanks are digits, so they may have been lost
}

var uuCoding, xxCoding = func() (uu, xx *coding) {
	uu, xx = &coding{blank: true}, &coding{}
	for i := range uu.value {
		uu.value[i], xx.value[i] = 0xff, 0xff
	}
	for c := 0x20; c <= 0x60; c++ {
		uu.value[c] = byte(c-0x20) & 63
	}
	for i, c := range []byte("+-0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz") {
		xx.value[c] = byte(i)
	}
	return uu, xx
}()

// data gives the form of a line, and how many octets it holds by its first one.
func (c *coding) data(text []byte) (form, int) {
	if blank(text) {
		return empty, 0
	}
	n := int(c.value[text[0]])
	if n > 63 {
		return junk, 0
	}
	text = text[1:]
	if n == 0 {
		if blank(text) {
			return empty, 0
		}
		return junk, 0
	}
	// What is needed at all, and what encoders write: whole groups of four, and some one group more.
	least, usual := (n*8+5)/6, (n+2)/3*4
	f := exact
	switch {
	case len(text) < least && !c.blank:
		return junk, 0
	case len(text) < least:
		f = trimmed
	case len(text) > usual+2:
		f = long
	}
	for _, v := range text[:min(least, len(text))] {
		if c.value[v] > 63 {
			if c.blank && f == exact && v > 0x60 && v < 0x7f {
				f = high
			} else if f != high || v < 0x20 || v > 0x7e {
				return junk, 0
			}
		}
	}
	return f, n
}

// decode appends the octets of a line of data.
func (c *coding) decode(dst, text []byte, n int) []byte {
	var bits uint32
	count := 0
	for i := 1; n > 0; i++ {
		v := byte(0)
		if i < len(text) {
			if v = c.value[text[i]]; v > 63 {
				v = (text[i] - 0x20) & 63
			}
		}
		bits, count = bits<<6|uint32(v), count+6
		if count >= 8 {
			count -= 8
			dst = append(dst, byte(bits>>count))
			n--
		}
	}
	return dst
}

// body is what one coding makes of the lines behind the first.
type body struct {
	*coding
	forms [allForms]int
	end   int64 // behind the last line of data
}

// worth reports whether it is a file: honest text speaks of uuencode too.
func (b *body) worth(o open, closed bool) bool {
	if !o.mode {
		return b.forms[exact] > 1 || b.forms[exact] > 0 && closed
	}
	sum := b.forms[exact] + b.forms[long]
	return sum > 0 || closed && sum+b.forms[trimmed]+b.forms[high]+b.forms[empty] > 0
}

// takes lists the forms of lines that are decoded: those that only some readers take count where there are no
// better ones.
func (b *body) takes() (t [allForms]bool) {
	t[exact], t[long], t[trimmed] = true, true, true
	t[high] = b.forms[exact]+b.forms[long] == 0
	return t
}

// uu reads a file that begins with the current line.
func (s *scanner) uu(o open) error {
	start, after := s.lines.start, s.lines.end
	o.rest, o.name = s.keep(o.rest, o.name)
	if o.base64 {
		return s.uuBase64(o, start)
	}
	bodies := [...]body{{coding: uuCoding, end: after}, {coding: xxCoding, end: after}}
	closed, idle := int64(0), 0
	for closed == 0 && idle < patience && s.lines.next() {
		if s.lines.cont {
			continue
		}
		if closing(s.lines.text) {
			closed = s.lines.end
			break
		}
		text := plain(s.lines.text)
		if _, ok := opening(text); ok {
			if f, _ := uuCoding.data(text); f != exact {
				break
			}
		}
		idle++
		for i := range bodies {
			b := &bodies[i]
			f, _ := b.data(text)
			if b.forms[f]++; f > empty {
				b.end, idle = s.lines.end, 0
			}
		}
	}
	if s.lines.err != nil {
		return s.lines.err
	}
	best := &bodies[0]
	if x := &bodies[1]; x.forms[exact] > best.forms[exact] {
		best = x
	}
	if !best.worth(o, closed > 0) {
		s.lines.seek(after)
		return nil
	}
	f := Find{Kind: UU, Start: start, End: max(best.end, closed), Names: o.names()}
	if best.coding == xxCoding {
		f.Kind = XX
	}
	s.lines.seek(f.End)
	takes, coding := best.takes(), best.coding
	return s.found(f, s.section(after, best.end, func(dst []byte, l *line) []byte {
		text := plain(l.text)
		if form, n := coding.data(text); takes[form] && !l.cont {
			return coding.decode(dst, text, n)
		}
		return dst
	}))
}

// keep copies what a line says before the next line is read.
func (s *scanner) keep(rest, name []byte) (keptRest, keptName []byte) {
	s.kept = append(s.kept[:0], rest...)
	return s.kept, s.kept[len(rest)-len(name):]
}

// uuBase64 reads a file in the other coding of POSIX uuencode, which ends with a line of four equal signs.
func (s *scanner) uuBase64(o open, start int64) error {
	after := s.lines.end
	end, last, longest, idle := int64(0), after, 0, 0
	for end == 0 && idle < patience && s.lines.next() {
		if bytes.HasPrefix(s.lines.text, []byte("====")) {
			end = s.lines.end
			break
		}
		if _, ok := opening(s.lines.text); ok {
			break
		}
		if all, n := shapeOfAny(s.lines.text); all != 0 {
			longest, last, idle = max(longest, n), s.lines.end, 0
		} else {
			idle++
		}
	}
	if s.lines.err != nil {
		return s.lines.err
	}
	if longest == 0 && (end == 0 || !o.mode) || end == 0 && longest < shortLine {
		s.lines.seek(after)
		return nil
	}
	f := Find{Kind: UUBase64, Start: start, End: max(end, last), Names: o.names()}
	s.lines.seek(f.End)
	decode := new(sextetReader)
	return s.found(f, s.section(after, last, func(dst []byte, l *line) []byte {
		if all, _ := shapeOfAny(l.text); all == 0 {
			return dst // prose among the lines
		}
		return decode.line(dst, l)
	}))
}
