package app

import (
	"fmt"
	"log/slog"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/internal/certs"
	"github.com/postern-mail/postern/internal/config"
	"github.com/postern-mail/postern/internal/dns"
	"github.com/postern-mail/postern/internal/edge"
	"github.com/postern-mail/postern/internal/users"
	"github.com/postern-mail/postern/mail"
	"github.com/postern-mail/postern/pipeline"
	"github.com/postern-mail/postern/upstream"
)

// Check checks the configuration as far as can be told without running it: the file, the files it names, the
// filters and their order, and whether what was learned can be read. What is allowed but odd is told on standard error.
func (a *App) Check() error {
	cfg, err := a.load()
	if err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(a.o.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	// Without relays: those of a maildir would make its folders.
	if _, err := a.prepare(cfg, nil, log, nil, upstream.Hooks{}, nil, nil); err != nil {
		return &Exit{Code: ExitConfig, Err: err}
	}
	if err := learnerReadable(cfg); err != nil {
		return err
	}
	warnOfTrials(cfg, log)
	_, err = fmt.Fprintf(a.o.Stdout, "%s: ok: %d listeners, %d routes, %d upstreams, %d filters, %d policies\n",
		a.o.Config, len(cfg.Listeners), len(cfg.Routes), len(cfg.Upstreams), len(cfg.Filters), len(cfg.Policies))
	return err
}

// prepared is everything that a configuration describes but the doors.
type prepared struct {
	resolver   *dns.Resolver
	table      *upstream.Table
	judge      *judge
	marks      unmarker
	recipients map[string]upstream.Recipients
	certs      map[string]*certs.Set  // by listener; those that have TLS
	signer     edge.Signer            // nil: nothing is signed
	users      map[string]*users.File // by path
	relays     map[string]upstream.Relay
	adopt      func() []closer // makes these relays and this resolver the known ones, and gives the relays they replace
}

// prepare makes what a configuration describes, the relays only where r is not nil, the resolver anew where d is, without
// a memory where state is; it changes nothing that is running. Errors are config.Errors or *config.Error.
func (a *App) prepare(cfg *config.Config, r *relays, log *slog.Logger, hook pipeline.Hook, hooks upstream.Hooks, d *resolvers, state filter.State) (*prepared, error) {
	if err := cfg.CheckFiles(); err != nil {
		return nil, err
	}
	p := &prepared{}
	var err error
	patterns, adoptPatterns, err := openLists(r.patternFiles(), patternLists, cfg, log)
	if err != nil {
		return nil, err
	}
	if p.table, err = tableWith(cfg, patterns); err != nil {
		return nil, err
	}
	resolver, adopt, err := d.forConfig(cfg)
	if err != nil {
		return nil, err
	}
	p.resolver = resolver
	p.judge, err = newJudge(cfg, surroundings{factories: a.factories, ours: p.table.Ours, dns: resolver, log: log, hook: hook, state: state})
	if err != nil {
		return nil, err
	}
	if p.marks, err = a.unmarker(cfg); err != nil {
		return nil, err
	}
	files, adoptFiles, err := openLists(r.recipientFiles(), recipientLists, cfg, log)
	if err != nil {
		return nil, err
	}
	asked, adoptAsked, err := r.directories().forConfig(cfg, log)
	if err != nil {
		return nil, err
	}
	if p.certs, err = readCertificates(cfg, p.judge.certs); err != nil {
		return nil, err
	}
	if p.signer, err = newSigner(cfg, log); err != nil {
		return nil, err
	}
	if p.users, err = openUsers(cfg, log); err != nil {
		return nil, err
	}
	if r != nil {
		var known func() []closer
		if p.relays, known, err = r.forConfig(cfg, hooks); err != nil {
			return nil, err
		}
		p.adopt = func() []closer {
			adopt()
			adoptFiles()
			adoptPatterns()
			adoptAsked()
			return known()
		}
	}
	p.recipients = newRecipients(cfg, files, asked, p.relays)
	warnOfPostmaster(cfg, p.table, log)
	warnOfEngine(cfg, log)
	warnOfRelay(cfg, log)
	warnOfAuth(cfg, log)
	warnOfExchange(cfg, log)
	warnOfOwnCertificates(cfg, log)
	warnOfUsers(cfg, p.users, log)
	warnOfCertificates(cfg, p.certs, log)
	return p, nil
}

// warnOfEngine names what go-smtp's server gets wrong although it is guarded.
func warnOfEngine(cfg *config.Config, log *slog.Logger) {
	for _, l := range cfg.Listeners {
		if l.Engine != edge.EngineGoSMTP {
			continue
		}
		log.Warn("this engine is there to compare with: it does not see clients that talk out of turn, has no CHUNKING, HELP, LIMITS or XCLIENT, "+
			"and needs more memory and time; see docs/engines.md", "listener", l.Name, "engine", l.Engine)
		if l.Chunking {
			log.Warn("chunking has no effect with this engine", "listener", l.Name, "engine", l.Engine)
		}
	}
}

// warnOfPostmaster tells where mail for the postmaster would not be taken, which RFC 5321 4.5.1 asks for.
// With a mailbox elsewhere, or with domains that stand in files alone, nothing says which server inside would have it.
func warnOfPostmaster(cfg *config.Config, table *upstream.Table, log *slog.Logger) {
	a, err := mail.ParseAddress(cfg.Postmaster)
	if err == nil {
		_, err = table.Route(upstream.Query{Recipient: a})
	}
	if err != nil {
		log.Warn("no route takes mail for the postmaster: <postmaster> without a domain is refused; name a mailbox of yours under postmaster", "postmaster", privacy(cfg.Log.Privacy).Mask(cfg.Postmaster))
	}
}
