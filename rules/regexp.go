package rules

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/postern-mail/postern/rules/pattern"
)

// written is a pattern as it stands in a rule, its delimiters and modifiers taken off.
type written struct {
	expr     string
	options  pattern.Options
	captures bool     // it has named groups, whose texts other patterns may use
	uses     []string // the names of captures that it uses
	names    []string // of its groups, by their number, where it was compiled
}

// readPattern takes "/expr/mods", "m{expr}mods" and the like apart.
func readPattern(s string) (written, error) {
	var w written
	end := byte('/')
	switch {
	case strings.HasPrefix(s, "/"):
		s = s[1:]
	case strings.HasPrefix(s, "m") && len(s) > 1 || strings.HasPrefix(s, "qr") && len(s) > 2:
		s = strings.TrimPrefix(strings.TrimPrefix(s, "qr"), "m")
		end = s[0]
		s = s[1:]
		switch {
		case end == '\\' || isWord(end) || isSpace(end):
			return w, errors.New("a pattern stands between delimiters, such as /…/ or m{…}")
		case strings.IndexByte("{(<[", end) >= 0:
			end = "})>]"[strings.IndexByte("{(<[", end)]
		}
	default:
		return w, errors.New("a pattern stands between delimiters, such as /…/ or m{…}")
	}
	i := strings.LastIndexByte(s, end)
	if i < 0 {
		return w, fmt.Errorf("the pattern has no %c at its end", end)
	}
	w.expr = s[:i]
	if len(w.expr) > maxPattern {
		return w, fmt.Errorf("a pattern of more than %d octets", maxPattern)
	}
	plain := ""
	for _, m := range s[i+1:] {
		switch m {
		case 'i':
			w.options.IgnoreCase = true
		case 's':
			w.options.DotAll = true
		case 'm':
			w.options.MultiLine = true
		case 'x':
			w.options.Extended = true
		case 'n':
			plain = "(?n)" // parentheses capture nothing
		case 'a', 'p': // the meaning that every pattern has here
		default:
			return w, fmt.Errorf("what stands behind the last %c is not of the modifiers i, s, m, x and n: %q", end, cut(s[i+1:], 20))
		}
	}
	if end != '}' && end != ')' && end != ']' && bare(w.expr, end) {
		return w, fmt.Errorf("a %c within the pattern needs a backslash", end)
	}
	if c := unknownEscape(w.expr); c != 0 {
		return w, fmt.Errorf(`\%c stands for nothing, and SpamAssassin takes no pattern with it`, c)
	}
	w.expr = plain + w.expr
	w.captures = capture.MatchString(w.expr)
	w.with(func(name string) string {
		w.uses = append(w.uses, name)
		return ""
	})
	return w, nil
}

var (
	capture = regexp.MustCompile(`\(\?P?[<'][A-Z]`)
	used    = regexp.MustCompile(`%\{([A-Z][A-Z0-9]*(?:_[A-Z0-9]+)*(?:\([^)}]*\))?)\}`)
)

// unknownEscape gives the first letter behind a backslash that means nothing to Perl anywhere in a pattern, 0 for none.
func unknownEscape(expr string) byte {
	for i := 0; i+1 < len(expr); i++ {
		if expr[i] != '\\' {
			continue
		}
		if i++; strings.IndexByte("ijlmquyCEFIJLMOQTUY", expr[i]) >= 0 {
			return expr[i]
		}
	}
	return 0
}

// bare reports whether an octet stands in a pattern without a backslash before it.
func bare(expr string, c byte) bool {
	for i := 0; i < len(expr); i++ {
		switch expr[i] {
		case '\\':
			i++
		case c:
			return true
		}
	}
	return false
}

// with gives the pattern in which text stands for each capture that is used. One with a backslash before it is none.
func (w *written) with(text func(name string) string) string {
	var b strings.Builder
	from := 0
	for _, m := range used.FindAllStringSubmatchIndex(w.expr, -1) {
		if m[0] > 0 && w.expr[m[0]-1] == '\\' {
			continue
		}
		b.WriteString(w.expr[from:m[0]])
		b.WriteString(text(w.expr[m[2]:m[3]]))
		from = m[1]
	}
	return b.String() + w.expr[from:]
}

// plain gives the pattern in which captures stand for the very signs of which they are written: what SpamAssassin asks whether it is one.
func (w *written) plain() string {
	if len(w.uses) == 0 {
		return w.expr
	}
	return w.with(func(name string) string { return `%\{` + name + `\}` })
}

// twisted is what makes a pattern match less where a piece of it matches more: looks, what there is no way back into, and conditions. And
// a capture that is repeated takes long to look for where it may be anything.
var twisted = regexp.MustCompile(`\(\?(?:[!=>(]|<[!=])|\(\*|[*+?}]\+|%\{[^}]*\}[*+{]`)

// widest gives a pattern that matches wherever this one does, whatever the captures hold; of some that is all that can be said: "".
func (w *written) widest() string {
	if twisted.MatchString(w.expr) || w.usesInClass() {
		return ""
	}
	return w.with(func(string) string { return `(?:[\x00-\xff]*?)` })
}

// usesInClass reports whether a capture may stand within [ and ].
func (w *written) usesInClass() bool {
	const mark = "\x00\x00"
	expr := w.with(func(string) string { return mark })
	class := false
	for i := 0; i < len(expr); i++ {
		switch {
		case expr[i] == '\\':
			i++
		case !class && expr[i] == '[':
			class = true
			if i+1 < len(expr) && expr[i+1] == '^' {
				i++
			}
			if i+1 < len(expr) && expr[i+1] == ']' {
				i++
			}
		case class && strings.HasPrefix(expr[i:], "[:"):
			i += 1 + max(strings.Index(expr[i+1:], ":]"), 0) + 1
		case class && expr[i] == ']':
			class = false
		case class && strings.HasPrefix(expr[i:], mark):
			return true
		}
	}
	return false
}

// quoted makes a pattern of texts that matches each of them.
func quoted(texts []string) string {
	var b strings.Builder
	b.WriteString("(?:")
	for i, t := range texts {
		if i > 0 {
			b.WriteByte('|')
		}
		for _, c := range []byte(t) {
			if isWord(c) {
				b.WriteByte(c)
			} else {
				fmt.Fprintf(&b, `\x%02x`, c)
			}
		}
	}
	b.WriteByte(')')
	return b.String()
}
