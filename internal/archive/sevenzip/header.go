package sevenzip

import (
	"encoding/binary"
	"errors"
	"fmt"
	"unicode/utf16"
)

// The identifiers of properties (7zFormat.txt, "Property IDs").
const (
	idEnd          = 0x00
	idHeader       = 0x01
	idProperties   = 0x02
	idAdditional   = 0x03
	idMain         = 0x04
	idFiles        = 0x05
	idPackInfo     = 0x06
	idUnpackInfo   = 0x07
	idSubStreams   = 0x08
	idSize         = 0x09
	idCRC          = 0x0a
	idFolder       = 0x0b
	idUnpackSize   = 0x0c
	idNumUnpack    = 0x0d
	idEmptyStream  = 0x0e
	idEmptyFile    = 0x0f
	idNames        = 0x11
	idAttributes   = 0x15
	idEncoded      = 0x17
	maxItems       = 1 << 17 // of files, folders and streams
	maxCoders      = 32
	maxStreams     = 32
	maxPropertyLen = 1 << 16
)

var (
	errCut     = errors.New("the header is cut off")
	errForm    = errors.New("the header has an unknown form")
	errTooMany = errors.New("the header counts too many things")
)

// fields reads a header; after an error it gives zeros.
type fields struct {
	b   []byte
	err error
}

func (r *fields) fail(err error) {
	if r.err == nil {
		r.err = err
	}
	r.b = nil
}

func (r *fields) bytes(n uint64) []byte {
	if r.err != nil || n > uint64(len(r.b)) {
		r.fail(errCut)
		return nil
	}
	v := r.b[:n:n]
	r.b = r.b[n:]
	return v
}

func (r *fields) byte() byte {
	if v := r.bytes(1); v != nil {
		return v[0]
	}
	return 0
}

func (r *fields) uint32() uint32 {
	if v := r.bytes(4); v != nil {
		return binary.LittleEndian.Uint32(v)
	}
	return 0
}

// number reads a NUMBER: the ones that lead the first octet count the octets that follow (7zFormat.txt, "Data types").
func (r *fields) number() uint64 {
	first := r.byte()
	mask, v := byte(0x80), uint64(0)
	for i := range 8 {
		if first&mask == 0 {
			return v | uint64(first&(mask-1))<<(8*i)
		}
		v |= uint64(r.byte()) << (8 * i)
		mask >>= 1
	}
	return v
}

// count reads a number of things, each of which must be reasonable.
func (r *fields) count() int {
	n := r.number()
	if n > maxItems {
		r.fail(errTooMany)
		return 0
	}
	return int(n)
}

// bits reads n booleans, first in the highest bit.
func (r *fields) bits(n int) []bool {
	packed := r.bytes(uint64(n+7) / 8)
	v := make([]bool, n)
	if packed == nil {
		return v
	}
	for i := range v {
		v[i] = packed[i/8]&(0x80>>(i%8)) != 0
	}
	return v
}

// optionalBits reads n booleans with the octet before them that says that all are true.
func (r *fields) optionalBits(n int) []bool {
	if r.byte() == 0 {
		return r.bits(n)
	}
	v := make([]bool, n)
	for i := range v {
		v[i] = true
	}
	return v
}

func (r *fields) expect(id byte) {
	if r.byte() != id {
		r.fail(errForm)
	}
}

// skip passes over a property that says its size.
func (r *fields) skip() { r.bytes(r.number()) }

// file is one file of the archive.
type file struct {
	name  string
	named bool
	empty bool // it has no content
	dir   bool // it is a folder by the kind of its emptiness
	attr  uint32
}

// contents is what the header of an archive says.
type contents struct {
	streams *streams
	files   []file
}

// header reads a Header, after its identifier.
func (r *fields) header() *contents {
	c := &contents{streams: &streams{}}
	id := r.byte()
	if id == idProperties {
		for r.err == nil && r.byte() != idEnd {
			r.skip()
		}
		id = r.byte()
	}
	if id == idAdditional {
		r.streams()
		id = r.byte()
	}
	if id == idMain {
		c.streams = r.streams()
		id = r.byte()
	}
	if id == idFiles {
		c.files = r.files()
		id = r.byte()
	}
	if id != idEnd {
		r.fail(errForm)
	}
	return c
}

func (r *fields) files() []file {
	n := r.count()
	if r.err != nil {
		return nil
	}
	files := make([]file, n)
	empty := 0
	for r.err == nil {
		id := r.number()
		if id == idEnd {
			break
		}
		p := &fields{b: r.bytes(r.number())}
		switch id {
		case idEmptyStream:
			for i, is := range p.bits(n) {
				files[i].empty, files[i].dir = is, is
				if is {
					empty++
				}
			}
		case idEmptyFile:
			p.emptyFiles(files, empty)
		case idNames:
			p.names(files)
		case idAttributes:
			p.attributes(files)
		}
		if r.err == nil && p.err != nil {
			r.fail(fmt.Errorf("property %#x: %w", id, p.err))
		}
	}
	return files
}

// emptyFiles tells the empty files from the folders.
func (r *fields) emptyFiles(files []file, empty int) {
	bits := r.bits(empty)
	for i := range files {
		if files[i].empty && len(bits) > 0 {
			files[i].dir = !bits[0]
			bits = bits[1:]
		}
	}
}

func (r *fields) names(files []file) {
	if r.byte() != 0 {
		r.fail(errForm)
		return
	}
	var units []uint16
	for i := range files {
		units = units[:0]
		for {
			b := r.bytes(2)
			if b == nil {
				return
			}
			u := binary.LittleEndian.Uint16(b)
			if u == 0 {
				break
			}
			units = append(units, u)
		}
		files[i].name, files[i].named = string(utf16.Decode(units)), true
	}
}

func (r *fields) attributes(files []file) {
	known := r.optionalBits(len(files))
	if r.byte() != 0 {
		r.fail(errForm)
	}
	for i := range files {
		if known[i] {
			files[i].attr = r.uint32()
		}
	}
}
