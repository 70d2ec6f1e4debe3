package text

import (
	"bytes"
	"runtime"
	"strings"
	"testing"
	"unicode/utf8"

	"golang.org/x/text/encoding/charmap"
	"pgregory.net/rapid"
)

// TestSqueeze compares with a slow reading of the rule: of more than maxGap blank lines in a row the first stays, and the last
// ones.
func TestSqueeze(t *testing.T) {
	slow := func(b []byte) (out []byte) {
		var gap []string
		flush := func() {
			for i, l := range gap {
				if i == 0 || i > len(gap)-maxGap {
					out = append(out, l...)
				}
			}
			gap = nil
		}
		for _, l := range strings.SplitAfter(string(b), "\n") {
			if strings.TrimSpace(l) == "" {
				gap = append(gap, l)
				continue
			}
			flush()
			out = append(out, l...)
		}
		if n := len(gap); n > 0 && gap[n-1] == "" {
			gap = gap[:n-1] // it is no line
		}
		flush()
		return out
	}
	rapid.Check(t, func(t *rapid.T) {
		var b []byte
		for range rapid.IntRange(0, 6).Draw(t, "runs") {
			line := rapid.SampledFrom([]string{"\n", " \t\n", "a\n", "ab c\n", "\n \n", "x", " "}).Draw(t, "line")
			b = append(b, bytes.Repeat([]byte(line), rapid.IntRange(0, 2*maxGap).Draw(t, "times"))...)
		}
		if got, want := squeeze(bytes.Clone(b), false), slow(b); !bytes.Equal(got, want) {
			t.Fatalf("%q: %q, not %q", b, got, want)
		}
		inner := slow(append(append([]byte("\n"), b...), '\n'))
		if got, want := squeeze(b, true), inner[1:len(inner)-1]; !bytes.Equal(got, want) {
			t.Fatalf("within, %q: %q, not %q", b, got, want)
		}
	})
}

func TestWindows1252(t *testing.T) {
	for c := range 256 {
		want := string(charmap.Windows1252.DecodeByte(byte(c)))
		if bytes.IndexByte([]byte{0x81, 0x8d, 0x8f, 0x90, 0x9d}, byte(c)) >= 0 {
			want = "\uFFFD"
		}
		if got := string(fromWindows1252([]byte{byte(c)})); got != want {
			t.Errorf("%#x: %q, not %q", c, got, want)
		}
	}
}

func TestOffset(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := []byte(rapid.String().Draw(t, "text") + rapid.SampledFrom([]string{"", "\xff", "\xe4\xbd"}).Draw(t, "end"))
		n := rapid.IntRange(0, utf8.RuneCount(b)+2).Draw(t, "n")
		want := len(b)
		for i := range string(b) {
			if utf8.RuneCount(b[:i]) == n {
				want = i
			}
		}
		if got := countRunes(b); got != utf8.RuneCount(b) {
			t.Fatalf("%q: %d characters", b, got)
		}
		if got := (&text{utf8: b}).offset(n); got != want {
			t.Fatalf("%q: character %d at %d, not %d", b, n, got, want)
		}
	})
}

// TestMemoryOfTexts: what is allocated for all views of a text is a small multiple of its length, whatever the text is made of.
func TestMemoryOfTexts(t *testing.T) {
	const size = maxPart
	for _, unit := range []string{"\n", " \n", "a\n", "\u4f60", "\xe9", "\x80", "<div><script>", "<a href=data:,x>", "&#65;", "x"} {
		for _, kind := range []string{"plain", "html"} {
			c := contentOf(t, "Subject: s\r\nContent-Type: text/"+kind+"\r\n\r\n"+strings.Repeat(unit, size/len(unit)))
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			m := Of(c, Options{})
			m.Body()
			m.RawBody()
			m.VisibleText()
			m.Links()
			runtime.ReadMemStats(&after)
			if each := float64(after.TotalAlloc-before.TotalAlloc) / size; each > 20 {
				t.Errorf("%s of %q: %.1f octets for each", kind, unit, each)
			} else {
				t.Logf("%s of %q: %.1f octets for each", kind, unit, each)
			}
		}
	}
}
