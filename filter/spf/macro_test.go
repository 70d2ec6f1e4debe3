package spf

import (
	"net/netip"
	"strings"
	"testing"
)

// macroValues are those of the examples of RFC 7208 7.4.
func macroValues(client string) *evaluation {
	return &evaluation{
		dns:    lookups{fakeDNS{}},
		client: netip.MustParseAddr(client),
		id:     identity{local: "strong-bad", domain: "email.example.com"},
		helo:   "mx.example.com",
		host:   "gw.example.org",
	}
}

func TestMacros(t *testing.T) {
	for _, c := range []struct{ macros, client, want string }{
		{"%{s}", "192.0.2.3", "strong-bad@email.example.com"},
		{"%{o}", "192.0.2.3", "email.example.com"},
		{"%{d}", "192.0.2.3", "email.example.com"},
		{"%{d4}", "192.0.2.3", "email.example.com"},
		{"%{d3}", "192.0.2.3", "email.example.com"},
		{"%{d2}", "192.0.2.3", "example.com"},
		{"%{d1}", "192.0.2.3", "com"},
		{"%{dr}", "192.0.2.3", "com.example.email"},
		{"%{d2r}", "192.0.2.3", "example.email"},
		{"%{l}", "192.0.2.3", "strong-bad"},
		{"%{l-}", "192.0.2.3", "strong.bad"},
		{"%{lr}", "192.0.2.3", "strong-bad"},
		{"%{lr-}", "192.0.2.3", "bad.strong"},
		{"%{l1r-}", "192.0.2.3", "strong"},
		{"%{ir}.%{v}._spf.%{d2}", "192.0.2.3", "3.2.0.192.in-addr._spf.example.com"},
		{"%{lr-}.lp._spf.%{d2}", "192.0.2.3", "bad.strong.lp._spf.example.com"},
		{"%{lr-}.lp.%{ir}.%{v}._spf.%{d2}", "192.0.2.3", "bad.strong.lp.3.2.0.192.in-addr._spf.example.com"},
		{"%{ir}.%{v}.%{l1r-}.lp._spf.%{d2}", "192.0.2.3", "3.2.0.192.in-addr.strong.lp._spf.example.com"},
		{"%{d2}.trusted-domains.example.net", "192.0.2.3", "example.com.trusted-domains.example.net"},
		{"%{ir}.%{v}._spf.%{d2}", "2001:db8::cb01", "1.0.b.c.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6._spf.example.com"},

		{"%{S}", "192.0.2.3", "strong-bad%40email.example.com"},
		{"%{h}/%{r}/%{c}/%{C}", "2001:db8::1", "mx.example.com/gw.example.org/2001:db8::1/2001%3Adb8%3A%3A1"},
		{"%{p}", "192.0.2.3", "unknown"},
		{"%%{d}%_%-", "192.0.2.3", "%{d} %20"},
		{"%{l.-}", "192.0.2.3", "strong.bad"},
		{"%{l1t}", "192.0.2.3", ""}, // "t" is no delimiter
		{"%{h1r.}", "192.0.2.3", "mx"},
		{"%{d65536}", "192.0.2.3", "email.example.com"},
	} {
		t.Run(c.macros, func(t *testing.T) {
			m, err := parseText(c.macros, true)
			if err != nil {
				if c.want != "" {
					t.Fatal(err)
				}
				return
			}
			e := macroValues(c.client)
			if got := m.expandText(e.values(t.Context(), "email.example.com"), 1000); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestSplitKeepsEmptyParts(t *testing.T) {
	for delims, want := range map[string]string{"-": "..a..b.", "-.": "..a..b."} {
		if got := (piece{letter: 'l', delimiters: delims}).transform("--a--b-"); got != want {
			t.Errorf("%s: got %q, want %q", delims, got, want)
		}
	}
	if got := (piece{letter: 'l', delimiters: "-", parts: 2}).transform("a--b-"); got != "b." {
		t.Errorf("two parts: got %q", got)
	}
}

func TestNamesAreCutAtTheLeft(t *testing.T) {
	label := strings.Repeat("x", 62) + "."
	for _, c := range []struct{ name, spec, want string }{
		{"fits", strings.Repeat(label, 4) + "e", strings.Repeat(label, 4) + "e"},
		{"dot at the end does not count", strings.Repeat(label, 4) + "e.", strings.Repeat(label, 4) + "e"},
		{"one octet too long", strings.Repeat(label, 4) + "ee", strings.Repeat(label, 3) + "ee"},
		{"one long label", strings.Repeat("x", 300), ""},
		{"a long label in front", strings.Repeat("x", 300) + ".example.org", "example.org"},
		{"macros in front", strings.Repeat("%{h}.", 100) + "example.org", strings.Repeat("mx.example.com.", 16) + "example.org"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, err := parseText(c.spec, false)
			if err != nil {
				t.Fatal(err)
			}
			if got := m.expandName(macroValues("192.0.2.3").values(t.Context(), "d.example")); got != c.want {
				t.Errorf("got %q (%d octets), want %q", got, len(got), c.want)
			}
		})
	}
}

// FuzzMacros: expansion from the right gives the end of what expansion from the left gives, within the limits.
func FuzzMacros(f *testing.F) {
	for _, s := range []string{"%{ir}.%{v}._spf.%{d2}", "%{l1r+-}", "a%{S}%%%_%-.b", "%{d99999999999r.}", "%{%{d}}", "%{h}.%{h}.%{h}", "100%", "%{dr-}."} {
		f.Add(s, "strong-bad", "mx.example.com")
	}
	f.Fuzz(func(t *testing.T, s, local, helo string) {
		m, err := parseText(s, true)
		if err != nil {
			return
		}
		if len(s) > 1000 || len(local) > 64 || len(helo) > 255 {
			return
		}
		e := macroValues("2001:db8::1")
		e.id.local, e.helo = local, helo
		values := e.values(t.Context(), "example.org")
		whole := m.expandText(values, 1<<20)
		name := m.expandName(values)
		if len(name) > nameLimit {
			t.Fatalf("%d octets", len(name))
		}
		if whole = strings.TrimSuffix(whole, "."); len(whole) <= nameLimit && whole != name || !strings.HasSuffix(whole, name) {
			t.Fatalf("%q is not the end of %q", name, whole)
		}
		for _, r := range printable(whole) {
			if r < ' ' || r > '~' {
				t.Fatalf("%q is not printable", r)
			}
		}
	})
}
