package metrics

import "github.com/prometheus/client_golang/prometheus"

// RecipientFile is the state of one file of recipients.
type RecipientFile struct {
	Path    string
	Entries int  // in force
	Taken   bool // what is in the file is in force, and not what was there before
}

// RecipientFiles gives the function that is asked for them at each scrape.
func (m *Metrics) RecipientFiles(states func() []RecipientFile) { m.recipientsNow.Store(&states) }

// AcceptsAny takes down whether the upstream of a route accepts recipients that nobody can have.
func (m *Metrics) AcceptsAny(route string, all bool) {
	v := 0.0
	if all {
		v = 1
	}
	m.acceptsAny.WithLabelValues(m.routes.get(m, route).name).Set(v)
}

// recipientFiles reads the states of the files when it is asked. There are as many as routes at most.
type recipientFiles struct {
	m              *Metrics
	entries, taken *prometheus.Desc
}

func (m *Metrics) recipientFiles() {
	desc := func(name, help string) *prometheus.Desc {
		return prometheus.NewDesc(namespace+"_recipient_snapshot_"+name, help, []string{"source"}, nil)
	}
	m.acceptsAny = m.gaugeVec("recipient_callout_accepts_any", "Whether a route's upstream accepts recipients that nobody can have (1).", "route")
	m.registry.MustRegister(&recipientFiles{
		m:       m,
		entries: desc("entries", "Entries in force of a file of recipients."),
		taken:   desc("last_read_successful", "Whether what is in a file of recipients is in force (1), or what was there before (0)."),
	})
}

// Describe implements prometheus.Collector.
func (c *recipientFiles) Describe(to chan<- *prometheus.Desc) {
	to <- c.entries
	to <- c.taken
}

// Collect implements prometheus.Collector.
func (c *recipientFiles) Collect(to chan<- prometheus.Metric) {
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
		to <- prometheus.MustNewConstMetric(c.entries, prometheus.GaugeValue, float64(f.Entries), f.Path)
		to <- prometheus.MustNewConstMetric(c.taken, prometheus.GaugeValue, taken, f.Path)
	}
}
