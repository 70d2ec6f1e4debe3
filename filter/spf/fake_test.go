package spf

import (
	"context"
	"net"
	"net/netip"
	"strings"
)

// fakeDNS answers from maps, and counts nothing; what they do not hold does not exist.
type fakeDNS struct {
	txt map[string][]string
	mx  map[string][]string
	ip  map[string][]string
	ptr map[string][]string
}

func fakeAnswer(m map[string][]string, name string) ([]string, error) {
	if all := m[strings.ToLower(name)]; len(all) > 0 {
		return all, nil
	}
	return nil, &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
}

func (d fakeDNS) LookupTXT(ctx context.Context, name string) ([]string, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return fakeAnswer(d.txt, name)
}

func (d fakeDNS) LookupMX(_ context.Context, name string) (all []*net.MX, err error) {
	hosts, err := fakeAnswer(d.mx, name)
	for _, h := range hosts {
		all = append(all, &net.MX{Host: h + "."})
	}
	return all, err
}

func (d fakeDNS) LookupIPAddr(_ context.Context, name string) (all []net.IPAddr, err error) {
	addrs, err := fakeAnswer(d.ip, name)
	for _, a := range addrs {
		all = append(all, net.IPAddr{IP: net.IP(netip.MustParseAddr(a).AsSlice())})
	}
	return all, err
}

func (d fakeDNS) LookupAddr(_ context.Context, addr string) ([]string, error) {
	return fakeAnswer(d.ptr, addr)
}
