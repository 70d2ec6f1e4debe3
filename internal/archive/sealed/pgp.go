package sealed

import (
	"bufio"
	"bytes"
	"compress/bzip2"
	"compress/flate"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/postern-mail/postern/internal/archive"
	"github.com/postern-mail/postern/internal/archive/tell"
)

// The packets that matter (RFC 9580 5).
const (
	packetPublicSession = 1
	packetSecretSession = 3
	packetCompressed    = 8
	packetEncrypted     = 9
	packetLiteral       = 11
	packetProtected     = 18
	packetAEAD          = 20
)

// IsPGP reports whether a file that begins with head is an OpenPGP message: armoured anywhere in it, or in binary.
func IsPGP(head []byte) bool {
	return hasLabel(head, func(label []byte) bool { return bytes.HasPrefix(label, []byte("PGP MESSAGE")) }) || isPackets(head)
}

// isPackets reports whether head begins with a packet of a message: one of the right tag, and with a version, an
// algorithm or a form that is known.
func isPackets(head []byte) bool {
	p := &packets{r: bufio.NewReader(bytes.NewReader(head))}
	tag, body, err := p.next()
	if err != nil {
		return false
	}
	var first [16]byte
	n, _ := io.ReadFull(body, first[:])
	if n < 2 || body.last && body.left+int64(n) < 8 && tag != packetCompressed {
		return false
	}
	switch tag {
	case packetPublicSession:
		const algorithm = 9
		return first[0] == 3 && n > algorithm && first[algorithm] >= 1 && first[algorithm] <= 27 || first[0] == 6
	case packetSecretSession:
		return first[0] >= 4 && first[0] <= 6 && first[1] >= 1 && first[1] <= 30
	case packetCompressed:
		return isCompressed(first[:n], body)
	case packetLiteral:
		return bytes.IndexByte([]byte("btuml1"), first[0]) >= 0
	case packetProtected:
		return first[0] == 1 || first[0] == 2 && first[1] >= 1 && first[1] <= 30
	case packetAEAD:
		return first[0] == 1 && first[1] >= 1 && first[1] <= 30
	case 4: // one-pass signature, before what it signs
		return first[0] == 3 && first[1] <= 1 || first[0] == 6
	}
	return false
}

// isCompressed reports whether the compressed packet that begins with first, and goes on with rest, has a packet in it.
func isCompressed(first []byte, rest io.Reader) bool {
	in := io.MultiReader(bytes.NewReader(first[1:]), rest)
	switch first[0] {
	case 0:
	case 1:
		in = flate.NewReader(in)
	case 2:
		in = inflated(in)
	case 3:
		return bytes.HasPrefix(first[1:], []byte("BZh")) // its blocks are larger than what is at hand
	default:
		return false
	}
	var inner [1]byte
	if _, err := io.ReadFull(in, inner[:]); err != nil {
		return false
	}
	tag := inner[0] & 0x3f
	if inner[0]&0x40 == 0 {
		tag = inner[0] >> 2 & 15
	}
	return inner[0]&0x80 != 0 && tag != 0 && tag <= 21
}

var (
	errPacket   = errors.New("what should be a packet is none")
	errNested   = errors.New("it is compressed too many times over")
	errNoPacket = errors.New("there is no packet in it")
)

// packets reads one packet after the other (RFC 9580 4).
type packets struct {
	r *bufio.Reader
}

// body reads the body of a packet.
type body struct {
	r    *bufio.Reader
	left int64 // octets of this piece; -1 for all that come
	last bool  // it is the last piece
}

// next gives the next packet; the body of the one before must have been read. It is io.EOF at the end.
func (p *packets) next() (tag int, b *body, err error) {
	c, err := p.r.ReadByte()
	if err != nil {
		return 0, nil, err
	}
	b = &body{r: p.r, last: true}
	switch {
	case c&0x80 == 0:
		return 0, nil, errPacket
	case c&0x40 != 0:
		return int(c & 0x3f), b, b.piece()
	}
	tag = int(c >> 2 & 15)
	if c&3 == 3 {
		b.left = -1
		return tag, b, nil
	}
	b.left, err = number(p.r, 1<<(c&3))
	return tag, b, err
}

func number(r io.Reader, octets int) (n int64, err error) {
	var buf [4]byte
	if _, err := io.ReadFull(r, buf[4-octets:]); err != nil {
		return 0, io.ErrUnexpectedEOF
	}
	return int64(binary.BigEndian.Uint32(buf[:])), nil
}

// piece reads a length of the new form (RFC 9580 4.2.1).
func (b *body) piece() error {
	first, err := number(b.r, 1)
	if err != nil {
		return err
	}
	b.last = true
	switch {
	case first < 192:
		b.left = first
	case first < 224:
		second, err := number(b.r, 1)
		b.left = (first-192)<<8 + second + 192
		return err
	case first == 255:
		b.left, err = number(b.r, 4)
		return err
	default:
		b.left, b.last = 1<<(first&31), false
	}
	return nil
}

func (b *body) Read(p []byte) (int, error) {
	for b.left == 0 {
		if b.last {
			return 0, io.EOF
		}
		if err := b.piece(); err != nil {
			return 0, err
		}
	}
	if b.left < 0 {
		return b.r.Read(p)
	}
	n, err := b.r.Read(p[:min(int64(len(p)), b.left)])
	if b.left -= int64(n); err == io.EOF && n == 0 {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// pgp reads the packets of a message.
func (w *walker) pgp(r io.Reader) error {
	problem, err := w.message(w.source(r), 0)
	if err != nil {
		return err
	}
	switch {
	case problem == io.ErrUnexpectedEOF:
		problem = errCut
	case problem == nil:
		return nil
	}
	if w.secret && w.read == nil {
		return nil // whatever is wrong with it, nobody here can read it
	}
	return w.problem("OpenPGP", problem)
}

// message reads packets to the end. Problem is what is wrong with them.
func (w *walker) message(r io.Reader, depth int) (problem, err error) {
	p := &packets{r: bufio.NewReader(r)}
	for count := 0; ; count++ {
		if err := w.ctx.Err(); err != nil {
			return nil, err
		}
		tag, b, problem := p.next()
		switch {
		case w.read != nil:
			return nil, w.read
		case problem == io.EOF && count > 0:
			return nil, nil
		case problem == io.EOF:
			return errNoPacket, nil
		case problem != nil:
			return problem, nil
		}
		switch tag {
		case packetPublicSession, packetSecretSession, packetEncrypted, packetProtected, packetAEAD:
			w.secret = true
			err = w.t.Sign(archive.Sealed, "OpenPGP: it is encrypted for its recipient")
		case packetLiteral:
			problem, err = w.literal(b)
		case packetCompressed:
			problem, err = w.decompressed(b, depth)
		}
		if problem != nil || err != nil {
			return problem, err
		}
		// Who compresses what nobody looks at makes us work all the same.
		n, problem := io.Copy(io.Discard, b)
		switch {
		case w.read != nil:
			return nil, w.read
		case problem != nil:
			return problem, nil
		case depth > 0:
			if problem := w.b.Spend(n + 1); problem != nil {
				return problem, nil
			}
		}
	}
}

// literal gives the content of a literal packet (RFC 9580 5.9).
func (w *walker) literal(b *body) (problem, err error) {
	var head [2 + 255 + 4]byte
	if _, problem := io.ReadFull(b, head[:2]); problem != nil {
		return io.ErrUnexpectedEOF, nil
	}
	name := head[2 : 2+int(head[1])]
	if _, problem := io.ReadFull(b, head[2:2+len(name)+4]); problem != nil {
		return io.ErrUnexpectedEOF, nil
	}
	e := &archive.Entry{Size: -1}
	if string(name) != "_CONSOLE" { // RFC 4880 5.9: a remark for the reader
		e.Names = tell.AddRaw(nil, name)
	}
	if head[0] == 'm' {
		e.Type = Entity
	}
	return nil, w.entry(e, b)
}

// decompressed reads the packets in a compressed one (RFC 9580 5.6).
func (w *walker) decompressed(b *body, depth int) (problem, err error) {
	if depth >= deepest {
		return errNested, nil
	}
	method, problem := number(b, 1)
	if problem != nil {
		return problem, nil
	}
	var in io.Reader
	switch method {
	case 0:
		in = b
	case 1:
		in = flate.NewReader(b)
	case 2:
		in = inflated(b)
	case 3:
		in = bzip2.NewReader(b)
	default:
		return fmt.Errorf("it is compressed by the unknown method %d", method), nil
	}
	return w.message(in, depth+1)
}
