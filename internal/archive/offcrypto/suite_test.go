package offcrypto

import (
	"bytes"
	"context"
	"io"
	"path/filepath"
	"strings"
	"testing"

	"github.com/postern-mail/postern/internal/archive"
	"github.com/postern-mail/postern/internal/peertest"
)

// What Office itself encrypted opens if the password is Office's own, and is called encrypted if not.
func TestSuite(t *testing.T) {
	root := peertest.Shared(t, "suites", "attachments")
	counts := map[string]int{}
	for _, pattern := range []string{"oletools/encrypted/*", "oletools/basic/encrypted.docx", "oletools/excel4-macros/*.xl[st]", "tika-docs/*.xls", "tika-docs/*protected*_2.xlsx"} {
		found, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range found {
			counts[suiteFile(t, path)]++
		}
	}
	t.Log(counts)
	for what, want := range map[string]int{"opened": 7, "encrypted": 10, "word": 1, "powerpoint": 1, "open": 4} {
		if counts[what] != want {
			t.Errorf("%s: %d files, want %d", what, counts[what], want)
		}
	}
}

// suiteFile looks at one file, and says what became of it.
func suiteFile(t *testing.T, path string) string {
	name := filepath.Base(path)
	streams := readStreams(t, path)
	book := append(streams["Workbook"], streams["Book"]...)
	b := archive.NewBudget(archive.Limits{}, 100000)
	var plain *archive.File
	var sign *archive.Sign
	var err error
	switch {
	case streams[PackageStream] != nil:
		plain, sign, err = Package(context.Background(), streams[InfoStream], archive.NewFile(streams[PackageStream]), b)
	case book != nil:
		plain, sign, err = Workbook(context.Background(), archive.NewFile(book), b)
	case Word(streams["WordDocument"]):
		return "word"
	case PowerPoint(streams["Current User"]):
		return "powerpoint"
	}
	standard := strings.Contains(name, "standardpassword")
	switch {
	case err != nil:
		t.Fatal(err)
	case plain != nil:
		defer func() { _ = plain.Close() }()
		content, err := io.ReadAll(plain.Reader())
		if err != nil || sign != nil || !standard || !isZip(content) && !soundWorkbook(content) {
			t.Errorf("%s: opened, %v %v, %.20q", name, sign, err, content)
		}
		return "opened"
	case sign != nil:
		if sign.Kind != archive.Encrypted || standard {
			t.Errorf("%s: %v", name, sign)
		}
		return "encrypted"
	}
	return "open"
}

// soundWorkbook reports whether the sheets of a BIFF8 stream have names that can be read, and begin where they say.
func soundWorkbook(p []byte) bool {
	sheets := 0
	for at := 0; at+4 <= len(p); {
		id, size := le.Uint16(p[at:]), int(le.Uint16(p[at+2:]))
		if at += 4; at+size > len(p) {
			return false
		}
		if body := p[at : at+size]; id == recordSheet {
			start, n := int(le.Uint32(body)), int(body[6])
			if start+2 > len(p) || le.Uint16(p[start:]) != 0x0809 || 8+n*(1+int(body[7]&1)) != size || bytes.IndexByte(body[8:9], 0) >= 0 {
				return false
			}
			sheets++
		}
		at += size
	}
	return sheets > 0
}
