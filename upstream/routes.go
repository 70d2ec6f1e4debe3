package upstream

import (
	"errors"
	"fmt"
	"strings"

	"github.com/postern-mail/postern/mail"
)

// ErrNoRoute says that no route takes mail for the recipient from this client: relaying denied.
var ErrNoRoute = errors.New("upstream: no route")

// Query is what a route is chosen by.
type Query struct {
	Recipient mail.Address
	From      mail.Address // the reverse-path
	Listener  string       // the name of the listener
	Relay     bool         // the client may relay outward
}

// Route is where a recipient's mail goes, and by which policy.
type Route struct {
	Name     string // of the route; where empty in a Rule, its first pattern
	Upstream string // the name of the upstream
	Policy   string // the name of the policy
	Ours     bool   // matched by something other than "*": the domain is ours; set by the Table
}

// Router chooses the route of a recipient. Its error is ErrNoRoute where there is none.
type Router interface {
	Route(Query) (Route, error)
}

// Rule is one entry of a Table. Each of To is a domain, "*.domain" for every subdomain and not the domain
// itself, a full address, or "*" for every domain there is, reached only by clients that may relay.
type Rule struct {
	To []string
	Route
}

// Table is a Router of rules of which the first match wins. It is immutable.
type Table struct {
	rules     []Route
	domains   map[string]int // domain -> index of the first rule that names it
	suffixes  map[string]int // "*.domain", by domain
	addresses map[string]int // by Mailbox
	mailboxOf map[string]bool
	star      int // index of the first rule with "*", or -1
}

// NewTable checks and compiles the rules. Its errors name the rule by its number, from 0, and the pattern.
func NewTable(rules []Rule) (*Table, error) {
	t := &Table{
		domains: map[string]int{}, suffixes: map[string]int{}, addresses: map[string]int{},
		mailboxOf: map[string]bool{}, star: -1,
	}
	for i, r := range rules {
		if len(r.To) == 0 {
			return nil, fmt.Errorf("upstream: routes[%d]: no pattern", i)
		}
		for _, pattern := range r.To {
			if err := t.add(pattern, i); err != nil {
				return nil, fmt.Errorf("upstream: routes[%d]: pattern %q: %w", i, pattern, err)
			}
		}
		route := r.Route
		if route.Name == "" {
			route.Name = r.To[0]
		}
		t.rules = append(t.rules, route)
	}
	return t, nil
}

func (t *Table) add(pattern string, rule int) error {
	switch {
	case pattern == "":
		return errors.New("empty")
	case pattern == "*":
		if t.star < 0 {
			t.star = rule
		}
		return nil
	case strings.ContainsRune(pattern, '@'):
		a, err := mail.ParseAddress(pattern)
		if err != nil {
			return fmt.Errorf("not an address: %w", err)
		}
		first(t.addresses, a.Mailbox(), rule)
		t.mailboxOf[a.Domain()] = true
		return nil
	}
	into, name := t.domains, pattern
	if rest, ok := strings.CutPrefix(pattern, "*."); ok {
		into, name = t.suffixes, rest
	}
	if strings.ContainsRune(name, '*') {
		return errors.New(`"*" stands alone or as the first label only`)
	}
	domain, err := mail.Domain(name)
	if err != nil {
		return fmt.Errorf("not a domain: %w", err)
	}
	first(into, domain, rule)
	return nil
}

// first enters a pattern unless an earlier rule has it already.
func first(m map[string]int, key string, rule int) {
	if _, ok := m[key]; !ok {
		m[key] = rule
	}
}

// Route gives the route of the first rule that matches the query's recipient.
func (t *Table) Route(q Query) (Route, error) {
	domain := q.Recipient.Domain()
	best := t.domain(domain)
	if len(t.addresses) > 0 { // the key costs more than the look-up
		if i, ok := t.addresses[q.Recipient.Mailbox()]; ok && (best < 0 || i < best) {
			best = i
		}
	}
	ours := best >= 0
	if q.Relay && t.star >= 0 && domain != "" && (best < 0 || t.star < best) {
		best, ours = t.star, false
	}
	if best < 0 {
		return Route{}, ErrNoRoute
	}
	route := t.rules[best]
	route.Ours = ours
	return route, nil
}

// domain gives the index of the first rule that names the domain, itself or as a subdomain, or -1.
func (t *Table) domain(domain string) int {
	best := -1
	if i, ok := t.domains[domain]; ok {
		best = i
	}
	if len(t.suffixes) == 0 {
		return best
	}
	for rest := domain; ; {
		_, parent, ok := strings.Cut(rest, ".")
		if !ok {
			return best
		}
		if i, ok := t.suffixes[parent]; ok && (best < 0 || i < best) {
			best = i
		}
		rest = parent
	}
}

// Ours reports whether some rule other than "*" takes mail for the domain, or for a mailbox of it. The
// domain is in the form of mail.Address.Domain.
func (t *Table) Ours(domain string) bool {
	return domain != "" && (t.domain(domain) >= 0 || t.mailboxOf[domain])
}

// Suspicious reports whether a's local part could name a mailbox elsewhere to a server that reads more
// into it than RFC 5321 2.3.11 allows: it has a percent sign, an exclamation mark or an at sign, or is
// quoted. Such a recipient is accepted only where the recipient source knows just this mailbox.
func Suspicious(a mail.Address) bool {
	return a.IsQuoted() || strings.HasPrefix(a.Local(), `"`) || strings.ContainsAny(a.Local(), "%!@")
}
