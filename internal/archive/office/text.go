package office

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"strings"

	"github.com/postern-mail/postern/internal/archive"
)

// maxLine is how long a line of a table in plain text may be for its cells to be told apart.
const maxLine = 64 << 10

// IsSYLK reports whether a file that begins with head is a table in the form SYLK, whatever its name: Excel goes by
// these letters.
func IsSYLK(head []byte) bool {
	return len(head) > 4 && bytes.HasPrefix(head, []byte("ID;")) && bytes.IndexByte(head, 0) < 0
}

// WalkSYLK implements archive.Walk for tables in the form SYLK, which may hold Excel 4 macros.
func WalkSYLK(ctx context.Context, f *archive.File, b *archive.Budget, v archive.Visitor) error {
	w := &walker{b: b, v: v}
	return w.end(eachLine(ctx, f, func(line string) { w.sylk(line) }))
}

// sylk judges one record: its kind, and fields that begin with a letter each.
func (w *walker) sylk(line string) {
	fields := strings.Split(strings.TrimSpace(line), ";")
	for _, field := range fields[1:] {
		switch {
		case fields[0] == "O" && field == "E":
			w.say(archive.MacroAuto, "xlm", "it is a sheet of Excel 4 macros")
		case fields[0] == "NN" && strings.HasPrefix(field, "N") && autoName(field[1:]):
			w.say(archive.MacroAuto, "xlm auto", "the table defines %q, which runs by itself", field[1:])
		case fields[0] == "C" && strings.HasPrefix(field, "E"):
			w.cell("=" + field[1:])
		}
	}
}

// WalkCSV implements archive.Walk for tables in plain text, whatever separates their columns. Excel takes cells that
// begin like a formula for one.
func WalkCSV(ctx context.Context, f *archive.File, b *archive.Budget, v archive.Visitor) error {
	w := &walker{b: b, v: v}
	err := eachLine(ctx, f, func(line string) {
		if !strings.Contains(line, "|") {
			return
		}
		for _, cell := range strings.FieldsFunc(line, func(r rune) bool { return r == ',' || r == ';' || r == '\t' }) {
			w.cell(strings.Trim(strings.TrimSpace(cell), `"`))
		}
		w.cell(strings.Trim(strings.TrimSpace(line), `"`))
	})
	return w.end(err)
}

// cell judges one cell. DDE is a name, a bar, a topic and a mark before the item: cmd|'/c x'!A1.
func (w *walker) cell(text string) {
	if text == "" || !strings.ContainsRune("=+-@", rune(text[0])) {
		return
	}
	i := strings.IndexByte(text, '|')
	if i < 1 || !letter(text[i-1]) && (text[i-1] < '0' || text[i-1] > '9') && text[i-1] != '\'' {
		return
	}
	if rest := text[i+1:]; rest != "" && (rest[0] == '\'' || letter(rest[0])) && strings.Contains(rest, "!") {
		w.say(archive.MacroAuto, "dde", "a cell starts a program by DDE: %.120q", text)
	}
}

// eachLine calls each with the lines of a file; those that are too long come in pieces.
func eachLine(ctx context.Context, f *archive.File, each func(line string)) error {
	r := bufio.NewReaderSize(f.Reader(), maxLine)
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		line, err := r.ReadSlice('\n')
		each(string(bytes.ReplaceAll(line, []byte{0}, nil)))
		if err == io.EOF {
			return nil
		}
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return err
		}
	}
}
