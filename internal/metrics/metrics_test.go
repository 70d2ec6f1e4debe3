package metrics

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/filter/auth"
	"github.com/postern-mail/postern/internal/certs"
	"github.com/postern-mail/postern/internal/dns"
	"github.com/postern-mail/postern/internal/edge"
	"github.com/postern-mail/postern/internal/learner"
	"github.com/postern-mail/postern/internal/ledger"
	"github.com/postern-mail/postern/internal/quarantine"
	"github.com/postern-mail/postern/internal/senders"
	"github.com/postern-mail/postern/internal/spool"
	"github.com/postern-mail/postern/mail"
	"github.com/postern-mail/postern/pipeline"
	"github.com/postern-mail/postern/upstream"
	"github.com/postern-mail/postern/upstream/queue"
)

func testMetrics(t *testing.T) *Metrics {
	m := New(Options{Version: "1.2.3", Revision: "abc", Labels: Labels{
		Listeners: []string{"public"}, Filters: []string{"spf", "attachments", "clamd"}, Routes: []string{"example.org"}, Servers: []string{"mail:25"}, Lists: []string{"bl.example"},
		Scanners: []string{"clamd"}, Hash: "0123456789ab",
		Upstreams:    map[string][]string{"x": {"mail:25"}},
		Certificates: []string{"public", "public.sni[0]", "public.client_ca"},
	}})
	m.StateDirectory(t.TempDir())
	m.Asked([]Asked{{Filter: "attachments", Health: func() filter.Health {
		return filter.Health{Breaker: "half_open", Signatures: time.Now().Add(-time.Hour), Servers: []filter.ServerHealth{
			{Name: "a:1", Breaker: "closed"}, {Name: "b:1", Breaker: "half_open"}, {Name: "unix:/s", Breaker: "open"}, {Name: "unix:/s", Breaker: "closed"},
		}}
	}}})
	m.Certificates([]certs.State{
		{Place: "public", NotAfter: time.Unix(2000000000, 0), Taken: true},
		{Place: "public.sni[0]", NotAfter: time.Unix(2100000000, 0)},
		{Place: "public.client_ca", Taken: true},
	})
	m.AcceptsAny("example.org", true)
	m.RecipientLists(func() []RecipientList {
		return []RecipientList{{Source: "/etc/recipients", Entries: 50, Taken: true}, {Source: "ldap:example.org", Entries: 7, Age: time.Minute}}
	})
	m.Learner(func() learner.Usage { return learner.Usage{Fitted: time.Now()} })
	m.Ledger(func() ledger.Usage {
		return ledger.Usage{Durable: true, Written: 9, Failed: 8, SetAside: 7, Tables: []ledger.TableUsage{
			{Name: "greylist/passed", Records: 6, Hits: 5, Misses: 4, Evicted: 3, Refused: 2, Expired: 1},
		}}
	})
	return m
}

// everything calls each method once, with values that belong to the sets.
func everything(m *Metrics) {
	m.ConnectionOpened("public")
	m.ConnectionClosed("public", edge.TLSStart, time.Second)
	m.ConnectionRejected("public", edge.RejectedPerClient)
	m.Command("public", "MAIL", 250)
	m.Reject("public", edge.StageRcpt, mail.NewReply(550, 5, 1, 1, "no such mailbox"), edge.ReasonUnknown)
	m.TLSHandshake("public", "1.3", "ok")
	m.DataDuration("public", time.Second)
	m.Message("example.org", filter.Tag, edge.ChangedStripped, false, 5000)
	m.Recipient(edge.RecipientUnknown, edge.SourceStatic)
	m.Panic()
	m.Score(3)
	m.Again("public", edge.AgainTaken)
	m.DNSQuery(dns.Query{Type: "TXT", Rcode: dns.ServFail, Elapsed: time.Second})
	m.DNSCache(true)
	m.DNSBudget(dns.LimitTime)
	m.FilterRun(pipeline.Report{Stage: "spf", Outcome: pipeline.Match, Elapsed: time.Millisecond, Result: filter.Result{Facts: []filter.Fact{
		auth.SPF.Of(auth.SPFResult{Result: auth.Fail}),
		auth.DKIM.Of([]auth.DKIMResult{{Result: auth.Pass}, {Result: auth.TempError}}),
		auth.HeloSPF.Of(auth.SPFResult{Result: auth.None}), auth.ARC.Of(auth.ARCResult{Result: auth.Pass}),
		auth.DMARC.Of(auth.DMARCResult{Result: auth.PermError, Policy: "reject", Disposition: "none", Override: "local_policy"}), auth.IPRev.Of(auth.IPRevResult{Result: auth.Fail}),
		auth.Lists.Of([]auth.ListResult{{List: "bl.example", Result: auth.ListListed}}),
		auth.Parts.Of([]auth.PartReport{{Class: "executable", Action: "strip", By: auth.PartByContent}, {Action: "tag", By: auth.PartByNameRule}, {Action: "pass"}}),
		auth.UnpackLimits.Of([]string{auth.LimitDepth, auth.LimitRatio}),
	}}})
	m.FilterRun(pipeline.Report{Stage: "attachments", Outcome: pipeline.Panicked, Observe: true})
	for _, symbols := range [][]string{{"VIRUS_SUSPECT", "VIRUS", "VIRUS_UNSCANNED"}, {"VIRUS_UNSCANNED", "VIRUS_OLD_SIGNATURES"}, {}} {
		r := pipeline.Report{Stage: "clamd", Outcome: pipeline.Match}
		for _, s := range symbols {
			r.Result.Findings = append(r.Result.Findings, filter.Finding{Symbol: s})
		}
		m.FilterRun(r)
	}
	m.FilterRun(pipeline.Report{Stage: "clamd", Outcome: pipeline.TimedOut})
	m.FilterRun(pipeline.Report{Stage: "clamd", Outcome: pipeline.Skipped})
	m.QueueSilent(queue.NullSender)
	h := m.Hooks()
	h.Phases("mail:25", []upstream.Took{{Stage: upstream.StageDot, For: time.Second}})
	h.Result("mail:25", upstream.Delivered, 2)
	h.Up("mail:25", false)
	h.Fault("mail:25", upstream.StageMail, mail.Reply{}, errors.New("x"))
	h.Retried("mail:25", upstream.StageMail)
	h.Connections("mail:25", 5, 2)
	h.Asked(upstream.AskedStale)
	h.Handshake("mail:25", tls.ConnectionState{}, errors.New("x"))
	m.Queue(func() []queue.Usage {
		return []queue.Usage{{Route: "example.org", State: queue.StateDeferred, Messages: 2, Octets: 300, Oldest: time.Now().Add(-time.Minute)}}
	}, func() spool.Usage { return spool.Usage{Octets: 500, Damaged: 1} })
	m.Quarantine(func() quarantine.Usage { return quarantine.Usage{Messages: 3, Octets: 4000, Damaged: 1, Kept: 7} })
	m.BigSenders(func() senders.Usage { return senders.Usage{Domains: 5, Known: 4, Failing: 2, Networks: 70} })
	m.Reloaded(false)
}

// value finds a series of the text format, as in `name{label="x"}`.
func value(t *testing.T, m *Metrics, series string) string {
	t.Helper()
	for line := range strings.Lines(scrape(t, m, "")) {
		if v, ok := strings.CutPrefix(line, series+" "); ok {
			return strings.TrimSpace(v)
		}
	}
	return "absent"
}

func scrape(t *testing.T, m *Metrics, accept string) string {
	t.Helper()
	r := httptest.NewRequestWithContext(context.Background(), "GET", "/metrics", nil)
	if accept != "" {
		r.Header.Set("Accept", accept)
	}
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, r)
	body, err := io.ReadAll(w.Body)
	if err != nil || w.Code != 200 {
		t.Fatalf("%d, %v, %s", w.Code, err, body)
	}
	return string(body)
}

func TestCounts(t *testing.T) {
	pipeline.SetRoom(100e6)
	defer pipeline.SetRoom(0)
	m := testMetrics(t)
	everything(m)
	for series, want := range map[string]string{
		`postern_smtp_connections_total{listener="public",tls="starttls"}`:                           "1",
		`postern_filter_breaker_state{filter="attachments",state="half_open"}`:                       "1",
		`postern_filter_breaker_state{filter="attachments",state="open"}`:                            "0",
		`postern_filter_server_breaker_closed{filter="attachments",server="a:1"}`:                    "1",
		`postern_filter_server_breaker_closed{filter="attachments",server="b:1"}`:                    "0",
		`postern_filter_server_breaker_closed{filter="attachments",server="unix:/s"}`:                "0",
		`postern_smtp_connections_total{listener="public",tls="implicit"}`:                           "0",
		`postern_smtp_connections_active{listener="public"}`:                                         "0",
		`postern_smtp_connections_rejected_total{listener="public",reason="client_limit"}`:           "1",
		`postern_smtp_commands_total{code="2xx",listener="public",verb="MAIL"}`:                      "1",
		`postern_smtp_rejects_total{code="550",ecode="5.1.1",reason="unknown",stage="rcpt"}`:         "1",
		`postern_smtp_tls_handshakes_total{listener="public",result="ok",version="1.3"}`:             "1",
		`postern_smtp_data_duration_seconds_count{listener="public"}`:                                "1",
		`postern_smtp_session_duration_seconds_sum{listener="public"}`:                               "1",
		`postern_messages_total{action="tag",changed="stripped",mode="enforce",route="example.org"}`: "1",
		`postern_messages_total{action="reject",changed="no",mode="observe",route="example.org"}`:    "0",
		`postern_message_size_bytes_sum{direction="in"}`:                                             "5000",
		`postern_recipients_total{result="unknown",source="static"}`:                                 "1",
		`postern_panics_total`:                                                                     "2",
		`postern_spam_score_sum`:                                                                   "3",
		`postern_dns_queries_total{rcode="servfail",type="TXT"}`:                                   "1",
		`postern_dns_cache_lookups_total{result="hit"}`:                                            "1",
		`postern_dns_budget_exceeded_total{limit="time"}`:                                          "1",
		`postern_dns_query_duration_seconds_count{type="TXT"}`:                                     "1",
		`postern_filter_runs_total{filter="spf",mode="enforce",outcome="match"}`:                   "1",
		`postern_filter_runs_total{filter="attachments",mode="observe",outcome="panic"}`:           "1",
		`postern_filter_duration_seconds_count{filter="spf"}`:                                      "1",
		`postern_auth_results_total{method="spf",result="fail"}`:                                   "1",
		`postern_auth_results_total{method="spf_helo",result="none"}`:                              "1",
		`postern_auth_results_total{method="arc",result="pass"}`:                                   "1",
		`postern_auth_results_total{method="dmarc",result="permerror"}`:                            "1",
		`postern_auth_results_total{method="iprev",result="fail"}`:                                 "1",
		`postern_auth_results_total{method="dkim",result="pass"}`:                                  "1",
		`postern_auth_results_total{method="dkim",result="temperror"}`:                             "1",
		`postern_dnsbl_queries_total{result="listed",zone="bl.example"}`:                           "1",
		`postern_attachments_total{action="strip",kind="executable",reason="magic"}`:               "1",
		`postern_attachments_total{action="tag",kind="other",reason="name"}`:                       "1",
		`postern_unpack_limit_hits_total{limit="depth"}`:                                           "1",
		`postern_unpack_limit_hits_total{limit="ratio"}`:                                           "1",
		`postern_unpack_limit_hits_total{limit="files"}`:                                           "0",
		`postern_dmarc_dispositions_total{applied="none",override="local_policy",policy="reject"}`: "1",
		`postern_dmarc_dispositions_total{applied="reject",override="none",policy="reject"}`:       "0",
		`postern_av_scans_total{filter="clamd",result="infected"}`:                                 "1",
		`postern_av_scans_total{filter="clamd",result="suspect"}`:                                  "0",
		`postern_av_scans_total{filter="clamd",result="unscanned"}`:                                "1",
		`postern_av_scans_total{filter="clamd",result="clean"}`:                                    "1",
		`postern_av_scans_total{filter="clamd",result="error"}`:                                    "1",
		`postern_bounces_suppressed_total{reason="null_sender"}`:                                   "1",
		`postern_bounces_suppressed_total{reason="not_wanted"}`:                                    "0",
		`postern_config_info{hash="0123456789ab"}`:                                                 "1",
		`postern_upstream_deliveries_total{backend="mail:25",code="2xx",result="delivered"}`:       "1",
		`postern_upstream_duration_seconds_count{backend="mail:25",phase="dot"}`:                   "1",
		`postern_upstream_up{backend="mail:25"}`:                                                   "0",
		`postern_upstream_connections{backend="mail:25",state="active"}`:                           "3",
		`postern_upstream_connections{backend="mail:25",state="idle"}`:                             "2",
		`postern_upstream_faults_total{backend="mail:25",phase="mail"}`:                            "1",
		`postern_upstream_retries_total{backend="mail:25"}`:                                        "1",
		`postern_upstream_tls_handshakes_total{backend="mail:25",result="failed"}`:                 "1",
		`postern_ledger_records{table="greylist/passed"}`:                                          "6",
		`postern_ledger_lookups_total{result="hit",table="greylist/passed"}`:                       "5",
		`postern_ledger_lookups_total{result="miss",table="greylist/passed"}`:                      "4",
		`postern_ledger_dropped_total{reason="evicted",table="greylist/passed"}`:                   "3",
		`postern_ledger_dropped_total{reason="refused",table="greylist/passed"}`:                   "2",
		`postern_ledger_dropped_total{reason="expired",table="greylist/passed"}`:                   "1",
		`postern_ledger_durable`:                                                                   "1",
		`postern_ledger_written_total`:                                                             "9",
		`postern_ledger_write_failures_total`:                                                      "8",
		`postern_ledger_damaged_total`:                                                             "7",
		`postern_big_senders`:                                                                      "5",
		`postern_big_senders_known`:                                                                "4",
		`postern_big_senders_failing`:                                                              "2",
		`postern_big_senders_networks`:                                                             "70",
		`postern_big_senders_age_seconds`:                                                          "0",
		`postern_quarantine_messages`:                                                              "3",
		`postern_quarantine_bytes`:                                                                 "4000",
		`postern_quarantine_damaged`:                                                               "1",
		`postern_quarantine_actions_total{action="keep"}`:                                          "7",
		`postern_quarantine_actions_total{action="full"}`:                                          "0",
		`postern_config_last_reload_successful`:                                                    "0",
		`postern_tls_cert_expiry_timestamp_seconds{cert="public"}`:                                 "2e+09",
		`postern_tls_cert_expiry_timestamp_seconds{cert="public.sni[0]"}`:                          "2.1e+09",
		`postern_recipient_callout_accepts_any{route="example.org"}`:                               "1",
		`postern_recipient_callouts_total{result="stale"}`:                                         "1",
		`postern_recipient_callouts_total{result="yes"}`:                                           "0",
		`postern_recipient_snapshot_entries{source="/etc/recipients"}`:                             "50",
		`postern_recipient_snapshot_last_read_successful{source="/etc/recipients"}`:                "1",
		`postern_recipient_snapshot_last_read_successful{source="ldap:example.org"}`:               "0",
		`postern_recipient_snapshot_age_seconds{source="ldap:example.org"}`:                        "60",
		`postern_tls_cert_last_read_successful{cert="public"}`:                                     "1",
		`postern_tls_cert_last_read_successful{cert="public.sni[0]"}`:                              "0",
		`postern_tls_cert_last_read_successful{cert="public.client_ca"}`:                           "1",
		`postern_metrics_dropped_labels_total`:                                                     "0",
		`postern_filter_abandoned`:                                                                 "0",
		`postern_filter_memory_bytes{state="used"}`:                                                "0",
		`postern_filter_memory_bytes{state="waiting"}`:                                             "0",
		`postern_filter_memory_bytes{state="limit"}`:                                               "1e+08",
		`postern_build_info{goversion="` + goVersion(t, m) + `",revision="abc",version="1.2.3"}`:   "1",
	} {
		if got := value(t, m, series); got != want {
			t.Errorf("%s is %s, want %s", series, got, want)
		}
	}
	if v := value(t, m, "postern_spool_disk_free_bytes"); v == "NaN" || v == "absent" || v == "0" {
		t.Errorf("free octets: %s", v)
	}
}

func goVersion(t *testing.T, m *Metrics) string {
	found := regexp.MustCompile(`postern_build_info{goversion="([^"]*)"`).FindStringSubmatch(scrape(t, m, ""))
	if found == nil {
		t.Fatal("no build_info")
	}
	return found[1]
}

// TestRejectsExistBeforehand: of what is refused in our own words every series is there, and so every stage and reason.
func TestRejectsExistBeforehand(t *testing.T) {
	m := testMetrics(t)
	before := series(t, m)
	for _, set := range [][]string{edge.Stages(), edge.Reasons()} {
		for _, word := range set {
			if !slices.ContainsFunc(slices.Collect(maps.Keys(before)), func(s string) bool {
				return strings.HasPrefix(s, "postern_smtp_rejects_total") && strings.Contains(s, `="`+word+`"`)
			}) {
				t.Errorf("no series has %s", word)
			}
		}
	}
	for _, o := range edge.OwnRejects() {
		m.Reject("public", o.Stage, o.Reply, o.Reason)
	}
	if after := series(t, m); len(after) != len(before) {
		t.Errorf("%d series, then %d", len(before), len(after))
	}
}

// TestConfigInfo: a reload leaves one series, that of the configuration in force.
func TestConfigInfo(t *testing.T) {
	m := testMetrics(t)
	m.Configured(Labels{Hash: "fedcba987654"})
	if was, is := value(t, m, `postern_config_info{hash="0123456789ab"}`), value(t, m, `postern_config_info{hash="fedcba987654"}`); was != "absent" || is != "1" {
		t.Errorf("that of before is %s, that in force %s", was, is)
	}
}

// TestServerCertificate: what a server showed is known until it is no longer configured.
func TestServerCertificate(t *testing.T) {
	const series = `postern_upstream_tls_cert_expiry_seconds{backend="mail:25"}`
	m := testMetrics(t)
	if v := value(t, m, series); v != "absent" {
		t.Errorf("without a handshake it is %s", v)
	}
	h := m.Hooks()
	h.Handshake("mail:25", tls.ConnectionState{PeerCertificates: []*x509.Certificate{{NotAfter: time.Now().Add(time.Hour)}, {}}}, nil)
	if v, err := strconv.ParseFloat(value(t, m, series), 64); err != nil || v < 3500 || v > 3600 {
		t.Errorf("after it: %v, %v", v, err)
	}
	m.Configured(Labels{})
	if v := value(t, m, series); v != "absent" {
		t.Errorf("of a server that is gone: %s", v)
	}
}

// TestSeriesExistBeforehand: what happens makes no series, but for the rejects and a label that was not
// known.
func TestSeriesExistBeforehand(t *testing.T) {
	m := testMetrics(t)
	before := series(t, m)
	everything(m)
	for s := range series(t, m) {
		if !before[s] && !strings.HasPrefix(s, "postern_smtp_rejects_total") && strings.HasPrefix(s, "postern_") {
			t.Errorf("%s came with its first event", s)
		}
	}
}

func series(t *testing.T, m *Metrics) map[string]bool {
	all := map[string]bool{}
	for line := range strings.Lines(scrape(t, m, "")) {
		if i := strings.LastIndexByte(line, ' '); i > 0 && line[0] != '#' {
			all[line[:i]] = true
		}
	}
	return all
}

// TestUnknownLabels: what no set knows makes no series of its own.
func TestUnknownLabels(t *testing.T) {
	m := testMetrics(t)
	flood := func(i int) {
		x := fmt.Sprintf("evil%d", i)
		m.ConnectionOpened(x)
		m.ConnectionClosed(x, x, 0)
		m.ConnectionRejected(x, x)
		m.Command(x, x, i)
		m.Reject(x, x, mail.NewReply(i, i, i, i, x), x)
		m.Reject(x, edge.StageRcpt, mail.NewReply(400+i%200, 4+i%2, i%8, i%41, x), edge.ReasonFilter)
		m.TLSHandshake(x, x, x)
		m.DataDuration(x, 0)
		m.Message(x, filter.Action(i), x, false, 0)
		m.Recipient(x, x)
		m.DNSQuery(dns.Query{Type: x, Rcode: x})
		m.DNSBudget(x)
		m.FilterRun(pipeline.Report{Stage: x, Outcome: pipeline.Outcome(i), Result: filter.Result{Facts: []filter.Fact{
			auth.SPF.Of(auth.SPFResult{Result: auth.Result(x)}), auth.Parts.Of([]auth.PartReport{{Class: x, Action: x, By: x}}), auth.UnpackLimits.Of([]string{x}), auth.DMARC.Of(auth.DMARCResult{Policy: x}), auth.Lists.Of([]auth.ListResult{{List: x, Result: x}}),
		}}})
		m.Certificates([]certs.State{{Place: x, NotAfter: time.Unix(1, 0)}})
		h := m.Hooks()
		h.Phases(x, []upstream.Took{{Stage: upstream.Stage(x)}, {Stage: upstream.StageDot}})
		h.Result(x, upstream.Kind(i), i)
		h.Up(x, true)
		h.Fault(x, upstream.Stage(x), mail.Reply{}, nil)
		h.Retried(x, "")
		h.Connections(x, 1, 1)
		h.Handshake(x, tls.ConnectionState{}, nil)
	}
	for i := range 256 {
		flood(i)
	}
	before := len(series(t, m))
	for i := range 20000 {
		flood(i)
	}
	// The rejects are the one metric that grows, up to its bound.
	if after := len(series(t, m)); after > before+maxSeries {
		t.Errorf("%d series, then %d", before, after)
	}
	for s := range series(t, m) {
		if strings.Contains(s, "evil") {
			t.Errorf("%s", s)
		}
	}
	if n := testutil.CollectAndCount(m.rejects); n > maxSeries+1 {
		t.Errorf("%d series of rejects", n)
	}
	if testutil.ToFloat64(m.dropped) == 0 {
		t.Error("nothing was dropped")
	}
}

// TestManyTables: tables beyond the bound count together.
func TestManyTables(t *testing.T) {
	m := testMetrics(t)
	m.Ledger(func() (u ledger.Usage) {
		for i := range 1000 {
			u.Tables = append(u.Tables, ledger.TableUsage{Name: fmt.Sprintf("t%03d", i), Records: 1})
		}
		return u
	})
	if got := value(t, m, `postern_ledger_records{table="other"}`); got != fmt.Sprint(1000-maxTables+1) {
		t.Error(got)
	}
}

// TestConfigured: a reload adds names, keeps those of before with their counts, and ends at a bound.
func TestConfigured(t *testing.T) {
	m := testMetrics(t)
	everything(m)
	m.Configured(Labels{Listeners: []string{"office", "public"}, Filters: []string{"dkim"}, Routes: []string{"example.net"}, Servers: []string{"b:25"}})
	m.Certificates([]certs.State{{Place: "office", NotAfter: time.Unix(1, 0), Taken: true}})
	if n, k := testutil.CollectAndCount(m.certExpiry), testutil.CollectAndCount(m.certRead); n != 1 || k != 1 {
		t.Errorf("%d and %d certificates, not the one that is left", n, k)
	}
	m.ConnectionOpened("office")
	if got := value(t, m, `postern_smtp_connections_active{listener="office"}`); got != "1" {
		t.Error(got)
	}
	if got := value(t, m, `postern_filter_runs_total{filter="spf",mode="enforce",outcome="match"}`); got != "1" {
		t.Error(got)
	}
	if got := value(t, m, `postern_upstream_deliveries_total{backend="mail:25",code="2xx",result="delivered"}`); got != "1" {
		t.Error(got)
	}
	var many []string
	for i := range 1000 {
		many = append(many, fmt.Sprintf("r%d", i))
	}
	m.Configured(Labels{Listeners: many, Filters: many, Routes: many, Servers: many})
	if routes, listeners := len(*m.routes.known.Load()), len(*m.listeners.known.Load()); routes != maxRoutes || listeners != maxListeners {
		t.Errorf("%d routes, %d listeners", routes, listeners)
	}
	m.Message("r999", filter.Continue, edge.ChangedNo, false, 1)
	if got := value(t, m, `postern_messages_total{action="continue",changed="no",mode="enforce",route="other"}`); got != "1" {
		t.Error(got)
	}
}

// TestUpstreamServers: which servers an upstream has is that of the configuration in force, a server of two upstreams included.
func TestUpstreamServers(t *testing.T) {
	m := testMetrics(t)
	m.Configured(Labels{Servers: []string{"a:25", "b:25"}, Upstreams: map[string][]string{"in": {"a:25"}, "out": {"a:25", "b:25"}, "mail": nil}})
	for series, want := range map[string]string{
		`postern_upstream_server_info{backend="a:25",upstream="in"}`: "1", `postern_upstream_server_info{backend="a:25",upstream="out"}`: "1",
		`postern_upstream_server_info{backend="b:25",upstream="out"}`: "1", `postern_upstream_server_info{backend="b:25",upstream="in"}`: "absent",
	} {
		if got := value(t, m, series); got != want {
			t.Errorf("%s is %s", series, got)
		}
	}
	m.Configured(Labels{Servers: []string{"a:25"}, Upstreams: map[string][]string{"in": {"a:25"}}})
	if got := value(t, m, `postern_upstream_server_info{backend="b:25",upstream="out"}`); got != "absent" {
		t.Errorf("after a reload: %s", got)
	}
}

// TestServersInUse: the states of servers begin and end with the configuration that names them, whatever pools
// of an earlier one still tell, and are right where two pools have connections with one server.
func TestServersInUse(t *testing.T) {
	m := testMetrics(t)
	h := m.Hooks()
	check := func(what, up, active, idle string) {
		t.Helper()
		for series, want := range map[string]string{
			`postern_upstream_up{backend="mail:25"}`:                         up,
			`postern_upstream_connections{backend="mail:25",state="active"}`: active,
			`postern_upstream_connections{backend="mail:25",state="idle"}`:   idle,
		} {
			if got := value(t, m, series); got != want {
				t.Errorf("%s: %s is %s, want %s", what, series, got, want)
			}
		}
	}
	h.Up("mail:25", false)
	h.Connections("mail:25", 3, 1)
	m.Configured(Labels{Servers: []string{"mail:25", "mail:25"}})
	check("kept", "0", "2", "1")
	h.Up("mail:25", true)
	h.Connections("mail:25", 2, 0)
	check("a second pool", "1", "4", "1")

	m.Configured(Labels{Servers: []string{"b:25"}})
	check("gone", "absent", "absent", "absent")
	h.Up("mail:25", false)
	h.Connections("mail:25", -2, 0)
	check("gone, and its pools go on", "absent", "absent", "absent")
	h.Up("mail:25", true)
	h.Up("c:25", true)
	m.Configured(Labels{Servers: []string{"mail:25", "c:25"}})
	check("back", "1", "2", "1")
	h.Connections("mail:25", -3, -1)
	check("the pool of before ends", "1", "0", "0")

	h.Up("mail:25", false)
	h.Result("mail:25", upstream.Refused, 5)
	check("down", "0", "0", "0")
	h.Breaker("mail:25", upstream.BreakerOpen)
	for state, want := range map[string]string{"closed": "0", "half_open": "0", "open": "1"} {
		if got := value(t, m, `postern_upstream_breaker_state{backend="mail:25",state="`+state+`"}`); got != want {
			t.Errorf("breaker %s: %s, want %s", state, got, want)
		}
	}
	h.Result("mail:25", upstream.Delivered, 2)
	check("another pool delivers", "1", "0", "0")
	if got := value(t, m, `postern_upstream_breaker_state{backend="mail:25",state="closed"}`); got != "1" {
		t.Errorf("another pool delivers: closed %s", got)
	}
	h.Probed("mail:25", upstream.ProbedUnreachable)
	for result, want := range map[string]string{"ok": "0", "refused": "0", "unreachable": "1"} {
		if got := value(t, m, `postern_upstream_probes_total{backend="mail:25",result="`+result+`"}`); got != want {
			t.Errorf("probes %s: %s, want %s", result, got, want)
		}
	}
	if got := value(t, m, `postern_metrics_dropped_labels_total`); got != "0" {
		t.Errorf("%s labels dropped", got)
	}
}

// TestMaildirSeries: a maildir has series where one is configured, and only those that mean something.
func TestMaildirSeries(t *testing.T) {
	m := testMetrics(t)
	of := func() (all []string) {
		for s := range series(t, m) {
			if strings.Contains(s, `backend="maildir"`) {
				name, _, _ := strings.Cut(s, "{")
				all = append(all, name)
			}
		}
		slices.Sort(all)
		return slices.Compact(all)
	}
	if got := of(); got != nil {
		t.Errorf("without a maildir: %q", got)
	}
	m.Configured(Labels{Servers: []string{maildir}})
	before := series(t, m)
	dir, err := upstream.NewMaildir(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	dir.Hooks = m.Hooks()
	blob := mail.NewBlob([]byte("Subject: x\r\n\r\n"))
	message := mail.NewMessage(blob)
	blob.Release()
	dir.Deliver(t.Context(), mail.Envelope{}, message)
	message.Release()
	dir.Deliver(t.Context(), mail.Envelope{}, message)
	want := []string{
		"postern_upstream_deliveries_total", "postern_upstream_duration_seconds_bucket", "postern_upstream_duration_seconds_count",
		"postern_upstream_duration_seconds_sum", "postern_upstream_faults_total",
	}
	if got := of(); !slices.Equal(got, want) || len(series(t, m)) != len(before) {
		t.Errorf("%q, %d series, then %d", got, len(before), len(series(t, m)))
	}
	for series, want := range map[string]string{
		`postern_upstream_deliveries_total{backend="maildir",code="2xx",result="delivered"}`:  "1",
		`postern_upstream_deliveries_total{backend="maildir",code="none",result="our-fault"}`: "1",
		`postern_upstream_faults_total{backend="maildir",phase="store"}`:                      "1",
		`postern_upstream_duration_seconds_count{backend="maildir",phase="store"}`:            "2",
		`postern_metrics_dropped_labels_total`:                                                "0",
	} {
		if got := value(t, m, series); got != want {
			t.Errorf("%s is %s, want %s", series, got, want)
		}
	}
}

func TestLint(t *testing.T) {
	m := testMetrics(t)
	everything(m)
	problems, err := testutil.GatherAndLint(m.registry)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

func TestFormats(t *testing.T) {
	m := testMetrics(t)
	if got := scrape(t, m, "application/openmetrics-text; version=1.0.0"); !strings.HasSuffix(got, "# EOF\n") {
		t.Errorf("not OpenMetrics: %.200s", got)
	}
	if got := scrape(t, m, "text/plain"); strings.Contains(got, "# EOF") || !strings.Contains(got, "# TYPE postern_build_info gauge") {
		t.Errorf("not the text format: %.200s", got)
	}
}

func TestTogether(t *testing.T) {
	m := testMetrics(t)
	var group sync.WaitGroup
	for i := range 8 {
		group.Go(func() {
			for range 20 {
				everything(m)
				m.Configured(Labels{Filters: []string{fmt.Sprintf("f%d", i)}})
			}
		})
	}
	group.Go(func() { scrape(t, m, "") })
	group.Wait()
	if got := value(t, m, "postern_panics_total"); got != "320" {
		t.Error(got)
	}
}

// gathered gives the type and the labels of every metric of ours.
func gathered(t *testing.T) map[string]string {
	m := testMetrics(t)
	everything(m)
	m.Hooks().Handshake("mail:25", tls.ConnectionState{PeerCertificates: []*x509.Certificate{{}}}, nil)
	families, err := m.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for _, f := range families {
		if !strings.HasPrefix(f.GetName(), "postern_") {
			continue
		}
		var labels []string
		for _, l := range f.GetMetric()[0].GetLabel() {
			labels = append(labels, l.GetName())
		}
		slices.Sort(labels)
		all[f.GetName()] = strings.ToLower(f.GetType().String()) + " " + strings.Join(labels, ",")
	}
	return all
}

// TestDocumented compares the metrics with the table of docs/metrics.md, in both directions: names, types
// and labels.
func TestDocumented(t *testing.T) {
	doc, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	documented := map[string]string{}
	row := regexp.MustCompile("(?m)^\\| `(postern_[a-z_]+)` \\| (counter|gauge|histogram) \\|([^|]*)\\|")
	for _, r := range row.FindAllStringSubmatch(string(doc), -1) {
		var labels []string
		for _, l := range regexp.MustCompile("`([a-z]+)`").FindAllStringSubmatch(r[3], -1) {
			labels = append(labels, l[1])
		}
		slices.Sort(labels)
		documented[r[1]] = r[2] + " " + strings.Join(labels, ",")
	}
	real := gathered(t)
	for name, is := range real {
		if documented[name] != is {
			t.Errorf("%s is %q, and docs/metrics.md says %q", name, is, documented[name])
		}
	}
	for name := range documented {
		if _, ok := real[name]; !ok {
			t.Errorf("docs/metrics.md has %s, and the program has not", name)
		}
	}
}

// TestAlertRules: the rules that are shipped are YAML of Prometheus' form, and name metrics that exist.
func TestAlertRules(t *testing.T) {
	data, err := os.ReadFile("../../deploy/prometheus/postern.rules.yml")
	if err != nil {
		t.Fatal(err)
	}
	var rules struct {
		Groups []struct {
			Name  string `yaml:"name"`
			Rules []struct {
				Alert       string            `yaml:"alert"`
				Expr        string            `yaml:"expr"`
				For         string            `yaml:"for"`
				Labels      map[string]string `yaml:"labels"`
				Annotations map[string]string `yaml:"annotations"`
			} `yaml:"rules"`
		} `yaml:"groups"`
	}
	if err := yaml.UnmarshalWithOptions(data, &rules, yaml.Strict()); err != nil {
		t.Fatal(err)
	}
	real := gathered(t)
	n := 0
	for _, g := range rules.Groups {
		for _, r := range g.Rules {
			n++
			if r.Alert == "" || r.Annotations["summary"] == "" || r.Annotations["description"] == "" || r.Labels["severity"] == "" {
				t.Errorf("%+v lacks a name, a summary, a description or a severity", r)
			}
			for _, name := range regexp.MustCompile(`postern_[a-z_]+`).FindAllString(r.Expr, -1) {
				base := name
				for _, suffix := range []string{"_bucket", "_sum", "_count"} {
					if cut, ok := strings.CutSuffix(name, suffix); ok && strings.HasPrefix(real[cut], "histogram") {
						base = cut
					}
				}
				if _, ok := real[base]; !ok {
					t.Errorf("%s names %s, which does not exist", r.Alert, name)
				}
			}
			if _, err := time.ParseDuration(r.For); r.For != "" && err != nil {
				t.Errorf("%s: %v", r.Alert, err)
			}
		}
	}
	if n < 10 {
		t.Errorf("only %d alerts", n)
	}
}
