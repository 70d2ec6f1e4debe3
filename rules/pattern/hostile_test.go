//go:build !race

package pattern

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/postern-mail/postern/internal/peertest"
)

// TestHostile gives patterns and texts that try exponentially many ways, or quadratically many: each search ends with an answer
// or at the step limit. A set answers about the regular ones.
func TestHostile(t *testing.T) {
	long := 25_000
	if peertest.Every() {
		long = 100_000
	}
	a := strings.Repeat("a", long)
	for _, c := range []struct {
		name, expr, text string
		regular, match   bool
	}{
		{"loop in a loop", `(a+)+$`, a + "b", true, false},
		{"the same twice", `(?:a|a)*b`, a, true, false},
		{"overlapping", `(?:a|aa)+c`, a, true, false},
		{"many stars", strings.Repeat("a*", 30) + "b", a, true, false},
		{"counts in counts", `(?:(?:a{1,30}){1,30}){1,30}b`, a, false, false},
		{"star before each place", `.*.*=.*x`, a, true, false},
		{"look ahead at each place", `(?=.*x).y`, a, false, false},
		{"look ahead over all", `(?!.*b)z`, a + "b", false, false},
		{"reference", `(a*)\1b`, a, false, false},
		{"reference in a loop", `(?:(a+)\1)+b`, a, false, false},
		{"loop that matches", `(?:a|b|ab)*c`, a + "c", true, true},
		{"nothing in loops", `(?:(?:a?)*)*b`, a, true, false},
		{"counted wide", `a.{0,30000}b`, a, false, false},
		{"word borders", `(?:\b\w*\b\W*)+!`, strings.Repeat("ab ", long/3), true, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := MustCompile(c.expr, Options{})
			begin := time.Now()
			_, _, ok, err := p.Find([]byte(c.text), 0)
			if err != nil && !errors.Is(err, ErrSteps) || err == nil && ok != c.match {
				t.Errorf("Find: %v %v", ok, err)
			}
			found := false
			fillers := []*Pattern{MustCompile("[^\\w]q[0-9]", Options{}), MustCompile("[x-z]{3}[0-9]", Options{}), MustCompile("y[^a]", Options{})}
			err = NewSet(append(fillers, p), SetOptions{}).Scan(nil, [][]byte{[]byte(c.text)}, func(i, _ int) { found = found || i == len(fillers) })
			var gave *GaveUpError
			if err != nil && (c.regular || !errors.As(err, &gave) || !errors.Is(err, ErrSteps) || gave.Patterns[0] != len(fillers)) {
				t.Errorf("Scan: %v", err)
			}
			if err == nil && found != c.match {
				t.Errorf("Scan: %v", found)
			}
			if d := time.Since(begin); d > 20*time.Second {
				t.Errorf("took %v", d)
			}
		})
	}
}

// TestStepLimit has a search stop where it is told to, and a text let it go on for longer.
func TestStepLimit(t *testing.T) {
	p := MustCompile(`(?:a+)+b`, Options{Steps: 1000})
	if _, _, _, err := p.Find(bytes.Repeat([]byte("a"), 40), 0); !errors.Is(err, ErrSteps) {
		t.Errorf("got %v", err)
	}
	if _, err := p.Count(bytes.Repeat([]byte("a"), 40), 0); !errors.Is(err, ErrSteps) {
		t.Errorf("Count: got %v", err)
	}
	if _, _, ok, err := p.Find([]byte("aaaab"), 0); !ok || err != nil {
		t.Errorf("got %v %v", ok, err)
	}
}

// TestScanSteps has a pattern that tries many ways in each of many segments: what is spent on it is bounded for all of them.
func TestScanSteps(t *testing.T) {
	hard := MustCompile(`(?:(\w+)\1?)+(?!;);`, Options{Steps: 100_000})
	segs := make([][]byte, 2000)
	for i := range segs {
		segs[i] = []byte(strings.Repeat("ab", 20) + ";")
	}
	s := NewSet([]*Pattern{hard, spare, spare}, SetOptions{})
	begin := time.Now()
	err := s.Scan(nil, segs, func(p, _ int) { t.Errorf("%d matches", p) })
	var gave *GaveUpError
	if !errors.As(err, &gave) || len(gave.Patterns) != 1 {
		t.Errorf("got %v", err)
	}
	if d := time.Since(begin); d > 10*time.Second {
		t.Errorf("took %v", d)
	}
}

// TestTableBound scans texts that lead to ever new states, with room for few of them.
func TestTableBound(t *testing.T) {
	var ps []*Pattern
	for _, e := range []string{`[ab]*a[ab]{8}c`, `(?:a|b)*b[ab]{7}d`, `\bx[ab]+y\b`, `a.b.c`} {
		ps = append(ps, MustCompile(e, Options{}))
	}
	const memory = 16 << 10
	s := NewSet(ps, SetOptions{Memory: NewMemory(memory)})
	if len(s.groups) == 0 {
		t.Fatal("no automaton")
	}
	r := rand.New(rand.NewPCG(3, 4))
	text := make([]byte, 20_000)
	for i := range text {
		text[i] = "ab"[r.IntN(2)]
	}
	copy(text[19_000:], "abbabbabbabbabc")
	for range 3 {
		got := map[int]bool{}
		if err := s.Scan(nil, [][]byte{text}, func(p, _ int) { got[p] = true }); err != nil {
			t.Fatal(err)
		}
		for i, p := range ps {
			if want, _ := p.Match(text); want != got[i] {
				t.Errorf("%q: got %v", p, got[i])
			}
		}
	}
	flushed := 0
	for _, g := range s.groups {
		flushed += g.dfa.flush
		if g.dfa.gen.size > 64<<10 {
			t.Errorf("%d octets", g.dfa.gen.size)
		}
	}
	if flushed == 0 {
		t.Error("the table was never full")
	}
}

// TestHostilePatterns compiles patterns that would need much, and makes sets of them.
func TestHostilePatterns(t *testing.T) {
	long := strings.Repeat("abcdefghij", 20_000)
	for _, c := range []struct{ name, expr string }{
		{"counts in counts", `(?:(?:(?:[ab]c{1,1000}){1,1000}){1,1000}){1,1000}`},
		{"greatest count", `(?:a[bc]){65534}`},
		{"many counts", strings.Repeat(`(?:a[bc]){5000}`, 1000)},
		{"long alternatives alike", long + "1|" + long + "2|" + long + "3"},
		{"many alternatives", strings.Repeat("a1|b2|cd|", 60_000) + "e"},
		{"many that may be missing", strings.Repeat("a*", 200_000)},
		{"references in references", strings.Repeat("(", 20) + "a+" + strings.Repeat(`)\1`, 20) + strings.Repeat(`\20`, 100)},
		{"nested", strings.Repeat("(?:a|", 400) + "b" + strings.Repeat(")", 400)},
		{"nested counts", strings.Repeat("(?:a", 400) + strings.Repeat("){2,3}", 400)},
		{"deeper than is taken", strings.Repeat("(", 100_000)},
		{"branches deeper than is taken", strings.Repeat("(?|", 100_000) + "a" + strings.Repeat(")", 100_000)},
		{"conditionals deeper than is taken", "(a)?" + strings.Repeat("(?(1)", 100_000) + "a" + strings.Repeat(")", 100_000)},
		{"each kind, as deep as is taken", strings.Repeat("(?|(?(1)(", 166) + "a" + strings.Repeat(")))", 166)},
		{"longer than is taken", strings.Repeat("a", 2<<20)},
	} {
		t.Run(c.name, func(t *testing.T) {
			begin := time.Now()
			p, err := Compile(c.expr, Options{Steps: 1000})
			var e *Error
			if err != nil && !errors.As(err, &e) {
				t.Fatal(err)
			}
			if taken := !strings.Contains(c.name, "than is taken"); taken != (err == nil) {
				t.Fatalf("taken: %v", err)
			}
			if err != nil {
				return
			}
			s := NewSet([]*Pattern{p, spare, spare}, SetOptions{Memory: NewMemory(1 << 20)})
			err = s.Scan(nil, [][]byte{[]byte(strings.Repeat("abacab", 100))}, func(int, int) {})
			if err != nil && !errors.Is(err, ErrSteps) {
				t.Error(err)
			}
			if d := time.Since(begin); d > 30*time.Second {
				t.Errorf("took %v", d)
			}
		})
	}
}

// TestPatternsTakeWhatTheyAreLong: what reading a pattern takes grows with its length, and no automaton with what groups refer to that refer to
// groups.
func TestPatternsTakeWhatTheyAreLong(t *testing.T) {
	for _, c := range []struct{ name, expr string }{
		{"groups of one name", strings.Repeat("(?<n>)", 170_000)},
		{"classes that seem to begin", "[" + strings.Repeat("[:", 500_000) + "]"},
	} {
		begin := time.Now()
		if _, err := Compile(c.expr, Options{}); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		if d := time.Since(begin); d > 10*time.Second {
			t.Errorf("%s: took %v", c.name, d)
		}
	}
	of := func(group string) string { return "(" + strings.Repeat(group, 25) + ")" }
	p := MustCompile("(a{1,2})"+of(`\1`)+of(`\2`)+of(`\3`)+strings.Repeat(`\4`, 10)+"x", Options{})
	a := newNFA(loose)
	a.add(p.tree(), 0)
	if len(a.states) > 2*referenceStates {
		t.Errorf("%d states", len(a.states))
	}
}
