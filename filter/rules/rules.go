// Package rules runs rules in the language of SpamAssassin's .cf files over a message, our own and those of the configuration, and
// scores what they hit. It refuses nobody itself.
package rules

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/filter/auth"
	"github.com/postern-mail/postern/rules"
	"github.com/postern-mail/postern/rules/eval"
	"github.com/postern-mail/postern/rules/text"
)

// Factory makes the filter "rules".
var Factory = filter.Factory{Kind: "rules", New: open}

// gaveUp is the symbol for rules that reached the limit of steps.
const gaveUp = "RULES_GAVE_UP"

// textCut is the symbol for a message of which rules did not see all.
const textCut = "RULES_TEXT_CUT"

// listsUnknown is the symbol for rules whose questions to the DNS were not answered.
const listsUnknown = "RULES_LISTS_UNKNOWN"

func open(env filter.Env, decode func(any) error) (filter.Spec, filter.Filter, error) {
	cfg := Defaults()
	if err := decode(&cfg); err != nil {
		return filter.Spec{}, nil, err
	}
	loaded, err := cfg.Load()
	if err != nil {
		return filter.Spec{}, nil, err
	}
	if err := loaded.refuse(); err != nil {
		return filter.Spec{}, nil, err
	}
	if err := cfg.inVain(loaded, env.Log); err != nil {
		return filter.Spec{}, nil, err
	}
	c := &check{name: env.Name, loaded: loaded, hostname: env.Hostname}
	if cfg.Scores == "network" || cfg.Scores == "both" {
		c.dns = env.DNS
	}
	if c.texts, err = cfg.Texts(loaded); err != nil {
		return filter.Spec{}, nil, err
	}
	spec := filter.Spec{
		Name: env.Name, Phases: filter.In(filter.Data),
		Wants:    []string{string(auth.SPF), string(auth.HeloSPF), string(auth.DKIM), string(auth.ARC), string(auth.DMARC), string(auth.IPRev)},
		Provides: []string{string(auth.RuleHits), string(auth.RulesGaveUp), string(auth.RulesTeach)},
		Symbols: []filter.Symbol{
			{Name: gaveUp, Weight: 1, Description: "rules reached the limit of steps, and may have hit or not"},
			{Name: textCut, Weight: 0.5, Description: "the message has more text, links or parts than rules look at"},
			{Name: listsUnknown, Weight: 0, Description: "the DNS did not answer rules that ask it, which may have hit or not"},
		},
	}
	if len(cfg.Files) == 0 && !cfg.Default {
		spec.Idle = "default is false, and files names none"
	}
	c.symbols = loaded.declare(&spec, env.Symbols, env.Log)
	loaded.warn(env.Log)
	return spec, c, nil
}

// check is the filter.
type check struct {
	name     string
	loaded   *Loaded
	symbols  map[*rules.Rule]string
	hostname string
	dns      filter.Resolver // nil where the network is not asked
	texts    text.Options    // but for how a message came
}

// ErrTooMuch tells that the rules of a message took more work than it may: what they would say is not known.
var ErrTooMuch = errors.New("rules: the message takes more work than one may")

// Check runs the rules. A rule that reaches the limit of steps is one that has not hit, and is named; that counts as much as the rule may,
// within a bound. A function that panics is an error of the whole, as every fault of ours, and so is a message that takes all the
// work that one may.
func (c *check) Check(ctx context.Context, in *filter.Input) (filter.Result, error) {
	if in.Content == nil {
		return filter.Result{}, nil
	}
	m := &eval.Mail{Text: text.Of(in.Content, c.options(in)), In: in, DNS: c.dns}
	if err := filter.Hold(ctx, m.Text.Memory()); err != nil {
		return filter.Result{}, fmt.Errorf("rules: %w", err)
	}
	found, err := c.loaded.Set.Run(ctx, m)
	if err == nil {
		err = m.Text.Err() // what could not be read was not found clean
	}
	if err != nil {
		return filter.Result{}, fmt.Errorf("rules: %w", err)
	}
	if found.Ended {
		return filter.Result{}, fmt.Errorf("%w: %d rules could not tell", ErrTooMuch, len(found.GaveUp))
	}
	var r filter.Result
	hits := make([]auth.RuleHit, len(found.Hits))
	for i := range found.Hits {
		h := &found.Hits[i]
		hits[i] = auth.RuleHit{Name: h.Rule.Name, Score: h.Score, Count: h.Count}
		if symbol, ok := c.symbols[h.Rule]; ok {
			r.Findings = append(r.Findings, filter.Finding{Symbol: symbol, Strength: float64(h.Times), Detail: detail(h)})
		}
	}
	if cut := m.Text.Cut(); cut != 0 {
		r.Findings = append(r.Findings, filter.Finding{Symbol: textCut, Strength: 1, Unknown: true, Detail: "not looked at whole: " + cut.String()})
	}
	r.Facts = []filter.Fact{auth.RuleHits.Of(hits)}
	if len(found.GaveUp) > 0 {
		r.Findings = append(r.Findings, filter.Finding{
			Symbol: gaveUp, Strength: min(found.Unknown, mostUnknown), Unknown: true, Detail: unknown(&found),
		})
		r.Facts = append(r.Facts, auth.RulesGaveUp.Of(len(found.GaveUp)))
	}
	if len(found.Unanswered) > 0 {
		r.Findings = append(r.Findings, filter.Finding{
			Symbol: listsUnknown, Strength: 1, Unknown: true, Detail: "not known whether these hit:" + named(found.Unanswered),
		})
	}
	teach := c.loaded.Set.Teaching(&found)
	teach.Stage, teach.Partial = c.name, m.Text.Cut() != 0
	r.Facts = append(r.Facts, auth.RulesTeach.Of(teach))
	return r, nil
}

const (
	mostUnknown = 5  // what rules that gave up count for at most: as much as marks a message by default; it refuses none (filter.Finding.Unknown)
	mostNamed   = 10 // rules of which nobody knows whether they hit whose names are told
)

// unknown says which rules gave up, and what they may come to.
func unknown(found *rules.Result) string {
	return fmt.Sprintf("not known whether these hit, which may count up to %.4g:", found.Unknown) + named(found.GaveUp)
}

// named gives the names of rules, with a blank before each.
func named(all []*rules.Rule) string {
	var b strings.Builder
	for i, r := range all {
		if i == mostNamed {
			fmt.Fprintf(&b, " and %d more", len(all)-i)
			break
		}
		b.WriteString(" " + r.Name)
	}
	return b.String()
}

// mostTest is how much of what a rule looks for is shown, in octets.
const mostTest = 80

// detail says what a hit is about, by what the rule looks for where it has no description, and shows what matched.
func detail(h *rules.Hit) string {
	var b strings.Builder
	if b.WriteString(h.Rule.Description); b.Len() == 0 {
		test := h.Rule.Text
		if len(test) > mostTest {
			test = test[:mostTest] + "…"
		}
		b.WriteString(strings.ToValidUTF8(test, ""))
	}
	if len(h.Text) > 0 {
		if b.Len() > 0 {
			b.WriteString(": ")
		}
		b.WriteString(strings.ToValidUTF8(string(h.Text), "\ufffd"))
	}
	switch {
	case h.Times > 1:
		fmt.Fprintf(&b, " (%d times, each counts)", h.Times)
	case h.Count > 1:
		fmt.Fprintf(&b, " (%d times)", h.Count)
	}
	return strings.Join(strings.Fields(b.String()), " ")
}

// Texts says how messages are read for the rules, but for how one came: by the files' settings, and whose Received fields the
// configuration believes, or the files where it does not say.
func (c *Config) Texts(l *Loaded) (o text.Options, err error) {
	o = l.Set.Texts()
	if c.namesNetworks() {
		o.Trusted, o.Internal, err = c.networks()
	}
	return o, err
}

// options tell how the message came: the client is the newest hop, of which no Received field speaks yet.
func (c *check) options(in *filter.Input) text.Options {
	o := c.texts
	if t := in.Transaction; t != nil {
		o.From = t.From
		o.Client.ID, o.Client.Time = t.ID, t.Began
	}
	if s := in.Session; s != nil && s.Client.Addr().IsValid() {
		addr := s.Client.Addr().Unmap().WithZone("")
		o.Client.Addr, o.Client.Name, o.Client.Helo, o.Client.ESMTP = addr, s.PTR, s.Helo, s.ESMTP
		o.Client.TLS, o.Client.Login, o.Client.By = s.TLS != nil, s.User, c.hostname
		if s.Relay { // one of our own: what it hands over comes from nobody else
			own := text.NetworksOf(netip.PrefixFrom(addr, addr.BitLen())) // before what excludes it
			o.Trusted, o.Internal = slices.Concat(own, o.Trusted), slices.Concat(own, o.Internal)
		}
	}
	// A message that nobody hands over, as in a scan of a file, has no envelope unless one was named.
	o.HasEnvelope = o.Client.Addr.IsValid() || !o.From.IsZero()
	return o
}
