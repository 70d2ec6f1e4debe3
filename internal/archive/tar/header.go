package tar

import (
	"bytes"
	"math"
	"strconv"
	"strings"
)

// blockSize is the unit of tar (POSIX.1-2017 pax, "ustar Interchange Format").
const blockSize = 512

// Types of tar headers, as far as they matter here.
const (
	typeHard      = '1'
	typeSymbolic  = '2'
	typeChar      = '3'
	typeBlock     = '4'
	typeFolder    = '5'
	typeFIFO      = '6'
	typeGlobal    = 'g'
	typePax       = 'x'
	typePaxSun    = 'X'
	typeLongName  = 'L' // GNU
	typeLongLink  = 'K'
	typeSparse    = 'S'
	typeDump      = 'D'
	typeVolume    = 'V'
	typeContinued = 'M'
)

// header is one header block.
type header struct {
	name, prefix string
	size         int64
	kind         byte
	link         string
	gnu          bool
	raw          []byte
}

// Is reports whether octets begin with the header of a tar: its checksum is right and its size is a number. There
// need not be the magic that came with ustar.
func Is(head []byte) bool {
	if len(head) < blockSize {
		return false
	}
	_, ok := parseHeader(head[:blockSize])
	return ok
}

// parseHeader reads one block. Sums of signed octets are those of old programs.
func parseHeader(b []byte) (*header, bool) {
	if b[0] == 0 && b[345] == 0 && cString(b[:100]) == "" && b[156] < 'A' {
		return nil, false // without a name
	}
	want, ok := octal(b[148:156])
	if !ok {
		return nil, false
	}
	var unsigned, signed int64
	for i, c := range b {
		if i >= 148 && i < 156 {
			c = ' '
		}
		unsigned += int64(c)
		signed += int64(int8(c))
	}
	if want != unsigned && want != signed {
		return nil, false
	}
	h := &header{name: cString(b[:100]), kind: b[156], link: cString(b[157:257]), raw: b}
	h.size, ok = number(b[124:136])
	h.gnu = string(b[257:265]) == "ustar  \x00"
	// GNU has times there, but some programs write the prefix of ustar all the same.
	if string(b[257:262]) == "ustar" && (!h.gnu || b[345] > '9') {
		h.prefix = cString(b[345:500])
		if string(b[508:]) == "tar\x00" {
			h.prefix = cString(b[345:476]) // star
		}
	}
	return h, ok && h.size >= 0
}

// octal reads a field of octal digits between spaces and NULs.
func octal(b []byte) (int64, bool) {
	b = bytes.Trim(b, " \x00")
	if i := bytes.IndexByte(b, 0); i >= 0 {
		b = b[:i]
	}
	if len(b) == 0 {
		return 0, true
	}
	n, err := strconv.ParseUint(strings.TrimRight(string(b), " "), 8, 63)
	return int64(n), err == nil
}

// number reads a field that is octal or, with its first bit set, in base 256 (GNU tar, "Extensions").
func number(b []byte) (int64, bool) {
	if b[0]&0x80 == 0 {
		return octal(b)
	}
	if b[0]&0x40 != 0 {
		return 0, false // negative
	}
	n := int64(b[0] & 0x3f)
	for _, c := range b[1:] {
		if n > math.MaxInt64>>9 {
			return 0, false
		}
		n = n<<8 | int64(c)
	}
	return n, true
}
