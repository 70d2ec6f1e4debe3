//go:build !race

package pattern

import (
	"errors"
	"strings"
	"testing"
)

// charged gives what a scan takes of work, besides what the text itself allows it.
func charged(t *testing.T, s *Set, allowed int, text string) (spent int, err error) {
	t.Helper()
	w := NewWork(t.Context(), allowed)
	err = s.Scan(w, [][]byte{[]byte(text)}, func(int, int) {})
	return allowed + workStepsPerByte*len(text) - w.Left(), err
}

// TestTextsAreCharged: what it costs to compare texts of one gram, and to tell who waits for them, is taken from the work, and a scan that has
// none left ends.
func TestTextsAreCharged(t *testing.T) {
	var ps []*Pattern
	const texts = 600
	for i := range texts {
		ps = append(ps, MustCompile("zqxj"+string(rune('a'+i%26))+string(rune('a'+i/26)), Options{}))
	}
	s := NewSet(ps, SetOptions{})
	if s.grams == nil || len(s.groups) > 0 {
		t.Fatal("they are not looked for by texts")
	}
	const times = 5_000
	spent, err := charged(t, s, 10*DefaultWork, strings.Repeat("zqxj!", times))
	if err != nil || spent < times*texts/toldPerStep {
		t.Errorf("%d steps, %v", spent, err)
	}
	if spent, err = charged(t, s, 1, strings.Repeat("zqxj!", 10*times)); !errors.Is(err, ErrSteps) || spent > 51*len("zqxj!")*10*times {
		t.Errorf("%d steps, %v", spent, err)
	}
}

// TestPairsEnd: where each of many texts might belong to each of many before it, looking for the one that does ends with the work.
func TestPairsEnd(t *testing.T) {
	p := MustCompile(`open.{60000,65000}shut!`, Options{})
	s := &Set{patterns: []*Pattern{p}, exactly: make([]lazyDFA, 1), memory: NewMemory(0)}
	texts := map[string][]int32{}
	s.wait(0, watch{open: clue{texts: []string{"open"}}, shut: clue{texts: []string{"shut"}, lo: 60_004, hi: 65_004}, paired: true}, texts)
	s.grams = newGrams(texts, newRater(nil))
	w := NewWork(t.Context(), 1000)
	text := []byte(strings.Repeat("open", 6_000) + strings.Repeat("shut", 9_000))
	err := s.Scan(w, [][]byte{text}, func(int, int) {})
	if allowed := 1000 + workStepsPerByte*len(text); !errors.Is(err, ErrSteps) || w.Left() < -allowed/10 {
		t.Errorf("%v, %d steps are left of %d", err, w.Left(), allowed)
	}
}

// TestAttemptsAreCharged: what each place costs where a match might begin, before anything is compared there or within one instruction.
func TestAttemptsAreCharged(t *testing.T) {
	for _, c := range []struct{ name, expr, text string }{
		{"groups to unset", `(?:\wx|y` + strings.Repeat("()", 20_000) + ")", strings.Repeat("a", 100_000)},
		{"a long text in either case", "(?i)" + strings.Repeat("a", 100_000) + "b", strings.Repeat("a", 300_000)},
		{"a long text", strings.Repeat("a", 100_000) + "b", strings.Repeat("a", 300_000)},
	} {
		p := MustCompile(c.expr, Options{})
		search := p.Search(nil, len(c.text))
		if n, err := search.Count([]byte(c.text), 0); n > 0 || !errors.Is(err, ErrSteps) {
			t.Errorf("%s: %d, %v", c.name, n, err)
		}
	}
}

// TestOneLimitForBoth: the backtracker and the exact automaton of a pattern share its limit.
func TestOneLimitForBoth(t *testing.T) {
	p := MustCompile(`^(?:aa|bb|a|b)*a[ab]{300}c`, Options{Steps: 100_000})
	s := NewSet([]*Pattern{p}, SetOptions{})
	text := string(randomText(1000, "ab"))
	spent, err := charged(t, s, 10*DefaultWork, text)
	if s.exactly[0].dfa == nil || !errors.Is(err, ErrSteps) {
		t.Fatalf("%v; exactly: %v", err, s.exactly[0].dfa)
	}
	if limit := p.limit(len(text)); spent < limit/2 || spent > limit+10_000 {
		t.Errorf("%d steps of %d", spent, limit)
	}
}
