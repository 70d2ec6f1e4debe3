package text

import (
	"bytes"
	"fmt"
	"strings"
)

// A shape is a form of what stands in a Received field, written as one reads it: "%h (%r [%i]) by %b " is a word that is the
// HELO name, a blank, a parenthesis, a word that is the name of the client, its address in brackets, and so on. Servers
// write some eighty forms, some of which others contain; the first that fits is taken. Words end at a blank but may hold
// anything else, brackets and parentheses too, so a word gives octets back where what follows it would not fit otherwise.
//
//	%h %r %x %b %n %d  a word: HELO name, client's name, both, server, user, id (H, N: or none at all)
//	%i %I              an IP address, kept or not
//	%t %T              a word that is not kept (T: or none at all)
//	%s %S              what the parentheses hold beside the address: as little as fits; all but ")"
//	%* %+ %?           anything: as much as fits; at least one octet; as little as fits
//	%( %| %)  %[ %]    one of several; something that may be absent
//	%$ %B %~           the end; the end of a word of letters; not before " id "
//	%0 %c %u %a %L     digits; all but ")"; all but ">"; a letter; a name or address of the machine itself
//	other letters      words with a condition, see wordKinds
type shape struct {
	text  string
	first *node
}

// slot is a place for something kept of a Received field.
type slot uint8

const (
	slotNone slot = iota
	slotHelo
	slotRDNS
	slotBoth
	slotIP
	slotBy
	slotIdent
	slotID
	slotExtra
	slots
)

// run says which octets an element takes and how many.
type run struct {
	slot     slot
	takes    func(c byte) bool // nil: all but a blank
	min, max int               // max 0: no bound
	lazy     bool
	accept   func(line []byte, from, to int) bool // nil: any
}

// node is an element of a shape, and what follows it.
type node struct {
	op   nodeOp
	lit  []byte
	run  run
	alts []*node
	next *node // nil: the shape is through
}

type nodeOp uint8

const (
	opLiteral nodeOp = iota
	opRun
	opIP
	opLocal
	opAlternatives
	opEnd
	opBoundary
	opNotID
)

func anything(byte) bool   { return true }
func notParen(c byte) bool { return c != ')' }
func isDigit(c byte) bool  { return '0' <= c && c <= '9' }

// wordKinds are the elements that are runs of octets.
var wordKinds = map[byte]run{
	'h': {slot: slotHelo, min: 1}, 'H': {slot: slotHelo},
	'r': {slot: slotRDNS, min: 1}, 'x': {slot: slotBoth, min: 1},
	'b': {slot: slotBy, min: 1}, 'd': {slot: slotID, min: 1},
	'n': {slot: slotIdent, min: 1}, 'N': {slot: slotIdent},
	't': {min: 1}, 'T': {},
	's': {slot: slotExtra, takes: anything, lazy: true}, 'S': {slot: slotExtra, takes: notParen, min: 1},
	'*': {takes: anything}, '+': {takes: anything, min: 1}, '?': {takes: anything, lazy: true},
	'0': {takes: isDigit, min: 1}, 'c': {takes: notParen, min: 1}, 'k': {takes: notParen, max: 40},
	'u': {takes: func(c byte) bool { return c != '>' }, min: 1},
	'a': {takes: isLetter, min: 1, max: 1},
	'z': {takes: isZone}, 'v': {takes: isDigit, lazy: true},
	'q': {takes: anything, max: 100},
	// The HELO name without parentheses; up to the parenthesis; of at least two octets, the first no digit.
	'E': {slot: slotHelo, takes: func(c byte) bool { return c != ' ' && c != '(' && c != ')' }},
	'F': {slot: slotHelo, takes: notParen},
	'g': {slot: slotHelo, min: 2, accept: func(l []byte, from, _ int) bool { return !isDigit(l[from]) }},
	// The client's name with a dot inside; the server's, which ends like a word; an id, as short as fits.
	'R': {slot: slotRDNS, min: 3, accept: func(l []byte, from, to int) bool {
		return bytes.IndexByte(l[from+1:to-1], '.') >= 0
	}},
	'w': {slot: slotBy, min: 1, accept: func(l []byte, _, to int) bool { return atBoundary(l, to) }},
	'D': {slot: slotID, min: 1, lazy: true},
	'y': {slot: slotBy, min: 1, accept: func(l []byte, from, to int) bool {
		return to-from > 10 && bytes.HasSuffix(l[from:to], []byte(".yahoo.com"))
	}},
	// Neither blank nor @; no dot.
	'm': {takes: func(c byte) bool { return c != ' ' && c != '@' }, min: 1},
	'j': {takes: func(c byte) bool { return c != '.' }, min: 1},
	'e': {takes: func(c byte) bool { return c != ' ' && c != ';' }, min: 1},
}

func isLetter(c byte) bool { return 'a' <= lower(c) && lower(c) <= 'z' }

func isZone(c byte) bool {
	return 'A' <= c && c <= 'Z' || isDigit(c) || c == '.' || c == '_' || c == '~' || c == '-'
}

func isWordOctet(c byte) bool { return isAlnum(c) || c == '_' }

// atBoundary reports whether a word of letters, digits and "_" begins or ends at i.
func atBoundary(b []byte, i int) bool {
	before, after := i > 0 && isWordOctet(b[i-1]), i < len(b) && isWordOctet(b[i])
	return before != after
}

// newShape reads a shape. It panics at a fault: shapes are written in the source.
func newShape(text string) *shape {
	p := shapeParser{text: text}
	first := link(p.sequence(""), nil)
	if p.at != len(text) {
		panic(fmt.Sprintf("text: shape %q at %d", text, p.at))
	}
	return &shape{text, first}
}

// item is a node that is not yet linked, with its alternatives.
type item struct {
	node *node
	alts [][]item
}

type shapeParser struct {
	text string
	at   int
}

// sequence reads up to one of the octets of ends behind a %.
func (p *shapeParser) sequence(ends string) (items []item) {
	for p.at < len(p.text) {
		if i := strings.IndexByte(p.text[p.at:], '%'); i != 0 {
			if i < 0 {
				i = len(p.text) - p.at
			}
			items = append(items, item{node: &node{op: opLiteral, lit: []byte(p.text[p.at : p.at+i])}})
			p.at += i
			continue
		}
		c := p.text[p.at+1]
		if strings.IndexByte(ends, c) >= 0 {
			return items
		}
		p.at += 2
		items = append(items, p.element(c))
	}
	return items
}

func (p *shapeParser) element(c byte) item {
	switch c {
	case '(':
		it := item{node: &node{op: opAlternatives}}
		for {
			it.alts = append(it.alts, p.sequence("|)"))
			c, p.at = p.text[p.at+1], p.at+2
			if c == ')' {
				return it
			}
		}
	case '[':
		it := item{node: &node{op: opAlternatives}, alts: [][]item{p.sequence("]"), nil}}
		p.at += 2
		return it
	case 'i':
		return item{node: &node{op: opIP, run: run{slot: slotIP}}}
	case 'I':
		return item{node: &node{op: opIP}}
	case 'L':
		return item{node: &node{op: opLocal}}
	case '$':
		return item{node: &node{op: opEnd}}
	case 'B':
		return item{node: &node{op: opBoundary}}
	case '%':
		return item{node: &node{op: opLiteral, lit: []byte("%")}}
	case '~':
		return item{node: &node{op: opNotID}}
	}
	r, ok := wordKinds[c]
	if !ok {
		panic(fmt.Sprintf("text: shape %q: %%%c", p.text, c))
	}
	return item{node: &node{op: opRun, run: r}}
}

// link chains items, and those of their alternatives, up to what follows.
func link(items []item, next *node) *node {
	for i := len(items) - 1; i >= 0; i-- {
		n := items[i].node
		n.next = next
		for _, alt := range items[i].alts {
			n.alts = append(n.alts, link(alt, next))
		}
		next = n
	}
	return next
}

// matcher fits shapes to a line. Its steps are bounded, over all shapes: a line that was made to be dear fits none.
type matcher struct {
	line  []byte
	steps int
	kept  [slots][]byte // nil: not kept
}

// fit reports whether the beginning of the line has the shape, and keeps its parts.
func (m *matcher) fit(s *shape) bool {
	m.kept = [slots][]byte{}
	return m.match(s.first, 0)
}

// match fits n and what follows it to the line from at on.
func (m *matcher) match(n *node, at int) bool {
	for n != nil {
		if m.steps--; m.steps < 0 {
			return false
		}
		switch n.op {
		case opLiteral:
			if !bytes.HasPrefix(m.line[at:], n.lit) {
				return false
			}
			at += len(n.lit)
		case opRun:
			return m.matchRun(n, at)
		case opIP:
			end := matchIP(m.line, at)
			if end < 0 {
				return false
			}
			if n.run.slot != slotNone {
				m.kept[n.run.slot] = m.line[at:end:end]
			}
			at = end
		case opLocal:
			return m.matchLocal(n, at)
		case opAlternatives:
			kept := m.kept
			for _, alt := range n.alts {
				if m.match(alt, at) {
					return true
				}
				m.kept = kept
			}
			return false
		case opEnd:
			if at != len(m.line) {
				return false
			}
		case opBoundary:
			if !atBoundary(m.line, at) {
				return false
			}
		case opNotID:
			if bytes.HasPrefix(m.line[at:], []byte(" id ")) {
				return false
			}
		}
		n = n.next
	}
	return true
}

// end gives where the octets end that the run takes, from at on.
func (r *run) end(line []byte, at int) int {
	if r.takes == nil && r.max == 0 {
		if n := bytes.IndexByte(line[at:], ' '); n >= 0 {
			return at + n
		}
		return len(line)
	}
	end := at
	for end < len(line) && (r.max == 0 || end-at < r.max) && (r.takes == nil && line[end] != ' ' || r.takes != nil && r.takes(line[end])) {
		end++
	}
	return end
}

// matchRun tries the lengths that a run may have, in its order.
func (m *matcher) matchRun(n *node, at int) bool {
	r := &n.run
	end := r.end(m.line, at)
	from, to, by := end, at+r.min-1, -1
	if end < at+r.min {
		return false
	}
	if r.lazy {
		from, to, by = at+r.min, end+1, 1
	}
	var next int = -1 // the octet that must follow, -1: any may
	if n.next != nil && n.next.op == opLiteral {
		next = int(n.next.lit[0])
	}
	if next == ' ' && r.takes == nil {
		from, to = end, end+by // a blank stands there only
	}
	old := m.kept[r.slot]
	for k := from; k != to; k += by {
		if next >= 0 && (k >= len(m.line) || int(m.line[k]) != next) {
			continue
		}
		if r.accept != nil && !r.accept(m.line, at, k) {
			continue
		}
		if r.slot != slotNone {
			m.kept[r.slot] = m.line[at:k:k]
		}
		if m.match(n.next, k) {
			return true
		}
		if m.steps < 0 {
			break
		}
	}
	m.kept[r.slot] = old
	return false
}

// matchLocal fits the names of the machine itself, the longer first.
func (m *matcher) matchLocal(n *node, at int) bool {
	for _, name := range []string{"localhost.localdomain", "localhost"} {
		if rest := m.line[at:]; len(rest) >= len(name) && bytes.EqualFold(rest[:len(name)], []byte(name)) &&
			m.match(n.next, at+len(name)) {
			return true
		}
	}
	end := matchIP(m.line, at)
	return end >= 0 && isLoopback(m.line[at:end]) && m.match(n.next, end)
}
