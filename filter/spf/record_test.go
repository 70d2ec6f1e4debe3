package spf

import (
	"net/netip"
	"strings"
	"testing"
)

func TestParseRecord(t *testing.T) {
	for _, c := range []struct{ name, record, err string }{
		{"nothing", "v=spf1", ""},
		{"blanks", "V=SPF1   a  -all   ", ""},
		{"every mechanism", "v=spf1 include:a.example a a:b.example a/24 a//64 a:b.example/24//64 mx mx:c.example/0//0 ptr ptr:d.example ip4:192.0.2.1 ip4:192.0.2.0/24 ip6:2001:db8::/32 ip6:::ffff:192.0.2.1 exists:e.example ?all", ""},
		{"upper case", "v=spf1 IP4:192.0.2.1 A:%{D} REDIRECT=%{O} -ALL", ""},
		{"unknown modifiers", "v=spf1 x=y x=y a.b-c_d=%{c}%{t}:/ all=1 redirects=", ""},
		{"every macro", "v=spf1 exists:%{s}%{l}%{o}%{d}%{i}%{p}%{v}%{h}%%%_%- -all", ""},
		{"transformers", "v=spf1 exists:%{d2}%{d0127}%{dr}%{dR}%{d1r-+,/_=.}%{d99999999999999999999} -all", ""},
		{"slash in a domain", "v=spf1 a:foo/24/bar.example/24//64", ""},
		{"toplabel with hyphens", "v=spf1 a:foo.xn--p1ai a:foo.1-2", ""},

		{"control", "v=spf1 a:foo\rbar.example", `octet 0x0d`},
		{"beyond ASCII", "v=spf1 exists:%{l}.\xc3\xa4.example", `octet 0xc3`},
		{"beyond ASCII in an unknown modifier", "v=spf1 x=\x80", `octet 0x80`},
		{"unknown mechanism", "v=spf1 moo", "unknown mechanism"},
		{"only a qualifier", "v=spf1 -", "unknown mechanism"},
		{"two qualifiers", "v=spf1 +-all", "unknown mechanism"},
		{"all with a domain", "v=spf1 all:example.org", "takes nothing"},
		{"all with a length", "v=spf1 all/8", "takes nothing"},
		{"include alone", "v=spf1 include", "needs a domain"},
		{"include with nothing", "v=spf1 include:", "has no domain"},
		{"include with a length", "v=spf1 include:a.example/24", "does not end like a domain"},
		{"exists alone", "v=spf1 exists", "needs a domain"},
		{"ptr with a length", "v=spf1 ptr/24", "wrong place"},
		{"length before the domain", "v=spf1 a/24:a.example", "wrong place"},
		{"single slashes", "v=spf1 a/24/64", "not a prefix length"},
		{"lengths reversed", "v=spf1 a//64/24", "wrong place"},
		{"IPv4 length", "v=spf1 a/33", "not a prefix length"},
		{"IPv6 length", "v=spf1 a//129", "not a prefix length"},
		{"huge length", "v=spf1 a/99999999999999999999", "not a prefix length"},
		{"leading zero", "v=spf1 mx/024", "not a prefix length"},
		{"leading zero of ip6", "v=spf1 ip6:2001:db8::/032", "not a prefix length"},
		{"no length", "v=spf1 ip4:192.0.2.1/", "not a prefix length"},
		{"sign", "v=spf1 ip4:192.0.2.1/+8", "not a prefix length"},
		{"ip4 alone", "v=spf1 ip4", "not an address"},
		{"ip4 short", "v=spf1 ip4:192.0.2", "not an address"},
		{"ip4 with zeros", "v=spf1 ip4:192.0.02.1", "not an address"},
		{"ip4 with ip6", "v=spf1 ip4:2001:db8::", "not an address"},
		{"ip6 with ip4", "v=spf1 ip6:192.0.2.1", "not an address"},
		{"ip6 zone", "v=spf1 ip6:fe80::1%eth0", "not an address"},
		{"ip4 without colon", "v=spf1 ip4/8", "not an address"},
		{"one label", "v=spf1 a:museum", "does not end like a domain"},
		{"numeric toplabel", "v=spf1 a:192.0.2.1", "does not end like a domain"},
		{"hyphen first", "v=spf1 a:example.-com", "does not end like a domain"},
		{"two dots at the end", "v=spf1 a:example..", "does not end like a domain"},
		{"dot after a macro", "v=spf1 a:%{d}.", "does not end like a domain"},
		{"percent", "v=spf1 a:100%.example", "begins no macro"},
		{"percent at the end", "v=spf1 a:%", "begins no macro"},
		{"open macro", "v=spf1 a:%{d", "no end"},
		{"empty macro", "v=spf1 a:%{}", "no end"},
		{"letter of explanations", "v=spf1 exists:%{c}.example", "macro letter"},
		{"letter of explanations in exp", "v=spf1 exp=%{r}.example", "macro letter"},
		{"unknown letter", "v=spf1 x=%{x}", "macro letter"},
		{"no letter", "v=spf1 x=%{1}", "macro letter"},
		{"no parts", "v=spf1 a:%{d0}", "keeps 0 parts"},
		{"unknown delimiter", "v=spf1 a:%{d1r:}", "delimits nothing"},
		{"order of transformers", "v=spf1 a:%{dr1}", "delimits nothing"},
		{"two redirects", "v=spf1 redirect=a.example redirect=a.example", "second one"},
		{"two exps", "v=spf1 exp=a.example EXP=b.example", "second one"},
		{"redirect with nothing", "v=spf1 redirect=", "has no domain"},
		{"redirect with a colon", "v=spf1 redirect:a.example", "unknown mechanism"},
		{"qualifier of a modifier", "v=spf1 -x=y", "not a name"},
		{"digit first", "v=spf1 1up=y", "not a name"},
		{"no name", "v=spf1 =y", "not a name"},
		{"most macros", "v=spf1 exists:" + strings.Repeat("%{d}", macroLimit), ""},
		{"too many macros", "v=spf1 exists:" + strings.Repeat("%{d}", macroLimit+1), "more than 256 macros"},
		{"most terms", "v=spf1" + strings.Repeat(" a", termLimit), ""},
		{"too many terms", "v=spf1" + strings.Repeat(" a", termLimit+1), "more than 2000 terms"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if !isRecord(c.record) {
				t.Fatal("not taken for a record")
			}
			_, err := parseRecord(c.record)
			if (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
				t.Errorf("got %v, want %q", err, c.err)
			}
		})
	}
}

func TestIsRecord(t *testing.T) {
	for txt, want := range map[string]bool{
		"v=spf1": true, "v=spf1 ": true, "V=Spf1 a": true, "v=spf10": false, "v=spf1\ta": false, "v=spf": false, "": false,
		" v=spf1": false, "spf2.0/pra a": false,
	} {
		if isRecord(txt) != want {
			t.Errorf("%q: %v", txt, !want)
		}
	}
}

// FuzzRecord: what is taken for a record keeps to the limits, and each of its parts can be used.
func FuzzRecord(f *testing.F) {
	for _, s := range []string{
		"v=spf1 include:_spf.example.net a:foo/bar.example/24//64 mx ?ptr -all", "v=spf1 ip4:192.0.2.0/24 ip6:2001:db8::/32 ~all",
		"v=spf1 exists:%{ir}.%{l1r+-}._spf.%{D} redirect=%{d} exp=why.%{o}", "v=spf1 a:%%%_%-.example x.y=%{c}", "v=spf1 a:\x00\xff.example",
		"v=spf1 a//64/24 mx:%{d}//", "V=SPF1  +all  ",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, txt string) {
		if !isRecord(txt) {
			return
		}
		rec, err := parseRecord(txt)
		if err != nil {
			return
		}
		if len(rec.directives) > termLimit {
			t.Fatalf("%d directives", len(rec.directives))
		}
		value := func(letter byte) string { return strings.Repeat(string(letter)+".", 20) }
		templates := []*template{rec.redirect, rec.exp}
		for _, d := range rec.directives {
			if !strings.Contains(txt, d.text) || d.result == "" {
				t.Fatalf("directive %+v", d)
			}
			if (d.mechanism == mechIP4 || d.mechanism == mechIP6) != d.network.IsValid() {
				t.Fatalf("%s: network %s", d.text, d.network)
			}
			if d.bits[0] < 0 || d.bits[0] > 32 || d.bits[1] < 0 || d.bits[1] > 128 {
				t.Fatalf("%s: lengths %v", d.text, d.bits)
			}
			templates = append(templates, d.target)
		}
		for _, tm := range templates {
			if tm != nil && len(tm.expandName(value)) > nameLimit {
				t.Fatal("a name is too long")
			}
		}
	})
}

func BenchmarkParseRecord(b *testing.B) {
	const txt = "v=spf1 ip4:192.0.2.0/24 ip4:198.51.100.0/24 ip6:2001:db8::/32 include:_spf.example.net include:spf.protection.example.com a:mail.example.org mx ~all"
	b.ReportAllocs()
	for b.Loop() {
		if _, err := parseRecord(txt); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkHostileRecord: a record of 64 KiB whose macros come to nothing, so that all of them have to be expanded.
func BenchmarkHostileRecord(b *testing.B) {
	txt := "v=spf1" + strings.Repeat(" exists:"+strings.Repeat("%{s1r-}", macroLimit)+".a", 10)
	txt += " x=" + strings.Repeat("%{d}", macroLimit)
	txt += strings.Repeat(" a:b.c", (64<<10-len(txt))/len(" a:b.c"))
	e := &evaluation{client: netip.MustParseAddr("2001:db8::1"), id: identity{local: strings.Repeat("-", 64), domain: "example.org"}}
	b.SetBytes(int64(len(txt)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := parseRecord(txt); err == nil {
			b.Fatal("taken")
		}
		rec, err := parseRecord(txt[:10*(len(" exists:.a")+macroLimit*len("%{s1r-}"))+len("v=spf1")])
		if err != nil {
			b.Fatal(err)
		}
		for _, d := range rec.directives {
			d.target.expandName(e.values(b.Context(), "example.org"))
		}
	}
}
