package upstream

import (
	"context"
	"crypto/tls"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// server is one server of a pool: its connections, and whether it is well.
//
// A slot is the right to use one connection; there are Config.MaxConnections. A new one is made only while a slot is held
// and no idle one is left, so that open connections never exceed the slots.
type server struct {
	cfg     *Config
	address string
	rank    Rank
	others  []*server // of the pool
	dialer  *dialer
	said    atomic.Pointer[sizeLimit] // which size of messages it takes, by its last EHLO; nil: it never said
	down    atomic.Bool               // the breaker is open
	dark    atomic.Bool               // and the last probe found nobody there
	changed *signal                   // given when something of the health has changed, and after each probe
	wanted  *atomic.Int32             // how many wait for a server to be up

	mu      sync.Mutex
	health  health
	watch   watch
	probes  bool         // it is looked at
	used    int          // slots
	waiting []chan error // those who wait for a slot, which is theirs when they are told nil
	idle    []*conn      // the one used last at the end: it is taken first, so that the others may grow old
	open    int
	told    struct{ open, idle int } // the numbers that the hook knows
	age     int                      // how often it was found that nobody is there
	closed  bool
	evict   *time.Timer // runs while connections are idle
	evictAt time.Time   // none of them is due before
}

func newServer(cfg *Config, i int, secure *tls.Config) *server {
	address := cfg.Servers[i]
	s := &server{cfg: cfg, address: address, rank: cfg.rank(i)}
	s.dialer = &dialer{cfg: cfg, server: address, host: cfg.hostOf(address), tls: secure, owner: s}
	return s
}

// elsewhere reports whether another server of the pool is up.
func (s *server) elsewhere() bool {
	return slices.ContainsFunc(s.others, func(o *server) bool { return !o.down.Load() })
}

// acquire takes a slot, and waits for one if it has to.
func (s *server) acquire(ctx context.Context) (waited bool, err error) {
	s.mu.Lock()
	if s.used < s.cfg.MaxConnections && s.calm() {
		s.used++
		s.mu.Unlock()
		return false, nil
	}
	now := time.Now()
	s.tried(now)
	if s.used < s.most(now) {
		s.used++
		s.mu.Unlock()
		return false, nil
	}
	if !s.calm() && s.elsewhere() {
		s.mu.Unlock()
		return false, fmt.Errorf("%w: %s, which is just back", errWait, s.address)
	}
	mine := make(chan error, 1)
	s.waiting = append(s.waiting, mine)
	var grown <-chan time.Time // in a slow start there are more slots as time goes by
	if !s.calm() {
		tick := time.NewTicker(slowStart / 10)
		defer tick.Stop()
		grown = tick.C
	}
	s.mu.Unlock()
	wait := time.NewTimer(s.cfg.Timeouts.Wait)
	defer wait.Stop()
	for err == nil {
		select {
		case err = <-mine:
			return true, err
		case now := <-grown:
			s.mu.Lock()
			s.admit(now)
			s.mu.Unlock()
		case <-wait.C:
			err = fmt.Errorf("%w: %s, %d in use", errWait, s.address, s.cfg.MaxConnections)
		case <-ctx.Done():
			err = fmt.Errorf("%w: %s: %w", errWait, s.address, context.Cause(ctx))
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := slices.Index(s.waiting, mine); i >= 0 {
		s.waiting = slices.Delete(s.waiting, i, i+1)
		return true, err
	}
	return true, <-mine // it came at the same moment
}

// calm reports whether nothing bounds the slots but the configuration; s.mu is held.
func (s *server) calm() bool { return s.health.state == BreakerClosed && s.health.closed.IsZero() }

// release gives a slot to the one who has waited longest, if there is one.
func (s *server) release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.used--
	if len(s.waiting) > 0 {
		s.admit(time.Now())
	}
}

// admit gives slots to those who wait, as many as there are; s.mu is held.
func (s *server) admit(now time.Time) {
	n := min(len(s.waiting), max(0, s.most(now)-s.used))
	for _, w := range s.waiting[:n] {
		w <- nil
	}
	s.waiting = slices.Delete(s.waiting, 0, n)
	s.used += n
}

// turnAway tells those who wait that there is nothing to wait for; s.mu is held.
func (s *server) turnAway() {
	for _, w := range s.waiting {
		w <- fmt.Errorf("%w: %s", errDown, s.address)
	}
	s.waiting = nil
}

// opened counts a connection that was made, and notes what the server said there.
func (s *server) opened(e extensions, now time.Time) {
	s.said.Store(&sizeLimit{octets: e.maxSize, at: now})
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open++
	s.count()
}

// sizeLimit is which size of messages a server takes, 0 for any, and when it said so.
type sizeLimit struct {
	octets int64
	at     time.Time
}

// sizeFor is how long a server is believed that takes no message above some size: it may have been told otherwise since.
const sizeFor = time.Hour

// count tells the hook how the numbers of connections have changed; s.mu is held.
func (s *server) count() {
	open, idle := s.open-s.told.open, len(s.idle)-s.told.idle
	if open != 0 || idle != 0 {
		s.told.open, s.told.idle = s.open, len(s.idle)
		s.cfg.Hooks.connections(s.address, open, idle)
	}
}

// take gives the idle connection that was used last and is fit for use, nil if there is none.
func (s *server) take(now time.Time) *conn {
	for {
		c := s.pop(now)
		if c == nil || c.undisturbed() {
			return c
		}
		c.broken = true
		s.put(c, now)
	}
}

// pop takes the connection that was used last out of the idle list, nil if there is none. It ends those
// that are too old.
func (s *server) pop(now time.Time) *conn {
	s.mu.Lock()
	var old []*conn
	if !now.Before(s.evictAt) {
		old = s.expire(now) // the timer is late
	}
	var c *conn
	if n := len(s.idle); n > 0 {
		c = s.idle[n-1]
		s.idle[n-1] = nil
		s.idle = s.idle[:n-1]
	}
	s.count()
	s.mu.Unlock()
	quitAll(old)
	return c
}

// put keeps the connection for the next transaction if it is fit for that, else it ends it.
func (s *server) put(c *conn, now time.Time) {
	// Octets that nobody asked for: what is read next would be taken for the answer to something else.
	if c.unread() {
		c.broken = true
	}
	s.mu.Lock()
	keep := !c.broken && !c.spent && !s.closed && c.age == s.age && c.uses < s.cfg.MaxUses && now.Sub(c.born) < s.cfg.MaxAge &&
		len(s.idle) < s.cfg.MaxIdle && (s.dialer.host == nil || s.dialer.host.has(c.addr))
	if keep {
		c.idle = now
		s.idle = append(s.idle, c)
		if s.evict == nil || s.due(c).Before(s.evictAt) {
			s.schedule(now)
		}
	} else {
		s.open--
	}
	s.count()
	s.mu.Unlock()
	if !keep {
		c.quit()
	}
}

// due is when an idle connection is to be ended.
func (s *server) due(c *conn) time.Time {
	idle, age := c.idle.Add(s.cfg.IdleTimeout), c.born.Add(s.cfg.MaxAge)
	if age.Before(idle) {
		return age
	}
	return idle
}

// expire takes the connections out of the idle list that are due; s.mu is held.
func (s *server) expire(now time.Time) (old []*conn) {
	kept := s.idle[:0]
	for _, c := range s.idle {
		if s.due(c).After(now) {
			kept = append(kept, c)
		} else {
			old = append(old, c)
		}
	}
	clear(s.idle[len(kept):])
	s.idle = kept
	s.open -= len(old)
	return old
}

// schedule sees to it that idle connections are ended in time; s.mu is held.
func (s *server) schedule(now time.Time) {
	if len(s.idle) == 0 || s.closed {
		return
	}
	next := s.due(s.idle[0])
	for _, c := range s.idle[1:] {
		if d := s.due(c); d.Before(next) {
			next = d
		}
	}
	if s.evict != nil {
		s.evict.Stop()
	}
	s.evictAt, s.evict = next, time.AfterFunc(next.Sub(now), s.sweep)
}

// sweep is what the timer runs.
func (s *server) sweep() {
	s.mu.Lock()
	now := time.Now()
	if s.evictAt.After(now) {
		s.mu.Unlock()
		return // replaced by a timer that runs still
	}
	s.evict = nil
	old := s.expire(now)
	s.schedule(now)
	s.count()
	s.mu.Unlock()
	quitAll(old)
}

// close ends what goes on around the server, and its idle connections.
func (s *server) close() {
	s.mu.Lock()
	s.closed = true
	s.end()
	if s.evict != nil {
		s.evict.Stop()
		s.evict = nil
	}
	old := s.idle
	s.idle = nil
	s.open -= len(old)
	s.count()
	s.mu.Unlock()
	quitAll(old)
}

func quitAll(conns []*conn) {
	for _, c := range conns {
		c.quit()
	}
}
