package spool

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"slices"

	"github.com/postern-mail/postern/internal/store"
	"github.com/postern-mail/postern/mail"
)

// memory is how many octets of an entry's file are read into memory at most; more are read from the file as they are asked
// for.
const memory = 512 << 10

// opened is a file of messages, open, head and record of one of them read.
type opened struct {
	file   store.File
	begin  int64 // of the octets
	size   int64 // of the file
	head   head
	record *record
}

// open reads head and record. The error is ErrNotFound, ErrVersion, ErrDamaged, or the disk's.
func (s *Store) open(id string) (*opened, error) {
	if err := checkID(id); err != nil {
		return nil, err
	}
	if s.isHidden(id) {
		return nil, fmt.Errorf("%w: %s", ErrNotFound, id)
	}
	f, err := s.fs.OpenFile(s.path(id, messageSuffix), os.O_RDONLY, 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%w: %s", ErrNotFound, id)
	}
	if err != nil {
		return nil, fmt.Errorf("spool: %w", err)
	}
	o := &opened{file: f}
	if err := o.read(id); err != nil {
		return nil, errors.Join(fmt.Errorf("spool: %s: %w", id, err), f.Close())
	}
	return o, nil
}

func (o *opened) read(id string) error {
	info, err := o.file.Stat()
	if err != nil {
		return err
	}
	o.size = info.Size()
	w := window{file: o.file, size: o.size}
	start, err := w.at(0, indexStart)
	if err != nil {
		return err
	}
	n, err := indexLength(start)
	if err != nil {
		return err
	}
	octets, err := w.at(0, n)
	if err != nil {
		return err
	}
	x, err := parseIndex(octets)
	if err != nil {
		return err
	}
	if x.size != o.size {
		return fmt.Errorf("%w: the file has %d octets of %d", ErrDamaged, o.size, x.size)
	}
	at := slices.IndexFunc(x.parts, func(p part) bool { return p.id == id })
	if at < 0 {
		return fmt.Errorf("%w: the file does not hold it", ErrDamaged)
	}
	off := x.parts[at].off
	if octets, err = w.at(off, headSize); err != nil {
		return err
	}
	if o.head, err = parseHead(octets); err != nil {
		return err
	}
	o.begin = off + headSize + o.head.record
	if o.size-off < o.head.size() {
		return fmt.Errorf("%w: the file ends before its part does", ErrDamaged)
	}
	if octets, err = w.at(off+headSize, o.head.record); err != nil {
		return err
	}
	o.record, err = parseRecord(id, o.head, octets)
	return err
}

// window reads octets of a file, and most often some more than it is asked for, so that what stands behind is there already.
type window struct {
	file io.ReaderAt
	size int64
	off  int64
	buf  []byte
}

// at gives n octets; octets that are not there are damage.
func (w *window) at(off, n int64) ([]byte, error) {
	if off+n > w.size {
		return nil, fmt.Errorf("%w: it ends at %d", ErrDamaged, w.size)
	}
	if skip := off - w.off; skip >= 0 && skip+n <= int64(len(w.buf)) {
		return w.buf[skip : skip+n], nil
	}
	buf := make([]byte, max(n, min(4<<10, w.size-off)))
	if err := readAt(w.file, buf, off); err != nil {
		return nil, err
	}
	w.off, w.buf = off, buf
	return buf[:n], nil
}

// readAt fills p; octets that are not there are damage.
func readAt(f io.ReaderAt, p []byte, off int64) error {
	n, err := f.ReadAt(p, off)
	switch {
	case n == len(p):
		return nil
	case err == io.EOF:
		return fmt.Errorf("%w: it ends at %d", ErrDamaged, off+int64(n))
	}
	return err
}

// Load gives an entry and what has become of it; no content is read. The error is ErrNotFound, ErrDamaged, ErrVersion, or the
// disk's.
func (s *Store) Load(id string) (Entry, error) {
	o, err := s.open(id)
	if err != nil {
		return Entry{}, err
	}
	if err := o.file.Close(); err != nil {
		return Entry{}, fmt.Errorf("spool: %w", err)
	}
	e := o.record.Entry
	torn, err := s.apply(id, &e)
	if err != nil {
		return Entry{}, err
	}
	if torn > 0 {
		s.countTorn(id, torn)
	}
	return e, nil
}

// countTorn counts lines that were left out, each once.
func (s *Store) countTorn(id string, lines int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if more := lines - s.torn[id]; more > 0 {
		s.usage.TornMarks += int64(more)
		s.torn[id] = lines
	}
}

// Message gives what a group is to get. All octets of the entry are proved before the first is handed out: ErrDamaged. The
// caller releases it; it stays readable when the entry is removed.
func (s *Store) Message(id string, group int) (*mail.Message, error) {
	o, err := s.open(id)
	if err != nil {
		return nil, err
	}
	if group < 0 || group >= len(o.record.Runs) {
		return nil, errors.Join(fmt.Errorf("%w: %s has no group %d", ErrNotFound, id, group), o.file.Close())
	}
	row, err := s.row(id, o)
	if err != nil {
		return nil, err
	}
	defer row.release()
	m, err := row.compose(o.record.Runs[group])
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrDamaged, id, err)
	}
	return m, nil
}

// Original gives the message as it came, proved as Message does. The caller releases it.
func (s *Store) Original(id string) (*mail.Blob, error) {
	o, err := s.open(id)
	if err != nil {
		return nil, err
	}
	row, err := s.row(id, o)
	if err != nil {
		return nil, err
	}
	defer row.release()
	if o.head.original > 0 {
		return row.original.Retain(), nil
	}
	b, err := row.whole(o.record.Entry.Size)
	if err != nil {
		return nil, fmt.Errorf("spool: %s: %w", id, err)
	}
	return b, nil
}

// row is the octets of an entry, proved.
type row struct {
	original *mail.Blob // nil where it lies in the other
	size     int64      // of original
	rest     *mail.Blob
	skip     int64 // octets of rest that are not of the row
}

func (r *row) release() {
	if r.original != nil {
		r.original.Release()
	}
	if r.rest != nil {
		r.rest.Release()
	}
}

// row reads and proves the octets; it takes the file over.
func (s *Store) row(id string, o *opened) (*row, error) {
	r := &row{size: o.head.original}
	err := r.readRest(o)
	if err == nil && r.size > 0 {
		err = s.readOriginal(id, r, o.head.originalSum)
	}
	if err != nil {
		r.release()
		return nil, fmt.Errorf("spool: %s: %w", id, err)
	}
	return r, nil
}

// readRest proves what lies behind the record: in memory where it is small, else in the file, which stays open.
func (r *row) readRest(o *opened) error {
	begin, n := o.begin, o.head.octets
	if n <= memory {
		data := make([]byte, n)
		err := errors.Join(readAt(o.file, data, begin), o.file.Close())
		if err == nil && checksum(data) != o.head.octetsSum {
			err = fmt.Errorf("%w: the octets' checksum", ErrDamaged)
		}
		r.rest = mail.NewBlob(data)
		return err
	}
	r.rest, r.skip = mail.NewFileBlob(o.file, begin+n), begin
	return prove(o.file, begin, n, o.head.octetsSum)
}

func (s *Store) readOriginal(id string, r *row, sum uint32) error {
	f, err := s.fs.OpenFile(s.path(id, originalSuffix), os.O_RDONLY, 0)
	if errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("%w: its original is not there", ErrDamaged)
	}
	if err != nil {
		return err
	}
	r.original = mail.NewFileBlob(f, r.size)
	info, err := f.Stat()
	if err == nil && info.Size() != r.size {
		err = fmt.Errorf("%w: its original has %d octets of %d", ErrDamaged, info.Size(), r.size)
	}
	if err != nil {
		return err
	}
	return prove(f, 0, r.size, sum)
}

// prove reads n octets and compares their checksum.
func prove(f io.ReaderAt, off, n int64, want uint32) error {
	h := crc32.New(castagnoli)
	got, err := io.Copy(h, io.NewSectionReader(f, off, n))
	switch {
	case err != nil:
		return err
	case got != n || h.Sum32() != want:
		return fmt.Errorf("%w: the octets' checksum", ErrDamaged)
	}
	return nil
}

// compose makes a message of runs of the row.
func (r *row) compose(runs [][2]int64) (*mail.Message, error) {
	base := r.rest
	if r.original != nil {
		base = r.original
	}
	parts := make([]mail.Run, 0, len(runs))
	for _, run := range runs {
		off, n := run[0], run[1]
		if k := min(n, r.size-off); r.original != nil && k > 0 {
			parts = append(parts, mail.Run{Blob: r.original, Off: off, N: k})
			off, n = off+k, n-k
		}
		if n > 0 {
			parts = append(parts, mail.Run{Blob: r.rest, Off: r.skip + off - r.size, N: n})
		}
	}
	return mail.Compose(base, parts)
}

// whole gives the first n octets of the row, which lie in the rest.
func (r *row) whole(n int64) (*mail.Blob, error) {
	data := make([]byte, n)
	if _, err := r.rest.ReadAt(data, r.skip); err != nil && err != io.EOF {
		return nil, err
	}
	return mail.NewBlob(data), nil
}
