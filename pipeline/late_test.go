package pipeline

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/postern-mail/postern/filter"
)

// TestFollow: which stages a policy's plan runs late, and of which nothing counts any more.
func TestFollow(t *testing.T) {
	for _, c := range []struct {
		name          string
		before, after []string
		own           string
		late          string // of connect, helo and mail
		gone          string
	}{
		{"nothing of its own", []string{"a mail", "b data"}, []string{"a mail", "b data"}, "", "[] [] []", ""},
		{"of later phases", []string{"a mail", "b rcpt,data"}, []string{"a mail", "b rcpt,data"}, "b", "[] [] []", ""},
		{"one phase", []string{"a connect", "b mail"}, []string{"a connect", "b mail"}, "b", "[] [] [b]", "b"},
		{"several", []string{"a connect,helo,mail,data", "b helo"}, []string{"a connect,helo,mail,data", "b helo"}, "b a", "[a] [a b] [a]", "a b"},
		{"a phase less", []string{"a mail,data", "b mail"}, []string{"a data", "b mail"}, "a", "[] [] []", "a"},
		{"a phase more", []string{"a data", "b mail"}, []string{"a mail,data", "b mail"}, "a", "[] [] [a]", "a"},
		{"off", []string{"a connect", "b mail"}, []string{"b mail"}, "", "[] [] []", "a"},
		{"off, of a later phase", []string{"a rcpt", "b mail"}, []string{"b mail"}, "", "[] [] []", ""},
		{
			"those that go by it",
			[]string{"a connect gives=x", "b mail needs=x gives=y", "c mail wants=y", "d mail", "e data needs=x"},
			[]string{"a connect gives=x", "b mail needs=x gives=y", "c mail wants=y", "d mail", "e data needs=x"},
			"a", "[a] [] [b c]", "a b c",
		},
		{"those that went by what is off", []string{"a mail gives=x", "b mail wants=x", "c mail"}, []string{"b mail wants=x", "c mail"}, "", "[] [] [b]", "a b"},
		{
			"a second provider, of which is heard only now",
			[]string{"a mail gives=x", "b connect,mail gives=x,y observe", "c mail wants=y", "d mail"},
			[]string{"b connect,mail gives=x,y observe", "c mail wants=y", "d mail"},
			"", "[b] [] [b c]", "a b c",
		},
		{"a second provider, still unheard", []string{"a mail gives=x", "b mail gives=x observe"}, []string{"a mail gives=x", "b mail gives=x observe"}, "a", "[] [] [a]", "a"},
		{"a second provider, of a later phase", []string{"a mail gives=x", "b data gives=x observe"}, []string{"b data gives=x observe"}, "", "[] [] []", "a"},
		{
			"what changes later changes nothing before",
			[]string{"a data gives=x", "b mail,data wants=x"},
			[]string{"a data gives=x", "b mail,data wants=x"},
			"a", "[] [] []", "",
		},
		{"in waves", []string{"b mail wants=x", "a mail gives=x"}, []string{"b mail wants=x", "a mail gives=x"}, "b a", "[] [] [a b]", "a b"},
		{"one that counts", []string{"a mail fixed", "b mail gives=x", "c mail wants=x fixed"}, []string{"a mail fixed", "b mail gives=x", "c mail wants=x fixed"}, "a b", "[] [] [b]", "b"},
	} {
		t.Run(c.name, func(t *testing.T) {
			plan := func(lines []string) *Plan { return mustCompile(t, parse(t, lines...)) }
			before, p := plan(c.before), plan(c.after)
			p.Follow(before, strings.Fields(c.own))
			var late []string
			for _, ph := range []filter.Phase{filter.Connect, filter.Helo, filter.Mail} {
				names := []string{}
				for _, r := range p.RunLate(t.Context(), ph, input(t, "")) {
					names = append(names, r.Stage)
				}
				if p.HasLate(ph) != (len(names) > 0) {
					t.Errorf("%s: HasLate is %v", ph, p.HasLate(ph))
				}
				late = append(late, fmt.Sprint(names))
			}
			if got := strings.Join(late, " "); got != c.late {
				t.Errorf("late %s, want %s", got, c.late)
			}
			var gone []string
			if p.late != nil {
				for name := range p.late.gone {
					gone = append(gone, name)
				}
			}
			slices.Sort(gone)
			if got := strings.Join(gone, " "); got != c.gone || p.Late() != (got != "") {
				t.Errorf("gone %q (%v), want %q", got, p.Late(), c.gone)
			}
		})
	}
}

// TestCorrect: reports of the policy's own stages stand where those of the others stood, and facts of the others are forgotten.
func TestCorrect(t *testing.T) {
	lines := []string{"a connect,mail gives=x", "b mail gives=y", "c connect,mail gives=z"}
	finds := func(word string) []Stage {
		stages := parse(t, lines...)
		for i := range stages {
			s := &stages[i]
			s.Symbols = []filter.Symbol{{Name: "FOUND", Weight: 1}}
			s.Filter = filter.Func(func(context.Context, *filter.Input) (filter.Result, error) {
				return filter.Result{
					Findings: []filter.Finding{{Symbol: "FOUND", Strength: 1, Detail: s.Name + word}},
					Facts:    []filter.Fact{{Key: s.Provides[0], Value: s.Name + word}},
				}, nil
			})
		}
		return stages
	}
	before, p := mustCompile(t, finds("1")), mustCompile(t, finds("2"))
	var again []string
	p.SetHook(func(r Report) { again = append(again, fmt.Sprint(r.Stage, r.Again)) })
	p.Follow(before, []string{"b", "a"})
	in := &filter.Input{Session: &filter.Session{}, Transaction: &filter.Transaction{}}
	in.Session.Record(filter.Fact{Key: "other", Value: "kept"})
	first := append(before.Run(t.Context(), filter.Connect, in), before.Run(t.Context(), filter.Mail, in)...)
	in.Session, in.Transaction = in.Session.Knowing(p.Remembered(in.Session.Facts())), in.Transaction.Knowing(p.Remembered(in.Transaction.Facts()))
	if got := fmt.Sprint(in.Session.Facts(), in.Transaction.Facts()); got != "[{other kept} {z c1}] [{z c1}]" {
		t.Errorf("remembered %s", got)
	}
	late := append(p.RunLate(t.Context(), filter.Connect, in), p.RunLate(t.Context(), filter.Mail, in)...)
	var got []string
	for _, r := range p.Correct(first, late) {
		got = append(got, r.Phase.String()+" "+r.Result.Findings[0].Detail)
	}
	if want := "connect a2, connect c1, mail a2, mail b2, mail c1"; strings.Join(got, ", ") != want {
		t.Errorf("reports %v, want %s", got, want)
	}
	if got := fmt.Sprint(in.Session.Facts(), in.Transaction.Facts()); got != "[{other kept} {z c1} {x a2}] [{z c1} {x a2} {y b2}]" {
		t.Errorf("facts %s", got)
	}
	if want := "[atrue atrue btrue]"; fmt.Sprint(again) != want {
		t.Errorf("the hook was told %v, want %s: all this was counted", again, want)
	}
}
