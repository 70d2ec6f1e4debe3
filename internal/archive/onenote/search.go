package onenote

import (
	"bytes"
	"io"
	"strings"
	"unicode"

	"github.com/postern-mail/postern/internal/archive/tell"
)

// What is searched for.
var (
	// A FileDataStoreObject (MS-ONESTORE 2.6.13).
	objectHeader = []byte("\xe7\x16\xe3\xbd\x65\x26\x11\x45\xa4\xc4\x8d\x4d\x0b\x7a\x9e\xac")
	// The property EmbeddedFileName, and SourceFilepath next to it (MS-ONE 2.1.12).
	fileName   = []byte("\x9c\x1d\x00\x1c")
	sourcePath = []byte("\x9d\x1d\x00\x1c")
	// A reference to a FileDataStoreObject (MS-ONESTORE 2.5.27), in UTF-16: "<ifndf>{".
	reference = []byte("<\x00i\x00f\x00n\x00d\x00f\x00>\x00{\x00")
	// The data of an ObjectDataEncryptionKeyV2FNDX (MS-ONESTORE 2.5.19).
	encryptionKey = []byte("\x67\xa0\xd1\xda\x85\xa3\x6b\xfb")
)

// block is how much is searched at once; overlap is the longest of what is searched for, without its last octet.
const (
	block   = 256 << 10
	overlap = 40
)

// search goes through the whole file for each pattern.
func (w *walker) search() error {
	w.extensions, w.ids = map[[16]byte]string{}, map[int64][16]byte{}
	buf := make([]byte, min(block+overlap, w.f.Size()))
	for at := int64(0); at < w.f.Size(); at += block {
		if err := w.ctx.Err(); err != nil {
			return err
		}
		n, err := w.f.ReadAt(buf, at)
		if err != nil && err != io.EOF {
			return err
		}
		p := buf[:n]
		for _, s := range []struct {
			pattern []byte
			found   func(at int64) error
		}{
			{objectHeader, w.storeObject},
			{fileName, w.property},
			{sourcePath, w.property},
			{reference, w.extension},
			{encryptionKey, func(int64) error { w.encrypted = true; return nil }},
		} {
			err := each(p, s.pattern, func(i int) error {
				if w.hits++; w.hits > hitLimit {
					return nil
				}
				return s.found(at + int64(i))
			})
			if err != nil {
				return err
			}
		}
		w.references(p)
	}
	return nil
}

// hitLimit is how many things that look like a property or a reference are looked at.
const hitLimit = 100_000

// each calls found for each place of a pattern that begins within a block.
func each(p, pattern []byte, found func(i int) error) error {
	for from := 0; ; {
		i := bytes.Index(p[from:], pattern)
		if i < 0 || from+i >= block {
			return nil
		}
		if err := found(from + i); err != nil {
			return err
		}
		from += i + 1
	}
}

// read gives up to n octets at a place.
func (w *walker) read(at int64, n int) ([]byte, error) { return w.f.Section(at, int64(n)).Head(n) }

// storeObject takes down a FileDataStoreObject.
func (w *walker) storeObject(at int64) error {
	p, err := w.read(at, 36)
	if err != nil || len(p) < 36 || len(w.objects) >= limit {
		return err
	}
	length := le.Uint64(p[16:])
	if length > 1<<62 {
		length = 1 << 62
	}
	w.objects = append(w.objects, object{at, at + 36, int64(length)})
	return nil
}

// extension takes down the extension of a file that a declaration gives besides the reference to its content
// (MS-ONESTORE 2.5.27: FileDataReference, Extension).
func (w *walker) extension(at int64) error {
	const digits = 36
	p, err := w.read(at+int64(len(reference)), 2*(digits+1)+4+2*32)
	if err != nil || len(p) < 2*(digits+1)+4 {
		return err
	}
	id, ok := parseID(text(p[:2*digits]))
	rest := p[2*(digits+1):]
	n := int(min(le.Uint32(rest), 32))
	if ext := text(rest[4:min(4+2*n, len(rest))]); ok && strings.HasPrefix(ext, ".") && plain(ext) && len(w.extensions) < limit {
		w.extensions[id] = ext
	}
	return nil
}

// references takes down where the objects are that have an identifier: a FileNode of the type
// FileDataStoreObjectReferenceFND (MS-ONESTORE 2.4.3, 2.5.21).
func (w *walker) references(p []byte) {
	const kind = 0x94
	for i := 0; i < min(len(p), block); i++ {
		j := bytes.IndexByte(p[i:], kind)
		if j < 0 {
			return
		}
		if i += j; i+4 > len(p) || i >= block {
			return
		}
		node := le.Uint32(p[i:])
		if node&0x3ff != kind || node>>27&0xf != 1 || len(w.ids) >= limit {
			continue
		}
		at, size := chunk(p[i+4:], node>>23&3, node>>25&3)
		if size == 0 || i+4+size+16 > len(p) || int(node>>10&0x1fff) != 4+size+16 {
			continue
		}
		w.ids[at] = [16]byte(p[i+4+size:])
	}
}

// chunk reads a FileNodeChunkReference (MS-ONESTORE 2.2.4.2): the place, and how many octets the reference has.
func chunk(p []byte, place, length uint32) (at int64, size int) {
	size = []int{8, 4, 2, 4}[place] + []int{4, 8, 1, 2}[length]
	if len(p) < size {
		return 0, 0
	}
	switch place {
	case 0:
		at = int64(le.Uint64(p))
	case 1:
		at = int64(le.Uint32(p))
	case 2:
		at = int64(le.Uint16(p)) * 8
	case 3:
		at = int64(le.Uint32(p)) * 8
	}
	return at, size
}

// text decodes UTF-16.
func text(p []byte) string {
	return strings.TrimRight(tell.UTF16(le, p), "\x00")
}

// plain reports whether a text may be a name: nothing in it that cannot be shown.
func plain(s string) bool {
	return s != "" && strings.IndexFunc(s, func(r rune) bool { return r == unicode.ReplacementChar || unicode.IsControl(r) }) < 0
}

// parseID reads a GUID as it is written, {00112233-4455-6677-8899-aabbccddeeff} without the braces.
func parseID(s string) (id [16]byte, ok bool) {
	order := []int{3, 2, 1, 0, -1, 5, 4, -1, 7, 6, -1, 8, 9, -1, 10, 11, 12, 13, 14, 15}
	for _, o := range order {
		if o < 0 {
			if s == "" || s[0] != '-' {
				return id, false
			}
			s = s[1:]
			continue
		}
		if len(s) < 2 {
			return id, false
		}
		high, low := strings.IndexByte(hexDigits, s[0]|0x20), strings.IndexByte(hexDigits, s[1]|0x20)
		if high < 0 || low < 0 {
			return id, false
		}
		id[o] = byte(high<<4 | low)
		s = s[2:]
	}
	return id, s == ""
}

const hexDigits = "0123456789abcdef"
