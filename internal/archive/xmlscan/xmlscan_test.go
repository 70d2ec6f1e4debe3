package xmlscan_test

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"unicode/utf16"

	"github.com/postern-mail/postern/internal/archive/xmlscan"
)

// tokens gives what is read, one word for each token: "<a", "a>", "<a/" and texts in brackets.
func tokens(t testing.TB, r io.Reader) (string, error) {
	t.Helper()
	s := xmlscan.New(r)
	var b strings.Builder
	for {
		tok, err := s.Next()
		if err == io.EOF {
			return strings.TrimSpace(b.String()), s.Problem()
		}
		if err != nil {
			t.Fatal(err)
		}
		switch tok.Kind {
		case xmlscan.Start:
			b.WriteString("<" + string(tok.Local))
			if tok.Empty {
				b.WriteString("/")
			}
			tok.Attrs(func(prefix, local, value []byte) bool {
				b.WriteString("," + string(prefix) + ":" + string(local) + "=" + string(value))
				return true
			})
		case xmlscan.End:
			b.WriteString(string(tok.Local) + ">")
		case xmlscan.Text:
			b.WriteString("[" + tok.Text() + "]")
		}
		b.WriteString(" ")
	}
}

func TestNext(t *testing.T) {
	for _, c := range []struct{ in, want, problem string }{
		{"", "", ""},
		{"text", "[text]", ""},
		{`<?xml version="1.0" encoding="utf-8"?><a><b:c/></a>`, "<a <c/ a>", ""},
		{`<a x="1" y:z='>"' w = "2"/>`, `<a/,:x=1,y:z=>",:w=2`, ""},
		{`<a x=1 y>t</a >`, `<a,:x=1 [t] a>`, ""},
		{`<a><!-- <b> -- > --><!----><![CDATA[<x>&amp;]]]]>&lt;&#65;</a>`, "<a [<x>&amp;]]] [<A] a>", ""},
		{`<!DOCTYPE a><a/>`, "<a/", ""},
		{`<!DOCTYPE a [<!ENTITY b ">">]><a/>`, "<a/", "entities"},
		{`<?xml version="1.0" encoding="UTF-7"?><a/>`, "<a/", "UTF-7"},
		{`<a><b x="`, "<a", "no end"},
		{`<a><!-- x`, "<a", "no \"-->\""},
		{`<a><![CDATA[x`, "<a", "no end"},
		{"\xef\xbb\xbf<a/>", "[\ufeff] <a/", ""},
		{"<\x00\x00\x00a\x00\x00\x00", "", "UTF-32"},
		{"<a x=\"" + strings.Repeat("y", 9<<20) + "\"/>", "", "longer than"},
		{"<!--" + strings.Repeat("-", 100000) + "--><a/>", "<a/", ""},
	} {
		got, problem := tokens(t, strings.NewReader(c.in))
		if c.problem == "" && problem != nil || c.problem != "" && (problem == nil || !strings.Contains(problem.Error(), c.problem)) {
			t.Errorf("%.60q: %v", c.in, problem)
		}
		if c.problem != "UTF-32" && got != c.want {
			t.Errorf("%.60q: got %.200q, want %q", c.in, got, c.want)
		}
		if again, _ := tokens(t, iotest.OneByteReader(strings.NewReader(c.in))); len(c.in) < 1000 && c.problem != "UTF-32" && again != got {
			t.Errorf("%.60q: octet by octet %.200q", c.in, again)
		}
	}
}

func TestWide(t *testing.T) {
	for _, big := range []bool{false, true} {
		for _, mark := range []string{"", "\ufeff"} {
			var in []byte
			for _, u := range utf16.Encode([]rune(mark + `<ä x="ö"/>`)) {
				if big {
					in = append(in, byte(u>>8), byte(u))
				} else {
					in = append(in, byte(u), byte(u>>8))
				}
			}
			got, problem := tokens(t, strings.NewReader(string(in)))
			if problem != nil || !strings.HasSuffix(got, "<ä/,:x=ö") {
				t.Errorf("%q: %q %v", in, got, problem)
			}
		}
	}
}

func TestAttr(t *testing.T) {
	s := xmlscan.New(strings.NewReader(`<a p:x="1" x="&amp;2" q:x='3'/>`))
	tok, err := s.Next()
	if err != nil || tok.Attr("x") != "&2" || strings.Join(tok.All("x"), " ") != "1 &2 3" || tok.Attr("y") != "" {
		t.Error(tok.Attr("x"), tok.All("x"), err)
	}
}

func TestError(t *testing.T) {
	mine := errors.New("mine")
	for _, in := range []string{"", "<a", "text", "<!-- ", "<?x ", "<![CDATA[", "<!DOCTYPE "} {
		s := xmlscan.New(io.MultiReader(strings.NewReader(in), iotest.ErrReader(mine)))
		err := error(nil)
		for err == nil {
			_, err = s.Next()
		}
		if !errors.Is(err, mine) {
			t.Errorf("%q: %v", in, err)
		}
	}
}

func FuzzNext(f *testing.F) {
	f.Add([]byte(`<?xml version="1.0"?><a x="1"><!-- c --><![CDATA[d]]>&lt;</a>`))
	f.Add([]byte("<\x00a\x00/\x00>\x00"))
	f.Fuzz(func(t *testing.T, in []byte) {
		got, _ := tokens(t, strings.NewReader(string(in)))
		if len(got) > 20*len(in)+100 {
			t.Fatalf("%d octets of %d", len(got), len(in))
		}
	})
}
