// Package spf checks whether the client's address may send mail for the reverse-path's domain and under its HELO
// name, evaluating RFC 7208 itself. It reports what it finds, and refuses nothing unless its configuration asks for it.
package spf

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/filter/auth"
	"github.com/postern-mail/postern/internal/dns"
	"github.com/postern-mail/postern/mail"
)

// Factory makes the filter "spf".
var Factory = filter.Factory{Kind: "spf", New: open}

// symbols by result, of the identity that stands for the message: the reverse-path, or the HELO name in place of a
// null one. A temporary error is the failing of a DNS server and says nothing of the message.
var symbols = map[auth.Result]filter.Symbol{
	auth.Pass:      {Name: "SPF_PASS", Weight: 0, Description: "the sender's domain names the client as one of its senders"},
	auth.Fail:      {Name: "SPF_FAIL", Weight: 2.5, Description: "the sender's domain says that the client may not send for it"},
	auth.SoftFail:  {Name: "SPF_SOFTFAIL", Weight: 1, Description: "the sender's domain says that the client probably may not send for it"},
	auth.Neutral:   {Name: "SPF_NEUTRAL", Weight: 0.2, Description: "the sender's domain says nothing about the client"},
	auth.None:      {Name: "SPF_NONE", Weight: 0.2, Description: "the sender's domain publishes no SPF record"},
	auth.TempError: {Name: "SPF_TEMPERROR", Weight: 0, Description: "the sender's domain could not be asked for now"},
	auth.PermError: {Name: "SPF_PERMERROR", Weight: 0.5, Description: "the sender's domain publishes an SPF record that can't be evaluated"},
}

// heloSymbols by result, of the HELO name beside the reverse-path. That it has no record is usual, and not said.
var heloSymbols = map[auth.Result]filter.Symbol{
	auth.Pass:      {Name: "SPF_HELO_PASS", Weight: 0, Description: "the HELO name's domain names the client as one of its senders"},
	auth.Fail:      {Name: "SPF_HELO_FAIL", Weight: 1, Description: "the HELO name's domain says that the client may not use the name"},
	auth.SoftFail:  {Name: "SPF_HELO_SOFTFAIL", Weight: 0.3, Description: "the HELO name's domain says that the client probably may not use the name"},
	auth.Neutral:   {Name: "SPF_HELO_NEUTRAL", Weight: 0, Description: "the HELO name's domain says nothing about the client"},
	auth.TempError: {Name: "SPF_HELO_TEMPERROR", Weight: 0, Description: "the HELO name's domain could not be asked for now"},
	auth.PermError: {Name: "SPF_HELO_PERMERROR", Weight: 0.2, Description: "the HELO name's domain publishes an SPF record that can't be evaluated"},
}

func open(env filter.Env, decode func(any) error) (filter.Spec, filter.Filter, error) {
	var c config
	if err := decode(&c); err != nil {
		return filter.Spec{}, nil, err
	}
	spec := filter.Spec{
		Name: env.Name, Phases: filter.In(filter.Mail),
		Provides: []string{string(auth.SPF), string(auth.HeloSPF)},
	}
	for _, of := range []map[auth.Result]filter.Symbol{symbols, heloSymbols} {
		for _, r := range []auth.Result{auth.Pass, auth.Fail, auth.SoftFail, auth.Neutral, auth.None, auth.TempError, auth.PermError} {
			if s, ok := of[r]; ok {
				spec.Symbols = append(spec.Symbols, s)
			}
		}
	}
	return spec, &check{dns: lookups{env.DNS}, host: env.Hostname, config: c}, nil
}

type check struct {
	dns    lookups
	host   string
	config config
}

// Check evaluates the reverse-path and then the HELO name, or the HELO name alone for the null reverse-path. Clients
// with the right to relay are not checked: they are our own, and no record of theirs names our listener's networks.
func (c *check) Check(ctx context.Context, in *filter.Input) (filter.Result, error) {
	if in.Session.Relay {
		return filter.Result{}, nil
	}
	client, helo := in.Session.Client.Addr().Unmap().WithZone(""), in.Session.Helo
	limited, cancel := context.WithTimeout(ctx, timeFor(ctx))
	defer cancel()
	// A budget of its own: the sender's records are not to leave others without look-ups, DMARC above all.
	limited = dns.WithBudget(limited, dns.NewBudget(questions, budget))

	id := identify(helo, in.Transaction.From)
	r, err := c.examine(ctx, limited, client, helo, id)
	if err != nil {
		return filter.Result{}, err
	}
	result := filter.Result{
		Findings: []filter.Finding{{Symbol: symbols[r.Result].Name, Strength: 1, Unknown: r.Result == auth.TempError, Detail: detail(r)}},
		Facts:    []filter.Fact{auth.SPF.Of(r)},
	}
	c.propose(&result, c.config.of(r.Result), r, client)

	// RFC 7208 2.3. Where the reverse-path's domain is the HELO name, or has used up the time, there is nothing to add.
	second := heloIdentity(helo)
	second.envelope = id.envelope
	if id.kind == "helo" || second.domain == id.domain || !checkable(second.domain) || limited.Err() != nil {
		return result, nil
	}
	if r, err = c.examine(ctx, limited, client, helo, second); err != nil {
		return filter.Result{}, err
	}
	result.Facts = append(result.Facts, auth.HeloSPF.Of(r))
	if s, ok := heloSymbols[r.Result]; ok {
		result.Findings = append(result.Findings, filter.Finding{Symbol: s.Name, Strength: 1, Unknown: r.Result == auth.TempError, Detail: detail(r)})
	}
	if r.Result == auth.Fail {
		c.propose(&result, c.config.HeloFail, r, client)
	}
	return result, nil
}

func detail(r auth.SPFResult) string {
	return fmt.Sprintf("%s %s: %s", r.Identity, r.Sender, r.Reason)
}

// identity is what is checked (RFC 7208 2.3, 2.4).
type identity struct {
	kind     string // "mailfrom" or "helo"
	shown    string // as the client gave it
	local    string // for macros: without quotes
	domain   string // A-labels
	envelope string // the reverse-path, whichever is checked
}

func identify(helo string, from mail.Address) identity {
	if from.IsZero() {
		return heloIdentity(helo)
	}
	id := identity{kind: "mailfrom", shown: from.String(), local: from.Unquoted(), domain: from.Domain(), envelope: from.String()}
	if id.local == "" {
		id.local = "postmaster" // RFC 7208 4.3
	}
	return id
}

// heloIdentity is the HELO name, also in place of the null reverse-path: postmaster there (RFC 7208 2.4).
func heloIdentity(helo string) identity {
	domain, err := mail.Domain(helo)
	if err != nil {
		domain = strings.ToLower(helo)
	}
	return identity{kind: "helo", shown: helo, local: "postmaster", domain: domain}
}

// checkable reports whether a domain that a client gave can be asked for. RFC 7208 4.3: what is malformed, a single
// label or an address literal has the result none, without a query; bare IPv4 addresses are no domains either.
func checkable(domain string) bool {
	top := domain[strings.LastIndexByte(domain, '.')+1:]
	return isName(domain) && len(top) < len(domain) && !isDigits(top) && !strings.ContainsAny(domain, "[]: ")
}

const (
	// budget is how long a check may take (RFC 7208 4.6.4: at least 20 seconds; then it is temperror).
	budget = 20 * time.Second
	// questions is what a check may ask, the HELO name included. RFC 7208 4.6.4 lets one evaluation have 123: for the
	// record, for ten "mx" of ten hosts each, for ten names of the client, and for the explanation.
	questions = 125
	// margin is what must be left of the stage's own time, so that a slow domain gets its result and is not taken
	// for a fault of ours.
	margin = 2 * time.Second
)

// timeFor gives the time that a check may take.
func timeFor(ctx context.Context) time.Duration {
	deadline, ok := ctx.Deadline()
	if !ok {
		return budget
	}
	left := time.Until(deadline)
	return min(budget, max(left-margin, left/2))
}

// examine runs check_host (RFC 7208 4) for one identity under the limited context. The error is that the caller's
// own context has ended, and nothing else: it makes every answer worthless.
func (c *check) examine(ctx, limited context.Context, client netip.Addr, helo string, id identity) (auth.SPFResult, error) {
	r := auth.SPFResult{Domain: id.domain, Identity: id.kind, Sender: id.shown}
	o := &outcome{result: auth.None, reason: "not a domain name that could have a record"}
	if checkable(id.domain) {
		e := &evaluation{dns: c.dns, client: client, id: id, helo: helo, host: c.host}
		if name := heloIdentity(helo).domain; !isASCII(helo) && checkable(name) {
			e.helo = name // RFC 8616 4: A-labels in macros as well
		}
		o = e.check(limited, id.domain)
		// Some failed look-ups count as "no match": what came of them is not to be trusted.
		switch {
		case limited.Err() != nil:
			o = &outcome{result: auth.TempError, reason: "the time for the check was used up"}
		case e.names.unasked != nil:
			o = failed(e.names.unasked)
		}
		r.LocalPart = e.local
		if o.result == auth.Fail {
			r.Explanation = e.explain(limited, o)
		}
	}
	if err := ctx.Err(); err != nil {
		return auth.SPFResult{}, fmt.Errorf("spf: %s: %w", id.domain, err)
	}
	r.Result, r.Reason, r.Mechanism = o.result, printable(clipTo(o.reason, reasonLimit)), clipTo(o.term, reasonLimit)
	if c.config.ReceivedSPF {
		r.Received = c.received(r, client, helo, id.envelope)
	}
	return r, nil
}

// reasonLimit bounds a reason, in octets: records name domains of any length.
const reasonLimit = 200

func clipTo(s string, most int) string {
	if len(s) > most {
		return s[:most] + "..."
	}
	return s
}
