package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/postern-mail/postern/internal/config"
	"github.com/postern-mail/postern/internal/store"
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
	tried := map[asking]time.Time{} // those that were answered
	for {
		g.tryRoutes(ctx, tried)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// asking is what is tried: after a reload a route of the same name may lead to another server.
type asking struct {
	route, domain string
	pool          *upstream.Pool
}

func (g *gateway) tryRoutes(ctx context.Context, tried map[asking]time.Time) {
	var found []trial
	there := map[asking]bool{}
	sources, files := g.current.Load().Recipients, g.relays.patterns.all()
	for _, r := range g.cfg.Load().Routes {
		name, domain := routeName(r), ""
		if all := wholeDomains(r, files); len(all) > 0 {
			domain = all[0]
		}
		ask, ok := sources[name].(upstream.Ask)
		one := asking{name, domain, ask.Pool}
		there[one] = true
		if at, done := tried[one]; !ok || domain == "" || done && time.Since(at) < trialFor || ctx.Err() != nil {
			continue
		}
		all, server, err := ask.AcceptsAny(ctx, domain)
		if err != nil {
			continue // deliveries and their metrics tell of that
		}
		tried[one] = time.Now()
		if !g.acceptsAny(name, ask.Pool, all) {
			continue
		}
		found = append(found, trial{Route: name, Upstream: r.Upstream, Server: server, Domain: domain, Time: tried[one].UTC(), Any: all})
		if all {
			g.log.Warn("the upstream accepts recipients that nobody can have: recipients: callout refuses none there",
				"route", g.privacy().Mask(name), "upstream", r.Upstream)
		}
	}
	maps.DeleteFunc(tried, func(one asking, _ time.Time) bool { return !there[one] })
	if len(found) == 0 {
		return
	}
	if err := saveTrials(store.OS, g.cfg.Load(), found); err != nil {
		g.log.Warn("what was found out about upstreams can't be saved: check will not tell it", "error", err)
	}
}

// acceptsAny takes down what a trial of a route came to, and reports false where a reload has put another pool in the place of that
// which answered: of the new one it says nothing, and may come after what that one said.
func (g *gateway) acceptsAny(route string, answered *upstream.Pool, all bool) bool {
	g.trials.Lock()
	defer g.trials.Unlock()
	if ask, ok := g.current.Load().Recipients[route].(upstream.Ask); !ok || ask.Pool != answered {
		return false
	}
	g.metrics.AcceptsAny(route, all)
	return true
}

// trial is what came of trying a recipient that nobody can have.
type trial struct {
	Route    string    `json:"route"`
	Upstream string    `json:"upstream"`
	Server   string    `json:"server"` // that answered
	Domain   string    `json:"domain"`
	Time     time.Time `json:"time"`
	Any      bool      `json:"accepts_any"`
}

// trials is the file that keeps what the trials came to, for those who check a configuration and ask no server.
type trials struct {
	Version int     `json:"version"`
	Trials  []trial `json:"trials"` // the last one of each route
}

const (
	trialsVersion = 1
	maxTrials     = 1 << 20 // octets
)

func trialsFile(cfg *config.Config) string {
	return filepath.Join(cfg.State.Directory, "callouts.json")
}

// loadTrials reads the file. What is damaged counts for nothing: it is made anew daily.
func loadTrials(fsys store.FS, cfg *config.Config) ([]trial, error) {
	f, err := fsys.OpenFile(trialsFile(cfg), os.O_RDONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // read only
	data, err := io.ReadAll(io.LimitReader(f, maxTrials))
	if err != nil {
		return nil, err
	}
	var t trials
	if json.Unmarshal(data, &t) != nil || t.Version != trialsVersion {
		return nil, nil
	}
	return t.Trials, nil
}

// saveTrials puts what was found in the place of what the file has of the same routes, and drops routes that are no more.
func saveTrials(fsys store.FS, cfg *config.Config, found []trial) error {
	before, _ := loadTrials(fsys, cfg) // what can't be read is made anew
	last := map[string]trial{}
	for _, t := range append(before, found...) {
		last[t.Route] = t
	}
	all := trials{Version: trialsVersion}
	for _, r := range cfg.Routes {
		if t, ok := last[routeName(r)]; ok {
			all.Trials = append(all.Trials, t)
		}
	}
	path := trialsFile(cfg)
	_ = fsys.Remove(path + ".new") // of a write that the power was taken from
	return store.WriteFile(fsys, path+".new", path, 0o600, func(w io.Writer) error {
		enc := json.NewEncoder(w)
		enc.SetIndent("", "  ")
		return enc.Encode(&all)
	})
}

// warnOfTrials tells which upstreams that are asked about recipients have taken one that nobody can have, as a gateway with this
// state directory has found out. None is asked here.
func warnOfTrials(cfg *config.Config, log *slog.Logger) {
	all, err := loadTrials(store.OS, cfg)
	if err != nil && !errors.Is(err, fs.ErrPermission) { // whoever checks need not be who runs it
		log.Warn("what was found out about upstreams can't be read", "error", err)
	}
	for _, t := range all {
		i := slices.IndexFunc(cfg.Routes, func(r config.Route) bool { return routeName(r) == t.Route })
		if i < 0 || !t.Any {
			continue
		}
		r, u := cfg.Routes[i], cfg.Upstream(t.Upstream)
		if r.Upstream != t.Upstream || r.Recipients.Verify != "callout" || u == nil || !slices.Contains(u.Servers.Addresses(), t.Server) {
			continue // it was of another configuration
		}
		log.Warn(fmt.Sprintf("at %s the server %s of the upstream %s took a recipient of %s that nobody can have: recipients: callout refuses none there",
			t.Time.UTC().Format(time.RFC3339), t.Server, t.Upstream, t.Domain), "route", t.Route)
	}
}
