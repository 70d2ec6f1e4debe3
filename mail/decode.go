package mail

import (
	"bytes"
	"encoding/base64"
	"io"
)

// decodeBlock is how many encoded octets are decoded at a time.
const decodeBlock = 32 << 10

// decodeBody gives the body decoded, leniently; an encoding that is not known is none (RFC 2045 6.4
// would have it treated as application/octet-stream, which is what its octets are then).
func decodeBody(body *io.SectionReader, encoding string) io.Reader {
	switch encoding {
	case "base64":
		return &blockReader{r: body, decoder: &base64Decoder{}}
	case "quoted-printable":
		return &blockReader{r: body, decoder: &lineDecoder{line: quotedPrintableLine}}
	case "x-uuencode", "uuencode", "x-uue":
		if uuBegins(body) {
			return &blockReader{r: body, decoder: &lineDecoder{line: new(uuDecoder).decode}}
		}
	}
	return body
}

// blockDecoder decodes what it can of in, appends the result to out, and gives what is left of in. With
// last set nothing comes after in, and nothing is to be left.
type blockDecoder interface {
	decode(out, in []byte, last bool) (decoded, rest []byte)
}

// blockReader reads and decodes block by block.
type blockReader struct {
	r       io.Reader
	decoder blockDecoder
	in      []byte // the block; its first kept octets are left from the one before
	kept    int
	out     []byte // decoded and not yet read
	store   []byte // where out lies
	err     error
}

func (b *blockReader) Read(p []byte) (int, error) {
	for len(b.out) == 0 {
		if b.err != nil {
			return 0, b.err
		}
		if len(p) == 0 {
			return 0, nil
		}
		b.fill()
	}
	n := copy(p, b.out)
	b.out = b.out[n:]
	return n, nil
}

func (b *blockReader) fill() {
	if b.in == nil {
		b.in = make([]byte, decodeBlock)
		b.store = make([]byte, 0, decodeBlock)
	}
	n, err := io.ReadFull(b.r, b.in[b.kept:])
	last := err == io.EOF || err == io.ErrUnexpectedEOF
	if last {
		err = io.EOF
	}
	b.err = err
	if err != nil && !last {
		return
	}
	var rest []byte
	b.out, rest = b.decoder.decode(b.store[:0], b.in[:b.kept+n], last)
	b.store = b.out[:0]
	b.kept = copy(b.in, rest)
}

// base64Value gives the value of each octet of the base64 alphabet (RFC 2045 6.8); 64 for the padding and
// 255 for what is foreign.
var base64Value = func() (t [256]byte) {
	for i := range t {
		t[i] = 255
	}
	for i, c := range []byte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/") {
		t[c] = byte(i)
	}
	t['='] = 64
	return t
}()

// base64Decoder decodes base64. A block from which the line ends were taken out is handed to
// encoding/base64; only one that holds anything else goes octet by octet: foreign octets are left out
// (RFC 2045 6.8), padding ends a group and not the body, and a group without its padding is decoded.
type base64Decoder struct{ clean []byte }

func (d *base64Decoder) decode(out, in []byte, last bool) (decoded, rest []byte) {
	d.clean = d.clean[:0]
	for line := in; len(line) > 0; {
		n := bytes.IndexByte(line, '\n')
		if n < 0 {
			d.clean = append(d.clean, line...)
			break
		}
		text := line[:n]
		if n > 0 && text[n-1] == '\r' {
			text = text[:n-1]
		}
		d.clean = append(d.clean, text...)
		line = line[n+1:]
	}
	whole := len(d.clean) &^ 3
	if need := base64.StdEncoding.DecodedLen(whole); cap(out) < need {
		out = make([]byte, 0, need)
	}
	n, err := base64.StdEncoding.Decode(out[:cap(out)], d.clean[:whole])
	rest = d.clean[whole:]
	if err != nil || last && len(rest) > 0 {
		return d.octets(out[:0], last)
	}
	return out[:n], rest
}

// octets decodes the block octet by octet.
func (d *base64Decoder) octets(out []byte, last bool) (decoded, rest []byte) {
	var group uint32
	n := 0
	for _, c := range d.clean {
		v := base64Value[c]
		switch {
		case v < 64:
			if group, n = group<<6|uint32(v), n+1; n == 4 {
				out = append(out, byte(group>>16), byte(group>>8), byte(group))
				group, n = 0, 0
			}
		case v == 64:
			out = endGroup(out, group, n)
			group, n = 0, 0
		}
	}
	if last {
		return endGroup(out, group, n), nil
	}
	// What is left of the last group, as the characters it was made of.
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	rest = d.clean[:0]
	for i := n - 1; i >= 0; i-- {
		rest = append(rest, alphabet[group>>(6*i)&63])
	}
	return out, rest
}

// endGroup decodes a group of fewer than four characters; of a single one nothing can be made.
func endGroup(out []byte, group uint32, n int) []byte {
	switch n {
	case 2:
		out = append(out, byte(group>>4))
	case 3:
		out = append(out, byte(group>>10), byte(group>>2))
	}
	return out
}
