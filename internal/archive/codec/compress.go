package codec

import (
	"bufio"
	"io"
)

// CompressMagic begins a file of compress (.Z).
const CompressMagic = "\x1f\x9d"

// lzw reads what compress writes: codes that grow from 9 to at most 16 bits, lowest bits first. Codes are written in
// groups of eight of one width; a group that is not full when the width changes is padded.
type lzw struct {
	in       *bufio.Reader
	maxWidth int
	block    bool // code 256 empties the table
	width    int
	group    []byte // octets of the current group
	bit      int    // position in group
	next     int    // next free code
	last     int    // code before, -1 for none
	first    byte   // its first octet
	prefix   [1 << 16]uint16
	suffix   [1 << 16]byte
	out      []byte // what was not given yet, in its order
	stack    []byte
}

// Compress reads a file of compress to its end.
func Compress(in *bufio.Reader) (io.Reader, error) {
	var h [3]byte
	if _, err := io.ReadFull(in, h[:]); err != nil {
		return nil, full(err)
	}
	z := &lzw{in: in, maxWidth: int(h[2] & 0x1f), block: h[2]&0x80 != 0}
	if string(h[:2]) != CompressMagic || z.maxWidth < 9 || z.maxWidth > 16 {
		return nil, errHeader
	}
	for i := range 256 {
		z.suffix[i] = byte(i)
	}
	z.reset()
	return z, nil
}

func (z *lzw) reset() {
	z.width, z.last, z.next = 9, -1, 256
	if z.block {
		z.next = 257
	}
	z.group, z.bit = nil, 0
}

func (z *lzw) Read(p []byte) (int, error) {
	for len(z.out) == 0 {
		if err := z.step(); err != nil {
			return 0, err
		}
	}
	n := copy(p, z.out)
	z.out = z.out[n:]
	return n, nil
}

// code reads the next code of the current width.
func (z *lzw) code() (int, error) {
	if z.bit+z.width > 8*len(z.group) {
		b := make([]byte, z.width)
		n, err := io.ReadFull(z.in, b)
		if err == io.ErrUnexpectedEOF {
			err = nil
		}
		if err != nil {
			return 0, err
		}
		z.group, z.bit = b[:n], 0
		if 8*n < z.width {
			return 0, io.EOF // padding
		}
	}
	v := 0
	for i, b := range z.group[z.bit/8 : (z.bit+z.width+7)/8] {
		v |= int(b) << (8 * i)
	}
	v = v >> (z.bit % 8) & (1<<z.width - 1)
	z.bit += z.width
	return v, nil
}

// step reads one code and makes its octets.
func (z *lzw) step() error {
	// The width grows when the table has outgrown it, and the rest of the group is padding.
	if z.next >= 1<<z.width && z.width < z.maxWidth {
		z.width++
		z.group, z.bit = nil, 0
	}
	c, err := z.code()
	if err != nil {
		return err
	}
	if z.block && c == 256 {
		z.reset()
		return nil
	}
	if z.last < 0 {
		if c > 255 {
			return errDamaged
		}
		z.last, z.first = c, byte(c)
		z.out = append(z.out[:0], byte(c))
		return nil
	}
	if c > z.next || c == z.next && z.next >= 1<<z.maxWidth {
		return errDamaged
	}
	z.expand(c)
	if z.next < 1<<z.maxWidth {
		z.prefix[z.next], z.suffix[z.next] = uint16(z.last), z.first
		z.next++
	}
	z.last = c
	return nil
}

// expand makes the octets of a code, which may be the one that is about to be defined.
func (z *lzw) expand(c int) {
	z.stack = z.stack[:0]
	at := c
	if c == z.next {
		z.stack = append(z.stack, z.first)
		at = z.last
	}
	for at > 255 {
		z.stack = append(z.stack, z.suffix[at])
		at = int(z.prefix[at])
	}
	z.first = byte(at)
	z.stack = append(z.stack, z.first)
	z.out = z.out[:0]
	for i := len(z.stack) - 1; i >= 0; i-- {
		z.out = append(z.out, z.stack[i])
	}
}
