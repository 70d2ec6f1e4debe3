// Package stream reads files that are packed as one stream: gzip, bzip2, xz, lzma, lzip, zstd, lz4 and compress. It
// is not for archives, which hold files: what is unpacked is one file, often a tar.
package stream

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/postern-mail/postern/internal/archive"
	"github.com/postern-mail/postern/internal/archive/codec"
	"github.com/postern-mail/postern/internal/archive/tell"
)

// Formats that Detect tells.
const (
	Gzip     = "gzip"
	Bzip2    = "bzip2"
	XZ       = "xz"
	LZMA     = "lzma"
	Lzip     = "lzip"
	Zstd     = "zstd"
	LZ4      = "lz4"
	Compress = "compress"
	Lzop     = "lzop" // it is known, but not read
)

// headSize is how many octets Detect wants.
const headSize = 32

// Detect tells the format of a file from its first octets, of which 32 are enough; "" is for all others.
func Detect(head []byte) (format string) {
	for _, m := range []struct{ magic, format string }{
		{gzipMagic, Gzip},
		{codec.XZMagic, XZ},
		{codec.LzipMagic, Lzip},
		{codec.ZstdMagic, Zstd},
		{codec.LZ4Magic, LZ4},
		{codec.LZ4LegacyMagic, LZ4},
		{"\x89LZO\x00\r\n\x1a\n", Lzop},
	} {
		if bytes.HasPrefix(head, []byte(m.magic)) {
			return m.format
		}
	}
	switch {
	case bzip2Like(head):
		return Bzip2
	case len(head) > 2 && string(head[:2]) == codec.CompressMagic && head[2]&0x60 == 0 && head[2]&0x1f >= 9 && head[2]&0x1f <= 16:
		return Compress
	case codec.Skippable(head):
		return skippableFormat(head)
	case lzmaLike(head):
		return LZMA
	}
	return ""
}

const gzipMagic = "\x1f\x8b\x08"

// bzip2Like wants the size of blocks and the magic of a block or of the end after the magic.
func bzip2Like(head []byte) bool {
	return len(head) >= 10 && string(head[:3]) == "BZh" && head[3] >= '1' && head[3] <= '9' &&
		(string(head[4:10]) == "\x31\x41\x59\x26\x53\x59" || string(head[4:10]) == "\x17\x72\x45\x38\x50\x90")
}

// skippableFormat tells zstd from lz4 by the frame after a short skippable one: both may begin with such. Zstd is
// right for a file of nothing else.
func skippableFormat(head []byte) string {
	if len(head) >= 8 {
		n := int64(binary.LittleEndian.Uint32(head[4:])) + 8
		if n < int64(len(head)) && bytes.HasPrefix(head[n:], []byte(codec.LZ4Magic)) {
			return LZ4
		}
	}
	return Zstd
}

// lzmaLike knows lzma, which has no magic, by a header as packers write it: usual properties, a dictionary of a size
// 2^n or 2^n+2^(n-1), an unpacked size that is unknown or below 256 GiB, and a stream that begins with a zero.
func lzmaLike(head []byte) bool {
	if len(head) < 14 || head[0] != 0x5d && head[0] != 0x5e && head[0] != 0x6e || head[13] != 0 {
		return false
	}
	dict := binary.LittleEndian.Uint32(head[1:])
	size := binary.LittleEndian.Uint64(head[5:])
	if size != 1<<64-1 && size >= 1<<38 || dict == 0 {
		return false
	}
	for dict&1 == 0 {
		dict >>= 1
	}
	return dict == 1 || dict == 3 || dict == 1<<32-1
}

// Walk implements archive.Walk. The one entry is all streams of the file joined, since that is what readers make
// of them; a gzip may give it names. What follows the streams and is not zero is an entry of its own.
func Walk(ctx context.Context, f *archive.File, b *archive.Budget, v archive.Visitor) error {
	head, err := f.Head(headSize)
	if err != nil {
		return err
	}
	w := &walker{ctx: ctx, f: f, b: b, v: v, format: Detect(head)}
	err = w.walk()
	var spent *archive.ErrBudget
	if errors.As(err, &spent) {
		w.signs.Add(archive.Bomb, "", spent.What)
		err = nil
	}
	if err != nil {
		return err
	}
	return w.signs.Give(v)
}

type walker struct {
	ctx    context.Context
	f      *archive.File
	b      *archive.Budget
	v      archive.Visitor
	format string
	signs  tell.Signs
}

func (w *walker) walk() error {
	if err := w.b.Entry(); err != nil {
		return err
	}
	src := &source{r: w.f.Reader()}
	tail, err := w.f.Section(w.f.Size()-1-tailSize, tailSize).Head(tailSize)
	if err != nil {
		return err
	}
	m := &members{tail: tail, format: w.format, b: w.b, in: bufio.NewReaderSize(src, 64<<10)}
	content, problem, err := archive.Spool(w.ctx, m, w.b)
	if err == nil && src.err != nil {
		err = src.err
	}
	if err != nil {
		if content != nil {
			_ = content.Close()
		}
		return err
	}
	defer func() { _ = content.Close() }()
	e := &archive.Entry{Names: m.names, Size: -1, File: content}
	if problem != nil && content.Size() == 0 {
		e.File = nil
	}
	if err := w.v.File(e); err != nil {
		return err
	}
	var spent *archive.ErrBudget
	switch {
	case errors.As(problem, &spent):
		return spent
	case problem != nil:
		w.signs.Add(archive.Unreadable, "", fmt.Sprintf("%s: %s", w.name(), problem))
		return nil
	}
	return w.trailing(src.n - int64(m.in.Buffered()) - m.back)
}

func (w *walker) name() string {
	if w.format == "" {
		return "the packed file"
	}
	return w.format
}

// block is how much is compared at once.
const block = 64 << 10

// trailing hands on what begins at an offset, unless it is nothing or zeros, as tapes and disks pad.
func (w *walker) trailing(at int64) error {
	rest := w.f.Section(at, w.f.Size()-at)
	zero, err := zeros(w.ctx, rest)
	if err != nil || zero {
		return err
	}
	if err := w.b.Entry(); err != nil {
		return err
	}
	if err := w.b.Spend(rest.Size()); err != nil {
		return err
	}
	return w.v.File(&archive.Entry{Size: rest.Size(), File: rest})
}

func zeros(ctx context.Context, f *archive.File) (bool, error) {
	r, b, zero := f.Reader(), make([]byte, block), make([]byte, block)
	for {
		if err := ctx.Err(); err != nil {
			return false, err
		}
		n, err := r.Read(b)
		if !bytes.Equal(b[:n], zero[:n]) {
			return false, nil
		}
		if err == io.EOF {
			return true, nil
		}
		if err != nil {
			return false, err
		}
	}
}

// source reads the file. Its errors are the file's, whatever a decoder makes of them.
type source struct {
	r   io.Reader
	n   int64
	err error
}

func (s *source) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	s.n += int64(n)
	if err != nil && err != io.EOF {
		s.err = err
	}
	return n, err
}
