package office

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/postern-mail/postern/internal/archive"
	"github.com/postern-mail/postern/internal/archive/ole"
)

// Fields of the file information block at the start of the stream WordDocument (MS-DOC 2.5.1, 2.5.6).
const (
	fibSize        = 0x1aa // up to and with the place of the pieces
	fibVersion     = 0x02
	fibFlags       = 0x0a
	fibTextFrom    = 0x18 // before Word 97
	fibTextTo      = 0x1c
	fibCommandsOld = 0x118 // before Word 97
	fibAssociated  = 0x19a
	fibPieces      = 0x1a2

	flagComplex   = 0x0004
	flagEncrypted = 0x0100
	flagTable1    = 0x0200

	word97 = 0xc1
)

// maxTable is how much of the table stream is read for the list of pieces.
const maxTable = 8 << 20

func wordEncryption(s *ole.Stream) (string, error) {
	f, _ := s.File()
	fib, err := f.Head(fibFlags + 2)
	if err != nil || len(fib) < fibFlags+2 || binary.LittleEndian.Uint16(fib[fibFlags:])&flagEncrypted == 0 {
		return "", err
	}
	return "the text is encrypted", nil
}

// walkWord looks at the text of a document for fields, and at where its template is.
func (w *walker) walkWord(ctx context.Context, s *ole.Storage, c *ole.Stream) error {
	if is, err := w.encrypted(wordEncryption(c)); is || err != nil {
		return err
	}
	f, problem := c.File()
	if err := w.problem("the text", problem); err != nil {
		return err
	}
	fib, err := f.Head(fibSize)
	if err != nil {
		return err
	}
	if len(fib) < 0x120 {
		return w.problem("the text", errShort)
	}
	flags := binary.LittleEndian.Uint16(fib[fibFlags:])
	if binary.LittleEndian.Uint16(fib[fibVersion:]) < word97 {
		return w.walkOldWord(ctx, f, fib, flags)
	}
	name := "0Table"
	if flags&flagTable1 != 0 {
		name = "1Table"
	}
	table := archive.NewFile(nil)
	if t := s.Stream(name); t != nil {
		var problem error
		table, problem = t.File()
		if err := w.problem("the tables of the text", problem); err != nil {
			return err
		}
	}
	if len(fib) < fibSize {
		fib = append(bytes.Clone(fib), make([]byte, fibSize-len(fib))...)
	}
	if err := w.template(table, fib[fibAssociated:]); err != nil {
		return err
	}
	pieces, problem, err := readPieces(table, fib[fibPieces:], f.Size())
	if err != nil {
		return err
	}
	if problem != nil {
		if err := w.problem("the text", problem); err != nil {
			return err
		}
		return w.searchText(ctx, f)
	}
	fs := &fields{w: w}
	for _, p := range pieces {
		if err := fs.readText(ctx, f.Section(p.at, p.size), p.wide); err != nil {
			return err
		}
	}
	fs.close()
	return nil
}

// walkOldWord looks at a document of Word 6 or 95, in which macros are within the text's stream. Their place is that
// of the commands; they are written in WordBasic, which is packed so that nothing here reads it.
func (w *walker) walkOldWord(ctx context.Context, f *archive.File, fib []byte, flags uint16) error {
	at, size := int64(binary.LittleEndian.Uint32(fib[fibCommandsOld:])), int64(binary.LittleEndian.Uint32(fib[fibCommandsOld+4:]))
	if size > 3 {
		commands, err := f.Section(at, size).Head(4)
		if err != nil {
			return err
		}
		// FF, then tables of which 1 lists macros: its number of entries follows.
		if len(commands) == 4 && commands[0] == 0xff && commands[1] == 1 && (commands[2] != 0 || commands[3] != 0) {
			w.say(archive.MacroAuto, "macros", "there are macros in WordBasic, which can't be read")
		}
	}
	if flags&flagComplex != 0 {
		return w.searchText(ctx, f)
	}
	from, to := int64(binary.LittleEndian.Uint32(fib[fibTextFrom:])), int64(binary.LittleEndian.Uint32(fib[fibTextTo:]))
	if from >= to || to > f.Size() {
		return w.searchText(ctx, f)
	}
	fs := &fields{w: w}
	err := fs.readText(ctx, f.Section(from, to-from), false)
	fs.close()
	return err
}

// searchText looks at a whole stream as if all of it were text, in octets and in UTF-16 of either alignment.
func (w *walker) searchText(ctx context.Context, f *archive.File) error {
	for _, in := range []struct {
		from int64
		wide bool
	}{{0, false}, {0, true}, {1, true}} {
		fs := &fields{w: w}
		if err := fs.readText(ctx, f.Section(in.from, f.Size()), in.wide); err != nil {
			return err
		}
		fs.close()
	}
	return nil
}

// piece is where some of the text is.
type piece struct {
	at, size int64
	wide     bool
}

// readPieces reads where the pieces of the text are (MS-DOC 2.9.38, 2.9.177, 2.8.35).
func readPieces(table *archive.File, place []byte, text int64) (pieces []piece, problem, err error) {
	at, size := int64(binary.LittleEndian.Uint32(place)), int64(binary.LittleEndian.Uint32(place[4:]))
	b, err := table.Section(at, min(size, maxTable)).Head(maxTable)
	if err != nil {
		return nil, nil, err
	}
	if int64(len(b)) < size || size == 0 {
		return nil, errors.New("the list of its pieces is not there"), nil
	}
	for len(b) >= 3 && b[0] == 1 { // what precedes the pieces: changes of format
		n := 3 + int(binary.LittleEndian.Uint16(b[1:]))
		b = b[min(n, len(b)):]
	}
	if len(b) < 5 || b[0] != 2 {
		return nil, errors.New("the list of its pieces can't be read"), nil
	}
	n := int64(binary.LittleEndian.Uint32(b[1:]))
	b = b[5:]
	if n < 4 || n > int64(len(b)) {
		return nil, errors.New("the list of its pieces is cut short"), nil
	}
	count := int(n-4) / 12
	left := 2*text + 1<<20 // pieces don't overlap
	for i := range count {
		chars := int64(binary.LittleEndian.Uint32(b[4*i+4:])) - int64(binary.LittleEndian.Uint32(b[4*i:]))
		fc := binary.LittleEndian.Uint32(b[4*(count+1)+8*i+2:])
		p := piece{at: int64(fc & 0x3fffffff), size: 2 * chars, wide: true}
		if fc&0x40000000 != 0 { // MS-DOC 2.9.73: octets, at half of the place
			p = piece{at: p.at / 2, size: chars}
		}
		if chars < 0 {
			return nil, fmt.Errorf("piece %d of it ends before it begins", i), nil
		}
		if left -= min(p.size, max(text-p.at, 0)); left < 0 {
			return nil, errors.New("its pieces overlap"), nil
		}
		pieces = append(pieces, p)
	}
	return pieces, nil, nil
}

// readText follows the fields of text: 13, 14 and 15 are the marks of their parts.
func (f *fields) readText(ctx context.Context, in *archive.File, wide bool) error {
	block := make([]byte, 32<<10)
	for at := int64(0); at < in.Size(); at += int64(len(block)) {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := in.ReadAt(block, at)
		if err != nil && err != io.EOF {
			return err
		}
		f.readBlock(block[:n], wide)
	}
	return nil
}

func (f *fields) readBlock(b []byte, wide bool) {
	step := 1
	if wide {
		step = 2
	}
	var text []rune
	for ; len(b) >= step; b = b[step:] {
		r := rune(b[0])
		if wide {
			r |= rune(b[1]) << 8
		}
		if r < 0x13 || r > 0x15 {
			if len(f.open) > 0 && len(text) < maxFieldText && (r > ' ' || len(text) > 0 || !f.blank()) {
				text = append(text, r)
			}
			continue
		}
		f.text(string(text), true)
		text = text[:0]
		switch r {
		case 0x13:
			f.begin()
		case 0x14:
			f.separate()
		case 0x15:
			f.end()
		}
	}
	f.text(string(text), true)
}

// template says where the template is, when that is another machine: the second of the associated strings
// (MS-DOC 2.9.274).
func (w *walker) template(table *archive.File, place []byte) error {
	b, err := table.Section(int64(binary.LittleEndian.Uint32(place)), int64(binary.LittleEndian.Uint32(place[4:]))).Head(64 << 10)
	if err != nil {
		return err
	}
	r := octets{b: b}
	if r.u16() != 0xffff {
		return nil
	}
	r.take(4)
	r.take(2 * int(r.u16()))
	if target := utf16Text(r.take(2 * int(r.u16()))); remote(target) {
		w.say(archive.MacroAuto, "template", "the template is loaded from %q", target)
	}
	return nil
}
