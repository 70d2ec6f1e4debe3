package edge

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// TestTerm: whenever somebody begins to wait for it, a term ends as a context of context.WithDeadline does.
func TestTerm(t *testing.T) {
	type key struct{}
	ends := map[string]struct {
		end func(parent context.CancelFunc, tm *term)
		err error
	}{
		"its time":   {func(context.CancelFunc, *term) { time.Sleep(time.Minute) }, context.DeadlineExceeded},
		"its parent": {func(parent context.CancelFunc, _ *term) { parent() }, context.Canceled},
		"its end":    {func(_ context.CancelFunc, tm *term) { tm.end() }, context.Canceled},
	}
	for name, e := range ends {
		for _, early := range []bool{true, false} {
			t.Run(name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					parent, cancel := context.WithCancel(context.WithValue(t.Context(), key{}, "v"))
					defer cancel()
					tm := newTerm(parent, time.Now().Add(time.Minute))
					defer tm.end()
					if limit, ok := tm.Deadline(); !ok || time.Until(limit) != time.Minute {
						t.Errorf("deadline %v, %v", limit, ok)
					}
					called := make(chan struct{})
					wait := func() { context.AfterFunc(tm, func() { close(called) }) }
					if early {
						wait()
					}
					if err := tm.Err(); err != nil || tm.Value(key{}) != "v" {
						t.Errorf("before its end: %v, value %v", err, tm.Value(key{}))
					}
					e.end(cancel, tm)
					if !early {
						wait()
					}
					<-called
					<-tm.Done()
					if err := tm.Err(); !errors.Is(err, e.err) || tm.Value(key{}) != "v" {
						t.Errorf("ended with %v, want %v; value %v", err, e.err, tm.Value(key{}))
					}
				})
			})
		}
	}
}

// TestTermUnwatched: the end is known also when nobody waits, and no timer is left behind.
func TestTermUnwatched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tm := newTerm(t.Context(), time.Now().Add(time.Minute))
		time.Sleep(time.Minute)
		if err := tm.Err(); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("ended with %v", err)
		}
		tm = newTerm(t.Context(), time.Now().Add(time.Minute))
		tm.end()
		if err := tm.Err(); !errors.Is(err, context.Canceled) {
			t.Errorf("ended with %v", err)
		}
	})
}
