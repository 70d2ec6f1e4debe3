package limits

import (
	"math"
	"runtime/debug"
	"runtime/metrics"
	"sync"
	"sync/atomic"
	"time"
)

// Pressure is how near the process is to the end of its means.
type Pressure uint8

// The degrees.
const (
	Easy  Pressure = iota
	Tight          // nobody should be let in who is not known
	Spent          // nobody should
)

// At which share of the means what begins. Of memory, the rest is what the collector needs to do its work at a bearable price.
const (
	tightPlaces = 0.9
	tightMemory = 0.75
	spentMemory = 0.9
)

// Load counts what all listeners of the process take together: connections, of which the system grants a number, and memory. It
// knows nothing of processor time: what is short of that gets slow, and the rate of new connections is limited elsewhere.
// It is safe for concurrent use. The nil Load is without limits.
type Load struct {
	most   int64 // connections; 0 is no limit
	open   atomic.Int64
	memory func() float64 // the share of the memory's limit that is in use

	mu    sync.Mutex
	asked time.Time // memory, and what it said
	said  float64
}

// NewLoad makes one for so many connections, 0 for any number. memory tells which share of the memory there is in use; nil
// is LiveMemory. It is asked once a second at most.
func NewLoad(most int, memory func() float64) *Load {
	if memory == nil {
		memory = LiveMemory
	}
	return &Load{most: int64(most), memory: memory}
}

// Enter counts a connection in; false: there is no place for it.
func (l *Load) Enter() bool {
	if l == nil {
		return true
	}
	if n := l.open.Add(1); l.most > 0 && n > l.most {
		l.open.Add(-1)
		return false
	}
	return true
}

// Leave counts a connection out that Enter counted in.
func (l *Load) Leave() {
	if l != nil {
		l.open.Add(-1)
	}
}

// Pressure tells how things are.
func (l *Load) Pressure(now time.Time) Pressure {
	if l == nil {
		return Easy
	}
	used := l.used(now)
	switch {
	case used >= spentMemory:
		return Spent
	case used >= tightMemory, l.most > 0 && float64(l.open.Load()) > tightPlaces*float64(l.most):
		return Tight
	}
	return Easy
}

func (l *Load) used(now time.Time) float64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now.Sub(l.asked) >= time.Second || now.Before(l.asked) {
		l.asked, l.said = now, l.memory()
	}
	return l.said
}

// LiveMemory gives the share of the soft memory limit (GOMEMLIMIT) that is in use: what was reachable at the last collection,
// and stacks. What the program holds beyond that is garbage, which says nothing. Without a limit it is 0.
func LiveMemory() float64 {
	limit := debug.SetMemoryLimit(-1)
	if limit == math.MaxInt64 {
		return 0
	}
	samples := []metrics.Sample{{Name: "/gc/heap/live:bytes"}, {Name: "/memory/classes/heap/stacks:bytes"}}
	metrics.Read(samples)
	sum := uint64(0)
	for _, s := range samples {
		if s.Value.Kind() == metrics.KindUint64 {
			sum += s.Value.Uint64()
		}
	}
	return float64(sum) / float64(limit)
}
