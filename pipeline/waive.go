package pipeline

import (
	"slices"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/filter/auth"
)

// Waivers are facts that change verdicts, so that they are read with more care than others. Only the word of an
// enforced stage counts, and of its words the last: what was let off at MAIL, by the reverse-path, is let off no more
// where the content says otherwise, and a stage that could not tell in the end lets nobody off. What waives a stage
// takes away its scores, its proposals and its edits, and never its failure: unknown is not clean. Nothing waives
// what comes before the filters, and who examines parts is not waived as a whole: it knows itself which classes are.

// waivers gives what is waived, by enforced stages, or by all of them.
func (p *Policy) waivers(rs Reports, all bool) []auth.Waiver {
	type word struct {
		stage string
		let   []auth.Waiver
	}
	var words []word
	for i := range rs {
		r := &rs[i]
		if p.Off[r.Stage] || r.Observe && !all {
			continue
		}
		let, ok := auth.Waivers.Among(r.Result.Facts)
		if r.Outcome.Told() && !ok {
			continue
		}
		words = slices.DeleteFunc(words, func(w word) bool { return w.stage == r.Stage })
		if r.Outcome.Told() && len(let) > 0 {
			words = append(words, word{r.Stage, let})
		}
	}
	var out []auth.Waiver
	for _, w := range words {
		out = append(out, w.let...)
	}
	return out
}

// waived reports whether what a stage says does not count.
func waived(r *Report, let []auth.Waiver) bool {
	if len(let) == 0 || r.Stage == intakeStage {
		return false
	}
	if _, examines := auth.Parts.Among(r.Result.Facts); examines {
		return false
	}
	_, ok := auth.Waived(let, r.Stage)
	return ok
}

// decide is rule, and says which waiver spared the message something worse.
func (p *Policy) decide(rs Reports, fs []StageFinding, let []auth.Waiver, all bool) ruling {
	r := p.rule(rs, fs, let, all)
	if len(let) == 0 {
		return r
	}
	bare := p.rule(rs, p.findings(rs, nil), nil, all)
	if bare.action <= r.action {
		return r
	}
	by, ok := auth.Waived(let, bare.of)
	if !ok {
		by = let[0] // a score that it takes a waived stage to reach
	}
	text := "waived by " + by.String() + ": " + bare.because
	if r.because != "" {
		text = r.because + "; " + text
	}
	r.because = printable(text, maxBecause)
	return r
}

// findWaiver notes which stage waives, and when.
func (p *Plan) findWaiver() {
	name := p.providers[string(auth.Waivers)]
	at := slices.IndexFunc(p.stages, func(s Stage) bool { return s.Name == name && !s.Observe })
	if name == "" || at < 0 {
		return
	}
	p.waives = true
	for i := range p.phases {
		sched := &p.phases[i]
		for w, wave := range sched.waves {
			if slices.ContainsFunc(wave, func(j int) bool { return sched.stages[j] == at }) {
				sched.waiver = w
			}
		}
	}
}

// letOff gives what is known to be waived.
func (p *Plan) letOff(in *filter.Input) []auth.Waiver {
	if !p.waives {
		return nil
	}
	let, _ := auth.Waivers.From(in)
	return let
}

// hideWaivers takes back what was waived at MAIL, before the policy was known, where the policy's own plan waives
// nothing.
func (p *Plan) hideWaivers(ph filter.Phase, in *filter.Input) {
	if p.waives || ph != filter.Data || in.Transaction == nil {
		return
	}
	if let, _ := auth.Waivers.From(in); len(let) > 0 {
		in.Transaction.Record(filter.Fact{Key: string(auth.Waivers), Value: unknown{}})
	}
}

// effective gives the facts of a report that others may use: who only observes lets nobody off.
func effective(r *Report) []filter.Fact {
	if !r.Observe {
		return r.Result.Facts
	}
	return slices.DeleteFunc(slices.Clone(r.Result.Facts), func(f filter.Fact) bool { return f.Key == string(auth.Waivers) })
}

// refuses reports whether an enforced stage proposes to reject, and is not waived.
func refuses(rs Reports, let []auth.Waiver) bool {
	return slices.ContainsFunc(rs, func(r Report) bool {
		return !r.Observe && !r.Result.Hold && r.Result.Propose == filter.Reject && !waived(&r, let)
	})
}
