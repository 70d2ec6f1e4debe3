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
	for _, m := range used.FindAllStringSubmatch(w.expr, -1) {
		w.uses = append(w.uses, m[2])
	}
	return w, nil
}

var (
	capture = regexp.MustCompile(`\(\?P?[<'][A-Z]`)
	used    = regexp.MustCompile(`(^|[^\\])%\{([A-Z][A-Z0-9]*(?:_[A-Z0-9]+)*(?:\([^)}]*\))?)\}`)
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

// with gives the pattern in which text stands for each capture that is used.
func (w *written) with(text func(name string) string) string {
	return used.ReplaceAllStringFunc(w.expr, func(s string) string {
		i := strings.Index(s, "%{")
		return s[:i] + text(s[i+2:len(s)-1])
	})
}

// anything stands for a capture that is not known yet.
func anything(string) string { return `[\x00-\xff]*?` }

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
