package sevenzip

import (
	"bufio"
	"encoding/binary"
	"io"
)

// bcj2 puts the programs together again that BCJ2 has taken apart: the code, the targets of its calls, those of its
// jumps, and a range coded bit for each call or jump, which is set where the target was taken out (Bcj2.c of the LZMA
// SDK). The library's own reader loses the last octet of some archives.
type bcj2 struct {
	code, call, jump, bits *bufio.Reader
	span, value            uint32
	odds                   [256 + 2]uint32
	before                 byte
	written                uint32
	out                    []byte // what is made and not read yet
	err                    error
}

func newBCJ2(_ []byte, _ uint64, in []io.ReadCloser) (io.ReadCloser, error) {
	if len(in) != 4 {
		return nil, errForm
	}
	d := &bcj2{
		code: bufio.NewReader(in[0]), call: bufio.NewReader(in[1]), jump: bufio.NewReader(in[2]), bits: bufio.NewReader(in[3]),
		span: 1<<32 - 1,
	}
	for i := range d.odds {
		d.odds[i] = 1 << 10
	}
	for range 5 {
		b, err := d.bits.ReadByte()
		if err != nil {
			return nil, err
		}
		d.value = d.value<<8 | uint32(b)
	}
	return io.NopCloser(d), nil
}

// Read implements io.Reader.
func (d *bcj2) Read(p []byte) (n int, err error) {
	for n < len(p) {
		if len(d.out) > 0 {
			m := copy(p[n:], d.out)
			d.out, n = d.out[m:], n+m
			continue
		}
		if d.err != nil {
			break
		}
		d.step()
	}
	if n == 0 && len(p) > 0 {
		return 0, d.err
	}
	return n, nil
}

// step makes the next octet, and the target behind it.
func (d *bcj2) step() {
	b, err := d.code.ReadByte()
	if err != nil {
		d.err = err
		return
	}
	d.out = append(d.out[:0], b)
	d.written++
	before := d.before
	d.before = b
	var set bool
	switch {
	case b == 0xe8:
		set = d.bit(int(before))
	case b == 0xe9:
		set = d.bit(256)
	case before == 0x0f && b&0xf0 == 0x80:
		set = d.bit(257)
	}
	if !set || d.err != nil {
		return
	}
	from := d.jump
	if b == 0xe8 {
		from = d.call
	}
	var target [4]byte
	if _, err := io.ReadFull(from, target[:]); err != nil {
		d.err = io.ErrUnexpectedEOF
		return
	}
	d.written += 4
	relative := binary.BigEndian.Uint32(target[:]) - d.written
	d.out = binary.LittleEndian.AppendUint32(d.out, relative)
	d.before = byte(relative >> 24)
}

// bit decodes the bit with the odds i.
func (d *bcj2) bit(i int) bool {
	if d.span < 1<<24 {
		b, err := d.bits.ReadByte()
		if err != nil {
			d.err = io.ErrUnexpectedEOF
			return false
		}
		d.span, d.value = d.span<<8, d.value<<8|uint32(b)
	}
	bound := d.span >> 11 * d.odds[i]
	if d.value < bound {
		d.span = bound
		d.odds[i] += (1<<11 - d.odds[i]) >> 5
		return false
	}
	d.span -= bound
	d.value -= bound
	d.odds[i] -= d.odds[i] >> 5
	return true
}
