package dkim

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"
)

// naiveBody is the canonicalisation as RFC 6376 3.4.3 and 3.4.4 word it, step by step, with no regard to its price.
func naiveBody(body string, c Canon) string {
	if c == Relaxed {
		// A line ends with CRLF or with the body.
		lines := strings.Split(body, "\r\n")
		for i, l := range lines {
			l = strings.TrimRight(l, " \t")
			lines[i] = runs.ReplaceAllString(l, " ")
		}
		body = strings.Join(lines, "\r\n")
	}
	for strings.HasSuffix(body, "\r\n") {
		body = strings.TrimSuffix(body, "\r\n")
	}
	if body == "" && c == Relaxed {
		return ""
	}
	return body + "\r\n"
}

var runs = regexp.MustCompile("[ \t]+")

// naiveField is RFC 6376 3.4.2, step by step.
func naiveField(raw string, c Canon) string {
	raw = strings.TrimSuffix(raw, "\r\n")
	name, body, ok := strings.Cut(raw, ":")
	if c == Simple || !ok {
		return raw + "\r\n"
	}
	var b strings.Builder
	for _, ch := range []byte(name) {
		if 'A' <= ch && ch <= 'Z' {
			ch += 'a' - 'A'
		}
		b.WriteByte(ch)
	}
	body = strings.ReplaceAll(body, "\r\n", "")
	body = runs.ReplaceAllString(body, " ")
	return strings.TrimRight(b.String(), " \t") + ":" + strings.Trim(body, " ") + "\r\n"
}

// pieces writes a body in pieces of the sizes given, over and over; 0 is all of it.
type pieces struct {
	body  string
	sizes []int
}

func (p pieces) WriteTo(w io.Writer) (int64, error) {
	rest := []byte(p.body)
	for i := 0; len(rest) > 0; i++ {
		n := len(rest)
		if k := p.sizes[i%len(p.sizes)]; k > 0 {
			n = min(k, n)
		}
		piece := bytes.Clone(rest[:n])
		if _, err := w.Write(piece); err != nil {
			return 0, err
		}
		clear(piece) // nobody may keep it
		rest = rest[n:]
	}
	return int64(len(p.body)), nil
}

func hashed(t testing.TB, c Canon, limit int64, body io.WriterTo) BodySum {
	t.Helper()
	b := &Bodies{}
	b.Want(c, limit)
	if err := b.Hash(body); err != nil {
		t.Fatal(err)
	}
	sum, ok := b.Sum(c, limit)
	if !ok {
		t.Fatal("the sum that was asked for is not there")
	}
	return sum
}

func checkBody(t *testing.T, body string, sizes []int) {
	t.Helper()
	b := &Bodies{}
	limits := []int64{Whole, 0, 1, int64(len(body) / 2), int64(len(body))}
	for _, c := range []Canon{Simple, Relaxed} {
		for _, l := range limits {
			b.Want(c, l)
		}
	}
	if err := b.Hash(pieces{body, sizes}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []Canon{Simple, Relaxed} {
		want := naiveBody(body, c)
		for _, l := range limits {
			got, ok := b.Sum(c, l)
			if !ok || got.Length != int64(len(want)) {
				t.Fatalf("%s of %q in %v: %d octets, want %d", c, body, sizes, got.Length, len(want))
			}
			w := want
			if l > int64(len(want)) {
				continue
			} else if l >= 0 {
				w = want[:l]
			}
			if got.Sum != sha256.Sum256([]byte(w)) {
				t.Fatalf("%s of %q in %v to %d: not the hash of %q", c, body, sizes, l, w)
			}
		}
	}
}

func TestBodies(t *testing.T) {
	for name, body := range map[string]string{
		"nothing":                  "",
		"a blank line":             "\r\n",
		"blank lines":              "\r\n\r\n\r\n",
		"RFC 6376 3.4.5":           " C \r\nD \t E\r\n\r\n\r\n",
		"no CRLF at the end":       "abc",
		"blanks at the end":        "abc \t",
		"only blanks":              " \t ",
		"blank lines of blanks":    "a\r\n \r\n\t\r\n",
		"blank lines in between":   "a\r\n \r\n\r\nb \r\n",
		"a line that begins blank": "a\r\n b\r\n\tc\r\n  d\r\n",
		"CR alone":                 "a\rb \r c\r\r\n\r",
		"LF alone":                 "a\nb \n c\n\n \n",
		"form feed behind CR":      "a\r\f \r\n\f \r\nb",
		"signs below SP":           "\x01\x02 \x00\x1f  !\r\n! \r\n",
		"long words":               strings.Repeat("x", 100) + " " + strings.Repeat("y", 100) + " \r\n",
		"many blank lines":         "a" + strings.Repeat("\r\n", 3000) + "b\r\n",
		"8-bit":                    "\xa0\xa0 \x85\xff\r\n\x80 \x80",
	} {
		t.Run(name, func(t *testing.T) {
			for _, sizes := range [][]int{{0}, {1}, {2}, {3, 1}, {7}, {8, 9, 10}} {
				checkBody(t, body, sizes)
			}
		})
	}
}

func TestRandomBodies(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	alphabet := []string{"a", " ", "\t", "\r\n", "\r", "\n", "\r\n\r\n", "words that go on", "\f", "!", "\x00", "\xff", "  ", "\r\n ", " \r\n"}
	for range 5000 {
		var b strings.Builder
		for range r.IntN(30) {
			b.WriteString(alphabet[r.IntN(len(alphabet))])
		}
		checkBody(t, b.String(), []int{r.IntN(20), 1 + r.IntN(9)})
	}
}

func FuzzBody(f *testing.F) {
	f.Add([]byte(" C \r\nD \t E\r\n\r\n\r\n"), uint8(3), uint8(5))
	f.Add([]byte("a\rb \r c\r\r\n\r"), uint8(1), uint8(0))
	f.Add([]byte(strings.Repeat("a \f\r\n", 9)), uint8(8), uint8(9))
	f.Fuzz(func(t *testing.T, body []byte, a, b uint8) {
		checkBody(t, string(body), []int{int(a), int(b) + 1})
	})
}

func TestLimitBeyondTheBody(t *testing.T) {
	if got := hashed(t, Simple, 10, pieces{"abc\r\n", []int{0}}); got.Length != 5 {
		t.Errorf("got the length %d, want 5", got.Length)
	}
}

func TestFields(t *testing.T) {
	for name, c := range map[string]struct{ raw, simple, relaxed string }{
		"RFC 6376 3.4.5, A":     {"A: X\r\n", "A: X\r\n", "a:X\r\n"},
		"RFC 6376 3.4.5, B":     {"B : Y\t\r\n\tZ  \r\n", "B : Y\t\r\n\tZ  \r\n", "b:Y Z\r\n"},
		"nothing":               {"X:\r\n", "X:\r\n", "x:\r\n"},
		"blanks":                {"X: \t \r\n", "X: \t \r\n", "x:\r\n"},
		"a fold of blanks":      {"X: a\r\n \r\n b\r\n", "X: a\r\n \r\n b\r\n", "x:a b\r\n"},
		"no CRLF":               {"X: a", "X: a\r\n", "x:a\r\n"},
		"CR alone":              {"X: a\r b\r\n", "X: a\r b\r\n", "x:a\r b\r\n"},
		"no letters of Unicode": {"\u212a: \u00c4\u00a0\r\n", "\u212a: \u00c4\u00a0\r\n", "\u212a:\u00c4\u00a0\r\n"},
	} {
		if got := string(AppendField([]byte("+"), c.raw, Simple)); got != "+"+c.simple {
			t.Errorf("%s, simple: got %q, want %q", name, got, c.simple)
		}
		if got := string(AppendField([]byte("+"), c.raw, Relaxed)); got != "+"+c.relaxed {
			t.Errorf("%s, relaxed: got %q, want %q", name, got, c.relaxed)
		}
	}
}

func FuzzField(f *testing.F) {
	f.Add("B : Y\t\r\n\tZ  \r\n")
	f.Add("X: a\r b\r\n")
	f.Add("no colon")
	f.Fuzz(func(t *testing.T, raw string) {
		for _, c := range []Canon{Simple, Relaxed} {
			if got, want := string(AppendField(nil, raw, c)), naiveField(raw, c); got != want {
				t.Errorf("%s of %q: got %q, want %q", c, raw, got, want)
			}
		}
	})
}

func TestParseCanons(t *testing.T) {
	for in, want := range map[string]string{
		"": "simple/simple", "simple": "simple/simple", "relaxed": "relaxed/simple", "relaxed/relaxed": "relaxed/relaxed",
		" simple / RELAXED ": "simple/relaxed", "nofws": "", "relaxed/": "", "a/b/c": "", "simple/simple/simple": "",
	} {
		h, b, err := ParseCanons(in)
		got := h.String() + "/" + b.String()
		if (err != nil) != (want == "") || err == nil && got != want {
			t.Errorf("%q: got %s, %v; want %q", in, got, err, want)
		}
	}
}

// bodiesToMeasure are of four megabytes each.
func bodiesToMeasure() map[string][]byte {
	fill := func(s string) []byte { return bytes.Repeat([]byte(s), (4<<20)/len(s)) }
	return map[string][]byte{
		"text":     fill("The quick brown fox jumps over the lazy dog, and the dog minds it not at all.\r\n"),
		"base64":   fill(strings.Repeat("UG9zdGVybiBp", 6) + "eQ==\r\n"),
		"indented": fill("  {\r\n    \"name\":\t\"value\",\r\n    \"other\": [1,  2,  3]\r\n  }\r\n\r\n"),
		"blank":    fill("\r\n"),
		"blanks":   fill(" \t"),
	}
}

func BenchmarkBody(b *testing.B) {
	for _, kind := range []string{"text", "base64", "indented", "blank", "blanks"} {
		body := bodiesToMeasure()[kind]
		for _, c := range []Canon{Simple, Relaxed} {
			b.Run(fmt.Sprintf("%s/%s", kind, c), func(b *testing.B) {
				b.SetBytes(int64(len(body)))
				for b.Loop() {
					hashed(b, c, Whole, Body(bytes.NewReader(body), 0, int64(len(body))))
				}
			})
		}
	}
	text := bodiesToMeasure()["text"]
	b.Run("text/both", func(b *testing.B) {
		b.SetBytes(int64(len(text)))
		for b.Loop() {
			s := &Bodies{}
			s.Want(Simple, Whole)
			s.Want(Relaxed, Whole)
			if err := s.Hash(Body(bytes.NewReader(text), 0, int64(len(text)))); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("sha256", func(b *testing.B) {
		b.SetBytes(int64(len(text)))
		for b.Loop() {
			sha256.Sum256(text)
		}
	})
}
