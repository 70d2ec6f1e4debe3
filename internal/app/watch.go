package app

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/postern-mail/postern/internal/systemd"
)

// statusEvery is how often the service manager is told how the gateway is, where no watchdog wants to hear more often.
const statusEvery = 30 * time.Second

// tell tells the service manager; without one it does nothing.
func (g *gateway) tell(states ...string) {
	if err := systemd.Notify(states...); err != nil {
		g.log.Warn("the service manager can't be told", "error", err)
	}
}

// connections gives how many connections all listeners have, and how many of these have a transaction.
func (g *gateway) connections() (open, busy int) {
	g.doors.Lock()
	all := slices.Concat(g.listeners, g.leaving)
	g.doors.Unlock()
	for _, l := range all {
		o, b := l.server.Connections()
		open, busy = open+o, busy+b
	}
	return open, busy
}

// status is how the gateway is, in one line for people.
func (g *gateway) status() string {
	const form = "2006-01-02 15:04:05"
	what := "taking mail"
	if !g.ready.Load() {
		what = "draining"
	}
	open, busy := g.connections()
	text := fmt.Sprintf("%s: %d connections, %d with a transaction", what, open, busy)
	if t := g.taken.Load(); t != nil {
		text += "; configuration of " + t.Format(form)
	}
	if t := g.refused.Load(); t != nil {
		text += ", that of " + t.Format(form) + " was refused"
	}
	return systemd.Status("%s", text)
}

// watch tells the service manager how the gateway is, and its watchdog that it is alive, until ctx is done.
func (g *gateway) watch(ctx context.Context) {
	if !systemd.Watched() {
		return
	}
	every := statusEvery
	limit := systemd.Watchdog()
	if limit > 0 {
		every = min(every, limit/4)
	}
	p := pulse{check: g.alive}
	tick := time.NewTicker(every)
	defer tick.Stop()
	ill := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if limit == 0 {
			g.tell(g.status())
			continue
		}
		err := p.beat(ctx, every)
		switch {
		case err == nil && ill:
			g.log.Info("alive again: the watchdog is told so")
			fallthrough
		case err == nil:
			g.tell(systemd.Alive, g.status())
		case !ill && ctx.Err() == nil:
			g.log.Error("not alive: the watchdog is not told otherwise, and ends the gateway", "limit", limit.String(), "error", err)
		}
		ill = err != nil
	}
}

// alive goes through what has to work for mail to be taken: the loops that take connections come round, and nobody
// holds for good the locks that each message needs. It tells what it is about to look at, on which it may hang.
func (g *gateway) alive(at func(string)) error {
	at("the listeners")
	g.doors.Lock()
	all := slices.Clone(g.listeners)
	g.doors.Unlock()
	for _, l := range all {
		at("a listener at " + l.net.Addr().String())
		if err := l.server.Alive(); err != nil {
			return err
		}
	}
	at("the relays")
	have(&g.relays.mu)
	at("the resolver")
	have(&g.resolvers.mu)
	at("the certificates")
	have(&g.tls.mu)
	return nil
}

// have returns when it has had the lock.
func have(l sync.Locker) {
	l.Lock()
	defer l.Unlock()
}

// pulse runs a check that may hang, one at a time. It is used by one goroutine.
type pulse struct {
	check func(at func(string)) error
	step  atomic.Pointer[string]
	ended chan error // nil: none is running
}

// beat runs the check, or waits for the one that is running, and gives what it says. Where it takes longer than patience,
// that is an error, and it goes on.
func (p *pulse) beat(ctx context.Context, patience time.Duration) error {
	if p.ended == nil {
		p.step.Store(new(string))
		ended := make(chan error, 1)
		p.ended = ended
		go func() { ended <- p.check(func(s string) { p.step.Store(&s) }) }()
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case err := <-p.ended:
		p.ended = nil
		return err
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return fmt.Errorf("app: hangs at %q", *p.step.Load())
	}
}
