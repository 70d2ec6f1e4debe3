package eval

import (
	"bytes"
	"math/bits"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/postern-mail/postern/rules/text"
)

// prose is the rendered text without the subject, as one, and what was counted in it, all in one go.
type prose struct {
	text           []byte
	ascii          bool
	unspaced       bool // it may have signs of scripts that write no blanks between words,
	mixed          bool // letters of Greek or Cyrillic,
	unseen         bool // signs that can't be seen
	words          int  // see wordsIn
	letters, upper int  // of ASCII
	plain, random  int  // words of three letters or more that are no names of something else; those among them that nobody would write
	example        string
}

// prose reads the text once for each message.
func (m *Mail) prose() *prose {
	return m.written.get(func() *prose {
		return readProse(m.Text.VisibleProse())
	})
}

// Kinds of signs.
const (
	signSpace = 1 << iota
	signUpper
	signLower
	signDigit
	signEdge // may stand before and behind a word
	signName // makes a word the name of something: a host, a file, an address, a link
	signForeign
)

// signs tells the kinds of octets.
var signs = func() (t [256]uint8) {
	for c := range t {
		switch {
		case c >= utf8.RuneSelf, text.IsUnseen(rune(c)):
			t[c] = signForeign
		case isSpace(byte(c)):
			t[c] = signSpace
		case 'A' <= c && c <= 'Z':
			t[c] = signUpper
		case 'a' <= c && c <= 'z':
			t[c] = signLower
		case '0' <= c && c <= '9':
			t[c] = signDigit
		}
		if strings.IndexByte(".,;:!?()[]\"'", byte(c)) >= 0 {
			t[c] |= signEdge
		}
		if strings.IndexByte("/@.:_=<>-&", byte(c)) >= 0 {
			t[c] |= signName
		}
	}
	return t
}()

func readProse(b []byte) *prose {
	p := &prose{text: b, ascii: true}
	from, other := 0, -1 // where the word begins that is read, and the last octet that is neither of a letter nor white space
	for i := 0; i < len(b); i += 8 {
		x := eightAt(b, i)
		letters, spaces := lettersOf(x), spacesOf(x)
		p.letters += bits.OnesCount64(letters)
		p.upper += bits.OnesCount64(capitals(x, letters))
		rest := highest &^ (letters | spaces)
		for ; spaces != 0; spaces &= spaces - 1 {
			before := spaces&-spaces - 1
			if own := rest & before; own != 0 {
				other, rest = i+lastPlace(own), rest&^before
			}
			to := i + place(spaces)
			if from < to && to <= len(b) {
				if other < from {
					p.spelled(b[from:to])
				} else {
					p.read(b[from:to])
				}
			}
			from = to + 1
		}
		if rest != 0 {
			other = i + lastPlace(rest)
		}
	}
	if from < len(b) {
		p.read(b[from:])
	}
	if p.unspaced {
		p.words = wordsIn(b)
	}
	return p
}

// spelled counts a word of letters of ASCII alone, as word does. Most are.
func (p *prose) spelled(w []byte) {
	if p.words++; len(w) < shortest || len(w) > longest {
		return
	}
	if p.plain++; len(w) >= row && unspoken(w) {
		p.odd(w)
	}
}

// read counts what stands between white space of ASCII.
func (p *prose) read(b []byte) {
	from, all := 0, uint8(0) // the word that is read, and the kinds of its signs
	for i := 0; i < len(b); {
		k := signs[b[i]]
		n := 1
		if k == signForeign {
			p.ascii = p.ascii && b[i] < utf8.RuneSelf
			var r rune
			if r, n = utf8.DecodeRune(b[i:]); unicode.IsSpace(r) {
				k = signSpace
			} else {
				p.foreign(r)
			}
		}
		if k != signSpace {
			all |= k
			i += n
			continue
		}
		if from < i {
			p.word(b[from:i], all)
		}
		i += n
		from, all = i, 0
	}
	if from < len(b) {
		p.word(b[from:], all)
	}
}

// foreign notes what a sign beyond ASCII may be, so that only texts are read again that have such.
func (p *prose) foreign(r rune) {
	switch {
	case r < 0x370: // Latin, and signs for its letters
		p.unseen = p.unseen || text.IsUnseen(r)
	case r < 0x2000:
		p.mixed, p.unseen = true, p.unseen || text.IsUnseen(r)
		p.unspaced = p.unspaced || unspaced(r)
	case r < 0x2070:
		p.unseen = true // what can't be seen stands among punctuation
	default:
		p.mixed, p.unseen = true, p.unseen || text.IsUnseen(r)
		p.unspaced = p.unspaced || unspaced(r)
	}
}

// The octets of words that are counted as plain, and how many of them in a row are no vowels in one that is random.
const (
	shortest = 3
	longest  = 60
	row      = 6
)

// word counts a word that has signs of some kinds.
func (p *prose) word(w []byte, kinds uint8) {
	p.words++
	if kinds&signEdge != 0 {
		for len(w) > 0 && signs[w[0]]&signEdge != 0 {
			w = w[1:]
		}
		for len(w) > 0 && signs[w[len(w)-1]]&signEdge != 0 {
			w = w[:len(w)-1]
		}
	}
	if len(w) < shortest || len(w) > longest || kinds&signName != 0 && hasName(w) {
		return
	}
	p.plain++
	if len(w) >= row && (kinds&signDigit != 0 || unspoken(w)) {
		p.odd(w)
	}
}

// odd counts a word that may be random.
func (p *prose) odd(w []byte) {
	if !random(w) {
		return
	}
	if p.random == 0 {
		p.example = string(w)
	}
	p.random++
}

func hasName(w []byte) bool {
	for _, c := range w {
		if signs[c]&signName != 0 {
			return true
		}
	}
	return false
}

// vowels has a bit for each letter that a word is spoken by.
const vowels = 1 | 1<<('e'-'a') | 1<<('i'-'a') | 1<<('o'-'a') | 1<<('u'-'a') | 1<<('y'-'a')

// unspoken reports whether six octets in a row are none of vowels, as they have to be in a word without digits that is random. It
// looks at few of them.
func unspoken(w []byte) bool {
	for end := row - 1; end < len(w); {
		i := end
		for i > end-row && !spoken[w[i]] {
			i--
		}
		if i == end-row {
			return true
		}
		end = i + row
	}
	return false
}

// spoken tells the octets of vowels.
var spoken = func() (t [256]bool) {
	for l := range 26 {
		t['a'+l] = vowels>>l&1 != 0
		t['A'+l] = t['a'+l]
	}
	return t
}()

// random reports whether a word has six consonants in a row, "h" and "s" not counted, of which languages make long runs
// ("Durchschnitt"), or changes from letters to digits and back.
func random(w []byte) bool {
	run, changes, kind := 0, 0, 0 // kind: 1 a letter, 2 a digit
	for _, c := range w {
		now := 0
		switch k := signs[c]; {
		case k&(signUpper|signLower) != 0:
			now = 1
			switch l := c | 0x20; {
			case vowels>>(l-'a')&1 != 0:
				run = 0
			case l != 'h' && l != 's':
				run++
			}
		case k&signDigit != 0:
			now, run = 2, 0
		default:
			run, kind = 0, 0
			continue
		}
		if kind != 0 && now != kind {
			changes++
		}
		if kind = now; run == row || changes == 2 {
			return true
		}
	}
	return false
}

// mentions reports whether an address in lower case stands in the text in any case. No sign but "@" has "@" in lower case.
func (p *prose) mentions(address string) bool {
	at := strings.IndexByte(address, '@')
	if at < 0 {
		return bytes.IndexByte(p.text, '@') >= 0 && bytes.Contains(bytes.ToLower(p.text), []byte(address))
	}
	for i := 0; ; i++ {
		n := bytes.IndexByte(p.text[i:], '@')
		if n < 0 {
			return false
		}
		i += n
		if p.ascii {
			if from := i - at; from >= 0 && from+len(address) <= len(p.text) && isFolded(p.text[from:from+len(address)], address) {
				return true
			}
		} else if endsFolded(p.text[:i], address[:at]) && beginsFolded(p.text[i+1:], address[at+1:]) {
			return true
		}
	}
}

// beginsFolded reports whether b begins with a text in lower case, in any case.
func beginsFolded(b []byte, low string) bool {
	for _, want := range low {
		r, n := utf8.DecodeRune(b)
		if n == 0 || unicode.ToLower(r) != want {
			return false
		}
		b = b[n:]
	}
	return true
}

// endsFolded reports whether b ends with a text in lower case, in any case.
func endsFolded(b []byte, low string) bool {
	for len(low) > 0 {
		want, size := utf8.DecodeLastRuneInString(low)
		r, n := utf8.DecodeLastRune(b)
		if n == 0 || unicode.ToLower(r) != want {
			return false
		}
		b, low = b[:len(b)-n], low[:len(low)-size]
	}
	return true
}

// isFolded reports whether octets of ASCII are a text in lower case, in any case.
func isFolded(b []byte, low string) bool {
	for i, c := range b {
		if lowerOctet[c] != low[i] {
			return false
		}
	}
	return true
}
