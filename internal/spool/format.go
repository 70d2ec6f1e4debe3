package spool

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"unicode/utf8"
)

// ID.msg is a head of fixed size, the record as JSON, and octets. All numbers are big-endian.
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
	headSize  = 64
	maxRecord = 16 << 20 // octets of a record
)

// magic begins ID.msg. Its line end shows who has changed line ends, its octet beyond ASCII who has changed charsets.
const magic = "PSPOOL\r\n"

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func checksum(b []byte) uint32 { return crc32.Checksum(b, castagnoli) }

// head is what ID.msg begins with.
type head struct {
	record   int64 // octets
	octets   int64
	original int64 // octets of ID.eml

	recordSum, octetsSum, originalSum uint32
}

func (h *head) size() int64 { return headSize + h.record + h.octets }

func (h *head) append(b []byte) []byte {
	start := len(b)
	b = append(b, magic...)
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
	case string(b[:len(magic)]) != magic:
		return h, fmt.Errorf("%w: no head", ErrDamaged)
	case checksum(b[:headSize-4]) != binary.BigEndian.Uint32(b[headSize-4:]):
		return h, fmt.Errorf("%w: the head's checksum", ErrDamaged)
	}
	if v := binary.BigEndian.Uint32(b[8:]); v > version {
		return h, fmt.Errorf("%w: version %d, this one knows %d", ErrVersion, v, version)
	} else if v == 0 {
		return h, fmt.Errorf("%w: version 0", ErrDamaged)
	}
	h.record = int64(binary.BigEndian.Uint32(b[12:]))
	h.octets = int64(binary.BigEndian.Uint64(b[16:]))
	h.original = int64(binary.BigEndian.Uint64(b[24:]))
	h.recordSum = binary.BigEndian.Uint32(b[32:])
	h.octetsSum = binary.BigEndian.Uint32(b[36:])
	h.originalSum = binary.BigEndian.Uint32(b[40:])
	const most = 1 << 50 // so that no sum of sizes overflows
	if h.record > maxRecord || h.octets < 0 || h.octets > most || h.original < 0 || h.original > most {
		return h, fmt.Errorf("%w: the head's sizes", ErrDamaged)
	}
	return h, nil
}

// record is what ID.msg says about its octets.
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

// maxSize bounds what runs can add up to.
const maxSize = 1 << 50

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
