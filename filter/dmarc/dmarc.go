// Package dmarc checks whether the domain in the From field has sent a message (RFC 9989), by the results of SPF and
// DKIM and the records that the domain publishes. It reports and proposes; it sends no reports, and knows no list of
// public suffixes.
package dmarc

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/filter/auth"
	"github.com/postern-mail/postern/internal/dns"
	"github.com/postern-mail/postern/mail"
)

// The symbols.
const (
	symPass           = "DMARC_PASS"
	symNone           = "DMARC_NONE"
	symFailNone       = "DMARC_FAIL_NONE"
	symFailQuarantine = "DMARC_FAIL_QUARANTINE"
	symFailReject     = "DMARC_FAIL_REJECT"
	symFailList       = "DMARC_FAIL_LIST"
	symFailForwarded  = "DMARC_FAIL_FORWARDED"
	symTempError      = "DMARC_TEMPERROR"
	symPermError      = "DMARC_PERMERROR"
	symNoFrom         = "DMARC_NO_FROM"
	symMultipleFrom   = "DMARC_MULTIPLE_FROM"
	symMultipleDomain = "DMARC_MULTIPLE_DOMAINS"
	symMalformedFrom  = "DMARC_MALFORMED_FROM"
)

// symbols: all that DMARC alone may come to stays below the usual threshold of 5. What the filter heuristics scores too
// (a missing From field, several of them) scores nothing here.
var symbols = []filter.Symbol{
	{Name: symPass, Weight: 0, Description: "the author's domain has sent the message: SPF or a signature passes with an aligned domain"},
	{Name: symNone, Weight: 0, Description: "the author's domain publishes no DMARC record"},
	{Name: symFailNone, Weight: 0, Description: "nothing shows that the author's domain has sent the message, and it asks for no consequence (p=none)"},
	{Name: symFailQuarantine, Weight: 2, Description: "nothing shows that the author's domain has sent the message, and it asks for quarantine"},
	{Name: symFailReject, Weight: 3, Description: "nothing shows that the author's domain has sent the message, and it asks for rejection"},
	{Name: symFailList, Weight: 1, Description: "the author's domain asks for quarantine or rejection, and the message bears the sign of a mailing list"},
	{Name: symFailForwarded, Weight: 0, Description: "the author's domain asks for quarantine or rejection, and a known forwarder or a trusted ARC chain explains the failure"},
	{Name: symTempError, Weight: 0.3, Description: "the DNS gave no answer that DMARC needs"},
	{Name: symPermError, Weight: 0, Description: "the record of the author's domain can't be used"},
	{Name: symNoFrom, Weight: 0, Description: "no From field, or none with a domain"},
	{Name: symMultipleFrom, Weight: 0, Description: "several From fields, or lines that readers may take for one"},
	{Name: symMultipleDomain, Weight: 1, Description: "the From field has addresses of several domains"},
	{Name: symMalformedFrom, Weight: 1, Description: "readers may find different domains in the From field"},
}

// NewFactory makes the filter "dmarc". The filters that it makes share one memory of who has been deferred, which so
// outlives reloads.
func NewFactory() filter.Factory {
	memory := newPatience()
	return filter.Factory{Kind: "dmarc", New: func(env filter.Env, decode func(any) error) (filter.Spec, filter.Filter, error) {
		cfg := defaults()
		if err := decode(&cfg); err != nil {
			return filter.Spec{}, nil, err
		}
		o, err := cfg.options()
		if err != nil {
			return filter.Spec{}, nil, err
		}
		return filter.Spec{
			Name: env.Name, Phases: filter.In(filter.Data),
			Needs:    []string{string(auth.SPF), string(auth.DKIM)},
			Wants:    []string{string(auth.ARC), string(auth.HeloSPF), string(auth.IPRev)},
			Provides: []string{string(auth.DMARC)},
			Symbols:  slices.Clone(symbols),
		}, &check{dns: env.DNS, options: o, patience: memory}, nil
	}}
}

type check struct {
	dns      filter.Resolver
	options  options
	patience *patience
}

// budget is the longest that all look-ups for one message may take: less than the time that a stage has, so that slow
// servers have the result temperror and are not taken for a fault of ours.
const budget = 15 * time.Second

// questions is how many look-ups of them may go out. Honest mail needs some ten; a message that claims four authors and
// has twenty signatures to compare with each is cut off.
const questions = 200

// Check evaluates the message. Clients with the right to relay are not checked: they are our own.
func (c *check) Check(ctx context.Context, in *filter.Input) (filter.Result, error) {
	if in.Session.Relay {
		return filter.Result{}, nil
	}
	header := in.Content.Header()
	if err := in.Content.Err(); err != nil {
		return filter.Result{}, fmt.Errorf("dmarc: read the header: %w", err)
	}
	limited, cancel := context.WithTimeout(ctx, budget)
	defer cancel()
	// A budget of its own: nobody gets around a policy by using up what look-ups for a message may cost.
	limited = dns.WithBudget(limited, dns.NewBudget(questions, budget))
	authors := mail.ReadAuthors(header)
	d := &discovery{dns: c.dns}
	var out filter.Result
	if domain := authors.Domain(); domain != "" {
		e := d.evaluate(limited, domain, identify(in), c.isLocal(domain))
		out = c.conclude(in, e, nil)
	} else {
		out = c.unclear(limited, in, d, authors)
	}
	if err := ctx.Err(); err != nil {
		return filter.Result{}, fmt.Errorf("dmarc: %w", err) // the answers may be worthless
	}
	return out, nil
}

// isLocal reports whether the configuration sets the policy of a domain, so that it needs no record.
func (c *check) isLocal(domain string) bool {
	word := c.options.override(domain)
	return word != "" && word != ignore
}

// maxAuthors bounds how many domains of an unclear author are asked about.
const maxAuthors = 4

// unclear deals with messages that have no one author's domain. RFC 9989 5.3.1: validation is not possible, so that none
// of them ever passes. 11.5: lest this be a way around DMARC, each domain that a reader may find is evaluated, and the
// strictest policy of those that do not pass is applied. Whoever forges chooses which domains lie behind the bound, or
// whose servers give no answer: quarantine stands in for what they may ask for. No domain can use up the time of another.
func (c *check) unclear(ctx context.Context, in *filter.Input, d *discovery, a mail.Authors) filter.Result {
	worst := evaluation{result: auth.PermError, reason: "no one author's domain: " + string(a.Flaw)}
	if a.Flaw == mail.NoFrom || a.Flaw == mail.NoAuthorDomain {
		worst.result = auth.None
	}
	ids := identify(in)
	rank, base, hidden := 0, worst.reason, ""
	if a.More || len(a.Domains) > maxAuthors {
		hidden = "with more domains than are looked at"
	}
	for _, domain := range a.Domains[:min(len(a.Domains), maxAuthors)] {
		own, cancel := context.WithTimeout(ctx, budget/maxAuthors)
		e := d.evaluate(own, domain, ids, c.isLocal(domain))
		cancel()
		if vouched(in, domain) {
			continue // what excuses one domain excuses no other
		}
		req := c.requested(e)
		switch {
		case e.result == auth.TempError && !e.awaited && !req.ignored:
			hidden = "with one of which the DNS gave no answer"
			continue
		case e.result != auth.Fail && !e.awaited:
			continue
		}
		// Nothing that is still to come makes such a message pass, so that nobody waits for it.
		if n := severity[req.effective]; n > rank {
			rank = n
			worst.domain, worst.tree, worst.policy, worst.tag = e.domain, e.tree, e.policy, e.tag
			worst.reason = base + ", and " + e.reason
		}
	}
	if rank == 0 && hidden != "" {
		worst.local = true
		worst.reason = base + ", " + hidden
	}
	return c.conclude(in, worst, &a)
}

var severity = map[string]int{none: 0, quarantine: 1, reject: 2}

// flaws gives the symbol of each flaw of the author.
var flaws = map[mail.AuthorFlaw]string{
	mail.NoFrom:          symNoFrom,
	mail.NoAuthorDomain:  symNoFrom,
	mail.SeveralFrom:     symMultipleFrom,
	mail.SeveralDomains:  symMultipleDomain,
	mail.MalformedFrom:   symMalformedFrom,
	mail.UnknownFromRest: symMalformedFrom,
}
