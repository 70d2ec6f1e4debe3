package mail

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"sort"
	"sync/atomic"
)

// extent is a run of octets of a Message.
type extent struct {
	off, n int64  // of the Blob
	data   []byte // or these octets, when not nil
	blob   *Blob  // another Blob than the Message's, when not nil
	end    int64  // offset in the message at which it ends
}

// Message is what goes to the next server: runs of octets of a Blob, and inserted octets between them. It
// can be read any number of times, by several readers at once. It keeps a reference of the Blob until
// Release.
type Message struct {
	blob     *Blob
	others   []*Blob  // that extents lie in, each with a reference
	extents  []extent // none is empty
	released atomic.Bool
}

// NewMessage makes a Message of the whole of b, on which it takes a reference of its own.
func NewMessage(b *Blob) *Message {
	return newMessage(b.Retain(), []extent{{n: b.Size()}})
}

// newMessage makes a Message of extents, and takes them and the caller's reference on b over.
func newMessage(b *Blob, ext []extent) *Message {
	m := &Message{blob: b, extents: ext[:0]}
	var end int64
	for _, e := range ext {
		if e.data != nil {
			e.n = int64(len(e.data))
		}
		if e.n > 0 {
			end += e.n
			e.end = end
			m.extents = append(m.extents, e)
		}
	}
	return m
}

// Prepend gives a Message of the octets of top followed by those of m. Nothing is copied: top must not be
// changed any more. The new Message has references of its own, so that either can be released before the
// other. It panics where m was released.
func (m *Message) Prepend(top []byte) *Message {
	if m.released.Load() {
		panic("mail: Prepend to a released Message")
	}
	n := newMessage(m.blob.Retain(), slices.Concat([]extent{{data: top}}, m.extents))
	for _, b := range m.others {
		n.others = append(n.others, b.Retain())
	}
	return n
}

// Header reads the header section, within the limits that l sets on the header of a message; the body begins
// at Octets() of it, see Tail. What a limit leaves out makes it Truncated. The error is of reading.
func (m *Message) Header(l Limits) (*Header, error) {
	l = l.withDefaults()
	h, _, err := readHeader(m, 0, m.Size(), l.HeaderOctets, l.Fields)
	return h, err
}

// Tail gives the octets from off on, which can be written out any number of times.
func (m *Message) Tail(off int64) io.WriterTo { return tail{m, off} }

type tail struct {
	m   *Message
	off int64
}

// WriteTo implements io.WriterTo, as Message.WriteTo does.
func (t tail) WriteTo(w io.Writer) (int64, error) {
	if t.off < 0 {
		return 0, errors.New("mail: read at a negative offset")
	}
	return t.m.writeFrom(t.off, w)
}

// Size gives the number of octets.
func (m *Message) Size() int64 {
	if len(m.extents) == 0 {
		return 0
	}
	return m.extents[len(m.extents)-1].end
}

// Release gives the reference on the Blob back. It is safe to call it twice.
func (m *Message) Release() {
	if m.released.Swap(true) {
		return
	}
	m.blob.Release()
	for _, b := range m.others {
		b.Release()
	}
}

// WriteTo writes the message to w, in blocks of at most 64 KiB. It never ends early without an error:
// octets that can't be read give ErrReleased, io.ErrUnexpectedEOF or the error of the disk.
func (m *Message) WriteTo(w io.Writer) (int64, error) { return m.writeFrom(0, w) }

func (m *Message) writeFrom(pos int64, w io.Writer) (int64, error) {
	start := pos
	// A released message is over as a whole, also where its octets lie beside the Blob.
	if m.released.Load() || !m.blob.acquire() {
		return 0, ErrReleased
	}
	defer m.blob.Release()
	write := func(p []byte) error {
		n, err := w.Write(p)
		if pos += int64(n); err == nil && n < len(p) {
			err = io.ErrShortWrite
		}
		return err
	}
	for i := m.find(pos); i < len(m.extents); i++ {
		e, skip := m.extents[i], pos-m.start(i)
		var err error
		if e.data == nil {
			err = m.of(e).view(e.off+skip, e.n-skip, write)
		} else {
			for p := e.data[skip:]; len(p) > 0 && err == nil; {
				k := min(len(p), blockSize)
				err, p = write(p[:k]), p[k:]
			}
		}
		if err != nil {
			return pos - start, err
		}
	}
	return pos - start, nil
}

// Span is a run of octets of a Message, which must not be changed.
type Span struct {
	Octets  []byte
	Lasting bool // they are valid until Spans returns, and not only until the func that it calls does
	Dotless bool // no dot stands behind a CRLF in them (RFC 5321 4.5.2)
}

// Spans hands the message to f from its first octet on, without a copy where it is in memory. The error is the one of f, or
// that of WriteTo; then f has not seen all.
func (m *Message) Spans(f func(Span) error) error {
	if m.released.Load() || !m.blob.acquire() {
		return ErrReleased
	}
	defer m.blob.Release()
	for _, e := range m.extents {
		b := m.of(e)
		var err error
		switch {
		case e.data != nil:
			err = f(Span{Octets: e.data, Lasting: true})
		case b == m.blob && b.file == nil && e.off+e.n <= b.size:
			err = f(Span{Octets: b.mem[e.off : e.off+e.n], Lasting: true, Dotless: b.dotless})
		default:
			err = b.view(e.off, e.n, func(p []byte) error { return f(Span{Octets: p, Dotless: b.dotless}) })
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// of gives the Blob that an extent lies in.
func (m *Message) of(e extent) *Blob {
	if e.blob != nil {
		return e.blob
	}
	return m.blob
}

// find gives the index of the extent that holds offset pos, and len(m.extents) at the end.
func (m *Message) find(pos int64) int {
	return sort.Search(len(m.extents), func(i int) bool { return m.extents[i].end > pos })
}

// start is the offset at which extent i begins.
func (m *Message) start(i int) int64 { return m.extents[i].end - m.extents[i].n }

// ReadAt implements io.ReaderAt. The error is io.EOF at the end of the message, ErrReleased after Release,
// io.ErrUnexpectedEOF where the octets of an extent are not there.
func (m *Message) ReadAt(p []byte, off int64) (int, error) {
	switch {
	case off < 0:
		return 0, errors.New("mail: read at a negative offset")
	case m.released.Load():
		return 0, ErrReleased
	case len(p) == 0:
		return 0, nil
	}
	n := 0
	for i := m.find(off); i < len(m.extents) && n < len(p); i++ {
		e, skip := m.extents[i], off+int64(n)-m.start(i)
		q := p[n:min(int64(len(p)), int64(n)+e.n-skip)]
		if e.data != nil {
			copy(q, e.data[skip:])
		} else if k, err := m.of(e).ReadAt(q, e.off+skip); k < len(q) {
			if err == io.EOF {
				err = fmt.Errorf("mail: read content: %w", io.ErrUnexpectedEOF)
			}
			return n + k, err
		}
		n += len(q)
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// Open gives a reader of the message from its first octet on, independent of all others. It must not be
// used by several goroutines at once. After Release of the Message its reads give ErrReleased.
func (m *Message) Open() io.ReadSeekCloser { return &messageReader{m: m} }

type messageReader struct {
	m      *Message
	pos    int64
	closed bool
}

var errReaderClosed = errors.New("mail: reader is closed")

// Read implements io.Reader.
func (r *messageReader) Read(p []byte) (int, error) {
	if r.closed {
		return 0, errReaderClosed
	}
	n, err := r.m.ReadAt(p, r.pos)
	r.pos += int64(n)
	if n > 0 && err == io.EOF {
		err = nil
	}
	return n, err
}

// WriteTo implements io.WriterTo, for io.Copy.
func (r *messageReader) WriteTo(w io.Writer) (int64, error) {
	if r.closed {
		return 0, errReaderClosed
	}
	n, err := r.m.writeFrom(r.pos, w)
	r.pos += n
	return n, err
}

// Seek implements io.Seeker.
func (r *messageReader) Seek(offset int64, whence int) (int64, error) {
	if r.closed {
		return 0, errReaderClosed
	}
	switch whence {
	case io.SeekStart:
	case io.SeekCurrent:
		offset += r.pos
	case io.SeekEnd:
		offset += r.m.Size()
	default:
		return 0, fmt.Errorf("mail: seek: unknown whence %d", whence)
	}
	if offset < 0 {
		return 0, errors.New("mail: seek before the start of the message")
	}
	r.pos = offset
	return offset, nil
}

// Close ends the reader; the Message is not affected.
func (r *messageReader) Close() error {
	r.closed = true
	return nil
}
