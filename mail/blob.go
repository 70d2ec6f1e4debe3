package mail

import (
	"errors"
	"fmt"
	"io"
	"sync/atomic"
)

// ErrReleased is the error of reading a Blob whose last reference was given back.
var ErrReleased = errors.New("mail: content was released")

// Blob is the content of one message: immutable octets, in memory or in a file that has no name. It is
// safe for concurrent use.
//
// It is freed when the last reference is given back, not when the last reader is gone: a filter that was
// abandoned may still be reading then. So each read takes a reference of its own for as long as it lasts,
// and a read that comes too late gets ErrReleased. A file descriptor is closed only when no read is under
// way, and therefore never names another file while one is.
type Blob struct {
	size    int64
	mem     []byte // the whole content, when file is nil
	file    source // else the content
	unnamed bool   // file was made so that it can be given a name (O_TMPFILE)
	pooled  bool   // mem came from the buffer pool
	dotless bool   // no dot stands behind a CRLF
	lent    atomic.Bool
	refs    atomic.Int64
}

// source is a file as a Blob reads it.
type source interface {
	io.ReaderAt
	io.Closer
}

// NewBlob makes a Blob of b with one reference, the caller's. The caller gives b away: it must not be
// changed any more.
func NewBlob(b []byte) *Blob {
	return hold(&Blob{size: int64(len(b)), mem: b})
}

// NewFileBlob makes a Blob of the first size octets of an open file, with one reference, the caller's. It takes the file
// over, and closes it with the last Release. What is in the file must not be changed any more.
func NewFileBlob(f interface {
	io.ReaderAt
	io.Closer
}, size int64,
) *Blob {
	return hold(&Blob{size: size, file: f})
}

// hold gives a new Blob its first reference.
func hold(b *Blob) *Blob {
	b.refs.Store(1)
	return b
}

// Size gives the number of octets; it stays known after the last Release.
func (b *Blob) Size() int64 { return b.size }

// Retain adds a reference and gives b back. Only who holds a reference may add one: it panics when the
// last one was given back before.
func (b *Blob) Retain() *Blob {
	if !b.acquire() {
		panic("mail: Retain of a released Blob")
	}
	return b
}

// Release gives one reference back; the last one frees memory and disk space. It panics when there is
// none left.
func (b *Blob) Release() {
	n := b.refs.Add(-1)
	if n > 0 {
		return
	}
	if n < 0 {
		panic("mail: Release of a released Blob")
	}
	if b.file != nil {
		_ = b.file.Close() // what was written is nobody's any more
		return
	}
	// Bytes may have lent the octets to somebody who still looks at them: then they are left to the
	// garbage collector.
	if b.pooled && !b.lent.Load() {
		putBuffer(b.mem)
	}
	b.mem = nil
}

// acquire takes a reference unless the last one is gone.
func (b *Blob) acquire() bool {
	for {
		n := b.refs.Load()
		if n <= 0 {
			return false
		}
		if b.refs.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// ReadAt implements io.ReaderAt. The error is io.EOF at the end of the content, ErrReleased after the
// last Release, io.ErrUnexpectedEOF if the file is shorter than what was written to it.
func (b *Blob) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, errors.New("mail: read at a negative offset")
	}
	if !b.acquire() {
		return 0, ErrReleased
	}
	defer b.Release()
	if off >= b.size {
		return 0, io.EOF
	}
	short := false
	if n := b.size - off; int64(len(p)) > n {
		p, short = p[:n], true
	}
	if b.file == nil {
		copy(p, b.mem[off:])
	} else if n, err := b.file.ReadAt(p, off); n < len(p) {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return n, fmt.Errorf("mail: read content: %w", err)
	}
	if short {
		return len(p), io.EOF
	}
	return len(p), nil
}

// Section gives a reader of the n octets from off on.
func (b *Blob) Section(off, n int64) *io.SectionReader { return io.NewSectionReader(b, off, n) }

// Bytes gives the whole content when it is in memory, and false when it is in a file or was released.
// The octets must not be changed; they stay valid after Release.
func (b *Blob) Bytes() ([]byte, bool) {
	if b.file != nil || !b.acquire() {
		return nil, false
	}
	defer b.Release()
	b.lent.Store(true)
	return b.mem[:b.size:b.size], true
}

// view hands the n octets from off on to f, in blocks of at most 64 KiB that f must not keep, without a
// copy when they are in memory.
func (b *Blob) view(off, n int64, f func([]byte) error) error {
	if !b.acquire() {
		return ErrReleased
	}
	defer b.Release()
	if off < 0 || n < 0 || off > b.size || n > b.size-off {
		return fmt.Errorf("mail: read content: %w", io.ErrUnexpectedEOF)
	}
	var block []byte
	if b.file != nil {
		block = getBuffer(blockSize)[:blockSize]
		defer putBuffer(block)
	}
	for n > 0 {
		k := min(n, blockSize)
		if b.file == nil {
			block = b.mem[off : off+k : off+k]
		} else if _, err := b.ReadAt(block[:k], off); err != nil {
			return err
		}
		if err := f(block[:k]); err != nil {
			return err
		}
		off, n = off+k, n-k
	}
	return nil
}
