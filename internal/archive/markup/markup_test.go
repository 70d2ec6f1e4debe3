package markup

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/postern-mail/postern/internal/archive"
)

// seen is a visitor that keeps what it is told.
type seen struct {
	signs  []archive.Sign
	files  []string
	names  [][]string
	types  []string
	octets int64
}

func (s *seen) Sign(g archive.Sign) error {
	s.signs = append(s.signs, g)
	return nil
}

func (s *seen) File(e *archive.Entry) error {
	b, err := io.ReadAll(io.LimitReader(e.File.Reader(), 1<<16))
	s.files = append(s.files, string(b))
	s.names = append(s.names, e.Names)
	s.types = append(s.types, e.Type)
	s.octets += e.File.Size()
	return err
}

func (s *seen) kinds() string {
	var all []string
	for _, g := range s.signs {
		if !slices.Contains(all, string(g.Kind)) {
			all = append(all, string(g.Kind))
		}
	}
	return strings.Join(all, " ")
}

func look(t testing.TB, walk archive.Walk, text string, l archive.Limits) *seen {
	t.Helper()
	s := &seen{}
	if err := walk(context.Background(), archive.NewFile([]byte(text)), archive.NewBudget(l, int64(len(text))), s); err != nil {
		t.Fatal(err)
	}
	return s
}

// scripted are documents that run script.
var scripted = map[string]string{
	"script":                 `<html><script>alert(1)</script>`,
	"empty type":             `<script type="">alert(1)</script>`,
	"module":                 `<script type=module>import "x"</script>`,
	"type with parameter":    `<script type="text/javascript; charset=utf-8">x()</script>`,
	"vbscript":               `<script language=VBScript>MsgBox 1</script>`,
	"encoded":                `<script language="JScript.Encode">#@~^AAAA</script>`,
	"remote":                 `<script src=//example.com/x.js></script>`,
	"event":                  `<img src=x onerror=alert(1)>`,
	"event without spaces":   `<img/src="x"/onerror=alert(1)>`,
	"event in quotes":        `<svg/onload='alert(1)'>`,
	"javascript":             `<a href="javascript:alert(1)">x</a>`,
	"entities":               `<a href="&#106;avascript&colon;alert(1)">x</a>`,
	"entities without end":   `<a href="&#x6a&#97vascript:alert(1)">x</a>`,
	"white space":            "<a href=\" java\tscr\nipt:alert(1)\">x</a>",
	"form":                   `<form action=javascript:alert(1)>`,
	"button":                 `<button formaction=javascript:alert(1)>`,
	"refresh":                `<meta http-equiv=refresh content="0;url=javascript:alert(1)">`,
	"refresh to data":        `<meta http-equiv="Refresh" content="0; URL='data:text/html,x'">`,
	"srcdoc":                 `<iframe srcdoc="&lt;script&gt;alert(1)&lt;/script&gt;">`,
	"applet":                 `<applet code=x.class>`,
	"class":                  `<object classid="clsid:72C24DD5-D70A-438B-8A42-98424B88AFB8">`,
	"flash":                  `<embed src=x.swf type=application/x-shockwave-flash>`,
	"svg script":             `<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>`,
	"svg script with href":   `<svg><script xlink:href="http://example.com/x.js"/></svg>`,
	"svg prefix":             `<?xml version="1.0"?><s:svg xmlns:s="http://www.w3.org/2000/svg"><s:script>alert(1)</s:script></s:svg>`,
	"svg cdata":              `<svg><script><![CDATA[alert(1)]]></script></svg>`,
	"svg title":              `<svg><title><img src=x onerror=alert(1)></title></svg>`,
	"svg after closed title": `<?xml version="1.0"?><svg><title/><g onload="alert(1)"/></svg>`,
	"foreign object":         `<svg><foreignObject><body onload=alert(1)></foreignObject></svg>`,
	"animation":              `<svg><a><animate attributeName=href values="#;javascript:alert(1)"/></a></svg>`,
	"animation of event":     `<svg><set attributeName=onmouseover to=alert(1) /></svg>`,
	"entity":                 `<?xml version="1.0"?><!DOCTYPE svg [<!ENTITY x "<script>alert(1)</script>">]><svg>&x;</svg>`,
	"entity in link":         `<?xml version="1.0"?><!DOCTYPE svg [<!ENTITY x "javascript:alert(1)">]><svg><a href="&x;"/></svg>`,
	"style sheet":            `<?xml version="1.0"?><?xml-stylesheet type="text/xsl" href="#s"?><x/>`,
	"style sheet script":     `<xsl:stylesheet xmlns:xsl="http://www.w3.org/1999/XSL/Transform"><msxsl:script language="JScript">x()</msxsl:script></xsl:stylesheet>`,
	"expression":             `<div style="width:expr/**/ession(alert(1))">`,
	"escaped expression":     `<style>a{width:\65 xpression(alert(1))}</style>`,
	"comment in a string":    `<a style="xss:noxss(&quot;*//*&quot;);x:ex/*y*//**/pression(alert(1))">`,
	"wide letters":           `<div style="width: ｅxpression(alert(1))">`,
	"import":                 `<link rel="import" href="http://example.com/x">`,
	"behaviour":              `<style>a{behavior:url(x.htc)}</style>`,
	"import of data":         `<style>@import "data:,*%7bx:expression(alert(1))%7D";</style>`,
	"condition":              `<!--[if gte IE 4]><script>alert(1)</script><![endif]-->`,
	"zero":                   "<scr\x00ipt>alert(1)</scr\x00ipt>",
	"utf-7":                  `<meta charset=utf-7>+ADw-script+AD4-alert(1)+ADw-/script+AD4-`,
	"utf-16":                 string(utf16Of("\ufeff<script>alert(1)</script>", binary.LittleEndian)),
	"utf-16 big":             string(utf16Of("\ufeff<script>alert(1)</script>", binary.BigEndian)),
	"utf-16 without mark":    string(utf16Of("<html><script>alert(1)</script></html>", binary.LittleEndian)),
	"plain text first":       "Dear all,\nsee <script>alert(1)</script>",
}

func TestActive(t *testing.T) {
	for name, text := range scripted {
		s := look(t, Walk, text, archive.Limits{})
		if !strings.Contains(s.kinds(), string(archive.ActiveHTML)) {
			t.Errorf("%s: %v", name, s.signs)
		}
		if s := look(t, WalkBody, text, archive.Limits{}); len(s.signs) > 0 {
			t.Errorf("%s as a body: %v", name, s.signs)
		}
	}
	if s := look(t, Walk, `<html><HTA:APPLICATION ID=x></html>`, archive.Limits{}); s.kinds() != "script" {
		t.Errorf("an HTML application: %v", s.signs)
	}
}

func TestHarmless(t *testing.T) {
	for name, text := range map[string]string{
		"page":            `<!DOCTYPE html><html><head><title>x &lt;script&gt;</title><style>a{color:red}</style></head><body><a href="https://example.com/">x</a><img src="cid:1" alt="javascript: the parts"></body></html>`,
		"linked data":     `<script type="application/ld+json">{"@context":"http://schema.org"}</script>`,
		"json":            `<script type="application/json">{}</script>`,
		"template":        `<script type="text/x-template"><b>x</b></script>`,
		"speculation":     `<script type=speculationrules>{"prefetch":[]}</script>`,
		"idle links":      `<a href="javascript:void(0);">x</a><a href="javascript:;">x</a>`,
		"refresh":         `<meta http-equiv="refresh" content="5; url=https://example.com/">`,
		"base":            `<base href="https://example.com/">`,
		"empty script":    `<script></script>`,
		"empty event":     `<body onload="">`,
		"word":            `<html xmlns:v="urn:schemas-microsoft-com:vml"><!--[if !mso]><style>v\:* {behavior:url(#default#VML);}</style><![endif]--><!--[if gte mso 9]><xml><o:shapedefaults v:ext="edit"/></xml><![endif]--></html>`,
		"svg":             `<?xml version="1.0"?><!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" "http://www.w3.org/Graphics/SVG/1.1/DTD/svg11.dtd" [<!ENTITY ns_svg "http://www.w3.org/2000/svg">]><svg xmlns="&ns_svg;"><style>.a{fill:#000}</style><title>x</title><path d="M0 0"/><a xlink:href="https://example.com/"><text>x</text></a></svg>`,
		"invoice":         `<?xml version="1.0" encoding="UTF-8"?><?xml-stylesheet type="text/xsl" href="invoice.xsl"?><Invoice xmlns="urn:oasis:names:specification:ubl:schema:xsd:Invoice-2"><cbc:ID>1</cbc:ID></Invoice>`,
		"shown code":      `<pre>&lt;script&gt;alert(1)&lt;/script&gt; onclick="x"</pre>`,
		"textarea":        `<textarea><script>alert(1)</script></textarea>`,
		"comment":         `<!-- <script>alert(1)</script> -->`,
		"style condition": `<!--[if mso]><table><tr><td width="600"><![endif]-->`,
		"links":           `<a href="https://example.com/` + strings.Repeat("aB3/", 100) + `">x</a>`,
	} {
		if s := look(t, Walk, text, archive.Limits{}); len(s.signs) > 0 || len(s.files) > 0 {
			t.Errorf("%s: %v %q", name, s.signs, s.files)
		}
	}
}

func utf16Of(s string, order binary.ByteOrder) []byte {
	var out []byte
	for _, u := range utf16.Encode([]rune(s)) {
		b := make([]byte, 2)
		order.PutUint16(b, u)
		out = append(out, b...)
	}
	return out
}

// payload looks like a program and has no repetition.
var payload = func() string {
	b := []byte("MZ\x90\x00")
	for i := range 300 {
		b = append(b, byte(i*i*7+i/3))
	}
	return string(b)
}()

// TestSmuggled finds what pages carry, however they spell it.
func TestSmuggled(t *testing.T) {
	coded := base64.StdEncoding.EncodeToString([]byte(payload))
	var numbers, signed, escapes, percent, lines []string
	for _, c := range []byte(payload) {
		numbers = append(numbers, fmt.Sprint(c))
		signed = append(signed, fmt.Sprint(int8(c)))
		escapes = append(escapes, fmt.Sprintf(`\x%02x`, c))
		percent = append(percent, fmt.Sprintf("%%%02X", c))
	}
	for rest := coded; rest != ""; {
		n := min(76, len(rest))
		lines = append(lines, rest[:n])
		rest = rest[n:]
	}
	for name, text := range map[string]string{
		"data url":       `<a href="data:application/zip;base64,` + coded + `" download="x.zip">x</a>`,
		"broken lines":   `<a href="data:application/zip;base64,` + strings.Join(lines, "\r\n ") + `">x</a>`,
		"mixed case":     `<a href="DatA:application/zip;BASE64,` + coded + `">x</a>`,
		"odd data url":   `<a href="data:;x y;base64,` + coded + `">x</a>`,
		"percent":        `<iframe src="data:application/octet-stream,` + strings.Join(percent, "") + `">`,
		"style":          `<div style="background:url('data:x/y;base64,` + coded + `')">`,
		"style element":  `<style>a{background:url(data:x/y;base64,` + coded + `)}</style>`,
		"script":         `<script>var x = "` + coded + `";</script>`,
		"concatenated":   `<script>var x = "` + strings.Join(lines, "\" +\n\t'") + `";</script>`,
		"small parts":    `<script>var x = "` + strings.Join(strings.SplitAfter(coded, "A"), `"+"`) + `";</script>`,
		"added":          `<script>var x = "` + strings.Join(lines, "\";\nx += \"") + `";</script>`,
		"added to self":  `<script>var x = "` + strings.Join(lines, "\";x = x + \"") + `";</script>`,
		"array":          `<script>var x = ["` + strings.Join(lines, "\",\n\"") + `"].join("");</script>`,
		"template":       "<script>var x = `" + strings.Join(lines, "\n") + "`;</script>",
		"continued":      "<script>var x = '" + strings.Join(lines, "\\\n") + "';</script>",
		"backwards":      `<script>var x = "` + string(reversed([]byte(coded))) + `".split("").reverse().join("");</script>`,
		"twice":          `<script>var x = atob(atob("` + base64.StdEncoding.EncodeToString([]byte(coded)) + `"));</script>`,
		"url alphabet":   `<script>var x = "` + base64.RawURLEncoding.EncodeToString([]byte(payload)) + `";</script>`,
		"hexadecimal":    `<script>var x = "` + hex.EncodeToString([]byte(payload)) + `";</script>`,
		"escapes":        `<script>var x = "` + strings.Join(escapes, "") + `";</script>`,
		"unescape":       `<script>var x = unescape('` + strings.Join(percent, "") + `');</script>`,
		"numbers":        `<script>var x = new Uint8Array([` + strings.Join(numbers, ", ") + `]);</script>`,
		"signed numbers": `<script>var x = [` + strings.Join(signed, ",") + `];</script>`,
		"event":          `<body onload="x('` + coded + `')">`,
		"link":           `<a href="javascript:x('` + coded + `')">`,
		"data block":     `<script type=text/plain id=x>` + strings.Join(lines, "\n") + `</script>`,
	} {
		for _, walk := range []archive.Walk{Walk, WalkBody} {
			if s := look(t, walk, text, archive.Limits{}); !slices.Contains(s.files, payload) {
				t.Errorf("%s: %d files %.200q", name, len(s.files), s.files)
			}
		}
	}
	for name, text := range map[string]string{
		"attribute": `<div data-x="` + coded + `">`,
		"text":      "<div id=x hidden>\n" + strings.Join(lines, "\n") + "\n</div>",
		"comment":   "<!-- " + coded + " -->",
	} {
		if s := look(t, Walk, text, archive.Limits{}); !slices.Contains(s.files, payload) {
			t.Errorf("%s: %d files %.200q", name, len(s.files), s.files)
		}
	}
}

func TestNames(t *testing.T) {
	coded := base64.StdEncoding.EncodeToString([]byte(payload))
	for want, text := range map[string]string{
		"a.zip": `<a download="a.zip" href="data:application/zip;base64,` + coded + `">x</a>`,
		"b.zip": `<a href="data:application/zip;name=b.zip;base64,` + coded + `">x</a>`,
		"c.zip": `<script>var x = "` + coded + `"; var a = document.createElement("a"); a.download = 'c.zip'; a.click()</script>`,
		"d.zip": `<script>var fileName = "d.zip"; var x = "` + coded + `";</script>`,
		"e.zip": `<script>var x = "` + coded + `"; navigator.msSaveOrOpenBlob(blob, "e.zip")</script>`,
		"f.zip": `<script>var x = "` + coded + `"; a.setAttribute("download", "f.zip")</script>`,
		"g.zip": `<script>var x = "` + coded + `"</script><script>saveAs(x, "\x67.zip")</script>`,
	} {
		if s := look(t, Walk, text, archive.Limits{}); len(s.names) != 1 || !slices.Contains(s.names[0], want) {
			t.Errorf("%s: %v", want, s.names)
		}
	}
	s := look(t, Walk, `<script>var b = new Blob([Uint8Array.from(atob(x), c => c)]); URL.createObjectURL(b)</script>`, archive.Limits{})
	if !strings.Contains(fmt.Sprint(s.signs), "builds a file to download") {
		t.Errorf("%v", s.signs)
	}
}

func TestDetect(t *testing.T) {
	for text, want := range map[string]string{
		"<!DOCTYPE html><p>":  "html",
		" \n<!-- x --><HTML>": "html",
		"<?xml version='1.0'?><!DOCTYPE html PUBLIC 'x'><html>":        "html",
		"<?xml version='1.0'?><html xmlns='x'>":                        "html",
		"<?xml version='1.0'?><svg/>":                                  "svg",
		"<?xml version='1.0'?><!DOCTYPE x [<!ENTITY a '<b>'>]><s:svg>": "svg",
		"<!-- Created with Inkscape -->\n<svg\n>":                      "svg",
		"<?xml version='1.0'?><Invoice>":                               "xml",
		"Hello <body onload=x>":                                        "html",
		"<script>x</script>":                                           "html",
		"Hello, if a < b then <tag>":                                   "",
		"From: <a@example.com>\n":                                      "",
		"\ufeff<html>":                                                 "html",
		string(utf16Of("\ufeff<html>", binary.LittleEndian)):           "html",
		string(utf16Of("<html><body>", binary.BigEndian)):              "html",
		"\xff\xfe\x00\x00<\x00\x00\x00p\x00\x00\x00>\x00\x00\x00":      "html",
		"+ADw-html+AD4-+ADw-script+AD4-":                               "html",
		"":                                                             "",
		"PK\x03\x04":                                                   "",
	} {
		if got := Detect([]byte(text)); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}

func TestBudget(t *testing.T) {
	coded := base64.StdEncoding.EncodeToString(bytes.Repeat([]byte(payload), 100))
	text := `<a href="data:x/y;base64,` + coded + `">x</a>`
	if s := look(t, Walk, text, archive.Limits{Octets: 1000}); s.kinds() != "bomb" {
		t.Errorf("%v", s.signs)
	}
	many := strings.Builder{}
	for i := range 20_000 {
		fmt.Fprintf(&many, "<img src='data:,%d'>", i)
	}
	if s := look(t, Walk, many.String(), archive.Limits{Files: 50}); s.kinds() != "bomb" || len(s.files) != 50 {
		t.Errorf("%v", s.signs)
	}
	if s := look(t, Walk, many.String(), archive.Limits{}); s.kinds() != "unreadable" || len(s.signs) != 1 {
		t.Errorf("%v", s.signs)
	}
	if s := look(t, Walk, strings.Repeat("x", MaxText)+"<script>alert(1)</script>", archive.Limits{}); s.kinds() != "unreadable" {
		t.Errorf("%v", s.signs)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := Walk(ctx, archive.NewFile([]byte(text)), archive.NewBudget(archive.Limits{}, 1), &seen{}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
