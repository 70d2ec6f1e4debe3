package sealed

import (
	"errors"
	"io"

	"github.com/postern-mail/postern/internal/archive"
)

var (
	errBER  = errors.New("its ASN.1 can't be read")
	errCut  = errors.New("it ends early")
	errDeep = errors.New("its ASN.1 is nested too deeply")
)

// ASN.1 tags of the universal class (X.680 8.4), and the bits of an identifier octet (X.690 8.1.2).
const (
	tagOctets   = 0x04
	tagOID      = 0x06
	tagSequence = 0x30
	tagSet      = 0x31
	tagExplicit = 0xa0 // [0]
	constructed = 0x20
)

// nesting is how deep elements of indefinite length, and the pieces of strings, may lie in one another.
const nesting = 32

// element is one element of BER.
type element struct {
	tag        byte // the identifier octet; high tag numbers are not told apart
	start      int64
	content    int64
	end        int64 // of the content; where it is indefinite, that of what it lies in
	indefinite bool
	cut        bool // it says that it goes on behind that
}

func (e element) isEnd() bool { return e.tag == 0 && e.content == e.end && !e.indefinite }

// ber reads elements of a file.
type ber struct {
	f   *archive.File
	buf []byte
	off int64
	err error // of reading the file
}

// octets gives up to n octets at a place, from a window of the file.
func (b *ber) octets(at, n int64) []byte {
	if in := at - b.off; b.buf == nil || in < 0 || in+n > int64(len(b.buf)) {
		b.buf = make([]byte, 1024)
		got, err := b.f.ReadAt(b.buf, at)
		if err != nil && err != io.EOF {
			b.err = err
		}
		b.buf, b.off = b.buf[:got], at
	}
	in := at - b.off
	return b.buf[in:min(in+n, int64(len(b.buf)))]
}

// read gives the element at a place (X.690 8.1). One that goes on behind limit is cut there.
func (b *ber) read(at, limit int64) (element, error) {
	p := b.octets(at, 16)
	p = p[:max(0, min(int64(len(p)), limit-at))]
	if len(p) < 2 {
		return element{}, errCut
	}
	e := element{tag: p[0], start: at}
	i := 1
	if p[0]&0x1f == 0x1f {
		for i < len(p) && p[i]&0x80 != 0 {
			i++
		}
		i++
	}
	if i >= len(p) {
		return element{}, errBER
	}
	size, more := int64(p[i]), 0
	i++
	if size == 0x80 {
		e.indefinite = true
		e.content, e.end = at+int64(i), limit
		if e.tag&constructed == 0 {
			return element{}, errBER
		}
		return e, nil
	}
	if size > 0x80 {
		more, size = int(size&0x7f), 0
		for ; more > 0 && i < len(p); more, i = more-1, i+1 {
			if size > 1<<47 {
				return element{}, errBER
			}
			size = size<<8 | int64(p[i])
		}
		if more > 0 {
			return element{}, errBER
		}
	}
	e.content = at + int64(i)
	e.end = min(e.content+size, max(limit, e.content))
	e.cut = e.end < e.content+size
	return e, nil
}

// after gives the place behind an element.
func (b *ber) after(e element, depth int) (int64, error) {
	if !e.indefinite {
		return e.end, nil
	}
	if depth > nesting {
		return 0, errDeep
	}
	at := e.content
	for {
		c, err := b.read(at, e.end)
		if err != nil {
			return 0, err
		}
		if c.isEnd() {
			return c.end, nil
		}
		if at, err = b.after(c, depth+1); err != nil {
			return 0, err
		}
	}
}

// children calls visit for each element within one, until it says that it has seen enough.
func (b *ber) children(e element, visit func(element) (more bool, err error)) error {
	for at := e.content; at < e.end; {
		c, err := b.read(at, e.end)
		if err != nil {
			return err
		}
		if e.indefinite && c.isEnd() {
			return nil
		}
		if more, err := visit(c); !more || err != nil {
			return err
		}
		if at, err = b.after(c, 0); err != nil {
			return err
		}
	}
	return nil
}

// oid gives the octets of an object identifier.
func (b *ber) oid(e element) string {
	return string(b.octets(e.content, min(e.end-e.content, 64)))
}

// pieces reads the content of an octet string, which may be in pieces, and those in pieces again (X.690 8.7).
type pieces struct {
	w     *walker
	b     *ber
	r     io.Reader // the piece
	at    int64
	outer []element
	first element
	begun bool
	cut   bool
}

func (p *pieces) Read(out []byte) (int, error) {
	if !p.begun {
		p.begun = true
		if err := p.enter(p.first); err != nil {
			return 0, err
		}
	}
	for {
		if p.r != nil {
			if n, err := p.r.Read(out); n > 0 || err != io.EOF {
				return n, err
			}
			if p.r = nil; p.cut {
				return 0, errCut
			}
		}
		if len(p.outer) == 0 {
			return 0, io.EOF
		}
		in := p.outer[len(p.outer)-1]
		if p.at >= in.end && !in.indefinite {
			p.outer = p.outer[:len(p.outer)-1]
			continue
		}
		e, err := p.b.read(p.at, in.end)
		if p.b.err != nil {
			p.w.read = p.b.err
			return 0, p.b.err
		}
		if err != nil {
			return 0, err
		}
		if in.indefinite && e.isEnd() {
			p.at, p.outer = e.end, p.outer[:len(p.outer)-1]
			continue
		}
		if err := p.enter(e); err != nil {
			return 0, err
		}
	}
}

func (p *pieces) enter(e element) error {
	switch {
	case e.tag&^constructed != tagOctets:
		return errBER
	case e.tag&constructed != 0 && len(p.outer) >= nesting:
		return errDeep
	case e.tag&constructed != 0:
		p.outer = append(p.outer, e)
		p.at = e.content
	default:
		p.r, p.at, p.cut = p.w.source(p.b.f.Section(e.content, e.end-e.content).Reader()), e.end, e.cut
	}
	return nil
}
