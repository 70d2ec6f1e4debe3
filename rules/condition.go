package rules

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/postern-mail/postern/rules/eval"
)

// What files of rules may ask for before they say something: which SpamAssassin this stands in for.
const (
	versionNumber = 4.000001
	versionText   = "4.000001"
	perlVersion   = 5.036
)

const plugins = "Mail::SpamAssassin::Plugin::"

// defaultPlugins are those that Debian's SpamAssassin loads by default. Rules of the network plugins are read and do not run.
var defaultPlugins = wordSet(`URIDNSBL SPF Pyzor Razor2 SpamCop AutoLearnThreshold WelcomeListSubject MIMEHeader ReplaceTags DKIM Check
	HTTPSMismatch URIDetail Bayes BodyEval DNSEval HTMLEval HeaderEval MIMEEval RelayEval URIEval WLBLEval VBounce ImageInfo FreeMail
	AskDNS HashBL DMARC RaciallyCharged`)

// otherPlugins are those of SpamAssassin that Debian's does not load by default.
var otherPlugins = wordSet(`ASN AWL AccessDB AntiVirus AuthRes BodyRuleBaseExtractor DCC DecodeShortURLs ExtractText FromNameSpoof OLEVBMacro
	OneLineBodyRuleType P595Body PDFInfo PhishTag Phishing RelayCountry ResourceLimits Reuse Rule2XSBody Shortcircuit Test TextCat TxRep URILocalBL`)

// OtherPlugins lists the plugins of SpamAssassin that Debian's does not load by default, and that Options.Plugins may so be meant to name.
func OtherPlugins() []string { return slices.Sorted(maps.Keys(otherPlugins)) }

// KnowsPlugin reports whether a plugin is one of SpamAssassin's, or one that the files have asked for.
func (s *Set) KnowsPlugin(name string) bool {
	return defaultPlugins[name] || otherPlugins[name] || s.wanted[name]
}

// features are what can() and has() say yes to, as in SpamAssassin with these plugins; see hollow for those that do nothing here. Of plugins
// that are not loaded nothing is there.
var features = wordSet(`
	Mail::SpamAssassin::Conf::feature_originating_ip_headers
	Mail::SpamAssassin::Conf::feature_dns_local_ports_permit_avoid
	Mail::SpamAssassin::Conf::feature_bayes_auto_learn_on_error
	Mail::SpamAssassin::Conf::feature_uri_host_listed
	Mail::SpamAssassin::Conf::feature_yesno_takes_args
	Mail::SpamAssassin::Conf::feature_bug6558_free
	Mail::SpamAssassin::Conf::feature_edns
	Mail::SpamAssassin::Conf::feature_dns_query_restriction
	Mail::SpamAssassin::Conf::feature_registryboundaries
	Mail::SpamAssassin::Conf::feature_geodb
	Mail::SpamAssassin::Conf::feature_dns_block_rule
	Mail::SpamAssassin::Conf::feature_compile_regexp
	Mail::SpamAssassin::Conf::feature_meta_rules_matching
	Mail::SpamAssassin::Conf::feature_subjprefix
	Mail::SpamAssassin::Conf::feature_bayes_stopwords
	Mail::SpamAssassin::Conf::feature_get_host
	Mail::SpamAssassin::Conf::feature_blocklist_welcomelist
	Mail::SpamAssassin::Conf::feature_welcomelist_blocklist
	Mail::SpamAssassin::Conf::compat_welcomelist_blocklist
	Mail::SpamAssassin::Conf::feature_header_address_parser
	Mail::SpamAssassin::Conf::feature_local_tests_only
	Mail::SpamAssassin::Conf::feature_header_first_last
	Mail::SpamAssassin::Conf::feature_header_match_many
	Mail::SpamAssassin::Conf::feature_capture_rules
	Mail::SpamAssassin::Conf::has_tflags_nosubject
	Mail::SpamAssassin::Conf::has_tflags_nolog
	Mail::SpamAssassin::Conf::perl_min_version_5010000
	Mail::SpamAssassin::Plugin::BodyEval::has_check_body_length
	Mail::SpamAssassin::Plugin::BodyEval::has_plaintext_body_sig_ratio
	Mail::SpamAssassin::Plugin::MIMEEval::has_check_abundant_unicode_ratio
	Mail::SpamAssassin::Plugin::MIMEEval::has_check_for_ascii_text_illegal
	Mail::SpamAssassin::Plugin::MIMEEval::has_check_qp_ratio
	Mail::SpamAssassin::Plugin::HashBL::has_hashbl_attachments
	Mail::SpamAssassin::Plugin::HashBL::has_hashbl_bodyre
	Mail::SpamAssassin::Plugin::HashBL::has_hashbl_bodyre_num
	Mail::SpamAssassin::Plugin::HashBL::has_hashbl_email_domain
	Mail::SpamAssassin::Plugin::HashBL::has_hashbl_email_domain_alias
	Mail::SpamAssassin::Plugin::HashBL::has_hashbl_email_regex
	Mail::SpamAssassin::Plugin::HashBL::has_hashbl_email_welcomelist
	Mail::SpamAssassin::Plugin::HashBL::has_hashbl_email_whitelist
	Mail::SpamAssassin::Plugin::HashBL::has_hashbl_emails
	Mail::SpamAssassin::Plugin::HashBL::has_hashbl_ignore
	Mail::SpamAssassin::Plugin::HashBL::has_hashbl_sha256
	Mail::SpamAssassin::Plugin::HashBL::has_hashbl_tag
	Mail::SpamAssassin::Plugin::HashBL::has_hashbl_uris
	Mail::SpamAssassin::Plugin::Pyzor::has_fork
	Mail::SpamAssassin::Plugin::Pyzor::has_perl
	Mail::SpamAssassin::Plugin::Razor2::has_fork
	Mail::SpamAssassin::Plugin::MIMEHeader::has_capture_rules
	Mail::SpamAssassin::Plugin::MIMEHeader::has_all_header
	Mail::SpamAssassin::Plugin::MIMEHeader::has_tflags_range
	Mail::SpamAssassin::Plugin::MIMEHeader::has_tflags_concat
	Mail::SpamAssassin::Plugin::MIMEHeader::has_tflags_multiple
	Mail::SpamAssassin::Plugin::DKIM::has_arc
	Mail::SpamAssassin::Plugin::SPF::has_check_for_spf_errors
	Mail::SpamAssassin::Plugin::SPF::has_check_spf_skipped_noenvfrom
	Mail::SpamAssassin::Plugin::URIDNSBL::has_tflags_domains_only
	Mail::SpamAssassin::Plugin::URIDNSBL::has_subtest_for_ranges
	Mail::SpamAssassin::Plugin::URIDNSBL::has_uridnsbl_for_a
	Mail::SpamAssassin::Plugin::URIDNSBL::has_uridnsbl_a_ns
	Mail::SpamAssassin::Plugin::URIDNSBL::has_tflags_notrim
	Mail::SpamAssassin::Plugin::URIDNSBL::has_uridnsbl_skip_mailto
	Mail::SpamAssassin::Plugin::DNSEval::has_tflags_domains_only
	Mail::SpamAssassin::Plugin::DNSEval::has_tflags_ips_only
	Mail::SpamAssassin::Plugin::AskDNS::has_tag_header
	Mail::SpamAssassin::Plugin::URIDetail::has_host_key`)

// plugin reports whether a plugin counts as loaded.
func (o *Options) plugin(name string) bool {
	short, ok := strings.CutPrefix(name, plugins)
	switch short {
	case "Dmarc":
		short = "DMARC"
	case "WhiteListSubject":
		short = "WelcomeListSubject"
	}
	return ok && (defaultPlugins[short] || slices.Contains(o.Plugins, short))
}

// condition says whether what stands behind an if holds. It tells asked which names plugin(), can() and has() were said yes to, and to which
// methods it said no without knowing.
func (o *Options) condition(s string, asked func(name string, yes bool)) (bool, error) {
	all, _ := tokens(s)
	c := &compiler{tokens: all, name: func(c *compiler, name string) error {
		switch name {
		case "version":
			c.number(versionNumber)
		case "perl_version":
			c.number(perlVersion)
		case "local_tests_only":
			c.number(truth(!o.Network))
		case "plugin", "can", "has":
			arg, err := c.argument()
			if err != nil {
				return err
			}
			yes, known := o.plugin(arg), true
			if name != "plugin" {
				if yes, known, err = o.method(arg, name == "has"); err != nil {
					return err
				}
			}
			if yes || !known {
				asked(arg, yes)
			}
			c.number(truth(yes))
		default:
			return fmt.Errorf("%q cannot be asked for: version, perl_version, local_tests_only, plugin(), can() and has() can", cut(name, 60))
		}
		return nil
	}}
	code, err := c.compile()
	if err != nil {
		return false, err
	}
	v, _ := value(code, nil)
	return v != 0, nil
}

// method reports whether SpamAssassin has a method, and whether that is known: of those that were made to be asked for, and of functions of
// plugins that rules can call.
func (o *Options) method(name string, has bool) (yes, known bool, err error) {
	i := strings.LastIndex(name, "::")
	if i < 0 {
		return false, true, fmt.Errorf("%q is no method of a module, such as %sfeature_capture_rules", cut(name, 60), conf)
	}
	module, method := name[:i], name[i+2:]
	switch {
	case features[name]:
		return true, true, nil
	case strings.HasPrefix(module, plugins) && !o.plugin(module):
		return false, true, nil
	case strings.HasPrefix(method, "has_") || strings.HasPrefix(method, "feature_"):
		return false, true, nil
	}
	_, callable := eval.Functions()[method]
	callable = callable && has && strings.HasPrefix(module, plugins)
	return callable, callable, nil
}

// argument takes "(NAME)".
func (c *compiler) argument() (string, error) {
	if c.at+2 >= len(c.tokens) || c.tokens[c.at] != "(" || c.tokens[c.at+2] != ")" {
		return "", errors.New("a name in parentheses is missing")
	}
	c.at += 3
	return c.tokens[c.at-2], nil
}
