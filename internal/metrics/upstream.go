package metrics

import (
	"crypto/tls"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/postern-mail/postern/mail"
	"github.com/postern-mail/postern/upstream"
)

// maildir is what a maildir is called in place of a server. It has no connections, and is never marked down.
const maildir = "maildir"

type upstreamSeries struct {
	deliveries            *prometheus.CounterVec
	upstreamDuration      *prometheus.HistogramVec
	upstreamDurationFound found[[2]string, prometheus.Observer]
	up                    *prometheus.GaugeVec
	upstreamConns         *prometheus.GaugeVec
	faults                *prometheus.CounterVec
	retries               *prometheus.CounterVec
	upstreamHandshakes    *prometheus.CounterVec

	liveMu sync.Mutex
	live   map[string]*liveServer // by server: those that are configured, or were
}

// liveServer is the present state of a server. It is kept for servers that are no longer configured as well: a
// pool that was replaced still has connections, and the server may come back before they end.
type liveServer struct {
	configured bool
	up         bool
	open, idle int // connections of all pools
}

var (
	kindWords, kindSet   = textsOf(upstream.Kinds())
	phaseWords, phaseSet = textsOf(upstream.Stages())
)

func textsOf[T upstream.Kind | upstream.Stage](all []T) ([]string, words) {
	var list []string
	for _, v := range all {
		switch v := any(v).(type) {
		case upstream.Kind:
			list = append(list, v.String())
		case upstream.Stage:
			list = append(list, string(v))
		}
	}
	return list, wordsOf(list)
}

func (m *Metrics) upstreams() {
	m.live = map[string]*liveServer{}
	m.deliveries = m.counterVec("upstream_deliveries_total", "Deliveries to the next servers, by what became of them and the class of the reply.", "backend", "result", "code")
	m.upstreamDuration = m.histogramVec("upstream_duration_seconds", "How long the phases of deliveries took.", stepBuckets, "backend", "phase")
	m.up = m.gaugeVec("upstream_up", "Whether a server is used (1) or marked down (0).", "backend")
	m.upstreamConns = m.gaugeVec("upstream_connections", "Connections to a server.", "backend", "state")
	m.faults = m.counterVec("upstream_faults_total", "Failures that are ours to mend: the server does not take mail from us.", "backend", "phase")
	m.retries = m.counterVec("upstream_retries_total", "Pooled connections that were found dead, so that the transaction was tried on a fresh one.", "backend")
	m.upstreamHandshakes = m.counterVec("upstream_tls_handshakes_total", "TLS handshakes with the next servers.", "backend", "result")
}

func (m *Metrics) serverSeries(name string) {
	b, phases := []string{name}, phaseWords
	if name == maildir {
		phases = []string{string(upstream.StageStore)}
	}
	each(func(v ...string) { m.deliveries.WithLabelValues(v...) }, b, kindWords, []string{"2xx", "4xx", "5xx", "none"})
	each(func(v ...string) { m.upstreamDuration.WithLabelValues(v...) }, b, phases)
	each(func(v ...string) { m.faults.WithLabelValues(v...) }, b, phases)
	if name == maildir {
		return
	}
	m.retries.WithLabelValues(name)
	m.upstreamHandshakes.WithLabelValues(name, "ok")
	m.upstreamHandshakes.WithLabelValues(name, "failed")
}

// serversInUse makes the gauges of the servers that are configured, and ends those of all others: an alert on
// a server that is no more would never end.
func (m *Metrics) serversInUse(servers []string) {
	m.liveMu.Lock()
	defer m.liveMu.Unlock()
	for _, s := range m.live {
		s.configured = false
	}
	for _, name := range servers {
		if name == maildir || !m.servers.has(name) {
			continue
		}
		if m.live[name] == nil {
			m.live[name] = &liveServer{up: true}
		}
		m.live[name].configured = true
	}
	for name, s := range m.live {
		m.show(name, s)
	}
}

// changeServer changes the state of a server. Of one that no configuration has named so far nothing is kept:
// whatever a new pool tells of it is how every server begins.
func (m *Metrics) changeServer(name string, change func(*liveServer)) {
	m.liveMu.Lock()
	defer m.liveMu.Unlock()
	if s := m.live[name]; s != nil {
		change(s)
		m.show(name, s)
	}
}

// show sets the gauges of a server; m.liveMu is held.
func (m *Metrics) show(name string, s *liveServer) {
	if !s.configured {
		m.up.DeleteLabelValues(name)
		m.upstreamConns.DeleteLabelValues(name, "active")
		m.upstreamConns.DeleteLabelValues(name, "idle")
		return
	}
	up := 0.0
	if s.up {
		up = 1
	}
	m.up.WithLabelValues(name).Set(up)
	m.upstreamConns.WithLabelValues(name, "active").Set(float64(s.open - s.idle))
	m.upstreamConns.WithLabelValues(name, "idle").Set(float64(s.idle))
}

// Hooks gives what relays tell their doings to.
func (m *Metrics) Hooks() upstream.Hooks {
	server := func(s string) string { return m.name(&m.servers, s) }
	phase := func(s upstream.Stage) string { return m.word(phaseSet, string(s)) }
	return upstream.Hooks{
		Phase: func(s string, stage upstream.Stage, d time.Duration) {
			s, word := server(s), phase(stage)
			m.upstreamDurationFound.get([2]string{s, word}, func() prometheus.Observer {
				return m.upstreamDuration.WithLabelValues(s, word)
			}).Observe(d.Seconds())
		},
		Result: func(s string, kind upstream.Kind, digit int) {
			m.deliveries.WithLabelValues(server(s), m.word(kindSet, kind.String()), class(digit)).Inc()
			if kind == upstream.Delivered {
				// The pool that delivers may know nothing of another one that has marked the server down.
				m.changeServer(s, func(l *liveServer) { l.up = true })
			}
		},
		Up: func(s string, up bool) { m.changeServer(s, func(l *liveServer) { l.up = up }) },
		Fault: func(s string, stage upstream.Stage, _ mail.Reply, _ error) {
			m.faults.WithLabelValues(server(s), phase(stage)).Inc()
		},
		Retried: func(s string, _ upstream.Stage) { m.retries.WithLabelValues(server(s)).Inc() },
		Connections: func(s string, open, idle int) {
			m.changeServer(s, func(l *liveServer) { l.open, l.idle = l.open+open, l.idle+idle })
		},
		Handshake: func(s string, _ tls.ConnectionState, err error) {
			result := "ok"
			if err != nil {
				result = "failed"
			}
			m.upstreamHandshakes.WithLabelValues(server(s), result).Inc()
		},
	}
}
