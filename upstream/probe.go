package upstream

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// Probed is what came of looking at a server: to connect, to be greeted, EHLO or LHLO, QUIT.
type Probed uint8

const (
	ProbedOK          Probed = iota // it takes connections
	ProbedRefused                   // it answered, and does not take ours
	ProbedUnreachable               // no answer
)

var probedNames = [...]string{"ok", "refused", "unreachable"}

// String gives the name of p as it stands in metrics.
func (p Probed) String() string {
	if int(p) < len(probedNames) {
		return probedNames[p]
	}
	return fmt.Sprintf("probed(%d)", uint8(p))
}

// AllProbed gives all values, for those who prepare a metric's series.
func AllProbed() []Probed { return []Probed{ProbedOK, ProbedRefused, ProbedUnreachable} }

// The pauses between two looks at a server.
const (
	probeWell   = 30 * time.Second // and those that serve messages meanwhile are not looked at
	probeDown   = 2 * time.Second  // of one that is down, in the first minute
	probeWaited = time.Second      // and while somebody waits for a server to be up
	probeLately = time.Minute      // that first minute
)

const (
	// patience is how long a server may take at least to connect where there is another one that can have the message
	// meanwhile, and patienceGreeting how long to greet us then: who answers at all may just have much to do. One that is
	// known to take longer has several times that.
	patience         = time.Second
	patienceGreeting = 3 * time.Second
	// suspicion is how long a server may make us wait in a transaction until it is looked at whether it is there at all.
	suspicion = 400 * time.Millisecond
	// reviveFor is how long a message waits for a server to be found up where all are down.
	reviveFor = time.Second
)

// watch is what goes on around a server: looking at it, and at its name.
type watch struct {
	ctx     context.Context //nolint:containedctx // of all this; nil before Pool.Watch
	stop    context.CancelFunc
	running sync.WaitGroup

	// server.mu is held for these.
	timer   *time.Timer // until the next probe
	names   *time.Timer // until the name is looked up anew
	probing bool
	hurry   context.CancelFunc // ends a probe that has much time; nil: there is none
	doubted bool               // it is to be looked at although it serves: somebody gave up
	hurried bool               // that was done: it says nothing, and another one follows at once
	probed  time.Time          // when the last probe was begun
	missed  int                // how many in a row had no answer
	hanging map[*conn]struct{}
	suspect *time.Timer // runs while there are some
}

// Watch begins to look at the servers from time to time, if Config.Probe says so, and to look their names up anew. It goes
// on until Close. It is called once.
func (p *Pool) Watch() {
	for _, s := range p.servers {
		s.begin()
	}
}

func (s *server) begin() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.watch.ctx != nil {
		return
	}
	s.watch.ctx, s.watch.stop = context.WithCancel(context.Background())
	if s.probes = s.cfg.Probe; s.probes {
		s.watch.timer = time.AfterFunc(0, s.tick)
	}
	if s.dialer.host != nil {
		s.watch.names = time.AfterFunc(0, s.rename)
	}
}

// end ends what begin has begun; s.mu is held. What is under way ends soon.
func (s *server) end() {
	w := &s.watch
	if w.stop != nil {
		w.stop()
	}
	for _, t := range []*time.Timer{w.timer, w.names, w.suspect} {
		if t != nil {
			t.Stop()
		}
	}
}

// plan sees to it that the server is looked at in time; s.mu is held.
func (s *server) plan(now time.Time) {
	if !s.probes || s.closed || s.watch.probing {
		return // it plans when it has ended
	}
	s.watch.timer.Reset(s.watch.probed.Add(s.pause(now)).Sub(now))
}

// pause is how long after a probe the next one is due; s.mu is held.
func (s *server) pause(now time.Time) time.Duration {
	switch {
	case s.health.state != BreakerOpen:
		return probeWell
	case s.wanted.Load() > 0:
		return probeWaited
	case now.Sub(s.health.opened) < probeLately:
		return probeDown
	}
	return probeWell
}

// kick lets the server be looked at at once, but that long after the last time at least; s.mu is held.
func (s *server) kick(now time.Time, least time.Duration) {
	w := &s.watch
	switch {
	case !s.probes || s.closed:
	case !w.probing:
		w.timer.Reset(min(w.probed.Add(least).Sub(now), least))
	case w.hurry != nil:
		w.hurry()
		w.hurry, w.hurried = nil, true
	}
}

// tick is what the timer runs: it looks at the server.
func (s *server) tick() {
	s.mu.Lock()
	now := time.Now()
	w := &s.watch
	switch {
	case s.closed || w.probing:
		s.mu.Unlock()
		return
	case s.health.state == BreakerClosed && len(w.hanging) == 0 && !w.doubted && now.Sub(s.health.served) < probeWell:
		w.probed = s.health.served // a message has shown as much
		s.plan(now)
		s.mu.Unlock()
		return
	}
	w.probing, w.probed = true, now
	w.running.Add(1)
	ctx, cancel := context.WithCancel(w.ctx)
	connect, greet := s.cfg.Timeouts.Dial, s.cfg.Timeouts.Greeting
	suspect := (len(w.hanging) > 0 || w.doubted) && s.elsewhere()
	w.doubted = false
	// Where it is not known to be well, to wait long would be to look rarely; one that is just slow gets its chance as well.
	switch {
	case (s.health.state == BreakerOpen || suspect) && w.missed%4 != 3:
		connect, greet = atLeast(patience, s.health.took), atLeast(patienceGreeting, s.health.greeted)
	case s.health.state == BreakerClosed:
		w.hurry = cancel
	}
	s.mu.Unlock()
	defer w.running.Done()
	defer cancel()
	o := s.dialer.guarded(ctx, connect, greet)
	s.looked(now, &o)
}

// atLeast is how long a server may take that took that long the last time.
func atLeast(least, took time.Duration) time.Duration { return max(least, 4*took) }

// guarded is probe in a goroutine of its own, where nobody would catch a panic.
func (d *dialer) guarded(ctx context.Context, connect, greet time.Duration) (o Outcome) {
	defer func() {
		if v := recover(); v != nil {
			o = Outcome{Kind: OurFault, Stage: StageHello, Server: d.server, Err: fmt.Errorf("upstream: looking at %s panicked: %v", d.server, v)}
		}
	}()
	return d.probe(ctx, connect, greet)
}

// probe connects and says EHLO and QUIT.
func (d *dialer) probe(ctx context.Context, connect, greet time.Duration) (o Outcome) {
	c, err := d.connect(ctx, min(connect, d.cfg.Timeouts.Dial))
	if err != nil {
		return Outcome{Kind: Unreachable, Stage: StageDial, Server: d.server, Err: err}
	}
	c.attach(ctx)
	defer func() {
		c.detach()
		c.quit()
	}()
	if o = d.announce(c, nil); o.Kind != Delivered {
		return o
	}
	start := c.now
	r, err := c.reply(min(greet, d.cfg.Timeouts.Greeting))
	if err != nil || r.Code != 220 {
		return c.failed(StageGreeting, r, err)
	}
	c.greeted = c.now.Sub(start)
	short := *c.timeouts
	short.Command = min(greet, short.Command)
	c.timeouts = &short
	if o = d.sayHello(c); o.Kind == Delivered {
		d.owner.learn(c)
	}
	return o
}

// looked takes down what came of a probe that began then.
func (s *server) looked(then time.Time, o *Outcome) {
	result := ProbedUnreachable
	switch o.Kind {
	case Delivered:
		result = ProbedOK
	case OurFault:
		result = ProbedRefused
	}
	var old []*conn
	defer func() { quitAll(old) }()
	s.mu.Lock()
	defer s.mu.Unlock()
	hurried := s.watch.hurried && o.Kind != Delivered
	s.watch.probing, s.watch.hurry, s.watch.hurried = false, nil, false
	switch {
	case s.closed:
		return
	case hurried:
		s.watch.timer.Reset(0)
		return
	}
	s.cfg.Hooks.probed(s.address, result)
	now := time.Now()
	h := &s.health
	switch {
	case result == ProbedOK:
		s.watch.missed = 0
		s.dark.Store(false)
		if h.state == BreakerOpen && h.fault == faultReach {
			s.become(BreakerHalfOpen)
			s.tell(true)
		}
	case h.served.After(then): // a message went through meanwhile
	default:
		if s.missed(result, now); s.dark.Load() {
			old = s.lose()
		}
	}
	s.plan(now)
	s.changed.give() // for those who wait for the end of a probe, whatever came of it
}

// missed takes down that a probe did not succeed; s.mu is held.
func (s *server) missed(result Probed, now time.Time) {
	h := &s.health
	s.watch.missed++
	switch {
	case h.state != BreakerOpen && s.open > 0 && result == ProbedRefused:
		return // it is there; that it lets nobody else in is no reason to leave it: these may be as many as it takes
	case h.state != BreakerOpen:
		s.trip(faultReach, now)
	default:
		h.fault = faultReach
	}
	s.dark.Store(result == ProbedUnreachable)
	if result != ProbedUnreachable {
		s.admit(now)
		return
	}
	s.turnAway()
	if !s.elsewhere() {
		return // there is nowhere to go with what hangs
	}
	for c := range s.watch.hanging {
		c.leave()
	}
}

// lose takes the idle connections out of the list: nobody answers on them, and a firewall or a server that is back may know nothing
// of them. Those that are in use follow, by their age; s.mu is held.
func (s *server) lose() (old []*conn) {
	s.age++
	old, s.idle = s.idle, nil
	s.open -= len(old)
	s.count()
	return old
}

// hangs is told of a connection whose server makes it wait.
func (s *server) hangs(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := &s.watch
	if !s.probes || s.closed {
		return
	}
	if w.hanging == nil {
		w.hanging = map[*conn]struct{}{}
	}
	w.hanging[c] = struct{}{}
	if len(w.hanging) > 1 {
		return
	}
	if w.suspect == nil {
		w.suspect = time.AfterFunc(suspicion, s.suspected)
	} else {
		w.suspect.Reset(suspicion)
	}
}

// goesOn is told of a connection that hung when it is no longer used.
func (s *server) goesOn(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.watch.hanging, c)
	if len(s.watch.hanging) == 0 && s.watch.suspect != nil {
		s.watch.suspect.Stop()
	}
}

// doubt lets a server be looked at on which somebody gave up, who may have been impatient.
func (s *server) doubt() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.watch.doubted = true
	s.kick(time.Now(), probeWaited)
}

// suspected lets a server be looked at that has made somebody wait for long.
func (s *server) suspected() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || len(s.watch.hanging) == 0 {
		return
	}
	if s.elsewhere() {
		s.kick(time.Now(), suspicion)
	}
	s.watch.suspect.Reset(probeWell) // what hangs for so long may do so for another reason than before
}

// rename looks the server's name up anew. Connections with addresses that it no longer has are let go.
func (s *server) rename() {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return
	}
	s.watch.running.Add(1)
	s.mu.Unlock()
	defer s.watch.running.Done()
	changed, _ := s.dialer.host.refresh(s.watch.ctx, nameIn) // what is known serves on
	s.mu.Lock()
	var old []*conn
	if !s.closed {
		s.watch.names.Reset(nameFor)
		if changed {
			old = s.strangers()
			s.count()
		}
	}
	s.mu.Unlock()
	quitAll(old)
}

// strangers takes the connections out of the idle list whose address is no longer the server's; s.mu is held.
func (s *server) strangers() (old []*conn) {
	kept := s.idle[:0]
	for _, c := range s.idle {
		if s.dialer.host.has(c.addr) {
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

// revive waits a moment for a server to be found up where all are down, and reports whether one is.
func (p *Pool) revive(ctx context.Context) bool {
	start := time.Now()
	ctx, cancel := context.WithTimeout(ctx, reviveFor)
	defer cancel()
	defer p.want()()
	for {
		changed := p.changed.next()
		if p.Available() {
			return true
		}
		if p.looked(start) {
			return false
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return false
		}
	}
}

// looked reports whether all servers have been looked at since then, or so short a time before that it makes no difference.
func (p *Pool) looked(then time.Time) bool {
	for _, s := range p.servers {
		s.mu.Lock()
		fresh := !s.watch.probing && s.watch.probed.Add(probeWaited).After(then)
		s.mu.Unlock()
		if !fresh {
			return false
		}
	}
	return true
}

// want lets the servers that are down be looked at often until the func that it gives is called.
func (p *Pool) want() (enough func()) {
	p.wanted.Add(1)
	now := time.Now()
	for _, s := range p.servers {
		s.mu.Lock()
		if s.health.state == BreakerOpen {
			s.plan(now)
		}
		s.mu.Unlock()
	}
	return func() { p.wanted.Add(-1) }
}

// learn notes what a server said of itself in a connection that is ready, and how long that took.
func (s *server) learn(c *conn) {
	s.said.Store(&sizeLimit{octets: c.ext.maxSize, at: c.now})
	s.timed(c)
}

// timed notes how long a connection took to make.
func (s *server) timed(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.health.took, s.health.greeted = c.dialed, c.greeted
	c.age = s.age
}
