// Package arc validates the ARC chain of a message (RFC 8617), and says which author domains sealers that the
// configuration trusts have vouched for. It reports; what a word of a trusted sealer is worth is for others to decide.
package arc

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/filter/auth"
	"github.com/postern-mail/postern/internal/dkim"
	"github.com/postern-mail/postern/internal/dkim/arc"
	"github.com/postern-mail/postern/mail"
)

// Factory makes the filter "arc".
var Factory = filter.Factory{Kind: "arc", New: open}

// config is the filter's own configuration.
type config struct {
	TrustedSealers []sealer `yaml:"trusted_sealers"`
}

// sealer is a domain in A-labels and lower case; one that begins with a dot is for all domains below.
type sealer string

// UnmarshalText reads a domain, or "*." and a domain for all below it.
func (s *sealer) UnmarshalText(text []byte) error {
	name, below := strings.CutPrefix(string(text), "*.")
	d, err := mail.Domain(name)
	if err != nil || !strings.Contains(d, ".") {
		return fmt.Errorf("arc: %q is no sealer; allowed: example.org, *.example.org", text)
	}
	if below {
		d = "." + d
	}
	*s = sealer(d)
	return nil
}

const trusted = "ARC_TRUSTED"

// RFC 8617 5.2: a chain that fails must be treated like none. One that passes says nothing by itself: anybody can make
// one. And an author who is genuine may still send spam. So none of them weighs anything.
var symbols = map[auth.Result]filter.Symbol{
	auth.None:      {Name: "ARC_NONE", Weight: 0, Description: "the message bears no ARC chain"},
	auth.Pass:      {Name: "ARC_PASS", Weight: 0, Description: "the ARC chain passes"},
	auth.Fail:      {Name: "ARC_FAIL", Weight: 0, Description: "the ARC chain is broken"},
	auth.TempError: {Name: "ARC_TEMPERROR", Weight: 0, Description: "a key of the ARC chain could not be asked for now"},
}

var trustedSymbol = filter.Symbol{
	Name: trusted, Weight: 0,
	Description: "the message is as a trusted sealer handed it on, who saw dmarc=pass for a domain",
}

func open(env filter.Env, decode func(any) error) (filter.Spec, filter.Filter, error) {
	var cfg config
	if err := decode(&cfg); err != nil {
		return filter.Spec{}, nil, err
	}
	c := &check{dns: env.DNS, trusted: cfg.TrustedSealers}
	spec := filter.Spec{
		Name: env.Name, Phases: filter.In(filter.Data), Provides: []string{string(auth.ARC)},
		Symbols: []filter.Symbol{trustedSymbol},
	}
	for _, r := range []auth.Result{auth.None, auth.Pass, auth.Fail, auth.TempError} {
		spec.Symbols = append(spec.Symbols, symbols[r])
	}
	return spec, c, nil
}

// keyBudget is the longest that all look-ups of keys may take.
const keyBudget = 10 * time.Second

type check struct {
	dns     filter.Resolver
	trusted []sealer
	now     func() time.Time
}

// Check validates the chain of the content.
func (c *check) Check(ctx context.Context, in *filter.Input) (filter.Result, error) {
	got, err := c.validate(ctx, in.Content)
	if err != nil {
		return filter.Result{}, err
	}
	out := filter.Result{Facts: []filter.Fact{auth.ARC.Of(got)}}
	f := filter.Finding{Symbol: symbols[got.Result].Name, Strength: 1, Unknown: got.Result == auth.TempError, Detail: got.Reason}
	if got.Result == auth.Pass {
		f.Detail = "sealed by " + strings.Join(got.Sealers, ", ")
	}
	out.Findings = append(out.Findings, f)
	if len(got.Vouched) > 0 {
		out.Findings = append(out.Findings, filter.Finding{
			Symbol: trusted, Strength: 1, Detail: "dmarc=pass for " + strings.Join(got.Vouched, ", "),
		})
	}
	return out, nil
}

func (c *check) validate(ctx context.Context, content *mail.Content) (auth.ARCResult, error) {
	header := content.Header()
	if err := content.Err(); err != nil {
		return auth.ARCResult{}, fmt.Errorf("arc: read the header: %w", err)
	}
	if header.Truncated() {
		// There may be sets further down: neither none nor the chain that was read.
		return auth.ARCResult{Result: auth.Fail, Reason: "not validated: the header is too long"}, nil
	}
	if !arc.Present(header.Fields()) {
		return auth.ARCResult{Result: auth.None}, nil
	}
	m, err := dkim.MaterialOf(content)
	if err != nil {
		return auth.ARCResult{}, fmt.Errorf("arc: %w", err)
	}
	chain, err := arc.Validate(ctx, m, arc.Options{Resolver: c.dns, Budget: keyBudget, Now: c.now})
	if err != nil {
		return auth.ARCResult{}, err
	}
	got := auth.ARCResult{Result: auth.Result(chain.Status), Reason: chain.Reason, OldestAMS: chain.Oldest}
	for i := range chain.Sets {
		got.Sealers = append(got.Sealers, chain.Sets[i].SealDomain())
	}
	if chain.Status == arc.Pass {
		got.Trusted, got.Vouched = c.vouched(chain)
	}
	return got, nil
}

// vouched says which author domains trusted sealers have seen pass DMARC, of a chain that passes.
//
// A seal proves who wrote it, and nothing else: anybody can seal whatever he makes up. So a chain is worth the word of
// its sealers, as far as the message is still what a trusted one of them saw. That is so where there is a set k such
// that
//
//   - its sealer is trusted and its message signature verifies now: the author and the body are as the sealer
//     handed them on, whoever has had the message since. Seals above k add nothing to that and take nothing away;
//   - a set j, at k or before it, has the result dmarc=pass for a domain;
//   - all sealers from j to k are trusted. Each of them has sealed cv=pass, which says that the message came to it as
//     the one before had handed it on; and if one of them has changed it, as lists do, that was a trusted one.
//
// A message signature counts only if it covers From and the whole body: else somebody between two sealers
// could have put another author on top. That of k does not where there are more of a field that readers show than it
// covers: the one on top may be anybody's.
func (c *check) vouched(chain *arc.Chain) (isTrusted bool, domains []string) {
	if len(c.trusted) == 0 {
		return false, nil
	}
	unbroken := false // there is a k at or above this set, and all between are trusted
	for i := len(chain.Sets) - 1; i >= 0; i-- {
		s := &chain.Sets[i]
		switch {
		case !c.trusts(s.SealDomain()) || !c.trusts(s.SignatureDomain()) || !s.Covers("from"):
			unbroken = false
			continue
		case s.Intact("from"):
			unbroken = true
		}
		if !unbroken {
			continue
		}
		isTrusted = true
		if d := author(s); d != "" && !slices.Contains(domains, d) {
			domains = append(domains, d)
		}
	}
	return isTrusted, domains
}

func (c *check) trusts(domain string) bool {
	return domain != "" && slices.ContainsFunc(c.trusted, func(t sealer) bool {
		return domain == string(t) || t[0] == '.' && strings.HasSuffix(domain, string(t))
	})
}

// author gives the domain that a set says has passed DMARC, and "" for none. A field with several results for dmarc
// says nothing: one of them may have come out of what the sealer has quoted.
func author(s *arc.Set) string {
	r, ok := arc.ParseAuthResults(s.AuthResults.Raw[strings.IndexByte(s.AuthResults.Raw, ':')+1:])
	if !ok {
		return ""
	}
	found := ""
	for _, x := range r.Results {
		if x.Method != "dmarc" {
			continue
		}
		from, one := x.Property("header.from")
		d, err := mail.Domain(from)
		if x.Value != "pass" || !one || err != nil || !strings.Contains(d, ".") || found != "" {
			return ""
		}
		found = d
	}
	return found
}
