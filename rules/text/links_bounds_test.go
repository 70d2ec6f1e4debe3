package text

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// TestBaseIsBounded: a base that no client would take is told of, and makes no link as long as it is.
func TestBaseIsBounded(t *testing.T) {
	m := Of(contentOf(t, htmlMessage(`<base href="http://a.com/`+strings.Repeat("x", 100_000)+`/">`+strings.Repeat(`<a href=y>z</a>`, 100))), Options{})
	for _, u := range m.Links() {
		if len(u.Raw) > 2*maxURI {
			t.Errorf("a link of %d octets", len(u.Raw))
		}
	}
	if m.Cut()&CutLinks == 0 {
		t.Errorf("cut: %v", m.Cut())
	}
}

// TestLinksOfCalendars: what a description in HTML leads to is a link.
func TestLinksOfCalendars(t *testing.T) {
	m := Of(contentOf(t, "Content-Type: text/calendar\r\n\r\nBEGIN:VCALENDAR\r\nX-ALT-DESC;FMTTYPE=text/html:<a href=\"http://a.example.com/b\">c</a>\r\nEND:VCALENDAR\r\n"), Options{})
	if !slices.ContainsFunc(m.Links(), func(u URI) bool { return u.Host == "a.example.com" }) {
		t.Errorf("links: %v", m.Links())
	}
}

// TestManyLinksOfTexts: what is left out of a text is told of, and is no address that was cut off.
func TestManyLinksOfTexts(t *testing.T) {
	var b strings.Builder
	for i := range maxURIs + 10 {
		fmt.Fprintf(&b, "http://a.example.com/%d\r\n", i)
	}
	m := Of(contentOf(t, "Content-Type: text/plain\r\n\r\n"+b.String()), Options{BodyScan: -1})
	if m.Links(); m.Cut()&CutLinks == 0 || m.URIsTruncated() {
		t.Errorf("cut: %v; truncated: %v", m.Cut(), m.URIsTruncated())
	}
}

// TestManyParts: however many parts there are, the links of the last are looked at, and all together are bounded.
func TestManyParts(t *testing.T) {
	message := func(links string) string {
		page := "X-ALT-DESC;FMTTYPE=text/html:<p>b" + links + "</p>\r\n"
		calendar := "--b\r\nContent-Type: text/calendar\r\n\r\nBEGIN:VCALENDAR\r\n" + strings.Repeat(page, maxCalendarPages) + "END:VCALENDAR\r\n"
		return "Content-Type: multipart/mixed; boundary=b\r\n\r\n" + strings.Repeat(calendar, 60) +
			"--b\r\nContent-Type: text/html\r\n\r\n<!--><a/href=\"http://a.example.com/b\">c</a>\r\n--b--\r\n"
	}
	m := Of(contentOf(t, message("")), Options{})
	if !slices.ContainsFunc(m.Links(), func(u URI) bool { return u.Host == "a.example.com" }) {
		t.Errorf("links: %v", m.Links())
	}
	n := 0
	many := message("@")
	var b strings.Builder
	for s := range strings.SplitSeq(many, "@") {
		b.WriteString(s)
		for range 10 {
			fmt.Fprintf(&b, "<a href=http://c%d.example.com/>d</a>", n)
			n++
		}
	}
	m = Of(contentOf(t, b.String()), Options{})
	if got := len(m.Links()); got <= maxURIs || got > 2*maxURIs+lastRoom.links*60*(maxCalendarPages+1)+leastRoom.links || m.Cut()&CutLinks == 0 {
		t.Errorf("%d links, cut %v", got, m.Cut())
	}
}

// TestFollowed: what some client makes a link of is one, and what a page loads is none.
func TestFollowed(t *testing.T) {
	for page, want := range map[string]bool{
		`<a href="X">b</a>`: true, `<map><area href="X"></map>`: true, `<form action="X">`: true, `<button formaction="X">`: true,
		`<v:roundrect href="X">b</v:roundrect>`: true, `<!--[if mso]><v:rect href="X">b</v:rect><![endif]-->`: true, `<iframe src="X"></iframe>`: true,
		`<embed src="X">`: true, `<object data="X"></object>`: true, `<svg><a xlink:href="X">b</a></svg>`: true, `<meta http-equiv=refresh content="0;url=X">`: true,
		`<img src="X">`: false, `<link rel=stylesheet href="X">`: false, `<body background="X">`: false, `<table><tr><td background="X">b</td></tr></table>`: false,
		`<div background="X">b</div>`: false, `<script src="X"></script>`: false, `<video><source src="X"></video>`: false, `<v:fill src="X"/>`: false,
		`<svg><image xlink:href="X"/></svg>`: false, `<input type=image src="X">`: false, `<span href="X">b</span>`: false,
	} {
		m := Of(contentOf(t, htmlMessage(strings.ReplaceAll(page, "X", "http://x.example.com/y"))), Options{})
		all := m.Links()
		i := slices.IndexFunc(all, func(u URI) bool { return u.Host == "x.example.com" })
		if got := i >= 0 && all[i].Followed(); got != want {
			t.Errorf("%s: followed: %v", page, got)
		}
		if i >= 0 && !want && all[i].Traits()&Unread != 0 {
			t.Errorf("%s: there is more to it", page)
		}
	}
}

// TestKindsAreBounded: elements of a page may have any name; what is told of a URI does not grow with them.
func TestKindsAreBounded(t *testing.T) {
	var b strings.Builder
	for i := range 5000 {
		fmt.Fprintf(&b, "<x%d href=http://a.example.com/b>", i)
	}
	m := Of(contentOf(t, htmlMessage(b.String())), Options{})
	l := m.Links()
	if len(l) != 1 || len(l[0].Types) > maxKinds || !l[0].Followed() {
		t.Errorf("%d links, the first of the kinds %.20q", len(l), l[0].Types)
	}
}
