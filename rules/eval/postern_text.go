package eval

import (
	"bytes"
	"fmt"
	"math/bits"
	"regexp"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/postern-mail/postern/mail"
	"github.com/postern-mail/postern/rules/text"
)

// posternText looks at how a text is written.
var posternText = []Function{
	{"postern_homograph", compileHomograph},
	counting("postern_invisible_characters", func(m *Mail, least float64) (bool, string) {
		p := m.prose()
		if !p.unseen {
			return false, ""
		}
		n := invisible(p.text)
		return n > 0 && float64(n) >= least, counted(n, "in words")
	}),
	counting("postern_images_few_words", func(m *Mail, most float64) (bool, string) {
		n := m.prose().words
		return float64(n) < most && hasImage(m) && len(m.claims().links()) > 0, counted(n, "words")
	}),
	counting("postern_short_with_link", func(m *Mail, most float64) (bool, string) {
		n := m.prose().words
		return float64(n) < most && len(m.claims().links()) > 0, counted(n, "words")
	}),
	counting("postern_words_below", func(m *Mail, most float64) (bool, string) {
		n := m.prose().words
		return float64(n) < most, counted(n, "words")
	}),
	counting("postern_random_words", func(m *Mail, least float64) (bool, string) {
		p := m.prose()
		if p.plain < 20 || float64(p.random) < least*float64(p.plain) {
			return false, ""
		}
		return true, fmt.Sprintf("%d of %d, such as %s", p.random, p.plain, p.example)
	}),
	counting("postern_spaced_letters", func(m *Mail, share float64) (bool, string) {
		p := m.prose()
		if p.letters < leastSpaced || p.letters > 3*p.words {
			return false, ""
		}
		n := spelledOut(p.text)
		return n >= leastSpaced && float64(n) >= share*float64(p.letters), fmt.Sprintf("%d of %d letters", n, p.letters)
	}),
	{"postern_capitals", func(_ *Settings, args []string) (Check, error) {
		share, err := number("postern_capitals", args, 0, 0.5)
		if err != nil {
			return nil, err
		}
		letters, err := number("postern_capitals", args, 1, 1)
		return func(m *Mail) (int, string) {
			p := m.prose()
			if float64(p.letters) < letters || float64(p.upper) < share*float64(p.letters) {
				return 0, ""
			}
			// Of a text in another alphabet the words in this one are abbreviations.
			upper, all := p.upper, p.letters
			if !p.ascii {
				upper, all = countLetters(p.text)
			}
			return yes(float64(upper) >= share*float64(all), fmt.Sprintf("%d of %d letters", upper, all))
		}, err
	}},
	{"postern_needless_encoding", func(_ *Settings, args []string) (Check, error) {
		if len(args) != 1 {
			return nil, fmt.Errorf("eval: postern_needless_encoding needs the name of a field, not %q", args)
		}
		return func(m *Mail) (int, string) { return needlessEncoding(m.Text.Content().Header().Get(args[0])) }, nil
	}},
	counting("postern_hidden_words", func(m *Mail, least float64) (bool, string) {
		hidden := m.Text.HiddenText()
		n := wordsIn(hidden)
		if float64(n) < least || n == 0 {
			return false, ""
		}
		n = strangeWords(hidden, m.Text.HiddenPreview(), m.prose().text)
		return float64(n) >= least, counted(n, "words: ") + firstWords(hidden)
	}),
	plain("postern_recipient_in_text", func(m *Mail) (int, string) { return namesRecipient(m, m.prose().mentions) }),
	plain("postern_recipient_in_subject", func(m *Mail) (int, string) {
		subject := strings.ToLower(m.claims().subject)
		return namesRecipient(m, func(a string) bool { return strings.Contains(subject, a) })
	}),
	plain("postern_recipient_in_link", func(m *Mail) (int, string) {
		for _, l := range m.claims().links() {
			url := strings.ReplaceAll(strings.ToLower(atMostOctets(l.uri.Raw, maxLinkLooked)), "%40", "@")
			if n, d := namesRecipient(m, func(a string) bool { return strings.Contains(url, a) }); n > 0 {
				return n, d
			}
		}
		return 0, ""
	}),
	plain("postern_recipient_name_in_subject", func(m *Mail) (int, string) {
		c := m.claims()
		s := strings.ToLower(strings.TrimLeft(c.subject, " \"#<[("))
		for _, a := range c.to {
			local, _, _ := strings.Cut(a, "@")
			if len(local) >= 3 && strings.HasPrefix(s, local) && len(s) > len(local) && !unicode.IsLetter(rune(s[len(local)])) {
				return 1, local
			}
		}
		return 0, ""
	}),
}

// counting makes a Function with a bound as its argument.
func counting(name string, check func(m *Mail, bound float64) (bool, string)) Function {
	return Function{name, func(_ *Settings, args []string) (Check, error) {
		if err := atMost(name, args, 1); err != nil {
			return nil, err
		}
		bound, err := number(name, args, 0, 1)
		return func(m *Mail) (int, string) {
			ok, detail := check(m, bound)
			return yes(ok, detail)
		}, err
	}}
}

// maxLinkLooked is how many octets of a link are searched.
const maxLinkLooked = 2000

// counted says how many.
func counted(n int, of string) string { return strconv.Itoa(n) + " " + of }

func namesRecipient(m *Mail, names func(address string) bool) (int, string) {
	for _, a := range m.claims().to {
		if len(a) > 5 && names(a) {
			return 1, a
		}
	}
	return 0, ""
}

// Of a text whose words are spaced out: how many single letters it has to have, of them each row without other words, how many of the
// alphabet, and of ten how many vowels.
const (
	leastSpaced   = 30
	leastInRow    = 5
	leastAlphabet = 9
	leastVowels   = 3
)

// spelledOut counts the single letters of ASCII that stand in rows. A row that is all in capitals or in the order of the alphabet spells
// nothing, nor do rows of a few letters over and over, or of hardly a vowel: they are answers, marks, initials, keys, formulas.
func spelledOut(b []byte) (n int) {
	length, small, falls := 0, 0, 0 // of the row: its letters, those that are no capitals, those that come before the one before them in the alphabet
	var row, alphabet uint32        // a bit for each letter
	spoke, voices := 0, 0           // vowels of the row, and of all
	last := byte(0)
	end := func() {
		if length >= leastInRow && small > 0 && falls > 0 {
			n, alphabet, voices = n+length, alphabet|row, voices+spoke
		}
		length, small, falls, row, spoke = 0, 0, 0, 0, 0
	}
	for w := range bytes.FieldsSeq(b) {
		switch {
		case len(w) == 1 && signs[w[0]]&(signUpper|signLower) != 0:
			c := w[0] | 0x20
			if signs[w[0]]&signLower != 0 {
				small++
			}
			if length > 0 && c < last {
				falls++
			}
			if spoken[c] {
				spoke++
			}
			length, row, last = length+1, row|1<<(c-'a'), c
		case len(w) == 1 && signs[w[0]]&signEdge != 0: // between words
		default:
			end()
		}
	}
	if end(); bits.OnesCount32(alphabet) < leastAlphabet || 10*voices < leastVowels*n {
		return 0
	}
	return n
}

// countLetters counts the letters of a text in all alphabets, and the capitals among them.
func countLetters(b []byte) (upper, all int) {
	for _, r := range string(b) {
		if unicode.IsLetter(r) {
			if all++; unicode.IsUpper(r) {
				upper++
			}
		}
	}
	return upper, all
}

func hasImage(m *Mail) bool {
	for _, h := range m.Text.HTML() {
		if n, ok := h.Inside("img"); ok && n > 0 {
			return true
		}
	}
	return false
}

// firstUnspaced is the first sign, in Thai, of scripts that write no blanks between words.
const firstUnspaced = 0x0E01

// unspaced reports whether a sign is of such a script.
func unspaced(r rune) bool {
	return r >= firstUnspaced && unicode.In(r, unicode.Han, unicode.Hiragana, unicode.Katakana, unicode.Thai, unicode.Lao, unicode.Khmer, unicode.Myanmar)
}

// wordsIn counts the words of a text. Where words are written without blanks between them, two signs are one.
func wordsIn(b []byte) (n int) {
	signs, within := 0, false
	for len(b) > 0 {
		if c := b[0]; c < utf8.RuneSelf {
			blank := c == ' ' || c == '\n' || c == '\t' || c == '\r'
			if !blank && !within {
				n++
			}
			within = !blank
			b = b[1:]
			continue
		}
		r, size := utf8.DecodeRune(b)
		b = b[size:]
		switch {
		case unspaced(r):
			signs, within = signs+1, false
		case unicode.IsSpace(r):
			within = false
		case !within:
			n, within = n+1, true
		}
	}
	return n + signs/2
}

// compileHomograph finds words that mix the Latin alphabet with letters of the Cyrillic or Greek one that look the same.
func compileHomograph(_ *Settings, args []string) (Check, error) {
	if len(args) != 1 || args[0] != "sender" && args[0] != "subject" && args[0] != "text" {
		return nil, fmt.Errorf("eval: postern_homograph looks at sender, subject or text, not %q", args)
	}
	return func(m *Mail) (int, string) {
		c := m.claims()
		switch args[0] {
		case "sender":
			n, word := mixedWords(c.name)
			return yes(n > 0, word)
		case "subject":
			n, word := mixedWords(c.subject)
			return yes(n > 0, word)
		}
		p := m.prose()
		if !p.mixed {
			return 0, ""
		}
		n, word := mixedWords(string(p.text))
		return yes(n >= 3, word)
	}, nil
}

// mixedWords counts the words of a text that mix alphabets, and gives the first. Where words are written in another alphabet than the Latin
// one (one such for two is enough), those that only end in it are none: it is how they are declined ("PDF" and an ending).
func mixedWords(s string) (n int, first string) {
	var latin, other, turns, start int // of the word: letters, changes from other letters to Latin ones
	wholly, ending := 0, 0             // words that are in another alphabet, or end in it
	declined := ""                     // the first of these
	end := func(to int) {
		switch {
		case latin > 0 && other > 0 && turns > 0:
			if n++; n == 1 {
				first = atMostOctets(s[start:to], 60)
			}
		case latin > 0 && other > 0:
			if ending++; ending == 1 {
				declined = atMostOctets(s[start:to], 60)
			}
		case other > 1:
			wholly++
		}
		latin, other, turns = 0, 0, 0
	}
	was := false // the letter before is of another alphabet
	for i, r := range s {
		isLatin := r|0x20 >= 'a' && r|0x20 <= 'z'
		isOther := r >= utf8.RuneSelf && unicode.In(r, unicode.Cyrillic, unicode.Greek)
		switch {
		case !isLatin && !isOther && (r < utf8.RuneSelf || !unicode.IsLetter(r)):
			end(i)
			was = false
			continue
		case latin+other == 0:
			start = i
		}
		if isOther {
			other, was = other+1, true
		} else if isLatin {
			if latin++; was {
				turns++
			}
			was = false
		}
	}
	if end(len(s)); 2*wholly >= ending {
		return n, first
	}
	if n == 0 {
		first = declined
	}
	return n + ending, first
}

// Of a long word: from how many letters on it is one, and how long its pieces are at least, that signs where it may be divided stand between.
const (
	longWord  = 15
	longPiece = 4
)

// invisible counts where signs that can't be seen split a word, between two letters. Where a word may be divided they don't: soft hyphens do
// where they cut off a single letter that is no syllable, and other signs not between the words of a name like "getUser", nor in long words
// between long pieces. Controls do not count that stand for a sign of windows-1252, as an apostrophe: honest programs make such of it
// that take it for Latin-1.
func invisible(b []byte) (n int) {
	letters, piece, least, places := 0, 0, 0, 0 // of the word: letters and digits, those since the last sign, the fewest between two, where it is split
	hyphen, sign, single := false, false, false // what came since the last letter; the piece before this one is a single letter
	last := byte(0)
	for len(b) > 0 {
		r, size := rune(b[0]), 1
		if r >= utf8.RuneSelf {
			r, size = utf8.DecodeRune(b)
		}
		b = b[size:]
		switch {
		case r|0x20 >= 'a' && r|0x20 <= 'z', r >= '0' && r <= '9':
			if hyphen || sign {
				switch {
				case r <= '9' || last <= '9': // between two letters, that is
				case sign && !(last >= 'a' && r <= 'Z'), !sign && piece == 1 && (single || !spoken[last]):
					places++
				}
				if least == 0 || piece < least {
					least = piece
				}
				single, piece, hyphen, sign = piece == 1, 0, false, false
			}
			letters, piece, last = letters+1, piece+1, byte(r)
			continue
		case letters > 0 && r == 0xAD:
			hyphen = true
			continue
		case text.IsUnseen(r) && !text.IsWindowsSign(r):
			sign = sign || letters > 0
			continue
		}
		if places > 0 && (letters < longWord || min(least, piece) < longPiece) {
			n += places
		}
		letters, piece, least, places, hyphen, sign, single = 0, 0, 0, 0, false, false, false
	}
	if places > 0 && (letters < longWord || min(least, piece) < longPiece) {
		n += places
	}
	return n
}

var encodedWord = regexp.MustCompile(`=\?[^?]{1,40}\?[bB]\?`)

// needlessEncoding reports whether a field is in base64 that decodes to plain ASCII.
func needlessEncoding(raw string) (int, string) {
	if !strings.Contains(raw, "=?") || !encodedWord.MatchString(raw) {
		return 0, ""
	}
	text := mail.DecodeWords(raw)
	for i := range len(text) {
		if text[i] < ' ' || text[i] > '~' {
			return 0, ""
		}
	}
	return yes(!strings.Contains(text, "=?"), atMostOctets(text, 60))
}
