package pipeline

import (
	"context"
	"fmt"
	"slices"

	"github.com/postern-mail/postern/filter"
)

// Run runs the stages of a phase and says what each of them found, in plan order. It decides nothing.
//
// The stages of a wave run side by side; a wave is always let end, each stage by its own deadline, and
// is then read in plan order, so that nothing depends on which stage was faster. Facts are recorded as a
// wave ends: those of the connect and helo phases in the session, of mail and data in the transaction,
// of rcpt in the recipient. Of a fact that several stages provide only the word of one counts: see
// Compile.
//
// From the rcpt phase on, once an enforced stage has proposed to reject, later waves run only what
// observes. Before it no policy has been chosen, and what an exempt recipient would waive can't spare
// the others their run. A refusal that is waived is none, and as long as it is not known what is waived,
// everything runs.
func (p *Plan) Run(ctx context.Context, ph filter.Phase, in *filter.Input) Reports {
	if !p.Has(ph) {
		return nil
	}
	again := ph <= filter.Helo && ctx.Value(againKey{}) != nil
	return p.run(ctx, ph, in, &p.phases[ph], func(string) bool { return again })
}

// run runs the stages of a schedule; again tells of which what is found has been reported before.
func (p *Plan) run(ctx context.Context, ph filter.Phase, in *filter.Input, sched *schedule, again func(stage string) bool) Reports {
	reports := make(Reports, len(sched.stages))
	refused := false
	p.hideWaivers(ph, in)
	for w, wave := range sched.waves {
		p.runWave(ctx, ph, in, sched, w, refused, reports)
		distrust(ph, in, reports, w)
		for _, at := range wave {
			r := &reports[at]
			r.Again = r.Again || again(r.Stage)
			p.record(&p.stages[sched.stages[at]], r, in)
			if p.hook != nil && !r.Shared {
				p.hook(*r)
			}
		}
		refused = ph >= filter.Rcpt && w >= sched.waiver && refuses(reports, p.letOff(in))
	}
	return reports
}

type againKey struct{}

// Again gives the context in which the connect or helo phase runs once more on what it has run on before: a client says
// EHLO behind STARTTLS, too. The reports say so to the hook, so that what is found of a client is counted once.
func Again(ctx context.Context) context.Context { return context.WithValue(ctx, againKey{}, true) }

// runWave fills in the reports of one wave.
func (p *Plan) runWave(ctx context.Context, ph filter.Phase, in *filter.Input, sched *schedule, w int, refused bool, reports Reports) {
	runs, calls := runsIn(ctx, ph), make([]*call, 0, len(sched.waves[w]))
	for _, at := range sched.waves[w] {
		st, r := &p.stages[sched.stages[at]], &reports[at]
		*r = Report{Stage: st.Name, Phase: ph, OnError: st.OnError, Observe: st.Observe, Wave: w}
		if refused && !st.Observe {
			r.Outcome = Skipped
		} else if fact := unknownNeed(st, in); fact != "" {
			r.fail(Errored, fmt.Errorf("%w: %s", ErrNeeds, fact))
		} else if runs.find(st, in, r) {
			continue
		} else if c := begin(ctx, st, in, r); c != nil {
			calls = append(calls, c)
		}
	}
	collect(ctx, calls)
	for _, c := range calls {
		runs.note(c.st, in, c.report)
	}
}

// distrust turns every report up to wave w into a failure if the content could not be read: a filter
// that saw half of a message may well have found nothing. The disk is ours, so that it neither lets the
// message pass nor refuses it, whatever on_error says.
func distrust(ph filter.Phase, in *filter.Input, reports Reports, w int) {
	if ph != filter.Data || in.Content == nil {
		return
	}
	err := in.Content.Err()
	if err == nil {
		return
	}
	for i := range reports {
		if r := &reports[i]; r.Stage != "" && r.Wave <= w {
			r.fail(Errored, fmt.Errorf("%w: %w", ErrContent, err))
			r.OnError = Defer
		}
	}
}

// unknown is the value of a fact whose provider could not tell. It hides what a wider scope or an
// earlier run may have said: filter.Key finds a value of another type, which is none.
type unknown struct{}

// String is for people who look at the facts of a scope.
func (unknown) String() string { return "unknown" }

// record puts what a stage found, or that it could not tell, into the phase's scope. Facts for which
// another stage's word counts leave the report too, so that whoever counts facts by reports counts each
// one once.
func (p *Plan) record(st *Stage, r *Report, in *filter.Input) {
	told := r.Outcome.Told()
	if told {
		r.Result.Facts = slices.DeleteFunc(slices.Clone(r.Result.Facts), func(f filter.Fact) bool { return p.providers[f.Key] != st.Name })
	}
	scope := scopeOf(r.Phase, in)
	if scope == nil {
		return
	}
	if told {
		scope.Record(effective(r)...)
		return
	}
	for _, fact := range st.Provides {
		if p.providers[fact] == st.Name {
			scope.Record(filter.Fact{Key: fact, Value: unknown{}})
		}
	}
}

func scopeOf(ph filter.Phase, in *filter.Input) *filter.Scope {
	switch {
	case ph <= filter.Helo && in.Session != nil:
		return &in.Session.Scope
	case ph == filter.Rcpt && in.Recipient != nil:
		return &in.Recipient.Scope
	case (ph == filter.Mail || ph == filter.Data) && in.Transaction != nil:
		return &in.Transaction.Scope
	}
	return nil
}

// unknownNeed gives the first fact that the stage needs and whose provider could not tell, "" if there
// is none. A provider that ran and had nothing to say, or had no reason to run, is no obstacle.
func unknownNeed(st *Stage, in *filter.Input) string {
	for _, need := range st.Needs {
		if _, is := newest(in, need).(unknown); is {
			return need
		}
	}
	return ""
}

// newest gives what was recorded last under a key in the narrowest scope that has it, nil if none has.
func newest(in *filter.Input, key string) any {
	for _, ph := range []filter.Phase{filter.Rcpt, filter.Data, filter.Connect} {
		scope := scopeOf(ph, in)
		if scope == nil {
			continue
		}
		facts := scope.Facts()
		for i := len(facts) - 1; i >= 0; i-- {
			if facts[i].Key == key {
				return facts[i].Value
			}
		}
	}
	return nil
}
