package pipeline

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/mail"
)

func sprint(v any) string { return fmt.Sprint(v) }

// says makes a filter with one answer.
func says(res filter.Result, err error) filter.Filter {
	return filter.Func(func(context.Context, *filter.Input) (filter.Result, error) { return res, err })
}

// with gives the stages those filters, in order.
func with(stages []Stage, filters ...filter.Filter) []Stage {
	for i, f := range filters {
		stages[i].Filter = f
	}
	return stages
}

func mustCompile(t testing.TB, stages []Stage) *Plan {
	t.Helper()
	p, err := Compile(stages)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// message makes a content of text whose lines end in LF.
func message(t testing.TB, text string) *mail.Content {
	t.Helper()
	raw := strings.ReplaceAll(text, "\n", "\r\n")
	return mail.NewContent(mail.NewBlob([]byte(raw)), mail.LineFaults{}, mail.Limits{})
}

func input(t testing.TB, text string) *filter.Input {
	in := &filter.Input{Session: &filter.Session{ID: "s"}, Transaction: &filter.Transaction{ID: "t"}}
	if text != "" {
		in.Content = message(t, text)
		t.Cleanup(in.Content.Release)
	}
	return in
}

// outcomes writes reports as "a:pass b:error".
func outcomes(rs Reports) string {
	var out []string
	for _, r := range rs {
		out = append(out, r.Stage+":"+r.Outcome.String())
	}
	return strings.Join(out, " ")
}

var factF = filter.Key[string]("f")

func TestFactsGoIntoTheirScope(t *testing.T) {
	for _, ph := range filter.AllPhases() {
		t.Run(ph.String(), func(t *testing.T) {
			p := mustCompile(t, with(parse(t, "a "+ph.String()+" gives=f"),
				says(filter.Result{Facts: []filter.Fact{factF.Of("v")}}, nil)))
			in := input(t, "")
			in.Recipient = &filter.Recipient{}
			p.Run(t.Context(), ph, in)
			got := map[string]bool{
				"session":     len(in.Session.Facts()) > 0,
				"transaction": len(in.Transaction.Facts()) > 0,
				"recipient":   len(in.Recipient.Facts()) > 0,
			}
			want := map[filter.Phase]string{
				filter.Connect: "session", filter.Helo: "session",
				filter.Mail: "transaction", filter.Rcpt: "recipient", filter.Data: "transaction",
			}[ph]
			for scope, has := range got {
				if has != (scope == want) {
					t.Errorf("%s has it: %v", scope, has)
				}
			}
		})
	}
}

func TestLaterWavesSeeFacts(t *testing.T) {
	p := mustCompile(t, with(parse(t, "b data needs=f", "a data gives=f"),
		filter.Func(func(_ context.Context, in *filter.Input) (filter.Result, error) {
			v, ok := factF.From(in)
			if !ok || v != "v" {
				return filter.Result{}, errors.New("no fact")
			}
			return filter.Result{}, nil
		}),
		says(filter.Result{Facts: []filter.Fact{factF.Of("v")}}, nil)))
	if got := outcomes(p.Run(t.Context(), filter.Data, input(t, "A: b\n\n"))); got != "a:pass b:pass" {
		t.Error(got)
	}
}

func TestNeedOfAFailedProvider(t *testing.T) {
	fails := says(filter.Result{Facts: []filter.Fact{factF.Of("half")}}, errors.New("no answer"))
	p := mustCompile(t, with(parse(t, "spf mail,data gives=f observe", "dmarc data needs=f gives=g", "sum data needs=g", "looks data wants=f"), fails))
	in := input(t, "A: b\n\n")
	p.Run(t.Context(), filter.Mail, in)
	rs := p.Run(t.Context(), filter.Data, in)
	if got := outcomes(rs); got != "spf:error dmarc:error sum:error looks:pass" {
		t.Fatal(got)
	}
	for _, r := range rs[1:3] {
		if !errors.Is(r.Err, ErrNeeds) {
			t.Errorf("%s: %v", r.Stage, r.Err)
		}
	}
	if v, ok := factF.From(in); ok {
		t.Errorf("the fact is %q", v)
	}
	// A new transaction knows nothing of the old one's failure.
	in.Transaction = &filter.Transaction{}
	if got := outcomes(mustCompile(t, parse(t, "spf mail gives=f", "dmarc data needs=f")).Run(t.Context(), filter.Data, in)); got != "dmarc:pass" {
		t.Error(got)
	}
}

func TestNeedAcrossPhasesAndScopes(t *testing.T) {
	answer := filter.Result{Facts: []filter.Fact{factF.Of("v")}}
	var err error
	provider := filter.Func(func(context.Context, *filter.Input) (filter.Result, error) { return answer, err })
	p := mustCompile(t, with(parse(t, "a helo,mail gives=f", "b data needs=f"), provider))
	in := input(t, "A: b\n\n")
	p.Run(t.Context(), filter.Helo, in)
	err = errors.New("no answer")
	p.Run(t.Context(), filter.Mail, in)
	if _, ok := factF.From(in); ok {
		t.Error("the session's older fact speaks for a transaction in which nobody could tell")
	}
	if got := outcomes(p.Run(t.Context(), filter.Data, in)); got != "b:error" {
		t.Error(got)
	}
	err = nil
	p.Run(t.Context(), filter.Mail, in)
	if got := outcomes(p.Run(t.Context(), filter.Data, in)); got != "b:pass" {
		t.Errorf("after the provider told: %s", got)
	}
}

// A stage that observes beside the enforced one of its kind has no say in the fact that both provide,
// wherever it stands in the configuration.
func TestDryRunBesideItsKind(t *testing.T) {
	gives := func(v string) filter.Filter {
		return says(filter.Result{Facts: []filter.Fact{factF.Of(v)}, Findings: []filter.Finding{{Symbol: "X", Strength: 1}}}, nil)
	}
	fails := says(filter.Result{}, errors.New("no answer"))
	rejects := says(filter.Result{Propose: filter.Reject}, nil)
	for _, c := range []struct {
		name    string
		filters map[string]filter.Filter // of the stages below; the others find nothing
		fact    string                   // "" where nobody could tell
		want    map[string]Outcome
	}{
		{"both tell", map[string]filter.Filter{"a": gives("of a"), "try": gives("of try")}, "of a", map[string]Outcome{"a": Match, "try": Match, "b": Pass}},
		{"the enforced one fails", map[string]filter.Filter{"a": fails, "try": gives("of try")}, "", map[string]Outcome{"a": Errored, "try": Match, "b": Errored}},
		{"the dry run fails", map[string]filter.Filter{"a": gives("of a"), "try": fails}, "of a", map[string]Outcome{"a": Match, "try": Errored, "b": Pass}},
		{"the enforced one finds nothing", map[string]filter.Filter{"try": gives("of try")}, "", map[string]Outcome{"a": Pass, "try": Match, "b": Pass}},
		{"the enforced one is spared", map[string]filter.Filter{"gate": rejects, "a": gives("of a"), "try": gives("of try")}, "", map[string]Outcome{"a": Skipped, "try": Match, "b": Errored}},
	} {
		for _, order := range [][]string{{"a", "try", "b"}, {"try", "a", "b"}, {"b", "try", "a"}, {"b", "a", "try"}} {
			t.Run(c.name+"/"+strings.Join(order, " "), func(t *testing.T) {
				lines := []string{"gate data gives=g"}
				for _, name := range order {
					lines = append(lines, map[string]string{
						"a": "a data gives=f wants=g", "try": "try data gives=f wants=g observe", "b": "b data needs=f observe",
					}[name])
				}
				stages := parse(t, lines...)
				for i := range stages {
					stages[i].Symbols = []filter.Symbol{{Name: "X", Weight: 2}}
					if f := c.filters[stages[i].Name]; f != nil {
						stages[i].Filter = f
					}
				}
				p, in := mustCompile(t, stages), input(t, "A: b\n\n")
				rs := p.Run(t.Context(), filter.Data, in)
				for _, r := range rs {
					if want, ok := c.want[r.Stage]; ok && r.Outcome != want {
						t.Errorf("%s: %v, %v; want %v", r.Stage, r.Outcome, r.Err, want)
					}
					if len(r.Result.Facts) > 0 && r.Stage != "a" {
						t.Errorf("the report of %s has %v", r.Stage, r.Result.Facts)
					}
				}
				if v, _ := factF.From(in); v != c.fact {
					t.Errorf("the fact is %q, want %q", v, c.fact)
				}
				for _, f := range in.Transaction.Facts() {
					if _, is := f.Value.(unknown); is && c.want["a"].Told() {
						t.Errorf("%s was recorded as unknown", f.Key)
					}
				}
				enforced := 0.0
				if c.want["a"] == Match {
					enforced = 2
				}
				if v := (&Policy{Weights: map[string]float64{"X": p.Symbols()["X"].Weight}}).Decide(rs); v.Score != enforced {
					t.Errorf("score %v, want %v", v.Score, enforced)
				}
			})
		}
	}
}

// Where all that provide a fact observe, the first in the configuration is heard, and no other.
func TestTwoDryRunsOfAKind(t *testing.T) {
	told := says(filter.Result{Facts: []filter.Fact{factF.Of("of x")}}, nil)
	for _, c := range []struct {
		name   string
		first  filter.Filter
		fact   string
		result string
	}{
		{"tells", says(filter.Result{Facts: []filter.Fact{factF.Of("of y")}}, nil), "of y", "y:pass x:pass b:pass"},
		{"fails", says(filter.Result{}, errors.New("no answer")), "", "y:error x:pass b:error"},
	} {
		t.Run(c.name, func(t *testing.T) {
			in := input(t, "A: b\n\n")
			rs := mustCompile(t, with(parse(t, "y data gives=f observe", "x data gives=f observe", "b data needs=f"), c.first, told)).Run(t.Context(), filter.Data, in)
			if got := outcomes(rs); got != c.result {
				t.Errorf("got  %s\nwant %s", got, c.result)
			}
			if v, _ := factF.From(in); v != c.fact {
				t.Errorf("the fact is %q, want %q", v, c.fact)
			}
		})
	}
}

// What a filter returned is its own: it may give the same slice each time.
func TestFactsOfTheFilterAreNotChanged(t *testing.T) {
	shared := []filter.Fact{factF.Of("of try"), {Key: "g", Value: 1}}
	p := mustCompile(t, with(parse(t, "try data gives=f,g observe", "a data gives=f"), says(filter.Result{Facts: shared}, nil)))
	for range 2 {
		rs := p.Run(t.Context(), filter.Data, input(t, "A: b\n\n"))
		if facts := rs[0].Result.Facts; len(facts) != 1 || facts[0].Key != "g" {
			t.Errorf("the report has %v", facts)
		}
	}
	if shared[0].Key != "f" || shared[1].Key != "g" {
		t.Errorf("the filter's own slice is now %v", shared)
	}
}

func TestProviderThatDidNotRun(t *testing.T) {
	p := mustCompile(t, parse(t, "a mail gives=f", "b data needs=f"))
	if got := outcomes(p.Run(t.Context(), filter.Data, input(t, "A: b\n\n"))); got != "b:pass" {
		t.Error(got)
	}
}

func TestRejectEndsTheRun(t *testing.T) {
	reject := says(filter.Result{Propose: filter.Reject}, nil)
	held := says(filter.Result{Propose: filter.Reject, Hold: true}, nil)
	for _, c := range []struct {
		name   string
		first  string
		filter filter.Filter
		phase  filter.Phase
		want   string
	}{
		{"data", "a data gives=f", reject, filter.Data, "a:match same:pass late:skipped watch:error own:skipped"},
		{"observed", "a data gives=f observe", reject, filter.Data, "a:match same:pass late:pass watch:pass own:pass"},
		{"quarantine", "a data gives=f", says(filter.Result{Propose: filter.Quarantine}, nil), filter.Data, "a:match same:pass late:pass watch:pass own:pass"},
		{"error", "a data gives=g", says(filter.Result{}, errors.New("x")), filter.Data, "a:error same:pass late:pass watch:pass own:pass"},
		{"before the policy is known", "a mail gives=f", reject, filter.Mail, "a:match same:pass late:pass watch:pass own:pass"},
		{"held", "a rcpt gives=f", held, filter.Rcpt, "a:match same:pass late:pass watch:pass own:pass"},
	} {
		t.Run(c.name, func(t *testing.T) {
			ph := c.phase.String()
			stages := with(parse(t, c.first, "same "+ph+" gives=s", "late "+ph+" needs=s gives=l", "watch "+ph+" needs=l observe", "own "+ph+" needs=l"), c.filter)
			in := input(t, "A: b\n\n")
			in.Recipient = &filter.Recipient{}
			if got := outcomes(mustCompile(t, stages).Run(t.Context(), c.phase, in)); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
	t.Run("what observes still runs", func(t *testing.T) {
		stages := with(parse(t, "a data gives=f", "watch data wants=f observe"), reject)
		if got := outcomes(mustCompile(t, stages).Run(t.Context(), filter.Data, input(t, "A: b\n\n"))); got != "a:match watch:pass" {
			t.Error(got)
		}
	})
}

func TestHookIsToldInPlanOrder(t *testing.T) {
	p := mustCompile(t, with(parse(t, "a data gives=a", "b data needs=a", "c data"), says(filter.Result{Propose: filter.Reject}, nil)))
	var told []string
	p.SetHook(func(r Report) { told = append(told, r.Stage+":"+r.Outcome.String()) })
	p.Run(t.Context(), filter.Data, input(t, "A: b\n\n"))
	if want := []string{"a:match", "c:pass", "b:skipped"}; !slices.Equal(told, want) {
		t.Errorf("told %v, want %v", told, want)
	}
}

func TestSummaries(t *testing.T) {
	rs := Reports{{Stage: "a", Phase: filter.Mail, Outcome: Errored, Err: errors.New("no\r\nanswer \x1b[31m"), Observe: true, Elapsed: 1234567}}
	got := rs.Summaries()
	if want := (Summary{Stage: "a", Phase: "mail", Outcome: "error", MS: 1.234, Error: "no answer ?[31m", Observed: true}); len(got) != 1 || got[0] != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	b, err := json.Marshal(got)
	if want := `[{"filter":"a","phase":"mail","outcome":"error","ms":1.234,"error":"no answer ?[31m","observed":true}]`; err != nil || string(b) != want {
		t.Errorf("got  %s, %v\nwant %s", b, err, want)
	}
}
