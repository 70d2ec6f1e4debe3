package rules

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// replacement holds what replace_tag and its like set: <A> in a rule of replace_rules stands for a pattern that is set once.
type replacement struct {
	tags, pre, inter, post map[string]string
	rules                  map[string]bool
	start, end             string
}

func newReplacement() replacement {
	return replacement{
		tags: map[string]string{}, pre: map[string]string{}, inter: map[string]string{}, post: map[string]string{},
		rules: map[string]bool{}, start: "<", end: ">",
	}
}

// set takes a line; false where it is none of these. The error is of one that is not taken.
func (p *replacement) set(key, value string) (known bool, err error) {
	table, ok := map[string]map[string]string{
		"replace_tag": p.tags, "replace_pre": p.pre, "replace_inter": p.inter, "replace_post": p.post,
	}[key]
	name, rest := word(value)
	switch {
	case !ok && key != "replace_rules" && key != "replace_start" && key != "replace_end":
		return false, nil
	case value == "" || ok && rest == "":
		return true, errors.New("it does not say what for: the line is not taken")
	case ok:
		table[name] = rest
	case key == "replace_rules":
		for r := range strings.FieldsSeq(value) {
			p.rules[r] = true
		}
	case key == "replace_start":
		p.start = value
	default:
		p.end = value
	}
	return true, nil
}

// maxPasses is how often tags within tags are replaced.
const maxPasses = 6

var brackets = regexp.MustCompile(`<[^<>]+>`)

// apply replaces the tags of one pattern. What stands before and behind each tag, and between two that touch, is put there in the
// same pass.
func (p *replacement) apply(expr string) (string, error) {
	for again, pass := true, 0; again && pass < maxPasses; pass++ {
		again = false
		var pre, post, inter string
		expr, pre = p.modifier(expr, "pre", p.pre)
		expr, post = p.modifier(expr, "post", p.post)
		expr, inter = p.modifier(expr, "inter", p.inter)

		var b strings.Builder
		for i, piece := range pieces(expr) {
			switch {
			case piece == "" && i > 0:
				b.WriteString(inter)
				continue
			default:
				piece = p.around(piece, pre, post)
			}
			if tag, ok := p.tag(piece); ok {
				if with := p.tags[tag]; with != "" && with != "0" {
					piece = strings.ReplaceAll(piece, p.start+tag+p.end, with)
					again = again || brackets.MatchString(with)
				}
			}
			b.WriteString(piece)
			if b.Len() > maxPattern {
				return "", fmt.Errorf("its tags make a pattern of more than %d octets", maxPattern)
			}
		}
		expr = b.String()
	}
	return expr, nil
}

// modifier takes the first "<kind NAME>" out of a pattern and gives what NAME stands for.
func (p *replacement) modifier(expr, kind string, table map[string]string) (rest, text string) {
	open := p.start + kind + " "
	i := strings.Index(expr, open)
	if i < 0 {
		return expr, ""
	}
	from := i + len(open)
	if from >= len(expr) {
		return expr, ""
	}
	n := strings.Index(expr[from+1:], p.end)
	if n < 0 {
		return expr, ""
	}
	return expr[:i] + expr[from+1+n+len(p.end):], table[expr[from:from+1+n]]
}

// pieces cuts a pattern at its tags: text, tag, text, tag …; between two that touch there is an empty text, at the end there is none.
func pieces(expr string) []string {
	var all []string
	from := 0
	for _, at := range brackets.FindAllStringIndex(expr, -1) {
		all = append(all, expr[from:at[0]], expr[at[0]:at[1]])
		from = at[1]
	}
	if from < len(expr) {
		all = append(all, expr[from:])
	}
	return all
}

// find gives the place of the first tag of a piece.
func (p *replacement) find(piece string) (from, to int, ok bool) {
	from = strings.Index(piece, p.start)
	if from < 0 || from+len(p.start) >= len(piece) {
		return 0, 0, false
	}
	behind := from + len(p.start) + 1
	n := strings.Index(piece[behind:], p.end)
	if n < 0 {
		return 0, 0, false
	}
	return from, behind + n + len(p.end), true
}

// tag gives the name of the first tag of a piece.
func (p *replacement) tag(piece string) (string, bool) {
	from, to, ok := p.find(piece)
	if !ok {
		return "", false
	}
	return piece[from+len(p.start) : to-len(p.end)], true
}

// around puts pre before the first tag of a piece and post behind each.
func (p *replacement) around(piece, pre, post string) string {
	if pre != "" {
		if from, _, ok := p.find(piece); ok {
			piece = piece[:from] + pre + piece[from:]
		}
	}
	if post == "" {
		return piece
	}
	var b strings.Builder
	for {
		_, to, ok := p.find(piece)
		if !ok {
			return b.String() + piece
		}
		b.WriteString(piece[:to] + post)
		piece = piece[to:]
	}
}
