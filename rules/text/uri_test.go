package text

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestScanText(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"see http://a.com/b?c=d.", "http://a.com/b?c=d"},
		{"(see http://a.com/b)", "http://a.com/b"},
		{"http://a.com/b_(c)", "http://a.com/b_(c)"[:len("http://a.com/b_(c")]},
		{"go to www.a.com/b, or ftp.b.org!", "http://www.a.com/b ftp://ftp.b.org"},
		{"a.com", "http://a.com"},
		{"at a.com:8080/x", "http://a.com:8080/x"},
		{"end of sentence.Then", ""},
		{"file.txt and a.nosuchtld", ""},
		{"a@b.com", "mailto:a@b.com"},
		{"mailto:a@b.com?subject=x", "mailto:a@b.com?subject=x"},
		{"e-mail:a@b.com", "mailto:a@b.com"},
		{"[cid:image001.png@01D4986E.E3459640]", ""},
		{"http:// and www. and @", ""},
		{"\"http://a.com\"", "http://a.com"},
		{"x,www.a.com", "http://www.a.com"},
		{"a..b.com", ""},
		{"a/b@c.com", "http://a/b@c.com"},
		{"HTTPS://A.COM/", "HTTPS://A.COM/"},
		{"http://a.com http://a.com", "http://a.com"},
	} {
		t.Run(c.text, func(t *testing.T) {
			m := Of(contentOf(t, "Subject: s\r\n\r\n"+c.text+"\r\n"), Options{})
			var got []string
			for _, u := range m.URIs() {
				got = append(got, u.Raw)
			}
			if s := strings.Join(got, " "); s != c.want {
				t.Errorf("got %q, want %q", s, c.want)
			}
		})
	}
}

func TestVariants(t *testing.T) {
	for _, c := range []struct{ uri, want string }{
		{"http://a.com/", ""},
		{"http:a.com", "http://a.com"},
		{"http:\\\\a.com\\b", "http://a.com/b"},
		{"a.com/b", "http://a.com/b"},
		{"http://a.com?b", "http://a.com/?b"},
		{"http://%61.com/", "http://a.com/"},
		{"http://a.com/&#98;", "http://a.com/b"},
		{"http://user@a.com/b", "http://a.com/b"[:0]},
		{"http://a.com:80/b", "http://a.com/b"},
		{"https://a.com:443/b", "https://a.com/b"},
		{"http://a.com:8080/b", ""},
		{"http://0x7f000001/", "http://127.0.0.1/"},
		{"http://2130706433/", "http://127.0.0.1/"},
		{"http://0177.1.2.3/", "http://127.1.2.3/"},
		{"http://word/", "http://www.word.com/"},
		{"http://a.com/r?u=http://b.com/&c", "http://b.com/"},
		{"http://a.com./", "http://a.com/"},
		{"http://münchen.de/", "http://xn--mnchen-3ya.de/"},
		{"http://www.a.com.去查询", "http://www.a.com"},
		{"mailto:a@b.com?subject=c", "mailto:a@b.com"},
		{"#top", ""},
		{"/relative", ""},
		{"//a.com/b", "http:////a.com/b"},
	} {
		t.Run(c.uri, func(t *testing.T) {
			all := variantsOf(nil, c.uri, true, DefaultTLDs, nil)
			if all[0] != c.uri {
				t.Errorf("first is %q", all[0])
			}
			if c.want == "" && len(all) != 1 || c.want != "" && !slices.Contains(all, c.want) {
				t.Errorf("got %q, want %q", all, c.want)
			}
		})
	}
}

// pair is a Redirector.
type pair struct{ from, to string }

func (p *pair) Target(uri string) (string, bool) { return p.to, strings.HasPrefix(uri, p.from) }

func TestRedirector(t *testing.T) {
	all := variantsOf(nil, "http://r.com/x", false, DefaultTLDs, &pair{"http://r.com/", "b.com/y"})
	if want := []string{"http://r.com/x", "b.com/y", "http://b.com/y"}; !slices.Equal(all, want) {
		t.Errorf("got %q, want %q", all, want)
	}
}

func TestLinks(t *testing.T) {
	m := Of(contentOf(t, htmlMessage(`<base href="http://base.com/dir/page.html"><a href="../x/./y?z">one</a><a href="../x/./y?z">two</a>
		<img src="//img.com/i.png"><a>none</a><form action=http://f.com/><meta http-equiv=refresh content="0; URL=http://m.com/">
		<td background=http://t.com/b.gif><area href=http://area.com><x/href=http://no.com><a x/href=http://odd.com>`)), Options{})
	got := map[string]string{}
	for _, u := range m.URIs() {
		got[u.Raw] = strings.Join(u.Types, ",") + ":" + strings.Join(u.Anchors, ",")
	}
	for uri, want := range map[string]string{
		"http://base.com/dir/page.html": "base:", "http://base.com/x/y?z": "a:", "../x/./y?z": "parsed:one,two", "http://img.com/i.png": "img:", "": "parsed:none",
		"http://f.com/": "form:", "http://m.com/": "meta:", "http://t.com/b.gif": "td:", "http://area.com": "area:",
	} {
		if got[uri] != want {
			t.Errorf("%q: %q, want %q", uri, got[uri], want)
		}
	}
	if _, ok := got["http://odd.com"]; !ok {
		t.Errorf("no link of an attribute with a slash in %q", got)
	}
}

func TestHosts(t *testing.T) {
	tlds := NewTLDs([]string{"com", "uk", "us", "рф"}, []string{"co.uk"}, []string{"demon.co.uk"})
	for _, c := range []struct{ uri, host, domain string }{
		{"http://www.a.com/x", "www.a.com", "a.com"},
		{"http://u:p@www.a.co.uk:80/x", "www.a.co.uk", "a.co.uk"},
		{"http://www.a.demon.co.uk", "www.a.demon.co.uk", "a.demon.co.uk"},
		{"http://www.ci.town.ca.us", "www.ci.town.ca.us", "www.ci.town.ca.us"},
		{"http://www.town.ca.us", "www.town.ca.us", "www.town.ca.us"},
		{"mailto:a@b.com?x", "b.com", "b.com"},
		{"mailto:a@b@c.com", "", ""},
		{"http://1.2.3.4/", "1.2.3.4", "1.2.3.4"},
		{"http://a.nosuch/", "", ""},
		{"javascript:a.com", "", ""},
		{"http://%61.com/", "", ""},
		{"http://-a.com/", "", ""},
		{"http://пример.рф/", "xn--e1afmkfd.xn--p1ai", "xn--e1afmkfd.xn--p1ai"},
	} {
		host, domain, _ := tlds.HostOf(c.uri)
		if host != c.host || domain != c.domain {
			t.Errorf("%s: %q %q, want %q %q", c.uri, host, domain, c.host, c.domain)
		}
	}
	for host, want := range map[string]string{"www.a.com": "a.com", "www.a.co.uk": "a.co.uk", "com": "com"} {
		if got := DefaultTLDs.Registered(host); got != want {
			t.Errorf("registered of %s: %s, want %s", host, got, want)
		}
	}
}

func TestTraits(t *testing.T) {
	for uri, want := range map[string]Traits{
		"http://a.com/": 0, "http://1.2.3.4/": NumericHost, "http://0x7f000001/": NumericHost, "http://a.com@b.com/": HasUser, "http://xn--mnchen-3ya.de/": Punycode,
		"http://a.com:81/": OddPort, "http://%61.com/": EscapedHost, "http://a.com/?u=https://b.com/": EmbeddedURI, "http://a.com/#me@b.com": Credentialed,
	} {
		m := Of(contentOf(t, htmlMessage(`<a href="`+uri+`">x</a>`)), Options{})
		if got := m.URIs()[0].Traits(); got&want != want || want == 0 && got != 0 {
			t.Errorf("%s: %b, want %b", uri, got, want)
		}
	}
}

func TestSigners(t *testing.T) {
	m := Of(contentOf(t, "Subject: s\r\nDKIM-Signature: v=1; d=mail.a.com;\r\n s=x; b=abc\r\n\r\nb\r\n"), Options{})
	all := m.URIs()
	if len(all) != 1 || all[0].Raw != "domainkeys:mail.a.com" || all[0].Domain != "a.com" || len(all[0].Variants) != 0 || !all[0].Is("domainkeys") {
		t.Errorf("got %+v", all)
	}
}

// What is taken to be whole resolves to itself.
func TestWholeURIs(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	pieces := []string{"http://", "https://", "HTTP://", "//", "/", ".", "..", "a.example", "0", "?", "#", "\n", ":", "www.", "b c", "", "@", "?q=/.x"}
	whole := 0
	for range 20000 {
		var b strings.Builder
		for range r.IntN(7) {
			b.WriteString(pieces[r.IntN(len(pieces))])
		}
		ref := b.String()
		if !isWhole(ref) {
			continue
		}
		whole++
		if got := resolveParts(uriParts{}, cutURI(ref)); got != ref {
			t.Errorf("%q is %q", ref, got)
		}
	}
	if whole < 1000 {
		t.Errorf("%d URIs are whole", whole)
	}
}

// Hosts that were judged before are judged as those that were not.
func TestJudgedHosts(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	l := uriList{tlds: DefaultTLDs}
	for range 2000 {
		n := r.IntN(14)
		uri := [...]string{"http://www.h%d.example.com/", "mailto:u@h%d.co.uk", "http://192.0.2.%d/", "http://h%d/", "cid:h%d.com", "//H%d.Example.ORG:80/x", "javascript:%d"}[r.IntN(7)]
		uri = fmt.Sprintf(uri, n)
		host, domain, ok := DefaultTLDs.HostOf(uri)
		if h, is := l.hostOf(uri); h != (Host{host, domain}) || is != ok {
			t.Fatalf("%q: %v %t, not %q %q %t", uri, h, is, host, domain, ok)
		}
	}
}

// What scanText looks at more closely is each piece between ends that promises something.
func TestScanTextPieces(t *testing.T) {
	r := rand.New(rand.NewPCG(11, 12))
	pieces := []string{"a.com", "http://", "b@c.org", ".", ":", "@", " ", "<", ")", "word", "\xa0", "\"", "x.", ":y", "www.d.net", "\n"}
	total := 0
	for range 5000 {
		var b strings.Builder
		for range r.IntN(9) {
			b.WriteString(pieces[r.IntN(len(pieces))])
		}
		line := []byte(b.String())
		var got, want []string
		scanText(line, DefaultTLDs, func(u textURI) { got = append(got, string(u.raw)) })
		for from := 0; from < len(line); from++ {
			to := from
			for to < len(line) && uriClass[line[to]]&endsURI == 0 {
				to++
			}
			if piece := line[from:to]; bytes.IndexByte(piece, '@') >= 0 || len(piece) > 2 && bytes.ContainsAny(piece[1:len(piece)-1], ".:") {
				scanToken(line, from, to, DefaultTLDs, func(u textURI) { want = append(want, string(u.raw)) })
			}
			from = to
		}
		if total += len(want); !slices.Equal(got, want) {
			t.Fatalf("%q: %q, not %q", line, got, want)
		}
	}
	if total < 1000 {
		t.Errorf("%d URIs in all: the lines show nothing", total)
	}
}

// Texts whose lines are copied whole are folded as those that are read octet by octet.
func TestFoldedLines(t *testing.T) {
	r := rand.New(rand.NewPCG(13, 14))
	pieces := []string{"word", "a longer run of words", " ", "  ", "\n", "\n\n", "\t", "\x00", "\xc2\xa0", "é", "\r", "\x7f", "end.\n", "\v"}
	for range 5000 {
		var b strings.Builder
		for range r.IntN(12) {
			b.WriteString(pieces[r.IntN(len(pieces))])
		}
		for _, chars := range []bool{false, true} {
			whole, single := folder{chars: chars}, folder{chars: chars}
			whole.add([]byte(b.String()))
			for i := 0; i < b.Len(); { // a piece that has no other octet beside it can't be copied with one
				_, n := utf8.DecodeRuneInString(b.String()[i:])
				single.add([]byte(b.String()[i : i+n]))
				i += n
			}
			whole.flush()
			single.flush()
			if string(whole.out) != string(single.out) {
				t.Fatalf("%q: %q, not %q", b.String(), whole.out, single.out)
			}
		}
	}
}
