package metrics

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/postern-mail/postern/upstream"
)

// stageTimes are the histograms of how long the stages of deliveries to one server took. A delivery tells all of its stages
// at once, so that they lie side by side under one lock; those of the library are each in a place of their own.
type stageTimes struct {
	names []upstream.Stage

	mu  sync.Mutex
	all []stageTime // by the place of the name; the last is that of every other stage
}

type stageTime struct {
	counts [len(stepBuckets) + 1]uint64 // by bucket, each without the ones below; the last has no bound
	sum    float64                      // of seconds
}

func stageTimesOf(names []upstream.Stage) *stageTimes {
	return &stageTimes{names: names, all: make([]stageTime, len(names)+1)}
}

// observe takes note of stages, most of which come in the order of the names. It gives how many are none of them.
func (s *stageTimes) observe(took []upstream.Took) (unknown int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	at := 0
	for _, t := range took {
		tried := 0
		for ; tried < len(s.names) && s.names[at] != t.Stage; tried++ {
			if at++; at == len(s.names) {
				at = 0
			}
		}
		if tried == len(s.names) {
			unknown++
			s.all[tried].observe(t.For)
		} else {
			s.all[at].observe(t.For)
		}
	}
	return unknown
}

func (s *stageTime) observe(d time.Duration) {
	v, i := d.Seconds(), 0
	for i < len(stepBuckets) && v > stepBuckets[i] {
		i++
	}
	s.counts[i]++
	s.sum += v
}

// collect gives the histograms of the server called name, that of other stages only where there were any.
func (s *stageTimes) collect(to chan<- prometheus.Metric, d *prometheus.Desc, name string) {
	s.mu.Lock()
	all := append([]stageTime(nil), s.all...)
	s.mu.Unlock()
	for i := range all {
		stage, n, buckets := other, uint64(0), make(map[float64]uint64, len(stepBuckets))
		if i < len(s.names) {
			stage = string(s.names[i])
		}
		for k, bound := range stepBuckets {
			n += all[i].counts[k]
			buckets[bound] = n
		}
		n += all[i].counts[len(stepBuckets)]
		if i < len(s.names) || n > 0 {
			to <- prometheus.MustNewConstHistogram(d, n, all[i].sum, buckets, name, stage)
		}
	}
}
