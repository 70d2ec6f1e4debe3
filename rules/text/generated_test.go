//go:build !race

package text

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/postern-mail/postern/internal/peertest"
)

// fragments are what generated messages are made of.
var fragments = strings.Split(strings.ReplaceAll(`<p>¦</p>¦<br>¦<br/>¦<br />¦<div>¦</div>¦<td>¦</td>¦<th>¦<tr>¦<table bgcolor=red>¦</table>¦<li>¦<h1>¦</h1>¦<hr>¦<pre>¦<blockquote>¦<b>¦</b>¦<i¦
<font color=white>¦<font color=#fefefe size=+1>¦<font size=1>¦<font size="-2" face="a,b">¦<font face=@>¦</font>¦<span style="color:#fff">¦<span style="display:none">¦
<span style="visibility: hidden;color: rgb(1,2,3)">¦<span style="background:url(x) #000, white">¦<span style="color: ">¦<div style="background-color:transparent;color:inherit">¦</span>¦
<small>¦<big>¦</small>¦</big>¦<basefont size=5>¦<body bgcolor=black text=white background=b.gif>¦</body>¦</html>¦<marquee>¦<embed src=e>¦<object>¦
<a href=http://a.com/x>¦<a href="www.b.org/?q=%41&amp;r">¦<a href='mailto:x@y.com?subject=z'>¦<a href=//c.net>¦<a href=#top>¦<a href="../up/./x">¦<a>¦<a name=q>¦</a>¦<a href=http:&#47;&#x2f;d.com>¦
<base href="http://base.com/dir/file.html">¦<img src=i.png width=10 height=20>¦<img src="http://img.com/a b.gif" width=50% height=3%>¦<img width= height=1>¦<iframe src=http://f.com>¦</iframe>¦
<form action=mailto:a@b.com>¦<form action="/cgi">¦<meta http-equiv=refresh content="0;url=http://m.com/;x">¦<meta http-equiv=Content-Type content="text/html; charset=x">¦<script>¦</script>¦<style>¦</style>¦
<title>¦</title>¦<textarea>¦</textarea>¦<xmp>¦</xmp>¦<plaintext>¦<o:p>¦</o:p>¦<st1:place>¦<nonsense>¦</nonsense>¦<x-sigsep>¦<1>¦<_>¦<:>¦<>¦</>¦</ b>¦< b>¦<b/>¦<b c/>¦
<!-- c -->¦<!--->¦<!-->¦<!--¦-->¦-- >¦<!>¦<!x>¦<!doctype html "a>b">¦<!DOCTYPE¦<!ENTITY x>¦<![CDATA[¦<![if x]>¦<![endif]>¦<![ RCDATA [¦<![--x--[¦]]>¦]]¦<?php ?>¦<?¦
&¦&amp;¦&amp¦&lt;¦&gt¦&nbsp;¦&nbsp¦&copy;¦&copyx¦&eacute¦&hellip;¦&hellip¦&#65;¦&#65¦&#x41;¦&#xe9;¦&#8217;¦&#0;¦&#xd83d;&#xde00;¦&#xd83d;¦&#xfffe;¦&#x110000;¦&#160;¦&#133;¦&zwnj;¦&notit;¦&;¦&#;¦
"¦'¦=¦>¦<¦/¦ ¦  ¦
¦

¦	¦word¦words and more¦a¦Z9¦_¦-¦é¦ü€¦“q”¦ ¦{ZWNJ}¦漢字¦http://t.com/p.html¦(http://t.com/a_(b))¦www.w.co.uk¦foo@bar.com¦<foo@bar.com>¦plain.com:80/x?y¦x.nosuch¦ftp.site.org¦"z.net",¦mailto:q@r.com¦
https://user:pw@h.com:443/¦http://0x7f.1/¦http://1113343453/¦http://word/¦http://a.com%2fb¦[cid:a@b.com]¦a.b@c.d.info.¦http://r.com/http://s.com/u`, "{ZWNJ}", "\u200c"), "¦")

// generate makes a message of fragments.
func generate(r *rand.Rand) string {
	kind := "text/html"
	if r.IntN(4) == 0 {
		kind = "text/plain"
	}
	charset := []string{"utf-8", "us-ascii", "iso-8859-1", "windows-1252", "gb2312", "x-unknown"}[r.IntN(6)]
	var s strings.Builder
	fmt.Fprintf(&s, "Subject: generated\nMIME-Version: 1.0\nContent-Type: %s; charset=%s\n\n", kind, charset)
	ascii := r.IntN(3) == 0
	for range 2 + r.IntN(40) {
		f := fragments[r.IntN(len(fragments))]
		if len(f) > 1 && f[0] == '\n' && f[len(f)-1] != '\n' {
			f = f[1:]
		}
		if ascii && !plainASCII([]byte(f)) {
			continue
		}
		s.WriteString(f)
		if r.IntN(3) == 0 {
			s.WriteString([]string{" ", "x", "\n", "y z"}[r.IntN(4)])
		}
	}
	return s.String()
}

// TestGeneratedAsSpamAssassin has SpamAssassin read what no honest program writes.
func TestGeneratedAsSpamAssassin(t *testing.T) {
	count, seed := 150, uint64(1)
	if peertest.Every() {
		count, seed = 3000, rand.Uint64()
		t.Logf("seed %d", seed)
	}
	r := rand.New(rand.NewPCG(seed, 0))
	var all []sample
	for i := range count {
		raw := generate(r)
		all = append(all, sample{fmt.Sprintf("%d: %q", i, raw), ingest(t, []byte(raw))})
	}
	tlds, redirectors := stockTLDs(t), stockRedirectors(t)
	body, raw, uris := &tally{t: t, what: "body"}, &tally{t: t, what: "rawbody"}, &tally{t: t, what: "uri"}
	facts, visible := &tally{t: t, what: "html"}, &tally{t: t, what: "visible"}
	for i, d := range ask(t, all) {
		m := Of(all[i].content, Options{TLDs: tlds, Redirector: redirectors})
		body.note(d.Name, sameTexts(m.Body(), d.Body), "%s", firstDifference(m.Body(), d.Body))
		raw.note(d.Name, sameTexts(m.RawBody(), d.RawBody), "%s", firstDifference(m.RawBody(), d.RawBody))
		got, want := sorted(m.URITexts()), sorted(d.URIs)
		uris.note(d.Name, sameTexts(got, want), "%s", firstDifference(got, want))
		diff := htmlDifference(m.HTML(), d)
		facts.note(d.Name, diff == "", "%s", diff)
		visible.note(d.Name, sameTexts(m.VisibleBody(), d.Visible), "%s", firstDifference(m.VisibleBody(), d.Visible))
	}
	body.demand(0.997)
	raw.demand(0.997)
	uris.demand(0.99)
	facts.demand(0.99)
	visible.demand(0.997)
}
