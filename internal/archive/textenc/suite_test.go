package textenc

import (
	"bytes"
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/postern-mail/postern/internal/archive"
	"github.com/postern-mail/postern/internal/archive/tell/telltest"
	"github.com/postern-mail/postern/internal/peertest"
)

// The messages of the corpora hold nothing but base64: attachments, signatures, keys, long addresses.
func TestSuiteMail(t *testing.T) {
	names, err := filepath.Glob(filepath.Join(peertest.Shared(t, "suites", "spam"), "*.tar.gz"))
	if err != nil || len(names) == 0 {
		t.Fatal(names, err)
	}
	for _, name := range names {
		messages, kinds, unexplained, damaged := 0, map[string]int{}, 0, 0
		telltest.EachInTar(t, name, func(_ string, text []byte) {
			messages++
			mime := bytes.Contains(bytes.ToLower(text), []byte("base64"))
			scanFile(t, text, func(f Find) {
				kinds[f.Kind]++
				if !mime {
					unexplained++
				}
				if f.Damage != "" {
					damaged++
				}
			})
		})
		if kinds[UU]+kinds[XX]+kinds[YEnc]+kinds[BinHex]+kinds[UUBase64]+damaged > 0 {
			t.Errorf("%s: finds %v, %d damaged", filepath.Base(name), kinds, damaged)
		}
		t.Logf("%s: %d messages, finds %v, %d in messages without base64, %d damaged", filepath.Base(name), messages, kinds, unexplained, damaged)
	}
}

func scanFile(t *testing.T, text []byte, visit func(Find)) {
	t.Helper()
	b := archive.NewBudget(archive.Limits{Octets: 1 << 40, Ratio: 1 << 30, Files: 1 << 30}, int64(len(text)))
	if err := Scan(context.Background(), archive.NewFile(text), b, func(f Find, content *archive.File) error {
		visit(f)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

// The suites hold uuencoded files among much that is no text.
func TestSuiteFiles(t *testing.T) {
	files, kinds := 0, map[string]int{}
	err := filepath.WalkDir(peertest.Shared(t, "suites"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasSuffix(path, ".tar.gz") {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		files++
		before := kinds[UU]
		scanFile(t, text, func(f Find) { kinds[f.Kind]++ })
		if strings.HasSuffix(path, ".uu") && kinds[UU] != before+1 {
			t.Errorf("%s: %d finds", path, kinds[UU]-before)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if kinds[UU] < 190 {
		t.Errorf("finds %v", kinds)
	}
	t.Logf("%d files, finds %v", files, kinds)
}
