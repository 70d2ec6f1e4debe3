package scanner

import (
	"strings"
	"testing"

	"github.com/postern-mail/postern/mail"
)

func TestFields(t *testing.T) {
	for _, c := range []struct{ value, want string }{
		{" a b ", "a b"},
		{"a\n\tb", "a\r\n\tb"},
		{"a\r\n b\r\n \r\n c\r\n", "a\r\n b\r\n c"},
		{"", ""},
		{"a\nBcc: x", "error"},
		{"a\rb", "error"},
		{"a\x00b", "error"},
		{"a\xff", "error"},
		{"ä", "ä"},
		{strings.Repeat("x", 999), "error"},
		{strings.Repeat("x\n ", 10000), "error"},
	} {
		got, err := FieldBody(c.value)
		if err != nil {
			got = "error"
		}
		if got != c.want {
			t.Errorf("%.20q: got %.40q (%v), want %q", c.value, got, err, c.want)
		}
	}
	for name, want := range map[string]bool{"X-A": true, "Content-Type": false, "cONTENT-x": false, "MIME-Version": false, "Received": false, "Subject": true} {
		if MayChange(name) != want {
			t.Errorf("%s: %v", name, !want)
		}
	}
	for name, want := range map[string]bool{"X-A": true, "": false, "a b": false, "a:": false, "ä": false, strings.Repeat("x", 77): false} {
		if IsFieldName(name) != want {
			t.Errorf("%q: %v", name, !want)
		}
	}
}

// FuzzFieldBody: what comes out can stand on a message, and brings no field along.
func FuzzFieldBody(f *testing.F) {
	for _, s := range []string{"a", "a\n b", "a\r\n\r\nb", "a\nb: c", " \n\t\n", "\r", "ä"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		body, err := FieldBody(s)
		if err != nil {
			return
		}
		c := mail.NewContent(mail.NewBlob([]byte("A: b\r\n\r\nc\r\n")), mail.LineFaults{}, mail.Limits{})
		m, err := mail.Rewrite(c, []mail.Edit{mail.AddField{Name: "X", Body: body}}, false)
		if err != nil {
			t.Fatalf("%q: %v", body, err)
		}
		h, err := m.Header(mail.Limits{})
		if err != nil || len(h.Fields()) != 2 || !h.Fields()[0].Is("X") {
			t.Errorf("%q gives %v, %v", body, h.Fields(), err)
		}
	})
}
