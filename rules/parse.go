package rules

import (
	"bytes"
	"errors"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/postern-mail/postern/rules/eval"
	"github.com/postern-mail/postern/rules/text"
)

// Bounds on what files of rules may hold. Stock SpamAssassin has 24 000 lines, 3 000 rules and lines of up to 10 KB.
const (
	maxOctets   = 64 << 20  // of all files together
	maxLine     = 256 << 10 // octets of a line
	maxRules    = 50_000
	maxPattern  = 1 << 20 // octets of a pattern, after replace_tags
	maxIfs      = 100     // levels of if
	maxIncludes = 10      // levels of include
	maxName     = 100     // octets of a rule's name
	maxProblems = 10_000  // that are told; the rest is counted in the last one
)

// errTooMuch ends the loading of files that pass a bound.
var errTooMuch = errors.New("rules: too much")

// definition is a rule as written, and not compiled yet.
type definition struct {
	name  string
	class Class
	text  string
	at    Position
	asks  bool  // it is of askdns
	links bool  // it is of uri_detail
	word  Class // that of the keyword
	own   bool  // it came with the program
}

// TestLine is a line "test NAME ok|fail TEXT" of a file: a text that a rule has to match, or must not.
type TestLine struct {
	At   Position
	Rule string
	Hit  bool
	Text string
}

// loader reads sources into tables; what lines mean together is found out when all are read.
type loader struct {
	o        Options
	settings *eval.Settings
	problems []Problem
	untold   int // problems beyond maxProblems
	octets   int

	rules        map[string]*definition
	order        []string // names in the order of their first definition
	scores       map[string][4]float64
	descriptions map[string]string
	flags        map[string][]string
	priorities   map[string]int
	replace      replacement
	lookups      map[string]lookup // by rule: what check_uridnsbl asks
	unasked      map[string]bool   // domains of uridnsbl_skip_domain
	networks     map[string]text.Networks
	networksAt   map[string][]Position // of each of them
	mentioned    map[mention]Position  // the first line of each keyword that names a rule
	passed       map[string]bool       // rules behind an if that does not hold
	wanted       map[string]bool       // plugins that files have asked for and got
	tests        []TestLine
	untaken      map[string]bool // keywords of data that nothing reads
}

func newLoader(o Options) *loader {
	return &loader{
		o: o, settings: &eval.Settings{}, rules: map[string]*definition{}, scores: map[string][4]float64{},
		descriptions: map[string]string{}, flags: map[string][]string{}, priorities: map[string]int{}, replace: newReplacement(),
		lookups: map[string]lookup{}, unasked: map[string]bool{}, networks: map[string]text.Networks{}, networksAt: map[string][]Position{},
		mentioned: map[mention]Position{}, passed: map[string]bool{}, wanted: map[string]bool{},
	}
}

// tell records a problem.
func (l *loader) tell(at Position, s Severity, rule, format string, args ...any) {
	if len(l.problems) >= maxProblems {
		l.untold++
		return
	}
	what := fmt.Sprintf(format, args...)
	l.problems = append(l.problems, Problem{Position: at, Severity: s, Rule: rule, What: cut(what, 300)})
}

// protects marks what was told last where its line was to say whom our own rules protect.
func (l *loader) protects(at Position, key string) {
	if !strings.HasPrefix(key, "postern_") {
		return
	}
	if l.untold > 0 { // it was not told: that which was told last is given up for it
		l.problems[len(l.problems)-1] = Problem{Position: at, Severity: Fault, What: cut(key, 60) + ": the line is wrong"}
	}
	l.problems[len(l.problems)-1].Protects = true
}

// cut shortens a text for people.
func cut(s string, most int) string {
	if len(s) <= most {
		return s
	}
	return s[:most] + "…"
}

// reader is the state of reading one file.
type reader struct {
	*loader
	at   Position
	own  bool // the file came with the program
	ifs  []condition
	skip bool

	within []string // the files that include one another, this one last
}

// condition is one open if: what held before it, and where it stands.
type condition struct {
	skip bool
	at   Position
}

// read takes in one source, which these files include, the outermost first. Its ifs end with it.
func (l *loader) read(src Source, within []string) error {
	if l.octets += len(src.Octets); l.octets > maxOctets {
		return fmt.Errorf("%w: more than %d octets of files, at %s", errTooMuch, maxOctets, src.Name)
	}
	r := &reader{loader: l, at: Position{File: src.Name}, own: src.own, within: append(slices.Clip(within), path.Clean(src.Name))}
	for rest := src.Octets; len(rest) > 0; {
		var line []byte
		line, rest, _ = bytes.Cut(rest, []byte{'\n'})
		r.at.Line++
		if len(line) > maxLine {
			l.tell(r.at, Fault, "", "a line of %d octets: at most %d are read", len(line), maxLine)
			continue
		}
		if err := r.line(string(line)); err != nil {
			return err
		}
		if len(l.rules) > maxRules {
			return fmt.Errorf("%w: more than %d rules, at %s", errTooMuch, maxRules, r.at)
		}
	}
	for _, c := range r.ifs {
		l.tell(c.at, Fault, "", "this if has no endif")
	}
	return nil
}

// uncomment takes the comment off a line: from a # on that has no backslash before it; \# stands for #.
func uncomment(s string) string {
	for i := 0; i < len(s); i++ {
		if s[i] == '#' && (i == 0 || s[i-1] != '\\') {
			s = s[:i]
			break
		}
	}
	return strings.ReplaceAll(s, `\#`, "#")
}

// space is what Perl's \s stands for in these files.
const space = " \t\r\n\v\f"

// word takes the first word off a text.
func word(s string) (first, rest string) {
	s = strings.TrimLeft(s, space)
	i := strings.IndexAny(s, space)
	if i < 0 {
		return s, ""
	}
	return s[:i], strings.TrimLeft(s[i:], space)
}

// language is whose descriptions and lines are taken; others are passed over.
const language = "en_us"

// line takes in one line.
func (r *reader) line(s string) error {
	if strings.IndexByte(s, '#') >= 0 {
		s = uncomment(s)
	}
	s = strings.Trim(s, space)
	if s == "" {
		return nil
	}
	key, value := word(s)
	if key == "lang" {
		var of string
		if of, s = word(value); !strings.HasPrefix(language, strings.ToLower(of)) {
			return nil
		}
		key, value = word(s)
	}
	key = strings.ReplaceAll(strings.ToLower(key), "-", "_")
	if r.conditional(key, value) {
		return nil
	}
	if r.skip {
		if _, ok := definers[key]; ok && len(r.passed) < maxRules {
			name, _ := word(value)
			r.passed[name] = true
		}
		return nil
	}
	if key == "include" {
		return r.include(value)
	}
	r.setting(key, value)
	return nil
}

// conditional handles the lines that switch others on and off.
func (r *reader) conditional(key, value string) bool {
	switch key {
	case "if", "ifplugin":
		if len(r.ifs) >= maxIfs {
			r.tell(r.at, Fault, "", "more than %d ifs within one another", maxIfs)
			r.skip = true
			return true
		}
		holds, err := r.holds(key, value)
		if err != nil {
			r.tell(r.at, Fault, "", "%s: %v: the line is not taken, and what follows is read as if it were not there", key, err)
			return true
		}
		r.ifs = append(r.ifs, condition{r.skip, r.at})
		r.skip = r.skip || !holds
	case "else", "endif":
		switch {
		case value != "":
			r.tell(r.at, Fault, "", "%s: nothing may follow, and %q does: the line is not taken", key, cut(value, 60))
		case len(r.ifs) == 0:
			r.tell(r.at, Fault, "", "%s without if", key)
		case key == "else":
			blocked := slices.ContainsFunc(r.ifs, func(c condition) bool { return c.skip })
			r.skip = blocked || !r.skip
		default:
			r.skip = r.ifs[len(r.ifs)-1].skip
			r.ifs = r.ifs[:len(r.ifs)-1]
		}
	case "require_version":
		switch {
		case r.skip:
		case value == "":
			r.tell(r.at, Fault, "", "require_version: the version is missing")
		case value != "@@VERSION@@" && value != versionText:
			r.tell(r.at, Inexact, "", "the rest of the file is passed over: it requires version %s, and this stands in for %s", value, versionText)
			r.skip = true
		}
	default:
		return false
	}
	return true
}

// holds says whether the condition of an if or ifplugin does.
func (r *reader) holds(key, value string) (bool, error) {
	if value == "" {
		return false, errors.New("it does not say what for")
	}
	if key == "ifplugin" {
		value = "plugin(" + value + ")"
	}
	return r.o.condition(value, func(name string, yes bool) {
		if short, ok := strings.CutPrefix(name, plugins); ok && yes {
			r.wanted[short] = true
		}
		switch why := hollow[name]; {
		case r.skip:
		case !yes:
			r.once(Inexact, name, "whether SpamAssassin has %s is not known here: no is the answer", cut(name, 100))
		case why != "":
			r.once(Note, name, "%s counts as being here, as in Debian's SpamAssassin: %s", name, why)
		}
	})
}

// include reads another file in place of a line.
func (r *reader) include(name string) error {
	if r.o.Open == nil {
		r.tell(r.at, Fault, "", "include %s: no file can be included here", name)
		return nil
	}
	if !path.IsAbs(name) {
		name = path.Join(path.Dir(r.at.File), name)
	}
	if slices.Contains(r.within, path.Clean(name)) {
		r.tell(r.at, Fault, "", "include %s: it would include itself", name)
		return nil
	}
	if len(r.within) > maxIncludes {
		r.tell(r.at, Fault, "", "include %s: more than %d files within one another", name, maxIncludes)
		return nil
	}
	octets, err := r.o.Open(name)
	if err != nil {
		r.tell(r.at, Fault, "", "include: %v", err)
		return nil
	}
	return r.read(Source{Name: name, Octets: octets}, r.within)
}

var ruleName = regexp.MustCompile(`^[_a-zA-Z][_a-zA-Z0-9]*$`)

// name takes the rule's name off a value.
func (r *reader) name(key, value string) (name, rest string, ok bool) {
	name, rest = word(value)
	switch {
	case name == "":
		r.tell(r.at, Fault, "", "%s: the name of a rule is missing", key)
	case !ruleName.MatchString(name):
		r.tell(r.at, Fault, "", "%s: %q is no name of a rule: letters, digits and _ only, no digit first", key, cut(name, 60))
	case len(name) > maxName:
		r.tell(r.at, Fault, "", "%s: the name %q has more than %d octets", key, cut(name, 60), maxName)
	default:
		return name, rest, true
	}
	return "", "", false
}

// setting handles the lines that define rules, speak of them, or set what functions read.
func (r *reader) setting(key, value string) {
	if class, ok := definers[key]; ok {
		if name, text, ok := r.name(key, value); ok {
			r.define(key, class, name, text)
		}
		return
	}
	if lookupKeys[key] {
		if name, text, ok := r.name(key, value); ok {
			r.mentions(key, name)
			r.lookups[name] = lookup{key, strings.Fields(text)}
		}
		return
	}
	if key == "uridnsbl_skip_domain" || key == "clear_uridnsbl_skip_domain" {
		r.skipped(value, key == "uridnsbl_skip_domain")
		return
	}
	if about, ok := abouts[key]; ok {
		if name, rest, ok := r.name(key, value); ok {
			r.mentions(key, name)
			about(r, name, rest)
		}
		return
	}
	if known, err := r.replace.set(key, value); known {
		if err != nil {
			r.tell(r.at, Fault, "", "%s: %v", key, err)
		}
		if key == "replace_rules" {
			for name := range strings.FieldsSeq(value) {
				r.mentions(key, name)
			}
		}
		return
	}
	if r.network(key, value) {
		return
	}
	known, err := r.settings.Add(key, value, r.at)
	switch {
	case err != nil:
		r.tell(r.at, Fault, "", "%s: %v", key, err)
		r.protects(r.at, key)
	case known:
	case key == "loadplugin" || key == "tryplugin":
		if plugin, _ := word(value); !r.o.plugin(plugin) {
			r.tell(r.at, Inexact, "", "the plugin %s is not here, and its functions are not", cut(plugin, 100))
		}
	case dataKeys[strings.TrimPrefix(key, "def_")]:
		r.unread(key)
	case idle(key):
		r.idling(key, value)
	default:
		r.tell(r.at, Fault, "", "%q is no keyword", cut(key, 60))
		r.protects(r.at, key)
	}
}

// definers are the keywords that define a rule.
var definers = map[string]Class{
	"header": Header, "body": Body, "uri": URI, "rawbody": RawBody, "full": Full, "mimeheader": MIMEHeader, "meta": Meta,
	"askdns": Network, "uri_detail": URI,
}

// maxSkipped bounds the domains that links are not asked about.
const maxSkipped = 10_000

// skipped takes in domains that links are not asked about, or takes them out again: all, where none is named.
func (r *reader) skipped(value string, in bool) {
	domains := strings.Fields(strings.ToLower(value))
	if !in && len(domains) == 0 {
		clear(r.unasked)
	}
	for _, d := range domains {
		switch {
		case !in:
			delete(r.unasked, d)
		case len(r.unasked) < maxSkipped:
			r.unasked[d] = true
		}
	}
}

// define records a rule; of several definitions that can be taken the last counts.
func (r *reader) define(key string, class Class, name, text string) {
	if text == "" {
		r.tell(r.at, Fault, name, "it does not say what to look for")
		return
	}
	d := &definition{name: name, class: class, word: class, text: text, at: r.at, own: r.own, asks: key == "askdns", links: key == "uri_detail"}
	if fn, ok := strings.CutPrefix(strings.TrimPrefix(text, "rbl"), "eval:"); ok && class != Meta && class != MIMEHeader && !d.asks && !d.links {
		d.class, d.text = Eval, fn
		if strings.HasPrefix(fn, "check_rbl") || strings.HasPrefix(fn, "check_dns") || strings.HasPrefix(fn, "check_uridnsbl") {
			d.class = Network
		}
	}
	earlier, again := r.rules[name]
	err := r.valid(d)
	if err == nil && again {
		err = r.takes(d)
	}
	switch {
	case err != nil && again:
		r.tell(r.at, Fault, name, "the line is not taken, and what %s says stays: %v", earlier.at, err)
		return
	case err != nil:
		r.tell(r.at, Fault, name, "%v", err)
		return
	case !again:
		r.order = append(r.order, name)
	}
	r.rules[name] = d
}

// Keywords that SpamAssassin has for reports, its own learner, its daemons and network tests: nothing here goes by them.
var (
	idleKeys = wordSet(`reuse use_bayes use_bayes_rules use_learner use_pyzor use_razor2 use_dcc use_auto_welcomelist use_auto_whitelist
		use_txrep use_ixhash add_header remove_header clear_headers rewrite_header report_safe report_contact report_hostname report_charset
		report unsafe_report report_safe_copy_headers report_wrap_width clear_report_template clear_unsafe_report_template envelope_sender_header
		required_score required_hits ok_locales ok_languages lang subjprefix priority_default normalize_charset lock_method time_limit
		allow_user_rules user_scores_dsn skip_rbl_checks skip_uribl_checks dns_available dns_test_interval dns_server
		dns_local_ports_permit dns_local_ports_avoid dns_local_ports_none dns_options dns_query_restriction clear_dns_query_restriction
		clear_dns_servers clear_originating_ip_headers originating_ip_headers always_trust_envelope_sender fns_check fns_add_addrlist
		fns_remove_addrlist fns_ignore_dkim fns_ignore_headers fns_extrachars asn_lookup asn_lookup_ipv6 clear_asn_lookups asn_use_geodb
		asn_prefer_geodb asn_use_dns url_shortener_get clear_url_shortener version_tag mbox_format_from_regex geodb_module geodb_options
		geodb_search_path country_db_type country_db_path dcc_path dcc_home pyzor_path pyzor_timeout razor_timeout redirector_pattern
		dns_block_rule adsp_override user_awl_sql_override_username score_set_default ifplugin
		enable_compat disable_compat ignore_always_matching_regexps welcomelist_subject_dummy textcat_optimal_ngrams
		inactive_languages language_test_max rbl_timeout resource_limit_cpu resource_limit_mem asn_prefix clear_dns_query_restrictions
		dccifd_options dmarc_save_reports dns_block_time do_not_use_mail_spf do_not_use_mail_spf_query fold_headers ignore_received_spf_header
		use_newest_received_spf_header max_short_url_redirections max_short_urls parse_dkim_uris rbl_headers run_reuse_tests_only
		textcat_acceptable_score textcat_max_languages textcat_max_ngrams trigger_config trigger_ratio trigger_target uri_country_db_isp_path
		uri_country_db_path use_dcc_rep`)
	idlePrefixes = []string{
		"bayes_", "auto_welcomelist_", "auto_whitelist_", "txrep_", "hashbl_", "uridnsbl_", "dcc_", "pyzor_", "razor_", "spamcop_",
		"autolearn_", "dkim_", "spf_", "phishing_", "shortcircuit_", "user_", "url_shortener_", "extracttext_", "resource_limit_",
		"authres_", "olemacro_", "uri_block_",
	}
)

// dataKeys set what functions go by. Where no function here reads one, that is told once.
var dataKeys = wordSet(`util_rb_tld util_rb_2tld util_rb_3tld clear_util_rb freemail_domains freemail_whitelist freemail_welcomelist
	freemail_import_whitelist_auth freemail_import_welcomelist_auth freemail_import_def_whitelist_auth freemail_import_def_welcomelist_auth
	freemail_add_describe_email freemail_skip_bulk_envfrom freemail_skip_when_over_max freemail_max_body_emails freemail_max_body_freemails
	enlist_uri_host delist_uri_host enlist_addrlist blacklist_uri_host blocklist_uri_host whitelist_uri_host welcomelist_uri_host
	url_shortener welcomelist_from whitelist_from unwelcomelist_from unwhitelist_from welcomelist_from_rcvd whitelist_from_rcvd
	unwelcomelist_from_rcvd unwhitelist_from_rcvd welcomelist_allows_relays whitelist_allows_relays welcomelist_to whitelist_to more_spam_to
	all_spam_to blocklist_from blacklist_from unblocklist_from unblacklist_from blocklist_to blacklist_to welcomelist_auth whitelist_auth
	unwelcomelist_auth unwhitelist_auth welcomelist_from_dkim whitelist_from_dkim unwelcomelist_from_dkim unwhitelist_from_dkim
	welcomelist_from_spf whitelist_from_spf unwelcomelist_from_spf unwhitelist_from_spf welcomelist_bounce_relays whitelist_bounce_relays
	welcomelist_subject whitelist_subject blocklist_subject blacklist_subject body_part_scan_size rawbody_part_scan_size`)

// unread tells that the lines of a keyword do nothing, once.
func (r *reader) unread(key string) {
	r.once(Inexact, key, "%s does nothing here, on this line and on those to come", key)
}

// idle reports whether a keyword is one of SpamAssassin's that does nothing here.
func idle(key string) bool {
	return idleKeys[key] || slices.ContainsFunc(idlePrefixes, func(p string) bool { return strings.HasPrefix(key, p) })
}

func wordSet(s string) map[string]bool {
	m := map[string]bool{}
	for w := range strings.FieldsSeq(s) {
		m[w] = true
	}
	return m
}
