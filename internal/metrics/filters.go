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
	authResults    pairs
	attachments    pairs
	listAnswers    *prometheus.CounterVec // of DNS lists
	rulesGaveUp    prometheus.Counter
	scores         prometheus.Histogram
}

// filterSeries are the series of one stage, and listSeries those of one DNS list.
type (
	filterSeries struct {
		name string
		runs []byMode // by outcome
		took prometheus.Observer
	}
	listSeries struct {
		name    string
		answers map[string]prometheus.Counter
	}
)

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
	partActionWords = []string{"pass", "score", "tag", "strip", "quarantine", "reject"}

	listSet = wordsOf(auth.ListWords())
)

func (m *Metrics) messages() {
	m.runs = m.counterVec("filter_runs_total", "Runs of filters, by how they ended.", "filter", "outcome", "mode")
	m.filterDuration = m.histogramVec("filter_duration_seconds", "How long filters ran.", stepBuckets[:], "filter")
	m.authResults = pairsOf(m.counterVec("auth_results_total", "Results of sender authentication; of DKIM, one for each signature.", "method", "result"),
		methodWords, authResultWords)
	m.attachments = pairsOf(m.counterVec("attachments_total", "Parts of messages that are of a class, and what was to become of them.", "kind", "action"),
		classWords, partActionWords)
	m.listAnswers = m.counterVec("dnsbl_queries_total", "What DNS lists had to say, by list.", "zone", "result")
	m.rulesGaveUp = m.counter("rules_gave_up_total", "Rules that reached the limit of steps in a message.")
	m.scores = m.histogram("spam_score", "Scores of messages whose content was judged.", scoreBuckets)
}

func (m *Metrics) filterSeries(name string) *filterSeries {
	s := &filterSeries{name: name, took: m.filterDuration.WithLabelValues(name)}
	for _, o := range pipeline.AllOutcomes() {
		s.runs = append(s.runs, byModeOf(m.runs, name, o.String()))
	}
	return s
}

func (m *Metrics) listSeries(name string) *listSeries {
	return &listSeries{name: name, answers: countersOf(m.listAnswers, auth.ListWords(), name)}
}

// Score implements edge.Metrics.
func (m *Metrics) Score(score float64) { m.scores.Observe(score) }

// FilterRun counts one run of one stage and the facts that it gave, unless they have been counted before; it is a
// pipeline.Hook.
func (m *Metrics) FilterRun(r pipeline.Report) {
	s := m.filters.get(m, r.Stage)
	if int(r.Outcome) < len(s.runs) {
		s.runs[r.Outcome].of(r.Observe).Inc()
	} else {
		m.runs.WithLabelValues(s.name, r.Outcome.String(), mode(r.Observe)).Inc()
	}
	if r.Outcome != pipeline.Skipped {
		s.took.Observe(r.Elapsed.Seconds())
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
		of := m.lists.get(m, l.List)
		if c := of.answers[l.Result]; c != nil {
			c.Inc()
		} else {
			m.listAnswers.WithLabelValues(of.name, m.word(listSet, l.Result)).Inc()
		}
	}
	gaveUp, _ := auth.RulesGaveUp.Among(r.Result.Facts)
	m.rulesGaveUp.Add(float64(gaveUp))
	parts, _ := auth.Parts.Among(r.Result.Facts)
	for _, p := range parts {
		if p.Class != "" {
			m.attachments.inc(m, p.Class, p.Action)
		}
	}
}

// authFacts counts the results of sender authentication.
func (m *Metrics) authFacts(facts []filter.Fact) {
	count := func(method string, r auth.Result) {
		m.authResults.inc(m, method, string(r))
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
