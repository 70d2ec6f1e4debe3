package edge

import (
	"bytes"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// slowDots is the definition that scanDots has to meet: line by line, where a line ends in CRLF only.
func slowDots(in string) (content, rest string, ended bool) {
	var b strings.Builder
	for in != "" {
		line, tail, ok := strings.Cut(in, "\r\n")
		if !ok {
			return b.String() + strings.TrimPrefix(in, "."), "", false
		}
		if line == "." {
			return b.String(), tail, true
		}
		b.WriteString(strings.TrimPrefix(line, ".") + "\r\n")
		in = tail
	}
	return b.String(), "", false
}

func runDots(blocks []string) (content, rest string, ended bool) {
	var b bytes.Buffer
	state := atLineStart
	for i, block := range blocks {
		used, next, end := scanDots([]byte(block), state, func(p []byte) { b.Write(p) })
		if end {
			return b.String(), block[used:] + strings.Join(blocks[i+1:], ""), true
		}
		if used != len(block) {
			panic("octets left over")
		}
		state = next
	}
	if state == afterDotCR { // held back: it may still be the end
		b.WriteString("\r")
	}
	return b.String(), "", false
}

func TestScanDots(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		letters := rapid.SliceOf(rapid.SampledFrom([]string{"\r", "\n", ".", "a", "\r\n", "\r\n.", "\r\n.\r\n"}))
		blocks := rapid.SliceOfN(rapid.Map(letters, func(s []string) string { return strings.Join(s, "") }), 1, 8).Draw(t, "blocks")
		in := strings.Join(blocks, "")
		wantContent, wantRest, wantEnd := slowDots(in)
		content, rest, end := runDots(blocks)
		if content != wantContent || rest != wantRest || end != wantEnd {
			t.Fatalf("%q in %q:\ngot  %q, %q, %v\nwant %q, %q, %v", in, blocks, content, rest, end, wantContent, wantRest, wantEnd)
		}
	})
}

func TestScanDotsUndoesStuffing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		lines := rapid.SliceOf(rapid.StringMatching(`[.a\x00-\x09]{0,4}`)).Draw(t, "lines")
		var content, wire strings.Builder
		for _, l := range lines {
			content.WriteString(l + "\r\n")
			if strings.HasPrefix(l, ".") {
				wire.WriteString(".")
			}
			wire.WriteString(l + "\r\n")
		}
		got, rest, ended := runDots([]string{wire.String() + ".\r\nNEXT"})
		if got != content.String() || rest != "NEXT" || !ended {
			t.Fatalf("got %q, %q, %v; want %q", got, rest, ended, content.String())
		}
	})
}

func BenchmarkScanDots(b *testing.B) {
	block := bytes.Repeat([]byte(strings.Repeat("x", 76)+"\r\n"), 800)
	b.SetBytes(int64(len(block)))
	for b.Loop() {
		scanDots(block, atLineStart, func([]byte) {})
	}
}
