package eval

import (
	"bytes"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"github.com/postern-mail/postern/rules/text"
)

var _ = keys("welcomelist_from", "unwelcomelist_from", "welcomelist_from_rcvd", "def_welcomelist_from_rcvd", "unwelcomelist_from_rcvd",
	"welcomelist_allows_relays", "blocklist_from", "unblocklist_from", "welcomelist_to", "more_spam_to", "all_spam_to", "blocklist_to",
	"welcomelist_auth", "def_welcomelist_auth", "unwelcomelist_auth", "welcomelist_from_spf", "def_welcomelist_from_spf",
	"unwelcomelist_from_spf", "welcomelist_from_dkim", "def_welcomelist_from_dkim", "unwelcomelist_from_dkim", "enlist_addrlist",
	"welcomelist_subject", "blocklist_subject") &&
	aliases("whitelist_from", "welcomelist_from", "unwhitelist_from", "unwelcomelist_from", "whitelist_from_rcvd", "welcomelist_from_rcvd",
		"def_whitelist_from_rcvd", "def_welcomelist_from_rcvd", "unwhitelist_from_rcvd", "unwelcomelist_from_rcvd",
		"whitelist_allows_relays", "welcomelist_allows_relays", "blacklist_from", "blocklist_from", "unblacklist_from", "unblocklist_from",
		"whitelist_to", "welcomelist_to", "blacklist_to", "blocklist_to", "whitelist_auth", "welcomelist_auth",
		"def_whitelist_auth", "def_welcomelist_auth", "unwhitelist_auth", "unwelcomelist_auth", "whitelist_from_spf", "welcomelist_from_spf",
		"def_whitelist_from_spf", "def_welcomelist_from_spf", "unwhitelist_from_spf", "unwelcomelist_from_spf",
		"whitelist_from_dkim", "welcomelist_from_dkim", "def_whitelist_from_dkim", "def_welcomelist_from_dkim",
		"unwhitelist_from_dkim", "unwelcomelist_from_dkim", "whitelist_subject", "welcomelist_subject", "blacklist_subject", "blocklist_subject")

var listFunctions = slices.Concat(
	[]Function{
		{"check_from_in_list", compileNamed("check_from_in_list", (*Mail).authorAddresses)},
		{"check_to_in_list", compileNamed("check_to_in_list", (*Mail).recipientAddresses)},
		{"check_replyto_in_list", compileNamed("check_replyto_in_list", func(m *Mail) [][]byte {
			if a := m.get(selReplyToAddr); len(a) > 0 {
				return [][]byte{a}
			}
			return nil
		})},
		{"check_mailfrom_matches_rcvd", compileSenderMatches},
	},
	listed("blocklist_from", (*Mail).authorAddresses, "check_from_in_blocklist", "check_from_in_blacklist"),
	listed("blocklist_to", (*Mail).recipientAddresses, "check_to_in_blocklist", "check_to_in_blacklist"),
	listed("welcomelist_to", (*Mail).recipientAddresses, "check_to_in_welcomelist", "check_to_in_whitelist"),
	listed("more_spam_to", (*Mail).recipientAddresses, "check_to_in_more_spam"),
	listed("all_spam_to", (*Mail).recipientAddresses, "check_to_in_all_spam"),
	welcome(func(own, _ int) bool { return own > 0 }, "check_from_in_welcomelist", "check_from_in_whitelist"),
	welcome(func(own, def int) bool { return own < 0 && def == 0 }, "check_forged_in_welcomelist", "check_forged_in_whitelist"),
	welcome(func(_, def int) bool { return def > 0 }, "check_from_in_default_welcomelist", "check_from_in_default_whitelist"),
	welcome(func(own, def int) bool { return def < 0 && own == 0 }, "check_forged_in_default_welcomelist", "check_forged_in_default_whitelist"),
	subjects("welcomelist_subject", "check_subject_in_welcomelist", "check_subject_in_whitelist"),
	subjects("blocklist_subject", "check_subject_in_blocklist", "check_subject_in_blacklist"),
)

// listed makes functions of one meaning: whether one of some addresses is on a list.
func listed(list string, of func(*Mail) [][]byte, names ...string) (all []Function) {
	for _, name := range names {
		all = append(all, Function{name, func(s *Settings, args []string) (Check, error) {
			l := addressLists(s)[list]
			return func(m *Mail) (int, string) { return l.any(m, of) }, atMost(name, args, 0)
		}})
	}
	return all
}

// compileNamed makes a function that takes the list's name.
func compileNamed(name string, of func(*Mail) [][]byte) func(*Settings, []string) (Check, error) {
	return func(s *Settings, args []string) (Check, error) {
		if len(args) != 1 {
			return nil, fmt.Errorf("eval: %s needs the name of a list, not %q", name, args)
		}
		l := addressLists(s)[args[0]]
		return func(m *Mail) (int, string) { return l.any(m, of) }, nil
	}
}

// addressList is a list of patterns of addresses, in lower case: * stands for any octets, ? for one.
type addressList struct {
	exact map[string]bool
	globs []string
}

func (l *addressList) any(m *Mail, of func(*Mail) [][]byte) (int, string) {
	if l == nil {
		return 0, ""
	}
	for _, a := range of(m) {
		if l.has(strings.ToLower(string(a))) {
			return 1, cut(a)
		}
	}
	return 0, ""
}

// has reports whether an address, in lower case, is on the list.
func (l *addressList) has(addr string) bool {
	if l == nil {
		return false
	}
	return l.exact[addr] || slices.ContainsFunc(l.globs, func(g string) bool { return globMatch(g, addr) })
}

func (l *addressList) add(pattern string) {
	if strings.ContainsAny(pattern, "*?") {
		l.globs = append(l.globs, pattern)
	} else {
		l.exact[pattern] = true
	}
}

func (l *addressList) remove(pattern string) {
	delete(l.exact, pattern)
	l.globs = slices.DeleteFunc(l.globs, func(g string) bool { return g == pattern })
}

// globMatch matches s against a pattern.
func globMatch(p, s string) bool {
	// What stands behind the last star must end s: that rules most patterns out at once.
	if i := strings.LastIndexByte(p, '*'); i >= 0 {
		tail := p[i+1:]
		if len(tail) > len(s) || !strings.Contains(tail, "?") && !strings.HasSuffix(s, tail) {
			return false
		}
	}
	var (
		i, j       int
		star, from = -1, 0
	)
	for j < len(s) {
		switch {
		case i < len(p) && p[i] == '*':
			star, from = i, j
			i++
		case i < len(p) && (p[i] == s[j] || p[i] == '?'):
			i++
			j++
		case star >= 0:
			from++
			i, j = star+1, from
		default:
			return false
		}
	}
	for i < len(p) && p[i] == '*' {
		i++
	}
	return i == len(p)
}

var enlist = regexp.MustCompile(`^\((.+?)\)\s+(.+)$`)

// addressLists gives the lists of addresses by name, and the relays that some of them ask for.
func addressLists(s *Settings) map[string]*addressList {
	return Built(s, "address lists", func() map[string]*addressList {
		all := map[string]*addressList{}
		get := func(name string) *addressList {
			if all[name] == nil {
				all[name] = &addressList{exact: map[string]bool{}}
			}
			return all[name]
		}
		removed := map[string]string{
			"unwelcomelist_from": "welcomelist_from", "unblocklist_from": "blocklist_from", "unwelcomelist_auth": "welcomelist_auth",
			"unwelcomelist_from_spf": "welcomelist_from_spf",
		}
		for _, l := range s.Lines("welcomelist_from", "unwelcomelist_from", "welcomelist_allows_relays", "blocklist_from", "unblocklist_from",
			"welcomelist_to", "more_spam_to", "all_spam_to", "blocklist_to", "welcomelist_auth", "def_welcomelist_auth",
			"unwelcomelist_auth", "welcomelist_from_spf", "def_welcomelist_from_spf", "unwelcomelist_from_spf", "enlist_addrlist") {
			name, words := l.Key, l.Args
			if name == "enlist_addrlist" {
				m := enlist.FindStringSubmatch(l.Args)
				if m == nil {
					continue
				}
				name, words = m[1], m[2]
			}
			for _, w := range strings.Fields(strings.ToLower(words)) {
				if from, ok := removed[name]; ok {
					get(from).remove(w)
				} else {
					get(name).add(w)
				}
			}
		}
		return all
	})
}

// relayEntry is an entry of welcomelist_from_rcvd: addresses, and the hosts that they are believed to come from.
type relayEntry struct{ addr, host string }

type relayLists struct{ own, def []relayEntry }

func relayListsOf(s *Settings) relayLists {
	return Built(s, "relay lists", func() (all relayLists) {
		for _, l := range s.Lines("welcomelist_from_rcvd", "def_welcomelist_from_rcvd", "unwelcomelist_from_rcvd") {
			w := strings.Fields(strings.ToLower(l.Args))
			switch {
			case l.Key == "unwelcomelist_from_rcvd":
				gone := func(e relayEntry) bool { return slices.Contains(w, e.addr) }
				all.own, all.def = slices.DeleteFunc(all.own, gone), slices.DeleteFunc(all.def, gone)
			case len(w) != 2:
			case l.Key == "welcomelist_from_rcvd":
				all.own = append(all.own, relayEntry{w[0], w[1]})
			default:
				all.def = append(all.def, relayEntry{w[0], w[1]})
			}
		}
		return all
	})
}

// welcome makes functions that judge what both lists of welcome senders say: 1 for a sender on the list, -1 for one who is on it
// but came from elsewhere, 0 for neither.
func welcome(judge func(own, def int) bool, names ...string) (all []Function) {
	for _, name := range names {
		all = append(all, Function{name, func(s *Settings, args []string) (Check, error) {
			lists, relays := addressLists(s), relayListsOf(s)
			return func(m *Mail) (int, string) {
				own, def := 0, 0
				for _, a := range m.authorAddresses() {
					addr := strings.ToLower(string(a))
					switch v := fromRelay(m, relays.own, addr, lists["welcomelist_allows_relays"]); {
					case lists["welcomelist_from"].has(addr), v > 0:
						own = 1
					case v < 0 && own == 0:
						own = -1
					}
					if v := fromRelay(m, relays.def, addr, lists["welcomelist_allows_relays"]); v > 0 || v < 0 && def == 0 {
						def = v
					}
				}
				return yes(judge(own, def), "")
			}, atMost(name, args, 0)
		}})
	}
	return all
}

// lastHops gives the relays by which a sender is known: the first that is not trusted, else those that are.
func lastHops(m *Mail) []text.Relay {
	r := m.Text.Relays()
	if len(r.Untrusted) > 0 {
		return r.Untrusted[:1]
	}
	return r.Trusted
}

// fromRelay looks an address up, with the host it came from.
func fromRelay(m *Mail, list []relayEntry, addr string, exempt *addressList) int {
	if len(list) == 0 {
		return 0
	}
	hops := lastHops(m)
	if len(hops) == 0 {
		return 0
	}
	found := 0
	for _, e := range list {
		if !globMatch(e.addr, addr) {
			continue
		}
		if slices.ContainsFunc(hops, func(r text.Relay) bool { return isHost(e.host, &r) }) {
			return 1
		}
		found = -1
	}
	if found < 0 && exempt.has(addr) {
		return 0
	}
	return found
}

var hostInBrackets = regexp.MustCompile(`^\[(.*)\](/\d{1,3})?$`)

// isHost reports whether a relay is the host of an entry: a domain, or an address or network in brackets.
func isHost(host string, r *text.Relay) bool {
	b := hostInBrackets.FindStringSubmatch(host)
	if b == nil {
		name := strings.ToLower(r.RDNS)
		return name == host || strings.HasSuffix(name, "."+host)
	}
	ip := b[1] + b[2]
	switch {
	case !r.Addr.IsValid():
		return false
	case strings.Count(ip, ".") < 3 && strings.Trim(ip, "0123456789.") == "":
		return strings.HasPrefix(r.IP, strings.TrimRight(ip, ".")+".") // a network of whole octets
	}
	if a, err := netip.ParseAddr(ip); err == nil {
		return a.Unmap() == r.Addr
	}
	p, err := netip.ParsePrefix(ip)
	return err == nil && p.Contains(r.Addr)
}

// compileSenderMatches makes the check of whether the envelope's sender and the host it came from are of one domain.
func compileSenderMatches(_ *Settings, args []string) (Check, error) {
	return func(m *Mail) (int, string) {
		addr := string(m.get(selEnvelopeAddr))
		_, host, ok := strings.Cut(addr, "@")
		if i := strings.LastIndexByte(addr, '@'); ok {
			host = addr[i+1:]
		}
		if dot := strings.IndexByte(host, '.'); dot <= 0 || strings.LastIndexByte(host, '.') == len(host)-1 && dot == len(host)-1 {
			return 0, ""
		}
		domain := m.Text.RegisteredDomain(host)
		for _, hop := range lastHops(m) {
			if hop.RDNS != "" && m.Text.RegisteredDomain(hop.RDNS) == domain {
				return 1, hop.RDNS
			}
		}
		return 0, ""
	}, atMost("check_mailfrom_matches_rcvd", args, 0)
}

var (
	selResentFromAddr = text.MustSelector("Resent-From:first:addr")
	selsFrom          = []text.Selector{
		selFromAddr, text.MustSelector("Envelope-Sender:addr"), text.MustSelector("Resent-Sender:addr"),
		text.MustSelector("X-Envelope-From:addr"), selEnvelopeAddr,
	}
	selsResentTo = []text.Selector{text.MustSelector("Resent-To:first:addr"), text.MustSelector("Resent-Cc:first:addr")}
	selsTo       = []text.Selector{
		selToAddr, text.MustSelector("Apparently-To:addr"), text.MustSelector("Delivered-To:addr"),
		text.MustSelector("Envelope-Recipients:addr"), text.MustSelector("Apparently-Resent-To:addr"),
		text.MustSelector("X-Envelope-To:addr"), text.MustSelector("Envelope-To:addr"), text.MustSelector("X-Delivered-To:addr"),
		text.MustSelector("X-Original-To:addr"), text.MustSelector("X-Rcpt-To:addr"), text.MustSelector("X-Real-To:addr"),
		text.MustSelector("Cc:addr"),
	}
)

// maxAddresses bounds the addresses that are looked up on lists.
const maxAddresses = 2000

// authorAddresses gives the addresses that say whom the message is from.
func (m *Mail) authorAddresses() [][]byte {
	return m.heads.from.get(func() (all [][]byte) {
		if resent := m.Text.Values(selResentFromAddr); len(resent) > 0 {
			return unique(resent)
		}
		for _, s := range selsFrom {
			for _, a := range m.Text.Values(s) {
				if len(a) > 0 {
					all = append(all, singleDots(a))
				}
			}
		}
		return unique(all)
	})
}

// singleDots makes one dot of several.
func singleDots(a []byte) []byte {
	if !bytes.Contains(a, []byte("..")) {
		return a
	}
	out := make([]byte, 0, len(a))
	for i, c := range a {
		if c != '.' || i == 0 || a[i-1] != '.' {
			out = append(out, c)
		}
	}
	return out
}

// unique keeps the first of equal addresses.
func unique(all [][]byte) (out [][]byte) {
	seen := map[string]bool{}
	for _, a := range all[:min(len(all), maxAddresses)] {
		if !seen[string(a)] {
			seen[string(a)] = true
			out = append(out, a)
		}
	}
	return out
}

var forRecipient = regexp.MustCompile(` for <?(\S+@(\S+?))>?;`)

// recipientAddresses gives the addresses that say whom the message is for.
func (m *Mail) recipientAddresses() [][]byte {
	return m.heads.to.get(func() (all [][]byte) {
		for _, s := range selsResentTo {
			all = append(all, m.Text.Values(s)...)
		}
		if len(all) > 0 {
			return unique(all)
		}
		received := m.Text.Values(selReceived)
		for _, l := range received[:min(3, len(received))] {
			if f := forRecipient.FindSubmatch(l); f != nil && text.IsHostName(string(f[2])) {
				all = append(all, f[1])
			}
		}
		for _, s := range selsTo {
			all = append(all, m.Text.Values(s)...)
		}
		return unique(all)
	})
}

// subjects makes functions that look the subject up on a list of patterns, which may stand anywhere in it.
func subjects(list string, names ...string) (all []Function) {
	for _, name := range names {
		all = append(all, Function{name, func(s *Settings, args []string) (Check, error) {
			var globs []string
			for _, l := range s.Lines(list) {
				globs = append(globs, "*"+strings.ToLower(l.Args)+"*")
			}
			return func(m *Mail) (int, string) {
				if len(globs) == 0 {
					return 0, ""
				}
				subject := string(lower(m.get(selSubject)))
				return yes(subject != "" && slices.ContainsFunc(globs, func(g string) bool { return globMatch(g, subject) }), "")
			}, atMost(name, args, 0)
		}})
	}
	return all
}
