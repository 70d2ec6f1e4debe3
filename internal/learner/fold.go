package learner

import (
	"unicode"
	"unicode/utf8"
)

// disguise is how a text was written so that who reads it sees words, and who compares octets does not.
type disguise uint8

const (
	invisible disguise = 1 << iota // characters without width within a word
	mixed                          // letters of another script in place of Latin ones
	styled                         // the letters of mathematicians in place of plain ones
	spaced                         // words that are written letter by letter
)

var disguises = [...]struct {
	is   disguise
	name string
}{{invisible, "invisible"}, {mixed, "mixed"}, {styled, "styled"}, {spaced, "spaced"}}

// folder writes a text as it looks.
type folder struct {
	out   []byte
	word  int  // where in out the word that is being written begins
	latin bool // it has Latin letters of ASCII
	alike bool // and such that look like Latin ones
	run   int  // letters since its beginning, or since a soft hyphen in it
	soft  bool // it has a soft hyphen
	lone  bool // and a single letter before one
	did   disguise
}

// fold gives a text as it looks: without characters that have no width, with Latin letters in place of those that look like
// them and stand in one word with them (where that may be an ending behind an acronym, both ways), and with no more than maxBlank octets of white space in one place. It tells how the text was
// disguised; letters without dots, hyphens where a word may be broken, and endings of another language are no disguise.
func fold(b []byte) ([]byte, disguise) {
	f := folder{out: make([]byte, 0, len(b))}
	for i := 0; i < len(b); {
		if c := b[i]; c < utf8.RuneSelf {
			f.ascii(c)
			i++
			continue
		}
		r, n := utf8.DecodeRune(b[i:])
		f.rune(r, b[i:i+n], i+n < len(b) && isASCIILetter(b[i+n]))
		i += n
	}
	f.endWord()
	return f.out, f.did
}

func (f *folder) ascii(c byte) {
	switch {
	case isASCIILetter(c):
		f.latin = true
		f.run++
		f.out = append(f.out, c)
		return
	case c == '\n':
		f.blank('\n')
	case c <= ' ':
		f.blank(' ')
	default:
		f.out = append(f.out, c)
	}
	f.endWord()
}

// maxBlank is how much white space is kept of one place: what is more tells nothing, and would fill what is looked at.
const maxBlank = 16

// blank writes white space.
func (f *folder) blank(c byte) {
	n := len(f.out)
	for i := n - 1; i >= 0 && n-i <= maxBlank && f.out[i] <= ' '; i-- {
		if n-i == maxBlank {
			return
		}
	}
	f.out = append(f.out, c)
}

// rune takes a character beyond ASCII, its octets, and whether a Latin letter comes next.
func (f *folder) rune(r rune, octets []byte, letterNext bool) {
	switch {
	case r == softHyphen:
		if f.run > 0 {
			f.soft, f.lone, f.run = true, f.lone || f.run == 1, 0
		}
	case widthless(r):
		if n := len(f.out); letterNext && n > 0 && isASCIILetter(f.out[n-1]) {
			f.did |= invisible
		}
	case unicode.IsSpace(r), r >= 0x2000 && r <= 0x200A, r == 0x3164, r == 0x2800:
		f.blank(' ')
		f.endWord()
	case r >= 0xFF01 && r <= 0xFF5E: // ASCII as wide as Chinese characters
		f.ascii(byte(r - 0xFF01 + '!'))
	case r >= 0x1D400 && r <= 0x1D6A3: // 13 alphabets of mathematicians
		k := byte((r - 0x1D400) % 52)
		if k >= 26 {
			k += 'a' - 'A' - 26
		}
		f.did |= styled
		f.ascii('A' + k)
	case unicode.IsLetter(r), unicode.IsMark(r):
		if unicode.IsLetter(r) {
			f.run++
		}
		if c, ok := undotted[r]; ok { // of the same script, and no disguise where people write so
			f.out = append(f.out, c)
			return
		}
		if _, ok := lookAlikes[r]; ok {
			f.alike = true
		}
		f.out = append(f.out, octets...)
	default:
		f.endWord()
		f.out = append(f.out, octets...)
		f.word = len(f.out)
	}
}

// endWord ends a word: behind it, or behind what follows it in ASCII. Where Latin letters stand in it beside such that look like them,
// these become Latin ones.
func (f *folder) endWord() {
	// Who hyphenates leaves at least two letters on either side of each hyphen.
	if f.latin && f.soft && (f.lone || f.run == 1) {
		f.did |= invisible
	}
	if f.latin && f.alike {
		word := string(f.out[f.word:])
		alike, doubt, told := disguised(word)
		if told {
			f.did |= mixed
		}
		switch {
		case alike && !doubt:
			f.out = f.out[:f.word]
		case alike && word[len(word)-1] > ' ':
			f.out = append(f.out, ' ')
		}
		if alike {
			for _, r := range word {
				if c, ok := lookAlikes[r]; ok {
					f.out = append(f.out, c)
				} else {
					f.out = utf8.AppendRune(f.out, r)
				}
			}
		}
	}
	*f = folder{out: f.out, word: len(f.out), did: f.did}
}

// leastMixed is how many letters a word has in which other scripts are a disguise: what is shorter may be a formula.
const leastMixed = 4

// mostAcronym is how many letters an acronym has that people append an ending to.
const mostAcronym = 4

// disguised tells of a word with Latin letters and letters of another script whether these may stand for Latin ones, whether there is
// a doubt, and whether nobody writes so without meaning to be misread. People append the endings of their language to acronyms, and Greek letters
// to a symbol: "SMSка", "TNFα". Where each letter of such an ending looks like a Latin one nobody can tell: "FREе".
func disguised(word string) (alike, doubt, told bool) {
	var latin, small, foreign, capital, unlike, changes int
	last := false // the last letter was a foreign one
	for i, r := range word {
		other := unicode.In(r, unicode.Cyrillic, unicode.Greek, unicode.Armenian)
		switch {
		case other:
			foreign++
			if _, ok := lookAlikes[r]; !ok {
				unlike++
			}
			if unicode.IsUpper(r) {
				capital++
			}
		case unicode.Is(unicode.Latin, r):
			latin++
			if unicode.IsLower(r) {
				small++
			}
		default:
			continue
		}
		if i > 0 && other != last {
			changes++
		}
		last = other
	}
	doubt = changes == 1 && last && latin > 1 && latin <= mostAcronym && small == 0 && capital == 0
	alike = unlike == 0 || changes > 1 && latin >= foreign
	return alike, doubt, latin+foreign >= leastMixed && (alike && !doubt || changes > 1)
}

func isASCIILetter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }

// widthless reports whether a character takes no place where it stands.
func widthless(r rune) bool {
	switch {
	case r == 0x34F, r == 0x61C, r == 0x180E, r == 0xFEFF: // grapheme joiner, marks of direction, of order
		return true
	case r >= 0x200B && r <= 0x200F, r >= 0x202A && r <= 0x202E, r >= 0x2060 && r <= 0x206F:
		return true
	case r >= 0xFE00 && r <= 0xFE0F, r >= 0xE0000 && r <= 0xE01EF: // selectors of variants, tags
		return true
	}
	return false
}

const softHyphen = '\u00AD'

// undotted are Latin letters that are read as others, and those.
var undotted = map[rune]byte{'\u0131': 'i', '\u0251': 'a', '\u0261': 'g'}

// lookAlikes are letters of Cyrillic, Greek and Armenian that look like Latin ones, and those.
var lookAlikes = func() map[rune]byte {
	all := map[rune]byte{}
	for _, p := range [...]struct{ alike, latin string }{
		{"\u0430\u0441\u0501\u0435\u04BB\u0456\u0458\u043E\u0440\u051B\u0455\u051D\u0445\u0443\u04CF\u0475\u043C\u043A\u0442\u043F", "acdehijopqswxylvmktn"},
		{"\u0410\u0412\u0421\u0415\u041D\u0406\u0408\u041A\u041C\u041E\u0420\u0405\u0422\u0425\u0423\u0417", "ABCEHIJKMOPSTXYZ"},
		{"\u0391\u0392\u0395\u0396\u0397\u0399\u039A\u039C\u039D\u039F\u03A1\u03A4\u03A5\u03A7", "ABEZHIKMNOPTYX"},
		{"\u03B1\u03B9\u03BA\u03BD\u03BF\u03C1\u03C4\u03C5\u03C7", "aikvoptux"},
		{"\u0561\u0563\u0570\u0578\u057D\u0585\u0566\u0584", "wqhnuoqf"},
	} {
		i := 0
		for _, r := range p.alike {
			all[r] = p.latin[i]
			i++
		}
	}
	return all
}()

// leastSpaced is how many single letters make a word that is written letter by letter.
const leastSpaced = 4

// spacedOut gives the words of a text that are written letter by letter with the same octet between any two of them, put
// together and a blank before and behind each.
func spacedOut(b []byte) (words []byte) {
	for i := 0; i+2*leastSpaced-2 < len(b); i++ {
		if !isASCIILetter(b[i]) || i > 0 && isASCIILetter(b[i-1]) || isASCIILetter(b[i+1]) || isDigitOrWide(b[i+1]) {
			continue
		}
		j := i
		for j+2 < len(b) && b[j+1] == b[i+1] && isASCIILetter(b[j+2]) && (j+3 == len(b) || !isASCIILetter(b[j+3]) && !isDigitOrWide(b[j+3])) {
			j += 2
		}
		if n := (j-i)/2 + 1; n >= leastSpaced {
			words = append(words, ' ')
			for k := i; k <= j; k += 2 {
				words = append(words, b[k])
			}
			words = append(words, ' ')
		}
		i = j
	}
	return words
}

func isDigitOrWide(c byte) bool { return c >= '0' && c <= '9' || c >= utf8.RuneSelf }
