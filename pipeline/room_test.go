package pipeline

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/mail"
)

// hold asks for a share in a goroutine of its own, and gives where it tells that it has it.
func hold(t *testing.T, s *share, octets int64) <-chan error {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- s.Hold(t.Context(), octets) }()
	synctest.Wait()
	return done
}

func granted(t *testing.T, what string, done <-chan error, want bool) {
	t.Helper()
	synctest.Wait()
	select {
	case err := <-done:
		if !want || err != nil {
			t.Fatalf("%s: came back with %v", what, err)
		}
	default:
		if want {
			t.Fatalf("%s: waits", what)
		}
	}
}

func TestRoom(t *testing.T) {
	const unit = smallest
	t.Run("the first first", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := &room{most: 10 * unit}
			a, b, c, d := &share{of: r}, &share{of: r}, &share{of: r}, &share{of: r}
			granted(t, "a", hold(t, a, 6*unit), true)
			atB := hold(t, b, 8*unit)
			atC := hold(t, c, 2*unit) // there would be room for it, but b came first
			granted(t, "b", atB, false)
			granted(t, "c", atC, false)
			granted(t, "small", hold(t, d, unit-1), true)
			a.release()
			granted(t, "b after a", atB, true)
			granted(t, "c after a", atC, true)
			b.release()
			c.release()
			d.release()
			if r.used != 0 || r.holding != 0 || len(r.queue) != 0 {
				t.Errorf("left: %+v", r)
			}
		})
	})
	t.Run("more than there is", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := &room{most: 10 * unit}
			a, b := &share{of: r}, &share{of: r}
			granted(t, "alone", hold(t, a, 100*unit), true)
			atB := hold(t, b, unit)
			granted(t, "b", atB, false)
			a.release()
			granted(t, "b after a", atB, true)
		})
	})
	t.Run("nobody waits for ever for those who wait", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := &room{most: 10 * unit}
			a, b, c := &share{of: r}, &share{of: r}, &share{of: r}
			granted(t, "a", hold(t, a, 5*unit), true)
			granted(t, "b", hold(t, b, 5*unit), true)
			atC := hold(t, c, unit)
			moreA := hold(t, a, 9*unit)
			granted(t, "more for a", moreA, false)
			moreB := hold(t, b, 9*unit)
			granted(t, "more for a, when b waits too", moreA, true)
			granted(t, "more for b", moreB, false)
			granted(t, "c", atC, false)
			a.release()
			granted(t, "more for b after a", moreB, true)
			granted(t, "c after a", atC, true)
			if r.used != 10*unit || r.holding != 2 {
				t.Errorf("used %d, by %d", r.used, r.holding)
			}
		})
	})
	t.Run("given up", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := &room{most: 10 * unit}
			a, b, c := &share{of: r}, &share{of: r}, &share{of: r}
			granted(t, "a", hold(t, a, 6*unit), true)
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			done := make(chan error, 1)
			go func() { done <- b.Hold(ctx, 8*unit) }()
			synctest.Wait()
			atC := hold(t, c, 2*unit)
			if err := <-done; !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("error %v", err)
			}
			granted(t, "c after b has given up", atC, true)
			b.release()
			if r.used != 8*unit || r.holding != 2 {
				t.Errorf("used %d, by %d", r.used, r.holding)
			}
			a.release()
			granted(t, "after the call", hold(t, a, 100*unit), true)
			if r.used != 2*unit {
				t.Errorf("used %d", r.used)
			}
		})
	})
}

// TestRoomOfCalls: what filters hold is bounded over all runs, given back by those that panic, and asked for in vain until the
// deadline is an error, never "nothing found".
func TestRoomOfCalls(t *testing.T) {
	defer SetRoom(0)
	SetRoom(10 * smallest)
	var inside, most atomic.Int64
	plan := func(timeout time.Duration, check filter.Func) *Plan {
		p, err := Compile([]Stage{{Spec: filter.Spec{Name: "x", Phases: filter.In(filter.Data)}, Filter: check, Timeout: timeout}})
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	run := func(p *Plan) Report {
		c := mail.NewContent(mail.NewBlob([]byte("Subject: x\r\n\r\nx\r\n")), mail.LineFaults{}, mail.Limits{})
		defer c.Release()
		return p.Run(t.Context(), filter.Data, &filter.Input{Session: &filter.Session{}, Transaction: &filter.Transaction{}, Content: c})[0]
	}
	busy := plan(time.Minute, func(ctx context.Context, _ *filter.Input) (filter.Result, error) {
		if err := filter.Hold(ctx, 4*smallest); err != nil {
			return filter.Result{}, err
		}
		n := inside.Add(1)
		defer inside.Add(-1)
		for old := most.Load(); n > old && !most.CompareAndSwap(old, n); old = most.Load() {
		}
		time.Sleep(time.Millisecond)
		if n == 2 {
			panic("a filter's own")
		}
		return filter.Result{}, nil
	})
	reports := make(chan Report)
	for range 20 {
		go func() { reports <- run(busy) }()
	}
	outcomes := map[Outcome]int{}
	for range 20 {
		outcomes[(<-reports).Outcome]++
	}
	if most.Load() != 2 || outcomes[Pass]+outcomes[Panicked] != 20 {
		t.Errorf("%d at once; %v", most.Load(), outcomes)
	}
	if inMemory.used != 0 || inMemory.holding != 0 {
		t.Errorf("left: %d octets of %d", inMemory.used, inMemory.holding)
	}

	taken, free := make(chan bool), make(chan bool)
	greedy := plan(time.Minute, func(ctx context.Context, _ *filter.Input) (filter.Result, error) {
		err := filter.Hold(ctx, 10*smallest)
		close(taken)
		<-free
		return filter.Result{}, err
	})
	go func() { reports <- run(greedy) }()
	<-taken
	late := run(plan(20*time.Millisecond, func(ctx context.Context, _ *filter.Input) (filter.Result, error) {
		return filter.Result{}, filter.Hold(ctx, smallest)
	}))
	if late.Outcome != TimedOut || late.Err == nil {
		t.Errorf("in vain: %v, %v", late.Outcome, late.Err)
	}
	close(free)
	if r := <-reports; r.Outcome != Pass {
		t.Errorf("%v, %v", r.Outcome, r.Err)
	}
}
