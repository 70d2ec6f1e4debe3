package tell

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/postern-mail/postern/internal/archive"
)

// errStuck is the error of a decoder that gives nothing and no error either.
var errStuck = errors.New("the decoder makes no progress")

// stuck is how often a decoder may give nothing in a row.
const stuck = 1000

// Contained gives a reader of r that turns a panic of r into an error, and ends when r gives nothing for ever.
func Contained(r io.Reader) io.Reader { return &contained{r: r} }

type contained struct {
	r     io.Reader
	empty int
	err   error
}

func (c *contained) Read(p []byte) (n int, err error) {
	if c.err != nil {
		return 0, c.err
	}
	c.err = Contain(func() error {
		n, err = c.r.Read(p)
		return nil
	})
	if c.err != nil {
		return 0, c.err
	}
	if n < 0 || n > len(p) {
		c.err = errStuck
		return 0, c.err
	}
	if n > 0 {
		c.empty = 0
	} else if c.empty++; c.empty > stuck && err == nil {
		err = errStuck
	}
	c.err = err
	return n, err
}

// Contain calls a decoder of others, and turns its panic into an error.
func Contain(call func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("the decoder failed: %v", r)
		}
	}()
	return call()
}

// ReadAt reads len(p) octets at off; ok is false where the file has fewer. The error is of reading the file.
func ReadAt(f *archive.File, p []byte, off int64) (ok bool, err error) {
	if off < 0 || off > f.Size()-int64(len(p)) {
		return false, nil
	}
	n, err := f.ReadAt(p, off)
	if n == len(p) {
		return true, nil
	}
	if err == io.EOF || err == nil {
		return false, nil
	}
	return false, err
}

// Find gives the places of a magic in a file, in order, until take says that one is right.
func Find(ctx context.Context, f *archive.File, magic []byte, take func(off int64) (bool, error)) (int64, bool, error) {
	const block = 1 << 20
	buf := make([]byte, min(block+int64(len(magic))-1, f.Size()))
	for off := int64(0); off < f.Size(); off += block {
		if err := ctx.Err(); err != nil {
			return 0, false, err
		}
		n, err := f.ReadAt(buf, off)
		if err != nil && err != io.EOF {
			return 0, false, err
		}
		for i := 0; ; i++ {
			j := bytes.Index(buf[min(i, n):n], magic)
			if j < 0 {
				break
			}
			i += j
			if ok, err := take(off + int64(i)); ok || err != nil {
				return off + int64(i), ok, err
			}
		}
	}
	return 0, false, nil
}
