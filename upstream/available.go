package upstream

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// Available reports whether at least one server is thought to be worth a try: it is up, or its back-off is over. It asks
// nobody. It is cheap enough to be called for each message.
func (p *Pool) Available() bool {
	now := time.Now()
	for _, s := range p.servers {
		if !s.isDown(now) {
			return true
		}
	}
	return false
}

// Wait returns nil as soon as Available is true, at once if it is, and an error when ctx ends before. Who has mail that waits
// for this pool calls it, and begins anew to deliver when it returns.
func (p *Pool) Wait(ctx context.Context) error {
	for {
		changed := p.recovered.next()
		if p.Available() {
			return nil
		}
		timer := time.NewTimer(time.Until(p.nextTrial()))
		select {
		case <-changed:
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return fmt.Errorf("upstream: %s: no server is up: %w", p.cfg.Name, context.Cause(ctx))
		}
		timer.Stop()
	}
}

// nextTrial is when the first back-off of a server is over.
func (p *Pool) nextTrial() (first time.Time) {
	for _, s := range p.servers {
		if until := s.downUntil(); first.IsZero() || until.Before(first) {
			first = until
		}
	}
	return first
}

// signal wakes all who wait for something that may happen again and again.
type signal struct {
	mu sync.Mutex
	ch chan struct{} // nil while nobody waits
}

// next gives a channel that is closed when the signal is given the next time.
func (s *signal) next() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ch == nil {
		s.ch = make(chan struct{})
	}
	return s.ch
}

func (s *signal) give() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ch != nil {
		close(s.ch)
		s.ch = nil
	}
}
