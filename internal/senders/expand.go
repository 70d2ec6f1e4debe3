package senders

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/postern-mail/postern/internal/dns"
)

// Resolver is what is asked of the DNS: as filter.Resolver, and for how long what TXT records say holds.
type Resolver interface {
	LookupTXTFor(ctx context.Context, name string) ([]string, time.Duration, error)
	LookupMX(ctx context.Context, name string) ([]*net.MX, error)
	LookupIPAddr(ctx context.Context, host string) ([]net.IPAddr, error)
}

// Bounds of one big sender. RFC 7208 4.6.4 lets a record have ten terms that ask; a list that somebody writes here may be
// made of several.
const (
	maxRecords = 30
	maxHosts   = 10 // of an "mx"
	maxSpans   = 4000
	minBits4   = 8 // what is wider is no network of anybody
	minBits6   = 20
)

// expansion finds out the networks of one big sender.
type expansion struct {
	dns     Resolver
	records int
	path    []string       // of the records that are being read
	known   map[string]set // by domain
	life    time.Duration  // the shortest TTL
}

// expand gives the addresses that the SPF record of a domain passes, and for how long they hold. Whatever can't be found out
// makes it an error: half of the networks are no better than none.
func expand(ctx context.Context, resolver Resolver, domain string) (set, time.Duration, error) {
	e := &expansion{dns: resolver, known: map[string]set{}, life: ceiling}
	all, err := e.domain(ctx, domain)
	if err == nil && len(all) == 0 {
		err = errors.New("its SPF record names no network")
	}
	if err != nil {
		return nil, 0, fmt.Errorf("senders: %s: %w", domain, err)
	}
	return all, e.life, nil
}

// domain gives the addresses that the record of a domain passes.
func (e *expansion) domain(ctx context.Context, domain string) (set, error) {
	if s, ok := e.known[domain]; ok {
		return s, nil
	}
	if slices.Contains(e.path, domain) {
		return nil, fmt.Errorf("the record of %s leads back to itself", domain)
	}
	if e.records++; e.records > maxRecords {
		return nil, fmt.Errorf("more than %d records", maxRecords)
	}
	e.path = append(e.path, domain)
	defer func() { e.path = e.path[:len(e.path)-1] }()
	r, err := e.fetch(ctx, domain)
	if err != nil {
		return nil, err
	}
	s, err := e.passed(ctx, domain, r)
	if err != nil {
		return nil, err
	}
	if len(s) > maxSpans {
		return nil, fmt.Errorf("more than %d ranges of addresses", maxSpans)
	}
	e.known[domain] = s
	return s, nil
}

// fetch gets the record of a domain (RFC 7208 4.4, 4.5).
func (e *expansion) fetch(ctx context.Context, domain string) (record, error) {
	texts, life, err := e.dns.LookupTXTFor(ctx, domain)
	if err != nil && !dns.NotFound(err) {
		return record{}, fmt.Errorf("asked for the record of %s: %s", domain, dns.Failure(err))
	}
	texts = slices.DeleteFunc(texts, func(t string) bool { return !isRecord(t) })
	if len(texts) != 1 {
		return record{}, fmt.Errorf("%s has %d SPF records", domain, len(texts))
	}
	e.life = min(e.life, life)
	r, err := parseRecord(texts[0])
	if err != nil {
		return record{}, fmt.Errorf("the record of %s: %w", domain, err)
	}
	return r, nil
}

// passed gives the addresses for which a record gives pass. The first term that matches counts (RFC 7208 4.6.2), so what an
// earlier one with another qualifier has taken is not in a later one.
func (e *expansion) passed(ctx context.Context, domain string, r record) (pass set, err error) {
	var other set // of terms that do not pass
	for i := range r.terms {
		t := &r.terms[i]
		if t.mechanism == "all" {
			if t.pass {
				return nil, fmt.Errorf("the record of %s passes everybody", domain)
			}
			return pass, nil // RFC 7208 5.1: what follows is not looked at, nor is a redirect
		}
		matched, err := e.matched(ctx, domain, t)
		if err != nil {
			return nil, err
		}
		if t.pass {
			pass = union(pass, minus(matched, other))
		} else {
			other = union(other, matched)
		}
	}
	if r.redirect != "" {
		more, err := e.domain(ctx, r.redirect)
		if err != nil {
			return nil, err
		}
		pass = union(pass, minus(more, other))
	}
	return pass, nil
}

// matched gives the addresses that a term matches.
func (e *expansion) matched(ctx context.Context, domain string, t *term) (set, error) {
	target := t.domain
	if target == "" {
		target = domain
	}
	switch t.mechanism {
	case "include":
		return e.domain(ctx, target)
	case "a":
		return e.hosts(ctx, t, target)
	case "mx":
		all, err := e.dns.LookupMX(ctx, target)
		if err != nil && !dns.NotFound(err) {
			return nil, fmt.Errorf("asked for the MX of %s: %s", target, dns.Failure(err))
		}
		if len(all) > maxHosts {
			return nil, fmt.Errorf("%s has more than %d MX records", target, maxHosts)
		}
		var names []string
		for _, mx := range all {
			if name := strings.TrimSuffix(mx.Host, "."); name != "" {
				names = append(names, name)
			}
		}
		return e.hosts(ctx, t, names...)
	}
	return network(t.network)
}

// hosts gives the networks of a term around the addresses of hosts.
func (e *expansion) hosts(ctx context.Context, t *term, names ...string) (all set, err error) {
	for _, name := range names {
		if e.records++; e.records > maxRecords {
			return nil, fmt.Errorf("more than %d records and hosts", maxRecords)
		}
		addrs, err := e.dns.LookupIPAddr(ctx, name)
		if err != nil && !dns.NotFound(err) {
			return nil, fmt.Errorf("asked for the addresses of %s: %s", name, dns.Failure(err))
		}
		for _, a := range addrs {
			addr, ok := netip.AddrFromSlice(a.IP)
			if !ok {
				continue
			}
			addr = addr.Unmap()
			bits := t.bits[1]
			if addr.Is4() {
				bits = t.bits[0]
			}
			s, err := network(netip.PrefixFrom(addr, bits))
			if err != nil {
				return nil, err
			}
			all = union(all, s)
		}
	}
	return all, nil
}

// network gives the addresses of a network that is not too wide.
func network(p netip.Prefix) (set, error) {
	least := minBits6
	if p.Addr().Is4() {
		least = minBits4
	}
	if p.Bits() < least {
		return nil, fmt.Errorf("%s is too wide to be anybody's", p)
	}
	return set{spanOf(p)}, nil
}
