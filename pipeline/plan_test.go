package pipeline

import (
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/postern-mail/postern/filter"
)

// nothing is a filter that finds nothing.
var nothing = filter.Func(func(context.Context, *filter.Input) (filter.Result, error) { return filter.Result{}, nil })

// parse reads stages from lines such as "dmarc data needs=spf,dkim wants=x gives=y syms=A:1,B:2".
func parse(t testing.TB, lines ...string) []Stage {
	t.Helper()
	var stages []Stage
	for _, line := range lines {
		words := strings.Fields(line)
		st := Stage{Spec: filter.Spec{Name: words[0]}, Filter: nothing}
		for _, name := range strings.Split(words[1], ",") {
			for _, ph := range filter.AllPhases() {
				if ph.String() == name {
					st.Phases |= filter.In(ph)
				}
			}
		}
		for _, w := range words[2:] {
			key, value, _ := strings.Cut(w, "=")
			list := strings.Split(value, ",")
			switch key {
			case "needs":
				st.Needs = list
			case "wants":
				st.Wants = list
			case "gives":
				st.Provides = list
			case "observe":
				st.Observe = true
			case "fixed":
				st.Fixed = []string{"most"}
			default:
				t.Fatalf("no such key in %q", line)
			}
		}
		stages = append(stages, st)
	}
	return stages
}

func TestCompileOrder(t *testing.T) {
	for _, c := range []struct {
		name   string
		stages []string
		order  string
		waves  string // of the data phase: positions within the phase
	}{
		{"configuration order stands", []string{"c data", "a data", "b data"}, "c a b", "[[0 1 2]]"},
		{"need", []string{"dmarc data needs=spf,dkim", "dkim data gives=dkim", "spf mail gives=spf"}, "dkim spf dmarc", "[[0] [1]]"},
		{"want orders", []string{"b data wants=f", "a data gives=f"}, "a b", "[[0] [1]]"},
		{"want of nobody", []string{"b data wants=f", "a data"}, "b a", "[[0 1]]"},
		{"want across phases is no tie", []string{"b mail wants=f gives=g", "a data needs=g gives=f"}, "b a", "[[0]]"},
		{"want of one's own", []string{"a mail,data wants=f gives=f"}, "a", "[[0]]"},
		{"diamond", []string{"d data needs=b,c", "b data needs=a gives=b", "c data needs=a gives=c", "a data gives=a"}, "a b c d", "[[0] [1 2] [3]]"},
		{"waves are not plan order", []string{"a data gives=a", "b data needs=a", "c data"}, "a b c", "[[0 2] [1]]"},
		{"dry run after the enforced one", []string{"b data needs=f", "a data gives=f", "try data gives=f observe"}, "a b try", "[[0 2] [1]]"},
		{"dry run before the enforced one", []string{"try data gives=f observe", "b data needs=f", "a data gives=f"}, "try a b", "[[0 1] [2]]"},
		{"dry run in other phases", []string{"try data gives=f observe", "b mail needs=f", "a mail gives=f"}, "try a b", "[[0]]"},
		{"dry run of what uses the fact it gives", []string{"try data needs=f gives=f observe", "a data gives=f"}, "a try", "[[0] [1]]"},
		{"the first of two dry runs", []string{"b data wants=f", "y data gives=f observe", "x data gives=f observe"}, "y b x", "[[0 2] [1]]"},
		{"none", nil, "", "[]"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, err := Compile(parse(t, c.stages...))
			if err != nil {
				t.Fatal(err)
			}
			var order []string
			for _, s := range p.stages {
				order = append(order, s.Name)
			}
			if got := strings.Join(order, " "); got != c.order {
				t.Errorf("order %q, want %q", got, c.order)
			}
			if got := printWaves(p.phases[filter.Data].waves); got != c.waves {
				t.Errorf("waves %s, want %s", got, c.waves)
			}
			if p.Empty() != (len(c.stages) == 0) {
				t.Errorf("Empty is %v", p.Empty())
			}
		})
	}
}

func printWaves(waves [][]int) string {
	if waves == nil {
		return "[]"
	}
	return strings.TrimSpace(strings.Trim(sprint(waves), " "))
}

func TestCompileErrors(t *testing.T) {
	symbol := func(name string, weight float64) func([]Stage) {
		return func(s []Stage) {
			last := &s[len(s)-1]
			last.Symbols = append(last.Symbols, filter.Symbol{Name: name, Weight: weight})
		}
	}
	for _, c := range []struct {
		name   string
		stages []string
		change func([]Stage)
		stage  string
		msg    string
	}{
		{"nobody provides", []string{"dmarc data needs=spf"}, nil, "dmarc", "dmarc needs spf, which no filter of the list provides"},
		{
			"provided too late",
			[]string{"dmarc mail needs=dkim", "dkim data gives=dkim"},
			nil, "dmarc",
			"dmarc needs dkim in the mail phase, which dkim does not provide before the data phase",
		},
		{
			"provided too late for the first of its phases",
			[]string{"a connect,data needs=f", "b mail,data gives=f"},
			nil, "a",
			"a needs f in the connect phase, which b does not provide before the mail phase",
		},
		{
			"provided for recipients only",
			[]string{"a data needs=f", "b rcpt gives=f"},
			nil, "a",
			"a needs f in the data phase, which b provides for single recipients only",
		},
		{"two providers", []string{"a data gives=f", "b data gives=f"}, nil, "b", "a and b both provide f"},
		{"two providers and a dry run", []string{"try data gives=f observe", "a data gives=f", "two data gives=f observe", "b data gives=f"}, nil, "b", "a and b both provide f"},
		{
			"dry run provides too late an enforced one's fact",
			[]string{"a mail needs=f", "try connect gives=f observe", "b data gives=f"},
			nil, "a",
			"a needs f in the mail phase, which b does not provide before the data phase",
		},
		{"own need", []string{"a data needs=f gives=f"}, nil, "a", "a needs f, which it is to provide itself"},
		{
			"circle",
			[]string{"x data", "a data needs=c gives=a", "b data needs=a gives=b", "c data wants=b gives=c", "y data needs=a"},
			nil, "a",
			"stages wait for each other in a circle: a after c after b after a",
		},
		{"same name", []string{"a data", "a mail"}, nil, "a", "a is the name of two stages"},
		{"no name", []string{"a data"}, func(s []Stage) { s[0].Name = "" }, "", "stage 1 has no name"},
		{"bad name", []string{"a data"}, func(s []Stage) { s[0].Name = "a b" }, "a b", `"a b" is not a name: want at most 64 of a-z A-Z 0-9 . _ -`},
		{"reserved name", []string{"intake data"}, nil, "intake", "intake is the name of what comes before the filters: another name is needed"},
		{"no phase", []string{"a nowhere"}, nil, "a", "a runs in no phase"},
		{"unknown phase", []string{"a data"}, func(s []Stage) { s[0].Phases |= 1 << 7 }, "a", "a runs in a phase that does not exist"},
		{"no filter", []string{"a data"}, func(s []Stage) { s[0].Filter = nil }, "a", "a has no filter"},
		{"timeout", []string{"a data"}, func(s []Stage) { s[0].Timeout = -1 }, "a", "a has a negative timeout"},
		{"on_error", []string{"a data"}, func(s []Stage) { s[0].OnError = 9 }, "a", "a has an unknown on_error"},
		{"symbol", []string{"a data"}, symbol("Bad", 1), "a", `a declares "Bad", which is not a symbol: want at most 64 of A-Z 0-9 _, a letter first`},
		{"no symbol", []string{"a data"}, symbol("", 1), "a", `a declares "", which is not a symbol: want at most 64 of A-Z 0-9 _, a letter first`},
		{"weight", []string{"a data"}, symbol("A", math.NaN()), "a", "a declares A without a finite weight"},
		{"two weights", []string{"a data", "b data"}, func(s []Stage) {
			symbol("X", 1)(s[:1])
			symbol("X", 2.5)(s)
		}, "b", "b declares X with weight 2.5, a with 1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			stages := parse(t, c.stages...)
			if c.change != nil {
				c.change(stages)
			}
			p, err := Compile(stages)
			var se *StageError
			if !errors.As(err, &se) || p != nil {
				t.Fatalf("got %v, %v; want a *StageError", p, err)
			}
			if se.Stage != c.stage || se.Msg != c.msg {
				t.Errorf("got  %q: %s\nwant %q: %s", se.Stage, se.Msg, c.stage, c.msg)
			}
		})
	}
}

func TestPlanSays(t *testing.T) {
	stages := parse(t, "a connect,data gives=f", "b rcpt")
	stages[0].Symbols = []filter.Symbol{{Name: "X", Weight: 2}}
	stages[1].Symbols = []filter.Symbol{{Name: "X", Weight: 2}, {Name: "Y", Weight: -1}}
	p, err := Compile(stages)
	if err != nil {
		t.Fatal(err)
	}
	var has []filter.Phase
	for _, ph := range filter.AllPhases() {
		if p.Has(ph) {
			has = append(has, ph)
		}
	}
	if want := []filter.Phase{filter.Connect, filter.Rcpt, filter.Data}; !slices.Equal(has, want) {
		t.Errorf("has %v, want %v", has, want)
	}
	if s := p.Symbols(); len(s) != 2 || s["X"].Weight != 2 || s["Y"].Weight != -1 {
		t.Errorf("symbols %v", s)
	}
	if !p.Provides("f") || p.Provides("g") {
		t.Error("Provides is wrong")
	}
	var none *Plan
	if !none.Empty() || none.Has(filter.Data) || none.Run(t.Context(), filter.Data, &filter.Input{}) != nil {
		t.Error("a nil plan is not empty")
	}
}

func TestParseOnError(t *testing.T) {
	for _, o := range []OnError{Defer, ContinueOnError, RejectOnError} {
		if got, err := ParseOnError(o.String()); err != nil || got != o {
			t.Errorf("%v: got %v, %v", o, got, err)
		}
	}
	if _, err := ParseOnError("pass"); err == nil {
		t.Error("took pass")
	}
	if OnError(0) != Defer {
		t.Error("the zero value does not defer")
	}
}
