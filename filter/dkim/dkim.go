// Package dkim verifies the DKIM signatures of a message (RFC 6376, 8301, 8463). It reports what each of them is
// worth; it neither signs nor refuses.
package dkim

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/emersion/go-msgauth/dkim"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/filter/auth"
	"github.com/postern-mail/postern/mail"
)

// Factory makes the filter "dkim". It has no settings of its own.
var Factory = filter.Factory{Kind: "dkim", New: open}

const noSignature = "DKIM_NONE"

var absent = filter.Symbol{Name: noSignature, Weight: 0, Description: "the message bears no DKIM signature"}

// symbols by result. RFC 6376 6.1: a message whose signatures are broken is to be treated like one without, so none
// of them weighs much.
var symbols = map[auth.Result]filter.Symbol{
	auth.Pass:      {Name: "DKIM_PASS", Weight: 0, Description: "a DKIM signature verifies"},
	auth.Fail:      {Name: "DKIM_FAIL", Weight: 0.3, Description: "a DKIM signature does not match the message"},
	auth.Policy:    {Name: "DKIM_POLICY", Weight: 0.1, Description: "a DKIM signature was not looked at, or is of a kind that is not accepted"},
	auth.TempError: {Name: "DKIM_TEMPERROR", Weight: 0, Description: "the key of a DKIM signature could not be asked for now"},
	auth.PermError: {Name: "DKIM_PERMERROR", Weight: 0.3, Description: "a DKIM signature or its key is malformed, missing, expired or too weak"},
}

func open(env filter.Env, decode func(any) error) (filter.Spec, filter.Filter, error) {
	var none struct{}
	if err := decode(&none); err != nil {
		return filter.Spec{}, nil, err
	}
	spec := filter.Spec{
		Name: env.Name, Phases: filter.In(filter.Data), Provides: []string{string(auth.DKIM)},
		Symbols: []filter.Symbol{absent},
	}
	for _, r := range []auth.Result{auth.Pass, auth.Fail, auth.Policy, auth.TempError, auth.PermError} {
		spec.Symbols = append(spec.Symbols, symbols[r])
	}
	return spec, &check{dns: env.DNS}, nil
}

type check struct{ dns filter.Resolver }

// Check verifies the signatures of the content.
func (c *check) Check(ctx context.Context, in *filter.Input) (filter.Result, error) {
	results, err := c.verify(ctx, in.Content)
	if err != nil {
		return filter.Result{}, err
	}
	return filter.Result{Findings: findings(results), Facts: []filter.Fact{auth.DKIM.Of(results)}}, nil
}

// findings gives one finding for each signature. Signatures do not add up: only the first of each symbol scores, and
// where one verifies no other does, for a list that passes a message on often breaks the author's.
func findings(results []auth.DKIMResult) []filter.Finding {
	if len(results) == 0 {
		return []filter.Finding{{Symbol: noSignature, Strength: 1}}
	}
	scored := map[auth.Result]bool{}
	for _, r := range results {
		if r.Result == auth.Pass {
			scored = map[auth.Result]bool{auth.Fail: true, auth.Policy: true, auth.TempError: true, auth.PermError: true}
		}
	}
	var all []filter.Finding
	for _, r := range results {
		f := filter.Finding{Symbol: symbols[r.Result].Name, Strength: 1, Detail: fmt.Sprintf("d=%s s=%s", r.Domain, r.Selector)}
		if r.Reason != "" {
			f.Detail += ": " + r.Reason
		}
		if scored[r.Result] {
			f.Strength = 0
		}
		scored[r.Result] = true
		all = append(all, f)
	}
	return all
}

const (
	// maxVerified is how many signatures are verified, the topmost first. Each costs a look-up and a pass over
	// the body. RFC 6376 6.1: a verifier may limit them.
	maxVerified = 5
	// keyBudget is the longest that all look-ups of keys may take: less than the time that a stage has, so that
	// a slow domain gets its result and is not taken for a fault of ours.
	keyBudget = 15 * time.Second
	// maxKeyRecord bounds a key record in octets: an RSA key of 8192 bits has some 1400. The sender chooses the
	// key, and so the price of the arithmetic.
	maxKeyRecord = 2048
)

// verify gives a result for each signature in the order of the fields. An error means that the content
// could not be read or that the context has ended.
func (c *check) verify(ctx context.Context, content *mail.Content) ([]auth.DKIMResult, error) {
	blob := content.Blob()
	head, err := scanHeader(blob)
	if err != nil {
		return nil, fmt.Errorf("dkim: read the header: %w", err)
	}
	results := make([]auth.DKIMResult, 0, len(head.signatures))
	for _, s := range head.signatures {
		results = append(results, describe(s))
	}
	if reason := head.excess(); reason != "" {
		if len(results) == 0 && head.cut {
			results = append(results, auth.DKIMResult{}) // there may be signatures further down: not "none"
		}
		return refuse(results, reason), nil
	}
	if len(results) == 0 {
		return results, nil
	}
	limited, cancel := context.WithTimeout(ctx, keyBudget)
	defer cancel()
	body := &reader{ctx: ctx, r: io.MultiReader(bufio.NewReaderSize(blob.Section(0, blob.Size()), 64<<10), strings.NewReader(head.missing))}
	verified, err := dkim.VerifyWithOptions(body, &dkim.VerifyOptions{
		MaxVerifications: maxVerified,
		LookupTXT:        func(name string) ([]string, error) { return c.lookup(limited, name) },
	})
	if body.err != nil {
		return nil, fmt.Errorf("dkim: read the content: %w", body.err)
	}
	if ctx.Err() != nil {
		return nil, fmt.Errorf("dkim: %w", ctx.Err())
	}
	if body.blank {
		return refuse(results, fmt.Sprintf("the body has more than %d octets of blank lines in a row", maxBlank)), nil
	}
	if err != nil && !errors.Is(err, dkim.ErrTooManySignatures) {
		return nil, fmt.Errorf("dkim: verify: %w", err)
	}
	if want := min(len(results), maxVerified); len(verified) != want {
		return nil, fmt.Errorf("dkim: verify: %d results for %d signatures", len(verified), want)
	}
	for i := range results {
		if i < len(verified) {
			judge(&results[i], head.signatures[i], verified[i].Err)
		} else {
			results[i].Result = auth.Policy
			results[i].Reason = fmt.Sprintf("not verified: only %d signatures are", maxVerified)
		}
	}
	return results, nil
}

// describe says of a signature what its own tags say, before anything is known of its worth.
func describe(s signature) auth.DKIMResult {
	b := s.tags["b"]
	return auth.DKIMResult{
		Domain:    normal(clip(s.tags["d"])),
		Selector:  clip(s.tags["s"]),
		Algorithm: strings.ToLower(clip(s.tags["a"])),
		Identity:  clip(s.tags["i"]),
		Prefix:    b[:min(len(b), 8)], // RFC 6008 3: eight characters tell signatures apart
	}
}

// normal gives a domain in lower case and as A-labels where it is a domain name. The library compares and asks for
// it as it was written.
func normal(domain string) string {
	if d, err := mail.Domain(domain); err == nil {
		return d
	}
	return strings.ToLower(domain)
}

func refuse(results []auth.DKIMResult, reason string) []auth.DKIMResult {
	for i := range results {
		results[i].Result, results[i].Reason = auth.Policy, "not verified: "+reason
	}
	return results
}

// judge puts the library's word on a signature into RFC 8601's.
func judge(r *auth.DKIMResult, s signature, err error) {
	_, partial := s.tags["l"]
	switch {
	case err == nil:
		r.Result = auth.Pass
		return
	case dkim.IsTempFail(err):
		r.Result = auth.TempError
	case dkim.IsPermFail(err):
		r.Result = auth.PermError
	case partial:
		// RFC 6376 8.2: with l= anybody may add to the body. The library refuses it before it compares anything.
		r.Result = auth.Policy
	default:
		r.Result = auth.Fail
	}
	r.Reason = clip(strings.TrimPrefix(err.Error(), "dkim: "))
}

// lookup asks for a key record. The library sorts errors by a type assertion on net.Error, so that is what it
// gets; the text leaves out which server was asked, as it may leave the house.
func (c *check) lookup(ctx context.Context, name string) ([]string, error) {
	texts, err := c.dns.LookupTXT(ctx, name)
	var de *net.DNSError
	switch {
	case err == nil:
	case ctx.Err() != nil:
		return nil, &net.DNSError{Err: "no answer in time", Name: clip(name), IsTimeout: true, IsTemporary: true}
	case errors.As(err, &de) && de.IsNotFound:
		return nil, &net.DNSError{Err: "not found", Name: clip(name), IsNotFound: true}
	default:
		return nil, &net.DNSError{Err: "server failure", Name: clip(name), IsTemporary: true}
	}
	size := 0
	for _, t := range texts {
		size += len(t)
	}
	if size > maxKeyRecord {
		return nil, fmt.Errorf("the key record has %d octets, more than %d", size, maxKeyRecord)
	}
	return texts, nil
}

// textLimit bounds, in octets, what is quoted of the message and the DNS: as much as a domain name may have.
const textLimit = 253

func clip(s string) string {
	if len(s) > textLimit {
		s = strings.ToValidUTF8(s[:textLimit], "") + "…"
	}
	return s
}
