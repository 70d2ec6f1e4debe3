package eval

import (
	"net/netip"
	"strings"

	"golang.org/x/net/idna"
	"golang.org/x/net/publicsuffix"
)

// registry knows below which names domains are registered.
type registry struct {
	top, two, three map[string]bool // nil top: the public suffix list tells
}

var _ = keys("clear_util_rb", "util_rb_tld", "util_rb_2tld", "util_rb_3tld")

// registryOf gives what the settings say; without a word of theirs the public suffix list counts.
func registryOf(s *Settings) *registry {
	return Built(s, "registry", func() *registry {
		r := &registry{}
		for _, l := range s.Lines("clear_util_rb", "util_rb_tld", "util_rb_2tld", "util_rb_3tld") {
			if l.Key == "clear_util_rb" {
				*r = registry{}
				continue
			}
			if r.top == nil {
				r.top, r.two, r.three = map[string]bool{}, map[string]bool{}, map[string]bool{}
			}
			to := map[string]map[string]bool{"util_rb_tld": r.top, "util_rb_2tld": r.two, "util_rb_3tld": r.three}[l.Key]
			for _, w := range strings.Fields(l.Args) {
				to[asciiName(w)] = true
			}
		}
		return r
	})
}

// asciiName gives a name in lower case and, as far as that goes, in A-labels.
func asciiName(s string) string {
	for i := range len(s) {
		if s[i] >= 0x80 {
			if a, err := idna.Punycode.ToASCII(strings.ToLower(s)); err == nil {
				return a
			}
			break
		}
	}
	return strings.ToLower(s)
}

const usStates = " ak al ar az ca co ct dc de fl ga gu hi ia id il in ks ky la ma md me mi mn mo ms mt nc nd ne nh nj nm nv ny oh ok or pa pr ri " +
	"sc sd tn tx ut va vi vt wa wi wv wy "

// trim gives the registered domain of a host name.
func (r *registry) trim(host string) string {
	host = strings.Trim(asciiName(host), ".")
	for strings.Contains(host, "..") {
		host = strings.ReplaceAll(host, "..", ".")
	}
	if r.top == nil {
		if d, err := publicsuffix.EffectiveTLDPlusOne(host); err == nil {
			return d
		}
		return host
	}
	rest, before := host, host // before has a label more
	for {
		_, after, more := strings.Cut(rest, ".")
		if !more || r.boundary(rest) {
			return before
		}
		before, rest = rest, after
	}
}

// boundary reports whether names are registered below a name of several labels.
func (r *registry) boundary(name string) bool {
	switch strings.Count(name, ".") {
	case 1:
		return r.two[name]
	case 2:
		_, after, _ := strings.Cut(name, ".")
		if state, ok := strings.CutSuffix(after, ".us"); ok {
			return strings.Contains(usStates, " "+state+" ") // RFC 1480: city.state.us
		}
		return r.three[name]
	case 3:
		l := strings.Split(name, ".")
		return l[3] == "us" && strings.Contains(usStates, " "+l[2]+" ") && (l[0] == "pvt" && l[1] == "k12" || l[0] == "ci" || l[0] == "co")
	}
	return false
}

// valid reports whether a name of several labels ends in a top-level domain.
func (r *registry) valid(name string) bool {
	name = asciiName(name)
	i := strings.LastIndexByte(name, '.')
	if i < 0 || strings.ContainsAny(name, " \t\n\v\f\r") {
		return false
	}
	if r.top != nil {
		return r.top[name[i+1:]]
	}
	suffix, icann := publicsuffix.PublicSuffix(name)
	return icann || strings.Contains(suffix, ".")
}

// hostOf gives the host of a URI, in lower case, and its registered domain: of an address that itself. It is false for what
// has none that can be.
func (r *registry) hostOf(uri string) (host, domain string, ok bool) {
	uri = strings.ToLower(uri)
	for _, scheme := range []string{"javascript:", "cid:", "file:"} {
		if strings.HasPrefix(uri, scheme) {
			return "", "", false
		}
	}
	if after, mailto := strings.CutPrefix(uri, "mailto:"); mailto {
		after, _, _ = strings.Cut(after, "?")
		if strings.Count(after, "@") != 1 {
			return "", "", false
		}
		_, uri, _ = strings.Cut(after, "@")
	} else {
		uri = bareHost(uri)
	}
	if escaped(uri) {
		return "", "", false
	}
	host = asciiName(uri)
	if address(host) {
		return host, host, true
	}
	if !hostName(host) || !r.valid(host) {
		return "", "", false
	}
	return host, r.trim(host), true
}

// bareHost takes the scheme, the user, the port, and what stands behind them away.
func bareHost(uri string) string {
	letters := 0
	for letters < len(uri) && uri[letters] >= 'a' && uri[letters] <= 'z' {
		letters++
	}
	if letters > 0 && strings.HasPrefix(uri[letters:], ":") {
		uri = uri[letters+1:]
		uri = strings.TrimPrefix(strings.TrimPrefix(uri, "/"), "/")
	}
	if i := strings.IndexAny(uri, "/?#"); i >= 0 {
		uri = uri[:i]
	}
	uri = uri[strings.LastIndexByte(uri, '@')+1:]
	if i := strings.LastIndexByte(uri, ':'); i >= 0 && strings.Trim(uri[i+1:], "0123456789") == "" {
		uri = uri[:i]
	}
	return uri
}

// escaped reports whether there is an escape of an octet that needs none.
func escaped(s string) bool {
	for i := 0; i+2 < len(s); i++ {
		if s[i] != '%' {
			continue
		}
		h, l := s[i+1], s[i+2]
		hex := l >= '0' && l <= '9' || l >= 'a' && l <= 'f'
		if hex && (h == '2' && l != '0' || h >= '3' && h <= '6' || h == '7' && l != 'f') {
			return true
		}
	}
	return false
}

// address reports whether a host is an IP address, in brackets or not.
func address(host string) bool {
	_, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(host, "["), "]"))
	return err == nil
}

// hostName reports whether a name can be that of a host: two labels or more, with underscores at the third level and below.
func hostName(s string) bool {
	s = strings.TrimRight(s, ".")
	labels := strings.Split(s, ".")
	if len(s) > 253 || len(labels) < 2 {
		return false
	}
	for i, l := range labels {
		if l == "" || len(l) > 63 || l[0] == '-' || l[len(l)-1] == '-' || i >= len(labels)-2 && strings.Contains(l, "_") {
			return false
		}
		for j := range len(l) {
			if c := l[j]; c != '-' && c != '_' && (c < '0' || c > '9') && (c < 'a' || c > 'z') {
				return false
			}
		}
	}
	return true
}
