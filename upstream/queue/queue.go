// Package queue delivers what lies in the spool: it decides what is tried when, how much of it at once, for how long, and what
// senders are told. It knows neither files nor SMTP.
//
// # How it schedules
//
// A message is tried once for each of its groups, by itself. The groups of one upstream make up a destination. What keeps
// all of them away (no connection, a server that does not take mail from us) is noted of the destination, which is
// then tried with one message at a time until that succeeds; what keeps one of them away (a mailbox that is full) is noted of
// the group, which waits for its own next time. So a server that is down costs one connection every moment however much mail
// lies there, and none of that mail is late when it is back.
//
// Who is next at a destination is whose turn it is among the origins (users, clients) whose mail lies there, and of one origin
// the mail that came first: somebody's ten thousand messages do not stand before another's one.
package queue

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/postern-mail/postern/internal/spool"
	"github.com/postern-mail/postern/mail"
	"github.com/postern-mail/postern/mail/dsn"
	"github.com/postern-mail/postern/upstream"
)

// Store is what the queue asks of the spool; *spool.Store is one.
type Store interface {
	Put(ctx context.Context, e spool.Entry, original *mail.Blob, messages []*mail.Message) error
	IDs() ([]string, error)
	Load(id string) (spool.Entry, error)
	Message(id string, group int) (*mail.Message, error)
	Original(id string) (*mail.Blob, error)
	Mark(id string, marks ...spool.Mark) error
	Remove(id string) error
	Durable() error // what was removed is so for good when it returns
	SetAside(id string, why error) error
}

// Settings are what a configuration says of the queue. They are swapped whole by a reload.
type Settings struct {
	Relays   map[string]upstream.Relay                                          // by upstream name
	Route    func(to mail.Address) (upstream.Route, error)                      // the way of a report to its reader
	Hostname string                                                             // ours, in reports
	From     mail.Address                                                       // who reports are from
	Sign     func(ctx context.Context, m *mail.Message) (top []byte, err error) // the signatures of a report; nil: none
	First    time.Duration                                                      // from the first try that failed to the next; it doubles up to Most
	Most     time.Duration                                                      //
	Warn     time.Duration                                                      // after so long a sender is told that there is delay; 0: never
	Expire   time.Duration                                                      // after so long it is given up
	Parallel int                                                                // tries of one upstream at once
}

// Hooks are told what happens. They are called from many goroutines; a nil func is not called.
type Hooks struct {
	Tried    func(Tried)                                      // a try has ended, for each of its recipients
	Down     func(upstream, cause string)                     // an upstream can't be reached, after it could; "" for cause: it can again
	Reported func(e *spool.Entry, what dsn.Action, id string) // a sender is told: the id is the report's
	Silent   func(why Silence)                                // nobody is told that mail was given up
	Damaged  func(id string, err error)                       // an entry was set aside
	Fault    func(id string, err error)                       // the spool can't be read or written, or a report not be made: it is tried again
}

// Tried is what became of one recipient in one try.
type Tried struct {
	Entry   *spool.Entry
	Group   *spool.Group
	To      string
	State   spool.State // Waiting: it is tried again
	Outcome upstream.Outcome
	Reply   mail.Reply // the next server's word about this recipient; zero for none
	Cause   string     // why it was given up, or where there was no word
	Next    time.Time  // of what waits; zero: when its upstream is back
}

// Options are what a queue is made with.
type Options struct {
	Store Store
	// Keep holds the message for an operator: it was given up, and nobody can be told. to are places in the group.
	Keep  func(ctx context.Context, e *spool.Entry, group int, to []int, why string, original *mail.Blob) error
	Hooks Hooks
	Log   *slog.Logger
	Idle  bool // nothing is tried: for an operator's commands where no gateway runs
}

// Queue delivers what lies in a spool. It is safe for concurrent use.
type Queue struct {
	o    Options
	ctx  context.Context //nolint:containedctx // of all tries; ends with the queue
	stop context.CancelFunc
	ends chan struct{} // closed when nothing new is to begin
	work sync.WaitGroup

	mu         sync.Mutex
	settings   *Settings
	entries    map[string]*entry
	dests      map[string]*destination
	debts      map[string]*debt // what the spool would not take, by entry
	complained time.Time        // of debts, the last time
	timer      *time.Timer
	closed     bool
	unlisted   bool             // the spool could not be listed
	unread     map[string]error // what could not be read, and waits to be
	loading    bool
	fresh      map[string]bool // put while the spool is being read: it may be found there when it has ended already
	orders     [64]sync.Mutex  // of orders about one message; none is taken under mu
}

// entry is what is known of a message without looking at it.
type entry struct {
	id     string
	taken  time.Time
	groups int
	items  []*item // those that still wait
	anew   bool    // one of its id was put since: this one had been removed
}

// New makes a queue and begins to read what lies in the spool, oldest first. It delivers from the first moment on.
func New(o Options, s Settings) *Queue {
	q := &Queue{o: o, settings: &s, entries: map[string]*entry{}, dests: map[string]*destination{}, debts: map[string]*debt{}, unread: map[string]error{}, loading: true, fresh: map[string]bool{}, ends: make(chan struct{})}
	q.ctx, q.stop = context.WithCancel(context.Background())
	q.timer = time.AfterFunc(time.Hour, q.wake)
	if o.Idle {
		q.load()
		return q
	}
	q.work.Go(q.load)
	q.work.Go(q.rounds)
	return q
}

// Configure puts settings in the place of those there were. Tries under way end under the old ones.
func (q *Queue) Configure(s Settings) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.settings = &s
	for _, d := range q.dests {
		d.until = time.Time{} // what was wrong may have been mended
	}
	q.dispatch()
}

// Rest lets no more tries begin. What is put is stored, for the next start.
func (q *Queue) Rest() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.closed {
		q.closed = true
		q.timer.Stop()
		close(q.ends)
	}
}

// Close is Rest, and lets tries under way end until ctx does; then they are cut off. It may be called more than once.
func (q *Queue) Close(ctx context.Context) {
	q.Rest()
	release := context.AfterFunc(ctx, q.stop)
	defer release()
	q.work.Wait()
	q.stop()
	q.pay()
}

// Put takes the responsibility for a message: when it returns nil, the message is on disk, and delivery begins. messages has
// what each group gets.
func (q *Queue) Put(ctx context.Context, e spool.Entry, original *mail.Blob, messages []*mail.Message) error {
	for i, m := range messages {
		e.Groups[i].Size = m.Size()
	}
	e.Size = original.Size()
	q.mu.Lock()
	if q.loading {
		q.fresh[e.ID] = true
	}
	q.mu.Unlock()
	if err := q.o.Store.Put(ctx, e, original, messages); err != nil {
		q.unput(e.ID, err)
		return err
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.add(&e, time.Time{})
	q.dispatch()
	return nil
}

// unput undoes what Put has noted of an entry. One that is there already may be one that has just not been read yet.
func (q *Queue) unput(id string, err error) {
	q.mu.Lock()
	fresh := q.fresh[id]
	delete(q.fresh, id)
	q.mu.Unlock()
	if !fresh || !errors.Is(err, spool.ErrExists) {
		return
	}
	if e, _ := q.read(id); e != nil {
		q.mu.Lock()
		defer q.mu.Unlock()
		q.add(e, time.Time{})
		q.dispatch()
	}
}

func (q *Queue) fault(id string, err error) {
	if f := q.o.Hooks.Fault; f != nil {
		f(id, err)
	}
}

func (q *Queue) isClosed() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.closed
}

// add enters what waits of a message, whose sender is told nothing before quiet; q.mu is held.
func (q *Queue) add(e *spool.Entry, quiet time.Time) {
	if en := q.entries[e.ID]; en != nil {
		en.anew = true
		return
	}
	en := &entry{id: e.ID, taken: e.Time, groups: len(e.Groups)}
	for i := range e.Groups {
		g := &e.Groups[i]
		to := waiting(g)
		if len(to) == 0 {
			continue
		}
		it := &item{
			entry: en, group: i, route: g.Route, origin: originOf(e), size: g.Size, recipients: len(to),
			attempts: g.Attempts, next: g.Next, warned: g.Warned, held: g.Held, index: -1,
			quiet: quiet, bounce: e.Bounce && !e.Report && e.From != "", turn: e.Time.UnixNano(), dest: q.destination(g.Upstream),
		}
		en.items = append(en.items, it)
		now := time.Now()
		if latest := now.Add(q.settings.Most * 6 / 5); q.settings.Most > 0 && it.next.After(latest) {
			it.next = latest // it was noted under another clock
		}
		it.dest.enter(it, now)
	}
	if len(en.items) > 0 {
		q.entries[e.ID] = en
	}
}

// destination gives the destination of an upstream; q.mu is held.
func (q *Queue) destination(name string) *destination {
	d := q.dests[name]
	if d == nil {
		d = &destination{name: name, origins: map[string]*origin{}, window: 1}
		q.dests[name] = d
	}
	return d
}

// wake is called by the timer.
func (q *Queue) wake() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.dispatch()
}

// dispatch begins whatever may begin, and sets the timer for what comes next; q.mu is held.
func (q *Queue) dispatch() {
	if q.closed || q.o.Idle {
		return
	}
	now := time.Now()
	next := now.Add(time.Hour)
	for _, d := range q.dests {
		d.ripen(now)
		for d.mayTry(now, q.settings.Parallel) {
			it := d.take()
			it.state = busy
			q.work.Go(func() { q.try(it) })
		}
		if at := d.wakes(now); !at.IsZero() && at.Before(next) {
			next = at
		}
	}
	q.timer.Reset(max(next.Sub(now), 0))
}

// try tries one group, and enters what became of it.
func (q *Queue) try(it *item) {
	q.mu.Lock()
	s := q.settings
	q.mu.Unlock()
	began := time.Now()
	r := q.guarded(it, func() result { return q.attempt(it, s) })
	q.mu.Lock()
	defer q.mu.Unlock()
	it.dest.busy--
	q.learn(it.dest, began, &r)
	if r.fault && r.early {
		it.turn = time.Now().UnixNano() // it may be this one's fault: the next one of its origin is tried first
	}
	q.settle(it, &r)
	q.dispatch()
}

// guarded calls f; where that panics, nothing is known, and the group waits for its next time.
func (q *Queue) guarded(it *item, f func() result) (r result) {
	defer func() {
		if v := recover(); v != nil {
			q.o.Log.Error("queue panicked", "id", it.entry.id, "error", fmt.Sprint(v), "stack", string(debug.Stack()))
			r = result{again: true, counted: 1}
		}
	}()
	return f()
}

// settle enters the result of a try or a chore; q.mu is held.
func (q *Queue) settle(it *item, r *result) {
	it.attempts += r.counted
	it.tried = it.tried || r.counted > 0
	it.warned = it.warned || r.warned
	switch {
	case r.gone:
		q.gone(it)
		return
	case r.again:
		it.next = time.Now().Add(q.settings.pause(it.attempts))
	default:
		it.next = r.next
	}
	if r.left > 0 {
		it.recipients = r.left
	}
	it.dest.enter(it, time.Now())
}

// gone takes a group out of the queue, and the message out of the spool with its last one; q.mu is held.
func (q *Queue) gone(it *item) {
	en := it.entry
	it.state = over
	en.items = slices.DeleteFunc(en.items, func(o *item) bool { return o == it })
	if len(en.items) > 0 {
		return
	}
	delete(q.entries, en.id)
	switch {
	case en.groups > 1: // all of them are marked by now
		q.work.Go(func() { q.remove(en.id) })
	case en.anew:
		q.work.Go(func() { q.lookAgain(en.id) })
	}
}

// lookAgain enters an entry that may have been put when the one of its id, a report that was made before, had just been removed.
func (q *Queue) lookAgain(id string) {
	e, _ := q.read(id)
	if e == nil {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.add(e, time.Time{})
	q.dispatch()
}

// waiting gives the places of the recipients of a group that still wait.
func waiting(g *spool.Group) (to []int) {
	for i := range g.To {
		if g.To[i].State == spool.Waiting {
			to = append(to, i)
		}
	}
	return to
}

// originOf says whose turn a message takes.
func originOf(e *spool.Entry) string {
	switch {
	case e.User != "":
		return "user " + e.User
	case e.Client.Addr.IsValid():
		return e.Client.Addr.Addr().String()
	}
	return ""
}
