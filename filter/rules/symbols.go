package rules

import (
	"fmt"
	"log/slog"
	"strings"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/rules"
)

// taken are names that rules of SpamAssassin share with symbols of other filters here. Their symbols begin with SA_, whether those
// filters run or not.
var taken = map[string]bool{
	"DMARC_NONE": true, "DMARC_PASS": true, "INVALID_DATE": true, "MISSING_DATE": true, "MISSING_FROM": true, "MISSING_SUBJECT": true,
	"SPF_FAIL": true, "SPF_HELO_FAIL": true, "SPF_HELO_NEUTRAL": true, "SPF_HELO_PASS": true, "SPF_HELO_SOFTFAIL": true,
	"SPF_NEUTRAL": true, "SPF_NONE": true, "SPF_PASS": true, "SPF_SOFTFAIL": true, gaveUp: true, textCut: true,
}

// maxSymbol is how long a symbol may be.
const maxSymbol = 64

// symbolOf gives a symbol for a rule: its name in capitals, or where that is not free another that begins with SA_.
func symbolOf(name string, free func(string) bool) string {
	name = strings.ToUpper(name)
	if !taken[name] && name[0] != '_' {
		if s := name[:min(len(name), maxSymbol)]; free(s) {
			return s
		}
	}
	name = "SA_" + strings.TrimLeft(name, "_")
	s := name[:min(len(name), maxSymbol)]
	for n := 2; !free(s); n++ {
		end := fmt.Sprintf("_%d", n)
		s = name[:min(len(name), maxSymbol-len(end))] + end
	}
	return s
}

// nameSymbols finds the symbols of all rules that score, and tells where two rules would have had the same.
func (l *Loaded) nameSymbols() {
	l.symbols = map[*rules.Rule]string{}
	of := map[string]*rules.Rule{}
	for _, r := range l.Set.Rules() {
		if r.Hidden() || !l.Set.Active(r) {
			continue
		}
		var other *rules.Rule
		name := symbolOf(r.Name, func(s string) bool {
			if of[s] != nil {
				other = of[s]
			}
			return of[s] == nil
		})
		if other != nil {
			l.Problems = append(l.Problems, rules.Problem{
				Position: r.At, Severity: rules.Inexact, Rule: r.Name,
				What: fmt.Sprintf("its symbol is %s: the rule %s at %s has the one that its name gives", name, other.Name, other.At),
			})
		}
		of[name], l.symbols[r] = r, name
	}
}

// Symbol gives the symbol of a rule that scores, where no other filter has one of that name.
func (l *Loaded) Symbol(r *rules.Rule) string { return l.symbols[r] }

// declare declares a symbol for each rule that scores. One that another filter has, with another weight, gives way.
func (l *Loaded) declare(spec *filter.Spec, others map[string]filter.Symbol, log *slog.Logger) map[*rules.Rule]string {
	names := make(map[*rules.Rule]string, len(l.symbols))
	ours := make(map[string]bool, len(l.symbols))
	for _, name := range l.symbols {
		ours[name] = true
	}
	for _, r := range l.Set.Rules() {
		name, ok := l.symbols[r]
		if !ok {
			continue
		}
		weight := l.Set.Score(r)
		if other, clash := others[name]; clash && other.Weight != weight {
			delete(ours, name)
			free := symbolOf(name, func(s string) bool {
				_, is := others[s]
				return !is && !ours[s]
			})
			log.Warn("a rule has the name of another filter's symbol, and is reported by another name", "rule", r.Name, "file", r.At.String(), "symbol", free)
			name = free
			ours[name] = true
		}
		names[r] = name
		about := r.Description
		if about == "" {
			about = "a rule without a description"
		}
		spec.Symbols = append(spec.Symbols, filter.Symbol{Name: name, Weight: weight, Description: about})
	}
	return names
}
