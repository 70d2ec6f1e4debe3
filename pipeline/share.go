package pipeline

import (
	"context"
	"reflect"
	"slices"

	"github.com/postern-mail/postern/filter"
)

// # One run for several policies
//
// A message for recipients of several policies is judged once for each, by plans that have most of their stages in common. Such a
// stage is asked about the content once. What it has said, or that it could not tell, stands in the reports of the next plan as if it had
// been asked there, provided that all it goes by is the same: the content is, for edits are data that no filter sees, and so is the
// envelope. The facts that it needs or wants, those that it has given itself in earlier phases, and the confirmed name of the client are
// compared, since the stages that found these may be a policy's own, may have run late for it, may be off or may have been skipped. Where
// something differs the stage is asked anew, and so is one that goes by whose recipients there are (filter.Spec.Apart). One that counts
// or learns sees to it that it does so once for a message (filter.KeptBy).
//
// All else remains each plan's own: which stage is skipped after a refusal, which needs a fact that is not known, whose facts count.

// Instance is what stages of several plans have in common that are one filter, made once.
type Instance struct{ _ byte } // of a size, so that no two have the same address

// Runs is what stages have said about one message. Plans that are to share it run one after another.
type Runs struct{ all []said }

// said is what one run of a stage has said, and what it went by.
type said struct {
	by     *Instance
	facts  []any // see seen
	name   string
	report Report
}

type runsKey struct{}

// In gives the context in which a plan shares the data phase with others that run on the same message; nil shares with none.
func (r *Runs) In(ctx context.Context) context.Context {
	if r == nil {
		return ctx
	}
	return context.WithValue(ctx, runsKey{}, r)
}

// runsIn gives what is shared, nil for nothing.
func runsIn(ctx context.Context, ph filter.Phase) *Runs {
	if ph != filter.Data {
		return nil
	}
	r, _ := ctx.Value(runsKey{}).(*Runs)
	return r
}

// seen gives the facts that a stage may go by, nil for one that nobody has found.
func seen(st *Stage, in *filter.Input) (facts []any) {
	for _, key := range slices.Concat(st.Needs, st.Wants, st.Provides) {
		facts = append(facts, newest(in, key))
	}
	return facts
}

func nameIn(in *filter.Input) string {
	if in.Session == nil {
		return ""
	}
	return in.Session.PTR
}

// find writes what a stage has said already, and reports whether it has. A report of a stage that is to run anew tells whether
// something has been told of it before.
func (r *Runs) find(st *Stage, in *filter.Input, report *Report) bool {
	if r == nil || st.Instance == nil {
		return false
	}
	for i := range r.all {
		s := &r.all[i]
		if s.by != st.Instance {
			continue
		}
		if !st.Apart && s.name == nameIn(in) && reflect.DeepEqual(s.facts, seen(st, in)) {
			was := &s.report
			report.Outcome, report.Err, report.Result, report.Elapsed, report.Shared = was.Outcome, was.Err, was.Result, was.Elapsed, true
			report.Result.Settle = nil // it is told once
			return true
		}
		report.Again = report.Again || s.report.Outcome.Told()
	}
	return false
}

// note keeps what a stage has said.
func (r *Runs) note(st *Stage, in *filter.Input, report *Report) {
	if r != nil && st.Instance != nil {
		r.all = append(r.all, said{st.Instance, seen(st, in), nameIn(in), *report})
	}
}
