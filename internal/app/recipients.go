package app

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/postern-mail/postern/internal/config"
	"github.com/postern-mail/postern/internal/directory"
	"github.com/postern-mail/postern/internal/store"
	"github.com/postern-mail/postern/mail"
	"github.com/postern-mail/postern/upstream"
)

// keptRecipients keeps what a file of recipients said last, for a start to compare with.
type keptRecipients struct {
	file, path string
	log        *slog.Logger
}

// keptPath names the file that keeps a list.
func keptPath(cfg *config.Config, file string) string {
	if abs, err := filepath.Abs(file); err == nil {
		file = abs
	}
	sum := sha256.Sum256([]byte(file))
	return filepath.Join(snapshots(cfg), "file-"+hex.EncodeToString(sum[:8])+".list")
}

// Load implements upstream.Keeper. One that is damaged is as good as none: what the file has now is written in its place.
func (k keptRecipients) Load() (*upstream.Mailboxes, time.Time) {
	l, at, err := directory.LoadSnapshot(store.OS, k.path)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			k.log.Error("recipients that were kept can't be read: the file is taken as it is", "file", k.file, "error", err.Error())
		}
		return nil, time.Time{}
	}
	return l, at
}

// Save implements upstream.Keeper.
func (k keptRecipients) Save(l *upstream.Mailboxes) {
	if err := directory.SaveSnapshot(store.OS, k.path, l, time.Now()); err != nil {
		k.log.Error("recipients can't be kept: a start would have nothing to compare the file with", "file", k.file, "error", err.Error())
	}
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
