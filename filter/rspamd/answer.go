package rspamd

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"unicode"

	"github.com/postern-mail/postern/internal/scanner"
)

// answer is what /checkv2 says, as far as it is used.
type answer struct {
	Skipped  bool              `json:"is_skipped"`
	Score    *float64          `json:"score"`
	Required *float64          `json:"required_score"`
	Action   string            `json:"action"`
	Symbols  map[string]symbol `json:"symbols"`
	Messages messages          `json:"messages"`
	Subject  string            `json:"subject"`
	Milter   struct {
		Add    map[string]json.RawMessage `json:"add_headers"`
		Remove map[string]json.RawMessage `json:"remove_headers"`
	} `json:"milter"`
}

// symbol is one of rspamd's.
type symbol struct {
	Score       float64  `json:"score"`
	Metric      float64  `json:"metric_score"`
	Description string   `json:"description"`
	Options     []string `json:"options"`
}

// messages are texts for those who are told something, by kind; an older rspamd gives a list.
type messages map[string]string

// UnmarshalJSON takes a list for none.
func (m *messages) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '[' {
		return nil
	}
	var all map[string]any
	if err := json.Unmarshal(b, &all); err != nil {
		return err
	}
	*m = messages{}
	for k, v := range all {
		if s, ok := v.(string); ok {
			(*m)[k] = s
		}
	}
	return nil
}

// folded tells of an object of an answer, by the keys that lead to it, whether it is read into a struct, which takes keys in any case: the
// answer, each of its symbols, what is said for the milter, and each field that is to be added.
func folded(path []string) bool {
	under := func(name string) bool { return len(path) > 0 && strings.EqualFold(path[0], name) }
	switch len(path) {
	case 0:
		return true
	case 1:
		return under("milter")
	case 2:
		return under("symbols")
	}
	return under("milter") && strings.EqualFold(path[1], "add_headers")
}

// maxScore is the largest score, up or down, that an answer may have: a larger one is a mistake.
const maxScore = 10000

var errAnswer = errors.New("rspamd: an answer that makes no sense")

// parse reads an answer.
func parse(b []byte) (answer, error) {
	var a answer
	if err := scanner.CheckJSON(b, folded); err != nil {
		return answer{}, fmt.Errorf("%w: %w", errAnswer, err)
	}
	if err := json.Unmarshal(b, &a); err != nil {
		return answer{}, fmt.Errorf("%w: %w", errAnswer, err)
	}
	switch {
	case a.Score == nil, a.Action == "":
		return answer{}, fmt.Errorf("%w: no score or no action", errAnswer)
	case math.Abs(*a.Score) > maxScore:
		return answer{}, fmt.Errorf("%w: score %g", errAnswer, *a.Score)
	}
	return a, nil
}

// How much of an answer stands in a finding.
const (
	maxSymbols = 25
	maxOptions = 80  // octets of the options of one symbol
	maxDetail  = 900 // octets
)

// detail lists the symbols, the weightiest first; those that score nothing are only counted.
func (a *answer) detail() string {
	type one struct {
		name string
		symbol
	}
	var all []one
	quiet := 0
	for name, s := range a.Symbols {
		if s.Metric == 0 {
			s.Metric = s.Score
		}
		if s.Metric == 0 {
			quiet++
			continue
		}
		all = append(all, one{name, s})
	}
	slices.SortFunc(all, func(a, b one) int {
		return cmp.Or(-cmp.Compare(math.Abs(a.Metric), math.Abs(b.Metric)), cmp.Compare(a.name, b.name))
	})
	var b strings.Builder
	fmt.Fprintf(&b, "score %s", number(*a.Score))
	if a.Required != nil {
		fmt.Fprintf(&b, " of %s", number(*a.Required))
	}
	fmt.Fprintf(&b, ", %s", scanner.Clipped(a.Action, 40))
	for i, s := range all {
		text := fmt.Sprintf("%s %s", scanner.Clipped(s.name, 64), number(s.Metric))
		if len(s.Options) > 0 {
			text += " [" + scanner.Clipped(strings.Join(s.Options[:min(len(s.Options), 5)], ", "), maxOptions) + "]"
		}
		if i == maxSymbols || b.Len()+len(text) > maxDetail {
			fmt.Fprintf(&b, "; and %d more", len(all)-i)
			break
		}
		b.WriteString("; " + text)
	}
	if quiet > 0 {
		fmt.Fprintf(&b, "; %d without a score", quiet)
	}
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) { // names and options are what rules make of what a sender writes
			return '?'
		}
		return r
	}, b.String())
}

// number writes a score: two decimals at most.
func number(x float64) string {
	s := fmt.Sprintf("%.2f", x)
	return strings.TrimSuffix(strings.TrimRight(s, "0"), ".")
}
