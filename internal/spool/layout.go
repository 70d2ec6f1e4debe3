package spool

import (
	"fmt"
	"hash/crc32"
	"io"

	"github.com/postern-mail/postern/mail"
)

// largeOriginal is the size beyond which an original gets a file of its own, which may be that in which it came.
const largeOriginal = 256 << 10

// layout is how messages become runs of one row of octets: the original, and behind it what is put in its place.
type layout struct {
	original *mail.Blob
	large    bool // the original has a file of its own
	inserted []mail.Run
	end      int64 // of the row
	runs     [][][2]int64
	placed   map[place]int64 // what lies in the row already
}

// place names octets without looking at them: those of a run that several messages share.
type place struct {
	blob   *mail.Blob
	data   *byte
	off, n int64
}

func newLayout(original *mail.Blob, messages []*mail.Message, large int64) *layout {
	l := &layout{
		original: original, large: original.Size() > large, end: original.Size(),
		runs: make([][][2]int64, 0, len(messages)), placed: map[place]int64{},
	}
	for _, m := range messages {
		var runs [][2]int64
		for r := range m.Runs() {
			off := r.Off
			if r.Blob != original {
				off = l.insert(r)
			}
			if n := len(runs); n > 0 && runs[n-1][0]+runs[n-1][1] == off && !(l.large && off == original.Size()) {
				runs[n-1][1] += r.N // no run lies in two files
			} else {
				runs = append(runs, [2]int64{off, r.N})
			}
		}
		l.runs = append(l.runs, runs)
	}
	return l
}

// insert gives the place of octets in the row that are not the original's.
func (l *layout) insert(r mail.Run) int64 {
	p := place{blob: r.Blob, off: r.Off, n: r.N}
	if r.Blob == nil {
		p.data = &r.Data[0]
	}
	off, ok := l.placed[p]
	if !ok {
		off = l.end
		l.placed[p] = off
		l.inserted = append(l.inserted, r)
		l.end += r.N
	}
	return off
}

// octets gives how many octets ID.msg holds behind the record.
func (l *layout) octets() int64 {
	if l.large {
		return l.end - l.original.Size()
	}
	return l.end
}

// writeTo writes the octets that ID.msg holds behind the record.
func (l *layout) writeTo(w io.Writer) error {
	if !l.large {
		if err := l.writeOriginal(w); err != nil {
			return err
		}
	}
	for _, r := range l.inserted {
		if err := writeRun(w, r); err != nil {
			return err
		}
	}
	return nil
}

// writeOriginal writes the original.
func (l *layout) writeOriginal(w io.Writer) error {
	return writeRun(w, mail.Run{Blob: l.original, N: l.original.Size()})
}

// retain takes references on all that is to be written, until release.
func (l *layout) retain() {
	l.original.Retain()
	for _, r := range l.inserted {
		if r.Blob != nil {
			r.Blob.Retain()
		}
	}
}

func (l *layout) release() {
	l.original.Release()
	for _, r := range l.inserted {
		if r.Blob != nil {
			r.Blob.Release()
		}
	}
}

func writeRun(w io.Writer, r mail.Run) error {
	if r.Blob == nil {
		_, err := w.Write(r.Data)
		return err
	}
	if b, ok := r.Blob.Bytes(); ok {
		_, err := w.Write(b[r.Off : r.Off+r.N])
		return err
	}
	from := contentReader{r: r.Blob.Section(r.Off, r.N)}
	n, err := io.Copy(w, &from)
	if from.err == nil && err == nil && n != r.N {
		from.err = io.ErrUnexpectedEOF
	}
	if from.err != nil {
		return &contentError{err: from.err}
	}
	return err
}

// contentReader tells errors of reading from those of writing.
type contentReader struct {
	r   io.Reader
	err error
}

func (c *contentReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	if err != nil && err != io.EOF {
		c.err = err
	}
	return n, err
}

// sum gives the checksum of what write puts out.
func sum(write func(io.Writer) error) (uint32, error) {
	h := crc32.New(castagnoli)
	if err := write(h); err != nil {
		return 0, fmt.Errorf("spool: content: %w", err)
	}
	return h.Sum32(), nil
}
