package rules

import (
	"sync/atomic"
	"time"
)

// clock adds up how long rules take. The functions of one message in sampleEvery are timed one by one, which costs a few microseconds;
// patterns are looked for all at once, and what one of them takes alone only Measure finds out.
type clock struct {
	runs  atomic.Uint64
	spent []spent // by the id of the rule
}

type spent struct{ count, nanoseconds atomic.Int64 }

const sampleEvery = 64

// sample reports whether the functions of this message are to be timed.
func (c *clock) sample() bool { return c.runs.Add(1)%sampleEvery == 1 }

func (c *clock) add(r *Rule, d time.Duration) {
	c.spent[r.id].count.Add(1)
	c.spent[r.id].nanoseconds.Add(int64(d))
}

// Time gives how often a function of a rule was timed, and how long it took in all.
func (s *Set) Time(r *Rule) (count int64, took time.Duration) {
	sp := &s.clock.spent[r.id]
	return sp.count.Load(), time.Duration(sp.nanoseconds.Load())
}
