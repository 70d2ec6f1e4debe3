package detection

import (
	"cmp"
	"math"
	"math/rand/v2"
	"slices"
)

// Scored is one judged message.
type Scored struct {
	Spam    bool
	Score   float64 // the higher the likelier spam; of any scale
	Cluster int     // near-duplicates have the same
}

// AUC gives the area under the receiver's curve: how likely a spam scores higher than a ham, ties counting half. It is
// NaN where there is none of either.
func AUC(all []Scored) float64 {
	s := slices.Clone(all)
	slices.SortFunc(s, func(a, b Scored) int { return cmp.Compare(a.Score, b.Score) })
	var ham, spam, area float64
	for i := 0; i < len(s); {
		var h, p float64
		score := s[i].Score
		for ; i < len(s) && s[i].Score == score; i++ {
			if s[i].Spam {
				p++
			} else {
				h++
			}
		}
		area += p*ham + p*h/2
		ham, spam = ham+h, spam+p
	}
	return area / (ham * spam)
}

// Threshold gives the least score such that of the ham at most the share most scores higher than it: a message is
// called spam when its score is above it. It is -Inf where there is no ham.
func Threshold(all []Scored, most float64) float64 {
	var ham []float64
	for _, s := range all {
		if !s.Spam {
			ham = append(ham, s.Score)
		}
	}
	allowed := int(most*float64(len(ham)) + 1e-9)
	if allowed >= len(ham) {
		return math.Inf(-1)
	}
	slices.SortFunc(ham, func(a, b float64) int { return cmp.Compare(b, a) })
	return ham[allowed]
}

// Above counts the spam, or the ham, and how many of it scores above a threshold.
func Above(all []Scored, spam bool, threshold float64) (above, of int) {
	for _, s := range all {
		if s.Spam == spam {
			of++
			if s.Score > threshold {
				above++
			}
		}
	}
	return above, of
}

// Recall gives the share of spam that is found where at most the share most of the ham is called spam; NaN where there
// is no spam.
func Recall(all []Scored, most float64) float64 {
	n, of := Above(all, true, Threshold(all, most))
	return float64(n) / float64(of)
}

// Interval is a 95 % interval.
type Interval struct{ Low, High float64 }

// Wilson gives the score interval of n of total.
func Wilson(n, total int) Interval {
	if total == 0 {
		return Interval{0, 1}
	}
	const z = 1.959964
	t := float64(total)
	p := float64(n) / t
	mid, half, scale := p+z*z/(2*t), z*math.Sqrt(p*(1-p)/t+z*z/(4*t*t)), 1+z*z/t
	return Interval{max(0, (mid-half)/scale), min(1, (mid+half)/scale)}
}

// Bootstrap gives the interval of each figure that a function computes, by drawing clusters of near-duplicates with
// replacement: a threshold that rests on a few hams varies from draw to draw as it would with other mail. Every system
// that is given the same messages in the same order sees the same draws. Figures that are NaN in a draw are left out.
func Bootstrap(n int, clusters []int, draws int, figures func(picked []int) []float64) []Interval {
	members := map[int][]int{}
	var order []int
	for i := range n {
		c := clusters[i]
		if members[c] == nil {
			order = append(order, c)
		}
		members[c] = append(members[c], i)
	}
	r := rand.New(rand.NewPCG(7, 11))
	var values [][]float64
	picked := make([]int, 0, n)
	for range draws {
		picked = picked[:0]
		for range order {
			picked = append(picked, members[order[r.IntN(len(order))]]...)
		}
		for k, v := range figures(picked) {
			if k == len(values) {
				values = append(values, nil)
			}
			if !math.IsNaN(v) {
				values[k] = append(values[k], v)
			}
		}
	}
	out := make([]Interval, len(values))
	for k, v := range values {
		slices.Sort(v)
		if len(v) == 0 {
			out[k] = Interval{math.NaN(), math.NaN()}
			continue
		}
		at := func(q float64) float64 { return v[min(len(v)-1, int(q*float64(len(v))))] }
		out[k] = Interval{at(0.025), at(0.975)}
	}
	return out
}
