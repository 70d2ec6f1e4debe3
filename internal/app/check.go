package app

import (
	"fmt"
	"log/slog"

	"github.com/postern-mail/postern/internal/config"
)

// Check checks the configuration as far as can be told without running it: the file, the files it names, the
// filters and their order.
func (a *App) Check() error {
	cfg, err := a.load()
	if err != nil {
		return err
	}
	if err := a.check(cfg); err != nil {
		return &Exit{Code: ExitConfig, Err: err}
	}
	_, err = fmt.Fprintf(a.o.Stdout, "%s: ok: %d listeners, %d routes, %d upstreams, %d filters, %d policies\n",
		a.o.Config, len(cfg.Listeners), len(cfg.Routes), len(cfg.Upstreams), len(cfg.Filters), len(cfg.Policies))
	return err
}

func (a *App) check(cfg *config.Config) error {
	if err := cfg.CheckFiles(); err != nil {
		return err
	}
	table, err := newTable(cfg)
	if err != nil {
		return err
	}
	resolver, err := newResolver(cfg)
	if err != nil {
		return err
	}
	silent := slog.New(slog.DiscardHandler)
	if _, err := newJudge(cfg, surroundings{factories: a.factories, ours: table.Ours, dns: resolver, log: silent}); err != nil {
		return err
	}
	if _, err := newRecipients(cfg, silent); err != nil {
		return err
	}
	for _, l := range cfg.Listeners {
		if _, err := serverTLS(cfg, l); err != nil {
			return err
		}
	}
	return nil
}
