package zip

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"

	"github.com/postern-mail/postern/internal/archive"
	"github.com/postern-mail/postern/internal/archive/codec"
)

// Methods of packing (APPNOTE 4.4.5).
const (
	methodStored    = 0
	methodDeflate   = 8
	methodDeflate64 = 9
	methodBzip2     = 12
	methodLZMA      = 14
	methodZstdOld   = 20
	methodZstd      = 93
	methodXZ        = 95
	methodAES       = 99
)

// known reports whether APPNOTE 4.4.5 gives a method a meaning.
func known(m uint16) bool { return m <= 20 || m == 97 || m == 98 || m == 99 || m >= 92 && m <= 96 }

var (
	errCut   = errors.New("the archive ends before its content does")
	errSum   = errors.New("its checksum is wrong")
	errSlack = errors.New("its packed form ends before its place does")
)

// unpack unpacks the content of an entry that has some.
func (r *Reader) unpack(ctx context.Context, e *Entry, b *archive.Budget) (f *archive.File, problem, err error) {
	left := r.f.Size() - e.data
	n, cut := left, false
	if !e.open {
		n, cut = min(e.Packed, left), e.Packed > left
	}
	src := &source{r: io.NewSectionReader(r.f, e.data, n), total: &r.read, free: 4*r.f.Size() + 1<<20, b: b}
	in := bufio.NewReaderSize(src, 32<<10)
	if problem := b.Spend(e.memory()); problem != nil {
		return nil, problem, nil
	}
	sum := &summed{hash: crc32.NewIEEE()}
	err = b.Taking(e.dictionary(in), func() (err error) {
		if sum.r, problem = e.decoder(in, &r.zstd); problem != nil {
			return nil
		}
		f, problem, err = archive.Spool(ctx, sum, b)
		return err
	})
	if e.Method == methodZstd || e.Method == methodZstdOld {
		r.zstd.Shrink()
	}
	if sum.r == nil {
		return nil, problem, err
	}
	if src.err != nil {
		// Of reading f, whatever the decoder made of it.
		if f != nil {
			_ = f.Close()
		}
		return nil, nil, src.err
	}
	switch {
	case err != nil:
		return nil, nil, err
	case src.spent != nil:
		problem = src.spent
	case codec.Bzip2Trailing(problem):
		problem = errSlack
	case problem != nil && cut || problem == nil && cut && e.Method == methodStored:
		problem = errCut
	case problem != nil || e.open:
	case src.n-int64(in.Buffered()) < n:
		problem = errSlack
	case f.Size() != e.Size:
		problem = fmt.Errorf("it has %d octets and not %d, as its header says", f.Size(), e.Size)
	case sum.hash.Sum32() != e.crc:
		problem = errSum
	}
	return f, problem, nil
}

// decoder gives a reader of what in holds. None but that of bzip2 reads beyond the end of the packed form.
func (e *Entry) decoder(in *bufio.Reader, z *codec.Zstd) (io.Reader, error) {
	switch e.Method {
	case methodStored:
		return in, nil
	case methodDeflate:
		return codec.Deflate(in), nil
	case methodDeflate64:
		return codec.Inflate64(in), nil
	case methodBzip2:
		return codec.Bzip2(in, e.Size), nil
	case methodLZMA:
		return codec.LZMAZip(in, e.Size, e.marked)
	case methodZstdOld, methodZstd:
		return z.Frame(in)
	case methodXZ:
		return codec.XZ(in, e.Size)
	}
	return nil, fmt.Errorf("it is packed by a method that is not read: %d", e.Method)
}

// memory is what an entry is spent for beside its octets: decoders take and clear memory for each.
func (e *Entry) memory() int64 {
	switch e.Method {
	case methodBzip2, methodLZMA, methodXZ, methodZstd, methodZstdOld:
		return e.most() / 8
	}
	return 0
}

// most is the largest dictionary that an entry may have: nothing is remembered that is not there.
func (e *Entry) most() int64 {
	if e.Size < 0 {
		return codec.MaxDict
	}
	return min(codec.MaxDict, e.Size)
}

// dictionary tells how many octets of memory the decoder of an entry takes at the most, whose packed form is in.
func (e *Entry) dictionary(in *bufio.Reader) int64 {
	switch e.Method {
	case methodBzip2:
		return codec.Bzip2Memory
	case methodLZMA:
		head, _ := in.Peek(5) // APPNOTE 5.8.8
		if len(head) < 5 {
			return 0 // it is refused
		}
		return e.most() + codec.LZMALiterals(head[4])
	case methodXZ:
		return e.most()
	case methodZstd, methodZstdOld:
		return codec.ZstdWindow(in) // whatever the entry's size is said to be
	}
	return 0
}

// source reads packed octets. What an archive of overlapping entries makes us read again and again is spent like
// unpacked octets, for there are packed forms of nothing.
type source struct {
	r     io.Reader
	n     int64
	total *int64
	free  int64
	b     *archive.Budget
	spent error
	err   error
}

func (s *source) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	s.n += int64(n)
	*s.total += int64(n)
	if *s.total > s.free && s.spent == nil {
		s.spent = s.b.Spend(int64(n))
	}
	if s.spent != nil {
		return 0, s.spent
	}
	if err != nil && err != io.EOF {
		s.err = err
	}
	return n, err
}

// summed sums up what is read through it.
type summed struct {
	r    io.Reader
	hash hash.Hash32
}

func (s *summed) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	_, _ = s.hash.Write(p[:n])
	return n, err
}
