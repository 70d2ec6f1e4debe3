package mail

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// blobs makes one Blob of each kind that hold text.
func blobs(t testing.TB, text string) map[string]*Blob {
	t.Helper()
	dir := t.TempDir()
	made := func(memory int) *Blob {
		g := NewIngest(IngestOptions{Memory: memory, Dir: dir})
		if _, err := io.WriteString(g, text); err != nil {
			t.Fatal(err)
		}
		b, _, err := g.Blob()
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	unlinked, err := openUnlinked(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := unlinked.WriteString(text); err != nil {
		t.Fatal(err)
	}
	if names, _ := os.ReadDir(dir); len(names) != 0 {
		t.Fatalf("content stands under the names %v", names)
	}
	all := map[string]*Blob{
		"given":         NewBlob([]byte(text)),
		"memory":        made(len(text)),
		"file":          made(-1),
		"unlinked file": hold(&Blob{size: int64(len(text)), file: unlinked}),
	}
	t.Cleanup(func() {
		for _, b := range all {
			if b.file != nil {
				b.file.Close() // not a second time when the test released it
			}
		}
	})
	return all
}

func TestBlobReadAt(t *testing.T) {
	text := strings.Repeat("0123456789", 20_000)
	for name, b := range blobs(t, text) {
		t.Run(name, func(t *testing.T) {
			size := int64(len(text))
			if b.Size() != size {
				t.Fatalf("size %d, want %d", b.Size(), size)
			}
			for _, r := range []struct {
				off, n int64
				want   error
			}{
				{0, 10, nil},
				{0, size, nil},
				{size - 1, 1, nil},
				{5, 0, nil},
				{0, size + 1, io.EOF},
				{size - 3, 10, io.EOF},
				{size, 1, io.EOF},
				{size + 5, 1, io.EOF},
			} {
				p := make([]byte, r.n)
				n, err := b.ReadAt(p, r.off)
				from, to := min(r.off, size), min(r.off+r.n, size)
				if err != r.want || string(p[:n]) != text[from:to] {
					t.Errorf("ReadAt(%d, %d): %d octets, %v; want %d, %v", r.n, r.off, n, err, to-from, r.want)
				}
			}
			if _, err := b.ReadAt(make([]byte, 1), -1); err == nil || err == io.EOF {
				t.Errorf("ReadAt(-1): %v", err)
			}
			p, err := io.ReadAll(b.Section(7, 11))
			if err != nil || string(p) != text[7:18] {
				t.Errorf("Section: %q, %v", p, err)
			}
			if p, ok := b.Bytes(); ok != (b.file == nil) || ok && (string(p) != text || cap(p) != len(p)) {
				t.Errorf("Bytes: %d octets of capacity %d, %v", len(p), cap(p), ok)
			}
			b.Release()
		})
	}
}

func TestBlobReferences(t *testing.T) {
	for name, b := range blobs(t, "text") {
		t.Run(name, func(t *testing.T) {
			before := openFiles(t)
			if b.Retain() != b {
				t.Error("Retain gives another Blob")
			}
			b.Release()
			p := make([]byte, 4)
			if _, err := b.ReadAt(p, 0); err != nil || string(p) != "text" {
				t.Fatalf("with a reference left: %q, %v", p, err)
			}
			lent, _ := b.Bytes()
			b.Release()
			if n := openFiles(t); b.file != nil && n != before-1 && n != 0 {
				t.Errorf("%d open files, %d before", n, before)
			}
			if n, err := b.ReadAt(p, 0); n != 0 || err != ErrReleased {
				t.Errorf("ReadAt after the last Release: %d, %v", n, err)
			}
			if _, err := io.ReadAll(b.Section(0, 4)); err != ErrReleased {
				t.Errorf("Section after the last Release: %v", err)
			}
			if p, ok := b.Bytes(); ok || p != nil {
				t.Errorf("Bytes after the last Release: %q", p)
			}
			if err := b.SaveAs(filepath.Join(t.TempDir(), "x")); err != ErrReleased {
				t.Errorf("SaveAs after the last Release: %v", err)
			}
			if b.Size() != 4 {
				t.Errorf("size %d after the last Release", b.Size())
			}
			if lent != nil && string(lent) != "text" {
				t.Errorf("lent octets became %q", lent)
			}
			for what, f := range map[string]func(){"Release": b.Release, "Retain": func() { b.Retain() }} {
				func() {
					defer func() {
						if recover() == nil {
							t.Errorf("%s after the last Release goes unnoticed", what)
						}
					}()
					f()
				}()
			}
		})
	}
}

// Octets that Bytes has lent never come back as somebody else's buffer.
func TestBlobLentOctets(t *testing.T) {
	for range 50 {
		g := NewIngest(IngestOptions{})
		if _, err := g.Write([]byte("first message")); err != nil {
			t.Fatal(err)
		}
		b, _, err := g.Blob()
		if err != nil {
			t.Fatal(err)
		}
		lent, _ := b.Bytes()
		b.Release()

		g = NewIngest(IngestOptions{})
		if _, err := g.Write([]byte("other content")); err != nil {
			t.Fatal(err)
		}
		if string(lent) != "first message" {
			t.Fatalf("the lent octets became %q", lent)
		}
		g.Abort()
	}
}

// Readers that race with the last Release get the right octets or ErrReleased, never those of another
// message or another file.
func TestBlobReadersRaceWithRelease(t *testing.T) {
	for round := range 60 {
		mine, other := bytes.Repeat([]byte("m"), 5000), bytes.Repeat([]byte("o"), 5000)
		memory := []int{-1, 0}[round%2]
		dir := t.TempDir()
		write := func(p []byte) *Blob {
			g := NewIngest(IngestOptions{Memory: memory, Dir: dir})
			if _, err := g.Write(p); err != nil {
				t.Fatal(err)
			}
			b, _, err := g.Blob()
			if err != nil {
				t.Fatal(err)
			}
			return b
		}
		b := write(mine)
		m := NewMessage(b)
		var readers sync.WaitGroup
		for range 4 {
			readers.Go(func() {
				for p := make([]byte, 5000); ; {
					switch _, err := b.ReadAt(p, 0); {
					case errors.Is(err, ErrReleased):
						return
					case err != nil:
						t.Errorf("ReadAt: %v", err)
						return
					case !bytes.Equal(p, mine):
						t.Error("ReadAt gives the octets of another message")
						return
					}
				}
			})
			readers.Go(func() {
				for {
					var w bytes.Buffer
					switch _, err := m.WriteTo(&w); {
					case errors.Is(err, ErrReleased):
						return
					case err != nil:
						t.Errorf("WriteTo: %v", err)
						return
					case !bytes.Equal(w.Bytes(), mine):
						t.Error("WriteTo gives the octets of another message")
						return
					}
				}
			})
		}
		b.Release()
		m.Release()
		for range 8 { // reuse its descriptor and its buffer
			write(other).Release()
		}
		readers.Wait()
	}
}

// A file that lost octets is an error, not the end of the content.
func TestBlobShortFile(t *testing.T) {
	b := blobs(t, "some text")["file"]
	defer b.Release()
	if err := b.file.(*os.File).Truncate(4); err != nil {
		t.Fatal(err)
	}
	if n, err := b.ReadAt(make([]byte, 9), 0); n != 4 || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("ReadAt: %d, %v", n, err)
	}
	m := NewMessage(b)
	defer m.Release()
	if _, err := m.WriteTo(io.Discard); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("WriteTo: %v", err)
	}
	if _, err := io.ReadAll(readerOnly{m.Open()}); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("read: %v", err)
	}
	path := filepath.Join(t.TempDir(), "saved")
	if err := b.copyTo(path, openNamed, linkNamed); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("copyTo: %v", err)
	}
	if names, _ := os.ReadDir(filepath.Dir(path)); len(names) != 0 {
		t.Errorf("a copy that failed left %v", names)
	}
}

// readerOnly hides WriterTo.
type readerOnly struct{ io.Reader }

func TestBlobSaveAs(t *testing.T) {
	text := strings.Repeat("some text\r\n", 20_000)
	for name, b := range blobs(t, text) {
		t.Run(name, func(t *testing.T) {
			before := openFiles(t)
			dir := t.TempDir()
			check := func(path string, err error) {
				t.Helper()
				if err != nil {
					t.Fatal(err)
				}
				p, err := os.ReadFile(path)
				if err != nil || string(p) != text {
					t.Fatalf("saved %d octets, %v", len(p), err)
				}
				info, err := os.Stat(path)
				if err != nil || info.Mode() != 0o400 {
					t.Errorf("mode %v, %v", info.Mode(), err)
				}
			}
			first, second := filepath.Join(dir, "first"), filepath.Join(dir, "second")
			check(first, b.SaveAs(first))
			check(second, b.SaveAs(second))

			if err := b.SaveAs(first); !errors.Is(err, fs.ErrExist) {
				t.Errorf("over a file: %v", err)
			}
			absent := filepath.Join(dir, "absent", "x")
			if err := b.SaveAs(absent); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("into no folder: %v", err)
			}
			third := filepath.Join(dir, "third")
			check(third, b.copyTo(third, openNamed, linkNamed))
			if err := b.copyTo(third, openNamed, linkNamed); !errors.Is(err, fs.ErrExist) {
				t.Errorf("copy over a file: %v", err)
			}
			if names, _ := os.ReadDir(dir); len(names) != 3 {
				t.Errorf("saving left %v", names)
			}
			if n := openFiles(t); n != before {
				t.Errorf("%d open files, %d before", n, before)
			}
			b.Release()
			check(first, nil)
		})
	}
}

// Content in an unnamed file of the same file system is linked, not copied.
func TestBlobSaveAsLinks(t *testing.T) {
	b := blobs(t, "some text")["file"]
	defer b.Release()
	if !b.unnamed {
		t.Log("this file system has no O_TMPFILE: nothing to link")
		return
	}
	path := filepath.Join(t.TempDir(), "saved")
	if err := b.SaveAs(path); err != nil {
		t.Fatal(err)
	}
	saved, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	own, err := b.file.(*os.File).Stat()
	if err != nil {
		t.Fatal(err)
	}
	if !os.SameFile(saved, own) {
		t.Error("the content was copied")
	}
}

// On another file system it is copied.
func TestBlobSaveAsAcrossFileSystems(t *testing.T) {
	const shm = "/dev/shm"
	dir, err := os.MkdirTemp(shm, "mail-test-*")
	if err != nil {
		t.Logf("no second file system to save to: %v", err)
		return
	}
	defer os.RemoveAll(dir)
	b := blobs(t, "some text")["file"]
	defer b.Release()
	path := filepath.Join(dir, "saved")
	if err := b.SaveAs(path); err != nil {
		t.Fatal(err)
	}
	if p, err := os.ReadFile(path); err != nil || string(p) != "some text" {
		t.Errorf("saved %q, %v", p, err)
	}
}
