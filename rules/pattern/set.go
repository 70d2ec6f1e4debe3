package pattern

import (
	"fmt"
	"slices"
	"sync"
)

// SetOptions set the bounds of a Set. The zero value works.
type SetOptions struct {
	// Memory bounds the tables that grow while texts are scanned, in octets; 0 is 32 MiB.
	Memory int
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

	exactly []lazyDFA // by pattern, for those that reach the step limit
}

// client is a pattern that waits for its texts.
type client struct {
	pattern int32
	spread  bool // the text may lie anywhere after the start of the match
	lo, hi  int
}

// group is an automaton that several patterns share.
type group struct {
	dfa      *dfa
	patterns []int32
	exact    []bool // by place in patterns
}

// What decides how patterns are looked for.
const (
	clueBits      = 12     // a text that tells less than this is no clue
	groupPatterns = 8      // patterns in an automaton
	groupStates   = 16_000 // states of an automaton that takes in no more
	fewPatterns   = 2      // so many are tried one by one
	defaultMemory = 32 << 20
)

// NewSet makes a set of patterns, which Scan numbers as they stand in ps.
func NewSet(ps []*Pattern, o SetOptions) *Set {
	s := &Set{patterns: ps, exactly: make([]lazyDFA, len(ps))}
	texts := map[string][]int32{}
	var rest []int32
	for i, p := range ps {
		if len(ps) <= fewPatterns || p.least <= 1 && !p.start {
			s.direct = append(s.direct, int32(i))
			continue
		}
		c, bits, ok := findClue(p.tree())
		if !ok || bits < clueBits {
			rest = append(rest, int32(i))
			continue
		}
		wide := c.hi == infinite || c.hi-c.lo > clueSpread
		s.clients = append(s.clients, client{int32(i), wide, c.lo, c.hi})
		for _, t := range c.texts {
			texts[t] = append(texts[t], int32(len(s.clients)-1))
		}
	}
	if len(texts) > 0 {
		s.grams = newGrams(texts)
	}
	s.group(rest, o.Memory)
	return s
}

// group shares patterns out to automata.
func (s *Set) group(rest []int32, memory int) {
	if memory <= 0 {
		memory = defaultMemory
	}
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
	for _, i := range rest {
		if g == nil {
			open, starts, g = newNFA(loose), nil, &group{}
		}
		start, exact := open.add(s.patterns[i].tree(), int32(len(g.patterns)))
		starts = append(starts, start)
		g.patterns = append(g.patterns, i)
		g.exact = append(g.exact, exact)
		if len(g.patterns) >= groupPatterns || len(open.states) > groupStates {
			finish()
		}
	}
	finish()
	b := newBudget(memory, len(s.groups))
	for _, g := range s.groups {
		g.dfa.share(b)
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
// are answered too; those that reach the step limit before they match are left out and named in the error, a *GaveUpError.
func (s *Set) Scan(segs [][]byte, hit func(pattern, segment int)) error {
	x := scans.Get().(*scan)
	defer x.release()
	x.begin(s, segs, hit)
	for i, b := range segs {
		x.segment(i, b)
	}
	if len(x.gave) > 0 {
		all := []int{}
		for p := range x.gave {
			all = append(all, int(p))
		}
		slices.Sort(all)
		return &GaveUpError{all}
	}
	return nil
}

// Warm scans texts to fill the tables that grow with use, so that the first messages are not slower than the rest.
func (s *Set) Warm(texts [][]byte) {
	_ = s.Scan(texts, func(int, int) {})
}

// scan is the work of one Scan.
type scan struct {
	set     *Set
	hit     func(pattern, segment int)
	index   int
	b       []byte
	low     []byte
	m       machine
	done    []bool  // by pattern: it hit
	tries   []tried // by pattern
	pending []int32
	gave    map[int32]bool
	octets  int // of all segments
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
	steps    int // that are left in this scan, once begun
}

var scans = sync.Pool{New: func() any {
	x := new(scan)
	x.find, x.tell = x.found, x.told
	return x
}}

func (x *scan) begin(s *Set, segs [][]byte, hit func(pattern, segment int)) {
	x.set, x.hit = s, hit
	n := len(s.patterns)
	if cap(x.done) < n {
		x.done, x.tries = make([]bool, n), make([]tried, n)
	}
	x.done, x.tries = x.done[:n], x.tries[:n]
	clear(x.done)
	clear(x.tries)
	x.gave, x.octets = nil, 0
	for _, b := range segs {
		x.octets += len(b)
	}
}

func (x *scan) release() {
	x.set, x.hit, x.b, x.group = nil, nil, nil, nil
	x.m.b, x.m.p = nil, nil
	if cap(x.low) > 1<<20 {
		x.low = nil
	}
	if cap(x.m.stack) > 1<<14 {
		x.m.stack = nil
	}
	scans.Put(x)
}

func (x *scan) segment(i int, b []byte) {
	x.index, x.b = i, b
	s := x.set
	for _, p := range s.direct {
		if !x.done[p] {
			x.try(p)
		}
	}
	if s.grams != nil {
		x.low = append(x.low[:0], b...)
		for i, c := range x.low {
			x.low[i] = lower[c]
		}
		x.low = append(x.low, 0, 0, 0, 0)
		s.grams.scan(x.low, len(b), x.find)
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
		g.dfa.scan(b, x.tell)
		for _, p := range x.pending {
			x.try(p)
		}
	}
}

// told hears of matches in a group.
func (x *scan) told(matches []int32) {
	for _, k := range matches {
		p := x.group.patterns[k]
		switch {
		case x.done[p]:
		case x.group.exact[k]:
			x.hits(p)
		case x.tries[p].segment != x.index+1:
			x.tried(p).whole = true
			x.pending = append(x.pending, p)
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
		t.begun, t.steps = true, x.set.patterns[p].limit(x.octets)
	}
	if t.segment != x.index+1 {
		t.segment, t.whole, t.from, t.to = x.index+1, false, 0, 0
	}
	return t
}

// try looks for a pattern in the whole segment.
func (x *scan) try(p int32) {
	t := x.tried(p)
	ok, err := x.set.patterns[p].search(&x.m, x.b, 0, 0, t.steps)
	t.steps = x.m.steps
	x.settle(p, ok, err)
}

func (x *scan) settle(p int32, ok bool, err error) {
	if err != nil {
		ok, err = x.set.exactMatch(p, x.b)
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

// found hears of a text that clients wait for.
func (x *scan) found(pl *place, at int) {
	for _, k := range pl.clients {
		c := &x.set.clients[k]
		if x.done[c.pattern] {
			continue
		}
		t, p := x.tried(c.pattern), x.set.patterns[c.pattern]
		if t.whole {
			continue
		}
		if c.spread {
			t.whole = true
			x.try(c.pattern)
			continue
		}
		from, to := max(at-c.hi, 0), at-c.lo+1
		if p.start {
			to = min(to, 1)
		}
		x.starts(c.pattern, p, t, from, to)
	}
}

// starts tries matches that begin within a range.
func (x *scan) starts(i int32, p *Pattern, t *tried, from, to int) {
	for pos := from; pos < to; pos++ {
		if pos >= t.from && pos < t.to || pos >= len(x.b) || !p.first.has(x.b[pos]) {
			continue
		}
		x.m.reset(p.prog, x.b, 0, 0, t.steps)
		_, ok, err := x.m.at(pos)
		t.steps = x.m.steps
		if ok || err != nil {
			t.whole = true
			x.settle(i, ok, err)
			return
		}
	}
	if from <= t.to && to >= t.from { // one range with what was tried before
		from, to = min(from, t.from), max(to, t.to)
	}
	t.from, t.to = from, to
}

// lazyDFA is the exact automaton of one pattern, made when it is first asked for.
type lazyDFA struct {
	once sync.Once
	dfa  *dfa // nil where there is none
}

// The bounds of an exact automaton.
const (
	exactStates = 100_000
	exactMemory = 4 << 20
)

// exactMatch tells whether a pattern matches where the backtracker gave up; the error is ErrSteps where that cannot be told.
func (s *Set) exactMatch(i int32, b []byte) (bool, error) {
	l := &s.exactly[i]
	l.once.Do(func() {
		t := s.patterns[i].tree()
		if size(t.root) > exactStates {
			return
		}
		a := newNFA(strict)
		if start, exact := a.add(t, 0); exact {
			l.dfa = newDFA(a, []int32{start})
			l.dfa.share(newBudget(exactMemory, 1))
		}
	})
	if l.dfa == nil {
		return false, ErrSteps
	}
	ok := false
	l.dfa.scan(b, func([]int32) { ok = true })
	return ok, nil
}
