package edge

import "time"

// Whoever makes many errors, or asks for one mailbox after another that does not exist, is made to wait between commands
// and then hung up on. Honest clients make few errors, and bear a wait; a guesser lives by the number of his guesses. The next
// command is not read before the wait is over, so that nothing is held meanwhile but the connection, and a small stack
// (doze.go). Nobody waits who is known, and nobody while places are short: then a fast end is better for all.
//
// A network from which much was guessed is remembered for some hours, see memory.go.

// longestRest is what a refused command is made to wait at most.
const longestRest = 5 * time.Second

// tarpit is what a wire knows of its client's errors.
type tarpit struct {
	unknown int           // recipients that do not exist
	suspect bool          // much was guessed from its network lately
	rest    time.Duration // before the next command
	until   time.Time     // the end of a rest that was left to a new goroutine
	wakeup  chan struct{} // closed where the rest is to end at once; guarded by wire.mu
}

// mostErrors is the number of refused commands at which the connection is ended.
func (w *wire) mostErrors() int {
	if w.suspect {
		return max(1, w.cfg.Limits.Errors/2)
	}
	return w.cfg.Limits.Errors
}

// offended takes note of a refused command.
func (w *wire) offended() {
	w.errors++
	free := w.cfg.Limits.Errors / 2
	if w.suspect {
		free = 0
	}
	n := w.errors - free
	if n <= 0 || w.known || w.user != nil || w.mayRelay() || w.server == nil || w.server.crowded.Load() {
		return
	}
	if w.rest = min(time.Duration(n)*time.Second, longestRest); w.suspect {
		w.rest = longestRest
	}
}

// lieDown sends what is to be sent before a rest. It reports whether there is one.
func (w *wire) lieDown() bool {
	if w.rest == 0 || w.ended != nil || w.sasl {
		return false
	}
	rest := w.rest
	w.rest = 0
	if w.flush() != nil {
		return false // the next read tells
	}
	if w.buffered() == 0 {
		w.discard()
	}
	w.gateway().metrics().Tarpit(w.cfg.Name)
	w.tarpit.until = time.Now().Add(rest)
	return true
}

// rested sits a rest out. It ends early where the server drains.
func (w *wire) rested() {
	timer := time.NewTimer(time.Until(w.tarpit.until))
	defer timer.Stop()
	w.tarpit.until = time.Time{}
	w.mu.Lock()
	if w.draining || w.killed {
		w.mu.Unlock()
		return
	}
	wakeup := make(chan struct{})
	w.wakeup = wakeup
	w.mu.Unlock()
	select {
	case <-timer.C:
	case <-wakeup:
	}
	w.mu.Lock()
	w.wakeup = nil
	w.mu.Unlock()
}

// rouse ends a rest. The lock is held.
func (w *wire) rouse() {
	if w.wakeup != nil {
		close(w.wakeup)
		w.wakeup = nil
	}
}
