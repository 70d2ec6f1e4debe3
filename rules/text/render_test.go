package text

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/postern-mail/postern/mail"
)

// htmlMessage makes a message of HTML.
func htmlMessage(html string) string {
	return "Subject: s\r\nMIME-Version: 1.0\r\nContent-Type: text/html; charset=utf-8\r\n\r\n" + html
}

// texts writes paragraphs in one line each, after the subject's.
func texts(all [][]byte) string {
	if len(all) == 0 {
		return ""
	}
	return string(bytes.Join(all[1:], []byte("|")))
}

func TestHTMLText(t *testing.T) {
	for _, c := range []struct{ name, html, want string }{
		{"words", "<b>one</b> two", "one two"},
		{"breaks are spaces", "one<br>two<div>three</div>four", "one two three four"},
		{"two breaks end a paragraph", "one<br><br>two", "one\n|two"},
		{"paragraphs", "<p>one</p><p>two", "\n|one\n|two"},
		{"cells", "<table><tr><td>one</td><td>two</td></tr></table>", " one two "},
		{"empty elements", "one<br />two<br/>three", "one two three"},
		{"entities", "a&amp;b &lt;c&gt; &eacute;&hellip; &#65;&#x42;", "a&b <c> é… AB"},
		{"entities without semicolon", "&copy 1 &ampx &hellip 2 &unknown;", "\xa9 1 &x &hellip 2 &unknown;"},
		{"no-break space", "a&nbsp;b", "a b"},
		{"script and style", "<style>p{}</style>a<script>b</script>c", "ac"},
		{"unclosed style", "a<style>p{}", "a"},
		{"comment", "a<!-- b > c -->d<!e>f", "adf"},
		{"comment without an end", "a<!-- b > c", "a c"},
		{"no tag", "1 < 2 <3 a<>b", "1 < 2 <3 a<>b"},
		{"title", "<title>a<b>c</title>d", "\n|a<b>c\n|d"},
		{"marked section", "<![CDATA[a<b>&amp;]]>c", "a<b>&amp;c"},
		{"a section to be ignored is not", "a<![IGNORE[b<p>c]]>d", "ac]]>d"},
		{"conditional comment", "<!--[if mso]>a<![endif]-->b<![if !mso]>c<![endif]>", "bc"},
		{"quotes that are none", "<a href=“http://a.example/”>b</a>", "b"},
		{"attributes", `<a href='x>y' b = "c" d>e</a f="g">h`, "eh"},
		{"declaration without an end", `<!DOCTYPE "a <b>c`, ""},
		{"section without an end", "<![if", ""},
		{"cut off in a tag", "a <b c", "a "},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := texts(Of(contentOf(t, htmlMessage(c.html)), Options{}).Body()); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestVisibleText(t *testing.T) {
	for _, c := range []struct{ name, html, visible, text string }{
		{"plain", "a", "a", "a"},
		{"colour of the background", `a<font color="#ffffff">b</font>c`, "ac", "ac"},
		{"nearly its colour", `a<span style="color: rgb(250,250,250)">b</span>c`, "ac", "ac"},
		{"display", `a<div style="display:none">b</div>c`, "a\n|c", "a\n|c"},
		{"inherited", `a<div style="display:none"><span>b</span></div>c`, "a\n|c", "a\n|c"},
		{"small font", `a<font size=1>b</font>c`, "ac", "abc"},
		{"font of no size", `a<span style="font-size:0px">b</span>c`, "abc", "ac"},
		{"no opacity", `a<span style="opacity:0.0">b</span>c`, "abc", "ac"},
		{"half opaque", `a<span style="opacity:0.5">b</span>c`, "abc", "abc"},
		{"background by an attribute", `<table bgcolor=black><tr><td><font color=black>b</font>c`, " bc", " "},
		{"white on a black table", `<table bgcolor=black><tr><td><font color=white>b</font>`, " ", " b"},
		{"for Outlook alone", `a<span style="mso-hide:all">b</span>c`, "abc", "abc"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := Of(contentOf(t, htmlMessage(c.html)), Options{})
			if got := texts(m.VisibleBody()); got != c.visible {
				t.Errorf("visible to SpamAssassin: %q, want %q", got, c.visible)
			}
			if got := texts(m.VisibleText()); got != c.text {
				t.Errorf("visible: %q, want %q", got, c.text)
			}
		})
	}
}

func TestHTMLFacts(t *testing.T) {
	for _, c := range []struct {
		html, fact string
		want       float64
		ok         bool
	}{
		{"<p>a", "html", 1, true},
		{"<p>ab c", "length", 7, true},
		{"<p>ab c", "html_length", 6, true},
		{"<p>ab c", "non_space_len", 3, true},
		{"<img width=10 height=20><img width=50% height=10%><img width=x height=2>", "image_area", 200 + 400*60 + 400, true},
		{"<font size=+2>a</font><font size=1>", "max_size", 5, true},
		{"<font size=+2>a</font><font size=1>", "min_size", 1, true},
		{"<font color=white>a", "font_low_contrast", 1, true},
		{"<font color=nonsense>a", "font_invalid_color", 1, true},
		{"<font color=red>a", "font_low_contrast", 0, false},
		{"<font face='@#!'>a", "font_face_bad", 1, true},
		{"<font face='Arial, sans-serif'>a", "font_face_bad", 0, false},
		{"<form action='MAILTO:a@b.example'>", "form_action_mailto", 1, true},
		{"<object>", "embeds", 1, true},
		{"</b></b><b></b>", "closed_extra_ratio", 0.5, true},
		{"<b><nonsense>", "bad_tag_ratio", 0.5, true},
		{"<b>vi<x>ag</x>ra", "obfuscation_ratio", 2.0 / 3, true},
		{"<b>vi<x>ag</x>ra", "backhair_count", 1, true},
		{"a", "backhair_count", 0, false},
		{"a", "nonsense", 0, false},
	} {
		t.Run(c.fact+" of "+c.html, func(t *testing.T) {
			h := Of(contentOf(t, htmlMessage(c.html)), Options{}).HTML()
			if len(h) != 1 {
				t.Fatalf("%d parts of HTML", len(h))
			}
			if got, ok := h[0].Number(c.fact); got != c.want || ok != c.ok {
				t.Errorf("got %v %v, want %v %v", got, ok, c.want, c.ok)
			}
		})
	}
}

func TestHTMLTexts(t *testing.T) {
	h := Of(contentOf(t, htmlMessage(`<title>one</title><a href="http://a.example/">two <img></a><!-- three --><script>four</script><o:p></o:p></i>`)), Options{}).HTML()[0]
	for name, want := range map[string]string{"title": "one", "anchor": "two <img>\n", "comment": "<!-- three -->", "script": "four", "nonsense": ""} {
		if got := string(bytes.Join(h.Texts(name), []byte("|"))); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	for tag, want := range map[string]string{"a": "0 true", "img": "1 true", "i": "0 true", "o:p": "0 true", "b": "0 false", "x": "0 false"} {
		n, ok := h.Inside(tag)
		if tag == "b" {
			n = 0
		}
		if got := fmt.Sprint(n, ok); got != want {
			t.Errorf("inside %s: %s, want %s", tag, got, want)
		}
	}
}

func TestColors(t *testing.T) {
	for s, want := range map[string]color{
		"red": 0xff0000, " Navy ": 0x80, "#123456": 0x123456, "#1234567": 0x123456, "#abc": 0xaabbcc, "#abcd": 0xaabbcc, "#a": 0xaa0000,
		"#": emptyColor, "123456": invalidColor, "reddish": invalidColor, "": invalidColor, "rgb(1,2,3)": 0x10203, "rgb(100%,0%,0%)": 0xff0000,
		"rgb(1,2)": invalidColor,
	} {
		if got := readColor(s); got != want {
			t.Errorf("%q is %#x, want %#x", s, got, want)
		}
	}
}

func TestPlainText(t *testing.T) {
	for _, c := range []struct{ name, message, body, raw string }{
		{"nothing", "Subject: s\r\n\r\n", "", ""},
		{"folded", "Subject: s\r\n\r\na  b\r\nc\r\n \r\n d\r\n", "a b c\n| d ", "a  b\nc\n \n d\n"},
		{"latin", "Subject: s\r\nContent-Type: text/plain; charset=iso-8859-1\r\n\r\n\xe9\x80\r\n", "é€ ", "\xe9\x80\n"},
		{"no charset, but UTF-8", "Subject: s\r\n\r\né\r\n", "é ", "é\n"},
		{"no charset, and no UTF-8", "Subject: s\r\n\r\n\xe9\x81\r\n", "é� ", "\xe9\x81\n"},
		{"any text", "Subject: s\r\nContent-Type: text/x-patch\r\n\r\na\r\n", "a ", "a\n"},
		{"a calendar", "Subject: s\r\nContent-Type: text/calendar\r\n\r\na\r\n", "", ""},
		{"an image", "Subject: s\r\nContent-Type: image/png\r\n\r\na\r\n", "", ""},
		{"by its name", "Subject: s\r\nContent-Type: application/octet-stream; name=a.HTM\r\n\r\n<b>a</b>\r\n", "a ", "<b>a</b>\n"},
		{
			"quoted-printable", "Subject: s\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n=C3=A9=\r\nb =\r\n=XX \r\n",
			"éb =XX ", "\xc3\xa9b =XX\n",
		},
		{"base64", "Subject: s\r\nContent-Type: text/plain\r\nContent-Transfer-Encoding: base64\r\n\r\nYQ0KYg==\r\n", "a b", "a\nb"},
		{"wide space", "Subject: s\r\nContent-Type: text/plain; charset=utf-8\r\n\r\né\u00a0\u2003b\r\n", "é b ", "é\u00a0\u2003b\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := Of(contentOf(t, c.message), Options{})
			if got := texts(m.Body()); got != c.body {
				t.Errorf("body %q, want %q", got, c.body)
			}
			if got := string(bytes.Join(m.RawBody(), nil)); got != c.raw {
				t.Errorf("raw body %q, want %q", got, c.raw)
			}
		})
	}
}

func TestLongTextsAreCut(t *testing.T) {
	long := strings.Repeat("words ", 20_000)
	m := Of(contentOf(t, "Subject: s\r\n\r\n"+long), Options{BodyScan: 1000, RawBodyScan: 5000})
	if n := len(texts(m.Body())); n < 1000 || n > 1006 {
		t.Errorf("%d octets of body", n)
	}
	if n := len(bytes.Join(m.RawBody(), nil)); n < 5000 || n > 5006 {
		t.Errorf("%d octets of raw body", n)
	}
	m = Of(contentOf(t, "Subject: s\r\n\r\n"+long), Options{BodyScan: -1})
	if n := len(bytes.Join(m.Body()[1:], nil)); n != len(long) {
		t.Errorf("%d octets of body, want all %d", n, len(long))
	}
	for _, line := range m.Body() {
		if len(line) > maxLine+1 {
			t.Errorf("a line of %d octets", len(line))
		}
	}
}

// fileContent makes a Content whose octets lie in a file.
func fileContent(t *testing.T, s string) *mail.Content {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "content"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(s); err != nil {
		t.Fatal(err)
	}
	return mail.NewContent(mail.NewFileBlob(f, int64(len(s))), mail.LineFaults{}, mail.Limits{})
}

const mixed = "From x\r\nSubject: s\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\nContent-Type: text/html; charset=utf-8\r\n" +
	"Content-Transfer-Encoding: quoted-printable\r\n\r\n<a href=3D\"http://a.com\">b=0D\r\nc=\r\n</a>\r\n--x\r\nContent-Transfer-Encoding: base64\r\n\r\n" +
	"d3d3LmIuY29tDQo=\r\n--x\r\n\r\nplain c.org\r\n--x--\r\n"

// TestFilesAreReadAsMemory: where the octets lie makes no difference.
func TestFilesAreReadAsMemory(t *testing.T) {
	c := fileContent(t, mixed)
	defer c.Release()
	file, memory := Of(c, Options{}), Of(contentOf(t, mixed), Options{})
	for what, f := range map[string]func(m *Message) [][]byte{
		"body": (*Message).Body, "raw body": (*Message).RawBody, "URIs": (*Message).URITexts,
		"full": func(m *Message) [][]byte { return [][]byte{m.Full()} },
	} {
		if got, want := bytes.Join(f(file), []byte("|")), bytes.Join(f(memory), []byte("|")); !bytes.Equal(got, want) {
			t.Errorf("%s: %q, in memory %q", what, got, want)
		}
	}
	if err := file.Err(); err != nil {
		t.Error(err)
	}
}

func TestReadErrors(t *testing.T) {
	for what, f := range map[string]func(m *Message){
		"body": func(m *Message) { m.Body() }, "raw body": func(m *Message) { m.RawBody() }, "full": func(m *Message) { m.Full() },
	} {
		c := fileContent(t, mixed)
		m := Of(c, Options{})
		c.Root()
		c.Release()
		if f(m); !errors.Is(m.Err(), mail.ErrReleased) {
			t.Errorf("%s: %v", what, m.Err())
		}
	}
}

// TestMessagesAreShared has many ask at the same time, for the race detector.
func TestMessagesAreShared(t *testing.T) {
	c := contentOf(t, mixed)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			m := Of(c, Options{})
			m.URITexts()
			m.VisibleText()
			m.RawBody()
			m.Full()
			for _, p := range m.Parts() {
				p.Rendered()
				p.HTML()
			}
		})
	}
	all.Wait()
}
