package zip

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"

	"github.com/postern-mail/postern/internal/archive"
)

// Find reports whether some reader may take f for a zip archive, whatever it begins with: a local header stands at its
// start, or anywhere a local header that has a file behind it, or an end record that leads to a directory.
// It reads the whole of f where nothing is found.
func Find(ctx context.Context, f *archive.File) (bool, error) {
	head, err := f.Head(lenEnd)
	if err != nil {
		return false, err
	}
	if len(head) >= 4 && (string(head[:4]) == sigLocal || string(head[:4]) == sigEnd) {
		return true, nil
	}
	p := &parser{f: f}
	block := make([]byte, min(searchBlock, f.Size()))
	for at := int64(0); at < f.Size(); {
		if err := ctx.Err(); err != nil {
			return false, err
		}
		n, err := f.ReadAt(block, at)
		if err != nil && err != io.EOF {
			return false, err
		}
		b := block[:n]
		last := at+int64(len(b)) >= f.Size()
		i := 0
		for {
			j := bytes.Index(b[i:], []byte("PK"))
			if j < 0 {
				i = max(len(b)-1, 1)
				break
			}
			i += j
			if len(b)-i < lenCentral+1 && !last {
				break // looked at in the next block
			}
			if found, err := p.likely(at+int64(i), b[i:]); found || err != nil {
				return found, err
			}
			i += 2
		}
		if last {
			break
		}
		at += int64(i)
	}
	return false, nil
}

// likely reports whether a zip archive shows in octets at an offset of the file.
func (p *parser) likely(at int64, b []byte) (bool, error) {
	if len(b) < lenEnd {
		return false, nil
	}
	le := binary.LittleEndian
	switch string(b[:4]) {
	case sigLocal:
		return plausible(b), nil
	case sigEnd:
		size, offset := int64(le.Uint32(b[12:])), int64(le.Uint32(b[16:]))
		if size == saturated || offset == saturated {
			return true, nil
		}
		for _, start := range []int64{at - size, offset} {
			if sig, err := p.read(start, 4); err != nil || string(sig) == sigCentral {
				return err == nil, err
			}
		}
	}
	return false, nil
}
