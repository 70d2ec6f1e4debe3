package app

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/postern-mail/postern/internal/config"
	"github.com/postern-mail/postern/internal/directory"
	"github.com/postern-mail/postern/internal/edge"
	"github.com/postern-mail/postern/internal/spool"
	"github.com/postern-mail/postern/mail"
	"github.com/postern-mail/postern/upstream"
)

// RouteOptions are what is said of recipients whose way is asked for.
type RouteOptions struct {
	Addresses []string // "-": those on standard input, one a line
	From      string   // the reverse-path; "" and "<>" are the null one
	Listener  string   // "": the first one, with Relay the first one where clients may
	Relay     bool     // the client may relay
	JSON      bool
	Verbose   bool // tell also which routes were passed over, and why
}

// maxAddressLine is how many octets a line of standard input may have: more than any path that could be read.
const maxAddressLine = 8 << 10

// router explains the way of recipients, by what answers RCPT at a listener.
type router struct {
	o         RouteOptions
	cfg       *config.Config
	table     *upstream.Table
	from      mail.Address
	listener  string
	explainer *edge.Explainer
	asked     map[string]*directory.Source // by the name of the route
	out       io.Writer
	errors    io.Writer
	first     string // the recipient that would be the first of a transaction
	bad       int    // addresses that could not be read
}

// Route explains what becomes of recipients: by which route they go, where, and what a client is told. No filter runs,
// and nothing is sent. Addresses that can't be read are told on standard error, each with what a client would be told;
// the others are answered all the same.
func (a *App) Route(ctx context.Context, o RouteOptions) error {
	cfg, err := a.load()
	if err != nil {
		return err
	}
	r, err := a.newRouter(cfg, o)
	if err != nil {
		return err
	}
	for _, address := range o.Addresses {
		if address == "-" {
			err = r.lines(ctx, a.o.Stdin)
		} else {
			err = r.explain(ctx, address, "")
		}
		if err != nil {
			return err
		}
	}
	if r.bad > 0 {
		return &Exit{Code: ExitData}
	}
	return nil
}

func (a *App) newRouter(cfg *config.Config, o RouteOptions) (*router, error) {
	r := &router{o: o, cfg: cfg, out: a.o.Stdout, errors: a.o.Stderr}
	var err error
	if r.from, err = parseReversePath(o.From); err != nil {
		return nil, exit(ExitUsage, "route: --from %s: %w", visible(o.From), err)
	}
	if err := r.findListener(); err != nil {
		return nil, err
	}
	if r.table, _, err = newTable(cfg); err != nil {
		return nil, &Exit{Code: ExitConfig, Err: err}
	}
	quiet := slog.New(slog.DiscardHandler)
	files, _, err := openLists(nil, recipientLists, cfg, quiet)
	if err != nil {
		return nil, &Exit{Code: ExitConfig, Err: err}
	}
	r.asked = snapshotsOnly(cfg, quiet)
	gw := &edge.Gateway{
		Hostname: cfg.Hostname, Node: cfg.Node, Postmaster: cfg.Postmaster, SoftBounce: cfg.SoftBounce,
		Router: r.table, Relays: map[string]upstream.Relay{}, Recipients: newRecipients(cfg, files, r.asked, nil), Policies: map[string]*edge.Policy{},
		ExemptRecipients: exemptRecipients(cfg), Spool: noSpool{}, Log: quiet,
	}
	for _, u := range cfg.Upstreams {
		gw.Relays[u.Name] = noRelay{one: u.Protocol == "lmtp"}
	}
	for _, p := range cfg.Policies {
		gw.Policies[p.Name] = nil
	}
	r.explainer = edge.NewExplainer(gw, r.listener)
	return r, nil
}

// noRelay stands for a relay that nothing is delivered through: a real one of a maildir would make its folders.
type noRelay struct{ one bool }

// OneRecipient reports whether a transaction may have one recipient only, as that of upstream.Pool does.
func (r noRelay) OneRecipient() bool { return r.one }

// Deliver implements upstream.Relay: it delivers nothing.
func (noRelay) Deliver(context.Context, mail.Envelope, *mail.Message) upstream.Outcome {
	return upstream.Outcome{Err: errors.New("app: nothing is delivered here")}
}

// noSpool stands for the spool of a gateway that runs, which has room.
type noSpool struct{}

// Put implements edge.Spool: it stores nothing.
func (noSpool) Put(context.Context, spool.Entry, *mail.Blob, []*mail.Message) error {
	return errors.New("app: nothing is stored here")
}

// HandedOn implements edge.Spool: nothing is handed on.
func (noSpool) HandedOn(context.Context, spool.Entry, *upstream.Outcome, *mail.Blob) error {
	return nil
}

// Room implements edge.Spool.
func (noSpool) Room(int64) bool { return true }

// findListener finds the listener that the recipients are named to.
func (r *router) findListener() error {
	names := make([]string, len(r.cfg.Listeners))
	for i := range r.cfg.Listeners {
		names[i] = r.cfg.Listeners[i].Name
	}
	relays := func(l config.Listener) bool { return l.Relay != nil }
	i := 0
	switch {
	case r.o.Listener != "":
		if i = slices.Index(names, r.o.Listener); i < 0 {
			return exit(ExitUsage, "route: there is no listener %q; allowed: %s", r.o.Listener, strings.Join(names, ", "))
		}
	case r.o.Relay:
		i = max(slices.IndexFunc(r.cfg.Listeners, relays), 0)
	}
	r.listener = names[i]
	if r.o.Relay && !relays(r.cfg.Listeners[i]) {
		r.tell("no client may relay at the listener %s: it has no relay", r.listener)
	}
	return nil
}

// tell says something on standard error, of which whoever reads the output need not know.
func (r *router) tell(format string, args ...any) {
	fmt.Fprintf(r.errors, "postern: route: "+format+"\n", args...)
}

// lines explains each address of in, where each has a line of its own; blank lines count for nothing.
func (r *router) lines(ctx context.Context, in io.Reader) error {
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, maxAddressLine)
	n := 0
	for lines.Scan() {
		n++
		if address := strings.TrimSpace(lines.Text()); address != "" {
			if err := r.explain(ctx, address, fmt.Sprintf("standard input:%d: ", n)); err != nil {
				return err
			}
		}
	}
	if err := lines.Err(); err != nil {
		return exit(ExitData, "route: standard input:%d: %w", n+1, err)
	}
	return nil
}

// explain explains one address and prints it; where says from where it is.
func (r *router) explain(ctx context.Context, given, where string) error {
	a := r.explainer.Explain(ctx, edge.RecipientQuery{Path: given, From: r.from, Relay: r.o.Relay})
	if a.Address.IsZero() {
		r.bad++
		cause := errors.New("no address")
		if a.Err != nil {
			cause = a.Err
		}
		r.tell("%s%s: %s; a client is told %s", where, visible(given), visible(cause.Error()), a.Reply)
		return nil
	}
	w := r.way(given, a)
	if w.Accepted && r.first == "" {
		r.first = w.Address
	}
	if err := w.print(r.out, r.o); err != nil {
		return &Exit{Code: ExitCannotWrite, Err: fmt.Errorf("postern: %w", err)}
	}
	return nil
}

// way puts an answer into the words of the configuration.
func (r *router) way(given string, a edge.RecipientAnswer) *routeAnswer {
	w := &routeAnswer{
		Given: given, Address: a.Address.String(), Exempt: a.Exempt, Listener: r.listener,
		Accepted: a.Reply.Positive(), Code: a.Reply.Code, Reply: a.Reply.String(), Because: a.Because,
	}
	if a.Err != nil {
		w.Error = a.Err.Error()
	}
	if !a.Together.IsZero() {
		w.Together, w.first = a.Together.String(), r.first
	}
	query := upstream.Query{Recipient: a.Address, From: r.from, Listener: r.listener, Relay: r.o.Relay}
	m, err := r.table.Match(query)
	before := m.Rule
	if err != nil {
		before = len(r.cfg.Routes)
	}
	for i := range before {
		w.Passed = append(w.Passed, passed{r.place(i, 0), routeName(r.cfg.Routes[i]), r.whyPassed(i, query)})
	}
	if err == nil {
		r.took(w, m, a)
		return w
	}
	query.Relay = true
	if m, err := r.table.Match(query); err == nil {
		route := r.cfg.Routes[m.Rule]
		w.WithRelay = &withRelay{place: r.place(m.Rule, m.To), Route: routeName(route), Upstream: route.Upstream}
	}
	return w
}

// took writes down the route that took a recipient, and what hangs on it.
func (r *router) took(w *routeAnswer, m upstream.Match, a edge.RecipientAnswer) {
	route := r.cfg.Routes[m.Rule]
	w.Route = &taken{place: r.place(m.Rule, m.To), Name: routeName(route), Entry: route.To[m.To]}
	if m.Line > 0 {
		w.Route.Listed = &listed{File: route.To[m.To], Line: m.Line, Entry: m.Entry}
	}
	w.Policy = a.Policy
	if u := r.cfg.Upstream(route.Upstream); u != nil {
		w.Upstream = &inside{Name: u.Name, Servers: u.Servers.Addresses(), Maildir: u.Maildir}
		for _, s := range u.Servers {
			w.Upstream.Ranks = append(w.Upstream.Ranks, rank{s.Address, s.Priority, s.Weight})
		}
		w.Upstream.plain = u.Servers.Plain()
		if u.Maildir == "" {
			w.Upstream.Protocol, w.Upstream.TLS = u.Protocol, u.TLS
		}
	}
	w.Source = route.Recipients.Verify
	if route.Recipients.File != "" {
		w.Source += " " + route.Recipients.File
	}
	if d := r.asked[routeName(route)]; d != nil {
		w.Source += " " + strings.Join(route.Recipients.URL, ", ")
		if n, at, ok := d.State(); ok {
			w.Source += fmt.Sprintf("; %d entries, read %s", n, at.UTC().Format(time.RFC3339))
		}
		if errors.Is(a.Err, directory.ErrNothing) {
			w.Error = d.Err().Error() // which says why, where there is a snapshot
		}
	}
	switch {
	case a.Known == upstream.NoSource && a.Err != nil:
		w.Known = "can not tell"
	case a.Known == upstream.NoSource && route.Recipients.Verify != "none": // an exempt one, or a source that asks a server
		w.Known = "not asked"
	default:
		w.Known = a.Known.String()
	}
}

// place gives the place of an entry of a route in the configuration.
func (r *router) place(route, entry int) place {
	at := r.cfg.Errorf(fmt.Sprintf("routes[%d].to[%d]", route, entry), "here")
	return place{at.File, at.Line, at.Col}
}

// whyPassed says why a route did not take a recipient.
func (r *router) whyPassed(rule int, q upstream.Query) string {
	if !r.table.Admits(rule, q) {
		return "it is for other senders or listeners"
	}
	if !q.Relay && slices.Contains(r.cfg.Routes[rule].To, "*") {
		return `"*" is for clients that may relay`
	}
	return "no entry fits"
}
