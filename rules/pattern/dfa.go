package pattern

import (
	"encoding/binary"
	"slices"
	"sync"
	"sync/atomic"
)

// What is known of the octet before a place.
const (
	ctxStart = 1 << iota // there is none
	ctxWord
	ctxLine // a line feed
)

// dfa scans for the patterns of an automaton in one pass. Its states are made when a text first leads to them, and all who
// scan share them: they read the table without a lock, and take one to add to it. A table that is full is thrown away and
// begun anew; who still reads the old one goes on with it until it knows no further.
//
// A state stands for the set of states of the automaton in which a match may be on its way, besides that one may begin at any
// place: those beginnings are in no set, or each would hold them all. Matches are told one octet late, since \b and $ hang on
// what comes next. The line feed that ends a text is an octet of its own kind, for $, and the end is one as well.
type dfa struct {
	nfa     *nfa
	starts  []int32 // of the patterns, in the automaton
	classes [256]uint8
	sample  []byte  // an octet of each class
	stride  int32   // classes, the last line feed, the end
	asks    []uint8 // by state of the automaton: the bits of a context that are asked for before its next octet
	asked   uint8   // those that are asked for at every place, since a match may begin there
	memory  *Memory
	open    *stop // at the start of a text

	tab   atomic.Pointer[table]
	mu    sync.Mutex // for what follows, and for writing to tables
	gen   *generation
	todo  sparse
	next  sparse
	stack []int32
	began map[int32]step  // by context and class: what begins there
	went  int             // states that were gone through, since it was asked
	flush int             // tables thrown away
	rests map[uint8]*rest // by context
}

// table is what is read without a lock. next[s+class] is 0 where not yet known, else the state after that, negative where there is
// a stop. A state is its index times stride; 0 is none.
type table struct {
	next  []int32
	stops []*stop // by index of the state
	gen   *generation
}

// stop is what is to be done where a state is reached, before the next octet.
type stop struct {
	matches []int32 // the patterns to tell of
	rest    *rest   // nil where every octet has to be read
}

// generation holds the states of one table until it is thrown away.
type generation struct {
	known map[string]int32
	sets  []members
	size  int
}

type members struct {
	states  []int32
	context uint8
}

// step is what one octet leads to.
type step struct {
	states  []int32
	matches []int32
}

// sparse is a set of states that is cleared at no cost.
type sparse struct {
	dense []int32
	at    []int32
}

func (s *sparse) clear() { s.dense = s.dense[:0] }

func (s *sparse) add(x int32) bool {
	if i := s.at[x]; int(i) < len(s.dense) && s.dense[i] == x {
		return false
	}
	s.at[x] = int32(len(s.dense))
	s.dense = append(s.dense, x)
	return true
}

func newDFA(a *nfa, starts []int32) *dfa {
	d := &dfa{nfa: a, starts: starts, began: map[int32]step{}, rests: map[uint8]*rest{}}
	a.known, a.setAt, a.groups = nil, nil, nil
	d.todo.at, d.next.at = make([]int32, len(a.states)), make([]int32, len(a.states))
	d.asks = a.asks()
	for _, s := range starts {
		d.asked |= d.asks[s]
	}
	d.classify()
	return d
}

// join gives an automaton a share of memory, and begins its table.
func (d *dfa) join(m *Memory) {
	d.memory = m
	m.among.Add(1)
	d.reset()
	d.open = d.tab.Load().stops[1]
}

// classify finds which octets no set tells apart.
func (d *dfa) classify() {
	sets := append([]octets{classWord, ranges('\n', '\n')}, d.nfa.sets...)
	var marks [256]uint64
	for i := range sets {
		for b := range 256 {
			marks[b] = marks[b]*0x9E3779B97F4A7C15 + 1
			if sets[i].has(byte(b)) {
				marks[b] = marks[b]*0xC2B2AE3D27D4EB4F + 7
			}
		}
	}
	at := map[uint64]uint8{}
	for b := range 256 {
		c, ok := at[marks[b]]
		if !ok {
			c = uint8(len(d.sample))
			at[marks[b]] = c
			d.sample = append(d.sample, byte(b))
		}
		d.classes[b] = c
	}
	d.stride = int32(len(d.sample)) + 2
}

// reset begins a new table. The first state is the start of a text.
func (d *dfa) reset() {
	if d.gen != nil {
		d.memory.used.Add(-int64(d.gen.size))
	}
	d.gen = &generation{known: map[string]int32{}, sets: []members{{}}}
	clear(d.began)
	d.tab.Store(d.newTable(16))
	d.intern(nil, nil, ctxStart&d.asked)
}

// newTable makes a table of the generation with room for so many states.
func (d *dfa) newTable(states int) *table {
	t := &table{next: make([]int32, states*int(d.stride)), stops: make([]*stop, states), gen: d.gen}
	d.grow(4*len(t.next) + 8*len(t.stops))
	return t
}

// grow notes that the tables hold so many octets more.
func (d *dfa) grow(octets int) {
	d.gen.size += octets
	d.memory.used.Add(int64(octets))
}

// intern gives the state of a set, made if need be: negative where there is a stop.
func (d *dfa) intern(states, matches []int32, context uint8) int32 {
	key := make([]byte, 0, 4*(len(states)+len(matches))+2)
	key = append(key, context)
	for _, s := range states {
		key = binary.LittleEndian.AppendUint32(key, uint32(s))
	}
	if len(matches) > 0 {
		key = append(key, 0xFF)
		for _, s := range matches {
			key = binary.LittleEndian.AppendUint32(key, uint32(s))
		}
	}
	if s, ok := d.gen.known[string(key)]; ok {
		return s
	}
	i := len(d.gen.sets)
	d.gen.sets = append(d.gen.sets, members{slices.Clone(states), context})
	d.grow(2*len(key) + 160)
	t := d.tab.Load()
	if i >= len(t.stops) {
		grown := d.newTable(2 * len(t.stops))
		copy(grown.next, t.next)
		copy(grown.stops, t.stops)
		t = grown
		d.tab.Store(t)
		d.grow(-(4*len(t.next) + 8*len(t.stops)) / 2) // of the one that it takes the place of
	}
	s := int32(i) * d.stride
	var r *rest
	if len(states) == 0 {
		r = d.restOf(context)
	}
	if len(matches) > 0 || r != nil {
		t.stops[i] = &stop{slices.Clone(matches), r}
		d.grow(4*len(matches) + 80)
		s = -s
	}
	d.gen.known[string(key)] = s
	return s
}

// extend finds what class leads to from state s of table t, the table to go on with, and what that has cost in steps.
func (d *dfa) extend(t *table, s, class int32) (int32, *table, int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	cur := d.tab.Load()
	if cur.gen == t.gen {
		if to := cur.next[s+class]; to != 0 {
			return to, cur, 1
		}
	}
	from := t.gen.sets[s/d.stride]
	d.went = 0
	states, matches, context := d.move(from, class)
	cost := extendSteps + stateSteps*(d.went+len(states))
	if d.memory.full(d.gen.size) {
		d.flush++
		d.reset()
	}
	same := d.gen == t.gen
	to := d.intern(states, matches, context)
	cur = d.tab.Load()
	if same {
		atomic.StoreInt32(&cur.next[s+class], to)
	}
	return to, cur, cost
}

// What a new state costs in steps: to begin with, and for each state of the patterns that it stands for.
const (
	extendSteps = 100
	stateSteps  = 8
)

// move gives the set that a class leads to, sorted, and the patterns that match before it.
func (d *dfa) move(from members, class int32) (states, matches []int32, context uint8) {
	begun := d.begin(from.context, class)
	d.todo.clear()
	d.next.clear()
	matches = d.follow(from.states, from.context, class, nil)
	for _, s := range begun.states {
		d.next.add(s)
	}
	matches = append(matches, begun.matches...)
	slices.Sort(matches)
	matches = slices.Compact(matches)
	if class == d.stride-1 {
		return nil, matches, 0
	}
	slices.Sort(d.next.dense)
	asked := d.asked
	for _, s := range d.next.dense {
		asked |= d.asks[s]
	}
	return d.next.dense, matches, d.behind(class) & asked
}

// behind gives what is known behind an octet of a class.
func (d *dfa) behind(class int32) (context uint8) {
	c := d.symbol(class)
	if classWord.has(c) {
		context |= ctxWord
	}
	if c == '\n' {
		context |= ctxLine
	}
	return context
}

// begin gives what may begin at a place.
func (d *dfa) begin(context uint8, class int32) step {
	key := int32(context)<<16 | class
	b, ok := d.began[key]
	if !ok {
		d.todo.clear()
		d.next.clear()
		b.matches = d.follow(d.starts, context, class, nil)
		b.states = slices.Clone(d.next.dense)
		d.began[key] = b
		d.grow(4*len(b.states) + 100)
	}
	return b
}

// symbol gives an octet of a class.
func (d *dfa) symbol(class int32) byte {
	if int(class) >= len(d.sample) {
		return '\n'
	}
	return d.sample[class]
}

// follow takes one octet of a class from some states, into d.next, and adds the patterns that match before it.
func (d *dfa) follow(from []int32, context uint8, class int32, matches []int32) []int32 {
	c := d.symbol(class)
	end := class == d.stride-1
	stack := append(d.stack[:0], from...)
	for len(stack) > 0 {
		i := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		if !d.todo.add(i) {
			continue
		}
		s := &d.nfa.states[i]
		switch s.kind {
		case stateSet:
			if !end && d.nfa.sets[s.arg].has(c) {
				d.next.add(s.out)
			}
		case stateSplit:
			stack = append(stack, s.other, s.out)
		case stateAssert:
			if d.holds(s.arg, context, class, c) {
				stack = append(stack, s.out)
			}
		case stateMatch:
			matches = append(matches, s.arg)
		}
	}
	d.stack = stack
	d.went += len(d.todo.dense)
	return matches
}

func (d *dfa) holds(assertion int32, context uint8, class int32, c byte) bool {
	end, last := class == d.stride-1, class == d.stride-2
	switch assertion {
	case atTextStart, atSearchFrom:
		return context&ctxStart != 0
	case atLineStart:
		return context&ctxStart != 0 || context&ctxLine != 0 && !end
	case atTextEnd:
		return end
	case atLastLine:
		return end || last
	case atLineEnd:
		return end || c == '\n'
	}
	before, after := context&ctxWord != 0, !end && classWord.has(c)
	return (before != after) == (assertion == atBoundary)
}

// scan calls tell with each pattern that matches in b, perhaps many times. It tells whether the work sufficed; where not, b
// was not read to its end.
func (d *dfa) scan(b []byte, w *Work, tell func(matches []int32)) bool {
	t := d.tab.Load()
	s := d.stride
	n := len(b)
	if n > 0 && b[n-1] == '\n' {
		n--
	}
	var over leap
	i := over.from(d.open, b[:n], 0)
	for i < n {
		next := t.next
		for _, c := range b[i:n] {
			class := int32(d.classes[c])
			to := atomic.LoadInt32(&next[s+class])
			if to <= 0 {
				break
			}
			s = to
			i++
		}
		if i < n {
			var at *stop
			if s, t, at = d.slow(t, s, int32(d.classes[b[i]]), w, tell); w.over() {
				return false
			}
			i = over.from(at, b[:n], i+1)
		}
	}
	if n < len(b) {
		s, t, _ = d.slow(t, s, d.stride-2, w, tell)
	}
	d.slow(t, s, d.stride-1, w, tell)
	return w.pass(len(b)) && !w.over()
}

// slow takes a step that may have to be made, and tells of matches. It gives the stop that is there, if any.
func (d *dfa) slow(t *table, s, class int32, w *Work, tell func(matches []int32)) (int32, *table, *stop) {
	to, t, cost := d.step(t, s, class)
	if cost > 0 {
		w.spend(cost)
	}
	if to > 0 {
		return to, t, nil
	}
	at := t.stops[-to/d.stride]
	if len(at.matches) > 0 {
		tell(at.matches)
	}
	return -to, t, at
}

// step takes a step that may have to be made, for which cost is more than zero.
func (d *dfa) step(t *table, s, class int32) (to int32, _ *table, cost int) {
	if to = atomic.LoadInt32(&t.next[s+class]); to == 0 {
		return d.extend(t, s, class)
	}
	return to, t, 0
}
