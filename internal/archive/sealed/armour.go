package sealed

import (
	"bufio"
	"bytes"
	"io"
)

const beginMark, endMark = "-----BEGIN ", "-----"

// isCMSLabel knows the labels of CMS among those of RFC 7468 and what older programs write.
func isCMSLabel(label []byte) bool {
	return bytes.HasPrefix(label, []byte("PKCS7")) || bytes.HasPrefix(label, []byte("PKCS #7")) || bytes.HasPrefix(label, []byte("CMS"))
}

// armour reads the blocks of base64 between lines with dashes, in the forms of PEM (RFC 7468) and OpenPGP
// (RFC 9580 6.2). As a reader it gives the octets of the block that next has found.
type armour struct {
	lines *bufio.Reader
	line  []byte // a line with dashes that ended a block and has not been looked at
	base64
	header bool // at the start of a block, where fields may stand
	ended  bool
	whole  bool // the line before was whole, so that a new one begins
}

func newArmour(r io.Reader) *armour {
	a := &armour{lines: bufio.NewReaderSize(r, 64<<10), ended: true, whole: true}
	a.base64.more = a.next64
	return a
}

// read gives the next line, or piece of a line that is too long, and whether a line begins with it.
func (a *armour) read() (line []byte, first bool, err error) {
	line, err = a.lines.ReadSlice('\n')
	first, a.whole = a.whole, err == nil
	if err == bufio.ErrBufferFull || err == io.EOF && len(line) > 0 {
		err = nil
	}
	return bytes.TrimRight(line, " \t\r\n"), first, err
}

// next goes to the next block and gives its label. The error is of reading.
func (a *armour) next() (label []byte, ok bool, err error) {
	for {
		line, first := a.line, true
		if a.line = nil; line == nil {
			if line, first, err = a.read(); err == io.EOF {
				return nil, false, nil
			} else if err != nil {
				return nil, false, err
			}
		}
		label, found := bytes.CutPrefix(line, []byte(beginMark))
		if !first || !found {
			continue
		}
		a.base64 = base64{more: a.next64}
		a.header, a.ended = true, false
		return bytes.Clone(label), true, nil
	}
}

// next64 gives the next line of base64 of the block.
func (a *armour) next64() ([]byte, error) {
	for !a.ended {
		line, first, err := a.read()
		if err != nil {
			a.ended = true
			return nil, err
		}
		switch {
		case first && bytes.HasPrefix(line, []byte(endMark)):
			a.ended, a.line = true, bytes.Clone(line)
		case first && len(line) == 0:
			a.header = false
		case first && a.header && bytes.IndexByte(line, ':') > 0:
		case first && len(line) == 5 && line[0] == '=':
			// The checksum of OpenPGP. What comes behind it is not looked at by its readers.
			a.header = false
		case len(line) > 0:
			return line, nil
		}
	}
	return nil, io.EOF
}

// base64 decodes lines, passing over what is none.
type base64 struct {
	more  func() ([]byte, error)
	bits  uint32
	count int
	buf   []byte
	out   []byte
}

// newBase64 decodes all of r.
func newBase64(r io.Reader) io.Reader {
	lines := bufio.NewReaderSize(r, 64<<10)
	block := make([]byte, 32<<10)
	return &base64{more: func() ([]byte, error) {
		n, err := lines.Read(block)
		return block[:n], err
	}}
}

func (b *base64) Read(p []byte) (int, error) {
	for len(b.out) == 0 {
		line, err := b.more()
		if len(line) == 0 && err != nil {
			return 0, err
		}
		b.buf = b.buf[:0]
		for _, c := range line {
			v := value64(c)
			if c == '=' {
				b.bits, b.count = 0, 0
			}
			if v < 0 {
				continue
			}
			b.bits, b.count = b.bits<<6|uint32(v), b.count+6
			if b.count >= 8 {
				b.count -= 8
				b.buf = append(b.buf, byte(b.bits>>b.count))
			}
		}
		b.out = b.buf
	}
	n := copy(p, b.out)
	b.out = b.out[n:]
	return n, nil
}

func value64(c byte) int {
	switch {
	case c >= 'A' && c <= 'Z':
		return int(c - 'A')
	case c >= 'a' && c <= 'z':
		return int(c-'a') + 26
	case c >= '0' && c <= '9':
		return int(c-'0') + 52
	case c == '+':
		return 62
	case c == '/':
		return 63
	}
	return -1
}

// isBase64 reports whether a text begins with base64 of CMS.
func isBase64(head []byte) bool {
	head = bytes.TrimLeft(head, " \t\r\n")
	head = head[:min(len(head), 256)]
	der := make([]byte, 64)
	n, _ := io.ReadFull(newBase64(bytes.NewReader(head)), der)
	return len(head) > 1 && head[0] == 'M' && isDER(der[:n])
}

// hasLabel reports whether a line of the text begins a block with a label that is right.
func hasLabel(head []byte, right func(label []byte) bool) bool {
	for at := 0; ; {
		i := bytes.Index(head[at:], []byte(beginMark))
		if i < 0 {
			return false
		}
		at += i
		if (at == 0 || head[at-1] == '\n' || head[at-1] == '\r') && right(head[at+len(beginMark):]) {
			return true
		}
		at += len(beginMark)
	}
}
