package scanner

import (
	"log/slog"
	"sync"
	"time"
)

// State is that of a circuit breaker.
type State uint8

// The states, the best first.
const (
	Closed   State = iota // in use
	HalfOpen              // one message tries whether it is well again
	Open                  // nothing is asked of it
)

var stateNames = [...]string{"closed", "half_open", "open"}

// String gives the word for the state that stands in metrics and in the log.
func (s State) String() string {
	if int(s) < len(stateNames) {
		return stateNames[s]
	}
	return "unknown"
}

// maxLast bounds what is kept of the last fault, in octets.
const maxLast = 300

// longest is how many times the first pause the pauses may grow to. They stay short, since mail is deferred meanwhile.
const longest = 12

// breaker is what is known of how one server is. After so many faults in a row nothing is asked of it for a pause; then
// one message tries it, while the others go on without. A fault of that one makes the pause longer.
type breaker struct {
	mu     sync.Mutex
	state  State
	faults int // in a row
	pause  time.Duration
	until  time.Time // of the pause, while open
	trial  uint64    // the number of the trial, while half open; of each another one
	last   string    // what the last fault was
	since  time.Time // when it was last closed, while it is not
	told   time.Time // when the log heard that it is not closed
}

// tellEvery is how often the log says that a server still fails.
const tellEvery = 10 * time.Minute

// why says for people why the server is not asked, "" where it is.
func (b *breaker) why() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.state == Closed {
		return ""
	}
	return "since " + b.since.UTC().Format("15:04:05Z") + ", at last: " + b.last
}

// enter says whether a message may ask the server now. trial is not 0 for the one that tries it; it has to say with end how
// that went.
func (b *breaker) enter(now time.Time) (ok bool, trial uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.state == Closed:
		return true, 0
	case b.state == Open && !now.Before(b.until):
		b.state = HalfOpen
		b.trial++
		return true, b.trial
	}
	return false, 0
}

// change is what an attempt changed that people are to hear of.
type change uint8

const (
	unchanged change = iota
	opened
	open // still
	closed
)

// end takes down how an attempt went, and tells the log. fault is nil where the server did what it should; heard is false
// where the attempt says nothing about the server.
func (b *breaker) end(trial uint64, fault error, heard bool, o *Options, s *Server, log *slog.Logger) {
	c, since := b.take(trial, fault, heard, o)
	switch c { // a log may be slow, and so is told when the lock is free
	case opened:
		log.Error("scanner fails again and again: it is not asked for a while", "server", s.String(), "pause", o.Pause.String(), "error", fault.Error())
	case open:
		log.Error("scanner still fails: it is not asked", "server", s.String(), "since", since.UTC().Format(time.RFC3339), "error", fault.Error())
	case closed:
		log.Info("scanner answers again: it is asked", "server", s.String())
	}
}

func (b *breaker) take(trial uint64, fault error, heard bool, o *Options) (c change, since time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	if heard && fault != nil {
		b.last = Clipped(fault.Error(), maxLast)
	}
	tries := trial != 0 && b.state == HalfOpen && trial == b.trial
	switch {
	case !heard:
		if tries { // the next one tries
			b.state, b.until = Open, now
		}
	case fault == nil:
		if b.state != Closed && tries {
			b.state, c = Closed, closed
		}
		if b.state == Closed {
			b.faults, b.pause = 0, 0
		}
	case tries:
		b.pause = min(2*b.pause, longest*o.Pause)
		b.state, b.until = Open, now.Add(b.pause)
		if now.Sub(b.told) >= tellEvery {
			b.told, c = now, open
		}
	case b.state == Closed:
		if b.faults++; b.faults >= o.Faults {
			b.state, b.pause, b.until = Open, o.Pause, now.Add(o.Pause)
			b.since, b.told, c = now, now, opened
		}
	}
	return c, b.since
}

// now gives the state.
func (b *breaker) now() State {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.state
}
