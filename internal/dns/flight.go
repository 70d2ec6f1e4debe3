package dns

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/miekg/dns"
)

var errBusy = errors.New("too many questions are with the servers")

// flight is one question that is with the servers.
type flight struct {
	q       question
	waiters int                // guarded by Resolver.mu
	cancel  context.CancelFunc // called when nobody waits any more
	done    chan struct{}      // closed when there is an answer
	answer  *answer            // valid once done is closed
}

// pending is an answer that is known, or a flight to wait for. Each that begin gives must be waited for.
type pending struct {
	answer *answer
	flight *flight
	budget *Budget
	until  time.Time // when the time of the budget ends
}

// begin finds a question in the cache, or joins or begins its flight. Only whoever begins it pays with a question of
// the budget; whoever waits pays with time.
func (r *Resolver) begin(ctx context.Context, q question) pending {
	now := time.Now()
	if a := r.cache.get(q, now); a != nil {
		r.observer.DNSCache(true)
		return pending{answer: a}
	}
	r.observer.DNSCache(false)
	if ctx.Err() != nil {
		return pending{answer: gone(ctx)}
	}
	b := budgetOf(ctx)
	left, ok := b.enter(now)
	if !ok {
		return pending{answer: r.exceeded(b, LimitTime)}
	}
	p := pending{budget: b, until: now.Add(left)}
	if p.answer, p.flight = r.board(q, b, now); p.answer != nil {
		b.leave(now)
	}
	return p
}

// board joins the flight of a question, or begins one.
func (r *Resolver) board(q question, b *Budget, now time.Time) (*answer, *flight) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f := r.flights[q]
	if f == nil {
		// A flight that ended since the first look has left its answer in the cache.
		if a := r.cache.get(q, now); a != nil {
			return a, nil
		}
		if !b.spend() {
			return r.exceeded(b, LimitQuestions), nil
		}
		f = &flight{q: q, done: make(chan struct{})}
		var ctx context.Context
		ctx, f.cancel = context.WithCancel(context.Background())
		r.flights[q] = f
		go r.fly(ctx, f)
	}
	f.waiters++
	return nil, f
}

// wait gives the answer, or why there is none for this one who waits.
func (r *Resolver) wait(ctx context.Context, p pending) *answer {
	if p.answer != nil {
		return p.answer
	}
	var over <-chan time.Time
	if p.budget != nil {
		t := time.NewTimer(time.Until(p.until))
		defer t.Stop()
		defer func() { p.budget.leave(time.Now()) }()
		over = t.C
	}
	var a *answer
	select {
	case <-p.flight.done:
		return p.flight.answer
	case <-ctx.Done():
		a = gone(ctx)
	case <-over:
		a = r.exceeded(p.budget, LimitTime)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if p.flight.waiters--; p.flight.waiters == 0 {
		r.land(p.flight)
		p.flight.cancel()
	}
	return a
}

// land takes a flight off the list, so that nobody joins it any more. Resolver.mu is held.
func (r *Resolver) land(f *flight) {
	if r.flights[f.q] == f {
		delete(r.flights, f.q)
	}
}

// fly is the goroutine of a flight.
func (r *Resolver) fly(ctx context.Context, f *flight) {
	defer f.cancel()
	began := time.Now()
	f.answer = r.askServers(ctx, f.q)
	now := time.Now()
	r.observer.DNSQuery(Query{Type: dns.TypeToString[f.q.kind], Rcode: f.answer.rcode, Elapsed: now.Sub(began)})
	if f.answer.rcode != Canceled {
		r.cache.put(f.q, f.answer, now)
	}
	r.mu.Lock()
	r.land(f)
	r.mu.Unlock()
	close(f.done)
}

// askServers puts a question when there is a slot for it. What goes wrong with reading an answer goes wrong
// here, outside of any filter, and must not end the program.
func (r *Resolver) askServers(ctx context.Context, q question) (a *answer) {
	defer func() {
		if v := recover(); v != nil {
			a = malformed("reading it panicked: %s", fmt.Sprint(v))
		}
		if context.Cause(ctx) == context.Canceled && a.failed() {
			a = &answer{rcode: Canceled, cause: context.Canceled}
		}
	}()
	longest := r.timeout * maxTries
	wait := time.NewTimer(longest)
	defer wait.Stop()
	select {
	case r.slots <- struct{}{}:
	case <-ctx.Done():
		return &answer{rcode: Canceled, cause: errBusy}
	case <-wait.C:
		// It says nothing about the name, not even that its servers are silent: nothing to be kept.
		return &answer{rcode: Canceled, cause: errBusy}
	}
	defer func() { <-r.slots }()
	// What was spent on waiting is no time of the servers.
	asking, cancel := context.WithTimeout(ctx, longest)
	defer cancel()
	return r.resolve(asking, q)
}

// gone is the answer for one who can't wait any longer.
func gone(ctx context.Context) *answer { return &answer{rcode: Canceled, cause: ctx.Err()} }

// exceeded is the answer for one whose budget is used up.
func (r *Resolver) exceeded(b *Budget, limit string) *answer {
	if b.report(limit) {
		r.observer.DNSBudget(limit)
	}
	return &answer{rcode: Canceled, cause: ErrBudget}
}
