package app

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// routeAnswer is what `route --json` prints of a recipient.
type routeAnswer struct {
	Given     string     `json:"given"`
	Address   string     `json:"address"` // without a source route, the domain in A-labels and lower case
	Exempt    bool       `json:"exempt"`
	Listener  string     `json:"listener"`
	Route     *taken     `json:"route"` // null: none takes it
	Passed    []passed   `json:"passed,omitempty"`
	Policy    string     `json:"policy,omitempty"`
	Upstream  *inside    `json:"upstream,omitempty"`
	Source    string     `json:"source,omitempty"` // of recipients
	Known     string     `json:"known,omitempty"`  // yes, no, no source, not asked, can not tell
	Accepted  bool       `json:"accepted"`
	Code      int        `json:"code"`
	Reply     string     `json:"reply"`
	Because   string     `json:"because,omitempty"`
	Error     string     `json:"error,omitempty"`
	WithRelay *withRelay `json:"with_relay,omitempty"` // where it would go for a client that may relay
	Together  string     `json:"together,omitempty"`   // the reply within the transaction of the first recipient that is accepted
	first     string
}

// place is where something stands in the configuration.
type place struct {
	File   string `json:"file"`
	Line   int    `json:"line"`
	Column int    `json:"column"`
}

// String gives the place as errors of the configuration do.
func (p place) String() string { return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column) }

// taken is the route that takes a recipient; its place is that of the entry.
type taken struct {
	place
	Name   string  `json:"name"`
	Entry  string  `json:"entry"`            // of `to`
	Listed *listed `json:"listed,omitempty"` // where that is a file
}

// listed is an entry of a file.
type listed struct {
	File  string `json:"file"`
	Line  int    `json:"line"`
	Entry string `json:"entry"` // in lower case, an address without quotes
}

type passed struct {
	place
	Name string `json:"name"`
	Why  string `json:"why"`
}

type withRelay struct {
	place
	Route    string `json:"route"`
	Upstream string `json:"upstream"`
}

type inside struct {
	Name     string   `json:"name"`
	Servers  []string `json:"servers,omitempty"`
	Ranks    []rank   `json:"ranks,omitempty"` // of the servers
	Protocol string   `json:"protocol,omitempty"`
	TLS      string   `json:"tls,omitempty"`
	Maildir  string   `json:"maildir,omitempty"`
	plain    bool     // the order of the servers says all
}

// rank is which share of the work a server has.
type rank struct {
	Server   string `json:"server"`
	Priority int    `json:"priority"`
	Weight   int    `json:"weight"`
}

// String names the server and its share.
func (r rank) String() string {
	return fmt.Sprintf("%s (priority %d, weight %d)", r.Server, r.Priority, r.Weight)
}

// String names the upstream and where it is.
func (u *inside) String() string {
	if u.Maildir != "" {
		return u.Name + ": maildir " + u.Maildir
	}
	servers := u.Servers
	if !u.plain {
		servers = make([]string, len(u.Ranks))
		for i, r := range u.Ranks {
			servers[i] = r.String()
		}
	}
	return u.Name + ": " + strings.Join(servers, ", ") + "; " + u.Protocol + ", tls " + u.TLS
}

// print prints the way of one recipient: JSON on one line, or a table and a blank line.
func (w *routeAnswer) print(out io.Writer, o RouteOptions) error {
	if !o.Verbose {
		w.Passed = nil
	}
	if o.JSON {
		enc := json.NewEncoder(out)
		enc.SetEscapeHTML(false)
		return enc.Encode(w)
	}
	tw := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	row := func(key, value string) { fmt.Fprintf(tw, "%s\t%s\n", key, visible(value)) }
	row("recipient", w.Given)
	if w.Address != w.Given {
		row("address", w.Address)
	}
	if w.Exempt {
		row("exempt", "yes: score, lists and greylisting do not apply")
	}
	for _, p := range w.Passed {
		row("passed", fmt.Sprintf("%s (%s): %s", p.Name, p.place, p.Why))
	}
	if w.Route == nil {
		row("route", "none")
	} else {
		w.printRoute(row)
	}
	row("reply", w.Reply)
	if w.Because != "" {
		row("because", w.Because)
	}
	if w.Error != "" {
		row("error", w.Error)
	}
	if r := w.WithRelay; r != nil {
		row("relay", fmt.Sprintf("of a client that may relay, the route %s (%s) takes it to the upstream %s", r.Route, r.place, r.Upstream))
	}
	if w.Together != "" {
		row("together", fmt.Sprintf("%s (in one transaction with %s)", w.Together, w.first))
	}
	fmt.Fprintln(tw)
	return tw.Flush()
}

func (w *routeAnswer) printRoute(row func(key, value string)) {
	route := fmt.Sprintf("%s (%s)", w.Route.Name, w.Route.place)
	if w.Route.Entry != w.Route.Name {
		route = fmt.Sprintf("%s, by its entry %s (%s)", w.Route.Name, w.Route.Entry, w.Route.place)
	}
	if l := w.Route.Listed; l != nil {
		route += fmt.Sprintf(", which has %s (%s:%d)", l.Entry, l.File, l.Line)
	}
	row("route", route)
	if w.Policy != "" {
		row("policy", w.Policy)
	}
	if w.Upstream != nil {
		row("upstream", w.Upstream.String())
	}
	if w.Source == "none" {
		row("known", "no source: every mailbox may exist")
	} else {
		row("known", fmt.Sprintf("%s (%s)", w.Known, w.Source))
	}
}
