package pattern

import (
	"encoding/binary"
	"math/bits"
	"slices"
)

// grams looks for many texts at once, without regard to case: a hash of each three octets, and the one behind, ask a bitmap that fits the
// nearest cache whether a text may lie there. Of texts that are shorter one octet is looked for.
type grams struct {
	filter      []uint32 // by the hash of three octets; the bits are of the fourth
	shift       uint     // of the hash
	four, three gramTable
	one         [256][]place // by folded octet
	single      [256]bool    // octets that one is for, in either case
	singles     bool
}

// place is where a text may lie: it begins so many octets before the gram that stands for it.
type place struct {
	lead, mask uint64 // its first octets, eight at most, and which of a word they are: most texts differ in these already
	text       string
	back       int
	clients    []int32
}

func placeOf(text string, back int, clients []int32) place {
	p := place{text: text, back: back, clients: clients, mask: 1<<(8*min(len(text), 8)) - 1}
	for i := min(len(text), 8) - 1; i >= 0; i-- {
		p.lead = p.lead<<8 | uint64(text[i])
	}
	return p
}

type gramTable struct {
	slots  []gramSlot // open addressing
	mask   uint32
	places []place // of one gram beside each other
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
			g.one[t[at]] = append(g.one[t[at]], placeOf(t, at, texts[t]))
			for b := range 256 { // in either case
				g.single[b] = g.single[b] || plain[b] == t[at]
			}
			g.singles = true
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
		byGram[which][gram] = append(byGram[which][gram], placeOf(t, at, texts[t]))
	}
	logWords := min(max(minFilter, bits.Len(uint(len(byGram[0])+len(byGram[1])))+2), maxFilter)
	g.shift = uint(32 - logWords)
	g.filter = make([]uint32, 1<<logWords)
	for gram := range byGram[0] {
		g.filter[filterHash(gram)>>g.shift] |= 1 << (gram >> 24 & 31)
	}
	for gram := range byGram[1] {
		g.filter[filterHash(gram)>>g.shift] = everyFourth
	}
	g.four.fill(byGram[0])
	g.three.fill(byGram[1])
	return g
}

// The bounds of the filter's words, as powers of two: 64 KB at most.
const (
	minFilter = 8
	maxFilter = 14
)

// everyFourth is the filter's word where a text of three octets may lie.
const everyFourth = 1<<32 - 1

// filterHash is a hash of the first three octets of a gram.
func filterHash(gram uint32) uint32 { return gram << 8 * gramHash }

func gramOf(t string) (g uint32) {
	for i := len(t) - 1; i >= 0; i-- {
		g = g<<8 | uint32(t[i])
	}
	return g
}

func (g *gramTable) fill(by map[uint32][]place) {
	logSlots := max(4, bits.Len(uint(len(by)*2)))
	g.slots = make([]gramSlot, 1<<logSlots)
	g.mask = 1<<logSlots - 1
	grams := make([]uint32, 0, len(by))
	for gram := range by {
		grams = append(grams, gram)
	}
	slices.Sort(grams)
	for _, gram := range grams {
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
	octets [foldedSize + 8]byte
	ones   []int32 // places of the chunk that hold an octet by which a text is looked for
	from   int     // where the first of octets lies in the text
	n      int
	told   int // texts that were compared, and clients that heard of one, since the work was charged
}

// scan calls found with where each text lies in b, in the order of what stands for the texts. It tells whether the work sufficed; where
// not, b was not read to its end.
func (g *grams) scan(b []byte, f *folded, w *Work, found func(p *place, at int)) bool {
	for at := 0; at < len(b); at += gramChunk {
		end := min(at+gramChunk, len(b))
		f.from = max(at-clueLength, 0)
		f.n = min(end+clueLength, len(b)) - f.from
		f.ones = f.ones[:0]
		from := b[f.from : f.from+f.n]
		fold(f.octets[:len(from)], from)
		if g.singles {
			for i, c := range from {
				if g.single[c] {
					f.ones = append(f.ones, int32(i))
				}
			}
		}
		clear(f.octets[f.n : f.n+8])
		g.chunk(f, at-f.from, end-f.from, found)
		sufficed := w.spend(f.told / toldPerStep)
		if f.told = 0; !sufficed {
			return false
		}
	}
	return true
}

// fold puts what stands for octets in clues in the place of as many others; see plain.
func fold(to, from []byte) {
	const (
		each    = 0x0101010101010101
		highest = 0x80 * each
	)
	for len(from) >= 8 && len(to) >= 8 {
		x := binary.LittleEndian.Uint64(from)
		if x&highest != 0 {
			for i, c := range from[:8] {
				to[i] = plain[c]
			}
			from, to = from[8:], to[8:]
			continue
		}
		// The highest bit of an octet is free to tell of a range.
		capitals := (x + (0x80-'A')*each) &^ (x + (0x7f-'Z')*each) & highest
		spaces := (x + (0x80-'\t')*each) &^ (x + (0x7f-'\r')*each) & highest
		x = (x|capitals>>2)&^(spaces>>7*0xff) | spaces>>2
		binary.LittleEndian.PutUint64(to, x)
		from, to = from[8:], to[8:]
	}
	for i, c := range from {
		to[i] = plain[c]
	}
}

// toldPerStep is how many texts may be compared for one step.
const toldPerStep = 2

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
	filter, shift := g.filter, g.shift&31
	for i := from; i < to; i++ {
		gram := binary.LittleEndian.Uint32(f.octets[i:])
		if word := filter[filterHash(gram)>>shift]; word>>(gram>>24&31)&1 != 0 {
			f.tell(g.four.look(gram), i, found)
			if word == everyFourth {
				f.tell(g.three.look(gram&0xFFFFFF), i, found)
			}
		}
	}
}

// tell tells of the places whose texts lie there where the octets that stand for them are at i.
func (f *folded) tell(all []place, i int, found func(p *place, at int)) {
	f.told += len(all)
	for k := range all {
		p := &all[k]
		at := i - p.back
		if at < 0 || at+len(p.text) > f.n || (binary.LittleEndian.Uint64(f.octets[at:])^p.lead)&p.mask != 0 {
			continue
		}
		if len(p.text) <= 8 || string(f.octets[at:at+len(p.text)]) == p.text {
			found(p, f.from+at)
		}
	}
}
