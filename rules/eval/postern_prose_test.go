package eval

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

// someText makes a text of pieces that functions look for, and of others.
func someText(r *rand.Rand) string {
	pieces := []string{
		"pay", "pal", "PayPal", "google", "Drive", "microsoft 365", "Itaú", "it's", "'", "o2", "AT&T", "att", "a", "B", "xkcdqrst", "a1b2c3", "joe@b.example",
		"JOE@B.EXAMPLE", "@b.example", "@B.EXAMPLE", "http://x.example/", ".,;", "(word)", "\u00a0", "\u2003", "\xff", "\xe2\x80", "caixa econômica", "K", "\u212a", "é", "-", "\n", "9", "internal revenue service",
		"social security administration", "\t", "Ünï", "p\u0430y", "\u03bf", "\u2126", "a\u200bb", "x\u034fy", "a\u00adb", "\ufeffz", "\u6f22\u5b57",
		"\u0e01\u0e02", "[Hello]", "{|}", "\x00", "\x7f", "\x0e", "longerthaneight",
	}
	var b strings.Builder
	for range r.IntN(40) {
		b.WriteString(pieces[r.IntN(len(pieces))])
		if r.IntN(3) > 0 {
			b.WriteByte(' ')
		}
	}
	return b.String()
}

// TestProse compares what one pass counts with what the standard library says to each question by itself.
func TestProse(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	found := map[string]bool{}
	for range 3000 {
		b := []byte(someText(r))
		p := readProse(b)
		plain, letters, upper := 0, 0, 0
		for _, w := range bytes.Fields(b) {
			if w = bytes.Trim(w, ".,;:!?()[]\"'"); len(w) >= 3 && len(w) <= 60 && !bytes.ContainsAny(w, "/@.:_=<>-&") {
				plain++
			}
		}
		for _, c := range string(b) {
			if c < 0x80 && unicode.IsLetter(c) {
				letters++
				if unicode.IsUpper(c) {
					upper++
				}
			}
		}
		got := []int{p.words, p.plain, p.letters, p.upper}
		if want := []int{wordsIn(b), plain, letters, upper}; !slices.Equal(got, want) {
			t.Fatalf("%q: %v, not %v", b, got, want)
		}
		if want := !bytes.ContainsFunc(b, func(r rune) bool { return r >= 0x80 }); p.ascii != want {
			t.Fatalf("%q: ASCII %v", b, p.ascii)
		}
		if n := invisible(b); n > 0 && !p.unseen {
			t.Fatalf("%q: %d signs that can't be seen", b, n)
		}
		if n, _ := mixedWords(string(b)); n > 0 && !p.mixed {
			t.Fatalf("%q: %d mixed words", b, n)
		}
		for _, address := range []string{"joe@b.example", "k@b.example", "longerthaneight", "é@b.example", "ünï@b.example"} {
			got, want := p.mentions(address), bytes.Contains(bytes.ToLower(b), []byte(address)) && bytes.IndexByte(b, '@') >= 0
			if found[address] = found[address] || got; got != want {
				t.Fatalf("%q: names %s: %v", b, address, got)
			}
		}
	}
	for address, some := range found {
		if !some {
			t.Errorf("no text names %s", address)
		}
	}
}

// A word without digits that is random has a row of octets by which none is spoken.
func TestUnspoken(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 10))
	found := 0
	for range 20000 {
		w := make([]byte, 6+r.IntN(12))
		for i := range w {
			w[i] = "bcdfgkLMNpqrstvwxzhsaEY-\xe2"[r.IntN(25)]
		}
		if random(w) {
			found++
			if !unspoken(w) {
				t.Fatalf("%q is random", w)
			}
		}
	}
	if found < 1000 {
		t.Errorf("%d words are random", found)
	}
}

// TestBrandsIn compares with a search that puts each four words together.
func TestBrandsIn(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	total, ascii := 0, 0
	for range 6000 {
		text := someText(r)
		for range r.IntN(20) / 19 * 12 { // longer than what is read at once
			text += someText(r)
		}
		if r.IntN(2) == 0 {
			text = strings.Map(func(r rune) rune {
				if r >= utf8.RuneSelf {
					return -1
				}
				return r
			}, text)
		}
		var got, want []string
		brandsIn(text, func(_ *brand, name string) bool { got = append(got, name); return true })
		var words []string
		for _, w := range strings.FieldsFunc(strings.ToLower(text), func(r rune) bool { return !unicode.IsLetter(r) && (r < '0' || r > '9') && r != '\'' }) {
			words = append(words, strings.ReplaceAll(w, "'", ""))
			name := ""
			for k := len(words) - 1; k >= max(0, len(words)-maxBrandWords); k-- {
				if name = words[k] + name; words[k] != "" && brandIndex().names[name] != nil {
					want = append(want, name)
				}
			}
		}
		if total += len(want); !slices.Equal(got, want) {
			t.Fatalf("%q: %q, not %q", text, got, want)
		}
		if !readProse([]byte(text)).ascii {
			continue
		}
		got = nil
		namedIn([]byte(text), func(_ *brand, name string) bool { got = append(got, name); return true })
		if ascii += len(want); !slices.Equal(got, want) {
			t.Fatalf("%q, of ASCII: %q, not %q", text, got, want)
		}
	}
	if total < 1000 || ascii < 1000 {
		t.Errorf("%d brands in all, %d in ASCII: the texts show nothing", total, ascii)
	}
}

func TestOwnDomainInName(t *testing.T) {
	s := &Settings{}
	if _, err := s.Add("postern_domains", "mail.example.org", Position{}); err != nil {
		t.Fatal(err)
	}
	check, err := Functions()["postern_own_domain_in_name"].Compile(s, nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, hits := range map[string]bool{
		"mail delivery": false, "example support": true, "mail.example.org": true, "examples": false,
	} {
		if n, _ := check(posternMail(t, "From: \""+name+"\" <a@b.example>\n\n")); n > 0 != hits {
			t.Errorf("%s: %d", name, n)
		}
	}
}

// TestLinksByHost: however many links there are, what is asked of a host is found out once.
func TestLinksByHost(t *testing.T) {
	var b strings.Builder
	b.WriteString("From: a@b.example\n\n")
	for i := range 400 {
		fmt.Fprintf(&b, "http://www.paypa1.com/%d http://www.example.net/%d\n", i, i)
	}
	c := posternMail(t, b.String()).claims()
	if len(c.links()) != 800 || len(c.hosts()) != 2 {
		t.Fatalf("%d links to %d hosts", len(c.links()), len(c.hosts()))
	}
	if c.hosts()[0].looks() != "paypal" {
		t.Errorf("looks like %s", c.hosts()[0].looks())
	}
	if n := testing.AllocsPerRun(10, func() {
		for _, h := range c.hosts() {
			h.looks()
		}
	}); n != 0 {
		t.Errorf("what a host looks like is made anew: %v allocations", n)
	}
}

// TestLongRecipients: what is too long for an address is not looked for in the text, in which it might begin everywhere.
func TestLongRecipients(t *testing.T) {
	m := mailOf(t, "To: <"+strings.Repeat("a", 400)+"@x.example>, joe@b.example\n\nhello JOE@B.example\n")
	if got := m.claims().to; len(got) != 1 || got[0] != "joe@b.example" {
		t.Errorf("recipients: %q", got)
	}
	if !m.prose().mentions("joe@b.example") || m.prose().mentions("jo@b.example") {
		t.Error("what the text mentions")
	}
}
