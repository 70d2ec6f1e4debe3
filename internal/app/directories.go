package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/postern-mail/postern/internal/config"
	"github.com/postern-mail/postern/internal/directory"
	"github.com/postern-mail/postern/internal/edge"
	"github.com/postern-mail/postern/internal/metrics"
	"github.com/postern-mail/postern/internal/store"
)

// directories keeps what was read of directories from one configuration to the next. Routes that ask the same of the same servers
// share one source.
type directories struct {
	show func() edge.Privacy // how much of addresses the log may show at the moment

	mu      sync.Mutex
	known   map[string]knownDirectory    // by digest
	routes  map[string]*directory.Source // of the configuration in force, by the name of the route
	running func(*directory.Source) context.CancelFunc
}

type knownDirectory struct {
	source *directory.Source
	stop   context.CancelFunc // nil: it does not run yet
}

// plannedDirectory is one that a configuration names.
type plannedDirectory struct {
	name     string // of the first route that names it
	settings directory.Settings
}

// directories gives the sources of recipients that ask directories; nil of nil.
func (r *relays) directories() *directories {
	if r == nil {
		return nil
	}
	return &r.asked
}

// snapshots is where what was read of directories lies.
func snapshots(cfg *config.Config) string {
	return filepath.Join(cfg.State.Directory, "recipients")
}

// planDirectories gives the directories that a configuration names, by their digests, and which of them each route asks.
func planDirectories(cfg *config.Config) (all map[string]plannedDirectory, routes map[string]string, err error) {
	all, routes = map[string]plannedDirectory{}, map[string]string{}
	apart := directoriesApart(cfg)
	for i := range cfg.Routes {
		r := &cfg.Routes[i]
		if r.Recipients.Verify != "ldap" {
			continue
		}
		s, err := r.Recipients.Directory()
		s.Apart = apart[s.Digest()]
		if err != nil {
			return nil, nil, config.Errors{cfg.Errorf(fmt.Sprintf("routes[%d].recipients.bind.password_file", i), "%s", err)}
		}
		digest := s.Digest()
		if p, ok := all[digest]; ok && !p.settings.Equal(&s) {
			return nil, nil, config.Errors{cfg.Errorf(fmt.Sprintf("routes[%d].recipients", i),
				"the route %s asks the same of the same servers, but for bind, tls or how often: write both alike", p.name)}
		} else if !ok {
			all[digest] = plannedDirectory{routeName(*r), s}
		}
		routes[routeName(*r)] = digest
	}
	return all, routes, nil
}

// directoriesApart gives the questions that are put to different servers, by their digests: these have a list each.
func directoriesApart(cfg *config.Config) map[string]bool {
	apart, of := map[string]bool{}, map[string][]string{}
	for i := range cfg.Routes {
		if r := &cfg.Routes[i]; r.Recipients.Verify == "ldap" {
			s, _ := r.Recipients.Directory() // the password does not matter here
			question := s.Digest()
			if before, ok := of[question]; ok && !slices.Equal(before, s.URLs) {
				apart[question] = true
			}
			of[question] = s.URLs
		}
	}
	return apart
}

// forConfig gives the sources of a configuration by the names of its routes: those that are known go on, after adopt, with what
// they have. No directory is asked here. Without known ones (d is nil) it is only looked whether the configuration can be
// meant.
func (d *directories) forConfig(cfg *config.Config, log *slog.Logger) (all map[string]*directory.Source, adopt func(), err error) {
	planned, routes, err := planDirectories(cfg)
	if err != nil || d == nil {
		return nil, func() {}, err
	}
	d.mu.Lock()
	known := d.known
	d.mu.Unlock()
	next := map[string]knownDirectory{}
	for digest, p := range planned {
		k, ok := known[digest]
		if !ok {
			k.source = openDirectory(cfg, p, log, d.show)
		}
		next[digest] = k
	}
	all = map[string]*directory.Source{}
	for route, digest := range routes {
		all[route] = next[digest].source
	}
	return all, func() { d.adopt(next, planned, all, log) }, nil
}

func openDirectory(cfg *config.Config, p plannedDirectory, log *slog.Logger, show func() edge.Privacy) *directory.Source {
	var d *directory.Source
	tell := func(err error) { tellOfDirectory(log, show, d, err) }
	d = directory.Open("ldap:"+p.name, store.OS, snapshots(cfg), p.settings, directory.Hooks{
		Report: tell,
		Taken: func(t directory.Taken) {
			log.Info("recipients read from the directory", "source", show().Mask(d.Name()), "server", t.Server, "mailboxes", t.Mailboxes,
				"skipped", t.Skipped, "ms", t.Took.Milliseconds())
			if t.Others != "" {
				log.Warn("the directory refers to another one for a part of what is below base, which was not read: name a global catalog (port 3268, "+
					"or 3269 with ldaps), or give each domain a route", "source", show().Mask(d.Name()), "server", t.Server, "reference", show().Mask(t.Others))
			}
		},
	})
	return d
}

// adopt puts these sources in the place of those that there were, and lets them read.
func (d *directories) adopt(next map[string]knownDirectory, planned map[string]plannedDirectory, routes map[string]*directory.Source, log *slog.Logger) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for route, source := range routes {
		if before := d.routes[route]; before != nil && before != source {
			source.Follow(before)
		}
	}
	for digest, k := range next {
		if k.stop != nil {
			k.source.Configure(planned[digest].settings)
			k.source.Wake() // whoever reloads wants what is there now
			continue
		}
		if err := k.source.Err(); err != nil && !errors.Is(err, directory.ErrNothing) {
			tellOfDirectory(log, d.show, k.source, err)
		}
		if d.running != nil {
			k.stop = d.running(k.source)
			next[digest] = k
		}
	}
	for digest, k := range d.known {
		if _, stays := next[digest]; !stays && k.stop != nil {
			k.stop()
		}
	}
	d.known, d.routes = next, routes
}

// run lets the sources read, those of later configurations too, until ctx is done.
func (d *directories) run(ctx context.Context, background *sync.WaitGroup) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.running = func(s *directory.Source) context.CancelFunc {
		ctx, cancel := context.WithCancel(ctx)
		background.Go(func() {
			defer cancel()
			s.Run(ctx)
		})
		return cancel
	}
	for digest, k := range d.known {
		k.stop = d.running(k.source)
		d.known[digest] = k
	}
}

// tellOfDirectory logs that a directory can't be read, or what it says can't be used; err is nil when all is well again.
func tellOfDirectory(log *slog.Logger, show func() edge.Privacy, d *directory.Source, err error) {
	source := show().Mask(d.Name())
	cause := ""
	if err != nil {
		cause = show().Mask(err.Error())
	}
	_, _, known := d.State()
	switch {
	case err == nil:
		log.Info("recipients are read from the directory again", "source", source)
	case errors.Is(err, directory.ErrNotSaved):
		log.Error("recipients from the directory can't be saved: after a start they would be missing", "source", source, "error", cause)
	case known:
		log.Error("recipients can't be taken from the directory: what was read before is in force", "source", source, "error", cause)
	default:
		log.Error("recipients can't be taken from the directory, and none are known: mail for its routes is put off", "source", source, "error", cause)
	}
}

// states gives the sources in use, for the metrics.
func (d *directories) states() (all []metrics.RecipientList) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, digest := range slices.Sorted(maps.Keys(d.known)) {
		s := d.known[digest].source
		entries, at, ok := s.State()
		l := metrics.RecipientList{Source: s.Name(), Entries: entries, Taken: ok && s.Err() == nil}
		if ok {
			l.Age = max(time.Since(at), time.Nanosecond)
		}
		all = append(all, l)
	}
	return all
}

// snapshotsOnly gives sources that know what is on the disk, and never ask a directory, by the names of their routes.
func snapshotsOnly(cfg *config.Config, log *slog.Logger) map[string]*directory.Source {
	all, apart := map[string]*directory.Source{}, directoriesApart(cfg)
	for i := range cfg.Routes {
		if r := &cfg.Routes[i]; r.Recipients.Verify == "ldap" {
			s, _ := r.Recipients.Directory() // whoever asks need not be able to read the password
			s.Apart = apart[s.Digest()]
			all[routeName(*r)] = openDirectory(cfg, plannedDirectory{routeName(*r), s}, log, func() edge.Privacy { return edge.PrivacyFull })
		}
	}
	return all
}
