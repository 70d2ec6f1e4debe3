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
//
// Of From, where it is not empty, one entry must fit the reverse-path: a domain, "*.domain", an address, or "<>" for the null one.
// It is what the client says of itself. Of Listeners, where it is not empty, one must be the listener's name.
//
// An entry of To or From under which Files has a file stands for the entries of that file, whatever it has at the moment.
type Rule struct {
	To        []string
	From      []string
	Listeners []string
	Files     map[string]*PatternFile
	Route
}

// Table is a Router of rules of which the first match wins. It is immutable but for what its files say.
type Table struct {
	rules     []rule
	domains   map[string][]int // domain -> indexes of the rules that name it, ascending
	suffixes  map[string][]int // "*.domain", by domain
	addresses map[string][]int // by Mailbox
	mailboxOf map[string]bool
	stars     []int    // the rules with "*"
	files     []listed // ascending

	last   Match  // where the mail of the mailbox of that key goes if no rule has a route for it
	lastOf string // "": there is none
}

// listed is a file that a rule names in To.
type listed struct {
	rule int
	file *PatternFile
}

// rule is a Rule, compiled.
type rule struct {
	route     Route
	to, from  []pattern
	listeners []string
}

// admits reports whether a rule is for the sender and the listener of a query.
func (r *rule) admits(q *Query) bool {
	return (len(r.listeners) == 0 || slices.Contains(r.listeners, q.Listener)) &&
		(len(r.from) == 0 || slices.ContainsFunc(r.from, func(p pattern) bool { return p.fits(q.From) }))
}

// NewTable checks and compiles the rules. Its errors name the rule by its number, from 0, and the pattern.
func NewTable(rules []Rule) (*Table, error) {
	t := &Table{domains: map[string][]int{}, suffixes: map[string][]int{}, addresses: map[string][]int{}, mailboxOf: map[string]bool{}}
	for i, r := range rules {
		if len(r.To) == 0 {
			return nil, fmt.Errorf("upstream: routes[%d]: no pattern", i)
		}
		c := rule{route: r.Route, listeners: r.Listeners}
		if c.route.Name == "" {
			c.route.Name = r.To[0]
		}
		for _, to := range r.To {
			p, err := r.pattern(to, parsePattern)
			if err != nil {
				return nil, fmt.Errorf("upstream: routes[%d]: pattern %q: %w", i, to, err)
			}
			c.to = append(c.to, p)
			t.add(p, i)
		}
		for _, from := range r.From {
			p, err := r.pattern(from, parseSender)
			if err != nil {
				return nil, fmt.Errorf("upstream: routes[%d]: from %q: %w", i, from, err)
			}
			c.from = append(c.from, p)
		}
		t.rules = append(t.rules, c)
	}
	return t, nil
}

// pattern reads an entry of To or From.
func (r *Rule) pattern(entry string, parse func(string) (pattern, error)) (pattern, error) {
	if f := r.Files[entry]; f != nil {
		return pattern{kind: isFile, file: f}, nil
	}
	return parse(entry)
}

// parseSender reads an entry of From.
func parseSender(s string) (pattern, error) {
	if s == "<>" {
		return pattern{kind: isNull}, nil
	}
	p, err := parsePattern(s)
	if err == nil && p.kind == isStar {
		err = errors.New(`"*" is no sender; without from a route is for all of them`)
	}
	return p, err
}

// pattern is one entry of a Rule's To.
type pattern struct {
	kind patternKind
	key  string // a domain, or the Mailbox of an address
	at   string // the domain of an address
	file *PatternFile
}

type patternKind uint8

const (
	isDomain patternKind = iota
	isSuffix
	isAddress
	isStar
	isNull // the null reverse-path
	isFile
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
		return pattern{kind: isAddress, key: a.Mailbox(), at: a.Domain()}, nil
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
	case isNull:
		return a.IsZero()
	case isFile:
		return p.file.list.Get().has(a)
	}
	return p.key == a.Domain()
}

func (t *Table) add(p pattern, rule int) {
	switch p.kind {
	case isStar:
		t.stars = append(t.stars, rule)
	case isFile:
		t.files = append(t.files, listed{rule, p.file})
	case isAddress:
		t.addresses[p.key] = append(t.addresses[p.key], rule)
		t.mailboxOf[p.at] = true
	case isSuffix:
		t.suffixes[p.key] = append(t.suffixes[p.key], rule)
	default:
		t.domains[p.key] = append(t.domains[p.key], rule)
	}
}

// Reach gives a mailbox the route of a rule, by an entry of its To, where no rule has one for it: RFC 5321 4.5.1 wants the postmaster
// to be reached, also where only other mailboxes of its domain are named. It is to be called before the first query.
func (t *Table) Reach(a mail.Address, rule, to int) {
	t.last, t.lastOf = Match{Rule: rule, To: to}, a.Mailbox()
}

// Route gives the route of the first rule that matches the query.
func (t *Table) Route(q Query) (Route, error) {
	best, ours := t.find(&q)
	if best < 0 && t.reaches(q) {
		best, ours = t.last.Rule, true
	}
	if best < 0 {
		return Route{}, ErrNoRoute
	}
	route := t.rules[best].route
	route.Ours = ours
	return route, nil
}

// Match is why a recipient goes where he goes.
type Match struct {
	Rule, To int    // the number of the rule, and of that entry of its To
	Entry    string // where that is a file: the entry of the file
	Line     int    // of it
}

// Match gives the rule that Route goes by, and that entry of its To which matches: of several, one that is not "*", and the
// first of those. It is for people who ask why, and goes through all of them. The error is ErrNoRoute where there is none.
func (t *Table) Match(q Query) (m Match, err error) {
	for m.Rule = range t.rules {
		r := &t.rules[m.Rule]
		if !r.admits(&q) {
			continue
		}
		star := -1
		for i := range r.to {
			m.To = i
			switch p := &r.to[i]; {
			case p.kind == isStar:
				if star < 0 {
					star = i
				}
			case p.kind == isFile:
				if m.Entry, m.Line = p.file.list.Get().find(q.Recipient); m.Line > 0 {
					return m, nil
				}
			case p.fits(q.Recipient):
				return m, nil
			}
		}
		if star >= 0 && q.Relay && q.Recipient.Domain() != "" {
			m.To = star
			return m, nil
		}
	}
	if t.reaches(q) {
		return t.last, nil
	}
	return Match{}, ErrNoRoute
}

// reaches reports whether a query is for the mailbox of Reach.
func (t *Table) reaches(q Query) bool { return t.lastOf != "" && q.Recipient.Mailbox() == t.lastOf }

// Admits reports whether a rule is for the sender and the listener of a query, whoever the recipient is.
func (t *Table) Admits(rule int, q Query) bool { return t.rules[rule].admits(&q) }

// find gives the index of the first rule that matches, or -1, and whether by something other than "*".
func (t *Table) find(q *Query) (best int, ours bool) {
	domain := q.Recipient.Domain()
	best = -1
	best = t.better(best, t.domains[domain], q)
	for rest := domain; len(t.suffixes) > 0; {
		_, parent, ok := strings.Cut(rest, ".")
		if !ok {
			break
		}
		best = t.better(best, t.suffixes[parent], q)
		rest = parent
	}
	if len(t.addresses) > 0 { // the key costs more than the look-up
		best = t.better(best, t.addresses[q.Recipient.Mailbox()], q)
	}
	for _, l := range t.files {
		if best >= 0 && l.rule >= best {
			break
		}
		if t.rules[l.rule].admits(q) && l.file.list.Get().has(q.Recipient) {
			best = l.rule
		}
	}
	named := best
	if q.Relay && domain != "" {
		best = t.better(best, t.stars, q)
	}
	return best, best >= 0 && best == named
}

// better gives the first rule of all that the query is for, or best where that comes before.
func (t *Table) better(best int, all []int, q *Query) int {
	for _, i := range all {
		if best >= 0 && i >= best {
			return best
		}
		if t.rules[i].admits(q) {
			return i
		}
	}
	return best
}

// Ours reports whether some rule other than "*" takes mail for the domain, or for a mailbox of it. The
// domain is in the form of mail.Address.Domain.
func (t *Table) Ours(domain string) bool {
	if domain == "" {
		return false
	}
	if len(t.domains[domain]) > 0 || t.mailboxOf[domain] {
		return true
	}
	for rest := domain; len(t.suffixes) > 0; {
		_, parent, ok := strings.Cut(rest, ".")
		if !ok {
			break
		}
		if len(t.suffixes[parent]) > 0 {
			return true
		}
		rest = parent
	}
	return slices.ContainsFunc(t.files, func(l listed) bool { return l.file.list.Get().ours(domain) })
}

// Suspicious reports whether a's local part could name a mailbox elsewhere to a server that reads more
// into it than RFC 5321 2.3.11 allows: it has a percent sign, an exclamation mark or an at sign, or is
// quoted. Such a recipient is accepted only where the recipient source knows just this mailbox.
func Suspicious(a mail.Address) bool {
	return a.IsQuoted() || strings.HasPrefix(a.Local(), `"`) || strings.ContainsAny(a.Local(), "%!@")
}
