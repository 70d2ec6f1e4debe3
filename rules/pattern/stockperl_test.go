//go:build !race

package pattern

import (
	"fmt"
	"math/rand/v2"
	"sort"
	"strconv"
	"strings"
	"testing"

	"github.com/postern-mail/postern/internal/peertest"
)

// TestStockPerl asks Perl about every stock pattern over real texts: which match, in which segment first, and how often.
func TestStockPerl(t *testing.T) {
	s := loadStock(t, fewMessages)
	perl := startPerl(t)
	step := 10
	if peertest.Every() {
		step = 1
	}
	hits := 0
	for _, c := range stockSets(t, s) {
		var ids []string
		back := map[int]int{}
		for k, r := range c.rules {
			n, refusal := perl.pattern(t, string(r.Pattern))
			if refusal != "" {
				t.Fatalf("%s: %s", r.Name, refusal)
			}
			ids = append(ids, strconv.Itoa(n))
			back[n] = k
		}
		for i := 0; i < len(s.Seen); i += step {
			segs := s.Seen[i].Classes[c.class]
			if len(segs) == 0 {
				continue
			}
			var hexes []string
			for _, b := range segs {
				hexes = append(hexes, fmt.Sprintf("%x", b))
			}
			want := map[string]bool{}
			for _, f := range strings.Fields(perl.ask(t, "S "+strings.Join(ids, ",")+" "+strings.Join(hexes, ","))) {
				n, rest, _ := strings.Cut(f, ":")
				k, _ := strconv.Atoi(n)
				want[c.rules[back[k]].Name+":"+rest] = true
			}
			hits += len(want)
			got := map[string]bool{}
			if err := c.set.Scan(nil, segs, func(p, seg int) {
				total := 0
				for _, b := range segs {
					n, err := c.ps[p].Count(b, 1000-total)
					if err != nil {
						t.Errorf("%s: %v", c.rules[p].Name, err)
					}
					if total += n; total >= 1000 {
						break
					}
				}
				got[fmt.Sprintf("%s:%d:%d", c.rules[p].Name, seg, total)] = true
			}); err != nil {
				t.Error(err)
			}
			for _, d := range difference(got, want) {
				t.Errorf("%s: %s: %s", s.Seen[i].Name, c.class, d)
			}
		}
	}
	t.Logf("%d hits", hits)
}

func difference(got, want map[string]bool) (all []string) {
	for k := range got {
		if !want[k] {
			all = append(all, "+"+k)
		}
	}
	for k := range want {
		if !got[k] {
			all = append(all, "-"+k)
		}
	}
	sort.Strings(all)
	return all
}

// TestStockSamples makes texts from every stock pattern, and texts that are nearly such, and compares with Perl.
func TestStockSamples(t *testing.T) {
	s := loadStock(t, fewMessages)
	perl := startPerl(t)
	r := rand.New(rand.NewPCG(5, 6))
	made, matched, near := 0, 0, 0
	var none []string
	for i, rule := range s.Rules {
		if !peertest.Every() && i%5 != 0 {
			continue
		}
		p := MustCompile(string(rule.Pattern), Options{})
		n, refusal := perl.pattern(t, string(rule.Pattern))
		if refusal != "" {
			t.Fatalf("%s: %s", rule.Name, refusal)
		}
		for k := range 4 {
			text, ok := p.Sample(r)
			if !ok {
				none = append(none, rule.Name)
				break
			}
			if len(text) > 5000 {
				break
			}
			made++
			if k > 0 {
				near++
				text = spoil(r, text)
			}
			want := perl.match(t, n, string(text))
			got := ours(p, string(text))
			if got != want {
				t.Errorf("%s: in %q: got %s, want %s", rule.Name, text, got, want)
			}
			if want != "-" {
				matched++
			}
			hit := false
			set := NewSet([]*Pattern{p, spare, spare}, SetOptions{})
			if err := set.Scan(nil, [][]byte{text}, func(i, _ int) { hit = hit || i == 0 }); err != nil || hit != (want != "-") {
				t.Errorf("%s: set: in %q: got %v %v, want %s", rule.Name, text, hit, err, want)
			}
		}
	}
	t.Logf("%d texts, %d spoilt, %d match; no sample of %v", made, near, matched, none)
}

// spoil changes a text a little.
func spoil(r *rand.Rand, text []byte) []byte {
	out := append([]byte{}, text...)
	if len(out) == 0 {
		return out
	}
	i := r.IntN(len(out))
	switch r.IntN(4) {
	case 0:
		out = append(out[:i], out[i+1:]...)
	case 1:
		out[i] = byte(r.IntN(256))
	case 2:
		out = append(out[:i], append([]byte(" \n-aA"[r.IntN(5):][:1]), out[i:]...)...)
	case 3:
		out = append(out, out[:i]...)
	}
	return out
}
