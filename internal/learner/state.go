package learner

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"os"
	"time"

	"github.com/postern-mail/postern/internal/store"
)

// fingerprint names a set of lessons, in whatever order.
type fingerprint [2]uint64

// print gives the fingerprint of what is known.
func (s *Store) print() (p fingerprint) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for d, e := range s.known {
		p.add(d, e.spam)
	}
	return p
}

func (p *fingerprint) add(d Digest, spam bool) {
	h := binary.LittleEndian.Uint64(d[:]) + uint64(class(spam))
	p[0] ^= mix(h)
	p[1] += mix(h ^ binary.LittleEndian.Uint64(d[8:]))
}

// Fit learns the weights anew from all lessons, and keeps them beside the lessons. Where the context ends before it is done, the old
// ones stay, and the error is the context's.
func (s *Store) Fit(ctx context.Context) error {
	s.fitting.Lock()
	defer s.fitting.Unlock()
	err := s.fit(ctx)
	s.unkept.Store(err != nil)
	return err
}

func (s *Store) fit(ctx context.Context) error {
	all, err := s.lessons(ctx)
	if err != nil {
		return err
	}
	var print fingerprint
	for i := range all {
		print.add(all[i].Digest, all[i].Spam)
	}
	now := time.Now()
	learned := fit(ctx, all, now, s.opt.Load().HalfLife)
	if learned == nil {
		return fmt.Errorf("learner: %w", ctx.Err())
	}
	w := &fitted{weights: learned, print: print, when: now}
	s.weights.Store(w)
	s.fits.Add(1)
	return s.writeWeights(w)
}

// errUnkept is the error of a fit whose weights count, and could not be written.
var errUnkept = errors.New("learner: the weights count, and could not be kept")

func (s *Store) writeWeights(w *fitted) error {
	if err := writeWeights(s.o.FS, s.path(weightsFile), w); err != nil {
		return fmt.Errorf("%w: %w", errUnkept, err)
	}
	return nil
}

// keepWeights writes the weights that count, where that was not done.
func (s *Store) keepWeights() error {
	s.fitting.Lock()
	defer s.fitting.Unlock()
	err := s.writeWeights(s.weights.Load())
	s.unkept.Store(err != nil)
	return err
}

// Stale reports whether something was learned that no fit knows of.
func (s *Store) Stale() bool { return s.weights.Load().print != s.print() }

// Score gives the logarithm of the odds that a sample is spam, were there as much ham as spam.
func (s *Store) Score(x Sample) float64 { return s.weights.Load().score(x.Features) }

// Ready reports whether enough of each class was learned for a score to mean something.
func (s *Store) Ready() bool { return s.weights.Load().lessons.enough(s.opt.Load().Least) }

// Heaviest gives the most features that weigh heaviest in the score of a sample, the heaviest first. See Words.
func (s *Store) Heaviest(x Sample, most int) []Share {
	return s.weights.Load().heaviest(x.Features, most)
}

// Snapshot gives what was learned, for one who only asks: it is not changed any more.
func (s *Store) Snapshot() *Snapshot { return &Snapshot{s.weights.Load(), s.opt.Load().Least} }

// Snapshot is what was learned up to some time.
type Snapshot struct {
	w     *fitted
	least int
}

// ReadSnapshot reads what was learned last from a store's folder, also while a gateway has it open. The error is
// fs.ErrNotExist where nothing was.
func ReadSnapshot(fsys store.FS, dir string, o Options) (*Snapshot, error) {
	w, err := readWeights(fsys, dir+string(os.PathSeparator)+weightsFile)
	if err != nil {
		return nil, err
	}
	return &Snapshot{w, o.withDefaults().Least}, nil
}

// Score is Store.Score.
func (s *Snapshot) Score(x Sample) float64 { return s.w.score(x.Features) }

// Ready is Store.Ready.
func (s *Snapshot) Ready() bool { return s.w.lessons.enough(s.least) }

// Heaviest is Store.Heaviest.
func (s *Snapshot) Heaviest(x Sample, most int) []Share { return s.w.heaviest(x.Features, most) }

// scanRecords hands the records of a file to f. What lies between two of them and is none is left out and counted. It gives where the last
// whole record ends; the error is ErrCut where something stands behind it, ErrDamaged where that is no beginning of a record,
// or one of readRecords.
func scanRecords(r io.ReaderAt, f func(r record, offset, size int64)) (end int64, damaged int, err error) {
	end = int64(headSize)
	from := io.NewSectionReader(r, 0, math.MaxInt64)
	var head [headSize]byte
	if _, err := io.ReadFull(from, head[:]); err != nil {
		if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
			return end, 0, ErrCut
		}
		return end, 0, err
	}
	if err := checkHead(head[:]); err != nil {
		return end, 0, err
	}
	for {
		err := readBodies(io.NewSectionReader(r, end, math.MaxInt64-end), func(body []byte, whole bool) error {
			rec, ok := parseBody(body)
			if !whole || !ok {
				return errNoRecord
			}
			size := int64(len(body)) + recordHead
			f(rec, end, size)
			end += size
			return nil
		})
		if err == nil || !errors.Is(err, ErrCut) && !errors.Is(err, ErrDamaged) && !errors.Is(err, errNoRecord) {
			return end, damaged, err
		}
		next, found, lost := nextRecord(r, end+1)
		switch {
		case lost != nil: // what stands there is not known, and is not to be written over
			return end, damaged, lost
		case found: // a block that the disk has lost takes no more with it than was in it
			damaged, end = damaged+1, next
			continue
		case errors.Is(err, errNoRecord):
			err = ErrCut // what is wrong stands at the end: it was being written
		}
		return end, damaged, err
	}
}

var errNoRecord = errors.New("learner: no record")

// nextRecord gives where the next whole record begins, at or behind an offset. The error is one of reading.
func nextRecord(r io.ReaderAt, at int64) (next int64, found bool, err error) {
	const window = 64 << 10
	b := make([]byte, window+recordHead+maxBody)
	for {
		n, err := r.ReadAt(b, at)
		for i := 0; i < min(n, window) && i+recordHead < n; i++ {
			size := int(binary.LittleEndian.Uint32(b[i:]))
			if size == 0 || size > maxBody || i+recordHead+size > n {
				continue
			}
			if _, ok := parseRecord(b[i : i+recordHead+size]); ok {
				return at + int64(i), true, nil
			}
		}
		if errors.Is(err, io.EOF) {
			return 0, false, nil
		}
		if err != nil {
			return 0, false, fmt.Errorf("learner: %w", err)
		}
		at += window
	}
}

// parseRecord reads one record.
func parseRecord(b []byte) (r record, ok bool) {
	if len(b) < recordHead || int64(binary.LittleEndian.Uint32(b)) != int64(len(b)-recordHead) {
		return r, false
	}
	body := b[recordHead:]
	if crc32.Checksum(body, castagnoli) != binary.LittleEndian.Uint32(b[4:]) {
		return r, false
	}
	return parseBody(body)
}

// The file of weights: a head as that of lessons with another word, the CRC-32C and the length of what follows, and that.
const weightsMagic = "postern weights\n"

func writeWeights(fsys store.FS, path string, w *fitted) error {
	b := make([]byte, 0, 1<<20)
	for _, x := range []float64{w.bias, w.slope, w.shift} {
		b = binary.LittleEndian.AppendUint64(b, math.Float64bits(x))
	}
	for _, x := range []uint64{
		uint64(w.lessons.Ham), uint64(w.lessons.Spam), w.print[0], w.print[1], uint64(w.when.UnixMilli()), uint64(w.took),
	} {
		b = binary.LittleEndian.AppendUint64(b, x)
	}
	last := 0
	for f, x := range w.w {
		if x != 0 {
			b = binary.AppendUvarint(b, uint64(f-last))
			b = binary.LittleEndian.AppendUint32(b, math.Float32bits(x))
			last = f
		}
	}
	head := appendHead(nil)
	copy(head, weightsMagic)
	head = binary.LittleEndian.AppendUint32(head, crc32.Checksum(b, castagnoli))
	head = binary.LittleEndian.AppendUint32(head, uint32(len(b)))
	return store.WriteFile(fsys, path+".new", path, 0o600, func(to io.Writer) error {
		if _, err := to.Write(head); err != nil {
			return err
		}
		_, err := to.Write(b)
		return err
	})
}

// maxWeights bounds the file of weights: a number of at most four octets and a weight for each feature.
const maxWeights = featureSpace*8 + 1<<10

// readWeights reads weights. Those of an older version are of no known set of lessons: they serve until others are fitted.
func readWeights(fsys store.FS, path string) (*fitted, error) {
	f, err := fsys.OpenFile(path, os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	head := make([]byte, headSize+8)
	if _, err := io.ReadFull(f, head); err != nil {
		return nil, ErrCut
	}
	if !bytes.HasPrefix(head, []byte(weightsMagic)) {
		return nil, ErrFormat
	}
	copy(head, magic)
	if err := checkHead(head); err != nil {
		return nil, err
	}
	size := binary.LittleEndian.Uint32(head[headSize+4:])
	if size > maxWeights {
		return nil, ErrFormat
	}
	b := make([]byte, size)
	if _, err := io.ReadFull(f, b); err != nil {
		return nil, ErrCut
	}
	if crc32.Checksum(b, castagnoli) != binary.LittleEndian.Uint32(head[headSize:]) {
		return nil, ErrDamaged
	}
	w, err := parseWeights(b)
	if err == nil && older(head) {
		w.print = fingerprint{}
	}
	return w, err
}

func parseWeights(b []byte) (*fitted, error) {
	const fixed = 9 * 8
	if len(b) < fixed {
		return nil, ErrCut
	}
	u := func(i int) uint64 { return binary.LittleEndian.Uint64(b[i*8:]) }
	w := &fitted{weights: &weights{bias: math.Float64frombits(u(0)), slope: math.Float64frombits(u(1)), shift: math.Float64frombits(u(2))}}
	w.lessons = Counts{int(u(3)), int(u(4))}
	w.print, w.when, w.took = fingerprint{u(5), u(6)}, time.UnixMilli(int64(u(7))), time.Duration(u(8))
	if b = b[fixed:]; len(b) == 0 {
		return w, nil
	}
	if !eachWeight(b, func(uint64, float32) {}) {
		return nil, ErrDamaged
	}
	w.w = make([]float32, featureSpace)
	eachWeight(b, func(f uint64, x float32) { w.w[f] = x })
	return w, nil
}

// eachWeight hands each feature and its weight to f; false where the octets are not those of weights.
func eachWeight(b []byte, f func(uint64, float32)) bool {
	for at := uint64(0); len(b) > 0; {
		d, k := binary.Uvarint(b)
		if k <= 0 || len(b) < k+4 || d >= featureSpace || at+d >= featureSpace {
			return false
		}
		at += d
		f(at, math.Float32frombits(binary.LittleEndian.Uint32(b[k:])))
		b = b[k+4:]
	}
	return true
}
