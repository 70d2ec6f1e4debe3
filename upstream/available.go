package upstream

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// Available reports whether at least one server is thought to be worth a try: it is up, or did not take a message but may take
// others, or is due for a trial. It asks nobody. It is cheap enough to be called for each message.
func (p *Pool) Available() bool {
	now := time.Now()
	for _, s := range p.servers {
		if s.available(now) {
			return true
		}
	}
	return false
}

// Wait returns nil as soon as Available is true, at once if it is, and an error when ctx ends before. While somebody waits,
// servers that are down are looked at every second: who has mail that waits for this pool calls it, and begins anew to deliver
// when it returns.
func (p *Pool) Wait(ctx context.Context) error {
	if p.Available() {
		return nil
	}
	defer p.want()()
	for {
		changed := p.changed.next()
		if p.Available() {
			return nil
		}
		trial := time.NewTimer(max(time.Until(p.nextTrial()), time.Millisecond))
		select {
		case <-changed:
		case <-trial.C:
		case <-ctx.Done():
			trial.Stop()
			return fmt.Errorf("upstream: %s: no server is up: %w", p.cfg.Name, context.Cause(ctx))
		}
		trial.Stop()
	}
}

// nextTrial is when a server is due next for a trial that it is not the probes' to say when.
func (p *Pool) nextTrial() time.Time {
	first := time.Now().Add(backoffLast)
	for _, s := range p.servers {
		if until := s.trialAt(); !until.IsZero() && until.Before(first) {
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
