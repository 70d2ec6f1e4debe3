package users

import (
	"net/netip"
	"sync"
	"time"
)

// Guessing passwords is made slow. Failures are counted for a network (whoever tries one name after another) and for a
// name (whoever comes from one network after another); beyond a few, an attempt may only begin some time after the last
// one, and this time doubles with each failure. An attempt that is early waits if the wait is short, and is turned away
// else, before its password is looked at.
//
// Who has logged in from a network before is at home there, and neither of the two counts for him: failures of others, from
// there or for his name, never keep him out. What counts is only what failed for his name from there, with waits that are
// always short: a wrong password in one of his programs delays the others by seconds. So does a guesser in his own network,
// who gets an attempt every few seconds and no more.

// limit is how failures of one kind are answered.
type limit struct {
	free   int           // failures without a wait
	most   time.Duration // that a wait grows to
	forget time.Duration // after which without a failure none is remembered
}

const (
	firstWait   = 500 * time.Millisecond
	longestWait = 10 * time.Second // that an attempt is made to wait; a longer one turns it away
	atHomeFor   = 30 * 24 * time.Hour
	maxTracked  = 1 << 14 // entries of each table
)

var (
	ofNetwork = limit{free: 5, most: 15 * time.Minute, forget: time.Hour}
	ofName    = limit{free: 10, most: time.Minute, forget: time.Hour}
	ofHome    = limit{free: 3, most: longestWait, forget: time.Hour}
)

// wait gives the time between attempts after so many failures.
func (l limit) wait(failures int) time.Duration {
	n := failures - l.free
	if n <= 0 {
		return 0
	}
	if n > 20 { // the shift must not overflow
		return l.most
	}
	return min(firstWait<<(n-1), l.most)
}

// record is what is known of a network, a name, or a name at home in a network.
type record struct {
	failures int
	next     time.Time // before which no attempt begins
	last     time.Time // failure; of a home, success too
}

// table is a bounded map of records.
type table[K comparable] struct{ records map[K]*record }

func (t *table[K]) find(k K, now time.Time, forget time.Duration) *record {
	r := t.records[k]
	if r != nil && now.Sub(r.last) > forget {
		delete(t.records, k)
		return nil
	}
	return r
}

// make gives the record of k. Where there is no room, one of those that have not been heard of for long goes: of a few that
// the map's own order, which is random, begins with.
func (t *table[K]) make(k K) *record {
	if r := t.records[k]; r != nil {
		return r
	}
	if t.records == nil {
		t.records = map[K]*record{}
	}
	if len(t.records) >= maxTracked {
		var oldest K
		var at time.Time
		looked := 0
		for k, r := range t.records {
			if looked == 0 || r.last.Before(at) {
				oldest, at = k, r.last
			}
			if looked++; looked == 8 {
				break
			}
		}
		delete(t.records, oldest)
	}
	r := &record{}
	t.records[k] = r
	return r
}

type home struct {
	name    string
	network netip.Prefix
}

// throttle counts failures. Its zero value has seen none. It is safe for concurrent use.
type throttle struct {
	mu       sync.Mutex
	networks table[netip.Prefix]
	names    table[string]
	homes    table[home]
}

// networkOf gives the network that failures of a client are counted for: a site with IPv6 has at least a /64.
func networkOf(a netip.Addr) netip.Prefix { return prefix(a, 32, 64) }

// homeOf gives the network in which a user is at home: the addresses of a site, or of a provider's customers in one place,
// which change within it.
func homeOf(a netip.Addr) netip.Prefix { return prefix(a, 24, 48) }

func prefix(a netip.Addr, four, six int) netip.Prefix {
	bits := four
	if a = a.Unmap().WithZone(""); a.Is6() {
		bits = six
	}
	p, _ := a.Prefix(bits)
	return p
}

// attempt is one that has begun.
type attempt struct {
	name   string
	client netip.Addr
	home   bool
}

// begin says how long an attempt has to wait; ok is false where that is too long. trusted is a client of a network in which
// everybody is at home.
func (t *throttle) begin(name string, client netip.Addr, trusted bool, now time.Time) (a attempt, wait time.Duration, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	a = attempt{name: name, client: client}
	h := home{name, homeOf(client)}
	own := t.homes.find(h, now, atHomeFor)
	a.home = own != nil || trusted
	type counted struct {
		r *record
		l limit
	}
	all := []counted{{t.networks.find(networkOf(client), now, ofNetwork.forget), ofNetwork}, {t.names.find(name, now, ofName.forget), ofName}}
	if a.home {
		all = []counted{{own, ofHome}}
	}
	for _, c := range all {
		if c.r != nil {
			wait = max(wait, c.r.next.Sub(now))
		}
	}
	if wait > longestWait {
		return a, 0, false
	}
	for _, c := range all { // who comes next has to wait for this one
		if c.r != nil {
			if pause := c.l.wait(c.r.failures); pause > 0 {
				c.r.next = now.Add(wait + pause)
			}
		}
	}
	return a, wait, true
}

// failed counts a wrong password.
func (t *throttle) failed(a attempt, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	count := func(r *record, l limit) {
		if now.Sub(r.last) > l.forget {
			r.failures = 0
		}
		r.failures++
		r.last = now
		if next := now.Add(l.wait(r.failures)); next.After(r.next) {
			r.next = next
		}
	}
	if a.home {
		count(t.homes.make(home{a.name, homeOf(a.client)}), ofHome)
		return
	}
	count(t.networks.make(networkOf(a.client)), ofNetwork)
	count(t.names.make(a.name), ofName)
}

// succeeded takes note of where a user is at home.
func (t *throttle) succeeded(a attempt, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	r := t.homes.make(home{a.name, homeOf(a.client)})
	*r = record{last: now}
}
