package rules

import (
	"slices"

	"github.com/postern-mail/postern/rules/text"
)

// headerGroup is the rules about one field.
type headerGroup struct {
	selector text.Selector
	group            // those with patterns, asked whether the field matches
	exists   []*Rule // those that ask whether it is there
	negated  []*Rule // of rules those that ask whether it does not match
	waits    []*Rule // those that ask whether it does not match what is captured
}

func (g *headerGroup) add(r *Rule) {
	if r.test.header.exists {
		g.exists = append(g.exists, r)
		return
	}
	if r.uses() && r.negated() {
		g.waits = append(g.waits, r)
		return
	}
	g.rules = append(g.rules, r)
	if r.test.header.negated {
		g.negated = append(g.negated, r)
	}
}

// runHeaders looks at all fields that rules name.
func (st *run) runHeaders() {
	for i := range st.s.headers {
		g := &st.s.headers[i]
		value, ok := st.m.Text.Header(g.selector)
		if !ok {
			for _, r := range g.rules {
				switch h := r.test.header; {
				case r.uses():
					st.pend(r, [][]byte{h.unset})
				case h.missing:
					st.hit(r, 1, nil, "")
				}
			}
			for _, r := range g.waits {
				st.pend(r, [][]byte{r.test.header.unset})
			}
			continue
		}
		for _, r := range g.exists {
			st.hit(r, 1, nil, "")
		}
		st.held[0] = value
		st.runGroup(&g.group, st.held[:])
		st.negate(g.negated)
		for _, r := range g.waits {
			st.pend(r, [][]byte{value})
		}
	}
}

// negate turns what the rules with !~ about a field that is there have found. What gave up has not hit.
func (st *run) negate(rules []*Rule) {
	for _, r := range rules {
		switch {
		case st.hits[r.id] != 0:
			st.hits[r.id] = 0
		case !slices.Contains(st.gave, r.id):
			st.hits[r.id] = 1
		}
	}
}
