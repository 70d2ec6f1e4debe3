package office_test

import (
	"bytes"
	"compress/zlib"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/postern-mail/postern/internal/archive"
	"github.com/postern-mail/postern/internal/archive/office"
	"github.com/postern-mail/postern/internal/archive/ole"
	"github.com/postern-mail/postern/internal/archive/ole/oletest"
)

var le = binary.LittleEndian

// run walks a document.
func run(t testing.TB, walk archive.Walk, in []byte) *seen {
	t.Helper()
	return runWith(t, walk, in, archive.Limits{Octets: 16 << 20})
}

func runWith(t testing.TB, walk archive.Walk, in []byte, l archive.Limits) *seen {
	t.Helper()
	s := &seen{}
	if err := walk(t.Context(), archive.NewFile(in), archive.NewBudget(l, int64(len(in))), s); err != nil {
		t.Fatal(err)
	}
	if len(s.signs) > 25 {
		t.Fatalf("%d signs", len(s.signs))
	}
	return s
}

// expect compares the signs with how each must begin, and the files with what must be in them.
func expect(t *testing.T, name string, s *seen, signs []string, files ...string) {
	t.Helper()
	ok := len(s.signs) == len(signs) && len(s.files) == len(files)
	for i := 0; ok && i < len(signs); i++ {
		ok = strings.HasPrefix(s.signs[i].String(), signs[i])
	}
	for i := 0; ok && i < len(files); i++ {
		ok = strings.Contains(s.files[i], files[i])
	}
	if !ok {
		t.Errorf("%s: signs %q, files %q; want %q, %q", name, s.signs, s.files, signs, files)
	}
}

func wide(text string) (b []byte) {
	for _, u := range utf16.Encode([]rune(text)) {
		b = le.AppendUint16(b, u)
	}
	return b
}

// compound makes a compound file of streams.
func compound(children ...oletest.Node) []byte {
	return oletest.Build(oletest.Node{Children: children})
}

// doc makes a document of Word 97 of pieces, which begin with "w" for those in UTF-16 and anything else for octets.
func doc(template string, flags uint16, pieces ...string) []byte {
	text := make([]byte, 0x400)
	le.PutUint16(text, 0xa5ec)
	le.PutUint16(text[2:], 0xc1)
	le.PutUint16(text[0xa:], flags|0x200)
	var positions, descriptors []byte
	at := uint32(0)
	for _, p := range pieces {
		positions = le.AppendUint32(positions, at)
		place := uint32(len(text))
		if p[0] == 'w' {
			text = append(text, wide(p[1:])...)
		} else {
			place = place*2 | 1<<30
			text = append(text, p[1:]...)
		}
		if len(text)%2 != 0 {
			text = append(text, 0)
		}
		at += uint32(len([]rune(p)) - 1)
		descriptors = append(le.AppendUint32(append(descriptors, 0, 0), place), 0, 0)
	}
	table := append(le.AppendUint32(positions, at), descriptors...)
	table = append(le.AppendUint32([]byte{1, 2, 0, 9, 9, 2}, uint32(len(table))), table...)
	le.PutUint32(text[0x1a6:], uint32(len(table)))
	le.PutUint32(text[0x19a:], uint32(len(table)))
	names := []byte{0xff, 0xff, 2, 0, 0, 0, 0, 0, byte(len(template)), 0}
	names = append(names, wide(template)...)
	le.PutUint32(text[0x19e:], uint32(len(names)))
	return compound(oletest.Node{Name: "WordDocument", Data: text}, oletest.Node{Name: "1Table", Data: append(table, names...)})
}

func TestWord(t *testing.T) {
	for _, c := range []struct {
		name     string
		template string
		flags    uint16
		pieces   []string
		signs    []string
	}{
		{"fields", `C:\Templates\Normal.dot`, 0, []string{"8Page \x13 PAGE \x14one\x15 \x13HYPERLINK \"http://a\"\x14x\x15", "w\x13TOC\x15"}, nil},
		{"DDE in octets", "", 0, []string{"8a \x13 DDEAUTO c:\\\\cmd.exe \"/k x\" \x14!\x15"}, []string{"macro_auto: a field starts a program by DDE"}},
		{"DDE in UTF-16", "", 0, []string{"wä \x13dde x\x15"}, []string{"macro_auto: a field"}},
		{"over pieces", "", 0, []string{"8\x13DD", "wEAU", "8TO x\x15"}, []string{`macro_auto: a field starts a program by DDE: "DDEAUTO x"`}},
		{"without an end", "", 0, []string{"8\x13DDE x"}, []string{"macro_auto"}},
		{"by a field within", "", 0, []string{"8\x13 \x13 QUOTE 68 68 69 65 85 84 79\x14?\x15 x \x15"}, []string{"macro_auto: a field starts"}},
		{"after much space", "", 0, []string{"8\x13" + strings.Repeat(" ", 100000) + "DDE x\x15"}, []string{"macro_auto: a field starts"}},
		{"a link", "", 0, []string{"8\x13 LINK Word.Document.8 \"http://host/x.doc\" \\a \x14\x15"}, []string{"macro_auto: a field loads from elsewhere"}},
		{"a link to a drive", "", 0, []string{"8\x13 LINK Excel.Sheet.8 \"C:\\\\x.xls\" \\a \x14\x15"}, nil},
		{"a template", `\\host\x.dot`, 0, []string{"8a"}, []string{"macro_auto: the template is loaded from"}},
		{"a template of the Web", `https://host/x.dot`, 0, []string{"8a"}, []string{"macro_auto: the template is loaded from"}},
		{"encrypted", "", 0x100, []string{"8\x13DDE x\x15"}, []string{"encrypted: the text"}},
	} {
		expect(t, c.name, run(t, office.Walk, doc(c.template, c.flags, c.pieces...)), c.signs)
	}
}

func TestWordDamaged(t *testing.T) {
	text := make([]byte, 0x400)
	le.PutUint16(text, 0xa5ec)
	le.PutUint16(text[2:], 0xc1)
	text = append(text, wide(".\x13DDE x\x15")...)
	expect(t, "no table", run(t, office.Walk, compound(oletest.Node{Name: "WordDocument", Data: text})), []string{"unreadable", "macro_auto"})
	expect(t, "no text", run(t, office.Walk, compound(oletest.Node{Name: "WordDocument", Data: text[:20]})), []string{"unreadable"})
	// Pieces that all are the whole text would take for ever.
	pieces := make([]string, 0, 3000)
	for range 3000 {
		pieces = append(pieces, "8")
	}
	pieces = append(pieces, "8"+strings.Repeat("x", 1<<20))
	b := doc("", 0, pieces...)
	root, _, err := ole.Open(t.Context(), archive.NewFile(b))
	if err != nil {
		t.Fatal(err)
	}
	f, _ := root.Stream("1Table").File()
	table, _, err := f.Bytes(1 << 20)
	if err != nil {
		t.Fatal(err)
	}
	changed := bytes.Clone(table)
	for i := range 3001 {
		le.PutUint32(changed[10+4*i:], uint32(i%2)<<20)
	}
	i := bytes.Index(b, table[:400])
	copy(b[i:], changed[:400])
	if s := run(t, office.Walk, b); len(s.signs) != 1 || s.signs[0].Kind != archive.Unreadable {
		t.Errorf("%v", s.signs)
	}
}

func TestOldWord(t *testing.T) {
	text := make([]byte, 0x300)
	le.PutUint16(text[2:], 0x68)
	text = append(text, "\x13DDE x\x15"...)
	le.PutUint32(text[0x18:], 0x300)
	le.PutUint32(text[0x1c:], uint32(len(text)))
	expect(t, "DDE", run(t, office.Walk, compound(oletest.Node{Name: "WordDocument", Data: text})), []string{"macro_auto: a field"})
	le.PutUint32(text[0x118:], uint32(len(text)))
	le.PutUint32(text[0x11c:], 10)
	text = append(text, "\xff\x01\x01\x00123456"...)
	expect(t, "macros", run(t, office.Walk, compound(oletest.Node{Name: "WordDocument", Data: text})), []string{"macro_auto: there are macros in WordBasic", "macro_auto"})
}

// biff makes records of pairs of an identifier and data.
func biff(records ...any) (b []byte) {
	for i := 0; i < len(records); i += 2 {
		data := []byte(records[i+1].(string))
		b = le.AppendUint16(b, uint16(records[i].(int)))
		b = append(le.AppendUint16(b, uint16(len(data))), data...)
	}
	return b
}

const bof8 = "\x00\x06\x05\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"

func TestExcel(t *testing.T) {
	const bof5 = "\x00\x05\x05\x00\x00\x00\x00\x00"
	name := func(flags, text string) string {
		return flags + "\x00\x00" + string(rune(len(text))) + strings.Repeat("\x00", 10)
	}
	for _, c := range []struct {
		name   string
		stream string
		data   []byte
		signs  []string
	}{
		{"sheets", "Workbook", biff(0x809, bof8, 0x85, "\x00\x00\x00\x00\x00\x00\x02\x00ab", 0x0a, ""), nil},
		{"a macro sheet", "Workbook", biff(0x809, bof8, 0x85, "\x00\x00\x00\x00\x02\x01\x02\x00ab", 0x0a, ""), []string{"macro_auto: there is a very hidden sheet of Excel 4 macros"}},
		{"the start of a macro sheet", "Workbook", biff(0x809, bof8, 0x0a, "", 0x809, "\x00\x06\x40\x00"), []string{"macro_auto"}},
		{"Auto_Open", "Workbook", biff(0x809, bof8, 0x18, "\x20\x00\x00\x01"+strings.Repeat("\x00", 10)+"\x00\x01"), []string{`macro_auto: the workbook defines "Auto_Open"`}},
		{"AUTO_CLOSE in UTF-16", "Workbook", biff(0x809, bof8, 0x18, name("\x00", "AUTO_CLOSE1")+"\x01"+string(wide("AUTO_CLOSE1"))), []string{`macro_auto: the workbook defines "AUTO_CLOSE1"`}},
		{"Auto_Open of Excel 5", "Book", biff(0x809, bof5, 0x18, name("\x00", "Auto_Open")+"Auto_Open"), []string{"macro_auto"}},
		{"another name", "Workbook", biff(0x809, bof8, 0x18, name("\x00", "Total")+"\x00Total"), nil},
		{"DDE", "Workbook", biff(0x809, bof8, 0x1ae, "\x00\x00\x0c\x00\x00cmd\x03/c calc"), []string{`macro_auto: a cell starts "cmd" by DDE: "/c calc"`}},
		{"a link", "Workbook", biff(0x809, bof8, 0x1ae, "\x00\x00\x1c\x00\x00Word.Document.8\x03http://a/b"), []string{"macro_auto: a linked object"}},
		{"a link to a drive", "Workbook", biff(0x809, bof8, 0x1ae, "\x00\x00\x16\x00\x00Word.Document.8\x03C:\\x.y"), nil},
		{"another workbook", "Workbook", biff(0x809, bof8, 0x1ae, "\x01\x00\x06\x00\x00\x01x.xls", 0x1ae, "\x01\x00\x01\x04", 0x1ae, "\x01\x00\x01\x3a"), nil},
		{"DDE of Excel 5", "Book", biff(0x809, bof5, 0x17, "\x06cmd\x03/c"), []string{"macro_auto: a cell starts"}},
		{"a sheet of its own", "Book", biff(0x809, bof5, 0x17, "\x06\x03Sheet"), nil},
		{"modules of Excel 5", "Book", biff(0x809, bof5, 0x85, "\x00\x00\x00\x00\x00\x06\x01a"), []string{"macro_auto: there are macros of Excel 5"}},
		{"encrypted", "Workbook", biff(0x809, bof8, 0x2f, "\x01\x00", 0x85, "xxxxxxxxxx"), []string{"encrypted: the workbook"}},
		{"encrypted late", "Workbook", biff(0x809, bof8, 0x85, "\x00\x00\x00\x00\x00\x00\x02\x00ab", 0x2f, "", 0x85, "\x00\x00\x00\x00\x00\x01\x02\x00ab"), []string{"encrypted: a part", "macro_auto"}},
		{"no workbook", "Workbook", []byte("nothing of this kind"), []string{"unreadable"}},
		{"cut short", "Workbook", biff(0x809, bof8, 0x85, "\x00\x00\x00\x00\x00\x00\x02\x00ab")[:26], []string{"unreadable"}},
	} {
		expect(t, c.name, run(t, office.Walk, compound(oletest.Node{Name: c.stream, Data: c.data})), c.signs)
		if len(c.data) > 20 && c.data[0] == 9 && c.signs != nil && !strings.HasPrefix(c.signs[0], "encrypted") {
			if !office.IsBIFF(c.data) {
				t.Errorf("%s: not seen", c.name)
			}
			expect(t, c.name+" by itself", run(t, office.WalkBIFF, c.data), c.signs)
		}
	}
	if sheet := biff(0x409, "\x00\x00\x40\x00\x00\x00"); !office.IsBIFF(sheet) {
		t.Error("a sheet of Excel 4 is not seen")
	} else {
		expect(t, "Excel 4", run(t, office.WalkBIFF, sheet), []string{"macro_auto: there is a sheet"})
	}
}

// ppt makes a record of PowerPoint.
func ppt(instance, id uint16, data []byte) (b []byte) {
	b = le.AppendUint16(b, instance)
	b = le.AppendUint16(b, id)
	return append(le.AppendUint32(b, uint32(len(data))), data...)
}

func packed(in []byte) []byte {
	var b bytes.Buffer
	z := zlib.NewWriter(&b)
	_, _ = z.Write(in)
	_ = z.Close()
	return append(le.AppendUint32(nil, uint32(len(in))), b.Bytes()...)
}

func TestPowerPoint(t *testing.T) {
	macros := compound(oletest.VBA(oletest.Module{Name: "A", Source: "Sub Auto_Open()"}))
	object := compound(oletest.Node{Name: "\x01Ole10Native", Data: native("a.txt", "x")})
	stream := func(b []byte) []byte { return compound(oletest.Node{Name: "PowerPoint Document", Data: b}) }
	container := func(b []byte) []byte { return ppt(0xf, 1000, b) }
	expect(t, "empty", run(t, office.Walk, stream(container(nil))), nil)
	expect(t, "macros", run(t, office.Walk, stream(container(ppt(0x10, 0x1011, packed(macros))))), []string{"macro_auto: the macro Auto_Open"})
	expect(t, "macros in the clear", run(t, office.Walk, stream(ppt(0, 0x1011, macros))), []string{"macro_auto: the macro Auto_Open"})
	expect(t, "an object", run(t, office.Walk, stream(ppt(0x10, 0x1011, packed(object)))), nil, `object 1="\xd0\xcf`)
	expect(t, "a damaged object", run(t, office.Walk, stream(ppt(0x10, 0x1011, []byte("12345678")))), []string{"unreadable"})
	expect(t, "a program", run(t, office.Walk, stream(ppt(0, 0xff3, []byte("\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\x00\x00\x00\x00\x00\x00")))), []string{"macro_auto: a shape runs a program"})
	expect(t, "cut short", run(t, office.Walk, stream(ppt(0, 1, make([]byte, 100))[:50])), []string{"unreadable"})
	expect(t, "encrypted", run(t, office.Walk, compound(oletest.Node{Name: "Current User", Data: []byte("\x00\x00\xf6\x0f\x14\x00\x00\x00\x14\x00\x00\x00\xdf\xc4\xd1\xf3")})), []string{"encrypted"})
	bomb := stream(ppt(0x10, 0x1011, packed(make([]byte, 4<<20))))
	if s := runWith(t, office.Walk, bomb, archive.Limits{Octets: 1 << 20}); s.kinds() != "bomb" {
		t.Errorf("%v", s.signs)
	}
}

// native makes an object of the Packager.
func native(name, content string) []byte {
	b := []byte("\x02\x00" + name + "\x00C:\\from\\" + name + "\x00\x00\x00\x03\x00")
	temp := "C:\\temp\\" + name + "\x00"
	b = append(le.AppendUint32(b, uint32(len(temp))), temp...)
	b = append(le.AppendUint32(b, uint32(len(content))), content...)
	for _, w := range []string{"C:\\temp\\" + name, name, "C:\\from\\" + name} {
		b = append(le.AppendUint32(b, uint32(len(w))), wide(w)...)
	}
	return append(le.AppendUint32(nil, uint32(len(b))), b...)
}

func TestObjects(t *testing.T) {
	stream := func(name string, data []byte) []byte {
		return compound(oletest.Node{Name: "ObjectPool", Children: []oletest.Node{{Name: "_1", Children: []oletest.Node{{Name: name, Data: data}}}}})
	}
	expect(t, "a file", run(t, office.Walk, stream("\x01Ole10Native", native("a.exe", "MZxx"))), nil, `a.exe|C:\from\a.exe|C:\temp\a.exe="MZxx"`)
	expect(t, "something else", run(t, office.Walk, stream("\x01Ole10Native", []byte("\x04\x00\x00\x00abcd"))), nil, `Ole10Native="abcd"`)
	expect(t, "a package", run(t, office.Walk, stream("Package", []byte("PK\x03\x04"))), nil, `Package="PK`)
	expect(t, "what is known", run(t, office.Walk, stream("\x01CompObj", []byte("abc"))), nil)
	link := []byte("\x01\x00\x00\x02\x01\x00\x00\x00\xe0\xc9\xea\x79\xf9\xba\xce\x11\x8c\x82\x00\xaa\x00\x4b\xa9\x0b\x20\x00\x00\x00")
	link = append(append(link, wide("http://host/x")...), 0, 0)
	expect(t, "a link", run(t, office.Walk, stream("\x01Ole", link)), []string{`macro_auto: a linked object is loaded from "http://host/x"`})
	script := []byte("\x01\x00\x00\x02\x01\x00\x00\x00\xd3\x0b\x29\x06\xaa\x48\xd2\x11\x84\x32\x00\x60\x08\xc3\xfb\xfc")
	expect(t, "a script", run(t, office.Walk, stream("\x01Ole", script)), []string{"macro_auto: a linked object is a script"})
	expect(t, "no link", run(t, office.Walk, stream("\x01Ole", []byte("\x01\x00\x00\x02\x00\x00\x00\x00"))), nil)
	browser := oletest.Node{Name: "_1", Storage: true, CLSID: ole.CLSID{0x61, 0xf9, 0x56, 0x88, 0x0a, 0x34, 0xd0, 0x11, 0xa9, 0x6b, 0x00, 0xc0, 0x4f, 0xd7, 0x05, 0xa2}}
	expect(t, "a browser", run(t, office.Walk, compound(browser)), []string{"macro_auto: there is an object that is the Web browser"})
	macros := compound(oletest.Node{Name: "Macros", Children: []oletest.Node{oletest.VBA(oletest.Module{Name: "A", Source: "x = 1"}), {Name: "PROJECT", Data: []byte("x")}}})
	expect(t, "macros", run(t, office.Walk, macros), []string{"macro: there are macros"})
}

// Streams that say something else of a document hide nothing in it.
func TestHidden(t *testing.T) {
	word := oletest.Node{Name: "WordDocument", Data: append(make([]byte, 0x400), "\x13DDE x\x15"...)}
	for name, other := range map[string]oletest.Node{
		"a package":    {Name: "EncryptedPackage", Data: []byte("x")},
		"macros":       {Name: "_VBA_PROJECT"},
		"a storage":    {Name: "VBA", Storage: true},
		"an installer": {Name: "\u4840\u3f7f\u4164\u422f\u4836", Data: []byte("table")},
	} {
		if s := run(t, office.Walk, compound(other, word)); !strings.Contains(fmt.Sprint(s.signs), "a field starts a program") {
			t.Errorf("%s: %v", name, s.signs)
		}
	}
}

func TestInstaller(t *testing.T) {
	msi := oletest.Build(oletest.Node{CLSID: ole.CLSID{0x84, 0x10, 0x0c, 0, 0, 0, 0, 0, 0xc0, 0, 0, 0, 0, 0, 0, 0x46}, Children: []oletest.Node{
		{Name: "\u4840\u3f7f\u4164\u422f\u4836", Data: []byte("table")}, // _Tables
		{Name: "\u430b\u4131\u4735\u386f", Data: []byte("MSCF")},
	}})
	s := run(t, office.Walk, msi)
	if s.kinds() != "executable" || len(s.files) != 1 || !strings.HasSuffix(s.files[0], `="MSCF"`) {
		t.Errorf("%v %q", s.signs, s.files)
	}
	s = run(t, office.Walk, compound(oletest.Node{Name: "\u4840\u3f7f\u4164\u422f\u4836", Data: []byte("table")}))
	if s.kinds() != "executable" {
		t.Errorf("by its tables: %v", s.signs)
	}
}

// What a visitor or the context says ends a walk.
func TestErrors(t *testing.T) {
	in := compound(oletest.Node{Name: "\x01Ole10Native", Data: native("a.exe", "MZxx")})
	mine := errors.New("mine")
	s := &seen{inner: func(*archive.Entry) error { return mine }}
	if err := office.Walk(t.Context(), archive.NewFile(in), archive.NewBudget(archive.Limits{}, 1), s); !errors.Is(err, mine) {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := office.Walk(ctx, archive.NewFile(in), archive.NewBudget(archive.Limits{}, 1), s); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	closed, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	_ = closed.Close()
	if err := office.Walk(t.Context(), archive.FileAt(closed, 5000), archive.NewBudget(archive.Limits{}, 1), s); !errors.Is(err, os.ErrClosed) {
		t.Error(err)
	}
}

func FuzzWalk(f *testing.F) {
	f.Add(doc(`\\host\x`, 0, "8\x13DDE x\x15", "w\x13 \x13QUOTE 68\x14?\x15\x14"))
	f.Add(compound(oletest.Node{Name: "Workbook", Data: biff(0x809, bof8, 0x85, "\x00\x00\x00\x00\x02\x01\x02\x00ab", 0x1ae, "\x00\x00\x05\x00\x00cmd\x03x")}))
	f.Add(compound(oletest.Node{Name: "PowerPoint Document", Data: ppt(0x10, 0x1011, packed(compound()))}))
	f.Add(compound(oletest.Node{Name: "\x01Ole10Native", Data: native("a.exe", "MZxx")}, oletest.VBA(oletest.Module{Name: "A", Source: "Sub AutoOpen()"})))
	f.Fuzz(func(t *testing.T, in []byte) {
		runWith(t, office.Walk, in, archive.Limits{Octets: 1 << 20, Files: 100})
	})
}

// FuzzStreams fuzzes what is in the streams and not around them.
func FuzzStreams(f *testing.F) {
	f.Add(byte(0), biff(0x809, bof8, 0x85, "\x00\x00\x00\x00\x02\x01\x02\x00ab", 0x18, "\x20\x00\x00\x01"+strings.Repeat("\x00", 10)+"\x00\x01"))
	f.Add(byte(1), ppt(0x10, 0x1011, packed(compound())))
	f.Add(byte(2), native("a.exe", "MZxx"))
	f.Add(byte(3), bytes.Repeat([]byte("\xec\xa5\xc1\x00"), 200))
	f.Add(byte(4), []byte("\x01\x00\x00\x02\x01\x00\x00\x00\xe0\xc9\xea\x79"))
	names := []string{"Workbook", "PowerPoint Document", "\x01Ole10Native", "WordDocument", "\x01Ole", "Current User", "Book"}
	f.Fuzz(func(t *testing.T, kind byte, in []byte) {
		b := compound(oletest.Node{Name: names[int(kind)%len(names)], Data: in}, oletest.Node{Name: "0Table", Data: in}, oletest.Node{Name: "1Table", Data: in})
		runWith(t, office.Walk, b, archive.Limits{Octets: 1 << 20, Files: 100})
		runWith(t, office.WalkBIFF, in, archive.Limits{Octets: 1 << 20, Files: 100})
	})
}
