package learner

import (
	"strings"
)

// A text is cut into words, and each word is a feature by itself and with each of the osbWindow-1 words before it, together
// with how far that one is away: orthogonal sparse bigrams, which see a phrase also where a word of it was exchanged.
const osbWindow = 5

// Limits of words, in octets.
const (
	maxWord  = 40 // the rest of a longer one is left out: nobody writes such, and each would be a feature of its own
	maxDigit = 3  // digits of a number that count; they all look alike
)

// word is a word of a text: its hash, and its text where that was asked for.
type word struct {
	hash uint64
	text string
}

// octet classes of words.
const (
	isOther = iota
	isLetter
	isUpper
	isDigit
	isInner // belongs to a word between two letters or digits
	isMoney
)

var classes = func() (c [256]uint8) {
	for b := 'a'; b <= 'z'; b++ {
		c[b] = isLetter
		c[b-32] = isUpper
	}
	for b := '0'; b <= '9'; b++ {
		c[b] = isDigit
	}
	for b := 0x80; b < 0x100; b++ {
		c[b] = isLetter
	}
	for _, b := range "'-_.@" {
		c[b] = isInner
	}
	for _, b := range "$%!" {
		c[b] = isMoney
	}
	return c
}()

// Words takes the words of a text in their order. The class tells texts of different places apart: "" is the visible text.
// Words of one call follow one another, those of two calls do not.
func (g *Gather) Words(class string, text []byte) {
	seed := uint64(0)
	if class != "" {
		seed = hashString(0, class) * mixPrime
	}
	g.held = 0
	for i := 0; i < len(text) && !g.full(); {
		c := classes[text[i]]
		if c == isOther || c == isInner {
			i++
			continue
		}
		i = g.word(seed, class, text, i)
	}
}

// word takes the word that begins at i, and gives where it ends.
func (g *Gather) word(seed uint64, class string, text []byte, i int) int {
	h := uint64(fnvOffset) ^ seed
	start, digits, wide := i, 0, 0
	raw := g.scratch[:0]
	for ; i < len(text); i++ {
		b := text[i]
		switch classes[b] {
		case isUpper:
			b += 'a' - 'A'
			digits = 0
		case isLetter:
			digits = 0
			if b >= 0x80 {
				wide++
			}
		case isDigit:
			// Numbers are dates, prices, identifiers: that there is one tells something, which one hardly ever does.
			if digits++; digits > maxDigit {
				continue
			}
			b = '0'
		case isInner:
			if i+1 >= len(text) || classes[text[i+1]] == isOther || classes[text[i+1]] == isInner || i == start {
				goto end
			}
			digits = 0
		case isMoney:
			if i > start && b != '!' && b != '%' {
				goto end
			}
		default:
			goto end
		}
		if len(raw) < maxWord {
			raw = append(raw, b)
			h = (h ^ uint64(b)) * fnvPrime
		}
	}
end:
	g.scratch = raw
	if len(raw) == 0 {
		return i + 1
	}
	if timeWords[string(raw)] {
		return i
	}
	w := word{hash: h}
	if g.wanted != nil {
		w.text = string(raw)
	}
	g.shift(class, w)
	if wide > 12 {
		g.runes(seed, class, raw)
	}
	return i
}

// shift takes a word, alone and with those before it.
func (g *Gather) shift(class string, w word) {
	if f, fresh := g.add(mix(w.hash)); fresh && g.wants(f) {
		g.wanted[f] = named(class, w.text)
	}
	for d := 1; d <= g.held; d++ {
		before := &g.window[g.held-d]
		h := mix(before.hash*pairPrimes[d] + w.hash)
		if f, fresh := g.add(h); fresh && g.wants(f) {
			g.wanted[f] = named(class, before.text+strings.Repeat(" _", d-1)+" "+w.text)
		}
	}
	if g.held == osbWindow-1 {
		copy(g.window[:], g.window[1:osbWindow-1])
		g.held--
	}
	g.window[g.held] = w
	g.held++
}

var pairPrimes = [osbWindow]uint64{0, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0x27D4EB2F165667C5, 0x85EBCA77C2B2AE63}

// runes takes the pairs of characters of a long run without blanks, as Chinese and Japanese are written.
func (g *Gather) runes(seed uint64, class string, raw []byte) {
	last := 0
	for i := range string(raw) {
		if i == 0 {
			continue
		}
		next := i
		for next++; next < len(raw) && raw[next]&0xC0 == 0x80; next++ {
		}
		pair := string(raw[last:next])
		if f, fresh := g.add(mix(hashString(seed+1, pair))); fresh && g.wants(f) {
			g.wanted[f] = named(class, pair)
		}
		last = i
	}
}

func named(class, text string) string {
	if class == "" {
		return text
	}
	return class + ":" + text
}

// timeWords are the names of days and months: what is written in March is not therefore like what else was written then.
var timeWords = func() map[string]bool {
	all := map[string]bool{}
	for _, w := range strings.Fields(`
		monday tuesday wednesday thursday friday saturday sunday mon tue tues wed thu thur thurs fri sat sun
		january february march april may june july august september october november december
		jan feb mar apr jun jul aug sep sept oct nov dec`) {
		all[w] = true
	}
	return all
}()
