package dmarc

import (
	"context"
	"errors"
	"strings"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/internal/dns"
)

// maxQueries bounds a tree walk (RFC 9989 4.10).
const maxQueries = 8

// errTemporary says that the DNS gave no answer: neither "there is one" nor "there is none".
var errTemporary = errors.New("dmarc: no answer from the DNS")

// discovery asks for the records of one message. Walks of several domains share what was found.
type discovery struct {
	dns   filter.Resolver
	known map[string]found
}

// found is what stands at _dmarc below one domain.
type found struct {
	record  *record // nil for none
	several bool    // there were several, which count as none
	err     error   // errTemporary
}

// at gives the record at a domain.
func (d *discovery) at(ctx context.Context, domain string) found {
	if f, ok := d.known[domain]; ok {
		return f
	}
	f := d.ask(ctx, domain)
	if f.err != nil && ctx.Err() != nil {
		return f // the time of one domain is up; another may ask again
	}
	if d.known == nil {
		d.known = map[string]found{}
	}
	d.known[domain] = f
	return f
}

func (d *discovery) ask(ctx context.Context, domain string) found {
	name := "_dmarc." + domain
	if len(name) > 253 {
		return found{} // no such name can be
	}
	texts, err := d.dns.LookupTXT(ctx, name)
	if err != nil && !dns.NotFound(err) {
		return found{err: errTemporary}
	}
	// RFC 9989 4.10 (2): records of other versions are discarded, and if several remain, all of them.
	var f found
	for _, t := range texts {
		r, ok := parseRecord(t)
		switch {
		case !ok:
		case f.record != nil:
			return found{several: true}
		default:
			f.record = r
		}
	}
	return f
}

// walk lists the domains that the tree walk of a domain may ask about, longest first. RFC 9989 4.10 (3) to (7): the
// domain itself, its parents one label less each time, and no more than eight in all: of a longer one the seven last
// labels follow at once.
func walk(domain string) []string {
	all := []string{domain}
	labels := strings.Count(domain, ".") + 1
	for rest := domain; labels > 1; {
		cut := 1
		if labels > maxQueries-1 {
			cut = labels - (maxQueries - 1) // x >= 8: until 7 labels remain
		}
		for range cut {
			_, rest, _ = strings.Cut(rest, ".")
		}
		labels -= cut
		all = append(all, rest)
	}
	return all
}

// tree is what the walk of one domain found.
type tree struct {
	organization string  // the Organizational Domain
	domain       string  // where the record stands that applies to the walk's domain: itself, the Organizational Domain, or the PSD
	record       *record // nil for none
}

// treeOf walks up from a domain (RFC 9989 4.10.1, 4.10.2).
func (d *discovery) treeOf(ctx context.Context, domain string) (tree, error) {
	t := tree{organization: domain} // 4.10.2: unless the process says otherwise
	below := domain
	for i, name := range walk(domain) {
		f := d.at(ctx, name)
		if f.err != nil {
			return tree{}, f.err
		}
		r := f.record
		switch {
		case r == nil:
		case r.psd == 'n':
			t.organization = name // rule 1
			return d.applicable(domain, t, name), nil
		case r.psd == 'y' && i > 0:
			// Rule 2: one label below. The label may be one that the walk of a long name did not ask about.
			t.organization = oneBelow(domain, name)
			return d.applicable(domain, t, name), nil
		case r.psd == 'y':
			// The walk stops (4.10 (2)); as it began here this is no rule 2, and rule 3 has one record to select.
			return d.applicable(domain, t, name), nil
		default:
			t.organization = name // rule 3: the one with the fewest labels is the last one found
		}
		below = name
	}
	return d.applicable(domain, t, below), nil
}

// applicable finds the record for a domain whose Organizational Domain is known, among those that were asked for. RFC
// 9989 4.10.1: of the Author Domain, of its Organizational Domain, of its Public Suffix Domain, in this order.
func (d *discovery) applicable(domain string, t tree, last string) tree {
	for _, name := range []string{domain, t.organization, last} {
		if r := d.known[name].record; r != nil {
			t.domain, t.record = name, r
			return t
		}
	}
	return t
}

// oneBelow gives the domain above or at domain that has one label more than suffix.
func oneBelow(domain, suffix string) string {
	rest := strings.TrimSuffix(domain, "."+suffix)
	return rest[strings.LastIndexByte(rest, '.')+1:] + "." + suffix
}

// exists reports whether a domain is in the DNS at all. RFC 9989 3.2.13: it is not if the answer to a query for its name
// is NXDOMAIN. A resolver that does not tell that from "no such record" makes those domains exist that have an address, an
// MX or a TXT record.
func (d *discovery) exists(ctx context.Context, domain string) (bool, error) {
	var unclear bool
	for _, look := range []func() (bool, error){
		func() (bool, error) { a, err := d.dns.LookupIPAddr(ctx, domain); return len(a) > 0, err },
		func() (bool, error) { mx, err := d.dns.LookupMX(ctx, domain); return len(mx) > 0, err },
		func() (bool, error) { txt, err := d.dns.LookupTXT(ctx, domain); return len(txt) > 0, err },
	} {
		some, err := look()
		switch {
		case some, err == nil, errors.Is(err, dns.ErrNoData):
			return true, nil
		case errors.Is(err, dns.ErrNXDomain):
			return false, nil
		case !dns.NotFound(err):
			unclear = true
		}
	}
	if unclear {
		return false, errTemporary
	}
	return false, nil
}
