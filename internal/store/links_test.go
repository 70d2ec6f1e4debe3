package store_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/postern-mail/postern/internal/store"
	"github.com/postern-mail/postern/internal/store/storetest"
)

// TestLinks: both file systems count the names of a file alike.
func TestLinks(t *testing.T) {
	mem := storetest.New()
	mem.Put("/d/x", nil)
	for name, c := range map[string]struct {
		fs  store.FS
		dir string
	}{"memory": {mem, "/d"}, "disk": {store.OS, t.TempDir()}} {
		t.Run(name, func(t *testing.T) {
			a, b, other := filepath.Join(c.dir, "a"), filepath.Join(c.dir, "b"), filepath.Join(c.dir, "other")
			want := func(path string, n int64) {
				t.Helper()
				info, err := c.fs.Stat(path)
				if err != nil || store.Links(info) != n {
					t.Errorf("%s has %v, want %d names (%v)", path, info, n, err)
				}
			}
			for _, p := range []string{a, other} {
				f, err := c.fs.OpenFile(p, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
				if err != nil {
					t.Fatal(err)
				}
				f.Close()
			}
			want(a, 1)
			if err := c.fs.Link(a, b); err != nil {
				t.Fatal(err)
			}
			want(a, 2)
			for other, same := range map[string]bool{b: true, other: false} {
				x, err := c.fs.Stat(a)
				y, err2 := c.fs.Stat(other)
				if err != nil || err2 != nil || store.SameFile(x, y) != same {
					t.Errorf("%s and %s are one file: %v, %v, %v", a, other, !same, err, err2)
				}
			}
			if err := c.fs.Link(other, b); !os.IsExist(err) {
				t.Error(err)
			}
			if err := c.fs.Rename(other, b); err != nil {
				t.Fatal(err)
			}
			want(a, 1)
			want(b, 1)
			if err := c.fs.Link(b, other); err != nil {
				t.Fatal(err)
			}
			if err := c.fs.Remove(b); err != nil {
				t.Fatal(err)
			}
			want(other, 1)
			if n, err := c.fs.Free(c.dir); err != nil || n <= 0 {
				t.Errorf("room for %d, %v", n, err)
			}
		})
	}
}
