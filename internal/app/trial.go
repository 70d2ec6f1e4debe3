package app

import (
	"context"
	"time"

	"github.com/postern-mail/postern/upstream"
)

const (
	// trialEvery is how often it is looked for routes whose upstream is to be tried, those among them that gave no answer.
	trialEvery = 10 * time.Minute
	// trialFor is how long an answer holds.
	trialFor = 24 * time.Hour
)

// tryRecipients finds out, at the start and daily, where asking for recipients tells nothing: the server inside accepts one
// that nobody can have.
func (g *gateway) tryRecipients(ctx context.Context) {
	tick := time.NewTicker(trialEvery)
	defer tick.Stop()
	tried := map[string]time.Time{} // routes that were answered for
	for {
		g.tryRoutes(ctx, tried)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (g *gateway) tryRoutes(ctx context.Context, tried map[string]time.Time) {
	sources, files := g.current.Load().Recipients, g.relays.patterns.all()
	for _, r := range g.cfg.Load().Routes {
		name, domain := routeName(r), ""
		if all := wholeDomains(r, files); len(all) > 0 {
			domain = all[0]
		}
		ask, ok := sources[name].(upstream.Ask)
		if at, done := tried[name]; !ok || domain == "" || done && time.Since(at) < trialFor || ctx.Err() != nil {
			continue
		}
		all, err := ask.Pool.AcceptsAny(ctx, domain)
		if err != nil {
			continue // deliveries and their metrics tell of that
		}
		tried[name] = time.Now()
		g.metrics.AcceptsAny(name, all)
		if all {
			g.log.Warn("the upstream accepts recipients that nobody can have: recipients: callout refuses none there",
				"route", g.privacy().Mask(name), "upstream", r.Upstream)
		}
	}
}
