package pipeline

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/mail"
)

// drawReports makes reports of every kind.
func drawReports(t *rapid.T) Reports {
	stage := rapid.SampledFrom([]string{"a", "b", "c", "d"})
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) Report {
		r := Report{
			Stage:   stage.Draw(t, "stage"),
			Phase:   rapid.SampledFrom(filter.AllPhases()).Draw(t, "phase"),
			Outcome: rapid.SampledFrom(AllOutcomes()).Draw(t, "outcome"),
			OnError: OnError(rapid.IntRange(0, 2).Draw(t, "on_error")),
			Observe: rapid.Bool().Draw(t, "observe"),
			Elapsed: time.Duration(rapid.IntRange(0, 1000).Draw(t, "elapsed")),
		}
		if !r.Outcome.Told() {
			r.Err = errors.New(rapid.String().Draw(t, "error"))
			return r
		}
		r.Result = filter.Result{
			Propose: rapid.SampledFrom(filter.AllActions()).Draw(t, "propose"),
			Hold:    rapid.Bool().Draw(t, "hold"),
		}
		if rapid.Bool().Draw(t, "reply") {
			r.Result.Reply = reply(rapid.SampledFrom([]int{250, 450, 550}).Draw(t, "code"), 5, 0, 0, rapid.String().Draw(t, "text"))
		}
		for range rapid.IntRange(0, 3).Draw(t, "findings") {
			r.Result.Findings = append(r.Result.Findings, filter.Finding{
				Symbol:   rapid.SampledFrom([]string{"", "A", "B", "C"}).Draw(t, "symbol"),
				Strength: rapid.Float64Range(-10, 10).Draw(t, "strength"), Detail: rapid.String().Draw(t, "detail"),
				Unknown: rapid.IntRange(0, 3).Draw(t, "unknown") == 0,
			})
		}
		for range rapid.IntRange(0, 2).Draw(t, "edits") {
			r.Result.Edits = append(r.Result.Edits, mail.RemovePart{Path: fmt.Sprint(rapid.IntRange(1, 99).Draw(t, "path"))})
		}
		return r
	}), 0, 8).Draw(t, "reports")
}

func drawPolicy(t *rapid.T) *Policy {
	threshold := func(name string) *float64 {
		if !rapid.Bool().Draw(t, name) {
			return nil
		}
		return ptr(rapid.Float64Range(-5, 30).Draw(t, name))
	}
	p := &Policy{
		Tag: threshold("tag"), Quarantine: threshold("quarantine"), Reject: threshold("reject"),
		Weights: map[string]float64{"A": 1, "B": 4.25, "C": -2.5}, Observe: rapid.IntRange(0, 3).Draw(t, "observe") == 0,
	}
	if rapid.Bool().Draw(t, "off") {
		p.Off = map[string]bool{"b": true}
	}
	if rapid.Bool().Draw(t, "exempt") {
		p = p.ForExempt()
	}
	return p
}

// What holds of every verdict, whatever the reports and the policy.
func TestVerdictLaws(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p, rs := drawPolicy(t), drawReports(t)
		v := p.Decide(rs)
		if diff := cmp.Diff(v, p.Decide(rs), cmp.Comparer(func(a, b mail.Edit) bool { return a.String() == b.String() })); diff != "" {
			t.Fatalf("two verdicts on the same reports: %s", diff)
		}
		if (v.Action == filter.Continue) != (v.Because == "") || (v.Would == filter.Continue) != (v.WouldBecause == "") {
			t.Fatalf("%v because %q, would %v because %q", v.Action, v.Because, v.Would, v.WouldBecause)
		}
		for _, line := range []string{v.Because, v.WouldBecause} {
			if strings.IndexFunc(line, func(r rune) bool { return !unicode.IsPrint(r) }) >= 0 || len(line) > maxBecause+8 {
				t.Fatalf("not one printable line: %q", line)
			}
		}
		switch {
		case v.Action == filter.Defer && !v.Reply.Temporary(), v.Action == filter.Reject && !v.Reply.Permanent(),
			v.Action < filter.Defer && !v.Reply.IsZero():
			t.Fatalf("%v with reply %v", v.Action, v.Reply)
		}
		if strings.IndexFunc(v.Reply.Text, func(r rune) bool { return r != '\n' && (r < ' ' || r > '~') }) >= 0 {
			t.Fatalf("reply text %q", v.Reply.Text)
		}
		if p.Observe && (v.Action != filter.Continue || len(v.Edits) > 0 || v.Hold) {
			t.Fatalf("an observing policy does %v with %v", v.Action, v.Edits)
		}
		if p.Observe {
			return
		}
		removals := 0
		for _, r := range rs {
			if r.Observe || p.Off[r.Stage] {
				continue
			}
			// Unknown is not clean.
			if !r.Outcome.Told() && (r.OnError != ContinueOnError || r.Outcome == Skipped) && v.Action < filter.Defer {
				t.Fatalf("%s ended %v, and the message gets %v", r.Stage, r.Outcome, v.Action)
			}
			if r.Outcome.Told() {
				removals += len(r.Result.Edits)
				if a := r.Result.Propose; a > v.Action && !(r.Result.Hold && p.exempt) {
					t.Fatalf("%s proposes %v, and the message gets %v", r.Stage, a, v.Action)
				}
			}
		}
		// What is not known refuses nobody: without it there is no lesser action above a mark.
		sure := make(Reports, len(rs))
		for i, r := range rs {
			sure[i] = r
			sure[i].Result.Findings = slices.DeleteFunc(slices.Clone(r.Result.Findings), func(f filter.Finding) bool { return f.Unknown })
		}
		if w := p.Decide(sure); v.Action > max(w.Action, filter.Tag) {
			t.Fatalf("%v, and %v without what is not known", v.Action, w.Action)
		}
		if removals != len(v.Edits) {
			t.Fatalf("%d of %d removals", len(v.Edits), removals)
		}
	})
}

// What is observed changes nothing but what is said about it.
func TestObservedChangesNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p, rs := drawPolicy(t), drawReports(t)
		var enforced Reports
		last := filter.Connect
		for _, r := range rs {
			last = max(last, r.Phase)
			if !r.Observe {
				enforced = append(enforced, r)
			}
		}
		// The phase that was reached is known to both.
		enforced = append(enforced, Report{Stage: "z", Phase: last})
		a, b := p.Decide(append(rs, Report{Stage: "z", Phase: last})), p.Decide(enforced)
		if a.Action != b.Action || a.Reply != b.Reply || a.Score != b.Score || a.Because != b.Because || a.Hold != b.Hold || len(a.Edits) != len(b.Edits) {
			t.Fatalf("with what observes %+v, without %+v", a, b)
		}
	})
}
