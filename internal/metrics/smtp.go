package metrics

import (
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/internal/edge"
	"github.com/postern-mail/postern/mail"
)

var _ edge.Metrics = (*Metrics)(nil)

type smtpSeries struct {
	connections     *prometheus.CounterVec
	active          *prometheus.GaugeVec
	rejected        *prometheus.CounterVec
	earlyTalks      *prometheus.CounterVec
	tarpit          *prometheus.CounterVec
	commands        *prometheus.CounterVec
	commandsFound   found[[3]string, prometheus.Counter]
	rejects         *prometheus.CounterVec
	rejectsSeen     sync.Map // combination → struct{}
	rejectsCount    int
	rejectsMu       sync.Mutex
	sessionDuration *prometheus.HistogramVec
	dataDuration    *prometheus.HistogramVec
	handshakes      *prometheus.CounterVec
	content         atomic.Pointer[func() int64]
	recipients      *prometheus.CounterVec
	sizes           *prometheus.HistogramVec
	messagesTotal   *prometheus.CounterVec
	auth            *prometheus.CounterVec
}

// The closed sets of the door's labels.
var (
	tlsWords     = []string{edge.TLSNone, edge.TLSStart, edge.TLSImplicit}
	refusalWords = edge.Rejections()
	changedWords = []string{edge.ChangedNo, edge.ChangedStripped, edge.ChangedRebuilt}
	modeWords    = []string{"enforce", "observe"}
	resultWords  = []string{
		edge.RecipientAccepted, edge.RecipientUnknown, edge.RecipientRelay,
		edge.RecipientDeferred, edge.RecipientOverLimit, edge.RecipientRefused,
	}
	sourceWords  = []string{edge.SourceNone, edge.SourceStatic, edge.SourceCache}
	versionWords = edge.TLSVersions()

	tlsSet       = wordsOf(tlsWords)
	refusalSet   = wordsOf(refusalWords)
	earlySet     = wordsOf(edge.EarlyResults())
	changedSet   = wordsOf(changedWords)
	resultSet    = wordsOf(resultWords)
	sourceSet    = wordsOf(sourceWords)
	versionSet   = wordsOf(versionWords)
	authSet      = wordsOf(edge.AuthResults())
	handshakeSet = wordsOf([]string{"ok", "failed"})
	verbSet      = wordsOf(edge.Verbs())
	stageSet     = wordsOf(edge.Stages())
	reasonSet    = wordsOf(edge.Reasons())
)

func (m *Metrics) smtp() {
	m.connections = m.counterVec("smtp_connections_total", "Connections that have ended, by what protected them.", "listener", "tls")
	m.active = m.gaugeVec("smtp_connections_active", "Connections that are open.", "listener")
	m.rejected = m.counterVec("smtp_connections_rejected_total", "Connections that were refused before the greeting.", "listener", "reason")
	m.earlyTalks = m.counterVec("smtp_early_talks_total", "Clients that were waited for before the greeting, by what they did.", "listener", "result")
	m.tarpit = m.counterVec("smtp_tarpit_waits_total", "Waits that clients were made to have for their errors.", "listener")
	m.commands = m.counterVec("smtp_commands_total", "Commands, by the class of their reply.", "listener", "verb", "code")
	m.rejects = m.counterVec("smtp_rejects_total", "Replies 4yz and 5yz of our own, by where and why.", "stage", "code", "ecode", "reason")
	m.sessionDuration = m.histogramVec("smtp_session_duration_seconds", "How long connections lasted.", sessionBuckets, "listener")
	m.dataDuration = m.histogramVec("smtp_data_duration_seconds", "From the end of the content to its reply.", sessionBuckets, "listener")
	m.handshakes = m.counterVec("smtp_tls_handshakes_total", "TLS handshakes of clients.", "listener", "version", "result")
	m.auth = m.counterVec("smtp_auth_total", "Logins that were tried, by what came of them.", "listener", "result")
	m.gaugeFunc("smtp_content_bytes", "Octets of content that is being taken in or handed on.", func() float64 {
		if used := m.content.Load(); used != nil {
			return float64((*used)())
		}
		return 0
	})
	m.recipients = m.counterVec("recipients_total", "What became of RCPT commands, and who knew.", "result", "source")
	each(func(v ...string) { m.recipients.WithLabelValues(v...) }, resultWords, sourceWords)
	m.sizes = m.histogramVec("message_size_bytes", "Octets of messages whose content was judged.", sizeBuckets, "direction")
	m.sizes.WithLabelValues("in")
	m.messagesTotal = m.counterVec("messages_total", "Messages whose content was judged.", "route", "action", "changed", "mode")
}

// Content gives the function that is asked, at each scrape, how many octets of content are at hand.
func (m *Metrics) Content(used func() int64) { m.content.Store(&used) }

func (m *Metrics) listenerSeries(name string) {
	l := []string{name}
	each(func(v ...string) { m.connections.WithLabelValues(v...) }, l, tlsWords)
	m.active.WithLabelValues(name)
	m.tarpit.WithLabelValues(name)
	each(func(v ...string) { m.rejected.WithLabelValues(v...) }, l, refusalWords)
	each(func(v ...string) { m.earlyTalks.WithLabelValues(v...) }, l, edge.EarlyResults())
	each(func(v ...string) { m.commands.WithLabelValues(v...) }, l, edge.Verbs(), classes)
	m.sessionDuration.WithLabelValues(name)
	m.dataDuration.WithLabelValues(name)
	m.handshakes.WithLabelValues(name, "1.2", "ok")
	m.handshakes.WithLabelValues(name, "1.3", "ok")
	m.handshakes.WithLabelValues(name, "none", "failed")
	each(func(v ...string) { m.auth.WithLabelValues(v...) }, l, edge.AuthResults())
}

func (m *Metrics) routeSeries(name string) {
	var actions []string
	for _, a := range filter.AllActions() {
		actions = append(actions, a.String())
	}
	each(func(v ...string) { m.messagesTotal.WithLabelValues(v...) }, []string{name}, actions, changedWords, modeWords)
}

// ConnectionOpened implements edge.Metrics.
func (m *Metrics) ConnectionOpened(listener string) {
	m.active.WithLabelValues(m.name(&m.listeners, listener)).Inc()
}

// ConnectionClosed implements edge.Metrics.
func (m *Metrics) ConnectionClosed(listener, tls string, lasted time.Duration) {
	l := m.name(&m.listeners, listener)
	m.active.WithLabelValues(l).Dec()
	m.connections.WithLabelValues(l, m.word(tlsSet, tls)).Inc()
	m.sessionDuration.WithLabelValues(l).Observe(lasted.Seconds())
}

// ConnectionRejected implements edge.Metrics.
func (m *Metrics) ConnectionRejected(listener, reason string) {
	m.rejected.WithLabelValues(m.name(&m.listeners, listener), m.word(refusalSet, reason)).Inc()
}

// EarlyTalk implements edge.Metrics.
func (m *Metrics) EarlyTalk(listener, result string) {
	m.earlyTalks.WithLabelValues(m.name(&m.listeners, listener), m.word(earlySet, result)).Inc()
}

// Tarpit implements edge.Metrics.
func (m *Metrics) Tarpit(listener string) {
	m.tarpit.WithLabelValues(m.name(&m.listeners, listener)).Inc()
}

// Command implements edge.Metrics.
func (m *Metrics) Command(listener, verb string, code int) {
	if !verbSet[verb] {
		verb = edge.VerbOther
	}
	listener = m.name(&m.listeners, listener)
	answer := class(code / 100)
	m.commandsFound.get([3]string{listener, verb, answer}, func() prometheus.Counter {
		return m.commands.WithLabelValues(listener, verb, answer)
	}).Inc()
}

// Reject implements edge.Metrics. Of the combinations that come, the first maxSeries get series of their
// own: filters and backends choose the codes.
func (m *Metrics) Reject(_, stage string, r mail.Reply, reason string) {
	v := [4]string{m.word(stageSet, stage), other, other, m.word(reasonSet, reason)}
	if r.Code >= 400 && r.Code < 600 {
		v[1] = strconv.Itoa(r.Code)
	}
	if e := r.Enhanced; e == (mail.Enhanced{}) {
		v[2] = "none"
	} else if e[1] >= 0 && e[1] <= 7 && e[2] >= 0 && e[2] <= 40 { // RFC 3463, RFC 7372, RFC 7505
		v[2] = e.String()
	}
	if _, ok := m.rejectsSeen.Load(v); !ok && !m.roomFor(v) {
		m.dropped.Inc()
		v = [4]string{other, other, other, other}
	}
	m.rejects.WithLabelValues(v[:]...).Inc()
}

func (m *Metrics) roomFor(v [4]string) bool {
	m.rejectsMu.Lock()
	defer m.rejectsMu.Unlock()
	if m.rejectsCount >= maxSeries {
		return false
	}
	if _, had := m.rejectsSeen.LoadOrStore(v, struct{}{}); !had {
		m.rejectsCount++
	}
	return true
}

// TLSHandshake implements edge.Metrics.
func (m *Metrics) TLSHandshake(listener, version, result string) {
	m.handshakes.WithLabelValues(m.name(&m.listeners, listener), m.word(versionSet, version), m.word(handshakeSet, result)).Inc()
}

// DataDuration implements edge.Metrics.
func (m *Metrics) DataDuration(listener string, d time.Duration) {
	m.dataDuration.WithLabelValues(m.name(&m.listeners, listener)).Observe(d.Seconds())
}

// Message implements edge.Metrics.
func (m *Metrics) Message(route string, action filter.Action, changed string, observed bool, size int64) {
	m.messagesTotal.WithLabelValues(m.name(&m.routes, route), action.String(), m.word(changedSet, changed), mode(observed)).Inc()
	m.sizes.WithLabelValues("in").Observe(float64(size))
}

// Recipient implements edge.Metrics.
func (m *Metrics) Recipient(result, source string) {
	m.recipients.WithLabelValues(m.word(resultSet, result), m.word(sourceSet, source)).Inc()
}

// Auth implements edge.Metrics.
func (m *Metrics) Auth(listener, result string) {
	m.auth.WithLabelValues(m.name(&m.listeners, listener), m.word(authSet, result)).Inc()
}

// Panic implements edge.Metrics.
func (m *Metrics) Panic() { m.panics.Inc() }

func mode(observed bool) string {
	if observed {
		return "observe"
	}
	return "enforce"
}
