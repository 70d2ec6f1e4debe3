package rules

import (
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"
)

// Metas and what SpamAssassin calls ready.
//
// A meta runs when all rules that it names have been decided. Rules that do not run (their score is 0, or they need the network) count as
// not hit, but only once everything else has run, and then only metas with a score are looked at. So a meta whose own score is 0 and that
// names such a rule is never decided; nor is one whose score is 0 and that is true, since what is true without a score leaves no trace, nor
// one that divides by zero in a message. A meta that names one of these is never decided in its turn, and does not hit, be it "X && !Y"
// or not. Here such a rule is undecided: what it hit is NaN.

// undecided marks a rule that was not decided.
var undecided = math.NaN()

// metaState says how far a meta can be decided.
type metaState struct {
	early bool // all that it needs is decided when the rules with a score have run
	never bool // it is never decided
	maybe bool // it may stay undecided in some messages
}

// compileMetas compiles the metas and puts them in an order in which each stands behind those that it names. Metas in a circle are false.
func (l *loader) compileMetas(s *Set) {
	names := map[*Rule][]*Rule{}
	for _, r := range s.rules {
		if r.Class != Meta {
			continue
		}
		var err error
		if r.test.meta, names[r], err = l.compileMeta(r, s); err != nil {
			r.never = fmt.Sprintf("it never hits: %v", err)
			l.tell(r.At, Fault, r.Name, "%s", r.never)
			delete(names, r)
			r.test.meta = nil
		}
	}
	order, circle := sortMetas(s, names)
	for _, r := range circle {
		r.never = "it never hits: it needs itself, by way of other metas"
		l.tell(r.At, Fault, r.Name, "%s", r.never)
		r.test.meta = nil
	}
	states := make([]metaState, len(s.rules))
	for _, r := range order {
		st := stateOf(r, names[r], states)
		states[r.id] = st
		r.sides = sidesOfMeta(names[r])
		if !r.active && !st.early || st.never && r.active {
			continue // nothing can come of it
		}
		for _, n := range names[r] {
			if n.Class == Meta && states[n.id].maybe {
				r.test.guards = append(r.test.guards, int32(n.id)) //nolint:gosec // at most maxRules
			}
		}
		s.metas = append(s.metas, r)
	}
}

// stateOf says how far a meta can be decided, where those that it names are known.
func stateOf(r *Rule, names []*Rule, states []metaState) metaState {
	st := metaState{early: len(r.test.strangers) == 0}
	for _, n := range names {
		if n.Class != Meta {
			st.early = st.early && n.active
			continue
		}
		if n.test.meta == nil {
			continue // false at once
		}
		of := states[n.id]
		st.early = st.early && of.early
		st.never = st.never || of.never
		st.maybe = st.maybe || of.maybe
	}
	if !r.active {
		st.never = st.never || !st.early
		st.maybe = true
	}
	st.maybe = st.maybe || slices.ContainsFunc(r.test.meta, func(in instruction) bool { return in.op == opDivide })
	return st
}

// compileMeta compiles one meta and lists the rules that it names, each once.
func (l *loader) compileMeta(r *Rule, s *Set) (code []instruction, names []*Rule, err error) {
	text, err := l.expandGlobs(r, s)
	if err != nil {
		return nil, nil, err
	}
	all, strange := tokens(text)
	if strange > 0 {
		l.tell(r.At, Note, r.Name, "some of its signs are none of a meta's, and are passed over")
	}
	if len(all) == 2 && all[0] == "(" && all[1] == ")" {
		return []instruction{{op: opNumber}}, nil, nil
	}
	seen := map[string]bool{}
	c := &compiler{tokens: all, name: func(c *compiler, name string) error {
		if !ruleName.MatchString(name) {
			return fmt.Errorf("%q is no name of a rule", cut(name, 40))
		}
		if name == "local_tests_only" {
			c.number(truth(!l.o.Network))
			return nil
		}
		of := s.byName[name]
		if of == nil {
			if !slices.Contains(r.test.strangers, name) {
				r.test.strangers = append(r.test.strangers, name)
			}
			c.number(0)
			return nil
		}
		if !seen[name] {
			seen[name] = true
			names = append(names, of)
		}
		if id := int32(of.id); !c.negated && !slices.Contains(r.test.shows, id) { //nolint:gosec // at most maxRules
			r.test.shows = append(r.test.shows, id)
		}
		c.emit(opRule, of.id)
		return nil
	}}
	if code, err = c.compile(); err != nil {
		return nil, nil, err
	}
	if _, divided := value(code, make([]float64, len(s.rules))); divided {
		return nil, nil, errors.New("it divides by zero where no rule has hit")
	}
	return code, names, nil
}

// metaForm says what is wrong with the form of a meta, whatever rules there are.
func metaForm(text string) error {
	all, _ := tokens(globCall.ReplaceAllString(text, " 0 "))
	if len(all) == 2 && all[0] == "(" && all[1] == ")" {
		return nil
	}
	c := &compiler{tokens: all, name: func(c *compiler, name string) error {
		if !ruleName.MatchString(name) {
			return fmt.Errorf("%q is no name of a rule", cut(name, 40))
		}
		c.number(0)
		return nil
	}}
	code, err := c.compile()
	if err != nil {
		return err
	}
	if _, divided := value(code, nil); divided {
		return errors.New("it divides by zero where no rule has hit")
	}
	return nil
}

var globCall = regexp.MustCompile(`rules_matching\([^)]*\)`)

// maxExpanded bounds what rules_matching() may grow a meta to.
const maxExpanded = 1 << 20

// expandGlobs puts the sum of the rules that it means in the place of each rules_matching(GLOB).
func (l *loader) expandGlobs(r *Rule, s *Set) (string, error) {
	const call = "rules_matching("
	text := r.Text
	if !strings.Contains(text, call) {
		return text, nil
	}
	var b strings.Builder
	for {
		i := strings.Index(text, call)
		n := -1
		if i >= 0 {
			n = strings.IndexByte(text[i:], ')')
		}
		if n < 0 {
			return b.String() + text, nil
		}
		glob := strings.TrimSpace(text[i+len(call) : i+n])
		b.WriteString(text[:i])
		b.WriteString(" (")
		some := false
		for _, of := range s.rules {
			if of != r && matchGlob(glob, of.Name) {
				if some {
					b.WriteByte('+')
				}
				b.WriteString(of.Name)
				some = true
			}
			if b.Len() > maxExpanded {
				return "", fmt.Errorf("rules_matching(%s) means too many rules", cut(glob, 60))
			}
		}
		if !some {
			b.WriteByte('0')
		}
		b.WriteString(") ")
		text = text[i+n+1:]
	}
}

// sortMetas puts metas behind those that they name, and lists those that can't be.
func sortMetas(s *Set, names map[*Rule][]*Rule) (order, circle []*Rule) {
	waits := make([]int, len(s.rules)) // how many metas that it names are not in order yet
	users := map[*Rule][]*Rule{}
	var ready []*Rule
	for _, r := range s.rules {
		deps, ok := names[r]
		if !ok {
			continue
		}
		for _, n := range deps {
			if _, isMeta := names[n]; isMeta {
				waits[r.id]++
				users[n] = append(users[n], r)
			}
		}
		if waits[r.id] == 0 {
			ready = append(ready, r)
		}
	}
	for len(ready) > 0 {
		r := ready[0]
		ready = ready[1:]
		order = append(order, r)
		for _, u := range users[r] {
			if waits[u.id]--; waits[u.id] == 0 {
				ready = append(ready, u)
			}
		}
	}
	for _, r := range s.rules {
		if _, ok := names[r]; ok && waits[r.id] > 0 {
			circle = append(circle, r)
		}
	}
	return order, circle
}
