package pipeline

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/filter/auth"
	"github.com/postern-mail/postern/mail"
)

// letting is what an access stage says that waives what is named.
func letting(waives ...string) filter.Result {
	return filter.Result{Facts: []filter.Fact{auth.Waivers.Of(lets(waives...))}}
}

func lets(waives ...string) []auth.Waiver {
	if len(waives) == 0 {
		return nil
	}
	return []auth.Waiver{{Domain: "example.com", Proof: "dkim", Waives: waives, Entry: "allow:17"}}
}

func TestDecideWaived(t *testing.T) {
	limits := Policy{Tag: ptr(5.0), Reject: ptr(15.0), Weights: map[string]float64{"SPAM": 20, "LOW": 4}}
	off := limits
	off.Off = map[string]bool{"access": true}
	examined := filter.Result{Propose: filter.Reject, Facts: []filter.Fact{auth.Parts.Of(nil)}}
	const by = "waived by allow:17 (dkim example.com): "
	for _, c := range []struct {
		name    string
		policy  Policy
		reports Reports
		action  filter.Action
		score   float64
		because string
		would   filter.Action
	}{
		{
			name: "findings score nothing", reports: Reports{told("access", letting("rules")), told("rules", found("SPAM", 1, ""))},
			because: by + "score 20 reaches reject 15 (SPAM 20)",
		},
		{
			name: "findings of other stages do", reports: Reports{told("access", letting("rules")), told("spf", found("SPAM", 1, ""))},
			action: filter.Reject, score: 20, because: "score 20 reaches reject 15 (SPAM 20)", would: filter.Reject,
		},
		{
			name:    "proposals don't count",
			reports: Reports{told("dmarc", proposes(filter.Reject, nil)), told("access", letting("dmarc"))},
			because: by + "dmarc: proposes reject",
		},
		{
			name: "nor held ones", reports: Reports{at(filter.Mail, held(told("sender", proposes(filter.Reject, nil)))), told("access", letting("sender"))},
			because: by + "sender: proposes reject",
		},
		{
			name: "nor aggravated ones", reports: Reports{
				told("dmarc", filter.Result{Propose: filter.Tag, Aggravated: filter.Reject}), told("a", found("LOW", 2, "")),
				told("access", letting("dmarc")),
			},
			action: filter.Tag, score: 8, because: "score 8 reaches tag 5 (LOW 8); " + by + "dmarc: proposes reject", would: filter.Tag,
		},
		{
			name:    "score: no threshold",
			reports: Reports{told("access", letting("score")), told("rules", found("SPAM", 1, ""))},
			score:   20, because: by + "score 20 reaches reject 15 (SPAM 20)",
		},
		{
			name: "score: proposals count", reports: Reports{told("access", letting("score")), told("dmarc", proposes(filter.Quarantine, nil))},
			action: filter.Quarantine, because: "dmarc: proposes quarantine", would: filter.Quarantine,
		},
		{
			name: "score: nothing aggravates", reports: Reports{
				told("access", letting("score")), told("dmarc", filter.Result{Aggravated: filter.Reject}), told("a", found("LOW", 2, "")),
			},
			score: 8, because: by + "dmarc: proposes reject",
		},
		{
			name: "something milder remains", reports: Reports{
				told("dmarc", proposes(filter.Reject, nil)), told("a", found("LOW", 2, "")), told("access", letting("dmarc")),
			},
			action: filter.Tag, score: 8, because: "score 8 reaches tag 5 (LOW 8); " + by + "dmarc: proposes reject", would: filter.Tag,
		},
		{
			name: "a failure is no finding", reports: Reports{failed("spf", Defer), told("access", letting("spf", "score"))},
			action: filter.Defer, because: "spf: could not tell: error: clamd: no answer", would: filter.Defer,
		},
		{
			name: "and refuses where it is to", reports: Reports{failed("av", RejectOnError), told("access", letting("av", "score"))},
			action: filter.Reject, because: "av: could not tell: error: clamd: no answer", would: filter.Reject,
		},
		{
			name: "who examines parts is not waived", reports: Reports{told("files", examined), told("access", letting("files", "score"))},
			action: filter.Reject, because: "files: proposes reject", would: filter.Reject,
		},
		{
			name: "nor what comes before the filters", reports: Reports{told(intakeStage, proposes(filter.Reject, nil)), told("access", letting(intakeStage, "score"))},
			action: filter.Reject, because: "intake: proposes reject", would: filter.Reject,
		},
		{
			name: "by a stage that observes", reports: Reports{told("dmarc", proposes(filter.Reject, nil)), observed(told("access", letting("dmarc")))},
			action: filter.Reject, because: "dmarc: proposes reject", would: filter.Continue,
		},
		{
			name: "by a stage that is off", policy: off, reports: Reports{told("dmarc", proposes(filter.Reject, nil)), told("access", letting("dmarc"))},
			action: filter.Reject, because: "dmarc: proposes reject", would: filter.Reject,
		},
		{
			name: "by a stage that failed in the end", reports: Reports{
				at(filter.Mail, told("access", letting("dmarc"))), told("dmarc", proposes(filter.Reject, nil)), failed("access", ContinueOnError),
			},
			action: filter.Reject, because: "dmarc: proposes reject", would: filter.Reject,
		},
		{
			name: "by a stage that was skipped in the end", reports: Reports{
				at(filter.Mail, told("access", letting("dmarc"))), told("dmarc", proposes(filter.Reject, nil)), outcome(Skipped, told("access", filter.Result{})),
			},
			action: filter.Reject, because: "dmarc: proposes reject", would: filter.Reject,
		},
		{
			name: "what MAIL waived, and the content does not", reports: Reports{
				at(filter.Mail, told("access", letting("dmarc"))), told("dmarc", proposes(filter.Reject, nil)), told("access", letting()),
			},
			action: filter.Reject, because: "dmarc: proposes reject", would: filter.Reject,
		},
		{
			name: "what MAIL waived, at RCPT", reports: Reports{
				at(filter.Mail, told("access", letting("sender"))), at(filter.Mail, held(told("sender", proposes(filter.Reject, nil)))),
			},
			because: by + "sender: proposes reject",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := c.policy
			if p.Weights == nil {
				p = limits
			}
			v := p.Decide(c.reports)
			if v.Action != c.action || v.Score != c.score || v.Because != c.because || v.Would != c.would {
				t.Errorf("%v, score %v, %q, would %v", v.Action, v.Score, v.Because, v.Would)
			}
		})
	}
}

func TestWaivedFindingsAndEdits(t *testing.T) {
	field := mail.RemoveField{Index: 0}
	rules := edited(told("rules", found("SPAM", 2, "x")), field)
	rules.Result.Rebuild = true
	parts := edited(told("attachments", filter.Result{Facts: []filter.Fact{auth.Parts.Of(nil)}}), mail.RemovePart{Path: "1"})
	v := (&Policy{Weights: map[string]float64{"SPAM": 3}}).Decide(Reports{told("access", letting("rules", "attachments")), rules, parts})
	want := []StageFinding{{Stage: "rules", Finding: filter.Finding{Symbol: "SPAM", Strength: 2, Detail: "x"}, Waived: true}}
	if d := cmp.Diff(want, v.Findings); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]mail.Edit{mail.RemovePart{Path: "1"}}, v.Edits); d != "" || !v.Rebuild {
		t.Errorf("rebuild %v, edits %s", v.Rebuild, d)
	}
	if d := cmp.Diff(lets("rules", "attachments"), v.Waivers); d != "" {
		t.Error(d)
	}
	if s := spamStatus(v, nil, false); !strings.Contains(s, "tests=none") {
		t.Errorf("what is waived is named among the tests that hit: %s", s)
	}
	text, err := json.Marshal(v)
	if err != nil || !strings.Contains(string(text), `"score":0,"waived":true}`) ||
		!strings.Contains(string(text), `"waivers":[{"domain":"example.com","proof":"dkim","waives":["rules","attachments"],"entry":"allow:17"}]`) {
		t.Errorf("%s, %v", text, err)
	}
}

// TestRunWaived: a refusal that is waived, or may turn out to be, keeps no later stage from running.
func TestRunWaived(t *testing.T) {
	stage := func(name string, provides, wants string) Stage {
		s := Stage{Spec: filter.Spec{Name: name, Phases: filter.In(filter.Data)}}
		if provides != "" {
			s.Provides = []string{provides}
		}
		if wants != "" {
			s.Wants = []string{wants}
		}
		return s
	}
	refusal := says(proposes(filter.Reject, nil), nil)
	for _, c := range []struct {
		name    string
		access  filter.Filter
		observe bool
		want    string // outcomes
		known   bool   // the last stage sees the waiver
	}{
		{"waived", says(letting("early"), nil), false, "early:match dkim:pass access:pass late:pass", true},
		{"another one waived", says(letting("late"), nil), false, "early:match dkim:pass access:pass late:skipped", true},
		{"nothing waived", says(letting(), nil), false, "early:match dkim:pass access:pass late:skipped", false},
		{"waived by one that observes", says(letting("early"), nil), true, "early:match dkim:skipped access:pass late:skipped", false},
		{"could not tell", says(letting("early"), errors.New("disk")), false, "early:match dkim:pass access:error late:skipped", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			stages := []Stage{stage("early", "", ""), stage("dkim", "dkim", "pre"), stage("access", "waivers", "dkim"), stage("late", "", "waivers")}
			stages[0].Provides = []string{"pre"}
			stages[2].Observe = c.observe
			plan := mustCompile(t, with(stages, refusal, says(filter.Result{}, nil), c.access, says(filter.Result{}, nil)))
			in := input(t, "A: b\n\nx\n")
			if got := outcomes(plan.Run(t.Context(), filter.Data, in)); got != c.want {
				t.Errorf("%s", got)
			}
			if let, _ := auth.Waivers.From(in); (len(let) > 0) != c.known {
				t.Errorf("in the scope: %v", let)
			}
		})
	}
}

// TestPlanWithoutWaivers: what the plan before RCPT waived is unknown to the plan of a policy that has this off.
func TestPlanWithoutWaivers(t *testing.T) {
	in := input(t, "A: b\n\nx\n")
	base := mustCompile(t, []Stage{{
		Spec:   filter.Spec{Name: "access", Phases: filter.In(filter.Mail, filter.Data), Provides: []string{"waivers"}},
		Filter: says(letting("files"), nil),
	}})
	base.Run(t.Context(), filter.Mail, in)
	if let, _ := auth.Waivers.From(in); len(let) != 1 {
		t.Fatalf("not waived at MAIL: %v", let)
	}
	seen := -1
	off := mustCompile(t, []Stage{{
		Spec: filter.Spec{Name: "files", Phases: filter.In(filter.Rcpt, filter.Data), Wants: []string{"waivers"}},
		Filter: filter.Func(func(_ context.Context, in *filter.Input) (filter.Result, error) {
			let, _ := auth.Waivers.From(in)
			seen = len(let)
			return proposes(filter.Reject, nil), nil
		}),
	}})
	if off.Run(t.Context(), filter.Data, in); seen != 0 {
		t.Errorf("%d waivers seen", seen)
	}
}

// What holds of every verdict, whatever is waived.
func TestWaiverLaws(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p, rs := drawPolicy(t), drawReports(t)
		p.Observe = false
		waives := rapid.SliceOfDistinct(rapid.SampledFrom([]string{"a", "b", "c", "score", "attachments/macro"}), rapid.ID[string]).Draw(t, "waives")
		access := Report{Stage: "access", Phase: filter.Data, Result: letting(waives...)}
		bare, v := p.Decide(append(slices.Clone(rs), told("access", filter.Result{}))), p.Decide(append(slices.Clone(rs), access))
		same := func(a, b Verdict) bool {
			return a.Action == b.Action && a.Reply == b.Reply && a.Score == b.Score && a.Because == b.Because && a.Hold == b.Hold && len(a.Edits) == len(b.Edits)
		}
		if w := p.Decide(append(slices.Clone(rs), observed(access))); !same(w, bare) {
			t.Fatalf("waived by what observes: %+v, without it %+v", w, bare)
		}
		if w := p.Decide(append(slices.Clone(rs), access, failed("access", ContinueOnError))); !same(w, bare) {
			t.Fatalf("waived by what failed: %+v, without it %+v", w, bare)
		}
		if len(waives) == 0 && !same(v, bare) {
			t.Fatalf("nothing waived: %+v, without it %+v", v, bare)
		}
		edits := 0
		for _, r := range rs {
			spared := slices.Contains(waives, r.Stage)
			if r.Observe || p.Off[r.Stage] {
				continue
			}
			if !r.Outcome.Told() && (r.OnError != ContinueOnError || r.Outcome == Skipped) && v.Action < filter.Defer {
				t.Fatalf("%s ended %v, and the message gets %v", r.Stage, r.Outcome, v.Action)
			}
			if r.Outcome.Told() && !spared {
				edits += len(r.Result.Edits)
				if a := r.Result.Propose; a > v.Action && !(r.Result.Hold && p.exempt) {
					t.Fatalf("%s, which is not waived, proposes %v, and the message gets %v", r.Stage, a, v.Action)
				}
			}
		}
		if len(v.Edits) != edits {
			t.Fatalf("%d edits, not %d", len(v.Edits), edits)
		}
		for _, f := range v.Findings {
			if f.Waived != slices.Contains(waives, f.Stage) || f.Waived && f.Score != 0 {
				t.Fatalf("%+v where %v is waived", f, waives)
			}
		}
	})
}
