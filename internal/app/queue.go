package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/internal/config"
	"github.com/postern-mail/postern/internal/edge"
	"github.com/postern-mail/postern/internal/quarantine"
	"github.com/postern-mail/postern/internal/spool"
	"github.com/postern-mail/postern/mail"
	"github.com/postern-mail/postern/mail/dsn"
	"github.com/postern-mail/postern/upstream"
	"github.com/postern-mail/postern/upstream/queue"
)

func spoolDir(cfg *config.Config) string { return filepath.Join(cfg.State.Directory, "spool") }

// openSpool opens the store of mail that waits; fault is told which files can't be looked at. Errors are Exits.
func openSpool(cfg *config.Config, fault func(error)) (*spool.Store, error) {
	s, err := spool.Open(spoolDir(cfg), spool.Options{Size: cfg.Spool.Size, MinFree: cfg.Spool.MinFree, Fault: fault})
	switch {
	case err == nil:
		return s, nil
	case errors.Is(err, spool.ErrVersion):
		return nil, &Exit{Code: ExitConfig, Err: fmt.Errorf("postern: %w", err)}
	case errors.Is(err, spool.ErrOwned):
		return nil, &Exit{Code: ExitUnavailable, Err: fmt.Errorf("postern: %w: is a gateway running with this state directory?", err)}
	}
	return nil, &Exit{Code: ExitCannotWrite, Err: fmt.Errorf("postern: %w", err)}
}

// queueSettings are what a configuration says of the queue.
func queueSettings(cfg *config.Config, p *prepared) queue.Settings {
	s := queue.Settings{
		Relays: p.relays, Hostname: cfg.Hostname,
		First: cfg.Spool.Retry.First, Most: cfg.Spool.Retry.Most, Warn: cfg.Spool.Warn, Expire: cfg.Spool.Expire, Parallel: cfg.Spool.Parallel,
		Route: func(to mail.Address) (upstream.Route, error) {
			return p.table.Route(upstream.Query{Recipient: to, Relay: true})
		},
	}
	s.From, _ = mail.ParseAddress(cfg.Postmaster) // checked with the configuration
	if signer := p.signer; signer != nil {
		s.Sign = func(ctx context.Context, m *mail.Message) ([]byte, error) {
			top, _, err := signer.Sign(ctx, &filter.Input{Session: &filter.Session{Relay: true}}, m)
			return top, err
		}
	}
	return s
}

// startQueue begins to deliver what lies in the spool.
func (g *gateway) startQueue(s queue.Settings) {
	g.queue = queue.New(queue.Options{Store: g.spool, Keep: g.keepUndeliverable, Log: g.log, Hooks: queue.Hooks{
		Tried:    g.tried,
		Down:     g.queueDown,
		Reported: g.reported,
		Silent:   g.metrics.QueueSilent,
		Damaged: func(id string, err error) {
			g.metrics.QueueSetAside()
			g.log.Error("an entry of the spool is damaged, and set aside", "id", id, "error", g.privacy().Mask(err.Error()))
		},
		Fault: func(id string, err error) {
			g.metrics.QueueFault()
			g.log.Error("spool", "id", id, "error", g.privacy().Mask(err.Error()))
		},
	}}, s)
	g.metrics.Queue(g.queue.Usage, g.spool.Usage)
}

// keepUndeliverable holds a message that was given up, and of which nobody can be told.
func (g *gateway) keepUndeliverable(ctx context.Context, e *spool.Entry, group int, to []int, why string, original *mail.Blob) error {
	gr := &e.Groups[group]
	q := quarantine.Entry{
		// The id is the same however often this is tried.
		ID: fmt.Sprintf("%s-u%d-%s", e.ID, group, queue.Places(to)), Time: time.Now(), Node: e.Node, Kind: quarantine.Undeliverable,
		Helo: e.Client.Helo, From: e.From, Route: gr.Route, Upstream: gr.Upstream, Policy: gr.Policy, MessageID: e.MessageID, Subject: e.Subject,
		Action: gr.Action, Because: why, Score: gr.Score, Relay: e.Relay, SMTPUTF8: e.SMTPUTF8, Body8Bit: e.Body8Bit,
	}
	if e.Client.Addr.IsValid() {
		q.Client = e.Client.Addr.Addr().String()
	}
	for _, i := range to {
		q.To = append(q.To, gr.To[i].Address)
	}
	if _, err := g.held.Keep(ctx, q, original); err != nil && !errors.Is(err, quarantine.ErrExists) {
		return err
	}
	return nil
}

// stageQueue is the stage of deliveries from the spool in the log.
const stageQueue = "queue"

// tried counts and logs what a try from the spool came to for one recipient.
func (g *gateway) tried(t queue.Tried) {
	g.metrics.QueueTried(t.State)
	show := g.privacy()
	action := map[spool.State]filter.Action{spool.Delivered: filter.Continue, spool.Failed: filter.Reject, spool.Kept: filter.Quarantine}
	what, ok := action[t.State]
	if !ok {
		what = filter.Defer
	}
	up, words := t.Group.Upstream, ""
	if t.Outcome.Server != "" {
		up += " " + t.Outcome.Server
	}
	if !t.Reply.IsZero() {
		words = t.Reply.String()
	}
	from, _ := mail.ParseAddress(t.Entry.From)
	to, _ := mail.ParseAddress(t.To)
	attrs := []slog.Attr{
		slog.String(edge.KeyID, t.Entry.ID),
		slog.String(edge.KeyFrom, show.Show(from)),
		slog.String(edge.KeyTo, show.Show(to)),
		slog.String(edge.KeyMessageID, t.Entry.MessageID),
		slog.Int64(edge.KeySize, t.Group.Size),
		slog.String(edge.KeyStage, stageQueue),
		slog.String(edge.KeyAction, what.String()),
		slog.String(edge.KeyBecause, becauseOf(&t)),
		slog.Int(edge.KeyCode, t.Reply.Code),
		slog.String(edge.KeyRoute, show.Mask(t.Group.Route)),
		slog.String(edge.KeyUpstream, up),
		slog.String(edge.KeyUpstreamReply, show.Mask(words)),
		slog.Int64(edge.KeyMS, time.Since(t.Entry.Time).Milliseconds()),
	}
	if t.Cause != "" {
		attrs = append(attrs, slog.String(edge.KeyError, show.Mask(t.Cause)))
	}
	g.log.LogAttrs(context.Background(), slog.LevelInfo, edge.MsgDelivery, attrs...)
}

// becauseOf says in a word or two what a try from the spool came to.
func becauseOf(t *queue.Tried) string {
	switch t.State {
	case spool.Delivered:
		return "delivered from the spool"
	case spool.Failed:
		return "given up"
	case spool.Kept:
		return "given up, and held: its sender can't be told"
	}
	return "the next server: " + t.Outcome.Kind.String()
}

func (g *gateway) queueDown(name, cause string) {
	if cause != "" {
		g.log.Warn("mail for an upstream waits in the spool", "upstream", name, "error", g.privacy().Mask(cause))
		return
	}
	g.log.Info("mail for an upstream leaves the spool again", "upstream", name)
}

// mostNamed is how many recipients are named in a line about an operator's order.
const mostNamed = 100

// ordered counts and logs what an operator has done to a message: it was acknowledged, and somebody will ask where it is.
func (g *gateway) ordered(o queue.Order, id string, d *queue.Ordered) {
	g.metrics.QueueOrder(o)
	show := g.privacy()
	named := make([]string, 0, min(len(d.To), mostNamed))
	for _, s := range d.To[:min(len(d.To), mostNamed)] {
		to, _ := mail.ParseAddress(s)
		named = append(named, show.Show(to))
	}
	from, _ := mail.ParseAddress(d.From)
	g.log.Info("queue operation", edge.KeyID, id, "operation", string(o), edge.KeyFrom, show.Show(from), "recipients", named, "count", len(d.To),
		"others", d.Others, edge.KeySize, d.Size)
}

func (g *gateway) reported(e *spool.Entry, what dsn.Action, id string) {
	g.metrics.QueueReport(what)
	from, _ := mail.ParseAddress(e.From)
	g.log.Info("sender told", "id", e.ID, "report", id, "told", string(what), "to", g.privacy().Show(from))
}

// spooler is the spool as the edge knows it.
type spooler struct{ g *gateway }

// Put implements edge.Spool.
func (s spooler) Put(ctx context.Context, e spool.Entry, original *mail.Blob, messages []*mail.Message) error {
	return s.g.queue.Put(ctx, e, original, messages)
}

// HandedOn implements edge.Spool.
func (s spooler) HandedOn(ctx context.Context, e spool.Entry, o *upstream.Outcome, original *mail.Blob) error {
	err := s.g.queue.HandedOn(ctx, &e, o, original)
	if err != nil {
		s.g.metrics.QueueFault()
	}
	return err
}

// Room implements edge.Spool.
func (s spooler) Room(octets int64) bool { return s.g.spool.Room(octets) }

// restQueue lets no more deliveries from the spool begin.
func (g *gateway) restQueue() {
	if g.queue != nil {
		g.queue.Rest()
	}
}

// closeQueue ends deliveries from the spool; those under way may end until ctx does.
func (g *gateway) closeQueue(ctx context.Context) {
	if g.queue != nil {
		g.queue.Close(ctx)
	}
}

// closeSpool lets others have the spool.
func (g *gateway) closeSpool() {
	if g.spool == nil {
		return
	}
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	g.closeQueue(ended)
	if err := g.spool.Close(); err != nil {
		g.log.Error("spool", slog.String("error", err.Error()))
	}
}
