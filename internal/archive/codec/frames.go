package codec

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"

	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

// Magic numbers of frames, as they are stored.
const (
	ZstdMagic      = "\x28\xb5\x2f\xfd"
	LZ4Magic       = "\x04\x22\x4d\x18"
	LZ4LegacyMagic = "\x02\x21\x4c\x18"
)

// Skippable reports whether octets begin a frame that decoders of zstd and lz4 pass over (RFC 8878 3.1.2).
func Skippable(b []byte) bool {
	return len(b) >= 4 && b[0]&0xf0 == 0x50 && b[1] == 0x2a && b[2] == 0x4d && b[3] == 0x18
}

// frame hands on the octets of one frame, whose length shows from its headers. Need says how many more octets can be
// handed on at once; next is called for it where there are none, and gives io.EOF at the end of the frame.
type frame struct {
	in   *bufio.Reader
	need int
	next func() (int, error)
}

func (f *frame) Read(p []byte) (int, error) {
	for f.need == 0 {
		n, err := f.next()
		if err != nil {
			return 0, err
		}
		f.need = n
	}
	n, err := f.in.Read(p[:min(len(p), f.need)])
	f.need -= n
	if n > 0 {
		return n, nil
	}
	return 0, full(err)
}

// SkipFrame passes over a skippable frame.
func SkipFrame(in *bufio.Reader) error {
	h, err := in.Peek(8)
	if err != nil {
		return full(err)
	}
	n := int64(binary.LittleEndian.Uint32(h[4:])) + 8
	m, err := io.CopyN(io.Discard, in, n)
	if m < n {
		return full(err)
	}
	return nil
}

// Zstd decodes one frame after the other with the same memory. The zero Zstd is ready.
// It works in the goroutine of its reader, so that it need not be closed.
type Zstd struct {
	d      *zstd.Decoder
	window int64 // the largest so far
}

// smallWindow is how large a window may be that a Zstd keeps for the next frame. Packers choose less by default.
const smallWindow = 1 << 20

// Shrink gives up the memory of the last frame where it is much. The reader of the frame is not used any more.
func (z *Zstd) Shrink() {
	if z.window > smallWindow {
		*z = Zstd{}
	}
}

// ZstdWindow tells how many octets a decoder of the frame that in begins with keeps: 0 for none that is decoded.
func ZstdWindow(in *bufio.Reader) int64 {
	head, _ := in.Peek(zstd.HeaderMaxSize)
	var h zstd.Header
	if h.Decode(head) != nil {
		return 0
	}
	size := h.WindowSize
	if h.SingleSegment {
		size = h.FrameContentSize
	}
	if size > MaxDict {
		return 0 // it is refused
	}
	return int64(size)
}

// Frame reads one frame of zstd (RFC 8878), and nothing of what follows it. The reader of the frame before is not
// used any more.
func (z *Zstd) Frame(in *bufio.Reader) (io.Reader, error) {
	head, last, err := zstdHeader(in)
	if err != nil {
		return nil, err
	}
	z.window = max(z.window, ZstdWindow(in))
	started, ended := false, false
	f := &frame{in: in}
	f.next = func() (int, error) {
		switch {
		case !started:
			started = true
			return head, nil
		case ended:
			return 0, io.EOF
		}
		// RFC 8878 3.1.1.2: block header of 24 bits.
		h, err := in.Peek(3)
		if err != nil {
			return 0, full(err)
		}
		v := uint32(h[0]) | uint32(h[1])<<8 | uint32(h[2])<<16
		size := int(v >> 3)
		if v>>1&3 == 1 {
			size = 1
		}
		if v&1 != 0 {
			ended = true
			size += last
		}
		return 3 + size, nil
	}
	return try(func() (io.Reader, error) {
		d := z.d
		if d == nil {
			var err error
			d, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
				zstd.WithDecoderMaxWindow(MaxDict), zstd.WithDecoderMaxMemory(1<<40))
			if err != nil {
				return nil, err
			}
			z.d = d
		}
		return &zstdReader{d}, d.Reset(f)
	})
}

// zstdReader makes errors of the decoder ours.
type zstdReader struct{ d *zstd.Decoder }

func (z *zstdReader) Read(p []byte) (int, error) {
	n, err := z.d.Read(p)
	if errors.Is(err, zstd.ErrWindowSizeExceeded) {
		err = ErrDict
	}
	return n, err
}

// zstdHeader gives how long the header of a frame is, and the checksum after its last block (RFC 8878 3.1.1.1).
func zstdHeader(in *bufio.Reader) (head, last int, err error) {
	h, err := in.Peek(5)
	if err != nil {
		return 0, 0, full(err)
	}
	if string(h[:4]) != ZstdMagic {
		return 0, 0, errHeader
	}
	d := h[4]
	single := d&0x20 != 0
	head = 5 + []int{0, 1, 2, 4}[d&3] + []int{0, 2, 4, 8}[d>>6]
	if single && d>>6 == 0 {
		head++
	}
	if !single {
		head++
	}
	if d&4 != 0 {
		last = 4
	}
	return head, last, nil
}

// LZ4 reads one frame of lz4 ("LZ4 Frame Format" 1.6.4) or one file of the older format, and nothing of what
// follows it.
func LZ4(in *bufio.Reader) (io.Reader, error) {
	h, err := in.Peek(5)
	if err != nil {
		return nil, full(err)
	}
	f := &frame{in: in}
	switch string(h[:4]) {
	case LZ4Magic:
		f.next = lz4Frame(in, h[4])
	case LZ4LegacyMagic:
		f.next = lz4Legacy(in)
	default:
		return nil, errHeader
	}
	return try(func() (io.Reader, error) { return lz4.NewReader(f), nil })
}

func lz4Frame(in *bufio.Reader, flags byte) func() (int, error) {
	started, ended := false, false
	return func() (int, error) {
		switch {
		case !started:
			started = true
			head := 4 + 3
			if flags&8 != 0 {
				head += 8
			}
			if flags&1 != 0 {
				head += 4
			}
			return head, nil
		case ended:
			return 0, io.EOF
		}
		h, err := in.Peek(4)
		if err != nil {
			return 0, full(err)
		}
		size := int(binary.LittleEndian.Uint32(h) &^ (1 << 31))
		switch {
		case size == 0:
			ended = true
			if flags&4 != 0 {
				return 8, nil
			}
			return 4, nil
		case size > 4<<20:
			return 0, errDamaged
		case flags&0x10 != 0:
			size += 4
		}
		return 4 + size, nil
	}
}

// lz4Legacy ends at the end of the input, or at something that can't be the size of a block of 8 MiB.
func lz4Legacy(in *bufio.Reader) func() (int, error) {
	started := false
	return func() (int, error) {
		if !started {
			started = true
			return 4, nil
		}
		h, err := in.Peek(4)
		if err == io.EOF && len(h) == 0 {
			return 0, io.EOF
		}
		if err != nil {
			return 0, full(err)
		}
		size := int(binary.LittleEndian.Uint32(h))
		if size > 8<<20+8<<20/255+16 {
			return 0, io.EOF
		}
		return 4 + size, nil
	}
}
