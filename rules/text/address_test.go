package text

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

// addressCases are a From field, and the addresses and names in it by SpamAssassin's word; "-" for none.
var addressCases = []struct{ field, addresses, names string }{
	{"joe@example.org", "joe@example.org", "-"},
	{"Joe Doe <joe@example.org>", "joe@example.org", "Joe Doe"},
	{`"Joe Doe" <joe@example.org>`, "joe@example.org", "Joe Doe"},
	{`"Doe, Joe" <joe@example.org>`, "joe@example.org", "Doe, Joe"},
	{"joe@example.org (Joe Doe)", "joe@example.org", "Joe Doe"},
	{`joe@example.org (Joe Doe), "Ann" <ann@example.net>`, "joe@example.org\nann@example.net", "Joe Doe\nAnn"},
	{"'Joe' <joe@example.org>", "joe@example.org", "Joe"},
	{`"'Joe'" <joe@example.org>`, "joe@example.org", "Joe"},
	{"friends: joe@example.org, ann@example.net;", "joe@example.org\nann@example.net", "-"},
	{"undisclosed-recipients:;", "-", "-"},
	{"<>", "-", "-"},
	{"<joe@example.org>", "joe@example.org", "-"},
	{"< joe@example.org >", "joe@example.org", "-"},
	{"joe", "-", "joe"},
	{`"joe@example.org"`, "joe@example.org", "-"},
	{"joe@example.org <joe@example.org>", "joe@example.org", "joe@example.org"},
	{"=?utf-8?q?J=C3=B6rg?= <joe@example.org>", "joe@example.org", "Jörg"},
	{"=?utf-8?b?SsO2cmc=?= =?utf-8?b?IFg=?= <joe@example.org>", "joe@example.org", "Jörg X"},
	{"Joe <joe@example.org> <joe@example.org>", "joe@example.org", "Joe"},
	{"Joe <<joe@example.org>>", "-", "Joe"},
	{"Joe <joe@example.org", "joe@example.org", "Joe"},
	{"Joe <joe@host example.org>", "joe@host", "Joe"},
	{"Joe <joe@example,org>", "joe@example", "Joe\nJoe <joe@example,org>"},
	{"joe@example.org; ann@example.net", "joe@example.org\nann@example.net", "-"},
	{"joe@@example.org", "joe@", "-"},
	{`"a b"@example.org`, `"a b"@example.org`, "-"},
	{`""@example.org`, "-", "-"},
	{"joe@[192.0.2.1]", "joe@[192.0.2.1]", "-"},
	{`Joe "the" Doe <joe@example.org>`, "joe@example.org", "Joe the Doe"},
	{`"Joe \"the\" Doe" <joe@example.org>`, "joe@example.org", `Joe "the" Doe`},
	{"Joe (a comment) <joe@example.org>", "joe@example.org", "Joe"},
	{" , joe@example.org", "joe@example.org", " "},
	{"joe at example.org", "-", "joe at example.org"},
	{"<mailto:joe@example.org>", "-", "-"},
	{"joe.@example.org, .x@example.net", "joe.@example.org\n.x@example.net", "-"},
	{`"unbalanced <joe@example.org>`, "joe@example.org", "-"},
	{`a@b.example, "c" <d@e.example>, f (g), h@i.example (j)`, "a@b.example\nd@e.example\nh@i.example", "c\nf\nj"},
	{"Joe\\\\ Doe <joe@example.org>", "joe@example.org", "Joe Doe"},
	{"joe@example.org, joe@example.org", "joe@example.org\njoe@example.org", "-"},
	{`=?utf-8?Q?"Foobar"_<noreply@example.com>?=`, "noreply@example.com", "-"},
}

func TestAddresses(t *testing.T) {
	for _, c := range addressCases {
		m := Of(contentOf(t, "From: "+c.field+"\r\n\r\n"), Options{})
		for sel, want := range map[string]string{"From:addr": c.addresses, "From:name": c.names} {
			got := "-"
			if v, ok := m.Header(MustSelector(sel)); ok {
				got = string(v)
			}
			if got != want {
				t.Errorf("%s of %q\n got %q\nwant %q", sel, c.field, got, want)
			}
		}
	}
}

func TestAddressesAreBounded(t *testing.T) {
	const n = 8000
	for _, field := range []string{
		strings.Repeat("<", n), strings.Repeat("<a", n/2) + "@", "<" + strings.Repeat("a@", n/2), strings.Repeat("<a> ", n/4),
		strings.Repeat("(", n), strings.Repeat(`"`, n), strings.Repeat(`"a"`, n/3) + "<", strings.Repeat("a <b@c> <", n/9),
		"<" + strings.Repeat("a>", n/2) + " ", strings.Repeat(" ", n) + "a@b", "a <b@c> " + strings.Repeat("<d@e> ", n/6) + "x",
		strings.Repeat(`\`, n), strings.Repeat("(a", n/2) + "<b@c>", strings.Repeat(",", n),
	} {
		begin := time.Now()
		parseAddresses([]byte(field))
		if d := time.Since(begin); d > 2*time.Second {
			t.Errorf("%.40s…: %v", field, d)
		}
	}
}

func FuzzAddresses(f *testing.F) {
	for _, c := range addressCases {
		f.Add([]byte(c.field))
	}
	f.Fuzz(func(t *testing.T, field []byte) {
		if len(field) > maxValue {
			return
		}
		begin := time.Now()
		for _, a := range parseAddresses(field) {
			if a.hasAddress && bytes.Count(a.address, []byte("@")) > 1 {
				t.Errorf("%q has an address %q", field, a.address)
			}
		}
		if d := time.Since(begin); d > 5*time.Second {
			t.Errorf("took %v", d)
		}
	})
}
