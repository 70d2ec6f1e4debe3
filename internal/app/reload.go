package app

import (
	"context"
	"slices"
	"time"

	"github.com/postern-mail/postern/internal/config"
	"github.com/postern-mail/postern/internal/systemd"
)

// reload checks the configuration anew and swaps it in. What is wrong with it is told, and changes nothing.
func (g *gateway) reload(ctx context.Context) {
	g.tell(systemd.Reloading())
	cfg, err := g.app.load()
	if err == nil {
		err = g.swap(ctx, cfg)
	}
	g.metrics.Reloaded(err == nil)
	if err != nil {
		now := time.Now()
		g.refused.Store(&now)
		g.log.Error("configuration not taken: the old one is in force", "config", g.app.o.Config,
			"error", g.privacy().Mask(err.Error()))
	} else {
		g.log.Info("configuration taken", "config", g.app.o.Config)
	}
	g.tell(systemd.Ready, g.status())
}

// swap puts a configuration in the place of the one in force, whole or not at all.
func (g *gateway) swap(ctx context.Context, cfg *config.Config) error {
	if err := g.unchangeable(cfg); err != nil {
		return err
	}
	old := g.listeners
	all, err := g.bind(ctx, cfg)
	if err == nil {
		err = g.openLearner(cfg)
	}
	if err == nil {
		err = g.install(cfg)
	}
	if err != nil {
		for _, l := range all {
			if !slices.Contains(old, l) {
				l.close() // nobody has been let in
			}
		}
		return err
	}
	g.spool.Bound(cfg.Spool.Size, cfg.Spool.MinFree)
	g.held.Bound(cfg.Quarantine.Keep, cfg.Quarantine.Size)
	g.configureLearner(cfg)
	if g.level != nil {
		g.level.Set(logLevel(cfg.Log))
	}
	for i, l := range all {
		l.cfg = cfg.Listeners[i]
		l.server.Configure(g.listenerConfig(l.cfg))
		if !slices.Contains(old, l) {
			g.serve(l)
		}
	}
	g.exchange(ctx, all)
	return nil
}

// exchange puts listeners in the place of those that there were. Those that are no more let their transactions end.
func (g *gateway) exchange(ctx context.Context, all []*listener) {
	g.doors.Lock()
	defer g.doors.Unlock()
	old := g.listeners
	g.listeners = all
	g.leaving = slices.DeleteFunc(g.leaving, func(l *listener) bool { return l.left.Load() })
	for _, l := range old {
		if slices.Contains(all, l) {
			continue
		}
		g.log.Info("listener closed", "listener", l.cfg.Name, "address", l.net.Addr().String())
		g.leaving = append(g.leaving, l)
		g.background.Go(func() {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), g.cfg.Load().Drain)
			defer cancel()
			g.drainOne(ctx, l)
			l.left.Store(true)
		})
	}
}

// unchangeable reports what of a new configuration needs a restart.
func (g *gateway) unchangeable(cfg *config.Config) error {
	old := g.cfg.Load()
	switch {
	case cfg.State != old.State:
		return cfg.Errorf("state", "the state directory is changed by a restart only")
	case cfg.Metrics != old.Metrics:
		return cfg.Errorf("metrics", "the metrics' address is changed by a restart only")
	case cfg.Log.Format != old.Log.Format:
		return cfg.Errorf("log.format", "the log's format is changed by a restart only")
	}
	return nil
}
