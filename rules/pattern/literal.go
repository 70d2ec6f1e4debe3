package pattern

import (
	"math"
	"slices"
)

// A clue is a set of short texts, in small letters, one of which is in each match of a pattern: so many octets after the start
// of the match, at least lo and at most hi, or hi is infinite.
type clue struct {
	texts  []string
	lo, hi int
}

// The bounds of a clue.
const (
	clueTexts  = 96 // alternatives
	clueLength = 20 // octets of one
	clueSpread = 32 // octets between lo and hi, for starts to be tried one by one
)

// findClue gives the best clue of a pattern, and about how many octets of text there are to one that it is found in by
// chance, as a power of two. There may be none.
func findClue(t *tree) (best clue, bits float64, ok bool) {
	f := finder{}
	w := f.walk(t.root)
	f.offer(w.exact, 0, 0)
	return f.best, f.bits, f.ok
}

// finder looks for the best clue in a part of a pattern.
type finder struct {
	best clue
	bits float64
	ok   bool
}

// walked is what is known of a node: all texts that it matches, where they are few; nil where they are not.
type walked struct{ exact []string }

// offer proposes texts as a clue. Long texts tell more than many short ones.
func (f *finder) offer(texts []string, lo, hi int) {
	if len(texts) == 0 {
		return
	}
	sum := 0.0
	for _, t := range texts {
		if len(t) < 3 {
			return
		}
		sum += math.Exp2(-rarity(t))
	}
	bits := -math.Log2(sum)
	if hi == infinite || hi-lo > clueSpread {
		bits -= 3
	}
	if !f.ok || bits > f.bits {
		f.best, f.bits, f.ok = clue{slices.Clone(texts), lo, hi}, bits, true
	}
}

// walk visits a node whose match begins somewhere: offers are made relative to its start.
func (f *finder) walk(n *node) walked {
	switch n.kind {
	case kindEmpty, kindLook, kindAssert, kindKeep:
		return walked{[]string{""}}
	case kindText:
		return walked{f.text(n)}
	case kindSet:
		return walked{setTexts(n.set)}
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

func (f *finder) text(n *node) []string {
	low := make([]byte, len(n.text))
	for i, b := range n.text {
		low[i] = lower[b]
	}
	for i := 0; i < len(low); i += clueLength {
		end := min(i+clueLength, len(low))
		f.offer([]string{string(low[i:end])}, i, i)
	}
	if len(low) > clueLength {
		return nil
	}
	return []string{string(low)}
}

// setTexts gives the members of a small set, in small letters.
func setTexts(s *octets) (all []string) {
	var low octets
	for _, b := range s.all() {
		low.add(lower[b])
	}
	if low.count() > 12 {
		return nil
	}
	for _, b := range low.all() {
		all = append(all, string([]byte{b}))
	}
	return all
}

// cat keeps the texts that have been matched so far without a gap, and offers them when they cannot be made longer.
func (f *finder) cat(subs []*node) walked {
	run := []string{""}
	runLo, runHi := 0, 0 // where the run begins
	lo, hi := 0, 0       // where the next node begins
	whole := true        // the run began with the first node
	flush := func() {
		f.offer(run, runLo, runHi)
		run = []string{""}
		runLo, runHi = lo, hi
		whole = false
	}
	for _, s := range subs {
		inner := finder{}
		w := inner.walk(s)
		if inner.ok {
			f.take(inner, lo, hi)
		}
		joined, fits := product(run, w.exact)
		if !fits {
			flush()
			if w.exact != nil {
				joined, fits = product(run, w.exact)
			}
		}
		l, h := s.width()
		lo, hi = bounded(lo+l), add(hi, h)
		if fits {
			run = joined
		} else {
			runLo, runHi = lo, hi
		}
	}
	if whole {
		return walked{run}
	}
	f.offer(run, runLo, runHi)
	return walked{}
}

// take makes an inner clue one of ours.
func (f *finder) take(inner finder, lo, hi int) {
	c := inner.best
	c.lo, c.hi = bounded(c.lo+lo), add(c.hi, hi)
	bits := inner.bits
	wide := func(c clue) bool { return c.hi == infinite || c.hi-c.lo > clueSpread }
	if wide(c) && !wide(inner.best) {
		bits -= 3
	}
	if !f.ok || bits > f.bits {
		f.best, f.bits, f.ok = c, bits, true
	}
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
	var exact []string
	whole := true
	var all clue
	for i, s := range subs {
		inner := finder{}
		w := inner.walk(s)
		inner.offer(w.exact, 0, 0)
		if whole = whole && w.exact != nil && len(exact)+len(w.exact) <= clueTexts; whole {
			exact = append(exact, w.exact...)
		}
		switch {
		case !inner.ok:
			all.texts = nil
		case i == 0:
			all = inner.best
		case all.texts != nil && len(all.texts)+len(inner.best.texts) <= 16*clueTexts:
			all.texts = append(all.texts, inner.best.texts...)
			all.lo = min(all.lo, inner.best.lo)
			if all.hi == infinite || inner.best.hi == infinite {
				all.hi = infinite
			} else {
				all.hi = max(all.hi, inner.best.hi)
			}
		default:
			all.texts = nil
		}
		if all.texts == nil && !whole {
			break
		}
	}
	if all.texts != nil {
		slices.Sort(all.texts)
		f.offer(slices.Compact(all.texts), all.lo, all.hi)
	}
	if !whole {
		return walked{}
	}
	slices.Sort(exact)
	return walked{slices.Compact(exact)}
}

func (f *finder) repeat(n *node) walked {
	inner := finder{}
	w := inner.walk(n.subs[0])
	if n.max == 0 {
		return walked{[]string{""}}
	}
	if n.min > 0 && inner.ok {
		f.take(inner, 0, 0)
	}
	if w.exact == nil {
		return walked{}
	}
	if n.min == 0 && n.max == 1 && len(w.exact) < clueTexts {
		return walked{append([]string{""}, w.exact...)}
	}
	if n.min == n.max && n.min <= 4 {
		all, fits := []string{""}, true
		for range n.min {
			if all, fits = product(all, w.exact); !fits {
				return walked{}
			}
		}
		return walked{all}
	}
	if n.min > 0 {
		f.offer(w.exact, 0, 0)
	}
	return walked{}
}

// rarity gives about how many bits of chance a text is worth, in mail.
func rarity(t string) (bits float64) {
	for i := range len(t) {
		bits += float64(rareness[t[i]])
	}
	return bits
}

// rareness of each octet: minus the logarithm of how often it is in mail, letters without case. A figure of thumb.
var rareness = func() (r [256]float32) {
	for i := range r {
		r[i] = 8
	}
	for i, c := range "etaoinsrhldcumfpgwybvkxjqz" {
		r[c] = 3.3 + float32(i)*0.18
	}
	for c := '0'; c <= '9'; c++ {
		r[c] = 6
	}
	r[' '], r['\n'], r['.'], r['-'], r['/'], r['='] = 2.6, 5, 5, 5.5, 5.5, 5.5
	return r
}()
