package edge

import (
	"bytes"
	"io"
	"strings"
	"testing"

	"github.com/postern-mail/postern/mail"
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

// readContent lets copyContent read blocks, each where it says whether it lies in the memory of the message, and gives what became
// of them.
func readContent(t testing.TB, blocks []string, direct func(int) bool) (content string, faults mail.LineFaults, rest string, ended bool) {
	w := &wire{cfg: &ListenerConfig{}}
	_ = w.end(io.EOF) // there is nothing more than what it is given
	a := &arrival{ingest: mail.NewIngest(mail.IngestOptions{Unstuff: true})}
	for i, block := range blocks {
		for left := block; left != "" && !ended; {
			n := min(len(left), 64<<10)
			if direct(i) && a.reads() {
				room := a.ingest.Room(true)
				n = copy(room, left)
				w.placed = room[:n]
			}
			if len(w.placed) == 0 {
				n = min(len(left), 64<<10)
				w.hold([]byte(left[:n]))
			}
			left = left[n:]
			if ended = w.copyContent(a) == nil; ended {
				rest = string(w.buf[w.r:w.w]) + left + strings.Join(blocks[i+1:], "")
			}
			if w.pace.came += int64(w.buffered()); !ended && w.buffered() > 0 {
				t.Fatalf("octets left over: %q", w.buf[w.r:w.w])
			}
		}
	}
	if all := len(strings.Join(blocks, "")); int(w.pace.came) != all && !ended {
		t.Fatalf("%d octets are counted, of %d", w.pace.came, all)
	}
	if a.state == afterDotCR { // held back: it may still be the end
		a.put(crOnly)
	}
	if a.failed != nil {
		t.Fatal(a.failed)
	}
	content, faults = blobOf(t, a.ingest)
	return content, faults, rest, ended
}

func blobOf(t testing.TB, g *mail.Ingest) (string, mail.LineFaults) {
	b, faults, err := g.Blob()
	if err != nil {
		t.Fatal(err)
	}
	defer b.Release()
	all, err := io.ReadAll(b.Section(0, b.Size()))
	if err != nil {
		t.Fatal(err)
	}
	return string(all), faults
}

// checkContent compares what copyContent makes of blocks with the definition.
func checkContent(t testing.TB, blocks []string, direct func(int) bool) {
	wantContent, wantRest, wantEnd := slowDots(strings.Join(blocks, ""))
	g := mail.NewIngest(mail.IngestOptions{Unstuff: true})
	_, _ = g.Write([]byte(wantContent))
	want, wantFaults := blobOf(t, g)
	content, faults, rest, ended := readContent(t, blocks, direct)
	if content != want || faults != wantFaults || rest != wantRest || ended != wantEnd {
		t.Fatalf("%q:\ngot  %q, %+v, %q, %v\nwant %q, %+v, %q, %v", blocks, content, faults, rest, ended, want, wantFaults, wantRest, wantEnd)
	}
}

// It makes no difference where content is read to.
func TestCopyContent(t *testing.T) {
	piece := rapid.SampledFrom([]string{
		"\r", "\n", ".", "a", "\r\n", "\r\n.", "\r\n..", "\r\n.\r\n", "\x00", "MAIL FROM:<>\r\n",
		strings.Repeat("0123456\r\n", 10), strings.Repeat("line\r\n", 3000), strings.Repeat("x", 20000),
	})
	rapid.Check(t, func(rt *rapid.T) {
		blocks := rapid.SliceOfN(rapid.Map(rapid.SliceOfN(piece, 0, 6), func(s []string) string { return strings.Join(s, "") }), 1, 8).Draw(rt, "blocks")
		checkContent(t, blocks, func(int) bool { return rapid.Bool().Draw(rt, "direct") })
	})
}

func TestCopyContentInPieces(t *testing.T) {
	for _, in := range []string{
		"a\r\n.\r\nQUIT\r\n", ".\r\nQUIT\r\n", "..\r\n.a\r\n\r\n.\r\n", "a\r\n.\n.\r\n", "a\n.\r\nb\r\n.\r\n", "a\r.\r\n\r\r\n..\r\n.\r\n",
	} {
		for cut := 1; cut < len(in); cut++ {
			for next := cut; next < len(in); next++ {
				blocks := []string{in[:cut], in[cut:next], in[next:]}
				for direct := range 8 {
					checkContent(t, blocks, func(i int) bool { return direct>>i&1 == 1 })
				}
			}
		}
	}
}

func FuzzCopyContent(f *testing.F) {
	for _, s := range []string{"", "a\r\n.\r\nQUIT\r\n", ".\r\n", "..a\r\n.b\r\n\n.\n\r\n.\r", "\r\r\n.\n.\r\n\x00", "ab\r\nab\r\nab\r\nab\r\nab\n.\r\n.\r\n"} {
		f.Add([]byte(s), uint16(0), uint8(0xff))
		f.Add([]byte(s), uint16(2), uint8(0x55))
	}
	f.Fuzz(func(t *testing.T, in []byte, size uint16, direct uint8) {
		var blocks []string
		for len(in) > 0 {
			n := min(len(in), int(size)+1)
			blocks, in = append(blocks, string(in[:n])), in[n:]
		}
		checkContent(t, blocks, func(i int) bool { return direct>>(i%8)&1 == 1 })
	})
}

func BenchmarkScanDots(b *testing.B) {
	block := bytes.Repeat([]byte(strings.Repeat("x", 76)+"\r\n"), 800)
	b.SetBytes(int64(len(block)))
	for b.Loop() {
		scanDots(block, atLineStart, func([]byte) {})
	}
}
