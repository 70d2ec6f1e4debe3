package attachments

import (
	"fmt"
	"slices"

	"github.com/postern-mail/postern/filter"
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
	header *mail.Header
	result filter.Result
	counts map[string]int
	scored map[string]float64
	asked  filter.Action // the greatest that an action on a part has asked for
	why    int           // place of the finding for which the proposal is made
}

// proposals are what the actions ask of the message. A part that is stripped leaves nothing to be marked.
var proposals = [...]filter.Action{
	pass: filter.Continue, score: filter.Continue, tag: filter.Tag, strip: filter.Continue, quarantine: filter.Quarantine, reject: filter.Reject,
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
	if len(x.outside) > 0 && x.outside[0].action > pass {
		o.find(symbolOutside, 1, "outside of the parts of "+label+": "+x.outside[0].why)
		o.ask(x.outside[0])
	}
	o.reportAmbiguous(x)
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

// propose asks for what the part's action needs of the message as a whole.
func (o *outcome) propose(x *exam) {
	h := x.hits[0]
	h.action, h.why = x.action, x.label()
	o.ask(h)
}

// ask asks for what an action needs of the message; of several the first of the strictest gives the reply, which
// names the part.
func (o *outcome) ask(h hit) {
	asked := proposals[h.action]
	if asked <= o.asked {
		return
	}
	o.asked = asked
	o.raise(asked)
	if h.action < reject {
		return
	}
	what := string(h.class)
	switch h.symbol {
	case symbolName:
		what = "file name not allowed"
	case symbolType:
		what = "media type not allowed"
	}
	reply := mail.NewReply(550, 5, 7, 1, "attachment refused: "+what+" ("+h.why+")")
	o.result.Reply = &reply
}

// raise proposes at least an action, for the finding that was made last.
func (o *outcome) raise(a filter.Action) {
	if a > o.result.Propose {
		o.result.Propose, o.why = a, len(o.result.Findings)-1
	}
}

// reasonFirst puts the finding for which the proposal is made before the others: where they weigh the same, the first is what the
// verdict names.
func (o *outcome) reasonFirst() {
	all := o.result.Findings
	if o.why > 0 {
		f := all[o.why]
		copy(all[1:o.why+1], all[:o.why])
		all[0] = f
	}
}

// reportAmbiguous says that a part has several readings, and asks for what the configuration makes of it. Where it
// must stay as it is, for a signature over it or because programs and not people read it, it can't be serialised
// anew, and the message is kept here.
func (o *outcome) reportAmbiguous(x *exam) {
	if x.ambiguous == "" {
		return
	}
	o.find(symbolAmbiguous, 1, fmt.Sprintf("part %s: %s", x.part.Path, x.ambiguous))
	switch o.ambiguous {
	case passAmbiguous:
	case rejectAmbiguous:
		o.raise(filter.Reject)
		if o.result.Reply == nil {
			reply := mail.NewReply(550, 5, 6, 0, "the message can be read in several ways ("+string(x.ambiguous)+")")
			o.result.Reply = &reply
		}
	case quarantineAmbiguous:
		o.raise(filter.Quarantine)
	default:
		if x.part.Whole() != nil && x.part.Whole() != x.part || isCalendar(x.part) {
			o.raise(filter.Quarantine)
			return
		}
		o.result.Rebuild = true
	}
}
