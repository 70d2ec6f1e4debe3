package pattern

import (
	"math"
)

// rater tells how rare texts are: by a sample of what is scanned where there is one, and else by how rare their letters are.
type rater struct {
	sample []byte             // folded
	grams  map[uint32][]int32 // where each three octets of it are
	octets [256][]int32
	known  map[string]float64
}

// mostSample bounds the octets that are taken for a sample.
const mostSample = 128 << 10

// mostUnseen bounds how much rarer a text may be than what is seen in the sample once.
const mostUnseen = 6

func newRater(sample [][]byte) *rater {
	r := &rater{grams: map[uint32][]int32{}, known: map[string]float64{}}
	for _, b := range sample {
		for _, c := range b[:min(len(b), mostSample-len(r.sample))] {
			r.sample = append(r.sample, plain[c])
		}
	}
	for i, b := range r.sample {
		r.octets[b] = append(r.octets[b], int32(i))
	}
	for i := 0; i+3 <= len(r.sample); i++ {
		g := gramOf(string(r.sample[i : i+3]))
		r.grams[g] = append(r.grams[g], int32(i))
	}
	return r
}

// bits gives how rare a text is: there is one in so many octets, as a power of two.
func (r *rater) bits(t string, word bool) float64 {
	if len(r.sample) == 0 {
		return rarity(t)
	}
	key := t
	if word {
		key = "\x00" + t
	}
	bits, ok := r.known[key]
	if !ok {
		bits = r.look(t, word)
		r.known[key] = bits
	}
	return bits
}

// rareOctet is how rare one octet of a text has to be that is shorter than three.
const rareOctet = 7.5

// rarest gives the rarest octet of a text.
func (r *rater) rarest(t string) (at int, bits float64) {
	for i := range len(t) {
		if b := r.bits(t[i:i+1], false); b > bits {
			at, bits = i, b
		}
	}
	return at, bits
}

func (r *rater) look(t string, word bool) float64 {
	places := r.octets[t[0]]
	if len(t) >= 3 {
		places = r.grams[gramOf(t[:3])]
	}
	n := 0
	for _, i := range places {
		end := int(i) + len(t)
		if end <= len(r.sample) && string(r.sample[i:end]) == t && (!word || i == 0 || !classWord.has(r.sample[i-1])) {
			n++
		}
	}
	total := math.Log2(float64(len(r.sample) + 1))
	if n > 0 {
		return total - math.Log2(float64(n))
	}
	return min(max(total, rarity(t)), total+mostUnseen)
}

// share gives how much of a text is made of a set.
func (r *rater) share(s *octets) (part float64) {
	for _, b := range s.all() {
		if plain[b] == b {
			part += math.Exp2(-float64(rareness[b]))
		}
	}
	return min(part, 1)
}

// plain maps octets to what stands for them in clues: letters to small ones, and every white space to the blank.
var plain = func() (p [256]byte) {
	p = lower
	for _, b := range classSpace.all() {
		p[b] = ' '
	}
	return p
}()

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
