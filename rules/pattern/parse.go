package pattern

import "fmt"

// The bounds of a pattern: octets of its text, groups within groups, and times that something may repeat (Perl's own bound).
const (
	maxLength  = 1 << 20
	maxNesting = 500
	maxRepeat  = 65534
)

// An Error tells why a pattern was not taken: a fault of syntax, or a feature of Perl that this package does not have.
type Error struct {
	Offset int    // octets from the start of the pattern
	Reason string // what is wrong, or the name of the feature
	Lacks  bool   // it is a feature, and Perl takes the pattern
}

func (e *Error) Error() string { return fmt.Sprintf("pattern: at octet %d: %s", e.Offset, e.Reason) }

type flags struct{ i, s, m, x, xx, n bool }

type parser struct {
	src    string
	pos    int
	flags  flags
	groups int      // captures opened so far
	refs   []refAt  // numbers of groups referred to
	names  []string // name of each group from 1, empty where it has none
	depth  int      // groups that are open
	looks  int      // that are open
	sets   map[octets]*octets
	byName map[string][]int32
	named  map[nameAt]bool
	late   []lateRef
	warned *Error // the first thing that Perl warns of
}

type refAt struct{ group, offset int }

// nameAt is a name of a group: several may have one, and in (?|…) a group may have it several times.
type nameAt struct {
	name  string
	group int32
}

// lateRef is a reference by a name that may be given further on.
type lateRef struct {
	node   *node
	name   string
	offset int
}

// tree is a pattern as it was read.
type tree struct {
	root   *node
	groups int
	names  []string // of group 1 and so on
	warned *Error
}

// parse reads a pattern. A fault is a panic of *Error within, since a parser of this kind is nothing but calls that may fail.
func parse(src string, o Options) (t *tree, err error) {
	if len(src) > maxLength {
		return nil, &Error{Offset: maxLength, Reason: "pattern longer than 1 MiB", Lacks: true}
	}
	defer func() {
		if r := recover(); r != nil {
			e, ok := r.(*Error)
			if !ok {
				panic(r)
			}
			t, err = nil, e
		}
	}()
	p := &parser{
		src: src, sets: map[octets]*octets{}, byName: map[string][]int32{}, named: map[nameAt]bool{},
		flags: flags{i: o.IgnoreCase, s: o.DotAll, m: o.MultiLine, x: o.Extended},
	}
	root := p.whole()
	return &tree{root, p.groups, p.names, p.warned}, nil
}

func (p *parser) whole() *node {
	root := p.alternatives()
	if p.pos < len(p.src) {
		p.fail("unmatched )")
	}
	for _, r := range p.refs {
		if r.group > p.groups {
			p.failAt(r.offset, "reference to a group that does not exist")
		}
	}
	for _, l := range p.late {
		l.node.refs = p.byName[l.name]
		if len(l.node.refs) == 0 {
			p.failAt(l.offset, "reference to a name that does not exist")
		}
	}
	return root
}

func (p *parser) fail(reason string)               { p.failAt(p.pos, reason) }
func (p *parser) failAt(offset int, reason string) { panic(&Error{Offset: offset, Reason: reason}) }
func (p *parser) lack(offset int, feature string) {
	panic(&Error{Offset: offset, Reason: feature, Lacks: true})
}

func (p *parser) warn(offset int, reason string) {
	if p.warned == nil {
		p.warned = &Error{Offset: offset, Reason: reason}
	}
}
func (p *parser) more() bool { return p.pos < len(p.src) }
func (p *parser) has(prefix string) bool {
	return len(p.src)-p.pos >= len(prefix) && p.src[p.pos:p.pos+len(prefix)] == prefix
}

func (p *parser) intern(s octets) *octets {
	if q, ok := p.sets[s]; ok {
		return q
	}
	q := &s
	p.sets[s] = q
	return q
}

func (p *parser) take(prefix string) bool {
	if p.has(prefix) {
		p.pos += len(prefix)
		return true
	}
	return false
}

// alternatives reads up to a closing parenthesis or the end.
func (p *parser) alternatives() *node {
	subs := []*node{p.sequence()}
	for p.take("|") {
		subs = append(subs, p.sequence())
	}
	return alternation(p, subs)
}

// alternation makes one node of alternatives; several single octets become a set.
func alternation(p *parser, subs []*node) *node {
	if len(subs) == 1 {
		return subs[0]
	}
	var s octets
	for _, n := range subs {
		switch {
		case n.kind == kindSet:
			s.union(n.set)
		case n.kind == kindText && len(n.text) == 1:
			s.add(n.text[0])
			if n.fold {
				s.add(otherCase[n.text[0]])
			}
		default:
			return &node{kind: kindAlt, subs: subs}
		}
	}
	return &node{kind: kindSet, set: p.intern(s)}
}

// sequence reads atoms with their quantifiers.
func (p *parser) sequence() *node {
	var seq []*node
	for {
		p.blanks()
		if !p.more() || p.src[p.pos] == '|' || p.src[p.pos] == ')' {
			return concatenation(seq)
		}
		at := p.pos
		n := p.atom()
		if n == nil { // flags alone
			continue
		}
		n = p.quantified(n, at)
		if last := len(seq) - 1; last >= 0 && joins(seq[last], n) {
			seq[last].text = append(seq[last].text, n.text...)
			continue
		}
		seq = append(seq, n)
	}
}

func joins(a, b *node) bool {
	return a.kind == kindText && b.kind == kindText && a.fold == b.fold
}

func concatenation(seq []*node) *node {
	switch len(seq) {
	case 0:
		return emptyNode
	case 1:
		return seq[0]
	}
	return &node{kind: kindCat, subs: seq}
}

// blanks skips what /x lets stand between items, and comments in parentheses.
func (p *parser) blanks() {
	for p.more() {
		switch c := p.src[p.pos]; {
		case p.flags.x && (c == ' ' || c >= '\t' && c <= '\r' || c == 0x85):
			p.pos++
		case p.flags.x && c == '#':
			for p.more() && p.src[p.pos] != '\n' {
				p.pos++
			}
		case p.has("(?#"):
			for p.more() && p.src[p.pos] != ')' {
				p.pos++
			}
			if !p.take(")") {
				p.fail("comment without an end")
			}
		default:
			return
		}
	}
}

// quantified puts a repeat around an atom where one is asked for. The atom stands at octet at.
func (p *parser) quantified(n *node, at int) *node {
	p.blanks()
	lo, hi, ok := p.quantifier()
	if !ok {
		if p.has("{") && !(n.kind == kindAssert && n.n == atTextStart && p.src[at] == '^') {
			p.warn(p.pos, "a brace that begins no count, and has no backslash")
		}
		return n
	}
	if hi == infinite && !n.takes() {
		p.warn(at, "what takes no octet, without end")
	}
	r := &node{kind: kindRepeat, min: lo, max: hi, subs: []*node{n}}
	switch {
	case p.take("?"):
		r.manner = lazy
		if lo == hi {
			p.warn(p.pos-1, "a ? behind a count that leaves no choice")
		}
	case p.take("+"):
		r.manner = possessive
	}
	p.blanks()
	at = p.pos
	if _, _, again := p.quantifier(); again {
		p.failAt(at, "quantifier after a quantifier")
	}
	if hi != infinite && lo > hi { // Perl takes it and never matches
		p.warn(at, "a count with more at least than at most")
		return failNode
	}
	return r
}

// quantifier reads *, +, ? or a count in braces.
func (p *parser) quantifier() (lo, hi int32, ok bool) {
	if !p.more() {
		return 0, 0, false
	}
	switch p.src[p.pos] {
	case '*':
		p.pos++
		return 0, infinite, true
	case '+':
		p.pos++
		return 1, infinite, true
	case '?':
		p.pos++
		return 0, 1, true
	case '{':
		return p.braces()
	}
	return 0, 0, false
}

// braces reads {n}, {n,}, {n,m} and, as Perl does since 5.34, {,m} and blanks beside the numbers. Anything else is text.
func (p *parser) braces() (lo, hi int32, ok bool) {
	i := p.pos + 1
	blank := func() {
		for i < len(p.src) && (p.src[i] == ' ' || p.src[i] == '\t') {
			i++
		}
	}
	number := func() (n int32, digits bool) {
		for ; i < len(p.src) && p.src[i] >= '0' && p.src[i] <= '9'; i++ {
			n, digits = min(n*10+int32(p.src[i]-'0'), maxRepeat+1), true
		}
		return n, digits
	}
	blank()
	lo, first := number()
	blank()
	hi = lo
	if i < len(p.src) && p.src[i] == ',' {
		i++
		blank()
		var second bool
		if hi, second = number(); !second {
			hi = infinite
			if !first {
				return 0, 0, false
			}
		}
		blank()
	} else if !first {
		return 0, 0, false
	}
	if i >= len(p.src) || p.src[i] != '}' {
		return 0, 0, false
	}
	if lo > maxRepeat || hi > maxRepeat {
		p.fail("quantifier bigger than 65534")
	}
	p.pos = i + 1
	return lo, hi, true
}

// atom reads one item; nil where it was flags alone.
func (p *parser) atom() *node {
	c := p.src[p.pos]
	switch c {
	case '(':
		return p.group()
	case '[':
		return &node{kind: kindSet, set: p.intern(p.class())}
	case '\\':
		return p.escape()
	case '.':
		p.pos++
		if p.flags.s {
			return &node{kind: kindSet, set: p.intern(classAny)}
		}
		return &node{kind: kindSet, set: p.intern(classDot)}
	case '^':
		p.pos++
		if p.flags.m {
			return assertion(atLineStart)
		}
		return assertion(atTextStart)
	case '$':
		p.pos++
		if p.flags.m {
			return assertion(atLineEnd)
		}
		return assertion(atLastLine)
	case '*', '+', '?':
		p.fail("quantifier follows nothing")
	}
	if c == '{' {
		if _, _, ok := p.braces(); ok {
			p.fail("quantifier follows nothing")
		}
	}
	p.pos++
	return p.literal(int(c))
}

func assertion(n int32) *node { return &node{kind: kindAssert, n: n} }

// literal gives the node of a code point. One beyond 255 is in no octet.
func (p *parser) literal(c int) *node {
	if c > 0xFF {
		var s octets
		if p.flags.i {
			foldsInto(c, &s)
		}
		return &node{kind: kindSet, set: p.intern(s)}
	}
	return &node{kind: kindText, text: []byte{byte(c)}, fold: p.flags.i}
}

// foldsInto adds the octets that a code point beyond Latin-1 matches when case is ignored.
func foldsInto(c int, s *octets) {
	switch c {
	case 0x178: // the capital of ÿ
		s.add(0xFF)
	case 0x39C, 0x3BC: // mu, which the micro sign folds to
		s.add(0xB5)
	case 0x212B: // the angstrom sign
		s.add(0xC5)
		s.add(0xE5)
	case 0x1E9E: // the capital sharp s
		s.add(0xDF)
	}
}

// register notes a group that is opened, and gives its number.
func (p *parser) register(name string) int32 {
	p.groups++
	for len(p.names) < p.groups {
		p.names = append(p.names, "")
	}
	if name != "" {
		p.names[p.groups-1] = name
		if at := (nameAt{name, int32(p.groups)}); !p.named[at] {
			p.named[at] = true
			p.byName[name] = append(p.byName[name], at.group)
		}
	}
	return int32(p.groups)
}
