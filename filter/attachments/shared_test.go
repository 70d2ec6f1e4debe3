package attachments

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

// shared gives a folder of the public suites, which stand beside the repository and are no part of it.
func shared(t testing.TB, name string) string {
	t.Helper()
	dir := filepath.Join("..", "..", "..", "shared", filepath.FromSlash(name))
	if _, err := os.Stat(dir); err != nil {
		if os.Getenv("POSTERN_SHARED") == "required" {
			t.Fatalf("the suites are required: %v", err)
		}
		t.Skipf("no suites here: %v", err)
	}
	return dir
}

// files lists the regular files below a folder.
func files(t testing.TB, dir string) []string {
	t.Helper()
	var all []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			all = append(all, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(all) == 0 {
		t.Fatalf("%s is empty", dir)
	}
	return all
}
