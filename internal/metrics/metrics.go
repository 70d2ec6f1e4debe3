// Package metrics counts what the gateway does, for Prometheus, which no other package knows. It decides
// nothing and keeps nothing but numbers.
//
// Every label comes from a closed set: words of this program, codes, and names of the configuration.
// What is not in the set becomes "other", so that no sender can make series. The series of a set are made
// before anything happens, so that a rate is zero and not absent; the one exception are those series of smtp_rejects_total
// whose codes filters and the next servers choose: they are bounded by maxSeries.
package metrics

import (
	"net/http"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/postern-mail/postern/internal/certs"
	"github.com/postern-mail/postern/internal/learner"
	"github.com/postern-mail/postern/internal/ledger"
	"github.com/postern-mail/postern/internal/quarantine"
	"github.com/postern-mail/postern/internal/senders"
	"github.com/postern-mail/postern/pipeline"
)

// Labels are the names of one configuration that become label values.
type Labels struct {
	Listeners []string
	Filters   []string // names of stages
	Routes    []string // as edge reports them
	Servers   []string // host:port of every upstream's servers, and "maildir" where one is configured
	Lists     []string // names of DNS lists
	Scanners  []string // names of the stages among Filters that look for viruses

	Hash string // of the configuration

	Upstreams map[string][]string // the servers of each upstream

	Certificates []string // places of certificates, and of authorities, as certs.State has them
}

// Options describe the program, and its first configuration.
type Options struct {
	Version  string
	Revision string // of the source, "" if unknown
	Labels
}

// How many names of a kind become labels, and how many combinations of one metric there are at most.
const (
	maxListeners = 16
	maxFilters   = 64
	maxRoutes    = 100
	maxServers   = 100
	maxCerts     = 200
	maxLists     = 64
	maxSeries    = 1000
)

// Metrics counts. Its methods are safe for concurrent use. It implements edge.Metrics.
type Metrics struct {
	registry *prometheus.Registry
	dropped  prometheus.Counter // postern_metrics_dropped_labels_total

	listeners named[listenerSeries]
	filters   named[filterSeries]
	routes    named[routeSeries]
	servers   named[serverSeries]
	members   atomic.Pointer[map[string][]string] // the servers of each upstream
	lists     named[listSeries]
	scanners  named[scannerSeries]
	programs  atomic.Pointer[[]Asked]
	certs     named[string]

	usage         atomic.Pointer[func() quarantine.Usage]
	memory        atomic.Pointer[func() ledger.Usage]
	learned       atomic.Pointer[func() learner.Usage]
	big           atomic.Pointer[func() senders.Usage]
	queueNow      atomic.Pointer[queueUsage]
	recipientsNow atomic.Pointer[func() []RecipientList]
	directory     atomic.Pointer[string]

	reloadOK, reloadTime prometheus.Gauge
	configInfo           *prometheus.GaugeVec
	acceptsAny           *prometheus.GaugeVec // by route
	certExpiry, certRead *prometheus.GaugeVec
	certsNow             []string // labels that have a value
	certsMu              sync.Mutex
	panics               prometheus.Counter
	dnsQueries           pairs
	dnsDuration          *prometheus.HistogramVec
	dnsCache             *prometheus.CounterVec
	dnsHit, dnsMiss      prometheus.Counter // of dnsCache
	dnsBudget            *prometheus.CounterVec

	smtpSeries
	messageSeries
	upstreamSeries
	queueSeries
}

// New makes the registry with every metric, and the series of the first configuration.
func New(o Options) *Metrics {
	m := &Metrics{registry: prometheus.NewRegistry()}
	m.listeners.init(maxListeners, m.listenerSeries)
	m.filters.init(maxFilters, m.filterSeries)
	m.routes.init(maxRoutes, m.routeSeries)
	m.servers.init(maxServers, m.serverSeries)
	m.lists.init(maxLists, m.listSeries)
	m.scanners.init(maxFilters, m.scannerSeries)
	m.certs.init(maxCerts, func(place string) *string { return &place })
	m.dropped = m.counter("metrics_dropped_labels_total", "Label values that were not known and became \"other\".")
	m.program(o)
	m.files()
	m.ledger()
	m.learner()
	m.queue()
	m.dns()
	m.bigSenders()
	m.smtp()
	m.messages()
	m.registry.MustRegister(newAskedMetrics(m))
	m.upstreams()
	m.recipientLists()
	m.Configured(o.Labels)
	return m
}

// Configured makes the series of a configuration's names. What was counted under names of an earlier one
// stays, for a series that ends looks like a fault; the states of servers that are no longer named end.
func (m *Metrics) Configured(l Labels) {
	m.listeners.add(l.Listeners)
	m.filters.add(l.Filters)
	m.routes.add(l.Routes)
	m.servers.add(l.Servers)
	m.serversInUse(l.Servers)
	m.members.Store(&l.Upstreams)
	m.certs.add(l.Certificates)
	m.lists.add(l.Lists)
	m.scanners.add(l.Scanners)
	m.configInfo.Reset()
	m.configInfo.WithLabelValues(l.Hash).Set(1)
}

// Handler serves the metrics as text or OpenMetrics, as the client asks.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{
		EnableOpenMetrics: true, MaxRequestsInFlight: 4, Timeout: 30 * time.Second, Registry: m.registry,
	})
}

// Reloaded says whether a new configuration was taken.
func (m *Metrics) Reloaded(ok bool) {
	if !ok {
		m.reloadOK.Set(0)
		return
	}
	m.reloadOK.Set(1)
	m.reloadTime.SetToCurrentTime()
}

// Quarantine gives the function that is asked, at each scrape, what the quarantine holds and did.
func (m *Metrics) Quarantine(usage func() quarantine.Usage) { m.usage.Store(&usage) }

// BigSenders gives the function that is asked, at each scrape, what is known of the networks of big senders.
func (m *Metrics) BigSenders(usage func() senders.Usage) { m.big.Store(&usage) }

// StateDirectory names the folder whose file system is watched for room.
func (m *Metrics) StateDirectory(dir string) { m.directory.Store(&dir) }

// Certificates tells how the certificates of listeners are, and the authorities of their clients. Those that are not
// named are forgotten: nobody would renew them.
func (m *Metrics) Certificates(all []certs.State) {
	m.certsMu.Lock()
	defer m.certsMu.Unlock()
	var now []string
	for _, s := range all {
		place := *m.certs.get(m, s.Place)
		now = append(now, place)
		if !s.NotAfter.IsZero() {
			m.certExpiry.WithLabelValues(place).Set(float64(s.NotAfter.Unix()))
		}
		taken := 0.0
		if s.Taken {
			taken = 1
		}
		m.certRead.WithLabelValues(place).Set(taken)
	}
	for _, place := range m.certsNow {
		if !slices.Contains(now, place) {
			m.certExpiry.DeleteLabelValues(place)
			m.certRead.DeleteLabelValues(place)
		}
	}
	m.certsNow = now
}

func (m *Metrics) program(o Options) {
	info := m.gaugeVec("build_info", "The program; the value is always 1.", "version", "goversion", "revision")
	info.WithLabelValues(o.Version, runtime.Version(), o.Revision).Set(1)
	m.registry.MustRegister(collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	m.configInfo = m.gaugeVec("config_info", "The configuration in force; the value is always 1.", "hash")
	m.reloadOK = m.gauge("config_last_reload_successful", "Whether the configuration that was read last was taken (1) or not (0).")
	m.reloadTime = m.gauge("config_last_reload_success_timestamp_seconds", "When a configuration was taken last.")
	m.Reloaded(true)
	m.panics = m.counter("panics_total", "Panics that were caught, in sessions and in filters.")
	m.gaugeFunc("filter_abandoned", "Runs of filters that passed their deadline and have not ended.",
		func() float64 { return float64(pipeline.Abandoned()) })
	for state, octets := range map[string]func() int64{
		"used":    func() int64 { used, _, _ := pipeline.Memory(); return used },
		"waiting": func() int64 { _, waiting, _ := pipeline.Memory(); return waiting },
		"limit":   func() int64 { _, _, limit := pipeline.Memory(); return limit },
	} {
		m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Namespace: namespace, Name: "filter_memory_bytes", ConstLabels: prometheus.Labels{"state": state},
			Help: "Octets of memory that filters have to look into messages, by their estimates; that they wait for; that there are.",
		}, func() float64 { return float64(octets()) }))
	}
	m.certExpiry = m.gaugeVec("tls_cert_expiry_timestamp_seconds", "Until when a listener's certificate is valid.", "cert")
	m.certRead = m.gaugeVec("tls_cert_last_read_successful", "Whether what is in a certificate's files is in use (1), or what was there before (0).", "cert")
}

// bigSenders makes what is read of the table of big senders.
func (m *Metrics) bigSenders() {
	usage := func() senders.Usage {
		if f := m.big.Load(); f != nil {
			return (*f)()
		}
		return senders.Usage{}
	}
	m.gaugeFunc("big_senders", "Domains whose SPF records say who is a big sender.", func() float64 { return float64(usage().Domains) })
	m.gaugeFunc("big_senders_known", "Those of them whose networks are known.", func() float64 { return float64(usage().Known) })
	m.gaugeFunc("big_senders_failing", "Those that could not be looked up the last time.", func() float64 { return float64(usage().Failing) })
	m.gaugeFunc("big_senders_networks", "Ranges of addresses that are known of all of them.", func() float64 { return float64(usage().Networks) })
	m.gaugeFunc("big_senders_age_seconds", "For how long the oldest of what is known has not been found out anew.", func() float64 {
		oldest := usage().Oldest
		if oldest.IsZero() {
			return 0
		}
		return time.Since(oldest).Seconds()
	})
}

// files makes what is read at each scrape: the quarantine and its disk.
func (m *Metrics) files() {
	usage := func() quarantine.Usage {
		if f := m.usage.Load(); f != nil {
			return (*f)()
		}
		return quarantine.Usage{}
	}
	m.gaugeFunc("quarantine_messages", "Messages in the quarantine, originals of changed ones included.",
		func() float64 { return float64(usage().Messages) })
	m.gaugeFunc("quarantine_bytes", "Octets in the quarantine.", func() float64 { return float64(usage().Octets) })
	m.gaugeFunc("quarantine_damaged", "Records in the quarantine that can't be read.",
		func() float64 { return float64(usage().Damaged) })
	for action, count := range map[string]func(quarantine.Usage) int64{
		"keep":   func(u quarantine.Usage) int64 { return u.Kept },
		"full":   func(u quarantine.Usage) int64 { return u.Full },
		"remove": func(u quarantine.Usage) int64 { return u.Removed },
		"expire": func(u quarantine.Usage) int64 { return u.Expired },
	} {
		m.registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{
			Namespace: "postern", Name: "quarantine_actions_total",
			Help:        "What this process did to the quarantine; full: it had no room.",
			ConstLabels: prometheus.Labels{"action": action},
		}, func() float64 { return float64(count(usage())) }))
	}
	m.gaugeFunc("spool_disk_free_bytes", "Room on the file system of the state directory.", func() float64 { return m.disk(true) })
	m.gaugeFunc("spool_disk_size_bytes", "Size of the file system of the state directory.", func() float64 { return m.disk(false) })
}
