// Package limits counts what client networks take of a server: how many of their connections are open, how fast new ones
// come, and what they brought. It closes no connection, writes nothing to disk, and knows neither sockets nor mail.
//
// A client is one IPv4 address or one IPv6 /64, since no site has less; its network is the IPv4 /24 or the IPv6 /48. Of
// IPv6 the /32 is counted too: that is what anybody can have of a registry, with 65536 networks in it.
//
// Rates are kept as debts. Each connection costs its client a share of a minute, and time pays the debt off; who owes a
// whole minute has to wait. What a connection costs is known when it ends: see Cost.
package limits

import (
	"encoding/binary"
	"hash/maphash"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// Rules are the limits of one listener. A number that is 0 or less is no limit.
type Rules struct {
	Client  int // connections of one client at once
	Network int // of one network
	Rate    int // new connections a minute of one client; of a network as many more as Network is more than Client
	Total   int // new connections a minute of all clients
	Wide    int // connections of one IPv6 /32 at once; its rate is ten times a network's
}

// Known is how many times as much a client gets that is known for good mail.
const Known = 10

// wideRate is how many times the rate of a network an IPv6 /32 gets.
const wideRate = 10

// Reason is why a connection is one too many.
type Reason uint8

// The reasons.
const (
	Fine        Reason = iota // it is not
	ClientOpen                // the client has too many
	NetworkOpen               // its network has, or its /32
	ClientRate                // the client makes new ones too fast
	NetworkRate               // its network does, or its /32
	TotalRate                 // all clients together do
)

// The levels on which an address is counted, the narrowest first. Each family has its own.
const (
	v4Client = iota
	v4Network
	v6Client
	v6Network
	v6Wide
)

type key struct {
	bits  uint64 // the address down to the level's prefix, the rest zero
	level uint8
}

// keys gives the levels that an address is counted on, none for what is no address.
func keys(a netip.Addr) (all [3]key, n int) {
	switch a = a.Unmap(); {
	case a.Is4():
		b := a.As4()
		bits := uint64(binary.BigEndian.Uint32(b[:]))
		return [3]key{{bits, v4Client}, {bits &^ 0xff, v4Network}}, 2
	case a.Is6():
		b := a.As16()
		bits := binary.BigEndian.Uint64(b[:8])
		return [3]key{{bits, v6Client}, {bits &^ (1<<16 - 1), v6Network}, {bits &^ (1<<32 - 1), v6Wide}}, 3
	}
	return all, 0
}

// Client gives the prefix by which a client is counted; the zero Prefix for what is no address.
func Client(a netip.Addr) netip.Prefix {
	a = a.Unmap().WithZone("")
	bits := a.BitLen()
	if a.Is6() {
		bits = 64
	}
	p, _ := a.Prefix(bits)
	return p
}

// Network gives the prefix of a client's network; the zero Prefix for what is no address.
func Network(a netip.Addr) netip.Prefix {
	a = a.Unmap().WithZone("")
	bits := 24
	if a.Is6() {
		bits = 48
	}
	p, _ := a.Prefix(bits)
	return p
}

// The size of a table. A shard that is full has room kept for the wider levels: whoever comes from ever new narrow ones is
// then counted by the wide one alone, with its limits.
const (
	shards   = 64
	mostHere = 1024 // entries of one shard
)

var room = [...]int{
	v4Client: mostHere * 3 / 4, v6Client: mostHere * 3 / 4,
	v4Network: mostHere * 15 / 16, v6Network: mostHere * 15 / 16,
	v6Wide: mostHere,
}

// Table counts connections. It is safe for concurrent use; all levels of one address are under one lock, that of
// others mostly under another. Its size is bounded, whoever comes.
type Table struct {
	seed   maphash.Seed
	shards [shards]shard
	total  debt
	told   atomic.Int64 // when a refusal for the total was reported last
}

type shard struct {
	mu      sync.Mutex
	entries map[key]entry
	swept   int64 // when it was full last and nothing could be removed
}

// entry is one client, network or /32.
type entry struct {
	owes int64 // the time at which its debt is paid, in Unix nanoseconds
	told int64 // when a refusal was reported last
	open int32
}

// NewTable makes an empty table.
func NewTable() *Table { return &Table{seed: maphash.MakeSeed()} }

// Visit is one connection that is counted. The zero value is one that is not.
type Visit struct {
	client  netip.Addr
	counted uint8 // a bit for each level that has an entry for it
	known   bool
}

func (t *Table) shard(k key) *shard { return &t.shards[maphash.Comparable(t.seed, k)%shards] }

// Enter counts a new connection, or says why it is one too many: then nothing is counted. A client that is known gets
// Known times as much of everything, and is not held up by the total. news tells whether no such refusal was reported
// within the last minute: of this client or network, or of the total.
func (t *Table) Enter(now time.Time, client netip.Addr, r Rules, known bool) (v Visit, why Reason, news bool) {
	all, n := keys(client)
	if n == 0 {
		return Visit{}, Fine, false
	}
	s := t.shard(all[n-1])
	s.mu.Lock()
	defer s.mu.Unlock()
	at := now.UnixNano()
	for i, k := range all[:n] {
		e, ok := s.entries[k]
		if !ok {
			continue
		}
		if why = r.exceeded(i, e, at, known); why != Fine {
			news = at-e.told >= int64(time.Minute)
			if news {
				e.told = at
				s.entries[k] = e
			}
			return Visit{}, why, news
		}
	}
	if !t.total.take(at, cost(r.Total), !known) {
		told := t.told.Load()
		return Visit{}, TotalRate, at-told >= int64(time.Minute) && t.told.CompareAndSwap(told, at)
	}
	v = Visit{client: client, known: known}
	for i, k := range all[:n] {
		e, ok := s.entries[k]
		if !ok && !s.makeRoom(k, at) {
			continue
		}
		e.open++
		e.owes = max(e.owes, at) + r.interval(i, known)
		s.entries[k] = e
		v.counted |= 1 << i
	}
	return v, Fine, false
}

// Leave counts a connection out that Enter counted in, under the same rules. Its cost is settled: see Cost.
func (t *Table) Leave(now time.Time, v Visit, r Rules, thousandths int) {
	if v.counted == 0 {
		return
	}
	at := now.UnixNano()
	all, n := keys(v.client)
	s := t.shard(all[n-1])
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, k := range all[:n] {
		if v.counted&(1<<i) == 0 {
			continue
		}
		e := s.entries[k]
		e.open--
		e.owes = settle(e.owes, at, r.interval(i, v.known), thousandths)
		if e.open <= 0 && e.owes <= at {
			delete(s.entries, k)
		} else {
			s.entries[k] = e
		}
	}
	t.total.settle(at, cost(r.Total), thousandths)
}

// settle gives the debt of which one connection has turned out to cost other than a whole interval. A debt has no more than
// a minute above the one at which nobody is let in, so that everybody's wait is bounded.
func settle(owes, at, interval int64, thousandths int) int64 {
	owes = max(owes, at) + interval/1000*int64(thousandths-1000)
	return min(max(owes, at), at+2*int64(time.Minute))
}

// exceeded tells whether an entry of the i-th level has no room for one connection more.
func (r *Rules) exceeded(i int, e entry, at int64, known bool) Reason {
	most, open, rate := r.Client, ClientOpen, ClientRate
	if i > 0 {
		most, open, rate = r.Network, NetworkOpen, NetworkRate
	}
	if i == 2 {
		most = r.Wide
	}
	if known {
		most *= Known
	}
	switch interval := r.interval(i, known); {
	case most > 0 && int(e.open) >= most:
		return open
	case interval > 0 && e.owes-at > int64(time.Minute)-interval:
		return rate
	}
	return Fine
}

// interval is what a connection costs on the i-th level, in nanoseconds.
func (r *Rules) interval(i int, known bool) int64 {
	d := cost(r.Rate)
	if i > 0 && r.Network > r.Client && r.Client > 0 {
		d = d * int64(r.Client) / int64(r.Network)
	}
	if i == 2 {
		d /= wideRate
	}
	if known {
		d /= Known
	}
	return d
}

// cost is a connection's share of a minute.
func cost(rate int) int64 {
	if rate <= 0 {
		return 0
	}
	return int64(time.Minute) / int64(rate)
}

// makeRoom tells whether k may have an entry. Of a full shard those are removed that say nothing any more.
func (s *shard) makeRoom(k key, at int64) bool {
	if s.entries == nil {
		s.entries = map[key]entry{}
	}
	if len(s.entries) < room[k.level] {
		return true
	}
	if at-s.swept < int64(time.Second) {
		return false
	}
	for old, e := range s.entries {
		if e.open <= 0 && e.owes <= at {
			delete(s.entries, old)
		}
	}
	if len(s.entries) < room[k.level] {
		return true
	}
	s.swept = at
	return false
}

// Open gives how many connections of a client are open.
func (t *Table) Open(client netip.Addr) int {
	all, n := keys(client)
	if n == 0 {
		return 0
	}
	s := t.shard(all[n-1])
	s.mu.Lock()
	defer s.mu.Unlock()
	return int(s.entries[all[0]].open)
}

// debt is one that all share.
type debt struct{ owes atomic.Int64 }

// take adds to the debt, and tells whether that is within a minute; beyond it nothing is added where it is strict.
func (d *debt) take(at, interval int64, strict bool) bool {
	if interval == 0 {
		return true
	}
	for {
		old := d.owes.Load()
		if strict && old-at > int64(time.Minute)-interval {
			return false
		}
		if d.owes.CompareAndSwap(old, min(max(old, at)+interval, at+2*int64(time.Minute))) {
			return true
		}
	}
}

func (d *debt) settle(at, interval int64, thousandths int) {
	if interval == 0 {
		return
	}
	for {
		old := d.owes.Load()
		if d.owes.CompareAndSwap(old, settle(old, at, interval, thousandths)) {
			return
		}
	}
}

// Cost is what a connection costs that has ended, in thousandths of one: a tenth where it brought a message that was accepted and
// nothing that was refused; one more for each refusal, ten at most, where it brought none.
func Cost(accepted, refused int) int {
	return min(max(1000*(1+refused)/(1+9*accepted), 100), 10000)
}
