package pattern

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// TestRests: what an automaton leaps over changes no answer, and it leaps where it is said to.
func TestRests(t *testing.T) {
	for _, c := range []struct {
		name     string
		patterns []string
		flags    Options
		wakes    string // of the state in which nothing is known; "-" where all has to be read
	}{
		{"start of the text", []string{`^\s?[ab]{3}`, `\Axx`, `^a+$`}, Options{}, ""},
		{"start of a line", []string{`^\s?[>|]\s?\S`, `^-- $`, `^$`}, Options{MultiLine: true}, "\n"},
		{"one octet", []string{`>[^<]{2}a`, `>\b`, `>$`, `>x{2,}`, `>-(?:b+|(a{2,3})|<x?)+`}, Options{}, ">"},
		{"an octet, and lines", []string{`>[ab]x`, `^-[ab]`, `x$`}, Options{MultiLine: true}, "\n>x"},
		{"letters in both cases", []string{`x[^-]{2}`, `xa|>-`, `x\B`}, Options{IgnoreCase: true}, ">Xx"},
		{"a border asked for later", []string{`>a\b.x`, `>\w\B`, `>b.\b`}, Options{}, ">"},
		{"a border asked for at once", []string{`\ba[^x]b`, `\b>..`, `\Bx-`}, Options{}, "-"},
		{"too many", []string{`[ax][^-]{2}>`, `[-b][ax]+>`, `-->`}, Options{}, "-"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var ways []way
			s := &Set{exactly: make([]lazyDFA, len(c.patterns)), memory: NewMemory(0)}
			for i, expr := range c.patterns {
				p, err := Compile(expr, c.flags)
				if err != nil {
					t.Fatal(err)
				}
				s.patterns = append(s.patterns, p)
				ways = append(ways, way{int32(i), p.tree().root, 0})
			}
			s.group(ways)
			d := s.groups[0].dfa
			switch r := d.restOf(0); {
			case r == nil:
				if c.wakes != "-" {
					t.Errorf("all is read, want a leap to one of %q", c.wakes)
				}
			case string(r.wakes[:r.n]) != c.wakes:
				t.Errorf("it leaps to one of %q, want %q", r.wakes[:r.n], c.wakes)
			}
			r := rand.New(rand.NewPCG(1, 2))
			hits := 0
			for range 20_000 {
				b := make([]byte, r.IntN(12))
				for i := range b {
					b[i] = "aabxX>- \n\n<|"[r.IntN(12)]
				}
				var got, want []int
				if err := s.Scan(nil, [][]byte{b}, func(p, _ int) { got = append(got, p) }); err != nil {
					t.Fatal(err)
				}
				slices.Sort(got)
				for i, p := range s.patterns {
					if ok, err := p.Match(b); ok && err == nil {
						want = append(want, i)
					}
				}
				if !slices.Equal(got, want) {
					t.Fatalf("%q: patterns %v match, want %v", b, got, want)
				}
				hits += len(want)
			}
			if hits < 100 {
				t.Errorf("only %d matches: the test says nothing", hits)
			}
		})
	}
}
