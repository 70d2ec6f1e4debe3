package pattern

import "slices"

// kind tells what a node of the tree matches.
type kind uint8

const (
	kindEmpty   kind = iota // nothing, always
	kindFail                // nothing, never
	kindText                // the octets of text; each letter in either case where fold is set
	kindSet                 // one octet of set
	kindCat                 // subs one after the other
	kindAlt                 // the first of subs that leads to a match
	kindRepeat              // subs[0], min to max times
	kindCapture             // subs[0], kept as group n
	kindAtomic              // subs[0], without a way back into it
	kindLook                // subs[0] ahead or behind, takes no octets
	kindBackref             // what one of the groups refs holds
	kindAssert              // a place: n is one of the assertions
	kindKeep                // \K: the match begins here
	kindCond                // subs[0] if group n is set, else subs[1]
)

// The assertions.
const (
	atTextStart  = iota // \A, ^
	atLineStart         // ^ under /m
	atTextEnd           // \z
	atLastLine          // \Z, $: at the end or before a line feed that ends the text
	atLineEnd           // $ under /m
	atBoundary          // \b
	notBoundary         // \B
	atSearchFrom        // \G: where the search began
)

// The manners of a repeat.
const (
	greedy = iota
	lazy
	possessive
)

// infinite stands for no upper bound of a repeat.
const infinite = -1

type node struct {
	kind     kind
	fold     bool
	negative bool // of a look: it must not match
	behind   bool // of a look
	manner   uint8
	min, max int32 // of a repeat
	n        int32
	text     []byte
	set      *octets
	subs     []*node
	refs     []int32
	found    *found
}

var (
	emptyNode = &node{kind: kindEmpty}
	failNode  = &node{kind: kindFail}
)

// nullable tells whether a node may match without an octet. It may say yes where the truth is no.
func (n *node) nullable() bool {
	lo, _ := n.width()
	return lo == 0
}

// takes tells whether Perl thinks that a node may take octets: what repeats does, however often.
func (n *node) takes() bool {
	switch n.kind {
	case kindCapture, kindAtomic, kindCat, kindAlt, kindCond:
		return slices.ContainsFunc(n.subs, (*node).takes)
	case kindEmpty, kindAssert, kindLook, kindKeep:
		return false
	case kindRepeat:
		return n.max != 0
	}
	return true
}

// width gives the least and the greatest number of octets that a node takes; the greatest is infinite where there is no
// bound.
func (n *node) width() (lo, hi int) {
	switch n.kind {
	case kindText:
		return len(n.text), len(n.text)
	case kindSet:
		return 1, 1
	case kindFail:
		return 1, 0 // no match is shorter than one octet, and none is there at all
	case kindBackref:
		return 0, infinite
	case kindCat, kindAlt, kindCond, kindRepeat, kindCapture, kindAtomic:
		f, known := n.knows(factWidth)
		if !known {
			f.lo, f.hi = n.measure()
		}
		return f.lo, f.hi
	}
	return 0, 0
}

// measure finds out the width of a node that has others within.
func (n *node) measure() (lo, hi int) {
	switch n.kind {
	case kindCat:
		for _, s := range n.subs {
			l, h := s.width()
			lo, hi = bounded(lo+l), add(hi, h)
		}
		return lo, hi
	case kindAlt, kindCond:
		for i, s := range n.subs {
			l, h := s.width()
			if i == 0 || l < lo {
				lo = l
			}
			if h == infinite || hi == infinite {
				hi = infinite
			} else {
				hi = max(hi, h)
			}
		}
		return lo, hi
	case kindRepeat:
		l, h := n.subs[0].width()
		switch {
		case h == 0 || n.max == 0:
			hi = 0
		case h == infinite || n.max == infinite:
			hi = infinite
		default:
			hi = bounded(h * int(n.max))
		}
		return bounded(l * int(n.min)), hi
	}
	return n.subs[0].width() // a group
}

const widest = 1 << 30

func bounded(n int) int { return min(n, widest) }

func add(a, b int) int {
	if a == infinite || b == infinite {
		return infinite
	}
	return bounded(a + b)
}

// first adds to s the octets that a match of n may begin with, and tells whether n may match without one.
func (n *node) first(s *octets) (nullable bool) {
	switch n.kind {
	case kindFail:
		return false
	case kindText:
		s.add(n.text[0])
		if n.fold {
			s.add(otherCase[n.text[0]])
		}
		return false
	case kindSet:
		s.union(n.set)
		return false
	case kindBackref:
		*s = classAny
		return true
	case kindCat, kindAlt, kindCond, kindRepeat, kindCapture, kindAtomic:
		f, known := n.knows(factFirst)
		if !known {
			f.nullable = n.begin(&f.begins)
		}
		s.union(&f.begins)
		return f.nullable
	}
	return true
}

// begin is first for a node that has others within.
func (n *node) begin(s *octets) (nullable bool) {
	switch n.kind {
	case kindCat:
		for _, sub := range n.subs {
			if !sub.first(s) {
				return false
			}
		}
		return true
	case kindAlt, kindCond:
		for _, sub := range n.subs {
			if sub.first(s) {
				nullable = true
			}
		}
		return nullable
	case kindRepeat:
		if n.max == 0 {
			return true
		}
		return n.subs[0].first(s) || n.min == 0
	}
	return n.subs[0].first(s) // a group
}

// anchored tells whether a match of n can begin only where an assertion holds: atTextStart, or atLineStart, which the start
// of the text is as well.
func (n *node) anchored(at int32) bool {
	switch n.kind {
	case kindAssert:
		return n.n == at || n.n == atTextStart
	case kindCat:
		for _, s := range n.subs {
			if s.anchored(at) {
				return true
			}
			if _, hi := s.width(); hi != 0 {
				return false
			}
		}
	case kindAlt:
		for _, s := range n.subs {
			if !s.anchored(at) {
				return false
			}
		}
		return true
	case kindCapture, kindAtomic:
		return n.subs[0].anchored(at)
	case kindRepeat:
		return n.min > 0 && n.subs[0].anchored(at)
	}
	return false
}
