package spool

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"unicode/utf8"
)

// A file of messages is an index and one part for each of them. It has a name ID.msg for each, all of one file: those who
// come together are written and synced together, and each goes by itself. All numbers are big-endian. The index:
//
//	 0   8  magic
//	 8   4  version
//	12   4  octets of the index
//	16   8  octets of the file
//	24      for each part: its offset in 8 octets, the length of its id in one, its id
//	     4  CRC-32C of the index before
//
// A part is a head of fixed size, the record as JSON, and octets. The head:
//
//	 0   8  magic
//	 8   4  version
//	12   4  octets of the record
//	16   8  octets behind it
//	24   8  octets of ID.eml; 0 where there is none
//	32   4  CRC-32C of the record
//	36   4  CRC-32C of the octets behind it
//	40   4  CRC-32C of ID.eml
//	44  16  zero
//	60   4  CRC-32C of the 60 octets before
//
// The octets are the original as it came, and then whatever was put in its place in what the groups are to get. A large
// original lies in ID.eml instead. What a group gets is a list of runs of the one row that both are: first the original,
// then the rest.

const (
	indexStart = 24      // octets of an index before its parts
	maxIndex   = 1 << 16 // octets of an index
	headSize   = 64
	maxRecord  = 16 << 20 // octets of a record
	maxSize    = 1 << 50  // octets of a file, or of a message: no sum of some of them overflows
)

// The magic of an index and of a head. Their line ends show who has changed line ends.
const (
	indexMagic = "PSPOOL\r\n"
	headMagic  = "PSPART\r\n"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func checksum(b []byte) uint32 { return crc32.Checksum(b, castagnoli) }

// part is where in a file a message lies.
type part struct {
	id  string
	off int64
}

// index is what a file of messages begins with.
type index struct {
	size  int64 // octets of the file
	parts []part
}

// length gives the octets of the index.
func (x *index) length() int64 {
	n := int64(indexStart + 4)
	for _, p := range x.parts {
		n += partLength(p.id)
	}
	return n
}

// partLength gives the octets that one id takes in an index.
func partLength(id string) int64 { return 8 + 1 + int64(len(id)) }

func (x *index) append(b []byte) []byte {
	start := len(b)
	b = append(b, indexMagic...)
	b = binary.BigEndian.AppendUint32(b, version)
	b = binary.BigEndian.AppendUint32(b, uint32(x.length()))
	b = binary.BigEndian.AppendUint64(b, uint64(x.size))
	for _, p := range x.parts {
		b = binary.BigEndian.AppendUint64(b, uint64(p.off))
		b = append(append(b, byte(len(p.id))), p.id...)
	}
	return binary.BigEndian.AppendUint32(b, checksum(b[start:]))
}

// indexLength reads how long the index is that b begins with. Its checksum tells later whether that is true.
func indexLength(b []byte) (int64, error) {
	if len(b) < indexStart || string(b[:len(indexMagic)]) != indexMagic {
		return 0, fmt.Errorf("%w: no index", ErrDamaged)
	}
	n := int64(binary.BigEndian.Uint32(b[12:]))
	if n < indexStart+4 || n > maxIndex {
		return 0, fmt.Errorf("%w: an index of %d octets", ErrDamaged, n)
	}
	return n, nil
}

// parseIndex reads an index, and nothing behind it. The error is ErrDamaged, or ErrVersion for one that is whole and of a
// newer version.
func parseIndex(b []byte) (index, error) {
	var x index
	n, err := indexLength(b)
	if err == nil && n != int64(len(b)) {
		err = fmt.Errorf("%w: %d octets of an index of %d", ErrDamaged, len(b), n)
	}
	if err != nil {
		return x, err
	}
	if checksum(b[:n-4]) != binary.BigEndian.Uint32(b[n-4:]) {
		return x, fmt.Errorf("%w: the index's checksum", ErrDamaged)
	}
	if err := checkNumber(binary.BigEndian.Uint32(b[8:])); err != nil {
		return x, err
	}
	x.size = int64(binary.BigEndian.Uint64(b[16:]))
	ids := string(b[indexStart : n-4]) // one copy for all of them
	for rest := b[indexStart : n-4]; len(rest) > 0; {
		if len(rest) < 9 || len(rest) < 9+int(rest[8]) {
			return x, fmt.Errorf("%w: the index ends early", ErrDamaged)
		}
		p := part{id: ids[9 : 9+int(rest[8])], off: int64(binary.BigEndian.Uint64(rest))}
		if p.off < n || p.off > x.size-headSize || x.size > maxSize {
			return x, fmt.Errorf("%w: the index's offsets", ErrDamaged)
		}
		x.parts = append(x.parts, p)
		k := 9 + int(rest[8])
		rest, ids = rest[k:], ids[k:]
	}
	return x, nil
}

// checkNumber refuses versions that are not known.
func checkNumber(v uint32) error {
	switch {
	case v > version:
		return fmt.Errorf("%w: version %d, this one knows %d", ErrVersion, v, version)
	case v == 0:
		return fmt.Errorf("%w: version 0", ErrDamaged)
	}
	return nil
}

// head is what a part begins with.
type head struct {
	record   int64 // octets
	octets   int64
	original int64 // octets of ID.eml

	recordSum, octetsSum, originalSum uint32
}

func (h *head) size() int64 { return headSize + h.record + h.octets }

func (h *head) append(b []byte) []byte {
	start := len(b)
	b = append(b, headMagic...)
	b = binary.BigEndian.AppendUint32(b, version)
	b = binary.BigEndian.AppendUint32(b, uint32(h.record))
	b = binary.BigEndian.AppendUint64(b, uint64(h.octets))
	b = binary.BigEndian.AppendUint64(b, uint64(h.original))
	b = binary.BigEndian.AppendUint32(b, h.recordSum)
	b = binary.BigEndian.AppendUint32(b, h.octetsSum)
	b = binary.BigEndian.AppendUint32(b, h.originalSum)
	b = append(b, make([]byte, 16)...)
	return binary.BigEndian.AppendUint32(b, checksum(b[start:]))
}

// parseHead reads a head. The error is ErrDamaged, or ErrVersion for one that is whole and of a newer version.
func parseHead(b []byte) (head, error) {
	var h head
	switch {
	case len(b) < headSize:
		return h, fmt.Errorf("%w: %d octets are no head", ErrDamaged, len(b))
	case string(b[:len(headMagic)]) != headMagic:
		return h, fmt.Errorf("%w: no head", ErrDamaged)
	case checksum(b[:headSize-4]) != binary.BigEndian.Uint32(b[headSize-4:]):
		return h, fmt.Errorf("%w: the head's checksum", ErrDamaged)
	}
	if err := checkNumber(binary.BigEndian.Uint32(b[8:])); err != nil {
		return h, err
	}
	h.record = int64(binary.BigEndian.Uint32(b[12:]))
	h.octets = int64(binary.BigEndian.Uint64(b[16:]))
	h.original = int64(binary.BigEndian.Uint64(b[24:]))
	h.recordSum = binary.BigEndian.Uint32(b[32:])
	h.octetsSum = binary.BigEndian.Uint32(b[36:])
	h.originalSum = binary.BigEndian.Uint32(b[40:])
	if h.record > maxRecord || h.octets < 0 || h.octets > maxSize || h.original < 0 || h.original > maxSize {
		return h, fmt.Errorf("%w: the head's sizes", ErrDamaged)
	}
	return h, nil
}

// record is what a part says about its octets.
type record struct {
	Entry Entry `json:"entry"`
	// Runs has for each group offset and length of the runs that it gets, of the original and what follows it as one row.
	Runs [][][2]int64 `json:"runs"`
}

func (r *record) encode() ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(r); err != nil {
		return nil, fmt.Errorf("spool: record: %w", err)
	}
	if b.Len() > maxRecord {
		return nil, fmt.Errorf("spool: record: %d octets are too many", b.Len())
	}
	return b.Bytes(), nil
}

// parseRecord reads the record of an entry and proves that it fits its head. The error is ErrDamaged.
func parseRecord(id string, h head, b []byte) (*record, error) {
	damaged := func(what string, err error) (*record, error) {
		if err != nil {
			return nil, fmt.Errorf("%w: record: %s: %w", ErrDamaged, what, err)
		}
		return nil, fmt.Errorf("%w: record: %s", ErrDamaged, what)
	}
	if int64(len(b)) != h.record || checksum(b) != h.recordSum {
		return damaged("checksum", nil)
	}
	r := new(record)
	if err := json.Unmarshal(b, r); err != nil {
		return damaged("JSON", err)
	}
	if r.Entry.ID != id {
		return damaged(fmt.Sprintf("it is of %q", r.Entry.ID), nil)
	}
	if err := checkEntry(&r.Entry); err != nil {
		return damaged("entry", err)
	}
	original := r.originalSize(h)
	if original < 0 || len(r.Runs) != len(r.Entry.Groups) {
		return damaged("sizes", nil)
	}
	row := h.original + h.octets
	for i, runs := range r.Runs {
		var size int64
		for _, run := range runs {
			if run[0] < 0 || run[1] <= 0 || run[0] > row || run[1] > row-run[0] || run[1] > maxSize-size {
				return damaged("a run beyond the octets", nil)
			}
			size += run[1]
		}
		if size != r.Entry.Groups[i].Size {
			return damaged("a group's size", nil)
		}
	}
	return r, nil
}

// originalSize gives the octets of the original, -1 where record and head disagree.
func (r *record) originalSize(h head) int64 {
	n := r.Entry.Size
	if n < 0 || h.original > 0 && n != h.original || h.original == 0 && n > h.octets {
		return -1
	}
	return n
}

// checkEntry refuses what is no entry, or would not be the same when it is read back.
func checkEntry(e *Entry) error {
	if len(e.Groups) == 0 {
		return fmt.Errorf("spool: entry %s has no group", e.ID)
	}
	ok := utf8.ValidString(e.From) && utf8.ValidString(e.EnvelopeID)
	for _, g := range e.Groups {
		if len(g.To) == 0 {
			return fmt.Errorf("spool: entry %s has a group without recipients", e.ID)
		}
		for _, r := range g.To {
			ok = ok && utf8.ValidString(r.Address) && utf8.ValidString(r.Original)
		}
	}
	if !ok {
		return fmt.Errorf("spool: entry %s has an address that is not UTF-8", e.ID)
	}
	return nil
}
