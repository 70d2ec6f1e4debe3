// Package textenc reads the files that hide in text without any structure around them: uuencode, xxencode, yEnc,
// BinHex and bare base64, as tolerantly as the most eager readers of mail do. It is not a reader of MIME.
package textenc

import (
	"bytes"
	"context"
	"errors"
	"io"

	"github.com/postern-mail/postern/internal/archive"
	"github.com/postern-mail/postern/internal/archive/tell"
)

// The kinds of finds.
const (
	UU           = "uuencode"
	XX           = "xxencode"
	UUBase64     = "uuencode base64" // begin-base64, POSIX uuencode -m
	YEnc         = "yenc"
	BinHex       = "binhex"          // the data fork
	BinHexFork   = "binhex resource" // the resource fork, where it holds anything
	Base64       = "base64"
	Base64URL    = "base64url"
	damageNoEnd  = "ends early"
	damageHeader = "its header can't be read"
)

// Find is one file that lies in a text.
type Find struct {
	Kind       string
	Start, End int64    // the octets of the text that it takes, whole lines with their ends
	Names      []string // the usual one first; may be empty
	Damage     string   // what is wrong with it, for people; "" for nothing
}

// Scan calls visit for each file that lies in a text, in the order of the text. Finds do not overlap, but for the two
// forks of one BinHex file, which have the same place. The File is valid until visit returns. The error is that of the
// context, of reading f, of the disk, of visit, or an *archive.ErrBudget where the text holds more than the budget
// allows: what was decoded until then has been visited.
func Scan(ctx context.Context, f *archive.File, b *archive.Budget, visit func(Find, *archive.File) error) error {
	s := &scanner{ctx: ctx, f: f, b: b, visit: visit, lines: linesOf(ctx, f)}
	for s.lines.next() {
		if s.lines.cont {
			continue
		}
		if err := s.try(); err != nil {
			return err
		}
	}
	return s.lines.err
}

// Walk tells of each file that lies in a text; it has the shape of archive.Walk.
func Walk(ctx context.Context, f *archive.File, b *archive.Budget, v archive.Visitor) error {
	t := tell.New(b, v)
	err := Scan(ctx, f, b, func(found Find, content *archive.File) error {
		if err := v.File(&archive.Entry{Names: found.Names, Size: -1, File: content}); err != nil {
			return err
		}
		if found.Damage != "" {
			return t.Sign(archive.Unreadable, "%s: %s: %s", found.Kind, tell.Name(found.Names), found.Damage)
		}
		return nil
	})
	var spent *archive.ErrBudget
	if errors.As(err, &spent) {
		return t.Problem("", spent)
	}
	return err
}

type scanner struct {
	ctx   context.Context
	f     *archive.File
	b     *archive.Budget
	visit func(Find, *archive.File) error
	lines *lines
	last  int64  // where the last find ended
	kept  []byte // of the line with which a file begins
}

// try looks for a file that begins with the current line, and leaves the lines behind it.
func (s *scanner) try() error {
	text := s.lines.text
	if s.lines.start == 0 {
		text = bytes.TrimPrefix(text, []byte("\xef\xbb\xbf"))
	}
	if len(text) < 6 {
		return nil
	}
	switch text[0] {
	case 'b', 'B':
		if o, ok := opening(text); ok {
			return s.uu(o)
		}
	case '=':
		if bytes.HasPrefix(text, []byte("=ybegin ")) {
			return s.yenc()
		}
	case '(':
		if binHexMark(text) {
			return s.binHex()
		}
	}
	if shape, _ := shapeOf(text); shape != 0 {
		return s.base64(shape)
	}
	return nil
}

// found spools the content of a find and hands both on.
func (s *scanner) found(f Find, content io.Reader) error {
	if problem := s.b.Entry(); problem != nil {
		return problem
	}
	file, problem, err := archive.Spool(s.ctx, content, s.b)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	var spent *archive.ErrBudget
	switch {
	case errors.As(problem, &spent):
	case problem != nil:
		return problem // of reading the text: the decoders have no errors of their own
	}
	s.last = f.End
	if err := s.visit(f, file); err != nil {
		return err
	}
	return s.b.Err()
}

// section gives the octets from start to end, line by line.
func (s *scanner) section(start, end int64, decode func([]byte, *line) []byte) *decoder {
	return &decoder{lines: linesOf(s.ctx, s.f.Section(start, end-start)), decode: decode}
}
