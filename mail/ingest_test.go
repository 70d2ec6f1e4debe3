package mail

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// canonical is what Ingest must make of in, written octet by octet: first the line ends, then, line by line,
// the dots.
func canonical(in []byte, unstuff bool) (out []byte, faults LineFaults) {
	type line struct {
		text   []byte
		ended  bool
		behind bool // behind a bare LF
	}
	lines := []line{{}}
	for i, c := range in {
		l := &lines[len(lines)-1]
		crBefore := i > 0 && in[i-1] == '\r'
		lfBehind := i+1 < len(in) && in[i+1] == '\n'
		switch {
		case c == '\n':
			l.ended = true
			lines = append(lines, line{behind: !crBefore})
			if !crBefore {
				faults.BareLF++
			}
		case c == '\r' && lfBehind:
		case c == '\r':
			l.text = append(l.text, ' ')
			faults.BareCR++
		default:
			if c == 0 {
				faults.NUL++
			}
			l.text = append(l.text, c)
		}
	}
	for _, l := range lines {
		if unstuff && l.behind && len(l.text) > 1 && l.text[0] == '.' {
			l.text = l.text[1:]
		}
		out = append(out, l.text...)
		if l.ended {
			out = append(out, "\r\n"...)
		}
	}
	return out, faults
}

// ingest writes the chunks and gives what became of them.
func ingest(t testing.TB, o IngestOptions, chunks ...[]byte) ([]byte, LineFaults) {
	t.Helper()
	g := NewIngest(o)
	for _, c := range chunks {
		own := bytes.Clone(c)
		if n, err := g.Write(own); n != len(c) || err != nil {
			t.Fatalf("Write = %d, %v; want %d", n, err, len(c))
		}
		clear(own) // a writer's buffer is its own again after Write
	}
	b, faults, err := g.Blob()
	if err != nil {
		t.Fatalf("Blob: %v", err)
	}
	defer b.Release()
	out, err := io.ReadAll(b.Section(0, b.Size()))
	if err != nil {
		t.Fatalf("read: %v", err)
	}
	return out, faults
}

func TestIngest(t *testing.T) {
	tests := []struct {
		name, in, want string
		unstuff        bool
		faults         LineFaults
	}{
		{name: "empty"},
		{name: "clean", in: "a\r\nb\r\n", want: "a\r\nb\r\n"},
		{name: "no end of line", in: "a", want: "a"},
		{name: "bare LF", in: "a\nb\n", want: "a\r\nb\r\n", faults: LineFaults{BareLF: 2}},
		{name: "bare LF first", in: "\na", want: "\r\na", faults: LineFaults{BareLF: 1}},
		{name: "bare CR", in: "a\rb\r\n", want: "a b\r\n", faults: LineFaults{BareCR: 1}},
		{name: "bare CR first", in: "\rb", want: " b", faults: LineFaults{BareCR: 1}},
		{name: "bare CR last", in: "b\r\n\r", want: "b\r\n ", faults: LineFaults{BareCR: 1}},
		{name: "CR CR LF", in: "a\r\r\nb", want: "a \r\nb", faults: LineFaults{BareCR: 1}},
		{name: "LF CR", in: "a\n\rb", want: "a\r\n b", faults: LineFaults{BareLF: 1, BareCR: 1}},
		{name: "NUL is kept", in: "a\x00b\r\n\x00", want: "a\x00b\r\n\x00", faults: LineFaults{NUL: 2}},
		{name: "dots after CRLF are the server's", in: "..a\r\n..b\r\n.\r\n", want: "..a\r\n..b\r\n.\r\n", unstuff: true},
		{name: "stuffed after bare LF", in: "a\n..foo\r\n", want: "a\r\n.foo\r\n", unstuff: true, faults: LineFaults{BareLF: 1}},
		{name: "dot and text after bare LF", in: "a\n.foo\r\n", want: "a\r\nfoo\r\n", unstuff: true, faults: LineFaults{BareLF: 1}},
		{name: "not asked to unstuff", in: "a\n.foo\r\n", want: "a\r\n.foo\r\n", faults: LineFaults{BareLF: 1}},
		{name: "lone dot LF CRLF", in: "a\n.\r\nb", want: "a\r\n.\r\nb", unstuff: true, faults: LineFaults{BareLF: 1}},
		{name: "lone dot LF LF", in: "a\n.\nb", want: "a\r\n.\r\nb", unstuff: true, faults: LineFaults{BareLF: 2}},
		{name: "lone dots one after another", in: "\n.\n.\n.x", want: "\r\n.\r\n.\r\nx", unstuff: true, faults: LineFaults{BareLF: 3}},
		{name: "lone dot at the end", in: "a\n.", want: "a\r\n.", unstuff: true, faults: LineFaults{BareLF: 1}},
		{name: "dot CR at the end", in: "a\n.\r", want: "a\r\n ", unstuff: true, faults: LineFaults{BareLF: 1, BareCR: 1}},
		{name: "dot CR text", in: "a\n.\rb", want: "a\r\n b", unstuff: true, faults: LineFaults{BareLF: 1, BareCR: 1}},
		{name: "empty line between", in: "a\n\r\n.b", want: "a\r\n\r\n.b", unstuff: true, faults: LineFaults{BareLF: 1}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if ref, faults := canonical([]byte(tt.in), tt.unstuff); string(ref) != tt.want || faults != tt.faults {
				t.Fatalf("the reference gives %q, %+v; want %q, %+v", ref, faults, tt.want, tt.faults)
			}
			o := IngestOptions{Unstuff: tt.unstuff, Dir: t.TempDir()}
			for cut := range len(tt.in) + 1 {
				got, faults := ingest(t, o, []byte(tt.in[:cut]), []byte(tt.in[cut:]))
				if string(got) != tt.want || faults != tt.faults {
					t.Errorf("cut at %d: got %q, %+v; want %q, %+v", cut, got, faults, tt.want, tt.faults)
				}
			}
		})
	}
}

// read gives what there is room for of c as the reader of a socket does, and tells how much that was. Dots are left as they are.
func read(g *Ingest, c []byte, lend, begins bool) int {
	n := copy(g.Room(lend), c)
	rest := bytes.Clone(g.Filled(n, begins))
	g.Leave()
	_, _ = g.Write(rest)
	if n == 0 {
		n, _ = g.Write(c)
	}
	return n
}

// Any cut of any input, in memory or not, gives what the reference gives.
func TestIngestAnyChunks(t *testing.T) {
	dir := t.TempDir()
	piece := rapid.SampledFrom([]string{
		"\r", "\n", "\r\n", ".", "\n.", "\n..", "\x00", "a", " ", "some text", "\r\n.\r\n",
		strings.Repeat("line\r\n", 900), strings.Repeat("x", 5000),
	})
	rapid.Check(t, func(t *rapid.T) {
		in := []byte(strings.Join(rapid.SliceOfN(piece, 0, 60).Draw(t, "in"), ""))
		o := IngestOptions{
			Dir:     dir,
			Memory:  rapid.SampledFrom([]int{-1, 1, 100, 5000, 20000, 0}).Draw(t, "memory"),
			Unstuff: rapid.Bool().Draw(t, "unstuff"),
		}
		want, wantFaults := canonical(in, o.Unstuff)
		g := NewIngest(o)
		for rest := in; len(rest) > 0; {
			n := min(len(rest), rapid.SampledFrom([]int{1, 2, 3, 7, 1000, 40000}).Draw(t, "chunk"))
			if rapid.Bool().Draw(t, "by room") {
				n = read(g, rest[:n], rapid.Bool().Draw(t, "lend"), len(in) == len(rest))
			} else if k, err := g.Write(rest[:n]); k != n || err != nil {
				t.Fatalf("Write = %d, %v", k, err)
			}
			rest = rest[n:]
		}
		b, faults, err := g.Blob()
		if err != nil {
			t.Fatal(err)
		}
		defer b.Release()
		got, err := io.ReadAll(b.Section(0, b.Size()))
		if err != nil || !bytes.Equal(got, want) || faults != wantFaults {
			t.Fatalf("got %q, %+v, %v; want %q, %+v", got, faults, err, want, wantFaults)
		}
		if b.dotless && (bytes.HasPrefix(got, onlyDot) || bytes.Contains(got, crlfDot)) {
			t.Errorf("%q is called dotless", got)
		}
		if _, mem := b.Bytes(); mem != (len(want) <= max(0, o.Memory) || o.Memory == 0 && len(want) <= 256<<10) {
			t.Errorf("in memory: %v, for %d octets with Memory %d", mem, len(want), o.Memory)
		}
		// Canonical content stays as it is, with no fault left but NUL.
		again, faults := canonical(want, false)
		if !bytes.Equal(again, want) || faults.BareCR+faults.BareLF != 0 {
			t.Fatalf("%q is not canonical", want)
		}
	})
}

func FuzzIngest(f *testing.F) {
	for _, s := range []string{"", "a\r\nb", "\n.\r\n", "\n..x\r\r\n\x00", "\r", "\n.\r"} {
		f.Add([]byte(s), uint16(1), int16(0), true)
		f.Add([]byte(s), uint16(1), int16(0), false)
	}
	f.Fuzz(func(t *testing.T, in []byte, chunk uint16, memory int16, unstuff bool) {
		o := IngestOptions{Memory: int(memory), Unstuff: unstuff}
		want, wantFaults := canonical(in, unstuff)
		var chunks [][]byte
		g := NewIngest(o)
		for rest := in; len(rest) > 0; {
			n := min(len(rest), int(chunk)+1)
			chunks = append(chunks, rest[:n])
			rest = rest[read(g, rest[:n], true, len(in) == len(rest)):]
		}
		got, faults := ingest(t, o, chunks...)
		if !bytes.Equal(got, want) || faults != wantFaults {
			t.Fatalf("got %q, %+v; want %q, %+v", got, faults, want, wantFaults)
		}
		b, faults, err := g.Blob()
		if err != nil {
			t.Fatal(err)
		}
		defer b.Release()
		got, err = io.ReadAll(b.Section(0, b.Size()))
		if err != nil || !bytes.Equal(got, want) || faults != wantFaults {
			t.Fatalf("by room: got %q, %+v, %v; want %q, %+v", got, faults, err, want, wantFaults)
		}
	})
}

func TestIngestLimit(t *testing.T) {
	tests := []struct {
		name   string
		in     string
		limit  int64
		memory int
		want   error
	}{
		{"exactly", "abc\r\n", 5, 0, nil},
		{"one more", "abc\r\n", 4, 0, ErrTooBig},
		{"canonical octets count", "abc\n", 4, 0, ErrTooBig},
		{"a waiting CR counts", "abc\r", 3, 0, ErrTooBig},
		{"a dot that goes does not count", "\n.a", 3, 0, nil},
		{"a waiting dot counts", "\n.", 2, 0, ErrTooBig},
		{"in a file, exactly", strings.Repeat("a", 100_000), 100_000, 10, nil},
		{"in a file, one more", strings.Repeat("a", 100_001), 100_000, 10, ErrTooBig},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			before := openFiles(t)
			g := NewIngest(IngestOptions{Limit: tt.limit, Memory: tt.memory, Unstuff: true, Dir: t.TempDir()})
			if n, err := g.Write([]byte(tt.in)); n != len(tt.in) || err != nil && !errors.Is(err, tt.want) {
				t.Fatalf("Write = %d, %v", n, err)
			}
			b, _, err := g.Blob()
			if !errors.Is(err, tt.want) || (b == nil) != (err != nil) {
				t.Fatalf("Blob = %v, %v; want %v", b, err, tt.want)
			}
			if b != nil {
				if b.Size() != tt.limit {
					t.Errorf("size %d, want %d", b.Size(), tt.limit)
				}
				b.Release()
			}
			if n := openFiles(t); n != before {
				t.Errorf("%d open files, %d before", n, before)
			}
		})
	}
}

// Past the limit Write goes on taking octets, tells so each time, and keeps nothing.
func TestIngestDiscardsPastLimit(t *testing.T) {
	before := openFiles(t)
	g := NewIngest(IngestOptions{Limit: 1000, Memory: 100, Dir: t.TempDir()})
	p := bytes.Repeat([]byte("x"), 900)
	if _, err := g.Write(p); err != nil {
		t.Fatal(err)
	}
	if n := openFiles(t); n != before+1 {
		t.Fatalf("%d open files, want %d", n, before+1)
	}
	for range 3 {
		if n, err := g.Write(p); n != len(p) || !errors.Is(err, ErrTooBig) {
			t.Fatalf("Write = %d, %v; want %d, ErrTooBig", n, err, len(p))
		}
	}
	if g.file != nil || g.buf != nil || openFiles(t) != before {
		t.Error("content is kept past the limit")
	}
	g.Abort()
}

func TestIngestDiskErrors(t *testing.T) {
	big := bytes.Repeat([]byte("some text\r\n"), 20_000)
	t.Run("no folder", func(t *testing.T) {
		g := NewIngest(IngestOptions{Memory: 100, Dir: filepath.Join(t.TempDir(), "absent")})
		if _, err := g.Write([]byte("small")); err != nil {
			t.Fatalf("in memory: %v", err)
		}
		_, err := g.Write(big)
		if !errors.Is(err, os.ErrNotExist) {
			t.Fatalf("Write: %v, want fs.ErrNotExist", err)
		}
		if _, again := g.Write([]byte("x")); again != err {
			t.Errorf("second Write: %v, want %v", again, err)
		}
		if b, _, again := g.Blob(); b != nil || again != err {
			t.Errorf("Blob: %v, %v; want %v", b, again, err)
		}
	})
	t.Run("write fails", func(t *testing.T) {
		g := NewIngest(IngestOptions{Memory: -1, Dir: t.TempDir()})
		if _, err := g.Write([]byte("begins the file")); err != nil {
			t.Fatal(err)
		}
		g.file.Close() // the next write fails as on a broken disk
		var path *os.PathError
		if _, err := g.Write(big); !errors.As(err, &path) {
			t.Errorf("Write: %v, want an fs.PathError", err)
		}
	})
	t.Run("the last write fails", func(t *testing.T) {
		g := NewIngest(IngestOptions{Memory: -1, Dir: t.TempDir()})
		if _, err := g.Write([]byte("begins the file")); err != nil {
			t.Fatal(err)
		}
		g.file.Close()
		if b, _, err := g.Blob(); b != nil || err == nil {
			t.Errorf("Blob: %v, %v; want an error", b, err)
		}
	})
}

func TestIngestEnds(t *testing.T) {
	before := openFiles(t)
	g := NewIngest(IngestOptions{Memory: 1, Dir: t.TempDir()})
	if _, err := g.Write([]byte("text")); err != nil {
		t.Fatal(err)
	}
	g.Abort()
	g.Abort()
	if n := openFiles(t); n != before {
		t.Errorf("%d open files after Abort, %d before", n, before)
	}
	if _, err := g.Write([]byte("text")); err == nil {
		t.Error("Write after Abort is no error")
	}
	if b, _, err := g.Blob(); b != nil || err == nil {
		t.Error("Blob after Abort is no error")
	}

	g = NewIngest(IngestOptions{})
	if _, err := g.Write([]byte("text")); err != nil {
		t.Fatal(err)
	}
	b, _, err := g.Blob()
	if err != nil {
		t.Fatal(err)
	}
	g.Abort()
	if p, ok := b.Bytes(); !ok || string(p) != "text" {
		t.Errorf("Abort after Blob took the content: %q", p)
	}
	if _, _, err := g.Blob(); err == nil {
		t.Error("a second Blob is no error")
	}
}

// The memory that an Ingest holds is never much more than Memory, however much it takes in.
func TestIngestMemory(t *testing.T) {
	block := bytes.Repeat([]byte("some text\r\n"), 3000)
	for _, memory := range []int{-1, 100, 10_000, 300_000, 1 << 20} {
		g := NewIngest(IngestOptions{Memory: memory, Dir: t.TempDir()})
		for range 100 {
			if _, err := g.Write(block); err != nil {
				t.Fatal(err)
			}
			if limit := max(blockSize, 4*min(memory, blockSize), memory); cap(g.buf) > limit {
				t.Fatalf("Memory %d: a buffer of %d", memory, cap(g.buf))
			}
		}
		g.Abort()
	}
}

// openFiles counts the file descriptors of the process.
func openFiles(t testing.TB) int {
	t.Helper()
	names, err := os.ReadDir("/proc/self/fd")
	if errors.Is(err, os.ErrNotExist) {
		return 0 // no /proc: nothing to compare
	}
	if err != nil {
		t.Fatal(err)
	}
	return len(names)
}

func BenchmarkIngest(b *testing.B) {
	text := strings.Repeat("Lines of mail hold some seventy-six characters each, which base64 does too..\r\n", 1<<20/78)
	dirty := strings.ReplaceAll(text, "\r\n", "\n")
	for _, bb := range []struct {
		name, text string
		memory     int
	}{
		{"clean-4KB", text[:4096], 0},
		{"clean-250KB", text[:250<<10], 0},
		{"clean-1MB-memory", text, 2 << 20},
		{"clean-1MB-file", text, 0},
		{"bare-LF-1MB-memory", dirty, 2 << 20},
		{"only-CR-1MB-memory", strings.Repeat("x\r", 1<<19), 4 << 20},
		{"only-LF-1MB-memory", strings.Repeat("\n", 1<<20), 4 << 20},
	} {
		b.Run(bb.name, func(b *testing.B) {
			o := IngestOptions{Memory: bb.memory, Unstuff: true, Dir: b.TempDir()}
			in := []byte(bb.text)
			b.SetBytes(int64(len(in)))
			b.ReportAllocs()
			for b.Loop() {
				g := NewIngest(o)
				for rest := in; len(rest) > 0; {
					n := min(len(rest), 32<<10)
					if _, err := g.Write(rest[:n]); err != nil {
						b.Fatal(err)
					}
					rest = rest[n:]
				}
				blob, _, err := g.Blob()
				if err != nil {
					b.Fatal(err)
				}
				blob.Release()
			}
		})
	}
}

func ExampleIngest() {
	g := NewIngest(IngestOptions{Unstuff: true})
	fmt.Fprint(g, "Subject: line ends\r\n\r\none\ntwo\r\n")
	b, faults, err := g.Blob()
	if err != nil {
		fmt.Println(err)
		return
	}
	defer b.Release()
	p, _ := b.Bytes()
	fmt.Printf("%q %d", p, faults.BareLF)
	// Output: "Subject: line ends\r\n\r\none\r\ntwo\r\n" 1
}
