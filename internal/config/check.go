package config

import (
	"fmt"
	"net"
	"net/netip"
	"reflect"
	"slices"
	"sort"
	"strconv"
	"strings"
	"unicode"

	"github.com/postern-mail/postern/internal/senders"
	"github.com/postern-mail/postern/mail"
)

// checker looks at a decoded configuration as a whole: what must be there, what must fit together. It
// says nothing about a place that the decoder has already complained about.
type checker struct {
	c     *Config
	kinds []string
	bad   map[*node]bool
	errs  Errors
}

func (k *checker) fail(path, format string, args ...any) { k.failAllowed(path, nil, format, args...) }

func (k *checker) failAllowed(path string, allowed []string, format string, args ...any) {
	n, at, _ := locate(k.c.root, path)
	if n != nil && k.spoilt(n) {
		return
	}
	k.errs = append(k.errs, k.c.src.errorAt(at, fmt.Sprintf(format, args...), allowed...))
}

// spoilt tells whether the decoder complained about n or anything directly below it.
func (k *checker) spoilt(n *node) bool {
	if k.bad[n] {
		return true
	}
	for _, item := range n.items {
		if k.bad[item] {
			return true
		}
	}
	return false
}

func (k *checker) wrote(path string) bool {
	_, _, ok := locate(k.c.root, path)
	return ok
}

// require complains about a key that is not there, unless a fault of what should hold it was told.
func (k *checker) require(path, key, example string) bool {
	full := key
	if path != "" {
		full = path + "." + key
	}
	if k.wrote(full) {
		return true
	}
	k.fail(path, "%s is missing, as in %s", key, example)
	return false
}

func (k *checker) all() {
	k.names()
	k.bigSenders()
	k.authres()
	k.listeners()
	k.partners()
	k.secureDomains()
	k.upstreams()
	k.filters()
	k.policies()
	k.routes()
	k.signing()
	k.rest()
}

func (k *checker) names() {
	c := k.c
	if k.require("", "hostname", "hostname: mx.example.org") {
		if name, err := hostname(c.Hostname); err != nil {
			k.fail("hostname", "must be a full domain name such as mx.example.org, and is %s", show(c.Hostname))
		} else {
			c.Hostname = name
		}
	}
	if c.Node == "" {
		c.Node = mail.NodeName(c.Hostname)
	} else if safe := mail.NodeName(c.Node); safe != c.Node {
		k.fail("node", "%s can't stand in an id; %s can", show(c.Node), show(safe))
	}
	if k.wrote("postmaster") {
		if a, err := mail.ParseAddress(c.Postmaster); err != nil || a.Domain() == "" {
			k.fail("postmaster", "must be a mailbox such as admin@example.org, and is %s", show(c.Postmaster))
		} else {
			c.Postmaster = a.String()
		}
	}
	for i, s := range c.ExemptRecipients {
		p, err := pattern(s)
		if err != nil {
			k.fail(fmt.Sprintf("exempt_recipients[%d]", i), "%s", err)
			continue
		}
		c.ExemptRecipients[i] = p
	}
}

// bigSenders normalises the domains of big senders.
func (k *checker) bigSenders() {
	all := k.c.BigSenders
	if len(all) > senders.MaxDomains {
		k.fail("big_senders", "%d domains; at most %d are allowed", len(all), senders.MaxDomains)
	}
	for i, s := range all {
		path := fmt.Sprintf("big_senders[%d]", i)
		switch d, err := mail.Domain(s); {
		case err != nil || !strings.Contains(d, "."):
			k.fail(path, "must be a domain with an SPF record, such as _spf.example.com, and is %s", show(s))
		case slices.Contains(all[:i], d):
			k.fail(path, "%s stands twice", show(s))
		default:
			all[i] = d
		}
	}
}

// authres fills in our authserv-id, and normalises it and those of others.
func (k *checker) authres() {
	a := &k.c.AuthRes
	const example = "must be a name such as mail.example.org, and is %s"
	if a.ID == "" {
		if k.wrote("authres.id") {
			k.fail("authres.id", example, show(a.ID))
		}
		a.ID = k.c.Hostname
	} else if id, err := mail.Domain(a.ID); err != nil {
		k.fail("authres.id", example, show(a.ID))
	} else {
		a.ID = id
	}
	for i, s := range a.Keep {
		path := fmt.Sprintf("authres.keep[%d]", i)
		switch id, err := mail.Domain(s); {
		case err != nil:
			k.fail(path, example, show(s))
		case id == a.ID:
			k.fail(path, "%s is our own name here: from outside nobody else may bear it", show(s))
		default:
			a.Keep[i] = id
		}
	}
}

// hostPort checks a host:port; host tells whether there must be a host, port 0 whether it may be.
func hostPort(s string, host, zero bool) error {
	h, p, err := net.SplitHostPort(s)
	switch {
	case err != nil:
		return fmt.Errorf("must be host:port, and is %s", show(s))
	case host && h == "":
		return fmt.Errorf("must name a host before the port, and is %s", show(s))
	}
	if port, err := strconv.ParseUint(p, 10, 16); err != nil || port == 0 && !zero {
		return fmt.Errorf("the port must be a number from 1 to 65535, and is %s", show(p))
	}
	if h == "" || net.ParseIP(strings.SplitN(h, "%", 2)[0]) != nil {
		return nil
	}
	if _, err := domain(h); err != nil {
		return fmt.Errorf("%s is neither a host name nor an address", show(h))
	}
	return nil
}

func (k *checker) listeners() {
	c := k.c
	if k.require("", "listeners", `listeners: {public: {address: ":25"}}`) && len(c.Listeners) == 0 {
		k.fail("listeners", `must have at least one listener, as in public: {address: ":25"}`)
	}
	for i := range c.Listeners {
		l := &c.Listeners[i]
		path := "listeners." + l.Name
		if k.require(path, "address", `address: ":25"`) {
			if err := hostPort(l.Address, false, true); err != nil {
				k.fail(path+".address", "%s", err)
			}
		}
		for _, o := range c.Listeners[:i] {
			if o.Address == l.Address && l.Address != "" && !strings.HasSuffix(l.Address, ":0") {
				k.fail(path+".address", "listener %s has this address already", o.Name)
			}
		}
		if l.TLS != nil {
			k.keyPair(path + ".tls")
			for j := range l.TLS.SNI {
				k.keyPair(fmt.Sprintf("%s.tls.sni[%d]", path, j))
			}
		}
		k.proxies(path+".proxy_protocol", l.ProxyProtocol)
		k.proxies(path+".xclient", l.XClient)
		k.early(path, l)
		k.limits(path+".limits", l.Limits)
		k.relay(path+".relay", l)
	}
}

// proxies checks networks of hosts that say who their client is.
func (k *checker) proxies(path string, networks []netip.Prefix) {
	for i, p := range networks {
		if p.Bits() == 0 {
			k.fail(fmt.Sprintf("%s[%d]", path, i), "with %s anybody could say who he is: name the proxies", p)
		}
	}
}

func (k *checker) keyPair(path string) {
	k.require(path, "certificate", "certificate: /etc/postern/tls/cert.pem")
	k.require(path, "key", "key: /etc/postern/tls/key.pem")
}

func (k *checker) limits(path string, l Limits) {
	v := reflect.ValueOf(l)
	for _, f := range fieldsOf(v.Type()) {
		if v.FieldByIndex(f.index).Int() <= 0 {
			k.fail(path+"."+f.key, "%s must be greater than 0", f.key)
		}
	}
}

// notForMaildir are the keys of an upstream that speak of servers.
var notForMaildir = []string{
	"protocol", "tls", "ca_file", "server_name", "certificate", "key", "auth", "chunking", "identity", "replies", "profile", "source", "limits", "probe",
}

func (k *checker) upstreams() {
	c := k.c
	if k.require("", "upstreams", "upstreams: {inside: {servers: [mail.example.org:25]}}") && len(c.Upstreams) == 0 {
		k.fail("upstreams", "must have at least one upstream, as in inside: {servers: [mail.example.org:25]}")
	}
	for i := range c.Upstreams {
		u := &c.Upstreams[i]
		path := "upstreams." + u.Name
		servers, maildir := k.wrote(path+".servers"), k.wrote(path+".maildir")
		switch {
		case servers && maildir:
			k.fail(path+".maildir", "an upstream has servers or a maildir, not both")
		case !servers && !maildir:
			k.fail(path, "names no place: servers: [host:port], or maildir: FOLDER")
		case servers && len(u.Servers) == 0:
			k.fail(path+".servers", "must name at least one server as host:port")
		case maildir && u.Maildir == "":
			k.fail(path+".maildir", "must name a folder")
		}
		k.servers(path+".servers", u)
		if maildir && !servers {
			u.Protocol, u.TLS, u.Chunking, u.Identity, u.Replies, u.Profile, u.Probe, u.Limits = "", "", "", "", "", "", "", nil
			for _, key := range notForMaildir {
				if k.wrote(path + "." + key) {
					k.fail(path+"."+key, "%s has no meaning for a maildir", key)
				}
			}
		}
		if u.CAFile != "" && u.TLS != "verify" && !c.verifiesSome() {
			k.fail(path+".ca_file", "certificates are verified with tls: verify, or for domains of require_tls_to, only")
		}
		if u.Profile == "exchange" && u.Protocol == "lmtp" {
			k.fail(path+".profile", "Exchange speaks SMTP: no protocol: lmtp with profile: exchange")
		}
		if u.Chunking == "auto" && u.Protocol == "lmtp" {
			k.fail(path+".chunking", "with protocol: lmtp there is DATA alone")
		}
		if u.Auth != nil && u.Maildir == "" {
			k.auth(path, u)
		}
		if u.Maildir == "" {
			k.connections(path, u)
		}
	}
}

// auth checks what we authenticate ourselves with to servers.
func (k *checker) auth(path string, u *Upstream) {
	if k.require(path+".auth", "user", "user: gateway@example.org") {
		if u.Auth.User == "" || len(u.Auth.User) > maxCredential || strings.ContainsFunc(u.Auth.User, unicode.IsControl) {
			k.fail(path+".auth.user", "must be a name of at most %d octets without control characters, and is %s", maxCredential, show(u.Auth.User))
		}
	}
	if k.require(path+".auth", "password_file", "password_file: /etc/postern/password") && u.Auth.PasswordFile == "" {
		k.fail(path+".auth.password_file", "must name a file")
	}
	if u.Identity == "xclient" {
		k.fail(path+".identity", "xclient makes the server forget who has logged in: leave auth out, and let it know this gateway by its address")
	}
	if u.TLS == "none" || u.TLS == "opportunistic" {
		at := path + ".tls"
		if !k.wrote(at) {
			at = path + ".auth"
		}
		k.failAllowed(at, []string{"required", "verify"}, "with auth, tls: %s would show the password to whoever listens or answers in the server's place", u.TLS)
	}
}

func (k *checker) filters() {
	c := k.c
	if !k.wrote("filters") {
		for _, kind := range standardFilters {
			if slices.Contains(k.kinds, kind) {
				c.Filters = append(c.Filters, &Filter{Kind: kind, Name: kind, OnError: "defer", options: &node{kind: mapping}})
			}
		}
	}
	known := slices.Clone(k.kinds)
	sort.Strings(known)
	seen := map[string]bool{}
	for _, f := range c.Filters {
		f.c = c
		report := func(allowed []string, format string, args ...any) {
			k.errs = append(k.errs, c.src.errorAt(f.Pos, fmt.Sprintf(format, args...), allowed...))
		}
		switch {
		case slices.Contains(k.kinds, f.Kind):
		case slices.Contains(laterFilters, f.Kind):
			report(known, "the filter %s is not in this version of Postern", f.Kind)
		default:
			report(known, "unknown filter %s%s", show(f.Kind), Suggest(f.Kind, known))
		}
		switch {
		case !validName(f.Name):
			report(nil, "the name %s must be of letters, digits, - and _, at most 40", show(f.Name))
		case seen[f.Name]:
			report(nil, "there is a filter %s already; give this one a name: of its own", f.Name)
		}
		seen[f.Name] = true
	}
}

func (k *checker) policies() {
	c := k.c
	if c.Policy(DefaultPolicy) == nil {
		p := Policy{Name: DefaultPolicy}
		p.defaults()
		c.Policies = append([]Policy{p}, c.Policies...)
	}
	names := make([]string, len(c.Filters))
	for i, f := range c.Filters {
		names[i] = f.Name
	}
	for i := range c.Policies {
		p := &c.Policies[i]
		path := "policies." + p.Name
		if !k.wrote(path+".tag") && !k.wrote(path+".quarantine") && !k.wrote(path+".reject") {
			p.thresholds()
		}
		k.ascending(path, p)
		if p.Subject = strings.TrimSpace(p.Subject); len(p.Subject) > maxSubject || strings.ContainsFunc(p.Subject, unicode.IsControl) {
			k.fail(path+".subject", "must be a word such as \"[SPAM]\", of printable characters and at most %d octets", maxSubject)
		}
		for symbol := range p.Weights {
			if !validSymbol(symbol) {
				k.fail(path+".weights."+strconv.Quote(symbol), "a symbol is of the form UPPER_SNAKE, and this is %s", show(symbol))
			}
		}
		for _, o := range p.Filters {
			if slices.Contains(names, o.name) {
				continue
			}
			msg := fmt.Sprintf("no filter of that name runs: %s%s", show(o.name), Suggest(o.name, names))
			if slices.Contains(laterFilters, o.name) && !slices.Contains(k.kinds, o.name) {
				msg = fmt.Sprintf("the filter %s is not in this version of Postern", o.name)
			}
			k.errs = append(k.errs, c.src.errorAt(o.pos, msg, names...))
		}
	}
}

// maxSubject is how many octets the word may have that goes before a subject: there is to be room for the subject.
const maxSubject = 40

// ascending refuses thresholds of which a milder one could never be reached.
func (k *checker) ascending(path string, p *Policy) {
	type threshold struct {
		key string
		at  *float64
	}
	var last threshold
	for _, t := range []threshold{{"tag", p.Tag}, {"quarantine", p.Quarantine}, {"reject", p.Reject}} {
		if t.at == nil {
			continue
		}
		if last.at != nil && *t.at < *last.at {
			k.fail(path+"."+t.key, "%s: %g lies below %s: %g, which would never be reached", t.key, *t.at, last.key, *last.at)
		}
		last = t
	}
}

func validSymbol(s string) bool {
	return s != "" && len(s) <= 64 && strings.Trim(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") == "" &&
		s[0] >= 'A' && s[0] <= 'Z'
}
