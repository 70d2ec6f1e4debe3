// Package outlook reads the messages that Outlook saves as files, .msg (MS-OXMSG): their attachments, the messages
// among these included, and their bodies. It is not a reader of what lies in the attachments.
package outlook

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"strconv"
	"strings"

	"golang.org/x/text/encoding"

	"github.com/postern-mail/postern/internal/archive"
	"github.com/postern-mail/postern/internal/archive/mapi"
	"github.com/postern-mail/postern/internal/archive/ole"
	"github.com/postern-mail/postern/internal/archive/tell"
)

// Type is the media type of such a message.
const Type = "application/vnd.ms-outlook"

// The names of what a message is made of (MS-OXMSG 2.1.3, 2.2.2, 2.4).
const (
	properties = "__properties_version1.0"
	valueOf    = "__substg1.0_"
	attachment = "__attach_version1.0_"
)

// text is how many octets of a name are read.
const text = 64 << 10

// Is reports whether a compound file, or a folder in one, is a message.
func Is(root *ole.Storage) bool {
	if root.Stream(properties) != nil {
		return true
	}
	for _, s := range root.Streams {
		if _, _, ok := property(s.Name); ok {
			return true
		}
	}
	return false
}

// Walk tells of the bodies of a message, as entries without a name, and of its attachments. One that is a message
// again is told of as an entry of the type Type without content, behind which its own entries follow; each such level
// is entered in the budget. It has the shape of archive.Walk.
func Walk(ctx context.Context, f *archive.File, b *archive.Budget, v archive.Visitor) error {
	w := &walker{ctx: ctx, b: b, t: tell.New(b, v)}
	root, problem, err := ole.Open(ctx, f)
	if err != nil {
		return err
	}
	if err := w.t.Problem("outlook", problem); err != nil || root == nil {
		return err
	}
	if !Is(root) {
		return w.t.Sign(archive.Unreadable, "outlook: it is no message")
	}
	if err = w.message(root, outermostHeader); errors.Is(err, errSpent) {
		return nil
	}
	return err
}

// errSpent ends a walk whose budget is spent, of which the visitor has been told.
var errSpent = errors.New("outlook: the budget is spent")

type walker struct {
	ctx  context.Context
	b    *archive.Budget
	t    *tell.Teller
	page encoding.Encoding // of 8-bit text, nil for unknown
	read error             // the first error of reading the file
}

// property reads the name of a stream or storage that holds a value (MS-OXMSG 2.1.3): eight digits of the identifier
// and the type, and for one of several values its number.
func property(name string) (id, kind uint32, ok bool) {
	const digits = 8
	if len(name) < len(valueOf)+digits || !strings.EqualFold(name[:len(valueOf)], valueOf) {
		return 0, 0, false
	}
	tag, err := strconv.ParseUint(name[len(valueOf):len(valueOf)+digits], 16, 32)
	return uint32(tag) >> 16, uint32(tag) & 0xffff &^ mapi.Multiple, err == nil
}

func (w *walker) message(s *ole.Storage, header int) error {
	const codePage, internetCodePage = 0x3ffd, 0x3fde
	outer := w.page
	defer func() { w.page = outer }()
	w.page = nil
	numbers, err := w.numbers(s, header)
	if err != nil {
		return err
	}
	for _, id := range []uint32{internetCodePage, codePage} {
		if page := mapi.CodePage(numbers[id]); page != nil {
			w.page = page
		}
	}
	for _, stream := range s.Streams {
		id, kind, ok := property(stream.Name)
		mediaType := mapi.BodyType(id)
		if !ok || mediaType == "" || stream.Size == 0 {
			continue
		}
		f, err := w.open(stream, "the body of the message")
		if err != nil {
			return err
		}
		if f == nil {
			continue
		}
		e := &archive.Entry{Type: mediaType, Size: -1}
		if err := w.entry(e, mapi.BodyText(id, kind, w.source(f))); err != nil {
			return err
		}
	}
	for _, child := range s.Storages {
		if len(child.Name) < len(attachment) || !strings.EqualFold(child.Name[:len(attachment)], attachment) {
			continue
		}
		if err := w.attachment(child); err != nil {
			return err
		}
	}
	return nil
}

// The octets of the header of a stream of properties, by what it belongs to (MS-OXMSG 2.4.1).
const (
	outermostHeader  = 32
	embeddedHeader   = 24
	attachmentHeader = 8
)

// numbers gives the properties of four octets, which lie in one stream in entries of 16 octets (MS-OXMSG 2.4.2).
func (w *walker) numbers(s *ole.Storage, header int) (map[uint32]uint32, error) {
	const entry, typeInteger = 16, 0x0003
	numbers := map[uint32]uint32{}
	stream := s.Stream(properties)
	if stream == nil {
		return numbers, nil
	}
	f, err := w.open(stream, "the properties")
	if err != nil || f == nil {
		return numbers, err
	}
	raw, err := f.Head(text)
	if err != nil {
		return nil, err
	}
	for at := header; at+entry <= len(raw); at += entry {
		if tag := binary.LittleEndian.Uint32(raw[at:]); tag&0xffff == typeInteger {
			numbers[tag>>16] = binary.LittleEndian.Uint32(raw[at+8:])
		}
	}
	return numbers, nil
}

// attachment tells of one attachment (MS-OXMSG 2.2.2).
func (w *walker) attachment(s *ole.Storage) error {
	var a mapi.Attached
	numbers, err := w.numbers(s, attachmentHeader)
	if err != nil {
		return err
	}
	a.Method = numbers[mapi.AttachMethod]
	var contents []*ole.Stream
	for _, stream := range s.Streams {
		id, kind, ok := property(stream.Name)
		switch {
		case !ok:
		case id == mapi.AttachData:
			contents = append(contents, stream)
		case mapi.IsName(id, kind):
			f, err := w.open(stream, "the name of an attachment")
			if err != nil {
				return err
			}
			if f == nil {
				continue
			}
			raw, err := f.Head(text)
			if err != nil {
				return err
			}
			a.AddRaw(id, kind, raw, w.page)
		}
	}
	told := false
	for _, stream := range contents {
		f, err := w.open(stream, "the content of "+tell.Name(a.Names()))
		if err != nil {
			return err
		}
		told = true
		e := &archive.Entry{Names: a.Names(), Type: a.Type(), Size: stream.Size}
		var content io.Reader
		if f != nil {
			content = w.source(f)
		}
		if err := w.entry(e, content); err != nil {
			return err
		}
	}
	for _, child := range s.Storages {
		if id, _, ok := property(child.Name); ok && id == mapi.AttachData {
			told = true
			if err := w.object(&a, child); err != nil {
				return err
			}
		}
	}
	if target := a.Target(); !told || target != "" {
		return w.entry(&archive.Entry{Names: a.Names(), Type: a.Type(), Link: target, Size: -1}, nil)
	}
	return nil
}

// object tells of an attachment that is a folder: a message, or the object of another program, which is given as a
// compound file of its own.
func (w *walker) object(a *mapi.Attached, s *ole.Storage) error {
	e := &archive.Entry{Names: a.Names(), Type: a.Type(), Size: -1}
	if !Is(s) {
		content, err := compound(s, func(stream *ole.Stream) (io.Reader, int64, error) {
			f, err := w.open(stream, "a part of an object")
			if f == nil || err != nil {
				return nil, 0, err
			}
			return w.source(f), f.Size(), nil
		})
		if err != nil && !errors.Is(err, errLarge) {
			return err
		}
		if err := w.entry(e, content); err != nil {
			return err
		}
		return w.t.Problem(tell.Name(e.Names), err)
	}
	e.Type = Type
	if err := w.entry(e, nil); err != nil {
		return err
	}
	if problem := w.b.Enter(); problem != nil {
		return w.t.Problem("", problem)
	}
	defer w.b.Leave()
	return w.message(s, embeddedHeader)
}

// open gives a stream, nil where nothing of it can be read; of what is wrong with it the visitor is told.
func (w *walker) open(s *ole.Stream, what string) (*archive.File, error) {
	if err := w.ctx.Err(); err != nil {
		return nil, err
	}
	f, problem := s.File()
	return f, w.t.Problem(what, problem)
}

func (w *walker) entry(e *archive.Entry, content io.Reader) error {
	more, err := w.t.Entry(w.ctx, e, content)
	switch {
	case err != nil:
		return err
	case w.read != nil:
		return w.read
	case !more:
		return errSpent
	}
	return nil
}

// source is the content of f; an error of reading it is not taken for one of the content.
func (w *walker) source(f *archive.File) io.Reader { return &source{w, f.Reader()} }

type source struct {
	w *walker
	r io.Reader
}

func (s *source) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if err != nil && err != io.EOF && s.w.read == nil {
		s.w.read = err
	}
	return n, err
}
