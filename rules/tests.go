package rules

import (
	"errors"
	"fmt"

	"github.com/postern-mail/postern/rules/pattern"
)

// Try looks whether a line "test" of the files holds: whether the rule's pattern matches the text, or does not, as the line says. The error
// is of a rule that has no pattern, and of one that there is not.
func (s *Set) Try(t TestLine) (bool, error) {
	r := s.byName[t.Rule]
	if r == nil {
		return false, fmt.Errorf("there is no rule %s", t.Rule)
	}
	p := r.pattern()
	if p == nil || p.pattern == nil {
		return false, errors.New("only rules with a pattern can be tested by a line: use messages")
	}
	if p.pattern.String() == "" && len(p.written.uses) > 0 {
		return false, errors.New("what it matches hangs on what other rules capture: use messages")
	}
	matches, err := p.pattern.Match([]byte(t.Text))
	if err != nil {
		return false, err
	}
	if h := r.test.header; h != nil {
		matches = matches != h.negated
	}
	return matches == t.Hit, nil
}

// Pattern gives the compiled pattern of a rule, nil for one that has none, or whose pattern holds what others capture.
func (s *Set) Pattern(r *Rule) *pattern.Pattern {
	p := r.pattern()
	if p == nil || len(p.written.uses) > 0 {
		return nil
	}
	return p.pattern
}

// Users lists the metas that name a rule.
func (s *Set) Users(of *Rule) (all []*Rule) {
	for _, r := range s.rules {
		for _, in := range r.test.meta {
			if in.op == opRule && int(in.arg) == of.id {
				all = append(all, r)
				break
			}
		}
	}
	return all
}

// Named lists the rules that a meta names.
func (s *Set) Named(r *Rule) (all []*Rule) {
	seen := map[int32]bool{}
	for _, in := range r.test.meta {
		if in.op == opRule && !seen[in.arg] {
			seen[in.arg] = true
			all = append(all, s.rules[in.arg])
		}
	}
	return all
}
