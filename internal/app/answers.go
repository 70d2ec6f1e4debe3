package app

import (
	"strings"
	"time"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/internal/config"
	"github.com/postern-mail/postern/upstream"
)

// How many mailboxes of all upstreams are remembered over a restart, of those that were found, and of those that were not: who tries
// names pushes out none that is known.
const (
	mostFound   = 200_000
	mostMissing = 50_000
)

// answersOf is the memory of what the servers of an upstream have said of mailboxes. Other servers are another upstream, whatever
// its name.
func answersOf(state filter.State, u config.Upstream) upstream.Memory {
	if state == nil {
		return nil
	}
	return answerMemory{
		upstream: u.Name + " " + strings.Join(u.Servers.Addresses(), " "),
		found:    state.Table("callout/found", filter.TableOptions{Most: mostFound, Lazy: true}),
		missing:  state.Table("callout/missing", filter.TableOptions{Most: mostMissing, Lazy: true}),
	}
}

// answerMemory implements upstream.Memory.
type answerMemory struct {
	upstream       string
	found, missing filter.Table
}

// Recall implements upstream.Memory.
func (m answerMemory) Recall(mailbox string) (upstream.Known, time.Time) {
	key := filter.DigestOf(m.upstream, mailbox)
	if r, ok := m.found.Get(key); ok {
		return upstream.Yes, r.Last
	}
	if r, ok := m.missing.Get(key); ok {
		return upstream.No, r.Last
	}
	return upstream.NoSource, time.Time{}
}

// Keep implements upstream.Memory.
func (m answerMemory) Keep(mailbox string, known upstream.Known, at time.Time, keep time.Duration) {
	key := filter.DigestOf(m.upstream, mailbox)
	to, from := m.found, m.missing
	if known == upstream.No {
		to, from = from, to
	}
	drop(from, key)
	// A full table takes no record: then the server is asked again.
	_, _ = to.Update(key, func(filter.Record, bool) filter.Record {
		return filter.Record{First: at, Last: at, Count: 1, Expires: at.Add(keep)}
	})
}

// Forget implements upstream.Memory.
func (m answerMemory) Forget(mailbox string) {
	key := filter.DigestOf(m.upstream, mailbox)
	drop(m.found, key)
	drop(m.missing, key)
}

// drop removes a record, if there is one: to change one that is not there would make room for it.
func drop(t filter.Table, key filter.Digest) {
	if _, ok := t.Get(key); ok {
		_, _ = t.Update(key, func(filter.Record, bool) filter.Record { return filter.Record{} })
	}
}
