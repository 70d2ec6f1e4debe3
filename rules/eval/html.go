package eval

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/postern-mail/postern/rules/pattern"
	"github.com/postern-mail/postern/rules/text"
)

var htmlFunctions = []Function{
	{"html_tag_exists", func(_ *Settings, args []string) (Check, error) {
		if len(args) != 1 {
			return nil, fmt.Errorf("eval: html_tag_exists needs an element, not %q", args)
		}
		return anyHTML(func(h *text.HTML) bool { return htmlHas(h, args[0]) }), nil
	}},
	{"html_tag_balance", func(_ *Settings, args []string) (Check, error) {
		compare, err := comparison("html_tag_balance", args)
		return anyHTML(func(h *text.HTML) bool {
			n, ok := h.Inside(args[0])
			return ok && compare(float64(n))
		}), err
	}},
	{"html_eval", func(_ *Settings, args []string) (Check, error) {
		compare, err := comparison("html_eval", args)
		return anyHTML(func(h *text.HTML) bool {
			v, ok := h.Number(args[0])
			return ok && compare(v)
		}), err
	}},
	{"html_test", func(_ *Settings, args []string) (Check, error) {
		if len(args) != 1 {
			return nil, fmt.Errorf("eval: html_test needs a fact, not %q", args)
		}
		return anyHTML(func(h *text.HTML) bool {
			v, ok := h.Number(args[0])
			return ok && v != 0 || len(h.Texts(args[0])) > 0
		}), nil
	}},
	{"html_range", func(_ *Settings, args []string) (Check, error) {
		low, high, err := htmlBounds("html_range", args)
		return anyHTML(func(h *text.HTML) bool {
			v, ok := h.Number(args[0])
			return ok && v > low && v <= high
		}), err
	}},
	{"html_image_only", func(_ *Settings, args []string) (Check, error) {
		low, high, err := bounds("html_image_only", args)
		return anyHTML(func(h *text.HTML) bool {
			return htmlHas(h, "img") && float64(h.Length) > low && float64(h.Length) <= high
		}), err
	}},
	{"html_image_ratio", func(_ *Settings, args []string) (Check, error) {
		low, high, err := bounds("html_image_ratio", args)
		return anyHTML(func(h *text.HTML) bool {
			r := float64(h.NonSpace) / h.ImageArea
			return h.ImageArea > 0 && r > low && r <= high
		}), err
	}},
	{"html_title_subject_ratio", func(_ *Settings, args []string) (Check, error) {
		ratio, err := number("html_title_subject_ratio", args, 0, 0)
		return func(m *Mail) (int, string) { return yes(titleToSubject(m) > ratio, "") }, err
	}},
	{"html_text_match", func(_ *Settings, args []string) (Check, error) { return htmlTexts("html_text_match", args, true) }},
	{"html_text_not_match", func(_ *Settings, args []string) (Check, error) { return htmlTexts("html_text_not_match", args, false) }},
	plain("html_charset_faraway", func(*Mail) (int, string) { return 0, "" }),
	plain("check_iframe_src", anyHTML(func(h *text.HTML) bool {
		for _, l := range h.Links {
			for _, t := range l.Types {
				if t == "iframe" {
					return true
				}
			}
		}
		return false
	})),
}

// anyHTML makes a check of whether a part of HTML is such.
func anyHTML(is func(h *text.HTML) bool) Check {
	return func(m *Mail) (int, string) {
		for _, h := range m.Text.HTML() {
			if is(h) {
				return 1, ""
			}
		}
		return 0, ""
	}
}

// htmlHas reports whether there is a tag of an element.
func htmlHas(h *text.HTML, tag string) bool {
	_, ok := h.Inside(tag)
	return ok
}

func htmlBounds(name string, args []string) (low, high float64, err error) {
	if len(args) < 2 || len(args) > 3 {
		return 0, 0, fmt.Errorf("eval: %s needs a fact and one or two bounds, not %q", name, args)
	}
	if len(args) == 3 && args[2] == "inf" {
		args = args[:2]
	}
	return bounds(name, args[1:])
}

var comparisonSyntax = regexp.MustCompile(`^\s*(<=|>=|==|!=|<|>)\s*([-+]?)\s*(\d+)\s*$`)

// comparison reads the second argument: a sign of comparison and a number.
func comparison(name string, args []string) (func(float64) bool, error) {
	if len(args) != 2 {
		return nil, fmt.Errorf("eval: %s needs two arguments, not %q", name, args)
	}
	c := comparisonSyntax.FindStringSubmatch(args[1])
	if c == nil {
		return nil, fmt.Errorf("eval: %s: no comparison with a number: %q", name, args[1])
	}
	n, err := strconv.ParseFloat(c[2]+c[3], 64)
	switch c[1] {
	case "<":
		return func(v float64) bool { return v < n }, err
	case "<=":
		return func(v float64) bool { return v <= n }, err
	case ">":
		return func(v float64) bool { return v > n }, err
	case ">=":
		return func(v float64) bool { return v >= n }, err
	case "==":
		return func(v float64) bool { return v == n }, err
	}
	return func(v float64) bool { return v != n }, err
}

// htmlTexts makes a check of whether one of the texts of a kind matches a pattern, or does not.
func htmlTexts(name string, args []string, matches bool) (Check, error) {
	if len(args) != 2 {
		return nil, fmt.Errorf("eval: %s needs a kind of text and a pattern, not %q", name, args)
	}
	p, err := pattern.Compile(args[1], pattern.Options{})
	if err != nil {
		return nil, fmt.Errorf("eval: %s: %w", name, err)
	}
	return func(m *Mail) (int, string) {
		for _, h := range m.Text.HTML() {
			for _, t := range h.Texts(args[0]) {
				if _, _, ok, err := p.Find(t, 0); err == nil && ok == matches {
					return 1, strings.ToValidUTF8(string(t[:min(len(t), 80)]), "?")
				}
			}
		}
		return 0, ""
	}, nil
}

// titleToSubject gives how many times as long as the subject the longest title is; 0 without a subject.
func titleToSubject(m *Mail) float64 {
	subject := 0
	for _, f := range m.structure().root.fields {
		if f.name == "subject" {
			subject += len(f.value) + 1
		}
	}
	if subject == 0 {
		return 0
	}
	longest := 0
	for _, h := range m.Text.HTML() {
		for _, t := range h.Titles {
			longest = max(longest, utf8.RuneCount(t))
		}
	}
	return float64(longest) / float64(subject)
}
