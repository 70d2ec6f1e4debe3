// Package dns is the gateway's way to ask the DNS: net.Resolver pointed at the configured servers, with a
// bound on each question and fail-over between servers. It keeps no cache and validates nothing: a
// resolver near by (unbound, for one) does both better.
package dns

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"time"
)

// DefaultTimeout bounds the wait for one server's answer to one question.
const DefaultTimeout = 3 * time.Second

// Query describes one question that was asked, for metrics. Its words come from closed sets.
type Query struct {
	Type    string        // one of Types
	Rcode   string        // one of Rcodes
	Elapsed time.Duration // over all servers that were tried
}

// The outcomes of a question. Go's resolver tells "no such name" and "no such record" apart no longer, so
// both are NotFound.
const (
	NoError  = "noerror"
	NotFound = "notfound"
	ServFail = "servfail" // the server answered, and did not help: SERVFAIL, REFUSED, nonsense, unreachable
	TimedOut = "timeout"
)

// Types lists the values of Query.Type.
func Types() []string { return []string{"A", "AAAA", "MX", "PTR", "TXT"} }

// Rcodes lists the values of Query.Rcode.
func Rcodes() []string { return []string{NoError, NotFound, ServFail, TimedOut} }

// Resolver answers what filters and routes may ask. It is safe for concurrent use. Every error is a
// *net.DNSError, and one that is not IsNotFound is IsTemporary or IsTimeout: an answer other than "yes" and
// "no such thing" says nothing about the name (RFC 7208 4.4 reads it in the same way).
type Resolver struct {
	servers []server
	// first is the index of the server to ask first: the one that answered last when another was silent.
	first   atomic.Uint32
	timeout time.Duration
	observe func(Query)
}

type server struct {
	address  string // "" for the system's
	resolver *net.Resolver
}

// New makes a Resolver that asks the given servers in this order. With none it asks those of the system's
// resolv.conf.
func New(servers []netip.AddrPort) (*Resolver, error) {
	r := &Resolver{timeout: DefaultTimeout}
	for _, s := range servers {
		if !s.IsValid() || s.Port() == 0 {
			return nil, fmt.Errorf("dns: server %q: an address and a port are needed", s)
		}
		r.servers = append(r.servers, newServer(s.String()))
	}
	if len(r.servers) == 0 {
		// The system's own list may hold several servers, which Go tries within one call.
		r.servers = []server{newServer("")}
		r.timeout = 3 * DefaultTimeout
	}
	return r, nil
}

func newServer(address string) server {
	return server{address: address, resolver: &net.Resolver{
		PreferGo:     true,
		StrictErrors: true,
		Dial: func(ctx context.Context, network, system string) (net.Conn, error) {
			return dial(ctx, network, cmp.Or(address, system))
		},
	}}
}

// dial opens a socket that fails as soon as its context ends. Go's resolver only sets a deadline of its
// own, of some seconds: without this, each question that was given up would leave goroutines and sockets
// behind for as long, as many as a peer cares to name silent domains.
func dial(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	if udp, ok := conn.(*net.UDPConn); ok {
		return packetConn{udp, stop}, nil // must stay a net.PacketConn: the resolver frames any other as a stream
	}
	return streamConn{conn, stop}, nil
}

type packetConn struct {
	*net.UDPConn
	stop func() bool
}

func (c packetConn) Close() error {
	c.stop()
	return c.UDPConn.Close()
}

type streamConn struct {
	net.Conn
	stop func() bool
}

func (c streamConn) Close() error {
	c.stop()
	return c.Conn.Close()
}

// SetTimeout sets the bound on one server's answer to one question. It is to be called before the first
// lookup.
func (r *Resolver) SetTimeout(d time.Duration) { r.timeout = d }

// Observe sets the function that is told of each question, from the goroutine that asked. It is to be
// called before the first lookup.
func (r *Resolver) Observe(f func(Query)) { r.observe = f }

// LookupTXT gives the TXT records of a name, the strings of each put together.
func (r *Resolver) LookupTXT(ctx context.Context, name string) ([]string, error) {
	return ask(ctx, r, "TXT", name, func(ctx context.Context, n *net.Resolver) ([]string, error) {
		return n.LookupTXT(ctx, rooted(name))
	})
}

// LookupMX gives the MX records of a name, sorted by preference. A null MX (RFC 7505) is one record whose
// Host is ".". Records may come with an error, when others of the answer were malformed.
func (r *Resolver) LookupMX(ctx context.Context, name string) ([]*net.MX, error) {
	return ask(ctx, r, "MX", name, func(ctx context.Context, n *net.Resolver) ([]*net.MX, error) {
		return n.LookupMX(ctx, rooted(name))
	})
}

// LookupAddr gives the names of an IP address, with their final dots.
func (r *Resolver) LookupAddr(ctx context.Context, addr string) ([]string, error) {
	return ask(ctx, r, "PTR", addr, func(ctx context.Context, n *net.Resolver) ([]string, error) {
		return n.LookupAddr(ctx, addr)
	})
}

// LookupIPAddr gives the addresses of a name, IPv4 first. Where the question for one family failed and that for
// the other was answered, it gives the addresses there are and the error: whoever needs one address only
// goes by the addresses, whoever needs all of them by the error. An IP address is not a name, and not found.
func (r *Resolver) LookupIPAddr(ctx context.Context, host string) ([]net.IPAddr, error) {
	type answer struct {
		addrs []netip.Addr
		err   error
	}
	family := func(kind, network string) answer {
		a, err := ask(ctx, r, kind, host, func(ctx context.Context, n *net.Resolver) ([]netip.Addr, error) {
			return n.LookupNetIP(ctx, network, rooted(host))
		})
		return answer{a, err}
	}
	six := make(chan answer, 1)
	go func() { six <- family("AAAA", "ip6") }()
	v4 := family("A", "ip4")
	v6 := <-six

	var all []net.IPAddr
	for _, a := range append(v4.addrs, v6.addrs...) {
		a = a.Unmap()
		all = append(all, net.IPAddr{IP: a.AsSlice(), Zone: a.Zone()})
	}
	for _, err := range []error{v4.err, v6.err} {
		if err != nil && !isNotFound(err) {
			return all, err
		}
	}
	if len(all) == 0 {
		return nil, v4.err
	}
	return all, nil
}

// rooted ends a name with a dot, so that the search list of resolv.conf is never tried: a foreign domain
// that does not exist must not be found below one of ours.
func rooted(name string) string {
	if name == "" || strings.HasSuffix(name, ".") {
		return name
	}
	return name + "."
}

// ask puts one question to one server after the other until one gives an answer, and a second time to a
// lone server, as a datagram may be lost. A server that was silent or out of reach is not asked first any
// more once another has answered in its place.
func ask[T any](ctx context.Context, r *Resolver, kind, name string, put func(context.Context, *net.Resolver) ([]T, error)) ([]T, error) {
	began := time.Now()
	first := int(r.first.Load())
	tries := len(r.servers)
	if tries == 1 && r.servers[0].address != "" {
		tries = 2
	}
	var got []T
	var err error
	moved := false
	for i := range tries {
		at := (first + i) % len(r.servers)
		got, err = attempt(ctx, r.timeout, name, r.servers[at], put)
		if err == nil || isNotFound(err) || len(got) > 0 {
			if moved {
				r.first.Store(uint32(at))
			}
			break
		}
		if ctx.Err() != nil {
			break
		}
		moved = moved || silent(err)
	}
	if r.observe != nil {
		r.observe(Query{Type: kind, Rcode: rcode(err, len(got)), Elapsed: time.Since(began)})
	}
	return got, err
}

func attempt[T any](ctx context.Context, d time.Duration, name string, s server, put func(context.Context, *net.Resolver) ([]T, error)) ([]T, error) {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	got, err := put(ctx, s.resolver)
	if err == nil {
		return got, nil
	}
	var de *net.DNSError
	if !errors.As(err, &de) {
		return got, &net.DNSError{UnwrapErr: err, Err: err.Error(), Name: name, Server: s.address, IsTemporary: true}
	}
	de = &net.DNSError{
		UnwrapErr: de.UnwrapErr, Err: de.Err, Name: name, Server: s.address,
		IsTimeout: de.IsTimeout, IsTemporary: de.IsTemporary || !de.IsNotFound, IsNotFound: de.IsNotFound,
	}
	return got, de
}

func isNotFound(err error) bool {
	var de *net.DNSError
	return errors.As(err, &de) && de.IsNotFound
}

// silent reports whether a server gave no answer at all: time-out, or a network error such as "connection
// refused". Go's resolver keeps such an error only as text; what a server said itself reads "misbehaving".
func silent(err error) bool {
	var de *net.DNSError
	return errors.As(err, &de) && (de.IsTimeout || !strings.Contains(de.Err, "misbehaving"))
}

func rcode(err error, answers int) string {
	var de *net.DNSError
	switch {
	case err == nil || answers > 0:
		return NoError
	case !errors.As(err, &de):
		return ServFail
	case de.IsNotFound:
		return NotFound
	case de.IsTimeout:
		return TimedOut
	}
	return ServFail
}
