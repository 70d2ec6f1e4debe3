// Package spf checks whether the client's address may send mail for the reverse-path's domain (RFC 7208). It
// reports what it finds; refusing for it is the policy's matter.
package spf

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	library "blitiri.com.ar/go/spf"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/filter/auth"
	"github.com/postern-mail/postern/mail"
)

// Factory makes the filter "spf". It has no settings of its own.
var Factory = filter.Factory{Kind: "spf", New: open}

// symbols by result. A temporary error is the failing of a DNS server and says nothing of the message.
var symbols = map[auth.Result]filter.Symbol{
	auth.Pass:      {Name: "SPF_PASS", Weight: 0, Description: "the sender's domain names the client as one of its senders"},
	auth.Fail:      {Name: "SPF_FAIL", Weight: 2.5, Description: "the sender's domain says that the client may not send for it"},
	auth.SoftFail:  {Name: "SPF_SOFTFAIL", Weight: 1, Description: "the sender's domain says that the client probably may not send for it"},
	auth.Neutral:   {Name: "SPF_NEUTRAL", Weight: 0.2, Description: "the sender's domain says nothing about the client"},
	auth.None:      {Name: "SPF_NONE", Weight: 0.2, Description: "the sender's domain publishes no SPF record"},
	auth.TempError: {Name: "SPF_TEMPERROR", Weight: 0, Description: "the sender's domain could not be asked for now"},
	auth.PermError: {Name: "SPF_PERMERROR", Weight: 0.5, Description: "the sender's domain publishes an SPF record that can't be evaluated"},
}

func open(env filter.Env, decode func(any) error) (filter.Spec, filter.Filter, error) {
	var none struct{}
	if err := decode(&none); err != nil {
		return filter.Spec{}, nil, err
	}
	spec := filter.Spec{Name: env.Name, Phases: filter.In(filter.Mail), Provides: []string{string(auth.SPF)}}
	for _, r := range []auth.Result{auth.Pass, auth.Fail, auth.SoftFail, auth.Neutral, auth.None, auth.TempError, auth.PermError} {
		spec.Symbols = append(spec.Symbols, symbols[r])
	}
	return spec, &check{dns: env.DNS}, nil
}

type check struct{ dns filter.Resolver }

// Check evaluates the reverse-path, or the HELO name for the null reverse-path. Clients with the right to relay
// are not checked: they are our own, and no record of theirs names our listener's networks.
func (c *check) Check(ctx context.Context, in *filter.Input) (filter.Result, error) {
	if in.Session.Relay {
		return filter.Result{}, nil
	}
	id := identify(in.Session.Helo, in.Transaction.From)
	result, reason, err := evaluate(ctx, c.dns, in.Session.Client.Addr(), in.Session.Helo, id)
	if err != nil {
		return filter.Result{}, err
	}
	detail := fmt.Sprintf("%s %s: %s", id.kind, id.shown, reason)
	return filter.Result{
		Findings: []filter.Finding{{Symbol: symbols[result].Name, Strength: 1, Detail: detail}},
		Facts: []filter.Fact{auth.SPF.Of(auth.SPFResult{
			Result: result, Domain: id.domain, Identity: id.kind, Sender: id.shown, Reason: reason,
		})},
	}, nil
}

// identity is what is checked (RFC 7208 2.3, 2.4).
type identity struct {
	kind   string // "mailfrom" or "helo"
	shown  string // as the client gave it
	local  string // for macros
	domain string // A-labels
}

func identify(helo string, from mail.Address) identity {
	if from.IsZero() {
		// RFC 7208 2.4: the null reverse-path is checked as postmaster at the HELO name.
		domain, err := mail.Domain(helo)
		if err != nil {
			domain = strings.ToLower(helo)
		}
		return identity{kind: "helo", shown: helo, local: "postmaster", domain: domain}
	}
	return identity{kind: "mailfrom", shown: from.String(), local: from.Local(), domain: from.Domain()}
}

// budget is the longest that one evaluation may take: less than the time that a stage has, so that a slow
// domain gets its result (RFC 7208 4.6.4: temperror) and is not taken for a fault of ours.
const budget = 15 * time.Second

// evaluate runs check_host (RFC 7208 4.1). The error is that the caller's context has ended, and nothing
// else: it makes every answer worthless, as the library takes some failed look-ups for "no match".
func evaluate(ctx context.Context, dns filter.Resolver, client netip.Addr, helo string, id identity) (auth.Result, string, error) {
	if !checkable(id.domain) {
		return auth.None, "not a domain name that could have a record", nil
	}
	limited, cancel := context.WithTimeout(ctx, budget)
	defer cancel()
	got, reason := library.CheckHostWithSender(
		net.IP(client.Unmap().AsSlice()), helo, sender(id),
		library.WithContext(limited),
		library.WithResolver(familyResolver{dns, client.Unmap().Is4()}),
	)
	if err := ctx.Err(); err != nil {
		return "", "", fmt.Errorf("spf: %s: %w", id.domain, err)
	}
	if limited.Err() != nil {
		return auth.TempError, fmt.Sprintf("no result within %s", budget), nil
	}
	result := auth.Result(got)
	if _, known := symbols[result]; !known {
		return "", "", fmt.Errorf("spf: %s: the library gave the unknown result %q", id.domain, got)
	}
	return result, explain(reason), nil
}

// sender joins the parts of an identity for the library, which splits at the first "@": a quoted local
// part with an "@" in it would let the client choose the domain that is asked.
func sender(id identity) string {
	if id.local == "" || strings.Contains(id.local, "@") {
		return "postmaster@" + id.domain // RFC 7208 4.3: as where there is no local part
	}
	return id.local + "@" + id.domain
}

// checkable reports whether a domain can be asked for at all. RFC 7208 4.3: what is malformed, a single
// label or an address literal has the result none, without a query.
func checkable(domain string) bool {
	domain = strings.TrimSuffix(domain, ".")
	if len(domain) > 253 || !strings.Contains(domain, ".") || strings.ContainsAny(domain, "[]: ") {
		return false
	}
	for label := range strings.SplitSeq(domain, ".") {
		if label == "" || len(label) > 63 {
			return false
		}
	}
	return true
}

// explain words the library's reason, which is an error also for a match. Of an error of the DNS it leaves
// out which server was asked: the text may leave the house.
func explain(reason error) string {
	var de *net.DNSError
	switch {
	case reason == nil:
		return "no mechanism matched"
	case errors.As(reason, &de):
		return clip(fmt.Sprintf("DNS: %s: %s", de.Name, outcome(de)))
	}
	return clip(reason.Error())
}

func outcome(de *net.DNSError) string {
	switch {
	case de.IsNotFound:
		return "not found"
	case de.IsTimeout:
		return "no answer"
	}
	return "server failure"
}

// reasonLimit bounds a reason, in octets: records name domains of any length.
const reasonLimit = 200

func clip(s string) string {
	if len(s) > reasonLimit {
		s = strings.ToValidUTF8(s[:reasonLimit], "") + "…"
	}
	return s
}

// familyResolver answers for one client. RFC 7208 5: a mechanism needs the addresses of the client's family
// only, so the failed look-up of the other family is none of its business.
type familyResolver struct {
	filter.Resolver
	v4 bool
}

func (r familyResolver) LookupIPAddr(ctx context.Context, host string) ([]net.IPAddr, error) {
	all, err := r.Resolver.LookupIPAddr(ctx, host)
	if err != nil && len(all) > 0 {
		for _, a := range all {
			if (a.IP.To4() != nil) == r.v4 {
				return all, nil
			}
		}
		return nil, err
	}
	return all, err
}
