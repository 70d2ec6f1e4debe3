package app

import (
	"net/netip"
	"slices"
	"sync"

	"github.com/postern-mail/postern/internal/config"
	"github.com/postern-mail/postern/internal/dns"
)

// resolvers keeps the resolver from one configuration to the next: what it knows of names, and of servers that are
// silent, outlives a reload that names the same servers.
type resolvers struct {
	observer dns.Observer

	mu      sync.Mutex
	known   *dns.Resolver
	servers []netip.AddrPort // of the known one
}

// forConfig gives the resolver for a configuration, and what makes it the known one. A nil *resolvers knows none.
func (r *resolvers) forConfig(cfg *config.Config) (_ *dns.Resolver, adopt func(), err error) {
	if r != nil {
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.known != nil && slices.Equal(r.servers, cfg.DNS.Servers) {
			return r.known, func() {}, nil
		}
	}
	made, err := dns.New(cfg.DNS.Servers)
	if err != nil {
		return nil, nil, cfg.Errorf("dns.servers", "%s", err)
	}
	if r == nil {
		return made, func() {}, nil
	}
	made.Observe(r.observer)
	return made, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.known, r.servers = made, slices.Clone(cfg.DNS.Servers)
	}, nil
}
