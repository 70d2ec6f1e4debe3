package metrics

import (
	"math"

	"github.com/prometheus/client_golang/prometheus"
)

const namespace = "postern"

// Buckets: of what a client waits for, of what a filter or a DNS server takes, and of sizes.
var (
	sessionBuckets = []float64{.01, .05, .1, .5, 1, 5, 10, 30, 60, 120, 300, 600}
	stepBuckets    = [...]float64{.001, .005, .01, .05, .1, .5, 1, 5, 20, 60}
	sizeBuckets    = []float64{1 << 10, 4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20, 4 << 20, 16 << 20, 64 << 20}
	scoreBuckets   = []float64{-10, -5, -2, 0, 1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 30}
)

func (m *Metrics) counter(name, help string) prometheus.Counter {
	c := prometheus.NewCounter(prometheus.CounterOpts{Namespace: namespace, Name: name, Help: help})
	m.registry.MustRegister(c)
	return c
}

func (m *Metrics) gauge(name, help string) prometheus.Gauge {
	g := prometheus.NewGauge(prometheus.GaugeOpts{Namespace: namespace, Name: name, Help: help})
	m.registry.MustRegister(g)
	return g
}

func (m *Metrics) gaugeFunc(name, help string, f func() float64) {
	m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: namespace, Name: name, Help: help}, f))
}

func (m *Metrics) counterVec(name, help string, labels ...string) *prometheus.CounterVec {
	c := prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Name: name, Help: help}, labels)
	m.registry.MustRegister(c)
	return c
}

func (m *Metrics) gaugeVec(name, help string, labels ...string) *prometheus.GaugeVec {
	g := prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: namespace, Name: name, Help: help}, labels)
	m.registry.MustRegister(g)
	return g
}

func (m *Metrics) histogram(name, help string, buckets []float64) prometheus.Histogram {
	h := prometheus.NewHistogram(prometheus.HistogramOpts{Namespace: namespace, Name: name, Help: help, Buckets: buckets})
	m.registry.MustRegister(h)
	return h
}

func (m *Metrics) histogramVec(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
	h := prometheus.NewHistogramVec(prometheus.HistogramOpts{Namespace: namespace, Name: name, Help: help, Buckets: buckets}, labels)
	m.registry.MustRegister(h)
	return h
}

// each makes the series of every combination of the given label values.
func each(make func(values ...string), sets ...[]string) {
	var walk func(int, []string)
	walk = func(i int, values []string) {
		if i == len(sets) {
			make(values...)
			return
		}
		for _, v := range sets[i] {
			walk(i+1, append(values[:i:i], v))
		}
	}
	walk(0, nil)
}

// disk tells the room of the state's file system or its size, NaN where that can't be known.
func (m *Metrics) disk(free bool) float64 {
	dir := m.directory.Load()
	if dir == nil {
		return math.NaN()
	}
	room, size, err := statfs(*dir)
	switch {
	case err != nil:
		return math.NaN()
	case free:
		return room
	}
	return size
}
