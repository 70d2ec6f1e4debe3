package clamd

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/internal/scanner"
	"github.com/postern-mail/postern/mail"
)

// maxMentions is how many findings one message has at most: a thousand parts need no thousand lines.
const maxMentions = 20

// outcome gathers the result for one message.
type outcome struct {
	*check
	in     *filter.Input
	result filter.Result
	parts  []scanned // to be removed
}

// take turns what was found into findings and a proposal.
func (o *outcome) take(r round) {
	if r.age > 0 {
		o.find(symbolOld, fmt.Sprintf("made %s ago", r.age.Round(time.Hour)))
	}
	for _, x := range r.all {
		switch {
		case x.oversize:
			why := fmt.Sprintf("%d are scanned", o.config.Size)
			if x.size <= o.config.Size {
				why = "clamd takes fewer (its StreamMaxLength)"
			}
			o.find(symbolOversize, fmt.Sprintf("%s: %d octets, and %s", label(x.part), x.size, why))
			o.propose(o.config.Oversize, nil)
		case x.name == "":
		case o.unscanned(x.name):
			o.find(symbolOversize, label(x.part)+": "+x.name)
			o.propose(o.config.Oversize, nil)
		default:
			o.found(x)
		}
	}
}

// found takes in one signature.
func (o *outcome) found(x scanned) {
	act, symbol := o.action(x.name), symbolVirus
	if r, ok := o.rule(x.name); ok && r.action == actTag {
		symbol = symbolSuspect
	}
	if act == actPass {
		symbol = ""
	}
	if x.part == nil && act == actStrip {
		if slices.ContainsFunc(o.parts, func(p scanned) bool { return p.name == x.name }) {
			return // the rest is scanned when they are gone
		}
		act = actQuarantine // it can't be said where it is
	}
	o.find(symbol, label(x.part)+": "+x.name)
	if act == actStrip {
		o.parts = append(o.parts, x)
	}
	o.propose(act, replyVirus)
}

var (
	replyVirus    = reply(550, 5, "message refused: the virus scanner found something in it")
	replyOversize = reply(550, 5, "message refused: it is too large for the virus scanner")
	replyLater    = reply(451, 4, "message is too large for the virus scanner at present")
)

func reply(code, class int, text string) *mail.Reply {
	r := mail.NewReply(code, class, 7, 1, text)
	return &r
}

// propose asks for what an action means. permanent is the reply of a refusal; nil: that of what was not scanned.
func (o *outcome) propose(act string, permanent *mail.Reply) {
	if permanent == nil {
		permanent = replyOversize
	}
	a, r := filter.Continue, (*mail.Reply)(nil)
	switch act {
	case actTag:
		a = filter.Tag
	case actQuarantine:
		a = filter.Quarantine
	case actDefer:
		a, r = filter.Defer, replyLater
	case actReject:
		a, r = filter.Reject, permanent
	}
	if a > o.result.Propose {
		o.result.Propose, o.result.Reply = a, r
	}
}

func (o *outcome) find(symbol, detail string) {
	n := len(o.result.Findings)
	if n > maxMentions {
		return
	}
	if n == maxMentions {
		symbol, detail = "", "and more of the kind"
	}
	strength := 1.0
	if symbol == "" || slices.ContainsFunc(o.result.Findings, func(f filter.Finding) bool { return f.Symbol == symbol && f.Strength > 0 }) {
		strength = 0 // however many there are, they score once
	}
	o.result.Findings = append(o.result.Findings, filter.Finding{Symbol: symbol, Strength: strength, Unknown: symbol == symbolOversize, Detail: detail})
}

// label names a part for people.
func label(p *mail.Part) string {
	switch {
	case p == nil:
		return "the message"
	case len(p.Names) == 0:
		return "part " + p.Path
	}
	return fmt.Sprintf("part %s %.100q", p.Path, p.Names[0])
}

// strip puts notices in the place of the parts that are to go, and has what is left scanned: in it there may be what the
// first signature hid. Where there is, the message is kept here.
func (o *outcome) strip(ctx context.Context) error {
	if len(o.parts) == 0 {
		return nil
	}
	for _, x := range o.parts {
		t := x.part
		if w := t.Whole(); w != nil {
			t = w // what is signed or a report would be none any more
		}
		if slices.ContainsFunc(o.result.Edits, func(e mail.Edit) bool { return e.(mail.ReplacePart).Path == t.Path }) {
			continue
		}
		o.result.Edits = append(o.result.Edits, o.replace(t, x))
	}
	if o.config.Scan == scanParts {
		return nil
	}
	rest, err := mail.Rewrite(o.in.Content, o.result.Edits, false)
	if err != nil {
		return fmt.Errorf("clamd: %w", err)
	}
	defer rest.Release()
	r, err := o.ask(ctx, []item{{size: rest.Size(), open: func() io.Reader { return io.NewSectionReader(rest, 0, rest.Size()) }}})
	if err != nil {
		return err
	}
	o.parts, r.age = nil, 0
	o.take(r)
	return nil
}

// replace gives the edit that puts a notice in the place of a part.
func (o *outcome) replace(t *mail.Part, x scanned) mail.ReplacePart {
	id := ""
	if o.in.Transaction != nil {
		id = o.in.Transaction.ID
	}
	var b strings.Builder
	b.WriteString("An attachment was removed from this message, since a virus was found in it.\r\n\r\n")
	if len(x.part.Names) > 0 {
		fmt.Fprintf(&b, "  Name:   %s\r\n", plain(x.part.Names[0]))
	}
	fmt.Fprintf(&b, "  Virus:  %s\r\n\r\n", plain(x.name))
	fmt.Fprintf(&b, "%s has kept a copy of the original message.\r\n", plain(o.gateway))
	if o.postmaster != "" {
		fmt.Fprintf(&b, "If you think that this is a mistake, please ask %s\r\n", plain(o.postmaster))
		if id != "" {
			fmt.Fprintf(&b, "and quote this number: %s\r\n", plain(id))
		}
	}
	body, encoding := mail.EncodeText([]byte(b.String()))
	return mail.ReplacePart{Path: t.Path, Body: body, Header: []mail.AddField{
		{Name: "Content-Type", Body: "text/plain; charset=utf-8"},
		{Name: "Content-Transfer-Encoding", Body: encoding},
		{Name: "Content-Disposition", Body: "inline"},
	}}
}

// plain gives at most 200 octets of a text, fit for one line.
func plain(s string) string {
	s = strings.ToValidUTF8(s, "?")
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 || r == '\u2028' || r == '\u2029' || r >= '\u202a' && r <= '\u202e' || r >= '\u2066' && r <= '\u2069' {
			return '_'
		}
		return r
	}, s)
	return scanner.Clipped(s, 200)
}
