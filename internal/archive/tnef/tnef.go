// Package tnef reads TNEF, the form in which Outlook wraps a message and its attachments into one file, winmail.dat
// (MS-OXTNEF). It is not a reader of what lies in the attachments, not even of further TNEF.
package tnef

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"

	"golang.org/x/text/encoding"

	"github.com/postern-mail/postern/internal/archive"
	"github.com/postern-mail/postern/internal/archive/mapi"
	"github.com/postern-mail/postern/internal/archive/tell"
)

// Type is the media type of TNEF.
const Type = "application/ms-tnef"

// magic begins every TNEF file.
const magic = "\x78\x9f\x3e\x22"

// Is reports whether a file that begins with head is TNEF.
func Is(head []byte) bool { return bytes.HasPrefix(head, []byte(magic)) }

// The attributes that matter, by the lower half of their identifiers (MS-OXTNEF 2.1.3.1): the upper one is a type, of
// which readers take no notice.
const (
	attBody       = 0x800c
	attRendData   = 0x9002
	attTitle      = 0x8010
	attData       = 0x800f
	attMetaFile   = 0x8011
	attTransport  = 0x9001
	attAttachment = 0x9005
	attProps      = 0x9003
	attCodePage   = 0x9007
)

// metafile is the media type of attMetaFile.
const metafile = "image/wmf"

// text is how many octets of a name are read.
const text = 64 << 10

// Walk tells of the attachments in a TNEF file, and of the bodies of the message as further entries without a name.
// It has the shape of archive.Walk. What an embedded message holds is an entry of the type Type.
func Walk(ctx context.Context, f *archive.File, b *archive.Budget, v archive.Visitor) error {
	w := &walker{ctx: ctx, f: f, t: tell.New(b, v)}
	head, err := f.Head(len(magic))
	if err != nil {
		return err
	}
	if !Is(head) {
		return w.t.Sign(archive.Unreadable, "tnef: it is no TNEF")
	}
	err = w.attributes()
	if err == nil {
		err = w.flush()
	}
	if err == errSpent {
		return nil
	}
	if err != nil || w.wrong == 0 {
		return err
	}
	return w.t.Sign(archive.Unreadable, "tnef: the checksums of %d attributes are wrong", w.wrong)
}

// errSpent ends a walk whose budget is spent, of which the visitor has been told.
var errSpent = &archive.ErrBudget{What: "spent"}

type walker struct {
	ctx   context.Context
	f     *archive.File
	t     *tell.Teller
	page  encoding.Encoding // of 8-bit text, nil for unknown
	att   *attachment
	wrong int // attributes with a wrong checksum
}

// attachment is what has been gathered of one.
type attachment struct {
	mapi.Attached
	contents []*archive.Entry
}

// attributes reads all of them (MS-OXTNEF 2.1.3).
func (w *walker) attributes() error {
	const header, sum = 9, 2
	at := int64(len(magic) + 2)
	head := make([]byte, header)
	for at < w.f.Size() {
		if err := w.ctx.Err(); err != nil {
			return err
		}
		n, err := w.f.ReadAt(head, at)
		if err != nil && err != io.EOF {
			return err
		}
		if n < header || head[0] != 1 && head[0] != 2 {
			return w.rest(at)
		}
		id, size := binary.LittleEndian.Uint16(head[1:]), int64(binary.LittleEndian.Uint32(head[5:]))
		at += header
		data := w.f.Section(at, size)
		if err := w.attribute(id, data); err != nil {
			return err
		}
		if data.Size() < size {
			return w.t.Sign(archive.Unreadable, "tnef: an attribute of %d octets ends after %d", size, data.Size())
		}
		if at += size; at+sum > w.f.Size() {
			break
		}
		if err := w.check(data, at); err != nil {
			return err
		}
		at += sum
	}
	return nil
}

// rest judges what is no attribute: blanks and zeros at the end are not worth a word.
func (w *walker) rest(at int64) error {
	tail, err := w.f.Section(at, text).Head(text)
	if err != nil {
		return err
	}
	if len(bytes.Trim(tail, "\x00\r\n \t")) == 0 && at+int64(len(tail)) == w.f.Size() {
		return nil
	}
	return w.t.Sign(archive.Unreadable, "tnef: %d octets behind the last attribute can't be read", w.f.Size()-at)
}

// check compares an attribute with its checksum, the sum of its octets.
func (w *walker) check(data *archive.File, at int64) error {
	var said [2]byte
	if _, err := w.f.ReadAt(said[:], at); err != nil && err != io.EOF {
		return err
	}
	sum, block := uint16(0), make([]byte, 32<<10)
	for r := data.Reader(); ; {
		n, err := r.Read(block)
		for _, c := range block[:n] {
			sum += uint16(c)
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
	}
	if sum != binary.LittleEndian.Uint16(said[:]) {
		w.wrong++
	}
	return nil
}

func (w *walker) attribute(id uint16, data *archive.File) error {
	switch id {
	case attRendData:
		if err := w.flush(); err != nil {
			return err
		}
		w.attached()
	case attTitle:
		return w.name(mapi.AttachFilename, mapi.TypeString8, data)
	case attTransport:
		return w.name(mapi.AttachTransport, mapi.TypeString8, data)
	case attData:
		w.attached().add("", data)
	case attMetaFile:
		w.attached().add(metafile, data)
	case attAttachment:
		return w.props(data, w.attachmentProp)
	case attBody:
		return w.body("text/plain", data.Reader())
	case attProps:
		return w.props(data, w.messageProp)
	case attCodePage:
		head, err := data.Head(4)
		if err != nil || len(head) < 4 {
			return err
		}
		w.page = mapi.CodePage(binary.LittleEndian.Uint32(head))
	}
	return nil
}

func (w *walker) props(data *archive.File, visit func(prop) error) error {
	problem, err := properties(data, visit)
	if err != nil || problem == nil {
		return err
	}
	return w.t.Problem("tnef", problem)
}

// attached gives the attachment that is being gathered.
func (w *walker) attached() *attachment {
	if w.att == nil {
		w.att = &attachment{}
	}
	return w.att
}

func (a *attachment) add(mediaType string, data *archive.File) {
	a.contents = append(a.contents, &archive.Entry{Type: mediaType, Size: data.Size(), File: data})
}

// name adds a name of the attachment in all its readings.
func (w *walker) name(id, kind uint32, data *archive.File) error {
	raw, err := data.Head(text)
	if err != nil {
		return err
	}
	w.attached().AddRaw(id, kind, raw, w.page)
	return nil
}

func (w *walker) attachmentProp(p prop) error {
	switch p.id {
	case mapi.AttachMethod:
		w.attached().Method = p.number
	case mapi.AttachData:
		switch p.kind {
		case mapi.TypeObject:
			return w.object(p.value)
		case mapi.TypeBinary:
			w.attached().add("", p.value)
		}
	default:
		if mapi.IsName(p.id, p.kind) {
			return w.name(p.id, p.kind, p.value)
		}
	}
	return nil
}

// object adds the content of an object behind the identifier of what it is (MS-OXTNEF 2.1.3.4.2).
func (w *walker) object(data *archive.File) error {
	head, err := data.Head(len(mapi.IMessage))
	if err != nil {
		return err
	}
	a := w.attached()
	switch string(head) {
	case mapi.IMessage:
		a.add(Type, data.Section(int64(len(head)), data.Size()))
	case mapi.IStorage, mapi.IStream:
		a.add("", data.Section(int64(len(head)), data.Size()))
	default:
		a.add("", data)
	}
	return nil
}

// messageProp takes the bodies of the message.
func (w *walker) messageProp(p prop) error {
	if p.value == nil || p.value.Size() == 0 {
		return nil
	}
	if mediaType := mapi.BodyType(p.id); mediaType != "" {
		return w.body(mediaType, mapi.BodyText(p.id, p.kind, p.value.Reader()))
	}
	return nil
}

func (w *walker) body(mediaType string, content io.Reader) error {
	return w.entry(&archive.Entry{Type: mediaType, Size: -1}, content)
}

func (w *walker) entry(e *archive.Entry, content io.Reader) error {
	more, err := w.t.Entry(w.ctx, e, content)
	if err == nil && !more {
		return errSpent
	}
	return err
}

// flush tells of the attachment that has been gathered, once for each content.
func (w *walker) flush() error {
	a := w.att
	if w.att = nil; a == nil {
		return nil
	}
	filled := false
	for _, e := range a.contents {
		filled = filled || e.Size > 0 && e.Type != metafile
	}
	names, told := a.Names(), false
	for _, e := range a.contents {
		if e.Size == 0 && (filled || told) {
			continue // the place of content that is told of in another form
		}
		told = told || e.Type != metafile
		content := e.File
		e.File = nil
		if e.Type != metafile {
			e.Names = names // that is the picture of an icon
		}
		if e.Type == "" {
			e.Type = a.Type()
		}
		if err := w.entry(e, content.Reader()); err != nil {
			return err
		}
	}
	if target := a.Target(); !told || target != "" {
		return w.entry(&archive.Entry{Names: names, Link: target, Size: -1}, nil)
	}
	return nil
}
