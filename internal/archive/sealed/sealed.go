// Package sealed reads the wrappers of signed and encrypted mail, CMS (S/MIME) and OpenPGP, and those of Apple's forks:
// it gives what lies in them, and says so where that is encrypted. It checks no signature and decrypts nothing.
package sealed

import (
	"bytes"
	"context"
	"errors"
	"io"

	"github.com/postern-mail/postern/internal/archive"
	"github.com/postern-mail/postern/internal/archive/tell"
)

// Entity is the Type of an entry that readers take for a MIME entity, header fields first. Programs that sign files
// wrap them bare, in the same way, so that it may also be the content of a file.
const Entity = "application/mime-entity"

// headSize is how many octets the tests look at.
const headSize = 4096

// Walk tells of what lies in a file for which IsCMS, IsPGP or IsApple is true. It has the shape of archive.Walk.
func Walk(ctx context.Context, f *archive.File, b *archive.Budget, v archive.Visitor) error {
	w := &walker{ctx: ctx, b: b, v: v, t: tell.New(b, v)}
	head, err := f.Head(headSize)
	if err != nil {
		return err
	}
	switch {
	case IsApple(head):
		err = w.apple(f)
	case isDER(head):
		err = w.cms(f, 0)
	case isPackets(head):
		err = w.pgp(f.Reader())
	default:
		err = w.text(f)
	}
	if err == errSpent {
		return nil
	}
	return err
}

// errSpent ends a walk whose budget is spent, of which the visitor has been told.
var errSpent = errors.New("sealed: the budget is spent")

// deepest is how often one wrapper may lie in another of its kind before this package stops looking.
const deepest = 8

type walker struct {
	ctx    context.Context
	b      *archive.Budget
	v      archive.Visitor
	t      *tell.Teller
	read   error // the first error of reading the file
	secret bool  // what is encrypted for its recipient was met
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

// problem tells of what is wrong with the content, unless it is the file that can't be read.
func (w *walker) problem(what string, problem error) error {
	if w.read != nil {
		return w.read
	}
	if err := w.t.Problem(what, problem); err != nil {
		return err
	}
	if w.b.Err() != nil {
		return errSpent
	}
	return nil
}

// source is r, with its errors kept.
func (w *walker) source(r io.Reader) io.Reader { return &source{w, r} }

type source struct {
	w *walker
	r io.Reader
}

func (s *source) Read(p []byte) (int, error) {
	if err := s.w.ctx.Err(); err != nil {
		s.w.read = err
		return 0, err
	}
	n, err := s.r.Read(p)
	if err != nil && err != io.EOF && s.w.read == nil {
		s.w.read = err
	}
	return n, err
}

// text reads armour, and base64 without any.
func (w *walker) text(f *archive.File) error {
	blocks := newArmour(w.source(f.Reader()))
	count := 0
	for {
		label, ok, err := blocks.next()
		switch {
		case w.read != nil:
			return w.read
		case err != nil:
			return err
		case !ok && count > 0:
			return nil
		case !ok:
			return w.bare(f)
		}
		count++
		switch {
		case bytes.HasPrefix(label, []byte("PGP MESSAGE")):
			err = w.pgp(blocks)
		case isCMSLabel(label):
			err = w.wrapped(blocks)
		}
		if err != nil {
			return err
		}
	}
}

// bare reads CMS in base64 without armour.
func (w *walker) bare(f *archive.File) error {
	head, err := f.Head(headSize)
	if err != nil {
		return err
	}
	if !isBase64(head) {
		return w.t.Sign(archive.Unreadable, "sealed: neither CMS nor OpenPGP nor AppleSingle")
	}
	return w.wrapped(newBase64(w.source(f.Reader())))
}

// wrapped reads CMS that was in base64.
func (w *walker) wrapped(r io.Reader) error {
	f, problem, err := archive.Spool(w.ctx, r, w.b)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	if err := w.problem("sealed", problem); err != nil {
		return err
	}
	return w.cms(f, 0)
}
