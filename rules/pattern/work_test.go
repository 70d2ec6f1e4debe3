//go:build !race

package pattern

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

// unlike are patterns whose automaton comes to a new state at almost each octet of random text.
func unlike(t *testing.T, n int) (ps []*Pattern) {
	t.Helper()
	for i := range n {
		ps = append(ps, MustCompile(fmt.Sprintf(`[ab]{%d}(?:a|b)[ab]*a[ab]{%d}c`, i%5+1, 7+i%3), Options{}))
	}
	return ps
}

func randomText(n int, of string) []byte {
	r := rand.New(rand.NewPCG(3, uint64(n)))
	text := make([]byte, n)
	for i := range text {
		text[i] = of[r.IntN(len(of))]
	}
	return text
}

// TestWorkEnds scans for more than the work allows: what it costs is bounded, and every pattern that has not hit is named, also in the
// next scan with that work.
func TestWorkEnds(t *testing.T) {
	ps := append(unlike(t, 40), MustCompile(`xyzzy`, Options{}))
	s := NewSet(ps, SetOptions{Memory: NewMemory(64 << 10)})
	text := append([]byte("xyzzy "), randomText(5000, "ab")...)
	const steps = 200_000
	w := NewWork(t.Context(), steps)
	for round := range 2 {
		hit := map[int]bool{}
		err := s.Scan(w, [][]byte{text, []byte("c")}, func(p, _ int) { hit[p] = true })
		var gave *GaveUpError
		if !errors.As(err, &gave) || len(gave.Patterns)+len(hit) != len(ps) {
			t.Fatalf("round %d: %d hit, %v", round, len(hit), err)
		}
		if found := round == 0; hit[len(ps)-1] != found {
			t.Errorf("round %d: %v", round, hit)
		}
	}
	if w.Left() > 0 || w.Left() < -100_000 {
		t.Errorf("%d steps are left", w.Left())
	}
	search := ps[0].Search(w, len(text))
	if _, err := search.Count(text, 0); !errors.Is(err, ErrSteps) {
		t.Errorf("a search: %v", err)
	}
}

// TestWorkOfABacktracker: what patterns spend that are tried one by one is taken from the work as well.
func TestWorkOfABacktracker(t *testing.T) {
	var ps []*Pattern
	for range 30 {
		ps = append(ps, MustCompile(`(?:(\w+)\1?)+(?!;);`, Options{Steps: 100_000}))
	}
	w := NewWork(t.Context(), 1_000_000)
	err := NewSet(ps, SetOptions{}).Scan(w, [][]byte{[]byte(strings.Repeat("ab", 20) + ";")}, func(p, _ int) { t.Errorf("%d matches", p) })
	var gave *GaveUpError
	if !errors.As(err, &gave) || len(gave.Patterns) != len(ps) || w.Left() > 0 {
		t.Errorf("%v, %d steps left", err, w.Left())
	}
}

func TestWorkEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	s := NewSet(unlike(t, 3), SetOptions{})
	segs := [][]byte{[]byte("aaaac"), randomText(2_000, "ab"), randomText(askContextEach, "xy"), []byte("bbbbbbbbbbbbbbbbbbbbc")}
	hits := 0
	err := s.Scan(NewWork(ctx, 0), segs, func(_, seg int) {
		hits++
		cancel()
	})
	if !errors.Is(err, context.Canceled) && hits > 0 {
		t.Errorf("%d hits, %v", hits, err)
	}
	cancel()
	if err := s.Scan(NewWork(ctx, 0), segs, func(_, seg int) { t.Errorf("hit in %d", seg) }); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

// TestSearchHasOneLimit looks into many texts, none of which takes a search to its limit.
func TestSearchHasOneLimit(t *testing.T) {
	p := MustCompile(`(?:(\w+)\1?)+(?!;);`, Options{Steps: 100_000})
	text := []byte(strings.Repeat("ab", 6) + ";")
	if _, err := p.Count(text, 0); err != nil {
		t.Fatal(err)
	}
	search := p.Search(nil, 0)
	for i := range 10_000 {
		if _, err := search.Count(text, 0); err != nil {
			if i == 0 || !errors.Is(err, ErrSteps) {
				t.Errorf("%d: %v", i, err)
			}
			return
		}
	}
	t.Error("it never ends")
}

// TestSetsShareMemory has many sets of one Memory scan texts that lead to ever new states.
func TestSetsShareMemory(t *testing.T) {
	const memory = 512 << 10
	m := NewMemory(memory)
	var sets []*Set
	for range 4 {
		sets = append(sets, NewSet(unlike(t, 12), SetOptions{Memory: m}))
	}
	for i, s := range sets {
		for k := range 2 {
			_ = s.Scan(nil, [][]byte{randomText(2_000+100*i+k, "ab")}, func(int, int) {})
			if used := m.Used(); used > 3*memory {
				t.Fatalf("%d octets", used)
			}
		}
	}
	held, flushed := int(m.fixed.Load()), 0
	for _, s := range sets {
		for i := range s.exactly {
			if d := s.exactly[i].dfa; d != nil {
				held += d.gen.size
			}
		}
		for _, g := range s.groups {
			held += g.dfa.gen.size
			flushed += g.dfa.flush
		}
	}
	if held != m.Used() || flushed == 0 {
		t.Errorf("%d octets are held, %d counted; %d tables were thrown away", held, m.Used(), flushed)
	}
}

// TestExactAutomata: what is looked for exactly, where the backtracker has given up, stops at the first match, has a limit of steps too,
// and is not tried with patterns whose automaton would be large.
func TestExactAutomata(t *testing.T) {
	wide := strings.Repeat("[ab]", 300)
	s := NewSet([]*Pattern{
		MustCompile(`[ab]*a`+wide+`c`, Options{}), MustCompile(`(?:a|a)*b`, Options{}), MustCompile(`(?:a|aa)+[ab]{3000}c`, Options{}),
	}, SetOptions{})
	const most = 2_000_000
	match := func(i int32, text []byte, allowed int) (bool, int, error) {
		t.Helper()
		w, steps := NewWork(t.Context(), most), allowed
		ok, err := s.exactMatch(i, text, &steps, w)
		if spent := most - w.Left(); spent != allowed-steps || spent > min(allowed, most)+100_000 {
			t.Errorf("pattern %d: %d steps of %d, of the work %d", i, allowed-steps, allowed, spent)
		}
		return ok, allowed - steps, err
	}
	if ok, _, err := match(0, randomText(100_000, "ab"), 1_000_000); !errors.Is(err, ErrSteps) {
		t.Errorf("hostile text: %v %v", ok, err)
	}
	if ok, _, err := match(0, randomText(100_000, "ab"), 10*most); !errors.Is(err, ErrSteps) {
		t.Errorf("less work than steps: %v %v", ok, err)
	}
	text := append([]byte("ab"), randomText(100_000, "xyz")...)
	if ok, steps, err := match(1, text, 1_000_000); !ok || err != nil || steps > len(text)+5_000 {
		t.Errorf("a match at the start: %v %v, %d steps", ok, err, steps)
	}
	if ok, _, err := match(2, text, 1_000_000); !errors.Is(err, ErrSteps) {
		t.Errorf("a large pattern: %v %v", ok, err)
	}
}
