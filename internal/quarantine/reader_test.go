package quarantine

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
)

// TestOpenExisting: who only reads makes nothing, and needs no leave to write.
func TestOpenExisting(t *testing.T) {
	f := disk()
	before := len(f.Files())
	r, err := OpenExisting(dir, Options{FS: f})
	if err != nil {
		t.Fatal(err)
	}
	if all, err := r.List(); err != nil || len(all) > 0 {
		t.Errorf("a missing folder lists %v, %v", all, err)
	}
	if _, err := r.Get("a"); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
	if _, err := r.Content("a"); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
	if len(f.Files()) != before {
		t.Errorf("made %q", f.Files())
	}
	f.Put(dir+"/version", []byte("2\n"))
	if _, err := OpenExisting(dir, Options{FS: f}); !errors.Is(err, ErrVersion) {
		t.Error(err)
	}
	f.Put(dir+"/version", []byte("x"))
	if _, err := OpenExisting(dir, Options{FS: f}); !errors.Is(err, ErrDamaged) {
		t.Error(err)
	}
}

func TestOpenExistingReadOnly(t *testing.T) {
	real := filepath.Join(t.TempDir(), "quarantine")
	s, err := Open(real, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := keep(s, "a"); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(real, 0o500); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = os.Chmod(real, 0o700) }()
	r, err := OpenExisting(real, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if all, err := r.List(); err != nil || len(all) != 1 {
		t.Errorf("%v, %v", all, err)
	}
	c, err := r.Content("a")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if got, err := io.ReadAll(c); err != nil || string(got) != string(content) {
		t.Errorf("%q, %v", got, err)
	}
}
