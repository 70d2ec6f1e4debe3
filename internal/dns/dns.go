// Package dns is the gateway's one resolver: it asks the configured servers, which have to recurse, over UDP and
// TCP, keeps what they say for as long as it holds, and bounds what a message may make it ask. It walks no
// delegations and validates no signatures: a resolver near by (unbound, for one) does both.
//
// A question that is not in the cache is asked once, however many want to know (single flight): in a
// goroutine of its own, which goes on while anybody waits, and ends when the last has left. Each question
// has a socket of its own, so that whoever wants to forge an answer has to guess port and id (RFC 5452 9.2).
package dns

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"

	"github.com/postern-mail/postern/internal/dns/name"
)

// DefaultTimeout bounds the wait for one server's answer to one question, over UDP and TCP together.
const DefaultTimeout = 3 * time.Second

// maxAsking is how many questions may be with the servers at once; further ones wait for one to end. Each has a socket.
// A thousand clients, as many as a listener has by default, get four each: fewer would let a handful of them, with
// names whose servers are silent, keep everybody's questions waiting.
const maxAsking = 4096

// Observer is told what the resolver does, for metrics, by many goroutines at once. Words come from closed sets.
type Observer interface {
	// DNSQuery tells of a question that went out, before those who wait for it know the answer.
	DNSQuery(q Query)
	// DNSCache tells whether something that was asked for was in the cache.
	DNSCache(hit bool)
	// DNSBudget tells, once for each budget and limit (BudgetLimits), that it is used up.
	DNSBudget(limit string)
}

// Query describes one question that went out.
type Query struct {
	Type    string        // one of Types
	Rcode   string        // one of Rcodes
	Elapsed time.Duration // over all servers that were tried
}

// The outcomes of a question. The first three are answers; the others say nothing about the name.
const (
	NoError     = "noerror"
	NoData      = "nodata"   // the name exists and has no such record (RFC 2308 2.2)
	NXDomain    = "nxdomain" // the name does not exist (RFC 2308 2.1)
	ServFail    = "servfail"
	Refused     = "refused"
	OtherRcode  = "other"       // FORMERR and whatever else a server may say
	Malformed   = "malformed"   // the server's answer makes no sense
	TimedOut    = "timeout"     // silence
	Unreachable = "unreachable" // the network says no
	Canceled    = "canceled"    // nobody waits for the answer any more, or too many questions are out
)

// Types lists the values of Query.Type.
func Types() []string { return []string{"A", "AAAA", "MX", "PTR", "TLSA", "TXT"} }

// Rcodes lists the values of Query.Rcode.
func Rcodes() []string {
	return []string{NoError, NoData, NXDomain, ServFail, Refused, OtherRcode, Malformed, TimedOut, Unreachable, Canceled}
}

// Resolver answers what filters and routes may ask. It is safe for concurrent use.
//
// Names are plain: raw octets with dots between the labels, the final dot may be missing, and no search list is
// ever tried. They are asked for literally, whatever octets they hold; a name that the wire can't carry is not
// found. Every error is a *net.DNSError. One that is IsNotFound wraps ErrNXDomain or ErrNoData; every other is
// IsTemporary: an answer other than "yes" and "no such thing" says nothing about the name (RFC 7208 4.4 reads it
// in the same way).
type Resolver struct {
	servers  servers
	timeout  time.Duration
	observer Observer
	cache    *cache
	slots    chan struct{} // holds one for each question that is out

	mu      sync.Mutex
	flights map[question]*flight
}

// New makes a Resolver that asks the given servers in this order. With none it asks those of the system's
// resolv.conf, which it reads again when that changes.
func New(servers []netip.AddrPort) (*Resolver, error) {
	r := &Resolver{
		timeout: DefaultTimeout, observer: nobody{}, cache: newCache(cacheOctets, cacheEntries),
		slots: make(chan struct{}, maxAsking), flights: map[question]*flight{},
	}
	r.servers.path = resolvConf
	for _, s := range servers {
		if !s.IsValid() || s.Port() == 0 {
			return nil, fmt.Errorf("dns: server %q: an address and a port are needed", s)
		}
		// Whoever names a server on this host has put it there. What it says of DNSSEC comes over no network.
		r.servers.fixed = append(r.servers.fixed, server{address: s.String(), trusted: s.Addr().Unmap().IsLoopback()})
	}
	return r, nil
}

// SetTimeout sets the bound on one server's answer to one question. It is to be called before the first
// lookup.
func (r *Resolver) SetTimeout(d time.Duration) { r.timeout = d }

// Observe sets who is told what happens. It is to be called before the first lookup.
func (r *Resolver) Observe(o Observer) { r.observer = o }

type nobody struct{}

func (nobody) DNSQuery(Query)   {}
func (nobody) DNSCache(bool)    {}
func (nobody) DNSBudget(string) {}

// LookupTXT gives the TXT records of a name, the strings of each put together, in raw octets.
func (r *Resolver) LookupTXT(ctx context.Context, name string) ([]string, error) {
	a := r.ask(ctx, name, dns.TypeTXT)
	if a.rcode != NoError {
		return nil, a.err(name)
	}
	return slices.Clone(a.texts), nil
}

// LookupTXTFor is LookupTXT, and says for how long what it gives is good: by the TTL that it came with, an hour at most. Whoever
// keeps it asks again then.
func (r *Resolver) LookupTXTFor(ctx context.Context, name string) ([]string, time.Duration, error) {
	a := r.ask(ctx, name, dns.TypeTXT)
	if a.rcode != NoError {
		return nil, 0, a.err(name)
	}
	return slices.Clone(a.texts), a.ttl, nil
}

// LookupMX gives the MX records of a name, sorted by preference. A null MX (RFC 7505) is one record whose
// Host is ".". Records may come with an error, when others of the answer were malformed: a host with octets
// other than letters, digits, hyphen and underscore.
func (r *Resolver) LookupMX(ctx context.Context, name string) ([]*net.MX, error) {
	a := r.ask(ctx, name, dns.TypeMX)
	if a.rcode != NoError {
		return nil, a.err(name)
	}
	all := make([]*net.MX, len(a.hosts))
	for i, h := range a.hosts {
		all[i] = &net.MX{Host: h.name, Pref: h.pref}
	}
	return all, a.odd(name)
}

// LookupExchangers gives the hosts of a name's MX records, without final dots and as plain names: those with octets that
// no host name has come as well, behind the others. RFC 7208 evaluates them; they are not to be shown as they are.
func (r *Resolver) LookupExchangers(ctx context.Context, name string) ([]string, error) {
	a := r.ask(ctx, name, dns.TypeMX)
	if a.rcode != NoError {
		return nil, a.err(name)
	}
	all := make([]string, 0, len(a.hosts)+len(a.strange))
	for _, hosts := range [2][]host{a.hosts, a.strange} {
		for _, h := range hosts {
			all = append(all, strings.TrimSuffix(h.name, "."))
		}
	}
	return all, nil
}

// LookupAddr gives the names of an IP address, with their final dots. Names may come with an error, when others
// were malformed, as with LookupMX. A text that is no IP address has none.
func (r *Resolver) LookupAddr(ctx context.Context, addr string) ([]string, error) {
	ip, err := netip.ParseAddr(addr)
	if err != nil {
		return nil, unaskable.err(addr)
	}
	reverse, err := dns.ReverseAddr(ip.Unmap().WithZone("").String())
	if err != nil {
		return nil, unaskable.err(addr)
	}
	a := r.ask(ctx, reverse, dns.TypePTR)
	if a.rcode != NoError {
		return nil, a.err(addr)
	}
	all := make([]string, len(a.hosts))
	for i, h := range a.hosts {
		all[i] = h.name
	}
	return all, a.odd(addr)
}

// LookupIPAddr gives the addresses of a name, IPv4 first. Where the question for one family failed and that for
// the other was answered, it gives the addresses there are and the error: whoever needs one address only
// goes by the addresses, whoever needs all of them by the error. An IP address is not a name, and not found.
// Only where neither family is found, and not even the name, does the error wrap ErrNXDomain.
func (r *Resolver) LookupIPAddr(ctx context.Context, host string) ([]net.IPAddr, error) {
	if _, err := netip.ParseAddr(host); err == nil {
		return nil, unaskable.err(host)
	}
	plain, ok := name.Canonical(host)
	if !ok {
		return nil, unaskable.err(host)
	}
	asked := [2]pending{r.begin(ctx, question{plain, dns.TypeA}), r.begin(ctx, question{plain, dns.TypeAAAA})}
	four, six := r.wait(ctx, asked[0]), r.wait(ctx, asked[1])

	all := make([]net.IPAddr, 0, len(four.addrs)+len(six.addrs))
	for _, a := range [2]*answer{four, six} {
		for _, ip := range a.addrs {
			all = append(all, net.IPAddr{IP: ip.AsSlice()})
		}
	}
	for _, a := range [2]*answer{four, six} {
		if a.failed() {
			return all, a.err(host)
		}
		if a.left > 0 {
			return all, a.odd(host)
		}
	}
	if len(all) > 0 {
		return all, nil
	}
	// RFC 4074 4.2: there are servers that deny the name where only the address of one family is missing.
	if six.rcode == NoData {
		return nil, six.err(host)
	}
	return nil, four.err(host)
}

// LookupNetIP gives the addresses of a name of one family, "ip4" or "ip6", and asks for no other; of a name that has
// only addresses of the other family it says that they are not found.
func (r *Resolver) LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error) {
	kind := dns.TypeA
	switch network {
	case "ip4":
	case "ip6":
		kind = dns.TypeAAAA
	default:
		return nil, &net.DNSError{Err: "unknown network " + network, Name: host, IsTemporary: true}
	}
	if _, err := netip.ParseAddr(host); err == nil {
		return nil, unaskable.err(host)
	}
	a := r.ask(ctx, host, kind)
	if a.rcode != NoError {
		return nil, a.err(host)
	}
	return slices.Clone(a.addrs), a.odd(host)
}

// TLSA is one TLSA record (RFC 6698 2.1).
type TLSA struct {
	Usage, Selector, MatchingType uint8
	Data                          []byte // the certificate association data
}

// LookupTLSA gives the TLSA records of a name such as _25._tcp.mx.example.org, and whether DNSSEC proves what it
// says, be it that there are none: a server that is trusted set the AD bit. Those are servers on a loopback
// address that were given to New, and those of a resolv.conf with the option trust-ad.
func (r *Resolver) LookupTLSA(ctx context.Context, name string) (records []TLSA, secure bool, err error) {
	a := r.ask(ctx, name, dns.TypeTLSA)
	if a.rcode != NoError {
		return nil, a.secure, a.err(name)
	}
	records = make([]TLSA, len(a.tlsa))
	for i, t := range a.tlsa {
		t.Data = slices.Clone(t.Data)
		records[i] = t
	}
	return records, a.secure, a.odd(name)
}

// ask puts one question and waits for the answer.
func (r *Resolver) ask(ctx context.Context, plain string, kind uint16) *answer {
	plain, ok := name.Canonical(plain)
	if !ok {
		return unaskable
	}
	return r.wait(ctx, r.begin(ctx, question{plain, kind}))
}
