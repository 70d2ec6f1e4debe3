package attachments

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"mime/quotedprintable"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"text/template"

	"pgregory.net/rapid"

	"github.com/postern-mail/postern/mail"
)

func TestNoticeText(t *testing.T) {
	tmpl := template.Must(template.New("").Parse("{{range .Files}}{{.Name}}{{end}}\nline\rtwo\x00\n\n\n"))
	got, err := render(tmpl, notice{Files: []removed{{Name: shown("a\r\n.\r\nb")}}})
	if err != nil {
		t.Fatal(err)
	}
	if want := "a\uFFFD\uFFFD.\uFFFD\uFFFDb\r\nlinetwo\r\n"; string(got) != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestNoticeName(t *testing.T) {
	for in, want := range map[string]string{
		"a.exe":                           "removed-a.exe.txt",
		"":                                "removed-attachment.txt",
		"\u05d3.\u05d3":                   "removed-attachment.txt",
		"../x\"y;z.js":                    "removed-x_y_z.js.txt",
		strings.Repeat("a", 200) + ".exe": "removed-" + strings.Repeat("a", 30) + "_" + strings.Repeat("a", 26) + ".exe.txt",
	} {
		if got := noticeName(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func TestSizeText(t *testing.T) {
	for n, want := range map[int64]string{
		0: "0 octets", 1: "1 octet", 1000: "1000 octets", 1536: "1.5 KiB (1536 octets)", 3 << 20: "3.0 MiB (3145728 octets)",
	} {
		if got := sizeText(n); got != want {
			t.Errorf("%d: %q, want %q", n, got, want)
		}
	}
}

// TestNoticeAlways: whatever the sender calls his files, and however many there are, a notice can be made, by the
// built-in text and by one of the administrator's that repeats it all.
func TestNoticeAlways(t *testing.T) {
	file := filepath.Join(t.TempDir(), "notice")
	if err := os.WriteFile(file, []byte(`{{range .Files}}{{range $.Files}}{{.}}{{end}}{{end}}{{if gt (len .Files) 1}}{{index .Files 40}}{{end}}x`), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, config := range []string{"", "notice: " + file} {
		f := newChecker(t, config)
		rapid.Check(t, func(r *rapid.T) {
			octets := rapid.SampledFrom([]string{"a", "\u05d3", "\U0001F600", "\xff", "\u202e", "&", " ", "{{", "a."}).Draw(r, "octets")
			name := strings.Repeat(octets, rapid.IntRange(0, 500).Draw(r, "length")) + rapid.SampledFrom([]string{".exe", ".pdf.exe", ".js"}).Draw(r, "extension")
			mediaType := "application/" + strings.Repeat("x", rapid.IntRange(1, 1000).Draw(r, "type"))
			part := "--b\r\nContent-Type: " + mediaType + "; name=\"" + name + "\"\r\n\r\nMZ\r\n"
			n := rapid.IntRange(1, min(500, 1<<20/len(part))).Draw(r, "files") // of more fields than that not all are read
			message := "From: a@example.com\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b; name=\"y.exe\"\r\n\r\n" +
				strings.Repeat(part, n) + "--b--\r\n"
			res, err := f.Check(context.Background(), input(t, message))
			if err != nil {
				r.Fatal(err)
			}
			if len(res.Edits) != 1 {
				r.Fatalf("%d edits", len(res.Edits))
			}
			e := res.Edits[0].(mail.ReplacePart)
			var body io.Reader = bytes.NewReader(e.Body)
			switch e.Header[1].Body {
			case "quoted-printable":
				body = quotedprintable.NewReader(body)
			case "base64":
				body = base64.NewDecoder(base64.StdEncoding, body)
			}
			text, err := io.ReadAll(body)
			if err != nil || len(text) > noticeLimit || !bytes.Contains(text, []byte("removed from this message")) && n > 5 {
				r.Fatalf("%d octets, %v: %s", len(text), err, text)
			}
			// One of the files is the multipart itself.
			if more := fmt.Sprintf("and %d more", n+1-noticeFiles); n >= noticeFiles != bytes.Contains(text, []byte(more)) {
				r.Fatalf("%d files: %s", n, text)
			}
		})
	}
}

// TestNoticeRoom: what a notice may be given at most has room in the built-in one.
func TestNoticeRoom(t *testing.T) {
	long := clipped(strings.Repeat("\U0001F600", 1000), noticeField)
	n := notice{Gateway: long, Postmaster: long, ID: long, Kept: true, Signed: true, More: 1 << 30}
	for range noticeFiles {
		n.Files = append(n.Files, removed{
			Name: long, Type: long, Size: sizeText(1<<63 - 1), SHA256: strings.Repeat("0", 64), Class: long,
			Reason: clipped(strings.Repeat("x", 1000), reasonLimit),
		})
	}
	if text, err := render(builtinNotice, n); err != nil || len(text) > noticeLimit {
		t.Errorf("%d octets, %v", len(text), err)
	}
}

func TestClipped(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"abcdefghij", "abcdefghij"},
		{"abcdefghijk", "abc…hijk"},
		{"äöüäöüäöü", "ä…öü"},
	} {
		if got := clipped(tt.in, 10); got != tt.want {
			t.Errorf("%q: %q, want %q", tt.in, got, tt.want)
		}
	}
}
