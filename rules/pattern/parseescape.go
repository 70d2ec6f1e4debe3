package pattern

import (
	"regexp"
	"strings"
	"unicode"
)

// escape reads what begins with a backslash, outside of a class.
func (p *parser) escape() *node {
	start := p.pos
	p.pos++
	if !p.more() {
		p.failAt(start, "backslash at the end")
	}
	c := p.src[p.pos]
	if s, ok := p.shorthand(c); ok {
		p.pos++
		return &node{kind: kindSet, set: p.intern(s)}
	}
	switch c {
	case 'A', 'z', 'Z', 'G', 'b', 'B':
		p.pos++
		if p.has("{") && (c == 'b' || c == 'B') {
			p.lack(start, `\b{…}`)
		}
		return assertion(map[byte]int32{
			'A': atTextStart, 'z': atTextEnd, 'Z': atLastLine, 'G': atSearchFrom, 'b': atBoundary, 'B': notBoundary,
		}[c])
	case 'K':
		p.pos++
		if p.looks > 0 {
			p.failAt(start, `\K in a look`)
		}
		return &node{kind: kindKeep}
	case 'R':
		p.pos++
		// Perl does not go back from CR LF to CR alone.
		return &node{kind: kindAtomic, subs: []*node{{kind: kindAlt, subs: []*node{
			{kind: kindText, text: []byte("\r\n")}, {kind: kindSet, set: p.intern(classBlankV)},
		}}}}
	case 'g':
		return p.reference(start)
	case 'k':
		p.pos++
		for _, d := range []string{"<>", "''", "{}"} {
			if p.take(d[:1]) {
				return p.namedRef(p.name(d[1:]), start)
			}
		}
		p.failAt(start, `\k without a name`)
	case 'p', 'P', 'X':
		p.lack(start, `\`+string(c)+" (properties of characters)")
	}
	if c >= '1' && c <= '9' {
		if n := p.numbered(start); n != nil {
			return n
		}
	}
	return p.literal(p.character(start))
}

// shorthand gives the set of \d and its kin.
func (p *parser) shorthand(c byte) (s octets, ok bool) {
	switch c {
	case 'd', 'D':
		s = classDigit
	case 's', 'S':
		s = classSpace
	case 'w', 'W':
		s = classWord
	case 'h', 'H':
		s = classBlankH
	case 'v', 'V':
		s = classBlankV
	case 'N':
		q := *p
		if q.pos++; q.has("{") {
			if q.has("{U+") {
				return s, false
			}
			if _, _, ok := q.braces(); !ok {
				p.lack(p.pos-1, `\N{…}`)
			}
		}
		return classDot, true
	default:
		return s, false
	}
	if c < 'a' {
		s = s.not()
	}
	return s, true
}

// numbered reads \1 and so on: a reference, or an octal number where it has two digits or more, and fewer groups have been opened before
// it. nil where it is octal.
func (p *parser) numbered(start int) *node {
	at := p.pos
	g := p.number(10, 9)
	if g > 9 && g > p.groups && p.src[at] < '8' {
		p.pos = at
		return nil
	}
	return p.refTo(g, start)
}

func (p *parser) refTo(group, start int) *node {
	p.refs = append(p.refs, refAt{group, start})
	return &node{kind: kindBackref, fold: p.flags.i, refs: []int32{int32(group)}}
}

// reference reads \g1, \g{1}, \g{-1} and \g{name}.
func (p *parser) reference(start int) *node {
	p.pos++
	brace := p.take("{")
	back := p.take("-")
	if !p.more() || !isDigit(p.src[p.pos]) {
		if !brace || back {
			p.failAt(start, `\g without a group`)
		}
		return p.namedRef(p.name("}"), start)
	}
	g := p.number(10, 9)
	if back {
		g = p.groups + 1 - g
	}
	if g < 1 || brace && !p.take("}") {
		p.failAt(start, "reference to a group that does not exist")
	}
	return p.refTo(g, start)
}

// number reads at most so many digits of a base, possibly none.
func (p *parser) number(base, digits int) (n int) {
	for ; digits > 0 && p.more(); digits-- {
		d := strings.IndexByte("0123456789abcdef", p.src[p.pos]|0x20)
		if d < 0 || d >= base || p.src[p.pos] < '0' {
			break
		}
		n = n*base + d
		p.pos++
	}
	return n
}

// character reads an escape that stands for one character, in a class or outside; p.pos is after the backslash. An escape
// that Perl does not know stands for the letter itself.
func (p *parser) character(start int) int {
	c := p.src[p.pos]
	p.pos++
	switch c {
	case 'a':
		return 7
	case 'e':
		return 27
	case 'f':
		return '\f'
	case 'n':
		return '\n'
	case 'r':
		return '\r'
	case 't':
		return '\t'
	case 'c':
		if !p.more() {
			p.failAt(start, `\c at the end`)
		}
		b := p.src[p.pos]
		p.pos++
		if b >= 'a' && b <= 'z' {
			b -= 0x20
		}
		return int(b ^ 64)
	case 'N':
		if !p.take("{U+") {
			p.failAt(start, `\N in a class`)
		}
		if p.has("}") {
			p.failAt(start, `\N{U+} without a number`)
		}
		c := p.braced(start, 16)
		if c > unicode.MaxRune {
			p.failAt(start, `\N{U+…} of no character: the last is 10FFFF`)
		}
		return c
	case 'x':
		if p.take("{") {
			return p.braced(start, 16)
		}
		return p.number(16, 2)
	case 'o':
		if !p.take("{") {
			p.failAt(start, `\o without a brace`)
		}
		if p.has("}") {
			p.failAt(start, `\o{} without a number`)
		}
		return p.braced(start, 8)
	case '0', '1', '2', '3', '4', '5', '6', '7':
		p.pos--
		return p.number(8, 3)
	}
	return int(c)
}

func (p *parser) braced(start, base int) int {
	for p.take(" ") || p.take("\t") {
	}
	n := p.number(base, 8)
	for p.take(" ") || p.take("\t") {
	}
	if !p.take("}") {
		p.failAt(start, "bad number in braces")
	}
	return n
}

// class reads a bracketed class.
func (p *parser) class() octets {
	start := p.pos
	if strayPOSIX.MatchString(p.src[start:]) {
		p.warn(start, "a POSIX class that stands in no class")
	}
	p.pos++
	negated := p.take("^")
	var s octets
	for first := true; ; first = false {
		if !p.more() {
			p.failAt(start, "unmatched [")
		}
		c := p.src[p.pos]
		if c == ']' && !first {
			p.pos++
			break
		}
		if p.flags.xx && (c == ' ' || c == '\t') {
			p.pos++
			continue
		}
		from := p.pos
		lo, set := p.member(start)
		if lo < 0 {
			if p.inRange() {
				p.warn(from, "a range that begins with a class")
			}
			s.union(&set)
			continue
		}
		hi := lo
		if p.inRange() {
			p.pos++
			at := p.pos
			if hi, set = p.member(start); hi < 0 { // [a-\d]: the hyphen is a member
				p.warn(from, "a range that ends with a class")
				s.add('-')
				s.union(&set)
				hi = lo
			} else if hi < lo {
				p.failAt(at, "range backwards in a class")
			}
		}
		p.addRange(&s, lo, hi)
	}
	if negated {
		return s.not()
	}
	return s
}

// strayPOSIX is a class that reads as if it stood in another one.
var strayPOSIX = regexp.MustCompile(`^\[(?::\^?\w[\w-]*:|\.\^?\w[\w-]*\.|=\^?\w[\w-]*=)\]`)

// inRange reports whether a hyphen is next that stands between two members of a class.
func (p *parser) inRange() bool {
	return p.has("-") && p.pos+1 < len(p.src) && p.src[p.pos+1] != ']'
}

// addRange adds a range of code points to a class, in both cases where case is ignored.
func (p *parser) addRange(s *octets, lo, hi int) {
	var r octets
	if lo <= 0xFF {
		r.addRange(byte(lo), byte(min(hi, 0xFF)))
	}
	if p.flags.i {
		r = r.folded()
		for _, c := range [...]int{0x178, 0x39C, 0x3BC, 0x212B, 0x1E9E} {
			if lo <= c && c <= hi {
				foldsInto(c, &r)
			}
		}
	}
	s.union(&r)
}

// member reads one member of a class: a character, or -1 and a set.
func (p *parser) member(start int) (int, octets) {
	c := p.src[p.pos]
	if c == '[' && p.pos+1 < len(p.src) && strings.IndexByte(":.=", p.src[p.pos+1]) >= 0 {
		if s, ok := p.posix(); ok {
			return -1, s
		}
	}
	p.pos++
	if c != '\\' {
		return int(c), octets{}
	}
	if !p.more() {
		p.failAt(start, "unmatched [")
	}
	c = p.src[p.pos]
	switch c {
	case 'b':
		p.pos++
		return '\b', octets{}
	case 'N': // \N{U+66}; any other is refused
		return p.character(start), octets{}
	case 'R', 'X', 'p', 'P':
		p.lack(p.pos-1, `\`+string(c)+" in a class")
	}
	if s, ok := p.shorthand(c); ok {
		p.pos++
		return -1, s
	}
	return p.character(start), octets{}
}

// posix reads [:alpha:] and [:^alpha:].
func (p *parser) posix() (octets, bool) {
	kind, rest := p.src[p.pos+1:p.pos+2], p.src[p.pos+2:]
	bare := strings.TrimPrefix(rest, "^")
	end := 0
	for end < len(bare) && classWord.has(bare[end]) {
		end++
	}
	if !strings.HasPrefix(bare[end:], kind+"]") {
		return octets{}, false
	}
	bare = bare[:end]
	end += len(rest) - len(strings.TrimPrefix(rest, "^"))
	name := rest[:end]
	s, ok := posixClasses[bare]
	if kind != ":" || !ok {
		p.fail("unknown POSIX class")
	}
	if p.flags.i && (bare == "upper" || bare == "lower") {
		s = posixClasses["alpha"]
	}
	if bare != name {
		s = s.not()
	}
	p.pos += end + 4
	return s, true
}
