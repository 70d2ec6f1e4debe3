package markup

import (
	"regexp"
	"strconv"
	"strings"
)

var (
	cssComment = regexp.MustCompile(`(?s)/\*.*?\*/`)
	cssEscape  = regexp.MustCompile(`\\([0-9a-fA-F]{1,6})[ \t\r\n\f]?|\\([^\r\n0-9a-fA-F])`)
	// What runs script in a style sheet, in browsers that nobody should use any more.
	cssScript   = regexp.MustCompile(`(?i)expression\s*\(|(?:javascript|vbscript)\s*:|-moz-binding\s*:\s*url`)
	cssBehavior = regexp.MustCompile(`(?i)behaviou?r\s*:\s*url\s*\(\s*["']?\s*([^"')]{0,100})`)
)

// css looks at a style sheet, or at the declarations of one element.
func (w *walker) css(text string, level int) error {
	if err := w.dataURLs([]byte(text), nil); err != nil || w.body {
		return err
	}
	clean := text
	if strings.Contains(clean, "/*") {
		clean = cssComment.ReplaceAllString(clean, "")
	}
	if strings.Contains(clean, `\`) {
		clean = cssEscape.ReplaceAllStringFunc(clean, unescapeCSS)
	}
	if m := cssScript.FindString(clean); m != "" {
		return w.active("its style sheet runs script (%s)", strings.Trim(m, " \t\r\n:("))
	}
	for _, m := range cssBehavior.FindAllStringSubmatch(clean, 64) {
		// Those of VML and of the browser itself are in every document that Word writes.
		if !strings.HasPrefix(strings.ToLower(m[1]), "#default#") {
			return w.active("its style sheet attaches the behaviour %s", quote(m[1]))
		}
	}
	if level == 0 && strings.Contains(strings.ToLower(clean), "data:") {
		if decoded := unpercent(clean); decoded != clean {
			return w.css(decoded, level+1)
		}
	}
	return nil
}

// unescapeCSS decodes one escape (CSS Syntax 4.3.7).
func unescapeCSS(s string) string {
	code, err := strconv.ParseUint(strings.TrimRight(s[1:], " \t\r\n\f"), 16, 32)
	if err != nil {
		return s[1:]
	}
	return string(rune(code))
}
