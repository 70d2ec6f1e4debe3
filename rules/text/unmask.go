package text

import (
	"encoding/binary"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// Whoever wants words not to be found puts signs into them that can't be seen, or writes them in letters that only look like those that are
// looked for. People read the words all the same, and so do our own rules in Unmasked.

// Unmasked gives VisibleText for who looks for words: without signs that can't be seen, and with letters of ASCII in place of what looks like
// them, where the text has so many of these that no honest one has. more is false where Body has all of it in the same words.
func (m *Message) Unmasked() (paragraphs [][]byte, more bool) {
	m.shown.seenOnce.Do(m.readSeen)
	s := &m.shown
	s.unmaskOnce.Do(func() {
		all := s.seen.all
		var k masks
		for _, b := range all {
			k.count(b)
		}
		if k.many() {
			s.unmasked, s.more = make([][]byte, len(all)), true
			for i, b := range all {
				s.unmasked[i] = withoutMasks(b)
			}
			return
		}
		s.unmasked, s.more = all, s.differs || m.Cut()&CutBody != 0
	})
	return s.unmasked, s.more
}

// Plain gives a name without signs that can't be seen, and with letters of ASCII in place of what looks like them.
func Plain(name string) string {
	b := []byte(name)
	if allPlain(b) {
		return name
	}
	return string(withoutMasks(b))
}

// masks counts what hides words.
type masks struct {
	letters  int // of ASCII
	unseen   int // signs that can't be seen, between letters
	mixed    int // letters of other alphabets beside those of ASCII
	styled   int // letters of ASCII in another form, as mathematicians write them
	accented int // letters of the Latin alphabet with marks
	blanks   int // signs that look like a blank, and are none
}

// many reports whether there are more of them than in honest texts. Of letters with marks the languages that have most have one in four, but those
// are few enough to be read twice.
func (k *masks) many() bool {
	return k.unseen >= 3 || k.mixed >= 3 || k.styled >= 12 || k.blanks >= 3 || k.accented >= 40 && 7*k.accented >= k.letters+k.accented
}

func isASCIILetter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }

// allPlain reports whether a text is of ASCII without controls but for line ends and tabs.
func allPlain(b []byte) bool {
	const each, high = 0x0101010101010101, 0x8080808080808080
	i := 0
	for ; i+8 <= len(b); i += 8 {
		x := binary.LittleEndian.Uint64(b[i:])
		if (x|(x-0x20*each)|((x^0x7F*each)-each))&high != 0 && !arePlain(b[i:i+8]) {
			return false
		}
	}
	return arePlain(b[i:])
}

func arePlain(b []byte) bool {
	for _, c := range b {
		if c >= 0x7F || c < ' ' && c != '\n' && c != '\t' && c != '\r' {
			return false
		}
	}
	return true
}

// besides tells of the octets around b[i:i+n] whether they are letters of ASCII.
func besides(b []byte, i, n int) (before, behind bool) {
	return i > 0 && isASCIILetter(b[i-1]), i+n < len(b) && isASCIILetter(b[i+n])
}

// count counts what hides words in a paragraph.
func (k *masks) count(b []byte) {
	if allPlain(b) {
		k.letters += len(b)
		return
	}
	for i := 0; i < len(b); {
		c := b[i]
		if c >= ' ' && c < 0x7F {
			if isASCIILetter(c) {
				k.letters++
			}
			i++
			continue
		}
		r, n := utf8.DecodeRune(b[i:])
		before, behind := besides(b, i, n)
		switch {
		case IsUnseen(r):
			// One that stands for several, or beside another, counts once.
			if before {
				k.unseen++
			}
		case looksBlank(r):
			if before || behind {
				k.blanks++
			}
		case r < 0x250 || r >= 0x1E00 && r < 0x1F00:
			if r > 0xBF {
				k.accented++
			}
		case unicode.Is(unicode.Mn, r):
			switch {
			case !before:
			case norm.NFC.IsNormalString(string(b[i-1 : i+n])): // no language writes that letter with that mark
				k.mixed++
			default:
				k.accented++
			}
		case lookalike(r) != 0:
			if mixedWord(b, i) {
				k.mixed++
			}
		case formOf(r) != 0:
			k.styled++
		}
		i += n
	}
}

// withoutMasks gives a text without what hides words.
func withoutMasks(b []byte) []byte {
	out := make([]byte, 0, len(b))
	for i := 0; i < len(b); {
		c := b[i]
		if c >= ' ' && c < 0x7F || c == '\n' || c == '\t' {
			out = append(out, c)
			i++
			continue
		}
		r, n := utf8.DecodeRune(b[i:])
		plain := byte(0)
		switch {
		case IsUnseen(r), unicode.Is(unicode.Mn, r):
			i += n
			continue
		case looksBlank(r):
			plain = ' '
		case lookalike(r) != 0:
			if mixedWord(b, i) {
				plain = lookalike(r)
			}
		default:
			plain = formOf(r)
		}
		if plain == 0 {
			out = append(out, b[i:i+n]...)
		} else {
			out = append(out, plain)
		}
		i += n
	}
	return out
}

// mixedWord reports whether the word around b[i] has letters of ASCII, too.
func mixedWord(b []byte, i int) bool {
	const far = 60
	for from := i; from > max(0, i-far); {
		r, n := utf8.DecodeLastRune(b[:from])
		if r < utf8.RuneSelf && isASCIILetter(byte(r)) {
			return true
		}
		if !unicode.IsLetter(r) && !IsUnseen(r) {
			break
		}
		from -= n
	}
	for to := i; to < min(len(b), i+far); {
		r, n := utf8.DecodeRune(b[to:])
		if r < utf8.RuneSelf && isASCIILetter(byte(r)) {
			return true
		}
		if !unicode.IsLetter(r) && !IsUnseen(r) {
			break
		}
		to += n
	}
	return false
}

// IsUnseen reports whether a sign can't be seen, has no width, and belongs to no word of the Latin alphabet: soft hyphens, signs that join or
// tell directions, variation selectors, fillers, tags and controls.
func IsUnseen(r rune) bool {
	switch {
	case r < ' ':
		return r != '\n' && r != '\t' && r != '\r'
	case r < 0xAD:
		return r >= 0x7F && r < 0xA0 && r != 0x85
	case r < 0x2000:
		switch r {
		case 0xAD, 0x34F, 0x61C, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x180B, 0x180C, 0x180D, 0x180E, 0x180F:
			return true
		}
		return false
	case r < 0x3000:
		return r >= 0x200B && r <= 0x200F || r >= 0x202A && r <= 0x202E || r >= 0x2060 && r <= 0x206F
	}
	return r == 0x3164 || r >= 0xFE00 && r <= 0xFE0F || r == 0xFEFF || r == 0xFFA0 || r >= 0xFFF0 && r <= 0xFFFB || r >= 0xE0000 && r <= 0xE0FFF
}

// IsWindowsSign reports whether a control is the number of a sign of windows-1252, as what was written in that and taken for Latin-1 has them.
func IsWindowsSign(r rune) bool {
	return r >= 0x80 && r < 0xA0 && r != 0x81 && r != 0x8D && r != 0x8F && r != 0x90 && r != 0x9D
}

// looksBlank reports whether a sign has width and shows nothing, and is no blank to those who look for words.
func looksBlank(r rune) bool { return r == 0x2800 || r == 0x1680 }

// lookalikes are letters of other alphabets, and rare ones of the Latin alphabet, that look like one of ASCII.
var lookalikes = func() map[rune]byte {
	all := map[rune]byte{}
	for plain, signs := range map[byte]string{
		'a': "аαɑᴀ", 'b': "ьƅʙ", 'c': "сϲᴄ", 'd': "ԁɗᴅ", 'e': "еєҽᴇ", 'f': "ғꜰ", 'g': "ɡցɢ", 'h': "һհʜ", 'i': "іιıɩɪᎥ", 'j': "јϳᴊ", 'k': "кκᴋ", 'l': "ӏⅼʟ", 'm': "мᴍ",
		'n': "пոηɴ", 'o': "оοօᴏσ", 'p': "рρᴘ", 'q': "ԛզ", 'r': "гᴦʀ", 's': "ѕꜱ", 't': "тτᴛ", 'u': "υսᴜц", 'v': "νѵᴠ", 'w': "ԝωᴡш", 'x': "хχ", 'y': "уγүʏ", 'z': "ᴢʐ",
		'A': "АΑ", 'B': "ВΒ", 'C': "СϹ", 'E': "ЕΕ", 'H': "НΗ", 'I': "ІΙӀ", 'J': "Ј", 'K': "КΚ", 'M': "МΜ", 'N': "Ν", 'O': "ОΟ", 'P': "РΡ", 'S': "Ѕ", 'T': "ТΤ", 'X': "ХΧ", 'Y': "ҮΥ", 'Z': "Ζ",
	} {
		for _, r := range signs {
			all[r] = plain
		}
	}
	return all
}()

// lookalike gives the letter of ASCII that one of lookalikes looks like, 0 for none.
func lookalike(r rune) byte {
	if r < 0x250 && r != 0x131 && r != 0x185 || r >= 0x2E80 && r < 0xA700 || r >= 0xAC00 {
		return 0
	}
	return lookalikes[r]
}

// formOf gives the letter or digit of ASCII of which a sign is another form, or which it has under its marks, 0 for none.
func formOf(r rune) byte {
	if r < 0xC0 || r >= 0x2E80 && r < 0xFF00 || r >= 0x370 && r < 0x1E00 {
		return 0
	}
	var room [utf8.UTFMax]byte
	d := norm.NFKD.Properties(room[:utf8.EncodeRune(room[:], r)]).Decomposition()
	if len(d) == 0 || !isASCIILetter(d[0]) && (d[0] < '0' || d[0] > '9') {
		return squared(r)
	}
	return d[0]
}

// squared gives the letter that a sign shows in a square or a circle, which Unicode does not say is its form.
func squared(r rune) byte {
	switch {
	case r >= 0x1F150 && r <= 0x1F169:
		return byte('A' + r - 0x1F150)
	case r >= 0x1F170 && r <= 0x1F189:
		return byte('A' + r - 0x1F170)
	}
	return 0
}
