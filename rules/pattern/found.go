package pattern

import "slices"

// found is what was found out of a node that has others within, once: who asks at each of many nodes within each other would go
// through all that is within as often as they are deep.
type found struct {
	known    uint8 // which of the rest, by the facts below
	lo, hi   int   // see width
	size     int   // see node.size
	begins   octets
	nullable bool // see first
	asserts  bool
	caseless bool
	looked   int // nodes right within that were gone through
}

const (
	factWidth = 1 << iota
	factSize
	factFirst
	factAsserts
	factCaseless
)

// knows gives what is known of a node, and whether a fact is among it: who asks finds it out if not.
func (n *node) knows(fact uint8) (f *found, known bool) {
	if n.found == nil {
		n.found = &found{}
	}
	f = n.found
	if known = f.known&fact != 0; !known {
		f.known |= fact
		f.looked += len(n.subs)
	}
	return f, known
}

// asserts tells whether a node asks what stands around a place. Looks are left out: automata take them for nothing.
func (n *node) asserts() bool {
	if len(n.subs) == 0 || n.kind == kindLook {
		return n.kind == kindAssert
	}
	f, known := n.knows(factAsserts)
	if !known {
		f.asserts = slices.ContainsFunc(n.subs, (*node).asserts)
	}
	return f.asserts
}

// caseless tells whether a node matches with a text all that differ from it in case only.
func (n *node) caseless() bool {
	switch n.kind {
	case kindText:
		return n.fold
	case kindSet:
		return n.set.folded() == *n.set
	case kindBackref:
		return n.fold
	}
	if len(n.subs) == 0 {
		return true
	}
	f, known := n.knows(factCaseless)
	if !known {
		f.caseless = !slices.ContainsFunc(n.subs, func(s *node) bool { return !s.caseless() })
	}
	return f.caseless
}

// regular tells whether a node has nothing in it that an automaton only takes for something like it.
func (n *node) regular() bool {
	switch n.kind {
	case kindCond, kindAtomic, kindLook, kindBackref:
		return false
	case kindRepeat:
		if n.manner == possessive {
			return false
		}
	}
	return !slices.ContainsFunc(n.subs, func(s *node) bool { return !s.regular() })
}

// size gives about how many states a node takes, counts not expanded beyond a bound.
func (n *node) size() int {
	switch n.kind {
	case kindText:
		return len(n.text)
	case kindSet:
		return 1
	case kindLook:
		return 0
	}
	if len(n.subs) == 0 {
		return 0
	}
	f, known := n.knows(factSize)
	if !known {
		for _, s := range n.subs {
			f.size = bounded(f.size + s.size())
		}
		if n.kind == kindRepeat {
			f.size = bounded(f.size * min(max(int(n.max), int(n.min), 1), maxRepeat))
		}
	}
	return f.size
}
