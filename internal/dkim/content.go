package dkim

import (
	"fmt"
	"io"
	"sync"

	"github.com/postern-mail/postern/mail"
)

// Material is what all signatures of one content are judged by: its fields, and the hashes of its body that its DKIM
// and ARC message signatures need, taken in one pass. It is made once per content and shared by whoever asks.
type Material struct {
	Fields *Fields
	Bodies *Bodies

	read []*Check // the signatures as they were read, nobody's to change
}

// MaxReported is how many DKIM signatures of a message are read and told of; those beyond are not even read.
const MaxReported = 50

// Checks gives the DKIM signatures of the content, top to bottom, the first MaxReported of them: to each caller its own.
func (m *Material) Checks() []*Check {
	all := make([]*Check, len(m.read))
	for i, c := range m.read {
		s := *c.Signature
		all[i] = &Check{Signature: &s, Index: c.Index, Result: c.Result, Reason: c.Reason}
	}
	return all
}

// MaterialOf gives the Material of a content. The error means that the content could not be read. Where a limit has
// cut the header (mail.Header.Truncated) it is not all of the message's: who judges by it must ask.
func MaterialOf(c *mail.Content) (*Material, error) {
	type made struct {
		m   *Material
		err error
	}
	got := mail.Memo(c, "dkim.material", func() made {
		m, err := newMaterial(c)
		return made{m, err}
	})
	return got.m, got.err
}

func newMaterial(c *mail.Content) (*Material, error) {
	header := c.Header()
	if err := c.Err(); err != nil {
		return nil, fmt.Errorf("dkim: read the header: %w", err)
	}
	m := &Material{Fields: NewFields(header.Fields()), Bodies: &Bodies{}}
	m.read = Checks(m.Fields, MaxReported)
	if header.Truncated() {
		return m, nil // nothing is judged by a part of a header
	}
	want(m.Bodies, m.read)
	for _, i := range m.Fields.Named("arc-message-signature") {
		want(m.Bodies, []*Check{NewCheck(m.Fields, i, ARCMessage)})
	}
	return m, m.Bodies.Hash(Body(c.Blob(), header.Octets(), c.Blob().Size()))
}

// Body gives the octets of a content or of a message between two offsets, to be hashed.
func Body(r io.ReaderAt, from, to int64) io.WriterTo {
	return section{io.NewSectionReader(r, from, max(to-from, 0))}
}

type section struct{ r *io.SectionReader }

// WriteTo implements io.WriterTo, with one buffer for all.
func (s section) WriteTo(w io.Writer) (int64, error) {
	buf, _ := buffers.Get().(*[bufferSize]byte)
	defer buffers.Put(buf)
	n, err := io.CopyBuffer(w, struct{ io.Reader }{s.r}, buf[:])
	if err == nil && n != s.r.Size() {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

const bufferSize = 64 << 10

var buffers = sync.Pool{New: func() any { return new([bufferSize]byte) }}
