package text

import (
	"bytes"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/net/html"
)

// The oracle of what browsers see is golang.org/x/net/html, which builds the tree that they build.

// oraclePage gives where the links of a page lead and the text in it, without white space.
func oraclePage(src []byte) (links map[string]bool, text string, ok bool) {
	root, err := html.ParseWithOptions(bytes.NewReader(src), html.ParseOptionEnableScripting(false))
	if err != nil {
		return nil, "", false
	}
	links = make(map[string]bool)
	var b strings.Builder
	for n := range root.Descendants() {
		if n.Type == html.TextNode && !withinSilent(n) {
			b.WriteString(n.Data)
		}
		for _, a := range n.Attr {
			if a.Key == "href" && n.Type == html.ElementNode {
				links[a.Val] = true
			}
		}
	}
	return links, b.String(), true
}

func withinSilent(n *html.Node) bool {
	for p := n.Parent; p != nil; p = p.Parent {
		if p.Namespace != "" {
			continue
		}
		switch p.Data {
		case "style", "script", "title", "template", "iframe", "noembed", "noframes":
			return true
		}
	}
	return false
}

// comparePage compares a page with what the oracle says: no link may be missing, and no text.
func comparePage(t *testing.T, src []byte) {
	t.Helper()
	if len(src) > 1<<14 || bytes.Contains(src, []byte("[if")) || bytes.IndexByte(src, 0) >= 0 {
		return
	}
	if bytes.Contains(src, []byte("[CDATA[")) {
		src = bytes.ReplaceAll(src, []byte("&"), nil) // the oracle decodes references in sections
	}
	src = bytes.ToValidUTF8(bytes.ReplaceAll(src, []byte("\r"), []byte("\n")), []byte("\ufffd"))
	if low := bytes.ToLower(src); bytes.Contains(low, []byte("<template")) && (bytes.Contains(low, []byte("<svg")) || bytes.Contains(low, []byte("<math"))) {
		return // the oracle closes elements of other languages by end tags in a template within
	}
	links, text, ok := oraclePage(src)
	if !ok || bytes.Count(src, []byte{'<'}) > maxOpen/2 {
		return
	}
	p := readPage(src)
	have := make(map[string]bool)
	for _, l := range p.links {
		have[string(bytes.TrimSpace([]byte(l.raw)))] = true
	}
	for l := range links {
		if l = strings.TrimSpace(l); l != "" && l[0] != '#' && !hasFold([]byte(l), "data:") && !hasFold([]byte(l), "cid:") && !have[l] {
			t.Errorf("%q: the link %q is missing in %v", src, l, have)
		}
	}
	var ours [256]int
	for _, c := range append(bytes.Clone(p.seen), p.hidden...) {
		ours[c]++
	}
	for _, c := range []byte(text) {
		if isAlnum(c) || c >= 0x80 {
			if ours[c]--; ours[c] < 0 {
				t.Errorf("%q: %q is missing in %q and %q", src, text, p.seen, p.hidden)
				return
			}
		}
	}
}

func FuzzPage(f *testing.F) {
	for _, s := range []string{
		"<a/href=x>b</a><a href='c' href=d title=\"e\"href=f>",
		"<![CDATA[a>b]]><svg><![CDATA[c>d]]><style><a href=e></style></svg>f",
		"<!--><a href=a><!---><a href=b>--><!-- --!><a href=c><!--",
		"<style></style x><title>a</title/><textarea><a href=b></textarea><a href=c>",
		"<script><!--<script></script>--></script><a href=a><script><!-- </script><a href=b>",
		"<svg><desc><style><a href=a></style></desc><p><style><a href=b></style>",
		"<math><mi><title><a href=a></title></mi><annotation-xml encoding=text/html><style><a href=b>",
		"<table><tr><td>a<table><td>b</table><p>c<p>d<li>e<dd>f</table>&ampg&notit;&#x110000;&lt",
		"<svg><a xlink:href=a><image href=b /></a><font color=c><style><a href=d>", "<select><option><a href=a></select><plaintext><a href=b>",
		"<p style='display:none'><font size=1>a<p>b</p></font>c", "<xmp><a href=a></xmp><noscript><a href=b></noscript><iframe><a href=c></iframe>",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(comparePage)
}

// pageFragments are what tag soup is made of.
var pageFragments = strings.Split(`<p>|</p>|<div>|</div>|<b>|</b>|<a href=1>|<a/href='2'>|</a>|<a href=3 href=4>|<span>|</span>|<table>|</table>|<tr>|<td>|</td>|<th>|`+
	`<style>|</style>|</style x>|<script>|</script>|</script/>|<title>|</title>|<textarea>|</textarea>|<!--|-->|--!>|<!-->|<!--->|<!x>|</ x>|`+
	`<![CDATA[|]]>|<svg>|</svg>|<svg/>|<math>|</math>|<mi>|</mi>|<desc>|</desc>|<foreignObject>|</foreignObject>|<annotation-xml>|`+
	`<annotation-xml encoding=text/html>|<g>|</g>|<g/>|<font>|<font color=red>|</font>|<br>|</br>|<img src=5>|<image href=6 />|<ul>|<li>|</li>|</ul>|`+
	`<button>|</button>|<iframe>|</iframe>|<xmp>|</xmp>|<noscript>|</noscript>|<template>|</template>|<object>|</object>|<h1>|</h2>|<dd>|<dt>|`+
	`<nobr>|<i>|</i>|<x-y>|</x-y>|<a xlink:href=7>|<area href=8>|<base href=9>|<input>|<center>|</center>|<pre>|</pre>|<option>|`+
	`text |1 < 2|&amp;|&copy|&#65|"|'|>|=|<a title="x|y"href=10>|<a title='|/|&notit;|<!doctype html>|<?x?>`, "|")

// TestPageAsParsed compares pages of tag soup.
func TestPageAsParsed(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range generatedPages() {
		var b []byte
		for range 1 + r.IntN(25) {
			b = append(b, pageFragments[r.IntN(len(pageFragments))]...)
			if r.IntN(3) == 0 {
				b = append(b, 'a'+byte(r.IntN(26)))
			}
		}
		if comparePage(t, b); t.Failed() {
			return
		}
	}
}

// generatedPages is how many there are.
func generatedPages() int {
	if n, err := strconv.Atoi(os.Getenv("POSTERN_GENERATED")); err == nil {
		return 100 * n
	}
	return 5000
}
