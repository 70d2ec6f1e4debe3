package rspamd

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"mime"
	"slices"
	"strings"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/internal/scanner"
	"github.com/postern-mail/postern/mail"
)

// maxEdits bounds how many fields rspamd may put on a message, and how many it may remove.
const maxEdits = 100

// fields turns what rspamd wants of the header into edits, as far as the configuration asks for them.
func (c *check) fields(a *answer, h *mail.Header, r *filter.Result) {
	var odd []string
	for _, name := range slices.Sorted(maps.Keys(a.Milter.Remove)) {
		if !c.asked(name) {
			continue
		}
		which, err := removed(a.Milter.Remove[name], name, h)
		if err != nil {
			odd = append(odd, fmt.Sprintf("%s: %s", scanner.Clipped(name, 76), err))
		}
		for _, i := range which {
			r.Edits = append(r.Edits, mail.RemoveField{Index: i})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(a.Milter.Add)) {
		if !c.asked(name) {
			continue
		}
		values, err := added(a.Milter.Add[name])
		for _, v := range values {
			body, fault := scanner.FieldBody(v)
			if err = errors.Join(err, fault); fault == nil && len(r.Edits) < 2*maxEdits {
				r.Edits = append(r.Edits, mail.AddField{Name: name, Body: body})
			}
		}
		if err != nil {
			odd = append(odd, fmt.Sprintf("%s: %s", scanner.Clipped(name, 76), err))
		}
	}
	if c.config.Subject && a.Subject != "" {
		if err := subject(a.Subject, h, r); err != nil {
			odd = append(odd, "Subject: "+err.Error())
		}
	}
	if len(odd) > 0 {
		r.Findings = append(r.Findings, filter.Finding{Symbol: symbolFields, Strength: 1, Detail: scanner.Clipped(strings.Join(odd, "; "), maxDetail)})
	}
}

// asked reports whether the configuration asks for fields of that name.
func (c *check) asked(name string) bool {
	return scanner.IsFieldName(name) && slices.ContainsFunc(c.config.Headers, func(n string) bool { return strings.EqualFold(n, name) })
}

// added reads the values of a field to be added: a text, {"value": text, "order": number}, or a list of these.
func added(raw json.RawMessage) ([]string, error) {
	var list []json.RawMessage
	if json.Unmarshal(raw, &list) != nil {
		list = []json.RawMessage{raw}
	}
	var out []string
	for _, one := range list[:min(len(list), maxEdits)] {
		var text string
		if json.Unmarshal(one, &text) == nil {
			out = append(out, text)
			continue
		}
		var entry struct {
			Value *string `json:"value"`
		}
		if err := json.Unmarshal(one, &entry); err != nil || entry.Value == nil {
			return out, errors.New("neither a text nor an object with a value")
		}
		out = append(out, *entry.Value)
	}
	return out, nil
}

// removed gives the indices of the fields to be removed: 0 means all of that name, n the n-th, -n the n-th from the end.
func removed(raw json.RawMessage, name string, h *mail.Header) (out []int, err error) {
	var which []int
	if json.Unmarshal(raw, &which) != nil {
		var one int
		if json.Unmarshal(raw, &one) != nil {
			return nil, errors.New("neither a number nor a list of them")
		}
		which = []int{one}
	}
	var all []int
	for i, f := range h.Fields() {
		if f.Is(name) {
			all = append(all, i)
		}
	}
	for _, n := range which[:min(len(which), maxEdits)] {
		switch {
		case n == 0:
			return all, nil
		case n > 0 && n <= len(all):
			out = append(out, all[n-1])
		case n < 0 && n >= -len(all):
			out = append(out, all[len(all)+n])
		}
	}
	return out, nil
}

// subject puts another subject on the message, in the place of the one that there is.
func subject(text string, h *mail.Header, r *filter.Result) error {
	// RFC 2047 2: an encoded word is no longer than 75 octets, and stands in a line of its own where there are several.
	body, err := scanner.FieldBody(strings.ReplaceAll(mime.BEncoding.Encode("utf-8", strings.Join(strings.Fields(text), " ")), "?= =?", "?=\r\n =?"))
	if err != nil {
		return err
	}
	at := slices.IndexFunc(h.Fields(), func(f mail.Field) bool { return f.Is("Subject") })
	if at < 0 {
		r.Edits = append(r.Edits, mail.AddField{Name: "Subject", Body: body})
	} else {
		r.Edits = append(r.Edits, mail.ReplaceField{Index: at, Body: body})
	}
	return nil
}
