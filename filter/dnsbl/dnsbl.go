// Package dnsbl asks DNS lists (RFC 5782) about the client's address, its HELO name and the sender's domain: lists of
// those who send spam, and lists of those who do not. It scores what they say and refuses nobody itself.
package dnsbl

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/filter/auth"
	"github.com/postern-mail/postern/mail"
)

// Factory makes the filter "dnsbl".
var Factory = filter.Factory{Kind: "dnsbl", New: open}

// unknown is the symbol for lists that could not tell.
const unknown = "DNSBL_UNKNOWN"

// defaultBudget is how long all lists together may take in one phase. Those that serve the world answer within some tens
// of milliseconds; what takes longer than this does not come any more.
const defaultBudget = 4 * time.Second

func open(env filter.Env, decode func(any) error) (filter.Spec, filter.Filter, error) {
	cfg := config{Budget: defaultBudget}
	if err := decode(&cfg); err != nil {
		return filter.Spec{}, nil, err
	}
	lists, symbols, err := compile(cfg)
	if err != nil {
		return filter.Spec{}, nil, err
	}
	c := &check{asker: asker{dns: env.DNS, log: env.Log, now: time.Now}, budget: cfg.Budget, ours: env.Ours}
	if c.hostname, err = mail.Domain(env.Hostname); err != nil {
		c.hostname = ""
	}
	spec := filter.Spec{
		Name: env.Name, Provides: []string{string(auth.Lists)},
		Symbols: append(symbols, filter.Symbol{Name: unknown, Weight: 0, Description: "a DNS list could not tell"}),
	}
	for of, phase := range map[string]filter.Phase{ofClient: filter.Connect, ofHelo: filter.Helo, ofSender: filter.Mail} {
		for _, l := range lists {
			if slices.Contains(l.of, of) {
				c.lists[phase] = append(c.lists[phase], l)
				spec.Phases |= filter.In(phase)
			}
		}
	}
	for _, l := range lists {
		spec.Lists = append(spec.Lists, l.name)
	}
	if len(lists) == 0 {
		spec.Phases = filter.In(filter.Connect)
	}
	return spec, c, nil
}

// check is the filter.
type check struct {
	asker
	lists    [filter.Mail + 1][]*list // by phase
	budget   time.Duration
	hostname string
	ours     func(string) bool
}

// Check asks the lists of the phase, all side by side. Clients with the right to relay, those of exempt networks and
// private addresses are not looked up, nor are names that they give.
func (c *check) Check(ctx context.Context, in *filter.Input) (filter.Result, error) {
	client := in.Session.Client.Addr().Unmap().WithZone("")
	if in.Session.Relay || in.Session.Exempt || !public(client) || int(in.Phase) >= len(c.lists) || len(c.lists[in.Phase]) == 0 {
		return filter.Result{}, nil
	}
	q, shown, ok := c.question(in, client)
	if !ok {
		return filter.Result{}, nil
	}
	limited, cancel := context.WithTimeout(ctx, c.timeFor(ctx))
	defer cancel()
	opinions := make([]opinion, len(c.lists[in.Phase]))
	var wait sync.WaitGroup
	for i, l := range c.lists[in.Phase] {
		wait.Go(func() { opinions[i] = c.ask(ctx, limited, l, q) })
	}
	wait.Wait()
	if err := ctx.Err(); err != nil {
		return filter.Result{}, fmt.Errorf("dnsbl: %s: %w", shown, err)
	}
	return report(opinions, shown), nil
}

// margin is what must be left of the stage's own time, so that slow lists are not taken for a fault of ours.
const margin = time.Second

// timeFor gives the time that the lists may take.
func (c *check) timeFor(ctx context.Context) time.Duration {
	deadline, ok := ctx.Deadline()
	if !ok {
		return c.budget
	}
	left := time.Until(deadline)
	return min(c.budget, max(left-margin, left/2))
}

// question gives what lists are asked in the phase, and how it is called; false for nothing.
func (c *check) question(in *filter.Input, client netip.Addr) (q question, shown string, ok bool) {
	switch in.Phase {
	case filter.Connect:
		q = question{of: ofClient, kind: ipv4, name: reversed(client)}
		if client.Is6() {
			q.kind = ipv6
		}
		return q, client.String(), true
	case filter.Helo:
		q = question{of: ofHelo, kind: domain}
		q.name, _ = mail.Domain(in.Session.Helo)
	default:
		q = question{of: ofSender, kind: domain, name: in.Transaction.From.Domain()}
	}
	// What nobody could have an entry for, and what nobody here wants to know.
	if !isDomain(q.name) || q.name == c.hostname || c.ours != nil && c.ours(q.name) {
		return q, "", false
	}
	return q, q.name, true
}

// isDomain reports whether a name has a domain behind it, and is no address: lists of names answer those with errors.
func isDomain(name string) bool {
	at := strings.LastIndexByte(name, '.')
	return at > 0 && strings.Trim(name[at+1:], "0123456789") != "" && !strings.ContainsAny(name, "[:")
}

// reversed gives the name that a list has an address under: its octets from the last to the first (RFC 5782 2.1), of
// IPv6 its nibbles (2.4).
func reversed(a netip.Addr) string {
	if a.Is4() {
		b := a.As4()
		return fmt.Sprintf("%d.%d.%d.%d", b[3], b[2], b[1], b[0])
	}
	const hex = "0123456789abcdef"
	octets := a.As16()
	b := make([]byte, 0, 64)
	for _, o := range slices.Backward(octets[:]) {
		b = append(b, hex[o&15], '.', hex[o>>4], '.')
	}
	return string(b[:len(b)-1])
}

// notPublic are networks beside those that netip knows which no list can say anything of.
var notPublic = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"),     // RFC 1122 3.2.1.3
	netip.MustParsePrefix("100.64.0.0/10"), // RFC 6598: behind a provider's address translation
	netip.MustParsePrefix("192.0.0.0/24"),  // RFC 6890
	netip.MustParsePrefix("240.0.0.0/4"),   // RFC 1112 4
}

// public reports whether an address is one of the internet.
func public(a netip.Addr) bool {
	return a.IsGlobalUnicast() && !a.IsPrivate() && !slices.ContainsFunc(notPublic, func(p netip.Prefix) bool { return p.Contains(a) })
}

// report makes the result of what the lists say, in their order.
func report(opinions []opinion, shown string) filter.Result {
	var r filter.Result
	facts := make([]auth.ListResult, len(opinions))
	var silent []string
	for i := range opinions {
		o := &opinions[i]
		facts[i] = o.ListResult
		switch o.Result {
		case auth.ListClean:
		case auth.ListListed, auth.ListOtherCode:
			detail := shown + ": " + o.List + " " + strings.Join(o.Codes, " ")
			if o.Reason != "" {
				detail += " (" + o.Reason + ")"
			}
			if len(o.symbols) == 0 {
				r.Findings = append(r.Findings, filter.Finding{Detail: detail + ": no code that counts"})
			}
			for _, s := range o.symbols {
				r.Findings = append(r.Findings, filter.Finding{Symbol: s, Strength: 1, Detail: detail})
			}
		default:
			silent = append(silent, strings.Join(append([]string{o.List}, o.Codes...), " ")+": "+o.Reason)
		}
	}
	if len(silent) > 0 {
		r.Findings = append(r.Findings, filter.Finding{Symbol: unknown, Strength: 1, Detail: strings.Join(silent, "; ")})
	}
	r.Facts = []filter.Fact{auth.Lists.Of(facts)}
	return r
}
