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
