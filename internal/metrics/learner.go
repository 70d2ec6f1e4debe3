package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/postern-mail/postern/internal/learner"
)

// Learner gives the function that is asked, at each scrape, what was learned of mail.
func (m *Metrics) Learner(usage func() learner.Usage) { m.learned.Store(&usage) }

// learnerMetrics reads the learner when it is asked.
type learnerMetrics struct {
	m                                        *Metrics
	lessons, learned, dropped, octets, ready *prometheus.Desc
	fits, fitted, durable                    *prometheus.Desc
}

func (m *Metrics) learner() {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(namespace+"_learner_"+name, help, labels, nil)
	}
	m.registry.MustRegister(&learnerMetrics{
		m:       m,
		lessons: desc("lessons", "Messages that the learner remembers.", "class"),
		learned: desc("learned_total", "Messages that were learned, by who has taught them.", "class", "by"),
		dropped: desc("dropped_total", "Messages that rules were to teach and that were not learned: too many at once, or the disk did not take them."),
		octets:  desc("store_bytes", "Octets of the learner's file of lessons."),
		ready:   desc("ready", "Whether enough was learned for the filter to speak (1) or not (0)."),
		fits:    desc("fits_total", "Times that the weights were made anew."),
		durable: desc("durable", "Whether the last lessons and weights could be written (1) or not (0)."),
		fitted:  desc("fit_timestamp_seconds", "When the weights in use were made."),
	})
}

// Describe implements prometheus.Collector.
func (c *learnerMetrics) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.lessons, c.learned, c.dropped, c.octets, c.ready, c.fits, c.fitted, c.durable} {
		to <- d
	}
}

// Collect implements prometheus.Collector.
func (c *learnerMetrics) Collect(to chan<- prometheus.Metric) {
	f := c.m.learned.Load()
	if f == nil {
		return
	}
	u := (*f)()
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	count := func(d *prometheus.Desc, n int64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), labels...)
	}
	gauge(c.lessons, float64(u.Ham), "ham")
	gauge(c.lessons, float64(u.Spam), "spam")
	for _, how := range learner.Ways() {
		count(c.learned, u.Learned[0][how], "ham", how.String())
		count(c.learned, u.Learned[1][how], "spam", how.String())
	}
	count(c.dropped, u.Dropped)
	gauge(c.octets, float64(u.Octets))
	yes := map[bool]float64{true: 1}
	gauge(c.ready, yes[u.Ready])
	gauge(c.durable, yes[u.Durable])
	count(c.fits, u.Fits)
	if !u.Fitted.IsZero() {
		gauge(c.fitted, float64(u.Fitted.UnixMilli())/1000)
	}
}
