package pattern

import "slices"

// op is an instruction of the backtracker.
type op uint8

const (
	opMatch   op = iota // the end of the pattern, or of a look or an atomic group
	opFail              // go back
	opText              // the octets texts[a]
	opFold              // the octets texts[a], which are small letters, in either case
	opSet               // one octet of sets[a]
	opJump              // to a
	opSplit             // to a, later to b; sets[x] and sets[y] tell what may begin there (0: anything)
	opChoose            // one of the alternatives choices[a], by the octet that comes
	opSave              // the place into slot a
	opClose             // a group ends here and began where slot b says: into slots a and a+1
	opAssert            // a is the assertion
	opRun               // min a to max b octets of sets[x]; manner c; sets[y] tells what may follow
	opEnter             // a loop begins: loops[a]
	opLoop              // a turn of loops[a] is over
	opLook              // a look: program at the next instruction, goes on at a; c is its bits; b is 1 plus the least width, x the greatest
	opAtomic            // an atomic group: program at the next instruction, goes on at a
	opBackref           // what one of refs[a] holds; c is 1 where case is ignored
	opCond              // to a where one of refs[x] is set, else to b
)

// The bits of a look.
const (
	lookBehind   = 1
	lookNegative = 2
)

type inst struct {
	op   op
	c    uint8
	a, b int32
	x, y int32
}

// loop is a repeat of more than one octet. Its registers are two slots: turns done, and where the last one began.
type loop struct {
	min, max int32
	lazy     bool
	body     int32 // instruction
	exit     int32
	slot     int32
	first    int32 // sets: what a turn may begin with, 0 where anything may
	follow   int32
}

// choice is an alternation of many: masks tells, by the class of the octet that comes, which of to may begin with it. The last
// mask is for the end of the text.
type choice struct {
	class [256]uint8
	masks []uint64
	to    []int32
}

// Alternatives of so many and no more are chosen among by the octet that comes.
const (
	leastChoices = 4
	mostChoices  = 64
)

// program is a pattern as the backtracker runs it.
type program struct {
	insts   []inst
	sets    []octets // [0] is every octet
	texts   [][]byte
	loops   []loop
	choices []choice
	refs    [][]int32
	slots   int // of captures and loops
	groups  int
}

type assembler struct {
	program
	setIndex map[octets]int32
}

func assemble(t *tree) *program {
	a := &assembler{setIndex: map[octets]int32{classAny: 0}}
	a.sets = []octets{classAny}
	a.groups = t.groups
	a.slots = 2 * (t.groups + 1)
	a.node(t.root, nil)
	a.emit(inst{op: opMatch})
	p := a.program
	return &p
}

func (a *assembler) emit(i inst) int32 {
	a.insts = append(a.insts, i)
	return int32(len(a.insts) - 1)
}

func (a *assembler) here() int32 { return int32(len(a.insts)) }

func (a *assembler) setOf(s octets) int32 {
	i, ok := a.setIndex[s]
	if !ok {
		i = int32(len(a.sets))
		a.sets = append(a.sets, s)
		a.setIndex[s] = i
	}
	return i
}

// mostRest bounds how far starts looks.
const mostRest = 50

// starts gives the set of what n and then the rest may begin with; 0 where that may be anything or nothing.
func (a *assembler) starts(n *node, rest []*node) int32 {
	var s octets
	nullable := n.first(&s)
	for i := 0; nullable && i < min(len(rest), mostRest); i++ {
		nullable = rest[i].first(&s)
	}
	if nullable {
		return 0
	}
	return a.setOf(s)
}

// node emits n; rest is what follows it within the same sequence, as far as it is known.
func (a *assembler) node(n *node, rest []*node) {
	switch n.kind {
	case kindEmpty:
	case kindFail:
		a.emit(inst{op: opFail})
	case kindText:
		a.text(n)
	case kindSet:
		a.emit(inst{op: opSet, a: a.setOf(*n.set)})
	case kindCat:
		for i, s := range n.subs {
			after := n.subs[i+1:]
			if len(after) == 0 {
				after = rest
			}
			a.node(s, after)
		}
	case kindAlt:
		a.alternatives(n, rest)
	case kindRepeat:
		a.repeat(n, rest)
	case kindCapture:
		began := int32(a.slots)
		a.slots++
		a.emit(inst{op: opSave, a: began})
		a.node(n.subs[0], rest)
		a.emit(inst{op: opClose, a: 2 * n.n, b: began})
	case kindAtomic:
		a.within(inst{op: opAtomic}, n.subs[0])
	case kindLook:
		i := inst{op: opLook}
		if n.negative {
			i.c |= lookNegative
		}
		if n.behind {
			i.c |= lookBehind
			lo, hi := n.subs[0].width()
			i.b, i.x = int32(lo)+1, int32(hi)
		}
		a.within(i, n.subs[0])
	case kindBackref:
		i := inst{op: opBackref, a: a.refList(n.refs)}
		if n.fold {
			i.c = 1
		}
		a.emit(i)
	case kindAssert:
		a.emit(inst{op: opAssert, a: n.n})
	case kindKeep:
		a.emit(inst{op: opSave})
	case kindCond:
		at := a.emit(inst{op: opCond, x: a.refList(n.refs)})
		a.insts[at].a = a.here()
		a.node(n.subs[0], rest)
		jump := a.emit(inst{op: opJump})
		a.insts[at].b = a.here()
		a.node(n.subs[1], rest)
		a.insts[jump].a = a.here()
	}
}

func (a *assembler) refList(refs []int32) int32 {
	a.refs = append(a.refs, refs)
	return int32(len(a.refs) - 1)
}

// within emits a group that is run on its own.
func (a *assembler) within(i inst, n *node) {
	at := a.emit(i)
	a.node(n, nil)
	a.emit(inst{op: opMatch})
	a.insts[at].a = a.here()
}

func (a *assembler) text(n *node) {
	text, o := n.text, opText
	if n.fold {
		o = opFold
		text = make([]byte, len(n.text))
		changes := false
		for i, b := range n.text {
			text[i] = lower[b]
			changes = changes || otherCase[b] != b
		}
		if !changes {
			o = opText
		}
	}
	a.texts = append(a.texts, text)
	a.emit(inst{op: o, a: int32(len(a.texts) - 1)})
}

func (a *assembler) alternatives(n *node, rest []*node) {
	if len(n.subs) >= leastChoices && len(n.subs) <= mostChoices {
		a.choose(n, rest)
		return
	}
	if len(n.subs) > mostChoices { // some dozens at a time
		all := &node{kind: kindAlt}
		for subs := range slices.Chunk(n.subs, mostChoices) {
			all.subs = append(all.subs, &node{kind: kindAlt, subs: subs})
		}
		n = all
	}
	var jumps []int32
	for i, s := range n.subs {
		if i == len(n.subs)-1 {
			a.node(s, rest)
			break
		}
		split := a.emit(inst{op: opSplit, x: a.starts(s, rest)})
		if i == len(n.subs)-2 {
			a.insts[split].y = a.starts(n.subs[i+1], rest)
		}
		a.insts[split].a = a.here()
		a.node(s, rest)
		jumps = append(jumps, a.emit(inst{op: opJump}))
		a.insts[split].b = a.here()
	}
	for _, j := range jumps {
		a.insts[j].a = a.here()
	}
}

// choose emits an alternation of many.
func (a *assembler) choose(n *node, rest []*node) {
	at := int32(len(a.choices))
	a.choices = append(a.choices, choice{})
	a.emit(inst{op: opChoose, a: at})
	to := make([]int32, len(n.subs))
	jumps := make([]int32, len(n.subs))
	var by [257]uint64
	for i, s := range n.subs {
		first := a.starts(s, rest)
		for b := range 256 {
			if a.sets[first].has(byte(b)) {
				by[b] |= 1 << i
			}
		}
		if first == 0 {
			by[256] |= 1 << i
		}
		to[i] = a.here()
		a.node(s, rest)
		jumps[i] = a.emit(inst{op: opJump})
	}
	for _, j := range jumps {
		a.insts[j].a = a.here()
	}
	c := choice{to: to}
	class := map[uint64]uint8{}
	for b := range 256 {
		k, ok := class[by[b]]
		if !ok {
			k = uint8(len(c.masks))
			class[by[b]] = k
			c.masks = append(c.masks, by[b])
		}
		c.class[b] = k
	}
	c.masks = append(c.masks, by[256])
	a.program.choices[at] = c
}

func (a *assembler) repeat(n *node, rest []*node) {
	body := n.subs[0]
	if n.max == 0 {
		return
	}
	if s, ok := single(body); ok {
		follow := int32(0)
		if len(rest) > 0 {
			follow = a.starts(emptyNode, rest)
		}
		a.emit(inst{op: opRun, a: n.min, b: n.max, c: n.manner, x: a.setOf(s), y: follow})
		return
	}
	if n.manner == possessive {
		a.within(inst{op: opAtomic}, &node{kind: kindRepeat, min: n.min, max: n.max, subs: n.subs})
		return
	}
	first, follow := a.starts(body, nil), a.starts(emptyNode, rest)
	if n.min == 0 && n.max == 1 {
		a.optional(n, first, follow, rest)
		return
	}
	l := int32(len(a.loops))
	a.loops = append(a.loops, loop{})
	slot := int32(a.slots)
	a.slots += 2
	a.emit(inst{op: opEnter, a: l})
	start := a.here()
	a.node(body, nil)
	a.emit(inst{op: opLoop, a: l})
	a.loops[l] = loop{n.min, n.max, n.manner == lazy, start, a.here(), slot, first, follow}
}

func (a *assembler) optional(n *node, first, follow int32, rest []*node) {
	split := a.emit(inst{op: opSplit})
	yes := a.here()
	a.node(n.subs[0], rest)
	i := &a.insts[split]
	i.a, i.b, i.x, i.y = yes, a.here(), first, follow
	if n.manner == lazy {
		i.a, i.b, i.x, i.y = i.b, i.a, i.y, i.x
	}
}

// single tells whether a node takes one octet, and which.
func single(n *node) (s octets, ok bool) {
	switch {
	case n.kind == kindSet:
		return *n.set, true
	case n.kind == kindText && len(n.text) == 1:
		s.add(n.text[0])
		if n.fold {
			s.add(otherCase[n.text[0]])
		}
		return s, true
	}
	return s, false
}
