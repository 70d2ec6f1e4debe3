package zip

import (
	"encoding/binary"
	"io"
)

// Signatures of the records of a zip archive (APPNOTE 4.3).
const (
	sigLocal     = "PK\x03\x04"
	sigCentral   = "PK\x01\x02"
	sigEnd       = "PK\x05\x06"
	sigEnd64     = "PK\x06\x06"
	sigLocator64 = "PK\x06\x07"
	sigData      = "PK\x07\x08" // data descriptor, and marker of a spanned archive
	sigDecrypt   = "PK\x06\x08" // archive extra data record of an encrypted directory
)

// Sizes of the fixed part of records.
const (
	lenLocal     = 30
	lenCentral   = 46
	lenEnd       = 22
	lenEnd64     = 56
	lenLocator64 = 20
)

// General purpose flags (APPNOTE 4.4.4).
const (
	flagEncrypted  = 1 << 0
	flagMarked     = 1 << 1 // of LZMA
	flagDescriptor = 1 << 3
	flagStrong     = 1 << 6
	flagUTF8       = 1 << 11
	flagMasked     = 1 << 13
)

// saturated marks a field of 32 bits whose value stands in the zip64 extra field (APPNOTE 4.5.3).
const saturated = 1<<32 - 1

// record is what one header, local or central, says of a file.
type record struct {
	flags, method uint16
	crc           uint32
	packed, size  int64
	name          []byte
	unicode       []byte // of the Unicode Path extra field
	aes           bool
	end           int64 // where the header ends: of a local one, where its data begins

	// Only a central header knows these.
	local  int64 // offset of the local header
	disk   int64
	unix   bool
	mode   uint16 // file mode under Unix
	folder bool   // by the attributes of DOS
}

// encrypted reports whether the content needs a password (APPNOTE 4.4.4, AE-x specification).
func (r *record) encrypted() bool {
	return r.flags&(flagEncrypted|flagStrong|flagMasked) != 0 || r.method == methodAES || r.aes
}

// readLocal reads the local header at an offset (APPNOTE 4.3.7). There is none without the signature.
func (p *parser) readLocal(at int64) (*record, error) {
	fixed, err := p.read(at, lenLocal)
	if err != nil || len(fixed) < lenLocal || string(fixed[:4]) != sigLocal {
		return nil, err
	}
	le := binary.LittleEndian
	r := &record{
		flags:  le.Uint16(fixed[6:]),
		method: le.Uint16(fixed[8:]),
		crc:    le.Uint32(fixed[14:]),
		packed: int64(le.Uint32(fixed[18:])),
		size:   int64(le.Uint32(fixed[22:])),
	}
	n, m := int(le.Uint16(fixed[26:])), int(le.Uint16(fixed[28:]))
	rest, err := p.read(at+lenLocal, n+m)
	if err != nil {
		return nil, err
	}
	if len(rest) < n+m {
		p.say(unreadable, "cut", "the archive is cut off in the header of a file")
	}
	r.name = rest[:min(n, len(rest))]
	r.readExtra(rest[len(r.name):], nil)
	r.end = at + lenLocal + int64(n+m)
	return r, nil
}

// readCentral reads the central header at an offset (APPNOTE 4.3.12). There is none without the signature.
func (p *parser) readCentral(at int64) (*record, error) {
	fixed, err := p.read(at, lenCentral)
	if err != nil || len(fixed) < lenCentral || string(fixed[:4]) != sigCentral {
		return nil, err
	}
	le := binary.LittleEndian
	r := &record{
		flags:  le.Uint16(fixed[8:]),
		method: le.Uint16(fixed[10:]),
		crc:    le.Uint32(fixed[16:]),
		packed: int64(le.Uint32(fixed[20:])),
		size:   int64(le.Uint32(fixed[24:])),
		disk:   int64(le.Uint16(fixed[34:])),
		local:  int64(le.Uint32(fixed[42:])),
	}
	attributes := le.Uint32(fixed[38:])
	// Made under Unix or macOS: the upper half is the mode (APPNOTE 4.4.2).
	r.unix = fixed[5] == 3 || fixed[5] == 19
	r.mode = uint16(attributes >> 16)
	r.folder = attributes&0x10 != 0
	n, m, c := int(le.Uint16(fixed[28:])), int(le.Uint16(fixed[30:])), int(le.Uint16(fixed[32:]))
	rest, err := p.read(at+lenCentral, n+m)
	if err != nil {
		return nil, err
	}
	if len(rest) < n+m {
		p.say(unreadable, "cut", "the archive is cut off in its directory")
	}
	r.name = rest[:min(n, len(rest))]
	r.readExtra(rest[len(r.name):], &r.local)
	r.end = at + lenCentral + int64(n+m+c)
	return r, nil
}

// Extra fields (APPNOTE 4.5, 4.6).
const (
	extraZip64   = 0x0001
	extraUnicode = 0x7075
	extraAES     = 0x9901
)

// readExtra reads the extra fields that change what the header says. Only a central header has an offset.
func (r *record) readExtra(extra []byte, offset *int64) {
	le := binary.LittleEndian
	for len(extra) >= 4 {
		id, n := le.Uint16(extra), int(le.Uint16(extra[2:]))
		extra = extra[4:]
		if n > len(extra) {
			return
		}
		field := extra[:n]
		extra = extra[n:]
		switch id {
		case extraZip64:
			r.readZip64(field, offset)
		case extraUnicode:
			// APPNOTE 4.6.9: a version and the checksum of the other name, then the name. Not all readers check the sum.
			if len(field) > 5 {
				r.unicode = field[5:]
			}
		case extraAES:
			r.aes = true
		}
	}
}

// readZip64 takes the fields that are saturated, in their order (APPNOTE 4.5.3).
func (r *record) readZip64(field []byte, offset *int64) {
	take := func(v *int64) {
		if *v == saturated && len(field) >= 8 {
			// More than an int64 holds lies outside of every file.
			*v = int64(min(binary.LittleEndian.Uint64(field), 1<<62))
			field = field[8:]
		}
	}
	take(&r.size)
	take(&r.packed)
	if offset != nil {
		take(offset)
	}
	if r.disk == 0xffff && len(field) >= 4 {
		r.disk = int64(binary.LittleEndian.Uint32(field))
	}
}

// read gives up to n octets at an offset, fewer where the file ends.
func (p *parser) read(at int64, n int) ([]byte, error) {
	if at < 0 || at >= p.f.Size() || n <= 0 {
		return nil, nil
	}
	b := make([]byte, min(int64(n), p.f.Size()-at))
	m, err := p.f.ReadAt(b, at)
	if err == io.EOF {
		err = nil
	}
	return b[:m], err
}
