package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/postern-mail/postern/internal/config"
	"github.com/postern-mail/postern/internal/control"
	"github.com/postern-mail/postern/internal/edge"
	"github.com/postern-mail/postern/internal/ledger"
	"github.com/postern-mail/postern/internal/limits"
	"github.com/postern-mail/postern/internal/metrics"
	"github.com/postern-mail/postern/internal/quarantine"
	"github.com/postern-mail/postern/internal/senders"
	"github.com/postern-mail/postern/internal/spool"
	"github.com/postern-mail/postern/internal/systemd"
	"github.com/postern-mail/postern/internal/users"
	"github.com/postern-mail/postern/mail"
	"github.com/postern-mail/postern/upstream/queue"
)

// sweepEvery is the pause between two looks for quarantined mail that is too old.
const sweepEvery = 10 * time.Minute

// gateway is a running gateway.
type gateway struct {
	app     *App
	log     *slog.Logger
	metrics *metrics.Metrics
	held    *quarantine.Store
	spool   *spool.Store
	queue   *queue.Queue
	ledger  *ledger.Ledger
	learner keptLearner
	relays  relays
	tmp     string

	resolvers resolvers
	senders   *senders.Table
	load      *limits.Load
	content   *limits.Budget

	cfg       atomic.Pointer[config.Config]
	current   atomic.Pointer[edge.Gateway]
	tls       tlsDoors
	users     map[string]*users.File // by path; changed by install only
	logins    *users.Checker
	given     []systemd.Socket // by the service manager; each is one of a listener's
	doors     sync.Mutex       // held to change listeners and leaving, and to read them but in the goroutine of Serve
	listeners []*listener
	leaving   []*listener // closed by reloads; their last transactions may go on
	level     *slog.LevelVar
	web       *web
	control   *control.Server // nil where there can be none
	since     time.Time
	ready     atomic.Bool
	taken     atomic.Pointer[time.Time] // when the configuration in force was read
	refused   atomic.Pointer[time.Time] // when one was read after it that could not be taken; nil: none was

	failed     chan error // a door that closed by itself
	background sync.WaitGroup
	stop       context.CancelFunc // ends what runs in the background
	trials     sync.Mutex         // held to take down what one came to, if that is still asked
}

// Serve runs the gateway until it is told to stop: what comes from reloads lets it read its configuration anew; the first
// of ends drains it, and a second one ends it at once. They are two channels, so that no storm of the one hides the other.
func (a *App) Serve(ctx context.Context, reloads, ends <-chan os.Signal) error {
	given, err := systemd.Sockets()
	if err != nil {
		return &Exit{Code: ExitConfig, Err: fmt.Errorf("postern: %w", err)}
	}
	cfg, err := a.load()
	if err != nil {
		return err
	}
	level := new(slog.LevelVar)
	out := newLogWriter(a.o.Stdout)
	defer out.Close()
	g, err := a.start(ctx, cfg, newLogger(out, cfg.Log, level), given...)
	if err != nil {
		return err
	}
	defer g.close()
	tendCollector()
	limitMemory(g.log)
	g.level = level
	for {
		select {
		case <-ctx.Done():
			return g.drain(ends)
		case err := <-g.failed:
			// Whoever watches over the service starts it anew; half a gateway would look well.
			return errors.Join(&Exit{Code: ExitOS, Err: fmt.Errorf("postern: %w", err)}, g.drain(ends))
		case <-reloads:
			g.reload(ctx)
		case <-ends:
			return g.drain(ends)
		}
	}
}

// start builds a gateway and opens its doors, those of the given sockets too. Errors are Exits.
func (a *App) start(ctx context.Context, cfg *config.Config, log *slog.Logger, given ...systemd.Socket) (*gateway, error) {
	g := &gateway{app: a, log: log, given: given, logins: users.NewChecker(), since: time.Now(), failed: make(chan error, 1)}
	if _, err := assign(cfg, given); err != nil {
		return nil, &Exit{Code: ExitConfig, Err: err}
	}
	var err error
	if g.tmp, err = stateFolders(cfg); err != nil {
		return nil, &Exit{Code: ExitCannotWrite, Err: fmt.Errorf("postern: %w", err)}
	}
	if g.held, err = openQuarantine(cfg); err != nil {
		return nil, err
	}
	if g.spool, err = openSpool(cfg, func(err error) { log.Error("spool", "error", err) }); err != nil {
		return nil, err
	}
	if g.ledger, err = openLedger(cfg, log); err != nil {
		g.closeSpool()
		return nil, err
	}
	g.metrics = metrics.New(metrics.Options{Version: Version, Revision: Revision, Labels: labels(cfg)})
	if err := g.openLearner(cfg); err != nil {
		g.closeSpool()
		g.closeLedger()
		return nil, err
	}
	g.metrics.Quarantine(g.held.Usage)
	g.metrics.Ledger(g.ledger.Usage)
	g.metrics.StateDirectory(cfg.State.Directory)
	g.metrics.RecipientLists(g.relays.listStates)
	g.relays.state = g.ledger
	g.relays.lists.show = g.privacy
	g.relays.patterns.show = g.privacy
	g.relays.asked.show = g.privacy
	g.resolvers.observer = g.metrics
	g.senders = senders.New(log)
	g.content = limits.NewBudget(cfg.ContentBudget)
	g.load = limits.NewLoad(placesFor(), nil)
	g.metrics.Content(g.content.Used)
	g.metrics.BigSenders(g.senders.Usage)
	if err := g.install(cfg); err != nil {
		g.closeSpool()
		g.closeLedger()
		g.closeLearner()
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
	g.background.Go(func() { g.tryRecipients(background) })
	g.relays.asked.run(background, &g.background)
	for _, l := range g.listeners {
		g.serve(l)
	}
	g.ready.Store(true)
	g.background.Go(func() { g.watch(background) })
	g.tell(systemd.Ready, g.status())
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
	g.app.desk.Unmark(p.marks.bare)
	known := labels(cfg)
	known.Lists = p.judge.lists
	g.metrics.Configured(known)
	g.metrics.Asked(p.judge.asked)
	g.tls.use(p.certs)
	g.metrics.Certificates(g.tls.states())
	g.users = p.users
	g.cfg.Store(cfg)
	g.content.Resize(cfg.ContentBudget)
	g.warnOfPlaces(cfg)
	g.current.Store(&edge.Gateway{
		Hostname: cfg.Hostname, Node: cfg.Node, Postmaster: cfg.Postmaster,
		AuthservID: cfg.AuthRes.ID, KeepResults: cfg.AuthRes.Keep,
		SoftBounce: cfg.SoftBounce, Observe: cfg.Observe,
		Plan: p.judge.base, Policy: p.judge.policies[config.DefaultPolicy].policy, Policies: newPolicies(cfg, p.judge),
		Router: p.table, Relays: p.relays, Recipients: p.recipients,
		Partners: partners(cfg), ExemptRecipients: exemptRecipients(cfg), ExemptNetworks: cfg.ExemptNetworks, Big: g.senders.Of,
		Signer: p.signer,
		Load:   g.load, Content: g.content,
		Quarantine: keeper{store: g.held, node: cfg.Node}, Spool: spooler{g}, TempDir: g.tmp, State: g.ledger,
		Log: g.log, Privacy: privacy(cfg.Log.Privacy), Metrics: g.metrics,
	})
	g.senders.Configure(p.resolver, cfg.BigSenders)
	now := time.Now()
	g.taken.Store(&now)
	g.refused.Store(nil)
	if settings := queueSettings(cfg, p); g.queue == nil {
		g.startQueue(settings)
	} else {
		g.queue.Configure(settings)
	}
	// Transactions that began with a relay which is replaced here still deliver through it, over connections of their own.
	for _, old := range p.adopt() {
		g.background.Go(old.Close)
	}
	return nil
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
