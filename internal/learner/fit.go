package learner

import (
	"bytes"
	"context"
	"math"
	"math/rand/v2"
	"slices"
	"time"
)

// The model is logistic regression over the features that a message has, whatever their number: a message's score is the sum
// of their weights over the root of how many there are, so that a long message says no more than a short one. What was seen
// in too few messages has no weight: it can't tell anything of others yet.
//
// Weights are learned by stochastic gradient descent over all lessons that are remembered, several times and each time in
// another order, and always from nothing. So it makes no difference in which order the lessons came (all ham first, then
// all spam), a lesson that was taken back leaves no trace, and what two gateways have learned can be put together exactly.
//
// Steps are the longer the rarer a feature is, by the root of that. With steps of one length what most lessons of a class have takes all
// that is to be explained, and is of no use for mail from elsewhere that has other things in common.
const (
	epochs   = 8
	rate     = 6.0
	decay    = 1e-7 // of weights, with each step
	leastOf  = 4    // messages that a feature must have been seen in
	common   = 0.1  // the share of the lessons that has a feature whose step is of the length that rate says
	doubt    = 0.01 // how probable it is that a lesson is wrong: what is sure of it has nothing more to learn from it
	faint    = 1e-20
	maxOdds  = 12   // logarithm; nobody knows better than that
	bestBias = 0.05 // the rate of the bias, of that of weights
)

// weights are what was learned. They are not changed any more once they are in use.
type weights struct {
	bias         float64
	w            []float32 // featureSpace of them, 0 for a feature that is not known; nil where nothing was learned
	slope, shift float64   // from the score to the logarithm of the odds
	lessons      Counts    // that they were learned from
	took         time.Duration
}

func scale(n int) float64 { return 1 / math.Sqrt(float64(n)+1) }

// raw gives the score of features, and how many of them are known.
func (w *weights) raw(features []uint32) (z float64, known int) {
	sum := float32(0)
	for _, f := range features {
		if x := w.w[f]; x != 0 {
			sum += x
			known++
		}
	}
	return w.bias + float64(sum)*scale(known), known
}

func (w *weights) score(features []uint32) float64 {
	if w.w == nil {
		return 0
	}
	z, _ := w.raw(features)
	return min(max(w.slope*z+w.shift, -maxOdds), maxOdds)
}

// fit learns from lessons; nil where the context ends before it has. What is older than halfLife counts half, and so on; 0: age makes no difference.
func fit(ctx context.Context, lessons []Lesson, now time.Time, halfLife time.Duration) *weights {
	began := time.Now()
	w := &weights{slope: 1}
	for i := range lessons {
		w.lessons.add(lessons[i].Spam, 1)
	}
	if w.lessons.Ham == 0 || w.lessons.Spam == 0 {
		return w
	}
	all := slices.Clone(lessons)
	slices.SortFunc(all, func(a, b Lesson) int { return bytes.Compare(a.Digest[:], b.Digest[:]) })
	t := newTraining(all, now, halfLife)
	t.ctx = ctx
	slope, shift := t.calibrate()
	w.w, w.bias = t.train(nil)
	if ctx.Err() != nil {
		return nil
	}
	w.slope, w.shift, w.took = slope, shift, time.Since(began)
	return w
}

// training is one fit.
type training struct {
	ctx     context.Context //nolint:containedctx // of one fit
	lessons []Lesson
	count   []uint16  // messages that each feature was seen in, as far as that can be counted
	w       []moving  // of each feature
	share   []float32 // how much each lesson counts
	buf     []uint32
}

func newTraining(lessons []Lesson, now time.Time, halfLife time.Duration) *training {
	t := &training{
		lessons: lessons, count: make([]uint16, featureSpace), w: make([]moving, featureSpace), share: make([]float32, len(lessons)), buf: make([]uint32, 0, maxFeatures),
	}
	var newest time.Time // age is that beside the newest lesson: where nothing was taught for years, all count as they did
	for i := range lessons {
		if w := lessons[i].When; w.After(newest) && !w.After(now) {
			newest = w
		}
	}
	var sum [2]float64
	for i := range lessons {
		l := &lessons[i]
		for _, f := range l.Features(t.buf) {
			if t.count[f] != math.MaxUint16 {
				t.count[f]++
			}
		}
		share := 1.0
		if age := newest.Sub(l.When); halfLife > 0 && age > 0 {
			share = max(math.Exp2(-age.Hours()/halfLife.Hours()), leastShare)
		}
		t.share[i] = float32(share)
		sum[class(l.Spam)] += share
	}
	// Both classes count as much, as far as that takes no more than a few times: what was taught last year may be most ham.
	even := (sum[0] + sum[1]) / 2
	for i := range lessons {
		by := min(max(even/sum[class(lessons[i].Spam)], 1.0/maxEven), maxEven)
		t.share[i] = float32(float64(t.share[i]) * float64(len(lessons)) / (sum[0] + sum[1]) * by)
		t.share[i] = min(t.share[i], mostShare)
	}
	return t
}

// Bounds of what a lesson counts: an old one beside a new one, and any beside the mean. One new lesson after years is not to
// outweigh all others.
const (
	leastShare = 1.0 / 64
	mostShare  = 8
)

// maxEven bounds how many times a lesson of the rarer class counts.
const maxEven = 4

func class(spam bool) int {
	if spam {
		return 1
	}
	return 0
}

// moving is a weight that is being learned.
type moving struct {
	weight float32
	pace   float32 // how long its steps are beside those of others; 0 of a feature that is not known
}

// train learns the weights from the lessons that skip does not name.
func (t *training) train(skip func(*Lesson) bool) (w []float32, bias float64) {
	for f, n := range t.count {
		t.w[f] = moving{}
		if n >= leastOf {
			t.w[f] = moving{faint, float32(math.Sqrt(common * float64(len(t.lessons)) / float64(n)))}
		}
	}
	order := make([]int, 0, len(t.lessons))
	for i := range t.lessons {
		if skip == nil || !skip(&t.lessons[i]) {
			order = append(order, i)
		}
	}
	r, moved := rand.New(rand.NewPCG(1, 2)), 1.0
	for range epochs {
		r.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
		for n, i := range order {
			if n%256 == 0 && t.ctx.Err() != nil {
				return nil, 0 // nobody uses them
			}
			features := t.lessons[i].Features(t.buf)
			g := t.learn(features, t.lessons[i].Spam, float64(t.share[i]), bias)
			moved += g * g
			bias -= rate * bestBias * g / math.Sqrt(moved)
		}
	}
	w = make([]float32, featureSpace)
	for f := range t.w {
		w[f] = t.w[f].weight
	}
	return w, bias
}

// learn takes one step of the features of a lesson, and gives how far the lesson was from what was known.
func (t *training) learn(features []uint32, spam bool, share, bias float64) float64 {
	sum, known := float32(0), features[:0]
	for _, f := range features {
		if m := &t.w[f]; m.pace != 0 {
			sum += m.weight
			known = append(known, f)
		}
	}
	by := scale(len(known))
	want := doubt
	if spam {
		want = 1 - doubt
	}
	g := (1/(1+math.Exp(-bias-float64(sum)*by)) - want) * share
	step := float32(rate * g * by)
	for _, f := range known {
		m := &t.w[f]
		m.weight -= step*m.pace + rate*decay*m.weight
	}
	return g
}

// held out for the calibration is one lesson of so many; of each class there must be so many.
const (
	heldOut   = 8
	leastHeld = 20
)

// calibrate finds how the score of a message that was not learned from becomes the logarithm of the odds (Platt): it learns
// from most of the lessons, and looks at the others.
func (t *training) calibrate() (slope, shift float64) {
	held := func(l *Lesson) bool { return l.Digest[0]%heldOut == 0 }
	var n [2]int
	for i := range t.lessons {
		if held(&t.lessons[i]) {
			n[class(t.lessons[i].Spam)]++
		}
	}
	if min(n[0], n[1]) < leastHeld {
		return 1, 0
	}
	m := weights{}
	if m.w, m.bias = t.train(held); m.w == nil {
		return 1, 0
	}
	var scores [2][]float64
	for i := range t.lessons {
		if l := &t.lessons[i]; held(l) {
			z, _ := m.raw(l.Features(t.buf))
			scores[class(l.Spam)] = append(scores[class(l.Spam)], z)
		}
	}
	return platt(scores)
}

// platt fits slope and shift by Newton's method, where ham and spam have the same weight. As there is no end to what would
// fit scores that are told apart without a fault, of each class one is taken to be in doubt.
func platt(scores [2][]float64) (slope, shift float64) {
	slope = 1
	for range 50 {
		var g [2]float64
		h := [3]float64{1e-9, 0, 1e-9}
		for c, all := range scores {
			share, want := 1/float64(len(all)), 1/(float64(len(all))+2)
			if c == 1 {
				want = 1 - want
			}
			for _, z := range all {
				p := 1 / (1 + math.Exp(-(slope*z + shift)))
				d, v := share*(p-want), share*p*(1-p)
				g[0], g[1] = g[0]+d*z, g[1]+d
				h[0], h[1], h[2] = h[0]+v*z*z, h[1]+v*z, h[2]+v
			}
		}
		det := h[0]*h[2] - h[1]*h[1]
		if det < 1e-15 {
			break
		}
		ds, db := (g[0]*h[2]-g[1]*h[1])/det, (g[1]*h[0]-g[0]*h[1])/det
		slope, shift = slope-max(min(ds, 1), -1), shift-max(min(db, 1), -1)
		if abs(ds)+abs(db) < 1e-6 {
			break
		}
	}
	if !(slope > 0.01) || math.IsInf(shift, 0) || math.IsNaN(shift) {
		return 1, 0 // the scores are the wrong way round: too little was learned to tell
	}
	return slope, shift
}
