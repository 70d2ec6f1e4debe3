package pattern

import (
	"encoding/binary"
	"math/bits"
	"slices"
)

// grams looks for many texts at once, without regard to case: a hash of each four octets of the text, and of each three, asks
// a bitmap that fits the nearest cache whether a text may lie there.
type grams struct {
	four, three gramTable
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

// newGrams takes texts in small letters of three octets or more, and who asks for each.
func newGrams(texts map[string][]int32) *grams {
	g := new(grams)
	byGram := [2]map[uint32][]place{{}, {}}
	all := make([]string, 0, len(texts))
	for t := range texts {
		all = append(all, t)
	}
	slices.Sort(all)
	for _, t := range all {
		which, n := 0, 4
		if len(t) < 4 {
			which, n = 1, 3
		}
		best, at := -1.0, 0
		for i := 0; i+n <= len(t); i++ {
			if r := rarity(t[i : i+n]); r > best {
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

// scan calls found with where each text lies in low, which is in small letters and has four octets more than n, of no
// meaning.
func (g *grams) scan(low []byte, n int, found func(p *place, at int)) {
	four, three := &g.four, &g.three
	if !three.used {
		for i := 0; i+4 <= n; i++ {
			gram := binary.LittleEndian.Uint32(low[i:])
			if h := gram * gramHash >> four.shift; four.bitmap[h>>6]>>(h&63)&1 != 0 {
				four.check(gram, low[:n], i, found)
			}
		}
		return
	}
	for i := 0; i+3 <= n; i++ {
		gram := binary.LittleEndian.Uint32(low[i:])
		if h := gram * gramHash >> four.shift; four.bitmap[h>>6]>>(h&63)&1 != 0 {
			four.check(gram, low[:n], i, found)
		}
		gram &= 0xFFFFFF
		if h := gram * gramHash >> three.shift; three.bitmap[h>>6]>>(h&63)&1 != 0 {
			three.check(gram, low[:n], i, found)
		}
	}
}

func (g *gramTable) check(gram uint32, low []byte, i int, found func(p *place, at int)) {
	all := g.look(gram)
	for k := range all {
		p := &all[k]
		at := i - p.back
		if at >= 0 && at+len(p.text) <= len(low) && string(low[at:at+len(p.text)]) == p.text {
			found(p, at)
		}
	}
}
