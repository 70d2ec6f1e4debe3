package heuristics

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/internal/dns"
	"github.com/postern-mail/postern/mail"
)

// senderBudget is the longest that the look-ups for a sender's domain may take: less than the time that a stage has,
// so that a silent domain is the domain's failing and not taken for ours.
const senderBudget = 12 * time.Second

// sender asks whether the reverse-path's domain could take an answer. Where it can't, no bounce would ever arrive,
// and nobody honest sends so (RFC 5321 2.3.5: only resolvable names may be used; RFC 7505 4.1).
func (c *check) sender(ctx context.Context, in *filter.Input) (filter.Result, error) {
	domain := in.Transaction.From.Domain()
	switch {
	case c.senderDomain == senderOff, in.Session.Relay, in.Session.Exempt:
		return filter.Result{}, nil
	case domain == "", strings.HasPrefix(domain, "["): // the null reverse-path, an address literal
		return filter.Result{}, nil
	case c.ours(domain): // exists, whatever the resolver at this site makes of it
		return filter.Result{}, nil
	}
	limited, cancel := context.WithTimeout(ctx, senderBudget)
	defer cancel()
	symbol, err := c.ask(limited, domain)
	if ctx.Err() != nil {
		return filter.Result{}, fmt.Errorf("heuristics: sender's domain %s: %w", domain, ctx.Err())
	}
	if symbol == "" || c.off[symbol] {
		return filter.Result{}, nil
	}
	result := filter.Result{Findings: []filter.Finding{{Symbol: symbol, Strength: 1, Unknown: symbol == senderTempError, Detail: domain}}}
	if err != nil {
		result.Findings[0].Detail += ": " + dns.Failure(err)
	}
	if c.senderDomain == senderReject && symbol != senderTempError {
		reply := mail.NewReply(550, 5, 1, 8, "the sender's domain "+domain+" does not exist")
		if symbol == nullMX {
			// RFC 7505 4.2
			reply = mail.NewReply(550, 5, 7, 27, "the sender's domain "+domain+" takes no mail (null MX)")
		}
		result.Propose, result.Reply, result.Hold = filter.Reject, &reply, true
	}
	return result, nil
}

// ask gives the symbol that fits the domain, "" for a good one. Only two clear "no such thing" make a domain one that
// does not exist; whatever else goes wrong is a temporary error, which is given too.
func (c *check) ask(ctx context.Context, domain string) (string, error) {
	mx, err := c.env.DNS.LookupMX(ctx, domain)
	switch {
	case len(mx) == 1 && (mx[0].Host == "." || mx[0].Host == ""):
		return nullMX, nil // RFC 7505 3: one record, and it names the root
	case len(mx) > 0:
		return "", nil
	case err != nil && !dns.NotFound(err):
		return senderTempError, err
	}
	// RFC 5321 5.1: without MX the domain's own address takes its mail.
	addrs, err := c.env.DNS.LookupIPAddr(ctx, domain)
	switch {
	case len(addrs) > 0:
		return "", nil
	case err == nil, dns.NotFound(err):
		return senderNXDomain, nil
	}
	return senderTempError, err
}
