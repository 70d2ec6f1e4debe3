package milter

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/internal/scanner"
	"github.com/postern-mail/postern/mail"
)

// Bounds of the changes that a milter may ask for: how many, and the octets of their names and values together.
const (
	maxChanges = 500
	maxKept    = 1 << 20
)

// ends takes down an answer that ends the session.
func (v *verdict) ends(act byte, data []byte) error {
	switch act {
	case actReject:
		v.asks(filter.Reject, "reject")
	case actTempFail:
		v.asks(filter.Defer, "tempfail")
	case actDiscard: // nothing that was acknowledged is thrown away
		v.asks(filter.Quarantine, "discard")
	case actReplyCode:
		r, err := replyOf(data)
		if err != nil {
			return err
		}
		a := filter.Reject
		if r.Temporary() {
			a = filter.Defer
		}
		if v.asks(a, "reply "+r.String()); v.action == a {
			v.reply = &r
		}
	}
	return nil
}

// asks takes down an action.
func (v *verdict) asks(a filter.Action, said string) {
	v.action = max(v.action, a)
	v.said = append(v.said, said)
}

// wants takes down a change that a milter wants at the end.
func (v *verdict) wants(act byte, data []byte) error {
	if len(v.changes)+len(v.said)+len(v.ignored) > maxChanges {
		return wrong("more than %d changes", maxChanges)
	}
	switch act {
	case actAddHeader:
		all, err := readTexts(data, 2)
		if err != nil {
			return err
		}
		return v.change(change{op: act, name: all[0], value: all[1]})
	case actInsert, actChange:
		i, all, err := indexed(data, 2)
		if err != nil {
			return err
		}
		return v.change(change{op: act, index: i, name: all[0], value: all[1]})
	case actQuarantine:
		all, err := readTexts(data, 1)
		if err == nil {
			v.asks(filter.Quarantine, "quarantine: "+scanner.Clipped(clean(all[0]), 200))
		}
		return err
	case actReplaceBody:
		v.body = true
	case actAddRcpt, actAddRcptPar:
		v.ignores("to add a recipient", data)
	case actDelRcpt:
		v.ignores("to remove a recipient", data)
	case actChangeFrom:
		v.ignores("another reverse-path", data)
	default:
		return wrong("%q, to the end", act)
	}
	return nil
}

// change takes down what is to become of a field. Of what can be none only why is kept.
func (v *verdict) change(c change) error {
	if !scanner.IsFieldName(c.name) {
		c = change{fault: "a field " + scanner.Clipped(clean(c.name), 80)}
	} else if _, err := scanner.FieldBody(c.value); err != nil && scanner.MayChange(c.name) {
		c = change{fault: fmt.Sprintf("field %s: %s", c.name, err)}
	}
	if v.kept += len(c.name) + len(c.value); v.kept > maxKept {
		return wrong("changes of more than %d octets", maxKept)
	}
	v.changes = append(v.changes, c)
	return nil
}

// ignores takes down what is not done.
func (v *verdict) ignores(what string, data []byte) {
	who, _, _ := strings.Cut(string(data), "\x00")
	v.ignored = append(v.ignored, what+" "+scanner.Clipped(clean(who), 100))
}

// errTooLarge says that a milter has not judged a message that is larger than it may be expected to judge.
var errTooLarge = errors.New("milter: the message is larger than it judges")

// missing is the error of a milter that says nothing against a message of so many octets and has put none of the fields on it by which
// it shows that it has judged: some let mail pass when what they ask is gone. Of a large message that says nothing about the milter,
// neither good nor bad, unless it has judged a message as large before.
func (c *check) missing(v *verdict, size int64, st *standing) error {
	expected := c.config.Expect
	switch {
	case len(expected) == 0:
		return nil
	case slices.ContainsFunc(v.changes, func(c change) bool {
		return c.value != "" && slices.ContainsFunc(expected, func(name string) bool { return strings.EqualFold(name, c.name) })
	}):
		st.judges(size)
		return nil
	case v.action != filter.Continue:
		return nil
	case size > st.upTo(c.config.ExpectUpTo):
		return scanner.Blameless(errTooLarge)
	case size > c.config.ExpectUpTo:
		st.fails(size)
	default:
		st.fails(0)
	}
	return fmt.Errorf("milter: it has put no %s on the message of %d octets, and so has not judged it", strings.Join(expected, " or "), size)
}

// oversize are what may become of a message that is larger than a milter judges.
var oversize = map[string]struct {
	action filter.Action
	reply  *mail.Reply
}{
	"pass": {}, "tag": {action: filter.Tag}, "quarantine": {action: filter.Quarantine},
	"defer":  {filter.Defer, &mail.Reply{Code: 451, Enhanced: mail.Enhanced{4, 7, 1}, Text: "message is too large to be checked at present"}},
	"reject": {filter.Reject, &mail.Reply{Code: 550, Enhanced: mail.Enhanced{5, 7, 1}, Text: "message refused: it is too large to be checked"}},
}

// unscanned makes the result of a message that is larger than the milter judges. It goes on only where the milter has not failed since it
// last judged one, and is refused for good only where the milter has shown lately that it judges: else what it asks may be gone, and such
// a message is put off.
func (c *check) unscanned(v *verdict, m *mail.Content, st *standing) (filter.Result, error) {
	r, err := c.result(v, m)
	if err != nil {
		return r, err
	}
	o := oversize[c.config.Oversize]
	if well, lately := st.well(); !lately && o.action == filter.Reject || !well && o.action < filter.Quarantine {
		o = oversize["defer"]
	}
	r.Propose, r.Reply = o.action, o.reply
	r.Findings = append(r.Findings, filter.Finding{Symbol: symbolUnscanned, Strength: 1, Unknown: true, Detail: fmt.Sprintf(
		"no %s on a message of %d octets: not judged, since it is expected up to %d", strings.Join(c.config.Expect, " or "), m.Blob().Size(), st.upTo(c.config.ExpectUpTo))})
	return r, nil
}

// result makes the result of what a milter has said.
func (c *check) result(v *verdict, m *mail.Content) (filter.Result, error) {
	r := filter.Result{Propose: v.action, Reply: v.reply}
	if v.action < filter.Defer && c.config.Headers == headersAll {
		v.edits(m.Header(), &r)
	}
	if err := m.Err(); err != nil {
		return filter.Result{}, fmt.Errorf("milter: %w", err)
	}
	delivered := v.action < filter.Quarantine
	if name := bereft(m.Header(), r.Edits); name != "" && delivered {
		return filter.Result{}, fmt.Errorf("milter: it takes %s off, and puts no other one on the message: nobody would take that", name)
	}
	if v.body && delivered {
		if c.config.Body == bodyDefer {
			return filter.Result{}, errBody
		}
		v.ignored = append(v.ignored, "another body, or another structure")
	}
	if len(v.said) > 0 {
		r.Findings = append(r.Findings, filter.Finding{Symbol: symbolMilter, Strength: 1, Detail: scanner.Clipped(strings.Join(v.said, "; "), 1000)})
	}
	if len(v.ignored) > 0 {
		r.Findings = append(r.Findings, filter.Finding{Symbol: symbolIgnored, Strength: 1, Detail: scanner.Clipped(strings.Join(v.ignored, "; "), 1000)})
	}
	return r, nil
}

// edits makes edits of what is to become of fields. Positions are those in the message as it is. What is added stands above the
// message, in the order in which a milter wants it there.
func (v *verdict) edits(h *mail.Header, r *filter.Result) {
	var top []mail.AddField
	changed := map[int]mail.Edit{}
	for _, c := range v.changes {
		if c.fault != "" {
			v.ignored = append(v.ignored, c.fault)
			continue
		}
		if !scanner.MayChange(c.name) {
			switch low := mail.LowerASCII(c.name); {
			case same(h, c):
			case low == "mime-version" || strings.HasPrefix(low, "content-"):
				v.body = true
			default:
				v.ignored = append(v.ignored, "to change "+c.name)
			}
			continue
		}
		body, _ := scanner.FieldBody(c.value) // it is one: see change
		at := -1
		if c.op == actChange {
			at = nth(h, c.name, max(c.index, 1))
		}
		switch {
		case at >= 0 && body == "":
			changed[at] = mail.RemoveField{Index: at}
		case at >= 0:
			changed[at] = mail.ReplaceField{Index: at, Body: body}
		case c.op == actChange && body == "": // it is not there
		case c.op == actInsert:
			top = slices.Insert(top, min(c.index, len(top)), mail.AddField{Name: c.name, Body: body})
		default:
			top = append(top, mail.AddField{Name: c.name, Body: body})
		}
	}
	for _, f := range top {
		r.Edits = append(r.Edits, f)
	}
	for i := range h.Fields() {
		if e, ok := changed[i]; ok {
			r.Edits = append(r.Edits, e)
		}
	}
}

// bereft names a field that each message must have (RFC 5322 3.6) and that edits take off one that has it; "" for none. A server inside
// may refuse what is left, and its sender would hear of it.
func bereft(h *mail.Header, edits []mail.Edit) string {
	for _, name := range []string{"From", "Date"} {
		had := 0
		for _, f := range h.Fields() {
			if f.Is(name) {
				had++
			}
		}
		has := had
		for _, e := range edits {
			switch e := e.(type) {
			case mail.AddField:
				if strings.EqualFold(e.Name, name) {
					has++
				}
			case mail.RemoveField:
				if h.Fields()[e.Index].Is(name) {
					has--
				}
			}
		}
		if had > 0 && has < 1 {
			return name
		}
	}
	return ""
}

// nth gives the position of the n-th field of a name, from 1; -1 where there is none.
func nth(h *mail.Header, name string, n int) int {
	for i, f := range h.Fields() {
		if f.Is(name) {
			if n--; n == 0 {
				return i
			}
		}
	}
	return -1
}

// same reports whether a change leaves a field as it is.
func same(h *mail.Header, c change) bool {
	at := -1
	if c.op == actChange {
		at = nth(h, c.name, max(c.index, 1))
	}
	if at < 0 {
		return c.op == actChange && c.value == ""
	}
	body, err := scanner.FieldBody(c.value)
	return err == nil && strings.Join(strings.Fields(body), " ") == strings.Join(strings.Fields(h.Fields()[at].Body()), " ")
}
