package mail

import (
	"fmt"
	"iter"
)

// Run is a run of octets of a Message: N octets of a Blob from Off on, or inserted ones.
type Run struct {
	Blob *Blob // nil: Data
	Off  int64
	N    int64
	Data []byte
}

// Runs gives what the message consists of, in its order; none is empty. The Blobs and octets are the Message's and valid
// until its Release.
func (m *Message) Runs() iter.Seq[Run] {
	return func(yield func(Run) bool) {
		for _, e := range m.extents {
			r := Run{N: e.n, Data: e.data}
			if e.data == nil {
				r.Blob, r.Off = m.of(e), e.off
			}
			if !yield(r) {
				return
			}
		}
	}
}

// Compose makes a Message of runs, most of which should lie in b. It takes references of its own on b and on every other
// Blob; Data must not be changed any more. The error is of a run that does not lie within its Blob.
func Compose(b *Blob, runs []Run) (*Message, error) {
	extents := make([]extent, 0, len(runs))
	for i, r := range runs {
		e := extent{off: r.Off, n: r.N, data: r.Data}
		switch {
		case r.Blob == nil && r.N != int64(len(r.Data)) || r.Blob != nil && r.Data != nil:
			return nil, fmt.Errorf("mail: compose: run %d is not of one kind", i)
		case r.N < 0:
			return nil, fmt.Errorf("mail: compose: run %d has %d octets", i, r.N)
		case r.N == 0:
			continue
		case r.Blob != nil && (r.Off < 0 || r.Off > r.Blob.Size() || r.N > r.Blob.Size()-r.Off):
			return nil, fmt.Errorf("mail: compose: run %d is not within its content", i)
		case r.Blob != nil && r.Blob != b:
			e.blob = r.Blob
		}
		extents = append(extents, e)
	}
	if !b.acquire() {
		return nil, fmt.Errorf("mail: compose: %w", ErrReleased)
	}
	m := newMessage(b, extents)
	for _, e := range m.extents {
		if e.blob == nil || m.refers(e.blob) {
			continue
		}
		if !e.blob.acquire() {
			m.Release()
			return nil, fmt.Errorf("mail: compose: %w", ErrReleased)
		}
		m.others = append(m.others, e.blob)
	}
	return m, nil
}

// refers reports whether m has a reference on another Blob already.
func (m *Message) refers(b *Blob) bool {
	for _, o := range m.others {
		if o == b {
			return true
		}
	}
	return false
}
