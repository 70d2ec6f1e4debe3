package disk

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/postern-mail/postern/internal/archive"
	"github.com/postern-mail/postern/internal/archive/tell/telltest"
	"github.com/postern-mail/postern/internal/peertest"
)

// Every image of the suites is read whole and without a sign, but those of zisofs.
func TestSuites(t *testing.T) {
	dir := peertest.Shared(t, "suites", "attachments")
	files, err := filepath.Glob(filepath.Join(dir, "libarchive", "*iso*.uu"))
	if err != nil {
		t.Fatal(err)
	}
	files = append(files, filepath.Join(dir, "corkami-minimal-types", "iso.iso"))
	entries, whole := 0, 0
	for _, path := range files {
		if strings.Contains(path, "solaris") || strings.Contains(path, "rar_") {
			continue
		}
		data := telltest.ReadFile(t, path)
		if strings.HasSuffix(path, ".Z.uu") {
			data = telltest.Uncompress(t, data)
		}
		if ok, err := Is(archive.NewFile(data)); !ok || err != nil {
			t.Errorf("%s: no image: %v", path, err)
		}
		found := telltest.Walk(t, Walk, data)
		entries += len(found.Entries)
		signed := strings.Contains(path, "zisofs") || strings.Contains(path, "zf_overflow")
		switch {
		case signed != (len(found.Signs) > 0):
			t.Errorf("%s:\n%s", path, found)
		case !signed:
			whole++
		}
	}
	t.Logf("%d images with %d entries, %d whole", len(files), entries, whole)
	if whole < 7 {
		t.Errorf("only %d images are whole", whole)
	}
}
