package pdf

import (
	"bufio"
	"errors"
	"io"
)

var errBase85 = errors.New("pdf: damaged ASCII85 data")

// base85Reader decodes ASCII85Decode (ISO 32000-1 7.4.3).
type base85Reader struct {
	r    *bufio.Reader
	out  [4]byte
	have []byte // of out, not yet read
	err  error
}

func (b *base85Reader) Read(p []byte) (int, error) {
	n := 0
	for n < len(p) {
		if len(b.have) == 0 {
			if b.err == nil {
				b.group()
			}
			if len(b.have) == 0 {
				break
			}
		}
		c := copy(p[n:], b.have)
		b.have = b.have[c:]
		n += c
	}
	if n == 0 && len(p) > 0 {
		return 0, b.err
	}
	return n, nil
}

// group decodes one group of five characters.
func (b *base85Reader) group() {
	var v uint64
	n := 0
	for n < 5 {
		c, err := b.r.ReadByte()
		if err != nil && err != io.EOF {
			b.err = err
			return
		}
		switch {
		case err == io.EOF, c == '~':
			b.err = io.EOF
			b.finish(v, n)
			return
		case isSpace(int(c)):
		case c == 'z' && n == 0:
			b.out = [4]byte{}
			b.have = b.out[:]
			return
		case c < '!' || c > 'u':
			b.err = errBase85
			b.finish(v, n)
			return
		default:
			v = v*85 + uint64(c-'!')
			n++
		}
	}
	b.put(v, 4)
}

// finish decodes the last group, of n characters.
func (b *base85Reader) finish(v uint64, n int) {
	if n < 2 {
		return
	}
	for i := n; i < 5; i++ {
		v = v*85 + 84
	}
	b.put(v, n-1)
}

func (b *base85Reader) put(v uint64, n int) {
	b.out = [4]byte{byte(v >> 24), byte(v >> 16), byte(v >> 8), byte(v)}
	b.have = b.out[:n]
}
