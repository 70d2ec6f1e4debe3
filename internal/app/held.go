package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/internal/config"
	"github.com/postern-mail/postern/internal/control"
	"github.com/postern-mail/postern/internal/edge"
	"github.com/postern-mail/postern/internal/quarantine"
	"github.com/postern-mail/postern/mail"
	"github.com/postern-mail/postern/pipeline"
	"github.com/postern-mail/postern/upstream"
)

// entry puts what the edge says of a held message into the form of the quarantine's record.
func entry(h edge.Held, node string) quarantine.Entry {
	e := quarantine.Entry{
		ID: h.ID, Time: h.Time, Node: node, Kind: h.Kind, Client: h.Client.String(), Helo: h.Helo, From: h.From.String(),
		Route: h.Route, Upstream: h.Upstream, Policy: h.Policy, Size: h.Size, MessageID: h.MessageID, Subject: h.Subject,
		Action: h.Action.String(), Because: h.Because, Score: h.Score, Edits: h.Edits,
		Relay: h.Relay, SMTPUTF8: h.SMTPUTF8, Body8Bit: h.Body8Bit,
	}
	for _, to := range h.To {
		e.To = append(e.To, to.String())
	}
	for _, f := range h.Findings {
		e.Findings = append(e.Findings, quarantine.Finding{
			Filter: f.Stage, Symbol: f.Symbol, Strength: f.Strength, Score: f.Score, Detail: f.Detail, Observed: f.Observed,
			Waived: f.Waived,
		})
	}
	if parts, err := json.Marshal(h.Parts); err == nil && len(h.Parts) > 0 {
		e.Parts = parts
	}
	for _, r := range h.Filters {
		e.Filters = append(e.Filters, quarantine.FilterRun{
			Filter: r.Stage, Phase: r.Phase, Outcome: r.Outcome, Error: r.Error, MS: r.MS,
		})
	}
	return e
}

// quarantine opens the configured store to change what is in it.
func (a *App) quarantine() (*config.Config, *quarantine.Store, error) {
	cfg, err := a.load()
	if err != nil {
		return nil, nil, err
	}
	if err := rootMay(quarantineDir(cfg)); err != nil {
		return nil, nil, err
	}
	s, err := openQuarantine(cfg)
	if err == nil {
		a.tellAlone(cfg)
	}
	return cfg, s, err
}

// tellAlone says that no gateway runs, where none does. The store is opened in any case (docs/adr/0007).
func (a *App) tellAlone(cfg *config.Config) {
	c, err := control.Dial(context.Background(), controlSocket(cfg))
	switch {
	case err == nil:
		c.Close()
	case errors.Is(err, control.ErrNotRunning):
		fmt.Fprintln(a.o.Stderr, "postern: no gateway runs: working on the quarantine itself")
	}
}

// heldToRead opens the configured store to look into it: what only reads makes no folder, and needs no leave to
// write.
func (a *App) heldToRead() (*config.Config, *quarantine.Reader, error) {
	cfg, err := a.load()
	if err != nil {
		return nil, nil, err
	}
	r, err := quarantine.OpenExisting(quarantineDir(cfg), quarantine.Options{})
	switch {
	case errors.Is(err, quarantine.ErrVersion):
		return nil, nil, &Exit{Code: ExitConfig, Err: fmt.Errorf("postern: %w", err)}
	case err != nil:
		return nil, nil, &Exit{Code: ExitUnavailable, Err: fmt.Errorf("postern: %w", err)}
	}
	return cfg, r, nil
}

// heldError gives an error of the store the exit code that it stands for.
func heldError(id string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, quarantine.ErrNotFound), errors.Is(err, quarantine.ErrID):
		return exit(ExitData, "%s: nothing is held under this id", id)
	case errors.Is(err, quarantine.ErrDamaged):
		return exit(ExitData, "%s: %v", id, err)
	case errors.Is(err, quarantine.ErrBusy):
		return exit(ExitUnavailable, "%s: another command works on it; try again", id)
	case errors.Is(err, quarantine.ErrReleased):
		return exit(ExitData, "%s: has been released already", id)
	case errors.Is(err, quarantine.ErrInDoubt):
		return exit(ExitUnavailable, "%s: a release began and nobody knows how it ended: look whether the message has arrived, then say `postern quarantine settle %s --delivered` or `--not-delivered`", id, id)
	case errors.Is(err, quarantine.ErrVersion):
		return exit(ExitConfig, "%s: %v", id, err)
	}
	return exit(ExitUnavailable, "%s: %v", id, err)
}

// QuarantineList prints what is held, oldest first.
func (a *App) QuarantineList(asJSON bool) error {
	cfg, s, err := a.heldToRead()
	if err != nil {
		return err
	}
	a.tellAlone(cfg)
	all, err := s.List()
	if asJSON {
		enc := jsonTo(a.o.Stdout)
		for _, e := range all {
			if err := enc.Encode(e); err != nil {
				return err
			}
		}
	} else {
		w := tabwriter.NewWriter(a.o.Stdout, 0, 8, 2, ' ', 0)
		fmt.Fprint(w, "ID\tTIME\tKIND\tFROM\tTO\tSIZE\tBECAUSE\n")
		for _, e := range all {
			kind := e.Kind
			if e.Released != nil {
				kind += ", released"
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t<%s>\t%s\t%d\t%s\n", e.ID, e.Time.Local().Format(time.DateTime), kind,
				visible(e.From), visible(strings.Join(e.To, ",")), e.Size, visible(e.Because))
		}
		if err := w.Flush(); err != nil {
			return err
		}
	}
	if err != nil {
		return exit(ExitData, "%v", err) // damaged records: told, and the others listed
	}
	return nil
}

// QuarantineShow prints a record, or the message itself.
func (a *App) QuarantineShow(id string, asJSON, content bool) error {
	cfg, s, err := a.heldToRead()
	if err != nil {
		return err
	}
	a.tellAlone(cfg)
	if content {
		r, err := s.Content(id)
		if err != nil {
			return heldError(id, err)
		}
		defer r.Close()
		whole, err := io.ReadAll(r)
		if err != nil {
			return heldError(id, err)
		}
		return a.printContent(whole)
	}
	e, err := s.Get(id)
	if err != nil {
		return heldError(id, err)
	}
	if asJSON {
		enc := jsonTo(a.o.Stdout)
		enc.SetIndent("", "  ")
		return enc.Encode(e)
	}
	return a.printRecord(e)
}

func (a *App) printRecord(e quarantine.Entry) error {
	w := tabwriter.NewWriter(a.o.Stdout, 0, 8, 2, ' ', 0)
	row := func(name, value string) {
		if value != "" {
			fmt.Fprintf(w, "%s\t%s\n", name, visible(value))
		}
	}
	row("id", e.ID)
	row("time", e.Time.Local().Format(time.RFC3339))
	row("kind", e.Kind)
	row("client", e.Client)
	row("helo", e.Helo)
	row("from", "<"+e.From+">")
	row("to", strings.Join(e.To, ", "))
	row("subject", mail.DecodeWords(e.Subject))
	row("message-id", e.MessageID)
	row("size", fmt.Sprint(e.Size))
	row("sha256", e.SHA256)
	row("route", e.Route)
	row("policy", e.Policy)
	row("action", e.Action)
	row("because", e.Because)
	row("score", pipeline.Tenths(e.Score))
	if e.Trimmed {
		row("note", "the record was too large: parts, and all but a hundred findings and edits, were left out")
	}
	if e.Released != nil {
		row("released", e.Released.Local().Format(time.RFC3339)+" to "+e.ReleasedTo)
	}
	printFindings(w, e.Findings)
	printRuns(w, e.Filters)
	for i, edit := range e.Edits {
		if i == 0 {
			fmt.Fprint(w, "\nEDITS\n")
		}
		fmt.Fprintf(w, "%s\n", visible(edit))
	}
	return w.Flush()
}

func printFindings(w io.Writer, all []quarantine.Finding) {
	for i, f := range all {
		if i == 0 {
			fmt.Fprint(w, "\nFILTER\tSYMBOL\tSCORE\tDETAIL\n")
		}
		note := ""
		if f.Observed {
			note = " (observed)"
		}
		if f.Waived {
			note += " (waived)"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s%s\n", f.Filter, f.Symbol, pipeline.Tenths(f.Score), visible(f.Detail), note)
	}
}

func printRuns(w io.Writer, all []quarantine.FilterRun) {
	for i, r := range all {
		if i == 0 {
			fmt.Fprint(w, "\nFILTER\tPHASE\tOUTCOME\tMS\tERROR\n")
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%.3f\t%s\n", r.Filter, r.Phase, r.Outcome, r.MS, visible(r.Error))
	}
}

// QuarantineRelease hands held messages to the upstream of their routes, each once. With to, these recipients
// take the place of the original ones.
//
// What was held by a verdict and is released was wanted: it is learned as ham where there is a learner, unless unlearned says
// otherwise. That this fails is told, and is no fault of the release.
func (a *App) QuarantineRelease(ctx context.Context, ids, to []string, unlearned bool) error {
	cfg, s, err := a.quarantine()
	if err != nil {
		return err
	}
	table, _, err := newTable(cfg)
	if err != nil {
		return &Exit{Code: ExitConfig, Err: err}
	}
	var r relays
	all, adopt, err := r.forConfig(cfg, upstream.Hooks{})
	if err != nil {
		return &Exit{Code: ExitConfig, Err: err}
	}
	adopt()
	var wanted releasedMail
	defer wanted.release()
	err = a.eachHeld(ids, "released", func(id string) error {
		var kept *mail.Blob
		err := s.ReleaseTo(ctx, id, strings.Join(to, ", "), func(e quarantine.Entry, b *mail.Blob) error {
			if e.Kind == quarantine.Held && !e.Relay && !unlearned && len(to) == 0 {
				kept = b.Retain()
			}
			return releaseOne(ctx, cfg, table, all, e, b, to)
		})
		wanted.add(kept, err)
		return err
	})
	a.learnReleased(ctx, cfg, wanted)
	return err
}

// eachHeld does something to each of some held messages. A fault of one stops no other; it is told, and the last gives the exit code.
func (a *App) eachHeld(ids []string, done string, f func(id string) error) error {
	var worst error
	for _, id := range ids {
		err := heldError(id, f(id))
		if err == nil {
			fmt.Fprintf(a.o.Stdout, "%s: %s\n", id, done)
			continue
		}
		if worst != nil {
			fmt.Fprintf(a.o.Stderr, "%v\n", worst)
		}
		worst = err
	}
	return worst
}

// signReleased signs the mail of a client that may relay, as if it had not been held. What came from elsewhere is not
// sealed: what was found of its chain is not kept.
func signReleased(ctx context.Context, cfg *config.Config, e quarantine.Entry, m *mail.Message) (*mail.Message, error) {
	if !e.Relay {
		return m.Prepend(nil), nil
	}
	signer, err := newSigner(cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, err
	}
	if signer == nil {
		return m.Prepend(nil), nil
	}
	top, _, err := signer.Sign(ctx, &filter.Input{Session: &filter.Session{Relay: true}}, m)
	if err != nil {
		return nil, err
	}
	return m.Prepend(top), nil
}

// releaseOne delivers a held message as it came, below a Received field that tells of the release, and without
// the fields that only we may write.
func releaseOne(ctx context.Context, cfg *config.Config, table *upstream.Table, all map[string]upstream.Relay, e quarantine.Entry, b *mail.Blob, to []string) error {
	if len(to) == 0 {
		to = e.To
	}
	env := mail.Envelope{ID: e.ID, SMTPUTF8: e.SMTPUTF8, Body8Bit: e.Body8Bit}
	if e.From != "" {
		from, err := mail.ParseAddress(e.From)
		if err != nil {
			return err
		}
		env.From = from
	}
	name := ""
	for _, s := range to {
		a, err := mail.ParseAddress(s)
		if err != nil {
			return err
		}
		route, err := table.Route(upstream.Query{Recipient: a, From: env.From, Relay: e.Relay})
		if err != nil {
			return fmt.Errorf("no route takes mail for %s", a)
		}
		if name != "" && route.Upstream != name {
			return fmt.Errorf("the recipients belong to different upstreams: release with --to, one upstream at a time")
		}
		name, env.To = route.Upstream, append(env.To, a)
	}
	limits := mail.Limits{}
	for _, l := range cfg.Listeners {
		limits.HeaderOctets = max(limits.HeaderOctets, l.Limits.Header)
	}
	content := mail.NewContent(b.Retain(), mail.LineFaults{}, limits)
	defer content.Release()
	if content.Header().Truncated() {
		return errors.New("its header is larger than limits.header: what is in the rest can't be told")
	}
	// RFC 5321 4.4: whoever passes a message on adds a Received field; this one's client was ourselves.
	received := fmt.Sprintf("from quarantine by %s\r\n\twith LOCAL id %s; %s", cfg.Hostname, e.ID, time.Now().Format(time.RFC1123Z))
	edits := append(pipeline.Untrusted(content.Header(), cfg.AuthRes.ID, cfg.AuthRes.Keep), mail.AddField{Name: "Received", Body: received})
	if e.Relay {
		edits = append(edits, edge.Missing(content.Header(), cfg.Hostname, e.ID, e.Time)...)
	}
	m, err := mail.Rewrite(content, edits, false)
	if err != nil {
		return err
	}
	defer m.Release()
	signed, err := signReleased(ctx, cfg, e, m)
	if err != nil {
		return err
	}
	defer signed.Release()
	out := all[name].Deliver(ctx, env, signed)
	switch out.Kind {
	case upstream.Delivered:
		return nil
	case upstream.Unknown:
		// RFC 1047: it may have arrived. Whoever looks in the mailbox knows, and settles it.
		return fmt.Errorf("%w: upstream %s did not confirm it", quarantine.ErrInDoubt, name)
	}
	return fmt.Errorf("upstream %s: %s at %s: %s", name, out.Kind, out.Stage, cause(out))
}

func cause(o upstream.Outcome) string {
	if !o.Reply.IsZero() {
		return o.Reply.String()
	}
	if o.Err != nil {
		return o.Err.Error()
	}
	for to, r := range o.Refused {
		return to.String() + ": " + r.String()
	}
	return "no reply"
}

// QuarantineSettle ends the doubt about a release that was cut short.
func (a *App) QuarantineSettle(id string, delivered bool) error {
	_, s, err := a.quarantine()
	if err != nil {
		return err
	}
	if err := s.Settle(id, delivered); err != nil {
		return heldError(id, err)
	}
	_, err = fmt.Fprintf(a.o.Stdout, "%s: settled\n", id)
	return err
}

// QuarantineRemove removes held messages.
func (a *App) QuarantineRemove(ids []string) error {
	_, s, err := a.quarantine()
	if err != nil {
		return err
	}
	return a.eachHeld(ids, "removed", s.Remove)
}
