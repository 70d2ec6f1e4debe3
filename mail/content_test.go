package mail

import (
	"errors"
	"io"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"weak"
)

func TestContentReadsOnce(t *testing.T) {
	c := NewContent(NewBlob([]byte("Subject: x\r\n\r\ntext\r\n")), LineFaults{BareLF: 3}, Limits{})
	defer c.Release()
	var callers sync.WaitGroup
	var headers, roots sync.Map
	for range 8 {
		callers.Go(func() {
			roots.Store(c.Root(), true)
			headers.Store(c.Header(), true)
		})
	}
	callers.Wait()
	count := func(m *sync.Map) (n int) {
		m.Range(func(k, _ any) bool { n++; return true })
		return n
	}
	if h, r := count(&headers), count(&roots); h != 1 || r != 1 {
		t.Errorf("%d headers and %d structures", h, r)
	}
	if c.Err() != nil {
		t.Errorf("Err: %v", c.Err())
	}
	if c.LineFaults() != (LineFaults{BareLF: 3}) {
		t.Errorf("LineFaults: %+v", c.LineFaults())
	}
}

func TestContentPart(t *testing.T) {
	text := "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\none\r\n--b\r\n" +
		"Content-Type: multipart/mixed; boundary=c\r\n\r\n--c\r\n\r\ntwo\r\n--c--\r\n--b--\r\n"
	c := NewContent(NewBlob([]byte(text)), LineFaults{}, Limits{})
	defer c.Release()
	for _, path := range []string{"0", "1", "2", "2.1"} {
		if p := c.Part(path); p == nil || p.Path != path {
			t.Errorf("Part(%q) = %+v", path, p)
		}
	}
	for _, path := range []string{"", "3", "2.2", "01"} {
		if p := c.Part(path); p != nil {
			t.Errorf("Part(%q) = %+v", path, p)
		}
	}
}

// A read error never looks like a message without anything in it.
func TestContentErr(t *testing.T) {
	text := "Subject: x\r\n\r\ntext\r\n"
	tests := []struct {
		name  string
		spoil func(*Blob)
		want  error
	}{
		{"released", func(b *Blob) { b.Release() }, ErrReleased},
		{"disk", func(b *Blob) { b.file.Close() }, os.ErrClosed},
	}
	for _, tt := range tests {
		for what, ask := range map[string]func(*Content) bool{
			"header": func(c *Content) bool { return c.Header() != nil },
			"root":   func(c *Content) bool { return c.Root() != nil && c.Root().Header != nil },
			"part":   func(c *Content) bool { return c.Part("9.9") == nil },
		} {
			t.Run(tt.name+", "+what, func(t *testing.T) {
				b := blobs(t, text)["file"]
				c := NewContent(b, LineFaults{}, Limits{})
				tt.spoil(b)
				if c.Err() != nil {
					t.Fatalf("before anything was read: %v", c.Err())
				}
				if !ask(c) {
					t.Error("nil")
				}
				err := c.Err()
				if !errors.Is(err, tt.want) {
					t.Errorf("Err: %v, want %v", err, tt.want)
				}
				c.Root()
				if c.Err() != err {
					t.Errorf("Err became %v", c.Err())
				}
			})
		}
	}
}

// So it is when the header could still be read.
func TestContentErrBehindTheHeader(t *testing.T) {
	text := "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\n" + strings.Repeat("text\r\n", 100_000) + "--b--\r\n"
	b := blobs(t, text)["file"]
	c := NewContent(b, LineFaults{}, Limits{})
	c.Header()
	if c.Err() != nil {
		t.Fatal(c.Err())
	}
	b.file.Close()
	if c.Root() == nil || !errors.Is(c.Err(), os.ErrClosed) {
		t.Errorf("Root: %+v, Err: %v", c.Root(), c.Err())
	}
}

func TestContentReferences(t *testing.T) {
	b := NewBlob([]byte("x"))
	c := NewContent(b, LineFaults{}, Limits{})
	if c.Retain() != c || c.Blob() != b {
		t.Error("Retain or Blob gives another")
	}
	c.Release()
	if _, err := b.ReadAt(make([]byte, 1), 0); err != nil {
		t.Errorf("with a reference left: %v", err)
	}
	c.Release()
	if _, err := b.ReadAt(make([]byte, 1), 0); err != ErrReleased {
		t.Errorf("after the last Release: %v", err)
	}
}

func TestLimitsDefaults(t *testing.T) {
	want := Limits{HeaderOctets: 262144, Fields: 2000, PartHeaderOctets: 65536, Parts: 1000, Depth: 50}
	if got := (Limits{}).withDefaults(); got != want {
		t.Errorf("got %+v", got)
	}
	own := Limits{HeaderOctets: 1, Fields: 2, PartHeaderOctets: 3, Parts: 4, Depth: 5}
	if got := own.withDefaults(); got != own {
		t.Errorf("got %+v", got)
	}
}

func TestMemo(t *testing.T) {
	c := NewContent(NewBlob(nil), LineFaults{}, Limits{})
	defer c.Release()
	var calls atomic.Int32
	begun, goOn := make(chan bool), make(chan bool)
	var callers sync.WaitGroup
	for range 8 {
		callers.Go(func() {
			got := Memo(c, "key", func() int {
				calls.Add(1)
				close(begun) // panics if it is called twice
				<-goOn
				return 7
			})
			if got != 7 {
				t.Errorf("got %d", got)
			}
		})
	}
	<-begun
	// Another key, and the same key with another type, wait for nobody.
	if got := Memo(c, "other", func() int { return 8 }); got != 8 {
		t.Errorf("other key: %d", got)
	}
	if got := Memo(c, "key", func() string { return "s" }); got != "s" {
		t.Errorf("other type: %q", got)
	}
	close(goOn)
	callers.Wait()
	if calls.Load() != 1 {
		t.Errorf("%d calls", calls.Load())
	}
	if got := Memo(c, "outer", func() int { return 1 + Memo(c, "inner", func() int { return 1 }) }); got != 2 {
		t.Errorf("one within another: %d", got)
	}
	if got := Memo(c, "nil", func() error { return nil }); got != nil {
		t.Errorf("a nil interface became %v", got)
	}
}

func TestMemoPanic(t *testing.T) {
	c := NewContent(NewBlob(nil), LineFaults{}, Limits{})
	defer c.Release()
	for range 2 {
		func() {
			defer func() {
				if r := recover(); r != "boom" {
					t.Errorf("recovered %v", r)
				}
			}()
			Memo(c, "key", func() int { panic("boom") })
			t.Error("no panic")
		}()
	}
	if got := Memo(c, "other", func() int { return 1 }); got != 1 {
		t.Errorf("other key: %d", got)
	}
}

// TestForget: what was computed is dropped, and the structure stays the one whose parts edits name.
func TestForget(t *testing.T) {
	c := NewContent(NewBlob([]byte("Content-Type: text/plain\r\n\r\nx\r\n")), LineFaults{}, Limits{})
	defer c.Release()
	c.Forget()
	root := c.Root()
	big := weak.Make(Memo(c, "key", func() *[1 << 20]byte { return new([1 << 20]byte) }))
	runtime.GC()
	if big.Value() == nil {
		t.Fatal("it is not kept")
	}
	c.Forget()
	runtime.GC()
	if big.Value() != nil {
		t.Error("it is kept")
	}
	if c.Root() != root {
		t.Error("another structure")
	}
	if got := Memo(c, "key", func() *[1 << 20]byte { return nil }); got != nil {
		t.Error("not computed anew")
	}
}

// TestStructureLendsNothing: reading header and structure leaves the buffer free for the next message, but only
// when the last reader of them is done.
func TestStructureLendsNothing(t *testing.T) {
	g := NewIngest(IngestOptions{})
	if _, err := g.Write([]byte("Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Transfer-Encoding: x-uuencode\r\n\r\nbegin 644 x\r\n--b--\r\n")); err != nil {
		t.Fatal(err)
	}
	b, faults, err := g.Blob()
	if err != nil {
		t.Fatal(err)
	}
	c := NewContent(b, faults, Limits{})
	c.Root().Walk(func(p *Part) bool {
		_, err := io.ReadAll(p.Open())
		return err == nil
	})
	if len(c.Root().Children) != 1 || c.Err() != nil {
		t.Errorf("%+v, %v", c.Root(), c.Err())
	}
	if b.lent.Load() {
		t.Error("the buffer was lent")
	}
	s := newScanner(b, b.Size())
	c.Release()
	if line, err := s.peek(0, 7); err != nil || string(line) != "Content" || b.mem == nil {
		t.Errorf("%q, %v while it is read", line, err)
	}
	s.close()
	s.close()
	if b.mem != nil {
		t.Error("the buffer was not given back")
	}
	if _, err := newScanner(b, b.Size()).peek(0, 7); !errors.Is(err, ErrReleased) {
		t.Errorf("after the last Release: %v", err)
	}
}
