package text

import (
	"bytes"
	"encoding/binary"
	"unicode/utf8"
)

// Kinds of octets in a text: white space, line end among it, and what is none.
const (
	noSpace = iota
	blank
	lineEnd
)

// spaceClass gives the kind of each octet of ASCII.
var spaceClass = func() (t [256]uint8) {
	for _, c := range []byte(asciiSpace) {
		t[c] = blank
	}
	t['\n'] = lineEnd
	return t
}()

// isPlain tells the octets of ASCII that a text keeps as they are, wherever they stand: all but white space and NUL.
var isPlain = func() (t [256]bool) {
	for c := 1; c < utf8.RuneSelf; c++ {
		t[c] = spaceClass[c] == noSpace
	}
	return t
}()

// The defaults of SpamAssassin 4.
const (
	defaultBodyScan    = 50_000
	defaultRawBodyScan = 500_000
)

// scan gives how much of a part is looked at: option, its default for 0, or all for a negative one.
func scan(option, usual int) int {
	switch {
	case option == 0:
		return usual
	case option < 0:
		return maxPart * 4
	}
	return option
}

// renderPart renders a part of plain text or HTML.
func (t *TextPart) renderPart() *rendering {
	octets := t.Decoded()
	txt := normalize(octets, t.Charset)
	if t.Shown == "text/html" && len(octets) > 0 {
		return t.renderHTML(txt, len(octets))
	}
	return &rendering{text: txt}
}

// renderBody puts the texts of all parts together in paragraphs.
func (m *Message) renderBody() paragraphs {
	var texts []text
	for _, p := range m.Parts() {
		if p.renders() {
			texts = append(texts, p.render().text)
		} else {
			texts = append(texts, text{})
		}
	}
	return m.paragraphs(texts, m.subject())
}

var subjectField = MustSelector("Subject")

// subject gives the decoded subject, the last where there are several, and a line end.
func (m *Message) subject() []byte {
	all := m.Values(subjectField)
	if len(all) == 0 {
		return []byte{'\n'}
	}
	if last := all[len(all)-1]; bytes.HasSuffix(last, []byte{'\n'}) {
		return last
	}
	return append(bytes.Clone(all[len(all)-1]), '\n')
}

// paragraphs is a text in paragraphs, which stand in it one behind the other.
type paragraphs struct {
	all   [][]byte
	whole []byte
}

// behind gives the text behind the first paragraph.
func (p *paragraphs) behind() []byte {
	if len(p.all) == 0 {
		return nil
	}
	return p.whole[len(p.all[0]):]
}

// paragraphs joins texts, and makes of all white space one space, or the end of a paragraph where it has several line ends.
func (m *Message) paragraphs(texts []text, subject []byte) paragraphs {
	if len(texts) == 0 {
		return paragraphs{all: [][]byte{}} // no part at all
	}
	limit, size, chars := scan(m.opt.BodyScan, defaultBodyScan), len(subject), false
	for i := range texts {
		if texts[i].cut(limit) {
			m.known.cut(CutBody)
		}
		size += len(texts[i].utf8) + 1
		chars = chars || texts[i].chars
	}
	f := folder{out: append(make([]byte, 0, size), subject...), chars: chars}
	for i := range texts {
		if i > 0 && f.begun {
			f.space(lineEnd)
		}
		f.add(texts[i].utf8)
	}
	f.flush()
	return paragraphs{splitLines(f.out), f.out[:len(f.out):len(f.out)]}
}

// cut shortens a text to about limit characters, at the end of a line or a word if there is one near, and reports whether it has.
func (t *text) cut(limit int) bool {
	if len(t.utf8) <= limit || t.length() <= limit {
		return false
	}
	at := t.offset(limit)
	for _, c := range []byte("\n ") {
		n := bytes.IndexByte(t.utf8[at:], c)
		if n >= 0 && countRunes(t.utf8[at:at+n]) <= 1024 {
			t.utf8 = t.utf8[:at+n+1]
			return true
		}
	}
	t.utf8 = t.utf8[:at]
	return true
}

// length gives the number of characters.
func (t *text) length() int { return countRunes(t.utf8) }

// countRunes is utf8.RuneCount, which in Go 1.26 copies what is not of ASCII.
func countRunes(b []byte) (n int) {
	for i := 0; i < len(b); n++ {
		if len(b)-i >= 8 && binary.LittleEndian.Uint64(b[i:])&highest == 0 {
			i, n = i+8, n+7
			continue
		}
		i += runeLen(b[i:])
	}
	return n
}

// runeLen gives the length of the character that b begins with.
func runeLen(b []byte) int {
	if b[0] < utf8.RuneSelf {
		return 1
	}
	_, n := utf8.DecodeRune(b)
	return n
}

// offset gives where the n-th character begins.
func (t *text) offset(n int) int {
	i := 0
	for ; n > 0 && i < len(t.utf8); n-- {
		i += runeLen(t.utf8[i:])
	}
	return i
}

// folder folds white space on the way. Runs of it may go over from one text to the next.
type folder struct {
	out   []byte
	chars bool // all white space of Unicode is white space, and the result is UTF-8; else that of ASCII, and octets
	begun bool // something was added

	run   bool // within white space
	ends  int  // line ends in it
	lead  bool // it has a blank before the first
	trail bool // and behind the last
}

// space takes note of an octet of white space.
func (f *folder) space(kind uint8) {
	f.run, f.begun = true, true
	if kind == lineEnd {
		f.ends++
		f.trail = false
		return
	}
	if f.ends == 0 {
		f.lead = true
	} else {
		f.trail = true
	}
}

// flush writes what the white space becomes.
func (f *folder) flush() {
	if !f.run {
		return
	}
	switch {
	case f.ends < 2:
		f.out = append(f.out, ' ')
	default:
		if f.lead {
			f.out = append(f.out, ' ')
		}
		f.out = append(f.out, '\n')
		if f.trail {
			f.out = append(f.out, ' ')
		}
	}
	f.run, f.ends, f.lead, f.trail = false, 0, false, false
}

// add adds a text.
func (f *folder) add(b []byte) {
	for i := 0; i < len(b); {
		start := i
		i += evenRun(b[i:])
		// A single blank between such octets stays as it is.
		for i < len(b) && (isPlain[b[i]] || b[i] == ' ' && i > start && i+1 < len(b) && isPlain[b[i+1]]) {
			i++
		}
		if i > start {
			f.flush()
			f.begun = true
			f.out = append(f.out, b[start:i]...)
			continue
		}
		c := b[i]
		switch {
		case spaceClass[c] != noSpace:
			f.space(spaceClass[c])
			i++
		case c == 0:
			f.flush()
			f.begun = true
			f.out = append(f.out, '\n')
			i++
		default:
			i += f.addRune(b[i:])
		}
	}
}

// Texts are read eight octets at once where that can be, the first in the lowest octet of a word: each has one in each of them, highest
// the highest bit.
const (
	each    = 0x0101010101010101
	highest = 0x80 * each
)

// evenRun gives how many octets b begins with that a text keeps as they are, about: octets of ASCII with single blanks between words. It
// may end before the last of them, but not behind a blank.
func evenRun(b []byte) (n int) {
	blank := uint64(0x80) // the octet before is one, or there is none: in either case none may follow
	for ; len(b)-n >= 8; n += 8 {
		x := binary.LittleEndian.Uint64(b[n:])
		blanks := ^(x ^ ' '*each + 0x7f*each) & highest // where no octet has the highest bit
		if (x|(x-' '*each))&highest != 0 || blanks&(blanks<<8|blank) != 0 {
			break
		}
		blank = blanks >> 56
	}
	if n > 0 && b[n-1] == ' ' {
		n--
	}
	return n
}

// addRune adds a character beyond ASCII, and gives its length.
func (f *folder) addRune(b []byte) int {
	r, n := utf8.DecodeRune(b)
	if f.chars && isWideSpace(r) {
		f.space(blank)
		return n
	}
	f.flush()
	f.begun = true
	if !f.chars && r <= 0xff {
		f.out = append(f.out, byte(r))
		return n
	}
	f.out = append(f.out, b[:n]...)
	return n
}

// isWideSpace reports whether a character beyond ASCII is white space (Unicode's White_Space).
func isWideSpace(r rune) bool {
	switch r {
	case 0x85, 0xa0, 0x1680, 0x2028, 0x2029, 0x202f, 0x205f, 0x3000:
		return true
	}
	return r >= 0x2000 && r <= 0x200a
}

// splitLines cuts a text into lines of at most maxLine octets, between words where that can be.
func splitLines(b []byte) [][]byte {
	all := make([][]byte, 0, bytes.Count(b, []byte{'\n'})+1)
	for len(b) > 0 {
		line := firstLine(b)
		b = b[len(line):]
		for len(line) > maxLine {
			n := bytes.LastIndexByte(line[:maxLine+1], ' ') + 1
			if n == 0 {
				n = maxLine
			}
			all = append(all, line[:n:n])
			line = line[n:]
		}
		all = append(all, line[:len(line):len(line)])
	}
	return all
}
