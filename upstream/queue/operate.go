package queue

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/postern-mail/postern/internal/spool"
	"github.com/postern-mail/postern/mail"
)

// ErrBusy says that a message is being delivered at this moment.
var ErrBusy = errors.New("queue: it is being delivered at this moment")

// The states of what is listed.
const (
	StateActive   = "active"   // it is being tried, or is about to be
	StateDeferred = "deferred" // until its next time, or until its upstream is back
	StateHold     = "hold"     // by an operator
	StateOver     = "over"     // nobody of it waits any more
)

// States lists the states of what waits.
func States() []string { return []string{StateActive, StateDeferred, StateHold} }

// Listed is a message in the queue, for people and programs.
type Listed struct {
	ID        string        `json:"id"`
	Time      time.Time     `json:"time"`
	From      string        `json:"from"` // reverse-path, "" for the null one
	Size      int64         `json:"size"`
	MessageID string        `json:"message_id,omitempty"`
	Subject   string        `json:"subject,omitempty"`
	Client    string        `json:"client,omitempty"`
	Helo      string        `json:"helo,omitempty"`
	User      string        `json:"user,omitempty"`
	Listener  string        `json:"listener,omitempty"`
	Relay     bool          `json:"relay,omitempty"`
	Bounce    bool          `json:"bounce"` // its sender may be told of what fails
	Report    bool          `json:"report,omitempty"`
	Groups    []ListedGroup `json:"groups"`
}

// ListedGroup is a group of it.
type ListedGroup struct {
	Upstream string            `json:"upstream"`
	Route    string            `json:"route"`
	Policy   string            `json:"policy,omitempty"`
	Action   string            `json:"action,omitempty"`
	Because  string            `json:"because,omitempty"`
	Score    float64           `json:"score"`
	State    string            `json:"state"`
	Attempts int               `json:"attempts"`
	Next     *time.Time        `json:"next,omitempty"`
	Cause    string            `json:"cause,omitempty"` // why its upstream takes nothing now
	To       []ListedRecipient `json:"to"`
}

// ListedRecipient is a recipient of it.
type ListedRecipient struct {
	Address string     `json:"address"`
	State   string     `json:"state"` // waiting, delivered, failed, kept, removed
	Reply   string     `json:"reply,omitempty"`
	Server  string     `json:"server,omitempty"`
	Cause   string     `json:"cause,omitempty"`
	Last    *time.Time `json:"last,omitempty"`
}

// Filter says which messages are meant. Zero fields mean all.
type Filter struct {
	From     string // the reverse-path, or its domain with an @ before it; "<>" is the null one
	To       string // a recipient who waits, likewise
	Upstream string
	State    string
}

// quick reports whether what is in memory can tell.
func (f *Filter) quick(en *entry) bool {
	if f.Upstream == "" && f.State == "" {
		return true
	}
	return slices.ContainsFunc(en.items, func(it *item) bool {
		return (f.Upstream == "" || it.dest.name == f.Upstream) && (f.State == "" || it.stateName() == f.State)
	})
}

func (f *Filter) matches(l *Listed) bool {
	if f.From != "" && !sameAddress(f.From, l.From) {
		return false
	}
	for i := range l.Groups {
		g := &l.Groups[i]
		if f.Upstream != "" && g.Upstream != f.Upstream || f.State != "" && g.State != f.State {
			continue
		}
		if f.To == "" && g.State != StateOver || slices.ContainsFunc(g.To, func(r ListedRecipient) bool {
			return r.State == "waiting" && sameAddress(f.To, r.Address)
		}) {
			return true
		}
	}
	return false
}

// sameAddress reports whether an address is the one that a filter names, or lies within its domain.
func sameAddress(want, address string) bool {
	if want == "<>" {
		return address == ""
	}
	if strings.HasPrefix(want, "@") {
		return len(address) >= len(want) && strings.EqualFold(address[len(address)-len(want):], want)
	}
	return strings.EqualFold(want, address)
}

// Place is where a message stands in a list: it holds also when that message has ended. The zero one is before the first.
type Place struct {
	Taken time.Time
	ID    string
}

// String gives the form that ParsePlace reads.
func (p Place) String() string { return p.Taken.UTC().Format(time.RFC3339Nano) + "/" + p.ID }

// ParsePlace reads a place, or an id alone: its time is zero then, and PlaceOf tells it while the message waits. The error is spool.ErrID.
func ParsePlace(s string) (Place, error) {
	at, id, both := strings.Cut(s, "/")
	if !both {
		at, id = "", s
	}
	p := Place{ID: id}
	isOther := func(r rune) bool { return (r|0x20 < 'a' || r|0x20 > 'z') && (r < '0' || r > '9') && r != '-' }
	if id == "" || strings.ContainsFunc(id, isOther) {
		return p, fmt.Errorf("%w: %q", spool.ErrID, s)
	}
	if both {
		t, err := time.Parse(time.RFC3339Nano, at)
		if y := t.UTC().Year(); err != nil || y < 0 || y > 9999 { // String could not say it
			return p, fmt.Errorf("%w: %q has no time", spool.ErrID, s)
		}
		p.Taken = t
	}
	return p, nil
}

// PlaceOf gives the place of a message that waits.
func (q *Queue) PlaceOf(id string) (Place, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if en := q.entries[id]; en != nil {
		return en.place(), true
	}
	return Place{}, false
}

func (en *entry) place() Place { return Place{en.taken.Round(0), en.id} }

// List hands the messages that f means to yield, oldest first, from behind a place, until that returns false, or most has passed (0: it may
// take any time), or ctx ends. It tells how far it has come, and whether that is the end. What ends meanwhile is left out. What can't be read
// stops no other: the first such fault is given back in the end.
func (q *Queue) List(ctx context.Context, f Filter, after Place, most time.Duration, yield func(Listed) bool) (reached Place, end bool, fault error) {
	begin := time.Now()
	reached = after
	for i, en := range q.sorted(f, after) {
		if ctx.Err() != nil {
			return reached, false, ctx.Err()
		}
		if most > 0 && i > 0 && time.Since(begin) > most {
			return reached, false, fault
		}
		reached = en.place()
		l, err := q.Get(en.id)
		switch {
		case errors.Is(err, spool.ErrNotFound):
		case err != nil && fault == nil:
			fault = fmt.Errorf("%s: %w", en.id, err)
		case err == nil && f.matches(&l) && !yield(l):
			return reached, false, fault
		}
	}
	if fault == nil {
		fault = q.unreadFault()
	}
	return reached, true, fault
}

// unreadFault is the fault where some of the spool could not be read, and is not in the queue until it can.
func (q *Queue) unreadFault() error {
	q.mu.Lock()
	defer q.mu.Unlock()
	for id, err := range q.unread {
		return fmt.Errorf("%d messages could not be read yet; %s: %w", len(q.unread), id, err)
	}
	return nil
}

// sorted gives what f may mean and stands behind a place, oldest first.
func (q *Queue) sorted(f Filter, after Place) []*entry {
	begin := &entry{taken: after.Taken, id: after.ID}
	q.mu.Lock()
	all := make([]*entry, 0, len(q.entries))
	for _, en := range q.entries {
		if (after == (Place{}) || byAge(en, begin) > 0) && f.quick(en) {
			all = append(all, en)
		}
	}
	q.mu.Unlock()
	slices.SortFunc(all, byAge)
	return all
}

func byAge(a, b *entry) int {
	return cmp.Or(cmp.Compare(a.taken.UnixNano(), b.taken.UnixNano()), cmp.Compare(a.id, b.id))
}

// Get gives one message.
func (q *Queue) Get(id string) (Listed, error) {
	e, err := q.entry(id)
	if err != nil {
		return Listed{}, err
	}
	l := Listed{
		ID: e.ID, Time: e.Time, From: e.From, Size: e.Size, MessageID: e.MessageID, Subject: e.Subject, Helo: e.Client.Helo,
		User: e.User, Listener: e.Listener, Relay: e.Relay, Bounce: e.Bounce, Report: e.Report,
	}
	if e.Client.Addr.IsValid() {
		l.Client = e.Client.Addr.Addr().String()
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	for i := range e.Groups {
		g := &e.Groups[i]
		lg := ListedGroup{
			Upstream: g.Upstream, Route: g.Route, Policy: g.Policy, Action: g.Action, Because: g.Because, Score: g.Score,
			State: StateOver, Attempts: g.Attempts,
		}
		if it := q.item(id, i); it != nil {
			lg.State, lg.Cause = it.stateName(), it.dest.cause
			if it.state == deferred {
				next := it.next
				lg.Next = &next
			}
		}
		for j := range g.To {
			lg.To = append(lg.To, listed(&g.To[j]))
		}
		l.Groups = append(l.Groups, lg)
	}
	return l, nil
}

func listed(p *spool.Recipient) ListedRecipient {
	r := ListedRecipient{Address: p.Address, State: cmp.Or(string(p.State), "waiting"), Server: p.Server, Cause: p.Cause}
	if !p.Reply.IsZero() {
		r.Reply = p.Reply.String()
	}
	if !p.Last.IsZero() {
		r.Last = &p.Last
	}
	return r
}

// item gives a group that waits, or nil; q.mu is held.
func (q *Queue) item(id string, group int) *item {
	if en := q.entries[id]; en != nil {
		for _, it := range en.items {
			if it.group == group {
				return it
			}
		}
	}
	return nil
}

// stateName gives the state for people; what is ready for a destination that is down is not about to be tried.
func (it *item) stateName() string {
	switch {
	case it.held:
		return StateHold
	case it.state == deferred, it.state == ready && it.dest.down:
		return StateDeferred
	}
	return StateActive
}

// Content gives a message as it came; the caller releases it.
func (q *Queue) Content(id string) (*mail.Blob, error) { return q.o.Store.Original(id) }

// Wake lets an upstream be tried at once: it is known to be back.
func (q *Queue) Wake(upstream string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if d := q.dests[upstream]; d != nil && !d.until.IsZero() {
		d.until = time.Time{}
		q.dispatch()
	}
}

// Usage is what the queue holds of one route in one state.
type Usage struct {
	Route, State string
	Messages     int
	Octets       int64
	Oldest       time.Time // when the oldest was taken
}

// Usage tells what the queue holds, by route and state. A message with several groups counts once in each.
func (q *Queue) Usage() []Usage {
	type key struct{ route, state string }
	q.mu.Lock()
	defer q.mu.Unlock()
	sums := map[key]*Usage{}
	for _, en := range q.entries {
		for _, it := range en.items {
			k := key{it.route, it.stateName()}
			if it.dest.down && !it.held {
				k.state = StateDeferred // the one that tries whether it is back has no better prospects
			}
			u := sums[k]
			if u == nil {
				u = &Usage{Route: k.route, State: k.state, Oldest: en.taken}
				sums[k] = u
			}
			u.Messages++
			u.Octets += it.size
			if en.taken.Before(u.Oldest) {
				u.Oldest = en.taken
			}
		}
	}
	all := make([]Usage, 0, len(sums))
	for _, u := range sums {
		all = append(all, *u)
	}
	return all
}

// Len gives the number of messages, and whether the spool has been read to its end.
func (q *Queue) Len() (n int, loaded bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.entries), !q.loading && !q.unlisted
}
