package tnef

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/postern-mail/postern/internal/archive"
	"github.com/postern-mail/postern/internal/archive/mapi"
)

// errEnds is the problem of properties that go on behind their end.
var errEnds = errors.New("its properties end early")

// prop is one value of a MAPI property.
type prop struct {
	id, kind uint32
	value    *archive.File // of those of variable length
	number   uint32        // of those of four octets
}

// cursor reads a file from its start.
type cursor struct {
	f   *archive.File
	at  int64
	buf []byte
	off int64 // where buf begins
	err error // of reading the file
}

// take gives the next n octets, at most 16, valid until the next call. It is nil at the end.
func (c *cursor) take(n int) []byte {
	if in := c.at - c.off; c.buf == nil || in < 0 || in+int64(n) > int64(len(c.buf)) {
		c.buf = make([]byte, 4096)
		got, err := c.f.ReadAt(c.buf, c.at)
		if err != nil && err != io.EOF {
			c.err = err
			return nil
		}
		c.buf, c.off = c.buf[:got], c.at
	}
	in := int(c.at - c.off)
	if in+n > len(c.buf) {
		return nil
	}
	c.at += int64(n)
	return c.buf[in : in+n]
}

func (c *cursor) number() (uint32, bool) {
	p := c.take(4)
	if p == nil {
		return 0, false
	}
	return binary.LittleEndian.Uint32(p), true
}

// skip passes over n octets and what fills them up to four.
func (c *cursor) skip(n int64) bool {
	c.at += (n + 3) &^ 3
	return c.at <= c.f.Size()+3
}

// sizes holds the octets of a value of fixed length, filled up to four (MS-OXTNEF 2.1.3.4).
var sizes = map[uint32]int64{
	0x0001: 0, 0x0002: 4, 0x0003: 4, 0x0004: 4, 0x0005: 8, 0x0006: 8, 0x0007: 8, 0x000a: 4, 0x000b: 4, 0x0014: 8,
	0x0040: 8, 0x0048: 16,
}

// properties calls visit for each value of the properties in f (MS-OXTNEF 2.1.3.4). Problem is what is wrong with them.
func properties(f *archive.File, visit func(prop) error) (problem, err error) {
	c := &cursor{f: f}
	count, ok := c.number()
	for ; ok && count > 0; count-- {
		problem, err := c.property(visit)
		if problem != nil || err != nil {
			return problem, err
		}
	}
	if c.err != nil {
		return nil, c.err
	}
	if !ok {
		return errEnds, nil
	}
	return nil, nil
}

func (c *cursor) property(visit func(prop) error) (problem, err error) {
	tag, ok := c.number()
	if !ok {
		return errEnds, c.err
	}
	p := prop{kind: tag & 0xffff, id: tag >> 16}
	if p.id >= 0x8000 && !c.name() {
		return errEnds, c.err
	}
	several := p.kind&mapi.Multiple != 0
	p.kind &^= mapi.Multiple
	size, fixed := sizes[p.kind]
	variable := p.kind == mapi.TypeString8 || p.kind == mapi.TypeUnicode || p.kind == mapi.TypeBinary || p.kind == mapi.TypeObject
	if !fixed && !variable {
		return fmt.Errorf("a property of the unknown type %#04x; what follows it can't be read", p.kind), nil
	}
	values := uint32(1)
	if several || variable {
		if values, ok = c.number(); !ok {
			return errEnds, c.err
		}
	}
	if fixed {
		return c.fixed(p, size, values, several, visit)
	}
	for ; values > 0; values-- {
		n, ok := c.number()
		if !ok {
			return errEnds, c.err
		}
		p.value = c.f.Section(c.at, int64(n))
		if err := visit(p); err != nil {
			return nil, err
		}
		if !c.skip(int64(n)) {
			return errEnds, nil
		}
	}
	return nil, nil
}

// fixed reads values of a fixed length. Only a single number is told of.
func (c *cursor) fixed(p prop, size int64, values uint32, several bool, visit func(prop) error) (problem, err error) {
	if several || size != 4 {
		if !c.skip(size * int64(values)) {
			return errEnds, nil
		}
		return nil, nil
	}
	if p.number, _ = c.number(); c.err != nil {
		return nil, c.err
	}
	return nil, visit(p)
}

// name passes over the name of a named property.
func (c *cursor) name() bool {
	if c.take(16) == nil {
		return false
	}
	kind, ok := c.number()
	if !ok {
		return false
	}
	n, ok := c.number()
	if !ok || kind == 0 {
		return ok
	}
	return c.skip(int64(n))
}
