package upstream

import (
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
