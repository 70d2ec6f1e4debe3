package pipeline

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/postern-mail/postern/filter"
)

// shared gives the stages that plans of several policies have in common: each is an instance.
func shared(stages []Stage) []Stage {
	for i := range stages {
		stages[i].Instance = new(Instance)
	}
	return stages
}

// TestRuns: what plans have in common is asked once, and is told as new once.
func TestRuns(t *testing.T) {
	t.Parallel()
	content := message(t, "A: b\n\n")
	defer content.Release()
	var asked, told []string
	settled := 0
	check := func(name string, err error) filter.Filter {
		return filter.Func(func(_ context.Context, in *filter.Input) (filter.Result, error) {
			asked = append(asked, name)
			if name == "crash" {
				panic("broken")
			}
			return filter.Result{
				Findings: []filter.Finding{{Detail: name + in.Session.PTR}}, Settle: func(filter.Fate) { settled++ },
			}, err
		})
	}
	// One after another, so that asked needs no lock.
	base := shared(parse(t, "plain data gives=a", "fails data needs=a gives=b", "crash data wants=b gives=c", "own data wants=c gives=d", "goes data wants=d"))
	for i := range base {
		var err error
		if base[i].Name == "fails" {
			err = errors.New("no idea")
		}
		base[i].Filter = check(base[i].Name, err)
	}
	plan := func(change func([]Stage) []Stage) *Plan {
		p := mustCompile(t, change(slices.Clone(base)))
		p.SetHook(func(r Report) { told = append(told, fmt.Sprintf("%s:%s:%v", r.Stage, r.Outcome, r.Again)) })
		return p
	}
	same := func(s []Stage) []Stage { return s }
	ofOwn := func(s []Stage) []Stage {
		s[3].Filter, s[3].Instance = filter.Func(func(context.Context, *filter.Input) (filter.Result, error) {
			asked = append(asked, "another")
			return filter.Result{Facts: []filter.Fact{{Key: "d", Value: []string{"x"}}}}, nil
		}), new(Instance)
		return s
	}
	apart := func(s []Stage) []Stage {
		s[3].Apart = true
		return s
	}
	foreign := func(s []Stage) []Stage {
		for i := range s {
			s[i].Instance = nil
		}
		return s
	}
	var runs Runs
	for _, c := range []struct {
		name        string
		plan        *Plan
		ptr         string
		asked, told string
	}{
		{"the first", plan(same), "", "plain fails crash own goes", "plain:match:false fails:error:false crash:panic:false own:match:false goes:match:false"},
		{"the same", plan(same), "", "", ""},
		{"one of its own, and what goes by it", plan(ofOwn), "", "another goes", "own:pass:false goes:match:true"},
		{"the same once more", plan(same), "", "", ""},
		{"one that goes by the recipients", plan(apart), "", "own", "own:match:true"},
		{"without what another goes by", plan(func(s []Stage) []Stage { return s[:4] }), "", "", ""},
		{"another name of the client", plan(same), "x", "plain fails crash own goes", "plain:match:true fails:error:false crash:panic:false own:match:true goes:match:true"},
		{"nothing in common", plan(foreign), "", "plain fails crash own goes", "plain:match:false fails:error:false crash:panic:false own:match:false goes:match:false"},
	} {
		asked, told = nil, nil
		in := &filter.Input{Session: &filter.Session{PTR: c.ptr}, Transaction: &filter.Transaction{}, Content: content}
		rs := c.plan.Run(runs.In(t.Context()), filter.Data, in)
		if got := strings.Join(asked, " "); got != c.asked {
			t.Errorf("%s: asked %q, want %q", c.name, got, c.asked)
		}
		if got := strings.Join(told, " "); got != c.told {
			t.Errorf("%s: the hook was told %q, want %q", c.name, got, c.told)
		}
		for _, r := range rs {
			if want := !slices.Contains(asked, r.Stage) && r.Outcome != Pass; r.Shared != want { // what passes is the other
				t.Errorf("%s: %s: shared is %v", c.name, r.Stage, r.Shared)
			}
			if f := r.Result.Settle; f != nil {
				f(filter.Taken)
			}
			if r.Outcome == Errored && r.Err.Error() != "no idea" || r.Outcome == Match && r.Result.Findings[0].Detail != r.Stage+c.ptr {
				t.Errorf("%s: %s: %v %v", c.name, r.Stage, r.Err, r.Result)
			}
		}
	}
	if settled != 11 { // three of the first, "goes" anew, "own" for other recipients, three by another name, three of the foreign plan
		t.Errorf("%d results were told how it ended, want 11", settled)
	}
}

// TestRunsAfterRefusal: a stage that one policy skips is none of that policy's, whoever has asked it.
func TestRunsAfterRefusal(t *testing.T) {
	t.Parallel()
	content := message(t, "A: b\n\n")
	defer content.Release()
	asked := 0
	base := shared(parse(t, "first data gives=a", "second data wants=a"))
	base[0].Filter = says(filter.Result{}, nil)
	base[1].Filter = filter.Func(func(context.Context, *filter.Input) (filter.Result, error) {
		asked++
		return filter.Result{Propose: filter.Quarantine}, nil
	})
	hard := slices.Clone(base)
	hard[0].Filter, hard[0].Instance = says(proposes(filter.Reject, nil), nil), new(Instance)
	refuses, takes := mustCompile(t, hard), mustCompile(t, base)
	for _, c := range []struct {
		name  string
		plans []*Plan
	}{
		{"who refuses first", []*Plan{refuses, takes, refuses, takes}},
		{"who refuses last", []*Plan{takes, refuses, takes, refuses}},
	} {
		asked = 0
		var runs Runs
		for i, p := range c.plans {
			rs := p.Run(runs.In(t.Context()), filter.Data, &filter.Input{Session: &filter.Session{}, Transaction: &filter.Transaction{}, Content: content})
			v, want := (&Policy{}).Decide(rs), filter.Quarantine
			outcome := Match
			if p == refuses {
				want, outcome = filter.Reject, Skipped
			}
			if v.Action != want || rs[1].Outcome != outcome {
				t.Errorf("%s: %d: %s, second %s", c.name, i, v.Action, rs[1].Outcome)
			}
		}
		if asked != 1 {
			t.Errorf("%s: asked %d times", c.name, asked)
		}
	}
}

// TestRunsOfEarlierFacts: what a stage has said itself in an earlier phase, late for one of the policies, is something that it goes by.
func TestRunsOfEarlierFacts(t *testing.T) {
	t.Parallel()
	content := message(t, "A: b\n\n")
	defer content.Release()
	stages := shared(parse(t, "a mail,data gives=x"))
	stages[0].Filter = filter.Func(func(_ context.Context, in *filter.Input) (filter.Result, error) {
		x, _ := filter.Key[string]("x").From(in)
		return filter.Result{Findings: []filter.Finding{{Detail: x}}}, nil
	})
	p := mustCompile(t, stages)
	var runs Runs
	for i, x := range []string{"one", "two", "one"} {
		in := &filter.Input{Session: &filter.Session{}, Transaction: &filter.Transaction{}, Content: content}
		in.Transaction.Record(filter.Fact{Key: "x", Value: x})
		if rs := p.Run(runs.In(t.Context()), filter.Data, in); rs[0].Result.Findings[0].Detail != x || rs[0].Shared != (i == 2) {
			t.Errorf("%d: %+v", i, rs[0])
		}
	}
}

// TestRunsAbandoned: a stage that one plan has given up is not waited for by the next.
func TestRunsAbandoned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in := input(t, "A: b\n\n")
		let := make(chan struct{})
		base := shared(parse(t, "hangs data"))
		base[0].Timeout = time.Second
		base[0].Filter = filter.Func(func(context.Context, *filter.Input) (filter.Result, error) { <-let; return filter.Result{}, nil })
		first, second := mustCompile(t, base), mustCompile(t, base)
		var runs Runs
		began := time.Now()
		for _, p := range []*Plan{first, second} {
			if rs := p.Run(runs.In(t.Context()), filter.Data, in); rs[0].Outcome != TimedOut || !errors.Is(rs[0].Err, ErrDeadline) {
				t.Errorf("%s %v", rs[0].Outcome, rs[0].Err)
			}
		}
		if took := time.Since(began); took != time.Second+grace || Abandoned() != 1 {
			t.Errorf("took %s, %d abandoned", took, Abandoned())
		}
		close(let)
		synctest.Wait()
	})
}

// TestRunsOfRecipients: what a stage says of one recipient is no other's.
func TestRunsOfRecipients(t *testing.T) {
	t.Parallel()
	stages := shared(parse(t, "a rcpt"))
	stages[0].Filter = filter.Func(func(_ context.Context, in *filter.Input) (filter.Result, error) {
		return filter.Result{Findings: []filter.Finding{{Detail: in.Recipient.Route}}}, nil
	})
	p := mustCompile(t, stages)
	var runs Runs
	for _, route := range []string{"x", "y"} {
		in := &filter.Input{Session: &filter.Session{}, Transaction: &filter.Transaction{}, Recipient: &filter.Recipient{Route: route}}
		if rs := p.Run(runs.In(t.Context()), filter.Rcpt, in); rs[0].Result.Findings[0].Detail != route || rs[0].Shared {
			t.Errorf("%s: %+v", route, rs[0])
		}
	}
}

// TestRunsChangeNothing: whatever policies have of their own, whatever is off, fails or is refused, the reports and facts of a plan that
// shares are those of a plan that runs by itself.
func TestRunsChangeNothing(t *testing.T) {
	t.Parallel()
	content := message(t, "A: b\n\n")
	defer content.Release()
	saved := 0
	for seed := range uint64(400) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		const n = 7
		var lines []string
		for i := range n {
			line := fmt.Sprintf("s%d data gives=f%d", i, i)
			if i > 0 && rnd.IntN(2) == 0 {
				line += fmt.Sprintf(" wants=f%d,f%d,m", rnd.IntN(i), rnd.IntN(i))
			}
			if i > 0 && rnd.IntN(5) == 0 {
				line += fmt.Sprintf(" needs=f%d", rnd.IntN(i))
			}
			if rnd.IntN(4) == 0 {
				line += " observe"
			}
			lines = append(lines, line)
		}
		base := shared(parse(t, lines...))
		for i := range base {
			base[i].Filter = dependent(base[i], rnd.Uint64())
		}
		var runs Runs
		for policy := range 4 {
			var stages []Stage
			off := map[string]bool{}
			for i := range base {
				st := base[i]
				if slices.ContainsFunc(st.Needs, func(f string) bool { return off[f] }) || rnd.IntN(6) == 0 {
					off[st.Provides[0]] = true
					continue
				}
				if rnd.IntN(4) == 0 {
					st.Filter, st.Instance = dependent(st, rnd.Uint64()), new(Instance)
				}
				stages = append(stages, st)
			}
			p := mustCompile(t, stages)
			early := filter.Fact{Key: "m", Value: rnd.IntN(2)}
			run := func(ctx context.Context) (Reports, []filter.Fact) {
				in := &filter.Input{Session: &filter.Session{}, Transaction: &filter.Transaction{}, Content: content}
				in.Transaction.Record(early)
				return p.Run(ctx, filter.Data, in), in.Transaction.Facts()
			}
			alone, aloneFacts := run(t.Context())
			with, facts := run(runs.In(t.Context()))
			for _, r := range with {
				if r.Shared {
					saved++
				}
			}
			opts := cmp.Options{cmpopts.IgnoreFields(Report{}, "Elapsed", "Again", "Shared"), cmp.AllowUnexported(unknown{}), cmp.Comparer(func(a, b error) bool { return fmt.Sprint(a) == fmt.Sprint(b) })}
			if diff := cmp.Diff(alone, with, opts); diff != "" {
				t.Fatalf("seed %d, policy %d: -alone +sharing\n%s", seed, policy, diff)
			}
			if diff := cmp.Diff(aloneFacts, facts, opts); diff != "" {
				t.Fatalf("seed %d, policy %d: facts: -alone +sharing\n%s", seed, policy, diff)
			}
		}
	}
	if saved < 2000 {
		t.Errorf("only %d runs were shared", saved)
	}
}

// errUnsure is how a dependent filter fails.
var errUnsure = errors.New("unsure")

// dependent makes a filter of whose result nothing is known beforehand but that it depends on the facts that the stage goes by.
func dependent(st Stage, salt uint64) filter.Filter {
	return filter.Func(func(_ context.Context, in *filter.Input) (filter.Result, error) {
		h := fnv.New64a()
		fmt.Fprint(h, salt, in.Session.PTR)
		for _, key := range append(slices.Clone(st.Needs), st.Wants...) {
			s, _ := filter.Key[string](key).From(in)
			n, _ := filter.Key[int](key).From(in)
			fmt.Fprint(h, key, s, n)
		}
		sum := h.Sum64()
		switch sum % 13 {
		case 0:
			return filter.Result{}, errUnsure
		case 1:
			return proposes(filter.Reject, nil), nil
		}
		return filter.Result{
			Findings: []filter.Finding{{Detail: fmt.Sprint(sum)}}, Facts: []filter.Fact{{Key: st.Provides[0], Value: fmt.Sprint(sum % 3)}},
		}, nil
	})
}
