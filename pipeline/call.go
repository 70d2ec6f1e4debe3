package pipeline

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime/debug"
	"slices"
	"sync/atomic"
	"time"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/mail"
)

// Every call of a filter goes through this file: its deadline, its panics, its time and its hold on the
// content are seen to here and nowhere else.
//
// A filter runs in a goroutine of its own, since nothing can stop one that ignores its context. After
// its deadline it has a little grace to come home with an error; then it is abandoned: the session goes
// on without it, its result is dropped whenever it comes, and its own reference keeps the content
// readable until then. How many such goroutines there are is counted for the whole process. Above a
// bound, no filter is called at all, so that one that hangs can't eat the machine.

const (
	grace        = 500 * time.Millisecond // after its deadline a filter may take this long to return
	maxAbandoned = 256                    // abandoned filters that may run at once
)

var abandoned atomic.Int64

// Abandoned says how many filters that ignored their deadline are still running, process-wide.
func Abandoned() int64 { return abandoned.Load() }

// The states of a call.
const (
	running int32 = iota
	ended         // the filter came home first: its ending is in the channel
	left          // it was abandoned first: its ending goes nowhere
)

// call is one run of one filter.
type call struct {
	st       *Stage
	report   *Report
	content  *mail.Content   // what this call holds a reference to, nil for none
	memory   share           // what it takes to look into that
	done     <-chan struct{} // closed when the call's context ends
	cancel   context.CancelFunc
	began    time.Time
	deadline time.Time
	state    atomic.Int32
	ending   chan ending
}

// ending is how a filter came home.
type ending struct {
	result  filter.Result
	err     error
	crashed bool
	elapsed time.Duration
}

// begin starts a filter. It gives nil, and a report that says so, if too many have been abandoned.
func begin(ctx context.Context, st *Stage, in *filter.Input, r *Report) *call {
	if abandoned.Load() >= maxAbandoned {
		r.fail(Errored, ErrAbandoned)
		return nil
	}
	c := &call{st: st, report: r, began: time.Now(), ending: make(chan ending, 1)}
	c.deadline = c.began.Add(st.timeout())
	ctx, c.cancel = context.WithDeadline(ctx, c.deadline)
	c.done = ctx.Done()
	// The caller may use its Input again as soon as Run returns, when an abandoned filter still reads: each
	// call has one of its own, and gives back the very content that it retained.
	own := *in
	own.Phase = r.Phase
	if c.content = own.Content; c.content != nil {
		c.content.Retain()
		c.memory.of, c.memory.content = inMemory, c.content
		ctx = filter.WithHolder(ctx, &c.memory)
	}
	go c.run(ctx, &own)
	return c
}

// run is the filter's goroutine.
func (c *call) run(ctx context.Context, in *filter.Input) {
	var e ending
	returned := false
	defer func() {
		if !returned {
			e.err, e.crashed = crash(recover()), true
		}
		if c.content != nil {
			c.memory.release()
			c.content.Release()
		}
		e.elapsed = time.Since(c.began)
		if c.state.CompareAndSwap(running, ended) {
			c.ending <- e
		} else {
			abandoned.Add(-1)
		}
	}()
	if c.content != nil {
		deepen()
	}
	e.result, e.err = c.st.Filter.Check(ctx, in)
	returned = true
}

// deepen makes the goroutine's stack as large as filters of contents need, at once: it would else be doubled and copied
// several times on the way there.
//
//go:noinline
func deepen() byte {
	var room [12 << 10]byte
	return room[abandoned.Load()&1]
}

// crash makes the error of a filter that did not return: v is what recover gave.
func crash(v any) error {
	if v == nil {
		v = "it ended its goroutine"
	}
	if p, ok := v.(*filter.PanicError); ok { // of a goroutine of the filter's own
		return &PanicError{Value: p.Value, Stack: p.Stack}
	}
	return &PanicError{Value: v, Stack: debug.Stack()}
}

// collect waits for the calls of a wave, those with the nearest deadline first, so that none is waited
// for longer than its own deadline and grace.
func collect(ctx context.Context, calls []*call) {
	slices.SortStableFunc(calls, func(a, b *call) int { return a.deadline.Compare(b.deadline) })
	var gone time.Time // when the wave's own context was found to have ended
	for _, c := range calls {
		if c.await(ctx, &gone) {
			continue
		}
		c.report.Elapsed = time.Since(c.began)
		if ctx.Err() != nil {
			c.report.fail(Errored, fmt.Errorf("pipeline: filter abandoned: %w", context.Cause(ctx)))
		} else {
			c.report.fail(TimedOut, fmt.Errorf("%w: abandoned after %s", ErrDeadline, c.st.timeout()))
		}
	}
}

// await waits for one call and writes its report; it gives false if the filter was abandoned.
func (c *call) await(ctx context.Context, gone *time.Time) bool {
	defer c.cancel()
	select {
	case e := <-c.ending:
		c.settle(e)
		return true
	case <-c.done:
	}
	last := c.deadline
	if ctx.Err() != nil {
		if gone.IsZero() {
			*gone = time.Now()
		}
		last = *gone
	}
	timer := time.NewTimer(time.Until(last.Add(grace)))
	defer timer.Stop()
	select {
	case e := <-c.ending:
		c.settle(e)
		return true
	case <-timer.C:
	}
	abandoned.Add(1)
	if !c.state.CompareAndSwap(running, left) {
		abandoned.Add(-1)
		c.settle(<-c.ending)
		return true
	}
	if c.content != nil {
		c.memory.abandon()
	}
	return false
}

// settle writes the report of a filter that came home.
func (c *call) settle(e ending) {
	r := c.report
	r.Elapsed = e.elapsed
	switch {
	case e.crashed:
		r.fail(Panicked, e.err)
	case errors.Is(e.err, filter.ErrBreakerOpen):
		r.fail(Resting, e.err)
	case e.err != nil && e.elapsed >= c.st.timeout():
		r.fail(TimedOut, fmt.Errorf("%w after %s: %w", ErrDeadline, c.st.timeout(), e.err))
	case e.err != nil:
		r.fail(Errored, e.err)
	case e.elapsed >= c.st.timeout():
		// What a filter says after its context has ended may be what it makes of that, such as "the DNS
		// could not tell": which of the two came first must not decide.
		r.fail(TimedOut, fmt.Errorf("%w: came home after %s", ErrDeadline, e.elapsed))
	default:
		if err := checkResult(c.st, r.Phase, &e.result); err != nil {
			r.fail(Errored, err)
			return
		}
		r.Result = e.result
		r.Outcome = outcomeOf(&e.result)
	}
}

func outcomeOf(res *filter.Result) Outcome {
	if len(res.Findings) > 0 || len(res.Edits) > 0 || max(res.Propose, res.Aggravated) != filter.Continue {
		return Match
	}
	return Pass
}

// checkResult holds a filter to what it declared. What it may not say is a fault of ours, never a result:
// a symbol that nobody declared would score nothing, a strength that is no number would reach no
// threshold, and a fact of another's name would speak for that other.
func checkResult(st *Stage, ph filter.Phase, res *filter.Result) error {
	if a := max(res.Propose, res.Aggravated); a > filter.Reject {
		return fmt.Errorf("%w: %s proposes action %d", ErrResult, st.Name, a)
	}
	if len(res.Edits) > 0 && ph != filter.Data {
		return fmt.Errorf("%w: %s has edits in the %s phase", ErrResult, st.Name, ph)
	}
	for _, e := range res.Edits {
		if e == nil {
			return fmt.Errorf("%w: %s has a nil edit", ErrResult, st.Name)
		}
	}
	for _, f := range res.Facts {
		if !slices.Contains(st.Provides, f.Key) {
			return fmt.Errorf("%w: %s gives %s, which it does not declare", ErrResult, st.Name, f.Key)
		}
	}
	for _, f := range res.Findings {
		if math.IsNaN(f.Strength) || math.IsInf(f.Strength, 0) {
			return fmt.Errorf("%w: %s has %s of strength %v", ErrResult, st.Name, f.Symbol, f.Strength)
		}
		if f.Symbol != "" && !slices.ContainsFunc(st.Symbols, func(s filter.Symbol) bool { return s.Name == f.Symbol }) {
			return fmt.Errorf("%w: %s has %s, which it does not declare", ErrResult, st.Name, f.Symbol)
		}
	}
	return nil
}
