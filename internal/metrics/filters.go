package metrics

import (
	"slices"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/filter/auth"
	"github.com/postern-mail/postern/pipeline"
)

type messageSeries struct {
	runs           *prometheus.CounterVec
	filterDuration *prometheus.HistogramVec
	authResults    pairs
	dispositions   map[[3]string]prometheus.Counter // by what DMARC asks for, what is proposed, and why
	attachments    map[[3]string]prometheus.Counter // by class, action and reason
	unpackLimits   map[string]prometheus.Counter
	scans          *prometheus.CounterVec // by scanners of viruses
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
	// scannerSeries are the series of a stage that looks for viruses.
	scannerSeries struct{ scans map[string]prometheus.Counter }
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
		"active_pdf", "partial", "encrypted", "sealed", "unreadable", "bomb", other,
	}
	handlingWords   = []string{"none", "quarantine", "reject"} // RFC 9989 4.7, RFC 9990
	overrideWords   = []string{"none", "local_policy", "mailing_list", "trusted_forwarder", "policy_test_mode", other}
	partActionWords = []string{"pass", "score", "tag", "strip", "quarantine", "reject"}

	listSet = wordsOf(auth.ListWords())
)

func (m *Metrics) messages() {
	m.runs = m.counterVec("filter_runs_total", "Runs of filters, by how they ended.", "filter", "outcome", "mode")
	m.filterDuration = m.histogramVec("filter_duration_seconds", "How long filters ran.", stepBuckets[:], "filter")
	m.authResults = pairsOf(m.counterVec("auth_results_total", "Results of sender authentication; of DKIM, one for each signature.", "method", "result"),
		methodWords, authResultWords)
	m.dispositions = triplesOf(m.counterVec("dmarc_dispositions_total", "Messages of domains with a DMARC policy, by what it asks for, what was proposed, and why that differs.", "policy", "applied", "override"),
		handlingWords, handlingWords, overrideWords)
	m.attachments = triplesOf(m.counterVec("attachments_total", "Parts of messages that are of a class or match a rule, what was to become of them, and by what it was known.", "kind", "action", "reason"),
		classWords, partActionWords, auth.PartReasons())
	m.unpackLimits = countersOf(m.counterVec("unpack_limit_hits_total", "Messages whose containers take more work than is allowed, by the limit.", "limit"), auth.UnpackLimitWords())
	m.scans = m.counterVec("av_scans_total", "Messages that a scanner of viruses was asked about, by what came of it.", "filter", "result")
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

// What comes of looking for viruses, and the symbols that say so.
const (
	scanClean     = "clean"
	scanInfected  = "infected"
	scanSuspect   = "suspect"
	scanUnscanned = "unscanned"
	scanError     = "error"
)

var scanSymbols = map[string]string{"VIRUS": scanInfected, "VIRUS_SUSPECT": scanSuspect, "VIRUS_UNSCANNED": scanUnscanned}

// scanWords has the worst first.
var scanWords = []string{scanInfected, scanSuspect, scanUnscanned, scanError, scanClean}

func (m *Metrics) scannerSeries(name string) *scannerSeries {
	return &scannerSeries{countersOf(m.scans, scanWords, name)}
}

// scanned gives what came of looking for viruses; of several findings, the worst.
func scanned(r *pipeline.Report) string {
	if r.Outcome != pipeline.Pass && r.Outcome != pipeline.Match {
		return scanError
	}
	worst := scanClean
	for _, f := range r.Result.Findings {
		if s, ok := scanSymbols[f.Symbol]; ok && slices.Index(scanWords, s) < slices.Index(scanWords, worst) {
			worst = s
		}
	}
	return worst
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
	if av := m.scanners.find(r.Stage); av != nil && r.Outcome != pipeline.Skipped {
		av.scans[scanned(&r)].Inc()
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
		if p.By != "" {
			m.part(p)
		}
	}
	limits, _ := auth.UnpackLimits.Among(r.Result.Facts)
	for _, l := range limits {
		if c := m.unpackLimits[l]; c != nil {
			c.Inc()
		}
	}
}

// part counts a part that is of a class, or that a rule of the configuration means whatever it is.
func (m *Metrics) part(p auth.PartReport) {
	kind := p.Class
	if kind == "" {
		kind = other
	}
	if c := m.attachments[[3]string{kind, p.Action, p.By}]; c != nil {
		c.Inc()
	} else {
		m.dropped.Inc()
	}
}

// disposition counts what was proposed for a message of a domain that publishes a policy.
func (m *Metrics) disposition(r auth.DMARCResult) {
	if r.Policy == "" {
		return
	}
	override := r.Override
	if override == "" {
		override = "none"
	}
	if c := m.dispositions[[3]string{r.Policy, r.Disposition, override}]; c != nil {
		c.Inc()
	} else {
		m.dropped.Inc()
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
		m.disposition(r)
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
