// Package iprev asks whether the client's address has a name that leads back to it (RFC 8601 3), and whether the
// client calls itself by a name that could be its own. It reports what it finds and refuses nobody.
package iprev

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/filter/auth"
	"github.com/postern-mail/postern/internal/dns"
	"github.com/postern-mail/postern/mail"
)

// Factory makes the filter "iprev". It has no settings of its own.
var Factory = filter.Factory{Kind: "iprev", New: open}

// The symbols.
const (
	passed    = "IPREV_PASS"
	failed    = "IPREV_FAIL"
	nameless  = "IPREV_NONE"
	tempError = "IPREV_TEMPERROR"

	heloOurs     = "HELO_OURS"
	heloInvalid  = "HELO_INVALID"
	heloLiteral  = "HELO_LITERAL"
	heloMismatch = "HELO_MISMATCH"
)

// symbols and their weights. Half of the world's honest servers have some fault of this kind, and RFC 5321 4.1.4 forbids
// to refuse mail for the name in EHLO: nothing here weighs as much as a threshold.
var symbols = []filter.Symbol{
	{Name: passed, Weight: 0, Description: "the client's address has a name that leads back to it"},
	{Name: failed, Weight: 0.4, Description: "the client's address has a name, and that does not lead back to it"},
	{Name: nameless, Weight: 0.8, Description: "the client's address has no name"},
	{Name: tempError, Weight: 0, Description: "the client's name could not be asked for now"},
	{Name: heloOurs, Weight: 2, Description: "the client calls itself by our name"},
	{Name: heloInvalid, Weight: 0.5, Description: "the client calls itself neither by a full name nor by an address literal"},
	{Name: heloLiteral, Weight: 0.3, Description: "the client calls itself by an address literal"},
	{Name: heloMismatch, Weight: 0.2, Description: "the name by which the client calls itself does not lead to its address"},
}

// What a client may cost.
const (
	maxNames   = 10               // names of one address that are looked at (as RFC 7208 4.6.4 has it for its ptr)
	nameBudget = 10 * time.Second // for all look-ups of the connect phase; less than the time that a stage has
	heloBudget = 5 * time.Second  // for those of the helo phase
)

func open(env filter.Env, decode func(any) error) (filter.Spec, filter.Filter, error) {
	var none struct{}
	if err := decode(&none); err != nil {
		return filter.Spec{}, nil, err
	}
	spec := filter.Spec{
		Name: env.Name, Phases: filter.In(filter.Connect, filter.Helo),
		Provides: []string{string(auth.IPRev)}, Symbols: slices.Clone(symbols),
	}
	c := &check{dns: env.DNS}
	if own, err := mail.Domain(env.Hostname); err == nil {
		c.hostname = own
	}
	return spec, c, nil
}

type check struct {
	dns      filter.Resolver
	hostname string // our own, A-labels, lower case
}

// Check looks up the client's name in the connect phase, and compares what the client says of itself in the helo phase.
// Clients with the right to relay and those of exempt networks are not looked at.
func (c *check) Check(ctx context.Context, in *filter.Input) (filter.Result, error) {
	client := in.Session.Client.Addr().Unmap().WithZone("")
	if in.Session.Relay || in.Session.Exempt || !client.IsValid() {
		return filter.Result{}, nil
	}
	if in.Phase == filter.Helo {
		return c.helo(ctx, in.Session, client)
	}
	r, symbol := c.reverse(ctx, client)
	if err := ctx.Err(); err != nil {
		return filter.Result{}, fmt.Errorf("iprev: %s: %w", client, err)
	}
	detail := r.Client
	if text := strings.TrimSpace(r.Name + " " + r.Reason); text != "" {
		detail += ": " + text
	}
	return filter.Result{
		Findings: []filter.Finding{{Symbol: symbol, Strength: 1, Detail: detail}},
		Facts:    []filter.Fact{auth.IPRev.Of(r)},
	}, nil
}

// reverse evaluates the address (RFC 8601 3), with the results of RFC 8601 2.7.3.
func (c *check) reverse(ctx context.Context, client netip.Addr) (auth.IPRevResult, string) {
	ctx, cancel := context.WithTimeout(ctx, nameBudget)
	defer cancel()
	r := auth.IPRevResult{Client: client.String()}
	published, err := c.dns.LookupAddr(ctx, r.Client)
	switch {
	case len(published) > 0:
	case err == nil, dns.NotFound(err):
		r.Result, r.Reason = auth.PermError, "the address has no name"
		return r, nameless
	default:
		r.Result, r.Reason = auth.TempError, "asked for a name: "+dns.Failure(err)
		return r, tempError
	}
	var trouble error
	for _, name := range usable(published) {
		leads, err := c.leadsTo(ctx, name, client)
		if leads {
			r.Result, r.Name = auth.Pass, name
			return r, passed
		}
		if err != nil {
			trouble = fmt.Errorf("asked for %s: %s", name, dns.Failure(err))
		}
	}
	if trouble != nil {
		r.Result, r.Reason = auth.TempError, trouble.Error()
		return r, tempError
	}
	r.Result, r.Reason = auth.Fail, "no name leads back to the address"
	if names := usable(published); len(names) > 0 {
		r.Reason = names[0] + " does not lead back to the address"
	}
	return r, failed
}

// usable gives the names that are looked at, in the same order whatever order the DNS has them in: whoever owns the
// address writes what he likes in them.
func usable(published []string) []string {
	var names []string
	for _, p := range published {
		// What no host may be called is no name to look up, nor to show.
		if name, err := mail.Domain(p); err == nil && strings.Contains(name, ".") {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	names = slices.Compact(names)
	return names[:min(len(names), maxNames)]
}

// leadsTo reports whether one of the name's addresses is the client's. The error says that this could not be told.
func (c *check) leadsTo(ctx context.Context, name string, client netip.Addr) (bool, error) {
	addrs, err := c.dns.LookupIPAddr(ctx, name)
	for _, a := range addrs {
		if ip, ok := netip.AddrFromSlice(a.IP); ok && ip.Unmap() == client {
			return true, nil
		}
	}
	if err == nil || dns.NotFound(err) {
		return false, nil
	}
	return false, err
}

// helo looks at the argument of EHLO (RFC 5321 4.1.1.1): the client's name, or an address literal where it has none.
func (c *check) helo(ctx context.Context, s *filter.Session, client netip.Addr) (filter.Result, error) {
	symbol, detail := heloInvalid, s.Helo
	name, err := mail.Domain(s.Helo)
	switch {
	case s.Helo == "":
		return filter.Result{}, nil
	case strings.HasPrefix(s.Helo, "["):
		if a, err := mail.ParseAddress("x@" + s.Helo); err == nil && strings.HasPrefix(a.Domain(), "[") {
			symbol = heloLiteral
		}
	case err != nil || !isFull(name):
	case name == c.hostname:
		symbol = heloOurs
	case s.PTR != "" && strings.EqualFold(strings.TrimSuffix(s.PTR, "."), name):
		return filter.Result{}, nil
	default:
		limited, cancel := context.WithTimeout(ctx, heloBudget)
		leads, lookup := c.leadsTo(limited, name, client)
		cancel()
		if err := ctx.Err(); err != nil {
			return filter.Result{}, fmt.Errorf("iprev: %s: %w", name, err)
		}
		if leads || lookup != nil { // what could not be told is no evidence
			return filter.Result{}, nil
		}
		symbol, detail = heloMismatch, name
	}
	return filter.Result{Findings: []filter.Finding{{Symbol: symbol, Strength: 1, Detail: detail}}}, nil
}

// isFull reports whether a name has a domain behind it (RFC 5321 2.3.5), and is no address without brackets: no
// top-level domain is a number (RFC 3696 2).
func isFull(name string) bool {
	at := strings.LastIndexByte(name, '.')
	return at > 0 && strings.Trim(name[at+1:], "0123456789") != ""
}
