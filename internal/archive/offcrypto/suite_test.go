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
	ctx := context.Background()
	root := peertest.Shared(t, "suites", "attachments")
	var files []string
	for _, pattern := range []string{"oletools/encrypted/*", "oletools/basic/encrypted.docx", "oletools/excel4-macros/*.xl[st]", "tika-docs/*.xls", "tika-docs/*protected*_2.xlsx"} {
		found, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, found...)
	}
	counts := map[string]int{}
	for _, path := range files {
		streams := readStreams(t, path)
		b := archive.NewBudget(archive.Limits{}, 100000)
		name := filepath.Base(path)
		standard := strings.Contains(name, "standardpassword")
		var plain *archive.File
		var sign *archive.Sign
		var err error
		switch {
		case streams[PackageStream] != nil:
			plain, sign, err = Package(ctx, streams[InfoStream], archive.NewFile(streams[PackageStream]), b)
		case streams["Workbook"] != nil || streams["Book"] != nil:
			book := append(streams["Workbook"], streams["Book"]...)
			plain, sign, err = Workbook(ctx, archive.NewFile(book), b)
		case streams["WordDocument"] != nil:
			if !Word(streams["WordDocument"]) {
				t.Errorf("%s: not encrypted", name)
			}
			counts["word"]++
			continue
		default:
			if !PowerPoint(streams["Current User"]) {
				t.Errorf("%s: not encrypted", name)
			}
			counts["powerpoint"]++
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case plain != nil:
			content, _ := io.ReadAll(plain.Reader())
			if sign != nil || !standard {
				t.Errorf("%s: %v", name, sign)
			}
			if streams[PackageStream] != nil && !isZip(content) {
				t.Errorf("%s: no zip but %.20q", name, content)
			} else if streams[PackageStream] == nil && !soundWorkbook(content) {
				t.Errorf("%s: no workbook", name)
			}
			counts["opened"]++
			_ = plain.Close()
		case sign != nil:
			if sign.Kind != archive.Encrypted || standard {
				t.Errorf("%s: %v", name, sign)
			}
			counts["encrypted"]++
		default:
			counts["open"]++
		}
		t.Log(name, sign)
	}
	t.Log(counts)
	for what, want := range map[string]int{"opened": 7, "encrypted": 10, "word": 1, "powerpoint": 1, "open": 4} {
		if counts[what] != want {
			t.Errorf("%s: %d files, want %d", what, counts[what], want)
		}
	}
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
