package app

import (
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"

	"github.com/postern-mail/postern/internal/config"
	"github.com/postern-mail/postern/internal/directory"
	"github.com/postern-mail/postern/internal/edge"
	"github.com/postern-mail/postern/internal/metrics"
	"github.com/postern-mail/postern/upstream"
)

// recipientFiles keeps the files of recipients from one configuration to the next: what a changed file is compared with,
// and what serves on where it is not taken, is what the file said before.
type recipientFiles struct {
	show  func() edge.Privacy // how much of addresses the log may show at the moment
	mu    sync.Mutex
	known map[string]*upstream.File // by path
}

// files gives the files of recipients; nil of nil.
func (r *relays) files() *recipientFiles {
	if r == nil {
		return nil
	}
	return &r.lists
}

// forConfig opens the files that a configuration names: those that are known go on, after adopt, with what they have. A
// file that can't be read at all is an error also where it is known: somebody stands by and reads the answer. Without
// known files (r is nil) they are only looked at.
func (r *recipientFiles) forConfig(cfg *config.Config, log *slog.Logger) (all map[string]*upstream.File, adopt func(), err error) {
	show := func() edge.Privacy { return privacy(cfg.Log.Privacy) }
	known := map[string]*upstream.File{}
	if r != nil {
		r.mu.Lock()
		known = r.known
		r.mu.Unlock()
		show = r.show
	}
	all = map[string]*upstream.File{}
	for i, c := range cfg.Routes {
		path := c.Recipients.File
		if c.Recipients.Verify != "file" || all[path] != nil {
			continue
		}
		f, err := upstream.NewFile(path, func(err error) { tellOfRecipients(log, show, path, err) })
		if err != nil {
			return nil, nil, config.Errors{cfg.Errorf(fmt.Sprintf("routes[%d].recipients", i), "%s", err)}
		}
		if old := known[path]; old != nil {
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
				tellOfRecipients(log, show, path, err) // whoever reloads is told again
			}
		}
	}, nil
}

// tellOfRecipients logs that a file of recipients can't be used, or is in use again where err is nil.
func tellOfRecipients(log *slog.Logger, show func() edge.Privacy, path string, err error) {
	if err != nil {
		log.Error("recipients file can't be used: the last good one is in force", "file", path, "error", show().Mask(err.Error()))
	} else {
		log.Info("recipients file taken anew", "file", path)
	}
}

// states gives the files in use, for the metrics. It looks whether they have changed, all at once: a disk may hang.
func (r *recipientFiles) states() []metrics.RecipientList {
	r.mu.Lock()
	files := r.known
	r.mu.Unlock()
	all := make([]metrics.RecipientList, len(files))
	var looks sync.WaitGroup
	for i, path := range slices.Sorted(maps.Keys(files)) {
		looks.Go(func() {
			f := files[path]
			all[i] = metrics.RecipientList{Source: path, Entries: f.Entries(), Taken: f.Err() == nil}
		})
	}
	looks.Wait()
	return all
}

// newRecipients gives the source of each route that has one. Without relays there are none that ask a server.
func newRecipients(cfg *config.Config, files map[string]*upstream.File, asked map[string]*directory.Source, relays map[string]upstream.Relay) map[string]upstream.Recipients {
	all := map[string]upstream.Recipients{}
	for _, r := range cfg.Routes {
		switch pool, ok := relays[r.Upstream].(*upstream.Pool); {
		case r.Recipients.Verify == "file":
			all[routeName(r)] = widened(r, files[r.Recipients.File])
		case r.Recipients.Verify == "ldap" && asked[routeName(r)] != nil:
			all[routeName(r)] = widened(r, asked[routeName(r)])
		case r.Recipients.Verify == "callout" && ok:
			all[routeName(r)] = upstream.Ask{Pool: pool, Positive: r.Recipients.Cache.Positive, Negative: r.Recipients.Cache.Negative}
		}
	}
	return all
}

// widened gives the source of a route with the mailboxes that its configuration adds.
func widened(r config.Route, source upstream.Recipients) upstream.Recipients {
	w := r.Recipients
	if w.RecipientDelimiter == "" && len(w.DomainAliases) == 0 && len(w.CatchAll) == 0 {
		return source
	}
	return upstream.Widened{Recipients: source, Delimiters: w.RecipientDelimiter, Aliases: w.DomainAliases, CatchAll: w.CatchAll}
}
