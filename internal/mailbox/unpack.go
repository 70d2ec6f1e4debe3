package mailbox

import (
	"bufio"
	"bytes"
	"compress/bzip2"
	"compress/gzip"
	"fmt"
	"io"
)

// Bounds of what is unpacked of one file. Mail packs to a fifth; nothing but a bomb to a hundredth.
const (
	maxUnpacked = 64 << 30 // octets
	maxRatio    = 100
	anyRatio    = 1 << 20 // octets, so many of which may be of any ratio
)

var (
	gzipMagic  = []byte{0x1f, 0x8b, 8}
	bzip2Magic = []byte("BZh")
)

// unpacked gives what is packed with gzip or bzip2, known by how it begins, and anything else as it is.
func unpacked(in *bufio.Reader, packed *counted) (*bufio.Reader, error) {
	start, _ := in.Peek(10)
	var out io.Reader
	switch {
	case bytes.HasPrefix(start, gzipMagic):
		z, err := gzip.NewReader(in)
		if err != nil {
			return nil, err
		}
		out = z
	case bytes.HasPrefix(start, bzip2Magic) && len(start) == 10 && start[3] >= '1' && start[3] <= '9' && (string(start[4:]) == "1AY&SY" || string(start[4:]) == "\x17rE8P\x90"):
		out = bzip2.NewReader(in)
	default:
		return in, nil
	}
	return bufio.NewReaderSize(&bounded{from: out, packed: packed}, bufferSize), nil
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
	from   io.Reader
	packed *counted
	n      int64
}

func (b *bounded) Read(p []byte) (int, error) {
	n, err := b.from.Read(p)
	b.n += int64(n)
	switch {
	case b.n > maxUnpacked:
		return 0, fmt.Errorf("unpacks to more than %d octets", int64(maxUnpacked))
	case b.n > anyRatio && b.n/maxRatio > b.packed.n:
		return 0, fmt.Errorf("unpacks to more than %d times its size", maxRatio)
	}
	return n, err
}
