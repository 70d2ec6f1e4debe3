package metrics

import (
	"crypto/tls"
	"slices"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/postern-mail/postern/mail"
	"github.com/postern-mail/postern/upstream"
)

// maildir is what a maildir is called in place of a server. It has no connections, and is never marked down.
const maildir = "maildir"

type upstreamSeries struct {
	deliveries         *prometheus.CounterVec
	faults             *prometheus.CounterVec
	retries            *prometheus.CounterVec
	insecure           *prometheus.CounterVec
	upstreamHandshakes *prometheus.CounterVec
	probes             *prometheus.CounterVec
	asked              []prometheus.Counter // by upstream.Asked
}

// serverSeries are the series of one server, and its present state. That is kept for servers that are no longer
// configured as well: a pool that was replaced still has connections, and the server may come back before they end.
type serverSeries struct {
	name       string
	deliveries []byClass // by kind
	took       *stageTimes

	configured  atomic.Bool
	down        atomic.Bool
	breaker     atomic.Uint32 // an upstream.Breaker
	certificate atomic.Int64  // until when the one that it showed last is valid, in seconds since 1970; 0: none seen
	connections atomic.Int64  // of all pools: the open ones << 32, plus the idle ones
}

var (
	kindSet  = wordsOf(textsOf(upstream.Kinds()))
	phaseSet = wordsOf(textsOf(upstream.Stages()))
)

// textsOf gives the label values of kinds or stages.
func textsOf[T upstream.Kind | upstream.Stage](all []T) (list []string) {
	for _, v := range all {
		switch v := any(v).(type) {
		case upstream.Kind:
			list = append(list, v.String())
		case upstream.Stage:
			list = append(list, string(v))
		}
	}
	return list
}

func (m *Metrics) upstreams() {
	m.deliveries = m.counterVec("upstream_deliveries_total", "Deliveries to the next servers, by what became of them and the class of the reply.", "backend", "result", "code")
	m.faults = m.counterVec("upstream_faults_total", "Failures that are ours to mend: the server does not take mail from us.", "backend", "phase")
	m.retries = m.counterVec("upstream_retries_total", "Pooled connections that were found dead, so that the transaction was tried on a fresh one.", "backend")
	m.insecure = m.counterVec("upstream_insecure_total", "Messages that a server did not get, since a recipient's domain needs TLS that it did not have.", "backend")
	m.upstreamHandshakes = m.counterVec("upstream_tls_handshakes_total", "TLS handshakes with the next servers.", "backend", "result")
	m.probes = m.counterVec("upstream_probes_total", "What came of looking at the next servers.", "backend", "result")
	asked := m.counterVec("recipient_callouts_total", "What came of asking for mailboxes with recipients: callout.", "result")
	for _, a := range upstream.AllAsked() {
		m.asked = append(m.asked, asked.WithLabelValues(a.String()))
	}
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(namespace+"_upstream_"+name, help, labels, nil)
	}
	m.registry.MustRegister(&serverStates{
		m:           m,
		took:        desc("duration_seconds", "How long the phases of deliveries took.", "backend", "phase"),
		up:          desc("up", "Whether a server is used (1) or marked down (0).", "backend"),
		of:          desc("server_info", "Which servers an upstream has: always 1.", "upstream", "backend"),
		breaker:     desc("breaker_state", "Which state the circuit breaker of a server is in (1) and which it is not (0).", "backend", "state"),
		certificate: desc("tls_cert_expiry_seconds", "For how long the certificate that a server showed last is valid.", "backend"),
		connections: desc("connections", "Connections to a server.", "backend", "state"),
	})
}

func (m *Metrics) serverSeries(name string) *serverSeries {
	stages := upstream.Stages()
	if name == maildir {
		stages = []upstream.Stage{upstream.StageStore}
	}
	s := &serverSeries{name: name, took: stageTimesOf(stages)}
	for _, kind := range textsOf(upstream.Kinds()) {
		s.deliveries = append(s.deliveries, byClassOf(m.deliveries, name, kind))
	}
	for _, stage := range stages {
		m.faults.WithLabelValues(name, string(stage))
	}
	if name != maildir {
		m.retries.WithLabelValues(name)
		m.insecure.WithLabelValues(name)
		m.upstreamHandshakes.WithLabelValues(name, "ok")
		m.upstreamHandshakes.WithLabelValues(name, "failed")
		for _, result := range upstream.AllProbed() {
			m.probes.WithLabelValues(name, result.String())
		}
	}
	return s
}

// serversInUse begins the states of the servers that are configured, and ends those of all others: an alert on a server
// that is no more would never end.
func (m *Metrics) serversInUse(servers []string) {
	for name, s := range *m.servers.known.Load() {
		s.configured.Store(name != maildir && slices.Contains(servers, name))
	}
}

// serverStates reads the states of servers, and how long they took, when it is asked.
type serverStates struct {
	m                                               *Metrics
	took, up, of, breaker, certificate, connections *prometheus.Desc
}

// Describe implements prometheus.Collector.
func (c *serverStates) Describe(to chan<- *prometheus.Desc) {
	to <- c.took
	to <- c.up
	to <- c.of
	to <- c.breaker
	to <- c.certificate
	to <- c.connections
}

// Collect implements prometheus.Collector.
func (c *serverStates) Collect(to chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v int64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(v), labels...)
	}
	for name, servers := range *c.m.members.Load() {
		for _, server := range servers {
			if s := (*c.m.servers.known.Load())[server]; s != nil { // those beyond the limit have no state either
				gauge(c.of, 1, name, server)
			}
		}
	}
	if s := c.m.servers.beyond.Load(); s != nil {
		s.took.collect(to, c.took, s.name)
	}
	for name, s := range *c.m.servers.known.Load() {
		s.took.collect(to, c.took, name)
		if !s.configured.Load() {
			continue
		}
		up := int64(1)
		if s.down.Load() {
			up = 0
		}
		both := s.connections.Load()
		idle := int64(int32(both)) //nolint:gosec // the lower half
		gauge(c.up, up, name)
		for _, state := range upstream.Breakers() {
			is := int64(0)
			if uint32(state) == s.breaker.Load() {
				is = 1
			}
			gauge(c.breaker, is, name, state.String())
		}
		if until := s.certificate.Load(); until != 0 {
			gauge(c.certificate, until-time.Now().Unix(), name)
		}
		gauge(c.connections, (both-idle)>>32-idle, name, "active")
		gauge(c.connections, idle, name, "idle")
	}
}

// Hooks gives what relays tell their doings to.
func (m *Metrics) Hooks() upstream.Hooks {
	phase := func(s upstream.Stage) string { return m.word(phaseSet, string(s)) }
	// Of a server that no configuration has named so far no state is kept: whatever a new pool tells of it is how every
	// server begins.
	return upstream.Hooks{
		Phases: func(server string, took []upstream.Took) {
			if unknown := m.servers.get(m, server).took.observe(took); unknown > 0 {
				m.dropped.Add(float64(unknown))
			}
		},
		Result: func(server string, kind upstream.Kind, digit int) {
			s := m.servers.get(m, server)
			if int(kind) < len(s.deliveries) {
				s.deliveries[kind][classAt(digit)].Inc()
			} else {
				m.deliveries.WithLabelValues(s.name, m.word(kindSet, kind.String()), classes[classAt(digit)]).Inc()
			}
			if kind == upstream.Delivered && s.down.Load() {
				// The pool that delivers may know nothing of another one that has marked the server down.
				s.down.Store(false)
				s.breaker.Store(uint32(upstream.BreakerClosed))
			}
		},
		Up: func(server string, up bool) {
			if s := m.servers.find(server); s != nil {
				s.down.Store(!up)
			}
		},
		Breaker: func(server string, state upstream.Breaker) {
			if s := m.servers.find(server); s != nil {
				s.breaker.Store(uint32(state))
			}
		},
		Probed: func(server string, result upstream.Probed) {
			m.probes.WithLabelValues(m.servers.get(m, server).name, result.String()).Inc()
		},
		Insecure: func(server string) { m.insecure.WithLabelValues(m.servers.get(m, server).name).Inc() },
		Fault: func(server string, stage upstream.Stage, _ mail.Reply, _ error) {
			m.faults.WithLabelValues(m.servers.get(m, server).name, phase(stage)).Inc()
		},
		Retried: func(server string, _ upstream.Stage) {
			m.retries.WithLabelValues(m.servers.get(m, server).name).Inc()
		},
		Connections: func(server string, open, idle int) {
			if s := m.servers.find(server); s != nil {
				s.connections.Add(int64(open)<<32 + int64(idle))
			}
		},
		Asked: func(a upstream.Asked) {
			if int(a) < len(m.asked) {
				m.asked[a].Inc()
			}
		},
		Handshake: func(server string, state tls.ConnectionState, err error) {
			s, result := m.servers.get(m, server), "ok"
			if err != nil {
				result = "failed"
			}
			if len(state.PeerCertificates) > 0 {
				s.certificate.Store(state.PeerCertificates[0].NotAfter.Unix())
			}
			m.upstreamHandshakes.WithLabelValues(s.name, result).Inc()
		},
	}
}
