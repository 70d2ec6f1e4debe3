package detection

import (
	"fmt"
	"math"
	"slices"
)

// Feature is something that a message has or has not, and what its weight may be, in points of a score.
type Feature struct {
	Name  string
	Prior float64 // the weight where nothing speaks for another: evidence has to pull it from there
	Low   float64 // bounds of the weight; a spam sign has 0 as Low, a sign of wanted mail 0 as High
	High  float64
}

// Row is one message: the features that it has.
type Row struct {
	Features []int32
	Spam     bool
	Weight   float64 // how much it counts
	Fold     int
}

// FitOptions say how weights are fitted. The zero value has the defaults.
type FitOptions struct {
	Threshold float64   // the score from which on a message is called spam; default 5
	Most      float64   // the share of ham that may be called spam, cross-validated; default 0.002
	L2        []float64 // strengths of the pull to the priors, of which cross-validation chooses; default 0.3, 1, 3, 10
}

// Fitted is what came of it.
type Fitted struct {
	Weights []float64 // of each feature, in points, rounded to 0.1
	L2      float64   // the one that was chosen
	Scores  []float64 // of each row, by weights that were fitted without the rows of its fold
	Losses  []float64 // of each strength in FitOptions.L2: the mean logarithmic loss, cross-validated
}

// pointsPerLogit is where the search for the scale begins.
const (
	pointsPerLogit = 1.2
	rescalings     = 7
	sweeps         = 40
)

// Fit finds weights such that spam scores at least the threshold, and ham less: by logistic regression with bounds, pulled
// to the priors. Folds are held out in turn to choose the strength of the pull, and for Scores. How many points there are to
// a logit is set such that of the ham in the held-out folds no more than FitOptions.Most reaches the threshold; since bounds
// and priors are in points, weights and scale are found in turns.
func Fit(features []Feature, rows []Row, o FitOptions) (*Fitted, error) {
	if o.Threshold == 0 {
		o.Threshold = 5
	}
	if o.Most == 0 {
		o.Most = 0.002
	}
	if o.L2 == nil {
		o.L2 = []float64{0.3, 1, 3, 10}
	}
	spam, folds := 0, map[int]bool{}
	for _, r := range rows {
		if r.Spam {
			spam++
		}
		folds[r.Fold] = true
	}
	if ham := len(rows) - spam; spam == 0 || ham == 0 || len(folds) < 2 {
		return nil, fmt.Errorf("detection: to fit weights needs ham and spam in two folds or more, and there are %d messages of ham and %d of spam in %d", ham, spam, len(folds))
	}
	best := &Fitted{}
	for _, l2 := range o.L2 {
		f := fitScale(features, rows, folds, l2, o)
		loss := f.Losses[0]
		best.Losses = append(best.Losses, loss)
		if best.Weights == nil || loss < slices.Min(best.Losses[:len(best.Losses)-1]) {
			f.Losses = best.Losses
			best = f
		}
	}
	for i, w := range best.Weights {
		best.Weights[i] = min(features[i].High, max(features[i].Low, math.Round(w*10)/10))
	}
	return best, nil
}

// fitScale fits with one strength of the pull.
func fitScale(features []Feature, rows []Row, folds map[int]bool, l2 float64, o FitOptions) *Fitted {
	f := &Fitted{L2: l2, Scores: make([]float64, len(rows)), Losses: []float64{0}}
	scale := pointsPerLogit
	for range rescalings {
		f.Losses[0] = 0
		total := 0.0
		var ham []float64
		for fold := range folds {
			s := newSolver(features, rows, l2, scale, func(r *Row) bool { return r.Fold != fold })
			s.solve()
			for i := range rows {
				if rows[i].Fold != fold {
					continue
				}
				m := s.margin(&rows[i])
				f.Scores[i] = (m - s.bias) * scale
				f.Losses[0] += rows[i].Weight * loss(m, rows[i].Spam)
				total += rows[i].Weight
				if !rows[i].Spam {
					ham = append(ham, f.Scores[i])
				}
			}
		}
		f.Losses[0] /= total
		// The ham's score that would have to stay below the threshold. The scale moves half the way: the weights that are
		// at their bounds don't move with it.
		slices.Sort(ham)
		edge := max(0.5, ham[len(ham)-1-min(len(ham)-1, int(o.Most*float64(len(ham))))]+0.05)
		scale *= math.Sqrt(min(4, max(0.25, o.Threshold/edge)))
	}
	s := newSolver(features, rows, l2, scale, func(*Row) bool { return true })
	s.solve()
	f.Weights = make([]float64, len(features))
	for i, w := range s.w {
		f.Weights[i] = w * scale
	}
	return f
}

// solver minimises the logarithmic loss of its rows, one weight after the other (Newton's step, then the bounds).
type solver struct {
	rows           []*Row
	having         [][]int32 // rows that have a feature
	w, prior       []float64 // in logits
	low, high      []float64
	bias           float64
	margins, y, wt []float64
	l2             float64
}

func newSolver(features []Feature, rows []Row, l2, scale float64, use func(*Row) bool) *solver {
	n := len(features)
	s := &solver{having: make([][]int32, n), w: make([]float64, n), prior: make([]float64, n), low: make([]float64, n), high: make([]float64, n), l2: l2}
	for i, f := range features {
		s.prior[i], s.low[i], s.high[i] = f.Prior/scale, f.Low/scale, f.High/scale
		s.w[i] = s.prior[i]
	}
	for i := range rows {
		if r := &rows[i]; use(r) {
			for _, f := range r.Features {
				s.having[f] = append(s.having[f], int32(len(s.rows)))
			}
			s.rows = append(s.rows, r)
			y := -1.0
			if r.Spam {
				y = 1
			}
			s.y, s.wt = append(s.y, y), append(s.wt, r.Weight)
		}
	}
	s.margins = make([]float64, len(s.rows))
	for i, r := range s.rows {
		s.margins[i] = s.margin(r)
	}
	return s
}

// margin gives the logarithm of the odds that a row is spam.
func (s *solver) margin(r *Row) float64 {
	m := s.bias
	for _, f := range r.Features {
		m += s.w[f]
	}
	return m
}

func (s *solver) solve() {
	all := make([]int32, len(s.rows))
	for i := range all {
		all[i] = int32(i)
	}
	for range sweeps {
		moved := math.Abs(s.step(&s.bias, all, 0, 0, math.Inf(-1), math.Inf(1)))
		for f := range s.w {
			if len(s.having[f]) > 0 {
				moved = max(moved, math.Abs(s.step(&s.w[f], s.having[f], s.l2, s.prior[f], s.low[f], s.high[f])))
			}
		}
		if moved < 1e-4 {
			return
		}
	}
}

// step moves one weight, and says by how much.
func (s *solver) step(w *float64, rows []int32, l2, prior, low, high float64) float64 {
	gradient, curvature := l2*(*w-prior), l2+1e-6
	for _, i := range rows {
		p := 1 / (1 + math.Exp(s.y[i]*s.margins[i])) // the probability of the other class
		gradient -= s.wt[i] * s.y[i] * p
		curvature += s.wt[i] * p * (1 - p)
	}
	by := min(1, max(-1, -gradient/curvature))
	by = min(high, max(low, *w+by)) - *w
	if by == 0 {
		return 0
	}
	*w += by
	for _, i := range rows {
		s.margins[i] += by
	}
	return by
}

// loss is the logarithmic loss.
func loss(margin float64, spam bool) float64 {
	if !spam {
		margin = -margin
	}
	if margin < -30 {
		return -margin
	}
	return math.Log1p(math.Exp(-margin))
}
