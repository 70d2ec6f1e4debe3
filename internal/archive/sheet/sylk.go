package sheet

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"strings"

	"github.com/postern-mail/postern/internal/archive"
	"github.com/postern-mail/postern/internal/archive/tell"
)

// recordLimit is how much of a record is looked at.
const recordLimit = 64 << 10

// functions of a macro sheet that run code, load it or write it.
var functions = []string{"EXEC", "CALL", "REGISTER", "REGISTER.ID", "RUN", "FORMULA", "FORMULA.FILL", "FWRITE", "FWRITELN", "SHELL", "INITIATE", "EXECUTE"}

// walkSYLK reads a symbolic link file. The form is Microsoft's own; each record is a line of fields, each of them a
// letter and its value. Options with E make a macro sheet of it, and names that begin with Auto_ are run by Excel.
func walkSYLK(ctx context.Context, in io.Reader, t *tell.Teller) error {
	r := bufio.NewReaderSize(in, recordLimit)
	macros, long := false, false
	for n := 0; ; n++ {
		if n%256 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		record, err := readRecord(r)
		if err == io.EOF {
			break
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			long, err = true, nil
		}
		if err != nil {
			return err
		}
		fields := fieldsOf(record)
		switch strings.ToUpper(fields[0]) {
		case "O":
			for _, f := range fields[1:] {
				macros = macros || strings.EqualFold(f, "E")
			}
		case "NN":
			err = nameRecord(fields[1:], t)
		case "C", "F":
			err = cellRecord(fields[1:], t)
		}
		if err != nil {
			return err
		}
	}
	if macros {
		if err := t.Sign(archive.Macro, "the sheet holds macros (SYLK O;E)"); err != nil {
			return err
		}
	}
	if long {
		return t.Sign(archive.Unreadable, "a record longer than %d octets", recordLimit)
	}
	return nil
}

// readRecord reads up to the end of a line. Of a longer record than fits it gives what fits, with
// bufio.ErrBufferFull, and the rest as records of their own.
func readRecord(r *bufio.Reader) ([]byte, error) {
	for want := 0; ; {
		p, err := r.Peek(max(want, 1))
		if b, _ := r.Peek(r.Buffered()); len(b) > len(p) {
			p = b
		}
		if i := bytes.IndexAny(p, "\r\n"); i >= 0 {
			_, _ = r.Discard(i + 1)
			return p[:i], nil
		}
		switch {
		case len(p) == recordLimit:
			_, _ = r.Discard(len(p))
			return p, bufio.ErrBufferFull
		case err == io.EOF && len(p) > 0:
			_, _ = r.Discard(len(p))
			return p, nil
		case err != nil:
			return nil, err
		}
		want = len(p) + 1
	}
}

// fieldsOf splits a record; two semicolons stand for one, and ESC with two characters for an octet.
func fieldsOf(record []byte) []string {
	var fields []string
	var field []byte
	for i := 0; i < len(record); i++ {
		switch c := record[i]; {
		case c == ';' && i+1 < len(record) && record[i+1] == ';':
			field = append(field, ';')
			i++
		case c == ';':
			fields = append(fields, string(field))
			field = field[:0]
		case c == 0x1b && i+2 < len(record) && record[i+1]&0xf0 == 0x20 && record[i+2]&0xf0 == 0x30:
			field = append(field, record[i+1]<<4|record[i+2]&0x0f)
			i += 2
		case c < ' ':
		default:
			field = append(field, c)
		}
	}
	return append(fields, string(field))
}

// nameRecord looks at a defined name.
func nameRecord(fields []string, t *tell.Teller) error {
	for _, f := range fields {
		if len(f) > 0 && f[0]|0x20 == 'n' && strings.HasPrefix(strings.ToLower(strings.TrimSpace(f[1:])), "auto_") {
			return t.Sign(archive.MacroAuto, "the macro %.80q runs when the sheet is opened or used", f[1:])
		}
		if err := expression(f, t); err != nil {
			return err
		}
	}
	return nil
}

// cellRecord looks at a cell.
func cellRecord(fields []string, t *tell.Teller) error {
	for _, f := range fields {
		if err := expression(f, t); err != nil {
			return err
		}
	}
	return nil
}

// expression looks at a field that holds a formula.
func expression(field string, t *tell.Teller) error {
	if field == "" || field[0]|0x20 != 'e' && field[0]|0x20 != 'm' {
		return nil
	}
	formula := field[1:]
	upper := strings.ToUpper(strings.ReplaceAll(formula, " ", ""))
	for _, name := range functions {
		if i := strings.Index(upper, name+"("); i >= 0 && (i == 0 || !isName(upper[i-1])) {
			return t.Sign(archive.MacroAuto, "a macro calls %s: %.200q", name, formula)
		}
	}
	for i := range len(formula) {
		if formula[i] == '|' && isCall([]byte(formula), i) {
			return t.Sign(archive.MacroAuto, "a cell starts a program by DDE: %.200q", formula)
		}
	}
	return nil
}
