package learner

import "bytes"

// gramSize is the length of a gram: so many octets that follow one another. Grams need no knowledge of what a word is in a
// language, and see through words that were written a little differently each time.
const gramSize = 4

// Grams takes each run of gramSize octets of a text, in lower case. Digits are all alike, since the next message has others.
func (g *Gather) Grams(class string, text []byte) {
	seed := hashString(gramSize, class) * mixPrime
	window := uint32(0)
	for i, b := range text {
		window = window<<8 | uint32(gramOctet[b])
		if i < gramSize-1 {
			continue
		}
		f, fresh := g.add(mix(seed + uint64(window)*mixPrime))
		if fresh && g.wants(f) {
			g.wanted[f] = named(class, string(around(text, i-gramSize+1, i+1)))
		}
	}
}

var gramOctet = func() (t [256]byte) {
	for b := range t {
		t[b] = byte(b)
		switch {
		case b >= '0' && b <= '9':
			t[b] = '0'
		case b >= 'A' && b <= 'Z':
			t[b] = byte(b) + 'a' - 'A'
		case b == '\t':
			t[b] = ' '
		}
	}
	return t
}()

// around gives the words in which the octets from i to j of a text lie, for people.
func around(text []byte, i, j int) []byte {
	const most = 40
	from, to := max(i-most, 0), min(j+most, len(text))
	if k := bytes.LastIndexAny(text[from:i], " \t\n\u00a0"); k >= 0 {
		from += k + 1
	}
	if k := bytes.IndexAny(text[j:to], " \t\n"); k >= 0 {
		to = j + k
	}
	return bytes.Join(bytes.Fields(text[from:to]), []byte(" "))
}
