package app

import (
	"github.com/postern-mail/postern/internal/config"
	"github.com/postern-mail/postern/internal/directory"
	"github.com/postern-mail/postern/mail"
	"github.com/postern-mail/postern/upstream"
)

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
			from, _ := mail.ParseAddress(r.Recipients.Sender) // "", or checked with the configuration
			all[routeName(r)] = upstream.Ask{Pool: pool, Positive: r.Recipients.Cache.Positive, Negative: r.Recipients.Cache.Negative, From: from}
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
