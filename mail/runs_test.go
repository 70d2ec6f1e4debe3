package mail

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// octets gives all of a message.
func octets(t *testing.T, m *Message) string {
	t.Helper()
	var b bytes.Buffer
	if _, err := m.WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestRunsAndCompose(t *testing.T) {
	for name, b := range blobs(t, "From: a\r\n\r\nbody\r\n") {
		t.Run(name, func(t *testing.T) {
			other := NewBlob([]byte("another body\r\n"))
			m, err := Compose(b, []Run{
				{Data: []byte("Top: 1\r\n"), N: 8},
				{Blob: b, N: 11},
				{},
				{Blob: other, N: other.Size()},
				{Blob: other, Off: 8, N: 6},
				{Blob: b, Off: 11, N: 6},
			})
			if err != nil {
				t.Fatal(err)
			}
			other.Release() // the message has a reference of its own
			const want = "Top: 1\r\nFrom: a\r\n\r\nanother body\r\nbody\r\nbody\r\n"
			if got := octets(t, m); got != want {
				t.Errorf("%q", got)
			}
			runs := slices.Collect(m.Runs())
			if len(runs) != 5 || runs[0].Blob != nil || runs[1].Blob != b || runs[2].Blob != other || runs[3].Off != 8 {
				t.Errorf("%+v", runs)
			}
			again, err := Compose(b, runs)
			if err != nil {
				t.Fatal(err)
			}
			b.Release()
			m.Release()
			if got := octets(t, again); got != want {
				t.Errorf("composed of its runs: %q", got)
			}
			again.Release()
			for _, r := range []*Blob{b, other} {
				if _, err := r.ReadAt(make([]byte, 1), 0); err != ErrReleased {
					t.Errorf("a reference is left: %v", err)
				}
			}
		})
	}
}

func TestComposeRefuses(t *testing.T) {
	b, gone := NewBlob([]byte("0123456789")), NewBlob([]byte("gone"))
	gone.Release()
	for name, runs := range map[string][]Run{
		"beyond the end":   {{Blob: b, Off: 5, N: 6}},
		"before the start": {{Blob: b, Off: -1, N: 2}},
		"overflow":         {{Blob: b, Off: 5, N: 1<<63 - 1}},
		"negative length":  {{Blob: b, N: -1}},
		"both kinds":       {{Blob: b, Data: []byte("x"), N: 1}},
		"another length":   {{Data: []byte("x"), N: 2}},
		"nothing of some":  {{N: 2}},
		"a released one":   {{Blob: b, N: 1}, {Blob: gone, N: 1}},
	} {
		if _, err := Compose(b, runs); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if _, err := Compose(gone, nil); !errors.Is(err, ErrReleased) {
		t.Error(err)
	}
	b.Release()
	if _, err := b.ReadAt(make([]byte, 1), 0); err != ErrReleased {
		t.Errorf("a reference is left: %v", err)
	}
}

func TestFileBlob(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(path, []byte("head and tail"), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	b := NewFileBlob(f, 8)
	m := NewMessage(b)
	if got := octets(t, m); got != "head and" {
		t.Errorf("%q", got)
	}
	if err := b.LinkTo(path + "2"); !errors.Is(err, errors.ErrUnsupported) {
		t.Error(err)
	}
	m.Release()
	b.Release()
	if _, err := f.Stat(); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("the file is open: %v", err)
	}
}

// TestLinkTo: only what lies in a file without a name can get one, and nothing is copied.
func TestLinkTo(t *testing.T) {
	dir := t.TempDir()
	for _, memory := range []int{0, -1} {
		in := NewIngest(IngestOptions{Dir: dir, Memory: memory})
		in.Write([]byte("content\r\n"))
		b, _, err := in.Blob()
		if err != nil {
			t.Fatal(err)
		}
		defer b.Release()
		path := filepath.Join(dir, "linked")
		err = b.LinkTo(path)
		if !b.unnamed {
			if !errors.Is(err, errors.ErrUnsupported) {
				t.Error(err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		own, err := b.file.(*os.File).Stat()
		if err != nil {
			t.Fatal(err)
		}
		if named, err := os.Stat(path); err != nil || !os.SameFile(own, named) {
			t.Errorf("it is another file (%v)", err)
		}
		if err := b.LinkTo(path); !errors.Is(err, fs.ErrExist) {
			t.Error(err)
		}
		if err := b.LinkTo(filepath.Join(dir, "none", "x")); !errors.Is(err, errors.ErrUnsupported) {
			t.Error(err)
		}
	}
}
