package doctor

import (
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/postern-mail/postern/internal/certs"
	"github.com/postern-mail/postern/internal/dns"
)

// Resolver asks the DNS, as the gateway does.
type Resolver interface {
	LookupMX(ctx context.Context, name string) ([]*net.MX, error)
	LookupIPAddr(ctx context.Context, host string) ([]net.IPAddr, error)
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
	LookupAddr(ctx context.Context, addr string) ([]string, error)
}

// Gateway is what others see of the gateway, and what it should be.
type Gateway struct {
	Hostname  string
	Addresses []netip.Addr // of this host's interfaces
	Domains   []string     // ours
	Listeners []Listener
	Lists     []string // zones of DNS lists of addresses
	DNS       Resolver
	// Postmaster gives the error of a postmaster that no route takes mail for.
	Postmaster func() error
}

// Listener is a door that others come through.
type Listener struct {
	Name         string
	Certificates []*certs.Certificate // none: no TLS
}

// outside is the look from outside.
type outside struct {
	gateway  *Gateway
	limits   Limits
	progress func(string)

	mu       sync.Mutex
	findings []Finding
}

func (o *outside) find(code string, level Level, where, format string, args ...any) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.findings = append(o.findings, newFinding(code, level, where, fmt.Sprintf(format, args...)))
}

// run looks at the name first: where the resolver does not answer, nothing else can be told.
func (o *outside) run(ctx context.Context) {
	g := o.gateway
	o.progress(g.Hostname + ": name and addresses")
	addrs, ok := o.addresses(ctx)
	o.certificates()
	if g.Postmaster != nil {
		if err := g.Postmaster(); err != nil {
			o.find("postmaster", Warning, g.Hostname, "%s", err)
		}
	}
	if !ok {
		return
	}
	o.honest(ctx)
	for _, a := range addrs {
		o.pointer(ctx, a)
	}
	ours := append(slices.Clone(addrs), g.Addresses...)
	for _, d := range g.Domains {
		if ctx.Err() != nil {
			break
		}
		o.progress(d + ": MX")
		o.exchangers(ctx, d, ours)
	}
	for _, zone := range g.Lists {
		o.progress(zone + ": whether it answers")
		o.list(ctx, zone)
	}
	if ctx.Err() != nil {
		o.find("unfinished", Warning, g.Hostname, "the time was up before all was looked at")
	}
}

// bounded is the time of one question.
func (o *outside) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, o.limits.Reply)
}

// addresses gives the addresses of our own name; false is a resolver that does not answer.
func (o *outside) addresses(ctx context.Context) ([]netip.Addr, bool) {
	name := o.gateway.Hostname
	addrs, err := o.lookup(ctx, name)
	switch {
	case err != nil && !dns.NotFound(err) && len(addrs) == 0:
		o.find("resolver", Fault, name, "the question for the addresses of %s: %s", name, dns.Failure(err))
		return nil, false
	case len(addrs) == 0:
		o.find("hostname", Fault, name, "the name %s has no address", name)
	}
	return addrs, true
}

func (o *outside) lookup(ctx context.Context, name string) ([]netip.Addr, error) {
	ctx, cancel := o.bounded(ctx)
	defer cancel()
	found, err := o.gateway.DNS.LookupIPAddr(ctx, name)
	var addrs []netip.Addr
	for _, f := range found {
		if a, ok := netip.AddrFromSlice(f.IP); ok {
			addrs = append(addrs, a.Unmap())
		}
	}
	return addrs, err
}

// pointer looks whether the name of an address is ours, and leads back.
func (o *outside) pointer(ctx context.Context, a netip.Addr) {
	where, name := o.gateway.Hostname, o.gateway.Hostname
	if !a.IsGlobalUnicast() || a.IsPrivate() {
		o.find("hostname-private", Note, where, "the resolver gives the address %s for %s: what others see can't be told from here", a, name)
		return
	}
	ctx, cancel := o.bounded(ctx)
	defer cancel()
	names, err := o.gateway.DNS.LookupAddr(ctx, a.String())
	for i := range names {
		names[i] = strings.ToLower(strings.TrimSuffix(names[i], "."))
	}
	switch {
	case len(names) == 0 && err != nil && !dns.NotFound(err):
		o.find("ptr", Warning, where, "the name of %s could not be asked for: %s", a, dns.Failure(err))
	case len(names) == 0:
		o.find("ptr", Warning, where, "the address %s has no name (PTR)", a)
	case !slices.Contains(names, name):
		o.find("ptr", Warning, where, "the address %s is called %s, and not %s", a, shown(names), name)
		o.forward(ctx, a, names)
	}
}

// forward looks whether one of an address's names leads back to it. Our own does: the address is from there.
func (o *outside) forward(ctx context.Context, a netip.Addr, names []string) {
	for _, n := range names[:min(len(names), 5)] {
		if leads, _, err := dns.Leads(ctx, o.gateway.DNS, n, a); leads || err != nil {
			return
		}
	}
	o.find("ptr-forward", Warning, o.gateway.Hostname, "none of the names of %s leads back to it: %s", a, shown(names))
}

func shown(names []string) string {
	all := strings.Join(names[:min(len(names), 5)], ", ")
	if len(names) > 5 {
		all += " and others"
	}
	return all
}

// certificates looks at those of the listeners.
func (o *outside) certificates() {
	name := o.gateway.Hostname
	for _, l := range o.gateway.Listeners {
		where := "listener " + l.Name
		if len(l.Certificates) == 0 {
			o.find("listener-tls", Warning, where, "it has no tls: whatever comes to it comes in clear")
			continue
		}
		if !slices.ContainsFunc(l.Certificates, func(c *certs.Certificate) bool { return c.Covers(name) }) {
			o.find("certificate", Warning, where, "no certificate of it is for %s", name)
		}
		for _, c := range l.Certificates {
			for _, odd := range c.Oddities(time.Now()) {
				o.find("certificate", Warning, where, "%s: %s", c.Certificate, odd)
			}
		}
	}
}

// exchangers looks whether mail for a domain of ours comes to us.
func (o *outside) exchangers(ctx context.Context, domain string, ours []netip.Addr) {
	asking, cancel := o.bounded(ctx)
	records, err := o.gateway.DNS.LookupMX(asking, domain)
	cancel()
	switch {
	case len(records) == 0 && err != nil && !dns.NotFound(err):
		o.find("mx", Warning, domain, "its MX could not be asked for: %s", dns.Failure(err))
		return
	case len(records) == 0:
		// RFC 5321 5.1: without MX the domain's own address is where its mail goes.
		if addrs, _ := o.lookup(ctx, domain); !slices.ContainsFunc(addrs, func(a netip.Addr) bool { return slices.Contains(ours, a) }) {
			o.find("mx", Fault, domain, "it has no MX, and its own address is not this gateway's")
		}
		return
	case len(records) == 1 && strings.Trim(records[0].Host, ".") == "": // RFC 7505
		o.find("mx", Fault, domain, "its MX is the null one: the domain takes no mail")
		return
	}
	us, others, all := false, []string(nil), []string(nil)
	for _, r := range records[:min(len(records), maxExchangers)] {
		host := strings.ToLower(strings.TrimSuffix(r.Host, "."))
		all = append(all, host)
		addrs, err := o.lookup(ctx, host)
		switch {
		case host == o.gateway.Hostname || slices.ContainsFunc(addrs, func(a netip.Addr) bool { return slices.Contains(ours, a) }):
			us = true
			o.covered(domain, host)
		case len(addrs) == 0 && dns.NotFound(err):
			o.find("mx-dead", Warning, domain, "its MX %s has no address", shown([]string{host}))
		default:
			others = append(others, host)
		}
	}
	switch {
	case !us:
		o.find("mx", Fault, domain, "none of its MX is this gateway: %s", shown(all))
	case len(others) > 0:
		o.find("mx-others", Note, domain, "mail for it may also go to %s", shown(others))
	}
}

// maxExchangers bounds how many hosts of a domain are looked at.
const maxExchangers = 20

// covered looks whether a listener has a certificate for the name by which a domain's mail comes.
func (o *outside) covered(domain, host string) {
	if host == o.gateway.Hostname {
		return
	}
	any := false
	for _, l := range o.gateway.Listeners {
		for _, c := range l.Certificates {
			any = true
			if c.Covers(host) {
				return
			}
		}
	}
	if any {
		o.find("certificate", Note, domain, "its MX calls us %s, and no certificate of ours is for that name", shown([]string{host}))
	}
}

// honest looks whether the resolver invents answers.
func (o *outside) honest(ctx context.Context) {
	// RFC 6761 6.4: there is no name below invalid.
	name := "postern-" + strings.ToLower(rand.Text()) + ".invalid"
	if addrs, _ := o.lookup(ctx, name); len(addrs) > 0 {
		o.find("resolver-lies", Fault, "the resolver", "it gives the address %s for %s, which can't exist", addrs[0], name)
	}
}

// list asks a DNS list for the address that each of them lists (RFC 5782 5).
func (o *outside) list(ctx context.Context, zone string) {
	ctx, cancel := o.bounded(ctx)
	defer cancel()
	addrs, err := o.gateway.DNS.LookupNetIP(ctx, "ip4", "2.0.0.127."+zone)
	for _, a := range addrs {
		if !listError.Contains(a) {
			continue
		}
		why := map[string]string{
			"127.255.255.252": "the zone is misspelt", "127.255.255.254": "the question comes by a public resolver", "127.255.255.255": "too many questions",
		}[a.String()]
		if why == "" {
			why = "an error"
		}
		o.find("resolver-refused", Fault, zone, "for the address that every list has it answers %s: %s", a, why)
		return
	}
	switch {
	case len(addrs) > 0 && loopback.Contains(addrs[0]):
	case len(addrs) > 0:
		o.find("resolver-refused", Fault, zone, "for the address that every list has it answers %s, which no list does", addrs[0])
	case err == nil || dns.NotFound(err):
		o.find("resolver-refused", Fault, zone, "it does not list the address that every list has (127.0.0.2)")
	default:
		o.find("resolver-refused", Warning, zone, "it does not answer: %s", dns.Failure(err))
	}
}

var (
	listError = netip.MustParsePrefix("127.255.255.0/24")
	loopback  = netip.MustParsePrefix("127.0.0.0/8")
)
