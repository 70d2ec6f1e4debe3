package markup

import (
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

var (
	// What runs script in a style sheet, in browsers that nobody should use any more.
	cssScript   = regexp.MustCompile(`expression\s*\(|(?:javascript|vbscript)\s*:|-moz-binding\s*:\s*url`)
	cssBehavior = regexp.MustCompile(`behaviou?r\s*:\s*url\s*\(\s*["']?\s*([^"')]{0,100})`)
)

// css looks at a style sheet, or at the declarations of one element.
func (w *walker) css(text string, level int) error {
	if err := w.dataURLs([]byte(text), nil); err != nil || w.body {
		return err
	}
	text = foldWidth(strings.ToLower(text))
	for _, clean := range cssReadings(text) {
		if err := w.cssText(clean); err != nil {
			return err
		}
	}
	if level == 0 && strings.Contains(text, "data:") {
		if decoded := unpercent(text); decoded != text {
			return w.css(decoded, level+1)
		}
	}
	return nil
}

// cssReadings gives a style sheet without its comments and escapes: browsers differ in whether a comment begins
// within a string.
func cssReadings(text string) []string {
	all := []string{text}
	if strings.Contains(text, "/*") {
		all = []string{uncomment(text, false), uncomment(text, true)}
	}
	for i, t := range all {
		if strings.Contains(t, `\`) {
			all[i] = unescapeCSS(t)
		}
	}
	return all
}

func (w *walker) cssText(text string) error {
	if strings.Contains(text, "expression") || strings.Contains(text, "script") || strings.Contains(text, "-moz-b") {
		if m := cssScript.FindString(text); m != "" {
			return w.active("its style sheet runs script (%s)", strings.Trim(m, " \t\r\n:("))
		}
	}
	if !strings.Contains(text, "behavi") {
		return nil
	}
	for _, m := range cssBehavior.FindAllStringSubmatch(text, 64) {
		// Those of VML and of the browser itself are in every document that Word writes.
		if !strings.HasPrefix(m[1], "#default#") {
			return w.active("its style sheet attaches the behaviour %s", quote(m[1]))
		}
	}
	return nil
}

// uncomment leaves comments out; with quotes set, only those that do not begin within a string.
func uncomment(text string, quotes bool) string {
	var b strings.Builder
	start, quote := 0, byte(0)
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case quote != 0:
			if c == quote || c == '\n' {
				quote = 0
			}
		case quotes && (c == '"' || c == '\''):
			quote = c
		case c == '/' && i+1 < len(text) && text[i+1] == '*':
			b.WriteString(text[start:i])
			n := strings.Index(text[i+2:], "*/")
			if n < 0 {
				return b.String()
			}
			i += n + 3
			start = i + 1
		}
	}
	b.WriteString(text[start:])
	return b.String()
}

// unescapeCSS decodes escapes (CSS Syntax 4.3.7).
func unescapeCSS(s string) string {
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' || i+1 == len(s) {
			out = append(out, s[i])
			continue
		}
		code, n := rune(0), 0
		for i+1 < len(s) && n < 6 && hexDigit(s[i+1]) >= 0 {
			code = code<<4 | rune(hexDigit(s[i+1]))
			n++
			i++
		}
		if n == 0 {
			continue // the character itself follows
		}
		if i+1 < len(s) && strings.IndexByte(" \t\r\n\f", s[i+1]) >= 0 {
			i++
		}
		out = utf8.AppendRune(out, unicode.ToLower(code))
	}
	return string(out)
}

// foldWidth makes ASCII of the wide letters of Eastern Asia, as Internet Explorer does (U+FF01 to U+FF5E).
func foldWidth(s string) string {
	if !strings.Contains(s, "\xef\xbc") && !strings.Contains(s, "\xef\xbd") {
		return s
	}
	return strings.ToLower(strings.Map(func(r rune) rune {
		if r >= 0xff01 && r <= 0xff5e {
			return r - 0xfee0
		}
		return r
	}, s))
}
