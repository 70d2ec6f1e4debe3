package stream

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"slices"
	"unicode/utf8"

	"golang.org/x/text/encoding/charmap"

	"github.com/postern-mail/postern/internal/archive"
	"github.com/postern-mail/postern/internal/archive/codec"
)

const (
	maxNames = 64
	maxName  = 32 << 10 // octets of a name in a gzip header; no system has longer ones
)

// members reads what the streams of a file give, one after the other. It ends after the last of them.
type members struct {
	format string
	in     *bufio.Reader
	b      *archive.Budget
	r      io.Reader // of the current member
	gzip   io.Reader // decoder of the member before
	zstd   codec.Zstd
	names  []string
	back   int64  // octets that were read beyond the end
	tail   []byte // the last octets of the file but one
	err    error

	size uint32 // of the current gzip member
	sum  uint32
}

var (
	errFormat = errors.New("it is packed in a form that is not read")
	errSum    = errors.New("its checksum is wrong")
	errHeader = errors.New("its header is damaged")
)

func (m *members) Read(p []byte) (int, error) {
	if m.err == nil && m.r == nil {
		m.err = m.next()
	}
	// Once for each call, so that who reads sees that time passes with members of nothing.
	if m.err == nil {
		n, err := m.r.Read(p)
		if n > 0 {
			m.tally(p[:n])
			return n, nil
		}
		switch {
		case err == nil:
		case err == io.EOF:
			m.err = m.finish()
		case codec.Bzip2Trailing(err):
			m.back, m.err = 2, io.EOF
		case m.format == Bzip2 && errors.Is(err, io.ErrUnexpectedEOF) && bzip2Ended(m.tail):
			m.back, m.err = 1, io.EOF
		default:
			m.err = err
		}
	}
	return 0, m.err
}

func (m *members) tally(b []byte) {
	if m.format == Gzip {
		m.size += uint32(len(b))
		m.sum = crc32.Update(m.sum, crc32.IEEETable, b)
	}
}

// tailSize is how many octets bzip2Ended wants.
const tailSize = 11

// bzip2Ended reports whether octets end with those of a stream of bzip2: the magic of its end, a checksum, and zeros up
// to a whole octet. The decoder takes a single octet behind that for a stream that is cut off.
func bzip2Ended(tail []byte) bool {
	if len(tail) < tailSize {
		return false
	}
	tail = tail[len(tail)-tailSize:]
	v := binary.BigEndian.Uint64(append([]byte{0}, tail[:7]...))
	for pad := range 8 {
		if v>>pad&(1<<48-1) == 0x177245385090 && tail[tailSize-1]&(1<<pad-1) == 0 {
			return true
		}
	}
	return false
}

// memberCost is what a member is spent for beside its octets: it is work to begin one.
const memberCost = 1 << 10

// next begins the next member.
func (m *members) next() (err error) {
	if err := m.b.Spend(memberCost); err != nil {
		return err
	}
	switch m.format {
	case Gzip:
		if err = m.gzipHeader(); err == nil {
			m.gzip = codec.DeflateAgain(m.gzip, m.in)
			m.r = m.gzip
		}
	case Bzip2:
		m.r = codec.Bzip2(m.in, -1)
	case XZ:
		m.r, err = codec.XZ(m.in, -1)
	case LZMA:
		m.r, err = codec.LZMA(m.in)
	case Lzip:
		m.r, err = codec.Lzip(m.in)
	case Compress:
		m.r, err = codec.Compress(m.in)
	case Zstd, LZ4:
		m.r, err = m.frame()
	default:
		err = errFormat
	}
	if err == io.EOF && m.r == nil {
		return io.EOF
	}
	return err
}

// frame begins the next frame of zstd or lz4 after those that are to be passed over.
func (m *members) frame() (io.Reader, error) {
	for {
		head, err := m.in.Peek(4)
		if len(head) == 0 && err == io.EOF {
			return nil, io.EOF
		}
		if !codec.Skippable(head) {
			break
		}
		if err := codec.SkipFrame(m.in); err != nil {
			return nil, err
		}
	}
	if m.format == LZ4 {
		return codec.LZ4(m.in)
	}
	return m.zstd.Frame(m.in)
}

// finish ends a member: io.EOF where it is the last one.
func (m *members) finish() error {
	m.r = nil
	if m.format == Gzip {
		var t [8]byte
		if _, err := io.ReadFull(m.in, t[:]); err != nil {
			return io.ErrUnexpectedEOF
		}
		le := binary.LittleEndian
		if le.Uint32(t[:]) != m.sum || le.Uint32(t[4:]) != m.size {
			return errSum
		}
		m.sum, m.size = 0, 0
	}
	head, err := m.in.Peek(headSize)
	if err != nil && err != io.EOF {
		return err
	}
	switch m.format {
	case Gzip:
		if bytes.HasPrefix(head, []byte(gzipMagic)) {
			return nil
		}
	case Zstd, LZ4:
		if codec.Skippable(head) || Detect(head) == m.format {
			return nil
		}
	}
	return io.EOF
}

// Flags of a gzip header (RFC 1952 2.3.1).
const (
	flagHeaderCRC = 1 << 1
	flagExtra     = 1 << 2
	flagName      = 1 << 3
	flagComment   = 1 << 4
	flagReserved  = 0xe0
)

// gzipHeader reads the header of a member and keeps its name.
func (m *members) gzipHeader() error {
	var h [10]byte
	if _, err := io.ReadFull(m.in, h[:]); err != nil {
		return io.ErrUnexpectedEOF
	}
	flags := h[3]
	if string(h[:3]) != gzipMagic || flags&flagReserved != 0 {
		return errHeader
	}
	if flags&flagExtra != 0 {
		var n [2]byte
		if _, err := io.ReadFull(m.in, n[:]); err != nil {
			return io.ErrUnexpectedEOF
		}
		if _, err := m.in.Discard(int(binary.LittleEndian.Uint16(n[:]))); err != nil {
			return io.ErrUnexpectedEOF
		}
	}
	for _, flag := range []byte{flagName, flagComment} {
		if flags&flag == 0 {
			continue
		}
		text, err := m.text()
		if err != nil {
			return err
		}
		if flag == flagName {
			m.addName(text)
		}
	}
	if flags&flagHeaderCRC != 0 {
		if _, err := m.in.Discard(2); err != nil {
			return io.ErrUnexpectedEOF
		}
	}
	return nil
}

// text reads up to a NUL. Of what is too long for a name the start is given.
func (m *members) text() (text []byte, err error) {
	for {
		part, err := m.in.ReadSlice(0)
		if err != nil && err != bufio.ErrBufferFull {
			return nil, io.ErrUnexpectedEOF
		}
		if len(text) < maxName {
			text = append(text, part...)
		}
		if err == nil {
			break
		}
	}
	return bytes.TrimSuffix(text[:min(len(text), maxName)], []byte{0}), nil
}

// addName adds the readings of a name: UTF-8 where it is some, and Latin-1 as RFC 1952 2.3.1 has it.
func (m *members) addName(name []byte) {
	add := func(s string) {
		if s != "" && len(m.names) < maxNames && !slices.Contains(m.names, s) {
			m.names = append(m.names, s)
		}
	}
	if utf8.Valid(name) {
		add(string(name))
	}
	if latin, err := charmap.ISO8859_1.NewDecoder().Bytes(name); err == nil {
		add(string(latin))
	}
}
