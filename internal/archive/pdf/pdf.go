// Package pdf looks for what is active in PDF files: JavaScript, programs to start, files inside. It is a scanner
// that expects hostile files: it takes every object that lies anywhere in the file, whatever the cross-reference
// tables say. It is not a renderer, and decodes no picture.
package pdf

import (
	"bytes"
	"context"
	"errors"

	"github.com/postern-mail/postern/internal/archive"
	"github.com/postern-mail/postern/internal/archive/tell"
)

// headSize is how far from its start a file may begin to be a PDF (PDF Reference 1.7, H.3 note 13).
const headSize = 1024

// Is reports whether a reader of PDF takes a file with this head: `%PDF-` or `%!PS-Adobe-N.n PDF-` within the first
// 1024 octets, or `%FDF-` (form data, ISO 32000-1 12.7.7) at the start.
func Is(head []byte) bool {
	if bytes.HasPrefix(head, []byte("%FDF-")) || bytes.HasPrefix(head, []byte("%PDF")) {
		return true
	}
	head = head[:min(len(head), headSize+len("%!PS-Adobe-0.0 PDF-"))]
	if at := bytes.Index(head, []byte("%PDF-")); at >= 0 && at < headSize {
		return true
	}
	at := bytes.Index(head, []byte("%!PS-Adobe-"))
	if at < 0 || at >= headSize {
		return false
	}
	line := head[at:]
	if end := bytes.IndexAny(line, "\r\n"); end >= 0 {
		line = line[:end]
	}
	return bytes.Contains(line, []byte("PDF-"))
}

// Walk is an archive.Walk of a PDF. Its entries are the embedded files; its signs are of the kinds ActivePDF,
// Encrypted (what the empty user password does not open), Unreadable and Bomb. A file whose active parts are all
// of the harmless kinds, such as going to a page when it is opened, gives no sign.
func Walk(ctx context.Context, f *archive.File, b *archive.Budget, v archive.Visitor) error {
	w := &walker{ctx: ctx, budget: b, visitor: v, t: tell.New(b, v), streams: map[place]*attachment{}}
	w.work = freeWork + workFactor*f.Size()
	w.sources[inFile] = newWindow(ctx, f)
	defer w.close()
	err := w.walk(f)
	if err := w.failed(); err != nil {
		return err // whatever was made of the octets that could not be read
	}
	var spent *archive.ErrBudget
	switch {
	case errors.As(err, &spent):
		return w.t.Sign(archive.Bomb, "%s", spent.What)
	case errors.Is(err, errWork):
		return w.t.Sign(archive.Bomb, "its objects lie inside one another, or refer to one another without end")
	}
	return err
}

// How much may be read of a file's own octets, those of its object streams included: each once to find the objects, and
// those that matter again. What is far above that is read again and again.
const (
	freeWork   = 4 << 20
	workFactor = 16
)

// errWork ends the walk of a file that makes us read the same octets again and again.
var errWork = errors.New("pdf: too much work")

// walker is the state of one walk.
type walker struct {
	ctx     context.Context // of one call
	budget  *archive.Budget
	visitor archive.Visitor

	sources [2]*window // by where
	unpacks *archive.File
	work    int64 // octets that may still be lexed
	readErr error // of the octets of a stream

	index       []entry   // of all objects, sorted by number once the scan is over
	matters     []matter  // objects that hold a word that matters
	trailers    []place   // dictionaries that name an encryption
	containers  []place   // object streams
	security    *security // nil where nothing is encrypted
	locked      bool      // it is encrypted, and we have no key
	cache       map[place]*object
	streams     map[place]*attachment
	attachments []*attachment // in the order in which they were found
	treeNames   map[int32][]string

	t *tell.Teller
}

func (w *walker) walk(f *archive.File) error {
	if err := w.scanFile(); err != nil {
		return err
	}
	if len(w.index) == 0 && len(w.trailers) == 0 && len(w.matters) == 0 {
		return nil // no reader shows anything of it
	}
	w.sortIndex()
	if err := w.unlock(); err != nil {
		return err
	}
	if err := w.unpackObjects(); err != nil {
		return err
	}
	w.sortIndex()
	for _, at := range w.matters {
		if err := w.ctx.Err(); err != nil {
			return err
		}
		o, err := w.objectAt(at.at)
		if err != nil {
			return err
		}
		if o.num < 0 {
			o.num = at.num
		}
		if err := w.examine(o); err != nil {
			return err
		}
	}
	return w.giveAttachments()
}

func (w *walker) close() {
	if w.unpacks != nil {
		_ = w.unpacks.Close()
	}
}
