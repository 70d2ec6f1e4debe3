package mail

import (
	"bytes"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"
)

// attachmentMessage makes a message with a text part and a base64 attachment, of size octets or a little
// more.
func attachmentMessage(size int) []byte {
	var b bytes.Buffer
	for i := range 12 {
		fmt.Fprintf(&b, "X-Field-%d: some words that a field may hold, and a few more of them\r\n", i)
	}
	b.WriteString("MIME-Version: 1.0\r\nContent-Type: multipart/mixed;\r\n\tboundary=\"----=_NextPart_000_0146_01C1F16C.B224C240\"\r\n\r\n")
	b.WriteString("This is a multi-part message in MIME format.\r\n\r\n------=_NextPart_000_0146_01C1F16C.B224C240\r\n")
	b.WriteString("Content-Type: text/plain; charset=\"utf-8\"\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nHello,\r\nsee below.\r\n-- \r\nX\r\n")
	b.WriteString("------=_NextPart_000_0146_01C1F16C.B224C240\r\nContent-Type: application/octet-stream;\r\n\tname=\"x.bin\"\r\n")
	b.WriteString("Content-Transfer-Encoding: base64\r\nContent-Disposition: attachment; filename=\"x.bin\"\r\n\r\n")
	for b.Len() < size-46 {
		b.WriteString("TVqQAAMAAAAEAAAA//8AALgAAAAAAAAAQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\r\n")
	}
	b.WriteString("------=_NextPart_000_0146_01C1F16C.B224C240--\r\n")
	return b.Bytes()
}

// fileContent makes a content whose octets are in a file.
func fileContent(t testing.TB, msg []byte) *Content {
	t.Helper()
	g := NewIngest(IngestOptions{Dir: t.TempDir(), Memory: 1})
	if _, err := g.Write(msg); err != nil {
		t.Fatal(err)
	}
	b, faults, err := g.Blob()
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := b.Bytes(); ok {
		t.Fatal("the content is in memory")
	}
	c := NewContent(b, faults, Limits{})
	t.Cleanup(c.Release)
	return c
}

func BenchmarkIndex(b *testing.B) {
	for _, size := range []int{4 << 10, 1 << 20, 50 << 20} {
		msg := attachmentMessage(size)
		run := func(name string, c *Content) {
			b.Run(name, func(b *testing.B) {
				b.SetBytes(int64(len(msg)))
				b.ReportAllocs()
				for b.Loop() {
					d := NewContent(c.Blob(), LineFaults{}, Limits{})
					if len(d.Root().Children) != 2 || d.Err() != nil {
						b.Fatal(outline(d))
					}
				}
			})
		}
		run(fmt.Sprintf("memory/%dK", size>>10), contentOf(b, string(msg), Limits{}))
		run(fmt.Sprintf("file/%dK", size>>10), fileContent(b, msg))
	}
}

// Hostile contents of 4 MB take time in proportion to their size, and memory by the limits only.
func TestIndexHostile(t *testing.T) {
	const size = 4 << 20
	head := "Content-Type: multipart/mixed; boundary=b\r\n\r\n"
	nested := func(n int, boundary func(i int) string) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, "Content-Type: multipart/mixed; boundary=%s\r\n\r\n--%s\r\n", boundary(i), boundary(i))
		}
		return b.String()
	}
	level := func(i int) string { return fmt.Sprintf("b%d", i) }
	equal := func(int) string { return "b" }
	prefixes := func(i int) string { return strings.Repeat("b", 1+i%60) }
	tests := []struct{ name, head, piece string }{
		{"lines of dashes", head, "--\r\n"},
		{"long lines of dashes", head, strings.Repeat("-", 1<<16) + "\r\n"},
		{"only dashes", head, "-"},
		{"carriage return, no dashes", head, "\r\n"},
		{"almost delimiters", head, "\r\n-b"},
		{"almost the boundary", head, "--bb\r\n"},
		{"delimiters", head, "--b\r\n"},
		{"close delimiters", head, "--b--\r\n"},
		{"delimiters with long blanks", head, "--b" + strings.Repeat(" ", 5000) + "\r\n"},
		{"delimiters behind fifty levels", nested(49, level), "--b0x\r\n--b48x\r\n"},
		{"delimiters behind fifty equal levels", nested(49, equal), "--b\r\n"},
		{"delimiters behind fifty levels of prefixes", nested(49, prefixes), "--bbbbbb\r\nx--\r\n"},
		{"nesting without end", nested(20000, level), "x\r\n"},
		{"multiparts without parts", head, "--b\r\nContent-Type: multipart/mixed; boundary=a/b; boundary=c/d; boundary=e/f\r\n\r\n"},
		{"messages without end", "", "Content-Type: message/rfc822\r\n\r\n"},
		{"header without end", head + "--b\r\n", "A: b\r\n"},
		{"long headers", head, "--b\r\n" + strings.Repeat("A: b\r\n", 12000)},
		{"long headers without a blank line", head, "--b\r\n" + strings.Repeat("Axxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", 4000) + "\r\n"},
		{"header lines of dashes", head, "--b\r\n" + strings.Repeat("--x\r\n", 1900)},
		{"many folded lines", "Content-Type: a/b;\r\n", " a=b;\r\n"},
	}
	for _, test := range tests {
		msg := []byte(test.head + strings.Repeat(test.piece, size/len(test.piece)))
		t.Run(test.name, func(t *testing.T) {
			for name, c := range map[string]*Content{"memory": contentOf(t, string(msg), Limits{}), "file": fileContent(t, msg)} {
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				began := time.Now()
				c.Root()
				took := time.Since(began)
				runtime.ReadMemStats(&after)
				if took > 20*time.Second {
					t.Errorf("%s: took %s", name, took)
				}
				if used := after.TotalAlloc - before.TotalAlloc; used > 64<<20 {
					t.Errorf("%s: allocated %d MiB", name, used>>20)
				}
				if err := checkTree(c); err != nil || c.Err() != nil {
					t.Errorf("%s: %v %v", name, err, c.Err())
				}
				t.Logf("%s: %s, %d KiB", name, took, (after.TotalAlloc-before.TotalAlloc)>>10)
			}
		})
	}
}

// A file that is shorter than it was is an error, not a small message.
func TestIndexReadError(t *testing.T) {
	msg := attachmentMessage(1 << 20)
	for _, cut := range []int64{10, int64(len(msg)) / 2, int64(len(msg)) - 1} {
		d := contentOf(t, string(msg), Limits{})
		s := newScanner(bytes.NewReader(msg[:cut]), int64(len(msg)))
		if root, err := indexWith(s, d); err == nil || root == nil || len(root.Children) > 0 {
			t.Errorf("cut at %d: %v", cut, err)
		}
	}
	c := NewContent(NewBlob(attachmentMessage(4<<10)), LineFaults{}, Limits{})
	c.Release()
	if c.Root() == nil || !errors.Is(c.Err(), ErrReleased) || len(c.Root().Children) > 0 {
		t.Errorf("no error of a released content: %v", c.Err())
	}
}
