package eval

import (
	"fmt"
	"net/netip"
	"regexp"
	"strings"

	"github.com/postern-mail/postern/mail"
	"github.com/postern-mail/postern/rules/text"
)

var _ = keys("enlist_uri_host", "delist_uri_host", "blocklist_uri_host", "welcomelist_uri_host") &&
	aliases("blacklist_uri_host", "blocklist_uri_host", "whitelist_uri_host", "welcomelist_uri_host")

var uriFunctions = []Function{
	{"check_uri_host_listed", func(s *Settings, args []string) (Check, error) {
		if len(args) != 1 {
			return nil, fmt.Errorf("eval: check_uri_host_listed needs the name of a list, not %q", args)
		}
		return hostListed(s, args[0]), nil
	}},
	hostList("check_uri_host_in_blocklist", "BLOCK"), hostList("check_uri_host_in_blacklist", "BLOCK"),
	hostList("check_uri_host_in_welcomelist", "WELCOME"), hostList("check_uri_host_in_whitelist", "WELCOME"),
	{"check_https_http_mismatch", compileMismatch},
	plain("check_https_ip_mismatch", ipMismatch),
	plain("check_uri_truncated", func(m *Mail) (int, string) {
		return yes(m.Text.URIsTruncated(), "")
	}),
	{"check_for_http_redirector", func(s *Settings, _ []string) (Check, error) {
		r := registryOf(s)
		return func(m *Mail) (int, string) { return redirector(m, r) }, nil
	}},
}

func hostList(name, list string) Function {
	return Function{name, func(s *Settings, args []string) (Check, error) { return hostListed(s, list), atMost(name, args, 0) }}
}

var listName = regexp.MustCompile(`^\(\s*(\S+)\s*\)\s+(.*)$`)

// hostLists holds, by list and name, whether a host is on it or excepted.
type hostLists map[string]map[string]bool

func hostListsOf(s *Settings) hostLists {
	return Built(s, "uri hosts", func() hostLists {
		all := hostLists{}
		for _, l := range s.Lines("enlist_uri_host", "delist_uri_host", "blocklist_uri_host", "welcomelist_uri_host") {
			list, hosts := "", l.Args
			switch l.Key {
			case "blocklist_uri_host":
				list = "BLOCK"
			case "welcomelist_uri_host":
				list = "WELCOME"
			default:
				if m := listName.FindStringSubmatch(l.Args); m != nil {
					list, hosts = m[1], m[2]
				}
			}
			all.add(list, l.Key == "delist_uri_host", strings.Fields(strings.ToLower(hosts)))
		}
		return all
	})
}

func (h hostLists) add(list string, remove bool, hosts []string) {
	for _, host := range hosts {
		name, excepted := strings.CutPrefix(host, "!")
		name = strings.TrimPrefix(mail.LowerASCII(name), ".")
		switch {
		case remove && list == "":
			for _, l := range h {
				delete(l, name)
			}
		case remove:
			delete(h[list], name)
		case list != "":
			if h[list] == nil {
				h[list] = map[string]bool{}
			}
			h[list][name] = !excepted
		}
	}
}

// maxLabels is how many names above a host are looked up, the shortest ones.
const maxLabels = 11

func hostListed(s *Settings, name string) Check {
	list := hostListsOf(s)[name]
	return func(m *Mail) (int, string) {
		if len(list) == 0 {
			return 0, ""
		}
		for _, u := range m.Text.URIs() {
			if len(u.Raw) >= 7 && strings.EqualFold(u.Raw[:7], "mailto:") {
				continue
			}
			for _, h := range u.Hosts {
				if onList(list, h.Name) {
					return 1, h.Name
				}
			}
		}
		return 0, ""
	}
}

// onList looks a host up, and the names above it; the longest one that is on the list decides.
func onList(list map[string]bool, host string) bool {
	if address(host) {
		return list[host]
	}
	for strings.Count(host, ".") >= maxLabels {
		_, host, _ = strings.Cut(host, ".")
	}
	for {
		if on, ok := list[host]; ok {
			return on
		}
		_, after, ok := strings.Cut(host, ".")
		if !ok {
			return false
		}
		host = after
	}
}

var (
	httpHost  = regexp.MustCompile(`(?i)^https?://([^/:?#]+)`)
	httpsHost = regexp.MustCompile(`(?i)https://([^\s/:?#]+)`)
)

// compileMismatch makes the check of links of which the text names the https address of another domain, as long as a part has
// between so and so many links.
func compileMismatch(s *Settings, args []string) (Check, error) {
	const name = "check_https_http_mismatch"
	low, err := number(name, args, 0, 1)
	if err != nil {
		return nil, err
	}
	high, err := number(name, args, 1, noBound)
	r := registryOf(s)
	return func(m *Mail) (int, string) {
		for _, h := range m.Text.HTML() {
			anchors, seen := 0, ""
			for _, l := range h.Links {
				domain := linkDomain(r, l)
				if domain == "" {
					continue
				}
				anchors++
				for _, a := range l.Anchors {
					if shown := shownDomain(r, a); shown != "" && shown != domain {
						seen = shown + " leads to " + domain
						break
					}
				}
			}
			if seen != "" && float64(anchors) >= max(low, 1) && float64(anchors) < high {
				return 1, seen
			}
		}
		return 0, ""
	}, err
}

// linkDomain gives the domain to which a link with a text leads, "" for none.
func linkDomain(r *registry, l text.HTMLLink) string {
	u := httpHost.FindStringSubmatch(l.URI)
	if u == nil || len(l.Anchors) == 0 || address(u[1]) {
		return ""
	}
	domain := r.trim(u[1])
	if _, d, ok := r.hostOf(domain); !ok || !r.valid(d) {
		return ""
	}
	return domain
}

// shownDomain gives the domain of the first https address in a link's text that has one, "" for none.
func shownDomain(r *registry, anchor string) string {
	a := httpsHost.FindStringSubmatch(anchor)
	if a == nil {
		return ""
	}
	if address(a[1]) {
		return a[1]
	}
	if d := r.trim(a[1]); r.valid(d) {
		return d
	}
	return ""
}

var (
	numericHost  = regexp.MustCompile(`(?i)^https?:/*(?:[^@/]+@)?\d+\.\d+\.\d+\.\d+`)
	numericHTTPS = regexp.MustCompile(`(?i)^https:/*(?:[^@/]+@)?\d+\.\d+\.\d+\.\d+`)
)

// ipMismatch looks for links to a numeric address whose text names an https address that is none.
func ipMismatch(m *Mail) (int, string) {
	for _, h := range m.Text.HTML() {
		for _, l := range h.Links {
			if !numericHost.MatchString(l.URI) {
				continue
			}
			for _, a := range l.Anchors {
				if !numericHTTPS.MatchString(a) && strings.Contains(strings.ToLower(a), "https:") {
					return 1, l.URI
				}
			}
		}
	}
	return 0, ""
}

var redirection = regexp.MustCompile(`(?i)^https?://([^/:?]+).+?(https?:/{0,2}?([^/:?]+).*)$`)

// maxRedirections bounds the addresses within one another that are looked at.
const maxRedirections = 20

// redirector looks for addresses that hold one of another domain.
func redirector(m *Mail, r *registry) (int, string) {
	for _, u := range m.Text.URIs() {
		for _, v := range u.Variants {
			for range maxRedirections {
				p := redirection.FindStringSubmatch(v)
				if p == nil {
					break
				}
				v = p[2]
				if from, to := domainOr(r, p[1]), domainOr(r, p[3]); from != to {
					return 1, from + " leads to " + to
				}
			}
		}
	}
	return 0, ""
}

// domainOr gives the registered domain of a host, itself where it has none.
func domainOr(r *registry, host string) string {
	if _, d, ok := r.hostOf(host); ok {
		return d
	}
	return mail.LowerASCII(host)
}

// address reports whether a host is an IP address.
func address(host string) bool {
	_, err := netip.ParseAddr(host)
	return err == nil
}
