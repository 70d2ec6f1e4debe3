package metrics

import (
	"crypto/tls"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/postern-mail/postern/mail"
	"github.com/postern-mail/postern/upstream"
)

// maildir is what a maildir is called in place of a server; its series begin with its first delivery.
const maildir = "maildir"

type upstreamSeries struct {
	deliveries         *prometheus.CounterVec
	upstreamDuration   *prometheus.HistogramVec
	up                 *prometheus.GaugeVec
	upstreamConns      *prometheus.GaugeVec
	faults             *prometheus.CounterVec
	retries            *prometheus.CounterVec
	upstreamHandshakes *prometheus.CounterVec
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
	m.deliveries = m.counterVec("upstream_deliveries_total", "Deliveries to the next servers, by what became of them and the class of the reply.", "backend", "result", "code")
	m.upstreamDuration = m.histogramVec("upstream_duration_seconds", "How long the phases of deliveries took.", stepBuckets, "backend", "phase")
	m.up = m.gaugeVec("upstream_up", "Whether a server is used (1) or marked down (0).", "backend")
	m.upstreamConns = m.gaugeVec("upstream_connections", "Connections to a server.", "backend", "state")
	m.faults = m.counterVec("upstream_faults_total", "Failures that are ours to mend: the server does not take mail from us.", "backend", "phase")
	m.retries = m.counterVec("upstream_retries_total", "Pooled connections that were found dead, so that the transaction was tried on a fresh one.", "backend")
	m.upstreamHandshakes = m.counterVec("upstream_tls_handshakes_total", "TLS handshakes with the next servers.", "backend", "result")
}

func (m *Metrics) serverSeries(name string) {
	b := []string{name}
	each(func(v ...string) { m.deliveries.WithLabelValues(v...) }, b, kindWords, []string{"2xx", "4xx", "5xx", "none"})
	each(func(v ...string) { m.upstreamDuration.WithLabelValues(v...) }, b, phaseWords)
	m.up.WithLabelValues(name).Set(1)
	m.upstreamConns.WithLabelValues(name, "active")
	m.upstreamConns.WithLabelValues(name, "idle")
	each(func(v ...string) { m.faults.WithLabelValues(v...) }, b, phaseWords)
	m.retries.WithLabelValues(name)
	m.upstreamHandshakes.WithLabelValues(name, "ok")
	m.upstreamHandshakes.WithLabelValues(name, "failed")
}

// Hooks gives what relays tell their doings to.
func (m *Metrics) Hooks() upstream.Hooks {
	server := func(s string) string { return m.name(&m.servers, s) }
	phase := func(s upstream.Stage) string { return m.word(phaseSet, string(s)) }
	return upstream.Hooks{
		Phase: func(s string, stage upstream.Stage, d time.Duration) {
			m.upstreamDuration.WithLabelValues(server(s), phase(stage)).Observe(d.Seconds())
		},
		Result: func(s string, kind upstream.Kind, digit int) {
			m.deliveries.WithLabelValues(server(s), m.word(kindSet, kind.String()), class(digit)).Inc()
		},
		Up: func(s string, up bool) {
			v := 0.0
			if up {
				v = 1
			}
			m.up.WithLabelValues(server(s)).Set(v)
		},
		Fault: func(s string, stage upstream.Stage, _ mail.Reply, _ error) {
			m.faults.WithLabelValues(server(s), phase(stage)).Inc()
		},
		Retried: func(s string, _ upstream.Stage) { m.retries.WithLabelValues(server(s)).Inc() },
		Connections: func(s string, open, idle int) {
			name := server(s)
			m.upstreamConns.WithLabelValues(name, "active").Set(float64(open - idle))
			m.upstreamConns.WithLabelValues(name, "idle").Set(float64(idle))
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
