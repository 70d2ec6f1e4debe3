package text

import (
	"bytes"
	"math/rand/v2"
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
	var all, each []byte
	for c := range 256 {
		want := string(charmap.Windows1252.DecodeByte(byte(c)))
		if bytes.IndexByte([]byte{0x81, 0x8d, 0x8f, 0x90, 0x9d}, byte(c)) >= 0 {
			want = "\uFFFD"
		}
		if got := string(fromWindows1252([]byte{byte(c)})); got != want {
			t.Errorf("%#x: %q, not %q", c, got, want)
		}
		all, each = append(all, byte(c)), append(each, want...)
	}
	if got := fromWindows1252(all); !bytes.Equal(got, each) {
		t.Errorf("all of them: %q", got)
	}
}

// TestEvenRun: what is taken eight octets at once stays as it is by itself as well, and where eight do they are taken.
func TestEvenRun(t *testing.T) {
	even := func(b []byte) bool {
		for i, c := range b {
			if c >= 0x80 || c < ' ' || c == ' ' && (i == 0 || b[i-1] == ' ') {
				return false
			}
		}
		return true
	}
	r := rand.New(rand.NewPCG(1, 2))
	long := 0
	for range 5000 {
		b := make([]byte, r.IntN(40))
		for i := range b {
			b[i] = "aaaaaaaaaaaaaaaaaaaaaaaaaaaZ~\x7f    \n\t\x1f\x00\x80\xff"[r.IntN(40)]
		}
		n := evenRun(b)
		if !even(b[:n]) || n > 0 && b[n-1] == ' ' {
			t.Fatalf("%q: %d", b, n)
		}
		if m := (n + 1) &^ 7; m+8 <= len(b) && even(b[:m+8]) {
			t.Fatalf("%q: %d, and there are eight more", b, n)
		}
		if n > 7 {
			long++
		}
		var all, each folder
		all.add(b)
		all.flush()
		for i := range b { // nothing is taken at once
			each.add(b[i : i+1])
		}
		each.flush()
		if !bytes.Equal(all.out, each.out) {
			t.Fatalf("%q: %q, octet by octet %q", b, all.out, each.out)
		}
	}
	if long < 500 {
		t.Errorf("%d of the texts begin with eight octets that stay: the others show little", long)
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
