package upstream

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"
)

const (
	// nameFor is how long the addresses of a host hold. The system's resolver, which is asked since a name may stand in
	// the hosts file, does not tell for how long they would.
	nameFor = time.Minute
	// nameIn is how long one look-up may take, nameSoon how long it may where addresses are known and somebody waits.
	nameIn   = 10 * time.Second
	nameSoon = time.Second
	// maxAddresses of one host are used.
	maxAddresses = 8
	// attemptDelay is how long the attempt to connect with one address is alone (RFC 8305 5, Connection Attempt Delay).
	attemptDelay = 250 * time.Millisecond
)

// host is a server that is given by its name: its addresses of the moment, and the way to them.
type host struct {
	name, port string
	resolve    func(ctx context.Context, host string) ([]netip.Addr, error)
	dial       func(ctx context.Context, network, address string) (net.Conn, error)

	mu    sync.Mutex
	addrs []netip.Addr // the last that the name was known to have; none: it has not been looked up
	at    time.Time    // when it was looked up last
	slow  []netip.Addr // those of addrs that did not answer the last time; they are tried last
}

// addresses gives the addresses of the host, those first that answered. Where the name can't be looked up, those from
// before serve on.
func (h *host) addresses(ctx context.Context) ([]netip.Addr, error) {
	h.mu.Lock()
	age, known := time.Since(h.at), len(h.addrs) > 0
	h.mu.Unlock()
	switch {
	case !known:
		if _, err := h.refresh(ctx, nameIn); err != nil {
			return nil, err
		}
	case age >= 2*nameFor: // Watch does not look it up
		_, _ = h.refresh(ctx, nameSoon) // what is known serves on
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	sorted := make([]netip.Addr, 0, len(h.addrs))
	for _, wanted := range []bool{false, true} {
		for _, a := range h.addrs {
			if slices.Contains(h.slow, a) == wanted {
				sorted = append(sorted, a)
			}
		}
	}
	return sorted, nil
}

// refresh looks the name up, and tells whether its addresses are others now. An error means that none are known.
func (h *host) refresh(ctx context.Context, within time.Duration) (changed bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	found, err := h.resolve(ctx, h.name)
	found = usable(found)
	h.mu.Lock()
	defer h.mu.Unlock()
	if err == nil && len(found) == 0 {
		err = errors.New("it has no address")
	}
	if err != nil {
		if len(h.addrs) > 0 {
			h.at = time.Now() // what was known serves on for as long again
			return false, nil
		}
		return false, fmt.Errorf("look up %s: %w", h.name, err)
	}
	h.at = time.Now()
	changed = len(h.addrs) != len(found)
	for _, a := range found {
		changed = changed || !slices.Contains(h.addrs, a)
	}
	if changed {
		h.addrs = found
		h.slow = slices.DeleteFunc(h.slow, func(a netip.Addr) bool { return !slices.Contains(found, a) })
	}
	return changed, nil
}

// usable gives the first of some addresses, each once, the families in turn (RFC 8305 4), that first whose address is first.
func usable(all []netip.Addr) []netip.Addr {
	var families [2][]netip.Addr
	for _, a := range all {
		a = a.Unmap()
		i := 0
		if len(families[0]) > 0 && a.Is4() != families[0][0].Is4() {
			i = 1
		}
		if a.IsValid() && !slices.Contains(families[i], a) {
			families[i] = append(families[i], a)
		}
	}
	var list []netip.Addr
	for i := range max(len(families[0]), len(families[1])) {
		for _, f := range families {
			if i < len(f) && len(list) < maxAddresses {
				list = append(list, f[i])
			}
		}
	}
	return list
}

// has reports whether the host still has an address.
func (h *host) has(a netip.Addr) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Contains(h.addrs, a)
}

// attempt is what became of one attempt to connect.
type attempt struct {
	addr netip.Addr
	nc   net.Conn
	err  error
}

// connect connects with one of the addresses: with each a little after the one before it, at once where that has failed. The
// first connection that is made counts (RFC 8305 5). It leaves nothing behind.
func (h *host) connect(ctx context.Context) (net.Conn, netip.Addr, error) {
	addrs, err := h.addresses(ctx)
	if err != nil {
		return nil, netip.Addr{}, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	results := make(chan attempt, len(addrs))
	next := time.NewTimer(0)
	defer next.Stop()
	var (
		begun, ended int
		won          attempt
		failed       error
	)
	for ended < len(addrs) && won.nc == nil {
		due := next.C
		if begun == len(addrs) {
			due = nil
		}
		select {
		case <-due:
			a := addrs[begun]
			begun++
			go func() {
				nc, err := h.dial(ctx, "tcp", net.JoinHostPort(a.String(), h.port))
				results <- attempt{a, nc, err}
			}()
			next.Reset(attemptDelay)
		case won = <-results:
			ended++
			if won.err != nil && failed == nil {
				failed = won.err
			}
			next.Reset(0)
		}
	}
	cancel()
	for range begun - ended {
		if late := <-results; late.nc != nil {
			_ = late.nc.Close()
		}
	}
	if won.nc == nil {
		return nil, netip.Addr{}, failed
	}
	h.note(addrs[:begun], won.addr)
	return won.nc, won.addr, nil
}

// note takes down which address answered, and which of those that were tried did not.
func (h *host) note(tried []netip.Addr, won netip.Addr) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.slow = slices.DeleteFunc(h.slow, func(a netip.Addr) bool { return a == won })
	for _, a := range tried {
		if a != won && !slices.Contains(h.slow, a) && slices.Contains(h.addrs, a) {
			h.slow = append(h.slow, a)
		}
	}
}

// dialFrom gives the way out, from the source address of a server's family if there is one.
func dialFrom(sources []netip.Addr) func(ctx context.Context, network, address string) (net.Conn, error) {
	if len(sources) == 0 {
		return new(net.Dialer).DialContext
	}
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		var d net.Dialer
		if to, err := netip.ParseAddrPort(address); err == nil {
			for _, from := range sources {
				if from.Is4() == to.Addr().Unmap().Is4() {
					d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(from, 0))
				}
			}
		}
		return d.DialContext(ctx, network, address)
	}
}

// lookUp asks the system's resolver, which gives addresses in the order of RFC 6724.
func lookUp(ctx context.Context, name string) ([]netip.Addr, error) {
	return net.DefaultResolver.LookupNetIP(ctx, "ip", name)
}
