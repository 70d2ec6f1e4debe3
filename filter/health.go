package filter

import (
	"errors"
	"time"
)

// ErrBreakerOpen says that a filter could not tell since nothing was asked: what it asks has failed again and again, and
// is let rest for a while.
var ErrBreakerOpen = errors.New("filter: not asked, having failed again and again")

// Health is how a program is that a filter asks, for metrics.
type Health struct {
	// Breaker is the state of the circuit breaker: "closed" (in use), "half_open" (one message tries whether it is well
	// again) or "open" (nothing is asked of it). Of several servers it is that of the best one.
	Breaker string
	Servers []ServerHealth // in the order of the configuration
	// Signatures is when the signatures were made that it goes by; zero where it has none, or that is not known.
	Signatures time.Time
}

// ServerHealth is how one of the servers is that a filter asks.
type ServerHealth struct {
	Name    string // as the configuration writes it
	Breaker string // as in Health
}
