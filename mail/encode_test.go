package mail

import (
	"bytes"
	"encoding/base64"
	"io"
	"mime/quotedprintable"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestEncodeText(t *testing.T) {
	tests := []struct{ name, text, encoding, body string }{
		{"plain", "An attachment was removed.\r\n", "7bit", "An attachment was removed.\r\n"},
		{"a line without an end", "a=b", "7bit", "a=b"},
		{"a word in another script", "The name of this file is: \u05d3\r\n", "quoted-printable", "The name of this file is: =D7=93\r\n"},
		{"another script", "\u05d3\u05d5\u05d7\r\n", "base64", "15PXldeXDQo=\r\n"},
		{"a bare LF", "a\nb\r\n", "base64", ""},
		{"a NUL", "a\x00b\r\n", "base64", ""},
		{"a line like a delimiter", "a\r\n--boundary\r\n", "quoted-printable", "a\r\n=2D-boundary\r\n"},
		{"a first line like a delimiter", "--boundary\r\n", "quoted-printable", "=2D-boundary\r\n"},
		{"a long line", strings.Repeat("x", 1200) + "\r\n", "quoted-printable", ""},
		{"the longest line", strings.Repeat("x", 998) + "\r\n", "7bit", ""},
		{"a long line of dashes", strings.Repeat("-", 400) + "\r\n", "quoted-printable", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			body, encoding := EncodeText([]byte(tt.text))
			if encoding != tt.encoding || tt.body != "" && string(body) != tt.body {
				t.Errorf("%s: %q", encoding, body)
			}
			comesBack(t, tt.text, body, encoding)
		})
	}
}

func TestEncodeTextComesBack(t *testing.T) {
	piece := rapid.SampledFrom([]string{"a", " ", "\t", "=", "--", "\r\n", "\n", "\r", "\x00", "\xff", "\x7f", "word ", strings.Repeat("x", 300)})
	rapid.Check(t, func(t *rapid.T) {
		text := strings.Join(rapid.SliceOf(piece).Draw(t, "pieces"), "")
		body, encoding := EncodeText([]byte(text))
		comesBack(t, text, body, encoding)
	})
}

// comesBack holds a body to what it is to be: the text again, in lines that may travel, none of them like a delimiter.
func comesBack(t interface{ Errorf(string, ...any) }, text string, body []byte, encoding string) {
	var r io.Reader = bytes.NewReader(body)
	switch encoding {
	case "base64":
		r = base64.NewDecoder(base64.StdEncoding, r)
	case "quoted-printable":
		r = quotedprintable.NewReader(r)
	}
	if back, err := io.ReadAll(r); err != nil || string(back) != text {
		t.Errorf("%q came back as %q, %v", text, back, err)
	}
	for line := range bytes.Lines(body) {
		if len(line) > 1000 || bytes.HasPrefix(line, []byte("--")) {
			t.Errorf("a line that can't travel: %q", line)
		}
	}
	if bytes.ContainsFunc(body, func(r rune) bool { return r >= 0x80 }) || checkLines(body) != nil {
		t.Errorf("no body of 7bit: %q", body)
	}
}
