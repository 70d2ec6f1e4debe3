package rules

import "strings"

// idleReason says why keywords of SpamAssassin do nothing here.
type idleReason struct {
	severity Severity // Inexact where verdicts hang on it
	why      string
	keys     map[string]bool
	prefixes []string
	neutral  string // a value with which nothing differs
}

// idleReasons are looked through in their order.
var idleReasons = []idleReason{
	{Inexact, "charsets and languages are not held against anybody, and rules about foreign ones never hit", wordSet("ok_locales ok_languages inactive_languages"), nil, "all"},
	{Inexact, "the filter's key scores says whether the network is asked", wordSet("skip_rbl_checks skip_uribl_checks"), nil, "0"},
	{Inexact, "texts are read in their charset always", wordSet("normalize_charset"), nil, "1"},
	{Inexact, "all lists are asked that rules name", wordSet("dns_query_restriction clear_dns_query_restriction clear_dns_query_restrictions dns_block_time"), nil, ""},
	{Inexact, "subjects are marked by the policy's key subject, whatever rule hits", wordSet("subjprefix"), nil, ""},
	{Inexact, "what reads it is not here", wordSet("country_db_type country_db_path disable_compat uri_country_db_isp_path uri_country_db_path run_reuse_tests_only"), []string{"authres_", "olemacro_", "uri_block_", "asn_", "clear_asn_", "geodb_", "extracttext_", "phishing_", "language_test", "textcat_", "txrep_"}, ""},
	{Inexact, "no link is followed", wordSet("clear_url_shortener max_short_url_redirections max_short_urls"), []string{"url_shortener_"}, ""},
	{Inexact, "the policies' keys tag, quarantine and reject say what a score leads to", wordSet("required_score required_hits"), nil, "5"},
	{Note, "the filter bayes learns, and has settings of its own", wordSet("use_bayes use_bayes_rules use_learner"), []string{"bayes_", "autolearn_"}, ""},
	{Note, "no history of senders is kept", wordSet("use_auto_welcomelist use_auto_whitelist use_txrep"), []string{"auto_welcomelist_", "auto_whitelist_"}, ""},
	{Note, "that service is not asked", wordSet("use_pyzor use_razor2 use_dcc use_dcc_rep use_ixhash dccifd_options"), []string{"dcc_", "pyzor_", "razor_", "hashbl_", "spamcop_"}, ""},
	{Note, "the gateway's resolver is asked, as its configuration says", wordSet("rbl_timeout clear_dns_servers"), []string{"dns_"}, ""},
	{Note, "check_rbl_headers, which reads it, is not here", wordSet("rbl_headers"), nil, ""},
	{Inexact, "the domains of signatures are links", wordSet("parse_dkim_uris"), nil, "1"},
	{Note, "what the filters spf, dkim and dmarc have found counts", wordSet("ignore_received_spf_header use_newest_received_spf_header do_not_use_mail_spf do_not_use_mail_spf_query"), []string{"spf_", "dkim_", "dmarc_"}, ""},
	{Note, "all rules run, whatever the others say", nil, []string{"shortcircuit_"}, ""},
	{Note, "the gateway knows the envelope", wordSet("envelope_sender_header always_trust_envelope_sender"), nil, ""},
}

// noReason stands for the rest: reports, added fields, users and daemons.
var noReason = idleReason{why: "it is of SpamAssassin's own reports, added fields, users or programs"}

// idling tells of a keyword that does nothing here, once.
func (r *reader) idling(key, value string) {
	reason := &noReason
	for i := range idleReasons {
		of := &idleReasons[i]
		match := of.keys[key]
		for _, p := range of.prefixes {
			match = match || strings.HasPrefix(key, p)
		}
		if match {
			reason = of
			break
		}
	}
	if reason.neutral != "" && strings.TrimSpace(value) == reason.neutral {
		return
	}
	r.once(reason.severity, key, "%s does nothing here, on this line and on those to come: %s", key, reason.why)
}

// once tells something of a name that has not been told of it before.
func (r *reader) once(s Severity, name, format string, args ...any) {
	if r.untaken == nil {
		r.untaken = map[string]bool{}
	}
	if !r.untaken[name] {
		r.untaken[name] = true
		r.tell(r.at, s, "", format, args...)
	}
}

// hollow are what can() and plugin() say yes to, so that files take the branches that they take in Debian's SpamAssassin, though what they
// stand for does nothing here.
var hollow = map[string]string{
	conf + "feature_dns_local_ports_permit_avoid": "the gateway's resolver is asked, as its configuration says",
	conf + "feature_dns_query_restriction":        "all lists are asked that rules name",
	conf + "feature_dns_block_rule":               "no list is left out because of what it answered",
	conf + "feature_edns":                         "the gateway's resolver is asked, as its configuration says",
	conf + "feature_bayes_auto_learn_on_error":    "the filter bayes learns, and has settings of its own",
	conf + "feature_bayes_stopwords":              "the filter bayes learns, and has settings of its own",
	conf + "feature_yesno_takes_args":             "nothing here writes SpamAssassin's reports",
	conf + "feature_geodb":                        "no place of an address is looked up",
	conf + "feature_subjprefix":                   "subjects are marked by the policy's key subject",
	plugins + "Pyzor":                             "that service is not asked, and its rules never hit",
	plugins + "Razor2":                            "that service is not asked, and its rules never hit",
	plugins + "SpamCop":                           "nothing is reported to it",
	plugins + "HashBL":                            "those lists are not asked, and its rules never hit",
	plugins + "Bayes":                             "the filter bayes learns, and its findings are no rules",
	plugins + "AutoLearnThreshold":                "the filter bayes learns, and has settings of its own",
}

const conf = "Mail::SpamAssassin::Conf::"
