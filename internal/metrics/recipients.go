package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// RecipientList is the state of one list of recipients, or of whatever a route takes: a file's, or a directory's.
type RecipientList struct {
	Source  string        // the path of the file, or the name of the directory
	Entries int           // in force
	Taken   bool          // what is there now is in force, and not what was there before
	Age     time.Duration // since a directory confirmed it; 0: a file, or nothing is known yet
}

// RecipientLists gives the function that is asked for them at each scrape.
func (m *Metrics) RecipientLists(states func() []RecipientList) { m.recipientsNow.Store(&states) }

// AcceptsAny takes down whether the upstream of a route accepts recipients that nobody can have.
func (m *Metrics) AcceptsAny(route string, all bool) {
	v := 0.0
	if all {
		v = 1
	}
	m.acceptsAny.WithLabelValues(m.routes.get(m, route).name).Set(v)
}

// recipientLists reads the states of the lists when it is asked. There are as many as routes at most.
type recipientLists struct {
	m                   *Metrics
	entries, taken, age *prometheus.Desc
}

func (m *Metrics) recipientLists() {
	desc := func(name, help string) *prometheus.Desc {
		return prometheus.NewDesc(namespace+"_recipient_snapshot_"+name, help, []string{"source"}, nil)
	}
	m.acceptsAny = m.gaugeVec("recipient_callout_accepts_any", "Whether a route's upstream accepts recipients that nobody can have (1).", "route")
	m.registry.MustRegister(&recipientLists{
		m:       m,
		entries: desc("entries", "Entries in force of a file or directory of recipients, or of a file of a route."),
		taken:   desc("last_read_successful", "Whether what a file or directory of recipients has now is in force (1), or what it had before (0)."),
		age:     desc("age_seconds", "Time since a directory of recipients confirmed the entries in force."),
	})
}

// Describe implements prometheus.Collector.
func (c *recipientLists) Describe(to chan<- *prometheus.Desc) {
	to <- c.entries
	to <- c.taken
	to <- c.age
}

// Collect implements prometheus.Collector.
func (c *recipientLists) Collect(to chan<- prometheus.Metric) {
	states := c.m.recipientsNow.Load()
	if states == nil {
		return
	}
	for i, f := range (*states)() {
		if i >= maxRoutes {
			c.m.dropped.Inc()
			continue
		}
		taken := 0.0
		if f.Taken {
			taken = 1
		}
		to <- prometheus.MustNewConstMetric(c.entries, prometheus.GaugeValue, float64(f.Entries), f.Source)
		to <- prometheus.MustNewConstMetric(c.taken, prometheus.GaugeValue, taken, f.Source)
		if f.Age > 0 {
			to <- prometheus.MustNewConstMetric(c.age, prometheus.GaugeValue, f.Age.Seconds(), f.Source)
		}
	}
}
