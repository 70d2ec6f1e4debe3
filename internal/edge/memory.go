package edge

import (
	"net/netip"
	"time"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/internal/limits"
)

// memory is what the door remembers of clients, over restarts: who has waited for his greeting, and who has brought good
// mail. A client is what limits.Client says. Without a State nothing is remembered, and everybody is a stranger.
type memory struct {
	state   filter.State
	early   filter.Table
	history filter.Table
	guessed filter.Table
}

// memory gives the one of the gateway at hand.
func (s *Server) memory() *memory {
	state := s.gateway().State
	if m := s.remembered.Load(); m != nil && m.state == state {
		return m
	}
	m := &memory{state: state}
	if state != nil {
		m.early = state.Table("door/early", filter.TableOptions{Lazy: true})
		m.history = state.Table("door/clients", filter.TableOptions{Lazy: true})
		m.guessed = state.Table("door/guesses", filter.TableOptions{Lazy: true})
	}
	s.remembered.Store(m)
	return m
}

// digest names a client in the tables.
func digest(client netip.Addr) filter.Digest { return filter.DigestOf(limits.Client(client).String()) }

// What the numbers of records in door/early mean.
const (
	hasWaited = 1
	hasSpoken = 2
)

// manners gives what is remembered of a client's test: EarlyPassed, EarlySpoke, or "".
func (m *memory) manners(client netip.Addr) string {
	if m.state == nil {
		return ""
	}
	r, ok := m.early.Get(digest(client))
	switch {
	case ok && r.Count == hasWaited:
		return EarlyPassed
	case ok && r.Count == hasSpoken:
		return EarlySpoke
	}
	return ""
}

// keepManners remembers the result of a test. Who has spoken a short while ago is not better for having waited now.
func (m *memory) keepManners(client netip.Addr, result string, remember time.Duration) {
	if m.state == nil || result == EarlyLeft {
		return
	}
	now := time.Now()
	// A full table takes no record: then the client is tested again.
	_, _ = m.early.Update(digest(client), func(r filter.Record, known bool) filter.Record {
		switch {
		case result == EarlySpoke:
			return filter.Record{First: now, Last: now, Count: hasSpoken, Expires: now.Add(earlyFor)}
		case known && r.Count == hasSpoken:
			return r
		}
		return filter.Record{First: now, Last: now, Count: hasWaited, Expires: now.Add(remember)}
	})
}

// What makes a client known: mail that was accepted on several days, the last of them not long ago, and few refusals beside
// it. Nobody gets there by one good message, or by a thousand in a night.
const (
	knownDays   = 3 // different ones
	forgotten   = 30 * 24 * time.Hour
	goodForBad  = 4       // accepted messages for each refusal
	mostCounted = 1 << 12 // at which both numbers are halved: what was long ago counts less
)

// record is what the number of a record in door/clients holds: the days on which mail was accepted, the messages, the refusals.
type record struct{ days, good, bad int }

func unpack(n int64) record {
	return record{days: int(n >> 32 & 0xff), good: int(n >> 16 & 0xffff), bad: int(n & 0xffff)}
}

func (r record) pack() int64 { return int64(r.days)<<32 | int64(r.good)<<16 | int64(r.bad) }

// note adds what a connection of a client brought. Only accepted mail makes a record: to fill the memory is work.
func (m *memory) note(client netip.Addr, accepted, refused int) {
	if m.state == nil || accepted == 0 && refused == 0 || !client.IsValid() {
		return
	}
	now := time.Now()
	_, _ = m.history.Update(digest(client), func(r filter.Record, known bool) filter.Record {
		if !known && accepted == 0 {
			return filter.Record{} // which has expired
		}
		if !known {
			r = filter.Record{First: now}
		}
		c := unpack(r.Count)
		if accepted > 0 {
			if dayOf(now) != dayOf(r.Last) {
				c.days = min(c.days+1, 0xff)
			}
			r.Last, r.Expires = now, now.Add(forgotten)
		}
		c.good, c.bad = c.good+min(accepted, mostCounted), c.bad+min(refused, mostCounted)
		for c.good > mostCounted || c.bad > mostCounted {
			c.good, c.bad = c.good/2, c.bad/2
		}
		r.Count = c.pack()
		return r
	})
}

func dayOf(t time.Time) int64 { return t.Unix() / (24 * 60 * 60) }

// good tells whether a client is known for good mail.
func (m *memory) good(client netip.Addr) bool {
	if m.state == nil || !client.IsValid() {
		return false
	}
	r, ok := m.history.Get(digest(client))
	c := unpack(r.Count)
	return ok && c.days >= knownDays && c.good >= goodForBad*c.bad
}

// A network from which many mailboxes were asked for that do not exist is suspected of guessing. What is remembered is a number
// of guesses, of which half is forgotten every hour.
const (
	manyGuesses   = 30
	guessesHalved = time.Hour
	guessesGone   = 8 * time.Hour
	mostGuesses   = 1 << 10
	goodForGuess  = 10 // guesses that one accepted message makes up for
)

func network(client netip.Addr) filter.Digest {
	return filter.DigestOf(limits.Network(client).String())
}

// fade halves a number of guesses once for each hour that has gone by.
func fade(r filter.Record, now time.Time) filter.Record {
	hours := min(max(now.Sub(r.Last)/guessesHalved, 0), 63)
	r.Count >>= uint(hours)
	r.Last = r.Last.Add(hours * guessesHalved)
	return r
}

// noteGuesses adds guesses to those of a client's network.
func (m *memory) noteGuesses(client netip.Addr, n int) {
	if m.state == nil || n <= 0 || !client.IsValid() {
		return
	}
	now := time.Now()
	_, _ = m.guessed.Update(network(client), func(r filter.Record, known bool) filter.Record {
		if !known {
			r = filter.Record{First: now, Last: now}
		}
		r = fade(r, now)
		r.Count, r.Expires = min(r.Count+int64(n), mostGuesses), now.Add(guessesGone)
		return r
	})
}

// guesses tells whether a client's network is suspected.
func (m *memory) guesses(client netip.Addr) bool {
	if m.state == nil || !client.IsValid() {
		return false
	}
	r, ok := m.guessed.Get(network(client))
	return ok && fade(r, time.Now()).Count >= manyGuesses
}
