package pattern

import "math/bits"

// octets is a set of octets: the bit b of the four words tells whether b is in it.
type octets [4]uint64

func (s *octets) has(b byte) bool { return s[b>>6]>>(b&63)&1 != 0 }
func (s *octets) add(b byte)      { s[b>>6] |= 1 << (b & 63) }

func (s *octets) addRange(lo, hi byte) {
	for b := int(lo); b <= int(hi); b++ {
		s.add(byte(b))
	}
}

func (s *octets) union(o *octets) {
	for i := range s {
		s[i] |= o[i]
	}
}

func (s octets) not() octets {
	for i := range s {
		s[i] = ^s[i]
	}
	return s
}

func (s *octets) count() int {
	return bits.OnesCount64(s[0]) + bits.OnesCount64(s[1]) + bits.OnesCount64(s[2]) + bits.OnesCount64(s[3])
}

func (s *octets) empty() bool { return s[0]|s[1]|s[2]|s[3] == 0 }

// all gives the octets in ascending order.
func (s *octets) all() []byte {
	out := make([]byte, 0, s.count())
	for i, w := range s {
		for ; w != 0; w &= w - 1 {
			out = append(out, byte(i*64+bits.TrailingZeros64(w)))
		}
	}
	return out
}

// folded adds to each letter its other case.
func (s octets) folded() octets {
	for _, b := range s.all() {
		s.add(otherCase[b])
	}
	return s
}

// Case folds as Perl's do in a pattern under /aa: ASCII, and the letters of Latin-1 that have another case in Latin-1.
// lower maps to the small letter, otherCase to the letter of the other case; both map everything else to itself.
var lower, otherCase = foldTables()

func foldTables() (low, other [256]byte) {
	for i := range 256 {
		b := byte(i)
		low[i], other[i] = b, b
		switch {
		case b >= 'A' && b <= 'Z', b >= 0xC0 && b <= 0xDE && b != 0xD7:
			low[i], other[i] = b|0x20, b|0x20
		case b >= 'a' && b <= 'z', b >= 0xE0 && b <= 0xFE && b != 0xF7:
			other[i] = b &^ 0x20
		}
	}
	return low, other
}

func ranges(pairs ...byte) (s octets) {
	for i := 0; i < len(pairs); i += 2 {
		s.addRange(pairs[i], pairs[i+1])
	}
	return s
}

// The classes of Perl under /aa: \d, \s, \w and the POSIX ones know ASCII only, \h and \v know all of Latin-1.
var (
	classDigit  = ranges('0', '9')
	classSpace  = ranges('\t', '\r', ' ', ' ')
	classWord   = ranges('0', '9', 'A', 'Z', '_', '_', 'a', 'z')
	classBlankH = ranges('\t', '\t', ' ', ' ', 0xA0, 0xA0)
	classBlankV = ranges('\n', '\r', 0x85, 0x85)
	classAny    = ranges(0, 0xFF)
	classDot    = ranges(0, '\n'-1, '\n'+1, 0xFF)
)

var posixClasses = map[string]octets{
	"alpha":  ranges('A', 'Z', 'a', 'z'),
	"digit":  classDigit,
	"alnum":  ranges('0', '9', 'A', 'Z', 'a', 'z'),
	"upper":  ranges('A', 'Z'),
	"lower":  ranges('a', 'z'),
	"space":  classSpace,
	"blank":  ranges('\t', '\t', ' ', ' '),
	"punct":  ranges('!', '/', ':', '@', '[', '`', '{', '~'),
	"print":  ranges(' ', '~'),
	"graph":  ranges('!', '~'),
	"cntrl":  ranges(0, 0x1F, 0x7F, 0x7F),
	"xdigit": ranges('0', '9', 'A', 'F', 'a', 'f'),
	"word":   classWord,
	"ascii":  ranges(0, 0x7F),
}
