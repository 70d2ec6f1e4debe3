// Package learner tells wanted from unwanted mail by what it was taught: features of messages, weights that it learns for
// them, and a store that keeps both. It is no filter, decides nothing about a message, and knows no MIME beyond what
// rules/text tells it.
package learner

import (
	"cmp"
	"context"
	"encoding/hex"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// Digest names a message by what it says.
type Digest [16]byte

// MarshalText gives the digest in hexadecimal.
func (d Digest) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, d[:]), nil }

// UnmarshalText reads what MarshalText has written.
func (d *Digest) UnmarshalText(b []byte) error {
	if len(b) != hex.EncodedLen(len(d)) {
		return fmt.Errorf("learner: a digest of %d digits", len(b))
	}
	_, err := hex.Decode(d[:], b)
	return err
}

// Probability gives the probability that has these odds, which are a logarithm.
func Probability(odds float64) float64 { return 1 / (1 + math.Exp(-odds)) }

// Options bound what is learned. The zero value has the defaults.
type Options struct {
	Samples  int           // messages of each class that are remembered; then old ones give way; default 10 000
	Least    int           // messages of each class that must be remembered before Ready; default 200
	HalfLife time.Duration // after which a lesson counts half as much as a new one; default 180 days
}

func (o Options) withDefaults() Options {
	o.Samples = cmp.Or(o.Samples, 10_000)
	o.Least = cmp.Or(o.Least, 200)
	o.HalfLife = cmp.Or(o.HalfLife, 180*24*time.Hour)
	return o
}

// Counts are how many messages of each class are remembered.
type Counts struct {
	Ham  int `json:"ham"`
	Spam int `json:"spam"`
}

func (c *Counts) add(spam bool, n int) {
	if spam {
		c.Spam += n
	} else {
		c.Ham += n
	}
}

// Model learns from samples, and scores others by what it has learned. It is safe for concurrent use. It forgets everything
// when the process ends: a Store does not.
type Model struct {
	o       Options
	mu      sync.Mutex // held to learn
	lessons map[Digest]Lesson
	counts  Counts
	weights atomic.Pointer[weights]
}

// New gives a Model that knows nothing.
func New(o Options) *Model {
	m := &Model{o: o.withDefaults(), lessons: map[Digest]Lesson{}}
	m.weights.Store(&weights{})
	return m
}

// Learn teaches that a sample is spam, or ham. One that is known as that is not learned again, and gives false; one that is
// known as the other is corrected. It counts from the next Fit on. A Model has no bound but the caller's: Options.Samples is
// for a Store.
func (m *Model) Learn(s Sample, spam bool) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if old, ok := m.lessons[s.Digest]; ok {
		if old.Spam == spam {
			return false
		}
		m.counts.add(old.Spam, -1)
	}
	m.lessons[s.Digest] = NewLesson(s, spam, FromPeople, time.Time{})
	m.counts.add(spam, 1)
	return true
}

// Counts tells what is remembered.
func (m *Model) Counts() Counts {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.counts
}

// Ready reports whether enough of each class was learned for a score to mean something.
func (m *Model) Ready() bool { return m.Counts().enough(m.o.Least) }

func (c Counts) enough(least int) bool { return min(c.Ham, c.Spam) >= least }

// Fit learns the weights anew from all that is remembered. The same samples give the same weights, in whatever order they
// came.
func (m *Model) Fit() {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := make([]Lesson, 0, len(m.lessons))
	for _, l := range m.lessons {
		all = append(all, l)
	}
	m.weights.Store(fit(context.Background(), all, time.Time{}, 0))
}

// Score gives the logarithm of the odds that a sample is spam, were there as much ham as spam: above 0 it is spam more likely
// than not. It is 0 before the first Fit.
func (m *Model) Score(s Sample) float64 { return m.weights.Load().score(s.Features) }

// Heaviest is Store.Heaviest.
func (m *Model) Heaviest(s Sample, most int) []Share {
	return m.weights.Load().heaviest(s.Features, most)
}
