package mail

import (
	"bytes"
	"encoding/base64"
	"io"
	"mime/quotedprintable"
	"strings"
	"testing"
	"testing/iotest"

	"pgregory.net/rapid"
)

func decoded(t testing.TB, encoding, body string) string {
	t.Helper()
	b, err := io.ReadAll(decodeBody(io.NewSectionReader(strings.NewReader(body), 0, int64(len(body))), encoding))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestDecodeBody(t *testing.T) {
	tests := []struct{ name, encoding, body, want string }{
		{"identity", "8bit", "a=41\r\n", "a=41\r\n"},
		{"unknown", "x-what", "QUJD", "QUJD"},
		{"base64", "base64", "QUJD\r\nREVG\r\n", "ABCDEF"},
		{"base64 padded", "base64", "QUJDRA==\r\n", "ABCD"},
		{"base64 group over lines", "base64", "QU\r\nJ\r\n\r\nDRA=\r\n=\r\n", "ABCD"},
		{"base64 unpadded", "base64", "QUJDREU", "ABCDE"},
		{"base64 unpadded, one character over", "base64", "QUJDR", "ABC"},
		{"base64 goes on after padding", "base64", "QQ==QUJD\r\nQUI=QQ==\r\n", "AABCABA"},
		{"base64 padding too early", "base64", "Q=QUJD", "ABC"},
		{"base64 with foreign octets", "base64", "Q U*J-D\x80\r\n!REVG \r\n", "ABCDEF"},
		{"base64 of nothing", "base64", "", ""},
		{"base64 of no characters", "base64", "*** ---\r\n", ""},
		{"base64 bare line ends", "base64", "QU\nJ\rD", "ABC"},
		{"qp", "quoted-printable", "a=3D=c3=A4\r\n", "a=\xc3\xa4\r\n"},
		{"qp soft break", "quoted-printable", "a=\r\nb= \t\r\nc", "abc"},
		{"qp bad escapes", "quoted-printable", "=ZZ=4=\r\n=\xff=4", "=ZZ=4=\xff=4"},
		{"qp blanks at the end", "quoted-printable", "a \t\r\nb=20\r\n", "a\r\nb \r\n"},
		{"qp ends in an equals sign", "quoted-printable", "a=", "a"},
		{"uu", "x-uuencode", "pre\r\nbegin 644 x\r\n#0V%T\r\n`\r\nend\r\npost\r\n", "Cat"},
		{"uu two files", "uuencode", "begin 644 x\r\n#0V%T\r\n`\r\nend\r\nbegin 644 y\r\n#0V%T\r\nend\r\n", "CatCat"},
		{"uu cut lines", "x-uue", "begin 644 x\r\n#0V\r\n", "C`\x00"},
		{"uu without begin", "x-uuencode", "#0V%T\r\n", "Cat"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := decoded(t, test.encoding, test.body); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

// Whatever was encoded comes back, however the lines are cut and whatever foreign octets stand between.
func TestDecodeRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := bytes.Repeat(rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "octets"), rapid.IntRange(1, 400).Draw(t, "times"))
		width := rapid.IntRange(1, 100).Draw(t, "width")
		dirt := rapid.SampledFrom([]string{"", " ", "*-\r\n", "\r\n\r\n"}).Draw(t, "dirt")
		var body strings.Builder
		text := base64.StdEncoding.EncodeToString(want)
		for len(text) > 0 {
			n := min(width, len(text))
			body.WriteString(text[:n] + dirt + "\r\n")
			text = text[n:]
		}
		r := decodeBody(io.NewSectionReader(strings.NewReader(body.String()), 0, int64(body.Len())), "base64")
		got, err := io.ReadAll(iotest.HalfReader(r))
		if err != nil || !bytes.Equal(got, want) {
			t.Fatalf("base64: %d octets, %v; want %d", len(got), err, len(want))
		}
		var qp bytes.Buffer
		w := quotedprintable.NewWriter(&qp)
		w.Binary = true
		w.Write(want)
		w.Close()
		got, err = io.ReadAll(decodeBody(io.NewSectionReader(bytes.NewReader(qp.Bytes()), 0, int64(qp.Len())), "quoted-printable"))
		if err != nil || !bytes.Equal(got, want) {
			t.Fatalf("quoted-printable: %d octets, %v; want %d", len(got), err, len(want))
		}
	})
}

func TestDecodeLongLines(t *testing.T) {
	long := strings.Repeat("abc=3D", 3*decodeBlock/6)
	if got, want := decoded(t, "quoted-printable", long), strings.Repeat("abc=", 3*decodeBlock/6); got != want {
		t.Errorf("got %d octets, want %d", len(got), len(want))
	}
	for n := decodeBlock - 5; n < decodeBlock+5; n++ {
		blanks := strings.Repeat(" ", n)
		if got, want := decoded(t, "quoted-printable", "x"+blanks+"y=\r\n"+blanks+"=41"), "x"+blanks+"y"+blanks+"A"; got != want {
			t.Errorf("%d blanks: got %d octets, want %d", n, len(got), len(want))
		}
	}
}

func TestDecodeReadError(t *testing.T) {
	for _, encoding := range []string{"base64", "quoted-printable", "x-uuencode", "7bit"} {
		b := NewBlob([]byte("QUJD"))
		r := decodeBody(b.Section(0, 4), encoding)
		b.Release()
		if got, err := io.ReadAll(r); err == nil {
			t.Errorf("%s: %q and no error", encoding, got)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add("QUJD\r\nREVG=\r\n=41 \r\n")
	f.Add("begin 644 x\r\n#0V%T\r\n`\r\nend\r\n")
	f.Add("=?utf-8?q?a=2Eexe?= \"x, y\" <a@b>, G: c@d;")
	f.Fuzz(func(t *testing.T, s string) {
		for _, encoding := range []string{"base64", "quoted-printable", "x-uuencode", "7bit"} {
			body := strings.Repeat(s, 1+3*decodeBlock/(len(s)+1)/(1+len(s)/64))
			if got := decoded(t, encoding, body); len(got) > len(body) {
				t.Errorf("%s: %d octets of %d", encoding, len(got), len(body))
			}
		}
		DecodeWords(s)
		for _, m := range ParseMailboxes(s) {
			if len(m.Address) > len(s) {
				t.Errorf("address %q", m.Address)
			}
		}
		for _, comments := range []bool{true, false} {
			for _, a := range attributes(parseValue(s, comments).params) {
				a.value()
			}
		}
	})
}

func BenchmarkDecodeBase64(b *testing.B) {
	var body []byte
	for len(body) < 10<<20 {
		body = append(body, "TVqQAAMAAAAEAAAA//8AALgAAAAAAAAAQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\r\n"...)
	}
	b.SetBytes(int64(len(body)))
	for b.Loop() {
		io.Copy(io.Discard, decodeBody(io.NewSectionReader(bytes.NewReader(body), 0, int64(len(body))), "base64"))
	}
}

// What a list appends to an encoded text is none of it, with padding and without.
func TestDecodeFooter(t *testing.T) {
	const footer = "\r\n_______\r\nUsers mailing list\r\nhttp://list.example.org/options x\r\n"
	for _, body := range []string{"SGVsbG8sIHdvcmxkISEhISE=", "SGVsbG8sIHdvcmxkISEhISEh"} {
		d := decodeBody(io.NewSectionReader(strings.NewReader(body+footer), 0, int64(len(body+footer))), "base64")
		got, err := io.ReadAll(d)
		if err != nil || !strings.HasPrefix(string(got), "Hello, world!") || len(got) > 24 || d.Malformed() != BadBase64 {
			t.Errorf("%s: %q %v %s", body, got, err, d.Malformed())
		}
	}
	lines := strings.Repeat("a b\r\n", 1<<18)
	d := decodeBody(io.NewSectionReader(strings.NewReader("QUJD\r\n"+lines), 0, int64(6+len(lines))), "base64")
	if _, err := io.Copy(io.Discard, d); err != nil {
		t.Fatal(err)
	}
}
