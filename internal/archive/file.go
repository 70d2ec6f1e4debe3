package archive

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
)

// memory is how many octets of a file are kept in memory; what is larger goes to a file without a name.
const memory = 1 << 20

// File is content that can be read at any place: octets in memory, in an unnamed file on disk, or somewhere that
// its maker keeps. Reading is safe for concurrent use.
type File struct {
	r    io.ReaderAt
	size int64
	mem  []byte   // where it is in memory
	disk *os.File // where it is a file of ours
}

// NewFile makes a File of octets, which must not be changed as long as it is used.
func NewFile(b []byte) *File {
	return &File{r: bytes.NewReader(b), size: int64(len(b)), mem: b}
}

// FileAt makes a File of the first size octets of r.
func FileAt(r io.ReaderAt, size int64) *File { return &File{r: r, size: size} }

// Size gives the number of octets.
func (f *File) Size() int64 { return f.size }

// ReadAt implements io.ReaderAt.
func (f *File) ReadAt(p []byte, off int64) (int, error) {
	if off >= f.size {
		return 0, io.EOF
	}
	if left := f.size - off; int64(len(p)) > left {
		n, err := f.r.ReadAt(p[:left], off)
		if err == nil {
			err = io.EOF
		}
		return n, err
	}
	return f.r.ReadAt(p, off)
}

// Reader gives a reader of the whole, independent of all others.
func (f *File) Reader() *io.SectionReader { return io.NewSectionReader(f, 0, f.size) }

// Section gives the octets [off, off+n) as a File that shares f's; it needs no Close of its own. What lies outside
// of f is left out.
func (f *File) Section(off, n int64) *File {
	off = min(max(off, 0), f.size)
	n = min(max(n, 0), f.size-off)
	if f.mem != nil {
		return NewFile(f.mem[off : off+n : off+n])
	}
	return &File{r: io.NewSectionReader(f, off, n), size: n}
}

// Head gives up to n octets from the start. They must not be changed.
func (f *File) Head(n int) ([]byte, error) {
	n = int(min(int64(n), f.size))
	if f.mem != nil {
		return f.mem[:n:n], nil
	}
	b := make([]byte, n)
	if _, err := f.ReadAt(b, 0); err != nil && err != io.EOF {
		return nil, err
	}
	return b, nil
}

// Bytes gives all octets of a file of at most limit octets; ok is false for a larger one. They must not be changed.
func (f *File) Bytes(limit int64) (b []byte, ok bool, err error) {
	if f.size > limit {
		return nil, false, nil
	}
	b, err = f.Head(int(f.size))
	return b, err == nil, err
}

// Close frees the file. It is safe to call it twice.
func (f *File) Close() error {
	if f.disk == nil {
		return nil
	}
	d := f.disk
	f.disk, f.r, f.size = nil, bytes.NewReader(nil), 0
	return d.Close()
}

// Spool reads r to its end into a File, and spends the octets. Problem is what the content did wrong: an error of r
// that is neither the context's nor a *os.PathError of ours, or a *ErrBudget. The File then holds what could be read,
// so that it can still be looked at. The error is of the context or the disk; there is no File then. The caller
// closes the File.
func Spool(ctx context.Context, r io.Reader, b *Budget) (f *File, problem, err error) {
	s := &spooler{dir: b.Dir()}
	defer func() {
		if err != nil {
			s.discard()
		}
	}()
	lent := blocks.Get().(*[64 << 10]byte)
	defer blocks.Put(lent)
	block := lent[:]
	for {
		if err := ctx.Err(); err != nil {
			return nil, nil, err
		}
		n, rerr := r.Read(block)
		if n > 0 {
			if problem = b.Spend(int64(n)); problem != nil {
				break
			}
			if err := s.write(block[:n]); err != nil {
				return nil, nil, err
			}
		}
		if rerr == io.EOF {
			break
		}
		if rerr != nil {
			if isOurs(ctx, rerr) {
				return nil, nil, rerr
			}
			problem = rerr
			break
		}
	}
	return s.file(), problem, nil
}

// blocks are what Spool reads into.
var blocks = sync.Pool{New: func() any { return new([64 << 10]byte) }}

// isOurs reports whether an error of reading speaks about us and not about the content.
func isOurs(ctx context.Context, err error) bool {
	var path *os.PathError
	return ctx.Err() != nil || errors.As(err, &path) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

type spooler struct {
	dir  string
	mem  []byte
	disk *os.File
	size int64
}

func (s *spooler) write(p []byte) error {
	s.size += int64(len(p))
	if s.disk == nil && len(s.mem)+len(p) <= memory {
		s.mem = append(s.mem, p...)
		return nil
	}
	if s.disk == nil {
		f, err := os.CreateTemp(s.dir, "postern-inside-*")
		if err != nil {
			return fmt.Errorf("archive: %w", err)
		}
		s.disk = f
		// Without a name it is gone with us, whatever becomes of us.
		if err := os.Remove(f.Name()); err != nil {
			return fmt.Errorf("archive: %w", err)
		}
		if _, err := f.Write(s.mem); err != nil {
			return fmt.Errorf("archive: %w", err)
		}
		s.mem = nil
	}
	if _, err := s.disk.Write(p); err != nil {
		return fmt.Errorf("archive: %w", err)
	}
	return nil
}

func (s *spooler) file() *File {
	if s.disk != nil {
		return &File{r: s.disk, size: s.size, disk: s.disk}
	}
	return NewFile(s.mem)
}

func (s *spooler) discard() {
	if s.disk != nil {
		_ = s.disk.Close()
	}
}
