package http

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/internal/scanner"
	"github.com/postern-mail/postern/mail"
)

// answer is what a program answers: a filter.Result without facts.
type answer struct {
	Findings []finding `json:"findings"`
	Propose  string    `json:"propose"`
	Reply    *reply    `json:"reply"`
	Edits    []edit    `json:"edits"`
	Rebuild  bool      `json:"rebuild"`
}

// finding is a filter.Finding; one without a strength says plain yes.
type finding struct {
	Symbol   string   `json:"symbol"`
	Strength *float64 `json:"strength"`
	Detail   string   `json:"detail"`
}

type reply struct {
	Code     int    `json:"code"`
	Enhanced string `json:"enhanced"`
	Text     string `json:"text"`
}

// edit is any of mail's edits, as they marshal themselves.
type edit struct {
	Op     string  `json:"op"`
	Name   string  `json:"name"`
	Body   string  `json:"body"`
	Index  *int    `json:"index"`
	Path   string  `json:"path"`
	Header []field `json:"header"`
}

type field struct {
	Name string `json:"name"`
	Body string `json:"body"`
}

// Bounds of an answer.
const (
	maxFindings = 200
	maxEdits    = 200
	maxDetail   = 1000 // octets of a detail that are kept
	maxStrength = 10000
)

var errAnswer = errors.New("an answer that makes no sense")

func wrong(format string, args ...any) error {
	return fmt.Errorf("%w: %s", errAnswer, fmt.Sprintf(format, args...))
}

// parse reads an answer strictly: what is not known is an error, since half of an answer may mean anything.
func (c *check) parse(b []byte, m *mail.Content) (filter.Result, error) {
	var a answer
	if err := scanner.CheckJSON(b, func([]string) bool { return true }); err != nil {
		return filter.Result{}, fmt.Errorf("%w: %w", errAnswer, err)
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&a); err != nil {
		return filter.Result{}, fmt.Errorf("%w: %w", errAnswer, err)
	}
	if first := bytes.TrimLeft(b, " \t\r\n"); first[0] != '{' {
		return filter.Result{}, wrong("no object")
	}
	r := filter.Result{Rebuild: a.Rebuild}
	if err := c.findings(a.Findings, &r); err != nil {
		return filter.Result{}, err
	}
	if err := propose(&a, &r); err != nil {
		return filter.Result{}, err
	}
	if err := c.edits(&a, m, &r); err != nil {
		return filter.Result{}, err
	}
	return r, nil
}

func (c *check) findings(all []finding, r *filter.Result) error {
	if len(all) > maxFindings {
		return wrong("%d findings", len(all))
	}
	for _, f := range all {
		out := filter.Finding{Symbol: f.Symbol, Strength: 1, Detail: scanner.Clipped(f.Detail, maxDetail)}
		if f.Strength != nil {
			out.Strength = *f.Strength
		}
		if f.Symbol == "" {
			out.Strength = 0 // a mention
		} else if !slices.ContainsFunc(c.symbols, func(s filter.Symbol) bool { return s.Name == f.Symbol }) {
			return wrong("symbol %.60q stands not in symbols", f.Symbol)
		}
		if math.Abs(out.Strength) > maxStrength {
			return wrong("strength %g", out.Strength)
		}
		r.Findings = append(r.Findings, out)
	}
	return nil
}

// propose reads the action, and its reply.
func propose(a *answer, r *filter.Result) error {
	if a.Propose != "" {
		i := slices.IndexFunc(filter.AllActions(), func(x filter.Action) bool { return x.String() == a.Propose })
		if i < 0 {
			return wrong("it proposes %.40q: continue, tag, quarantine, defer, reject", a.Propose)
		}
		r.Propose = filter.AllActions()[i]
	}
	if a.Reply == nil {
		return nil
	}
	class, want := 5, filter.Reject
	if r.Propose == filter.Defer {
		class, want = 4, filter.Defer
	}
	if r.Propose != want || a.Reply.Code/100 != class || a.Reply.Code%100 > 59 {
		return wrong("reply %d where it proposes %s", a.Reply.Code, r.Propose)
	}
	out := mail.Reply{Code: a.Reply.Code, Text: strings.Join(strings.Fields(a.Reply.Text), " ")}
	if a.Reply.Enhanced == "" {
		out.Enhanced = mail.Enhanced{class, 7, 1}
	} else {
		e := &out.Enhanced
		n, err := fmt.Sscanf(a.Reply.Enhanced, "%d.%d.%d", &e[0], &e[1], &e[2])
		if err != nil || n != 3 || e[0] != class || out.Enhanced.String() != a.Reply.Enhanced || e[1] < 0 || e[1] > 999 || e[2] < 0 || e[2] > 999 {
			return wrong("enhanced code %.20q of a reply %d", a.Reply.Enhanced, a.Reply.Code)
		}
	}
	if out.Text == "" {
		return wrong("a reply without a text")
	}
	if len(out.Text) > 300 {
		out.Text = strings.ToValidUTF8(out.Text[:300], "")
	}
	r.Reply = &out
	return nil
}

// edits reads the edits, and tries them: a removal that can't be carried out is an error here.
func (c *check) edits(a *answer, m *mail.Content, r *filter.Result) error {
	switch {
	case len(a.Edits) == 0 && !a.Rebuild:
		return nil
	case c.config.Edits == editsNone || c.config.Edits == editsFields && a.Rebuild:
		return wrong("it changes the message, and edits is %s", c.config.Edits)
	case len(a.Edits) > maxEdits:
		return wrong("%d edits", len(a.Edits))
	}
	for i := range a.Edits {
		e, err := c.edit(&a.Edits[i], m)
		if err != nil {
			return fmt.Errorf("%w: edit %d: %w", errAnswer, i+1, err)
		}
		r.Edits = append(r.Edits, e)
	}
	out, err := mail.Rewrite(m, r.Edits, false)
	if err != nil {
		if m.Err() != nil {
			return scanner.Blameless(err)
		}
		return fmt.Errorf("%w: %w", errAnswer, err)
	}
	out.Release()
	return nil
}

// edit reads one edit.
func (c *check) edit(e *edit, m *mail.Content) (mail.Edit, error) {
	switch e.Op {
	case "add_field":
		if !scanner.IsFieldName(e.Name) || !scanner.MayChange(e.Name) {
			return nil, fmt.Errorf("a field %.80q may not be added", e.Name)
		}
		body, err := scanner.FieldBody(e.Body)
		return mail.AddField{Name: e.Name, Body: body}, err
	case "remove_field", "replace_field":
		all := m.Header().Fields()
		if e.Index == nil || *e.Index < 0 || *e.Index >= len(all) {
			return nil, fmt.Errorf("no such field; there are %d", len(all))
		}
		if name, _ := all[*e.Index].Lenient(); !scanner.MayChange(name) {
			return nil, fmt.Errorf("field %d, %.80q, may not be changed", *e.Index, name)
		}
		if e.Op == "remove_field" {
			return mail.RemoveField{Index: *e.Index}, nil
		}
		body, err := scanner.FieldBody(e.Body)
		return mail.ReplaceField{Index: *e.Index, Body: body}, err
	case "remove_part", "replace_part", "append_part", "remove_outside":
		if c.config.Edits != editsAll {
			return nil, fmt.Errorf("%s, and edits is %s", e.Op, c.config.Edits)
		}
		return partEdit(e, m)
	}
	return nil, fmt.Errorf("op %.40q is not known", e.Op)
}

// partEdit reads an edit of a part.
func partEdit(e *edit, m *mail.Content) (mail.Edit, error) {
	if m.Part(e.Path) == nil {
		return nil, fmt.Errorf("no part %.40q", e.Path)
	}
	switch e.Op {
	case "remove_part":
		return mail.RemovePart{Path: e.Path}, nil
	case "remove_outside":
		return mail.RemoveOutside{Path: e.Path}, nil
	}
	header, body, err := partOf(e)
	if err != nil {
		return nil, err
	}
	if e.Op == "append_part" {
		return mail.AppendPart{Path: e.Path, Header: header, Body: body}, nil
	}
	return mail.ReplacePart{Path: e.Path, Header: header, Body: body}, nil
}

// partOf reads header and body of a part. A body without an encoding of its own gets one.
func partOf(e *edit) (header []mail.AddField, body []byte, err error) {
	encoded, typed := false, false
	for _, f := range e.Header {
		low := mail.LowerASCII(f.Name)
		if !scanner.IsFieldName(f.Name) || !strings.HasPrefix(low, "content-") {
			return nil, nil, fmt.Errorf("a field %.80q of a part: only Content-* fields stand there", f.Name)
		}
		value, err := scanner.FieldBody(f.Body)
		if err != nil {
			return nil, nil, err
		}
		encoded, typed = encoded || low == "content-transfer-encoding", typed || low == "content-type"
		header = append(header, mail.AddField{Name: f.Name, Body: value})
	}
	if !typed {
		header = append(header, mail.AddField{Name: "Content-Type", Body: "text/plain; charset=utf-8"})
	}
	text := strings.ReplaceAll(strings.ReplaceAll(e.Body, "\r\n", "\n"), "\n", "\r\n")
	if !encoded {
		body, encoding := mail.EncodeText([]byte(text))
		return append(header, mail.AddField{Name: "Content-Transfer-Encoding", Body: encoding}), body, nil
	}
	for line := range strings.Lines(text) {
		if len(line) > 1000 || strings.HasPrefix(line, "--") || strings.ContainsFunc(line, func(r rune) bool { return r > '~' || r == 0 }) {
			return nil, nil, errors.New("a body that is not encoded as its header says")
		}
	}
	return header, []byte(text), nil
}
