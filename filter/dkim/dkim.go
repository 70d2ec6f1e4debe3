// Package dkim verifies the DKIM signatures of a message (RFC 6376, 8301, 8463). It reports what each of them is
// worth; it neither signs nor refuses. What verifies them is internal/dkim.
package dkim

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/filter/auth"
	"github.com/postern-mail/postern/internal/dkim"
	"github.com/postern-mail/postern/mail"
)

// Factory makes the filter "dkim".
var Factory = filter.Factory{Kind: "dkim", New: open}

// settings are the keys of the filter's own.
type settings struct {
	Signatures    int  `yaml:"signatures"`     // how many are verified
	AcceptPartial bool `yaml:"accept_partial"` // whether l= may leave out a part of the body
}

const (
	noSignature = "DKIM_NONE"
	addedFields = "DKIM_ADDED_FIELDS"
)

// symbols by result. RFC 6376 6.1: a message whose signatures are broken is to be treated like one without, so none
// of them weighs much.
var symbols = map[auth.Result]filter.Symbol{
	auth.Pass:      {Name: "DKIM_PASS", Weight: 0, Description: "a DKIM signature verifies"},
	auth.Fail:      {Name: "DKIM_FAIL", Weight: 0.3, Description: "a DKIM signature does not match the message"},
	auth.Policy:    {Name: "DKIM_POLICY", Weight: 0.1, Description: "a DKIM signature was not looked at, or is of a kind that is not accepted"},
	auth.TempError: {Name: "DKIM_TEMPERROR", Weight: 0, Description: "the key of a DKIM signature could not be asked for now"},
	auth.PermError: {Name: "DKIM_PERMERROR", Weight: 0.3, Description: "a DKIM signature or its key is malformed, missing, expired or too weak"},
}

var (
	absent = filter.Symbol{Name: noSignature, Weight: 0, Description: "the message bears no DKIM signature"}
	added  = filter.Symbol{Name: addedFields, Weight: 0.5, Description: "a field that readers show stands more often than a DKIM signature that verifies covers"}
)

func open(env filter.Env, decode func(any) error) (filter.Spec, filter.Filter, error) {
	s := settings{Signatures: dkim.MaxVerified}
	if err := decode(&s); err != nil {
		return filter.Spec{}, nil, err
	}
	if s.Signatures < 1 || s.Signatures > dkim.MaxReported {
		return filter.Spec{}, nil, filter.At(fmt.Errorf("dkim: signatures: %d is too few or too many; allowed: 1 to %d", s.Signatures, dkim.MaxReported), "signatures")
	}
	spec := filter.Spec{
		Name: env.Name, Phases: filter.In(filter.Data), Provides: []string{string(auth.DKIM)},
		Symbols: []filter.Symbol{absent, added},
	}
	for _, r := range []auth.Result{auth.Pass, auth.Fail, auth.Policy, auth.TempError, auth.PermError} {
		spec.Symbols = append(spec.Symbols, symbols[r])
	}
	return spec, &check{settings: s, dns: env.DNS, now: time.Now}, nil
}

type check struct {
	settings

	dns filter.Resolver
	now func() time.Time
}

// Check verifies the signatures of the content.
func (c *check) Check(ctx context.Context, in *filter.Input) (filter.Result, error) {
	results, err := c.verify(ctx, in.Content)
	if err != nil {
		return filter.Result{}, err
	}
	return filter.Result{Findings: findings(results), Facts: []filter.Fact{auth.DKIM.Of(results)}}, nil
}

// verify gives a result for each signature in the order of the fields. An error means that the content
// could not be read or that the context has ended.
func (c *check) verify(ctx context.Context, content *mail.Content) ([]auth.DKIMResult, error) {
	material, err := dkim.MaterialOf(content)
	if err != nil {
		return nil, err
	}
	checks := material.Checks()
	if content.Header().Truncated() {
		return refuse(checks), nil
	}
	err = dkim.Judge(ctx, material.Fields, material.Bodies, checks, dkim.Options{
		Resolver: c.dns, Now: c.now, MaxVerified: c.Signatures, AcceptPartial: c.AcceptPartial,
	})
	if err != nil {
		return nil, err
	}
	results := make([]auth.DKIMResult, 0, len(checks))
	for _, k := range checks {
		results = append(results, describe(k))
	}
	return results, nil
}

// refuse is the answer to a header that a limit has cut: which fields a signature picks can't be told then, nor whether there
// are signatures further down.
func refuse(checks []*dkim.Check) []auth.DKIMResult {
	results := make([]auth.DKIMResult, 0, max(1, len(checks)))
	for _, k := range checks {
		results = append(results, describe(k))
	}
	if len(results) == 0 {
		results = append(results, auth.DKIMResult{})
	}
	for i := range results {
		results[i].Result, results[i].Reason = auth.Policy, "not verified: the header is longer than is read"
	}
	return results
}

// describe puts a signature and its worth into the words of the fact.
func describe(k *dkim.Check) auth.DKIMResult {
	r := auth.DKIMResult{
		Result: auth.Result(k.Result), Reason: k.Reason,
		Domain: k.Domain, Selector: k.Selector, Algorithm: k.Algorithm, Identity: k.Identity, Prefix: k.Prefix,
		Signed: k.Signed, Expires: k.Expires, OverSigned: k.OverSigned, Added: k.Added, Unsigned: k.Unsigned, Limited: k.Limit != dkim.Whole,
	}
	if k.Key != nil {
		r.KeyBits, r.Testing = k.Key.Bits, k.Key.Testing
	}
	return r
}

// findings gives one finding for each signature. Signatures do not add up: only the first of each symbol scores, and
// where one verifies no other does, for a list that passes a message on often breaks the author's.
func findings(results []auth.DKIMResult) []filter.Finding {
	if len(results) == 0 {
		return []filter.Finding{{Symbol: noSignature, Strength: 1}}
	}
	scored := map[string]bool{}
	for _, r := range results {
		if r.Result == auth.Pass && !r.Testing {
			for _, other := range []auth.Result{auth.Fail, auth.Policy, auth.TempError, auth.PermError} {
				scored[symbols[other].Name] = true
			}
		}
	}
	var all []filter.Finding
	find := func(symbol, detail string, counts bool) {
		f := filter.Finding{Symbol: symbol, Unknown: symbol == symbols[auth.TempError].Name, Detail: detail}
		if counts && !scored[symbol] {
			f.Strength, scored[symbol] = 1, true
		}
		all = append(all, f)
	}
	for _, r := range results {
		// RFC 6376 3.6.1: with t=y a message is not to be treated differently from one that is not signed.
		find(symbols[r.Result].Name, detail(r), !r.Testing)
		if r.Result == auth.Pass && len(r.Added) > 0 {
			find(addedFields, fmt.Sprintf("d=%s signs fewer than there are of: %s", r.Domain, strings.Join(r.Added, ", ")), !r.Testing)
		}
	}
	return all
}

// detail says in one line what is known of a signature.
func detail(r auth.DKIMResult) string {
	s := fmt.Sprintf("d=%s s=%s", r.Domain, r.Selector)
	if r.KeyBits > 0 {
		s += fmt.Sprintf(" (%s, %d bits", r.Algorithm, r.KeyBits)
		if r.Testing {
			s += ", in test"
		}
		s += ")"
	}
	if r.Reason != "" {
		s += ": " + r.Reason
	}
	if r.Result == auth.Pass && len(r.Unsigned) > 0 {
		s += ", not signed: " + strings.Join(r.Unsigned, ", ")
	}
	return s
}
