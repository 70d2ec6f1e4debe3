package outlook

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/postern-mail/postern/internal/archive"
	"github.com/postern-mail/postern/internal/peertest"
)

// The messages among the suites, with what is in them; none shows a sign.
func TestSuite(t *testing.T) {
	files, entries := 0, 0
	err := filepath.WalkDir(peertest.Shared(t, "suites", "attachments"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".msg") {
			return err
		}
		in, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		files++
		var r recorder
		if err := Walk(context.Background(), archive.NewFile(in), archive.NewBudget(archive.Limits{}, int64(len(in))), &r); err != nil {
			return err
		}
		entries += len(r.got)
		if r.signs > 0 {
			t.Errorf("%s: %d signs", path, r.signs)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	// Six messages with a plain and a rich body each, and eleven pictures.
	if files != 6 || entries != 23 {
		t.Errorf("%d files, %d entries", files, entries)
	}
}
