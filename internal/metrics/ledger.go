package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/postern-mail/postern/internal/ledger"
)

// Ledger gives the function that is asked, at each scrape, what the gateway remembers.
func (m *Metrics) Ledger(usage func() ledger.Usage) { m.memory.Store(&usage) }

// ledgerMetrics reads the ledger when it is asked. Its tables are named after filters and what the program itself
// remembers, so that there are few; those beyond a bound count together.
type ledgerMetrics struct {
	m                                   *Metrics
	records, lookups, dropped           *prometheus.Desc
	durable, written, failures, damaged *prometheus.Desc
}

// maxTables is how many tables have series of their own.
const maxTables = 64

func (m *Metrics) ledger() {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(namespace+"_ledger_"+name, help, labels, nil)
	}
	m.registry.MustRegister(&ledgerMetrics{
		m:        m,
		records:  desc("records", "Records in the tables of the ledger.", "table"),
		lookups:  desc("lookups_total", "Look-ups in the tables of the ledger, by whether there was a record.", "table", "result"),
		dropped:  desc("dropped_total", "Records that left the ledger, or were not taken, by why.", "table", "reason"),
		durable:  desc("durable", "Whether what the ledger holds is written to its file (1) or is lost at a restart (0)."),
		written:  desc("written_total", "Rows of the ledger's file that were written or removed."),
		failures: desc("write_failures_total", "Writes to the ledger's file that failed."),
		damaged:  desc("damaged_total", "Damaged files of the ledger that were set aside."),
	})
}

// Describe implements prometheus.Collector.
func (c *ledgerMetrics) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.records, c.lookups, c.dropped, c.durable, c.written, c.failures, c.damaged} {
		to <- d
	}
}

// Collect implements prometheus.Collector.
func (c *ledgerMetrics) Collect(to chan<- prometheus.Metric) {
	f := c.m.memory.Load()
	if f == nil {
		return
	}
	u := (*f)()
	durable := 0.0
	if u.Durable {
		durable = 1
	}
	to <- prometheus.MustNewConstMetric(c.durable, prometheus.GaugeValue, durable)
	count := func(d *prometheus.Desc, n int64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), labels...)
	}
	count(c.written, u.Written)
	count(c.failures, u.Failed)
	count(c.damaged, u.SetAside)
	for _, t := range bounded(u.Tables) {
		to <- prometheus.MustNewConstMetric(c.records, prometheus.GaugeValue, float64(t.Records), t.Name)
		count(c.lookups, t.Hits, t.Name, "hit")
		count(c.lookups, t.Misses, t.Name, "miss")
		count(c.dropped, t.Expired, t.Name, "expired")
		count(c.dropped, t.Evicted, t.Name, "evicted")
		count(c.dropped, t.Refused, t.Name, "refused")
	}
}

// bounded puts tables that are too many together.
func bounded(all []ledger.TableUsage) []ledger.TableUsage {
	if len(all) <= maxTables {
		return all
	}
	out := append([]ledger.TableUsage(nil), all[:maxTables-1]...)
	rest := ledger.TableUsage{Name: other}
	for _, t := range all[maxTables-1:] {
		rest.Records += t.Records
		rest.Hits += t.Hits
		rest.Misses += t.Misses
		rest.Expired += t.Expired
		rest.Evicted += t.Evicted
		rest.Refused += t.Refused
	}
	return append(out, rest)
}
