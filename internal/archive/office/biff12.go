package office

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"

	"github.com/postern-mail/postern/internal/archive"
)

// Records of the binary parts of a workbook (MS-XLSB 2.3).
const (
	brtBeginSupBook = 360
	brtName         = 39
)

// isBIFF12 reports whether a file seems to be a binary part of a workbook: it begins with a record that begins
// something.
func isBIFF12(head []byte) bool {
	if len(head) < 3 || head[0] < 0x80 {
		return bytes.HasPrefix(head, []byte("\x2a\x18")) // the index of a sheet
	}
	return head[1] < 0x40 && head[1] > 0
}

// beginsBIFF12 reports whether a file is a workbook or a link to another, whatever its name: they begin with the
// records 131 and 360.
func beginsBIFF12(head []byte) bool {
	return bytes.HasPrefix(head, []byte("\x83\x01\x00")) || bytes.HasPrefix(head, []byte("\xe8\x02"))
}

// walkBIFF12 looks at a binary part for links to programs and names that run by themselves.
func (w *walker) walkBIFF12(ctx context.Context, name string, f *archive.File) error {
	r := bufio.NewReaderSize(f.Reader(), 64<<10)
	for n := 0; ; n++ {
		if n%4096 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		id, err := varint(r, 2)
		if err == io.EOF {
			return nil
		}
		var size uint32
		if err == nil {
			size, err = varint(r, 4)
		}
		var data []byte
		if err == nil {
			if id == brtBeginSupBook || id == brtName {
				data = make([]byte, min(size, 64<<10))
				_, err = io.ReadFull(r, data)
			}
			if err == nil {
				_, err = io.CopyN(io.Discard, r, int64(size)-int64(len(data)))
			}
		}
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			return w.problem(name, errShort)
		}
		if errors.Is(err, errVarint) {
			return w.problem(name, err)
		}
		if err != nil {
			return err
		}
		w.record12(name, id, data)
	}
}

var errVarint = errors.New("it has a record of no known form")

// varint reads a number of up to n octets with seven bits each (MS-XLSB 2.1.4).
func varint(r *bufio.Reader, n int) (v uint32, err error) {
	for i := range n {
		c, err := r.ReadByte()
		if err == io.EOF && i > 0 {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return 0, err
		}
		v |= uint32(c&0x7f) << (7 * i)
		if c < 0x80 {
			return v, nil
		}
	}
	return v, errVarint
}

func (w *walker) record12(name string, id uint32, data []byte) {
	r := octets{b: data}
	switch id {
	case brtBeginSupBook: // MS-XLSB 2.4.195: 1 is DDE, 2 is OLE
		if kind := r.u16(); kind == 1 {
			program, topic := wideString(&r), wideString(&r)
			w.say(archive.MacroAuto, "dde", "%s starts %q by DDE: %q", name, program, topic)
		}
	case brtName: // MS-XLSB 2.4.713: flags, key, sheet, name
		r.take(9)
		if n := wideString(&r); autoName(n) {
			w.say(archive.MacroAuto, "xlm auto", "the workbook defines %q, which runs by itself", n)
		}
	}
}

// wideString reads UTF-16 after its length in characters (MS-XLSB 2.5.168).
func wideString(r *octets) string {
	n := int64(r.u32())
	return utf16Text(r.take(int(min(2*n, int64(len(r.b)-r.at)))))
}
