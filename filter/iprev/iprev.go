// Package iprev asks whether the client's address has a name that leads back to it (RFC 8601 3). It reports what it finds
// and refuses nobody.
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
)

// symbols and their weights. Many of the world's honest servers have some fault of this kind: nothing here weighs as much as
// a threshold.
var symbols = []filter.Symbol{
	{Name: passed, Weight: 0, Description: "the client's address has a name that leads back to it"},
	{Name: failed, Weight: 0.4, Description: "the client's address has a name, and that does not lead back to it"},
	{Name: nameless, Weight: 0.8, Description: "the client's address has no name"},
	{Name: tempError, Weight: 0, Description: "the client's name could not be asked for now"},
}

// What a client may cost.
const (
	maxNames   = 10               // names of one address that are looked at (as RFC 7208 4.6.4 has it for its ptr)
	nameBudget = 10 * time.Second // for all look-ups; less than the time that a stage has
)

func open(env filter.Env, decode func(any) error) (filter.Spec, filter.Filter, error) {
	var none struct{}
	if err := decode(&none); err != nil {
		return filter.Spec{}, nil, err
	}
	spec := filter.Spec{
		Name: env.Name, Phases: filter.In(filter.Connect),
		Provides: []string{string(auth.IPRev)}, Symbols: slices.Clone(symbols),
	}
	return spec, &check{dns: env.DNS}, nil
}

type check struct{ dns filter.Resolver }

// Check looks up the client's name. Clients with the right to relay and those of exempt networks are not looked at.
func (c *check) Check(ctx context.Context, in *filter.Input) (filter.Result, error) {
	client := in.Session.Client.Addr().Unmap().WithZone("")
	if in.Session.Relay || in.Session.Exempt || !client.IsValid() {
		return filter.Result{}, nil
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
		Findings: []filter.Finding{{Symbol: symbol, Strength: 1, Unknown: symbol == tempError, Detail: detail}},
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
	names := usable(published)
	for _, name := range names {
		leads, _, err := dns.Leads(ctx, c.dns, name, client)
		if leads {
			r.Result, r.Name = auth.Pass, name
			return r, passed
		}
		if err != nil {
			trouble = fmt.Errorf("asked for %s: %s", name, dns.Failure(err))
		}
	}
	if len(names) > 0 {
		r.Published = names[0]
	}
	if trouble != nil {
		r.Result, r.Reason = auth.TempError, trouble.Error()
		return r, tempError
	}
	r.Result, r.Reason = auth.Fail, "no name leads back to the address"
	if r.Published != "" {
		r.Reason = r.Published + " does not lead back to the address"
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
