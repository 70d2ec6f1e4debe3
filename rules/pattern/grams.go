package pattern

import (
	"encoding/binary"
	"math/bits"
	"slices"
)

// grams looks for many texts at once, without regard to case: a hash of each four octets of the text, and of each three, asks
// a bitmap that fits the nearest cache whether a text may lie there. Of texts that are shorter one octet is looked for.
type grams struct {
	four, three gramTable
	one         [256][]place // by folded octet
	fold        [256]uint16  // the folded octet, and foldOne where a text is looked for by it
}

const foldOne = 1 << 8

// fewTexts are all looked for by three octets: it is one hash less, and takes few places for others.
const fewTexts = 300

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
	for b := range 256 {
		g.fold[b] = uint16(plain[b])
	}
	for _, t := range all {
		if len(t) < 3 {
			at, _ := rate.rarest(t)
			g.one[t[at]] = append(g.one[t[at]], place{t, at, texts[t]})
			for b := range 256 { // in either case
				if plain[b] == t[at] {
					g.fold[b] |= foldOne
				}
			}
			continue
		}
		which, n := 0, 4
		if len(t) < 4 || len(all) < fewTexts {
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

const (
	foldedSize = 4096                          // octets that are folded at once
	gramChunk  = foldedSize - 2*clueLength - 4 // of those whose grams are looked for
)

// folded is some octets of a text, folded: of so many the grams are looked for, and as many as a text may have stand before and behind.
type folded struct {
	octets [foldedSize]byte
	ones   []int32 // places of the chunk that hold an octet by which a text is looked for
	from   int     // where the first of octets lies in the text
	n      int
}

// scan calls found with where each text lies in b, in the order of what stands for the texts.
func (g *grams) scan(b []byte, f *folded, found func(p *place, at int)) {
	for at := 0; at < len(b); at += gramChunk {
		end := min(at+gramChunk, len(b))
		f.from = max(at-clueLength, 0)
		f.n = min(end+clueLength, len(b)) - f.from
		f.ones = f.ones[:0]
		for i, c := range b[f.from : f.from+f.n] {
			to := g.fold[c]
			f.octets[i&(len(f.octets)-1)] = byte(to)
			if to&foldOne != 0 {
				f.ones = append(f.ones, int32(i))
			}
		}
		clear(f.octets[f.n:min(f.n+4, len(f.octets))])
		g.chunk(f, at-f.from, end-f.from, found)
	}
}

// chunk looks for the grams that begin in a part of the folded octets.
func (g *grams) chunk(f *folded, from, to int, found func(p *place, at int)) {
	ones := f.ones
	for len(ones) > 0 && int(ones[0]) < from {
		ones = ones[1:]
	}
	for ; len(ones) > 0 && int(ones[0]) < to; ones = ones[1:] {
		at := int(ones[0])
		g.part(f, from, at, found)
		from = at
		f.tell(g.one[f.octets[at]], at, found)
	}
	g.part(f, from, to, found)
}

func (g *grams) part(f *folded, from, to int, found func(p *place, at int)) {
	four, three := &g.four, &g.three
	switch {
	case !three.used && !four.used:
	case !three.used:
		for i := from; i < to; i++ {
			gram := binary.LittleEndian.Uint32(f.octets[i:])
			if h := gram * gramHash >> four.shift; four.bitmap[h>>6]>>(h&63)&1 != 0 {
				f.tell(four.look(gram), i, found)
			}
		}
	case !four.used:
		for i := from; i < to; i++ {
			gram := binary.LittleEndian.Uint32(f.octets[i:]) & 0xFFFFFF
			if h := gram * gramHash >> three.shift; three.bitmap[h>>6]>>(h&63)&1 != 0 {
				f.tell(three.look(gram), i, found)
			}
		}
	default:
		for i := from; i < to; i++ {
			gram := binary.LittleEndian.Uint32(f.octets[i:])
			if h := gram * gramHash >> four.shift; four.bitmap[h>>6]>>(h&63)&1 != 0 {
				f.tell(four.look(gram), i, found)
			}
			gram &= 0xFFFFFF
			if h := gram * gramHash >> three.shift; three.bitmap[h>>6]>>(h&63)&1 != 0 {
				f.tell(three.look(gram), i, found)
			}
		}
	}
}

// tell tells of the places whose texts lie there where the octets that stand for them are at i.
func (f *folded) tell(all []place, i int, found func(p *place, at int)) {
	for k := range all {
		p := &all[k]
		if at := i - p.back; at >= 0 && at+len(p.text) <= f.n && string(f.octets[at:at+len(p.text)]) == p.text {
			found(p, f.from+at)
		}
	}
}
