package rtf

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"io"
	"strings"

	"github.com/postern-mail/postern/internal/archive"
)

var le = binary.LittleEndian

// compound begins an OLE2 file (MS-CFB 2.2).
const compound = "\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"

// found is an object that was made out.
type found struct {
	class   string
	linked  bool
	link    string // where a linked object is
	content *archive.File
	cut     bool // there is less of the content than it says
}

// headLimit is how much of an object is searched for what it is.
const headLimit = 16 << 10

// stringLimit is how long a string in the header of an object may be.
const stringLimit = 4096

// identify makes out an object in the form of MS-OLEDS 2.2; nil where it is of no known form.
func identify(f *archive.File) (*found, error) {
	head, err := f.Head(headLimit)
	if err != nil {
		return nil, err
	}
	if o := parseOLE1(head, f); o != nil {
		return o, nil
	}
	// Word is not strict about the header, if only there is an OLE2 file.
	if i := bytes.Index(head, []byte(compound)); i >= 0 {
		return &found{content: f.Section(int64(i), f.Size())}, nil
	}
	return nil, nil
}

// parseOLE1 reads an EmbeddedObject or LinkedObject (MS-OLEDS 2.2.5, 2.2.6).
func parseOLE1(head []byte, f *archive.File) *found {
	const linked, embedded = 1, 2
	p := &cursor{rest: head}
	p.uint32() // the version: readers ignore it
	format := p.uint32()
	if format != linked && format != embedded {
		return nil
	}
	class, topic := p.ansi(), p.ansi()
	p.ansi() // item
	if p.bad {
		return nil
	}
	o := &found{class: class}
	if format == linked {
		o.linked, o.link = true, topic
		return o
	}
	size := int64(p.uint32())
	if p.bad {
		return nil
	}
	o.content = f.Section(int64(len(head)-len(p.rest)), size)
	o.cut = o.content.Size() < size
	return o
}

// cursor reads little-endian structures. Once it fails, it gives nothing more.
type cursor struct {
	rest []byte
	bad  bool
}

func (c *cursor) take(n int) []byte {
	if n < 0 || n > len(c.rest) {
		c.bad = true
	}
	if c.bad {
		return nil
	}
	p := c.rest[:n]
	c.rest = c.rest[n:]
	return p
}

func (c *cursor) uint16() uint16 {
	if p := c.take(2); p != nil {
		return le.Uint16(p)
	}
	return 0
}

func (c *cursor) uint32() uint32 {
	if p := c.take(4); p != nil {
		return le.Uint32(p)
	}
	return 0
}

// ansi reads a LengthPrefixedAnsiString (MS-OLEDS 2.1.4).
func (c *cursor) ansi() string {
	n := c.uint32()
	if n > stringLimit {
		c.bad = true
	}
	s, _, _ := bytes.Cut(c.take(int(n)), []byte{0})
	return latin(s...)
}

// zero reads a string that ends with a zero octet.
func (c *cursor) zero() string {
	i := bytes.IndexByte(c.rest, 0)
	if i < 0 || i > stringLimit {
		c.bad = true
		return ""
	}
	return string(c.take(i + 1)[:i])
}

// digest tells objects apart.
func (o *found) digest() (sum [sha256.Size]byte, err error) {
	h := sha256.New()
	if o.content != nil {
		if _, err := io.Copy(h, o.content.Reader()); err != nil {
			return sum, err
		}
	}
	_, _ = io.WriteString(h, o.class+"\x00"+o.link)
	h.Sum(sum[:0])
	return sum, nil
}

// found tells of an object.
func (w *walker) found(o *found, kind string) error {
	if err := w.class(o.class); err != nil {
		return err
	}
	if o.linked {
		if remote(o.link) {
			return w.t.Sign(archive.MacroAuto, "an object of class %.80q is loaded from %.200q", o.class, o.link)
		}
		return nil
	}
	if o.cut {
		if err := w.t.Sign(archive.Unreadable, "an object of class %.80q is cut short", o.class); err != nil {
			return err
		}
	}
	class, ole2, err := classOf(o.content)
	if err != nil {
		return err
	}
	if err := w.class(class); err != nil {
		return err
	}
	if w.object.ocx && kind == "objdata" && !form(o.class) {
		if err := w.t.Sign(archive.MacroAuto, "an ActiveX control of class %.80q is loaded", o.class); err != nil {
			return err
		}
	}
	name := o.class
	if name == "" {
		name = w.object.class
	}
	if strings.EqualFold(name, "Package") && !ole2 {
		return w.pack(o.content)
	}
	return w.entry(&archive.Entry{Size: o.content.Size(), File: o.content})
}

// classOf gives the class of an OLE2 file: that of its root (MS-CFB 2.6.1), as a name where it is one of those that
// matter here. OLE2 reports whether it is one at all.
func classOf(f *archive.File) (class string, ole2 bool, err error) {
	head, err := f.Head(512)
	if err != nil || !bytes.HasPrefix(head, []byte(compound)) {
		return "", false, err
	}
	if len(head) < 512 {
		return "", true, nil
	}
	shift := le.Uint16(head[30:])
	if shift != 9 && shift != 12 {
		return "", true, nil
	}
	id := make([]byte, 16)
	at := (int64(le.Uint32(head[48:]))+1)<<shift + 80
	if _, err := f.ReadAt(id, at); err != nil {
		return "", true, notEnd(err)
	}
	return classIDs[classID(id)], true, nil
}

func notEnd(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}
