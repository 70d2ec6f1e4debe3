package app

import (
	"log/slog"
	"slices"
	"strings"

	"github.com/postern-mail/postern/internal/config"
	"github.com/postern-mail/postern/internal/edge"
	"github.com/postern-mail/postern/internal/users"
	"github.com/postern-mail/postern/upstream"
)

// relayRight is what the door is told of who may relay; nil is nobody.
func relayRight(r *config.Relay) edge.Relay {
	if r == nil {
		return edge.Relay{}
	}
	right := edge.Relay{Networks: r.Networks, RequireTLS: r.RequireTLS}
	for _, s := range r.Certificates {
		if c, err := users.ParseCertificate(s); err == nil { // checked with the configuration
			right.Certificates = append(right.Certificates, c)
		}
	}
	return right
}

// partners says whose mail must come within TLS.
func partners(cfg *config.Config) []edge.Partner {
	all := make([]edge.Partner, len(cfg.RequireTLSFrom))
	for i, p := range cfg.RequireTLSFrom {
		all[i].Network = p.Network
		all[i].Domain, all[i].Below = strings.CutPrefix(p.Domain, "*.")
		if c, err := users.ParseCertificate(p.Certificate); err == nil { // checked with the configuration
			all[i].Certificate = &c
		}
	}
	return all
}

// secureDomains says whose mail leaves within TLS only.
func secureDomains(cfg *config.Config) *upstream.SecureDomains {
	var all []upstream.SecureDomain
	for _, d := range cfg.RequireTLSTo {
		all = append(all, upstream.SecureDomain(d))
	}
	return upstream.NewSecureDomains(all)
}

// openUsers opens the files of users that listeners name, each once.
func openUsers(cfg *config.Config, log *slog.Logger) (map[string]*users.File, error) {
	all := map[string]*users.File{}
	for i := range cfg.Listeners {
		l := &cfg.Listeners[i]
		if l.Relay == nil || l.Relay.Users == "" || all[l.Relay.Users] != nil {
			continue
		}
		path := l.Relay.Users
		f, err := users.Open(path, func(err error) {
			if err != nil {
				log.Error("users file can't be used: the last good one is in force", "file", path,
					"error", privacy(cfg.Log.Privacy).Mask(err.Error()))
			} else {
				log.Info("users file taken anew", "file", path)
			}
		})
		if err != nil {
			return nil, config.Errors{cfg.Errorf("listeners."+l.Name+".relay.users", "%s", err)}
		}
		all[path] = f
	}
	return all, nil
}

// warnOfUsers tells what of the files of users should be better.
func warnOfUsers(cfg *config.Config, all map[string]*users.File, log *slog.Logger) {
	limits := slices.ContainsFunc(cfg.Filters, func(f *config.Filter) bool { return f.Kind == "ratelimit" })
	for path, f := range all {
		if !limits && slices.ContainsFunc(f.List().All(), func(u *users.User) bool { return len(u.Rates) > 0 }) {
			log.Warn("users have a rate= of their own, and it is without effect: the filter ratelimit does not run", "file", path)
		}
		for _, w := range users.Weaknesses(path, f.List()) {
			log.Warn("users: "+w, "file", path)
		}
	}
}

// warnOfRelay tells of rights to relay that are wider than most sites need, that lead nowhere, or that meet what this
// version does not do.
func warnOfRelay(cfg *config.Config, log *slog.Logger) {
	var listeners []string
	for i := range cfg.Listeners {
		l := &cfg.Listeners[i]
		if l.Relay == nil {
			continue
		}
		listeners = append(listeners, l.Name)
		for _, n := range l.Relay.Wide() {
			log.Warn("all hosts of a large public network may relay: name the hosts, or use users or certificates", "listener", l.Name, "network", n.String())
		}
		if l.NoAuth() {
			log.Warn("AUTH is never offered: relay.require_tls holds, and the listener has no tls", "listener", l.Name)
		}
		if r := l.Relay; r.Users != "" && !r.RequireTLS {
			log.Warn("passwords may cross the network in clear: relay.require_tls is false", "listener", l.Name)
		}
	}
	if len(listeners) == 0 {
		return
	}
	everywhere := false
	for _, r := range cfg.Routes {
		everywhere = everywhere || slices.Contains(r.To, "*")
	}
	if !everywhere {
		log.Warn(`clients may relay, and no route takes "*": they reach our own domains only`, "listener", strings.Join(listeners, ", "))
	}
}
