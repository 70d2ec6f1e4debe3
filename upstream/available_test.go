package upstream

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// TestAvailable: a pool is available while one server is up or due for a trial, and as soon as one is.
func TestAvailable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := pool(t, Config{Servers: []string{"s1.test:25", "s2.test:25"}})
		if err := awaitUp(t.Context(), p); err != nil || !p.Available() {
			t.Fatalf("at first: %v", err)
		}
		p.servers[0].fails(faultReach)
		if !p.Available() {
			t.Error("one is up")
		}
		time.Sleep(10 * time.Second)
		p.servers[1].fails(faultReach)
		if p.Available() {
			t.Error("both are down")
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := awaitUp(ctx, p); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		start := time.Now()
		if err := awaitUp(t.Context(), p); err != nil || time.Since(start) != 19*time.Second || !p.Available() {
			t.Errorf("the first back-off: %v after %v", err, time.Since(start))
		}
		time.Sleep(time.Second)
		p.servers[0].fails(faultReach)
		start = time.Now()
		time.AfterFunc(time.Second, func() { p.servers[1].serves(time.Now()) })
		if err := awaitUp(t.Context(), p); err != nil || time.Since(start) > time.Second+time.Millisecond {
			t.Errorf("one has served: %v after %v", err, time.Since(start))
		}
	})
}

// awaitUp waits until a pool is available, as somebody does who wants it to be, and looks at it each millisecond.
func awaitUp(ctx context.Context, p *Pool) error {
	defer p.want()()
	for !p.Available() {
		select {
		case <-time.After(time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}
