// Package dnsbl asks DNS lists (RFC 5782) about the client's address, its HELO name, the sender's domain and the names that
// the content links to: lists of those who send spam, and lists of those who do not. It scores what they say and refuses
// nobody itself.
package dnsbl

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/filter/auth"
	"github.com/postern-mail/postern/mail"
	"github.com/postern-mail/postern/rules/text"
)

// Factory makes the filter "dnsbl".
var Factory = filter.Factory{Kind: "dnsbl", New: open}

// unknown is the symbol for lists that could not tell.
const unknown = "DNSBL_UNKNOWN"

// defaultBudget is how long all lists together may take in one phase. Those that serve the world answer within some tens
// of milliseconds; what takes longer than this does not come any more.
const defaultBudget = 4 * time.Second

// defaultNames is how many names of one content are looked up: with a handful of lists that is what the budget of questions
// for one message allows.
const defaultNames = 20

func defaults() config { return config{Budget: defaultBudget, Names: defaultNames} }

func open(env filter.Env, decode func(any) error) (filter.Spec, filter.Filter, error) {
	cfg := defaults()
	if err := decode(&cfg); err != nil {
		return filter.Spec{}, nil, err
	}
	lists, symbols, err := compile(cfg)
	if err != nil {
		return filter.Spec{}, nil, err
	}
	c := &check{asker: asker{dns: env.DNS, log: env.Log, now: time.Now}, budget: cfg.Budget, ours: env.Ours, names: cfg.Names}
	if c.skip, err = domains(cfg.Skip); err != nil {
		return filter.Spec{}, nil, err
	}
	if c.hostname, err = mail.Domain(env.Hostname); err != nil {
		c.hostname = ""
	}
	spec := filter.Spec{
		Name: env.Name, Provides: []string{string(auth.Lists)},
		Symbols: append(symbols, filter.Symbol{Name: unknown, Weight: 0, Description: "a DNS list could not tell"}),
	}
	for _, l := range lists {
		for _, of := range l.of {
			if phase := phases[of]; !slices.Contains(c.lists[phase], l) {
				c.lists[phase] = append(c.lists[phase], l)
				spec.Phases |= filter.In(phase)
			}
		}
	}
	for _, l := range lists {
		spec.Lists = append(spec.Lists, l.name)
	}
	if len(lists) == 0 {
		spec.Phases, spec.Idle = filter.In(filter.Connect), "lists names none"
	}
	return spec, c, nil
}

// phases tells when lists are asked about whom.
var phases = map[string]filter.Phase{
	ofClient: filter.Connect, ofHelo: filter.Helo, ofSender: filter.Mail, ofLinks: filter.Data, ofHosts: filter.Data,
}

// check is the filter.
type check struct {
	asker
	lists    [filter.Data + 1][]*list // by phase
	names    int                      // of one content
	skip     []string
	budget   time.Duration
	hostname string
	ours     func(string) bool
}

// Check asks the lists of the phase, all side by side. Clients with the right to relay, those of exempt networks and
// private addresses are not looked up, nor are names that they give.
func (c *check) Check(ctx context.Context, in *filter.Input) (filter.Result, error) {
	client := in.Session.Client.Addr().Unmap().WithZone("")
	if in.Session.Relay || in.Session.Exempt || in.Phase != filter.Data && !public(client) || len(c.lists[in.Phase]) == 0 {
		return filter.Result{}, nil
	}
	questions, err := c.questions(ctx, in, client)
	if err != nil {
		return filter.Result{}, fmt.Errorf("dnsbl: %w", err)
	}
	var opinions []*opinion
	limited, cancel := context.WithTimeout(ctx, c.timeFor(ctx))
	defer cancel()
	var wait filter.Group
	for _, l := range c.lists[in.Phase] {
		for _, q := range questions {
			if !slices.Contains(l.of, q.of) {
				continue
			}
			o := new(opinion)
			opinions = append(opinions, o)
			wait.Go(func() { *o = c.ask(ctx, limited, l, q) })
		}
	}
	wait.Wait()
	if err := ctx.Err(); err != nil {
		return filter.Result{}, fmt.Errorf("dnsbl: %s: %w", in.Phase, err)
	}
	if len(opinions) == 0 {
		return filter.Result{}, nil
	}
	return report(opinions), nil
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

// questions gives what lists are asked in the phase.
func (c *check) questions(ctx context.Context, in *filter.Input, client netip.Addr) ([]question, error) {
	q := question{kind: domain}
	switch in.Phase {
	case filter.Connect:
		q = question{of: ofClient, kind: ipv4, name: text.Reversed(client), shown: client.String()}
		if client.Is6() {
			q.kind = ipv6
		}
		return []question{q}, nil
	case filter.Helo:
		q.of = ofHelo
		q.name, _ = mail.Domain(in.Session.Helo)
	case filter.Data:
		return c.linked(ctx, in.Content)
	default:
		q.of, q.name = ofSender, in.Transaction.From.Domain()
	}
	if !c.foreign(q.name) {
		return nil, nil
	}
	q.shown = q.name
	return []question{q}, nil
}

// foreign reports whether a name is one that lists are asked about: not what nobody could have an entry for, nor what nobody
// here wants to know.
func (c *check) foreign(name string) bool {
	return isDomain(name) && name != c.hostname && (c.ours == nil || !c.ours(name))
}

// isDomain reports whether a name has a domain behind it, and is no address: lists of names answer those with errors.
func isDomain(name string) bool {
	at := strings.LastIndexByte(name, '.')
	return at > 0 && strings.Trim(name[at+1:], "0123456789") != "" && !strings.ContainsAny(name, "[:")
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

// report makes the result of what the lists say, in their order. A symbol counts once of a list, however many names are on
// it.
func report(opinions []*opinion) filter.Result {
	var r filter.Result
	facts := make([]auth.ListResult, len(opinions))
	var silent []string
	at := map[string]int{} // of findings, by list and symbol
	for i, o := range opinions {
		facts[i] = o.ListResult
		switch o.Result {
		case auth.ListClean:
		case auth.ListListed, auth.ListOtherCode:
			detail := o.shown + ": " + o.List + " " + strings.Join(o.Codes, " ")
			if o.Reason != "" {
				detail += " (" + o.Reason + ")"
			}
			if len(o.symbols) == 0 {
				r.Findings = append(r.Findings, filter.Finding{Detail: detail + ": no code that counts"})
			}
			for _, s := range o.symbols {
				if f, ok := at[o.List+" "+s]; ok {
					r.Findings[f].Detail = joined(r.Findings[f].Detail, detail)
					continue
				}
				at[o.List+" "+s] = len(r.Findings)
				r.Findings = append(r.Findings, filter.Finding{Symbol: s, Strength: 1, Detail: detail})
			}
		default:
			if says := strings.Join(append([]string{o.List}, o.Codes...), " ") + ": " + o.Reason; !slices.Contains(silent, says) {
				silent = append(silent, says)
			}
		}
	}
	if len(silent) > 0 {
		r.Findings = append(r.Findings, filter.Finding{Symbol: unknown, Strength: 1, Unknown: true, Detail: strings.Join(silent, "; ")})
	}
	r.Facts = []filter.Fact{auth.Lists.Of(facts)}
	return r
}

// maxDetail bounds how much is told of several names on a list, in octets.
const maxDetail = 300

func joined(detail, more string) string {
	if len(detail)+len(more) > maxDetail {
		return strings.TrimSuffix(detail, "; …") + "; …"
	}
	return detail + "; " + more
}
