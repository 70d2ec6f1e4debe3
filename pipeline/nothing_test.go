package pipeline

import (
	"reflect"
	"testing"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/mail"
)

// TestNothingIn: what is taken for nothing is nothing by the long way, too, and whatever is something is not taken for it.
func TestNothingIn(t *testing.T) {
	zero, one := 0.0, 1.0
	quiet := Report{Stage: "a", Outcome: Pass}
	some := func(change func(*Report)) Reports {
		r := quiet
		change(&r)
		return Reports{quiet, r}
	}
	cases := []struct {
		name string
		p    Policy
		rs   Reports
		want bool
	}{
		{"no reports", Policy{Reject: &one}, nil, true},
		{"quiet ones", Policy{Tag: &one}, Reports{quiet, quiet}, true},
		{"observed quiet ones", Policy{Observe: true}, some(func(r *Report) { r.Observe = true }), true},
		{"a threshold that nothing reaches", Policy{Tag: &zero}, Reports{quiet}, false},
		{"a finding", Policy{}, some(func(r *Report) { r.Result.Findings = []filter.Finding{{Symbol: "X"}} }), false},
		{"a proposal", Policy{}, some(func(r *Report) { r.Result.Propose = filter.Tag }), false},
		{"an aggravated proposal", Policy{}, some(func(r *Report) { r.Result.Aggravated = filter.Tag }), false},
		{"an edit", Policy{}, some(func(r *Report) { r.Result.Edits = []mail.Edit{mail.AddField{Name: "X", Body: "y"}} }), false},
		{"serialised anew", Policy{}, some(func(r *Report) { r.Result.Rebuild = true }), false},
		{"a fact", Policy{}, some(func(r *Report) { r.Result.Facts = make([]filter.Fact, 1) }), false},
		{"failed", Policy{}, some(func(r *Report) { r.Outcome = Errored }), false},
		{"skipped", Policy{}, some(func(r *Report) { r.Outcome = Skipped }), false},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if got := c.p.nothingIn(c.rs); got != c.want {
				t.Fatalf("nothing: %v, want %v", got, c.want)
			}
			if c.want {
				if v := c.p.decideAll(c.rs); !reflect.DeepEqual(v, Verdict{}) {
					t.Errorf("by the long way: %+v", v)
				}
			}
		})
	}
}
