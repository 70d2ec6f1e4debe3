package codec

import (
	"bufio"
	"io"
)

// inflate64 reads Deflate64: Deflate (RFC 1951) with a window of 64 KiB, a longest match whose length has 16 extra
// bits, and two more codes of distances.
type inflate64 struct {
	in     *bufio.Reader
	bits   uint32
	have   uint
	window [1 << 16]byte
	at     int // where the window is written
	given  int // where it is read
	wait   int // octets that were written and not read
	filled int // octets of the window that hold something
	final  bool
	stored int  // octets left of a stored block
	inside bool // within a block of codes
	length int  // octets left of a match
	dist   int
	lit    huffman
	off    huffman
	err    error
}

// Inflate64 reads one stream of Deflate64, and nothing of what follows it.
func Inflate64(in *bufio.Reader) io.Reader { return &inflate64{in: in} }

func (z *inflate64) Read(p []byte) (int, error) {
	for z.wait == 0 {
		if z.err != nil {
			return 0, z.err
		}
		z.fill()
	}
	n := 0
	for n < len(p) && z.wait > 0 {
		m := copy(p[n:], z.window[z.given:min(z.given+z.wait, len(z.window))])
		z.given = (z.given + m) & (len(z.window) - 1)
		z.wait -= m
		n += m
	}
	return n, nil
}

func (z *inflate64) put(b byte) {
	z.window[z.at] = b
	z.at = (z.at + 1) & (len(z.window) - 1)
	z.wait++
	z.filled = min(z.filled+1, len(z.window))
}

// fill makes up to half a window of octets.
func (z *inflate64) fill() {
	for z.wait < len(z.window)/2 && z.err == nil {
		switch {
		case z.length > 0:
			z.put(z.window[(z.at-z.dist)&(len(z.window)-1)])
			z.length--
		case z.stored > 0:
			b, err := z.in.ReadByte()
			z.fail(full(err))
			if err == nil {
				z.put(b)
				z.stored--
			}
		case z.inside:
			z.symbol()
		case z.final:
			z.err = io.EOF
		default:
			z.block()
		}
	}
}

func (z *inflate64) fail(err error) {
	if z.err == nil {
		z.err = err
	}
}

// take reads n bits, lowest first.
func (z *inflate64) take(n uint) int {
	for z.have < n {
		b, err := z.in.ReadByte()
		if err != nil {
			z.fail(full(err))
			return 0
		}
		z.bits |= uint32(b) << z.have
		z.have += 8
	}
	v := z.bits & (1<<n - 1)
	z.bits >>= n
	z.have -= n
	return int(v)
}

// block reads the header of a block (RFC 1951 3.2.3).
func (z *inflate64) block() {
	z.final = z.take(1) == 1
	kind := z.take(2)
	if z.err != nil {
		return
	}
	switch kind {
	case 0:
		z.bits, z.have = 0, 0
		n, inverse := z.take(16), z.take(16)
		if z.err == nil && n != inverse^0xffff {
			z.fail(errDamaged)
		}
		z.stored = n
	case 1:
		var lengths [288]byte
		for i := range lengths {
			switch {
			case i < 144:
				lengths[i] = 8
			case i < 256:
				lengths[i] = 9
			case i < 280:
				lengths[i] = 7
			default:
				lengths[i] = 8
			}
		}
		var offs [32]byte
		for i := range offs {
			offs[i] = 5
		}
		z.lit.make(lengths[:])
		z.off.make(offs[:])
		z.inside = true
	case 2:
		z.dynamic()
	default:
		z.fail(errDamaged)
	}
}

// codeOrder is the order of the lengths of the code of lengths (RFC 1951 3.2.7).
var codeOrder = [19]int{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}

// dynamic reads the codes of a block (RFC 1951 3.2.7).
func (z *inflate64) dynamic() {
	nlit, noff, ncode := z.take(5)+257, z.take(5)+1, z.take(4)+4
	var codes [19]byte
	for _, at := range codeOrder[:ncode] {
		codes[at] = byte(z.take(3))
	}
	var code huffman
	if z.err != nil || !code.make(codes[:]) {
		z.fail(errDamaged)
		return
	}
	var all [288 + 32]byte
	for n := 0; n < nlit+noff; {
		s := z.decode(&code)
		if z.err != nil {
			return
		}
		repeat, value := 1, byte(s)
		switch s {
		case 16:
			if n == 0 {
				z.fail(errDamaged)
				return
			}
			repeat, value = 3+z.take(2), all[n-1]
		case 17:
			repeat, value = 3+z.take(3), 0
		case 18:
			repeat, value = 11+z.take(7), 0
		}
		if n+repeat > nlit+noff {
			z.fail(errDamaged)
			return
		}
		for range repeat {
			all[n] = value
			n++
		}
	}
	if !z.lit.make(all[:nlit]) || !z.off.make(all[nlit:nlit+noff]) {
		z.fail(errDamaged)
	}
	z.inside = true
}

// symbol reads a literal, a match or the end of the block (RFC 1951 3.2.5 with the longer match of Deflate64).
func (z *inflate64) symbol() {
	s := z.decode(&z.lit)
	if z.err != nil {
		return
	}
	switch {
	case s < 256:
		z.put(byte(s))
		return
	case s == 256:
		z.inside = false
		return
	case s < 265:
		z.length = s - 254
	case s < 285:
		extra := uint(s-261) / 4
		z.length = 3 + (4+(s-261)%4)<<extra + z.take(extra)
	case s == 285:
		z.length = 3 + z.take(16)
	default:
		z.fail(errDamaged)
		return
	}
	d := z.decode(&z.off)
	if d < 4 {
		z.dist = d + 1
	} else {
		extra := uint(d-2) / 2
		z.dist = 1 + (2+d%2)<<extra + z.take(extra)
	}
	if z.err == nil && z.dist > z.filled {
		z.fail(errDamaged)
	}
	if z.err != nil {
		z.length = 0
	}
}

// huffman is a canonical code: how many codes each length has, and their symbols in order.
type huffman struct {
	counts  [16]int
	symbols [288]uint16
}

// make makes the code of the lengths, and reports whether they are those of one.
func (h *huffman) make(lengths []byte) bool {
	h.counts = [16]int{}
	for _, n := range lengths {
		h.counts[n]++
	}
	h.counts[0] = 0
	left := 1
	var starts [16]int
	for n := 1; n < 16; n++ {
		if left = left*2 - h.counts[n]; left < 0 {
			return false
		}
		if n < 15 {
			starts[n+1] = starts[n] + h.counts[n]
		}
	}
	for s, n := range lengths {
		if n > 0 {
			h.symbols[starts[n]] = uint16(s)
			starts[n]++
		}
	}
	return true
}

// decode reads one symbol.
func (z *inflate64) decode(h *huffman) int {
	code, first, index := 0, 0, 0
	for n := 1; n < 16; n++ {
		code |= z.take(1)
		if z.err != nil {
			return 0
		}
		if code-first < h.counts[n] {
			return int(h.symbols[index+code-first])
		}
		index += h.counts[n]
		first = (first + h.counts[n]) << 1
		code <<= 1
	}
	z.fail(errDamaged)
	return 0
}
