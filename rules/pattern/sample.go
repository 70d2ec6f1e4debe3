package pattern

import (
	"bytes"
	"math/rand/v2"
)

// The tries that Sample spends on one text, and the bounds of each.
const (
	sampleTries  = 400
	sampleLength = 64 << 10
	sampleNodes  = 200_000
)

// Sample makes a text that matches, from the pattern itself: for tests of patterns that nothing in a corpus matches. It is
// false where no such text was found, as for a pattern that cannot match or whose looks ask for too much.
func (p *Pattern) Sample(r *rand.Rand) ([]byte, bool) {
	t, err := parse(p.expr, p.options)
	if err != nil {
		return nil, false
	}
	for try := range sampleTries {
		s := sampler{r: r, groups: make([][]byte, t.groups+1), looks: try % 4, spread: min(try/8, 6), gaps: try%7 == 6}
		s.node(t.root)
		text := append(s.out, s.tail...)
		if try%3 == 1 { // a border of words or lines may be asked for
			text = join([]byte(" "), text, []byte(" "))
		} else if try%5 == 4 {
			text = join([]byte("\n"), text, []byte("\n"))
		}
		if ok, err := p.Match(text); ok && err == nil {
			return text, true
		}
	}
	return nil, false
}

func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

// sampler writes one text.
type sampler struct {
	r      *rand.Rand
	out    []byte
	tail   []byte   // what a look ahead asked for, after all the rest
	groups [][]byte // as captured
	nodes  int      // visited
	looks  int      // what to do about looks ahead
	spread int      // turns of a loop beyond its least
	gaps   bool     // blanks where there may be, and at least one turn: words have borders then
}

func (s *sampler) node(n *node) {
	if s.nodes++; s.nodes > sampleNodes || len(s.out) > sampleLength {
		return
	}
	switch n.kind {
	case kindText:
		s.text(n)
	case kindSet:
		s.out = append(s.out, s.pick(n.set))
	case kindCat:
		for _, sub := range n.subs {
			s.node(sub)
		}
	case kindAlt:
		s.node(n.subs[s.r.IntN(len(n.subs))])
	case kindCond:
		if s.group(n.refs) != nil {
			s.node(n.subs[0])
		} else {
			s.node(n.subs[1])
		}
	case kindRepeat:
		s.repeat(n)
	case kindCapture:
		at := len(s.out)
		s.node(n.subs[0])
		s.groups[n.n] = append([]byte{}, s.out[at:]...)
	case kindAtomic:
		s.node(n.subs[0])
	case kindBackref:
		s.out = append(s.out, s.group(n.refs)...)
	case kindLook:
		s.look(n)
	case kindAssert:
		if n.n == atLineStart && len(s.out) > 0 && s.r.IntN(2) == 0 {
			s.out = append(s.out, '\n')
		}
		if n.n == atLineEnd && s.r.IntN(4) == 0 {
			s.tail = append([]byte("\n"), s.tail...)
		}
	}
}

func (s *sampler) group(refs []int32) []byte {
	for _, g := range refs {
		if s.groups[g] != nil {
			return s.groups[g]
		}
	}
	return nil
}

func (s *sampler) text(n *node) {
	for _, b := range n.text {
		if n.fold && s.r.IntN(4) == 0 {
			b = otherCase[b]
		}
		s.out = append(s.out, b)
	}
}

// pick takes an octet of a set: a letter or a digit if it can, mostly.
func (s *sampler) pick(set *octets) byte {
	if s.gaps && set.has(' ') && s.r.IntN(8) != 0 {
		return ' '
	}
	from := *set
	for _, liked := range []*octets{&classWord, &sampleText} {
		var both octets
		for i := range both {
			both[i] = set[i] & liked[i]
		}
		if !both.empty() && s.r.IntN(4) != 0 {
			from = both
			break
		}
	}
	all := from.all()
	if len(all) == 0 {
		return 0
	}
	return all[s.r.IntN(len(all))]
}

var sampleText = ranges(' ', '~')

func (s *sampler) repeat(n *node) {
	turns := int(n.min)
	more := s.spread
	if n.max != infinite {
		more = min(more, int(n.max-n.min))
	}
	if more > 0 {
		turns += s.r.IntN(more + 1)
	}
	if s.gaps && turns == 0 && s.r.IntN(4) != 0 {
		turns = 1
	}
	for range turns {
		s.node(n.subs[0])
	}
}

// look writes what a look asks for where that may help.
func (s *sampler) look(n *node) {
	if n.negative {
		return
	}
	switch {
	case n.behind, s.looks == 1:
		s.node(n.subs[0])
	case s.looks >= 2:
		at := len(s.out)
		s.node(n.subs[0])
		s.tail = append(s.tail, s.out[at:]...)
		s.out = s.out[:at]
	}
}
