package pattern

import "slices"

// The automaton that a set scans with accepts each text that the pattern matches. Of regular patterns with small counts it
// accepts no other: they are exact. Of the rest it may accept more, and who scans has to confirm: looks count as nothing,
// a reference as what its group may hold, an atomic group as a plain one, and a count beyond a bound as any number.

// What a state of an automaton does.
const (
	stateSet    = iota // takes an octet of sets[arg], then out
	stateSplit         // out or other
	stateAssert        // out where the assertion arg holds
	stateMatch         // pattern arg matches
)

type state struct {
	kind  uint8
	arg   int32
	out   int32
	other int32
}

// limits of the expansion of counts.
type expansion struct {
	narrow int // the most octets in a set that is still counted up to copies
	copies int // the most copies of one octet
	least  int // the most states of the turns that a repeat of more has to take
	states int // the most states of those that it may take
}

// loose makes automata that stay small when they are made deterministic: what is wide and counted, such as .{0,50} behind
// something, would need a state for each set of places at which it may have begun.
var (
	loose = expansion{narrow: 80, copies: 8, least: 10_000, states: 200}
	// anchored is for patterns that match at the start of the text only: no counts begin at several places.
	anchored = expansion{narrow: 256, copies: 64, least: 10_000, states: 400}
	// strict counts everything, up to a bound on states that nothing reasonable reaches.
	strict = expansion{narrow: 256, copies: maxRepeat, least: 200_000, states: 200_000}
)

// patternStates bounds what counts may add to: a pattern that has so many states gets no more copies of what it repeats.
const patternStates = 150_000

// referenceStates bounds the same for what references may take: groups may refer to groups that refer to groups.
const referenceStates = 10_000

// mostMerged bounds how deep alternatives are joined by how they begin.
const mostMerged = 1000

// nfa is built from the end: each node is given the state to go on with and yields the one to begin at. States that are alike
// are made once, which shares the ends of alternatives.
type nfa struct {
	states []state
	sets   []octets
	known  map[state]int32
	setAt  map[octets]int32
	limits expansion
	base   int             // states before the pattern being built
	exact  bool            // of the pattern being built
	groups map[int32]*node // of the pattern being built
	depth  int             // of references within references
	merged int             // octets at the head of alternatives that are being joined
}

func newNFA(limits expansion) *nfa {
	return &nfa{known: map[state]int32{}, setAt: map[octets]int32{}, limits: limits}
}

// add builds a pattern, and gives the state it begins at and whether the automaton is exact.
func (a *nfa) add(t *tree, pattern int32) (start int32, exact bool) {
	a.exact, a.groups, a.depth, a.base = true, nil, 0, len(a.states)
	match := a.make(state{kind: stateMatch, arg: pattern})
	if t.groups > 0 {
		a.groups = map[int32]*node{}
		collectGroups(t.root, a.groups)
	}
	if a.limits == loose && t.root.anchored(atTextStart) {
		a.limits = anchored
		defer func() { a.limits = loose }()
	}
	start = a.build(t.root.shortest(), match)
	return start, a.exact
}

// shortest gives a node that matches somewhere in just the texts in which n does, and takes no more octets at its end than it must: an
// automaton tells of a match once, and would tell of it again with each octet.
func (n *node) shortest() *node {
	switch n.kind {
	case kindCat:
		subs := slices.Clone(n.subs)
		for len(subs) > 0 {
			last := subs[len(subs)-1].shortest()
			if last.kind != kindEmpty {
				subs[len(subs)-1] = last
				return &node{kind: kindCat, subs: subs}
			}
			subs = subs[:len(subs)-1]
		}
		return emptyNode
	case kindAlt:
		subs := slices.Clone(n.subs)
		for i := range subs {
			subs[i] = subs[i].shortest()
		}
		return &node{kind: kindAlt, subs: subs}
	case kindCapture: // what it may hold where it is referred to is known of the whole
		return n.subs[0].shortest()
	case kindRepeat:
		switch {
		case n.min == 0:
			return emptyNode
		case n.min == 1:
			return n.subs[0].shortest()
		}
		return &node{kind: kindRepeat, min: n.min, max: n.min, manner: n.manner, subs: n.subs}
	}
	return n
}

// collectGroups finds what each group may hold: nil for what is told by no node alone, as of several groups of one number, and of those
// with assertions, which hold where the group is and not where it is referred to.
func collectGroups(n *node, into map[int32]*node) {
	if n.kind == kindCapture {
		_, twice := into[n.n]
		into[n.n] = n.subs[0]
		if twice || n.subs[0].asserts() {
			into[n.n] = nil
		}
	}
	for _, s := range n.subs {
		collectGroups(s, into)
	}
}

func (a *nfa) make(s state) int32 {
	if i, ok := a.known[s]; ok {
		return i
	}
	i := a.fresh(s)
	a.known[s] = i
	return i
}

func (a *nfa) fresh(s state) int32 {
	a.states = append(a.states, s)
	return int32(len(a.states) - 1)
}

func (a *nfa) setOf(s octets) int32 {
	i, ok := a.setAt[s]
	if !ok {
		i = int32(len(a.sets))
		a.sets = append(a.sets, s)
		a.setAt[s] = i
	}
	return i
}

func (a *nfa) octet(s octets, next int32) int32 {
	return a.make(state{kind: stateSet, arg: a.setOf(s), out: next})
}

func (a *nfa) split(x, y int32) int32 {
	if x == y {
		return x
	}
	return a.make(state{kind: stateSplit, out: x, other: y})
}

// nothing is a state from which no match is reached.
func (a *nfa) nothing() int32 { return a.octet(octets{}, 0) }

func (a *nfa) build(n *node, next int32) int32 {
	switch n.kind {
	case kindFail:
		return a.nothing()
	case kindText:
		for i := len(n.text) - 1; i >= 0; i-- {
			next = a.octet(textSet(n, i), next)
		}
		return next
	case kindSet:
		return a.octet(*n.set, next)
	case kindCat:
		for i := len(n.subs) - 1; i >= 0; i-- {
			next = a.build(n.subs[i], next)
		}
		return next
	case kindCond:
		a.exact = false
		return a.alternatives(branches(n.subs), next)
	case kindAlt:
		return a.alternatives(branches(n.subs), next)
	case kindRepeat:
		return a.repeat(n, next)
	case kindCapture:
		return a.build(n.subs[0], next)
	case kindAtomic:
		a.exact = false
		return a.build(n.subs[0], next)
	case kindLook:
		a.exact = false
	case kindBackref:
		return a.backref(n, next)
	case kindAssert:
		return a.make(state{kind: stateAssert, arg: n.n, out: next})
	}
	return next // kindEmpty, kindKeep
}

func textSet(n *node, i int) (s octets) {
	s.add(n.text[i])
	if n.fold {
		s.add(otherCase[n.text[i]])
	}
	return s
}

// backref takes what the group may hold.
func (a *nfa) backref(n *node, next int32) int32 {
	a.exact = false
	if a.depth < 3 && len(n.refs) == 1 && len(a.states)-a.base < referenceStates {
		if g := a.groups[n.refs[0]]; g != nil && (!n.fold || g.caseless()) && g.size() < 500 {
			a.depth++
			defer func() { a.depth-- }()
			return a.build(g, next)
		}
	}
	return a.loop(&node{kind: kindSet, set: &classAny}, next)
}

func (a *nfa) loop(body *node, next int32) int32 {
	head := a.fresh(state{kind: stateSplit, out: next, other: next})
	turn := a.build(body, head)
	a.states[head].other = turn
	return head
}

// turns takes one turn of body or more.
func (a *nfa) turns(body *node, next int32) int32 {
	head := a.loop(body, next)
	return a.states[head].other
}

func (a *nfa) repeat(n *node, next int32) int32 {
	body := n.subs[0]
	if n.max == 0 {
		return next
	}
	if n.manner == possessive {
		a.exact = false
	}
	lo, hi := int(n.min), int(n.max)
	one := max(body.size(), 1)
	least, most := max(a.limits.least/one, 1), a.limits.states/one
	if s, ok := single(body); ok {
		least, most = a.limits.copies, 2
		if s.count() <= a.limits.narrow {
			most = a.limits.copies
		}
	}
	if len(a.states)-a.base > patternStates {
		least, most = 1, 1
	}
	if body.nullable() && n.max == infinite && lo > 1 {
		lo, a.exact = 1, false
	}
	if lo > least {
		lo, hi, a.exact = least, infinite, false
	}
	if hi != infinite && hi > max(lo, most, 1) {
		hi, a.exact = infinite, false
	}
	switch {
	case hi == infinite && lo > 0:
		next = a.turns(body, next)
		lo--
	case hi == infinite:
		next = a.loop(body, next)
	default:
		end := next
		for range hi - lo {
			next = a.split(a.build(body, next), end)
		}
	}
	for range lo {
		next = a.build(body, next)
	}
	return next
}

// branch is an alternative: nodes one after the other, of the first of which the octets before at are taken off, and what comes behind them.
type branch struct {
	nodes []*node
	at    int
	then  *branch
}

func branches(subs []*node) (all []branch) {
	for i := range subs {
		all = append(all, branch{nodes: subs[i : i+1]})
	}
	return all
}

// head takes the first octet off a branch where it begins with one.
func (b branch) head() (s octets, rest branch, ok bool) {
	for {
		if len(b.nodes) == 0 {
			if b.then == nil {
				return s, b, false
			}
			b = *b.then
			continue
		}
		n, behind := b.nodes[0], branch{b.nodes[1:], 0, b.then}
		switch n.kind {
		case kindText:
			s = textSet(n, b.at)
			if b.at+1 < len(n.text) {
				return s, branch{b.nodes, b.at + 1, b.then}, true
			}
			return s, behind, true
		case kindSet:
			return *n.set, behind, true
		case kindEmpty, kindKeep:
			b = behind
		case kindCat, kindCapture:
			b = branch{n.subs, 0, &behind}
		default:
			return s, b, false
		}
	}
}

func (a *nfa) sequence(b branch, next int32) int32 {
	if b.then != nil {
		next = a.sequence(*b.then, next)
	}
	for i := len(b.nodes) - 1; i > 0; i-- {
		next = a.build(b.nodes[i], next)
	}
	if len(b.nodes) == 0 {
		return next
	}
	if b.at == 0 {
		return a.build(b.nodes[0], next)
	}
	n := b.nodes[0]
	for i := len(n.text) - 1; i >= b.at; i-- {
		next = a.octet(textSet(n, i), next)
	}
	return next
}

// alternatives joins branches that begin alike, and single octets that lead to the same place: order means nothing here.
func (a *nfa) alternatives(all []branch, next int32) int32 {
	type bunch struct {
		set   octets
		rests []branch
	}
	var bunches []bunch
	at := map[octets]int{}
	var entries []int32
	a.merged++
	defer func() { a.merged-- }()
	for _, b := range all {
		s, rest, ok := b.head()
		if !ok || a.merged > mostMerged {
			entries = append(entries, a.sequence(b, next))
			continue
		}
		i, known := at[s]
		if !known {
			i = len(bunches)
			at[s] = i
			bunches = append(bunches, bunch{set: s})
		}
		bunches[i].rests = append(bunches[i].rests, rest)
	}
	var order []int32
	merged := map[int32]octets{}
	for _, b := range bunches {
		out := int32(0)
		if len(b.rests) == 1 {
			out = a.sequence(b.rests[0], next)
		} else {
			out = a.alternatives(b.rests, next)
		}
		s, known := merged[out]
		if !known {
			order = append(order, out)
		}
		s.union(&b.set)
		merged[out] = s
	}
	for _, out := range order {
		entries = append(entries, a.octet(merged[out], out))
	}
	if len(entries) == 0 {
		return next
	}
	entry := entries[len(entries)-1]
	for i := len(entries) - 2; i >= 0; i-- {
		entry = a.split(entries[i], entry)
	}
	return entry
}

// asks gives for each state what is asked, before it takes an octet, of the one that stands before.
func (a *nfa) asks() []uint8 {
	all := make([]uint8, len(a.states))
	// The states that lead to each at no octet: a list of links, of which there are two for each state.
	last, before := make([]int32, len(a.states)), make([]int32, 2*len(a.states))
	for i, s := range a.states {
		if s.kind == stateSplit || s.kind == stateAssert {
			link := int32(2*i) + 1 // 0 is none
			last[s.out], before[link-1] = link, last[s.out]
			if s.kind == stateSplit {
				last[s.other], before[link] = link+1, last[s.other]
			}
		}
	}
	var todo []int32
	for i, s := range a.states {
		if s.kind == stateAssert {
			all[i] = assertionAsks[s.arg]
			todo = append(todo, int32(i))
		}
	}
	for len(todo) > 0 { // each state comes as often as it is asked for more, and there are three bits
		i := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		for link := last[i]; link != 0; link = before[link-1] {
			if from := (link - 1) / 2; all[from]|all[i] != all[from] {
				all[from] |= all[i]
				todo = append(todo, from)
			}
		}
	}
	return all
}

// assertionAsks tells which bits of a context an assertion asks for.
var assertionAsks = [atSearchFrom + 1]uint8{
	atTextStart: ctxStart, atSearchFrom: ctxStart, atLineStart: ctxStart | ctxLine, atBoundary: ctxWord, notBoundary: ctxWord,
}
