// Package markup looks for script in HTML, XHTML, SVG and XML, and for files that they carry within themselves: data
// URLs, and the literals from which a script builds a download (HTML smuggling). It reads the tags one by one, as
// written; it is no browser, builds no document and runs nothing.
package markup

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"maps"
	"slices"
	"strconv"
	"unicode/utf8"

	"github.com/postern-mail/postern/internal/archive"
	"github.com/postern-mail/postern/internal/archive/tell"
)

// MaxText is how many octets of a document are looked at.
const MaxText = 32 << 20

// Bounds of one document.
const (
	maxLevels   = 5    // documents within attributes and comments
	maxContents = 2000 // decoded contents
	maxNested   = 5000 // documents within attributes and comments
	maxNames    = 16   // of one content
)

// Walk is an archive.Walk of a document. Its entries are the contents that could be decoded; its signs are of the
// kinds ActiveHTML (script), Script (an HTML application), Unreadable and Bomb. A document without script gives no
// sign, whatever pictures it carries.
func Walk(ctx context.Context, f *archive.File, b *archive.Budget, v archive.Visitor) error {
	return walk(ctx, f, b, v, false)
}

// WalkBody is an archive.Walk of the body of a message, in which no mail program runs script. It gives the contents
// of data URLs and of literals in scripts, and no sign of the kinds ActiveHTML and Script.
func WalkBody(ctx context.Context, f *archive.File, b *archive.Budget, v archive.Visitor) error {
	return walk(ctx, f, b, v, true)
}

func walk(ctx context.Context, f *archive.File, b *archive.Budget, v archive.Visitor, body bool) error {
	w := &walker{
		ctx: ctx, budget: b, visitor: v, body: body,
		t: tell.New(b, v), given: map[uint64]bool{}, seed: maphash.MakeSeed(),
	}
	text, err := f.Head(MaxText)
	if err != nil {
		return fmt.Errorf("markup: %w", err)
	}
	for _, r := range readings(text) {
		if err = w.reading(r); err != nil {
			break
		}
	}
	var spent *archive.ErrBudget
	if errors.As(err, &spent) {
		return w.sign(archive.Bomb, "%s", spent.What)
	}
	if err == nil && f.Size() > MaxText {
		return w.sign(archive.Unreadable, "only its first %d MiB are looked at", MaxText>>20)
	}
	return err
}

// walker is the state of one walk.
type walker struct {
	ctx     context.Context // of one call
	budget  *archive.Budget
	visitor archive.Visitor
	body    bool

	scripts   []string          // names that scripts give to downloads
	entities  map[string]string // of the document type, by their names
	nameWords int               // that were followed
	documents int               // documents within attributes and comments
	expanded  int               // values with entities
	pending   []content         // from scripts, given when all names are known
	given     map[uint64]bool   // contents, by their encoded form
	seed      maphash.Seed
	contents  int
	t         *tell.Teller
}

// reading looks at one reading of the document's octets.
func (w *walker) reading(text []byte) error {
	w.entities = nil
	if err := w.markup(text, false, 0); err != nil {
		return err
	}
	head := text[:min(len(text), 4096)]
	declared := bytes.Contains(head, []byte("<?xml")) || bytes.Contains(head, []byte("xmlns"))
	if kind := detect(head); kind == "svg" || kind == "xml" || declared && !w.body {
		w.entities = entities(text)
		for _, name := range slices.Sorted(maps.Keys(w.entities)) {
			if err := w.checkEntity(name, w.entities[name]); err != nil {
				return err
			}
		}
		if err := w.markup(text, true, 0); err != nil {
			return err
		}
	}
	return w.givePending()
}

// sign gives a sign, unless it is of no account in the body of a message.
func (w *walker) sign(k archive.Kind, format string, args ...any) error {
	if w.body && (k == archive.ActiveHTML || k == archive.Script) {
		return nil
	}
	return w.t.Sign(k, format, args...)
}

// active gives a sign of the kind ActiveHTML.
func (w *walker) active(format string, args ...any) error {
	return w.sign(archive.ActiveHTML, format, args...)
}

// content is something that can be decoded.
type content struct {
	names     []string
	mediaType string
	open      func() io.Reader
}

// give gives a content to the visitor, once for each encoded form.
func (w *walker) give(c content) error {
	if w.contents++; w.contents > maxContents {
		return w.sign(archive.Unreadable, "it carries more than %d encoded contents", maxContents)
	}
	if err := w.ctx.Err(); err != nil {
		return err
	}
	if err := w.budget.Entry(); err != nil {
		return err
	}
	f, problem, err := archive.Spool(w.ctx, c.open(), w.budget)
	if err != nil {
		return err
	}
	defer f.Close()
	if f.Size() == 0 && problem == nil {
		return nil
	}
	e := &archive.Entry{Names: c.names[:min(len(c.names), maxNames)], Type: c.mediaType, Size: -1, File: f}
	if err := w.visitor.File(e); err != nil {
		return err
	}
	return problem // only the budget can be one: the octets are in memory
}

// seen reports whether an encoded content was met before.
func (w *walker) seen(pieces ...[]byte) bool {
	var h maphash.Hash
	h.SetSeed(w.seed)
	for _, p := range pieces {
		_, _ = h.Write(p)
	}
	sum := h.Sum64()
	if w.given[sum] {
		return true
	}
	w.given[sum] = true
	return false
}

// givePending gives the contents of scripts, under each name that some script gives.
func (w *walker) givePending() error {
	pending := w.pending
	w.pending = nil
	for _, c := range pending {
		c.names = append(c.names, w.scripts...)
		if err := w.give(c); err != nil {
			return err
		}
	}
	return nil
}

// quote gives a text of the document for people, quoted and not too long.
func quote(s string) string {
	const most = 80
	if len(s) > 4*most {
		s = s[:4*most]
	}
	if utf8.RuneCountInString(s) > most {
		s = string([]rune(s)[:most]) + "…"
	}
	return strconv.Quote(s)
}
