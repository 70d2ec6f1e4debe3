// Package tell is how the readers of single container formats speak to a visitor: signs without repetition, content
// through decoders that may fail in any way, names in every reading. It knows no format.
package tell

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding/charmap"

	"github.com/postern-mail/postern/internal/archive"
)

// perKind is how many signs of one kind are told of one container.
const perKind = 8

// Teller hands on to one visitor what one walk finds.
type Teller struct {
	v    archive.Visitor
	b    *archive.Budget
	seen map[archive.Sign]bool
	kind map[archive.Kind]int
}

// New makes the Teller of one walk.
func New(b *archive.Budget, v archive.Visitor) *Teller {
	return &Teller{v: v, b: b, seen: map[archive.Sign]bool{}, kind: map[archive.Kind]int{}}
}

// Sign tells the visitor of a sign, unless it knows it or has been told of many of that kind.
func (t *Teller) Sign(kind archive.Kind, format string, args ...any) error {
	s := archive.Sign{Kind: kind, Why: fmt.Sprintf(format, args...)}
	if t.kind[kind] >= perKind || t.seen[s] {
		return nil
	}
	t.seen[s] = true
	t.kind[kind]++
	return t.v.Sign(s)
}

// Problem tells of an error that content gave: a Bomb for a *archive.ErrBudget, else Unreadable.
func (t *Teller) Problem(what string, problem error) error {
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

// Without tells of an entry whose content can't be handed on, and of the problem that is the reason.
func (t *Teller) Without(e *archive.Entry, problem error) error {
	if err := t.Problem(Name(e), problem); err != nil {
		return err
	}
	return t.v.File(e)
}

// Spent reports whether a problem is that the budget has run out, so that a walk must end.
func Spent(problem error) bool {
	var spent *archive.ErrBudget
	return errors.As(problem, &spent)
}

// File tells of an entry whose content is nowhere, or in e.File already.
func (t *Teller) File(e *archive.Entry) error { return t.v.File(e) }

// Content spools the content of an entry and hands it on. It returns the problem that reading the content gave. The error
// ends the walk.
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
	if problem != nil {
		return t.Problem(Name(e), problem)
	}
	return nil
}

// Name gives an entry a name for people.
func Name(e *archive.Entry) string {
	if len(e.Names) == 0 || e.Names[0] == "" {
		return "a file without a name"
	}
	return fmt.Sprintf("%q", e.Names[0])
}

// errStuck is the error of a decoder that gives nothing and no error either.
var errStuck = errors.New("the decoder makes no progress")

// stuck is how often a decoder may give nothing in a row.
const stuck = 1000

// Contained gives a reader of r that turns a panic of r into an error, and ends when r gives nothing for ever.
func Contained(r io.Reader) io.Reader { return &contained{r: r} }

type contained struct {
	r     io.Reader
	empty int
	err   error
}

func (c *contained) Read(p []byte) (n int, err error) {
	if c.err != nil {
		return 0, c.err
	}
	c.err = Contain(func() error {
		n, err = c.r.Read(p)
		return nil
	})
	if c.err != nil {
		return 0, c.err
	}
	if n < 0 || n > len(p) {
		c.err = errStuck
		return 0, c.err
	}
	if n > 0 {
		c.empty = 0
	} else if c.empty++; c.empty > stuck && err == nil {
		err = errStuck
	}
	c.err = err
	return n, err
}

// Contain calls a decoder of others, and turns its panic into an error.
func Contain(call func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("the decoder failed: %v", r)
		}
	}()
	return call()
}

// Names gives the readings of a name in octets of an unknown character set: UTF-8 where it is that, else the
// character sets of DOS and Windows.
func Names(raw []byte) []string {
	if len(raw) == 0 {
		return nil
	}
	if utf8.Valid(raw) {
		return []string{string(raw)}
	}
	var names []string
	for _, set := range []*charmap.Charmap{charmap.CodePage437, charmap.Windows1252} {
		if s, err := set.NewDecoder().Bytes(raw); err == nil {
			names = Add(names, string(s))
		}
	}
	return names
}

// Add appends a name that is not among names yet, as UTF-8.
func Add(names []string, more ...string) []string {
	for _, name := range more {
		name = strings.ToValidUTF8(name, "\uFFFD")
		known := name == ""
		for _, n := range names {
			known = known || n == name
		}
		if !known {
			names = append(names, name)
		}
	}
	return names
}

// ReadAt reads len(p) octets at off; ok is false where the file has fewer. The error is of reading the file.
func ReadAt(f *archive.File, p []byte, off int64) (ok bool, err error) {
	if off < 0 || off > f.Size()-int64(len(p)) {
		return false, nil
	}
	n, err := f.ReadAt(p, off)
	if n == len(p) {
		return true, nil
	}
	if err == io.EOF || err == nil {
		return false, nil
	}
	return false, err
}

// Find gives the places of a magic in a file, in order, until take says that one is right.
func Find(ctx context.Context, f *archive.File, magic []byte, take func(off int64) (bool, error)) (int64, bool, error) {
	const block = 1 << 20
	buf := make([]byte, min(block+int64(len(magic))-1, f.Size()))
	for off := int64(0); off < f.Size(); off += block {
		if err := ctx.Err(); err != nil {
			return 0, false, err
		}
		n, err := f.ReadAt(buf, off)
		if err != nil && err != io.EOF {
			return 0, false, err
		}
		for i := 0; ; i++ {
			j := bytes.Index(buf[min(i, n):n], magic)
			if j < 0 {
				break
			}
			i += j
			if ok, err := take(off + int64(i)); ok || err != nil {
				return off + int64(i), ok, err
			}
		}
	}
	return 0, false, nil
}
