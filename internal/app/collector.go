package app

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync"
	"sync/atomic"
)

// Go's collector lets the heap grow by as much again as lives, stacks counted, before it runs. Of a gateway with few clients
// only some megabytes live, so that it would run many times a second under load, for nothing: it is given some room in any
// case. Where thousands of clients are silent, what lives is theirs and makes no garbage, and as much room beside it is
// wasted, more than 6 of 16 KB for each that sends its content slowly: then half of it is enough. See ADR 22.

const (
	leastRoom  = 12 << 20 // octets that may be garbage
	leastShare = 50       // percent of what lives
	mostShare  = 300      // while next to nothing lives: the least heap of Go is 4 MB at 100 %
)

// roomFor gives the percentage for so many octets that live.
func roomFor(live uint64) int {
	return int(min(max(100*leastRoom/max(live, 1), leastShare), mostShare))
}

// tendCollector adapts the collector after each of its runs, for the rest of the process's life. Who sets GOGC knows better.
var tendCollector = sync.OnceFunc(func() {
	if os.Getenv("GOGC") == "" {
		c := &collector{percent: 100, living: living, set: func(percent int) { debug.SetGCPercent(percent) }}
		c.tend()
	}
})

// collector is what is known of Go's.
type collector struct {
	percent int
	living  func() uint64
	set     func(int)
	stopped atomic.Bool // for tests
}

// tend sets the percentage anew where that makes a difference. It comes again after the next run, when what it allocates
// here is found to be garbage.
func (c *collector) tend() {
	if c.stopped.Load() {
		return
	}
	if want := roomFor(c.living()); want < c.percent*9/10 || want > c.percent*11/10 {
		c.percent = want
		c.set(want)
	}
	runtime.AddCleanup(new([16]byte), (*collector).tend, c)
}

// living gives the octets that the collector has found alive, as it counts them.
func living() uint64 {
	samples := []metrics.Sample{{Name: "/gc/heap/live:bytes"}, {Name: "/gc/scan/stack:bytes"}, {Name: "/gc/scan/globals:bytes"}}
	metrics.Read(samples)
	sum := uint64(0)
	for _, s := range samples {
		if s.Value.Kind() == metrics.KindUint64 {
			sum += s.Value.Uint64()
		}
	}
	return sum
}
