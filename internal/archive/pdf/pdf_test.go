package pdf

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/postern-mail/postern/internal/archive"
)

func TestIs(t *testing.T) {
	for head, want := range map[string]bool{
		"%PDF-1.4\n":                             true,
		strings.Repeat(" ", 1000) + "%PDF-1.4":   true,
		strings.Repeat(" ", 1100) + "%PDF-1.4":   false,
		"%!PS-Adobe-3.0 PDF-1.4\n":               true,
		"junk\n%!PS-Adobe-3.0 PDF-1.4\n":         true,
		"%!PS-Adobe-3.0\n% see PDF-1.4":          false,
		"%FDF-1.2\n":                             true,
		"":                                       false,
		"PK\x03\x04":                             false,
		"MZ" + strings.Repeat("x", 90) + "%PDF-": true,
	} {
		if got := Is([]byte(head)); got != want {
			t.Errorf("%.40q: %v", head, got)
		}
	}
}

const catalog = "1 0 obj << /Type /Catalog /Pages 2 0 R >>"

// TestActive finds what is active however it is spelled and wherever it is.
func TestActive(t *testing.T) {
	script := `<< /S /JavaScript /JS (app.alert\(1\)) >>`
	for name, text := range map[string]string{
		"script":                  file("1 0 obj << /OpenAction " + script + " >>"),
		"escaped names":           file("1 0 obj << /Open#41ction << /#53 /J#61vaScript /#4aS (x) >> >>"),
		"comments":                file("1 0 obj <<%x\n/S%(\r/JavaScript%>>\n/JS(x)>>"),
		"no spaces":               file("1 0 obj<</S/JavaScript/JS<6170>>>"),
		"comment in head":         file("1 0 %x\nobj << /S /JavaScript /JS (x) >>"),
		"script in a stream":      file("1 0 obj << /S /JavaScript /JS 5 0 R >>", stream(5, "/Filter /FlateDecode", deflate("x()"))),
		"script that is missing":  file("1 0 obj << /S /JavaScript /JS 5 0 R >>"),
		"kind elsewhere":          file("1 0 obj << /S 5 0 R /JS 6 0 R >>", "5 0 obj 7 0 R", "7 0 obj /JavaScript", "6 0 obj (x)"),
		"launch, kind elsewhere":  file("1 0 obj << /S 5 0 R /F (cmd.exe) >>", "5 0 obj /Launch"),
		"first of two":            file("1 0 obj << /S /JavaScript /JS (x) /S /GoTo >>"),
		"names":                   file("1 0 obj << /Names << /JavaScript << /Names [(a) 5 0 R] >> >> >>"),
		"form data":               "%FDF-1.2\n1 0 obj << /FDF << /JavaScript << /After (x) >> >> >>\nendobj",
		"no end":                  "%PDF-1.4\n1 0 obj << /S /JavaScript /JS (x)",
		"in a stream that is not": file(stream(5, "", "1 0 obj << /S /JavaScript /JS (x) >> endobj")),
		"after a parenthesis":     file("3 0 obj (", "1 0 obj "+script),
		"in the trailer":          file(catalog) + "trailer << /Root << /OpenAction " + script + " >> >>",
		"launch":                  file("1 0 obj << /S /Launch /Win << /F (cmd.exe) /P (/c calc) >> >>"),
		"import":                  file("1 0 obj << /S /ImportData /F (x.fdf) >>"),
		"embedded":                file("1 0 obj << /S /GoToE /T << /R /C /N (x) >> >>"),
		"remote":                  file(`1 0 obj << /S /GoToR /F (\\\\\\\\example.com\\\\x) /D [0 /Fit] >>`),
		"remote by URL":           file(`1 0 obj << /S /GoToR /F << /FS /URL /F (http://example.com/x.pdf) >> >>`),
		"rich media":              file("1 0 obj << /Type /Annot /Subtype /RichMedia >>"),
		"3D":                      file(stream(1, "/Type /3D /OnInstantiate 5 0 R", "")),
		"rendition":               file("1 0 obj << /S /Rendition /JS (x) >>"),
		"link to script":          file("1 0 obj << /S /URI /URI (javascript:alert\\(1\\)) >>"),
		"opens a link":            file("1 0 obj << /OpenAction 5 0 R >>", "5 0 obj << /S /URI /URI (http://example.com) >>"),
		"opens a link at last":    file("1 0 obj << /OpenAction << /S /GoTo /Next [<< /S /SubmitForm >>] >> >>"),
		"page opens a link":       file("1 0 obj << /AA << /O << /S /URI /URI (http://example.com) >> >> >>"),
		"XFA":                     file("1 0 obj << /XFA [(a) 5 0 R (b) 6 0 R] >>", stream(5, "", "<t><scr"), stream(6, "/Filter /Fl", deflate("ipt>x()</script>"))),
		"XFA in UTF-16":           file("1 0 obj << /XFA 5 0 R >>", stream(5, "", "<\x00s\x00c\x00r\x00i\x00p\x00t\x00>\x00")),
		"object stream":           file(objectStream(5, "/Filter /FlateDecode", deflate, script)),
		"object stream by hex":    file(objectStream(5, "/Filter [/AHx /Fl]", func(s string) string { return toHex(deflate(s)) }, script)),
		"object stream by 85":     file(objectStream(5, "/Filter [/ASCII85Decode /FlateDecode]", func(s string) string { return to85(deflate(s)) }, script)),
		"object stream by LZW":    file(objectStream(5, "/Filter /LZWDecode /DecodeParms << /EarlyChange 0 >>", toLZW, script)),
		"object stream by runs":   file(objectStream(5, "/Filter /RunLengthDecode", toRuns, script)),
		"object stream in rows": file(objectStream(5, "/Filter 6 0 R /DecodeParms [7 0 R]", func(s string) string { return deflate(toRows(s)) }, script),
			"6 0 obj [8 0 R]", "7 0 obj << /Predictor 12 /Columns 8 >>", "8 0 obj /FlateDecode"),
		"object stream without type":  strings.Replace(file(objectStream(5, "/Filter /FlateDecode", deflate, script)), "/Type /ObjStm", "", 1),
		"object stream, other count":  strings.Replace(file(objectStream(5, "", plain, "null", script)), "/N 2", "/N 1", 1),
		"object stream, wrong length": strings.Replace(file(objectStream(5, "/Filter /FlateDecode", deflate, script)), "/Length ", "/Length 9", 1),
	} {
		s := look(t, text, archive.Limits{})
		if s.kinds() != string(archive.ActivePDF) {
			t.Errorf("%s: %v", name, s.signs)
		}
		if large := look(t, text+strings.Repeat(" \n", wholeFile/2), archive.Limits{}); large.kinds() != s.kinds() {
			t.Errorf("%s, in a large file: %v", name, large.signs)
		}
	}
}

func TestHarmless(t *testing.T) {
	for name, text := range map[string]string{
		"catalog":       file(catalog, "2 0 obj << /Type /Pages /Kids [] /Count 0 >>"),
		"goes to page":  file("1 0 obj << /OpenAction [3 0 R /XYZ null null 0] >>"),
		"named":         file("1 0 obj << /OpenAction << /S /Named /N /Print >> >>"),
		"goes to":       file("1 0 obj << /OpenAction << /S /GoTo /D [3 0 R /Fit] >> >>"),
		"link":          file("1 0 obj << /S /URI /URI (https://example.com/javascript:x) >>"),
		"manual":        file("1 0 obj << /S /GoToR /F (volume2.pdf) /D (x) >>"),
		"submit button": file("1 0 obj << /A << /S /SubmitForm /F (https://example.com) >> >>"),
		"no names":      file("1 0 obj << /Names << /JavaScript << /Names [] >> /EmbeddedFiles << /Names [] >> >> >>"),
		"form":          file("1 0 obj << /XFA 5 0 R >>", stream(5, "", "<template><subform/></template>")),
		"font":          file("1 0 obj << /Font << /JS 5 0 R >> >>", "5 0 obj << /Type /Font >>"),
		"text":          file(stream(5, "", "BT (/JavaScript /JS) Tj ET")),
		"structure":     file("1 0 obj << /S /P /K [<< /S /Span >>] >>"),
		"picture":       file(stream(5, "/Filter /DCTDecode", "\xff\xd8\xff")),
		"objects":       file(objectStream(5, "/Filter /FlateDecode", deflate, "<< /Type /Page >>", "[1 2 3]")),
	} {
		if s := look(t, text, archive.Limits{}); len(s.signs)+len(s.files) > 0 {
			t.Errorf("%s: %v %v", name, s.signs, s.names)
		}
	}
}

func TestFiles(t *testing.T) {
	text := file(
		"1 0 obj << /Names << /EmbeddedFiles << /Kids [9 0 R] >> >> >>",
		"9 0 obj << /Names [(tree.exe) 4 0 R] >>",
		"4 0 obj << /Type /Filespec /F (short.exe) /UF <FEFF00FC002E006500780065> /Desc (good) /EF << /F 5 0 R /UF 5 0 R >> "+
			"/RF << /F [(other.js) 6 0 R] >> >>",
		stream(5, "/Type /EmbeddedFile /Subtype /application#2Fx-x /Filter /FlateDecode", deflate("MZ one")),
		stream(6, "", "two"),
		stream(7, "/Type /EmbeddedFile", "three"),
		"8 0 obj << /Subtype /FileAttachment /FS << /F (four.bin) /EF << /F 10 0 R >> >> >>",
		stream(10, "/Filter /DCTDecode", "\xff\xd8"),
	)
	s := look(t, text, archive.Limits{})
	got := map[string]string{}
	for i, f := range s.files {
		got[f] = strings.Join(s.names[i], "|") + "|" + s.types[i]
	}
	for content, want := range map[string]string{
		"MZ one": "ü.exe|short.exe|good|tree.exe|application/x-x", "two": "other.js|", "three": "|", "-": "four.bin|",
	} {
		if got[content] != want {
			t.Errorf("%q: got %q, want %q", content, got[content], want)
		}
	}
	if s.kinds() != "active_pdf unreadable" || len(s.files) != 4 {
		t.Errorf("%d files, %v", len(s.files), s.signs)
	}
}

// TestTwice gives both contents of an object that is there twice: readers take the one or the other.
func TestTwice(t *testing.T) {
	text := file("4 0 obj << /F (a) /EF << /F 5 0 R >> >>", stream(5, "", "one"), stream(5, "", "two"))
	if s := look(t, text, archive.Limits{}); !slices.Contains(s.files, "one") || !slices.Contains(s.files, "two") {
		t.Errorf("%q", s.files)
	}
}

// The files of testdata hold a file run.exe; qpdf has encrypted them with the empty password or with another.
func TestEncrypted(t *testing.T) {
	for _, name := range []string{"plain", "enc40", "enc128", "enc128aes", "enc256", "enc256r5"} {
		s := look(t, read(t, name), archive.Limits{})
		if s.kinds() != "active_pdf" || len(s.files) != 1 || s.files[0] != "MZ\x90\x00ABC" ||
			strings.Join(s.names[0], "|") != "run.exe|d|tree.bin" {
			t.Errorf("%s: %v %v %q", name, s.signs, s.names, s.files)
		}
	}
	for _, name := range []string{"pw40", "pw256"} {
		s := look(t, read(t, name), archive.Limits{})
		if s.kinds() != "encrypted active_pdf" || len(s.files) != 1 || s.files[0] != "-" || len(s.names[0]) > 0 {
			t.Errorf("%s: %v %v %q", name, s.signs, s.names, s.files)
		}
	}
	for _, dict := range []string{"/Filter /Other /V 1", "/Filter /Standard /V 3 /R 3", "/Filter /Standard /V 2 /R 3", ""} {
		text := file(catalog) + "trailer << /Encrypt << " + dict + " >> >>"
		if s := look(t, text, archive.Limits{}); s.kinds() != "encrypted" {
			t.Errorf("%s: %v", dict, s.signs)
		}
	}
}

func read(t testing.TB, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name+".pdf"))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestUnreadable(t *testing.T) {
	for name, text := range map[string]string{
		"unknown filter":   file(objectStream(5, "/Filter /Other", plain, "null")),
		"damaged":          file(objectStream(5, "/Filter /FlateDecode", plain, "null")),
		"two filters":      file(objectStream(5, "/Filter /FlateDecode /Filter /LZWDecode", deflate, "null")),
		"cut off":          file(objectStream(5, "/Filter /FlateDecode", func(s string) string { return deflate(s)[:12] }, "<< /A (xxxxxxxxxxxxxxxx) >>")),
		"other file":       file(objectStream(5, "/F (x)", plain, "null")),
		"no first":         file(stream(5, "/Type /ObjStm /N 1", "1 0 null")),
		"deep":             file("1 0 obj " + strings.Repeat("[", 500) + "<< /S /JavaScript /JS (x) >>"),
		"XFA that is lost": file("1 0 obj << /XFA 5 0 R >>", stream(5, "/Filter /Other", "<x/>")),
		"many definitions": file("1 0 obj << /XFA 5 0 R >>", strings.Repeat("5 0 obj null endobj\n", 20)),
	} {
		if s := look(t, text, archive.Limits{}); s.kinds() != string(archive.Unreadable) {
			t.Errorf("%s: %v", name, s.signs)
		}
	}
}

func TestBombs(t *testing.T) {
	zeros := strings.Repeat("\x00", 8<<20)
	for name, text := range map[string]string{
		"object stream":    file(stream(5, "/Type /ObjStm /N 1 /First 10 /Filter /FlateDecode", deflate(zeros))),
		"chain":            file(stream(5, "/Type /ObjStm /N 1 /First 10 /Filter [/FlateDecode /AHx]", deflate(strings.Repeat(" ", 8<<20)))),
		"file":             file(stream(5, "/Type /EmbeddedFile /Filter [/Fl /Fl]", deflate(deflate(zeros)))),
		"XFA":              file("1 0 obj << /XFA 5 0 R >>", stream(5, "/Filter /FlateDecode", deflate(zeros))),
		"within a comment": "%PDF-1.4\n" + strings.Repeat("1 0 obj %", 100_000),
		"within digits":    "%PDF-1.4\n" + strings.Repeat("1 0 obj <", 100_000),
		"within a string":  "%PDF-1.4\n" + strings.Repeat("1 0 obj (", 100_000),
		"streams":          "%PDF-1.4\n" + strings.Repeat("1 0 obj<</N 1/First 1>>stream\n", 100_000),
	} {
		s := look(t, text, archive.Limits{Octets: 4 << 20})
		if !strings.Contains(s.kinds(), string(archive.Bomb)) || len(s.signs) > 20 {
			t.Errorf("%s: %d %.300v", name, len(s.signs), s.signs)
		}
	}
	var many strings.Builder
	for i := range 1000 {
		many.WriteString(stream(i+5, "/Type /EmbeddedFile", fmt.Sprint(i)) + " endobj\n")
	}
	if s := look(t, file(many.String()), archive.Limits{Files: 10}); !strings.Contains(s.kinds(), "bomb") || len(s.files) != 10 {
		t.Errorf("many files: %v", s.signs)
	}
}

// TestLoops ends for objects that refer to one another.
func TestLoops(t *testing.T) {
	for _, text := range []string{
		file("1 0 obj 1 0 R"),
		file("1 0 obj << /S 1 0 R /JS 2 0 R /XFA 1 0 R /EF 1 0 R >>", "2 0 obj 1 0 R"),
		file("1 0 obj << /OpenAction 1 0 R /Next [1 0 R 1 0 R 1 0 R 1 0 R] /S /GoTo >>"),
		file("1 0 obj << /EmbeddedFiles 1 0 R /Kids [1 0 R 1 0 R 1 0 R] >>"),
		file("5 0 obj << /Type /ObjStm /N 1 /First 4 /Length 5 0 R /Filter 5 0 R >>\nstream\n1 0 x\nendstream"),
		file(catalog) + "trailer << /Encrypt 1 0 R /ID 1 0 R >>",
	} {
		look(t, text, archive.Limits{})
	}
}

func TestFailures(t *testing.T) {
	text := file("1 0 obj << /S /JavaScript /JS (x) >>", stream(7, "/Type /EmbeddedFile", "three"))
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	budget := archive.NewBudget(archive.Limits{}, 1)
	if err := Walk(ctx, archive.NewFile([]byte(text)), budget, &seen{}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	large := text + strings.Repeat(" ", wholeFile)
	broken := archive.FileAt(brokenAt{strings.NewReader(large), int64(len(large)) - 10}, int64(len(large)))
	if err := Walk(context.Background(), broken, budget, &seen{}); !errors.Is(err, errBroken) {
		t.Error(err)
	}
	if err := Walk(context.Background(), archive.NewFile([]byte(text)), budget, stopper{}); !errors.Is(err, errStop) {
		t.Error(err)
	}
}

var (
	errBroken = errors.New("broken")
	errStop   = errors.New("stop")
)

// brokenAt can't be read at and beyond a place.
type brokenAt struct {
	r  io.ReaderAt
	at int64
}

func (b brokenAt) ReadAt(p []byte, off int64) (int, error) {
	if off+int64(len(p)) > b.at {
		return 0, errBroken
	}
	return b.r.ReadAt(p, off)
}

type stopper struct{}

func (stopper) Sign(archive.Sign) error   { return errStop }
func (stopper) File(*archive.Entry) error { return errStop }
