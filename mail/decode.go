package mail

import (
	"bytes"
	"encoding/base64"
	"io"
)

// decodeBlock is how many encoded octets are decoded at a time.
const decodeBlock = 32 << 10

// Decoder gives a body decoded. It is for one goroutine.
type Decoder struct {
	r        io.Reader
	encoding bodyDecoder // nil where nothing is decoded
}

// Read implements io.Reader.
func (d *Decoder) Read(p []byte) (int, error) { return d.r.Read(p) }

// Malformed gives what is wrong with the encoding of the body, of what was read so far: BadBase64 or
// BadQuotedPrintable, "" for nothing. Decoders differ on what to make of such a body.
func (d *Decoder) Malformed() DefectKind {
	if d.encoding == nil {
		return ""
	}
	return d.encoding.malformed()
}

// early reports whether a fault lies so near the start that what the content looks like may depend on it.
func (d *Decoder) early() bool {
	q, ok := d.encoding.(*lineDecoder)
	return ok && q.early != nil && *q.early
}

// DecodeAs gives octets decoded by an encoding, as Part.Decode does where the header names it.
func DecodeAs(r *io.SectionReader, encoding string) *Decoder { return decodeBody(r, encoding) }

// Decode gives the body decoded, as Open does, and tells of the encoding's faults.
func (p *Part) Decode() *Decoder { return decodeBody(p.RawBody(), p.Encoding) }

// bodyDecoder is a blockDecoder that notes faults.
type bodyDecoder interface {
	blockDecoder
	malformed() DefectKind
}

// decodeBody gives the body decoded, leniently; an encoding that is not known is none (RFC 2045 6.4
// would have it treated as application/octet-stream, which is what its octets are then).
func decodeBody(body *io.SectionReader, encoding string) *Decoder {
	var d bodyDecoder
	switch encoding {
	case "base64":
		d = &base64Decoder{}
	case "quoted-printable":
		q := &quotedPrintable{}
		d = &lineDecoder{line: q.decode, fault: &q.fault, early: &q.early}
	case "x-uuencode", "uuencode", "x-uue":
		d = &lineDecoder{line: (&uuDecoder{inside: !uuBegins(body)}).decode}
	}
	if d == nil {
		return &Decoder{r: body}
	}
	// A short body is read at once, and to its end.
	block := int(min(decodeBlock, body.Size()+1))
	return &Decoder{r: &blockReader{r: body, decoder: d, block: block}, encoding: d}
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
	block   int    // octets that are read at a time
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
		b.in = make([]byte, b.block)
		b.store = make([]byte, 0, b.block)
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
// (RFC 2045 6.8), padding ends a group and not the body, and a group without its padding is decoded. But a line with
// foreign octets behind the padding ends it: lists and virus scanners append such lines to encoded texts.
//
// The body is malformed unless all of its lines but the last have a multiple of four characters, and nothing but
// blank lines comes behind it.
type base64Decoder struct {
	clean  []byte
	carry  int  // of the octets of the next block, how many are left from the one before
	line   int  // characters of the line so far
	end    bool // what was read should be all of it: a line of odd length, a blank one, or padding
	padded bool // there was padding
	fault  bool
	done   bool // nothing that comes is decoded
}

func (d *base64Decoder) malformed() DefectKind {
	if d.fault {
		return BadBase64
	}
	return ""
}

func (d *base64Decoder) decode(out, in []byte, last bool) (decoded, rest []byte) {
	if d.done {
		return out[:0], nil
	}
	d.clean = d.clean[:0]
	d.line -= d.carry
	for line := in; len(line) > 0; {
		n := bytes.IndexByte(line, '\n')
		text := line
		if n >= 0 {
			text = line[:n]
			if n > 0 && text[n-1] == '\r' {
				text = text[:n-1]
			}
		}
		d.clean = append(d.clean, text...)
		if d.line += len(text); n < 0 {
			break
		}
		d.endLine()
		line = line[n+1:]
	}
	whole := len(d.clean) &^ 3
	if need := base64.StdEncoding.DecodedLen(whole); cap(out) < need {
		out = make([]byte, 0, need)
	}
	n, err := base64.StdEncoding.Decode(out[:cap(out)], d.clean[:whole])
	rest = d.clean[whole:]
	if err == nil && last && len(rest) > 0 && !d.padded && !(whole > 0 && d.clean[whole-1] == '=') && isBase64(rest) && bytes.IndexByte(rest, '=') < 0 {
		// It ends within a group: cut off, or without the padding. Nobody makes more of that than its whole octets.
		d.fault = d.fault || d.end && d.line > 0
		return endGroup(out[:n], groupOf(rest), len(rest)), nil
	}
	if err != nil || last && len(rest) > 0 || d.padded && len(d.clean) > 0 {
		d.fault = true
		out, rest = d.octets(out[:0], in, last)
		d.carry = len(rest)
		return out, rest
	}
	d.padded = d.padded || whole > 0 && d.clean[whole-1] == '='
	d.fault = d.fault || last && d.end && d.line > 0 || d.padded && len(rest) > 0
	d.carry = len(rest)
	return out[:n], rest
}

// endLine takes note of a line that has ended.
func (d *base64Decoder) endLine() {
	switch {
	case d.line == 0:
		d.end = d.end || d.started()
	case d.end:
		d.fault = true
	default:
		d.end = d.line&3 != 0
	}
	d.line = 0
}

// started reports whether anything of the body was seen.
func (d *base64Decoder) started() bool { return len(d.clean) > 0 || d.padded }

// octets decodes the block octet by octet.
func (d *base64Decoder) octets(out, in []byte, last bool) (decoded, rest []byte) {
	var group uint32
	n, behind := 0, -1
	for len(in) > 0 {
		line := cutLine(in)
		in = in[len(line):]
		if !isBase64(line) {
			if behind < 0 {
				behind = behindBase64(in)
			}
			if d.padded || n == 0 && len(out) > 0 && len(in) <= behind && bytes.IndexByte(bytes.TrimSpace(line), ' ') > 0 {
				d.done = true
				break
			}
		}
		for _, c := range line {
			v := base64Value[c]
			switch {
			case v < 64:
				if group, n = group<<6|uint32(v), n+1; n == 4 {
					out = append(out, byte(group>>16), byte(group>>8), byte(group))
					group, n = 0, 0
				}
			case v == 64:
				d.padded = d.padded || n > 1
				out = endGroup(out, group, n)
				group, n = 0, 0
			}
		}
	}
	if last || d.done {
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

// behindBase64 gives how many octets of a block lie behind its last line of base64: a text that somebody appended, if
// there is any.
func behindBase64(block []byte) int {
	behind := len(block)
	for at, left := 0, block; len(left) > 0; {
		line := cutLine(left)
		left, at = left[len(line):], at+len(line)
		if t := bytes.TrimSpace(line); len(t) >= 16 && isBase64(t) {
			behind = len(block) - at
		}
	}
	return behind
}

// groupOf gives the bits of fewer than four characters.
func groupOf(chars []byte) (group uint32) {
	for _, c := range chars {
		group = group<<6 | uint32(base64Value[c])
	}
	return group
}

// isBase64 reports whether a line has nothing but base64 and blanks.
func isBase64(line []byte) bool {
	for _, c := range bytes.TrimSpace(line) {
		if base64Value[c] == 255 {
			return false
		}
	}
	return true
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
