package learner

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"time"
)

// What was learned is kept, exported and sent in one form: a head, and records that each have their length and a checksum.
// The head names two versions, of the form and of the features. What a newer one has written is refused. What an older one has
// written is read: its features have the same hashes, and what it looked at is most of what is looked at now. Version 2 reads HTML
// as people see it, has what is hidden in it as another thing than its text, and has two features of a hit, not five.
//
//	head    16 octets "postern learner\n", version of the form, version of the features (uint32 each, little endian)
//	record  length of the body, its CRC-32C (uint32 each), body
//	body    kind 1, a lesson: digest, class and way (1 octet), seconds since 1970 (uvarint), features (see pack)
//	        kind 2, to forget: digest
//	        kind 3, the end of an export: number of lessons (uvarint)
const (
	formVersion    = 1
	featureVersion = 2
	magic          = "postern learner\n"
	headSize       = len(magic) + 8
	recordHead     = 8
	maxBody        = 32 << 10
)

// Errors that callers tell apart.
var (
	ErrVersion = errors.New("learner: written by a newer version")
	ErrFormat  = errors.New("learner: not what a learner has written")
	ErrCut     = errors.New("learner: it ends too early")
	ErrDamaged = errors.New("learner: damaged")
)

// How says how it came to a lesson. A lesson of a greater How is not replaced by one of a lesser.
type How uint8

// The ways.
const (
	FromRules      How = iota // rules that were sure
	FromQuarantine            // released from the quarantine
	FromPeople                // somebody said so
	howCount
)

var howNames = [howCount]string{"rules", "quarantine", "people"}

// Ways lists the ways of learning.
func Ways() []How { return []How{FromRules, FromQuarantine, FromPeople} }

// String gives the way's name.
func (h How) String() string {
	if h < howCount {
		return howNames[h]
	}
	return "unknown"
}

// Lesson is one thing that was taught.
type Lesson struct {
	Digest Digest
	Spam   bool
	How    How
	When   time.Time // in seconds
	packed []byte
}

// NewLesson makes a lesson of a sample.
func NewLesson(s Sample, spam bool, how How, when time.Time) Lesson {
	return Lesson{Digest: s.Digest, Spam: spam, How: how, When: when, packed: pack(s.Features)}
}

// Features gives the features of the sample, put behind those of into.
func (l *Lesson) Features(into []uint32) []uint32 { return unpack(l.packed, into) }

// kinds of records.
const (
	kindLesson = 1
	kindForget = 2
	kindEnd    = 3
)

type record struct {
	kind   byte
	lesson Lesson // of a lesson, and the Digest of what is to be forgotten
	count  uint64 // of the end
}

// pack writes features, which are distinct and ascending: their number, and the distance of each from the one before.
func pack(features []uint32) []byte {
	b := make([]byte, 0, 2*len(features)+4)
	b = binary.AppendUvarint(b, uint64(len(features)))
	last := uint32(0)
	for _, f := range features {
		b = binary.AppendUvarint(b, uint64(f-last))
		last = f
	}
	return b
}

// unpack reads what pack has written; valid has looked at it.
func unpack(b []byte, into []uint32) []uint32 {
	n, at := binary.Uvarint(b)
	last := uint32(0)
	for range n {
		d, k := binary.Uvarint(b[at:])
		at += k
		last += uint32(d)
		into = append(into, last)
	}
	return into
}

// valid reports whether octets are those of a pack.
func valid(b []byte) bool {
	n, at := binary.Uvarint(b)
	if at <= 0 || n > maxFeatures {
		return false
	}
	last := uint64(0)
	for i := range n {
		d, k := binary.Uvarint(b[at:])
		if k <= 0 || d >= featureSpace || d == 0 && i > 0 {
			return false
		}
		at += k
		if last += d; last >= featureSpace {
			return false
		}
	}
	return at == len(b)
}

func appendHead(b []byte) []byte {
	b = append(b, magic...)
	b = binary.LittleEndian.AppendUint32(b, formVersion)
	return binary.LittleEndian.AppendUint32(b, featureVersion)
}

// older reports whether a head, which checkHead has taken, is that of an older version.
func older(head []byte) bool {
	return binary.LittleEndian.Uint32(head[len(magic):]) < formVersion || binary.LittleEndian.Uint32(head[len(magic)+4:]) < featureVersion
}

// checkHead reads a head.
func checkHead(b []byte) error {
	if len(b) < headSize || string(b[:len(magic)]) != magic {
		return ErrFormat
	}
	form, feature := binary.LittleEndian.Uint32(b[len(magic):]), binary.LittleEndian.Uint32(b[len(magic)+4:])
	switch {
	case form > formVersion || feature > featureVersion:
		return fmt.Errorf("%w: form %d, features %d; this one knows %d and %d", ErrVersion, form, feature, formVersion, featureVersion)
	case form == 0 || feature == 0:
		return ErrFormat
	}
	return nil
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func appendRecord(b []byte, r *record) []byte {
	start := len(b)
	b = append(b, make([]byte, recordHead)...)
	b = append(b, r.kind)
	switch r.kind {
	case kindLesson:
		l := &r.lesson
		b = append(b, l.Digest[:]...)
		flags := byte(l.How) << 1
		if l.Spam {
			flags |= 1
		}
		b = append(b, flags)
		b = binary.AppendUvarint(b, uint64(max(l.When.Unix(), 0)))
		b = append(b, l.packed...)
	case kindForget:
		b = append(b, r.lesson.Digest[:]...)
	case kindEnd:
		b = binary.AppendUvarint(b, r.count)
	}
	body := b[start+recordHead:]
	binary.LittleEndian.PutUint32(b[start:], uint32(len(body)))
	binary.LittleEndian.PutUint32(b[start+4:], crc32.Checksum(body, castagnoli))
	return b
}

// parseBody reads the body of a record. The features of a lesson share its octets.
func parseBody(b []byte) (r record, ok bool) {
	if len(b) == 0 {
		return r, false
	}
	r.kind, b = b[0], b[1:]
	switch r.kind {
	case kindEnd:
		n, k := binary.Uvarint(b)
		r.count = n
		return r, k > 0 && k == len(b)
	case kindLesson, kindForget:
		if len(b) < len(r.lesson.Digest) {
			return r, false
		}
		b = b[copy(r.lesson.Digest[:], b):]
	default:
		return r, false
	}
	if r.kind == kindForget {
		return r, len(b) == 0
	}
	if len(b) < 2 || b[0] >= byte(howCount)<<1 {
		return r, false
	}
	r.lesson.Spam, r.lesson.How = b[0]&1 != 0, How(b[0]>>1)
	seconds, k := binary.Uvarint(b[1:])
	if k <= 0 || seconds > 1<<40 {
		return r, false
	}
	r.lesson.When = time.Unix(int64(seconds), 0)
	r.lesson.packed = b[1+k:]
	return r, valid(r.lesson.packed)
}

// readRecords hands each record of a stream to f, with the octets that it takes. The error is ErrVersion or ErrFormat for
// the head; ErrCut where the stream ends within a record, whose beginning f was told of by the offsets; ErrDamaged where
// a record is not what was written; or one of f or of reading.
func readRecords(from io.Reader, f func(r record, offset, size int64) error) error {
	br := bufio.NewReaderSize(from, 64<<10)
	head := make([]byte, headSize)
	if _, err := io.ReadFull(br, head); err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return ErrCut
		}
		return err
	}
	if err := checkHead(head); err != nil {
		return err
	}
	at := int64(headSize)
	return readBodies(br, func(body []byte, whole bool) error {
		r, ok := parseBody(body)
		if !whole || !ok {
			return ErrDamaged
		}
		size := int64(len(body)) + recordHead
		at += size
		return f(r, at-size, size)
	})
}

// readBodies hands the body of each record to f, and whether its checksum is right. Each body has octets of its own.
func readBodies(from io.Reader, f func(body []byte, whole bool) error) error {
	br := bufio.NewReaderSize(from, 64<<10)
	for {
		var rh [recordHead]byte
		n, err := io.ReadFull(br, rh[:])
		switch {
		case errors.Is(err, io.EOF) && n == 0:
			return nil
		case errors.Is(err, io.ErrUnexpectedEOF):
			return ErrCut
		case err != nil:
			return err
		}
		size := binary.LittleEndian.Uint32(rh[:])
		switch {
		case size == 0:
			return ErrCut // a file that had grown when the power went, and had not been written
		case size > maxBody:
			return ErrDamaged
		}
		body := make([]byte, size)
		if _, err := io.ReadFull(br, body); err != nil {
			if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
				return ErrCut
			}
			return err
		}
		if err := f(body, crc32.Checksum(body, castagnoli) == binary.LittleEndian.Uint32(rh[4:])); err != nil {
			return err
		}
	}
}

// Export writes lessons in the form of an export, which Import reads. It is complete with its end alone.
type Export struct {
	w     *bufio.Writer
	count uint64
	buf   []byte
}

// NewExport begins an export.
func NewExport(w io.Writer) *Export {
	e := &Export{w: bufio.NewWriterSize(w, 64<<10)}
	_, _ = e.w.Write(appendHead(nil)) // Close tells
	return e
}

// Add writes a lesson.
func (e *Export) Add(l Lesson) error {
	e.buf = appendRecord(e.buf[:0], &record{kind: kindLesson, lesson: l})
	e.count++
	_, err := e.w.Write(e.buf)
	return err
}

// Close writes the end.
func (e *Export) Close() error {
	_, _ = e.w.Write(appendRecord(nil, &record{kind: kindEnd, count: e.count}))
	return e.w.Flush()
}

// Import reads an export, and hands each lesson to f. The error is ErrCut where its end is missing: what was handed over
// is then not all.
func Import(r io.Reader, f func(Lesson) error) error {
	count, ended := uint64(0), false
	err := readRecords(r, func(r record, _, _ int64) error {
		switch {
		case ended:
			return ErrDamaged
		case r.kind == kindLesson:
			count++
			return f(r.lesson)
		case r.kind == kindEnd && r.count == count:
			ended = true
			return nil
		}
		return ErrDamaged
	})
	if err == nil && !ended {
		return ErrCut
	}
	return err
}
