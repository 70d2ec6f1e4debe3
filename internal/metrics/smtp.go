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
	repeats         *prometheus.CounterVec
	commands        *prometheus.CounterVec
	rejects         *prometheus.CounterVec
	rejectsSeen     sync.Map // combination → struct{}
	rejectsCount    int
	rejectsMu       sync.Mutex
	sessionDuration *prometheus.HistogramVec
	dataDuration    *prometheus.HistogramVec
	handshakes      *prometheus.CounterVec
	content         atomic.Pointer[func() int64]
	recipients      pairs
	sizeIn          prometheus.Observer
	messagesTotal   *prometheus.CounterVec
	auth            *prometheus.CounterVec
}

// listenerSeries are the series of one listener.
type listenerSeries struct {
	name     string
	active   prometheus.Gauge
	ended    map[string]prometheus.Counter // connections, by what protected them
	lasted   prometheus.Observer
	commands map[string]*byClass // by verb
	data     prometheus.Observer
}

// routeSeries are the series of one route.
type routeSeries struct {
	name     string
	messages map[string][]byMode // by what was changed, and by action
}

// The closed sets of the door's labels.
var (
	tlsWords     = []string{edge.TLSNone, edge.TLSStart, edge.TLSImplicit}
	refusalWords = edge.Rejections()
	changedWords = []string{edge.ChangedNo, edge.ChangedAnnotated, edge.ChangedStripped, edge.ChangedRebuilt}
	resultWords  = []string{
		edge.RecipientAccepted, edge.RecipientUnknown, edge.RecipientRelay,
		edge.RecipientDeferred, edge.RecipientOverLimit, edge.RecipientRefused,
	}
	sourceWords  = []string{edge.SourceNone, edge.SourceStatic, edge.SourceAsked, edge.SourceLDAP, edge.SourceCache}
	versionWords = edge.TLSVersions()

	tlsSet       = wordsOf(tlsWords)
	refusalSet   = wordsOf(refusalWords)
	earlySet     = wordsOf(edge.EarlyResults())
	changedSet   = wordsOf(changedWords)
	versionSet   = wordsOf(versionWords)
	againSet     = wordsOf(edge.Agains())
	authSet      = wordsOf(edge.AuthResults())
	handshakeSet = wordsOf([]string{"ok", "failed"})
	stageSet     = wordsOf(edge.Stages())
	reasonSet    = wordsOf(edge.Reasons())
)

func (m *Metrics) smtp() {
	m.connections = m.counterVec("smtp_connections_total", "Connections that have ended, by what protected them.", "listener", "tls")
	m.active = m.gaugeVec("smtp_connections_active", "Connections that are open.", "listener")
	m.rejected = m.counterVec("smtp_connections_rejected_total", "Connections that were refused before the greeting.", "listener", "reason")
	m.earlyTalks = m.counterVec("smtp_early_talks_total", "Clients that were waited for before the greeting, by what they did.", "listener", "result")
	m.tarpit = m.counterVec("smtp_tarpit_waits_total", "Waits that clients were made to have for their errors.", "listener")
	m.repeats = m.counterVec("smtp_repeats_total", "Messages that came again, by what is known of when they came first.", "listener", "first")
	m.commands = m.counterVec("smtp_commands_total", "Commands, by the class of their reply.", "listener", "verb", "code")
	m.rejects = m.counterVec("smtp_rejects_total", "Replies 4yz and 5yz of our own, by where and why.", "stage", "code", "ecode", "reason")
	for _, o := range edge.OwnRejects() {
		v := m.rejectLabels(o.Stage, o.Reply, o.Reason)
		m.roomFor(v)
		m.rejects.WithLabelValues(v[:]...)
	}
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
	m.recipients = pairsOf(m.counterVec("recipients_total", "What became of RCPT commands, and who knew.", "result", "source"), resultWords, sourceWords)
	m.sizeIn = m.histogramVec("message_size_bytes", "Octets of messages whose content was judged.", sizeBuckets, "direction").WithLabelValues("in")
	m.messagesTotal = m.counterVec("messages_total", "Messages whose content was judged.", "route", "action", "changed", "mode")
}

// Content gives the function that is asked, at each scrape, how many octets of content are at hand.
func (m *Metrics) Content(used func() int64) { m.content.Store(&used) }

func (m *Metrics) listenerSeries(name string) *listenerSeries {
	l := []string{name}
	m.tarpit.WithLabelValues(name)
	each(func(v ...string) { m.repeats.WithLabelValues(v...) }, l, edge.Agains())
	each(func(v ...string) { m.rejected.WithLabelValues(v...) }, l, refusalWords)
	each(func(v ...string) { m.earlyTalks.WithLabelValues(v...) }, l, edge.EarlyResults())
	m.handshakes.WithLabelValues(name, "1.2", "ok")
	m.handshakes.WithLabelValues(name, "1.3", "ok")
	m.handshakes.WithLabelValues(name, "none", "failed")
	each(func(v ...string) { m.auth.WithLabelValues(v...) }, l, edge.AuthResults())
	s := &listenerSeries{
		name: name, active: m.active.WithLabelValues(name), ended: countersOf(m.connections, tlsWords, name),
		lasted: m.sessionDuration.WithLabelValues(name), data: m.dataDuration.WithLabelValues(name), commands: map[string]*byClass{},
	}
	for _, verb := range edge.Verbs() {
		all := byClassOf(m.commands, name, verb)
		s.commands[verb] = &all
	}
	return s
}

func (m *Metrics) routeSeries(name string) *routeSeries {
	s := &routeSeries{name: name, messages: map[string][]byMode{}}
	for _, changed := range changedWords {
		var all []byMode
		for _, a := range filter.AllActions() {
			all = append(all, byModeOf(m.messagesTotal, name, a.String(), changed))
		}
		s.messages[changed] = all
	}
	return s
}

// ConnectionOpened implements edge.Metrics.
func (m *Metrics) ConnectionOpened(listener string) { m.listeners.get(m, listener).active.Inc() }

// ConnectionClosed implements edge.Metrics.
func (m *Metrics) ConnectionClosed(listener, tls string, lasted time.Duration) {
	l := m.listeners.get(m, listener)
	l.active.Dec()
	if c := l.ended[tls]; c != nil {
		c.Inc()
	} else {
		m.connections.WithLabelValues(l.name, m.word(tlsSet, tls)).Inc()
	}
	l.lasted.Observe(lasted.Seconds())
}

// ConnectionRejected implements edge.Metrics.
func (m *Metrics) ConnectionRejected(listener, reason string) {
	m.rejected.WithLabelValues(m.listeners.get(m, listener).name, m.word(refusalSet, reason)).Inc()
}

// EarlyTalk implements edge.Metrics.
func (m *Metrics) EarlyTalk(listener, result string) {
	m.earlyTalks.WithLabelValues(m.listeners.get(m, listener).name, m.word(earlySet, result)).Inc()
}

// Tarpit implements edge.Metrics.
func (m *Metrics) Tarpit(listener string) {
	m.tarpit.WithLabelValues(m.listeners.get(m, listener).name).Inc()
}

// Again implements edge.Metrics.
func (m *Metrics) Again(listener, first string) {
	m.repeats.WithLabelValues(m.listeners.get(m, listener).name, m.word(againSet, first)).Inc()
}

// Command implements edge.Metrics.
func (m *Metrics) Command(listener, verb string, code int) {
	l := m.listeners.get(m, listener)
	all := l.commands[verb]
	if all == nil {
		all = l.commands[edge.VerbOther]
	}
	all[classAt(code/100)].Inc()
}

// Reject implements edge.Metrics. Of the combinations that come, the first maxSeries get series of their
// own: filters and backends choose the codes.
func (m *Metrics) Reject(_, stage string, r mail.Reply, reason string) {
	v := m.rejectLabels(stage, r, reason)
	if _, ok := m.rejectsSeen.Load(v); !ok && !m.roomFor(v) {
		m.dropped.Inc()
		v = [4]string{other, other, other, other}
	}
	m.rejects.WithLabelValues(v[:]...).Inc()
}

func (m *Metrics) rejectLabels(stage string, r mail.Reply, reason string) [4]string {
	v := [4]string{m.word(stageSet, stage), other, other, m.word(reasonSet, reason)}
	if r.Code >= 400 && r.Code < 600 {
		v[1] = strconv.Itoa(r.Code)
	}
	if e := r.Enhanced; e == (mail.Enhanced{}) {
		v[2] = "none"
	} else if e[1] >= 0 && e[1] <= 7 && e[2] >= 0 && e[2] <= 40 { // RFC 3463, RFC 7372, RFC 7505
		v[2] = e.String()
	}
	return v
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
	m.handshakes.WithLabelValues(m.listeners.get(m, listener).name, m.word(versionSet, version), m.word(handshakeSet, result)).Inc()
}

// DataDuration implements edge.Metrics.
func (m *Metrics) DataDuration(listener string, d time.Duration) {
	m.listeners.get(m, listener).data.Observe(d.Seconds())
}

// Message implements edge.Metrics.
func (m *Metrics) Message(route string, action filter.Action, changed string, observed bool, size int64) {
	r := m.routes.get(m, route)
	if all := r.messages[changed]; int(action) < len(all) {
		all[action].of(observed).Inc()
	} else {
		m.messagesTotal.WithLabelValues(r.name, action.String(), m.word(changedSet, changed), mode(observed)).Inc()
	}
	m.sizeIn.Observe(float64(size))
}

// Recipient implements edge.Metrics.
func (m *Metrics) Recipient(result, source string) { m.recipients.inc(m, result, source) }

// Auth implements edge.Metrics.
func (m *Metrics) Auth(listener, result string) {
	m.auth.WithLabelValues(m.listeners.get(m, listener).name, m.word(authSet, result)).Inc()
}

// Panic implements edge.Metrics.
func (m *Metrics) Panic() { m.panics.Inc() }
