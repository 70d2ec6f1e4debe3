package app

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/postern-mail/postern/internal/control"
	"github.com/postern-mail/postern/internal/directory"
	"github.com/postern-mail/postern/mail"
	"github.com/postern-mail/postern/upstream"
)

// maxFlush bounds the recipients of one request.
const maxFlush = 1000

// flushRequest names recipients of whom everything that is remembered is to be forgotten.
type flushRequest struct {
	Recipients []string `json:"recipients"`
}

// flushed tells what was forgotten of one.
type flushed struct {
	Recipient string `json:"recipient"`
	Route     string `json:"route,omitempty"`
	Upstream  string `json:"upstream,omitempty"`
	Answers   int    `json:"answers"`             // of the upstream's servers that were forgotten
	Directory string `json:"directory,omitempty"` // that is read anew
	Error     string `json:"error,omitempty"`     // an address that can't be read, or has no route
}

// flush forgets what the upstreams' servers have said of recipients, and lets the directories of their routes be read.
func (g *gateway) flush(w http.ResponseWriter, r *http.Request) error {
	var req flushRequest
	if err := control.Receive(r, &req); err != nil {
		return err
	}
	if len(req.Recipients) == 0 || len(req.Recipients) > maxFlush {
		return control.Errorf(control.Usage, "name one recipient at least, and at most %d", maxFlush)
	}
	all := make([]flushed, len(req.Recipients))
	var woken []*directory.Source
	for i, s := range req.Recipients {
		all[i] = flushed{Recipient: s}
		d, err := g.flushOne(&all[i])
		if err != nil {
			all[i].Error = err.Error()
		}
		if d != nil && !slices.Contains(woken, d) {
			woken = append(woken, d)
			d.Wake()
		}
	}
	return control.Send(w, all)
}

// flushOne forgets one recipient, and gives the directory that knows him, if one does.
func (g *gateway) flushOne(f *flushed) (*directory.Source, error) {
	a, err := mail.ParseAddress(f.Recipient)
	if err != nil {
		return nil, err
	}
	gw := g.current.Load()
	route, err := gw.Router.Route(upstream.Query{Recipient: a, Relay: true})
	if errors.Is(err, upstream.ErrNoRoute) {
		return nil, errors.New("no route takes mail for this recipient")
	} else if err != nil {
		return nil, err
	}
	f.Recipient, f.Route, f.Upstream = a.String(), route.Name, route.Upstream
	if pool, ok := gw.Relays[route.Upstream].(*upstream.Pool); ok {
		f.Answers = pool.Forget(a)
	}
	source := gw.Recipients[route.Name]
	if w, ok := source.(upstream.Widened); ok {
		source = w.Recipients
	}
	d, _ := source.(*directory.Source)
	if d != nil {
		f.Directory = d.Name()
	}
	return d, nil
}

// Flush lets a running gateway forget what it remembers of recipients. Without one there is nothing to forget. Recipients of whom it
// can't be told what to forget make the exit code ExitData; the others are forgotten all the same.
func (a *App) Flush(ctx context.Context, recipients []string) error {
	cfg, err := a.load()
	if err != nil {
		return err
	}
	c, err := a.running(ctx, cfg)
	if errors.Is(err, control.ErrNotRunning) {
		return exit(ExitUnavailable, "flush: no gateway runs on %s: nothing is remembered", cfg.State.Directory)
	} else if err != nil {
		return err
	}
	defer c.Close()
	var all []flushed
	if err := answered(c.Post(ctx, "/v1/recipients/flush", flushRequest{recipients}, &all)); err != nil {
		return err
	}
	bad := false
	for _, f := range all {
		if f.Error != "" {
			bad = true
			fmt.Fprintf(a.o.Stderr, "postern: flush: %s: %s\n", visible(f.Recipient), visible(f.Error))
			continue
		}
		text := fmt.Sprintf("nothing was remembered by the upstream %s", f.Upstream)
		switch {
		case f.Answers == 1:
			text = fmt.Sprintf("an answer of the upstream %s forgotten", f.Upstream)
		case f.Answers > 1:
			text = fmt.Sprintf("%d answers of the upstream %s forgotten", f.Answers, f.Upstream)
		}
		if f.Directory != "" {
			text += fmt.Sprintf("; the directory %s is read now", f.Directory)
		}
		if _, err := fmt.Fprintf(a.o.Stdout, "%s: %s\n", visible(f.Recipient), text); err != nil {
			return &Exit{Code: ExitCannotWrite, Err: fmt.Errorf("postern: %w", err)}
		}
	}
	if bad {
		return &Exit{Code: ExitData}
	}
	return nil
}
