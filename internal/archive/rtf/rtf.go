// Package rtf reads Rich Text Format for the objects that it holds, and for what makes a word processor load or
// start something when the document is opened. It reads as leniently as Word does, who is led astray by nothing;
// it is no reader of the text or of pictures.
package rtf

import (
	"bytes"
	"context"
	"errors"
	"strings"

	"github.com/postern-mail/postern/internal/archive"
	"github.com/postern-mail/postern/internal/archive/tell"
)

// lead is how far from the start an RTF document may begin.
const lead = 512

// headOf is all that Word asks for: not {\rtf1, as the specification does.
var headOf = []byte(`{\rt`)

// Is reports whether head is the start of an RTF document. What stands in front of it within some hundred octets
// is passed over.
func Is(head []byte) bool {
	return bytes.Contains(head[:min(len(head), lead+len(headOf))], headOf)
}

// Walk reads an RTF document: each object is an entry; links, fields and templates that load or start something are
// signs. It is an archive.Walk.
func Walk(ctx context.Context, f *archive.File, b *archive.Budget, v archive.Visitor) error {
	w := &walker{ctx: ctx, f: f, b: b, t: tell.New(b, v), s: newScanner(ctx, f, 0), uc: 1}
	err := w.scan()
	if errors.Is(err, errSpent) {
		return nil
	}
	return err
}

// errSpent ends a walk whose budget has run out; the sign is given already.
var errSpent = errors.New("rtf: budget spent")

// spent gives the sign for a budget that has run out, and the error that ends the walk.
func (w *walker) spent(err *archive.ErrBudget) error {
	if err := w.t.Sign(archive.Bomb, "%s", err.What); err != nil {
		return err
	}
	return errSpent
}

// object is what is known of an object while it is read.
type object struct {
	depth int
	class string // \objclass
	ocx   bool   // \objocx
}

// collector gathers the text of a destination.
type collector struct {
	kind  string // the control word
	depth int
	text  []byte // UTF-8
}

// nesting is how many collectors may be open within one another, and textLimit how much text each takes.
const (
	nesting   = 64
	textLimit = 4096
)

// walker reads a document from start to end. What it knows of groups is only a help: a control word that matters
// counts wherever it stands.
type walker struct {
	t   *tell.Teller
	ctx context.Context //nolint:containedctx // it lives as long as one Walk
	f   *archive.File
	b   *archive.Budget
	s   *scanner

	depth   int
	ended   bool  // the outermost group is closed
	after   int64 // octets behind it
	star    bool  // \* stands before the next word
	ignore  int   // depth of a group without meaning, 0 for none
	uc      int   // \ucN
	skip    int   // characters that stand for the last \uN
	object  object
	open    []collector
	decoded int64 // octets of hexadecimal that were read
}

func (w *walker) scan() error {
	for {
		t, err := w.s.next()
		if err != nil {
			return err
		}
		switch t.kind {
		case end:
			return w.finish()
		case groupStart:
			w.depth++
			w.star, w.skip = false, 0
		case groupEnd:
			err = w.leave()
		case word:
			err = w.word(t)
			w.star = false
		case symbol:
			w.symbol(t.char)
		case char:
			w.text([]byte{t.char}, true)
		case text:
			w.text(t.text, false)
		}
		if err != nil {
			return err
		}
	}
}

func (w *walker) finish() error {
	for len(w.open) > 0 {
		if err := w.collected(); err != nil {
			return err
		}
	}
	if w.after > lead {
		return w.t.Sign(archive.Unreadable, "%d octets behind the end of the document", w.after)
	}
	return nil
}

func (w *walker) leave() error {
	w.star, w.skip = false, 0
	if w.depth > 0 {
		w.depth--
	}
	w.ended = w.ended || w.depth == 0
	if w.depth < w.ignore {
		w.ignore = 0
	}
	if w.depth < w.object.depth {
		w.object = object{}
	}
	for len(w.open) > 0 && w.open[len(w.open)-1].depth > w.depth {
		if err := w.collected(); err != nil {
			return err
		}
	}
	return nil
}

func (w *walker) symbol(c byte) {
	switch c {
	case '*':
		w.star = true
	case '\\', '{', '}':
		w.text([]byte{c}, false)
	case '~', '\r', '\n', '\t':
		w.text([]byte{' '}, false)
	case '_':
		w.text([]byte{'-'}, false)
	}
}

// text adds to the innermost collector; escaped says that it is one character written as \'hh.
func (w *walker) text(p []byte, escaped bool) {
	if w.ended && !escaped {
		w.after += int64(len(bytes.Trim(p, " \t\r\n\x00\x1a")))
	}
	if len(w.open) == 0 || w.ignore > 0 {
		return
	}
	c := &w.open[len(w.open)-1]
	for _, o := range p {
		switch {
		case !escaped && (o == '\r' || o == '\n' || o == 0):
		case w.skip > 0:
			w.skip--
		case len(c.text) < textLimit:
			c.text = append(c.text, latin(o)...)
		}
	}
}

func (w *walker) word(t token) error {
	switch t.word {
	case "bin":
		return w.binary(t.number)
	case "uc":
		w.uc = int(min(max(t.number, 0), 1<<16))
	case "u":
		w.skip = 0
		w.text([]byte(string(rune(uint16(t.number)))), true)
		w.skip = w.uc
	case "tab", "par", "line", "cell":
		w.text([]byte{' '}, false)
	case "object":
		w.object = object{depth: w.depth}
	case "objocx":
		w.object.ocx = true
	case "objhtml":
		return w.t.Sign(archive.MacroAuto, `a web page within the document (\objhtml)`)
	case "objupdate":
		return w.t.Sign(archive.MacroAuto, `an object is updated when the document is opened (\objupdate)`)
	case "objautlink":
		return w.t.Sign(archive.MacroAuto, `a linked object is updated when the document is opened (\objautlink)`)
	case "objdata", "datastore":
		return w.data(t.word)
	case "objclass", "oleclsid", "fldinst", "template":
		return w.collect(t.word)
	default:
		if w.star && w.ignore == 0 && w.depth > 0 {
			w.ignore = w.depth
		}
	}
	return nil
}

// binary passes over n octets that are not text.
func (w *walker) binary(n int64) error {
	if n <= 0 {
		return nil
	}
	if n > w.f.Size()-w.s.pos {
		return w.t.Sign(archive.Unreadable, `\bin announces more octets than there are`)
	}
	found, err := w.s.pass(n, []byte(`\obj`))
	if err != nil || !found {
		return err
	}
	// To a reader that goes another way it is text.
	return w.t.Sign(archive.Unreadable, `octets of a \bin look like an object`)
}

func (w *walker) collect(kind string) error {
	if len(w.open) == nesting {
		return w.t.Sign(archive.Unreadable, "more than %d fields within one another", nesting)
	}
	w.ignore = 0
	w.open = append(w.open, collector{kind: kind, depth: max(w.depth, 1)})
	return nil
}

// collected ends the innermost collector.
func (w *walker) collected() error {
	c := w.open[len(w.open)-1]
	w.open = w.open[:len(w.open)-1]
	t := string(bytes.TrimSpace(c.text))
	switch c.kind {
	case "objclass":
		w.object.class = t
		return w.class(t)
	case "oleclsid":
		return w.class(classIDs[strings.ToUpper(strings.Trim(t, "{}"))])
	case "template":
		if remote(t) {
			return w.t.Sign(archive.MacroAuto, "the template %.200q is loaded when the document is opened", t)
		}
	case "fldinst":
		return w.field(t)
	}
	return nil
}
