package pattern

import (
	"math/rand/v2"
	"sync"
	"testing"
)

// TestConcurrent has several scan with one set, whose tables are too small and begun anew all the time.
func TestConcurrent(t *testing.T) {
	var ps []*Pattern
	for _, e := range []string{`[ab]+c[ab]{6}d`, `\b[a-c]{2}x`, `(?:a|bb)*c\b`, `[^a]b.c$`, `ab?c?d\s`, `(a|b)\1x`, `rare text`, `c(?=[ab]d)`} {
		ps = append(ps, MustCompile(e, Options{}))
	}
	s := NewSet(ps, SetOptions{Memory: NewMemory(8 << 10)})
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(uint64(w), 1))
			for range 150 {
				segs := make([][]byte, 3)
				for i := range segs {
					for range r.IntN(200) {
						segs[i] = append(segs[i], "aaabbbccdx \n"[r.IntN(12)])
					}
				}
				got := make([]int, len(ps))
				if err := s.Scan(nil, segs, func(p, seg int) { got[p] = seg + 1 }); err != nil {
					t.Error(err)
				}
				for i, p := range ps {
					want := 0
					for seg := range segs {
						if ok, _ := p.Match(segs[seg]); ok {
							want = seg + 1
							break
						}
					}
					if got[i] != want {
						t.Errorf("%q in %q: got %d, want %d", p, segs, got[i], want)
					}
				}
			}
		})
	}
	wg.Wait()
}
