package upstream

import (
	"errors"
	"fmt"
	"slices"
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
	Exchange bool   // the servers of the upstream are Exchange's
	Spool    bool   // mail that can't be handed on may wait
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
	patterns  [][]pattern    // of each rule
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
		patterns := make([]pattern, len(r.To))
		for j, to := range r.To {
			var err error
			if patterns[j], err = parsePattern(to); err != nil {
				return nil, fmt.Errorf("upstream: routes[%d]: pattern %q: %w", i, to, err)
			}
			t.add(patterns[j], i)
		}
		t.patterns = append(t.patterns, patterns)
		route := r.Route
		if route.Name == "" {
			route.Name = r.To[0]
		}
		t.rules = append(t.rules, route)
	}
	return t, nil
}

// pattern is one entry of a Rule's To.
type pattern struct {
	kind patternKind
	key  string // a domain, or the Mailbox of an address
	at   string // the domain of an address
}

type patternKind uint8

const (
	isDomain patternKind = iota
	isSuffix
	isAddress
	isStar
)

func parsePattern(s string) (pattern, error) {
	switch {
	case s == "":
		return pattern{}, errors.New("empty")
	case s == "*":
		return pattern{kind: isStar}, nil
	case strings.ContainsRune(s, '@'):
		a, err := mail.ParseAddress(s)
		if err != nil {
			return pattern{}, fmt.Errorf("not an address: %w", err)
		}
		return pattern{isAddress, a.Mailbox(), a.Domain()}, nil
	}
	kind, name := isDomain, s
	if rest, ok := strings.CutPrefix(s, "*."); ok {
		kind, name = isSuffix, rest
	}
	if strings.ContainsRune(name, '*') {
		return pattern{}, errors.New(`"*" stands alone or as the first label only`)
	}
	domain, err := mail.Domain(name)
	if err != nil {
		return pattern{}, fmt.Errorf("not a domain: %w", err)
	}
	return pattern{kind: kind, key: domain}, nil
}

// fits reports whether the pattern takes a, whoever the client is.
func (p pattern) fits(a mail.Address) bool {
	switch p.kind {
	case isAddress:
		return p.key == a.Mailbox()
	case isSuffix:
		return strings.HasSuffix(a.Domain(), "."+p.key)
	case isStar:
		return a.Domain() != ""
	}
	return p.key == a.Domain()
}

func (t *Table) add(p pattern, rule int) {
	switch p.kind {
	case isStar:
		if t.star < 0 {
			t.star = rule
		}
	case isAddress:
		first(t.addresses, p.key, rule)
		t.mailboxOf[p.at] = true
	case isSuffix:
		first(t.suffixes, p.key, rule)
	default:
		first(t.domains, p.key, rule)
	}
}

// first enters a pattern unless an earlier rule has it already.
func first(m map[string]int, key string, rule int) {
	if _, ok := m[key]; !ok {
		m[key] = rule
	}
}

// Route gives the route of the first rule that matches the query's recipient.
func (t *Table) Route(q Query) (Route, error) {
	best, ours := t.find(q)
	if best < 0 {
		return Route{}, ErrNoRoute
	}
	route := t.rules[best]
	route.Ours = ours
	return route, nil
}

// Match gives the number of the rule that Route goes by, and of that entry of its To which matches: of several, one
// that is not "*", and the first of those. It is for people who ask why. The error is ErrNoRoute where there is none.
func (t *Table) Match(q Query) (rule, to int, err error) {
	rule, ours := t.find(q)
	if rule < 0 {
		return 0, 0, ErrNoRoute
	}
	return rule, slices.IndexFunc(t.patterns[rule], func(p pattern) bool {
		return (p.kind == isStar) != ours && p.fits(q.Recipient)
	}), nil
}

// find gives the index of the first rule that matches, or -1, and whether by something other than "*".
func (t *Table) find(q Query) (best int, ours bool) {
	domain := q.Recipient.Domain()
	best = t.domain(domain)
	if len(t.addresses) > 0 { // the key costs more than the look-up
		if i, ok := t.addresses[q.Recipient.Mailbox()]; ok && (best < 0 || i < best) {
			best = i
		}
	}
	ours = best >= 0
	if q.Relay && t.star >= 0 && domain != "" && (best < 0 || t.star < best) {
		best, ours = t.star, false
	}
	return best, ours
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
