package cab

import (
	"encoding/binary"
	"errors"
	"io"
)

// frameSize is how much LZX unpacks at a time: then the bits are aligned, and the calls of a program put right.
const frameSize = 32 << 10

const (
	lengthSymbols = 249
	maxSlots      = 50
)

var (
	errLZX  = errors.New("its LZX data is damaged")
	errEnds = errors.New("its data is cut off")
)

// slots is how many position slots there are for the sizes of the window, from 2^15 on (MS-PATCH 2.1: "Position
// Slots").
var slots = [...]int{30, 32, 34, 36, 38, 42, 50}

// footers and bases are the number of bits behind a position slot, and its first position.
var footers, bases = positions()

func positions() (footers [maxSlots]int, bases [maxSlots]int) {
	for i := 1; i < maxSlots; i++ {
		bases[i] = bases[i-1] + 1<<footers[i-1]
		footers[i] = min(max(0, i/2-1), 17)
	}
	return footers, bases
}

// lzx unpacks LZX as cabinets have it: without resets (MS-PATCH 2).
type lzx struct {
	in     io.ByteReader
	bits   uint32
	nbits  int
	beyond int // words read after the end

	window []byte
	at     int   // place in the window
	done   int64 // octets unpacked
	total  int64 // octets to unpack
	out    []byte
	frame  []byte

	started   bool
	translate int32 // size of the program whose calls are put right; 0 for none
	kind      int   // of the block
	length    int   // of the block
	left      int   // of the block
	repeated  [3]int

	mainLengths   []byte
	lengthLengths [lengthSymbols]byte
	mainCode      code
	lengthCode    code
	alignedCode   code
	preCode       code
	err           error
}

const (
	verbatim = 1
	aligned  = 2
	plain    = 3
)

// newLZX makes a decoder with a window of 2^bits octets, which unpacks total octets.
func newLZX(in io.ByteReader, bits int, total int64) (*lzx, error) {
	if bits < 15 || bits > 21 {
		return nil, errLZX
	}
	d := &lzx{in: in, window: make([]byte, 1<<bits), total: total, frame: make([]byte, frameSize), repeated: [3]int{1, 1, 1}}
	d.mainLengths = make([]byte, 256+8*slots[bits-15])
	return d, nil
}

// Read implements io.Reader.
func (d *lzx) Read(p []byte) (int, error) {
	for len(d.out) == 0 {
		if d.err != nil {
			return 0, d.err
		}
		if d.done == d.total {
			return 0, io.EOF
		}
		d.nextFrame()
	}
	n := copy(p, d.out)
	d.out = d.out[n:]
	return n, nil
}

// ensure fills the bits up to n, at most 17. After the end zeros follow for a while: a decoder looks ahead.
func (d *lzx) ensure(n int) {
	for d.nbits < n {
		lo, err := d.in.ReadByte()
		hi := byte(0)
		if err == nil {
			hi, err = d.in.ReadByte()
			if err == io.EOF {
				err = nil
			}
		}
		if err == io.EOF {
			if d.beyond++; d.beyond > 2 {
				err = errEnds
			} else {
				err = nil
			}
		}
		if err != nil {
			d.fail(err)
		}
		d.bits |= (uint32(hi)<<8 | uint32(lo)) << (16 - d.nbits)
		d.nbits += 16
	}
}

func (d *lzx) fail(err error) {
	if d.err == nil {
		d.err = err
	}
}

func (d *lzx) remove(n int) {
	d.bits <<= n
	d.nbits -= n
}

func (d *lzx) read(n int) int {
	if n == 0 {
		return 0
	}
	if n > 16 {
		return d.read(n-16)<<16 | d.read(16)
	}
	d.ensure(n)
	v := int(d.bits >> (32 - n))
	d.remove(n)
	return v
}

func (d *lzx) symbol(c *code) int {
	d.ensure(maxLength)
	s, n := c.symbol(d.bits >> (32 - maxLength))
	if n == 0 {
		d.fail(errLZX)
		return 0
	}
	d.remove(n)
	return s
}

// nextFrame unpacks one frame into out.
func (d *lzx) nextFrame() {
	if !d.started {
		d.started = true
		if d.read(1) != 0 {
			d.translate = int32(uint32(d.read(16))<<16 | uint32(d.read(16)))
		}
	}
	size := int(min(frameSize, d.total-d.done))
	from := d.at
	for got := 0; got < size && d.err == nil; {
		if d.left == 0 {
			d.nextBlock()
			continue
		}
		n := min(d.left, size-got)
		was := d.at
		if d.kind == plain {
			d.copyPlain(n)
		} else {
			d.unpack(n)
		}
		made := d.at - was
		got += made
		d.left -= made
		if got > size || d.left < 0 {
			d.fail(errLZX)
		}
	}
	if d.err != nil {
		return
	}
	// MS-PATCH 2.2: the bits of a frame fill whole words.
	if d.nbits > 0 {
		d.ensure(16)
	}
	d.remove(d.nbits & 15)
	d.out = d.frame[:size]
	copy(d.out, d.window[from:from+size])
	d.putRight(d.out)
	d.done += int64(size)
	d.at &= len(d.window) - 1
}

// nextBlock reads the header of a block.
func (d *lzx) nextBlock() {
	if d.kind == plain && d.length&1 != 0 {
		if _, err := d.in.ReadByte(); err != nil && err != io.EOF {
			d.fail(err)
		}
	}
	d.kind = d.read(3)
	d.length = d.read(24)
	d.left = d.length
	switch d.kind {
	case aligned:
		var lengths [8]byte
		for i := range lengths {
			lengths[i] = byte(d.read(3))
		}
		if !d.alignedCode.build(lengths[:]) {
			d.fail(errLZX)
		}
		fallthrough
	case verbatim:
		d.readLengths(d.mainLengths[:256])
		d.readLengths(d.mainLengths[256:])
		d.readLengths(d.lengthLengths[:])
		if !d.mainCode.build(d.mainLengths) || !d.lengthCode.build(d.lengthLengths[:]) {
			d.fail(errLZX)
		}
	case plain:
		if d.nbits == 0 {
			d.ensure(16)
		}
		d.bits, d.nbits = 0, 0
		var b [12]byte
		for i := range b {
			var err error
			if b[i], err = d.in.ReadByte(); err != nil {
				d.ends(err)
			}
		}
		for i := range d.repeated {
			d.repeated[i] = int(binary.LittleEndian.Uint32(b[4*i:]))
		}
	default:
		d.fail(errLZX)
	}
}

func (d *lzx) ends(err error) {
	if err == io.EOF {
		err = errEnds
	}
	d.fail(err)
}

// readLengths changes the lengths of codes by what the stream says: their difference from the last.
func (d *lzx) readLengths(lengths []byte) {
	var pre [20]byte
	for i := range pre {
		pre[i] = byte(d.read(4))
	}
	if !d.preCode.build(pre[:]) {
		d.fail(errLZX)
	}
	for i := 0; i < len(lengths) && d.err == nil; {
		run, value := 1, byte(0)
		switch s := d.symbol(&d.preCode); s {
		case 17:
			run = d.read(4) + 4
		case 18:
			run = d.read(5) + 20
		case 19:
			run = d.read(1) + 4
			s = d.symbol(&d.preCode)
			if s > maxLength {
				d.fail(errLZX)
				return
			}
			value = byte((int(lengths[i]) - s + 17) % 17)
		default:
			value = byte((int(lengths[i]) - s + 17) % 17)
		}
		for ; run > 0 && i < len(lengths); run-- {
			lengths[i] = value
			i++
		}
	}
}

func (d *lzx) copyPlain(n int) {
	for range n {
		b, err := d.in.ReadByte()
		if err != nil {
			d.ends(err)
			return
		}
		d.window[d.at] = b
		d.at++
	}
}

// unpack makes n octets, or more where a match crosses what may be made.
func (d *lzx) unpack(n int) {
	end := d.at + n
	for d.at < end && d.err == nil {
		s := d.symbol(&d.mainCode)
		if s < 256 {
			d.window[d.at] = byte(s)
			d.at++
			continue
		}
		s -= 256
		length := s & 7
		if length == 7 {
			length += d.symbol(&d.lengthCode)
		}
		length += 2
		d.match(d.distance(s>>3), length, end)
	}
}

// distance gives how far back a match is.
func (d *lzx) distance(slot int) int {
	switch slot {
	case 0:
		return d.repeated[0]
	case 1, 2:
		r := &d.repeated
		r[0], r[slot] = r[slot], r[0]
		return r[0]
	}
	footer := footers[slot]
	v := bases[slot] - 2
	switch {
	case d.kind == aligned && footer >= 3:
		v += d.read(footer-3) << 3
		v += d.symbol(&d.alignedCode)
	default:
		v += d.read(footer)
	}
	d.repeated = [3]int{v, d.repeated[0], d.repeated[1]}
	return v
}

func (d *lzx) match(distance, length, end int) {
	filled := min(d.done+int64(d.at&(frameSize-1)), int64(len(d.window)))
	if length > end-d.at || distance <= 0 || int64(distance) > filled {
		d.fail(errLZX)
		return
	}
	mask := len(d.window) - 1
	from := d.at - distance
	for range length {
		d.window[d.at] = d.window[from&mask]
		d.at++
		from++
	}
}

// putRight turns the absolute targets of calls of a program into relative ones (MS-PATCH 2.3, "E8 Call Translation").
func (d *lzx) putRight(out []byte) {
	if d.translate == 0 || d.done >= frameSize*frameSize || len(out) <= 10 {
		return
	}
	for i := 0; i < len(out)-10; i++ {
		if out[i] != 0xe8 {
			continue
		}
		at := int32(d.done) + int32(i)
		v := int32(binary.LittleEndian.Uint32(out[i+1:]))
		if v >= -at && v < d.translate {
			if v >= 0 {
				v -= at
			} else {
				v += d.translate
			}
			binary.LittleEndian.PutUint32(out[i+1:], uint32(v))
		}
		i += 4
	}
}
