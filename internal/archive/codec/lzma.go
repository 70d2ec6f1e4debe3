package codec

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"io"

	"github.com/ulikunitz/xz/lzma"
)

// LZMA reads a stream in the format of LZMA_Alone: properties, dictionary size, unpacked size or all ones, and the
// stream (lzma-specification.txt, "The LZMA file format").
func LZMA(in *bufio.Reader) (io.Reader, error) {
	head, err := in.Peek(13)
	if err != nil {
		return nil, full(err)
	}
	if binary.LittleEndian.Uint32(head[1:]) > MaxDict {
		return nil, ErrDict
	}
	return try(func() (io.Reader, error) { return salvaged(lzma.ReaderConfig{DictCap: MaxDict}.NewReader(in)) })
}

// LZMAZip reads the LZMA stream of a zip entry, of size octets unpacked or -1 (APPNOTE 5.8.8): a version, the
// size of the properties and the properties. Where marked, it has a mark of its end.
func LZMAZip(in *bufio.Reader, size int64, marked bool) (io.Reader, error) {
	var head [9]byte
	if _, err := io.ReadFull(in, head[:]); err != nil {
		return nil, full(err)
	}
	if binary.LittleEndian.Uint16(head[2:]) != 5 {
		return nil, errHeader
	}
	dict := int64(binary.LittleEndian.Uint32(head[5:]))
	if size >= 0 {
		dict = min(dict, max(size, lzma.MinDictCap)) // no more is needed than there is content
	}
	if dict > MaxDict {
		return nil, ErrDict
	}
	if marked {
		size = -1
	}
	return raw(in, head[4], uint32(dict), size)
}

// LZMALiterals tells how many octets of memory a decoder takes for literals, by the first octet of the properties of a stream
// (lzma-specification.txt, "The LZMA file format"): 12 KiB as packers choose them, 6 MiB at the most.
func LZMALiterals(props byte) int64 { return 2 * 0x300 << (props%9 + props/9%5) }

// raw reads an LZMA stream without a header.
func raw(in *bufio.Reader, props byte, dict uint32, size int64) (io.Reader, error) {
	head := make([]byte, 13)
	head[0] = props
	binary.LittleEndian.PutUint32(head[1:], dict)
	binary.LittleEndian.PutUint64(head[5:], uint64(size))
	return try(func() (io.Reader, error) {
		return salvaged(lzma.ReaderConfig{DictCap: MaxDict}.NewReader(&headed{head: bytes.NewReader(head), in: in}))
	})
}

// salvage gives what the decoder of a damaged stream has made and kept: it gives its dictionary only when that is
// full.
type salvage struct {
	r    io.Reader
	left int   // octets that may still come
	err  error // of the stream
}

func salvaged(r *lzma.Reader, err error) (io.Reader, error) {
	return &salvage{r: r, left: MaxDict}, err
}

func (s *salvage) Read(p []byte) (int, error) {
	if s.err == nil {
		n, err := s.r.Read(p)
		if err == nil || err == io.EOF || n > 0 {
			if err != nil && err != io.EOF {
				s.err, err = err, nil
			}
			return n, err
		}
		s.err = err
	}
	n, _ := s.r.Read(p[:min(len(p), s.left)])
	s.left -= n
	if n > 0 {
		return n, nil
	}
	return 0, s.err
}

// headed reads a header, then the input octet by octet, so that nothing after the stream is read.
type headed struct {
	head *bytes.Reader
	in   *bufio.Reader
}

func (h *headed) Read(p []byte) (int, error) {
	if h.head.Len() > 0 {
		return h.head.Read(p)
	}
	return h.in.Read(p)
}

func (h *headed) ReadByte() (byte, error) {
	if h.head.Len() > 0 {
		return h.head.ReadByte()
	}
	return h.in.ReadByte()
}

// lzip reads members, each an LZMA stream with a mark of its end between a header of 6 octets and a trailer of 20.
type lzip struct {
	in        *bufio.Reader
	r         io.Reader
	trailer   int
	allocated int64
	given     int64
}

// Lzip reads the members of a lzip file that follow one another (lzip manual, "File format"), and nothing of
// what follows them.
func Lzip(in *bufio.Reader) (io.Reader, error) {
	l := &lzip{in: in}
	if err := l.member(); err != nil {
		return nil, err
	}
	return l, nil
}

// LzipMagic begins each member.
const LzipMagic = "LZIP"

// freeDicts is how many octets of dictionaries a file of many small members may make us clear.
const freeDicts = 1 << 30

func (l *lzip) member() error {
	var head [6]byte
	if _, err := io.ReadFull(l.in, head[:]); err != nil {
		return full(err)
	}
	if string(head[:4]) != LzipMagic || head[4] > 1 {
		return errHeader
	}
	base := uint32(1) << (head[5] & 31)
	dict := base - base/16*uint32(head[5]>>5)
	if dict > MaxDict {
		return ErrDict
	}
	if l.allocated += int64(dict); l.allocated > freeDicts+8*l.given {
		return ErrDict
	}
	l.trailer = 20
	if head[4] == 0 {
		l.trailer = 12
	}
	r, err := raw(l.in, 0x5d, dict, -1) // lc 3, lp 0, pb 2
	l.r = r
	return err
}

func (l *lzip) Read(p []byte) (int, error) {
	for {
		n, err := l.r.Read(p)
		l.given += int64(n)
		if n > 0 || err == nil {
			return n, nil
		}
		if err != io.EOF {
			return 0, err
		}
		if _, err := l.in.Discard(l.trailer); err != nil {
			return 0, full(err)
		}
		if next, err := l.in.Peek(4); string(next) != LzipMagic {
			if err == nil || err == io.EOF {
				err = io.EOF
			}
			return 0, err
		}
		if err := l.member(); err != nil {
			return 0, err
		}
	}
}
