package mail

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
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
