package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/filter/auth"
	"github.com/postern-mail/postern/pipeline"
)

type messageSeries struct {
	runs           *prometheus.CounterVec
	filterDuration *prometheus.HistogramVec
	authResults    *prometheus.CounterVec
	attachments    *prometheus.CounterVec
	listAnswers    *prometheus.CounterVec // of DNS lists
	scores         prometheus.Histogram
}

// The closed sets of the filters' labels.
var (
	methodWords     = []string{"spf", "spf_helo", "dkim", "arc", "dmarc", "iprev"}
	authResultWords = []string{
		string(auth.None), string(auth.Pass), string(auth.Fail), string(auth.SoftFail),
		string(auth.Neutral), string(auth.Policy), string(auth.TempError), string(auth.PermError),
	}
	classWords = []string{
		"executable", "script", "shortcut", "macro_auto", "macro", "disk_image", "active_html",
		"active_pdf", "partial", "encrypted", "sealed", "unreadable", "bomb", "name", "type", other,
	}
	partActionWords = []string{"pass", "tag", "strip", "quarantine", "reject"}

	authResultSet = wordsOf(authResultWords)
	classSet      = wordsOf(classWords)
	partActionSet = wordsOf(partActionWords)
	listSet       = wordsOf(auth.ListWords())
)

func (m *Metrics) messages() {
	m.runs = m.counterVec("filter_runs_total", "Runs of filters, by how they ended.", "filter", "outcome", "mode")
	m.filterDuration = m.histogramVec("filter_duration_seconds", "How long filters ran.", stepBuckets, "filter")
	m.authResults = m.counterVec("auth_results_total", "Results of sender authentication; of DKIM, one for each signature.", "method", "result")
	each(func(v ...string) { m.authResults.WithLabelValues(v...) }, methodWords, authResultWords)
	m.attachments = m.counterVec("attachments_total", "Parts of messages that are of a class, and what was to become of them.", "kind", "action")
	each(func(v ...string) { m.attachments.WithLabelValues(v...) }, classWords, partActionWords)
	m.listAnswers = m.counterVec("dnsbl_queries_total", "What DNS lists had to say, by list.", "zone", "result")
	m.scores = m.histogram("spam_score", "Scores of messages whose content was judged.", scoreBuckets)
}

func (m *Metrics) filterSeries(name string) {
	var outcomes []string
	for _, o := range pipeline.AllOutcomes() {
		outcomes = append(outcomes, o.String())
	}
	each(func(v ...string) { m.runs.WithLabelValues(v...) }, []string{name}, outcomes, modeWords)
	m.filterDuration.WithLabelValues(name)
}

func (m *Metrics) listSeries(name string) {
	each(func(v ...string) { m.listAnswers.WithLabelValues(v...) }, []string{name}, auth.ListWords())
}

// Score implements edge.Metrics.
func (m *Metrics) Score(score float64) { m.scores.Observe(score) }

// FilterRun counts one run of one stage and the facts that it gave, unless they have been counted before; it is a
// pipeline.Hook.
func (m *Metrics) FilterRun(r pipeline.Report) {
	name := m.name(&m.filters, r.Stage)
	m.runs.WithLabelValues(name, r.Outcome.String(), mode(r.Observe)).Inc()
	if r.Outcome != pipeline.Skipped {
		m.filterDuration.WithLabelValues(name).Observe(r.Elapsed.Seconds())
	}
	if r.Outcome == pipeline.Panicked {
		m.panics.Inc()
	}
	if r.Again {
		return
	}
	m.authFacts(r.Result.Facts)
	lists, _ := auth.Lists.Among(r.Result.Facts)
	for _, l := range lists {
		m.listAnswers.WithLabelValues(m.name(&m.lists, l.List), m.word(listSet, l.Result)).Inc()
	}
	parts, _ := auth.Parts.Among(r.Result.Facts)
	for _, p := range parts {
		if p.Class != "" {
			m.attachments.WithLabelValues(m.word(classSet, p.Class), m.word(partActionSet, p.Action)).Inc()
		}
	}
}

// authFacts counts the results of sender authentication.
func (m *Metrics) authFacts(facts []filter.Fact) {
	count := func(method string, r auth.Result) {
		m.authResults.WithLabelValues(method, m.word(authResultSet, string(r))).Inc()
	}
	if r, ok := auth.SPF.Among(facts); ok {
		count("spf", r.Result)
	}
	if r, ok := auth.HeloSPF.Among(facts); ok {
		count("spf_helo", r.Result)
	}
	if r, ok := auth.ARC.Among(facts); ok {
		count("arc", r.Result)
	}
	if r, ok := auth.DMARC.Among(facts); ok {
		count("dmarc", r.Result)
	}
	if r, ok := auth.IPRev.Among(facts); ok {
		count("iprev", r.Result)
	}
	if dkim, ok := auth.DKIM.Among(facts); ok {
		if len(dkim) == 0 {
			count("dkim", auth.None)
		}
		for _, d := range dkim {
			count("dkim", d.Result)
		}
	}
}
