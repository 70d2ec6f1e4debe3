package rules

import (
	"bytes"
	"slices"
	"strconv"
	"strings"

	"github.com/postern-mail/postern/mail"
	"github.com/postern-mail/postern/rules/text"
)

// mimeTest is a test of a field of each part.
type mimeTest struct {
	field       mimeField
	negated     bool
	concat      bool // the fields of all parts are one text
	first, last int  // parts that are looked at, from 1
	patternTest
}

// mimeField is what is read of each part.
type mimeField struct {
	name  string // in lower case; "ALL" for the whole header
	raw   bool
	unset string // stands for the field of a part that has none
}

// mimeGroup is the rules about the same field of parts.
type mimeGroup struct {
	field mimeField
	group         // plain ones
	odd   []*Rule // those that look at some parts, at all at once, or for what does not match
}

// maxMIMEParts is how many parts are looked at.
const maxMIMEParts = 1000

// maxMIMEHits is how many hits count of a rule that does not say how many.
const maxMIMEHits = 1000

func (l *loader) compileMIME(r *Rule) (*mimeTest, error) {
	c, err := readHeader(r.Text, mimeForm)
	if err != nil {
		return nil, err
	}
	t := &mimeTest{negated: c.negated, first: 1, last: maxMIMEParts}
	t.field.name, t.field.raw = strings.CutSuffix(c.field, ":raw")
	t.field.unset = c.unset
	if t.field.name != "ALL" {
		t.field.name = strings.ToLower(t.field.name)
	}
	if t.patternTest, err = l.compilePattern(r, c.pattern); err != nil {
		return nil, err
	}
	if t.negated && c.pattern.captures {
		l.tell(r.At, Inexact, r.Name, "what its groups capture is not kept: a field that does not match has nothing in them")
	}
	if t.most == maxHits {
		t.most = maxMIMEHits
	}
	t.concat = r.Flag("concat")
	for _, f := range r.Flags {
		if span, ok := strings.CutPrefix(f, "range="); ok {
			t.span(span)
		}
	}
	return t, nil
}

// span reads "2", "2-", "-3" and "2-3".
func (t *mimeTest) span(s string) {
	from, to, isSpan := strings.Cut(s, "-")
	if n, err := strconv.Atoi(from); err == nil {
		t.first = n
		if !isSpan {
			t.last = n
		}
	}
	if n, err := strconv.Atoi(to); err == nil {
		t.last = min(n, maxMIMEParts)
	}
}

// groupMIME puts rules about the same field together.
func (s *Set) groupMIME(r *Rule) {
	i := 0
	for i < len(s.mime) && s.mime[i].field != r.test.mime.field {
		i++
	}
	if i == len(s.mime) {
		s.mime = append(s.mime, mimeGroup{field: r.test.mime.field})
	}
	g := &s.mime[i]
	if t := r.test.mime; t.negated || t.concat || t.first > 1 || t.last < maxMIMEParts {
		g.odd = append(g.odd, r)
		return
	}
	g.rules = append(g.rules, r)
}

// runMIME looks at the fields of all parts. Where a rule counts, it counts in the first part in which it hits.
func (st *run) runMIME() {
	if len(st.s.mime) == 0 {
		return
	}
	parts := st.parts()
	for i := range st.s.mime {
		g := &st.s.mime[i]
		values := g.field.ofAll(parts)
		st.runGroup(&g.group, values)
		for _, r := range g.odd {
			st.look(r, r.test.mime.texts(values), 0)
			if r.test.mime.negated {
				st.negate([]*Rule{r})
			}
		}
	}
}

// parts gives those that are looked at.
func (st *run) parts() (all []*mail.Part) {
	st.m.Text.Content().Root().Walk(func(p *mail.Part) bool {
		all = append(all, p)
		return len(all) < maxMIMEParts
	})
	return all
}

// texts gives what the rule looks at of the fields of all parts.
func (t *mimeTest) texts(values [][]byte) [][]byte {
	first := min(max(t.first, 1)-1, len(values))
	values = values[first:max(first, min(t.last, len(values)))]
	if !t.concat {
		return values
	}
	var all []byte
	for _, v := range values {
		all = append(all, v...)
		if !bytes.HasSuffix(v, []byte{'\n'}) {
			all = append(all, '\n')
		}
	}
	return [][]byte{all}
}

// ofAll gives the field of each part.
func (f *mimeField) ofAll(parts []*mail.Part) [][]byte {
	values := make([][]byte, len(parts))
	for i, p := range parts {
		values[i] = f.of(p, i == 0)
	}
	return values
}

// of gives the field of a part: unfolded, decoded and with a line end, or as it is. The first part is the message.
func (f *mimeField) of(p *mail.Part, message bool) []byte {
	hidden := func(field mail.Field) bool { return message && text.Forgeable(field.Name) }
	if f.name == "ALL" {
		var all []byte
		for _, field := range p.Header.Fields() {
			if field.Name != "" && !hidden(field) {
				all = append(append(append(all, field.Name...), ": "...), f.read(field)...)
			}
		}
		return all
	}
	// Of several fields of the name the last counts.
	for _, field := range slices.Backward(p.Header.Fields()) {
		if field.Is(f.name) && !hidden(field) {
			return f.read(field)
		}
	}
	if f.raw {
		return nil
	}
	return []byte(f.unset)
}

func (f *mimeField) read(field mail.Field) []byte {
	_, body, _ := strings.Cut(field.Raw, ":")
	body = strings.TrimLeft(body, space)
	if f.raw {
		return []byte(strings.ReplaceAll(body, "\r\n", "\n"))
	}
	body = mail.DecodeWords(unfold(body))
	return append(append(make([]byte, 0, len(body)+1), body...), '\n')
}

// unfold puts one blank in the place of each fold, and takes blanks off the end.
func unfold(s string) string {
	if strings.IndexByte(s, '\n') < 0 {
		return strings.TrimRight(s, space)
	}
	var b strings.Builder
	b.Grow(len(s))
	for line := range strings.Lines(s) {
		line = strings.TrimRight(line, "\r\n")
		if b.Len() > 0 {
			b.WriteByte(' ')
			line = strings.TrimLeft(line, " \t")
		}
		b.WriteString(line)
	}
	return strings.TrimRight(b.String(), space)
}
