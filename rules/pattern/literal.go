package pattern

import (
	"cmp"
	"math"
	"slices"
	"strings"
)

// A clue is a set of short texts, folded, one of which is in each match of a pattern: so many octets after the start of the
// match, at least lo and at most hi, or hi is infinite.
type clue struct {
	texts  []string
	lo, hi int
	word   bool // a word begins with each of them, and no letter stands before it

	bits     float64 // a text is found by chance once in so many octets, as a power of two
	from, to int     // the nodes of the pattern that it is made of, by their order
}

// The bounds of clues.
const (
	clueTexts  = 96 // texts of one
	clueLength = 20 // octets of a text
	clueSpread = 32 // octets between lo and hi of a clue that tells where a match begins
	clueOffers = 48 // clues of a pattern that are weighed against each other
)

// A watch is how a match of a pattern, or of one of its alternatives, is noticed: by the text of one clue, or by one of open and, so many
// octets behind it, one of shut.
type watch struct {
	open, shut clue
	paired     bool
	cost       float64 // nanoseconds for each octet that is scanned, about
}

// maxBranches bounds the ways that are looked at one by one.
const maxBranches = 64

// watches gives how the ways are noticed in which a pattern may match, and the ways that have no clue that is worth looking for.
func (r *rater) watches(t *tree, first *octets, start bool) (all []watch, rest []*node) {
	begins := r.share(first)
	for _, n := range ways(t.root, maxBranches) {
		f := finder{rate: r}
		w := f.walk(n)
		f.offer(w, 0, 0, 0)
		b, ok := f.best(begins, start)
		if !ok || b.cost > costAutomaton {
			rest = append(rest, n)
			continue
		}
		if !b.paired {
			same := func(o watch) bool {
				return !o.paired && o.open.lo == b.open.lo && o.open.hi == b.open.hi && o.open.word == b.open.word
			}
			if i := slices.IndexFunc(all, same); i >= 0 {
				all[i].open.texts = append(all[i].open.texts, b.open.texts...)
				continue
			}
		}
		all = append(all, b)
	}
	return all, rest
}

// ways takes apart the alternatives that a pattern begins with, but those that are only texts.
func ways(n *node, most int) []*node {
	switch n.kind {
	case kindAlt:
		if len(n.subs) > most || allTexts(n) {
			break
		}
		var all []*node
		for _, s := range n.subs {
			all = append(all, ways(s, most/len(n.subs))...)
		}
		return all
	case kindCapture: // not kindAtomic: what follows one of its ways may match where the first that fits has been taken
		return ways(n.subs[0], most)
	case kindCat:
		i := 0
		for i+1 < len(n.subs) && n.subs[i].takesNothing() {
			i++
		}
		inner := ways(n.subs[i], most)
		if len(inner) < 2 {
			break
		}
		for k, way := range inner {
			subs := slices.Clone(n.subs)
			subs[i] = way
			inner[k] = &node{kind: kindCat, subs: subs}
		}
		return inner
	}
	return []*node{n}
}

func (n *node) takesNothing() bool {
	_, hi := n.width()
	return hi == 0
}

// allTexts tells whether a node stands for a few texts.
func allTexts(n *node) bool {
	f := finder{rate: new(rater)}
	return f.walk(n).exact != nil
}

// What things cost, in nanoseconds, about.
const (
	costFound     = 12.0 // to hear of a text
	costStart     = 70.0 // to try a match
	costAutomaton = 0.4  // to have a pattern in an automaton, for each octet
	mostStarts    = 300.0
)

// best chooses a clue, or two.
func (f *finder) best(begins float64, start bool) (best watch, ok bool) {
	weigh := func(b watch) {
		if !ok || b.cost < best.cost {
			best, ok = b, true
		}
	}
	for i := range f.offers {
		c := &f.offers[i]
		starts := 1.0
		if c.lo != c.hi && !start {
			starts = mostStarts * begins
			if c.hi != infinite {
				starts = min(float64(c.hi-c.lo+1), mostStarts) * begins
			}
		}
		weigh(watch{open: *c, cost: math.Exp2(-c.bits) * (costFound + costStart*max(starts, 1))})
	}
	for i := range f.offers {
		open := &f.offers[i]
		if open.hi == infinite || open.hi-open.lo > clueSpread {
			continue
		}
		starts := max(1, float64(open.hi-open.lo+1)*begins)
		for k := range f.offers {
			shut := &f.offers[k]
			if shut.from < open.to {
				continue
			}
			window := 2000.0
			if shut.hi != infinite {
				window = float64(shut.hi - open.lo)
			}
			one, other := math.Exp2(-open.bits), math.Exp2(-shut.bits)
			both := other * min(1, one*window)
			weigh(watch{*open, *shut, true, (one+other)*costFound + both*costStart*starts})
		}
	}
	return best, ok
}

// finder looks for the clues of a pattern.
type finder struct {
	rate   *rater
	offers []clue
	nodes  int // that were visited
}

// walked is what is known of a node: all texts that it matches, where they are few; nil where they are not.
type walked struct {
	exact []string
	word  bool     // \b stands before them
	front []string // where exact is nil: what its matches begin with, where these texts are few
}

var walkedNothing = walked{exact: []string{""}}

// offer proposes texts as a clue.
func (f *finder) offer(w walked, lo, hi, from int) {
	if w.exact == nil {
		w.exact = w.front
	}
	if len(w.exact) == 0 {
		return
	}
	c := clue{lo: lo, hi: hi, word: w.word, from: from, to: f.nodes}
	for _, t := range w.exact { // in order: what another begins with comes first
		if len(t) < 3 {
			if _, bits := f.rate.rarest(t); bits < rareOctet {
				return
			}
		}
		c.word = c.word && classWord.has(t[0])
		if n := len(c.texts); n == 0 || !strings.HasPrefix(t, c.texts[n-1]) {
			c.texts = append(c.texts, t)
		}
	}
	sum := 0.0
	for _, t := range c.texts {
		sum += math.Exp2(-f.rate.bits(t, c.word))
	}
	c.bits = -math.Log2(sum)
	f.add(c)
}

func (f *finder) add(c clue) {
	if f.offers = append(f.offers, c); len(f.offers) >= 2*clueOffers {
		slices.SortFunc(f.offers, func(a, b clue) int { return cmp.Compare(b.bits, a.bits) })
		f.offers = f.offers[:clueOffers]
	}
}

// walk visits a node whose match begins somewhere: offers are made relative to its start.
func (f *finder) walk(n *node) walked {
	f.nodes++
	switch n.kind {
	case kindAssert:
		return walked{exact: walkedNothing.exact, word: n.n == atBoundary}
	case kindEmpty, kindLook, kindKeep:
		return walkedNothing
	case kindText:
		return f.text(n)
	case kindSet:
		return walked{exact: setTexts(n.set)}
	case kindCat:
		return f.cat(n.subs)
	case kindAlt:
		return f.alt(n.subs)
	case kindCapture, kindAtomic:
		return f.walk(n.subs[0])
	case kindRepeat:
		return f.repeat(n)
	}
	return walked{}
}

// within visits a node that begins lo to hi octets after the start. What it offers counts where the node is always there.
func (f *finder) within(n *node, lo, hi int, always bool) walked {
	inner := finder{rate: f.rate, nodes: f.nodes}
	w := inner.walk(n)
	f.nodes = inner.nodes
	if always {
		for _, c := range inner.offers {
			c.lo, c.hi = bounded(c.lo+lo), add(c.hi, hi)
			f.add(c)
		}
	}
	return w
}

func (f *finder) text(n *node) walked {
	text := make([]byte, len(n.text))
	for i, b := range n.text {
		text[i] = plain[b]
	}
	if len(text) <= clueLength {
		return walked{exact: []string{string(text)}}
	}
	for i := 0; i < len(text); i += clueLength {
		end := min(i+clueLength, len(text))
		f.offer(walked{exact: []string{string(text[i:end])}}, i, i, f.nodes-1)
	}
	return walked{}
}

// setTexts gives the members of a small set, folded.
func setTexts(s *octets) (all []string) {
	var folded octets
	for _, b := range s.all() {
		folded.add(plain[b])
	}
	if folded.count() > 12 {
		return nil
	}
	for _, b := range folded.all() {
		all = append(all, string([]byte{b}))
	}
	return all
}

// cat keeps the texts that have been matched so far without a gap, and offers them when they cannot be made longer.
func (f *finder) cat(subs []*node) walked {
	run := walkedNothing
	runLo, runHi, runFrom := 0, 0, f.nodes // where the run begins
	lo, hi := 0, 0                         // where the next node begins
	whole := true                          // the run began with the first node
	flush := func(nodes int) {
		now := f.nodes
		f.nodes = nodes
		f.offer(run, runLo, runHi, runFrom)
		f.nodes = now
		run, runLo, runHi, runFrom, whole = walkedNothing, lo, hi, nodes, false
	}
	for _, s := range subs {
		before := f.nodes
		w := f.within(s, lo, hi, true)
		joined, fits := product(run.exact, w.exact)
		if front, ok := product(run.exact, w.front); ok {
			run.exact, before = front, f.nodes // it takes the first octets of s as well
		} else {
			f.offer(walked{exact: w.front}, lo, hi, before)
		}
		if !fits {
			flush(before)
			if w.exact != nil {
				joined, fits = product(run.exact, w.exact)
			}
		}
		l, h := s.width()
		lo, hi = bounded(lo+l), add(hi, h)
		if fits {
			begins := len(run.exact) == 1 && run.exact[0] == ""
			run = walked{exact: joined, word: run.word || begins && w.word}
		} else {
			runLo, runHi, runFrom = lo, hi, f.nodes
		}
	}
	if whole {
		return run
	}
	f.offer(run, runLo, runHi, runFrom)
	return walked{}
}

func product(a, b []string) ([]string, bool) {
	if b == nil || len(a)*len(b) > clueTexts {
		return nil, false
	}
	out := make([]string, 0, len(a)*len(b))
	for _, x := range a {
		for _, y := range b {
			if len(x)+len(y) > clueLength {
				return nil, false
			}
			out = append(out, x+y)
		}
	}
	slices.Sort(out)
	return slices.Compact(out), true
}

// alt takes the best clue of each alternative together.
func (f *finder) alt(subs []*node) walked {
	from := f.nodes
	var exact []string
	whole, word, known := true, true, true
	all := clue{word: true}
	for i, s := range subs {
		inner := finder{rate: f.rate, nodes: f.nodes}
		w := inner.walk(s)
		inner.offer(w, 0, 0, from)
		f.nodes = inner.nodes
		if whole = whole && w.exact != nil && len(exact)+len(w.exact) <= clueTexts; whole {
			exact = append(exact, w.exact...)
			word = word && w.word
		}
		if known = known && len(inner.offers) > 0; !known {
			continue
		}
		c := slices.MaxFunc(inner.offers, func(a, b clue) int { return cmp.Compare(a.told(), b.told()) })
		if known = len(all.texts)+len(c.texts) <= 16*clueTexts; i == 0 {
			all.lo, all.hi = c.lo, c.hi
		}
		all.texts = append(all.texts, c.texts...)
		all.word = all.word && c.word
		all.lo = min(all.lo, c.lo)
		if all.hi == infinite || c.hi == infinite {
			all.hi = infinite
		} else {
			all.hi = max(all.hi, c.hi)
		}
	}
	if known && len(all.texts) > 0 {
		slices.Sort(all.texts)
		f.offer(walked{exact: slices.Compact(all.texts), word: all.word}, all.lo, all.hi, from)
	}
	if !whole {
		return walked{}
	}
	slices.Sort(exact)
	return walked{exact: slices.Compact(exact), word: word}
}

// told gives the bits of a clue, less what is lost where it does not tell where the match begins.
func (c *clue) told() float64 {
	if c.hi == infinite || c.hi-c.lo > clueSpread {
		return c.bits - 3
	}
	return c.bits
}

func (f *finder) repeat(n *node) walked {
	if n.max == 0 {
		return walkedNothing
	}
	before := f.nodes
	w := f.within(n.subs[0], 0, 0, n.min > 0)
	if w.exact == nil {
		if n.min == 0 {
			w.front = nil
		}
		return w
	}
	if n.max != infinite && n.max <= 4 {
		if all, ok := turns(w.exact, int(n.min), int(n.max)); ok {
			return walked{exact: all}
		}
	}
	if n.min == 0 {
		return walked{}
	}
	if front, ok := turns(w.exact, int(min(n.min, clueLength)), int(min(n.min, clueLength))); ok {
		return walked{front: front}
	}
	f.offer(w, 0, 0, before)
	return walked{}
}

// turns gives the texts of so many turns of a repeat.
func turns(exact []string, least, most int) (all []string, ok bool) {
	one := []string{""}
	for n := 0; ; n++ {
		if n >= least {
			all = append(all, one...)
		}
		if n == most {
			break
		}
		if one, ok = product(one, exact); !ok {
			return nil, false
		}
	}
	slices.Sort(all)
	all = slices.Compact(all)
	return all, len(all) <= clueTexts
}

// hasFolded tells whether b begins with t in either case; t is in small letters.
func hasFolded(b, t []byte) bool {
	if len(b) < len(t) {
		return false
	}
	for i, c := range t {
		if lower[b[i]] != c {
			return false
		}
	}
	return true
}
