package office_test

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/postern-mail/postern/internal/archive"
	"github.com/postern-mail/postern/internal/archive/office"
	"github.com/postern-mail/postern/internal/archive/ole"
	"github.com/postern-mail/postern/internal/archive/sheet"
	pzip "github.com/postern-mail/postern/internal/archive/zip"
	"github.com/postern-mail/postern/internal/peertest"
)

// seen is what a walk told: the kinds of signs, and the files with how they begin.
type seen struct {
	signs []archive.Sign
	files []string
	inner func(e *archive.Entry) error
}

func (s *seen) File(e *archive.Entry) error {
	text := strings.Join(e.Names, "|")
	if e.File != nil {
		head, err := e.File.Head(4)
		if err != nil {
			return err
		}
		text += fmt.Sprintf("=%q", head)
	}
	s.files = append(s.files, text)
	if s.inner != nil {
		return s.inner(e)
	}
	return nil
}

func (s *seen) Sign(sign archive.Sign) error {
	s.signs = append(s.signs, sign)
	return nil
}

// kinds gives the kinds of the signs, each once, in the order of the alphabet.
func (s *seen) kinds() string {
	var all []string
	for _, sign := range s.signs {
		all = append(all, string(sign.Kind))
	}
	slices.Sort(all)
	return strings.Join(slices.Compact(all), " ")
}

// walkOf chooses the reader of a file, as a caller does; nil for none.
func walkOf(ctx context.Context, f *archive.File) (archive.Walk, error) {
	head, err := f.Head(8 << 10)
	if err != nil {
		return nil, err
	}
	switch {
	case ole.Is(head):
		return office.Walk, nil
	case bytes.HasPrefix(head, []byte("PK")):
		r, err := pzip.Open(ctx, f, archive.NewBudget(archive.Limits{}, f.Size()))
		if err != nil || !office.IsPackage(r) {
			return nil, err
		}
		return office.WalkZip, nil
	case office.IsXML(head):
		return office.WalkXML, nil
	case sheet.Is(head):
		return sheet.Walk, nil
	case office.IsBIFF(head):
		return office.WalkBIFF, nil
	case office.IsActiveMime(head):
		return office.WalkActiveMime, nil
	}
	return nil, nil
}

// suite says what the signs of each file are, and how the files in it begin that count.
var suite = map[string]struct {
	kinds string
	files []string
}{
	"oletools/basic/encrypted.docx":                                     {"encrypted", nil},
	"oletools/encrypted/autostart-encrypt-standardpassword.xls":         {"encrypted macro_auto", nil},
	"oletools/encrypted/autostart-encrypt-standardpassword.xlsb":        {"encrypted", nil},
	"oletools/encrypted/autostart-encrypt-standardpassword.xlsm":        {"encrypted", nil},
	"oletools/encrypted/dde-test-encrypt-standardpassword.xls":          {"encrypted", nil},
	"oletools/encrypted/dde-test-encrypt-standardpassword.xlsb":         {"encrypted", nil},
	"oletools/encrypted/dde-test-encrypt-standardpassword.xlsm":         {"encrypted", nil},
	"oletools/encrypted/dde-test-encrypt-standardpassword.xlsx":         {"encrypted", nil},
	"oletools/encrypted/encrypted.doc":                                  {"encrypted", nil},
	"oletools/encrypted/encrypted.docm":                                 {"encrypted", nil},
	"oletools/encrypted/encrypted.docx":                                 {"encrypted", nil},
	"oletools/encrypted/encrypted.ppt":                                  {"encrypted", nil},
	"oletools/encrypted/encrypted.pptm":                                 {"encrypted", nil},
	"oletools/encrypted/encrypted.pptx":                                 {"encrypted", nil},
	"oletools/encrypted/encrypted.xls":                                  {"encrypted", nil},
	"oletools/encrypted/encrypted.xlsb":                                 {"encrypted", nil},
	"oletools/encrypted/encrypted.xlsm":                                 {"encrypted", nil},
	"oletools/encrypted/encrypted.xlsx":                                 {"encrypted", nil},
	"oletools/excel4-macros/excel4_sample_macro.slk":                    {"macro macro_auto", nil},
	"oletools/excel4-macros/excel4_sample_macro.xls":                    {"macro_auto", nil},
	"oletools/excel4-macros/excel4_sample_macro.xlsb":                   {"macro_auto", nil},
	"oletools/excel4-macros/excel4_sample_macro.xlsm":                   {"macro_auto", nil},
	"oletools/excel4-macros/excel4_sample_macro.xlt":                    {"macro_auto", nil},
	"oletools/excel4-macros/excel4_sample_macro.xltm":                   {"macro_auto", nil},
	"oletools/excel4-macros/excel4_sample_macro_excel5_format.xls":      {"macro_auto", nil},
	"oletools/msodde/dde-test-from-office2013-utf_16le-korean.doc.zip/": {"macro_auto", nil},
	"oletools/msodde/dde-test.docm":                                     {"macro_auto", nil},
	"oletools/msodde/dde-test.docx":                                     {"macro_auto", nil},
	"oletools/msodde/dde-test.xlsb":                                     {"macro_auto", nil},
	"oletools/msodde/dde-test.xlsm":                                     {"macro_auto", nil},
	"oletools/msodde/dde-test.xlsx":                                     {"macro_auto", nil},
	"oletools/msodde/harmless-clean-2003.xml":                           {"", nil},
	"oletools/oleobj/embedded-unicode-2007.docx":                        {"", []string{`oleObject1.bin="\xd0\xcf\x11\xe0"`}},
	"oletools/oleobj/embedded-unicode.doc":                              {"", []string{`\Documents\ünicöde-수식끝이잘못되었습니다.txt`}},
	"oletools/oleobj/external_link/sample_with_external_link_to_doc":    {"macro_auto", nil},
	"oletools/oleobj/sample_with_calc_embedded.doc":                     {"", []string{`calc.exe|C:\Windows\System32\calc.exe|`, `="MZ\x90\x00"`}},
	"oletools/oleobj/sample_with_lnk_file.doc":                          {"", []string{`calc.lnk|`, `="L\x00\x00\x00"`}},
	"oletools/oleobj/sample_with_lnk_file.pps":                          {"", []string{`="\xd0\xcf\x11\xe0"`}},
	"oletools/oleobj/sample_with_lnk_file.ppt":                          {"", []string{`="\xd0\xcf\x11\xe0"`}},
	"oletools/ooxml/harmless-clean-2003.xml":                            {"", nil},
	"tika-docs/protectedSheets.xlsx":                                    {"", nil},
	"tika-docs/testEXCEL_macro.xls":                                     {"macro", nil},
	"tika-docs/testEXCEL_macro.xlsm":                                    {"macro", nil},
	"tika-docs/testEXCEL_protected_passtika_2.xlsx":                     {"encrypted", nil},
	"tika-docs/testODTEncrypted.odt":                                    {"encrypted", []string{"content.xml"}},
	"tika-docs/test-documents.zip/":                                     {"", nil},
	"tika-docs/test-documents-spanned.zip/":                             {"", nil},
}

func TestSuite(t *testing.T) {
	folder := peertest.Shared(t, "suites", "attachments")
	n := 0
	for _, sub := range []string{"oletools", "tika-docs"} {
		err := filepath.WalkDir(filepath.Join(folder, sub), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			name, err := filepath.Rel(folder, path)
			if err != nil {
				return err
			}
			in, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			for inner, doc := range documents(t, filepath.ToSlash(name), in) {
				if checkSuite(t, inner, doc) {
					n++
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d documents", n)
	if n < 55 {
		t.Errorf("only %d documents", n)
	}
}

// What is embedded twice is found by walking what a walk gave.
func TestSuiteObjects(t *testing.T) {
	folder := peertest.Shared(t, "suites", "attachments", "oletools", "oleobj")
	for name, want := range map[string]string{
		"embedded-unicode-2007.docx": "ünicöde-수식끝이잘못되었습니다.txt|",
		"sample_with_lnk_file.ppt":   "calc.lnk|",
		"sample_with_lnk_file.pps":   "calc.lnk|",
	} {
		in, err := os.ReadFile(filepath.Join(folder, name))
		if err != nil {
			t.Fatal(err)
		}
		f := archive.NewFile(in)
		b := archive.NewBudget(archive.Limits{}, f.Size())
		walk, err := walkOf(t.Context(), f)
		if err != nil {
			t.Fatal(err)
		}
		var deep seen
		outer := &seen{inner: func(e *archive.Entry) error {
			head, err := e.File.Head(8)
			if err != nil || !ole.Is(head) {
				return err
			}
			return office.Walk(t.Context(), e.File, b, &deep)
		}}
		if err := walk(t.Context(), f, b, outer); err != nil {
			t.Fatal(err)
		}
		if all := strings.Join(deep.files, "\n"); !strings.Contains(all, want) || len(deep.signs)+len(outer.signs) > 0 {
			t.Errorf("%s: %q %v %v", name, all, deep.signs, outer.signs)
		}
	}
}

// The documents in the mails of the suites are told apart, and none of them is unreadable.
func TestSuiteMails(t *testing.T) {
	kinds := map[string]int{}
	err := filepath.WalkDir(peertest.Shared(t, "suites", "mime"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		mail, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		text := strings.ReplaceAll(string(mail), "\r\n", "\n")
		for _, block := range strings.Split(text, "\n\n") {
			if !strings.HasPrefix(block, "0M8R4KGxGuE") && !strings.HasPrefix(block, "UEsDB") {
				continue
			}
			block, _, _ = strings.Cut(block, "\n--")
			in, _ := base64.StdEncoding.DecodeString(strings.TrimSpace(block))
			f := archive.NewFile(in)
			walk, err := walkOf(t.Context(), f)
			if err != nil || walk == nil {
				return err
			}
			var s seen
			if err := walk(t.Context(), f, archive.NewBudget(archive.Limits{}, f.Size()), &s); err != nil {
				return err
			}
			kinds[s.kinds()]++
			t.Logf("%s: %v", filepath.Base(path), s.signs)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if kinds["encrypted"] < 1 || kinds["macro"] < 1 || kinds[""] < 3 || len(kinds) != 3 {
		t.Errorf("%v", kinds)
	}
}

// documents gives a file, or those in it where it is a plain zip archive.
func documents(t *testing.T, name string, in []byte) map[string][]byte {
	r, err := zip.NewReader(bytes.NewReader(in), int64(len(in)))
	if err != nil || !strings.HasSuffix(name, ".zip") || strings.Contains(name, "Descriptor") {
		return map[string][]byte{name: in}
	}
	all := map[string][]byte{}
	for _, f := range r.File {
		c, err := f.Open()
		if err != nil {
			continue
		}
		b, err := io.ReadAll(c)
		if err == nil {
			all[name+"/"+f.Name] = b
		}
	}
	return all
}

// checkSuite walks one document, and reports whether it is one.
func checkSuite(t *testing.T, name string, in []byte) bool {
	f := archive.NewFile(in)
	walk, err := walkOf(t.Context(), f)
	if err != nil {
		t.Fatal(err)
	}
	if walk == nil || strings.HasSuffix(name, ".msg") || strings.Contains(name, "Descriptor") {
		return false
	}
	var s seen
	if err := walk(t.Context(), f, archive.NewBudget(archive.Limits{}, f.Size()), &s); err != nil {
		t.Errorf("%s: %v", name, err)
	}
	want, ok := suite[name]
	for k, w := range suite {
		if !ok && strings.HasPrefix(name, k) && (strings.HasSuffix(k, "/") || strings.HasSuffix(k, "_doc")) {
			want, ok = w, true
		}
	}
	if !ok {
		t.Errorf("%s: not in the table: %v %q", name, s.signs, s.files)
		return true
	}
	if got := s.kinds(); got != want.kinds {
		t.Errorf("%s: got %q, want %q: %v", name, got, want.kinds, s.signs)
	}
	for _, part := range want.files {
		if !strings.Contains(strings.Join(s.files, "\n"), part) {
			t.Errorf("%s: no file %q in %q", name, part, s.files)
		}
	}
	return true
}
