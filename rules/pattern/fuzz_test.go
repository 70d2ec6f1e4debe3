package pattern

import (
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/dlclark/regexp2"
)

var fuzzSeeds = []string{
	`\bv[i1!]agra\b`, `^(?:re|fwd?):\s*`, `(?<!\w)(["'])[^"']+\1`, `(?i)a(?-i:b)|c{2,}?`, `(?>a+|b)*+c`, `[[:alpha:]_-]+[^\W\d]`,
	`(?|(a)|(b))\1`, `\x{201c}|\xe2\x80\x9c`, `(?<n>x)\k<n>\g{-1}`, `(?x) a # b
	c`, `(?:.{0,50}\n){3}`, `$^\A\z\Z\G\b\B\K`, `{,3}a{,3}`, `\R\h\v\N\12\012`, `(?#c)(?=a)(?!b)(?<=c)`, `(?:a*)*$`, `(?(1)a|b)`,
}

// FuzzCompile looks for patterns that make the parser or the matcher panic, and for a set that answers otherwise than Find.
func FuzzCompile(f *testing.F) {
	for i, s := range fuzzSeeds {
		f.Add(s, uint8(i), "Re: viagra \"x\"\nabc\xe2\x80\x9c", "aab\n")
	}
	fillers := []*Pattern{MustCompile(`\W[0-9]x`, Options{}), MustCompile(`[xyz]{2}$`, Options{}), MustCompile("pills", Options{})}
	f.Fuzz(func(t *testing.T, expr string, flags uint8, one, two string) {
		if len(expr) > 300 || len(one)+len(two) > 2000 {
			return
		}
		o := Options{IgnoreCase: flags&1 != 0, DotAll: flags&2 != 0, MultiLine: flags&4 != 0, Extended: flags&8 != 0, Steps: 20_000}
		p, err := Compile(expr, o)
		if err != nil {
			var e *Error
			if !errors.As(err, &e) || e.Offset < 0 || e.Offset > len(expr) {
				t.Fatalf("%v", err)
			}
			return
		}
		segs := [][]byte{[]byte(one), []byte(two)}
		want, gave := -1, false
		for i, b := range segs {
			loc, ok, err := p.FindSubmatch(b, 0)
			gave = gave || err != nil
			if ok {
				check(t, loc, len(b))
				want = i
				break
			}
		}
		if n, err := p.Count(segs[0], 50); err == nil && n > 0 != (want == 0) && !gave {
			t.Errorf("counts %d, found in %d", n, want)
		}
		got := -1
		err = NewSet(append(fillers, p), SetOptions{Memory: NewMemory(64 << 10)}).Scan(nil, segs, func(i, seg int) {
			if i == len(fillers) {
				got = seg
			}
		})
		if err == nil && !gave && got != want {
			t.Errorf("set: %d, Find: %d", got, want)
		}
		if text, ok := p.Sample(rand.New(rand.NewPCG(1, uint64(flags)))); ok {
			if ok, _ := p.Match(text); !ok {
				t.Errorf("no match in the sample %q", text)
			}
		}
	})
}

func check(t *testing.T, loc []int, n int) {
	t.Helper()
	for i := 2; i < len(loc); i += 2 {
		if loc[i] < 0 != (loc[i+1] < 0) || loc[i] > loc[i+1] || loc[i+1] > n {
			t.Fatalf("%v", loc)
		}
	}
	if loc[0] < 0 || loc[1] > n {
		t.Fatalf("%v", loc)
	}
}

// common writes patterns that mean the same to regexp2: no shorthand classes, which know Unicode there, and no group is used
// after it may have been empty in a loop.
func common(r *rand.Rand, depth int) string {
	one := func(of ...string) string { return of[r.IntN(len(of))] }
	var b strings.Builder
	for n := 1 + r.IntN(3); n > 0; n-- {
		switch k := r.IntN(10); {
		case k < 4 || depth == 0:
			b.WriteString(one("a", "b", "c", "ab", "\xe9", "[ab]", "[^a]", "[b-d]", ".", "-"))
		case k == 4:
			b.WriteString(one(`\b`, `\B`, "^", "$", `\A`, `\z`))
			continue
		default:
			b.WriteString(one("(?:", "(?:", "(", "(?=", "(?!", "(?>") + common(r, depth-1) + "|" + common(r, depth-1) + ")")
		}
		b.WriteString(one("", "", "", "?", "{2}", "{1,2}", "+?", "*", "+"))
	}
	return b.String()
}

// FuzzOracle compares the first match with regexp2's, which sees each octet as a character of Latin-1.
func FuzzOracle(f *testing.F) {
	for i := range 30 {
		f.Add(uint64(i), "abcab-\xe9\nba")
	}
	f.Fuzz(func(t *testing.T, seed uint64, text string) {
		if len(text) > 60 {
			return
		}
		for i := range text {
			if c := text[i : i+1]; c >= "\x80" && c != "\xe9" { // \b knows letters beyond ASCII there
				return
			}
		}
		expr := common(rand.New(rand.NewPCG(seed, 7)), 3)
		p, err := Compile(expr, Options{})
		if err != nil {
			t.Fatalf("%q: %v", expr, err)
		}
		if strings.Contains(text+expr, "\xe9") && (strings.Contains(expr, `\b`) || strings.Contains(expr, `\B`)) {
			return
		}
		re, err := regexp2.Compile(latin1(expr), regexp2.None)
		if err != nil {
			t.Fatalf("%q: %v", expr, err)
		}
		re.MatchTimeout = time.Second
		m, err := re.FindStringMatch(latin1(text))
		if err != nil {
			return
		}
		start, end, ok, err := p.Find([]byte(text), 0)
		if err != nil {
			return
		}
		if ok != (m != nil) || ok && (start != m.Index || end != m.Index+m.Length) {
			t.Errorf("%q in %q: got %v %d %d, want %v", expr, text, ok, start, end, m)
		}
	})
}

func latin1(s string) string {
	var b strings.Builder
	for i := range len(s) {
		b.WriteRune(rune(s[i]))
	}
	return b.String()
}
