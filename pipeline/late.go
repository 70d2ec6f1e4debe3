package pipeline

import (
	"cmp"
	"context"
	"maps"
	"slices"

	"github.com/postern-mail/postern/filter"
)

// # What runs late
//
// The phases before rcpt run by the plan of the default policy, since it is not known yet whom the mail is for. When a recipient's
// policy is known, what these phases have said is put right for it: of a stage for which the policy has options of its own, and of
// one that it has turned off, neither reports nor facts count; the policy's own stage is asked about the same client and
// reverse-path, and so is each that goes by facts of a stage which changed, and each whose word on a fact counts only now. Of all others the word
// stands. A stage that counts (filter.Spec.Fixed) is never asked anew.

// lateness is how the phases before rcpt differ from those by which sessions begin.
type lateness struct {
	before *Plan
	late   map[string]bool       // stages of which the policy's own are heard
	gone   map[string]bool       // and with them, those that are off
	phases [filter.Rcpt]schedule // what runs in their place
}

// Follow makes p the plan of a policy of which own names the stages that have options of its own; sessions begin with the plan before. It is to be
// called before the first Run.
func (p *Plan) Follow(before *Plan, own []string) {
	late := map[string]bool{}
	changed := func(fact string) bool {
		was, is := before.providers[fact], p.providers[fact]
		return (was != is || late[is]) && (before.early(was) || p.early(is))
	}
	for i := range p.stages { // in plan order: those that provide come first
		s := &p.stages[i]
		heard := func(fact string) bool { return p.providers[fact] == s.Name && before.providers[fact] != s.Name } // and has been dropped before
		early := p.early(s.Name) || before.early(s.Name)
		if early && len(s.Fixed) == 0 &&
			(slices.Contains(own, s.Name) || slices.ContainsFunc(s.Needs, changed) || slices.ContainsFunc(s.Wants, changed) || slices.ContainsFunc(s.Provides, heard)) {
			late[s.Name] = true
		}
	}
	l := &lateness{before: before, late: late, gone: maps.Clone(late)}
	for i := range before.stages {
		if name := before.stages[i].Name; before.early(name) && p.stage(name) == nil {
			l.gone[name] = true
		}
	}
	for ph := range l.phases {
		l.phases[ph] = p.phases[ph].only(func(at int) bool { return late[p.stages[at].Name] })
	}
	if len(l.gone) > 0 {
		p.late = l
	}
}

// stage gives the stage of that name, nil if there is none.
func (p *Plan) stage(name string) *Stage {
	for i := range p.stages {
		if p.stages[i].Name == name {
			return &p.stages[i]
		}
	}
	return nil
}

// early reports whether the stage of that name runs before the rcpt phase.
func (p *Plan) early(name string) bool {
	s := p.stage(name)
	return s != nil && s.Phases.First() < filter.Rcpt
}

// only gives the schedule of those of its stages that keep chooses.
func (s *schedule) only(keep func(stage int) bool) (out schedule) {
	place := map[int]int{} // by the old one
	for i, at := range s.stages {
		if keep(at) {
			place[i] = len(out.stages)
			out.stages = append(out.stages, at)
		}
	}
	for _, wave := range s.waves {
		var kept []int
		for _, i := range wave {
			if j, ok := place[i]; ok {
				kept = append(kept, j)
			}
		}
		if len(kept) > 0 {
			out.waves = append(out.waves, kept)
		}
	}
	return out
}

// Late reports whether what the phases before rcpt have said is to be put right, once it is known that the plan is that of the policy.
func (p *Plan) Late() bool { return p != nil && p.late != nil }

// Correct gives the reports of the phases before rcpt, with those that ran late in the place of those that do not count.
func (p *Plan) Correct(before, late Reports) Reports {
	if !p.Late() {
		return before
	}
	out := slices.DeleteFunc(slices.Clone(before), func(r Report) bool { return p.late.late[r.Stage] })
	place := func(r Report) int {
		if i := slices.IndexFunc(p.stages, func(s Stage) bool { return s.Name == r.Stage }); i >= 0 {
			return i
		}
		return len(p.stages)
	}
	out = append(out, late...)
	slices.SortStableFunc(out, func(a, b Report) int { return cmp.Or(cmp.Compare(a.Phase, b.Phase), cmp.Compare(place(a), place(b))) })
	return out
}

// Remembered gives those of the facts of a session or transaction that count. What no stage has provided does.
func (p *Plan) Remembered(facts []filter.Fact) []filter.Fact {
	if !p.Late() {
		return facts
	}
	return slices.DeleteFunc(slices.Clone(facts), func(f filter.Fact) bool { return p.late.gone[p.late.before.providers[f.Key]] })
}

// HasLate reports whether a stage runs late in the phase.
func (p *Plan) HasLate(ph filter.Phase) bool {
	return p.Late() && ph < filter.Rcpt && len(p.late.phases[ph].stages) > 0
}

// RunLate runs, of a phase before rcpt, what is to run when the policy is known, as Run does. The input holds what is remembered. What
// the hook is told has been reported before where the stage has run in the phase for the default policy.
func (p *Plan) RunLate(ctx context.Context, ph filter.Phase, in *filter.Input) Reports {
	if !p.HasLate(ph) {
		return nil
	}
	before := p.late.before
	return p.run(ctx, ph, in, &p.late.phases[ph], func(stage string) bool {
		return slices.ContainsFunc(before.phases[ph].stages, func(at int) bool { return before.stages[at].Name == stage })
	})
}
