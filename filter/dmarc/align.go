package dmarc

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/filter/auth"
	"github.com/postern-mail/postern/mail"
)

// maxIdentifiers bounds how many domains of signatures are held against the author's.
const maxIdentifiers = 20

// identifiers are the domains that other mechanisms speak of (RFC 9989 4.3).
type identifiers struct {
	spf, dkim         []string // Authenticated Identifiers: what passes
	spfTemp, dkimTemp []string // what might have, had the DNS answered
	said              string   // the results, for people
}

// identify gathers the results of SPF and DKIM.
func identify(in *filter.Input) identifiers {
	var ids identifiers
	add := func(to *[]string, domain string) {
		if d, err := mail.Domain(domain); err == nil && !slices.Contains(*to, d) && len(*to) < maxIdentifiers {
			*to = append(*to, d)
		}
	}
	said := []string{"spf=none"}
	// RFC 9989 3.2.4, 4.4.2: the MAIL FROM identity only, which for the null reverse-path is postmaster at the HELO name
	// (RFC 7208 2.4). The separate check of the HELO name, the fact helo_spf, is none.
	if r, ok := auth.SPF.From(in); ok {
		said[0] = "spf=" + string(r.Result) + " " + r.Domain
		switch r.Result {
		case auth.Pass:
			add(&ids.spf, r.Domain)
		case auth.TempError:
			add(&ids.spfTemp, r.Domain)
		}
	}
	signatures, _ := auth.DKIM.From(in)
	for i, r := range signatures {
		if i < 3 {
			said = append(said, "dkim="+string(r.Result)+" "+r.Domain)
		}
		switch r.Result {
		case auth.Pass:
			add(&ids.dkim, r.Domain)
		case auth.TempError:
			add(&ids.dkimTemp, r.Domain)
		}
	}
	if len(signatures) == 0 {
		said = append(said, "dkim=none")
	}
	ids.said = strings.Join(said, ", ")
	return ids
}

// evaluation is what DMARC says of one Author Domain.
type evaluation struct {
	domain      string
	tree        tree
	policy, tag string // as requested, before t=y
	result      auth.Result
	spf, dkim   bool // aligned
	reason      string
	awaited     bool // something may pass yet, and what is asked for is known: TempError is not that of the record
	local       bool // nobody was asked for a policy, and quarantine stands in for it
}

// evaluate runs the mechanism for one domain (RFC 9989 5.3). The domain's own record of handling is left to others.
func (d *discovery) evaluate(ctx context.Context, domain string, ids identifiers, local bool) evaluation {
	e := evaluation{domain: domain}
	own := d.at(ctx, domain)
	e.tree = tree{domain: domain, record: own.record}
	err := own.err
	if err == nil && own.record == nil {
		e.tree, err = d.treeOf(ctx, domain)
	}
	r := e.tree.record
	switch {
	case err != nil && local && (slices.Contains(ids.spf, domain) || slices.Contains(ids.dkim, domain)):
		e.result, e.reason = auth.None, "no answer about the record of "+domain+", and an aligned pass"
		return e
	case err != nil:
		e.awaited = local // what the configuration orders needs no record
		return e.failed("the DNS gave no answer about the record of " + domain)
	case r == nil && !local:
		e.result, e.reason = auth.None, "no record for "+domain
		if own.several {
			e.reason = "several records at " + domain + ", which count as none"
		}
		return e
	case r == nil:
		r = &record{p: none, adkim: "r", aspf: "r"}
	case r.unusable != "" && !local:
		e.result, e.reason = auth.PermError, r.unusable
		return e
	}
	e.align(ctx, d, r, ids)
	inherited := e.tree.record != nil && e.tree.domain != domain
	exists := true
	if inherited && r.np != "" && e.result != auth.Pass {
		if exists, err = d.exists(ctx, domain); err != nil {
			return e.failed("the DNS gave no answer whether " + domain + " exists")
		}
	}
	e.policy, e.tag = r.policy(inherited, exists)
	if e.tree.record == nil {
		e.policy, e.tag = "", ""
		if e.result == auth.Pass {
			e.result, e.reason = auth.None, "no record for "+domain+", and an aligned pass"
		}
	}
	return e
}

func (e *evaluation) failed(reason string) evaluation {
	e.result, e.reason = auth.TempError, reason
	return *e
}

// align compares the identifiers with the Author Domain and sets the result.
func (e *evaluation) align(ctx context.Context, d *discovery, r *record, ids identifiers) {
	var err error
	all := func(mode string, domains []string) bool {
		for _, id := range domains {
			ok, fault := d.aligned(ctx, e, mode, id)
			if ok {
				return true
			}
			if fault != nil {
				err = fault
			}
		}
		return false
	}
	e.spf, e.dkim = all(r.aspf, ids.spf), all(r.adkim, ids.dkim)
	switch {
	case e.spf || e.dkim:
		e.result = auth.Pass
	case err != nil:
		e.failed("the DNS gave no answer about the organization of " + e.domain)
		e.awaited = true
	case all(r.aspf, ids.spfTemp), all(r.adkim, ids.dkimTemp), err != nil:
		// RFC 9989 5.3.6: where queries do not complete, a message can not be considered to pass or fail.
		e.failed("the DNS gave no answer to SPF or DKIM (" + ids.said + ")")
		e.awaited = true
	default:
		e.result = auth.Fail
		e.reason = fmt.Sprintf("no aligned pass for %s (%s)", e.domain, ids.said)
	}
}

// aligned compares one identifier (RFC 9989 3.2.10, 4.10.2).
func (d *discovery) aligned(ctx context.Context, e *evaluation, mode, id string) (bool, error) {
	if id == e.domain {
		return true, nil
	}
	if mode == "s" {
		return false, nil
	}
	if e.tree.organization == "" { // the record was the Author Domain's own: nobody has walked yet
		t, err := d.treeOf(ctx, e.domain)
		if err != nil {
			return false, err
		}
		e.tree.organization = t.organization
	}
	// An Organizational Domain is the domain itself or one above it, so that there is nothing to ask about others.
	if !mail.Within(id, e.tree.organization) {
		return false, nil
	}
	t, err := d.treeOf(ctx, id)
	return err == nil && t.organization == e.tree.organization, err
}
