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
		n, all := spelledOut(p.text)
		return n >= leastSpaced && float64(n) >= share*float64(all), fmt.Sprintf("%d of %d words", n, all)
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
			return 1, fmt.Sprintf("%d of %d letters", p.upper, p.letters)
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

// Of a text whose words are spaced out: how many single letters it has to have, of them each row without other words, and how many of
// the alphabet.
const (
	leastSpaced   = 30
	leastInRow    = 5
	leastAlphabet = 9
)

// spelledOut counts the single letters of ASCII that stand in rows, and all words that have letters of ASCII in them. A row that is all in
// capitals or in the order of the alphabet spells nothing, nor do rows of a few letters over and over: they are answers, marks, initials.
func spelledOut(b []byte) (n, all int) {
	length, small, falls := 0, 0, 0 // of the row: its letters, those that are no capitals, those that come before the one before them in the alphabet
	var row, alphabet uint32        // a bit for each letter
	last := byte(0)
	end := func() {
		if length >= leastInRow && small > 0 && falls > 0 {
			n, alphabet = n+length, alphabet|row
		}
		length, small, falls, row = 0, 0, 0, 0
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
			length, row, last = length+1, row|1<<(c-'a'), c
			all++
		case len(w) == 1 && signs[w[0]]&signEdge != 0: // between words
		default:
			if bytes.ContainsFunc(w, func(r rune) bool { return r|0x20 >= 'a' && r|0x20 <= 'z' }) {
				all++
			}
			end()
		}
	}
	if end(); bits.OnesCount32(alphabet) < leastAlphabet {
		n = 0
	}
	return n, all
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

// mixedWords counts the words of a text that mix alphabets, and gives the first.
func mixedWords(s string) (n int, first string) {
	latin, other, start := false, false, 0
	end := func(to int) {
		if latin && other {
			if n == 0 {
				first = atMostOctets(s[start:to], 60)
			}
			n++
		}
		latin, other = false, false
	}
	for i, r := range s {
		isLatin := r|0x20 >= 'a' && r|0x20 <= 'z'
		isOther := r >= utf8.RuneSelf && unicode.In(r, unicode.Cyrillic, unicode.Greek)
		if !isLatin && !isOther && (r < utf8.RuneSelf || !unicode.IsLetter(r)) {
			end(i)
			continue
		}
		if !latin && !other {
			start = i
		}
		latin, other = latin || isLatin, other || isOther
	}
	end(len(s))
	return n, first
}

// invisible counts signs that can't be seen and stand between two letters. Soft hyphens count where they cut off a single
// letter, which no rule of any language does. Controls do not count that stand for a sign of windows-1252, as an apostrophe: honest programs
// make such of it that take it for Latin-1.
func invisible(b []byte) (n int) {
	letter := false
	pending, piece := 0, 0 // signs since the last letter, letters since the last sign
	for len(b) > 0 {
		if b[0] < utf8.RuneSelf && !text.IsUnseen(rune(b[0])) {
			if l := b[0]|0x20 >= 'a' && b[0]|0x20 <= 'z'; l {
				n += pending
				letter = true
				piece++
			} else {
				letter, piece = false, 0
			}
			pending = 0
			b = b[1:]
			continue
		}
		r, size := utf8.DecodeRune(b)
		switch r {
		case 0xAD:
			if letter && piece == 1 {
				pending++
			}
			piece = 0
		default:
			switch {
			case !text.IsUnseen(r), text.IsWindowsSign(r):
				letter, pending = false, 0
			case letter:
				pending++
			}
			piece = 0
		}
		b = b[size:]
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
