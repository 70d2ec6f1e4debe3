package learner

import (
	"bytes"
	"math"
	"math/rand/v2"
	"slices"
)

// tableBits is the logarithm of the number of weights. Two features of one place share a weight.
const tableBits = 20

// weights are what was learned. They are not changed any more once they are in use.
type weights struct {
	bias float64
	w    []float32 // nil of a Model that has learned nothing
}

func place(feature uint32) uint32 { return feature >> (32 - tableBits) }

// scale makes long and short messages comparable.
func scale(n int) float64 { return 1 / math.Sqrt(float64(n)+1) }

func (w *weights) score(features []uint32) float64 {
	if w.w == nil {
		return 0
	}
	z := 0.0
	for _, f := range features {
		z += float64(w.w[place(f)])
	}
	return w.bias + z*scale(len(features))
}

// Of the fit.
const (
	epochs = 5
	rate   = 0.3
)

// fit learns weights by logistic regression: stochastic gradient descent, whose steps become shorter for each weight with
// what it has moved already (AdaGrad).
func fit(samples []example) *weights {
	if len(samples) == 0 {
		return &weights{}
	}
	order := slices.Clone(samples)
	slices.SortFunc(order, func(a, b example) int { return bytes.Compare(a.Digest[:], b.Digest[:]) })
	w := &weights{w: make([]float32, 1<<tableBits)}
	moved := make([]float32, 1<<tableBits)
	r, biasMoved := rand.New(rand.NewPCG(1, 2)), 0.0
	for range epochs {
		r.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
		for i := range order {
			e := &order[i]
			g := 1 / (1 + math.Exp(-w.score(e.Features)))
			if e.spam {
				g--
			}
			step := float32(g * scale(len(e.Features)))
			for _, f := range e.Features {
				k := place(f)
				moved[k] += step * step
				w.w[k] -= rate * step / float32(math.Sqrt(float64(moved[k])+1e-6))
			}
			biasMoved += g * g
			w.bias -= rate / 20 * g / math.Sqrt(biasMoved+1)
		}
	}
	return w
}
