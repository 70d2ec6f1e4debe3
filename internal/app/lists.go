package app

import (
	"fmt"
	"iter"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/postern-mail/postern/internal/config"
	"github.com/postern-mail/postern/internal/edge"
	"github.com/postern-mail/postern/internal/metrics"
	"github.com/postern-mail/postern/upstream"
)

// listFile is a file of entries that is read again when it changes.
type listFile interface {
	comparable
	Err() error
	Renew() error
	Entries() int
}

// listKind is what the files of one kind are for.
type listKind[F listFile] struct {
	named func(*config.Config) iter.Seq2[string, string] // the places in a configuration that name them, and their paths
	open  func(path string, report func(error)) (F, error)
	kept  func(cfg *config.Config, log *slog.Logger, path string, report func(error)) (F, error) // to be used, where it outlives the process; nil: open
	tell  func(log *slog.Logger, path, cause string)                                             // in the log, that one can't be used, or is in use again where the cause is ""
	label string                                                                                 // before their paths in the metrics
}

var recipientLists = listKind[*upstream.File]{
	named: func(cfg *config.Config) iter.Seq2[string, string] {
		return func(yield func(string, string) bool) {
			for i, c := range cfg.Routes {
				if c.Recipients.Verify == "file" && !yield(fmt.Sprintf("routes[%d].recipients", i), c.Recipients.File) {
					return
				}
			}
		}
	},
	open: upstream.NewFile,
	kept: func(cfg *config.Config, log *slog.Logger, path string, report func(error)) (*upstream.File, error) {
		return upstream.NewKeptFile(path, keptRecipients{file: path, path: keptPath(cfg, path), log: log}, report)
	},
	tell: func(log *slog.Logger, path, cause string) {
		if cause != "" {
			log.Error("recipients file can't be used: the last good one is in force", "file", path, "error", cause)
		} else {
			log.Info("recipients file taken anew", "file", path)
		}
	},
}

var patternLists = listKind[*upstream.PatternFile]{
	named: (*config.Config).PatternFiles,
	open:  upstream.NewPatternFile,
	label: "route:", // a file may be both a list of recipients and of where they go
	tell: func(log *slog.Logger, path, cause string) {
		if cause != "" {
			log.Error("file of a route can't be used: the last good one is in force", "file", path, "error", cause)
		} else {
			log.Info("file of a route taken anew", "file", path)
		}
	},
}

// listFiles keeps the files of a kind from one configuration to the next: what a changed file is compared with, and what
// serves on where it is not taken, is what the file said before.
type listFiles[F listFile] struct {
	show  func() edge.Privacy // how much of addresses the log may show at the moment
	mu    sync.Mutex
	known map[string]F // by path
}

// openLists opens the files that a configuration names: those that r knows go on, after adopt, with what they have. A
// file that can't be read at all is an error also where it is known: somebody stands by and reads the answer. Where r is nil
// they are only looked at.
func openLists[F listFile](r *listFiles[F], kind listKind[F], cfg *config.Config, log *slog.Logger) (all map[string]F, adopt func(), err error) {
	show := func() edge.Privacy { return privacy(cfg.Log.Privacy) }
	var known map[string]F
	if r != nil {
		known, show = r.all(), r.show
	}
	tell := func(path string, err error) {
		cause := ""
		if err != nil {
			cause = show().Mask(err.Error())
		}
		kind.tell(log, path, cause)
	}
	all = map[string]F{}
	for place, path := range kind.named(cfg) {
		if _, ok := all[path]; ok {
			continue
		}
		var f F
		var err error
		report := func(err error) { tell(path, err) }
		old, goesOn := known[path]
		if r != nil && !goesOn && kind.kept != nil {
			f, err = kind.kept(cfg, log, path, report)
		} else {
			f, err = kind.open(path, report)
		}
		if err != nil {
			return nil, nil, config.Errors{cfg.Errorf(place, "%s", err)}
		}
		if goesOn {
			f = old
		}
		all[path] = f
	}
	return all, func() {
		r.mu.Lock()
		r.known = all
		r.mu.Unlock()
		for path, f := range all {
			if known[path] != f {
				continue
			}
			before := f.Err()
			if err := f.Renew(); err != nil && before != nil && err.Error() == before.Error() {
				tell(path, err) // whoever reloads is told again
			}
		}
	}, nil
}

// all gives the files in use, by their paths.
func (r *listFiles[F]) all() map[string]F {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.known
}

// states gives the files in use, for the metrics. It looks whether they have changed, all at once: a disk may hang.
func (r *listFiles[F]) states(kind listKind[F]) []metrics.RecipientList {
	files := r.all()
	all := make([]metrics.RecipientList, len(files))
	var looks sync.WaitGroup
	for i, path := range slices.Sorted(maps.Keys(files)) {
		looks.Go(func() {
			f := files[path]
			all[i] = metrics.RecipientList{Source: kind.label + path, Entries: f.Entries(), Taken: f.Err() == nil}
		})
	}
	looks.Wait()
	return all
}

// recipientFiles gives the files of recipients; nil of nil.
func (r *relays) recipientFiles() *listFiles[*upstream.File] {
	if r == nil {
		return nil
	}
	return &r.lists
}

// patternFiles gives the files of routes; nil of nil.
func (r *relays) patternFiles() *listFiles[*upstream.PatternFile] {
	if r == nil {
		return nil
	}
	return &r.patterns
}

// listStates gives the lists that are known, for the metrics.
func (r *relays) listStates() []metrics.RecipientList {
	return slices.Concat(r.lists.states(recipientLists), r.patterns.states(patternLists), r.asked.states())
}

// maxWholeDomains is how many domains of files are looked at one by one.
const maxWholeDomains = 200

// wholeDomains gives the domains all of whose mailboxes a route takes; of each of the files at most so many as it is of use to
// look at one by one.
func wholeDomains(r config.Route, files map[string]*upstream.PatternFile) (all []string) {
	for _, p := range r.To {
		switch {
		case config.IsPath(p):
			if f := files[p]; f != nil {
				all = append(all, f.Domains(maxWholeDomains)...)
			}
		case !strings.ContainsAny(p, "@*"):
			all = append(all, p)
		}
	}
	return all
}
