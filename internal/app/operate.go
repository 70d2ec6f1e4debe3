package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/postern-mail/postern/internal/config"
	"github.com/postern-mail/postern/internal/control"
	"github.com/postern-mail/postern/internal/spool"
	"github.com/postern-mail/postern/upstream/queue"
)

// operator is the queue as commands see it. The errors that it hands out are control.Errors.
type operator interface {
	// list hands what f means to yield, oldest first, from behind the message after: its id, or what queue.Place.String gives.
	list(ctx context.Context, f queue.Filter, after string, limit int, yield func(queue.Listed) error) error
	get(ctx context.Context, id string) (queue.Listed, error)
	content(ctx context.Context, id string) (io.ReadCloser, error)
	// operate does one thing to what f means of each message, and tells what came of it; an error of done ends it.
	operate(ctx context.Context, o queue.Order, ids []string, f queue.Filter, done func(operated) error) error
	// knows gives an error where neither the configuration nor the queue has an upstream of this name; "" is none in particular.
	knows(ctx context.Context, upstream string) error
	// shared reports whether others may work on the queue meanwhile; else nothing may wait here for whoever reads what is printed.
	shared() bool
	close() // may be called more than once
}

// operator gives the queue of the gateway that runs, or else the spool itself, which nobody may open meanwhile.
func (a *App) operator(ctx context.Context) (operator, error) {
	cfg, err := a.load()
	if err != nil {
		return nil, err
	}
	c, err := a.running(ctx, cfg)
	switch {
	case err == nil:
		return remoteQueue{c, upstreamNames(cfg)}, nil
	case !errors.Is(err, control.ErrNotRunning):
		return nil, err
	}
	return a.openQueue(cfg)
}

// openQueue opens the spool where no gateway runs. Nothing is tried.
func (a *App) openQueue(cfg *config.Config) (operator, error) {
	dir := spoolDir(cfg)
	switch _, err := os.Stat(dir); {
	case errors.Is(err, os.ErrNotExist):
		// Nothing was ever spooled. A folder that root made here could not be the gateway's.
		fmt.Fprintln(a.o.Stderr, "postern: no gateway runs, and there is no spool")
		return localQueue{upstreams: upstreamNames(cfg)}, nil
	case err != nil:
		return nil, exit(ExitUnavailable, "%v", err)
	}
	if err := rootMay(dir); err != nil {
		return nil, err
	}
	s, err := openSpool(cfg, func(err error) { fmt.Fprintln(a.o.Stderr, "postern:", err) })
	if err != nil {
		return nil, err
	}
	fmt.Fprintln(a.o.Stderr, "postern: no gateway runs: working on the spool itself")
	q := queue.New(queue.Options{Store: s, Idle: true, Log: slog.New(slog.DiscardHandler), Hooks: queue.Hooks{
		Damaged: func(id string, err error) {
			fmt.Fprintf(a.o.Stderr, "%s: damaged, and set aside: %s\n", id, visible(err.Error()))
		},
		Fault: func(id string, err error) { fmt.Fprintf(a.o.Stderr, "%s: %s\n", id, visible(err.Error())) },
	}}, queue.Settings{})
	return localQueue{q: q, spool: s, upstreams: upstreamNames(cfg)}, nil
}

// localQueue is the queue of this process; the zero one is empty.
type localQueue struct {
	q     *queue.Queue
	spool *spool.Store // closed with it, where it is its own

	upstreams []string // that the configuration has
	noted     func(o queue.Order, id string, d *queue.Ordered)
}

func upstreamNames(cfg *config.Config) (names []string) {
	for i := range cfg.Upstreams {
		names = append(names, cfg.Upstreams[i].Name)
	}
	return names
}

func (l localQueue) knows(ctx context.Context, upstream string) error {
	return knowsUpstream(ctx, l.upstreams, l, upstream)
}

func (l localQueue) close() {
	if l.spool == nil {
		return
	}
	l.q.Close(context.Background())
	_ = l.spool.Close() // what was settled is on disk
}

func (localQueue) shared() bool { return false }

func (l localQueue) list(ctx context.Context, f queue.Filter, after string, limit int, yield func(queue.Listed) error) error {
	if l.q == nil {
		return nil
	}
	var ended error
	n := 0
	_, err := l.page(ctx, f, after, 0, func(m queue.Listed) bool {
		n++
		ended = yield(m)
		return ended == nil && n != limit
	})
	if ended != nil {
		return ended
	}
	return err
}

// page lists for as long as most. It tells where the next page begins, if there is one.
func (l localQueue) page(ctx context.Context, f queue.Filter, after string, most time.Duration, yield func(queue.Listed) bool) (next string, err error) {
	if err := l.loaded(ctx); err != nil {
		return "", err
	}
	place, err := l.place(after)
	if err != nil {
		return "", err
	}
	reached, end, err := l.q.List(ctx, f, place, most, yield)
	if !end {
		next = reached.String()
	}
	if ctx.Err() != nil {
		return "", ctx.Err()
	}
	return next, queueFault("", err)
}

// place gives the place behind which a list is to begin; "" is before the first.
func (l localQueue) place(after string) (queue.Place, error) {
	if after == "" {
		return queue.Place{}, nil
	}
	p, err := queue.ParsePlace(after)
	if err != nil {
		return p, control.Errorf(control.Usage, "--after %s: no id of a message", visible(after))
	}
	if p.Taken.IsZero() {
		known := false
		if p, known = l.q.PlaceOf(p.ID); !known {
			return p, control.Errorf(control.Missing, "--after %s: not in the queue any more: name it as the end of the page before did, TIME/ID", visible(after))
		}
	}
	return p, nil
}

// loadPatience is how long a question waits for a spool that is being read: the clients of a gateway that has just begun.
const loadPatience = 20 * time.Second

// loaded waits until the whole spool is known: half a list would look like a whole one.
func (l localQueue) loaded(ctx context.Context) error {
	for end := time.Now().Add(loadPatience); ; {
		n, whole := l.q.Len()
		switch {
		case whole:
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case time.Now().After(end):
			return control.Errorf(control.Unavailable, "the spool is still being read, %d messages so far: try again", n)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func (l localQueue) get(ctx context.Context, id string) (queue.Listed, error) {
	if l.q == nil {
		return queue.Listed{}, queueFault(id, spool.ErrNotFound)
	}
	if err := l.loaded(ctx); err != nil { // what is not known yet would look as if it had ended
		return queue.Listed{}, err
	}
	m, err := l.q.Get(id)
	return m, queueFault(id, err)
}

func (l localQueue) content(_ context.Context, id string) (io.ReadCloser, error) {
	if l.q == nil {
		return nil, queueFault(id, spool.ErrNotFound)
	}
	b, err := l.q.Content(id)
	if err != nil {
		return nil, queueFault(id, err)
	}
	return blobReader{b.Section(0, b.Size()), id, b.Release}, nil
}

// blobReader gives a reference back when it is closed.
type blobReader struct {
	r       io.Reader
	id      string
	release func()
}

// Read implements io.Reader. A fault is one of this message.
func (r blobReader) Read(p []byte) (int, error) {
	n, err := r.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = queueFault(r.id, err)
	}
	return n, err
}

func (r blobReader) Close() error {
	r.release()
	return nil
}

// operateSideBySide is how many messages are worked on at once: what the spool syncs for one of them it syncs for all.
const operateSideBySide = 64

func (l localQueue) operate(ctx context.Context, o queue.Order, ids []string, f queue.Filter, done func(operated) error) error {
	if !slices.Contains(queue.Orders(), o) {
		return control.Errorf(control.Usage, "no operation %q", o)
	}
	if l.q != nil {
		if err := l.loaded(ctx); err != nil {
			return err
		}
	}
	woken := map[string]bool{}
	for len(ids) > 0 {
		part := ids[:min(len(ids), operateSideBySide)]
		ids = ids[len(part):]
		results := l.sideBySide(o, part, f, woken)
		for i := range results {
			if err := done(results[i]); err != nil {
				return err
			}
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return nil
}

// sideBySide does one thing to some messages at once. What is to be tried wakes its upstreams, which woken knows, once: one that is
// down is not asked again for each message.
func (l localQueue) sideBySide(o queue.Order, ids []string, f queue.Filter, woken map[string]bool) []operated {
	results := make([]operated, len(ids))
	did := make([]queue.Ordered, len(ids))
	var all sync.WaitGroup
	for i, id := range ids {
		results[i].ID = id
		if l.q == nil {
			results[i].fail(id, spool.ErrNotFound)
			continue
		}
		all.Go(func() {
			var err error
			did[i], err = l.q.Do(o, id, f)
			results[i].fail(id, err)
		})
	}
	all.Wait()
	for i, d := range did {
		r := &results[i]
		if l.noted != nil && r.Fault == nil && len(d.Upstreams) > 0 {
			l.noted(o, r.ID, &d)
		}
		r.Recipients, r.Others, r.Held, r.Busy = len(d.To), d.Others, d.Held, d.Busy
		for _, name := range d.Upstreams {
			if o == queue.Retry && !woken[name] {
				woken[name] = true
				l.q.Wake(name)
			}
		}
	}
	return results
}

// queueFault says for people and programs what an error of the queue means. The id may be "" where the error names it.
func queueFault(id string, err error) error {
	if err == nil {
		return nil
	}
	kind, text := control.Unavailable, err.Error()
	switch {
	case errors.Is(err, spool.ErrNotFound), errors.Is(err, spool.ErrID):
		kind, text = control.Missing, "not in the queue"
	case errors.Is(err, queue.ErrNotMeant):
		kind, text = control.Missing, "it is no longer what was asked for"
	case errors.Is(err, queue.ErrBusy):
		text = "it is being delivered at this moment: try again"
	case errors.Is(err, spool.ErrDamaged):
		kind = control.Data
	case errors.Is(err, spool.ErrVersion):
		kind = control.Config
	}
	if id != "" {
		text = id + ": " + text
	}
	return &control.Error{Kind: kind, Text: text}
}

// operated is what came of an operation on one message, as it goes over the control socket.
type operated struct {
	ID         string         `json:"id"`
	Fault      *control.Error `json:"fault,omitempty"`
	Recipients int            `json:"recipients,omitempty"` // to whom it was done
	Others     int            `json:"others,omitempty"`     // who were not meant: see queue.Ordered
	Held       int            `json:"held,omitempty"`       // groups that retry has left on hold
	Busy       int            `json:"busy,omitempty"`       // groups that were being tried
}

func (o *operated) fail(id string, err error) { errors.As(queueFault(id, err), &o.Fault) }

// err is the fault, or nil.
func (o *operated) err() error {
	if o.Fault == nil {
		return nil
	}
	return o.Fault
}

// order is what an operation is on.
type order struct {
	IDs      []string `json:"ids"`
	From     string   `json:"from,omitempty"`
	To       string   `json:"to,omitempty"`
	Upstream string   `json:"upstream,omitempty"`
	State    string   `json:"state,omitempty"`
}

// page is part of a list. No question takes the gateway long, and no client that reads slowly keeps it: who wants more asks again.
type page struct {
	Messages []json.RawMessage `json:"messages"`
	Next     string            `json:"next,omitempty"`  // behind which the next begins; "": it was the last
	Fault    *control.Error    `json:"fault,omitempty"` // the first of what could not be read
}

// What bounds a page.
const (
	pageTime   = time.Second
	pageOctets = 1 << 20
)

// answerQueue lets commands operate the queue.
func answerQueue(mux *http.ServeMux, l localQueue) {
	mux.Handle("GET /v1/queue", control.Handle(func(w http.ResponseWriter, r *http.Request) error {
		limit, err := strconv.Atoi(r.FormValue("limit"))
		if r.FormValue("limit") != "" && (err != nil || limit < 0) {
			return control.Errorf(control.Usage, "limit: not a number")
		}
		f := queue.Filter{From: r.FormValue("from"), To: r.FormValue("to"), Upstream: r.FormValue("upstream"), State: r.FormValue("state")}
		var p page
		octets := 0
		p.Next, err = l.page(r.Context(), f, r.FormValue("after"), pageTime, func(m queue.Listed) bool {
			b, _ := json.Marshal(m) // texts and numbers
			p.Messages = append(p.Messages, b)
			octets += len(b)
			return len(p.Messages) != limit && octets < pageOctets
		})
		if !errors.As(err, &p.Fault) && err != nil || len(p.Messages) == 0 && p.Next == "" && err != nil {
			return err
		}
		return control.Send(w, p)
	}))
	mux.Handle("GET /v1/queue/{id}", control.Handle(func(w http.ResponseWriter, r *http.Request) error {
		m, err := l.get(r.Context(), r.PathValue("id"))
		if err != nil {
			return err
		}
		return control.Send(w, m)
	}))
	mux.Handle("GET /v1/queue/{id}/content", control.Handle(func(w http.ResponseWriter, r *http.Request) error {
		content, err := l.content(r.Context(), r.PathValue("id"))
		if err != nil {
			return err
		}
		defer content.Close()
		w.Header().Set("Content-Type", "message/rfc822")
		_, err = io.Copy(w, content)
		return err
	}))
	mux.Handle("POST /v1/queue/{operation}", control.Handle(func(w http.ResponseWriter, r *http.Request) error {
		var o order
		if err := control.Receive(r, &o); err != nil {
			return err
		}
		f := queue.Filter{From: o.From, To: o.To, Upstream: o.Upstream, State: o.State}
		var s *control.Stream
		return l.operate(r.Context(), queue.Order(r.PathValue("operation")), o.IDs, f, func(answer operated) error {
			if s == nil {
				s = control.NewStream(w) // not before it is known that there is such an operation
			}
			return s.Send(answer)
		})
	}))
}

// remoteQueue is the queue of a gateway that runs.
type remoteQueue struct {
	c         *control.Client
	upstreams []string // that the configuration has
}

func (r remoteQueue) knows(ctx context.Context, upstream string) error {
	return knowsUpstream(ctx, r.upstreams, r, upstream)
}

func (r remoteQueue) close() { r.c.Close() }

func (r remoteQueue) list(ctx context.Context, f queue.Filter, after string, limit int, yield func(queue.Listed) error) error {
	q := url.Values{}
	for name, value := range map[string]string{"from": f.From, "to": f.To, "upstream": f.Upstream, "state": f.State} {
		if value != "" {
			q.Set(name, value)
		}
	}
	q.Set("after", after)
	var fault error
	for n := 0; ; {
		if limit > 0 {
			q.Set("limit", strconv.Itoa(limit-n))
		}
		var p page
		if err := r.c.Get(ctx, "/v1/queue?"+q.Encode(), &p); err != nil {
			return err
		}
		for _, b := range p.Messages {
			var m queue.Listed
			if err := json.Unmarshal(b, &m); err != nil {
				return fmt.Errorf("the gateway's answer can't be read: %w", err)
			}
			if err := yield(m); err != nil {
				return err
			}
		}
		if p.Fault != nil && fault == nil {
			fault = p.Fault
		}
		if n += len(p.Messages); p.Next == "" || limit > 0 && n >= limit {
			return fault
		}
		q.Set("after", p.Next)
	}
}

func (remoteQueue) shared() bool { return true }

func (r remoteQueue) get(ctx context.Context, id string) (m queue.Listed, err error) {
	if !isID(id) {
		return m, queueFault(id, spool.ErrID)
	}
	return m, r.c.Get(ctx, "/v1/queue/"+url.PathEscape(id), &m)
}

// isID reports whether a name has nothing that a path or a file name would be changed by.
func isID(id string) bool { return id != "" && !strings.ContainsAny(id, "./\\") }

func (r remoteQueue) content(ctx context.Context, id string) (io.ReadCloser, error) {
	if !isID(id) {
		return nil, queueFault(id, spool.ErrID)
	}
	return r.c.Open(ctx, "/v1/queue/"+url.PathEscape(id)+"/content")
}

// operateAtOnce is how many messages one request is about: few enough that the gateway's first answer comes soon.
const operateAtOnce = 500

func (r remoteQueue) operate(ctx context.Context, o queue.Order, ids []string, f queue.Filter, done func(operated) error) error {
	for len(ids) > 0 {
		part := ids[:min(len(ids), operateAtOnce)]
		ids = ids[len(part):]
		in := order{part, f.From, f.To, f.Upstream, f.State}
		if err := control.PostList(ctx, r.c, "/v1/queue/"+string(o), in, done); err != nil {
			return err
		}
	}
	return nil
}
