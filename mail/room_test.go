package mail

import (
	"bytes"
	"io"
	"strings"
	"testing"
)

// What reads into the memory of a message bring is kept, whatever others do with the memory that was left, and in no more
// memory than writes would take, or than four times what came, or than what was announced and has begun to come.
func TestRoom(t *testing.T) {
	text := []byte(strings.Repeat("Lines of mail hold some seventy-six characters each, which base64 does too..\r\n", 8<<10))
	tests := []struct {
		name   string
		size   int64
		memory int
		reads  []int
	}{
		{"short", 0, 0, []int{500}},
		{"short ones", 0, 0, []int{500, 1, 1, 3000, 1}},
		{"short, expected", 500, 0, []int{500, 3}},
		{"expected and not come", 200 << 10, 0, []int{500, 2000}},
		{"growing", 0, 0, []int{20_000, 20_000, 20_000, 20_000, 60_000}},
		{"growing, expected", 100 << 10, 0, []int{5000, 3000, 20_000, 60_000, 20_000}},
		{"growing from a CR", 0, 0, []int{77, 78*500 + 1, 65_000, 65_000}},
		{"all at once", 0, 0, []int{65_536, 37_000}},
		{"to the limit of memory", 0, 0, []int{65_536, 65_536, 65_536, 65_536}},
		{"into a file", 0, 0, []int{65_536, 65_536, 65_536, 65_536, 65_536, 20_000, 65_536, 65_536}},
		{"into a file, by little", 0, 0, []int{65_536, 65_536, 65_536, 65_536, 65_536, 1, 100, 1}},
		{"little memory", 0, 20_000, []int{1000, 1000, 30_000, 30_000}},
		{"none", 0, -1, []int{1000, 1000}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o := IngestOptions{Size: tt.size, Memory: tt.memory, Dir: t.TempDir()}
			g, writes := NewIngest(o), NewIngest(o)
			defer writes.Abort()
			at := 0
			for i, n := range tt.reads {
				for end := at + n; at < end; {
					k := read(g, text[at:end], true, at == 0)
					_, _ = writes.Write(text[at : at+k])
					at += k
				}
				most := max(cap(writes.buf), 4*len(g.buf))
				if int64(len(g.buf)) > tt.size/16 {
					most = max(most, bufferSize(int(tt.size)))
				}
				if cap(g.buf) > most || g.lent != nil {
					t.Errorf("read %d: %d octets of memory for %d, want at most %d", i, cap(g.buf), len(g.buf), most)
				}
				for _, size := range bufferSizes {
					b := getBuffer(size)
					clear(b[:size])
					putBuffer(b)
				}
			}
			b, _, err := g.Blob()
			if err != nil {
				t.Fatal(err)
			}
			defer b.Release()
			got, err := io.ReadAll(b.Section(0, b.Size()))
			if err != nil || !bytes.Equal(got, text[:at]) {
				t.Errorf("%d octets are not as they were, %v", at, err)
			}
		})
	}
}

// A sender of whom nothing comes has no memory lent.
func TestRoomIsLeft(t *testing.T) {
	g := NewIngest(IngestOptions{})
	defer g.Abort()
	if g.Room(false) != nil {
		t.Error("there is memory that was not lent")
	}
	if len(g.Room(true)) < leastRoom {
		t.Error("there is no room")
	}
	g.Leave()
	if g.lent != nil || cap(g.buf) != 0 {
		t.Error("memory was not given back")
	}
}

func BenchmarkRoom(b *testing.B) {
	line := "Lines of mail hold some seventy-six characters each, which base64 does too..\r\n"
	for _, bb := range []struct {
		name string
		size int
	}{{"4KB", 4 << 10}, {"100KB", 100 << 10}, {"1MB-file", 1 << 20}} {
		b.Run(bb.name, func(b *testing.B) {
			in := []byte(strings.Repeat(line, bb.size/len(line)))
			o := IngestOptions{Unstuff: true, Dir: b.TempDir()}
			b.SetBytes(int64(len(in)))
			b.ReportAllocs()
			for b.Loop() {
				g := NewIngest(o)
				for rest := in; len(rest) > 0; {
					rest = rest[read(g, rest, true, false):] // with the copy that the system makes in any case
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
