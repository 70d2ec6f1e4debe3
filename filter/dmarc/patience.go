package dmarc

import (
	"crypto/sha256"
	"encoding/binary"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/postern-mail/postern/filter"
)

// The bounds of patience.
const (
	patienceTime = 4 * time.Hour
	memoryTime   = 48 * time.Hour // how long it is known that the patience with somebody has ended
	memorySize   = 20_000         // some 2 MiB
)

// patience remembers since when mail has been deferred, by client network, reverse-path and recipients, so that mail is
// let through after four hours whatever the DNS says. It outlives reloads and not the process. When it is full of
// fresh entries, nobody else is deferred.
type patience struct {
	mu    sync.Mutex
	since map[[16]byte]time.Time
	limit int
}

func newPatience() *patience { return &patience{since: map[[16]byte]time.Time{}, limit: memorySize} }

// left reports whether mail as this may be deferred (once more).
func (p *patience) left(in *filter.Input, now time.Time) bool {
	key := keyOf(in)
	p.mu.Lock()
	defer p.mu.Unlock()
	if first, ok := p.since[key]; ok && now.Sub(first) < memoryTime {
		return now.Sub(first) < patienceTime
	}
	if len(p.since) >= p.limit {
		for k, first := range p.since {
			if now.Sub(first) >= memoryTime {
				delete(p.since, k)
			}
		}
		if len(p.since) >= p.limit {
			return false
		}
	}
	p.since[key] = now
	return true
}

// keyOf sums up what a retry has in common with the first try: the network of the client (senders have several
// hosts), the reverse-path and the recipients in whatever order.
func keyOf(in *filter.Input) (key [16]byte) {
	bits := 24
	addr := in.Session.Client.Addr().Unmap()
	if addr.Is6() {
		bits = 64
	}
	network, _ := addr.Prefix(bits)
	if !network.IsValid() {
		network = netip.PrefixFrom(addr, 0)
	}
	parts := []string{network.String(), in.Transaction.From.Mailbox()}
	rcpts := make([]string, 0, len(in.Transaction.Recipients))
	for _, r := range in.Transaction.Recipients {
		rcpts = append(rcpts, r.Mailbox())
	}
	slices.Sort(rcpts)
	h := sha256.New()
	for _, s := range append(parts, slices.Compact(rcpts)...) {
		_, _ = h.Write(binary.AppendUvarint(nil, uint64(len(s))))
		_, _ = h.Write([]byte(s))
	}
	copy(key[:], h.Sum(nil))
	return key
}
