//go:build accept

package accept

import (
	"context"
	"crypto/sha256"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/postern-mail/postern/filter/auth"
	"github.com/postern-mail/postern/filter/bayes"
	"github.com/postern-mail/postern/internal/detection"
	"github.com/postern-mail/postern/internal/learner"
	"github.com/postern-mail/postern/rules"
	"github.com/postern-mail/postern/rules/eval"
	"github.com/postern-mail/postern/rules/text"
)

// views are what our own code makes of each message of the bench, without what was learned.
type views struct {
	features []detection.Feature
	hits     [][]int32
	ruleHits [][]auth.RuleHit // all of them, without scores
	samples  []learner.Sample // with the hits
	bare     []learner.Sample // without
}

// ours looks at all messages once. Scores that were fitted are left out: they have seen all messages.
var ours = sync.OnceValues(func() (*views, error) {
	b, err := corpora()
	if err != nil {
		return nil, err
	}
	sources := unscored()
	set, _, err := rules.Load(sources, rules.Options{})
	if err != nil {
		return nil, err
	}
	v := &views{samples: make([]learner.Sample, len(b.all)), bare: make([]learner.Sample, len(b.all)), hits: make([][]int32, len(b.all)), ruleHits: make([][]auth.RuleHit, len(b.all))}
	if v.features, err = detection.RuleFeatures(set, sources); err != nil {
		return nil, err
	}
	index := map[string]int32{}
	for i, f := range v.features {
		index[f.Name] = int32(i)
	}
	for i := range b.all {
		c, err := detection.Content(b.all[i].Octets)
		if err != nil {
			return nil, err
		}
		m := text.Of(c, b.all[i].Options())
		r, err := set.Run(context.Background(), &eval.Mail{Text: m})
		if err != nil {
			return nil, err
		}
		for _, h := range r.Hits {
			if k, ok := index[h.Rule.Name]; ok {
				v.hits[i] = append(v.hits[i], k)
			}
			v.ruleHits[i] = append(v.ruleHits[i], auth.RuleHit{Name: h.Rule.Name, Count: h.Count})
		}
		v.samples[i], v.bare[i] = learner.FromMessage(m, v.ruleHits[i]), learner.FromMessage(m, nil)
		c.Release()
	}
	return v, nil
})

// unscored are our rules without the scores that come with them.
func unscored() []rules.Source {
	return slices.DeleteFunc(rules.Default(), func(s rules.Source) bool { return filepath.Base(s.Name) == "90_scores.cf" })
}

func ourViews(t *testing.T) *views {
	t.Helper()
	v, err := ours()
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// sourceDigest gives a digest of our own code that scores depend on: what is kept of an earlier state of it is not used.
var sourceDigest = sync.OnceValue(func() string {
	h := sha256.New()
	for _, pattern := range []string{"rules/*.go", "rules/*/*.go", "rules/default/[1-8]*.cf", "internal/learner/*.go", "internal/detection/*.go", "mail/*.go", "filter/bayes/*.go"} {
		files, _ := filepath.Glob(filepath.Join("..", "..", pattern))
		for _, f := range files {
			b, err := os.ReadFile(f)
			if err != nil {
				panic(err) // the package is built of them
			}
			h.Write(b)
		}
	}
	return fmt.Sprintf("%x", h.Sum(nil)[:8])
})

// posternRules are our default rules, with scores fitted on what the split lets a filter know before it learns.
type posternRules struct{}

func (posternRules) name() string              { return "postern-rules" }
func (posternRules) version(*testing.T) string { return sourceDigest() }
func (posternRules) scores(t *testing.T, b *bench, s detection.Split) []float64 {
	v := ourViews(t)
	weights := v.weights(t, b, s)
	out := make([]float64, len(s.Test))
	for i, m := range s.Test {
		for _, h := range v.hits[m] {
			out[i] += weights[v.features[h].Name]
		}
	}
	return out
}

// weights fits the scores of our rules on what the split lets a filter know before it learns.
func (v *views) weights(t *testing.T, b *bench, s detection.Split) map[string]float64 {
	t.Helper()
	known := s.Known
	if known == nil {
		known = s.Train
	}
	size := map[int]float64{}
	for _, m := range known {
		size[b.clusters[m]]++
	}
	rows := make([]detection.Row, len(known))
	for i, m := range known {
		rows[i] = detection.Row{Features: v.hits[m], Spam: b.all[m].Spam, Weight: 1 / math.Sqrt(size[b.clusters[m]]), Fold: b.clusters[m] % foldCount}
	}
	f, err := detection.Fit(v.features, rows, detection.FitOptions{})
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]float64{}
	for i, w := range f.Weights {
		out[v.features[i].Name] = w
	}
	return out
}

// posternLearner is our learner, with the hits of our default rules or without. What it says is the logarithm of the odds.
type posternLearner struct{ rules bool }

func (l posternLearner) name() string {
	if l.rules {
		return "postern-learner-hits"
	}
	return "postern-learner"
}
func (posternLearner) version(*testing.T) string { return sourceDigest() }
func (l posternLearner) scores(t *testing.T, b *bench, s detection.Split) []float64 {
	samples := ourViews(t).bare
	if l.rules {
		samples = ourViews(t).samples
	}
	m := learner.New(learner.Options{})
	for _, i := range s.Train {
		m.Learn(samples[i], b.all[i].Spam)
	}
	m.Fit()
	out := make([]float64, len(s.Test))
	for k, i := range s.Test {
		out[k] = m.Score(samples[i])
	}
	return out
}

// posternSum is what the gateway adds up: the scores of the rules that hit, and what the finding of the learner counts, which
// has learned from the hits of the rules too.
type posternSum struct{}

func (posternSum) name() string              { return "postern" }
func (posternSum) version(*testing.T) string { return sourceDigest() }
func (posternSum) scores(t *testing.T, b *bench, s detection.Split) []float64 {
	out := b.cached(t, posternRules{}, s)
	for k, odds := range b.cached(t, posternLearner{rules: true}, s) {
		out[k] += bayes.Points(odds)
	}
	return out
}
