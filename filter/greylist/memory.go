package greylist

import (
	"time"

	"github.com/postern-mail/postern/filter"
)

// memory is what greylisting remembers, in four tables of the stage's own.
type memory struct {
	waiting filter.Table // origin, sender, recipient: first seen, and not come again so far
	passed  filter.Table // origin, sender, recipient: has come again
	known   filter.Table // origin: how many have come again
	written filter.Table // whom our people have written to
}

// How much is remembered. Of those who wait none gives way within half an hour: a flood of new ones ends greylisting, for
// as long as it lasts, and does not make honest senders begin anew.
const (
	maxWaiting = 500_000
	maxPassed  = 500_000
	maxKnown   = 200_000
	maxWritten = 300_000

	freshWaiting = 30 * time.Minute
)

func newMemory(env filter.Env) memory {
	table := func(name string, o filter.TableOptions) filter.Table { return env.State.Table(env.Name+"/"+name, o) }
	return memory{
		waiting: table("waiting", filter.TableOptions{Most: maxWaiting, Fresh: freshWaiting}),
		passed:  table("passed", filter.TableOptions{Most: maxPassed}),
		known:   table("known", filter.TableOptions{Most: maxKnown}),
		written: table("written", filter.TableOptions{Most: maxWritten}),
	}
}

func knownOrigin(o origin) filter.Digest { return filter.DigestOf(o.kind, o.name) }

// The keys of written; us is a mailbox of ours.
func wroteTo(us, them string) filter.Digest         { return filter.DigestOf("to", us, them) }
func wroteToDomain(us, domain string) filter.Digest { return filter.DigestOf("domain", us, domain) }
func wroteAtAll(us string) filter.Digest            { return filter.DigestOf("any", us) }

// wrote remembers that one of ours has written to somebody.
func (m *memory) wrote(us, them, domain string, keep time.Duration) {
	for _, key := range []filter.Digest{wroteTo(us, them), wroteToDomain(us, domain), wroteAtAll(us)} {
		if _, ok := m.written.Get(key); ok {
			m.keepOn(m.written, key, keep)
		} else {
			m.remember(m.written, key, keep)
		}
	}
}

// firstSeen gives when a try was seen first, which is now where it is new.
func (m *memory) firstSeen(key filter.Digest, now time.Time, retry time.Duration) (time.Time, error) {
	if r, ok := m.waiting.Get(key); ok {
		return r.First, nil
	}
	// RFC 6647 5: what comes after the end of the range is new.
	r, err := m.waiting.Update(key, func(r filter.Record, known bool) filter.Record {
		if !known {
			r = filter.Record{First: now, Expires: now.Add(retry)}
		}
		return r
	})
	return r.First, err
}

// remember counts one more. That a table is full costs somebody some minutes, later.
func (m *memory) remember(t filter.Table, key filter.Digest, keep time.Duration) {
	now := time.Now()
	_, _ = t.Update(key, func(r filter.Record, known bool) filter.Record {
		if !known {
			r = filter.Record{First: now}
		}
		r.Last, r.Expires = now, now.Add(keep)
		r.Count++
		return r
	})
}

// refreshEvery is how often a record that is of use is written anew, where it is kept for long.
const refreshEvery = day

// keepOn gives a record that was of use its time anew.
func (m *memory) keepOn(t filter.Table, key filter.Digest, keep time.Duration) {
	now := time.Now()
	if r, ok := t.Get(key); !ok || now.Sub(r.Last) < min(refreshEvery, keep/4) {
		return
	}
	_, _ = t.Update(key, func(r filter.Record, known bool) filter.Record {
		if known {
			r.Last, r.Expires = now, now.Add(keep)
		}
		return r
	})
}

func (m *memory) forget(t filter.Table, key filter.Digest) {
	if _, ok := t.Get(key); ok {
		_, _ = t.Update(key, func(filter.Record, bool) filter.Record { return filter.Record{} })
	}
}
