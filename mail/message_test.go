package mail

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"pgregory.net/rapid"
)

func TestMessage(t *testing.T) {
	text := strings.Repeat("0123456789abcdef", 10_000) // more than two blocks
	n := int64(len(text))
	tests := []struct {
		name string
		ext  []extent
		want string
	}{
		{"nothing", nil, ""},
		{"empty extents", []extent{{}, {data: []byte{}}, {off: 5}}, ""},
		{"all", []extent{{n: n}}, text},
		{"data on top", []extent{{data: []byte("X: y\r\n")}, {n: n}}, "X: y\r\n" + text},
		{"a gap", []extent{{n: 5}, {off: 100_000, n: 5}}, text[:5] + text[100_000:100_005]},
		{"data between", []extent{{n: 5}, {data: []byte("new")}, {}, {off: 7, n: n - 7}, {data: []byte("end")}}, text[:5] + "new" + text[7:] + "end"},
		{"data only", []extent{{data: bytes.Repeat([]byte("z"), 200_000)}}, strings.Repeat("z", 200_000)},
	}
	for _, tt := range tests {
		for kind, b := range blobs(t, text) {
			t.Run(tt.name+", "+kind, func(t *testing.T) {
				m := newMessage(b, slices.Clone(tt.ext))
				if m.Size() != int64(len(tt.want)) {
					t.Errorf("size %d, want %d", m.Size(), len(tt.want))
				}
				var w blockWriter
				if k, err := m.WriteTo(&w); k != m.Size() || err != nil || w.String() != tt.want {
					t.Errorf("WriteTo: %d, %v", k, err)
				}
				if w.longest > blockSize {
					t.Errorf("a block of %d", w.longest)
				}
				for range 2 {
					r := m.Open()
					p, err := io.ReadAll(readerOnly{r})
					if err != nil || string(p) != tt.want {
						t.Errorf("read: %d octets, %v", len(p), err)
					}
					if err := r.Close(); err != nil {
						t.Errorf("Close: %v", err)
					}
					if _, err := r.Read(make([]byte, 1)); err == nil || err == io.EOF {
						t.Errorf("read after Close: %v", err)
					}
				}
				if err := iotest.TestReader(m.Open(), []byte(tt.want)); len(tt.want) < 20 && err != nil {
					t.Error(err)
				}
				m.Release()
				m.Release()
				if _, err := m.WriteTo(io.Discard); err != ErrReleased {
					t.Errorf("WriteTo after Release: %v", err)
				}
				if _, err := m.Open().Read(make([]byte, 1)); err != ErrReleased {
					t.Errorf("read after Release: %v", err)
				}
				if _, err := b.ReadAt(make([]byte, 1), 0); err != ErrReleased {
					t.Errorf("Release kept the reference: %v", err)
				}
			})
		}
	}
}

// blockWriter notes the longest write.
type blockWriter struct {
	bytes.Buffer
	longest int
}

func (w *blockWriter) Write(p []byte) (int, error) {
	w.longest = max(w.longest, len(p))
	return w.Buffer.Write(p)
}

func TestNewMessageKeepsItsOwnReference(t *testing.T) {
	b := NewBlob([]byte("text"))
	m := NewMessage(b)
	b.Release()
	var w bytes.Buffer
	if _, err := m.WriteTo(&w); err != nil || w.String() != "text" {
		t.Errorf("got %q, %v", &w, err)
	}
	m.Release()
	if _, err := b.ReadAt(make([]byte, 1), 0); err != ErrReleased {
		t.Errorf("after Release: %v", err)
	}
}

// A message with something on top is another one, and each lives by itself.
func TestMessagePrepend(t *testing.T) {
	for _, first := range []string{"the old one", "the new one"} {
		t.Run("release "+first+" first", func(t *testing.T) {
			b, other := NewBlob([]byte("X: 1\r\n\r\nbody")), NewBlob([]byte("new"))
			m := newMessage(b, []extent{{n: 10}, {n: 3, blob: other}})
			m.others = []*Blob{other}
			n := m.Prepend([]byte("A: b\r\n"))
			p := n.Prepend(nil)
			old, all := "X: 1\r\n\r\nbonew", "A: b\r\nX: 1\r\n\r\nbonew"
			for m, want := range map[*Message]string{m: old, n: all, p: all} {
				if got, err := io.ReadAll(m.Open()); string(got) != want || err != nil || m.Size() != int64(len(want)) {
					t.Errorf("%q, %v, size %d", got, err, m.Size())
				}
			}
			p.Release()
			one, two := m, n
			want := all
			if first == "the new one" {
				one, two, want = n, m, old
			}
			one.Release()
			if got, err := io.ReadAll(two.Open()); string(got) != want || err != nil {
				t.Errorf("after the first Release: %q, %v", got, err)
			}
			two.Release()
			for _, b := range []*Blob{b, other} {
				if _, err := b.ReadAt(make([]byte, 1), 0); err != ErrReleased {
					t.Errorf("a reference is left: %v", err)
				}
			}
			defer func() {
				if recover() == nil {
					t.Error("Prepend to a released Message does not panic")
				}
			}()
			m.Prepend(nil)
		})
	}
}

func TestMessageHeader(t *testing.T) {
	content := "Subject: one\r\n two\r\nnonsense\r\n\r\nB: ody\r\n"
	for kind, b := range blobs(t, content) {
		m := newMessage(b, []extent{{n: int64(len(content))}})
		n := m.Prepend([]byte("From: a@b.example\r\n"))
		h, err := n.Header(Limits{})
		if err != nil || len(h.Fields()) != 3 || h.Truncated() || h.Get("from") != "a@b.example" || h.Get("subject") != "one two" {
			t.Errorf("%s: %+v, %v", kind, h, err)
		}
		body := n.Tail(h.Octets())
		for range 2 {
			var b strings.Builder
			if k, err := body.WriteTo(&b); b.String() != "B: ody\r\n" || k != 8 || err != nil {
				t.Errorf("%s: body %q, %d, %v", kind, b.String(), k, err)
			}
		}
		for _, l := range []Limits{{Fields: 1}, {HeaderOctets: 25}} {
			if h, err := n.Header(l); err != nil || !h.Truncated() || len(h.Fields()) != 1 || h.Octets() != n.Size()-8 {
				t.Errorf("%s: %+v: %+v, %v", kind, l, h, err)
			}
		}
		m.Release()
		n.Release()
		if _, err := n.Header(Limits{}); !errors.Is(err, ErrReleased) {
			t.Errorf("%s: after Release: %v", kind, err)
		}
	}
}

// Any message, read from any place, gives what its extents say.
func TestMessageProperties(t *testing.T) {
	text := strings.Repeat("0123456789", 50)
	kinds := blobs(t, text)
	rapid.Check(t, func(t *rapid.T) {
		b := kinds[rapid.SampledFrom([]string{"memory", "file"}).Draw(t, "kind")]
		var want []byte
		var ext []extent
		for range rapid.IntRange(0, 6).Draw(t, "extents") {
			if rapid.Bool().Draw(t, "data") {
				p := rapid.SliceOfN(rapid.Byte(), 0, 20).Draw(t, "octets")
				ext, want = append(ext, extent{data: p}), append(want, p...)
				continue
			}
			off := rapid.IntRange(0, len(text)).Draw(t, "off")
			n := rapid.IntRange(0, len(text)-off).Draw(t, "n")
			ext, want = append(ext, extent{off: int64(off), n: int64(n)}), append(want, text[off:off+n]...)
		}
		m := newMessage(b.Retain(), ext)
		defer m.Release()
		r, ref := m.Open(), bytes.NewReader(want)
		for range 10 {
			pos := rapid.Int64Range(-3, int64(len(want))+3).Draw(t, "pos")
			whence := rapid.SampledFrom([]int{io.SeekStart, io.SeekCurrent, io.SeekEnd}).Draw(t, "whence")
			at, err := r.Seek(pos, whence)
			wantAt, wantErr := ref.Seek(pos, whence)
			if (err != nil) != (wantErr != nil) || err == nil && at != wantAt {
				t.Fatalf("Seek(%d, %d) = %d, %v; want %d, %v", pos, whence, at, err, wantAt, wantErr)
			}
			p := make([]byte, rapid.IntRange(0, 100).Draw(t, "len"))
			q := make([]byte, len(p))
			n, err := io.ReadFull(r, p)
			k, wantErr := io.ReadFull(ref, q)
			if n != k || err != wantErr || !bytes.Equal(p, q) {
				t.Fatalf("Read: %d, %v; want %d, %v", n, err, k, wantErr)
			}
		}
		if _, err := r.Seek(3, io.SeekStart); err != nil {
			t.Fatal(err)
		}
		var w bytes.Buffer
		n, err := io.Copy(&w, r)
		if err != nil || n != int64(w.Len()) || !bytes.Equal(w.Bytes(), want[min(3, len(want)):]) {
			t.Fatalf("Copy: %d, %v", n, err)
		}
	})
}

// The error of the writer is handed on, with the number of octets that it took.
func TestMessageWriteErrors(t *testing.T) {
	broken := errors.New("broken pipe")
	text := strings.Repeat("x", 100_000)
	for kind, b := range blobs(t, text) {
		m := newMessage(b, []extent{{data: []byte("top")}, {n: int64(len(text))}, {data: []byte("end")}})
		for _, after := range []int{0, 2, 3, 70_000, 100_003, 100_005} {
			if n, err := m.WriteTo(&brokenWriter{left: after, err: broken}); n != int64(after) || err != broken {
				t.Errorf("%s: WriteTo = %d, %v; want %d", kind, n, err, after)
			}
			if n, err := m.WriteTo(&brokenWriter{left: after}); n != int64(after) || err != io.ErrShortWrite {
				t.Errorf("%s: WriteTo = %d, %v; want %d, io.ErrShortWrite", kind, n, err, after)
			}
		}
		m.Release()
	}
}

type brokenWriter struct {
	left int
	err  error
}

func (w *brokenWriter) Write(p []byte) (int, error) {
	if n := len(p); n <= w.left {
		w.left -= n
		return n, nil
	}
	return w.left, w.err
}

// Octets that the Blob does not have are an error.
func TestMessageBeyondTheBlob(t *testing.T) {
	for _, e := range []extent{{off: 2, n: 3}, {off: 9, n: 1}, {off: -1, n: 2}, {off: 1, n: 1<<63 - 1}} {
		m := newMessage(NewBlob([]byte("text")), []extent{e})
		if _, err := m.WriteTo(io.Discard); err == nil {
			t.Errorf("%+v: WriteTo gives no error", e)
		}
		if _, err := io.CopyN(io.Discard, readerOnly{m.Open()}, 10); err == nil || err == io.EOF {
			t.Errorf("%+v: reading gives %v", e, err)
		}
		m.Release()
	}
}

func TestMessageZeroCopy(t *testing.T) {
	b := NewBlob(bytes.Repeat([]byte("x"), 1<<20))
	m := NewMessage(b)
	b.Release()
	defer m.Release()
	if n := testing.AllocsPerRun(20, func() { m.WriteTo(readerlessDiscard{}) }); n > 3 {
		t.Errorf("%v allocations for a message in memory", n)
	}
}

// readerlessDiscard takes everything in Write.
type readerlessDiscard struct{}

func (readerlessDiscard) Write(p []byte) (int, error) { return len(p), nil }

func BenchmarkMessageWriteTo(b *testing.B) {
	for kind, blob := range blobs(b, strings.Repeat("x", 1<<20)) {
		b.Run(kind, func(b *testing.B) {
			m := NewMessage(blob)
			defer m.Release()
			b.SetBytes(m.Size())
			b.ReportAllocs()
			for b.Loop() {
				if _, err := m.WriteTo(readerlessDiscard{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
