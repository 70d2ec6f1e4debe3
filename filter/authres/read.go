package authres

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/postern-mail/postern/mail"
)

// Whose field is it? RFC 8601 5 has us remove the Authentication-Results fields that claim to be ours,
// since everything behind us believes them. The forger chooses the spelling: comments and folds before
// the id, quotes around it or around a piece of it, a version after it, capitals, U-labels; and he may
// know that the reader behind us takes no nested comments, or splits at the first semicolon.
//
// So all that stands before the first semicolon that counts is looked at in three ways: the first word,
// as the grammar has it; everything run together without comments, blanks and quotes; and any mention of
// our id, be it in a comment. Each of them makes the field ours. One taken away too many costs a result
// of another server, which nobody behind us believes; one left costs everything.

// Untrusted gives a test for the fields of a message from outside: whether one has to go, as readers may find results of
// ours in it. id is our authserv-id; "" takes nothing off. keep lists the other names whose Authentication-Results a
// message may bring along; nil: every other.
func Untrusted(id string, keep []string) func(f mail.Field) bool {
	claims, ours := claims(id, keep), bearing(id)
	return func(f mail.Field) bool {
		if f.MayBegin('a') {
			if name, body := f.Lenient(); isName(name) && claims(body) {
				return true
			}
		}
		return hides(f, ours)
	}
}

// isName reports whether a name that Field.Lenient gave is the one of our field, also to those who compare without
// regard to case by Unicode's tables: to them an "s" may be long, and an "i" have a dot too much or none.
func isName(name string) bool {
	return name == lowerName || foldsToASCII.Replace(name) == lowerName
}

var lowerName = mail.LowerASCII(Name)

var foldsToASCII = strings.NewReplacer("\u017f", "s", "\u0130", "i", "\u0131", "i")

// hides reports whether readers that do not unfold find in a field one with results of ours.
func hides(f mail.Field, ours func(body string) bool) bool {
	_, rest, _ := strings.Cut(f.Raw, "\n")
	for line := range strings.Lines(rest) {
		f := mail.Field{Raw: line}
		if !f.MayBegin('a') {
			continue
		}
		if name, body := f.Lenient(); isName(name) && ours(body) {
			return true
		}
	}
	return false
}

// claims gives a test for the bodies of Authentication-Results fields from outside: whether one has to go, as it bears
// id or a version that we don't know or, where keep is a list, none of the names in it. Without an id none goes.
func claims(id string, keep []string) func(body string) bool {
	if normalID(id) == "" {
		return func(string) bool { return false }
	}
	bears := bearing(id)
	if keep == nil {
		return func(body string) bool {
			head, _ := readID(body)
			return head.unknownVersion() || bears(body)
		}
	}
	known := map[string]bool{}
	for _, k := range keep {
		known[normalID(k)] = true
	}
	delete(known, "")
	return func(body string) bool {
		head, _ := readID(body)
		// Read in either way it is one name, and that is in the list.
		name := normalID(head.word)
		return !known[name] || normalID(head.joined) != name || head.unknownVersion() || bears(body)
	}
}

// bearing gives a test for the bodies of Authentication-Results fields: whether one bears id.
func bearing(id string) func(body string) bool {
	want := normalID(id)
	bears := func(body string) bool {
		for {
			head, rest := readID(body)
			if normalID(head.word) == want || normalID(head.joined) == want || mentions(head.region, want) {
				return true
			}
			// Readers that skip what is empty find the id further on.
			if head.joined != "" || rest == "" {
				return false
			}
			body = rest
		}
	}
	return func(body string) bool {
		if want == "" {
			return false
		}
		readings := []string{body}
		// RFC 2047 5 allows no encoded word here; readers that decode every field see our name in one. Some put a blank
		// behind it.
		if strings.Contains(body, "=?") {
			readings = append(readings, mail.DecodeWords(body), mail.DecodeWords(strings.ReplaceAll(body, "?=", "?= ")))
		}
		return slices.ContainsFunc(readings, func(s string) bool {
			return bears(s) || bears(strings.Map(shown, s)) || bears(strings.Map(blanked, s))
		})
	}
}

// blanked makes blanks of what is not ASCII, where a reader may take a name to end.
func blanked(r rune) rune {
	if r >= utf8.RuneSelf {
		return ' '
	}
	return r
}

// shown drops what readers that clean up what they read drop beyond ASCII, makes one blank of every other, and of what
// is no UTF-8, and the full stop of its compatibility forms.
func shown(r rune) rune {
	switch {
	case r < utf8.RuneSelf:
		return r
	case r == utf8.RuneError, unicode.IsSpace(r), unicode.Is(unicode.Z, r):
		return ' '
	case !unicode.IsGraphic(r):
		return -1
	case r == '\u2024', r == '\ufe52':
		return '.'
	}
	return r
}

// normalID makes ids comparable: what a domain name may hold from the start of s, as A-labels, in lower
// case, without a final dot.
func normalID(s string) string {
	s = strings.Trim(s, " \t\r\n\"'")
	for i := 0; i < len(s); i++ {
		if !inName(s[i]) && s[i] != '.' {
			s = s[:i]
			break
		}
	}
	s = strings.Trim(s, ".")
	if s == "" || len(s) > maxValue {
		return ""
	}
	if d, err := mail.Domain(s); err == nil && d != "" {
		return d
	}
	return mail.LowerASCII(s)
}

// inName reports whether an octet may stand in a label: of U-labels all octets are beyond ASCII.
func inName(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '_' || c >= 0x80
}

// mentions reports whether a name in region is id, which is a normal one, and not only a piece of the name.
func mentions(region, id string) bool {
	dots := strings.Contains(id, ".")
	for i := 0; i < len(region); {
		start, ascii := i, true
		for ; i < len(region) && (inName(region[i]) || region[i] == '.'); i++ {
			ascii = ascii && region[i] < 0x80
		}
		switch name := strings.Trim(region[start:i], "."); {
		case name == "":
			i++
		case ascii:
			if mail.LowerASCII(name) == id {
				return true
			}
		case dots && !strings.ContainsAny(name, ".\u3002\uff0e\uff61"): // RFC 5895 2.3: what stands for a dot
		case normalID(name) == id:
			return true
		}
	}
	return false
}

// idReading is what stands before the first semicolon of an Authentication-Results field.
type idReading struct {
	word    string // the first word or quoted string, without its quotes
	joined  string // all words and quoted strings in one, but for a version at the end
	version string // the version at the end; "" where there is none
	region  string // everything, as it came; the whole body where no semicolon counts
}

// unknownVersion reports whether the field is of a version of the format other than 1 (RFC 8601 2.6). RFC 8601 5: such a
// field must be removed where it comes from outside.
func (r idReading) unknownVersion() bool {
	return r.version != "" && strings.TrimLeft(r.version, "0") != "1"
}

// idReader collects an idReading octet by octet.
type idReader struct {
	word, joined strings.Builder
	last         int  // where the last word begins in joined
	gap          bool // a blank, a comment or a quote has come since the last octet
}

func (r *idReader) octet(c byte) {
	if r.gap {
		r.last = r.joined.Len()
		r.gap = false
	}
	if c <= ' ' || c == 0x7f {
		return // a blank in quotes, or what nobody sees
	}
	if r.last == 0 {
		r.word.WriteByte(c)
	}
	r.joined.WriteByte(c)
}

func isBlank(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\n' }

// readID reads the body up to the first semicolon that is in no comment (RFC 5322 3.2.2, nested) and in
// no quoted string (RFC 5322 3.2.4), and gives what comes behind that.
func readID(body string) (head idReading, rest string) {
	var r idReader
	depth, quoted := 0, false
	i := 0
	for ; i < len(body); i++ {
		c := body[i]
		escaped := c == '\\' && i+1 < len(body)
		if escaped {
			i++
			c = body[i]
		}
		switch {
		case depth > 0:
			if c == '(' && !escaped {
				depth++
			} else if c == ')' && !escaped {
				depth--
			}
		case quoted && c == '"' && !escaped:
			quoted, r.gap = false, true
		case quoted || escaped:
			r.octet(c)
		case c == '(':
			depth, r.gap = 1, true
		case c == '"':
			quoted, r.gap = true, true
		case isBlank(c):
			r.gap = true
		case c == ';':
			return r.reading(body[:i]), body[i+1:]
		default:
			r.octet(c)
		}
	}
	return r.reading(body), ""
}

func (r *idReader) reading(region string) idReading {
	joined, version := r.joined.String(), ""
	// RFC 8601 2.2: authres-version is 1*DIGIT after the id.
	if r.last > 0 && strings.Trim(joined[r.last:], "0123456789") == "" {
		joined, version = joined[:r.last], joined[r.last:]
	}
	return idReading{word: r.word.String(), joined: joined, version: version, region: region}
}
