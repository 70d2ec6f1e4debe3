package rtf

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/postern-mail/postern/internal/archive"
	"github.com/postern-mail/postern/internal/archive/tell"
)

// recorder writes down what a walk tells.
type recorder struct {
	lines []string
	fail  error
}

func (r *recorder) File(e *archive.Entry) error {
	line := fmt.Sprintf("file %q", e.Names)
	if e.File != nil {
		content, err := io.ReadAll(e.File.Reader())
		if err != nil {
			return err
		}
		line += fmt.Sprintf(" %.60q", content)
	}
	if e.Link != "" {
		line += " -> " + e.Link
	}
	r.lines = append(r.lines, line)
	return r.fail
}

func (r *recorder) Sign(s archive.Sign) error {
	r.lines = append(r.lines, s.String())
	return r.fail
}

func walk(t *testing.T, document string) []string {
	t.Helper()
	var r recorder
	b := archive.NewBudget(archive.Limits{}, int64(len(document)))
	if err := Walk(context.Background(), archive.NewFile([]byte(document)), b, &r); err != nil {
		t.Fatal(err)
	}
	return r.lines
}

func ansi(s string) []byte {
	return append(le.AppendUint32(nil, uint32(len(s)+1)), s+"\x00"...)
}

// ole1 makes an embedded object (MS-OLEDS 2.2.5).
func ole1(class, content string) []byte {
	p := []byte{1, 5, 0, 0, 2, 0, 0, 0}
	p = append(append(p, ansi(class)...), 0, 0, 0, 0, 0, 0, 0, 0)
	p = append(le.AppendUint32(p, uint32(len(content))), content...)
	return append(p, 1, 5, 0, 0, 0, 0, 0, 0) // no presentation
}

// linked makes a linked object (MS-OLEDS 2.2.6).
func linked(class, topic string) []byte {
	p := append([]byte{1, 5, 0, 0, 1, 0, 0, 0}, ansi(class)...)
	p = append(append(p, ansi(topic)...), ansi("")...)
	return append(append(p, ansi("")...), make([]byte, 8)...)
}

// pack makes the content of the class Package.
func pack(label, path, content string) string {
	p := append([]byte{2, 0}, label+"\x00"+path+"\x00"...)
	p = append(append(p, 0, 0, 3, 0), ansi(`C:\Temp\`+label)...)
	p = append(le.AppendUint32(p, uint32(len(content))), content...)
	wide := func(s string) {
		p = le.AppendUint32(p, uint32(len([]rune(s))))
		for _, r := range s {
			p = le.AppendUint16(p, uint16(r))
		}
	}
	wide(`C:\Temp\` + label)
	wide("w\u00efde " + label)
	wide(path)
	return string(p)
}

func objectOf(class string, data string) string {
	return `{\object\objemb{\*\objclass ` + class + `}{\*\objdata ` + data + `}{\result{\pict\wmetafile8 0102}}}`
}

func document(body ...string) string { return `{\rtf1\ansi\deff0 ` + strings.Join(body, "") + `}` }

func lines(p []byte) string {
	var out strings.Builder
	for s := hex.EncodeToString(p); s != ""; {
		n := min(len(s), 64)
		out.WriteString("\r\n" + s[:n])
		s = s[n:]
	}
	return out.String()
}

// honest is much of what Word and Outlook write.
var honest = document(`\ansicpg1252\deff0\deflang1033{\fonttbl{\f0\froman\fcharset0\fprq2{\*\panose 02020603050405020304}Times New Roman;}}`+
	`{\colortbl;\red0\green0\blue0;}{\*\defchp \fs22}{\stylesheet{\ql \snext0 Normal;}{\*\cs10 \additive Default;}}`+
	`{\*\generator Riched20 10.0.19041}{\info{\author A}{\operator B}}{\*\template C:\\Users\\a\\Normal.dotm}{\*\xmlnstbl {\xmlns1 http://schemas.microsoft.com/office/word/2003/wordml}}`+
	"\r\n"+`\uc1\u8364\'80 text \'e9 \{braces\} \\server {\*\shppict{\pict\pngblip\picw10 89504e47}}{\nonshppict{\pict\wmetafile8\bin6 {}}}}}}`+
	`{\field{\*\fldinst{\rtlch HYPERLINK "http://example.org/"}}{\fldrslt{\ul link}}}{\field{\*\fldinst { PAGE }}{\fldrslt 1}}`+
	`{\field{\*\fldinst INCLUDEPICTURE "http://example.org/a.png" \\* MERGEFORMATINET}{\fldrslt{\pict\pngblip 8950}}}`+
	`{\*\themedata 504b030414}{\*\latentstyles\lsdstimax376{\lsdlockedexcept \lsdqformat1 Normal;}}`) + "\r\n\x00"

func TestWalk(t *testing.T) {
	calc := pack("calc.exe", `C:\x\calc.exe`, "MZ program")
	packed := `file ["calc.exe" "C:\\x\\calc.exe" "C:\\Temp\\calc.exe" "wïde calc.exe"] "MZ program"`
	packedHex := hex.EncodeToString(ole1("Package", calc))
	equation := `macro_auto: an object of class "Equation.3": the old equation editor, which runs what is written into it`
	for _, c := range []struct {
		name, in string
		want     []string
	}{
		{"honest", honest, nil},
		{"nothing", `{\rt}`, nil},
		{"an object", document(objectOf("Paint.Picture", lines(ole1("Paint.Picture", "BM picture")))), []string{`file [] "BM picture"`}},
		{"a package", document(objectOf("Package", lines(ole1("Package", calc)))), []string{packed}},
		{"what Word keeps", document(`{\*\datastore ` + lines(ole1("Msxml2.SAXXMLReader.6.0", compound+"rest")) + `}`), []string{fmt.Sprintf("file [] %q", compound+"rest")}},
		{"no ending", `{\rt{\objdata ` + packedHex, []string{packed, "unreadable: the document ends within an object"}},
		{"two in one group", document(`{\objdata 00\objdata ` + packedHex + `}`), []string{`unreadable: an object of unknown form`, `file [] "\x00"`, packed}},
		{"of unknown form", document(`{\*\objdata 0102030405}`), []string{"unreadable: an object of unknown form", `file [] "\x01\x02\x03\x04\x05"`}},
		{"without digits", document(`{\*\objdata }`), nil},
		{"a broken header", document(`{\*\objdata ffff` + hex.EncodeToString([]byte(compound+"ole")) + `}`), []string{fmt.Sprintf("file [] %q", compound+"ole")}},
		{"cut short", document(objectOf("A", hex.EncodeToString(ole1("A", "12345678"))[:60])), []string{`unreadable: an object of class "A" is cut short`, `file [] "1234"`}},
		{"of two classes", document(objectOf("Word.Document.8", hex.EncodeToString(ole1("eQuation.3", "x")))), []string{strings.Replace(equation, "Eq", "eQ", 1), `file [] "x"`}},
		{"updated", document(`{\object\objautlink\objupdate\objw100}`), []string{
			`macro_auto: a linked object is updated when the document is opened (\objautlink)`,
			`macro_auto: an object is updated when the document is opened (\objupdate)`,
		}},
		{"a link", document(objectOf("X", hex.EncodeToString(linked("Word.Document.8", "http://example.org/a")))), []string{`macro_auto: an object of class "Word.Document.8" is loaded from "http://example.org/a"`}},
		{"a local link", document(objectOf("X", hex.EncodeToString(linked("Word.Document.8", `C:\a.doc`)))), nil},
		{"a form", document(`{\object\objocx{\*\objdata ` + hex.EncodeToString(ole1("Forms.TextBox.1", "x")) + `}}`), []string{`file [] "x"`}},
		{"a control", document(`{\object\objocx{\*\objdata ` + hex.EncodeToString(ole1("Evil.Control", "x")) + `}}`), []string{`macro_auto: an ActiveX control of class "Evil.Control" is loaded`, `file [] "x"`}},
		{"a template", document(`{\*\template http://example.org/a.dot}`), []string{`macro_auto: the template "http://example.org/a.dot" is loaded when the document is opened`}},
		{"a hidden template", document(`{\*\te`, `mplate \'68t{}tp\u58?//e}`), []string{`macro_auto: the template "http://e" is loaded when the document is opened`}},
		{"a template of the network", document(`{\*\template \\\\server\\a.dot}`), []string{`macro_auto: the template "\\\\server\\a.dot" is loaded when the document is opened`}},
		{"DDE", document(`{\field{\*\fldinst{\b DD}{\*\bogus x}{EAUTO c:\\\\windows\\\\a.exe "/k"}}}`), []string{`macro_auto: a field starts a program: "DDEAUTO c:\\\\windows\\\\a.exe \"/k\""`}},
		{"a field in a field", document(`{\field{\*\fldinst QUOTE {\field{\*\fldinst dde a b}}}}`), []string{`macro_auto: a field starts a program: "dde a b"`}},
		{"a text from elsewhere", document(`{\field{\*\fldinst INCLUDETEXT "http://example.org/a"}}`), []string{`macro_auto: a field loads something from elsewhere: "INCLUDETEXT \"http://example.org/a\""`}},
		{"a picture of the network", document(`{\field{\*\fldinst INCLUDEPICTURE "\\\\\\\\server\\\\a.png"}}`), []string{`macro_auto: a field loads something from elsewhere: "INCLUDEPICTURE \"\\\\\\\\server\\\\a.png\""`}},
		{"octets that look like an object", document(`{\pict\bin20 {\objdata 0102030405}}}`), []string{`unreadable: octets of a \bin look like an object`}},
		{"octets that are not there", document(`{\pict\bin99999 {\objdata ` + packedHex + `}}`), []string{`unreadable: \bin announces more octets than there are`, packed}},
		{"something behind", document("") + strings.Repeat("x", 600), []string{"unreadable: 600 octets behind the end of the document"}},
	} {
		if diff := cmp.Diff(c.want, walk(t, c.in)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}

// However the digits of an object are written, the object is found.
func TestObfuscation(t *testing.T) {
	want := `file ["a.exe" "A:\\a.exe" "C:\\Temp\\a.exe" "wïde a.exe"] "MZ"`
	data := ole1("Package", pack("a.exe", `A:\a.exe`, "MZ"))
	h := hex.EncodeToString(data)
	between := func(s string) string { // after the fifth octet
		return h[:10] + s + h[10:]
	}
	halved := func(s string) string { return h[:11] + s + h[11:] }
	for name, digits := range map[string]string{
		"blanks":                strings.Join(strings.Split(h, ""), " \r\n\t"),
		"other letters":         strings.Join(strings.Split(h, ""), "zZ!~\x00"),
		"upper case":            strings.ToUpper(h),
		"\\bin":                 h[:10] + `\bin3 ` + string(data[5:8]) + h[16:],
		"\\bin with zeros":      h[:10] + `\bin0000003 ` + string(data[5:8]) + h[16:],
		"\\bin of nothing":      between(`\bin0 `),
		"\\bin below zero":      between(`\bin-3 `),
		"words":                 halved(`\par\foo123 \ul `) + `\b`,
		"an empty group":        halved(`{}`),
		"groups":                between(`{{{}}{\b }}`),
		"an ignored group":      between(`{\*\bogus 0102}`),
		"a destination":         between(`{\fonttbl ff}`),
		"nested destinations":   between(`{\*\a{\*\b{01}02}03}`),
		"digits in a group":     h[:10] + `{` + h[10:20] + `{\b ` + h[20:30] + `}}` + h[30:],
		"an escape":             between(`\'41`),
		"an escape in between":  halved(`\'41`),
		"an escape, no digits":  between(`\'zz`),
		"an escape that drops":  h[:10] + `7\'41` + h[10:],
		"characters":            between(`\u20013 f`),
		"wide characters":       between(`\uc3\u20013 abc`),
		"characters, none":      between(`\uc0\u20013 `),
		"symbols":               halved(`\~\*\:`),
		"unknown group of text": between(`{\bogus }`),
		"a group to skip":       between(`{ff}`),
	} {
		for _, lead := range []string{`{\*\objdata `, "{\\objdata\r\n", `{\*\objdata123 `, `{\object\objemb\objdata `, `{\*\bogus{\*\objdata `} {
			got := walk(t, document(lead, digits, strings.Repeat("}", strings.Count(lead, "{"))))
			if diff := cmp.Diff([]string{want}, got); diff != "" {
				t.Errorf("%s, %s (-want +got):\n%s", name, lead, diff)
			}
		}
	}
}

func TestClass(t *testing.T) {
	for text, name := range classIDs {
		raw, err := hex.DecodeString(strings.ReplaceAll(text, "-", ""))
		if err != nil {
			t.Fatal(err)
		}
		id := bytes.Clone(raw)
		for i, from := range []int{3, 2, 1, 0, 5, 4, 7, 6} {
			id[i] = raw[from]
		}
		if classID(id) != text {
			t.Errorf("%s: %s", text, classID(id))
		}
		file := make([]byte, 2048)
		copy(file, compound)
		le.PutUint16(file[30:], 9)
		le.PutUint32(file[48:], 1)
		copy(file[1024+80:], id)
		want := `macro_auto: an object of class "` + name
		got := walk(t, document(objectOf("X", hex.EncodeToString(ole1("Innocent", string(file))))))
		if len(got) != 2 || !strings.HasPrefix(got[0], want) {
			t.Errorf("%s: %q", name, got)
		}
		got = walk(t, document(`{\object\objocx{\*\oleclsid \'7b`+strings.ToLower(text)+`\'7d}}`))
		if len(got) != 1 || !strings.HasPrefix(got[0], want) {
			t.Errorf("%s: %q", name, got)
		}
	}
	if got := walk(t, document(objectOf("Equation.DSMT4", hex.EncodeToString(ole1("Equation.DSMT4", compound))))); len(got) != 1 {
		t.Errorf("MathType: %q", got)
	}
}

func TestPackageForms(t *testing.T) {
	link := "\x02\x00L\x00\\\\server\\a.exe\x00\x00\x00\x01\x00"
	for content, want := range map[string][]string{
		link: {`shortcut: a package that opens "\\\\server\\a.exe"`, `file ["L" "a.exe" "\\\\server\\a.exe"] -> \\server\a.exe`},
		"\x02\x00a\x00b\x00\x00\x00\x03\x00\x00\x00\x00\x00\x09\x00\x00\x00MZ": {"unreadable: a package is cut short", `file ["a" "b"] "MZ"`},
		"\x02\x00a\x00b\xe9\x00\x00\x00\x03\x00\x00\x00":                       {"unreadable: a package is cut short", `file ["a" "bé"]`},
		"\x02\x00a\x00b\x00\x00\x00\x07\x00MZ":                                 {"unreadable: a package of unknown form", `file [] "\x02\x00a\x00b\x00\x00\x00\a\x00MZ"`},
		compound:                                                               {fmt.Sprintf("file [] %q", compound)},
	} {
		if diff := cmp.Diff(want, walk(t, document(objectOf("Package", hex.EncodeToString(ole1("Package", content)))))); diff != "" {
			t.Errorf("%q (-want +got):\n%s", content, diff)
		}
	}
}

func TestIs(t *testing.T) {
	for in, want := range map[string]bool{
		`{\rtf1\ansi`: true, `{\rt`: true, `{\rtxa`: true, "\ufeff \r\n{\\rtf1": true, "junk {\\rt": true,
		`{rtf1`: false, ``: false, `\rtf1`: false, strings.Repeat(" ", lead) + `{\rt`: true, strings.Repeat(" ", lead+1) + `{\rt`: false,
	} {
		if Is([]byte(in)) != want {
			t.Errorf("%.40q: not %v", in, want)
		}
	}
}

// What is made to cost much costs little, and is told.
func TestBombs(t *testing.T) {
	deep := strings.Repeat(`{\objdata 41{`, 20000)
	for name, c := range map[string]struct{ in, want string }{
		"objects in objects": {deep, "bomb: objects within objects"},
		"many objects":       {document(strings.Repeat(objectOf("A", hex.EncodeToString(ole1("A", ""))), 10001)), "bomb: more than 10000 files"},
		"fields in fields":   {document(strings.Repeat(`{\field{\*\fldinst `, 1000)), "unreadable: more than 64 fields"},
		"braces":             {strings.Repeat("{", 1<<20), ""},
		"closing braces":     {strings.Repeat("}", 1<<20), ""},
		"a long word":        {`{\` + strings.Repeat("a", 1<<20), ""},
		"a long number":      {`{\bin` + strings.Repeat("9", 1<<20), `unreadable: \bin announces`},
		"a long template":    {`{\*\template http://` + strings.Repeat("a", 1<<20), "macro_auto: the template"},
		"many signs":         {document(strings.Repeat(`{\*\template http://a}`, 9999)), "macro_auto"},
	} {
		got := walk(t, c.in)
		n := 0
		for _, l := range got {
			if !strings.HasPrefix(l, "file ") {
				n++
			}
			if len(l) > 500 {
				t.Errorf("%s: a long sign of %d octets", name, len(l))
			}
		}
		if !strings.Contains(strings.Join(got, "\n"), c.want) || n > 20 || c.want == "" && n > 0 {
			t.Errorf("%s: %d signs, first of %d: %q", name, n, len(got), got[:min(len(got), 5)])
		}
	}
	big := document(objectOf("A", hex.EncodeToString(ole1("A", strings.Repeat("x", 1<<20)))))
	var r recorder
	b := archive.NewBudget(archive.Limits{Octets: 1000}, 1)
	if err := Walk(context.Background(), archive.NewFile([]byte(big)), b, &r); err != nil || !strings.HasPrefix(r.lines[0], "bomb: an object: ") {
		t.Errorf("%v %q", err, r.lines)
	}
}

var errVisitor, errBroken = errors.New("visitor"), errors.New("broken")

func TestErrors(t *testing.T) {
	in := []byte(document(objectOf("Equation.3", hex.EncodeToString(ole1("A", "x")))))
	if err := Walk(context.Background(), archive.NewFile(in), archive.NewBudget(archive.Limits{}, 1), &recorder{fail: errVisitor}); err != errVisitor {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := Walk(ctx, archive.NewFile(bytes.Repeat([]byte(`\par`), 1000)), archive.NewBudget(archive.Limits{}, 1), &recorder{}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	for n := int64(0); n < int64(len(in)); n += 7 {
		f := archive.FileAt(brokenAt{archive.NewFile(in), n}, int64(len(in)))
		if err := Walk(context.Background(), f, archive.NewBudget(archive.Limits{}, 1), &recorder{}); !errors.Is(err, errBroken) {
			t.Errorf("at %d: %v", n, err)
		}
	}
}

type brokenAt struct {
	f *archive.File
	n int64
}

func (b brokenAt) ReadAt(p []byte, off int64) (int, error) {
	n, err := b.f.ReadAt(p, off)
	if off+int64(n) > b.n {
		return 0, errBroken
	}
	return n, err
}

func FuzzWalk(f *testing.F) {
	calc := hex.EncodeToString(ole1("Package", pack("a", "b", "MZ")))
	for _, s := range []string{
		honest, document(objectOf("Equation.3", calc)), document(`{\objdata 01{\*\a 02}\'41\bin3 abc\uc2\u55 xx`, calc),
		document(`{\*\template http://a}{\field{\*\fldinst DDE a}}`, objectOf("A", hex.EncodeToString(linked("A", `\\a`)))),
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		const limit = 1 << 20
		var r recorder
		b := archive.NewBudget(archive.Limits{Octets: limit, Files: 50}, 1)
		if err := Walk(context.Background(), archive.NewFile(in), b, &r); err != nil {
			t.Fatal(err)
		}
		if len(r.lines) > 50+tell.Most {
			t.Fatalf("%d lines", len(r.lines))
		}
	})
}
