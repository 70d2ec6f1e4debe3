// Package sheet reads the spreadsheets that are plain text, SYLK, DIF, CSV and queries, for what starts a program or
// fetches something when they are opened. It is no reader of the data in them.
package sheet

import (
	"bytes"
	"context"
	"io"

	"github.com/postern-mail/postern/internal/archive"
	"github.com/postern-mail/postern/internal/archive/tell"
)

// headSize is how much of a file tells its form.
const headSize = 4096

// Is reports whether head is the start of a text that says itself to be a spreadsheet: SYLK, DIF, or a query. Text
// with separators says nothing of the kind; Walk reads any text as such.
func Is(head []byte) bool { return formOf(head) != separated }

// form is how a text is read.
type form int

const (
	separated form = iota // CSV, and whatever has cells that begin after a separator
	sylk
	dif
	webQuery
	dataQuery
)

// formOf tells the form of a text by its first lines.
func formOf(head []byte) form {
	lines := firstLines(plain(head), 2)
	for i := range lines {
		lines[i] = bytes.ToUpper(bytes.TrimSpace(lines[i]))
	}
	if len(lines) == 0 {
		return separated
	}
	switch first := string(lines[0]); {
	case bytes.HasPrefix(lines[0], []byte("ID;")):
		return sylk
	case len(lines) < 2:
		return separated
	case first == "TABLE" && bytes.HasPrefix(lines[1], []byte("0,1")):
		return dif
	case first == "WEB" && string(lines[1]) == "1":
		return webQuery
	case (first == "XLODBC" || first == "QUERYTYPE=OLEDB") && string(lines[1]) == "1":
		return dataQuery
	}
	return separated
}

// plain leaves the octets of a text that mean something: no marks of byte order, and nothing of UTF-16 but what is
// ASCII in it.
func plain(p []byte) []byte {
	p = bytes.TrimPrefix(p, []byte("\xef\xbb\xbf"))
	if bytes.IndexByte(p, 0) >= 0 || bytes.IndexByte(p, 0xff) >= 0 || bytes.IndexByte(p, 0xfe) >= 0 {
		out := make([]byte, 0, len(p))
		for _, c := range p {
			if c != 0 && c != 0xff && c != 0xfe {
				out = append(out, c)
			}
		}
		p = out
	}
	return bytes.TrimLeft(p, " \t\r\n")
}

// Walk reads a text as the spreadsheet that it says to be, or as one with separators. There are signs and no entries.
// It is an archive.Walk.
func Walk(ctx context.Context, f *archive.File, b *archive.Budget, v archive.Visitor) error {
	head, err := f.Head(headSize)
	if err != nil {
		return err
	}
	t := tell.New(b, v)
	switch formOf(head) {
	case sylk:
		return walkSYLK(ctx, f.Reader(), t)
	case webQuery:
		return t.Sign(archive.MacroAuto, "a query fetches cells from elsewhere: %.200q", line(head, 2))
	case dataQuery:
		return t.Sign(archive.MacroAuto, "a query fetches cells from elsewhere: %.200q", line(head, 2))
	case dif, separated:
	}
	return walkCells(ctx, f.Reader(), t)
}

// line gives the n-th line that is not empty.
func line(head []byte, n int) []byte {
	lines := firstLines(plain(head), n+1)
	if n < len(lines) {
		return lines[n]
	}
	return nil
}

// firstLines gives the first n lines that are not empty, or those that there are.
func firstLines(p []byte, n int) [][]byte {
	lines := make([][]byte, 0, n)
	for p = bytes.TrimLeft(p, "\r\n"); len(p) > 0 && len(lines) < n; p = bytes.TrimLeft(p, "\r\n") {
		end := bytes.IndexAny(p, "\r\n")
		if end < 0 {
			end = len(p)
		}
		lines = append(lines, p[:end])
		p = p[end:]
	}
	return lines
}

// readFull is io.ReadFull that takes the end for no error.
func readFull(r io.Reader, p []byte) (n int, err error) {
	n, err = io.ReadFull(r, p)
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		err = nil
	}
	return n, err
}
