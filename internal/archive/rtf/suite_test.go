package rtf

import (
	"archive/zip"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/postern-mail/postern/internal/peertest"
)

// Documents that nobody made to deceive give no sign.
func TestSuite(t *testing.T) {
	root := peertest.Shared(t, "suites", "attachments")
	one, err := os.ReadFile(filepath.Join(root, "corkami-minimal-types", "rich.rtf"))
	if err != nil {
		t.Fatal(err)
	}
	documents := map[string]string{"rich.rtf": string(one)}
	z, err := zip.OpenReader(filepath.Join(root, "tika-docs", "test-documents.zip"))
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	for _, f := range z.File {
		if !strings.HasSuffix(f.Name, ".rtf") {
			continue
		}
		r, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		documents[f.Name] = string(content)
	}
	if len(documents) < 2 {
		t.Errorf("only %d documents", len(documents))
	}
	for name, d := range documents {
		if !Is([]byte(d)) {
			t.Errorf("%s: no RTF", name)
		}
		if got := walk(t, d); len(got) > 0 {
			t.Errorf("%s: %q", name, got)
		}
	}
	t.Logf("%d documents", len(documents))
}
