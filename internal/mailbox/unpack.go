package mailbox

import (
	"bufio"
	"bytes"
	"compress/bzip2"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
)

// maxUnpacked bounds what is unpacked of one file, in octets. How well it is packed does not matter: what is unpacked is read as it comes, no
// message of it is kept beyond MaxMessage, and one zero-filled attachment packs to a thousandth.
const maxUnpacked = 64 << 30

// errTrailing tells of octets behind what is packed with gzip, which begin no further member (RFC 1952 2.2): what stands before them was read.
var errTrailing = errors.New("what follows what is packed is not packed, and is passed over")

var (
	gzipMagic  = []byte{0x1f, 0x8b, 8}
	bzip2Magic = []byte("BZh")
)

// unpacked gives what is packed with gzip or bzip2, known by how it begins, and anything else as it is, with no members.
func unpacked(in *bufio.Reader) (*bufio.Reader, *members, error) {
	start, _ := in.Peek(10)
	var out io.Reader
	var m *members
	switch {
	case bytes.HasPrefix(start, gzipMagic):
		z, err := gzip.NewReader(in)
		if err != nil {
			return nil, nil, err
		}
		z.Multistream(false)
		m = &members{in: in, z: z}
		out = m
	case bytes.HasPrefix(start, bzip2Magic) && len(start) == 10 && start[3] >= '1' && start[3] <= '9' && (string(start[4:]) == "1AY&SY" || string(start[4:]) == "\x17rE8P\x90"):
		out = bzip2.NewReader(in)
	default:
		return in, nil, nil
	}
	return bufio.NewReaderSize(&bounded{from: out}, bufferSize), m, nil
}

// members reads the members of a gzip file, one after the other, up to what is none.
type members struct {
	in       *bufio.Reader
	z        *gzip.Reader
	trailing bool // something stands behind the last
}

func (m *members) Read(p []byte) (int, error) {
	for {
		n, err := m.z.Read(p)
		switch {
		case !errors.Is(err, io.EOF):
			return n, err
		case n > 0:
			return n, nil
		}
		next, err := m.in.Peek(len(gzipMagic))
		if !bytes.Equal(next, gzipMagic) {
			if err != nil && !errors.Is(err, io.EOF) {
				return 0, err
			}
			m.trailing = len(next) > 0
			return 0, io.EOF
		}
		if err := m.z.Reset(m.in); err != nil {
			return 0, err
		}
		m.z.Multistream(false)
	}
}

// counted counts what was read.
type counted struct {
	from io.Reader
	n    int64
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.from.Read(p)
	c.n += int64(n)
	return n, err
}

// bounded ends what unpacks to too much.
type bounded struct {
	from io.Reader
	n    int64
}

func (b *bounded) Read(p []byte) (int, error) {
	n, err := b.from.Read(p)
	b.n += int64(n)
	if b.n > maxUnpacked {
		return 0, fmt.Errorf("unpacks to more than %d octets", int64(maxUnpacked))
	}
	return n, err
}
