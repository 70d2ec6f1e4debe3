package eval

import (
	"encoding/binary"
	"math/bits"
)

// Texts are read eight octets at once where that can be: an eight is a word of them, the first in its lowest octet, and a mask of it
// has the highest bit of each octet that it is for.

// each has one in each octet.
const each = 0x0101010101010101

// highest is the mask of all octets.
const highest = 0x80 * each

// eightAt gives the octets from i on, spaces in place of those that are missing.
func eightAt(b []byte, i int) uint64 {
	if i+8 <= len(b) {
		return binary.LittleEndian.Uint64(b[i:])
	}
	x := uint64(' ' * each)
	for k := len(b) - 1; k >= i; k-- {
		x = x<<8 | uint64(b[k])
	}
	return x
}

// ranged gives the mask of the octets from least to most, both of ASCII.
func ranged(x uint64, least, most byte) uint64 {
	low := x &^ highest
	return (low + uint64(0x80-int(least))*each) &^ (low + uint64(0x7f-int(most))*each) &^ x & highest
}

// lettersOf gives the mask of the letters of ASCII.
func lettersOf(x uint64) uint64 { return ranged(x|0x20*each, 'a', 'z') }

// capitals gives which letters of a mask are in upper case.
func capitals(x, letters uint64) uint64 { return letters &^ (x << 2) }

// spacesOf gives the mask of white space: blanks, tabs and what ends lines.
func spacesOf(x uint64) uint64 { return ranged(x, '\t', '\r') | ranged(x, ' ', ' ') }

// place gives which octet the lowest bit of a mask is for.
func place(mask uint64) int { return bits.TrailingZeros64(mask) >> 3 }

// lastPlace gives which octet the highest bit of a mask is for.
func lastPlace(mask uint64) int { return (bits.Len64(mask) - 1) >> 3 }
