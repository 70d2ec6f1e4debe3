package store_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/postern-mail/postern/internal/store"
	"github.com/postern-mail/postern/internal/store/storetest"
)

func write(fsys store.FS, content []byte) error {
	return store.WriteFile(fsys, "/d/f.tmp", "/d/f", 0o600, func(w io.Writer) error {
		half := len(content) / 2
		if _, err := w.Write(content[:half]); err != nil {
			return err
		}
		_, err := w.Write(content[half:])
		return err
	})
}

// prepared gives a file system with a durable folder and, if old is not nil, a durable file.
func prepared(old []byte) *storetest.FS {
	f := storetest.New()
	f.Put("/d/other", []byte("x"))
	if old != nil {
		f.Put("/d/f", old)
	}
	return f
}

// TestWriteFilePowerCut cuts the power at every operation of WriteFile, in every way that a disk may
// lose what was not synced: the file is then the old one or whole, and whole if WriteFile had said so.
func TestWriteFilePowerCut(t *testing.T) {
	content := bytes.Repeat([]byte("new content\n"), 100)
	for _, old := range [][]byte{nil, []byte("old content")} {
		dry := prepared(old)
		if err := write(dry, content); err != nil {
			t.Fatal(err)
		}
		for cut := 1; cut <= dry.Ops()+1; cut++ {
			for _, loss := range storetest.Losses() {
				for seed := range uint64(20) {
					f := prepared(old)
					f.CutAt(cut)
					err := write(f, content)
					if (err == nil) != (cut > dry.Ops()) {
						t.Fatalf("cut at %d: %v", cut, err)
					}
					f.Reboot(loss, seed)
					got, there := f.Files()["/d/f"]
					whole := there && bytes.Equal(got, content)
					asBefore := there == (old != nil) && bytes.Equal(got, old)
					if !whole && (err == nil || !asBefore) {
						t.Fatalf("old %q, cut at %d, loss %d, seed %d: error %v, file %q (%v)\n%q", old, cut, loss, seed, err, got, there, f.Log())
					}
				}
			}
		}
	}
}

// TestWriteFileFaults lets every operation fail by itself: the error comes back, and the file is the old
// one or whole.
func TestWriteFileFaults(t *testing.T) {
	content, old := bytes.Repeat([]byte("z"), 1000), []byte("old")
	dry := prepared(old)
	if err := write(dry, content); err != nil {
		t.Fatal(err)
	}
	for n := 1; n <= dry.Ops(); n++ {
		for _, short := range []bool{false, true} {
			f := prepared(old)
			f.FailAt(n, syscall.EIO, short)
			if err := write(f, content); !errors.Is(err, syscall.EIO) {
				t.Errorf("operation %d: %v", n, err)
			}
			if got := f.Files()["/d/f"]; !bytes.Equal(got, old) && !bytes.Equal(got, content) {
				t.Errorf("operation %d: the file is %q", n, got)
			}
		}
	}
	for room := range int64(1000) {
		f := prepared(old)
		f.Fill(room)
		if err := write(f, content); !errors.Is(err, syscall.ENOSPC) {
			t.Fatalf("room for %d: %v", room, err)
		}
		if files := f.Files(); !bytes.Equal(files["/d/f"], old) || len(files) != 2 {
			t.Fatalf("room for %d: %q", room, files)
		}
	}
}

// TestForgetful shows that the file system under these tests does forget: without a sync the file is
// not safe. A test that nothing can fail shows nothing.
func TestForgetful(t *testing.T) {
	for _, tt := range []struct {
		name            string
		syncFile, names bool
		loss            storetest.Loss
		there           bool
		content         string
	}{
		{"nothing synced", false, false, storetest.All, false, ""},
		{"name synced", false, true, storetest.All, true, ""},
		{"file synced", true, false, storetest.All, false, ""},
		{"both synced", true, true, storetest.All, true, "abc"},
		{"names are ahead", false, false, storetest.Content, true, ""},
		{"contents are ahead", false, true, storetest.Names, true, "abc"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := prepared(nil)
			h, err := f.OpenFile("/d/f", os.O_WRONLY|os.O_CREATE, 0o600)
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprint(h, "abc")
			if tt.syncFile {
				err = h.Sync()
			}
			if tt.names {
				err = errors.Join(err, f.SyncDir("/d"))
			}
			if err != nil {
				t.Fatal(err)
			}
			f.Reboot(tt.loss, 1)
			if got, there := f.Files()["/d/f"]; there != tt.there || string(got) != tt.content {
				t.Errorf("%v %q", there, got)
			}
		})
	}
}

// TestFailedSync: what a Sync could not write is not made durable by a later one, and looks as if it were.
func TestFailedSync(t *testing.T) {
	for loss, want := range map[storetest.Loss]string{storetest.All: "\x00\x00\x00def", storetest.Names: "\x00\x00\x00defghi", storetest.Zeros: "\x00\x00\x00def\x00\x00\x00"} {
		f := prepared(nil)
		h, err := f.OpenFile("/d/f", os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprint(h, "abc")
		f.FailAt(1, syscall.EIO, false)
		if err := h.Sync(); !errors.Is(err, syscall.EIO) {
			t.Fatal(err)
		}
		fmt.Fprint(h, "def")
		if err := errors.Join(h.Sync(), f.SyncDir("/d")); err != nil {
			t.Fatal(err)
		}
		fmt.Fprint(h, "ghi")
		if got := f.Files()["/d/f"]; string(got) != "abcdefghi" {
			t.Errorf("before: %q", got)
		}
		f.Reboot(loss, 1)
		if got := f.Files()["/d/f"]; string(got) != want {
			t.Errorf("loss %d: %q, want %q", loss, got, want)
		}
	}
}

// TestTornBlocks: of what was not synced some blocks may be there and others not, in any order.
func TestTornBlocks(t *testing.T) {
	seen := map[string]bool{}
	for seed := range uint64(200) {
		f := prepared(nil)
		h, err := f.OpenFile("/d/f", os.O_WRONLY|os.O_CREATE, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		_, err = h.Write(bytes.Repeat([]byte("x"), 128))
		if err = errors.Join(err, f.SyncDir("/d")); err != nil {
			t.Fatal(err)
		}
		f.Reboot(storetest.Some, seed)
		if got := f.Files()["/d/f"]; len(got) == 128 {
			seen[string([]byte{got[0], got[127]})] = true
		}
	}
	for _, want := range []string{"xx", "x\x00", "\x00x", "\x00\x00"} {
		if !seen[want] {
			t.Errorf("%q is not among %v", want, seen)
		}
	}
}

func TestWriteFileOnDisk(t *testing.T) {
	dir := t.TempDir()
	path, tmp := filepath.Join(dir, "f"), filepath.Join(dir, "tmp")
	for _, content := range []string{"one", "two"} {
		err := store.WriteFile(store.OS, tmp, path, 0o640, func(w io.Writer) error {
			_, err := io.WriteString(w, content)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(path); err != nil || string(got) != content {
			t.Fatalf("%q, %v", got, err)
		}
	}
	fault := errors.New("no more")
	if err := store.WriteFile(store.OS, tmp, path, 0o640, func(io.Writer) error { return fault }); !errors.Is(err, fault) {
		t.Error(err)
	}
	if all, err := os.ReadDir(dir); err != nil || len(all) != 1 {
		t.Errorf("left behind: %v, %v", all, err)
	}
	if err := store.WriteFile(store.OS, filepath.Join(dir, "none", "tmp"), path, 0o640, nil); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}
