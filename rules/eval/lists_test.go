package eval

import (
	"strings"
	"testing"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/filter/auth"
)

// linesOf makes Settings of lines.
func linesOf(t testing.TB, lines ...string) *Settings {
	t.Helper()
	pairs := make([][2]string, len(lines))
	for i, l := range lines {
		pairs[i][0], pairs[i][1], _ = strings.Cut(l, " ")
	}
	return settingsOf(t, pairs...)
}

func TestLists(t *testing.T) {
	s := linesOf(
		t, "welcomelist_from friend@x.example *@all.example", "whitelist_from old@x.example", "unwelcomelist_from old@x.example",
		"blacklist_from *@*.bad.example", "blocklist_to trap@me.example", "more_spam_to more@me.example", "all_spam_to all?@me.example",
		"welcomelist_to nice@me.example", "enlist_addrlist (PETS) *@dog.example cat@*", "welcomelist_from_rcvd *@bank.example bank.example",
		"welcomelist_from_rcvd *@net.example [192.0.2.0/24]", "def_welcomelist_from_rcvd *@def.example [192.0.2]",
		"welcomelist_allows_relays moved@bank.example", "welcomelist_subject *holiday*", "blocklist_subject viagra ?",
	)
	hop := received("a", "mx.bank.example", "192.0.2.1", "b.example", noon)
	away := received("a", "mx.other.example", "198.51.100.1", "b.example", noon)
	for _, c := range []struct {
		message string
		calls   []call
	}{
		{"From: Friend@X.example\n", []call{{"check_from_in_welcomelist", 1}, {"check_from_in_whitelist", 1}, {"check_from_in_blocklist", 0}}},
		{"From: a@all.example\n", []call{{"check_from_in_welcomelist", 1}}},
		{"From: old@x.example\n", []call{{"check_from_in_welcomelist", 0}}},
		{"From: a@b.bad.example\n", []call{{"check_from_in_blocklist", 1}, {"check_from_in_blacklist", 1}}},
		{"From: a@bad.example\n", []call{{"check_from_in_blocklist", 0}}},
		{"Resent-From: b@c.example\nFrom: friend@x.example\n", []call{{"check_from_in_welcomelist", 0}}},
		{"Return-Path: <friend@x.example>\nFrom: z@z.example\n", []call{{"check_from_in_welcomelist", 1}}},
		{"To: a@b.example, trap@me.example\n", []call{{"check_to_in_blocklist", 1}, {"check_to_in_welcomelist", 0}}},
		{"Cc: nice@me.example\n", []call{{"check_to_in_welcomelist", 1}, {"check_to_in_more_spam", 0}}},
		{"Delivered-To: more@me.example\n", []call{{"check_to_in_more_spam", 1}}},
		{"X-Original-To: all1@me.example\n", []call{{"check_to_in_all_spam", 1}}},
		{"Received: from a (b [192.0.2.1]) by c with SMTP id AB12 for <all2@me.example>; " + noon + "\n", []call{{"check_to_in_all_spam", 1}}},
		{"From: a@dog.example\nReply-To: cat@x.example\nTo: cat@y.example\n", []call{
			{"check_from_in_list PETS", 1}, {"check_replyto_in_list PETS", 1}, {"check_to_in_list PETS", 1}, {"check_from_in_list NONE", 0},
		}},
		{hop + "From: x@bank.example\n", []call{{"check_from_in_welcomelist", 1}, {"check_forged_in_welcomelist", 0}}},
		{away + "From: x@bank.example\n", []call{{"check_from_in_welcomelist", 0}, {"check_forged_in_welcomelist", 1}}},
		{away + "From: moved@bank.example\n", []call{{"check_forged_in_welcomelist", 0}}},
		{"From: x@bank.example\n", []call{{"check_from_in_welcomelist", 0}, {"check_forged_in_welcomelist", 0}}},
		{hop + "From: x@net.example\n", []call{{"check_from_in_welcomelist", 1}}},
		{hop + "From: x@def.example\n", []call{{"check_from_in_default_welcomelist", 1}, {"check_from_in_welcomelist", 0}}},
		{away + "From: x@def.example\n", []call{{"check_from_in_default_welcomelist", 0}, {"check_forged_in_default_welcomelist", 1}}},
		{hop + "Return-Path: <x@bank.example>\n", []call{{"check_mailfrom_matches_rcvd", 0}}}, // the field stands below a Received field
		{"Return-Path: <x@mail.bank.example>\n" + hop, []call{{"check_mailfrom_matches_rcvd", 1}}},
		{"Return-Path: <x@mail.bank.example>\n" + away, []call{{"check_mailfrom_matches_rcvd", 0}}},
		{"Subject: our Holiday plans\n", []call{{"check_subject_in_welcomelist", 1}, {"check_subject_in_blocklist", 0}}},
		{"Subject: buy Viagra X\n", []call{{"check_subject_in_blocklist", 1}, {"check_subject_in_blacklist", 1}}},
	} {
		m := mailOf(t, c.message+"\n")
		for _, f := range c.calls {
			if got := value(t, m, s, f.function); got != f.want {
				t.Errorf("%q: %s is %d", c.message, f.function, got)
			}
		}
	}
}

func TestGlobMatch(t *testing.T) {
	for _, c := range []struct {
		pattern, s string
		want       bool
	}{
		{"a*c", "abc", true},
		{"a*c", "ac", true},
		{"a*c", "acd", false},
		{"*@*.x", "a@b.x", true},
		{"*@*.x", "a@x", false},
		{"a?c", "abc", true},
		{"a?c", "ac", false},
		{"**", "", true},
		{"", "", true},
		{"", "a", false},
		{strings.Repeat("*a", 20) + "b", strings.Repeat("a", 5000), false},
		{"*?b", "ab", true},
	} {
		if globMatch(c.pattern, c.s) != c.want {
			t.Errorf("%.20q %.20q", c.pattern, c.s)
		}
	}
}

func TestFreemail(t *testing.T) {
	s := linesOf(
		t, "freemail_domains free.example Mail.* other.example", "freemail_domains y?.example bad/name", "freemail_whitelist ok@free.example",
		"freemail_max_body_emails 4", "freemail_max_body_freemails 3",
	)
	for _, c := range []struct {
		message string
		calls   []call
	}{
		{"From: a@free.example\n", []call{{"check_freemail_from", 1}, {`check_freemail_from \d@`, 0}}},
		{"From: a1@mail.com\n", []call{{"check_freemail_from", 1}, {`check_freemail_from \d@`, 1}}},
		{"From: a@mail.co.example\n", []call{{"check_freemail_from", 0}}},
		{"From: a@yz.example\n", []call{{"check_freemail_from", 1}}},
		{"From: ok@free.example\n", []call{{"check_freemail_from", 0}}},
		{"From: abuse@free.example\n", []call{{"check_freemail_from", 0}}},
		{"From: a@paid.example\nReply-To: b@free.example\n", []call{
			{"check_freemail_header Reply-To", 1}, {"check_freemail_header From", 0}, {"check_freemail_replyto", 0},
		}},
		{"From: a@other.example\nReply-To: b@free.example\n", []call{{"check_freemail_replyto replyto", 1}}},
		{"From: a@free.example\nReply-To: A@free.example\n", []call{{"check_freemail_replyto replyto", 0}}},
		{"Return-Path: <list-bounces@l.example>\nFrom: a@other.example\nReply-To: b@free.example\n", []call{{"check_freemail_replyto replyto", 0}}},
		{"From: a@paid.example\nReply-To: b@free.example\n\nwrite to c@other.com or c@mail.com today", []call{
			{"check_freemail_replyto replyto", 1}, {"check_freemail_body", 1}, {`check_freemail_body ^c@`, 1}, {`check_freemail_body ^d@`, 0},
		}},
		{"From: b@mail.com\n\nwrite to c@mail.com", []call{{"check_freemail_replyto reply", 1}, {"check_freemail_replyto replyto", 0}}},
		{"From: b@mail.com\n\nwrite to b@mail.com", []call{{"check_freemail_replyto reply", 0}}},
		{"From: b@mail.com\n\n<c@mail.com> wrote, and d@mail.com wrote: and http://x.com/?e@mail.com", []call{{"check_freemail_body", 0}}},
		{"From: b@mail.com\n\nmail c@mail.com fax: 1", []call{{"check_freemail_body", 1}}},
		{"From: b@mail.com\n\n1@mail.com 2@mail.com 3@mail.com", []call{{"check_freemail_body", 0}}},
		{"From: b@mail.com\n\n1@x.com 2@x.com 3@x.com 4@mail.com", []call{{"check_freemail_body", 0}}},
	} {
		message := c.message
		if !strings.Contains(message, "\n\n") {
			message += "\n"
		}
		m := mailOf(t, message+"\n")
		for _, f := range c.calls {
			if got := value(t, m, s, f.function); got != f.want {
				t.Errorf("%q: %s is %d", c.message, f.function, got)
			}
		}
	}
	m := mailOf(t, "From: a@free.example\n\n")
	if value(t, m, &Settings{}, "check_freemail_from") != 0 {
		t.Error("without domains there is free mail")
	}
}

func TestFindAddress(t *testing.T) {
	m := mailOf(t, "\n")
	for _, c := range []struct{ text, want string }{
		{"write a.b@c.com now", "a.b@c.com"},
		{".a@b.com.", "a@b.com"},
		{"a..b@c.com", "b@c.com"},
		{"a@b.c.d.e.com", "a@b.c.d.e.com"},
		{"a@b.c.d.e.f.com", ""},
		{"a@b.nosuchtld", ""},
		{"a@-b.com c@d.com", "c@d.com"},
		{"a@b", ""},
		{"@b.com", ""},
		{strings.Repeat("a", 65) + "@b.com", ""},
		{strings.Repeat("a", 40) + "." + strings.Repeat("b", 40) + "@b.com", strings.Repeat("b", 40) + "@b.com"},
		{"<a@b.com>", "a@b.com"},
		{"a@b.com.", "a@b.com"},
	} {
		got := ""
		if s, e, ok := findAddress([]byte(c.text), 0, m.Text.TopLevel()); ok {
			got = c.text[s:e]
		}
		if got != c.want {
			t.Errorf("%q has %q", c.text, got)
		}
	}
}

func TestSpoofedNames(t *testing.T) {
	s := linesOf(t, "fns_add_addrlist (BANK) *@bank.com *@bank-mail.com", "fns_ignore_headers X-List")
	for _, c := range []struct {
		message string
		calls   []call
	}{
		{"From: \"boss@firm.com\" <x@evil.com>\nTo: y@z.com\n", []call{
			{"check_fromname_contains_email", 1},
			{"check_fromname_spoof", 1},
			{"check_fromname_different", 1},
			{"check_fromname_domain_differ", 1},
			{"check_fromname_owners_differ", 1},
			{"check_fromname_equals_to", 0},
		}},
		{"From: \"x@evil.com\" <x@evil.com>\n", []call{{"check_fromname_spoof", 0}, {"check_fromname_different", 0}}},
		{"From: \"a@bank.com\" <b@bank-mail.com>\n", []call{{"check_fromname_domain_differ", 1}, {"check_fromname_owners_differ", 0}, {"check_fromname_spoof", 0}}},
		{"From: \"y@z.com\" <x@evil.com>\nTo: y@z.com\nReply-To: y@z.com\n", []call{{"check_fromname_equals_to", 1}, {"check_fromname_equals_replyto", 1}}},
		{"From: Joe <x@evil.com>\n", []call{{"check_fromname_contains_email", 0}, {"check_fromname_spoof", 0}}},
		{"X-List: 1\nFrom: \"boss@firm.com\" <x@evil.com>\n", []call{{"check_fromname_spoof", 0}}},
		{"From: \"" + strings.Repeat("word ", 20) + "boss@firm.com\" <x@evil.com>\n", []call{{"check_fromname_spoof", 0}, {"check_fromname_contains_email", 1}}},
	} {
		m := mailOf(t, c.message+"\n")
		for _, f := range c.calls {
			if got := value(t, m, s, f.function); got != f.want {
				t.Errorf("%q: %s is %d", c.message, f.function, got)
			}
		}
	}
}

// authFacts are what filters say of a message, and what functions make of it.
func TestAuthFunctions(t *testing.T) {
	s := linesOf(
		t, "welcomelist_auth *@good.example", "def_welcomelist_auth *@*.def.example", "welcomelist_from_spf x@spf.example",
		"welcomelist_from_dkim *@list.example signer.example", "adsp_override shop.example custom_med", "adsp_override *.all.example all",
	)
	const message = "Return-Path: <a@good.example>\nFrom: a@good.example\n\n"
	pass := auth.DKIM.Of([]auth.DKIMResult{{Result: auth.Pass, Domain: "good.example", KeyBits: 2048}})
	for _, c := range []struct {
		name, message string
		facts         []filter.Fact
		calls         []call
	}{
		{"nothing", message, nil, []call{
			{"check_for_spf_pass", 0},
			{"check_for_spf_none", 0},
			{"check_dkim_signed", 0},
			{"check_dkim_valid", 0},
			{"check_dkim_dependable", 0},
			{"check_dmarc_missing", 0},
			{"check_arc_signed", 0},
			{"check_for_spf_welcomelist_from", 0},
			{"check_spf_skipped_noenvfrom", 0},
		}},
		{"SPF", message, []filter.Fact{auth.SPF.Of(auth.SPFResult{Result: auth.Pass, Identity: "mailfrom", Mechanism: "ip4:192.0.2.1"})}, []call{
			{"check_for_spf_pass", 1},
			{"check_for_spf_fail", 0},
			{"check_for_spf_helo_pass", 0},
			{"check_for_spf_welcomelist_from", 1},
			{"check_for_spf_whitelist_from", 1},
			{"check_for_def_spf_welcomelist_from", 0},
		}},
		{"SPF fails", message, []filter.Fact{
			auth.SPF.Of(auth.SPFResult{Result: auth.SoftFail, Identity: "mailfrom"}), auth.HeloSPF.Of(auth.SPFResult{Result: auth.Fail, Identity: "helo"}),
		}, []call{{"check_for_spf_softfail", 1}, {"check_for_spf_helo_fail", 1}, {"check_for_spf_welcomelist_from", 0}}},
		{"SPF of HELO", message, []filter.Fact{auth.SPF.Of(auth.SPFResult{Result: auth.TempError, Identity: "helo"})}, []call{
			{"check_for_spf_temperror", 0}, {"check_for_spf_helo_temperror", 1},
		}},
		{"DKIM", message, []filter.Fact{pass}, []call{
			{"check_dkim_signed", 1},
			{"check_dkim_valid", 1},
			{"check_dkim_verified", 1},
			{"check_dkim_valid_author_sig", 1},
			{"check_dkim_valid_envelopefrom", 1},
			{"check_dkim_valid other.example", 0},
			{"check_dkim_valid other.example *.good.example", 1},
			{"check_dkim_dependable", 1},
			{"check_for_dkim_welcomelist_from", 1},
			{"check_for_def_dkim_welcomelist_from", 0},
			{"check_dkim_testing", 0},
		}},
		{"a weak key", message, []filter.Fact{auth.DKIM.Of([]auth.DKIMResult{{Result: auth.Pass, Domain: "good.example", KeyBits: 512, Testing: true}})}, []call{
			{"check_dkim_signed", 1}, {"check_dkim_valid", 0}, {"check_dkim_testing", 1},
		}},
		{"a list's signature", "From: a@list.example\n\n", []filter.Fact{auth.DKIM.Of([]auth.DKIMResult{{Result: auth.Pass, Domain: "signer.example"}})}, []call{
			{"check_dkim_valid", 1}, {"check_dkim_valid_author_sig", 0}, {"check_for_dkim_welcomelist_from", 1}, {"check_spf_skipped_noenvfrom", 1},
		}},
		{"no signature", "From: a@shop.example\n\n", []filter.Fact{auth.DKIM.Of(nil)}, []call{
			{"check_dkim_signed", 0}, {"check_dkim_adsp 2", 1}, {"check_dkim_adsp 1", 0}, {"check_dkim_adsp *", 1}, {"check_dkim_signall", 0},
		}},
		{"no signature below", "From: a@b.all.example\n\n", []filter.Fact{auth.DKIM.Of(nil)}, []call{{"check_dkim_adsp A", 1}, {"check_dkim_signall", 1}, {"check_dkim_signsome", 0}}},
		{"DMARC", message, []filter.Fact{auth.DMARC.Of(auth.DMARCResult{Result: auth.Pass, From: "good.example", Record: "v=DMARC1; p=reject", Policy: "reject"})}, []call{
			{"check_dmarc_pass", 1}, {"check_dmarc_reject", 0}, {"check_dmarc_missing", 0},
		}},
		{"DMARC fails", message, []filter.Fact{auth.DMARC.Of(auth.DMARCResult{Result: auth.Fail, From: "good.example", Record: "v=DMARC1; p=reject", Policy: "reject"})}, []call{
			{"check_dmarc_pass", 0}, {"check_dmarc_reject", 1}, {"check_dmarc_quarantine", 0}, {"check_dmarc_none", 0},
		}},
		{"no DMARC", message, []filter.Fact{auth.DMARC.Of(auth.DMARCResult{Result: auth.None, From: "good.example"})}, []call{{"check_dmarc_missing", 1}}},
		{"ARC", message, []filter.Fact{auth.ARC.Of(auth.ARCResult{Result: auth.Pass})}, []call{{"check_arc_signed", 1}, {"check_arc_valid", 1}}},
		{"broken ARC", message, []filter.Fact{auth.ARC.Of(auth.ARCResult{Result: auth.Fail})}, []call{{"check_arc_signed", 1}, {"check_arc_valid", 0}}},
	} {
		m := mailOf(t, c.message)
		if c.facts != nil {
			m.In = &filter.Input{Session: &filter.Session{}, Transaction: &filter.Transaction{}}
			m.In.Transaction.Record(c.facts...)
		}
		for _, f := range c.calls {
			if got := value(t, m, s, f.function); got != f.want {
				t.Errorf("%s: %s is %d", c.name, f.function, got)
			}
		}
	}
}
