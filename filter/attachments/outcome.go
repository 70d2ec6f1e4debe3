package attachments

import (
	"fmt"
	"slices"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/filter/auth"
	"github.com/postern-mail/postern/mail"
)

// maxMentions is how often one symbol is reported for one message: a thousand parts need no thousand
// lines.
const maxMentions = 20

// outcome gathers the result for one message.
type outcome struct {
	*checker
	id     string
	exams  []*exam
	result filter.Result
	counts map[string]int
	scored map[string]float64
	worst  action
}

// find adds a finding. However many parts show a symbol, together they score as much as the strongest.
func (o *outcome) find(symbol string, strength float64, detail string) {
	if o.counts == nil {
		o.counts, o.scored = map[string]int{}, map[string]float64{}
	}
	o.counts[symbol]++
	more := max(0, strength-o.scored[symbol])
	o.scored[symbol] += more
	switch n := o.counts[symbol]; {
	case n == maxMentions:
		detail = "and more of the kind"
	case n > maxMentions && more == 0:
		return
	}
	o.result.Findings = append(o.result.Findings, filter.Finding{Symbol: symbol, Strength: more, Detail: detail})
}

// report turns what is known about a part into findings and a proposal.
func (o *outcome) report(x *exam) {
	label := x.label()
	if x.action > pass {
		o.find(x.hits[0].symbol, 1, label+": "+x.reason())
		o.propose(x)
	}
	for _, n := range x.names {
		if i := slices.IndexFunc(n.forms, func(f string) bool { _, ok := doubled(f); return ok }); i >= 0 {
			ends, _ := doubled(n.forms[i])
			o.find(symbolDouble, 1, label+": ends in "+ends)
			break
		}
	}
	for _, n := range x.names {
		if n.hidden != "" {
			strength := 0.5
			if len(x.hits) > 0 {
				strength = 1
			}
			o.find(symbolHidden, strength, label+": has "+n.hidden)
			break
		}
	}
}

// propose asks for what the part's action needs of the message as a whole; of several parts the first
// of the strictest action gives the reply.
func (o *outcome) propose(x *exam) {
	if x.action < quarantine || x.action <= o.worst {
		return
	}
	o.worst = x.action
	o.result.Propose = filter.Quarantine
	if x.action == reject {
		o.result.Propose = filter.Reject
	}
	what := string(x.hits[0].class)
	switch x.hits[0].symbol {
	case symbolName:
		what = "file name not allowed"
	case symbolType:
		what = "media type not allowed"
	}
	reply := mail.NewReply(550, 5, 7, 1, "attachment refused: "+what)
	o.result.Reply = &reply
}

// reportUnseen asks for quarantine where a part could not be looked at: a message that can't be looked
// through is not clean, and the reason is the message's own.
func (o *outcome) reportUnseen(x *exam) {
	for _, what := range x.unseen {
		o.find(symbolUnreadable, 1, x.label()+": "+what)
		o.result.Propose = max(o.result.Propose, filter.Quarantine)
	}
	if x.empty != "" && len(x.unseen) == 0 {
		o.find(symbolUnreadable, 0, x.label()+": "+x.empty)
	}
}

// removeParts turns the parts to be stripped into edits, none of which touches what another one does.
//
// A part inside one that is removed goes with it, under one notice. A part inside multipart/signed is
// replaced alone, although that breaks the signature over all of it (RFC 1847 2.1): its readers keep their
// text, and the notice says why the signature fails.
func (o *outcome) removeParts() error {
	stripped := map[*mail.Part]bool{}
	for _, x := range o.exams {
		if x.action == strip {
			stripped[x.part] = true
		}
	}
	if len(stripped) == 0 {
		return nil
	}
	var targets []*mail.Part
	files := map[*mail.Part][]*exam{}
	for _, x := range o.exams {
		if x.action != strip {
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

// signed reports whether a signature covers p.
func signed(p *mail.Part) bool {
	for ; p != nil; p = p.Parent {
		if p.Type == "multipart/signed" {
			return true
		}
	}
	return false
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
	body, encoding := encode(text)
	o.result.Edits = append(o.result.Edits, mail.ReplacePart{
		Path: t.Path,
		Header: []mail.AddField{
			{Name: "Content-Type", Body: "text/plain; charset=utf-8"},
			{Name: "Content-Transfer-Encoding", Body: encoding},
			{Name: "Content-Disposition", Body: "inline;\r\n filename=\"" + noticeName(files[0].name()) + "\""},
		},
		Body: body,
	})
	return nil
}

// The bounds of the fact, which goes into logs, records and other programs. What is found out about a part rests on
// all of its names.
const (
	maxReports     = 500 // parts
	maxReportNames = 5   // names of one part
	maxReportText  = 256 // octets of a name or media type
)

// parts gives the fact: every leaf, and what else was found to be a file.
func (o *outcome) parts() []auth.PartReport {
	reports := []auth.PartReport{}
	for _, x := range o.exams {
		if !x.part.IsLeaf() && len(x.hits) == 0 && len(x.unseen) == 0 {
			continue
		}
		a := x.action
		if x.carried != "" {
			a = max(a, strip)
		}
		if len(x.unseen) > 0 {
			a = max(a, quarantine)
		}
		names := []string{}
		for _, n := range x.part.Names[:min(len(x.part.Names), maxReportNames)] {
			names = append(names, clipped(n, maxReportText))
		}
		reports = append(reports, auth.PartReport{
			Path: x.part.Path, Type: clipped(x.part.Type, maxReportText), Names: names, Size: x.size, SHA256: x.sum,
			Class: string(x.class()), Reason: x.reason(), Action: a.String(),
		})
	}
	return bounded(reports)
}

// bounded cuts the reports to maxReports and one that stands for the rest, with their size and the strictest action
// among them. Parts that pass are left out first.
func bounded(reports []auth.PartReport) []auth.PartReport {
	if len(reports) <= maxReports {
		return reports
	}
	passing := maxReports // how many of those that pass have room
	for _, r := range reports {
		if r.Action != pass.String() {
			passing = max(0, passing-1)
		}
	}
	kept := make([]auth.PartReport, 0, maxReports+1)
	rest := auth.PartReport{Names: []string{}, Action: pass.String(), Reason: fmt.Sprintf("and %d more parts", len(reports)-maxReports)}
	for _, r := range reports {
		room := len(kept) < maxReports
		if r.Action == pass.String() {
			room = passing > 0
			passing--
		}
		if room {
			kept = append(kept, r)
			continue
		}
		rest.Size += r.Size
		if slices.Index(actionNames, r.Action) > slices.Index(actionNames, rest.Action) {
			rest.Action = r.Action
		}
	}
	return append(kept, rest)
}
