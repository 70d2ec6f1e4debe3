package sealed

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

// The signed and the encrypted samples are what they are.
func TestSuite(t *testing.T) {
	signed, sealed := 0, 0
	files, err := filepath.Glob(filepath.Join(peertest.Shared(t, "suites", "attachments", "tika-docs"), "*.p7m"))
	if err != nil || len(files) != 6 {
		t.Fatal(files, err)
	}
	for _, name := range files {
		in, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		var r recorder
		if err := Walk(context.Background(), archive.NewFile(in), archive.NewBudget(archive.Limits{}, int64(len(in))), &r); err != nil {
			t.Fatal(err)
		}
		switch {
		case len(r.got) != 1:
			t.Errorf("%s: %q", name, r.got)
		case strings.HasPrefix(r.got[0], "|"+Entity+"|"):
			signed++
		case strings.HasPrefix(r.got[0], smimeSign):
			sealed++
		default:
			t.Errorf("%s: %q", name, r.got)
		}
	}
	if signed != 4 || sealed != 2 {
		t.Errorf("%d signed, %d sealed", signed, sealed)
	}
}

// Nothing else among the suites is taken for one of the wrappers, but three messages in OpenPGP.
func TestSuiteOthers(t *testing.T) {
	files, taken := 0, 0
	err := filepath.WalkDir(peertest.Shared(t, "suites"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		in, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		files++
		head := in[:min(len(in), headSize)]
		if strings.HasSuffix(path, ".p7m") || !IsCMS(head) && !IsPGP(head) && !IsApple(head) {
			return nil
		}
		taken++
		var r recorder
		if err := Walk(context.Background(), archive.NewFile(in), archive.NewBudget(archive.Limits{}, int64(len(in))), &r); err != nil {
			return err
		}
		t.Logf("%s: cms %v, pgp %v, apple %v: %.300q", path, IsCMS(head), IsPGP(head), IsApple(head), r.got)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d files, %d taken", files, taken)
	if taken != 3 {
		t.Errorf("%d taken", taken)
	}
}
