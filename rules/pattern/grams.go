package pattern

import (
	"math/bits"
	"slices"
)

// grams looks for many texts at once, without regard to case: a hash of each four octets of the text, and of each three, asks
// a bitmap that fits the nearest cache whether a text may lie there. Of texts that are shorter one octet is looked for.
type grams struct {
	four, three gramTable
	one         [256][]place
	ones        [256]bool
	single      bool // there are such
}

// place is where a text may lie: it begins so many octets before the gram that stands for it.
type place struct {
	text    string
	back    int
	clients []int32
}

type gramTable struct {
	shift  uint
	bitmap []uint64
	slots  []gramSlot // open addressing
	mask   uint32
	places []place // of one gram beside each other
	used   bool
}

type gramSlot struct {
	gram        uint32
	first, last int32 // of places; none where equal
}

const gramHash = 0x9E3779B1

// newGrams takes folded texts, and who asks for each.
func newGrams(texts map[string][]int32, rate *rater) *grams {
	g := new(grams)
	byGram := [2]map[uint32][]place{{}, {}}
	all := make([]string, 0, len(texts))
	for t := range texts {
		all = append(all, t)
	}
	slices.Sort(all)
	for _, t := range all {
		if len(t) < 3 {
			at, _ := rate.rarest(t)
			for b := range 256 { // in either case
				if plain[b] == t[at] {
					g.one[b] = append(g.one[b], place{t, at, texts[t]})
					g.ones[b] = true
				}
			}
			g.single = true
			continue
		}
		which, n := 0, 4
		if len(t) < 4 {
			which, n = 1, 3
		}
		best, at := -1.0, 0
		for i := 0; i+n <= len(t); i++ {
			if r := rate.bits(t[i:i+n], false); r > best {
				best, at = r, i
			}
		}
		gram := gramOf(t[at : at+n])
		byGram[which][gram] = append(byGram[which][gram], place{t, at, texts[t]})
	}
	g.four.fill(byGram[0])
	g.three.fill(byGram[1])
	return g
}

func gramOf(t string) (g uint32) {
	for i := len(t) - 1; i >= 0; i-- {
		g = g<<8 | uint32(t[i])
	}
	return g
}

func (g *gramTable) fill(by map[uint32][]place) {
	g.used = len(by) > 0
	logBits := max(10, bits.Len(uint(len(by)*24)))
	logBits = min(logBits, 19)
	g.shift = uint(32 - logBits)
	g.bitmap = make([]uint64, 1<<(logBits-6))
	logSlots := max(4, bits.Len(uint(len(by)*2)))
	g.slots = make([]gramSlot, 1<<logSlots)
	g.mask = 1<<logSlots - 1
	grams := make([]uint32, 0, len(by))
	for gram := range by {
		grams = append(grams, gram)
	}
	slices.Sort(grams)
	for _, gram := range grams {
		h := gram * gramHash >> g.shift
		g.bitmap[h>>6] |= 1 << (h & 63)
		first := int32(len(g.places))
		g.places = append(g.places, by[gram]...)
		i := gram * gramHash >> 8 & g.mask
		for g.slots[i].last != 0 {
			i = (i + 1) & g.mask
		}
		g.slots[i] = gramSlot{gram, first, int32(len(g.places))}
	}
}

func (g *gramTable) look(gram uint32) []place {
	for i := gram * gramHash >> 8 & g.mask; g.slots[i].last != 0; i = (i + 1) & g.mask {
		if g.slots[i].gram == gram {
			return g.places[g.slots[i].first:g.slots[i].last]
		}
	}
	return nil
}

// scan calls found with where each text lies in b, in the order of what stands for the texts.
func (g *grams) scan(b []byte, found func(p *place, at int)) {
	four, three := &g.four, &g.three
	n := max(len(b)-3, 0)
	gram := uint32(0)
	for i, c := range b[:min(3, len(b))] {
		gram |= uint32(plain[c]) << (8 + 8*i)
	}
	if !three.used && !g.single {
		for i, c := range b[min(3, len(b)):] {
			gram = gram>>8 | uint32(plain[c])<<24
			if h := gram * gramHash >> four.shift; four.bitmap[h>>6]>>(h&63)&1 != 0 {
				four.check(gram, b, i, found)
			}
		}
		return
	}
	for i := range n {
		if c := b[i]; g.ones[c] {
			tellPlaces(g.one[c], b, i, found)
		}
		short := gram >> 8
		if h := short * gramHash >> three.shift; three.bitmap[h>>6]>>(h&63)&1 != 0 {
			three.check(short, b, i, found)
		}
		gram = short | uint32(plain[b[i+3]])<<24
		if h := gram * gramHash >> four.shift; four.bitmap[h>>6]>>(h&63)&1 != 0 {
			four.check(gram, b, i, found)
		}
	}
	if len(b) >= 3 {
		three.check(gram>>8, b, n, found)
	}
	for i, c := range b[n:] {
		if g.ones[c] {
			tellPlaces(g.one[c], b, n+i, found)
		}
	}
}

func (g *gramTable) check(gram uint32, b []byte, i int, found func(p *place, at int)) {
	tellPlaces(g.look(gram), b, i, found)
}

// tellPlaces tells of the places whose texts lie there where the octets that stand for them are at i.
func tellPlaces(all []place, b []byte, i int, found func(p *place, at int)) {
	for k := range all {
		p := &all[k]
		if at := i - p.back; at >= 0 && isPlain(b[at:], p.text) {
			found(p, at)
		}
	}
}

// isPlain tells whether b begins with a folded text.
func isPlain(b []byte, text string) bool {
	if len(b) < len(text) {
		return false
	}
	for i := range len(text) {
		if plain[b[i]] != text[i] {
			return false
		}
	}
	return true
}
