package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/postern-mail/postern/internal/config"
	"github.com/postern-mail/postern/internal/edge"
	"github.com/postern-mail/postern/internal/ledger"
	"github.com/postern-mail/postern/internal/metrics"
	"github.com/postern-mail/postern/internal/quarantine"
	"github.com/postern-mail/postern/internal/senders"
	"github.com/postern-mail/postern/internal/users"
	"github.com/postern-mail/postern/mail"
)

// drainTime is how long transactions that have begun may go on after the order to stop; senders wait ten
// minutes for the reply to their final dot (RFC 5321 4.5.3.2.6), service managers rarely more than one or two.
const drainTime = 60 * time.Second

// closeRelaysAfter is how long relays that a reload has replaced go on for transactions that began before it.
const closeRelaysAfter = 10 * time.Minute

// sweepEvery is the pause between two looks for quarantined mail that is too old.
const sweepEvery = 10 * time.Minute

// gateway is a running gateway.
type gateway struct {
	app     *App
	log     *slog.Logger
	metrics *metrics.Metrics
	held    *quarantine.Store
	ledger  *ledger.Ledger
	relays  relays
	tmp     string

	resolvers resolvers
	senders   *senders.Table

	cfg       atomic.Pointer[config.Config]
	current   atomic.Pointer[edge.Gateway]
	tls       tlsDoors
	users     map[string]*users.File // by path; changed by install only
	logins    *users.Checker
	listeners []*listener // changed by start and reload only
	leaving   []*listener // closed by reloads; their last transactions may go on
	level     *slog.LevelVar
	web       *web
	ready     atomic.Bool

	failed     chan error // a door that closed by itself
	background sync.WaitGroup
	stop       context.CancelFunc // ends what runs in the background
}

type listener struct {
	cfg    config.Listener
	server *edge.Server
	net    net.Listener
}

// Serve runs the gateway until it is told to stop: SIGHUP reloads, SIGTERM and SIGINT drain, a second one ends
// at once.
func (a *App) Serve(ctx context.Context, signals <-chan os.Signal) error {
	cfg, err := a.load()
	if err != nil {
		return err
	}
	level := new(slog.LevelVar)
	out := newLogWriter(a.o.Stdout)
	defer out.Close()
	g, err := a.start(ctx, cfg, newLogger(out, cfg.Log, level))
	if err != nil {
		return err
	}
	defer g.close()
	g.level = level
	for {
		select {
		case <-ctx.Done():
			return g.drain(signals)
		case err := <-g.failed:
			// Whoever watches over the service starts it anew; half a gateway would look well.
			return errors.Join(&Exit{Code: ExitOS, Err: fmt.Errorf("postern: %w", err)}, g.drain(signals))
		case s := <-signals:
			if s == syscall.SIGHUP {
				g.reload(ctx)
				continue
			}
			return g.drain(signals)
		}
	}
}

// start builds a gateway and opens its doors. Errors are Exits.
func (a *App) start(ctx context.Context, cfg *config.Config, log *slog.Logger) (*gateway, error) {
	g := &gateway{app: a, log: log, logins: users.NewChecker(), failed: make(chan error, 1)}
	var err error
	if g.tmp, err = stateFolders(cfg); err != nil {
		return nil, &Exit{Code: ExitCannotWrite, Err: fmt.Errorf("postern: %w", err)}
	}
	if g.held, err = openQuarantine(cfg); err != nil {
		return nil, err
	}
	if g.ledger, err = openLedger(cfg, log); err != nil {
		return nil, err
	}
	g.metrics = metrics.New(metrics.Options{Version: Version, Revision: Revision, Labels: labels(cfg)})
	g.metrics.Quarantine(g.held.Usage)
	g.metrics.Ledger(g.ledger.Usage)
	g.metrics.StateDirectory(cfg.State.Directory)
	g.resolvers.observer = g.metrics
	g.senders = senders.New(log)
	g.metrics.BigSenders(g.senders.Usage)
	if err := g.install(cfg); err != nil {
		g.closeLedger()
		return nil, &Exit{Code: ExitConfig, Err: err}
	}
	if err := g.open(ctx, cfg); err != nil {
		g.close()
		return nil, &Exit{Code: ExitOS, Err: fmt.Errorf("postern: %w", err)}
	}
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	g.stop = stop
	g.background.Go(func() { g.sweep(background) })
	g.background.Go(func() { g.watchCertificates(background) })
	for _, l := range g.listeners {
		g.serve(l)
	}
	g.ready.Store(true)
	notify("READY=1")
	log.Info("ready", "version", Version, "hostname", cfg.Hostname, "config", a.o.Config, "state", cfg.State.Directory)
	return g, nil
}

// install makes everything that a configuration describes but the doors, and then, all at once, puts it in
// the place of what was there.
func (g *gateway) install(cfg *config.Config) error {
	p, err := g.app.prepare(cfg, &g.relays, g.log, g.metrics.FilterRun, hooks(g.metrics, g.log, g.privacy), &g.resolvers, g.ledger)
	if err != nil {
		return err
	}
	known := labels(cfg)
	known.Lists = p.judge.lists
	g.metrics.Configured(known)
	g.tls.use(p.certs)
	g.metrics.Certificates(g.tls.states())
	g.users = p.users
	g.cfg.Store(cfg)
	g.current.Store(&edge.Gateway{
		Hostname: cfg.Hostname, Node: cfg.Node, Postmaster: cfg.Postmaster,
		AuthservID: cfg.AuthRes.ID, KeepResults: cfg.AuthRes.Keep,
		SoftBounce: cfg.SoftBounce, Observe: cfg.Observe,
		Plan: p.judge.base, Policy: p.judge.policies[config.DefaultPolicy].policy, Policies: newPolicies(cfg, p.judge),
		Router: p.table, Relays: p.relays, Recipients: p.recipients,
		ExemptRecipients: exemptRecipients(cfg), ExemptNetworks: cfg.ExemptNetworks, Big: g.senders.Of,
		Signer:     p.signer,
		Quarantine: keeper{store: g.held, node: cfg.Node}, TempDir: g.tmp, State: g.ledger,
		Log: g.log, Privacy: privacy(cfg.Log.Privacy), Metrics: g.metrics,
	})
	g.senders.Configure(p.resolver, cfg.BigSenders)
	if old := p.adopt(); len(old) > 0 {
		time.AfterFunc(closeRelaysAfter, func() { closeAll(old) })
	}
	return nil
}

func closeAll(all []closer) {
	for _, c := range all {
		c.Close()
	}
}

// privacy is how much of addresses the log may show at the moment.
func (g *gateway) privacy() edge.Privacy {
	if cfg := g.cfg.Load(); cfg != nil {
		return privacy(cfg.Log.Privacy)
	}
	return edge.PrivacyHash // nothing is known yet
}

func privacy(word string) edge.Privacy {
	switch word {
	case "domain":
		return edge.PrivacyDomain
	case "hash":
		return edge.PrivacyHash
	}
	return edge.PrivacyFull
}

// open binds every address, so that a gateway stands whole or not at all.
func (g *gateway) open(ctx context.Context, cfg *config.Config) error {
	opened, err := g.bind(ctx, cfg)
	g.listeners = opened
	if err != nil {
		return err
	}
	if cfg.Metrics.Address != "" {
		w, err := openWeb(ctx, cfg.Metrics.Address, g)
		if err != nil {
			return fmt.Errorf("metrics: %w", err)
		}
		g.web = w
	}
	return nil
}

// bind gives a listener for each of the configuration's: the one that has its address already, else a new one,
// which is bound and not yet served.
func (g *gateway) bind(ctx context.Context, cfg *config.Config) ([]*listener, error) {
	var lc net.ListenConfig
	var all []*listener
	for _, l := range cfg.Listeners {
		if i := slices.IndexFunc(g.listeners, func(x *listener) bool { return x.cfg.Address == l.Address }); i >= 0 {
			if slices.Contains(all, g.listeners[i]) {
				return all, cfg.Errorf("listeners."+l.Name+".address", "%s is the address of another listener", l.Address)
			}
			all = append(all, g.listeners[i])
			continue
		}
		n, err := lc.Listen(ctx, "tcp", l.Address)
		if err != nil {
			return all, fmt.Errorf("listener %s: %w (an address that overlaps one in use is taken by a restart only)", l.Name, err)
		}
		all = append(all, &listener{cfg: l, server: edge.NewServer(g.listenerConfig(l), g.current.Load), net: n})
	}
	return all, nil
}

// listenerConfig is what the door is told; its certificate is the one of the moment.
func (g *gateway) listenerConfig(l config.Listener) edge.ListenerConfig {
	c := listenerConfig(l)
	if door := g.tls.of(l.Name); door != nil && l.TLS != nil {
		c.TLS = door.Config
	}
	if l.Relay != nil && g.users[l.Relay.Users] != nil {
		c.Relay.Users, c.Relay.Checker = g.users[l.Relay.Users], g.logins
	}
	return c
}

// serve lets a listener take connections.
func (g *gateway) serve(l *listener) {
	name := l.cfg.Name // a reload may change it
	g.log.Info("listening", "listener", name, "address", l.net.Addr().String())
	g.background.Go(func() {
		if err := l.server.Serve(l.net); err != nil && !errors.Is(err, net.ErrClosed) {
			g.log.Error("listener ended", "listener", name, "error", err)
			g.ready.Store(false)
			select {
			case g.failed <- fmt.Errorf("listener %s: %w", name, err):
			default: // one failure ends the gateway
			}
		}
	})
}

// reload checks the configuration anew and swaps it in. What is wrong with it is told, and changes nothing.
func (g *gateway) reload(ctx context.Context) {
	notify("RELOADING=1")
	defer notify("READY=1")
	cfg, err := g.app.load()
	if err == nil {
		err = g.swap(ctx, cfg)
	}
	g.metrics.Reloaded(err == nil)
	if err != nil {
		g.log.Error("configuration not taken: the old one is in force", "config", g.app.o.Config,
			"error", g.privacy().Mask(err.Error()))
		return
	}
	g.log.Info("configuration taken", "config", g.app.o.Config)
}

// swap puts a configuration in the place of the one in force, whole or not at all.
func (g *gateway) swap(ctx context.Context, cfg *config.Config) error {
	if err := g.unchangeable(cfg); err != nil {
		return err
	}
	old := g.listeners
	all, err := g.bind(ctx, cfg)
	if err == nil {
		err = g.install(cfg)
	}
	if err != nil {
		for _, l := range all {
			if !slices.Contains(old, l) {
				_ = l.net.Close() // nobody has been let in
			}
		}
		return err
	}
	g.listeners = all
	g.held.Bound(cfg.Quarantine.Keep, cfg.Quarantine.Size)
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
	for _, l := range old {
		if !slices.Contains(all, l) {
			g.log.Info("listener closed", "listener", l.cfg.Name, "address", l.net.Addr().String())
			g.leaving = append(g.leaving, l)
			g.background.Go(func() { g.drainOne(context.WithoutCancel(ctx), l) })
		}
	}
	return nil
}

// drainOne lets a listener's transactions end, and closes it.
func (g *gateway) drainOne(ctx context.Context, l *listener) {
	ctx, cancel := context.WithTimeout(ctx, drainTime)
	defer cancel()
	if err := l.server.Drain(ctx); err != nil {
		g.log.Warn("listener did not drain in time", "listener", l.cfg.Name, "error", err)
	}
	_ = l.server.Close()
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

// drain takes no new mail, lets begun transactions end, and ends at once at a further signal.
func (g *gateway) drain(signals <-chan os.Signal) error {
	notify("STOPPING=1")
	g.ready.Store(false)
	g.log.Info("draining", "limit", drainTime.String())
	ctx, cancel := context.WithTimeout(context.Background(), drainTime)
	defer cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		var all sync.WaitGroup
		for _, l := range slices.Concat(g.listeners, g.leaving) {
			all.Go(func() { g.drainOne(ctx, l) })
		}
		all.Wait()
	}()
	for {
		select {
		case <-done:
			g.log.Info("stopped")
			return nil
		case s := <-signals:
			if s != syscall.SIGHUP {
				g.log.Warn("stopped at once")
				cancel()
				return nil
			}
		}
	}
}

// close ends what is left. Begun transactions that were not drained are cut off without a reply, so that their
// senders come again.
func (g *gateway) close() {
	g.ready.Store(false)
	for _, l := range slices.Concat(g.listeners, g.leaving) {
		_ = l.server.Close()
		_ = l.net.Close()
	}
	if g.stop != nil {
		g.stop()
	}
	if g.web != nil {
		g.web.close()
	}
	g.senders.Close()
	g.background.Wait()
	g.closeLedger()
	g.relays.mu.Lock()
	defer g.relays.mu.Unlock()
	for _, k := range g.relays.known {
		if c, ok := k.relay.(closer); ok {
			c.Close()
		}
	}
}

// sweep removes quarantined mail that is too old, from time to time.
func (g *gateway) sweep(ctx context.Context) {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		if n, err := g.held.Sweep(time.Now()); err != nil {
			g.log.Error("quarantine can't be swept", "error", err)
		} else if n > 0 {
			g.log.Info("quarantine swept", "removed", n)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// openQuarantine opens the store of held mail below the state directory.
func openQuarantine(cfg *config.Config) (*quarantine.Store, error) {
	s, err := quarantine.Open(quarantineDir(cfg), quarantine.Options{Keep: cfg.Quarantine.Keep, Size: cfg.Quarantine.Size})
	if err != nil {
		code := ExitCannotWrite
		if errors.Is(err, quarantine.ErrVersion) {
			code = ExitConfig
		}
		return nil, &Exit{Code: code, Err: fmt.Errorf("postern: %w", err)}
	}
	return s, nil
}

func quarantineDir(cfg *config.Config) string {
	return filepath.Join(cfg.State.Directory, "quarantine")
}

// keeper puts what the edge holds into the quarantine's form.
type keeper struct {
	store *quarantine.Store
	node  string
}

// Keep implements edge.Quarantine.
func (k keeper) Keep(ctx context.Context, h edge.Held, content *mail.Blob) (id string, err error) {
	id, err = k.store.Keep(ctx, entry(h, k.node), content)
	if errors.Is(err, quarantine.ErrFull) {
		return "", fmt.Errorf("%w: %w", edge.ErrFull, err)
	}
	return id, err
}

// Drop implements edge.Quarantine.
func (k keeper) Drop(_ context.Context, id string) error { return k.store.Remove(id) }
