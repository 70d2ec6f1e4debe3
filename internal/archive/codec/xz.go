package codec

import (
	"bufio"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"hash"
	"hash/crc32"
	"hash/crc64"
	"io"

	"github.com/ulikunitz/xz/lzma"
)

// XZMagic begins each stream of an xz file.
const XZMagic = "\xfd7zXZ\x00"

// xz reads the streams of an xz file ("The .xz File Format" 1.2.1). One LZMA2 decoder serves all blocks, so that a
// file of many small blocks does not cost a dictionary for each: what is handed to the decoder is the chunks of all
// blocks one after the other, without the marks of their ends.
type xz struct {
	in      *bufio.Reader
	counted *counted // of the current stream or block
	check   int      // kind of check of the stream
	sum     hash.Hash
	lzma    *lzma.Reader2
	dict    int64
	most    int64 // octets that it gives, -1 where that is not known
	chunk   chunk
	left    int // octets that the current chunk still gives
	inBlock bool
	first   bool // the next chunk is the first of its block
}

// counted counts what is read.
type counted struct {
	r *bufio.Reader
	n int64
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

func (c *counted) ReadByte() (byte, error) {
	b, err := c.r.ReadByte()
	if err == nil {
		c.n++
	}
	return b, err
}

// chunk is the octets of one LZMA2 chunk.
type chunk struct{ b []byte }

func (c *chunk) Read(p []byte) (int, error) {
	if len(c.b) == 0 {
		return 0, io.ErrUnexpectedEOF
	}
	n := copy(p, c.b)
	c.b = c.b[n:]
	return n, nil
}

// XZ reads the streams of an xz file that follow one another, with the padding between them, and nothing of what
// follows them. Of a file that gives most octets, or an unknown number where most is negative, no more memory is
// taken than those need.
func XZ(in *bufio.Reader, most int64) (io.Reader, error) {
	x := &xz{in: in, most: most, counted: &counted{r: in}}
	if err := x.streamHeader(); err != nil {
		return nil, err
	}
	return Safe(x), nil
}

var errFilter = errors.New("it is packed with a filter that is not read")

// streamHeader reads section 2.1.1.
func (x *xz) streamHeader() error {
	var h [12]byte
	if _, err := io.ReadFull(x.in, h[:]); err != nil {
		return full(err)
	}
	if string(h[:6]) != XZMagic || h[6] != 0 || h[7] > 15 || crc32.ChecksumIEEE(h[6:8]) != binary.LittleEndian.Uint32(h[8:]) {
		return errHeader
	}
	x.check = int(h[7])
	return nil
}

func (x *xz) Read(p []byte) (int, error) {
	for x.left == 0 {
		var err error
		if x.inBlock {
			err = x.nextChunk()
		} else {
			err = x.nextBlock()
		}
		if err != nil {
			return 0, err
		}
	}
	n, err := x.lzma.Read(p[:min(len(p), x.left)])
	x.left -= n
	if x.sum != nil {
		_, _ = x.sum.Write(p[:n])
	}
	if n > 0 {
		return n, nil
	}
	if err == nil || err == io.EOF {
		err = errDamaged
	}
	return 0, err
}

// nextBlock reads a block header (section 3.1), or the index and what is after it.
func (x *xz) nextBlock() error {
	x.counted.n = 0
	size, err := x.counted.ReadByte()
	if err != nil {
		return full(err)
	}
	if size == 0 {
		return x.endOfStream()
	}
	h := make([]byte, int(size)*4+4)
	h[0] = size
	if _, err := io.ReadFull(x.counted, h[1:]); err != nil {
		return full(err)
	}
	body := h[:len(h)-4]
	if crc32.ChecksumIEEE(body) != binary.LittleEndian.Uint32(h[len(h)-4:]) {
		return errHeader
	}
	flags, rest := body[1], body[2:]
	if flags&0x3c != 0 {
		return errHeader
	}
	for bit := byte(0x40); bit != 0; bit <<= 1 {
		if flags&bit != 0 {
			if _, rest, err = varint(rest); err != nil {
				return err
			}
		}
	}
	if flags&3 != 0 {
		return errFilter
	}
	id, rest, err := varint(rest)
	if err != nil {
		return err
	}
	if id != 0x21 || len(rest) < 2 || rest[0] != 1 {
		return errFilter
	}
	if err := x.setDict(rest[1]); err != nil {
		return err
	}
	x.inBlock, x.first = true, true
	x.sum = newSum(x.check)
	return nil
}

// setDict takes the size of the dictionary from the filter's properties (section 5.3.1), rounded up to the sizes that
// packers use, so that it grows a few times at most.
func (x *xz) setDict(bits byte) error {
	if bits > 40 {
		return errHeader
	}
	dict := int64(2|bits&1) << (bits/2 + 11)
	if x.most >= 0 {
		dict = min(dict, max(x.most, lzma.MinDictCap))
	}
	if dict > MaxDict {
		return ErrDict
	}
	if dict > x.dict {
		for x.dict = max(x.dict, 1<<16); x.dict < dict; {
			x.dict *= 2
		}
		x.lzma = nil
	}
	return nil
}

// nextChunk reads one chunk of LZMA2, or the end of its block and the check after it (sections 3.3, 3.4).
func (x *xz) nextChunk() error {
	control, err := x.counted.ReadByte()
	if err != nil {
		return full(err)
	}
	if control == 0 {
		return x.endOfBlock()
	}
	// The first chunk resets the dictionary: one decoder serves all blocks.
	if x.first && control != 1 && control < 0xe0 || control > 2 && control < 0x80 {
		return errDamaged
	}
	x.first = false
	h := []byte{control}
	more := 2
	switch {
	case control >= 0xc0:
		more = 5
	case control >= 0x80:
		more = 4
	}
	h = append(h, make([]byte, more)...)
	if _, err := io.ReadFull(x.counted, h[1:]); err != nil {
		return full(err)
	}
	size := int(binary.BigEndian.Uint16(h[1:])) + 1
	packed := size
	if control >= 0x80 {
		size += int(control&0x1f) << 16
		packed = int(binary.BigEndian.Uint16(h[3:])) + 1
	}
	b := make([]byte, len(h)+packed)
	copy(b, h)
	if _, err := io.ReadFull(x.counted, b[len(h):]); err != nil {
		return full(err)
	}
	x.chunk.b, x.left = b, size
	if x.lzma == nil {
		x.lzma, err = lzma.Reader2Config{DictCap: int(x.dict)}.NewReader2(&x.chunk)
	}
	return err
}

func (x *xz) endOfBlock() error {
	x.inBlock = false
	if _, err := x.in.Discard(int(-x.counted.n & 3)); err != nil {
		return full(err)
	}
	// Section 2.1.1.2: sizes of checks by their kind.
	check := make([]byte, []int{0, 4, 4, 4, 8, 8, 8, 16, 16, 16, 32, 32, 32, 64, 64, 64}[x.check])
	if _, err := io.ReadFull(x.in, check); err != nil {
		return full(err)
	}
	if x.sum == nil {
		return nil
	}
	got := x.sum.Sum(nil)
	for i := range got {
		// CRC32 and CRC64 are stored with the lowest octet first, SHA-256 as it is.
		j := len(got) - 1 - i
		if x.check == 10 {
			j = i
		}
		if got[i] != check[j] {
			return errors.New("its checksum is wrong")
		}
	}
	return nil
}

func newSum(check int) hash.Hash {
	switch check {
	case 1:
		return crc32.NewIEEE()
	case 4:
		return crc64.New(crc64.MakeTable(crc64.ECMA))
	case 10:
		return sha256.New()
	}
	return nil
}

// endOfStream passes over the index (section 4) and the footer, and begins the next stream if one follows.
func (x *xz) endOfStream() error {
	n, err := binary.ReadUvarint(x.counted)
	if err != nil {
		return full(err)
	}
	for ; n > 0; n-- {
		for range 2 {
			if _, err := binary.ReadUvarint(x.counted); err != nil {
				return full(err)
			}
		}
	}
	if _, err := x.in.Discard(int(-x.counted.n&3) + 4 + 12); err != nil {
		return full(err)
	}
	for {
		next, err := x.in.Peek(4)
		if err != nil && err != io.EOF {
			return err
		}
		if string(next) != "\x00\x00\x00\x00" {
			break
		}
		_, _ = x.in.Discard(4)
	}
	if next, err := x.in.Peek(len(XZMagic)); string(next) != XZMagic {
		if err == nil {
			err = io.EOF
		}
		return err
	}
	return x.streamHeader()
}

// varint reads section 1.2.
func varint(b []byte) (uint64, []byte, error) {
	v, n := binary.Uvarint(b)
	if n <= 0 {
		return 0, nil, errHeader
	}
	return v, b[n:], nil
}
