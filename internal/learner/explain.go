package learner

import (
	"cmp"
	"slices"

	"github.com/postern-mail/postern/filter/auth"
	"github.com/postern-mail/postern/rules/text"
)

// Share is what one feature adds to the score of a message.
type Share struct {
	Feature uint32  `json:"feature"`
	Weight  float64 `json:"weight"` // above 0 it speaks for spam
}

// Reason is what one word, or another thing about a message, adds to its score.
type Reason struct {
	Text   string  `json:"text"`
	Weight float64 `json:"weight"` // above 0 it speaks for spam
}

// heaviest gives the most features that weigh heaviest, the heaviest first.
func (w *weights) heaviest(features []uint32, most int) []Share {
	if w.w == nil {
		return nil
	}
	_, known := w.raw(features)
	by := scale(known) * w.slope
	all := make([]Share, 0, known)
	for _, f := range features {
		if x := float64(w.w[f]); abs(x) > faint {
			all = append(all, Share{f, x * by})
		}
	}
	slices.SortStableFunc(all, func(a, b Share) int { return cmp.Compare(abs(b.Weight), abs(a.Weight)) })
	return all[:min(most, len(all))]
}

// Words says in words what shares are about, of the message and the hits that they were made of. The shares of what lies in the
// same words of the text are put together. The heaviest come first.
func Words(m *text.Message, hits []auth.RuleHit, shares []Share) []Reason {
	g := NewGather()
	g.wanted = make(map[uint32]string, len(shares))
	for _, s := range shares {
		g.wanted[s.Feature] = ""
	}
	wanted := g.wanted
	collect(g, m, hits)
	g.end()
	at := map[string]int{}
	var all []Reason
	for _, s := range shares {
		words := wanted[s.Feature]
		if words == "" {
			continue // the weights are of another message
		}
		i, ok := at[words]
		if !ok {
			i = len(all)
			at[words] = i
			all = append(all, Reason{Text: words})
		}
		all[i].Weight += s.Weight
	}
	slices.SortStableFunc(all, func(a, b Reason) int { return cmp.Compare(abs(b.Weight), abs(a.Weight)) })
	return all
}

func abs(x float64) float64 { return max(x, -x) }
