package text

import (
	"bytes"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/postern-mail/postern/mail"
)

// checkMessage looks for what holds of every message.
func checkMessage(t *testing.T, raw []byte) {
	t.Helper()
	c := mail.NewContent(mail.NewBlob(raw), mail.LineFaults{}, mail.Limits{})
	defer c.Release()
	begun := time.Now()
	m := Of(c, Options{})
	body := m.Body()
	for i, line := range body {
		switch {
		case len(line) == 0 && i > 0 && len(body[i-1]) == maxLine+1: // what a cut behind the last blank leaves, as in SpamAssassin
		case len(line) == 0 || len(line) > maxLine+1:
			t.Errorf("a line of %d octets", len(line))
		case bytes.IndexByte(line[:len(line)-1], '\n') >= 0:
			t.Errorf("a line end within %q", line)
		case line[len(line)-1] != '\n' && i+1 < len(body) && len(line) < maxLine/2 && !bytes.HasSuffix(line, []byte(" ")):
			t.Errorf("line %d of %d does not end: %q", i, len(body), line)
		}
	}
	for _, chunk := range m.RawBody() {
		if len(chunk) > 2*maxLine {
			t.Errorf("a chunk of %d octets", len(chunk))
		}
	}
	m.VisibleBody()
	m.HiddenBody()
	m.VisibleText()
	for _, h := range m.HTML() {
		checkFacts(t, h)
	}
	uris := m.URIs()
	if len(uris) > maxURIs {
		t.Errorf("%d URIs", len(uris))
	}
	for i := range uris {
		uris[i].Traits()
		if n := len(uris[i].Variants); n > maxVariants*4 {
			t.Errorf("%d variants", n)
		}
	}
	if took := time.Since(begun); took > 2*time.Second && len(raw) < 1<<16 {
		t.Errorf("%d octets took %v", len(raw), took)
	}
}

func checkFacts(t *testing.T, h *HTML) {
	t.Helper()
	for _, name := range []string{"ratio", "closed_extra_ratio", "bad_tag_ratio", "non_element_ratio", "obfuscation_ratio"} {
		if v, ok := h.Number(name); ok && name != "obfuscation_ratio" && v > 1 {
			t.Errorf("%s is %v", name, v)
		}
	}
	if h.NonSpace > h.Rendered || h.NonSpace < 0 || h.MinSize > 3 || h.MaxSize < 3 {
		t.Errorf("%d of %d characters, sizes %d to %d", h.NonSpace, h.Rendered, h.MinSize, h.MaxSize)
	}
	for tag := range tagNames {
		if n, ok := h.Inside(tag); ok && n < 0 {
			t.Errorf("inside %s: %d", tag, n)
		}
	}
}

func FuzzBody(f *testing.F) {
	for _, s := range []string{
		"Subject: s\r\n\r\na\r\n\r\nb\r\n",
		"Subject: s\r\nContent-Type: text/html; charset=utf-16\r\n\r\na\x00b\x00",
		"Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\nContent-Type: text/html\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n<a href=3D\"http://a.com\">b=\r\n</a>\r\n--x\r\n\r\nwww.b.com\r\n--x--\r\n",
		"Content-Type: text/plain; charset=gb2312\r\nContent-Transfer-Encoding: base64\r\n\r\nuai8qw==\r\n",
		"Content-Type: text/plain; charset=iso-2022-jp\r\n\r\n\x1b$B$\"\x1b(B\r\n",
		"From x\r\nSubject: =?utf-8?q?=C3?=\r\n\r\n" + strings.Repeat("\r\n", 40) + strings.Repeat("a", 5000),
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(checkMessage)
}

func FuzzHTML(f *testing.F) {
	for _, s := range []string{
		"<p>a<b style=\"color:#fff;background:url(a),red\">b</b>&eacute;&#xd83d;&#xde00;<br/>",
		"<![CDATA[a]]><!-- b --><!doctype html \"x\"><title>c<style>d<script>e",
		"<table bgcolor=red><tr><td><font size=+1 color=red face='x,y'>a</td></tr></table></font></b>",
		"<base href=http://a.com/b.html><a href=../c>d</a><img src=e width=10% height=5><meta http-equiv=refresh content='0;url=f'>",
		"<a b='c\" d=\"e'><textarea>f</textarea><xmp>g<plaintext>h",
		"vi<x>ag<!-- y -->ra \u2028 \u200c\u00c2\u00a0<o:p></o:p>",
	} {
		f.Add([]byte(s), true)
	}
	f.Fuzz(func(t *testing.T, html []byte, utf bool) {
		charset := "us-ascii"
		if utf {
			charset = "utf-8"
		}
		checkMessage(t, append([]byte("Subject: s\r\nContent-Type: text/html; charset="+charset+"\r\n\r\n"), html...))
		checkTokens(t, html)
	})
}

// tokenCheck adds up what a tokenizer tells.
type tokenCheck struct {
	t    *testing.T
	size int
}

func (c *tokenCheck) start(name []byte, _ []attribute) {
	if len(name) == 0 || !isNameStart(name[0]) {
		c.t.Errorf("start tag %q", name)
	}
}
func (c *tokenCheck) end([]byte)            {}
func (c *tokenCheck) text(b []byte, _ bool) { c.size += len(b) }
func (c *tokenCheck) comment(b []byte)      { c.size += len(b) }
func (c *tokenCheck) declaration(b []byte)  { c.size += len(b) }

func checkTokens(t *testing.T, html []byte) {
	t.Helper()
	c := &tokenCheck{t: t}
	z := tokenizer{src: html, to: c}
	z.run(func() string { return "" })
	if c.size > len(html) {
		t.Errorf("%d octets of text in %d", c.size, len(html))
	}
}

func FuzzURI(f *testing.F) {
	for _, s := range []string{
		"see http://a.com/b?c=http://d.com:80/e#f. or (www.g.org) h@i.net, j.co.uk",
		"http://user:pass@0x7f.0.1/%41%zz&#98;\\c", "mailto:%20\"a\"%20<b@c.com>?d&e", "//a.com/b", "http://2130706433:443",
		"ftp.a.com a.b.c.d.com:99999/ \x1b(Bhttp://x.com", "http://münchen.de/ú", "@@@a@b.com@c.com,d@e.com", "http://[::1]/",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		line := []byte(s[:min(len(s), maxLine)])
		end := 0
		scanText(line, DefaultTLDs, func(u textURI) {
			at := cap(line) - cap(u.raw)
			if len(u.raw) == 0 || at < end {
				t.Errorf("%q at %d, behind %d", u.raw, at, end)
			}
			end = at + len(u.raw)
			if uri, _, _, ok := u.complete(string(trimText(u.raw))); ok {
				DefaultTLDs.HostOf(uri)
			}
		})
		for _, chars := range []bool{false, true} {
			all := variantsOf(nil, s, chars && utf8.ValidString(s), DefaultTLDs, nil)
			if len(all) == 0 || len(all) > maxVariants {
				t.Errorf("%d variants", len(all))
			}
			for _, v := range all {
				if host, domain, ok := DefaultTLDs.HostOf(v); ok && (host == "" || !strings.HasSuffix(host, domain)) {
					t.Errorf("%q: host %q, domain %q", v, host, domain)
				}
			}
		}
		if r := resolve("http://a.com/b/c", s); strings.Contains(s, "/../") && len(r) > len(s)+20 {
			t.Errorf("%q of %q", r, s)
		}
	})
}
