package upstream

import (
	"bytes"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// stuffed puts content through a stuffer in the given blocks, with its end.
func stuffed(blocks [][]byte) []byte {
	var s stuffer
	var all, out []byte
	for _, b := range blocks {
		p := s.stuff(out, b)
		if len(p) != len(b) {
			out = p
		}
		all = append(all, p...)
	}
	return append(all, s.end()...)
}

// unstuffed is the receiver's side of RFC 5321 4.5.2, octet by octet.
func unstuffed(t *rapid.T, wire []byte) []byte {
	var out []byte
	for {
		i := bytes.Index(wire, []byte("\r\n"))
		if i < 0 {
			t.Fatalf("no final dot; rest %q", wire)
		}
		line := wire[:i+2]
		wire = wire[i+2:]
		if string(line) == ".\r\n" {
			break
		}
		out = append(out, bytes.TrimPrefix(line, []byte("."))...)
	}
	if len(wire) > 0 {
		t.Fatalf("content goes on after the final dot: %q", wire)
	}
	return out
}

// TestStuff: what the receiver makes of it is what was sent, however it was cut into blocks, with a CRLF
// at its end.
func TestStuff(t *testing.T) {
	piece := rapid.SampledFrom([]string{".", "\r\n", "\r", "\n", "a", "\r\n.", "\r\n.\r\n", "abc"})
	rapid.Check(t, func(t *rapid.T) {
		content := []byte(strings.Join(rapid.SliceOfN(piece, 0, 30).Draw(t, "content"), ""))
		var blocks [][]byte
		for rest := content; len(rest) > 0; {
			n := rapid.IntRange(0, len(rest)).Draw(t, "block")
			blocks = append(blocks, rest[:n])
			rest = rest[n:]
		}
		want := bytes.Clone(content)
		if len(want) > 0 && !bytes.HasSuffix(want, []byte("\r\n")) {
			want = append(want, "\r\n"...)
		}
		if got := unstuffed(t, stuffed(blocks)); !bytes.Equal(got, want) {
			t.Fatalf("got %q, want %q", got, want)
		}
	})
}

func BenchmarkStuff(b *testing.B) {
	clean := []byte(strings.Repeat(strings.Repeat("x", 74)+"\r\n", blockSize/76))
	for _, c := range []struct {
		name string
		in   []byte
	}{
		{"clean", clean},
		{"dots1in100", []byte(strings.Repeat(strings.Repeat("x", 74)+"\r\n"+strings.Repeat(strings.Repeat("y", 74)+"\r\n", 98)+".x\r\n", 8))},
		{"dots", []byte(strings.Repeat(".\r\n", blockSize/3))},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.SetBytes(int64(len(c.in)))
			b.ReportAllocs()
			var s stuffer
			var out []byte
			for b.Loop() {
				if p := s.stuff(out, c.in); len(p) != len(c.in) {
					out = p
				}
			}
		})
	}
}
