package mail

import (
	"bytes"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// slowPlainLines is what plainLines has to give, octet by octet. Of content with a fault it says nothing but that.
func slowPlainLines(b []byte, cr bool) (n int, ok bool) {
	for n < len(b) {
		switch {
		case b[n] == '\n' && !cr, b[n] != '\n' && cr:
			return 0, false
		case b[n] == '.' && n > 0 && b[n-1] == '\n':
			return n, true
		}
		cr = b[n] == '\r'
		n++
	}
	return n, true
}

func TestPlainLines(t *testing.T) {
	line := rapid.OneOf(
		rapid.SampledFrom([]string{"", "a", "\r", "\n", ".", "\r\n", ".\r\n", "\x00\r\n", "aa\r\n", "aaa\n"}),
		// Lines of one length, also some in place of which there are shorter ones.
		rapid.Just(strings.Repeat("0123456\r\n", 5)),
		rapid.Just("01\r\n456\r\n"), rapid.Just("012345\n\r\n"), rapid.Just("0\n23456\r\n"), rapid.Just("0\r23456\r\n"),
	)
	rapid.Check(t, func(t *rapid.T) {
		b := []byte(strings.Join(rapid.SliceOfN(line, 1, 8).Draw(t, "lines"), ""))
		cr := rapid.Bool().Draw(t, "cr")
		if len(b) == 0 {
			b = []byte("a") // nobody looks at nothing
		}
		wantN, want := slowPlainLines(b, cr)
		n, ok := plainLines(b, cr)
		if ok != want || ok && n != wantN {
			t.Fatalf("%q, %v: got %d, %v; want %d, %v", b, cr, n, ok, wantN, want)
		}
	})
}

func TestPlainLinesAfterSteadyOnes(t *testing.T) {
	steady := strings.Repeat("0123456\r\n", 6)
	tests := []struct {
		name, next string
		n          int // behind the steady ones
		ok         bool
	}{
		{"one more", "0123456\r\n", 9, true},
		{"shorter, then as long", "01\r\n456\r\n", 9, true},
		{"two in place of one", "01\r\n456\r\n", 9, true},
		{"a bare LF passed over", "0\n23456\r\n", 0, false},
		{"a bare CR passed over", "0\r23456\r\n", 0, false},
		{"a dot passed over", "01\r\n.56\r\n", 4, true},
		{"a dot", ".123456\r\n", 0, true},
		{"a dot behind one more", "0123456\r\n.", 9, true},
		{"LF without CR at its place", "01234567\n", 0, false},
		{"CR at the end", "0123456\r", 8, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			n, ok := plainLines([]byte(steady+tt.next), false)
			if ok != tt.ok || ok && n != len(steady)+tt.n {
				t.Errorf("got %d, %v; want %d, %v", n-len(steady), ok, tt.n, tt.ok)
			}
		})
	}
}

func BenchmarkPlainLines(b *testing.B) {
	words := strings.Fields(strings.Repeat("It was said of him that he read every letter twice, and that he answered none. ", 2000))
	var prose strings.Builder
	for i, width := 0, 0; prose.Len() < 100<<10; i++ {
		if width += len(words[i%len(words)]) + 1; width > 66+i*7%13 {
			prose.WriteString("\r\n")
			width = 0
		}
		prose.WriteString(words[i%len(words)] + " ")
	}
	for _, bb := range []struct {
		name string
		text []byte
	}{
		{"steady", bytes.Repeat([]byte(strings.Repeat("x", 76)+"\r\n"), 100<<10/78)},
		{"prose", []byte(prose.String())},
	} {
		b.Run(bb.name, func(b *testing.B) {
			b.SetBytes(int64(len(bb.text)))
			for b.Loop() {
				if n, ok := plainLines(bb.text, false); n != len(bb.text) || !ok {
					b.Fatal(n, ok)
				}
			}
		})
	}
}
