// Package note is how the readers of files within mail formats speak to a visitor: each sign once and not too many of
// them, names as UTF-8. It knows no format.
package note

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"golang.org/x/text/encoding/charmap"

	"github.com/postern-mail/postern/internal/archive"
)

// most is how many signs one walk tells of.
const most = 16

// Notes hands on to a visitor what one walk finds.
type Notes struct {
	b    *archive.Budget
	v    archive.Visitor
	seen map[archive.Sign]bool
}

// New makes the Notes of one walk.
func New(b *archive.Budget, v archive.Visitor) *Notes {
	return &Notes{b: b, v: v, seen: map[archive.Sign]bool{}}
}

// Sign tells the visitor of a sign, unless it knows it or has been told of many. Running out of budget is always told.
func (n *Notes) Sign(kind archive.Kind, format string, args ...any) error {
	s := archive.Sign{Kind: kind, Why: fmt.Sprintf(format, args...)}
	if n.seen[s] || len(n.seen) >= most && kind != archive.Bomb {
		return nil
	}
	n.seen[s] = true
	return n.v.Sign(s)
}

// Problem tells of what content did wrong: a Bomb for a *archive.ErrBudget, Unreadable for anything else, nothing for
// nil.
func (n *Notes) Problem(what string, problem error) error {
	var spent *archive.ErrBudget
	switch {
	case problem == nil:
		return nil
	case errors.As(problem, &spent):
		return n.Sign(archive.Bomb, "%s", spent.What)
	}
	return n.Sign(archive.Unreadable, "%s: %v", what, problem)
}

// Entry counts an entry, spools its content, which may be nil for none, and tells the visitor of it and of what the
// content did wrong. More is false once the budget is spent, of which the visitor has been told then.
func (n *Notes) Entry(ctx context.Context, e *archive.Entry, content io.Reader) (more bool, err error) {
	if problem := n.b.Entry(); problem != nil {
		return false, n.Problem("", problem)
	}
	var problem error
	if content != nil {
		var f *archive.File
		if f, problem, err = archive.Spool(ctx, content, n.b); err != nil {
			return false, err
		}
		defer func() { _ = f.Close() }()
		e.File = f
	}
	if err := n.v.File(e); err != nil {
		return false, err
	}
	if err := n.Problem(Name(e.Names), problem); err != nil {
		return false, err
	}
	return n.b.Err() == nil, nil
}

// Name gives the first of an entry's names, for people.
func Name(names []string) string {
	if len(names) == 0 {
		return "a file without a name"
	}
	return fmt.Sprintf("%q", names[0])
}

// Add adds to names the readings of a name in octets of an unknown character set: UTF-8 where it is that, else those
// of Windows and DOS. It ends at the first NUL. What is empty or known is left out.
func Add(names []string, raw []byte) []string {
	text, _, _ := strings.Cut(string(raw), "\x00")
	if utf8.ValidString(text) {
		return AddText(names, text)
	}
	for _, set := range []*charmap.Charmap{charmap.Windows1252, charmap.CodePage437} {
		if s, err := set.NewDecoder().String(text); err == nil {
			names = AddText(names, s)
		}
	}
	return names
}

// AddText adds a name that is text already.
func AddText(names []string, text string) []string {
	text = strings.TrimSpace(strings.ToValidUTF8(text, "\uFFFD"))
	if text == "" {
		return names
	}
	for _, n := range names {
		if n == text {
			return names
		}
	}
	return append(names, text)
}

// UTF16 decodes little-endian UTF-16 up to its first NUL.
func UTF16(raw []byte) string {
	units := make([]uint16, 0, len(raw)/2)
	for ; len(raw) >= 2; raw = raw[2:] {
		u := binary.LittleEndian.Uint16(raw)
		if u == 0 {
			break
		}
		units = append(units, u)
	}
	return string(utf16.Decode(units))
}
