package metrics

import "github.com/postern-mail/postern/internal/dns"

var _ dns.Observer = (*Metrics)(nil)

var (
	dnsTypeSet   = wordsOf(dns.Types())
	dnsBudgetSet = wordsOf(dns.BudgetLimits())
)

func (m *Metrics) dns() {
	m.dnsQueries = pairsOf(m.counterVec("dns_queries_total", "Questions to the DNS, by type and outcome.", "type", "rcode"), dns.Types(), dns.Rcodes())
	m.dnsDuration = m.histogramVec("dns_query_duration_seconds", "How long questions to the DNS took, over all servers asked.", stepBuckets[:], "type")
	m.dnsCache = m.counterVec("dns_cache_lookups_total", "What was asked of the resolver, by whether its cache knew.", "result")
	m.dnsHit, m.dnsMiss = m.dnsCache.WithLabelValues("hit"), m.dnsCache.WithLabelValues("miss")
	m.dnsBudget = m.counterVec("dns_budget_exceeded_total", "Messages whose look-ups were cut off, by what they had too much of.", "limit")
	each(func(v ...string) { m.dnsDuration.WithLabelValues(v...) }, dns.Types())
	each(func(v ...string) { m.dnsBudget.WithLabelValues(v...) }, dns.BudgetLimits())
}

// DNSQuery implements dns.Observer.
func (m *Metrics) DNSQuery(q dns.Query) {
	m.dnsQueries.inc(m, q.Type, q.Rcode)
	m.dnsDuration.WithLabelValues(m.word(dnsTypeSet, q.Type)).Observe(q.Elapsed.Seconds())
}

// DNSCache implements dns.Observer.
func (m *Metrics) DNSCache(hit bool) {
	if hit {
		m.dnsHit.Inc()
	} else {
		m.dnsMiss.Inc()
	}
}

// DNSBudget implements dns.Observer.
func (m *Metrics) DNSBudget(limit string) {
	m.dnsBudget.WithLabelValues(m.word(dnsBudgetSet, limit)).Inc()
}
