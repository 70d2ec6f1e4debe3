package senders

import (
	"context"
	"net/netip"
	"sync"

	"github.com/postern-mail/postern/internal/dns"
)

// Find gives what the Of of a Table gives that has learnt of the domains: it looks them all up for one address, and keeps
// nothing. "" stands also for what can't be found out before the context ends: a domain that does not answer has no
// networks.
func Find(ctx context.Context, resolver Resolver, domains []string, a netip.Addr) string {
	domains = domains[:min(len(domains), MaxDomains)]
	sets := make([]set, len(domains))
	slots := make(chan struct{}, sideBySide)
	var running sync.WaitGroup
	for i, d := range domains {
		running.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			limited, cancel := context.WithTimeout(dns.WithBudget(ctx, dns.NewBudget(maxQuestions, maxTime)), maxTime)
			defer cancel()
			sets[i], _, _ = expand(limited, resolver, d)
		})
	}
	running.Wait()
	return newIndex(domains, sets).of(a.Unmap().WithZone(""))
}
