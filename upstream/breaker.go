package upstream

import (
	"errors"
	"fmt"
	"time"
)

// Breaker is the state of the circuit breaker that each server of a pool has.
type Breaker uint8

const (
	BreakerClosed   Breaker = iota // the server is in use
	BreakerHalfOpen                // it may be well again, and one transaction at a time tries whether it is
	BreakerOpen                    // it is marked down
)

var breakerNames = [...]string{"closed", "half_open", "open"}

// String gives the name of b as it stands in metrics.
func (b Breaker) String() string {
	if int(b) < len(breakerNames) {
		return breakerNames[b]
	}
	return fmt.Sprintf("breaker(%d)", uint8(b))
}

// Breakers gives all states, for those who prepare a metric's series.
func Breakers() []Breaker { return []Breaker{BreakerClosed, BreakerHalfOpen, BreakerOpen} }

const (
	backoffFirst = 30 * time.Second
	backoffLast  = 5 * time.Minute
	// slowStart is how long a server that is back has less than its share: its caches are cold, and what waited for it
	// would come all at once.
	slowStart = 10 * time.Second
	// trials are how many messages at once try a server that may be well again, where there is no other to turn to: one that
	// takes long should not keep all others waiting.
	trials = 5
	// awayFor is how long a server was down at least that has a slow start.
	awayFor = 5 * time.Second
)

// errDown is the cause where a server was found down meanwhile.
var errDown = errors.New("upstream: the server is down")

// fault is what a server that is down failed at.
type fault uint8

const (
	faultReach   fault = iota // it can't be reached, does not greet us, or lost a connection: to connect shows whether it is back
	faultSession              // it takes no mail at all from us: TLS, AUTH, identity; or loses connections again and again
	faultMail                 // it did not take one message, for a reason that is not clearly the message's
	faultLost                 // it lost a connection on which there was a transaction: that is, mostly, faultReach
)

// faultOf says which fault an outcome shows.
func faultOf(o *Outcome) fault {
	switch o.Stage {
	case StageTLS, StageAuth, StageIdentity:
		return faultSession
	case StageDial, StageGreeting, StageHello:
		return faultReach
	}
	if o.Kind == OurFault {
		return faultMail
	}
	return faultLost
}

// health is what is known of how a server is. server.mu is held wherever it is touched.
type health struct {
	state   Breaker
	down    bool          // as the hook was told
	fault   fault         // while it is not closed
	until   time.Time     // end of the back-off
	backoff time.Duration // zero while the breaker is closed
	opened  time.Time     // when the breaker opened
	closed  time.Time     // since when it is closed again; zero where that is long ago
	served  time.Time     // when it was last known to be well by a transaction
	took    time.Duration // how long it took to connect the last time, and to be greeted
	greeted time.Duration
	login   login
}

// login is what is known of a login that the server refuses. It has a back-off of its own: connections of before may serve on meanwhile.
type login struct {
	refused *Outcome // the last one; nil: it was not refused
	until   time.Time
	backoff time.Duration
	trying  time.Time // somebody tries it again, until then at most
}

// barred gives what the server said to the last login, where it is not to be tried now: each one in vain brings the account nearer to its
// lock, and there may be a message every second. Whoever gets nil is to tell logged what came of it.
func (s *server) barred(now time.Time) *Outcome {
	if s.cfg.Auth == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	l := &s.health.login
	switch {
	case l.refused == nil:
		return nil
	case now.Before(l.trying), now.Before(l.until):
		return l.refused
	}
	l.trying = now.Add(backoffLast)
	return nil
}

// logged takes down what came of a new connection.
func (s *server) logged(o *Outcome) {
	if s.cfg.Auth == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	l := &s.health.login
	l.trying = time.Time{}
	switch {
	case o.Kind == Delivered:
		*l = login{}
	case o.Kind == OurFault && o.Stage == StageAuth:
		now := time.Now()
		if l.refused == nil || !now.Before(l.until) { // twenty at once are one
			l.backoff = min(max(2*l.backoff, backoffFirst), backoffLast)
			l.until = now.Add(l.backoff)
		}
		refused := *o
		refused.repeated = true
		l.refused = &refused
	}
}

// standing is how a server is to be preferred, the lowest first.
type standing uint8

const (
	standsFirst standing = iota
	standsFull           // all its slots are used
	standsBack           // its share is taken for the moment
	standsDown           // it is tried when no other takes the message
	standsDark           // nobody is there
)

// stands gives the standing of a server. chance is a number from 0 to 1: of a server in its slow start, only some get it.
func (s *server) stands(now time.Time, chance float64) standing {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch s.health.state {
	case BreakerOpen:
		switch {
		case s.dark.Load():
			return standsDark
		case s.onTrial(now):
			return standsFirst
		}
		return standsDown
	case BreakerHalfOpen:
		if s.used > 0 {
			return standsBack
		}
		return standsFirst
	}
	if since := now.Sub(s.health.closed); !s.health.closed.IsZero() && since < slowStart && chance > max(0.1, float64(since)/float64(slowStart)) {
		return standsBack
	}
	if s.used >= s.most(now) {
		return standsFull
	}
	return standsFirst
}

// onTrial reports whether a server that is down is due for a trial: its back-off is over, and it is not the probes' to say when.
func (s *server) onTrial(now time.Time) bool {
	return !now.Before(s.health.until) && !(s.probes && s.health.fault == faultReach)
}

// most is how many slots there are at the moment.
func (s *server) most(now time.Time) int {
	all := s.cfg.MaxConnections
	switch {
	case s.health.state != BreakerHalfOpen:
	case s.elsewhere():
		return 1
	default:
		return min(all, trials)
	}
	if s.health.state == BreakerOpen || s.health.closed.IsZero() {
		return all
	}
	since := now.Sub(s.health.closed)
	if since >= slowStart {
		s.health.closed = time.Time{}
		return all
	}
	return min(all, max(1, int(float64(all)*float64(since)/float64(slowStart))))
}

// available reports whether a server is worth a try.
func (s *server) available(now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.health.state != BreakerOpen || s.health.fault == faultMail || s.onTrial(now)
}

// tried makes of a server whose back-off is over one on trial, where there is another to turn to meanwhile; s.mu is held.
func (s *server) tried(now time.Time) {
	if s.health.state == BreakerOpen && len(s.others) > 0 && s.onTrial(now) {
		s.become(BreakerHalfOpen)
	}
}

// judge marks the server down after a failure that is not the message's, and well again after a
// transaction that it carried out or refused. A delivery that the client gave up says nothing.
func (s *server) judge(o *Outcome, givenUp bool) {
	switch {
	case o.repeated:
	case o.Kind == Delivered, o.Kind == Refused && o.Reply.Code != 0 && o.Stage != StageMail, o.Kind == RecipientRefused:
		s.serves(time.Now())
	case o.Stage == StageWait, o.Stage == StageContent:
	case givenUp:
		if o.Kind == Unreachable {
			s.doubt()
		}
	case errors.Is(o.Err, ErrInsecure): // to other mail the server is what it was
		s.cfg.Hooks.insecure(o)
		s.cfg.Hooks.fault(o)
	case o.Kind == OurFault:
		s.fails(faultOf(o))
		s.cfg.Hooks.fault(o)
	case o.Kind == Unreachable, o.Kind == Unknown: // where there is another server, the client's retry goes there
		s.fails(faultOf(o))
	}
}

// serves takes down that the server has served a transaction that began then.
func (s *server) serves(then time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.health.served = then
	if s.health.state == BreakerClosed {
		return
	}
	now := time.Now()
	h := &s.health
	h.backoff, h.until = 0, time.Time{}
	s.dark.Store(false)
	if h.fault != faultMail && now.Sub(h.opened) >= awayFor {
		h.closed = now
	}
	s.become(BreakerClosed)
	s.tell(true)
	s.admit(now)
	s.plan(now)
}

// fails takes down that the server has failed. The back-off grows only when it fails again after one:
// twenty transactions that fail at once are one failure.
func (s *server) fails(f fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	h, away := &s.health, f == faultReach && s.elsewhere()
	switch {
	case f != faultLost:
	case h.state == BreakerHalfOpen:
		f = faultSession // it could be reached, and is not well all the same: to reach it again says no more
	default:
		f = faultReach
	}
	if h.state == BreakerOpen && !now.After(h.until) {
		if f < h.fault {
			h.fault = f
			s.plan(now)
		}
		return
	}
	s.trip(f, now)
	if away {
		s.turnAway() // to another one
	} else {
		s.admit(now)
	}
	if f == faultReach {
		s.kick(now, probeWaited)
	}
}

// trip opens the breaker, or keeps it open for longer; s.mu is held.
func (s *server) trip(f fault, now time.Time) {
	h := &s.health
	h.fault = f
	h.backoff = min(max(2*h.backoff, backoffFirst), backoffLast)
	h.until, h.closed = now.Add(h.backoff), time.Time{}
	if h.state != BreakerOpen {
		h.opened = now
	}
	s.become(BreakerOpen)
	s.tell(false)
}

// become changes the state; s.mu is held.
func (s *server) become(b Breaker) {
	if s.health.state != b {
		s.health.state = b
		s.down.Store(b == BreakerOpen)
		s.cfg.Hooks.breaker(s.address, b)
		s.changed.give()
	}
}

// tell tells whether the server is up, where that is news; s.mu is held. One that is on trial is, if a probe has found it
// so, and else when it has served.
func (s *server) tell(up bool) {
	if s.health.down == up {
		s.health.down = !up
		s.cfg.Hooks.up(s.address, up)
	}
}
