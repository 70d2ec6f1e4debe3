package filter_test

import (
	"sync"
	"sync/atomic"
	"testing"

	"github.com/postern-mail/postern/filter"
)

// TestKept: a stage finds of a message what it has kept of it, and nothing that another stage, another type or another message has.
func TestKept(t *testing.T) {
	type notes struct{ n atomic.Int64 }
	type others struct{ n atomic.Int64 }
	in := &filter.Input{Kept: new(filter.Kept)}
	again := &filter.Input{Kept: in.Kept} // of another policy
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() { filter.KeptBy[notes](in, "a").n.Add(1) })
		all.Go(func() { filter.KeptBy[notes](again, "a").n.Add(1) })
	}
	all.Wait()
	filter.KeptBy[notes](&filter.Input{}, "a").n.Add(1)
	for name, got := range map[string][2]int64{
		"the stage's own": {filter.KeptBy[notes](again, "a").n.Load(), 16},
		"another stage's": {filter.KeptBy[notes](in, "b").n.Load(), 0},
		"another type":    {filter.KeptBy[others](in, "a").n.Load(), 0},
		"another message": {filter.KeptBy[notes](&filter.Input{Kept: new(filter.Kept)}, "a").n.Load(), 0},
		"kept by nobody":  {filter.KeptBy[notes](&filter.Input{}, "a").n.Load(), 0},
	} {
		if got[0] != got[1] {
			t.Errorf("%s: %d, want %d", name, got[0], got[1])
		}
	}
}
