// Package learner tells wanted from unwanted mail by what it was taught: features of messages, weights that it learns for
// them, and a store that keeps both. It is no filter, decides nothing about a message, and knows no MIME beyond what
// rules/text tells it.
package learner

import (
	"sync"
	"sync/atomic"
)

// Digest names a message by what it says.
type Digest [16]byte

// Options bound a Model. The zero value has the defaults.
type Options struct {
	Samples int // messages of each class that are remembered; the oldest give way; default 10 000
	Least   int // messages of each class that it must have learned before Ready; default 200
}

func (o Options) withDefaults() Options {
	if o.Samples == 0 {
		o.Samples = 10_000
	}
	if o.Least == 0 {
		o.Least = 200
	}
	return o
}

// Counts are how many messages a Model remembers.
type Counts struct{ Ham, Spam int }

// Model learns from samples, and scores others by what it has learned. It is safe for concurrent use. It forgets everything
// when the process ends: Store is the one that does not.
type Model struct {
	o       Options
	mu      sync.Mutex // held to learn
	known   map[Digest]int
	samples []example
	counts  Counts
	weights atomic.Pointer[weights]
}

// example is a sample that was learned.
type example struct {
	Sample
	spam bool
}

// New gives a Model that knows nothing.
func New(o Options) *Model {
	m := &Model{o: o.withDefaults(), known: map[Digest]int{}}
	m.weights.Store(&weights{})
	return m
}

// Learn teaches that a sample is spam, or ham. A sample that it knows as that it does not learn again, and gives false; one
// that it knows as the other it corrects. Many are learned best in one go, and Fit after them.
func (m *Model) Learn(s Sample, spam bool) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	s.texts = nil
	if i, ok := m.known[s.Digest]; ok {
		if m.samples[i].spam == spam {
			return false
		}
		m.count(!spam, -1)
		m.samples[i] = example{s, spam}
	} else {
		m.known[s.Digest] = len(m.samples)
		m.samples = append(m.samples, example{s, spam})
	}
	m.count(spam, 1)
	return true
}

func (m *Model) count(spam bool, n int) {
	if spam {
		m.counts.Spam += n
	} else {
		m.counts.Ham += n
	}
}

// Counts tells what is remembered.
func (m *Model) Counts() Counts {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.counts
}

// Ready reports whether enough of each class was learned for a score to mean something.
func (m *Model) Ready() bool {
	c := m.Counts()
	return min(c.Ham, c.Spam) >= m.o.Least
}

// Fit learns the weights anew from all that is remembered. The same samples give the same weights, in whatever order they
// came.
func (m *Model) Fit() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.weights.Store(fit(m.samples))
}

// Score gives the logarithm of the odds that a sample is spam: above 0 it is so more likely than not.
func (m *Model) Score(s Sample) float64 { return m.weights.Load().score(s.Features) }
