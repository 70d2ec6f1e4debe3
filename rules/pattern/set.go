package pattern

import (
	"context"
	"fmt"
	"slices"
	"sync"
)

// SetOptions set the bounds of a Set. The zero value works.
type SetOptions struct {
	// Memory is what the set shares with others for tables that grow while texts are scanned; nil is one of its own, of
	// DefaultMemory.
	Memory *Memory

	// Sample is text of the kind that will be scanned: it tells what is rare in it, so that patterns are looked for by that, and the tables
	// are warmed with it.
	Sample [][]byte
}

// Set looks for many patterns at once. It is safe for concurrent use.
//
// A pattern whose matches all hold one of a few short texts that are rare in mail is looked for by those texts: a hash over the
// segment finds them, and the pattern is tried where they lie. The rest share automata, in groups, that read each octet
// once. What an automaton cannot tell exactly is tried on the segment in which it may match.
type Set struct {
	patterns []*Pattern
	direct   []int32 // tried on every segment
	grams    *grams
	clients  []client
	groups   []*group
	memory   *Memory

	exactly []lazyDFA // by pattern, for those that reach the step limit
}

// group is an automaton that several patterns share.
type group struct {
	dfa      *dfa
	patterns []int32
	exact    []bool // by place in patterns
}

// What decides how patterns are looked for.
const (
	groupPatterns = 8      // patterns in an automaton
	groupStates   = 16_000 // states of an automaton that takes in no more
	fewPatterns   = 2      // so many are tried one by one
)

// NewSet makes a set of patterns, which Scan numbers as they stand in ps.
func NewSet(ps []*Pattern, o SetOptions) *Set {
	s := &Set{patterns: ps, exactly: make([]lazyDFA, len(ps)), memory: o.Memory}
	if s.memory == nil {
		s.memory = NewMemory(0)
	}
	rate := newRater(o.Sample)
	texts := map[string][]int32{}
	var rest []way
	for i, p := range ps {
		if p.Narrow() && len(ps) <= fewPatterns || p.least == 0 && !p.start || p.single() {
			s.direct = append(s.direct, int32(i))
			continue
		}
		t := p.tree()
		all, others := rate.watches(t, &p.first, p.start)
		if len(all) == 0 || len(others) > 0 && t.groups > 0 { // what groups hold is known of the whole only
			all, others = nil, []*node{t.root}
		}
		for _, b := range all {
			s.wait(int32(i), b, texts)
		}
		for _, n := range others {
			rest = append(rest, way{int32(i), n, t.groups})
		}
	}
	if len(texts) > 0 {
		s.grams = newGrams(texts, rate)
	}
	s.group(rest)
	s.Warm(o.Sample)
	return s
}

// way is a pattern, or some of the alternatives that it begins with.
type way struct {
	pattern int32
	root    *node
	groups  int
}

// group shares patterns out to automata. Those that match at the start of a text only have their own, which can stop early.
func (s *Set) group(rest []way) {
	byStart := func(a, b way) int {
		switch x, y := s.patterns[a.pattern].start, s.patterns[b.pattern].start; {
		case x == y:
			return 0
		case x:
			return -1
		}
		return 1
	}
	slices.SortStableFunc(rest, byStart)
	var open *nfa
	var starts []int32
	var g *group
	finish := func() {
		if g != nil {
			g.dfa = newDFA(open, starts)
			s.groups = append(s.groups, g)
		}
		g = nil
	}
	for i, w := range rest {
		if i > 0 && byStart(rest[i-1], w) != 0 {
			finish()
		}
		if g == nil {
			open, starts, g = newNFA(loose), nil, &group{}
		}
		start, exact := open.add(&tree{root: w.root, groups: w.groups}, int32(len(g.patterns)))
		starts = append(starts, start)
		g.patterns = append(g.patterns, w.pattern)
		g.exact = append(g.exact, exact)
		if len(g.patterns) >= groupPatterns || len(open.states) > groupStates {
			finish()
		}
	}
	finish()
	for _, g := range s.groups {
		g.dfa.join(s.memory)
	}
}

// tree reads the pattern again: trees are large, and are needed only to make a set.
func (p *Pattern) tree() *tree {
	t, err := parse(p.expr, p.options)
	if err != nil { // it was read before
		panic(err)
	}
	return t
}

// GaveUpError tells which patterns of a set reached the step limit. errors.Is finds ErrSteps in it.
type GaveUpError struct {
	Patterns []int // ascending
}

func (e *GaveUpError) Error() string {
	return fmt.Sprintf("%v: by %d patterns", ErrSteps, len(e.Patterns))
}

// Is makes errors.Is(err, ErrSteps) true.
func (e *GaveUpError) Is(target error) bool { return target == ErrSteps }

// Scan calls hit with each pattern that matches in one of the segments, and the first segment that it matches in, in no
// order. A match lies within one segment. Each answer is what Find would give, but that some patterns of which Find gives up
// are answered too; those that reach the step limit before they match are left out and named in the error, a *GaveUpError. Where
// the work w is at its end before the scan is, those are all that have not matched. Where its context ends, the error is that of
// the context. With a nil w the scan has a Work of its own.
func (s *Set) Scan(w *Work, segs [][]byte, hit func(pattern, segment int)) error {
	if w == nil {
		w = NewWork(context.Background(), 0)
	}
	x := scans.Get().(*scan)
	defer x.release()
	x.begin(s, w, segs, hit)
	for i, b := range segs {
		if !x.segment(i, b) {
			break
		}
	}
	if w.err != nil {
		return fmt.Errorf("pattern: %w", w.err)
	}
	return x.gaveUp()
}

// gaveUp names the patterns of which is not known whether they match.
func (x *scan) gaveUp() error {
	if len(x.gave) == 0 && !x.unread {
		return nil
	}
	all := []int{}
	for p, done := range x.done {
		if !done && (x.gave[int32(p)] || x.unread) {
			all = append(all, p)
		}
	}
	if len(all) == 0 {
		return nil
	}
	return &GaveUpError{all}
}

// Warm scans texts to fill the tables that grow with use, so that the first messages are not slower than the rest.
func (s *Set) Warm(texts [][]byte) {
	_ = s.Scan(nil, texts, func(int, int) {})
}

// scan is the work of one Scan.
type scan struct {
	set     *Set
	w       *Work
	hit     func(pattern, segment int)
	index   int
	b       []byte
	m       machine
	folded  folded
	done    []bool  // by pattern: it hit
	tries   []tried // by pattern
	pending []int32
	marks   []mark
	heads   []int32 // by client, of a list of marks; they begin at 1
	marked  []int32 // clients that have marks
	gave    map[int32]bool
	unread  bool // the work ended before the segments did
	octets  int  // of all segments
	group   *group
	left    int // patterns of the group that have not hit
	find    func(p *place, at int)
	tell    func(matches []int32)
}

// tried is what was tried of a pattern in a segment.
type tried struct {
	segment  int // 1 and more
	whole    bool
	from, to int // starts
	begun    bool
	steps    int // that are left to the backtracker in this scan, once begun
	exactly  int // and for its exact automaton
}

var scans = sync.Pool{New: func() any {
	x := new(scan)
	x.find, x.tell = x.found, x.told
	return x
}}

func (x *scan) begin(s *Set, w *Work, segs [][]byte, hit func(pattern, segment int)) {
	x.set, x.w, x.hit = s, w, hit
	n := len(s.patterns)
	if cap(x.done) < n {
		x.done, x.tries = make([]bool, n), make([]tried, n)
	}
	x.done, x.tries = x.done[:n], x.tries[:n]
	if cap(x.heads) < len(s.clients) {
		x.heads = make([]int32, len(s.clients))
	}
	x.heads = x.heads[:len(s.clients)]
	clear(x.heads)
	clear(x.done)
	clear(x.tries)
	x.marks, x.marked = x.marks[:0], x.marked[:0]
	x.gave, x.octets, x.unread = nil, 0, false
	for _, b := range segs {
		x.octets += len(b)
	}
	if !w.over() { // what is given up stays so
		w.steps += workStepsPerByte * x.octets
	}
}

func (x *scan) release() {
	x.set, x.w, x.hit, x.b, x.group = nil, nil, nil, nil, nil
	x.m.b, x.m.p = nil, nil
	if cap(x.marks) > 1<<16 {
		x.marks = nil
	}
	if cap(x.m.stack) > 1<<14 {
		x.m.stack = nil
	}
	scans.Put(x)
}

// segment scans one, and tells whether the work sufficed.
func (x *scan) segment(i int, b []byte) bool {
	x.index, x.b = i, b
	if x.unread = x.w.over(); x.unread {
		return false
	}
	s := x.set
	for _, p := range s.direct {
		if !x.done[p] {
			x.try(p)
		}
	}
	if s.grams != nil {
		all := s.grams.scan(b, &x.folded, x.w, x.find)
		if x.forget(); !all {
			x.unread = true
			return false
		}
	}
	for _, g := range s.groups {
		x.left = 0
		for _, p := range g.patterns {
			if !x.done[p] {
				x.left++
			}
		}
		if x.left == 0 {
			continue
		}
		x.group, x.pending = g, x.pending[:0]
		if x.unread = !g.dfa.scan(b, x.w, x.tell); x.unread {
			return false
		}
		for _, p := range x.pending {
			x.try(p)
		}
	}
	x.unread = x.w.over()
	return !x.unread
}

// told hears of matches in a group.
func (x *scan) told(matches []int32) {
	for _, k := range matches {
		p := x.group.patterns[k]
		switch {
		case x.done[p]:
		case x.group.exact[k]:
			x.hits(p)
		default:
			// Some alternatives of a pattern may have been tried where their texts lie; these are others.
			if t := x.tried(p); !t.whole {
				t.whole = true
				x.pending = append(x.pending, p)
			}
		}
	}
}

func (x *scan) hits(p int32) {
	x.done[p] = true
	delete(x.gave, p)
	x.hit(int(p), x.index)
}

// tried gives what was tried of a pattern in this segment.
func (x *scan) tried(p int32) *tried {
	t := &x.tries[p]
	if !t.begun {
		t.begun, t.steps = true, x.set.patterns[p].share(x.w, x.octets)
		if x.set.patterns[p].regular { // the two have one limit
			t.exactly = t.steps / 2
			t.steps -= t.exactly
		}
	}
	if t.segment != x.index+1 {
		t.segment, t.whole, t.from, t.to = x.index+1, false, 0, 0
	}
	return t
}

// try looks for a pattern in the whole segment.
func (x *scan) try(p int32) {
	t := x.tried(p)
	allowed := min(t.steps, x.w.steps)
	ok, err := x.set.patterns[p].search(&x.m, x.b, 0, 0, allowed)
	x.took(t, allowed)
	x.settle(p, ok, err)
}

// took takes off what the machine was allowed and has not left.
func (x *scan) took(t *tried, allowed int) {
	t.steps -= allowed - x.m.steps
	x.w.spend(allowed - x.m.steps)
}

func (x *scan) settle(p int32, ok bool, err error) {
	if err != nil && !x.w.over() {
		ok, err = x.set.exactMatch(p, x.b, &x.tries[p].exactly, x.w)
	}
	switch {
	case ok:
		x.hits(p)
	case err != nil:
		if x.gave == nil {
			x.gave = map[int32]bool{}
		}
		x.gave[p] = true
	}
}
