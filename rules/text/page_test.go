package text

import (
	"bytes"
	"slices"
	"strings"
	"testing"
)

// shownBy gives what a page shows, with white space folded.
func shownBy(html string) string {
	return strings.Join(strings.Fields(string(readPage([]byte(html)).seen)), " ")
}

func TestPageText(t *testing.T) {
	for _, c := range []struct{ name, html, want string }{
		{"words", "<b>one</b> two<br>three<td>four", "one two three four"},
		{"a section without an end", "a<![CDATA[b>c", "ac"},
		{"an empty comment", "a<!-->b", "ab"},
		{"an empty comment with a dash", "a<!--->b", "ab"},
		{"a comment that ends with an exclamation mark", "a<!-- b --!>c", "ac"},
		{"a comment of dashes", "a<!------>b", "ab"},
		{"a comment without an end", "a<!-- b > c", "a"},
		{"a comment with a space in its end", "a<!-- b -- >c-->d", "ad"},
		{"an end tag with attributes", "<style>a</style x>b", "b"},
		{"an end tag with a slash", "<style>a</style/>b", "b"},
		{"a longer name is no end", "<style>a</stylex>b</style>c", "c"},
		{"a title is not in the page", "<title>a</title>b", "b"},
		{"a title without an end", "<title>a<p>b", ""},
		{"a script in a comment in a script", "<script><!--<script>a</script>b--></script>c", "c"},
		{"a script that ends within its comment", "<script><!-- </script>b", "b"},
		{"a style in a drawing is text", "<svg><style>a<b>b</b></style>c", "abc"},
		{"a section in a drawing", "<svg><text><![CDATA[a<b]]>b</text></svg>c", "a<bbc"},
		{"a frame's content is not shown", "<iframe><p>a</iframe>b<noembed>c</noembed>", "b"},
		{"a template", "a<template><p>b</p></template>c", "a c"},
		{"what is no tag", "1 < 2 <3 a<>b </>c</ d>e<?f>g", "1 < 2 <3 a<>b ceg"},
		{"references", "&amp;&copy1&notit;&NotEqualTilde;&#x41;&#128;&#0;&#x110000;", "&©1¬it;≂̸A€\ufffd\ufffd"},
		{"NUL", "a\x00b", "ab"},
		{"a conditional comment", "a<!--[if mso]><p>b</p><![endif]-->c", "a b c"},
		{"all but Outlook", "<!--[if !mso]><!-->a<!--<![endif]-->b", "ab"},
		{"display", `a<div style="display:none">b<p style="display:block">c</p></div>d`, "a d"},
		{"the last of several", `<div style="display:none;display:block">b</div>`, "b"},
		{"a comment in a style", `a<div style="dis/**/play:no/**/ne">b</div>c`, "a c"},
		{"escapes in a style", `a<div style="\64isplay:n\6f ne">b</div>c`, "a c"},
		{"visible within hidden", `<div style="visibility:hidden">a<b style="visibility:visible">b</b></div>`, "b"},
		{"a container of MJML", `<div style="font-size:0"><div style="font-size:13px">a</div>b</div>`, "a"},
		{"relative to nothing", `<div style="font-size:0">a<div style="font-size:2em">b</div></div>`, ""},
		{"a font of one pixel", `<span style="font-size:1px">a</span>b`, "b"},
		{"the shorthand", `<span style="font:0/0 a">a</span><span style="font:bold 12px/1 b">b</span>`, "b"},
		{"1em is no small font", `<span style="font-size:1em">a</span>`, "a"},
		{"the smallest font of HTML", `<font size=0>a</font><font size=-7>b</font>`, "ab"},
		{"a box without height", `a<div style="max-height:0;overflow:hidden">b</div>c`, "a c"},
		{"a box that does not cut", `a<div style="height:0">b</div>c`, "a b c"},
		{"no opacity", `a<span style="opacity:0">b</span>c`, "ac"},
		{"outside", `a<p style="text-indent:-9999px">b</p>c`, "a c"},
		{"white on white", `a<font color=white>b</font>c<span style="color:#fefefe">d</span>`, "ac"},
		{"white on black", `<table bgcolor=000000><tr><td><font color=white>b</font>`, "b"},
		{"white on a picture", `<table><tr><td background="x.png"><font color=white>b</font>`, "b"},
		{"transparent", `a<span style="color:rgba(1,2,3,0)">b</span>c`, "ac"},
		{"an attribute that hides", `a<p hidden>b</p>c`, "a c"},
		{"a class", `<style>.x,td{} .h{display:none}</style>a<p class="y h">b</p>c`, "a c"},
		{"a class for some screens", `<style>@media x{.h{display:none}} #i{color:#fff}</style>a<p class=h>b</p><p id=i>c`, "a b"},
		{"a button of a class", `<style>a.btn{background:#00f}</style><a class=btn style="color:#fff">b</a>`, "b"},
		{"a button somewhere", `<style>.x .btn{background:#00f}</style><a class=btn style="color:#fff">b</a>`, "b"},
		{"the next paragraph ends one", `<p style="display:none">a<p>b<div>c`, "b c"},
		{"formatting goes on", `<p><b style="display:none">a<p>b</p></b>c`, "c"},
		{"formatting ends within a box", `<font style="display:none">a<div>b</font>c</div>d`, "c d"},
		{"an end tag of nothing around", `<span style="display:none"><div>a</span>b</div>c</span>d`, "d"},
		{"the first of two attributes", `<p style="display:none" style="">a</p>b`, "b"},
		{"the next cell", `<table><tr><td style="display:none">a<td>b`, "b"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := shownBy(c.html); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

// TestPageElements: the numbers of elements fit in their counters.
func TestPageElements(t *testing.T) {
	if n := len(pageElements); n > len(page{}.opened) {
		t.Fatalf("%d elements", n)
	}
}

func TestLinksInBrowsers(t *testing.T) {
	for _, c := range []struct {
		name, html string
		want       string // the host
		odd        Traits
	}{
		{"plain", `<a href="http://a.example.com/">b</a>`, "a.example.com", 0},
		{"a slash for a blank", `<a/href="http://a.example.com/">b</a>`, "a.example.com", 0},
		{"slashes and a name", `<a/x/href=http://a.example.com>b</a>`, "a.example.com", 0},
		{"the first of two", `<a href="http://a.example.com/" href="http://b.example.net/">b</a>`, "a.example.com", 0},
		{"no blank between", `<a title="x"href="http://a.example.com/">b</a>`, "a.example.com", 0},
		{"quotes that are none", `<a title=“ href=http://a.example.com/ ”>b</a>`, "a.example.com", 0},
		{"names of signs", `<a href="http&colon;//a&period;example&period;com&sol;x">b</a>`, "a.example.com", 0},
		{"tabs", "<a href=\"ht\ttp://a.exa\nmple.com/\">b</a>", "a.example.com", BrokenScheme},
		{"tabs by number", `<a href="h&#9;ttp&Tab;://a.example.com/">b</a>`, "a.example.com", BrokenScheme},
		{"controls before it", "<a href=\"\x01\x02 http://a.example.com/\">b</a>", "a.example.com", 0},
		{"three slashes", `<a href="http:///a.example.com/">b</a>`, "a.example.com", OddSlashes},
		{"one slash", `<a href="https:/a.example.com/">b</a>`, "a.example.com", OddSlashes},
		{"no slash", `<a href="https:a.example.com/">b</a>`, "a.example.com", OddSlashes},
		{"backslashes", `<a href="http:\\a.example.com\b">b</a>`, "a.example.com", OddSlashes},
		{"a backslash behind the host", `<a href="http://a.example.com\@b.example.net/">b</a>`, "a.example.com", OddSlashes},
		{"no scheme", `<a href="//a.example.com/b">b</a>`, "a.example.com", 0},
		{"no scheme, backslashes", `<a href="\/a.example.com/b">b</a>`, "a.example.com", OddSlashes},
		{"escapes", `<a href="http://%61.ex%61mple.com/">b</a>`, "a.example.com", EscapedHost},
		{"escaped letters of another width", `<a href="http://%EF%BD%81.example.com/">b</a>`, "a.example.com", EscapedHost | FoldedHost},
		{"letters of another width", `<a href="http://ａ．example。com/">b</a>`, "a.example.com", FoldedHost},
		{"another user", `<a href="http://b.example.net@a.example.com/">b</a>`, "a.example.com", HasUser},
		{"an address of two numbers", `<a href="http://0x7f.513/">b</a>`, "127.0.2.1", NumericHost},
		{"an octal address", `<a href="http://0300.0250.1.02/">b</a>`, "192.168.1.2", NumericHost},
		{"a number", `<a href="http://3221226219/">b</a>`, "192.0.2.235", NumericHost},
		{"an area", `<map><area href="http://a.example.com/">`, "a.example.com", 0},
		{"a form", `<form action="http://a.example.com/">`, "a.example.com", 0},
		{"a button", `<form><button formaction="http://a.example.com/">`, "a.example.com", 0},
		{"a drawing", `<svg><a xlink:href="http://a.example.com/">`, "a.example.com", 0},
		{"a page that leads on", `<meta content="0; URL='http://a.example.com/'" http-equiv=Refresh>`, "a.example.com", 0},
		{"a base behind the link", `<a href="x">b</a><base href="http://a.example.com/y">`, "a.example.com", 0},
		{"a base by a backslash", `<base href="http:\\a.example.com\y"><a href="x">b</a>`, "a.example.com", OddSlashes},
		{"a conditional comment", `<!--[if mso]><v:rect href="http://a.example.com/"><![endif]-->`, "a.example.com", 0},
		{"a link behind a section", `<![CDATA[><a href="http://a.example.com/">b</a>`, "a.example.com", 0},
		{"a link behind an empty comment", `<!--><a href="http://a.example.com/">b</a><!---->`, "a.example.com", 0},
		{"a link behind a style", `<style></style x><a href="http://a.example.com/">b</a><style>`, "a.example.com", 0},
		{"a text behind a section", `<![CDATA[>see www.example.com`, "www.example.com", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := Of(contentOf(t, htmlMessage(c.html)), Options{})
			before := len(m.URITexts())
			all := m.Links()
			i := slices.IndexFunc(all, func(u URI) bool {
				return slices.ContainsFunc(u.Hosts, func(h Host) bool { return h.Name == c.want }) && u.Traits()&c.odd == c.odd
			})
			if i < 0 {
				t.Errorf("got %+v", all)
			}
			if n := len(m.URIs()); n > len(all) || len(m.URITexts()) != before {
				t.Errorf("%d URIs, %d links", n, len(all))
			}
		})
	}
}

// TestPartsShown: parts that SpamAssassin takes for something else, or for nothing.
func TestPartsShown(t *testing.T) {
	const link = "http://a.example.com/"
	page := `<p>seen <a href="` + link + `">link</a>`
	utf16 := func(order string, s string) string {
		var b strings.Builder
		b.WriteString(order)
		for _, c := range []byte(s) {
			if order == "\xff\xfe" {
				b.WriteString(string([]byte{c, 0}))
			} else {
				b.WriteString(string([]byte{0, c}))
			}
		}
		return b.String()
	}
	for _, c := range []struct{ name, message string }{
		{"two types", "Content-Type: text/html\r\nContent-Type: application/octet-stream\r\n\r\n" + page},
		{"two types, text", "Content-Type: text/html\r\nContent-Type: text/plain\r\n\r\n" + page},
		{"a comment in the type", "Content-Type: text/(x;y)html\r\n\r\n" + page},
		{"a broken type", "Content-Type: text/html x\r\n\r\n" + page},
		{"XHTML", "Content-Type: application/xhtml+xml\r\n\r\n" + page},
		{"a name", "Content-Type: application/octet-stream\r\nContent-Disposition: attachment;\r\n filename*=utf-8''a%2Ehtml\r\n\r\n" + page},
		{"a drawing", "Content-Type: image/svg+xml\r\n\r\n<svg><a href='" + link + "'><text>seen</text></a></svg>"},
		{"a calendar", "Content-Type: text/calendar\r\n\r\nBEGIN:VEVENT\r\nDTSTAMP:20250101T000000Z\r\nDESCRIPTION;LANGUAGE=\"a:b\":seen\\n\r\n http://a.exam\r\n ple.com/\r\nEND:VEVENT\r\n"},
		{"a calendar with HTML", "Content-Type: text/calendar\r\n\r\nX-ALT-DESC;FMTTYPE=text/html:<p>seen http://a.example.com/\r\n"},
		{"a card", "Content-Type: text/vcard\r\n\r\nNOTE:seen\r\nURL:" + link + "\r\n"},
		{"UTF-16, little endian", "Content-Type: text/html; charset=utf-16\r\nContent-Transfer-Encoding: 8bit\r\n\r\n" + utf16("\xff\xfe", page)},
		{"UTF-16, big endian", "Content-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n" + utf16("\xfe\xff", page)},
		{"UTF-16, plain", "Content-Type: text/plain\r\nContent-Transfer-Encoding: 8bit\r\n\r\n" + utf16("\xff\xfe", "seen "+link)},
		{"long lines", "Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\nContent-Type: text/html\r\n\r\nseen <!--" + strings.Repeat("a", maxLine-len("seen <!----><a hr")) +
			"--><a href=\"" + link + "\">\r\n--x--\r\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := Of(contentOf(t, "Subject: s\r\nMIME-Version: 1.0\r\n"+c.message), Options{})
			if got := bytes.Join(m.VisibleText(), nil); !bytes.Contains(got, []byte("seen")) {
				t.Errorf("the text is %q", got)
			}
			if !slices.ContainsFunc(m.Links(), func(u URI) bool { return u.Host == "a.example.com" }) {
				t.Errorf("the links are %+v", m.Links())
			}
		})
	}
}
