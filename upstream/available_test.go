package upstream

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// TestAvailable: a pool is available while one server is up or due for a trial, and who waits is told at once when one is.
func TestAvailable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := pool(t, Config{Servers: []string{"s1.test:25", "s2.test:25"}})
		if err := p.Wait(t.Context()); err != nil || !p.Available() {
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
		if err := p.Wait(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		start := time.Now()
		if err := p.Wait(t.Context()); err != nil || time.Since(start) != 19*time.Second || !p.Available() {
			t.Errorf("the first back-off: %v after %v", err, time.Since(start))
		}
		time.Sleep(time.Second)
		p.servers[0].fails(faultReach)
		start = time.Now()
		time.AfterFunc(time.Second, func() { p.servers[1].serves(time.Now()) })
		if err := p.Wait(t.Context()); err != nil || time.Since(start) != time.Second {
			t.Errorf("one has served: %v after %v", err, time.Since(start))
		}
	})
}
