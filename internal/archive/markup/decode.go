package markup

import (
	"bytes"
	"io"
)

// base64Value gives the value of each octet of both alphabets of RFC 4648; 255 for what is in neither.
var base64Value = func() (t [256]byte) {
	for i := range t {
		t[i] = 255
	}
	for i, c := range []byte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/") {
		t[c] = byte(i)
	}
	t['-'], t['_'] = 62, 63
	return t
}()

// base64Reader decodes base64 as leniently as anything does that decodes it: foreign octets are left out, and padding
// ends a group and not the text.
type base64Reader struct {
	r    io.Reader
	in   []byte
	bits uint32
	have int // characters in bits
	err  error
}

func newBase64(r io.Reader) io.Reader { return &base64Reader{r: r} }

// base64Of gives readers of what data encodes.
func base64Of(data []byte) func() io.Reader {
	return func() io.Reader { return newBase64(bytes.NewReader(data)) }
}

// octetsOf gives readers of data.
func octetsOf(data []byte) func() io.Reader {
	return func() io.Reader { return bytes.NewReader(data) }
}

func (b *base64Reader) Read(p []byte) (int, error) {
	if len(p) < 3 {
		return 0, io.ErrShortBuffer
	}
	out := p[:0]
	for len(out)+3 <= len(p) {
		if len(b.in) == 0 {
			if b.err != nil {
				break
			}
			if b.in == nil {
				b.in = make([]byte, 0, 16<<10)
			}
			n, err := b.r.Read(b.in[:cap(b.in)])
			b.in, b.err = b.in[:n], err
			if err != nil && n == 0 {
				out = b.flush(out)
				break
			}
			continue
		}
		c := b.in[0]
		if b.in = b.in[1:]; len(b.in) == 0 {
			b.in = nil
		}
		switch v := base64Value[c]; {
		case v < 64:
			b.bits, b.have = b.bits<<6|uint32(v), b.have+1
			if b.have == 4 {
				out = append(out, byte(b.bits>>16), byte(b.bits>>8), byte(b.bits))
				b.bits, b.have = 0, 0
			}
		case c == '=':
			out = b.flush(out)
		}
	}
	if len(out) == 0 && b.err != nil {
		if out = b.flush(out); len(out) == 0 {
			return 0, b.err
		}
	}
	return len(out), nil
}

// flush decodes a group that is not whole.
func (b *base64Reader) flush(out []byte) []byte {
	switch b.have {
	case 2:
		out = append(out, byte(b.bits>>4))
	case 3:
		out = append(out, byte(b.bits>>10), byte(b.bits>>2))
	}
	b.bits, b.have = 0, 0
	return out
}

// fromHex decodes pairs of hexadecimal digits.
func fromHex(s []byte) []byte {
	out := make([]byte, 0, len(s)/2)
	for i := 0; i+1 < len(s); i += 2 {
		out = append(out, byte(hexDigit(s[i])<<4|hexDigit(s[i+1])))
	}
	return out
}

func reversed(s []byte) []byte {
	out := make([]byte, len(s))
	for i, c := range s {
		out[len(s)-1-i] = c
	}
	return out
}
