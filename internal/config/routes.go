package config

import (
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/postern-mail/postern/mail"
)

// domain normalises a domain name. A name whose last label is a number is an address that was taken for
// one: no top-level domain is (RFC 3696 2).
func domain(s string) (string, error) {
	d, err := mail.Domain(s)
	if err != nil {
		return "", err
	}
	if strings.Trim(d[strings.LastIndexByte(d, '.')+1:], "0123456789") == "" {
		return "", fmt.Errorf("config: %s is not a domain", show(s))
	}
	return d, nil
}

// hostname is domain for the name of a host: of letters, digits and inner hyphens (RFC 1123 2.1), and with
// a domain behind it, as EHLO wants it (RFC 5321 2.3.5).
func hostname(s string) (string, error) {
	d, err := domain(s)
	if err != nil {
		return "", err
	}
	labels := strings.Split(d, ".")
	for _, l := range labels {
		if l[0] == '-' || l[len(l)-1] == '-' || strings.Contains(l, "_") {
			return "", fmt.Errorf("config: %s is not the name of a host", show(s))
		}
	}
	if len(labels) < 2 {
		return "", fmt.Errorf("config: %s lacks its domain", show(s))
	}
	return d, nil
}

// pattern normalises a pattern of recipients: a domain, "*.domain" for every domain below it, an
// address, "local@*" for that local part in every domain of ours, or "*".
func pattern(s string) (string, error) {
	bad := func() (string, error) {
		return "", fmt.Errorf(`must be a domain, "*.domain", an address or "*", and is %s`, show(s))
	}
	if s == "*" {
		return s, nil
	}
	if sub, ok := strings.CutPrefix(s, "*."); ok {
		d, err := domain(sub)
		if err != nil {
			return bad()
		}
		return "*." + d, nil
	}
	if local, ok := strings.CutSuffix(s, "@*"); ok {
		a, err := mail.ParseAddress(local + "@example.org")
		if err != nil {
			return bad()
		}
		return a.Local() + "@*", nil
	}
	if strings.Contains(s, "@") {
		a, err := mail.ParseAddress(s)
		if err != nil {
			return bad()
		}
		return a.String(), nil
	}
	d, err := domain(s)
	if err != nil {
		return bad()
	}
	return d, nil
}

// Exempt tells whether one of exempt_recipients fits the address. "local@*" fits in any domain: whether
// a domain is ours is the router's to know.
func (c *Config) Exempt(a mail.Address) bool {
	for _, p := range c.ExemptRecipients {
		local, domain := "", p
		if i := strings.LastIndexByte(p, '@'); i >= 0 {
			local, domain = p[:i], p[i+1:]
		}
		below, sub := strings.CutPrefix(domain, "*.")
		switch {
		case local != "" && !strings.EqualFold(mailbox(local), mailbox(a.Local())):
		case domain == "*" || domain == a.Domain() || sub && strings.HasSuffix(a.Domain(), "."+below):
			return true
		}
	}
	return false
}

// mailbox is a local part without its quotes: for comparisons.
func mailbox(local string) string {
	a, err := mail.ParseAddress(local + "@example.org")
	if err != nil {
		return local
	}
	return a.Unquoted()
}

func (k *checker) routes() {
	c := k.c
	if k.require("", "routes", "routes: [{to: [example.org], upstream: inside}]") && len(c.Routes) == 0 {
		k.fail("routes", "must have at least one route, as in - {to: [example.org], upstream: inside}")
	}
	upstreams, policies := make([]string, len(c.Upstreams)), make([]string, len(c.Policies))
	for i := range c.Upstreams {
		upstreams[i] = c.Upstreams[i].Name
	}
	for i := range c.Policies {
		policies[i] = c.Policies[i].Name
	}
	taken, names := map[string]int{}, map[string]int{}
	for i := range c.Routes {
		r := &c.Routes[i]
		path := fmt.Sprintf("routes[%d]", i)
		if k.require(path, "to", "to: [example.org]") && len(r.To) == 0 {
			k.fail(path+".to", "must name at least one domain or address")
		}
		k.patterns(path+".to", i, r, taken)
		k.senders(path, r)
		if len(r.To) > 0 {
			if first, ok := names[r.Name()]; ok {
				k.fail(path+".to", "routes[%d] is called %s already, in logs and metrics; let another entry come first", first, r.Name())
			}
			names[r.Name()] = i
		}
		if k.require(path, "upstream", "upstream: inside") && c.Upstream(r.Upstream) == nil {
			k.failAllowed(path+".upstream", upstreams, "there is no upstream %s%s", show(r.Upstream), Suggest(r.Upstream, upstreams))
		}
		if c.Policy(r.Policy) == nil {
			k.failAllowed(path+".policy", policies, "there is no policy %s%s", show(r.Policy), Suggest(r.Policy, policies))
		}
		k.callout(path, r)
		k.ldap(path, r)
		k.widening(path, r)
		switch {
		case r.Recipients.Verify == "file" && r.Recipients.File == "":
			k.fail(path+".recipients", "verify: file needs a file, as in recipients: {verify: file, file: /etc/postern/recipients}")
		case r.Recipients.Verify != "file" && r.Recipients.File != "":
			k.fail(path+".recipients.file", "the file is not looked at without verify: file")
		}
	}
	if c.Postmaster == "" {
		c.Postmaster = "postmaster@" + c.firstDomain()
	}
}

// longestAnswer bounds for how long an answer about a mailbox may hold: mailboxes come and go.
const longestAnswer = 7 * day

// callout checks what a route says about asking its upstream.
func (k *checker) callout(path string, r *Route) {
	path += ".recipients"
	if r.Recipients.Verify != "callout" {
		if r.Recipients.Cache != nil {
			k.fail(path+".cache", "nothing is remembered without verify: callout")
		}
		if k.wrote(path + ".sender") {
			k.fail(path+".sender", "nobody is asked without verify: callout")
		}
		return
	}
	if u := k.c.Upstream(r.Upstream); u != nil && u.Maildir != "" {
		k.fail(path, "verify: callout asks a server, and the upstream %s is a maildir, which has every mailbox", r.Upstream)
	}
	switch a, err := mail.ParseAddress(r.Recipients.Sender); {
	case r.Recipients.Sender == "" || r.Recipients.Sender == "<>":
		r.Recipients.Sender = ""
	case err != nil || a.Domain() == "" || !a.IsASCII():
		k.fail(path+".sender", "must be a mailbox of ASCII characters such as postmaster@example.org, or <> for the null one, and is %s", show(r.Recipients.Sender))
	default:
		r.Recipients.Sender = a.String()
	}
	c := r.Recipients.Cache
	if c == nil {
		c = &AnswerCache{}
		c.defaults()
		r.Recipients.Cache = c
	}
	if c.Positive <= 0 || c.Positive > longestAnswer {
		k.fail(path+".cache.positive", "must be greater than 0 and at most %s", FormatDuration(longestAnswer))
	}
	if c.Negative <= 0 || c.Negative > c.Positive {
		k.fail(path+".cache.negative", "must be greater than 0 and at most as long as positive")
	}
}

// patterns normalises the patterns of a route, and refuses one that an earlier route takes from everybody.
func (k *checker) patterns(path string, route int, r *Route, taken map[string]int) {
	for j, s := range r.To {
		at := fmt.Sprintf("%s[%d]", path, j)
		p, err := s, error(nil)
		if !IsPath(s) {
			p, err = pattern(s)
		}
		if err == nil && !IsPath(s) && strings.HasSuffix(p, "@*") {
			err = fmt.Errorf("a route takes no local@*; name the domain")
		}
		if err != nil {
			k.fail(at, "%s%s", err, pathHint(s))
			continue
		}
		r.To[j] = p
		if first, ok := taken[p]; ok {
			k.fail(at, "routes[%d] takes %s already; the first route that fits counts", first, p)
			continue
		}
		if wide, first, ok := shadow(p, route, taken); ok {
			k.fail(at, "routes[%d] takes all of %s already: nothing comes this far; put the narrower route first", first, wide)
			continue
		}
		if !r.narrow() {
			taken[p] = route
		}
	}
}

// senders checks what narrows a route.
func (k *checker) senders(path string, r *Route) {
	for j, s := range r.From {
		if s == "<>" || IsPath(s) {
			continue
		}
		p, err := pattern(s)
		if err != nil || p == "*" || strings.HasSuffix(p, "@*") {
			k.fail(fmt.Sprintf("%s.from[%d]", path, j), `must be a domain, "*.domain", an address or "<>", and is %s%s`, show(s), pathHint(s))
			continue
		}
		r.From[j] = p
	}
	names := make([]string, len(k.c.Listeners))
	for i := range k.c.Listeners {
		names[i] = k.c.Listeners[i].Name
	}
	for j, s := range r.Listeners {
		if !slices.Contains(names, s) {
			k.failAllowed(fmt.Sprintf("%s.listeners[%d]", path, j), names, "there is no listener %s%s", show(s), Suggest(s, names))
		}
	}
}

// IsPath reports whether an entry of a route's to or from names a file of patterns. No domain begins so; an address that does
// may stand in such a file.
func IsPath(entry string) bool {
	return strings.HasPrefix(entry, "/") || strings.HasPrefix(entry, "./") || strings.HasPrefix(entry, "../")
}

// pathHint says how paths are written, after an error about an entry that may be meant for one.
func pathHint(entry string) string {
	if !strings.Contains(entry, "/") {
		return ""
	}
	return "; the path of a file begins with /, ./ or ../"
}

// PatternFiles gives the files of patterns that routes name, each with the place where it is named.
func (c *Config) PatternFiles() iter.Seq2[string, string] {
	return func(yield func(place, path string) bool) {
		for i := range c.Routes {
			r := &c.Routes[i]
			for j, p := range r.To {
				if IsPath(p) && !yield(fmt.Sprintf("routes[%d].to[%d]", i, j), p) {
					return
				}
			}
			for j, p := range r.From {
				if IsPath(p) && !yield(fmt.Sprintf("routes[%d].from[%d]", i, j), p) {
					return
				}
			}
		}
	}
}

// shadow finds a pattern of an earlier route that takes everything p does.
func shadow(p string, route int, taken map[string]int) (wide string, first int, ok bool) {
	if IsPath(p) {
		return "", 0, false // what is in it changes
	}
	earlier := func(wide string) bool {
		first, ok = taken[wide]
		return ok && first < route
	}
	domain := strings.TrimPrefix(p, "*.")
	if _, d, isAddress := strings.Cut(p, "@"); isAddress {
		if domain = d; earlier(d) {
			return d, first, true
		}
	}
	for rest := domain; ; {
		_, parent, more := strings.Cut(rest, ".")
		if !more {
			return "", 0, false
		}
		if earlier("*." + parent) {
			return "*." + parent, first, true
		}
		rest = parent
	}
}

// firstDomain is the first domain of ours, the host's own name where the routes name none.
func (c *Config) firstDomain() string {
	for _, r := range c.Routes {
		for _, p := range r.To {
			if p != "*" && !IsPath(p) {
				return strings.TrimPrefix(p[strings.LastIndexByte(p, '@')+1:], "*.")
			}
		}
	}
	return c.Hostname
}

func (k *checker) rest() {
	c := k.c
	if c.Drain < 0 || c.Drain > time.Hour {
		k.fail("drain", "must be a duration from 0s to 1h")
	}
	if c.ContentBudget <= 0 {
		k.fail("content_budget", "must be greater than 0")
	}
	if c.State.Directory == "" {
		k.fail("state.directory", "must name a folder")
	}
	if c.Quarantine.Keep <= 0 {
		k.fail("quarantine.keep", "keep must be greater than 0")
	}
	if c.Quarantine.Size <= 0 {
		k.fail("quarantine.size", "size must be greater than 0; the quarantine can't be switched off")
	}
	k.spool()
	if k.wrote("metrics") && c.Metrics.Address == "" {
		k.require("metrics", "address", "address: 127.0.0.1:9797")
	}
	if k.wrote("metrics.address") {
		if err := hostPort(c.Metrics.Address, false, true); err != nil {
			k.fail("metrics.address", "%s", err)
		}
	}
}

// mostPause is the longest pause between two tries: more is a slip, and the message given up before its second try.
const mostPause = 24 * time.Hour

func (k *checker) spool() {
	s := &k.c.Spool
	if s.Size <= 0 {
		k.fail("spool.size", "size must be greater than 0; the spool can't be switched off: relay clients need it")
	}
	if s.Retry.First < time.Second {
		k.fail("spool.retry.first", "first must be at least 1s")
	}
	if s.Retry.Most > mostPause {
		k.fail("spool.retry.most", "most must not be more than %s", mostPause)
	}
	if s.Retry.Most < s.Retry.First {
		k.fail("spool.retry.most", "most must not be less than first, which is %s", s.Retry.First)
	}
	if s.Expire < time.Minute {
		k.fail("spool.expire", "expire must be at least 1m")
	}
	if s.Warn < 0 || s.Warn >= s.Expire {
		k.fail("spool.warn", "warn must be less than expire, which is %s; 0 for never", s.Expire)
	}
	if s.Parallel < 1 || s.Parallel > 1000 {
		k.fail("spool.parallel", "parallel must be from 1 to 1000")
	}
}
