package pattern

import "sync"

// lazyDFA is the exact automaton of one pattern, made when it is first asked for.
type lazyDFA struct {
	once sync.Once
	dfa  *dfa // nil where there is none
}

// exactStates bounds the automaton of a pattern that is looked for exactly: a state of its table stands for so many at most, and
// that is what an octet of hostile text may cost.
const exactStates = 2000

// exactMatch tells whether a pattern matches where the backtracker gave up; the error is ErrSteps where that cannot be told, or
// not with steps, of which it leaves the rest, or of w.
func (s *Set) exactMatch(i int32, b []byte, steps *int, w *Work) (bool, error) {
	if !s.patterns[i].regular {
		return false, ErrSteps
	}
	l := &s.exactly[i]
	l.once.Do(func() { l.dfa = s.exactDFA(i) })
	if l.dfa == nil {
		return false, ErrSteps
	}
	before := min(*steps, w.steps)
	left := before
	ok, err := l.dfa.matches(b, &left)
	*steps -= before - left
	w.spend(before - left)
	return ok, err
}

// exactDFA makes the exact automaton of a pattern, where there is one of reasonable size and room for it.
func (s *Set) exactDFA(i int32) *dfa {
	a := newNFA(strict)
	start, exact := a.add(s.patterns[i].tree(), 0)
	if !exact || len(a.states) > 2*exactStates {
		return nil
	}
	d := newDFA(a, []int32{start})
	if !s.memory.keep(d.fixedSize()) {
		return nil
	}
	d.join(s.memory)
	return d
}

// fixedSize gives about how many octets an automaton takes without its tables.
func (d *dfa) fixedSize() int { return 24*len(d.nfa.states) + 32*len(d.nfa.sets) + 1024 }

// matches tells whether one of the patterns matches in b, and stops where it does. Each octet is a step, and what a new state
// costs is taken off as well.
func (d *dfa) matches(b []byte, steps *int) (bool, error) {
	t := d.tab.Load()
	s := d.stride
	if *steps -= len(b); *steps < 0 {
		return false, ErrSteps
	}
	for i := 0; i <= len(b); i++ {
		class := d.stride - 1
		switch {
		case i == len(b)-1 && b[i] == '\n':
			class--
		case i < len(b):
			class = int32(d.classes[b[i]])
		}
		to, cost := int32(0), 0
		if to, t, cost = d.step(t, s, class); cost > 0 {
			if *steps -= cost; *steps < 0 {
				return false, ErrSteps
			}
		}
		if to < 0 {
			if to = -to; len(t.stops[to/d.stride].matches) > 0 {
				return true, nil
			}
		}
		s = to
	}
	return false, nil
}
