package eval

import (
	"bytes"
	"fmt"
	"regexp"
	"strings"
	"unicode"

	"github.com/postern-mail/postern/mail"
	"github.com/postern-mail/postern/rules/text"
)

var bodyFunctions = []Function{
	{"check_body_length", func(_ *Settings, args []string) (Check, error) {
		most, err := whole("check_body_length", args, 0)
		return func(m *Mail) (int, string) { return yes(m.structure().bodyOctets <= most, "") }, err
	}},
	{"check_blank_line_ratio", compileBlankLines},
	{"tvd_vertical_words", compileVerticalWords},
	{"check_stock_info", compileStockInfo},
	{"multipart_alternative_difference", compileAlternativeDifference},
	{"multipart_alternative_difference_count", func(_ *Settings, args []string) (Check, error) {
		const name = "multipart_alternative_difference_count"
		ratio, err := number(name, args, 0, 0)
		if err != nil {
			return nil, err
		}
		least, err := number(name, args, 1, 0)
		return func(m *Mail) (int, string) {
			a := m.alternatives()
			return yes(float64(a.html) > least && float64(a.text)/float64(a.html) > ratio, "")
		}, err
	}},
	signature("plaintext_body_length", func(body, _ int) float64 { return float64(body) }),
	signature("plaintext_sig_length", func(_, sig int) float64 { return float64(sig) }),
	signature("plaintext_body_sig_ratio", func(body, sig int) float64 {
		if sig == 0 {
			return 1e6
		}
		return float64(body) / float64(sig)
	}),
}

// alternatives says how far the texts of a multipart/alternative are from one another.
type alternatives struct {
	html, text int     // different words of the last alternative that has HTML
	difference float64 // per cent of the HTML's words that the text lacks, of the alternative where it is most
}

// maxWords bounds the different words of one text.
const maxWords = 1 << 17

func (m *Mail) alternatives() alternatives { return m.pairs.get(m.compareAlternatives) }

func (m *Mail) compareAlternatives() (a alternatives) {
	root := m.Text.Content().Root()
	if root.Type == "multipart/alternative" && len(root.Children) == 2 && root.Children[0].IsLeaf() && root.Children[1].IsLeaf() &&
		root.Children[0].Type == "text/html" && root.Children[1].Type == "text/calendar" {
		return a // an invitation to a meeting
	}
	all, within := pairs(root)
	for _, t := range m.Text.Parts() {
		for o := within[t.Part]; o != nil && strings.HasPrefix(t.Type, "text/"); o = o.around {
			countWords(t, o.html, o.plain)
		}
	}
	for _, o := range all {
		n := len(o.html)
		if n == 0 {
			continue
		}
		a.html, a.text = n, len(o.plain)
		for w, n := range o.plain {
			if k, ok := o.html[w]; ok && k <= n {
				delete(o.html, w)
			}
		}
		a.difference = max(a.difference, float64(len(o.html))/float64(n)*100)
	}
	return a
}

// alternative is a multipart/alternative, with the words of all texts within.
type alternative struct {
	around      *alternative // that it is a part of
	depth       int
	html, plain map[string]int
}

// maxAlternatives is how many multipart/alternative within one another are compared: a text is read once for each.
const maxAlternatives = 8

// pairs finds them, the outer before the inner, and for each part the innermost it is in.
func pairs(root *mail.Part) (all []*alternative, within map[*mail.Part]*alternative) {
	within = map[*mail.Part]*alternative{}
	root.Walk(func(p *mail.Part) bool {
		o := within[p.Parent]
		if p.Type == "multipart/alternative" && !p.IsLeaf() && (o == nil || o.depth < maxAlternatives) {
			inner := &alternative{around: o, depth: 1, html: map[string]int{}, plain: map[string]int{}}
			if o != nil {
				inner.depth += o.depth
			}
			o = inner
			all = append(all, o)
		}
		if o != nil {
			within[p] = o
		}
		return true
	})
	return all, within
}

// countWords counts the words of a part's text. HTML without a word that has an image counts as one of its own.
func countWords(t *text.TextPart, html, plain map[string]int) {
	rendered, ok := t.Rendered()
	if !ok {
		return
	}
	h := t.HTML()
	words := plain
	if h != nil {
		words = html
	}
	for w := range bytes.FieldsFuncSeq(rendered, unicode.IsSpace) {
		if n, ok := words[string(w)]; ok || len(words) < maxWords && hasWord(w) {
			words[string(w)] = n + 1
		}
	}
	if h != nil && len(html) == 0 && htmlHas(h, "img") {
		html["\n"] = 1
	}
}

// hasWord reports whether there is a letter, a digit or an underscore.
func hasWord(b []byte) bool {
	return bytes.ContainsFunc(b, func(r rune) bool {
		return r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r) || unicode.IsMark(r)
	})
}

func compileAlternativeDifference(_ *Settings, args []string) (Check, error) {
	const name = "multipart_alternative_difference"
	low, err := number(name, args, 0, 0)
	if err != nil {
		return nil, err
	}
	if len(args) > 1 && args[1] == "undef" {
		args = args[:1]
	}
	high, err := number(name, args, 1, noBound)
	return func(m *Mail) (int, string) {
		d := m.alternatives().difference
		return yes((low == 0 || d > low) && d <= high, "")
	}, err
}

func compileBlankLines(_ *Settings, args []string) (Check, error) {
	const name = "check_blank_line_ratio"
	low, high, err := bounds(name, args)
	if err != nil {
		return nil, err
	}
	least, err := number(name, args, 2, 1)
	return func(m *Mail) (int, string) {
		lines, blanks := 0, 0
		for _, chunk := range m.Text.RawBody() {
			for line := range bytes.Lines(chunk) {
				lines++
				if blank(line) {
					blanks++
				}
			}
		}
		ratio := -1.0
		if float64(lines) >= max(least, 1) {
			ratio = 100 * float64(blanks) / float64(lines)
		}
		return yes((low == 0 || ratio > low) && ratio <= high, fmt.Sprintf("%.0f %% of %d lines", ratio, lines))
	}, err
}

// compileVerticalWords makes the check of how much of a paragraph is spaces: of that which has most, in per cent of the rest.
func compileVerticalWords(_ *Settings, args []string) (Check, error) {
	low, high, err := bounds("tvd_vertical_words", args)
	if high >= 100 {
		high = 101
	}
	return func(m *Mail) (int, string) {
		most := -1
		for _, p := range m.Text.Body() {
			if len(p) <= 5 {
				continue
			}
			spaces := bytes.Count(p, []byte(" "))
			share := 100
			if rest := len(p) - spaces; rest > 0 && spaces <= rest {
				share = 100 * spaces / rest
			}
			most = max(most, share)
		}
		return yes(float64(most) >= low && float64(most) < high, "")
	}, err
}

var (
	labelLine  = regexp.MustCompile(`(?m)^\s*([^:\s][^:\n]{2,29})\s*:\s*\S`)
	stockLabel = regexp.MustCompile(`(?:^(trad(?:e|ing)date)|(company(?:name)?|s\w?(?:t\w?o\w?c\w?k|y\w?m(?:\w?b\w?o\w?l)?)|t(?:arget|icker)|` +
		`(?:opening|current)p(?:rice)?|p(?:rojected|osition)|expectations|weeks?high|marketperformance|` +
		`(?:year|week|month|day|price)(?:target|estimates?)|sector|r(?:ecommendation|ating)))$`)
)

// compileStockInfo makes the check of how many different labels of share tips stand before a colon.
func compileStockInfo(_ *Settings, args []string) (Check, error) {
	least, err := whole("check_stock_info", args, 0)
	return func(m *Mail) (int, string) {
		if least == 0 {
			return 1, ""
		}
		found := map[string]bool{}
		if p := firstPlain(m); p != nil {
			rendered, _ := p.Rendered()
			for _, l := range labelLine.FindAllSubmatch(rendered, maxWords) {
				letters := bytes.Map(func(r rune) rune {
					if r = unicode.ToLower(r); r < 'a' || r > 'z' {
						return -1
					}
					return r
				}, l[1])
				if s := stockLabel.FindSubmatch(letters); s != nil {
					found[string(s[1])+string(s[2])] = true
				}
			}
		}
		return yes(len(found) >= least, "")
	}, err
}

// firstPlain gives the first part of plain text, nil for none.
func firstPlain(m *Mail) *text.TextPart {
	for _, p := range m.Text.Parts() {
		if p.Type == "text/plain" {
			return p
		}
	}
	return nil
}

// signature makes a function that measures the first plain text and the signature behind its last "-- " line.
func signature(name string, measure func(body, sig int) float64) Function {
	return Function{name, func(_ *Settings, args []string) (Check, error) {
		low, high, err := bounds(name, args)
		return func(m *Mail) (int, string) {
			p := firstPlain(m)
			if p == nil {
				return 0, ""
			}
			v := measure(cutSignature(p.Decoded()))
			return yes(v >= low && v <= high, "")
		}, err
	}}
}

func cutSignature(b []byte) (body, sig int) {
	body = len(b)
	at := 0
	for line := range bytes.Lines(b) {
		mark := bytes.TrimSuffix(line, []byte("\n"))
		end := at + len(mark)
		if (string(mark) == "--" || string(mark) == "-- ") && len(b)-end > 4 {
			body, sig = at, len(b)-end
		}
		at += len(line)
	}
	return body, sig
}
