package eval

import (
	"cmp"
	"slices"
)

// namedPiece is how many octets namedIn reads at once, and namedAhead how many behind these, in which the names go on that begin there.
const (
	namedPiece = 1 << 10
	namedAhead = 16
)

// namedIn is brandsIn for a text of ASCII. It looks for four octets that may begin a name, in the letters and digits of the text, and puts
// words together only there. Words are so short that a branch at each of their ends would cost more than all else.
func namedIn(text []byte, found func(b *brand, name string) (more bool)) {
	var (
		index = brandIndex()
		room  [8]namedAt
		all   = room[:0]
		low   [namedPiece + namedAhead + 1]byte  // letters and digits alone, in lower case
		words [namedPiece + namedAhead + 1]int32 // where the words begin in the piece,
		lows  [namedPiece + namedAhead + 1]int32 // and in low
	)
	before := uint8(0) // whether the octet before is one of a word
	for from := 0; from < len(text); from += namedPiece {
		piece := text[from:min(from+namedPiece+namedAhead, len(text))]
		n, k, is := 0, 0, before
		for i, c := range piece {
			sign := wordOctets[c]
			low[n], words[k], lows[k] = sign.low, int32(i), int32(n)
			k += int(sign.within &^ is)
			is = sign.within
			n += int(sign.counts)
		}
		for i := range k {
			if at := int(words[i]); at >= namedPiece {
				break
			} else if l := int(lows[i]); n-l < 4 || index.inNames.may([4]byte(low[l:l+4])) {
				all = index.namesAt(all, text, from+at)
			}
		}
		before = wordOctets[piece[min(namedPiece, len(piece))-1]].within
	}
	slices.SortStableFunc(all, func(a, b namedAt) int { return cmp.Or(cmp.Compare(a.end, b.end), cmp.Compare(b.begin, a.begin)) })
	for i := range all {
		if !found(all[i].brand, all[i].name) {
			return
		}
	}
}

// wordOctets tells what octets are in words of ASCII: whether one is within a word, whether it counts, and what it is in lower case.
var wordOctets = func() (t [256]struct{ low, within, counts uint8 }) {
	for c := range t {
		t[c].low = lowerOctet[c]
		if inWord(byte(c)) {
			t[c].within, t[c].counts = 1, 1
		}
	}
	t['\''].within = 1
	return t
}()

// inWord reports whether an octet is a letter or a digit of ASCII.
func inWord(c byte) bool { return signs[c]&(signLower|signDigit|signUpper) != 0 }

// namedAt is the name of a brand in a text.
type namedAt struct {
	brand      *brand
	name       string
	begin, end int
}

// namesAt adds the names that begin at a place of a text of ASCII, with the word there.
func (t *brandTable) namesAt(all []namedAt, text []byte, begin int) []namedAt {
	var room [64]byte
	name := room[:0]
	written := false
	for i, words := begin, 0; words < maxBrandWords; i++ {
		if i < len(text) {
			if c := text[i]; inWord(c) {
				if len(name) == t.longest {
					return all
				}
				name, written = append(name, lowerOctet[c]), true
				continue
			} else if c == '\'' {
				written = true
				continue
			}
		}
		if written {
			if len(name) == 0 { // the word there has nothing in it
				return all
			}
			if len(name) >= beginOctets && !t.begin(name) {
				return all
			}
			if b := t.named(name); b != nil {
				all = append(all, namedAt{b, string(name), begin, i})
			}
			words, written = words+1, false
		}
		if i >= len(text) {
			break
		}
	}
	return all
}

// beginTable is what some texts begin with: by beginHash, a bit for each fourth octet.
type beginTable [1 << 11]uint32

// may reports whether a text may begin with four octets, or be over within them.
func (t *beginTable) may(b [4]byte) bool {
	return t[((uint32(b[0])*59+uint32(b[1]))*59+uint32(b[2]))%(1<<11)]>>(b[3]&31)&1 != 0
}

// add has may know a text.
func (t *beginTable) add(text string) {
	if len(text) < beginOctets {
		for _, c := range []byte("abcdefghijklmnopqrstuvwxyz0123456789") {
			t.add(text + string(rune(c)))
		}
		return
	}
	bit := uint32(1<<32 - 1) // whatever is next
	if len(text) > beginOctets {
		bit = 1 << (text[beginOctets] & 31)
	}
	t[beginHash([]byte(text))] |= bit
}
