// Package tell is how the readers of single container formats speak to a visitor: signs without repetition, content
// through decoders that may fail in any way, names in every reading. It knows no format.
package tell

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/postern-mail/postern/internal/archive"
)

// Teller hands on to one visitor what one walk finds.
type Teller struct {
	v     archive.Visitor
	b     *archive.Budget
	signs Signs
}

// New makes the Teller of one walk.
func New(b *archive.Budget, v archive.Visitor) *Teller { return &Teller{v: v, b: b} }

// Sign tells the visitor of a sign, within the limits of Signs.
func (t *Teller) Sign(kind archive.Kind, format string, args ...any) error {
	t.signs.Add(kind, "", fmt.Sprintf(format, args...))
	return t.signs.Give(t.v)
}

// Problem tells of an error that content gave: a Bomb for a *archive.ErrBudget, Unreadable for any other, nothing for
// nil.
func (t *Teller) Problem(what string, problem error) error {
	if problem == nil {
		return nil
	}
	var spent *archive.ErrBudget
	if errors.As(problem, &spent) {
		return t.Sign(archive.Bomb, "%s", spent.What)
	}
	return t.Sign(archive.Unreadable, "%s: %v", what, problem)
}

// Broken is Problem, unless err says that nothing is known of the content: then it gives err.
func (t *Teller) Broken(err error, what string, problem error) error {
	if err != nil {
		return err
	}
	return t.Problem(what, problem)
}

// Spent reports whether a problem is that the budget has run out, so that a walk must end.
func Spent(problem error) bool {
	var spent *archive.ErrBudget
	return errors.As(problem, &spent)
}

// File tells of an entry whose content is nowhere, or in e.File already.
func (t *Teller) File(e *archive.Entry) error { return t.v.File(e) }

// Without tells of an entry whose content can't be handed on, and of the problem that is the reason.
func (t *Teller) Without(e *archive.Entry, problem error) error {
	if err := t.Problem(Name(e.Names), problem); err != nil {
		return err
	}
	return t.v.File(e)
}

// Entry counts an entry, spools its content, which may be nil for none, and tells the visitor of it and of what the
// content did wrong. More is false once the budget is spent, of which the visitor has been told then.
func (t *Teller) Entry(ctx context.Context, e *archive.Entry, content io.Reader) (more bool, err error) {
	if problem := t.b.Entry(); problem != nil {
		return false, t.Problem("", problem)
	}
	if content == nil {
		err = t.v.File(e)
	} else {
		_, err = t.Content(ctx, e, content)
	}
	return err == nil && t.b.Err() == nil, err
}

// Content spools the content of an entry and hands it on. It returns the problem that reading the content gave, of which
// the visitor has been told. The error ends the walk.
func (t *Teller) Content(ctx context.Context, e *archive.Entry, r io.Reader) (problem, err error) {
	f, problem, err := archive.Spool(ctx, Contained(r), t.b)
	if err != nil {
		return nil, err
	}
	return problem, t.Hand(e, f, problem)
}

// Hand tells of an entry with its content, which it closes, and of the problem that reading the content gave.
func (t *Teller) Hand(e *archive.Entry, f *archive.File, problem error) error {
	defer func() { _ = f.Close() }()
	e.File = f
	if err := t.v.File(e); err != nil {
		return err
	}
	return t.Problem(Name(e.Names), problem)
}
