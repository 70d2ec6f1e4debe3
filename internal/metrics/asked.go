package metrics

import (
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/upstream"
)

// Asked is a stage whose filter asks a program outside, and how to find out how that is.
type Asked struct {
	Filter string // name of the stage
	Health func() filter.Health
}

// Asked sets the stages whose programs are looked at, at each scrape: those of the configuration in force.
func (m *Metrics) Asked(all []Asked) { m.programs.Store(&all) }

// askedMetrics reads how the programs are that filters ask.
type askedMetrics struct {
	m                    *Metrics
	breaker, server, age *prometheus.Desc
}

func newAskedMetrics(m *Metrics) *askedMetrics {
	return &askedMetrics{
		m:       m,
		breaker: prometheus.NewDesc(namespace+"_filter_breaker_state", "1 for the state of the circuit breaker of what a filter asks, 0 for the others.", []string{"filter", "state"}, nil),
		server:  prometheus.NewDesc(namespace+"_filter_server_breaker_closed", "1 for a server that a filter asks and that is in use, 0 for one that has failed again and again.", []string{"filter", "server"}, nil),
		age:     prometheus.NewDesc(namespace+"_av_signature_age_seconds", "Age of the virus signatures that a scanner goes by.", []string{"filter"}, nil),
	}
}

// Describe implements prometheus.Collector.
func (a *askedMetrics) Describe(c chan<- *prometheus.Desc) {
	c <- a.breaker
	c <- a.server
	c <- a.age
}

// Collect implements prometheus.Collector.
func (a *askedMetrics) Collect(c chan<- prometheus.Metric) {
	all := a.m.programs.Load()
	if all == nil {
		return
	}
	for i, one := range *all {
		if i == maxFilters {
			return
		}
		h := one.Health()
		for _, s := range upstream.Breakers() {
			is := 0.0
			if h.Breaker == s.String() {
				is = 1
			}
			c <- prometheus.MustNewConstMetric(a.breaker, prometheus.GaugeValue, is, one.Filter, s.String())
		}
		used := map[string]float64{} // those of one name are one
		for _, s := range h.Servers {
			name := strings.ToValidUTF8(s.Name, "?")
			is, known := used[name]
			if used[name] = 0; s.Breaker == upstream.BreakerClosed.String() && (!known || is == 1) {
				used[name] = 1
			}
		}
		for name, is := range used {
			c <- prometheus.MustNewConstMetric(a.server, prometheus.GaugeValue, is, one.Filter, name)
		}
		if !h.Signatures.IsZero() {
			c <- prometheus.MustNewConstMetric(a.age, prometheus.GaugeValue, time.Since(h.Signatures).Seconds(), one.Filter)
		}
	}
}
