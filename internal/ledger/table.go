package ledger

import (
	"hash/maphash"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/postern-mail/postern/filter"
)

// shards is the number of parts of a table, each with a lock of its own.
const shards = 64

// defaultMost is the number of records of a table that names none.
const defaultMost = 100_000

// table implements filter.Table.
type table struct {
	name    string
	seed    maphash.Seed
	durable bool

	most    atomic.Int64
	fresh   atomic.Int64 // seconds
	lazy    atomic.Bool
	records atomic.Int64

	parts [shards]shard
}

func newTable(name string, seed maphash.Seed, durable bool) *table {
	t := &table{name: name, seed: seed, durable: durable}
	t.most.Store(defaultMost)
	for i := range t.parts {
		t.parts[i].init()
	}
	return t
}

// configure changes the bounds; records that are too many go.
func (t *table) configure(o filter.TableOptions) {
	if o.Most <= 0 {
		o.Most = defaultMost
	}
	t.most.Store(int64(o.Most))
	t.fresh.Store(int64((o.Fresh + time.Second - 1) / time.Second))
	t.lazy.Store(o.Lazy)
	for i := range t.parts {
		p := &t.parts[i]
		p.mu.Lock()
		for t.records.Load() > t.most.Load() && p.oldest >= 0 && len(p.index)*shards > o.Most {
			t.drop(p, p.oldest)
			p.evicted++
		}
		p.mu.Unlock()
	}
}

// part finds the shard of a key. The seed keeps a client that chooses its addresses from choosing the shard.
func (t *table) part(key filter.Digest) *shard {
	return &t.parts[maphash.Bytes(t.seed, key[:])%shards]
}

// Get implements filter.Table.
func (t *table) Get(key filter.Digest) (filter.Record, bool) {
	now := seconds(time.Now())
	p := t.part(key)
	p.mu.Lock()
	defer p.mu.Unlock()
	i, ok := p.index[key]
	if !ok || p.slots[i].expires <= now {
		p.misses++
		return filter.Record{}, false
	}
	p.hits++
	return p.slots[i].record(), true
}

// Update implements filter.Table.
func (t *table) Update(key filter.Digest, change func(filter.Record, bool) filter.Record) (filter.Record, error) {
	now := seconds(time.Now())
	p := t.part(key)
	p.mu.Lock()
	defer p.mu.Unlock()
	i, there := p.index[key]
	known := there && p.slots[i].expires > now
	var old filter.Record
	if known {
		old = p.slots[i].record()
		p.hits++
	} else {
		p.misses++
	}
	if !there && !t.room(p, now) {
		p.refused++
		return filter.Record{}, filter.ErrTableFull
	}
	r := change(old, known)
	switch {
	case ceil(r.Expires) <= now:
		if there {
			t.drop(p, i)
		}
		return r, nil
	case !there:
		i = p.add(key)
		t.records.Add(1)
	}
	p.slots[i].set(r, now)
	p.renew(i)
	if t.durable {
		p.mark(i)
	}
	return p.slots[i].record(), nil
}

// room makes the oldest record of the shard give way where the table is full. It gives false if that is too young.
func (t *table) room(p *shard, now uint32) bool {
	if t.records.Load() < t.most.Load() || p.oldest < 0 {
		return true
	}
	s := &p.slots[p.oldest]
	if s.expires > now && int64(now)-int64(s.updated) < t.fresh.Load() {
		return false
	}
	t.drop(p, p.oldest)
	p.evicted++
	return true
}

// drop removes the record in slot i.
func (t *table) drop(p *shard, i int32) {
	p.remove(i, t.durable)
	t.records.Add(-1)
}

// sweep removes what has expired.
func (t *table) sweep(now uint32) {
	for n := range t.parts {
		p := &t.parts[n]
		p.mu.Lock()
		for i := range p.slots {
			if s := &p.slots[i]; s.used && s.expires <= now {
				t.drop(p, int32(i))
				p.expired++
			}
		}
		p.mu.Unlock()
	}
}

func (t *table) usage() TableUsage {
	u := TableUsage{Name: t.name, Records: t.records.Load()}
	for i := range t.parts {
		p := &t.parts[i]
		p.mu.Lock()
		u.Hits += p.hits
		u.Misses += p.misses
		u.Evicted += p.evicted
		u.Refused += p.refused
		u.Expired += p.expired
		p.mu.Unlock()
	}
	return u
}

// shard is a part of a table: records in slots, which are found by key, and chained in the order of their updates.
// Neither slots nor index hold pointers, so that the garbage collector does not look at them.
type shard struct {
	mu             sync.Mutex
	index          map[filter.Digest]int32
	slots          []slot
	free           int32 // the first free slot, chained by newer; -1 for none
	oldest, newest int32 // -1 for none
	dirty          []int32
	gone           []uint32 // rows of removed records

	hits, misses, evicted, refused, expired int64
}

// slot is a record in memory: 64 octets.
type slot struct {
	key                filter.Digest
	first, last, count int64 // times in microseconds
	expires, updated   uint32
	older, newer       int32
	id                 uint32 // of the row in the file; 0 for none so far
	used               bool
	dirty              bool // in the list of what is to be written
}

func (p *shard) init() {
	p.index, p.free, p.oldest, p.newest = map[filter.Digest]int32{}, -1, -1, -1
}

// add takes a slot for a key, the newest.
func (p *shard) add(key filter.Digest) int32 {
	i := p.free
	if i >= 0 {
		p.free = p.slots[i].newer
	} else {
		i = int32(len(p.slots))
		p.slots = append(p.slots, slot{})
	}
	p.slots[i] = slot{key: key, used: true, older: -1, newer: -1}
	p.index[key] = i
	p.link(i)
	return i
}

// remove frees slot i, and notes that its row is to be removed.
func (p *shard) remove(i int32, durable bool) {
	s := &p.slots[i]
	if durable && s.id != 0 {
		p.gone = append(p.gone, s.id)
	}
	delete(p.index, s.key)
	p.unlink(i)
	*s = slot{older: -1, newer: p.free}
	p.free = i
}

// link puts slot i at the end of the newest.
func (p *shard) link(i int32) {
	s := &p.slots[i]
	s.older, s.newer = p.newest, -1
	if p.newest >= 0 {
		p.slots[p.newest].newer = i
	} else {
		p.oldest = i
	}
	p.newest = i
}

func (p *shard) unlink(i int32) {
	s := &p.slots[i]
	if s.older >= 0 {
		p.slots[s.older].newer = s.newer
	} else {
		p.oldest = s.newer
	}
	if s.newer >= 0 {
		p.slots[s.newer].older = s.older
	} else {
		p.newest = s.older
	}
}

// renew makes slot i the newest.
func (p *shard) renew(i int32) {
	if p.newest != i {
		p.unlink(i)
		p.link(i)
	}
}

// mark notes that slot i is to be written.
func (p *shard) mark(i int32) {
	if s := &p.slots[i]; !s.dirty {
		s.dirty = true
		p.dirty = append(p.dirty, i)
	}
}

func (s *slot) record() filter.Record {
	return filter.Record{First: moment(s.first), Last: moment(s.last), Count: s.count, Expires: time.Unix(int64(s.expires), 0)}
}

func (s *slot) set(r filter.Record, now uint32) {
	s.first, s.last, s.count, s.expires, s.updated = micros(r.First), micros(r.Last), r.Count, ceil(r.Expires), now
}

func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

func moment(us int64) time.Time {
	if us == 0 {
		return time.Time{}
	}
	return time.UnixMicro(us)
}

// seconds gives a moment as seconds since 1970, which last until 2106.
func seconds(t time.Time) uint32 { return uint32(min(max(t.Unix(), 0), math.MaxUint32)) }

// ceil is seconds, rounded up: nothing expires before its time.
func ceil(t time.Time) uint32 { return seconds(t.Add(time.Second - time.Nanosecond)) }
