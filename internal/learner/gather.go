package learner

import (
	"slices"
	"sync"
)

// Sample is what of one message is learned from: the hashes of its features, each once. It holds no text of the message.
type Sample struct {
	Digest   Digest   // of what the message says, whatever way it came
	Features []uint32 // distinct, ascending
}

// Features are numbers of featureBits bits: that many weights there are, and two features may share one. What is known of more
// messages than a gateway remembers fills less than half of them.
const (
	featureBits  = 22
	featureSpace = 1 << featureBits
)

// maxFeatures bounds the features of one message. One that has more is long: a part of them tells enough. See collect for what
// has how much of it.
const maxFeatures = 4096

// seenSize is the size of the table by which a Gather knows the features it has: twice maxFeatures, so that the way to an
// empty place is short.
const seenSize = 2 * maxFeatures

// Gather collects the features of one message. It is for one goroutine, and made by NewGather.
type Gather struct {
	features []uint32
	seen     [seenSize]uint64 // round in the upper half, feature in the lower
	round    uint32
	limit    int               // features, with which it is full
	wanted   map[uint32]string // features whose text is asked for; nil for none
	window   [osbWindow]word   // the last words of a text, the newest last
	held     int               // words in window
	scratch  []byte
}

var gathers = sync.Pool{New: func() any { return &Gather{features: make([]uint32, 0, maxFeatures)} }}

// NewGather gives an empty Gather. Sample ends it.
func NewGather() *Gather {
	g := gathers.Get().(*Gather)
	g.round++
	if g.round == 0 { // once in four thousand million messages
		clear(g.seen[:])
		g.round = 1
	}
	g.features, g.held, g.limit = g.features[:0], 0, maxFeatures
	return g
}

// Sample gives what was collected, and ends the Gather.
func (g *Gather) Sample(d Digest) Sample {
	slices.Sort(g.features)
	s := Sample{Digest: d, Features: slices.Clone(g.features)}
	g.end()
	return s
}

func (g *Gather) end() {
	g.wanted = nil
	gathers.Put(g)
}

// wants reports whether the text of a feature is asked for.
func (g *Gather) wants(feature uint32) bool {
	if g.wanted == nil {
		return false
	}
	_, ok := g.wanted[feature]
	return ok
}

// share has at most so many features more taken, until the next call: what there is much of leaves room for the rest.
func (g *Gather) share(most int) { g.limit = min(len(g.features)+most, maxFeatures) }

// full reports whether nothing more is taken.
func (g *Gather) full() bool { return len(g.features) >= g.limit }

// add takes a feature by its hash; it reports whether it is a new one.
func (g *Gather) add(h uint64) (feature uint32, fresh bool) {
	feature = uint32(h >> (64 - featureBits))
	if g.full() {
		return feature, false
	}
	mark := uint64(g.round)<<32 | uint64(feature)
	for i := feature % seenSize; ; i = (i + 1) % seenSize {
		switch {
		case g.seen[i] == mark:
			return feature, false
		case uint32(g.seen[i]>>32) != g.round:
			g.seen[i] = mark
			g.features = append(g.features, feature)
			return feature, true
		}
	}
}

// Hashes are made of FNV-1a over octets and a multiplication that mixes; what is learned goes by them, so that they belong to
// the format of the store (see version).
const (
	fnvOffset = 14695981039346656037
	fnvPrime  = 1099511628211
	mixPrime  = 0x9E3779B97F4A7C15
)

func mix(h uint64) uint64 {
	h ^= h >> 32
	h *= mixPrime
	h ^= h >> 29
	h *= 0xBF58476D1CE4E5B9
	return h ^ h>>32
}

func hashString(seed uint64, s string) uint64 {
	h := fnvOffset ^ seed
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * fnvPrime
	}
	return h
}

// Mark takes one thing by its class and value, such as ("part", "text/html"), as so many features: what counts as one word of a
// text weighs little beside a thousand of them. The empty value is one too.
func (g *Gather) Mark(class, value string, times int) {
	h := hashString(hashString(0, class)*mixPrime, value)
	for n := range uint64(times) {
		if f, fresh := g.add(mix(h + n*mixPrime)); fresh && g.wants(f) {
			g.wanted[f] = class + ":" + value
		}
	}
}
