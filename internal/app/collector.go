package app

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync"
	"sync/atomic"
)

// Go's collector lets the heap grow by as much again as lives, stacks counted, before it runs. That is right for the little
// that lives in a gateway without clients. Where thousands of them are silent, what lives is theirs and makes no garbage, and the
// room beside it is wasted: more than 6 of 16 KB for each that sends its content slowly. So of what lives beyond some
// megabytes half is kept free. See ADR 22.

const (
	wholeRoom = 24 << 20 // octets that live, for which there is as much room again
	leastRoom = 50       // percent, where twice as many live
)

// roomFor gives the percentage for so many octets that live.
func roomFor(live uint64) int {
	return int(max(100*min(live, wholeRoom)/max(live, 1), leastRoom))
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
	if want := roomFor(c.living()); want < c.percent-10 || want > c.percent+10 || want == 100 && c.percent != 100 {
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
