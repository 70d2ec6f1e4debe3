package office

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/postern-mail/postern/internal/archive"
	"github.com/postern-mail/postern/internal/archive/ole"
)

// Records of the workbook stream (MS-XLS 2.3).
const (
	biffBOF       = 0x0809
	biffBOF2      = 0x0009
	biffBOF3      = 0x0209
	biffBOF4      = 0x0409
	biffFilePass  = 0x002f
	biffSheet     = 0x0085
	biffName      = 0x0018
	biffName3     = 0x0218
	biffSupBook   = 0x01ae
	biffExternal5 = 0x0017 // EXTERNSHEET; its text is a reference before BIFF8
)

// IsBIFF reports whether a file that begins with head is a sheet or workbook of Excel without a compound file around
// it: as Excel 2 to 4 wrote them, and as every Excel reads them.
func IsBIFF(head []byte) bool {
	if len(head) < 8 {
		return false
	}
	id, size := binary.LittleEndian.Uint16(head), binary.LittleEndian.Uint16(head[2:])
	kind := binary.LittleEndian.Uint16(head[6:])
	switch id {
	case biffBOF2:
		return size == 4 && (kind == 0x10 || kind == 0x20 || kind == 0x40)
	case biffBOF3, biffBOF4:
		return size == 6 && (kind == 0x10 || kind == 0x20 || kind == 0x40 || kind == 0x100)
	case biffBOF:
		return (size == 8 || size == 16) && (kind == 5 || kind == 0x10 || kind == 0x40 || kind == 0x100)
	}
	return false
}

// WalkBIFF implements archive.Walk for workbooks without a compound file around them.
func WalkBIFF(ctx context.Context, f *archive.File, b *archive.Budget, v archive.Visitor) error {
	w := &walker{b: b, v: v}
	is, err := w.encrypted(excelEncryption(f))
	if err == nil && !is {
		err = w.walkBIFF(ctx, f)
	}
	return w.end(err)
}

// excelEncryption goes by the records up to the first sheet, among which the mark is (MS-XLS 2.1.7.20.3).
func excelEncryption(f *archive.File) (string, error) {
	encrypted := false
	_, err := eachRecord(context.Background(), f.Section(0, 16<<10), func(id uint16, _ []byte) bool {
		encrypted = encrypted || id == biffFilePass
		return !encrypted && id != biffSheet
	})
	if err != nil || !encrypted {
		return "", err
	}
	return "the workbook is encrypted", nil
}

func (w *walker) walkExcel(ctx context.Context, c *ole.Stream) error {
	f, problem := c.File()
	if err := w.problem("the workbook", problem); err != nil {
		return err
	}
	if is, err := w.encrypted(excelEncryption(f)); is || err != nil {
		return err
	}
	return w.walkBIFF(ctx, f)
}

// eachRecord calls each with the records of a stream until it says that it has enough. The data are valid until it
// returns.
func eachRecord(ctx context.Context, f *archive.File, each func(id uint16, data []byte) bool) (problem, err error) {
	r := bufio.NewReaderSize(f.Reader(), 64<<10)
	buf := make([]byte, 1<<16)
	var head [4]byte
	for n := 0; ; n++ {
		if n%4096 == 0 && ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if m, err := io.ReadFull(r, head[:]); err == io.EOF || m > 0 && err == io.ErrUnexpectedEOF {
			return nil, nil
		} else if err != nil {
			return nil, err
		}
		id, size := binary.LittleEndian.Uint16(head[:]), int(binary.LittleEndian.Uint16(head[2:]))
		if n == 0 && id&0xf0ff != 0x0009 {
			return errors.New("it does not begin as one"), nil
		}
		m, err := io.ReadFull(r, buf[:size])
		if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
			return nil, err
		}
		if m < size {
			return fmt.Errorf("record %04x is cut short", id), nil
		}
		if !each(id, buf[:size]) {
			return nil, nil
		}
	}
}

// workbook is what of a workbook is needed for reading on.
type workbook struct {
	w       *walker
	version uint16   // of the last BOF: 0x600 for BIFF8
	sheets  []uint32 // where the sheets begin
}

// walkBIFF looks at all records, whichever sheet they belong to, and at the start of each sheet that the workbook
// lists: Excel finds them by their places, and not one after the other.
func (w *walker) walkBIFF(ctx context.Context, f *archive.File) error {
	book := &workbook{w: w}
	problem, err := eachRecord(ctx, f, func(id uint16, data []byte) bool {
		book.record(id, data)
		return true
	})
	if err != nil {
		return err
	}
	if err := w.problem("the workbook", problem); err != nil {
		return err
	}
	for _, at := range book.sheets {
		head := make([]byte, 8)
		if n, err := f.ReadAt(head, int64(at)); err != nil && err != io.EOF {
			return err
		} else if n < len(head) {
			continue
		}
		if id := binary.LittleEndian.Uint16(head); id == biffBOF {
			book.record(id, head[4:])
		}
	}
	return nil
}

// record judges one record.
func (k *workbook) record(id uint16, data []byte) {
	r := octets{b: data}
	switch id {
	case biffBOF, biffBOF2, biffBOF3, biffBOF4:
		k.version = r.u16()
		if id != biffBOF {
			k.version = id >> 8
		}
		if r.u16() == 0x40 {
			k.w.say(archive.MacroAuto, "xlm", "there is a sheet of Excel 4 macros")
		}
	case biffFilePass: // where it does not belong
		k.w.say(archive.Encrypted, "", "a part of the workbook is encrypted")
	case biffSheet:
		at, state, kind := r.u32(), r.u8(), r.u8()
		if r.failed {
			return
		}
		if len(k.sheets) < 1<<14 {
			k.sheets = append(k.sheets, at)
		}
		switch kind {
		case 1:
			hidden := [4]string{"", "hidden ", "very hidden ", ""}[state&3]
			k.w.say(archive.MacroAuto, "xlm", "there is a %ssheet of Excel 4 macros", hidden)
		case 6:
			if k.version < 0x600 {
				k.w.say(archive.MacroAuto, "macros", "there are macros of Excel 5, which can't be read")
			}
		}
	case biffName, biffName3:
		if name := k.name(data); autoName(name) {
			k.w.say(archive.MacroAuto, "xlm auto", "the workbook defines %q, which runs by itself", name)
		}
	case biffSupBook:
		r.u16()
		n := r.u16()
		if n != 0x0401 && n != 0x3a01 && n < 0x100 {
			k.external(unicodeString(&r, int(n)))
		}
	case biffExternal5:
		if k.version < 0x600 && len(data) > 1 {
			k.external(string(data[1:min(len(data), 1+int(data[0]))]))
		}
	}
}

// external judges a reference to another program or file (MS-XLS 2.5.277): a program and what it is asked for are
// separated by the octet 3.
func (k *workbook) external(path string) {
	program, topic, ok := strings.Cut(strings.TrimLeft(path, "\x01\x02"), "\x03")
	if !ok || program == "" { // without a program it is a sheet of this workbook
		return
	}
	switch {
	case remote(topic):
		k.w.say(archive.MacroAuto, "link", "a linked object of %q is loaded from %q", program, topic)
	case !strings.Contains(program, "."):
		// The other kind names a class: Word.Document.8.
		k.w.say(archive.MacroAuto, "dde", "a cell starts %q by DDE: %q", program, topic)
	}
}

// name gives a defined name (MS-XLS 2.4.150); built-in ones are a single character.
func (k *workbook) name(data []byte) string {
	builtIn := len(data) > 0 && data[0]&0x20 != 0
	at := 14
	if k.version < 0x500 {
		at = 6 // BIFF3 and BIFF4: no more than the flags, the key and two lengths
	}
	if len(data) < max(at, 4) {
		return ""
	}
	n := int(data[3])
	r := octets{b: data[at:]}
	var name string
	if k.version >= 0x600 {
		name = unicodeString(&r, n)
	} else {
		name = string(r.take(min(n, len(data)-at)))
	}
	if builtIn && name != "" {
		return builtInNames[name[0]]
	}
	return name
}

// builtInNames are those that run by themselves (MS-XLS 2.5.66).
var builtInNames = map[byte]string{1: "Auto_Open", 2: "Auto_Close", 0x0a: "Auto_Activate", 0x0b: "Auto_Deactivate"}

// autoName reports whether Excel runs what a name stands for by itself. Only the start of the name counts.
func autoName(name string) bool {
	l := strings.ToLower(strings.TrimPrefix(name, "_xlnm."))
	for _, auto := range []string{"auto_open", "auto_close", "auto_activate", "auto_deactivate"} {
		if strings.HasPrefix(l, auto) {
			return true
		}
	}
	return false
}

// unicodeString reads n characters in octets or UTF-16, as the flags before them say (MS-XLS 2.5.296).
func unicodeString(r *octets, n int) string {
	if r.u8()&1 != 0 {
		return utf16Text(r.take(min(2*n, len(r.b)-r.at)))
	}
	return string(r.take(min(n, len(r.b)-r.at)))
}
