package app

import (
	"context"
	"os"
	"slices"
	"sync"
	"time"

	listfile "github.com/postern-mail/postern/internal/lines"
	"github.com/postern-mail/postern/internal/systemd"
)

// The service manager is told every few seconds that draining goes on, and waits for longer than that for the next time:
// it does not end a gateway that has more time by its configuration than by its unit.
const (
	drainTold     = 5 * time.Second
	drainPatience = 30 * time.Second
	// triesEnd is what deliveries from the spool that are under way have, however short the limit is.
	triesEnd = 5 * time.Second
)

// drain takes no new mail, lets begun transactions end for as long as the configuration allows, and ends at once at a
// further signal.
func (g *gateway) drain(ends <-chan os.Signal) error {
	limit := g.cfg.Load().Drain
	began := time.Now()
	g.ready.Store(false)
	g.tell(systemd.Stopping, systemd.ExtendTimeout(drainPatience), g.status())
	g.log.Info("draining", "limit", limit.String())
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	// From here on the spool takes mail and gives none away, so that at the end no try is cut off that has just begun.
	tries, cut := context.WithTimeout(context.Background(), max(limit, triesEnd))
	defer cut()
	g.restQueue()
	done := make(chan struct{})
	go func() {
		defer close(done)
		var all sync.WaitGroup
		for _, l := range slices.Concat(g.listeners, g.leaving) {
			all.Go(func() { g.drainOne(ctx, l) })
		}
		all.Go(func() { g.closeQueue(tries) })
		all.Wait()
	}()
	tick := time.NewTicker(drainTold)
	defer tick.Stop()
	for {
		select {
		case <-done:
			g.log.Info("stopped")
			return nil
		case <-ends:
			g.log.Warn("stopped at once")
			return nil
		case <-tick.C:
			open, busy := g.connections()
			g.tell(systemd.ExtendTimeout(drainPatience), systemd.Status("draining: %d connections, %d with a transaction, %s left",
				open, busy, max(limit-time.Since(began), 0).Round(time.Second)))
		}
	}
}

// drainOne lets a listener's transactions end until ctx does, and closes it.
func (g *gateway) drainOne(ctx context.Context, l *listener) {
	if err := l.server.Drain(ctx); err != nil {
		g.log.Warn("listener did not drain in time", "listener", l.cfg.Name, "error", err)
	}
	_ = l.server.Close()
}

// readingEnds is how long the end waits for lists that are being read anew.
const readingEnds = 2 * time.Second

// close ends what is left. Begun transactions that were not drained are cut off without a reply, so that their
// senders come again.
func (g *gateway) close() {
	g.ready.Store(false)
	for _, l := range slices.Concat(g.listeners, g.leaving) {
		_ = l.server.Close()
		l.close()
	}
	if g.stop != nil {
		g.stop()
	}
	if g.web != nil {
		g.web.close()
	}
	if g.control != nil {
		g.control.Close(controlEnds)
	}
	g.closeSpool()
	g.senders.Close()
	g.background.Wait()
	if !listfile.Idle(readingEnds) {
		g.log.Warn("a file of recipients, users or entries is still being read: its disk does not answer")
	}
	g.closeLearner()
	g.closeLedger()
	g.relays.mu.Lock()
	defer g.relays.mu.Unlock()
	for _, k := range g.relays.known {
		if c, ok := k.relay.(closer); ok {
			c.Close()
		}
	}
}
