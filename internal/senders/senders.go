// Package senders knows the networks of big mail providers, by what they publish themselves: the SPF records of a few
// domains, expanded in the background and kept fresh. It judges nobody: that a client is of a big sender says how much of
// it is to be expected, and nothing of its mail.
package senders

import (
	"context"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/postern-mail/postern/internal/dns"
)

// MaxDomains is how many domains there may be.
const MaxDomains = 64

// Default lists the domains that are big senders where nobody says otherwise: those whose customers include them in SPF
// records of their own, and that say in networks who they are. Yahoo is not among them, since its record is of names ("ptr").
func Default() []string {
	return []string{
		"_spf.google.com",            // Gmail, Workspace
		"spf.protection.outlook.com", // Exchange Online
		"outlook.com",                // Outlook.com, Hotmail
		"icloud.com",                 // Apple
		"amazonses.com",              // Amazon SES
		"sendgrid.net",               // Twilio SendGrid
		"mailgun.org",                // Mailgun
		"servers.mcsv.net",           // Mailchimp
		"spf.mandrillapp.com",        // Mailchimp Transactional
		"spf.mtasv.net",              // Postmark
		"spf.mailjet.com",            // Mailjet
		"zohomail.com",               // Zoho
		"_spf.protonmail.ch",         // Proton
		"spf.messagingengine.com",    // Fastmail
		"gmx.net",                    // GMX
		"web.de",                     // WEB.DE
		"_spf.yandex.net",            // Yandex
		"_spf.mail.ru",               // VK Mail
	}
}

// When what is known is looked up anew.
const (
	floor      = 15 * time.Minute // whatever the TTL: these are many records for little news
	ceiling    = time.Hour
	firstRetry = time.Minute // after a failure, doubled up to the ceiling
	keepFor    = 7 * 24 * time.Hour
)

// What one look at a domain may cost, and how many are looked at side by side.
const (
	maxQuestions = 200
	maxTime      = time.Minute
	sideBySide   = 4
)

// Table says to which big sender an address belongs. It is safe for concurrent use, and made by New.
type Table struct {
	log   *slog.Logger
	index atomic.Pointer[index]

	configuring sync.Mutex // held while the domains change
	stop        context.CancelFunc
	running     sync.WaitGroup
	slots       chan struct{}
	resolver    Resolver

	mu      sync.Mutex
	domains []string
	known   map[string]*known
}

// known is what is known of one domain.
type known struct {
	networks set
	since    time.Time // of the last time that all was found out; zero: never
	failing  bool
}

// New makes a table of no domains. Nothing runs before Configure.
func New(log *slog.Logger) *Table {
	t := &Table{log: log, known: map[string]*known{}, slots: make(chan struct{}, sideBySide)}
	t.index.Store(newIndex(nil, nil))
	return t
}

// Of gives the domain of the big sender to whose networks an address belongs; "" for none, or as long as nothing is known.
// Of several domains with the address the first counts.
func (t *Table) Of(a netip.Addr) string { return t.index.Load().of(a.Unmap().WithZone("")) }

// Configure sets the domains, at most MaxDomains, and who is asked about them. What is known of domains that stay is kept. It
// does not wait for what is found out.
func (t *Table) Configure(resolver Resolver, domains []string) {
	t.configuring.Lock()
	defer t.configuring.Unlock()
	domains = domains[:min(len(domains), MaxDomains)]
	if t.stop != nil && t.resolver == resolver && slices.Equal(t.domains, domains) {
		return
	}
	t.end()
	t.resolver = resolver
	t.mu.Lock()
	t.domains = slices.Clone(domains)
	for d := range t.known {
		if !slices.Contains(domains, d) {
			delete(t.known, d)
		}
	}
	for _, d := range domains {
		if t.known[d] == nil {
			t.known[d] = &known{}
		}
	}
	t.rebuild()
	t.mu.Unlock()
	ctx, stop := context.WithCancel(context.Background())
	t.stop = stop
	for _, d := range t.domains {
		t.running.Go(func() { t.keep(ctx, resolver, d) })
	}
}

// Close ends what runs in the background, and waits for it. What is known stays.
func (t *Table) Close() {
	t.configuring.Lock()
	defer t.configuring.Unlock()
	t.end()
}

func (t *Table) end() {
	if t.stop != nil {
		t.stop()
		t.running.Wait()
		t.stop = nil
	}
}

// rebuild makes the index anew; t.mu is held.
func (t *Table) rebuild() {
	sets := make([]set, len(t.domains))
	for i, d := range t.domains {
		sets[i] = t.known[d].networks
	}
	t.index.Store(newIndex(t.domains, sets))
}

// keep keeps what is known of a domain fresh.
func (t *Table) keep(ctx context.Context, resolver Resolver, domain string) {
	retry := firstRetry
	for {
		life, err := t.refresh(ctx, resolver, domain)
		if ctx.Err() != nil {
			return
		}
		pause := min(max(life, floor), ceiling)
		if err != nil {
			pause, retry = retry, min(2*retry, ceiling)
		} else {
			retry = firstRetry
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return
		}
	}
}

// refresh looks a domain up anew.
func (t *Table) refresh(ctx context.Context, resolver Resolver, domain string) (time.Duration, error) {
	select {
	case t.slots <- struct{}{}:
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	defer func() { <-t.slots }()
	limited, cancel := context.WithTimeout(dns.WithBudget(ctx, dns.NewBudget(maxQuestions, maxTime)), maxTime)
	defer cancel()
	networks, life, err := expand(limited, resolver, domain)
	if ctx.Err() != nil {
		return 0, ctx.Err()
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	k := t.known[domain]
	if err != nil {
		t.failed(k, domain, err)
		return 0, err
	}
	changed := !slices.Equal(k.networks, networks)
	if k.failing {
		t.log.Info("networks of a big sender are known again", "domain", domain, "networks", len(networks))
	}
	*k = known{networks: networks, since: time.Now()}
	if changed {
		t.log.Debug("networks of a big sender", "domain", domain, "networks", len(networks))
		t.rebuild()
	}
	return life, nil
}

// failed takes note that a domain could not be looked up; t.mu is held. What was known serves on, for a week.
func (t *Table) failed(k *known, domain string, err error) {
	if !k.failing {
		k.failing = true
		t.log.Warn("networks of a big sender can't be found out: the last ones known serve on", "domain", domain, "networks", len(k.networks), "error", err.Error())
	}
	if len(k.networks) > 0 && time.Since(k.since) > keepFor {
		t.log.Error("networks of a big sender are forgotten: they could not be found out for a week", "domain", domain)
		k.networks = nil
		t.rebuild()
	}
}

// Usage is what a Table holds.
type Usage struct {
	Domains  int       // that are configured
	Known    int       // of which networks are known
	Failing  int       // that could not be looked up the last time
	Networks int       // ranges of addresses, of all domains
	Oldest   time.Time // when that was found out which is known for the longest time; zero: nothing is known
}

// Usage tells what the table holds.
func (t *Table) Usage() Usage {
	t.mu.Lock()
	defer t.mu.Unlock()
	u := Usage{Domains: len(t.domains), Networks: len(t.index.Load().spans)}
	for _, k := range t.known {
		if len(k.networks) > 0 {
			u.Known++
			if u.Oldest.IsZero() || k.since.Before(u.Oldest) {
				u.Oldest = k.since
			}
		}
		if k.failing {
			u.Failing++
		}
	}
	return u
}
