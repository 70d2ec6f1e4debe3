package charset

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"unicode/utf8"
)

func TestDecode(t *testing.T) {
	tests := []struct {
		charset, octets, want string
		known                 bool
	}{
		{"", "a\xc3\xa4", "aä", true},
		{"UTF-8", "a\xe4", "aä", true},
		{"iso-8859-1", "a\xe4", "aä", true},
		{"ISO_8859-15", "\xa4", "€", true},
		{"cp437", "\x84", "ä", true},
		{"IBM850", "\x84", "ä", true},
		{"windows-1251", "\xd0", "Р", true},
		{"shift_jis", "\x83\x65", "テ", true},
		{"Shift-JIS", "\x83\x65", "テ", true},
		{"ms949", "\xc7\xd1", "한", true},
		{"ks_c_5601-1987", "\xc7\xd1", "한", true},
		{"utf_8", "\xc3\xa4", "ä", true},
		{"iso_8859_1", "\xe4", "ä", true},
		{"big5", "\xa4\xa4", "中", true},
		{"gb18030", "\xd6\xd0", "中", true},
		{"x-what", "a\xe4", "aä", false},
		{"unicode_escape", `a\x2ejs`, `a\x2ejs`, false},
		{"'utf-8'", "a", "a", false},
		{strings.Repeat("x", 1<<16), "a", "a", false},

		{"utf-7", "evil+AC4-js", "evil.js", true},
		{"UTF7", "+AGUAdgBpAGwALgBqAHM-", "evil.js", true},
		{"unicode-1-1-utf-7", "1 +- 1+AD0-2", "1 + 1=2", true},
		{"utf-7", "+2D3cqQ-", "💩", true},
		{"utf-7", "+2D0-x+2D0", "\ufffdx\ufffd", true},
		{"utf-7", "Hi Mom -+Jjo--!", "Hi Mom -☺-!", true},
		{"utf-7", "a+AC4 b+AC4", "a. b.", true},
		{"utf-7", "\xe4+", "\ufffd", true},
		{"imap-utf-7", "evil&AC4-js &- &U,BTFw-", "evil.js & 台北", true},

		{"utf-16", "\x00a\x00b", "ab", true},
		{"utf-16", "\xff\xfea\x00b\x00", "ab", true},
		{"utf-16le", "\xfe\xff\x00a\x00b", "ab", true},
		{"utf-16le", "a\x00b\x00", "ab", true},
		{"ucs-2", "\x00a\x00b", "ab", true},
		{"utf-32", "\xff\xfe\x00\x00a\x00\x00\x00", "a", true},
		{"utf-32be", "\x00\x00\x00a", "a", true},

		{"cp037", "\x85\xa5\x89\x93\x4b\x91\xa2", "evil.js", true},
		{"IBM037", "\xc1\xba\xbb", "A[]", true},
		{"ebcdic-cp-us", "\x4a", "¢", true},
		{"ibm-500", "\xc1\x4a\x5a", "A[]", true},
		{"cp1026", "\x7c\x5b", "Şİ", true},
		{"cp1047", "\xad\xbd", "[]", true},
		{"ibm01140", "\x9f", "€", true},
		{"IBM1141", "\x9f\xa1", "€ß", true},
		{"cp273", "\xa1\xc0", "ßä", true},
		{"ibm424", "\x85\x4b", "e.", false},

		{"hz-gb-2312", "evil.~\njs ~~ ~{VPND~}", "evil.js ~ 中文", true},
		{"iso-2022-jp", "\x1b$B%F%9%H\x1b(B.js", "テスト.js", true},
		{"csISO2022JP", "\x1b(Ja\x1b(Bb", "ab", true},
		{"iso-2022-jp-2", "\x1b(Ba", "a", false},
		{"iso-2022-kr", "evil.\x1b$)Cjs \x0eGQ19\x0f", "evil.js 한국", true},
		{"iso-2022-cn", "\x1b$)A\x0eVPND\x0f a", "中文 a", false},
	}
	for _, test := range tests {
		t.Run(fmt.Sprintf("%.20s %q", test.charset, test.octets), func(t *testing.T) {
			c := Of(test.charset)
			if got := c.Decode(test.octets); got != test.want || c.known != test.known {
				t.Errorf("got %q, %v", got, c.known)
			}
		})
	}
}

// What is converted piece by piece is what is converted at once.
func TestConversionsStream(t *testing.T) {
	text := "x +AC4-\x1b$)C\x0eGQ19\x0f ~{VPND~}~\n~~\x00\xd8&AC4-\x1b(B\x1b$B%F\x1b"
	for name := range foreignDecoders {
		c := Conversion{name, foreignDecoders[name]}
		whole, err := io.ReadAll(c.Reader(strings.NewReader(text)))
		if err != nil {
			t.Fatal(name, err)
		}
		pieces, err := io.ReadAll(c.Reader(iotest.OneByteReader(strings.NewReader(text))))
		if err != nil {
			t.Fatal(name, err)
		}
		if !bytes.Equal(whole, pieces) || !utf8.Valid(whole) {
			t.Errorf("%s: %q and %q", name, whole, pieces)
		}
		if _, err := io.Copy(io.Discard, c.Reader(strings.NewReader(strings.Repeat(text, 5000)))); err != nil {
			t.Error(name, err)
		}
	}
}

// Whatever octets are said to be in whatever charset: they are converted to UTF-8, at once and in pieces alike.
func FuzzCharset(f *testing.F) {
	for _, s := range []string{"utf-7", "utf-16", "utf-32le", "cp037", "hz-gb-2312", "iso-2022-kr", "iso-2022-jp", "iso-2022-cn", "imap-utf-7", "x", "gbk"} {
		f.Add(s, []byte("a+AC4-\x1b$)C\x0eGQ\x0f~{VP~}\n"))
	}
	f.Fuzz(func(t *testing.T, name string, octets []byte) {
		if s := Of(name).Decode(string(octets)); !utf8.ValidString(s) {
			t.Errorf("%q", s)
		}
		for _, c := range Of(name).Conversions() {
			whole, err := io.ReadAll(c.Reader(bytes.NewReader(octets)))
			if err != nil {
				t.Fatal(err)
			}
			pieces, err := io.ReadAll(c.Reader(iotest.OneByteReader(bytes.NewReader(octets))))
			if err != nil || !bytes.Equal(whole, pieces) {
				t.Errorf("%s: %q and %q: %v", c.Name, whole, pieces, err)
			}
			if len(whole) > 6*len(octets)+8 {
				t.Errorf("%s: %d octets of %d", c.Name, len(whole), len(octets))
			}
		}
	})
}
