package attachments

import (
	"bytes"
	"io"
	"mime/quotedprintable"
	"strings"
	"testing"
	"text/template"
)

func TestNoticeEncoding(t *testing.T) {
	tests := []struct{ name, text, encoding, body string }{
		{"plain", "An attachment was removed.\r\n", "7bit", "An attachment was removed.\r\n"},
		{"a name in another script", "Name: \u05d3\u05d5\u05d7\r\n", "quoted-printable", "Name: =D7=93=D7=95=D7=97\r\n"},
		{"a line like a delimiter", "a\r\n--boundary\r\n", "quoted-printable", "a\r\n=2D-boundary\r\n"},
		{"a first line like a delimiter", "--boundary\r\n", "quoted-printable", "=2D-boundary\r\n"},
		{"a long line", strings.Repeat("x", 1200) + "\r\n", "quoted-printable", ""},
		{"a long line of dashes", strings.Repeat("-", 400) + "\r\n", "quoted-printable", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			body, encoding := encode([]byte(tt.text))
			if encoding != tt.encoding || tt.body != "" && string(body) != tt.body {
				t.Errorf("%s: %q", encoding, body)
			}
			if bytes.HasPrefix(body, []byte("--")) || bytes.Contains(body, []byte("\n--")) {
				t.Errorf("a line like a delimiter: %q", body)
			}
			if encoding != "quoted-printable" {
				return
			}
			back, err := io.ReadAll(quotedprintable.NewReader(bytes.NewReader(body)))
			if err != nil || string(back) != tt.text {
				t.Errorf("decoded: %q, %v", back, err)
			}
		})
	}
}

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
