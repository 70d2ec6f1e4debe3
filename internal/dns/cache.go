package dns

import (
	"sync"
	"time"
)

// Bounds of the cache: octets, estimated, and entries.
const (
	cacheOctets  = 32 << 20
	cacheEntries = 100_000
)

// How long a failure is kept: at first, and at most after it has failed again and again (RFC 9520 3.2).
const (
	firstFailure = 5 * time.Second
	maxFailure   = time.Minute
)

// cache keeps answers, denials and failures. When it is full, the oldest entry that nobody has asked for since
// it was last looked at goes (SIEVE: Zhang et al., NSDI 2024): names that came once, as the domains of a flood of spam
// do, do not push out those that are asked for again and again.
type cache struct {
	mu      sync.Mutex
	entries map[question]*entry
	newest  *entry
	oldest  *entry
	hand    *entry // where the search for one to let go is; nil: at the oldest
	octets  int

	maxOctets, maxEntries int
}

type entry struct {
	q            question
	answer       *answer
	expires      time.Time
	kept         time.Duration // of a failure: for how long
	size         int
	visited      bool
	newer, older *entry
}

func newCache(octets, entries int) *cache {
	return &cache{entries: map[question]*entry{}, maxOctets: octets, maxEntries: entries}
}

// get gives what is known and holds still, nil if nothing.
func (c *cache) get(q question, now time.Time) *answer {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.entries[q]
	if e == nil {
		return nil
	}
	if !now.Before(e.expires) {
		// A failure that has expired remembers how long it was kept.
		if !e.answer.failed() || now.Sub(e.expires) > maxFailure {
			c.drop(e)
		}
		return nil
	}
	e.visited = true
	return e.answer
}

// put keeps an answer for as long as it says, a failure for a while that doubles each time.
func (c *cache) put(q question, a *answer, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	kept := a.ttl
	old := c.entries[q]
	if a.failed() {
		kept = firstFailure
		if old != nil && old.answer.failed() && now.Sub(old.expires) <= maxFailure {
			kept = min(2*old.kept, maxFailure)
		}
	}
	if old != nil {
		c.drop(old)
	}
	if kept <= 0 {
		return
	}
	e := &entry{q: q, answer: a, expires: now.Add(kept), kept: kept, size: a.size() + len(q.name) + 240}
	for c.oldest != nil && (c.octets+e.size > c.maxOctets || len(c.entries) >= c.maxEntries) {
		c.evict()
	}
	e.older = c.newest
	if c.newest != nil {
		c.newest.newer = e
	} else {
		c.oldest = e
	}
	c.newest = e
	c.entries[q] = e
	c.octets += e.size
}

// evict lets one entry go: from the hand towards the newest, and again from the oldest, the first that was not
// visited since the hand was there last.
func (c *cache) evict() {
	e := c.hand
	for {
		if e == nil {
			e = c.oldest
		}
		if !e.visited {
			break
		}
		e.visited = false
		e = e.newer
	}
	c.hand = e.newer
	c.drop(e)
}

func (c *cache) drop(e *entry) {
	if c.hand == e {
		c.hand = e.newer
	}
	if e.newer != nil {
		e.newer.older = e.older
	} else {
		c.newest = e.older
	}
	if e.older != nil {
		e.older.newer = e.newer
	} else {
		c.oldest = e.newer
	}
	delete(c.entries, e.q)
	c.octets -= e.size
}
