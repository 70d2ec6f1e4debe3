package eval

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/postern-mail/postern/rules/text"
)

func init() { tables = append(tables, posternView) }

// posternView looks at what mail clients and browsers show, and at how that differs from what is written.
var posternView = []Function{
	{"postern_hidden_share", func(_ *Settings, args []string) (Check, error) {
		if err := atMost("postern_hidden_share", args, 2); err != nil {
			return nil, err
		}
		share, err := number("postern_hidden_share", args, 0, 0.5)
		if err != nil {
			return nil, err
		}
		least, err := number("postern_hidden_share", args, 1, 100)
		return func(m *Mail) (int, string) {
			hidden := text.Letters(m.Text.HiddenText())
			if hidden == 0 {
				return 0, ""
			}
			all := hidden
			for _, line := range m.Text.VisibleText()[1:] {
				all += text.Letters(line)
			}
			return yes(float64(hidden) >= least && float64(hidden) >= share*float64(all), fmt.Sprintf("%d of %d letters", hidden, all))
		}, err
	}},
	counting("postern_turned_letters", func(m *Mail, least float64) (bool, string) {
		n := m.Text.TurnedLetters()
		return n > 0 && float64(n) >= least, counted(n, "letters")
	}),
	{"postern_link_trait", compileLinkTrait},
}

// linkTraits are the words for what is odd about a link.
var linkTraits = map[string]text.Traits{
	"numeric_host": text.NumericHost, "user": text.HasUser, "punycode": text.Punycode, "port": text.OddPort,
	"escaped_host": text.EscapedHost, "embedded": text.EmbeddedURI, "address": text.Credentialed, "odd_slashes": text.OddSlashes,
	"broken_scheme": text.BrokenScheme, "folded_host": text.FoldedHost, "unread": text.Unread,
}

// compileLinkTrait finds a link that has one of the traits.
func compileLinkTrait(_ *Settings, args []string) (Check, error) {
	var want text.Traits
	for _, a := range args {
		t, ok := linkTraits[a]
		if !ok {
			want = 0
			break
		}
		want |= t
	}
	if want == 0 {
		known := make([]string, 0, len(linkTraits))
		for name := range linkTraits {
			known = append(known, name)
		}
		slices.Sort(known)
		return nil, fmt.Errorf("eval: postern_link_trait looks for %s, not %q", strings.Join(known, ", "), args)
	}
	return func(m *Mail) (int, string) {
		links := m.Text.Links()
		for i := range links {
			if u := &links[i]; len(u.Variants) > 0 && !strings.HasPrefix(u.Raw, "mailto:") && u.Traits()&want != 0 {
				return 1, atMostOctets(u.Raw, 100)
			}
		}
		return 0, ""
	}, nil
}

// firstWords gives the beginning of a text in one line.
func firstWords(b []byte) string {
	const most = 60
	s := strings.Join(strings.Fields(string(b[:min(len(b), 4*most)])), " ")
	for n := min(len(s), most); ; n-- {
		if n == len(s) || n == 0 || utf8.RuneStart(s[n]) {
			return s[:n]
		}
	}
}

// previewWords is how many words of a hidden text the line of a preview has at most.
const previewWords = 30

// strangeWords counts the words of a hidden text that the text that is shown has not, beyond those of a preview. A newsletter hides a
// line for lists of mail, and sometimes a second copy of its text for another width: neither says what the text does not. Where words
// are written without blanks between them, two signs are one.
func strangeWords(hidden, preview, shown []byte) int {
	known := map[string]bool{}
	wordsOf(shown, 1, func(w []byte, _ int) bool {
		known[string(w)] = true
		return true
	})
	half := 0 // words, twice
	wordsOf(hidden, 2, func(w []byte, n int) bool {
		if !known[string(w)] {
			half += n
		}
		return true
	})
	left := 2 * previewWords
	wordsOf(preview, 2, func(w []byte, n int) bool {
		if left -= n; left >= 0 && !known[string(w)] {
			half -= n
		}
		return left > 0
	})
	return half / 2
}

// wordsOf calls yield with each word of a text in lower case, and twice how many words it is, until that says no more. Of signs that
// stand without blanks it gives each pair that begins step signs behind the last, and the sign at the end, which is half a word.
func wordsOf(text []byte, step int, yield func(word []byte, halves int) bool) {
	for w := range bytes.FieldsFuncSeq(bytes.ToLower(text), func(r rune) bool { return !unicode.IsLetter(r) }) {
		for len(w) > 0 {
			first, size := utf8.DecodeRune(w)
			if !unspaced(first) {
				n := bytes.IndexFunc(w, unspaced)
				if n < 0 {
					n = len(w)
				}
				if !yield(w[:n], 2) {
					return
				}
				w = w[n:]
				continue
			}
			halves, next := 1, size
			if second, n := utf8.DecodeRune(w[size:]); unspaced(second) {
				halves, next = 2, size+n
			}
			if !yield(w[:next], halves) {
				return
			}
			if step == 1 {
				next = size
			}
			w = w[next:]
		}
	}
}
