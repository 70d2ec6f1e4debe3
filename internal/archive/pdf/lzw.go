package pdf

import (
	"bufio"
	"errors"
	"io"
)

var errLZW = errors.New("pdf: damaged LZW data")

// lzwReader decodes LZWDecode (ISO 32000-1 7.4.4): codes of 9 to 12 bits, the most significant bit first.
type lzwReader struct {
	r     *bufio.Reader
	early int // 1 where codes become longer one code early
	bits  uint32
	have  uint // bits in bits
	width uint
	next  int // the next code to be defined
	last  int // the code before, -1 for none
	// Each code stands for what its prefix stands for, and one octet more.
	prefix [4096]uint16
	suffix [4096]byte
	stack  [4097]byte
	out    []byte // of stack, not yet read
	err    error
}

func newLZW(r io.Reader, early bool) *lzwReader {
	z := &lzwReader{r: bufio.NewReader(r)}
	if early {
		z.early = 1
	}
	z.clear()
	return z
}

func (z *lzwReader) clear() { z.width, z.next, z.last = 9, 258, -1 }

func (z *lzwReader) Read(p []byte) (int, error) {
	n := 0
	for n < len(p) {
		for len(z.out) == 0 && z.err == nil {
			z.err = z.code()
		}
		if len(z.out) == 0 {
			break
		}
		c := copy(p[n:], z.out)
		z.out = z.out[c:]
		n += c
	}
	if n == 0 && len(p) > 0 {
		return 0, z.err
	}
	return n, nil
}

// code reads one code and makes its octets.
func (z *lzwReader) code() error {
	for z.have < z.width {
		c, err := z.r.ReadByte()
		if err != nil {
			return err // data without the end code is common
		}
		z.bits, z.have = z.bits<<8|uint32(c), z.have+8
	}
	code := int(z.bits>>(z.have-z.width)) & (1<<z.width - 1)
	z.have -= z.width
	switch {
	case code == 256:
		z.clear()
		return nil
	case code == 257:
		return io.EOF
	case code > z.next || code == z.next && z.last < 0:
		return errLZW
	}
	at := len(z.stack)
	c := code
	if code == z.next { // what it stands for is defined by itself
		at--
		c = z.last
	}
	for c > 257 {
		at--
		z.stack[at] = z.suffix[c]
		c = int(z.prefix[c])
	}
	at--
	z.stack[at] = byte(c)
	if code == z.next {
		z.stack[len(z.stack)-1] = byte(c)
	}
	z.out = z.stack[at:]
	if z.last >= 0 && z.next < 4096 {
		z.prefix[z.next], z.suffix[z.next] = uint16(z.last), byte(c)
		z.next++
	}
	for z.width < 12 && z.next+z.early >= 1<<z.width {
		z.width++
	}
	z.last = code
	return nil
}
