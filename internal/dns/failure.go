package dns

import (
	"context"
	"errors"
	"net"
	"net/netip"
)

// What errors wrap that are IsNotFound, and the error of a message that has asked enough.
var (
	ErrNXDomain = errors.New("no such name")
	ErrNoData   = errors.New("no such record")
	ErrBudget   = errors.New("the message's budget of DNS is used up")
)

// NotAsked reports whether the error of a look-up says that we would not ask: it says nothing about the name or its servers.
func NotAsked(err error) bool { return errors.Is(err, ErrBudget) || errors.Is(err, errBusy) }

// NotFound reports whether the error of a look-up says that there is no such thing. Any other says nothing about the
// name.
func NotFound(err error) bool {
	var de *net.DNSError
	return errors.As(err, &de) && de.IsNotFound
}

// Leads reports whether one of a name's addresses is the given one, which is unmapped, and whether the name has any. The
// error says that this could not be told.
func Leads(ctx context.Context, resolver interface {
	LookupIPAddr(ctx context.Context, host string) ([]net.IPAddr, error)
}, name string, to netip.Addr,
) (leads, found bool, err error) {
	addrs, err := resolver.LookupIPAddr(ctx, name)
	for _, a := range addrs {
		if ip, ok := netip.AddrFromSlice(a.IP); ok && ip.Unmap() == to {
			return true, true, nil
		}
	}
	if err == nil || NotFound(err) {
		return false, len(addrs) > 0, nil
	}
	return false, false, err
}

// Failure words the error of a look-up for people. It leaves out which server was asked: the text may leave the house.
func Failure(err error) string {
	var de *net.DNSError
	switch {
	case errors.Is(err, ErrBudget):
		return "the check has asked enough"
	case errors.As(err, &de) && de.IsTimeout, errors.Is(err, context.DeadlineExceeded):
		return "no answer"
	}
	return "server failure"
}
