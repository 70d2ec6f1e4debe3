package dkim

import (
	"crypto/sha256"
	"fmt"
	"hash"
	"io"
	"slices"
	"sync"
)

// Whole is the limit of a body hash that covers all of the body: there is no l=.
const Whole int64 = -1

// Bodies are the hashes of one body, by canonicalisation and l=, all taken in one pass. The hash is SHA-256, the only
// one that is left (RFC 8301 3.1). Ask with Want, then Hash once, then read with Sum; it is not safe for concurrent
// use before Hash has returned, and is afterwards.
type Bodies struct {
	sinks  [2]sink // by Canon
	hashed bool
}

// BodySum is the hash of a body, or of its beginning.
type BodySum struct {
	Sum    [sha256.Size]byte
	Length int64 // octets of the whole canonical body
}

// Want asks for a hash: of the canonical body, or of its first limit octets (RFC 6376 3.5, l=). Whole is no limit.
func (b *Bodies) Want(c Canon, limit int64) {
	s := &b.sinks[c]
	if limit < 0 {
		s.whole = true
		return
	}
	if _, ok := s.sums[limit]; ok {
		return
	}
	if s.sums == nil {
		s.sums = map[int64][sha256.Size]byte{}
	}
	s.sums[limit] = [sha256.Size]byte{}
	s.limits = append(s.limits, limit)
}

// Hash reads the body and takes all hashes that were asked for. An error is the reader's; nothing is known then.
func (b *Bodies) Hash(body io.WriterTo) error {
	var writers []io.Writer
	var all []*canonicaliser
	for i := range b.sinks {
		s := &b.sinks[i]
		if !s.whole && len(s.limits) == 0 {
			continue
		}
		s.begin()
		c := &canonicaliser{relaxed: Canon(i) == Relaxed, sink: s}
		all, writers = append(all, c), append(writers, c)
	}
	if len(all) == 0 {
		b.hashed = true
		return nil
	}
	w := writers[0]
	if len(writers) > 1 {
		w = io.MultiWriter(writers...)
	}
	if _, err := body.WriteTo(w); err != nil {
		return fmt.Errorf("dkim: read the body: %w", err)
	}
	for _, c := range all {
		c.end()
	}
	b.hashed = true
	return nil
}

// Sum gives a hash that was asked for; false if it was not, or if Hash has not succeeded. Where limit is more than
// Length, the sum is of nothing.
func (b *Bodies) Sum(c Canon, limit int64) (BodySum, bool) {
	s := &b.sinks[c]
	if !b.hashed {
		return BodySum{}, false
	}
	if limit < 0 {
		return BodySum{s.all, s.n}, s.whole
	}
	sum, ok := s.sums[limit]
	return BodySum{sum, s.n}, ok
}

// sinkSize is how many octets are gathered before they are hashed: a hash of many short pieces takes twice as long.
const sinkSize = 8 << 10

var sinks = sync.Pool{New: func() any { return new([sinkSize]byte) }}

// sink takes a canonical body, and hashes it once for all limits: the state of the hash at a limit gives the sum there.
type sink struct {
	whole  bool
	limits []int64 // ascending from begin on; those not reached yet
	sums   map[int64][sha256.Size]byte
	all    [sha256.Size]byte

	hash hash.Hash
	buf  []byte
	room *[sinkSize]byte // what buf is made of
	n    int64           // octets that were hashed
}

func (s *sink) begin() {
	slices.Sort(s.limits)
	s.hash = sha256.New()
	s.room, _ = sinks.Get().(*[sinkSize]byte)
	s.buf = s.room[:0]
}

// octet takes one octet.
func (s *sink) octet(c byte) {
	if len(s.buf) == cap(s.buf) {
		s.flush()
	}
	s.buf = append(s.buf, c)
}

// Write takes octets. It never fails.
func (s *sink) Write(p []byte) (int, error) {
	if len(p) > cap(s.buf)-len(s.buf) {
		s.flush()
		if len(p) >= cap(s.buf) {
			s.feed(p)
			return len(p), nil
		}
	}
	s.buf = append(s.buf, p...)
	return len(p), nil
}

func (s *sink) flush() {
	s.feed(s.buf)
	s.buf = s.buf[:0]
}

func (s *sink) feed(p []byte) {
	for len(s.limits) > 0 && s.limits[0] <= s.n+int64(len(p)) {
		k := s.limits[0] - s.n
		s.hash.Write(p[:k])
		s.n += k
		p = p[k:]
		s.sums[s.limits[0]] = [sha256.Size]byte(s.hash.Sum(nil))
		s.limits = s.limits[1:]
	}
	if s.whole || len(s.limits) > 0 {
		s.hash.Write(p)
	}
	s.n += int64(len(p))
}

func (s *sink) end() {
	s.flush()
	s.hash.Sum(s.all[:0])
	sinks.Put(s.room)
	s.hash, s.buf, s.room = nil, nil, nil
}
