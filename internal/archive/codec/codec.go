// Package codec is the decoders of packed octets, each of one stream with bounded memory. It is not where their
// containers are read, and it knows no budget: who reads from a decoder spends what it gives.
package codec

import (
	"bufio"
	"bytes"
	"compress/bzip2"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/klauspost/compress/flate"
)

// MaxDict is how many octets of its own output a stream may want to be remembered. Decoders that would need
// more are refused.
const MaxDict = 64 << 20

// Bzip2Memory is how many octets of memory a decoder of bzip2 takes at the most: four for each of a block of 900,000.
const Bzip2Memory = 4 << 20

// ErrDict is the error of a stream that wants more than MaxDict.
var ErrDict = fmt.Errorf("it wants more than %d MiB of memory to be unpacked", MaxDict>>20)

var (
	errHeader  = errors.New("its header is damaged")
	errDamaged = errors.New("its packed form is damaged")
)

// Safe gives a reader of r whose panics are errors: decoders of others are not trusted with hostile octets.
func Safe(r io.Reader) io.Reader { return &safe{r: r} }

type safe struct {
	r   io.Reader
	err error
}

func (s *safe) Read(p []byte) (n int, err error) {
	if s.err != nil {
		return 0, s.err
	}
	defer func() {
		if x := recover(); x != nil {
			n, err = 0, fmt.Errorf("%w: %v", errDamaged, x)
		}
		s.err = err
	}()
	return s.r.Read(p)
}

// try makes a reader whose making may panic.
func try(f func() (io.Reader, error)) (r io.Reader, err error) {
	defer func() {
		if x := recover(); x != nil {
			r, err = nil, fmt.Errorf("%w: %v", errDamaged, x)
		}
	}()
	if r, err = f(); err != nil {
		return nil, full(err)
	}
	return Safe(r), nil
}

// Deflate reads one stream of RFC 1951, and nothing of what follows it.
func Deflate(in *bufio.Reader) io.Reader { return Safe(flate.NewReader(in)) }

// DeflateAgain is Deflate that uses the memory of a reader that Deflate gave and that is not used any more; nil
// is none.
func DeflateAgain(old io.Reader, in *bufio.Reader) io.Reader {
	if s, ok := old.(*safe); ok {
		if r, ok := s.r.(flate.Resetter); ok && r.Reset(in, nil) == nil {
			s.err = nil
			return s
		}
	}
	return Deflate(in)
}

// Bzip2 reads all streams of bzip2 that follow one another. Octets after them that are no stream are read as far
// as two of them, and end it: Bzip2Trailing tells. Of a stream that gives most octets, or an unknown number where
// most is negative, no more memory is taken than those need.
func Bzip2(in *bufio.Reader, most int64) io.Reader {
	head, err := in.Peek(4)
	if err != nil || most < 0 || most >= 900000 {
		return Safe(bzip2.NewReader(in))
	}
	// The header says the size of blocks in units of 100 kB. They are packed after runs of four octets were made five.
	if level := '1' + most*5/4/100000; level < int64(head[3]) {
		_, _ = in.Discard(4)
		return Safe(bzip2.NewReader(&headed{head: bytes.NewReader(append(slices.Clone(head[:3]), byte(level))), in: in}))
	}
	return Safe(bzip2.NewReader(in))
}

// Bzip2Trailing reports whether an error of Bzip2 says that something else follows its streams; two octets of that
// were read.
func Bzip2Trailing(err error) bool {
	var structural bzip2.StructuralError
	return errors.As(err, &structural) && string(structural) == "bad magic value in continuation file"
}

// full makes the end of the input in the midst of something unexpected.
func full(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
