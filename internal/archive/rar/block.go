package rar

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"strings"
	"unicode/utf16"

	"github.com/postern-mail/postern/internal/archive/tell"
)

// block is one block of an archive.
type block struct {
	what       what
	head       []byte // the whole header
	data       int64  // place of what follows the header
	packed     uint64 // octets that follow the header
	next       bool   // where it is the end: the archive goes on in another file
	volume     bool   // where it is the start: the archive is one of several files
	solid      bool   // it needs what was unpacked before it
	locked     bool   // it is encrypted
	dir        bool
	continues  bool // it began in another file
	unfinished bool // it ends in another file
	names      []string
	size       int64  // unpacked, -1 when it is not known
	link       string // target, where the header has it
	linked     bool   // its content is the target of a link
	stored     bool
	models     bool // it may be packed by PPMd, whose model takes as much memory as its data says
}

// what is the kind of a block.
type what int

const (
	other   what = iota // of no matter
	start               // what the archive is
	member              // a file
	service             // something that belongs to a file or the archive, named in names
	cipher              // what follows is encrypted
	finish              // the end
	unknown             // of no kind that is known
)

var (
	errCut      = errors.New("it is cut off")
	errForm     = errors.New("a header has an unknown form")
	errChecksum = errors.New("the checksum of a header is wrong")
)

// fields reads the fields of a header; bad is set when they end too early.
type fields struct {
	b   []byte
	bad bool
}

func (r *fields) bytes(n uint64) []byte {
	if n > uint64(len(r.b)) {
		r.bad, r.b = true, nil
		return nil
	}
	v := r.b[:n]
	r.b = r.b[n:]
	return v
}

func (r *fields) byte() byte {
	if v := r.bytes(1); v != nil {
		return v[0]
	}
	return 0
}

func (r *fields) uint16() uint16 {
	if v := r.bytes(2); v != nil {
		return binary.LittleEndian.Uint16(v)
	}
	return 0
}

func (r *fields) uint32() uint32 {
	if v := r.bytes(4); v != nil {
		return binary.LittleEndian.Uint32(v)
	}
	return 0
}

// vint reads a number of seven bits in each octet, the lowest first (RAR 5.0 technote, "Data types").
func (r *fields) vint() (v uint64) {
	for shift := 0; shift < 64; shift += 7 {
		b := r.byte()
		v |= uint64(b&0x7f) << shift
		if b&0x80 == 0 {
			return v
		}
	}
	r.bad = true
	return 0
}

// The types of RAR 5.0 blocks and the flags of their headers (RAR 5.0 technote, "General archive structure").
const (
	extra5      = 0x0001
	data5       = 0x0002
	skippable5  = 0x0004
	continues5  = 0x0008
	unfinished5 = 0x0010
)

// parse5 reads the header of a RAR 5.0 block: all of its octets from the checksum on. Pre is how many of them come
// before what the size counts.
func parse5(head []byte, pre int) (*block, error) {
	if binary.LittleEndian.Uint32(head) != crc32.ChecksumIEEE(head[4:]) {
		return nil, errChecksum
	}
	r := &fields{b: head[pre:]}
	kind, flags := r.vint(), r.vint()
	k := &block{head: head}
	extra := uint64(0)
	if flags&extra5 != 0 {
		extra = r.vint()
	}
	if flags&data5 != 0 {
		k.packed = r.vint()
	}
	if r.bad || extra > uint64(len(r.b)) {
		return nil, errForm
	}
	body := &fields{b: r.b[:uint64(len(r.b))-extra]}
	records := &fields{b: r.b[uint64(len(r.b))-extra:]}
	switch kind {
	case 1:
		k.what = start
		main := body.vint()
		k.volume, k.solid = main&1 != 0, main&4 != 0
	case 2, 3:
		k.what = member
		if kind == 3 {
			k.what = service
		}
		k.continues, k.unfinished = flags&continues5 != 0, flags&unfinished5 != 0
		k.file5(body)
		k.records5(records)
	case 4:
		k.what = cipher
	case 5:
		k.what = finish
		k.next = body.vint()&1 != 0
	default:
		if flags&skippable5 == 0 {
			k.what = unknown
		}
	}
	if body.bad {
		return nil, errForm
	}
	return k, nil
}

// file5 reads what a file header or service header says (RAR 5.0 technote, "File header and service header").
func (k *block) file5(r *fields) {
	flags := r.vint()
	k.dir = flags&1 != 0
	k.size = int64(min(r.vint(), 1<<62))
	if flags&8 != 0 {
		k.size = -1
	}
	r.vint() // attributes
	if flags&2 != 0 {
		r.uint32()
	}
	if flags&4 != 0 {
		r.uint32()
	}
	method := r.vint()
	k.solid, k.stored = method&0x40 != 0, method&0x380 == 0
	r.vint() // the system
	k.names = tell.Names(r.bytes(r.vint()))
}

// records5 reads the extra area of a file.
func (k *block) records5(r *fields) {
	for len(r.b) > 0 {
		record := &fields{b: r.bytes(r.vint())}
		if r.bad {
			return
		}
		switch record.vint() {
		case 1:
			k.locked = true
		case 5:
			record.vint() // kind of the link
			record.vint()
			k.link = string(record.bytes(record.vint()))
		}
	}
}

// The types of blocks up to RAR 4, and flags of files.
const (
	start4      = 0x73
	file4       = 0x74
	stream4     = 0x77
	service4    = 0x7a
	finish4     = 0x7b
	continues4  = 0x0001
	unfinished4 = 0x0002
	locked4     = 0x0004
	solid4      = 0x0010
	dir4        = 0x00e0
	large4      = 0x0100
	unicode4    = 0x0200
	version4    = 0x0800
	data4       = 0x8000
)

// parse4 reads the header of a block up to RAR 4.
func parse4(head []byte) (*block, error) {
	r := &fields{b: head}
	sum, kind, flags := r.uint16(), r.byte(), r.uint16()
	r.uint16() // its size
	k := &block{head: head}
	if flags&data4 != 0 || kind == file4 || kind == service4 {
		k.packed = uint64(r.uint32())
	}
	right := uint16(crc32.ChecksumIEEE(head[2:])) == sum
	switch kind {
	case start4:
		k.what = start
		k.volume, k.solid = flags&1 != 0, flags&8 != 0
		if flags&0x80 != 0 {
			k.what = cipher
		}
		right = right || flags&2 != 0
	case file4, service4:
		k.what = member
		if kind == service4 {
			k.what = service
		}
		k.file4(r, flags)
		right = right || flags&8 != 0 // the sum leaves a comment out, which another reader checks
	case stream4:
		if r.uint16() == 0x105 {
			k.what, k.names = service, []string{"STM"}
		}
		right = true
	case finish4:
		k.what = finish
		k.next = flags&1 != 0
	case 0x75, 0x76, 0x78, 0x79: // a comment, a proof of authenticity, data for recovery, a signature
		right = true
	default:
		k.what = unknown
	}
	switch {
	case !right:
		return nil, errChecksum
	case r.bad:
		return nil, errForm
	}
	return k, nil
}

// file4 reads what the header of a file says after the packed size.
func (k *block) file4(r *fields, flags uint16) {
	k.continues, k.unfinished = flags&continues4 != 0, flags&unfinished4 != 0
	k.locked, k.solid, k.dir = flags&locked4 != 0, flags&solid4 != 0, flags&dir4 == dir4
	size := uint64(r.uint32())
	system := r.byte()
	r.uint32() // checksum
	r.uint32() // time
	version := r.byte()
	k.stored = r.byte() == 0x30
	k.models = !k.stored && version >= 29
	length := r.uint16()
	attr := r.uint32()
	if flags&large4 != 0 {
		k.packed |= uint64(r.uint32()) << 32
		size |= uint64(r.uint32()) << 32
	}
	k.size = int64(min(size, 1<<62))
	if uint32(size) == 1<<32-1 {
		k.size = -1
	}
	k.linked = system == 3 && attr&0xf000 == 0xa000
	raw := r.bytes(uint64(length))
	if flags&unicode4 != 0 {
		k.names = unicodeNames(raw)
	} else {
		k.names = tell.Names(raw)
	}
	for i, name := range k.names {
		k.names[i] = strings.ReplaceAll(name, `\`, "/") // what separates folders up to RAR 4
	}
	if flags&version4 != 0 && len(k.names) > 0 {
		if i := strings.LastIndexByte(k.names[0], ';'); i > 0 {
			k.names = tell.Add(k.names, k.names[0][:i])
		}
	}
}

// unicodeNames gives the readings of a name with its Unicode form: UTF-8, or a name of the system's character set,
// a zero, and what must be changed of it.
func unicodeNames(raw []byte) []string {
	plain, packed, two := strings.Cut(string(raw), "\x00")
	if !two {
		return tell.Names(raw)
	}
	r := &fields{b: []byte(packed)}
	high := uint16(r.byte()) << 8
	var units []uint16
	flags, left := byte(0), 0
	for len(r.b) > 0 && len(units) < len(plain)+len(packed) {
		if left == 0 {
			flags, left = r.byte(), 4
			continue
		}
		switch flags >> 6 {
		case 0:
			units = append(units, uint16(r.byte()))
		case 1:
			units = append(units, uint16(r.byte())|high)
		case 2:
			units = append(units, r.uint16())
		case 3:
			units = unicodeRun(units, plain, r, high)
		}
		flags <<= 2
		left--
	}
	names := []string{}
	if !r.bad {
		names = tell.Add(names, string(utf16.Decode(units)))
	}
	return tell.Add(names, tell.Names([]byte(plain))...)
}

// unicodeRun takes a run of the plain name, which may be moved to another page.
func unicodeRun(units []uint16, plain string, r *fields, high uint16) []uint16 {
	n := r.byte()
	move, page := byte(0), uint16(0)
	if n&0x80 != 0 {
		move, page = r.byte(), high
	}
	for range int(n&0x7f) + 2 {
		if len(units) >= len(plain) {
			break
		}
		units = append(units, uint16(plain[len(units)]+move)|page)
	}
	return units
}
