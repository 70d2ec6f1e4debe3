//go:build !race

package pattern

import (
	"sort"
	"testing"

	"github.com/postern-mail/postern/internal/peertest"
)

// stockSet is the patterns of one class.
type stockSet struct {
	class string
	rules []stockRule
	ps    []*Pattern
	set   *Set
}

func stockSets(t testing.TB, s *stock) []*stockSet {
	by := map[string]*stockSet{}
	var all []*stockSet
	for _, r := range s.Rules {
		c := by[r.Class]
		if c == nil {
			c = &stockSet{class: r.Class}
			by[r.Class] = c
			all = append(all, c)
		}
		p, err := Compile(string(r.Pattern), Options{})
		if err != nil {
			t.Fatal(r.Name, err)
		}
		c.rules = append(c.rules, r)
		c.ps = append(c.ps, p)
	}
	sort.Slice(all, func(i, j int) bool { return len(all[i].ps) > len(all[j].ps) })
	for _, c := range all {
		c.set = NewSet(c.ps, SetOptions{})
	}
	return all
}

// TestStockSets asks a set and Find about every stock pattern over real texts.
func TestStockSets(t *testing.T) {
	s := loadStock(t, fewMessages)
	sets := stockSets(t, s)
	step := 6
	if peertest.Every() {
		step = 1
	}
	hits := 0
	for i := 0; i < len(s.Seen); i += step {
		for _, c := range sets {
			segs := s.Seen[i].Classes[c.class]
			got := map[int]int{}
			if err := c.set.Scan(nil, segs, func(p, seg int) { got[p] = seg }); err != nil {
				t.Error(err)
			}
			for k, p := range c.ps {
				want := -1
				for seg, b := range segs {
					ok, err := p.Match(b)
					if err != nil {
						t.Errorf("%s: %s: %v", s.Seen[i].Name, c.rules[k].Name, err)
					}
					if ok {
						want = seg
						hits++
						break
					}
				}
				seg, ok := got[k]
				if !ok {
					seg = -1
				}
				if seg != want {
					t.Errorf("%s: %s: got %d, want %d", s.Seen[i].Name, c.rules[k].Name, seg, want)
				}
			}
		}
	}
	t.Logf("%d hits", hits)
}

// TestFold compares octets that are folded at once with a table.
func TestFold(t *testing.T) {
	from := make([]byte, 0, 1<<12)
	for i := range 1 << 12 {
		b := byte(i)
		if i>>8&1 != 0 { // also in a row, where none has the high bit
			b &= 0x7f
		}
		from = append(from, b)
	}
	for at := range 64 {
		from := from[at : len(from)-at/3]
		to := make([]byte, len(from))
		fold(to, from)
		for i, c := range from {
			if to[i] != plain[c] {
				t.Fatalf("%#x became %#x, not %#x", c, to[i], plain[c])
			}
		}
	}
}
