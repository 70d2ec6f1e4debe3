package office

import (
	"strconv"
	"strings"

	"github.com/postern-mail/postern/internal/archive"
)

// Limits of the fields of one text.
const (
	maxFieldText = 8 << 10
	maxFields    = 256
)

// fields follows the fields of a text of Word (ECMA-376 Part 1, 17.16; MS-DOC 2.8.25): an instruction, and after a
// separator what it last gave. Fields lie within one another, so that one may write the instruction of the other.
type fields struct {
	w    *walker
	open []*field
}

type field struct {
	code   strings.Builder // the instruction
	marked strings.Builder // the part of it that is marked as instruction, and not as text
	result strings.Builder
	inside bool // in the result
}

// begin opens a field.
func (f *fields) begin() {
	if len(f.open) < maxFields {
		f.open = append(f.open, &field{})
		return
	}
	f.w.say(archive.Unreadable, "fields", "there are more than %d fields within one another", maxFields)
}

// separate begins the result.
func (f *fields) separate() {
	if n := len(f.open); n > 0 {
		f.open[n-1].inside = true
		f.w.judge(f.open[n-1])
	}
}

// judge takes the instruction in both readings: programs differ in whether text counts that stands between.
func (w *walker) judge(f *field) {
	w.judgeField(f.code.String())
	if f.marked.Len() < f.code.Len() {
		w.judgeField(f.marked.String())
	}
}

// end closes a field; what it amounts to goes to the one around it.
func (f *fields) end() {
	n := len(f.open)
	if n == 0 {
		return
	}
	top := f.open[n-1]
	code := top.code.String()
	if !top.inside {
		f.w.judge(top)
	}
	result := top.result.String()
	if q, ok := quoted(code); ok {
		result = q
	} else if result == "" {
		result = code
	}
	f.open = f.open[:n-1]
	f.text(result, true)
}

// text adds to the innermost field: to its instruction, as which it may be marked, or its result.
func (f *fields) text(s string, marked bool) {
	n := len(f.open)
	if n == 0 {
		return
	}
	top := f.open[n-1]
	if top.inside {
		add(&top.result, s)
		return
	}
	add(&top.code, s)
	if marked {
		add(&top.marked, s)
	}
}

// add adds text as far as there is room. Space at the start needs none.
func add(to *strings.Builder, s string) {
	if to.Len() == 0 {
		s = strings.TrimLeft(s, " \t\r\n\v\u00a0")
	}
	if left := maxFieldText - to.Len(); left < len(s) {
		s = s[:max(left, 0)]
	}
	to.WriteString(s)
}

// blank reports whether nothing was added yet to the innermost field where text goes now.
func (f *fields) blank() bool {
	top := f.open[len(f.open)-1]
	if top.inside {
		return top.result.Len() == 0
	}
	return top.code.Len() == 0
}

// close ends the text with all fields that are still open.
func (f *fields) close() {
	for len(f.open) > 0 {
		f.end()
	}
}

// quoted gives what the field QUOTE makes of the numbers of characters.
func quoted(code string) (string, bool) {
	words := strings.Fields(code)
	if len(words) < 2 || !strings.EqualFold(words[0], "QUOTE") {
		return "", false
	}
	var b strings.Builder
	for _, word := range words[1:] {
		n, err := strconv.ParseUint(word, 0, 16)
		if err != nil {
			b.WriteString(strings.Trim(word, `"`))
			b.WriteByte(' ')
			continue
		}
		b.WriteRune(rune(n))
	}
	return b.String(), true
}

// judgeField says what an instruction does by itself.
func (w *walker) judgeField(code string) {
	code = strings.TrimFunc(code, func(r rune) bool { return r <= ' ' || r == '"' || r == 0xa0 })
	word, rest, _ := strings.Cut(strings.Map(space, code), " ")
	rest = strings.TrimSpace(rest)
	switch strings.ToUpper(word) {
	case "DDE", "DDEAUTO":
		w.say(archive.MacroAuto, "dde", "a field starts a program by DDE: %.120q", code)
	case "LINK", "INCLUDETEXT", "INCLUDE", "RD", "DATABASE", "AUTOTEXTLIST":
		for _, part := range strings.FieldsFunc(rest, func(r rune) bool { return r == ' ' || r == '"' }) {
			if remote(strings.ReplaceAll(part, `\\`, `\`)) || strings.HasPrefix(part, `\\\\`) {
				w.say(archive.MacroAuto, "link", "a field loads from elsewhere: %.120q", code)
				return
			}
		}
	}
}

func space(r rune) rune {
	if r <= ' ' || r == 0xa0 {
		return ' '
	}
	return r
}
