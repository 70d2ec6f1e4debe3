package office

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"io"
	"strings"

	"github.com/postern-mail/postern/internal/archive"
	"github.com/postern-mail/postern/internal/archive/ole"
)

// IsXML reports whether a file that begins with head is a document that is one file of XML: of Word or Excel 2003, a
// package of OOXML in one file, or a flat file of OpenDocument.
func IsXML(head []byte) bool {
	if !likeXML(head) {
		return false
	}
	text := bytes.ReplaceAll(head, []byte{0}, nil) // as UTF-16 has it
	for _, mark := range []string{
		"<?mso-application", "schemas.microsoft.com/office/word/2003", "schemas.microsoft.com/office/2006/xmlPackage",
		"urn:schemas-microsoft-com:office:spreadsheet", "urn:oasis:names:tc:opendocument", ":wordDocument", "schemas.microsoft.com/visio/2003",
	} {
		if bytes.Contains(text, []byte(mark)) {
			return true
		}
	}
	return false
}

// WalkXML implements archive.Walk for documents that are one file of XML.
func WalkXML(ctx context.Context, f *archive.File, b *archive.Budget, v archive.Visitor) error {
	w := &walker{b: b, v: v}
	files := 0
	_, err := w.scanXML(ctx, "the document", f, func(name string, r io.Reader) error {
		files++
		return w.inline(ctx, name, r)
	})
	return w.end(err)
}

// inline looks at a file that stands in base64 within a document.
func (w *walker) inline(ctx context.Context, name string, r io.Reader) error {
	what := name
	if what == "" {
		what = "a file inside"
	}
	f, problem, err := archive.Spool(ctx, base64.NewDecoder(base64.RawStdEncoding, &letters{r: r}), w.b)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	if err := w.problem(what, problem); err != nil {
		return err
	}
	head, err := f.Head(64)
	if err != nil {
		return err
	}
	switch {
	case IsActiveMime(head):
		return w.walkActiveMime(ctx, f, what)
	case ole.Is(head):
		if known, err := w.project(ctx, f); known || err != nil {
			return err
		}
	}
	e := &archive.Entry{Size: f.Size(), File: f}
	if name != "" {
		e.Names = []string{name}
	}
	return w.give(e)
}

// letters passes on the letters of base64 only, up to the first padding.
type letters struct {
	r    io.Reader
	done bool
}

// Read implements io.Reader.
func (l *letters) Read(p []byte) (int, error) {
	for {
		if l.done {
			return 0, io.EOF
		}
		n, err := l.r.Read(p)
		kept := 0
		for _, c := range p[:n] {
			if c == '=' {
				l.done = true
				break
			}
			if isBase64(c) {
				p[kept] = c
				kept++
			}
		}
		if l.done {
			// The rest of the element is of no account, but must be read.
			if _, err := io.Copy(io.Discard, l.r); err != nil {
				return kept, err
			}
			err = nil
		}
		if kept > 0 || err != nil {
			return kept, err
		}
	}
}

func isBase64(c byte) bool {
	return c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '+' || c == '/'
}

// activeMime is how all packed compound files begin in base64, as far as it depends on nothing after.
const activeMime = "QWN0aXZlTWltZ"

// maxHidden is how many packed compound files are looked for in one text.
const maxHidden = 64

// WalkMHTML implements archive.Walk for Web pages in one file as Word and Excel save them. Their parts are those of a
// mail, and best read so; this finds what runs in them even where Word takes for one what no mail program does: the
// packed compound file is looked for in base64 wherever it may stand.
func WalkMHTML(ctx context.Context, f *archive.File, b *archive.Budget, v archive.Visitor) error {
	w := &walker{b: b, v: v}
	return w.end(w.hidden(ctx, f))
}

func (w *walker) hidden(ctx context.Context, f *archive.File) error {
	r := bufio.NewReaderSize(f.Reader(), 64<<10)
	matched, found := 0, 0
	var start int64
	for at := int64(0); ; at++ {
		if at%(1<<16) == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		c, err := r.ReadByte()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		switch {
		case c == activeMime[matched]:
			if matched == 0 {
				start = at
			}
			matched++
		case matched > 0 && strings.IndexByte(" \t\r\n", c) >= 0:
		case c == activeMime[0]:
			matched, start = 1, at
		default:
			matched = 0
		}
		if matched < len(activeMime) {
			continue
		}
		matched = 0
		if found++; found > maxHidden {
			w.say(archive.Unreadable, "", "there are more than %d packed compound files in it", maxHidden)
			return nil
		}
		if err := w.inline(ctx, "a packed compound file", &run{r: bufio.NewReader(f.Section(start, f.Size()).Reader())}); err != nil {
			return err
		}
	}
}

// run reads base64 up to the first octet that is neither of it nor between lines.
type run struct{ r *bufio.Reader }

// Read implements io.Reader.
func (r *run) Read(p []byte) (n int, err error) {
	for n < len(p) {
		c, err := r.r.ReadByte()
		if err != nil {
			return n, err
		}
		if !isBase64(c) && strings.IndexByte(" \t\r\n=", c) < 0 {
			return n, io.EOF
		}
		p[n] = c
		n++
	}
	return n, nil
}
