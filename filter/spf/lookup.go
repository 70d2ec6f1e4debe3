package spf

import (
	"context"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/internal/dns"
)

// lookups is the DNS as RFC 7208 5 sees it: "no such name" is an empty answer, and any error is a failure.
type lookups struct{ resolver filter.Resolver }

// oneFamily is a resolver that can be asked for the addresses of one family, "ip4" or "ip6"; *net.Resolver is one.
type oneFamily interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// exchangers is a resolver that gives the hosts of MX records whatever octets their names have, without final dots.
type exchangers interface {
	LookupExchangers(ctx context.Context, name string) ([]string, error)
}

// found drops the error that says that there is nothing.
func found[T any](all []T, err error) ([]T, error) {
	if dns.NotFound(err) {
		return nil, nil
	}
	return all, err
}

// text gives the TXT records of a name.
func (l lookups) text(ctx context.Context, name string) ([]string, error) {
	return found(l.resolver.LookupTXT(ctx, name))
}

// hosts gives the hosts of the MX records of a name, without final dots. That some of them were malformed is no
// failure of the others.
func (l lookups) hosts(ctx context.Context, name string) ([]string, error) {
	if r, ok := l.resolver.(exchangers); ok {
		return found(r.LookupExchangers(ctx, name))
	}
	all, err := found(l.resolver.LookupMX(ctx, name))
	if len(all) == 0 {
		return nil, err
	}
	hosts := make([]string, len(all))
	for i, mx := range all {
		hosts[i] = strings.TrimSuffix(mx.Host, ".")
	}
	return hosts, nil
}

// addresses gives the addresses of one family. RFC 7208 5: a mechanism needs those of the client's family only, so
// that the other one can't be asked for is none of its business.
func (l lookups) addresses(ctx context.Context, name string, v4 bool) ([]netip.Addr, error) {
	var all []netip.Addr
	var err error
	if r, ok := l.resolver.(oneFamily); ok {
		network := "ip6"
		if v4 {
			network = "ip4"
		}
		all, err = found(r.LookupNetIP(ctx, network, name))
	} else {
		var both []net.IPAddr
		both, err = found(l.resolver.LookupIPAddr(ctx, name))
		for _, a := range both {
			if ip, ok := netip.AddrFromSlice(a.IP); ok {
				all = append(all, ip)
			}
		}
	}
	n := 0
	for _, ip := range all {
		if ip = ip.Unmap().WithZone(""); ip.Is4() == v4 {
			all[n] = ip
			n++
		}
	}
	if n > 0 {
		return all[:n], nil
	}
	return nil, err
}

// clientNames remembers what the client's address is called: the "ptr" mechanism and the "p" macro ask once for
// all records of an evaluation.
type clientNames struct {
	asked     bool
	void      bool
	unasked   error           // why one of them could not be asked for, though it is no fault of its servers
	names     []string        // at most ptrLimit, without final dots
	confirmed map[string]bool // whether the name leads back to the address
}

// note keeps an error that says nothing about the names.
func (c *clientNames) note(err error) {
	if dns.NotAsked(err) {
		c.unasked = err
	}
}

// clientNames gives the names of the client, and whether it has none at all.
func (e *evaluation) clientNames(ctx context.Context) ([]string, bool) {
	c := &e.names
	if !c.asked {
		c.asked = true
		all, err := found(e.dns.resolver.LookupAddr(ctx, e.client.String()))
		c.void = err == nil && len(all) == 0
		c.note(err)
		// RFC 7208 4.6.4: all but the first ten are ignored.
		for _, name := range all[:min(len(all), ptrLimit)] {
			if name = strings.TrimSuffix(name, "."); isName(name) {
				c.names = append(c.names, name)
			}
		}
		c.confirmed = map[string]bool{}
	}
	return c.names, c.void
}

// confirmed reports whether a name of the client leads back to it (RFC 7208 5.5). A failure is no yes.
func (e *evaluation) confirmed(ctx context.Context, name string) bool {
	yes, known := e.names.confirmed[name]
	if !known {
		addrs, err := e.dns.addresses(ctx, name, e.client.Is4())
		e.names.note(err)
		for _, a := range addrs {
			yes = yes || a == e.client
		}
		e.names.confirmed[name] = yes
	}
	return yes
}

// clientName gives the value of the "p" macro (RFC 7208 7.3): of the confirmed names the domain itself, or one below
// it, or any.
func (e *evaluation) clientName(ctx context.Context, domain string) string {
	names, _ := e.clientNames(ctx)
	for _, fits := range []func(string) bool{
		func(name string) bool { return strings.EqualFold(name, domain) },
		func(name string) bool { return isWithin(name, domain) },
		func(string) bool { return true },
	} {
		for _, name := range names {
			if fits(name) && e.confirmed(ctx, name) {
				return name
			}
		}
	}
	return "unknown"
}

// values gives what the macro letters stand for while the record of a domain is evaluated (RFC 7208 7.2).
func (e *evaluation) values(ctx context.Context, domain string) func(letter byte) string {
	return func(letter byte) string {
		switch letter {
		case 's':
			return e.id.local + "@" + e.id.domain
		case 'l':
			return e.id.local
		case 'o':
			return e.id.domain
		case 'd':
			return domain
		case 'i':
			return dotted(e.client)
		case 'p':
			return e.clientName(ctx, domain)
		case 'v':
			if e.client.Is4() {
				return "in-addr"
			}
			return "ip6"
		case 'h':
			return e.helo
		case 'c':
			return e.client.String()
		case 'r':
			return e.host
		case 't':
			return strconv.FormatInt(time.Now().Unix(), 10)
		}
		return ""
	}
}

// dotted writes an address for the "i" macro: IPv6 as one nibble after the other.
func dotted(a netip.Addr) string {
	if a.Is4() {
		return a.String()
	}
	const hex = "0123456789abcdef"
	b := make([]byte, 0, 63)
	for i, octet := range a.As16() {
		if i > 0 {
			b = append(b, '.')
		}
		b = append(b, hex[octet>>4], '.', hex[octet&15])
	}
	return string(b)
}

// explanationLimit bounds an explanation, in octets.
const explanationLimit = 400

// explain fetches what the domain has to say of a fail (RFC 7208 6.2); "" where there is nothing, or nothing that could
// be said.
func (e *evaluation) explain(ctx context.Context, o *outcome) string {
	if o.exp == nil || o.exp.local && !isASCII(e.id.local) {
		return ""
	}
	values := e.values(ctx, o.domain)
	name := o.exp.expandName(values)
	if !isName(name) {
		return ""
	}
	all, err := e.dns.text(ctx, name)
	if err != nil || len(all) != 1 {
		return ""
	}
	t, err := parseText(all[0], true)
	if err != nil {
		return ""
	}
	text := t.expandText(values, explanationLimit)
	if len(text) > explanationLimit {
		text = text[:explanationLimit] + "..."
	}
	return printable(text)
}

// printable puts "?" in the place of all that is not printable ASCII: macros bring in what the client said.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, s)
}
