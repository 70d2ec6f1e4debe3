package rules

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/postern-mail/postern/filter/auth"
	"github.com/postern-mail/postern/rules/eval"
	"github.com/postern-mail/postern/rules/text"
)

// What the rules that ask the DNS want to know of a message.

// wish is what a rule wants to be asked: a question, or a host whose addresses the question is about.
type wish struct {
	question question
	host     string
}

// view finds in a message what rules ask about.
type view struct {
	set       *Set
	m         *eval.Mail
	hosts     []text.Host
	hostsRead bool
}

// wishes gives what one rule asks, what matters most first.
func (v *view) wishes(t *networkTest) (all []wish) {
	add := func(label string) {
		if label != "" {
			all = append(all, wish{question: question{strings.ToLower(label + "." + t.zone), t.kind}})
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
			all = append(all, wish{question: question{h, typeAny}}, wish{question: question{h, typeMX}})
		}
	case ofLinks:
		for _, h := range v.links(t) {
			add(label(h, t))
		}
	case ofHosts:
		for _, h := range v.links(t) {
			all = append(all, wish{host: h})
		}
	case ofTag:
		for _, name := range v.expand(t.zone) {
			all = append(all, wish{question: question{strings.ToLower(name), t.kind}})
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
	for !t.nice && len(all) > 0 && trusted.Has(all[0]) {
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

// links gives the names in links that are asked about: what can be clicked on first. Of hosts one of each owner goes before the
// second of any: hosts below a domain cost its owner nothing.
func (v *view) links(t *networkTest) (all []string) {
	hosts := t.full || t.of == ofHosts
	for _, again := range []bool{false, true} {
		domains := map[string]bool{}
		for _, h := range v.linkHosts() {
			first := !domains[h.Domain]
			domains[h.Domain] = true
			if first == again || again && !hosts || len(all) == maxLinkNames {
				continue
			}
			if hosts {
				all = append(all, h.Name)
			} else {
				all = append(all, h.Domain)
			}
		}
	}
	return all
}

// maxDomainHosts is how many hosts below one domain are looked at, so that there is room for others.
const maxDomainHosts = 4

func (v *view) linkHosts() []text.Host {
	if v.hostsRead {
		return v.hosts
	}
	v.hostsRead = true
	uris := v.m.Text.URIs()
	seen, of := map[text.Host]bool{}, map[string]int{}
	for _, rank := range []func(*text.URI) bool{
		func(u *text.URI) bool {
			return u.Is("a") && slices.ContainsFunc(u.Anchors, func(s string) bool { return strings.TrimSpace(s) != "" })
		},
		func(u *text.URI) bool { return u.Is("form") },
		func(u *text.URI) bool { return u.Is("parsed") },
		func(u *text.URI) bool { return u.Is("img") },
		func(*text.URI) bool { return true },
	} {
		for i := range uris {
			if !rank(&uris[i]) {
				continue
			}
			for _, h := range uris[i].Hosts {
				if len(v.hosts) == 10*maxLinkNames {
					return v.hosts
				}
				if !v.set.skip[h.Domain] && !v.set.skip[h.Name] && !seen[h] && of[h.Domain] < maxDomainHosts {
					seen[h] = true
					of[h.Domain]++
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
