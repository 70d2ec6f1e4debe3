package dmarc

import (
	"fmt"
	"slices"
	"time"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/filter/auth"
	"github.com/postern-mail/postern/mail"
)

// The reasons for another handling than the one asked for, in the words of RFC 9990 (PolicyOverrideType).
const (
	byLocalPolicy = "local_policy"
	byList        = "mailing_list"
	byForwarder   = "trusted_forwarder"
	byTestMode    = "policy_test_mode"
)

// requested is the handling that somebody asks for.
type requested struct {
	effective string // none, quarantine, reject
	override  string // why it is not the one in the record
	ordered   bool   // by the configuration, to the letter
	ignored   bool
}

// requested gives the handling that the domain, or the configuration in its place, asks for.
func (c *check) requested(e evaluation) requested {
	policy := e.policy
	if policy == "" {
		policy = none
	}
	r := e.tree.record
	testing := r != nil && r.test
	switch word := c.options.override(e.domain); {
	case e.local:
		return requested{effective: quarantine, override: byLocalPolicy}
	case word == ignore:
		return requested{effective: none, override: byLocalPolicy, ignored: true}
	case word != "" && (string(word) != policy || testing):
		return requested{effective: string(word), override: byLocalPolicy, ordered: true}
	case word != "":
		return requested{effective: policy, ordered: true}
	}
	// RFC 9989 4.7, tag t: the policy that is applied is one level below, and none stays none.
	if testing {
		switch policy {
		case reject:
			return requested{effective: quarantine, override: byTestMode}
		case quarantine:
			return requested{effective: none, override: byTestMode}
		}
	}
	return requested{effective: policy}
}

// conclude makes the result of an evaluation. Authors is set where the message has no one author's domain.
func (c *check) conclude(in *filter.Input, e evaluation, authors *mail.Authors) filter.Result {
	fact := factOf(e)
	var out filter.Result
	if authors != nil {
		fact.From = ""
		out.Findings = append(out.Findings, filter.Finding{Symbol: flaws[authors.Flaw], Strength: 1, Detail: authors.Detail})
	}
	req := c.requested(e)
	fact.Override = req.override
	failed := e.result == auth.Fail || authors != nil && (e.domain != "" || e.local)
	symbol, detail := symbolOf(e, authors), e.reason
	switch {
	case req.ignored:
		symbol = ""
		detail = "ignored by the configuration: " + detail
	case failed && req.effective != none:
		symbol, detail = c.handle(in, e, req, &fact, &out)
	case failed:
		symbol = symFailNone
	case e.result == auth.TempError && e.awaited && req.effective != none:
		c.defers(in, e, req, &out)
		fact.Override = ""
	default:
		fact.Override = "" // nothing is applied, so that nothing is departed from
	}
	if symbol != "" || req.ignored {
		out.Findings = append(out.Findings, filter.Finding{Symbol: symbol, Strength: 1, Unknown: symbol == symTempError, Detail: detail})
	}
	fact.Disposition = dispositions[out.Propose]
	if failed && fact.Disposition != req.effective && fact.Override == "" {
		fact.Override = byLocalPolicy // RFC 9989 5.4: the fact of and the reason for the deviation
	}
	out.Facts = []filter.Fact{auth.DMARC.Of(fact)}
	return out
}

var dispositions = map[filter.Action]string{
	filter.Continue: none, filter.Tag: none, filter.Defer: none, filter.Quarantine: quarantine, filter.Reject: reject,
}

func factOf(e evaluation) auth.DMARCResult {
	fact := auth.DMARCResult{
		Result: e.result, From: e.domain, Organization: e.tree.organization, Policy: e.policy, PolicyTag: e.tag,
		SPFAligned: e.spf, DKIMAligned: e.dkim, Reason: e.reason,
	}
	if r := e.tree.record; r == nil {
		if e.result == auth.Fail {
			fact.Result = auth.None // RFC 9989 4.10.1: without a record the mechanism does not apply; what does is local policy
		}
	} else {
		fact.PolicyDomain, fact.Record, fact.Published = e.tree.domain, r.text, r.published()
		fact.Testing, fact.ADKIM, fact.ASPF = r.test, r.adkim, r.aspf
	}
	return fact
}

// symbolOf gives the symbol of a result that asks for nothing.
func symbolOf(e evaluation, authors *mail.Authors) string {
	if authors != nil {
		return "" // the flaw has been named
	}
	switch e.result {
	case auth.Pass:
		return symPass
	case auth.TempError:
		return symTempError
	case auth.PermError:
		return symPermError
	case auth.Fail:
		return symFailNone
	}
	return symNone
}

// handle proposes what becomes of a failure. What softens it comes first: a trusted ARC chain, a known forwarder, the
// signs of a list.
func (c *check) handle(in *filter.Input, e evaluation, req requested, fact *auth.DMARCResult, out *filter.Result) (symbol, detail string) {
	detail = e.reason + ", policy " + req.effective
	if req.effective != e.policy {
		detail += " (" + req.override + ")"
	}
	if vouched(in, e.domain) {
		fact.Override = byForwarder
		return symFailForwarded, detail + ", but a trusted ARC chain vouches for " + e.domain
	}
	h := handling{}
	if who := c.options.forwarders.match(in); who != "" {
		fact.Override = byForwarder
		out.Propose = c.options.list.propose
		c.reply(in, e, out)
		return symFailForwarded, detail + ", but forwarded by " + who
	}
	if sign := listSign(in.Content.Header()); sign != "" {
		fact.Override = byList
		h, symbol = c.options.list, symFailList
		detail += ", with the sign of a mailing list: " + sign
	} else {
		h, symbol = c.options.handling(req), failures[req.effective]
	}
	out.Propose, out.Aggravated = h.propose, h.aggravated
	c.reply(in, e, out)
	return symbol, detail
}

var failures = map[string]string{quarantine: symFailQuarantine, reject: symFailReject}

// handling gives what is proposed for a failure that nothing excuses. RFC 9989 7.4: mail MUST NOT be rejected solely for
// p=reject, and is treated as for p=quarantine where nothing else is known; what the configuration orders is known.
func (o options) handling(req requested) handling {
	switch {
	case req.ordered && req.effective != none:
		return handling{propose: actions[req.effective]}
	case req.effective == reject:
		return o.reject
	}
	return o.quarantine
}

// vouched reports whether a trusted ARC chain says that a domain has passed.
func vouched(in *filter.Input, domain string) bool {
	arc, ok := auth.ARC.From(in)
	return ok && arc.Trusted && slices.Contains(arc.Vouched, domain)
}

// reply words the refusal. RFC 9989 7.2: a clear hint, with the word DMARC. The domain is of A-labels and so fit for it.
func (c *check) reply(in *filter.Input, e evaluation, out *filter.Result) {
	if max(out.Propose, out.Aggravated) < filter.Reject {
		return
	}
	detail := 1
	// RFC 7372 3.3: 5.7.26 says that more than one check has failed.
	if spf, ok := auth.SPF.From(in); ok && spf.Result == auth.Fail {
		if all, _ := auth.DKIM.From(in); !slices.ContainsFunc(all, func(r auth.DKIMResult) bool { return r.Result == auth.Pass }) {
			detail = 26
		}
	}
	r := mail.NewReply(550, 5, 7, detail, fmt.Sprintf("Email rejected per DMARC policy for %s", e.domain))
	out.Reply = &r
}

// defers asks the client to come back, where the domain asks for rejection or the message would have been held, and the
// DNS may answer SPF or DKIM yet, as long as there is patience. A message that would pass all the same is not deferred. When
// the patience is over it goes on, tagged if a failure would be: a name below the author's domain whose servers are dead is
// nobody's way to send unmarked.
func (c *check) defers(in *filter.Input, e evaluation, req requested, out *filter.Result) {
	if vouched(in, e.domain) {
		return
	}
	h := c.options.handling(req)
	least := filter.Quarantine
	if req.effective == reject {
		least = filter.Tag
	}
	if c.options.forwarders.match(in) != "" || listSign(in.Content.Header()) != "" {
		h, least = c.options.list, filter.Quarantine
	}
	switch {
	case max(h.propose, h.aggravated) < least:
		return
	case !c.patience.left(in, time.Now()):
		out.Propose = min(h.propose, filter.Tag)
		return
	case h.propose >= least:
		out.Propose = filter.Defer
	default:
		out.Aggravated = filter.Defer
	}
	r := mail.NewReply(451, 4, 7, 1, fmt.Sprintf("the DNS gives no answer that DMARC needs for %s, please try again later", e.domain))
	out.Reply = &r
}
