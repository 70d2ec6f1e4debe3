package rules

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"
)

const (
	maxProven = 2.5 // what notices have to stay below of a sender who is proven, where nothing leads elsewhere

	mostProof   = 1.5 // what may be taken off for proof
	provenScore = 0.3 // what DMARC takes off besides, whatever the message is (P_PROVEN)
	rounding    = 0.02
)

// proofRules take something off for proof. Of these no more hit than mostProof.
var proofRules = []string{"P_SERVICE", "P_SERVICE_4", "P_SERVICE_5", "P_SHOP", "P_SHOP_4"}

// withoutProof takes what SPF, DKIM and DMARC say out of a case.
func withoutProof(data []byte) []byte {
	var b []byte
	for line := range bytes.Lines(data) {
		if !bytes.HasPrefix(line, []byte("Case-")) {
			b = append(b, line...)
		}
	}
	return b
}

// TestProofIsBounded: what proof takes off is bounded, so that a phish from a domain of its own stays spam; and an honest notice has it.
func TestProofIsBounded(t *testing.T) {
	a, err := txtar.ParseFile("testdata/default.txtar")
	if err != nil {
		t.Fatal(err)
	}
	set := defaultSet(t)
	var gained, notices float64
	phish := 0
	for _, f := range a.Files {
		kind, _, _ := strings.Cut(f.Name, ":")
		if f.Name == "hits" || !strings.HasSuffix(kind, "wanted, proven") && !strings.HasSuffix(kind, "wanted, proven, elsewhere") && kind != "wanted, loud, proven" {
			continue
		}
		proven, forged := runDefault(t, set, readCase(t, f.Data)), runDefault(t, set, readCase(t, withoutProof(f.Data)))
		taken, names := 0.0, []string(nil)
		for _, h := range proven.Hits {
			if slices.Contains(proofRules, h.Rule.Name) {
				taken -= set.Score(h.Rule)
				names = append(names, h.Rule.Name)
			}
		}
		if taken > mostProof+rounding || forged.Score < proven.Score {
			t.Errorf("%s: %.2f taken off by %v; score %.2f, and without proof %.2f", f.Name, taken, names, proven.Score, forged.Score)
		}
		switch kind {
		case "wanted, proven", "wanted, loud, proven":
			most := maxProven
			if kind != "wanted, proven" {
				most = maxLoud
			}
			if proven.Score >= most {
				t.Errorf("%s: score %.2f, and without proof %.2f", f.Name, proven.Score, forged.Score)
			}
			gained, notices = gained+taken, notices+1
		default:
			most := mostProof + provenScore
			if kind == "unwanted, proven, elsewhere" {
				most = provenScore
			}
			if proven.Score < 5 || proven.Score < forged.Score-most-rounding {
				t.Errorf("%s: score %.2f by %v, and without proof %.2f", f.Name, proven.Score, names, forged.Score)
			}
			phish++
		}
	}
	if gained < notices/2 {
		t.Errorf("of %g notices %.1f points are taken off", notices, gained)
	}
	if phish < 8 {
		t.Errorf("%d kinds of phish", phish)
	}
}

// TestProofIsNoBonus: no more is taken off than the words have that it is taken off for, whichever of them there are.
func TestProofIsNoBonus(t *testing.T) {
	set := defaultSet(t)
	score := func(name string) float64 {
		r := set.Rule(name)
		if r == nil {
			t.Fatalf("no rule %s", name)
		}
		return set.Score(r)
	}
	// least gives the least that one of the rules has whose sum a meta is.
	least := func(meta string) float64 {
		for _, source := range Default() {
			for line := range strings.Lines(string(source.Octets)) {
				words := strings.Fields(line)
				if len(words) < 3 || words[0] != "meta" || words[1] != meta {
					continue
				}
				v := score(words[2])
				for i, w := range words[3:] {
					if i%2 == 0 && w != "+" {
						t.Fatalf("%s is no sum", meta)
					} else if i%2 != 0 {
						v = min(v, score(w))
					}
				}
				return v
			}
		}
		t.Fatalf("no %s", meta)
		return 0
	}
	loud, words, offers := least("__P_NOTICE_LOUD"), least("__P_NOTICE_WORDS"), least("__P_OFFER_WORDS")
	step := min(loud/2, words)
	for name, has := range map[string]float64{
		"P_SERVICE": 2 * step, "P_SERVICE_4": 4 * step, "P_SERVICE_5": 5 * step, "P_SHOP": 2 * offers, "P_SHOP_4": 4 * offers,
	} {
		if taken := -score(name); taken <= 0 || taken > has+rounding {
			t.Errorf("%s takes %.2f off, of %.2f", name, taken, has)
		}
	}
}
