package pattern

import "strings"

// group reads from an opening parenthesis to the closing one.
func (p *parser) group() *node {
	start := p.pos
	if p.depth++; p.depth > maxNesting {
		p.lack(p.pos, "groups nested too deep")
	}
	defer func() { p.depth-- }()
	p.pos++
	switch {
	case p.take("?"):
		return p.special(start)
	case p.has("*"):
		return p.verb(start)
	}
	if p.flags.n {
		return p.inner(start)
	}
	return p.capture(start, "")
}

// inner reads the rest of a group. Flags that are set within end with it.
func (p *parser) inner(start int) *node {
	kept := p.flags
	n := p.alternatives()
	p.flags = kept
	if !p.take(")") {
		p.failAt(start, "unmatched (")
	}
	return n
}

func (p *parser) capture(start int, name string) *node {
	g := p.register(name)
	return &node{kind: kindCapture, n: g, subs: []*node{p.inner(start)}}
}

// special reads what follows "(?".
func (p *parser) special(start int) *node {
	switch {
	case p.take("="):
		return p.look(start, false, false)
	case p.take("!"):
		return p.look(start, false, true)
	case p.take("<="):
		return p.look(start, true, false)
	case p.take("<!"):
		return p.look(start, true, true)
	case p.take(">"):
		return &node{kind: kindAtomic, subs: []*node{p.inner(start)}}
	case p.take("|"):
		return p.branchReset(start)
	case p.take("P="):
		return p.namedRef(p.name(")"), start)
	case p.take("P<"), p.take("<"):
		return p.capture(start, p.name(">"))
	case p.take("'"):
		return p.capture(start, p.name("'"))
	case p.take("("):
		return p.conditional(start)
	case p.has("{"), p.has("?{"):
		p.failAt(start, "code in a pattern")
	case p.has("R"), p.has("&"), p.has("P>"), p.has("0"), p.more() && strings.IndexByte("123456789+", p.src[p.pos]) >= 0,
		p.has("-") && p.pos+1 < len(p.src) && isDigit(p.src[p.pos+1]):
		p.lack(start, "recursion")
	}
	return p.setFlags(start)
}

func (p *parser) look(start int, behind, negative bool) *node {
	p.looks++
	defer func() { p.looks-- }()
	n := &node{kind: kindLook, behind: behind, negative: negative, subs: []*node{p.inner(start)}}
	if behind {
		if _, hi := n.subs[0].width(); hi == infinite || hi > 255 {
			p.failAt(start, "look behind longer than 255 octets")
		}
	}
	if negative && n.subs[0].kind == kindEmpty && !behind { // (?!)
		return failNode
	}
	return n
}

// branchReset reads (?|…), in which each alternative numbers its groups from the same.
func (p *parser) branchReset(start int) *node {
	kept, from, most := p.flags, p.groups, p.groups
	var subs []*node
	for {
		p.groups = from
		subs = append(subs, p.sequence())
		most = max(most, p.groups)
		if !p.take("|") {
			break
		}
	}
	p.groups, p.flags = most, kept
	if !p.take(")") {
		p.failAt(start, "unmatched (")
	}
	return &node{kind: kindAlt, subs: subs}
}

// conditional reads (?(1)yes|no) and (?(<name>)yes|no).
func (p *parser) conditional(start int) *node {
	n := &node{kind: kindCond}
	switch {
	case p.more() && isDigit(p.src[p.pos]):
		n.n = int32(p.number(10, 5))
		p.refs = append(p.refs, refAt{int(n.n), start})
		n.refs = []int32{n.n}
	case p.take("<"):
		p.late = append(p.late, lateRef{n, p.name(">"), start})
	case p.take("'"):
		p.late = append(p.late, lateRef{n, p.name("'"), start})
	default:
		p.lack(start, "conditional on something else than a group")
	}
	if !p.take(")") {
		p.lack(start, "conditional on something else than a group")
	}
	kept := p.flags
	n.subs = []*node{p.sequence(), emptyNode}
	if p.take("|") {
		n.subs[1] = p.sequence()
	}
	p.flags = kept
	if !p.take(")") {
		p.failAt(start, "conditional without an end")
	}
	return n
}

// setFlags reads (?i), (?i-s:…), (?^:…).
func (p *parser) setFlags(start int) *node {
	f := p.flags
	if p.take("^") {
		f = flags{}
	}
	on := true
	for ; p.more(); p.pos++ {
		switch c := p.src[p.pos]; c {
		case 'i':
			f.i = on
		case 's':
			f.s = on
		case 'm':
			f.m = on
		case 'x':
			f.xx = on && p.pos > 0 && p.src[p.pos-1] == 'x'
			f.x = on
		case 'n':
			f.n = on
		case 'a', 'p': // octets have no other meaning of \w, and a copy of the text is ours to keep
		case 'u', 'l', 'd':
			p.lack(start, "flag /"+string(c)+" (characters, not octets)")
		case '-':
			on = false
		case ')':
			p.pos++
			p.flags = f
			return nil
		case ':':
			p.pos++
			kept := p.flags
			p.flags = f
			n := p.inner(start)
			p.flags = kept
			return n
		default:
			p.fail("unknown sequence after (?")
		}
	}
	p.failAt(start, "group without an end")
	return nil
}

// verb reads (*FAIL) and the words for groups, such as (*atomic:…).
func (p *parser) verb(start int) *node {
	switch {
	case p.take("*FAIL)"), p.take("*F)"):
		return failNode
	case p.take("*pla:"), p.take("*positive_lookahead:"):
		return p.look(start, false, false)
	case p.take("*nla:"), p.take("*negative_lookahead:"):
		return p.look(start, false, true)
	case p.take("*plb:"), p.take("*positive_lookbehind:"):
		return p.look(start, true, false)
	case p.take("*nlb:"), p.take("*negative_lookbehind:"):
		return p.look(start, true, true)
	case p.take("*atomic:"):
		return &node{kind: kindAtomic, subs: []*node{p.inner(start)}}
	}
	if p.pos+1 < len(p.src) && (p.src[p.pos+1] >= 'A' && p.src[p.pos+1] <= 'Z' || p.src[p.pos+1] >= 'a' && p.src[p.pos+1] <= 'z') {
		p.lack(start, "control verb")
	}
	p.fail("quantifier follows nothing")
	return nil
}

// name reads a name of a group and what ends it.
func (p *parser) name(end string) string {
	start := p.pos
	for p.more() && classWord.has(p.src[p.pos]) {
		p.pos++
	}
	name := p.src[start:p.pos]
	if name == "" || isDigit(name[0]) || !p.take(end) {
		p.failAt(start, "bad name of a group")
	}
	return name
}

func (p *parser) namedRef(name string, start int) *node {
	n := &node{kind: kindBackref, fold: p.flags.i}
	p.late = append(p.late, lateRef{n, name, start})
	return n
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }
