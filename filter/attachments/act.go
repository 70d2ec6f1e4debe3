package attachments

import (
	"fmt"
	"strings"

	"github.com/postern-mail/postern/mail"
)

// removeParts turns the parts to be stripped into edits, none of which touches what another one does.
//
// A part inside one that is removed goes with it, under one notice. A part of something that must stay as it is goes
// with all of that: a signature over the rest would fail, a report or an invitation would be none any more.
func (o *outcome) removeParts() error {
	stripped := map[*mail.Part]bool{}
	for _, x := range o.exams {
		if x.action == strip {
			t := x.part
			if p := t.Whole(); p != nil {
				t = p
			}
			stripped[t] = true
		}
		if len(x.outside) > 0 && x.outside[0].action == strip {
			if p := x.part.Whole(); p != nil {
				stripped[p] = true
			} else {
				o.result.Edits = append(o.result.Edits, mail.RemoveOutside{Path: x.part.Path})
			}
		}
	}
	var targets []*mail.Part
	files := map[*mail.Part][]*exam{}
	for _, x := range o.exams {
		if x.action != strip && (len(x.outside) == 0 || x.outside[0].action != strip || x.part.Whole() == nil) {
			continue
		}
		t := outermost(x.part, stripped)
		if files[t] == nil {
			targets = append(targets, t)
		}
		files[t] = append(files[t], x)
	}
	for _, t := range targets {
		if err := o.replace(t, files[t]); err != nil {
			return err
		}
	}
	for _, x := range o.exams {
		if t := outermost(x.part, stripped); files[t] != nil {
			x.carried = t.Path
		}
	}
	o.reportSignatures(targets)
	return nil
}

// outermost is the outermost part around p, or p itself, that can't stay when p goes.
func outermost(p *mail.Part, stripped map[*mail.Part]bool) *mail.Part {
	t := p
	for a := p.Parent; a != nil; a = a.Parent {
		if stripped[a] {
			t = a
		}
	}
	return t
}

// returned reports whether a part belongs to the message that a report returns, which many servers cut off.
func returned(p *mail.Part) bool {
	for in := false; p != nil; p = p.Parent {
		if in && p.Type == "multipart/report" {
			return true
		}
		in = in || p.Type == "message/rfc822" || p.Type == "message/global"
	}
	return false
}

// isCalendar reports whether a part is an invitation, which calendars read.
func isCalendar(p *mail.Part) bool { return p.Type == "text/calendar" }

// signed reports whether a signature covers p, or is p.
func signed(p *mail.Part) bool {
	for ; p != nil; p = p.Parent {
		if p.Type == "multipart/signed" {
			return true
		}
	}
	return false
}

// reportSignatures names the signatures that what is changed was covered by.
func (o *outcome) reportSignatures(targets []*mail.Part) {
	if len(targets) == 0 && !o.result.Rebuild && len(o.result.Edits) == 0 {
		return
	}
	for _, f := range o.header.All("DKIM-Signature") {
		o.find(symbolSignature, 1, "DKIM of "+shown(tagOf(f.Body(), "d")))
	}
	for _, t := range targets {
		if !signed(t) {
			continue
		}
		for ; t != nil; t = t.Parent {
			if t.Type == "multipart/signed" {
				o.find(symbolSignature, 1, fmt.Sprintf("part %s: %s", t.Path, shown(t.Params["protocol"])))
			}
		}
	}
}

// tagOf gives the value of a tag of a tag list (RFC 6376 3.2).
func tagOf(list, tag string) string {
	for one := range strings.SplitSeq(list, ";") {
		if name, value, ok := strings.Cut(one, "="); ok && strings.TrimSpace(name) == tag {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// replace adds the edit that puts a notice in the place of t.
func (o *outcome) replace(t *mail.Part, files []*exam) error {
	n := notice{
		Gateway: clipped(o.gateway, noticeField), Postmaster: clipped(o.postmaster, noticeField), ID: clipped(o.id, noticeField),
		Kept: o.keep, Signed: signed(t), More: max(0, len(files)-noticeFiles),
	}
	for i, x := range files {
		if i < noticeFiles {
			n.Files = append(n.Files, removed{
				Name: clipped(x.name(), noticeField), Type: clipped(shown(x.part.Type), noticeField), Size: sizeText(x.size),
				SHA256: x.sum, Class: string(x.class()), Reason: x.reason(),
			})
		}
		o.find(symbolRemoved, 1, fmt.Sprintf("%s: %d octets, SHA-256 %s", x.label(), x.size, x.sum))
	}
	text, err := write(o.notice, n)
	if err != nil {
		return fmt.Errorf("attachments: notice: %w", err)
	}
	body, encoding := mail.EncodeText(text)
	header := []mail.AddField{
		{Name: "Content-Type", Body: "text/plain; charset=utf-8"},
		{Name: "Content-Transfer-Encoding", Body: encoding},
		{Name: "Content-Disposition", Body: "inline;\r\n filename=\"" + noticeName(files[0].name()) + "\""},
	}
	if shown := o.alternative(t); shown != nil {
		o.result.Edits = append(o.result.Edits, mail.RemovePart{Path: t.Path}, mail.AppendPart{Path: shown.Path, Header: header, Body: body})
		return nil
	}
	o.result.Edits = append(o.result.Edits, mail.ReplacePart{Path: t.Path, Header: header, Body: body})
	return nil
}

// alternative gives the part beside which a notice is shown in place of t, where t is one of several alternatives
// (RFC 2046 5.1.4: the last that a reader can show is shown): a notice in the place of the last would hide the text.
// It is nil elsewhere, and where none of the others stays.
func (o *outcome) alternative(t *mail.Part) *mail.Part {
	if t.Parent == nil || t.Parent.Type != "multipart/alternative" || !t.Parent.IsMultipart() {
		return nil
	}
	var shown *mail.Part
	for _, x := range o.exams {
		if x.part.Parent == t.Parent && x.part != t && x.action != strip && x.part.RawBody().Size() > 0 {
			shown = x.part
		}
	}
	return shown
}
