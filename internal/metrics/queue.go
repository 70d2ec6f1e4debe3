package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/postern-mail/postern/internal/spool"
	"github.com/postern-mail/postern/mail/dsn"
	"github.com/postern-mail/postern/upstream/queue"
)

// queueSeries count what becomes of mail in the queue.
type queueSeries struct {
	queueTried    map[string]prometheus.Counter
	queueReports  map[string]prometheus.Counter
	queueSilent   map[string]prometheus.Counter
	queueOrders   map[string]prometheus.Counter
	queueFaults   prometheus.Counter
	queueSetAside prometheus.Counter
}

// Kinds of reports.
const (
	reportFailure = "failure"
	reportDelay   = "delay"
	reportSuccess = "success"
)

// Queue gives the functions that are asked, at each scrape, what the queue and the spool hold.
func (m *Metrics) Queue(held func() []queue.Usage, files func() spool.Usage) {
	m.queueNow.Store(&queueUsage{held, files})
}

// QueueTried counts what a try came to for one recipient: deferred, delivered, failed, kept.
func (m *Metrics) QueueTried(s spool.State) {
	word := string(s)
	if s == spool.Waiting {
		word = "deferred"
	}
	if c := m.queueTried[word]; c != nil {
		c.Inc()
	}
}

// QueueReport counts a delivery status notification.
func (m *Metrics) QueueReport(what dsn.Action) {
	kind := reportSuccess
	switch what {
	case dsn.Failed:
		kind = reportFailure
	case dsn.Delayed:
		kind = reportDelay
	}
	m.queueReports[kind].Inc()
}

// QueueSilent counts mail that was given up and whose sender is not told.
func (m *Metrics) QueueSilent(why queue.Silence) {
	if c := m.queueSilent[string(why)]; c != nil {
		c.Inc()
	}
}

// QueueOrder counts a message that an operator's order was carried out on.
func (m *Metrics) QueueOrder(o queue.Order) {
	if c := m.queueOrders[string(o)]; c != nil {
		c.Inc()
	}
}

// QueueFault counts a failure to read or write the spool.
func (m *Metrics) QueueFault() { m.queueFaults.Inc() }

// QueueSetAside counts a damaged entry of the spool.
func (m *Metrics) QueueSetAside() { m.queueSetAside.Inc() }

type queueUsage struct {
	held  func() []queue.Usage
	files func() spool.Usage
}

// queueMetrics reads the queue when it is asked.
type queueMetrics struct {
	m                                                *Metrics
	messages, octets, oldest, used, limit, bad, torn *prometheus.Desc
}

func (m *Metrics) queue() {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(namespace+"_"+name, help, labels, nil)
	}
	m.registry.MustRegister(&queueMetrics{
		m:        m,
		messages: desc("queue_messages", "Messages that wait in the spool, by route and state.", "route", "state"),
		octets:   desc("queue_bytes", "Octets of them.", "route", "state"),
		oldest:   desc("queue_oldest_age_seconds", "For how long the oldest of them has waited.", "route", "state"),
		used:     desc("spool_bytes", "Octets of the spool's files."),
		limit:    desc("spool_limit_bytes", "How many octets they may have; 0: no limit of the configuration."),
		bad:      desc("spool_damaged", "Damaged entries of the spool that were set aside."),
		torn:     desc("spool_torn_marks_total", "Marks of what became of recipients that were found damaged, and left out."),
	})
	m.queueTried = countersOf(m.counterVec("queue_recipients_total", "What tries from the spool came to, by recipient.", "result"),
		[]string{"deferred", string(spool.Delivered), string(spool.Failed), string(spool.Kept)})
	m.queueReports = countersOf(m.counterVec("dsn_sent_total", "Delivery status notifications that were put into the spool.", "kind"),
		[]string{reportFailure, reportDelay, reportSuccess})
	var silences []string
	for _, s := range queue.Silences() {
		silences = append(silences, string(s))
	}
	m.queueSilent = countersOf(m.counterVec("bounces_suppressed_total", "Mail that was given up and whose sender is not told, by why.", "reason"), silences)
	var orders []string
	for _, o := range queue.Orders() {
		orders = append(orders, string(o))
	}
	m.queueOrders = countersOf(m.counterVec("queue_operations_total", "Messages that an operator has worked on, by postern queue.", "operation"), orders)
	m.queueFaults = m.counter("spool_faults_total", "Failures to read or write the spool, or to make a report; what they were about is tried again, but for a report of success.")
	m.queueSetAside = m.counter("spool_set_aside_total", "Entries of the spool that were found damaged, and set aside.")
}

// Describe implements prometheus.Collector.
func (c *queueMetrics) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.messages, c.octets, c.oldest, c.used, c.limit, c.bad, c.torn} {
		to <- d
	}
}

// Collect implements prometheus.Collector. Each known route has every series, zeros too, so that an alert has something to
// compare with.
func (c *queueMetrics) Collect(to chan<- prometheus.Metric) {
	now := c.m.queueNow.Load()
	if now == nil {
		now = &queueUsage{held: func() []queue.Usage { return nil }, files: func() (u spool.Usage) { return u }}
	}
	type key struct{ route, state string }
	sums := map[key]queue.Usage{}
	for route := range *c.m.routes.known.Load() {
		for _, state := range queue.States() {
			sums[key{route, state}] = queue.Usage{}
		}
	}
	for _, u := range now.held() {
		k := key{c.m.routes.get(c.m, u.Route).name, u.State}
		sum, ok := sums[k]
		if !ok || sum.Messages == 0 || u.Oldest.Before(sum.Oldest) {
			sum.Oldest = u.Oldest
		}
		sum.Messages += u.Messages
		sum.Octets += u.Octets
		sums[k] = sum
	}
	for k, u := range sums {
		age := 0.0
		if u.Messages > 0 {
			age = max(time.Since(u.Oldest).Seconds(), 0)
		}
		for d, v := range map[*prometheus.Desc]float64{c.messages: float64(u.Messages), c.octets: float64(u.Octets), c.oldest: age} {
			to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, k.route, k.state)
		}
	}
	files := now.files()
	to <- prometheus.MustNewConstMetric(c.used, prometheus.GaugeValue, float64(files.Octets))
	to <- prometheus.MustNewConstMetric(c.limit, prometheus.GaugeValue, float64(files.Limit))
	to <- prometheus.MustNewConstMetric(c.bad, prometheus.GaugeValue, float64(files.Damaged))
	to <- prometheus.MustNewConstMetric(c.torn, prometheus.CounterValue, float64(files.TornMarks))
}
