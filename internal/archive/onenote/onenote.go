// Package onenote reads sections of OneNote for the files and pictures that are embedded in them. It does not follow
// the revisions of a section, as OneNote does: it looks for what is embedded in the whole of it, so that nothing can
// be hidden from it which OneNote finds, and finds what was deleted too. It is no reader of the notes.
package onenote

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"

	"github.com/postern-mail/postern/internal/archive"
	"github.com/postern-mail/postern/internal/archive/tell"
)

var le = binary.LittleEndian

// The identifiers of a file's type and of its form (MS-ONESTORE 2.3.1, 2.8.1), in the order of octets of MS-DTYP
// 2.3.4.2.
const (
	section       = "\xe4\x52\x5c\x7b\x8c\xd8\xa7\x4d\xae\xb1\x53\x78\xd0\x29\x96\xd3"
	contents      = "\xa1\x2f\xff\x43\xd9\xef\x76\x4c\x9e\xe2\x10\xea\x57\x22\x76\x5f"
	revisionStore = "\x3f\xdd\x9a\x10\x1b\x91\xf5\x49\xa5\xd0\x17\x91\xed\xc8\xae\xd8"
	packageStore  = "\x2f\xe9\x8d\x63\xd4\xa6\xc1\x4b\x9a\x36\xb3\xfc\x25\x11\xa5\xb7"
)

// formAt is where the form of a file stands.
const formAt = 48

// Is reports whether head is the start of a section of OneNote, or of a table of contents.
func Is(head []byte) bool {
	return bytes.HasPrefix(head, []byte(section)) || bytes.HasPrefix(head, []byte(contents))
}

// Walk reads a section: each embedded file is an entry. It is an archive.Walk.
func Walk(ctx context.Context, f *archive.File, b *archive.Budget, v archive.Visitor) error {
	head, err := f.Head(formAt + 16)
	if err != nil {
		return err
	}
	w := &walker{ctx: ctx, f: f, b: b, t: tell.New(b, v)}
	if err := w.search(); err != nil {
		return err
	}
	switch form := string(head[min(formAt, len(head)):]); {
	case form == packageStore:
		err = w.elements()
	case form != revisionStore && len(w.objects) == 0:
		err = w.t.Sign(archive.Unreadable, "a OneNote file of unknown form")
	}
	if err == nil {
		err = w.report()
	}
	if errors.Is(err, errSpent) {
		return nil
	}
	return err
}

// errSpent ends a walk whose budget has run out; the sign is given already.
var errSpent = errors.New("onenote: budget spent")

// limit is how many names, references and the like are kept of each sort.
const limit = 10000

// walker gathers what is in a section.
type walker struct {
	ctx context.Context //nolint:containedctx // it lives as long as one Walk
	f   *archive.File
	b   *archive.Budget
	t   *tell.Teller

	objects    []object
	hits       int
	names      []string // of embedded files
	known      map[string]bool
	byExt      map[string][]string // names by their extension, in lower case
	extensions map[[16]byte]string // of an object's file, by its identifier
	ids        map[int64][16]byte  // identifier of the object at a place
	encrypted  bool
}

// object is the content of an embedded file.
type object struct {
	at            int64 // where its structure begins
	start, length int64
}

// spent turns an error of the budget into its sign.
func (w *walker) spent(err error) error {
	var spent *archive.ErrBudget
	if !errors.As(err, &spent) {
		return err
	}
	if err := w.t.Sign(archive.Bomb, "%s", spent.What); err != nil {
		return err
	}
	return errSpent
}

// report tells of all that was found.
func (w *walker) report() error {
	if w.encrypted {
		if err := w.t.Sign(archive.Encrypted, "a section that is protected with a password"); err != nil {
			return err
		}
	}
	if len(w.objects) >= limit || len(w.names) >= limit || w.hits > hitLimit {
		if err := w.t.Sign(archive.Bomb, "more than %d embedded files", limit); err != nil {
			return err
		}
	}
	used := map[string]bool{}
	for _, o := range w.objects {
		if err := w.ctx.Err(); err != nil {
			return err
		}
		if err := w.object(o, used); err != nil {
			return err
		}
	}
	for _, name := range w.names {
		if used[name] {
			continue
		}
		used[name] = true
		if err := w.b.Entry(); err != nil {
			return w.spent(err)
		}
		if err := w.t.File(&archive.Entry{Names: []string{name}, Size: -1}); err != nil {
			return err
		}
	}
	return nil
}

// object tells of one file.
func (w *walker) object(o object, used map[string]bool) error {
	content := w.f.Section(o.start, o.length)
	if content.Size() < o.length {
		if err := w.t.Sign(archive.Unreadable, "an embedded file is cut short"); err != nil {
			return err
		}
	}
	err := w.b.Entry()
	if err == nil {
		// It lies open within the section, but may lie there many times over.
		err = w.b.Spend(content.Size())
	}
	if err != nil {
		return w.spent(err)
	}
	names := w.namesOf(o)
	for _, n := range names {
		used[n] = true
	}
	return w.t.File(&archive.Entry{Names: names, Size: o.length, File: content})
}
