package sevenzip

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"sync"

	"github.com/bodgit/sevenzip"
	"github.com/klauspost/compress/zstd"

	"github.com/postern-mail/postern/internal/archive"
)

// maxDictionary is how much memory one decoder may ask for.
const maxDictionary = 64 << 20

// The methods that matter here (Methods.txt).
var (
	methodLZMA  = []byte{0x03, 0x01, 0x01}
	methodLZMA2 = []byte{0x21}
	methodPPMd  = []byte{0x03, 0x04, 0x01}
	methodZstd  = []byte{0x04, 0xf7, 0x11, 0x01}
	methodBCJ2  = []byte{0x03, 0x03, 0x01, 0x1b}
	methodAES   = []byte{0x06, 0xf1, 0x07, 0x01}
)

// known are the methods that can be unpacked.
var known = [][]byte{
	{0x00},
	{0x03},
	{0x03, 0x03, 0x01, 0x03},
	{0x03, 0x03, 0x01, 0x1b},
	{0x03, 0x03, 0x02, 0x05},
	{0x03, 0x03, 0x05, 0x01},
	{0x03, 0x03, 0x08, 0x05},
	{0x04, 0x01, 0x08},
	{0x04, 0x02, 0x02},
	{0x04, 0xf7, 0x11, 0x02},
	{0x04, 0xf7, 0x11, 0x04},
	{0x0a},
	methodLZMA, methodLZMA2, methodPPMd, methodZstd,
}

// encrypted reports whether the folder needs a password.
func (f *folder) encrypted() bool {
	for _, c := range f.coders {
		// 06F1 is the group of ciphers with a key from a password.
		if bytes.HasPrefix(c.id, methodAES[:2]) {
			return true
		}
	}
	return false
}

// check gives how much memory unpacking a folder takes, or tells why it is not unpacked; it makes dictionaries no
// larger than what they are for.
func (f *folder) check() (memory uint64, err error) {
	var windows uint64
	for i := range f.coders {
		c := &f.coders[i]
		if !isKnown(c.id) {
			return 0, fmt.Errorf("it is packed by the method %X, which is not known", c.id)
		}
		more, err := c.memory()
		if err != nil {
			return 0, err
		}
		if bytes.Equal(c.id, methodZstd) {
			windows += maxDictionary // its stream tells how much it is, which can be all that a decoder may have
		}
		if memory += more; memory+windows > maxDictionary {
			return 0, fmt.Errorf("unpacking it needs %d octets of memory", memory+windows)
		}
	}
	return memory, nil
}

func isKnown(id []byte) bool {
	for _, k := range known {
		if bytes.Equal(id, k) {
			return true
		}
	}
	return false
}

// memory gives how much memory the decoder takes for its dictionary or model.
func (c *coder) memory() (uint64, error) {
	need := min(max(c.size, 1<<16), 1<<32-1)
	switch {
	case bytes.Equal(c.id, methodLZMA):
		if len(c.props) != 5 {
			return 0, errForm
		}
		size := min(uint64(binary.LittleEndian.Uint32(c.props[1:])), need)
		c.props = binary.LittleEndian.AppendUint32([]byte{c.props[0]}, uint32(size))
		return size, nil
	case bytes.Equal(c.id, methodLZMA2):
		if len(c.props) != 1 || c.props[0] > 40 {
			return 0, errForm
		}
		p := byte(0)
		for p < c.props[0] && lzma2Size(p) < need {
			p++
		}
		c.props = []byte{p}
		return lzma2Size(p), nil
	case bytes.Equal(c.id, methodPPMd):
		if len(c.props) != 5 {
			return 0, errForm
		}
		return uint64(binary.LittleEndian.Uint32(c.props[1:])), nil
	}
	return 0, nil
}

func lzma2Size(p byte) uint64 { return (2 | uint64(p)&1) << (p/2 + 11) }

// order gives the coders so that each comes after those whose output it reads.
func (f *folder) order() ([]int, error) {
	var order []int
	starts := make([]int, len(f.coders))
	for i := 1; i < len(starts); i++ {
		starts[i] = starts[i-1] + f.coders[i-1].in
	}
	state := make([]byte, len(f.coders))
	var visit func(i int) error
	visit = func(i int) error {
		if state[i] != 0 {
			return errors.New("the coders are bound in a circle")
		}
		state[i] = 1
		for in := starts[i]; in < starts[i]+f.coders[i].in; in++ {
			if out := f.boundTo(in); out >= 0 {
				if err := visit(out); err != nil {
					return err
				}
			}
		}
		order = append(order, i)
		return nil
	}
	main := f.main()
	if main < 0 {
		return nil, errForm
	}
	if err := visit(main); err != nil {
		return nil, err
	}
	if len(order) != len(f.coders) {
		return nil, errForm
	}
	return order, nil
}

// open unpacks a folder. The library is given an archive made here, with nothing in it but this folder as one file:
// so it meets one form of header only, whatever the archive looks like, and unpacks each folder once, from its start.
func (s *streams) open(f *archive.File, fo *folder) (io.Reader, error) {
	useDecoders()
	order, err := fo.order()
	if err != nil {
		return nil, err
	}
	start, length := int64(headerSize), int64(0)
	end := f.Size()
	for i, size := range s.sizes[:fo.first+len(fo.packed)] {
		at := start + length
		if i == 0 {
			if s.pos > uint64(end-headerSize) {
				return nil, errBeyond
			}
			at += int64(s.pos)
			start = at
		}
		if i == fo.first {
			start, length = at, 0
		}
		if at > end || size > uint64(end-at) {
			return nil, errBeyond
		}
		length += int64(size)
	}
	whole := s.synthesize(f.Section(start, length), fo, order)
	r, err := sevenzip.NewReader(whole, whole.size())
	if err != nil {
		return nil, err
	}
	if len(r.File) != 1 {
		return nil, errForm
	}
	return r.File[0].Open()
}

var errBeyond = errors.New("it lies outside of the file: the archive is cut off, or goes on in another file")

// synthesize makes the archive of one folder.
func (s *streams) synthesize(packed *archive.File, fo *folder, order []int) joined {
	h := []byte{idHeader, idMain, idPackInfo}
	h = appendNumber(h, 0)
	h = appendNumber(h, uint64(len(fo.packed)))
	h = append(h, idSize)
	for i := range fo.packed {
		h = appendNumber(h, s.sizes[fo.first+i])
	}
	h = append(h, idEnd, idUnpackInfo, idFolder, 1, 0)
	h = fo.appendTo(h, order)
	h = append(h, idUnpackSize)
	for _, i := range order {
		h = appendNumber(h, fo.coders[i].size)
	}
	h = append(h, idEnd, idEnd)
	h = append(h, idFiles, 1, idNames, 5, 0, 'x', 0, 0, 0, idEnd, idEnd)
	start := binary.LittleEndian.AppendUint64(nil, uint64(packed.Size()))
	start = binary.LittleEndian.AppendUint64(start, uint64(len(h)))
	start = binary.LittleEndian.AppendUint32(start, crc32.ChecksumIEEE(h))
	head := append([]byte(signature), 0, 4)
	head = binary.LittleEndian.AppendUint32(head, crc32.ChecksumIEEE(start))
	return joined{archive.NewFile(append(head, start...)), packed, archive.NewFile(h)}
}

// appendTo writes the folder with its coders in the order given.
func (fo *folder) appendTo(h []byte, order []int) []byte {
	oldStart, newIn, newOut := 0, map[int]int{}, map[int]int{}
	starts := make([]int, len(fo.coders))
	for i, c := range fo.coders {
		starts[i] = oldStart
		oldStart += c.in
	}
	h = appendNumber(h, uint64(len(order)))
	in := 0
	for out, i := range order {
		c := &fo.coders[i]
		newOut[i] = out
		for j := range c.in {
			newIn[starts[i]+j] = in
			in++
		}
		flags := byte(len(c.id)) | 0x10
		if len(c.props) > 0 {
			flags |= 0x20
		}
		h = append(append(h, flags), c.id...)
		h = appendNumber(h, uint64(c.in))
		h = appendNumber(h, uint64(c.out))
		if len(c.props) > 0 {
			h = append(appendNumber(h, uint64(len(c.props))), c.props...)
		}
	}
	for _, b := range fo.binds {
		h = appendNumber(h, uint64(newIn[b.in]))
		h = appendNumber(h, uint64(newOut[b.out]))
	}
	if len(fo.packed) > 1 {
		for _, p := range fo.packed {
			h = appendNumber(h, uint64(newIn[p]))
		}
	}
	return h
}

// appendNumber writes a NUMBER in its longest form, or its shortest.
func appendNumber(h []byte, n uint64) []byte {
	if n < 0x80 {
		return append(h, byte(n))
	}
	return binary.LittleEndian.AppendUint64(append(h, 0xff), n)
}

// joined are files read as one.
type joined [3]*archive.File

func (j joined) size() (n int64) {
	for _, f := range j {
		n += f.Size()
	}
	return n
}

// ReadAt implements io.ReaderAt.
func (j joined) ReadAt(p []byte, off int64) (n int, err error) {
	for _, f := range j {
		if off >= f.Size() {
			off -= f.Size()
			continue
		}
		m, err := f.ReadAt(p[n:min(len(p), n+int(min(f.Size()-off, int64(len(p)))))], off)
		n += m
		if err != nil && err != io.EOF {
			return n, err
		}
		if off = 0; n == len(p) {
			return n, nil
		}
	}
	return n, io.EOF
}

// useDecoders sets a decoder with limits for the method whose memory the header does not tell, and our own.
var useDecoders = sync.OnceFunc(func() {
	sevenzip.RegisterDecompressor(methodBCJ2, newBCJ2)
	sevenzip.RegisterDecompressor(methodZstd, func(_ []byte, _ uint64, in []io.ReadCloser) (io.ReadCloser, error) {
		if len(in) != 1 {
			return nil, errForm
		}
		d, err := zstd.NewReader(in[0], zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
			zstd.WithDecoderMaxWindow(maxDictionary), zstd.WithDecoderMaxMemory(maxDictionary))
		if err != nil {
			return nil, err
		}
		return d.IOReadCloser(), nil
	})
})
