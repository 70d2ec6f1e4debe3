package rules

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/filter/auth"
	"github.com/postern-mail/postern/rules/eval"
	"github.com/postern-mail/postern/rules/text"
)

// How the questions of network rules are asked: all at once, before the other rules run, and awaited when these have run. What does
// not come in time counts as no answer: the rule does not hit.

// Bounds of what is asked for one message.
const (
	maxQuestions = 150
	maxLinkNames = 20 // as in SpamAssassin, uridnsbl_max_domains
	maxHops      = 9  // as in SpamAssassin, num_check_received
	networkTime  = 5 * time.Second
)

// question is one look-up.
type question struct {
	name string
	kind recordType
}

// reply is what came of it.
type reply struct {
	values   []string
	notThere bool // it is certain that there is no such name
}

// asking is the look-ups of one message.
type asking struct {
	dns     filter.Resolver
	ctx     context.Context //nolint:containedctx // of the look-ups alone, which end with it
	cancel  context.CancelFunc
	wait    sync.WaitGroup
	mu      sync.Mutex
	replies map[question]*reply // nil: it has not come yet
	by      [][]question        // by place in Set.network
	sets    map[string][]question
}

// ask begins to ask what the rules want to know. The result may be nil.
func (s *Set) ask(ctx context.Context, m *eval.Mail) *asking {
	if len(s.network) == 0 || m.DNS == nil {
		return nil
	}
	a := &asking{dns: m.DNS, replies: map[question]*reply{}, sets: map[string][]question{}, by: make([][]question, len(s.network))}
	a.ctx, a.cancel = context.WithTimeout(ctx, timeFor(ctx))
	v := &view{set: s, m: m}
	for i, r := range s.network {
		t := r.test.network
		for _, q := range v.questions(t) {
			if !a.put(q) {
				continue
			}
			a.by[i] = append(a.by[i], q)
			if t.set != "" {
				a.sets[t.set] = append(a.sets[t.set], q)
			}
		}
		if t.of == ofHosts {
			a.follow(i, t, v.links(t))
		}
	}
	return a
}

// networkMargin is what must be left of the caller's own time, so that silent lists are not taken for a fault of ours.
const networkMargin = time.Second

// timeFor gives the time that the look-ups may take.
func timeFor(ctx context.Context) time.Duration {
	deadline, ok := ctx.Deadline()
	if !ok {
		return networkTime
	}
	left := time.Until(deadline)
	return min(networkTime, max(left-networkMargin, left/2))
}

// put begins one look-up, where nobody has; false: it is one too many, or no name.
func (a *asking) put(q question) bool {
	a.mu.Lock()
	_, known := a.replies[q]
	full := len(a.replies) >= maxQuestions
	if !known && !full {
		a.replies[q] = nil
	}
	a.mu.Unlock()
	if known || full || len(q.name) > 253 {
		return known
	}
	a.wait.Go(func() {
		r := a.look(q)
		a.mu.Lock()
		a.replies[q] = r
		a.mu.Unlock()
	})
	return true
}

// follow asks for the addresses of the names in links, and a list about these.
func (a *asking) follow(i int, t *networkTest, names []string) {
	for _, n := range names {
		a.wait.Go(func() {
			found := []string{n}
			if _, err := netip.ParseAddr(n); err != nil {
				found = a.look(question{n, typeA}).values
			}
			for _, v := range found {
				addr, err := netip.ParseAddr(v)
				if err != nil || text.IsPrivate(addr) {
					continue
				}
				if q := (question{text.Reversed(addr) + "." + t.zone, t.kind}); a.put(q) {
					a.mu.Lock()
					a.by[i] = append(a.by[i], q)
					a.mu.Unlock()
				}
			}
		})
	}
}

// fourOnly is a resolver that can be asked for IPv4 addresses alone: no list answers with others (RFC 5782 2.4).
type fourOnly interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// look asks one question.
func (a *asking) look(q question) *reply {
	var r reply
	var err error
	switch q.kind {
	case typeTXT:
		r.values, err = a.dns.LookupTXT(a.ctx, q.name)
	case typeMX:
		var all []*net.MX
		all, err = a.dns.LookupMX(a.ctx, q.name)
		for _, mx := range all {
			r.values = append(r.values, strconv.Itoa(int(mx.Pref))+" "+mx.Host)
		}
	case typeAny:
		_, err = a.dns.LookupIPAddr(a.ctx, q.name)
	default:
		var all []netip.Addr
		all, err = a.addresses(q.name)
		for _, ip := range all {
			r.values = append(r.values, ip.String())
		}
	}
	var de *net.DNSError
	r.notThere = errors.As(err, &de) && de.IsNotFound
	return &r
}

// addresses gives the IPv4 addresses of a name. Of a resolver that asks for both families those count that it has, though it
// may have failed with the other.
func (a *asking) addresses(name string) (all []netip.Addr, err error) {
	if four, ok := a.dns.(fourOnly); ok {
		return four.LookupNetIP(a.ctx, "ip4", name)
	}
	found, err := a.dns.LookupIPAddr(a.ctx, name)
	for _, f := range found {
		if ip, ok := netip.AddrFromSlice(f.IP); ok && ip.Unmap().Is4() {
			all = append(all, ip.Unmap())
		}
	}
	return all, err
}

// stop ends what has not come.
func (a *asking) stop() {
	if a != nil {
		a.cancel()
		a.wait.Wait()
	}
}

// runNetwork waits for the answers, and says which rules hit.
func (st *run) runNetwork(ctx context.Context, a *asking) error {
	if a == nil {
		return nil
	}
	a.wait.Wait()
	if err := ctx.Err(); err != nil {
		return err
	}
	for i, r := range st.s.network {
		t := r.test.network
		asked := a.by[i]
		switch t.of {
		case ofAnswers:
			asked = a.sets[t.set]
		case ofSender:
			gone := len(asked) == 2 // both were asked
			for _, q := range asked {
				gone = gone && a.replies[q] != nil && a.replies[q].notThere
			}
			if gone {
				st.hit(r, 1, nil, asked[0].name)
			}
			continue
		}
		if detail, ok := a.counts(t, asked); ok {
			st.hit(r, 1, nil, detail)
		}
	}
	return nil
}

// counts reports whether one of the answers counts, and which.
func (a *asking) counts(t *networkTest, asked []question) (detail string, ok bool) {
	for _, q := range asked {
		r := a.replies[q]
		if r == nil {
			continue
		}
		for _, v := range r.values {
			// What is no code of a list comes from a resolver that makes up addresses for names that do not exist.
			if q.kind == typeA && t.of != ofTag && !strings.HasPrefix(v, "127.") {
				continue
			}
			if t.counts.matches(q.kind, v) {
				return q.name + " " + cut(v, maxShown), true
			}
		}
	}
	return "", false
}

// view finds in a message what rules ask about.
type view struct {
	set       *Set
	m         *eval.Mail
	hosts     []text.Host
	hostsRead bool
}

// questions gives what one rule asks.
func (v *view) questions(t *networkTest) (all []question) {
	add := func(label string) {
		if label != "" {
			all = append(all, question{strings.ToLower(label + "." + t.zone), t.kind})
		}
	}
	switch t.of {
	case ofRelays:
		for _, a := range v.relays(t) {
			add(text.Reversed(a))
		}
	case ofEnvelope, ofFrom, ofDomain:
		for _, h := range v.authors(t) {
			add(label(h, t))
		}
	case ofSender:
		for _, h := range v.field("EnvelopeFrom:first:addr:host") {
			all = append(all, question{h, typeAny}, question{h, typeMX})
		}
	case ofLinks:
		for _, h := range v.links(t) {
			add(label(h, t))
		}
	case ofTag:
		for _, name := range v.expand(t.zone) {
			all = append(all, question{strings.ToLower(name), t.kind})
		}
	}
	return all
}

// relays gives the addresses that a check_rbl is about.
func (v *view) relays(t *networkTest) []netip.Addr {
	r := v.m.Text.Relays()
	hops := r.Untrusted
	if t.which == "notfirsthop" || t.which == "lastexternal" {
		hops = nil
		for i := range r.Trusted {
			if !r.Trusted[i].Internal {
				hops = append(hops, r.Trusted[i])
			}
		}
		hops = append(hops, r.Untrusted...)
	}
	var all []netip.Addr
	for i := range hops {
		if a := hops[i].Addr; a.IsValid() && !hops[i].Private && !slices.Contains(all, a) {
			all = append(all, a)
		}
	}
	switch {
	case len(all) == 0:
		return nil
	case t.which == "lastexternal", t.which == "firsttrusted":
		all = all[:1]
	case t.which == "notfirsthop":
		if len(all) > 1 {
			all = all[:len(all)-1]
		}
	case t.which == "untrusted":
		all = all[1:]
	default:
		slices.Reverse(all)
	}
	all = all[:min(len(all), maxHops)]
	trusted := v.m.Text.Options().Trusted
	for !t.nice && len(all) > 0 && slices.ContainsFunc(trusted, func(p netip.Prefix) bool { return p.Contains(all[0]) }) {
		all = all[1:]
	}
	return all
}

// authors gives the hosts of the addresses that a check_rbl_envfrom and its like are about.
func (v *view) authors(t *networkTest) []string {
	switch t.of {
	case ofFrom:
		return v.field("From:addr:host")
	case ofDomain:
		return v.field("From:addr:domain")
	}
	return v.field("EnvelopeFrom:addr:host")
}

// field gives the values of a field, each once, in lower case.
func (v *view) field(selector string) (all []string) {
	sel, err := text.ParseSelector(selector)
	if err != nil {
		return nil
	}
	for _, b := range v.m.Text.Values(sel) {
		if h := strings.Trim(strings.ToLower(string(b)), "."); strings.Contains(h, ".") && !slices.Contains(all, h) {
			all = append(all, h)
		}
	}
	return all
}

// links gives the names in links that are asked about: what can be clicked on first.
func (v *view) links(t *networkTest) (all []string) {
	for _, h := range v.linkHosts() {
		name := h.Domain
		if t.full || t.of == ofHosts {
			name = h.Name
		}
		if !slices.Contains(all, name) && len(all) < maxLinkNames {
			all = append(all, name)
		}
	}
	return all
}

func (v *view) linkHosts() []text.Host {
	if v.hostsRead {
		return v.hosts
	}
	v.hostsRead = true
	uris := v.m.Text.URIs()
	for _, rank := range []func(*text.URI) bool{
		func(u *text.URI) bool {
			return u.Is("a") && slices.ContainsFunc(u.Anchors, func(s string) bool { return s != "" })
		},
		func(u *text.URI) bool { return u.Is("form") },
		func(u *text.URI) bool { return u.Is("img") },
		func(*text.URI) bool { return true },
	} {
		for i := range uris {
			if !rank(&uris[i]) {
				continue
			}
			for _, h := range uris[i].Hosts {
				if len(v.hosts) < 10*maxLinkNames && !v.set.skip[h.Domain] && !v.set.skip[h.Name] && !slices.Contains(v.hosts, h) {
					v.hosts = append(v.hosts, h)
				}
			}
		}
	}
	return v.hosts
}

// label gives what stands before the zone for a host, "" where the rule does not ask about such.
func label(host string, t *networkTest) string {
	if a, err := netip.ParseAddr(host); err == nil {
		if t.names || text.IsPrivate(a) {
			return ""
		}
		return text.Reversed(a)
	}
	if t.ips || !text.IsHostName(host) {
		return ""
	}
	return host
}

// expand puts what a message has in the place of a tag.
func (v *view) expand(name string) (all []string) {
	m := tagForm.FindStringSubmatchIndex(name)
	if m == nil {
		return []string{name}
	}
	tag := name[m[2]:m[3]]
	var values []string
	switch tag {
	case "AUTHORDOMAIN", "SENDERDOMAIN":
		values = v.field(map[string]string{"AUTHORDOMAIN": "From:addr:host", "SENDERDOMAIN": "EnvelopeFrom:first:addr:host"}[tag])
	case "DKIMDOMAIN":
		if v.m.In != nil {
			signatures, _ := auth.DKIM.From(v.m.In)
			for _, s := range signatures {
				if s.Result == auth.Pass && !slices.Contains(values, s.Domain) {
					values = append(values, s.Domain)
				}
			}
		}
	default:
		if ext := v.m.Text.Relays().External; len(ext) > 0 {
			values = []string{lastExternal(tag, &ext[0])}
		}
	}
	for _, s := range values {
		if s != "" {
			all = append(all, name[:m[0]]+s+name[m[1]:])
		}
	}
	return all
}

func lastExternal(tag string, r *text.Relay) string {
	switch tag {
	case "LASTEXTERNALIP":
		return r.IP
	case "LASTEXTERNALREVIP":
		if r.Addr.IsValid() {
			return text.Reversed(r.Addr)
		}
		return ""
	case "LASTEXTERNALRDNS":
		return r.RDNS
	}
	return strings.Trim(r.Helo, "![]")
}
