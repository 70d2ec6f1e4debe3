package queue

import (
	"cmp"
	"container/heap"
	"math/rand/v2"
	"time"
)

// A destination that can't be reached is tried again so soon: what lies there is to leave within two seconds once it is back.
// One that answers, and does not take mail from us, is asked less and less often.
const (
	unreachedPause = 1500 * time.Millisecond
	faultFirst     = 5 * time.Second
	faultLast      = 5 * time.Minute
	// faultsInARow of tries that got as far as MAIL make a fault of the destination's of them.
	faultsInARow = 5
)

// place is where a group is in the queue.
type place uint8

const (
	deferred place = iota // until its next time
	ready                 // for its turn
	busy                  // it is being tried, or given up
	held                  // by an operator
	over
)

// item is one group of a message.
type item struct {
	entry      *entry
	group      int
	dest       *destination
	route      string
	origin     string
	size       int64
	recipients int // who still wait
	attempts   int
	turn       int64 // among what is ready of its origin: when its message was taken, or when a fault was found with it
	next       time.Time
	warned     bool
	bounce     bool      // its sender may be told
	tried      bool      // since the queue began, or it was released
	quiet      time.Time // its sender is told nothing before
	chores     int       // that failed
	held       bool
	state      place
	index      int // in the heap that it is in; -1: in none
}

// byTime is a heap of items by their next time.
type byTime []*item

func (h byTime) Len() int           { return len(h) }
func (h byTime) Less(i, j int) bool { return h[i].next.Before(h[j].next) }
func (h byTime) Swap(i, j int)      { h[i], h[j] = h[j], h[i]; h[i].index, h[j].index = i, j }

// Push implements heap.Interface.
func (h *byTime) Push(x any) {
	it := x.(*item)
	it.index = len(*h)
	*h = append(*h, it)
}

// Pop implements heap.Interface.
func (h *byTime) Pop() any {
	old := *h
	it := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	it.index = -1
	return it
}

// byTurn is a heap of items, the oldest message first.
type byTurn []*item

func (h byTurn) Len() int { return len(h) }
func (h byTurn) Less(i, j int) bool {
	return cmp.Or(cmp.Compare(h[i].turn, h[j].turn), byAge(h[i].entry, h[j].entry)) < 0
}
func (h byTurn) Swap(i, j int) { h[i], h[j] = h[j], h[i]; h[i].index, h[j].index = i, j }

// Push implements heap.Interface.
func (h *byTurn) Push(x any) {
	it := x.(*item)
	it.index = len(*h)
	*h = append(*h, it)
}

// Pop implements heap.Interface.
func (h *byTurn) Pop() any {
	all := byTime(*h)
	it := all.Pop()
	*h = byTurn(all)
	return it
}

// origin is what is ready of one origin's mail.
type origin struct {
	name          string
	items         byTurn
	before, after *origin // in turn
}

// destination is an upstream and what waits for it. Queue.mu guards it.
type destination struct {
	name     string
	deferred byTime
	origins  map[string]*origin
	turn     *origin // whose turn it is; the others follow in a ring
	ready    int
	busy     int
	window   int       // tries at once: it doubles with each success
	faults   int       // in a row, of tries one after the other: a server answered, and did not take mail from us
	failedAt time.Time // the last time that a try failed for a reason of the destination's
	soft     int       // tries in a row that got as far as MAIL, and no further for a reason of ours
	until    time.Time // no try before
	down     bool
	cause    string // of the last fault
}

// enter puts an item where it belongs.
func (d *destination) enter(it *item, now time.Time) {
	switch {
	case it.held:
		it.state = held
	case it.next.After(now):
		it.state = deferred
		heap.Push(&d.deferred, it)
	default:
		it.state = ready
		heap.Push(&d.of(it.origin).items, it)
		d.ready++
	}
}

// of gives an origin, which has its turn last if nothing of it is ready.
func (d *destination) of(name string) *origin {
	o := d.origins[name]
	if o == nil {
		o = &origin{name: name}
		d.origins[name] = o
		o.before, o.after = o, o
		if first := d.turn; first != nil {
			o.before, o.after = first.before, first
			o.before.after, first.before = o, o
		} else {
			d.turn = o
		}
	}
	return o
}

// leave takes an item out of where it waits.
func (d *destination) leave(it *item) {
	switch it.state {
	case deferred:
		heap.Remove(&d.deferred, it.index)
	case ready:
		o := d.origins[it.origin]
		heap.Remove(&o.items, it.index)
		d.ready--
		d.drop(o)
	}
	it.state = busy
}

// drop forgets an origin of which nothing is ready.
func (d *destination) drop(o *origin) {
	if len(o.items) > 0 {
		return
	}
	delete(d.origins, o.name)
	o.before.after, o.after.before = o.after, o.before
	switch {
	case o.after == o:
		d.turn = nil
	case d.turn == o:
		d.turn = o.after
	}
}

// ripen makes ready whose time has come.
func (d *destination) ripen(now time.Time) {
	for len(d.deferred) > 0 && !d.deferred[0].next.After(now) {
		it := heap.Pop(&d.deferred).(*item)
		d.enter(it, now)
	}
}

// mayTry reports whether one more may be tried now.
func (d *destination) mayTry(now time.Time, most int) bool {
	return d.ready > 0 && d.busy < min(d.window, most) && !now.Before(d.until)
}

// take takes the item whose turn it is.
func (d *destination) take() *item {
	o := d.turn
	it := heap.Pop(&o.items).(*item)
	d.ready--
	d.busy++
	d.turn = o.after
	d.drop(o)
	return it
}

// wakes gives when something may begin that may not yet; zero where that depends on no time.
func (d *destination) wakes(now time.Time) (at time.Time) {
	if len(d.deferred) > 0 {
		at = d.deferred[0].next
	}
	if d.ready > 0 && now.Before(d.until) && (at.IsZero() || d.until.Before(at)) {
		at = d.until
	}
	return at
}

// reached notes that the destination takes mail.
func (d *destination) reached() {
	d.faults, d.soft, d.until, d.cause = 0, 0, time.Time{}, ""
	d.window = min(2*d.window, 1<<10)
}

// failed notes that it does not, and when to try again. began is when the try did: what failed while another one was under way
// that failed, too, says nothing new.
func (d *destination) failed(began, now time.Time, reachable bool, cause string) {
	fresh := began.After(d.failedAt)
	d.window, d.cause, d.failedAt = 1, cause, now
	pause := unreachedPause
	if reachable {
		if fresh || d.faults == 0 {
			d.faults++
		}
		pause = spread(min(faultFirst<<min(d.faults-1, 10), faultLast))
	}
	if until := now.Add(pause); fresh || until.After(d.until) {
		d.until = until
	}
}

// pause gives how long a group waits that was tried so often.
func (s *Settings) pause(attempts int) time.Duration {
	d := min(s.First, s.Most)
	for ; attempts > 1 && d < s.Most; attempts-- {
		d = min(2*d, s.Most)
	}
	return spread(d)
}

// spread gives d, give or take a fifth: what failed together is not to come back together.
func spread(d time.Duration) time.Duration {
	return d - d/5 + rand.N(max(2*d/5, 1))
}
