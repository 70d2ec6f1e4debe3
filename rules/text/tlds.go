package text

import (
	"net/netip"
	"strings"

	"golang.org/x/net/publicsuffix"

	"github.com/postern-mail/postern/mail"
)

// TLDs tells which names end in a top-level domain, and what of a name its owner has registered. It is immutable.
type TLDs struct {
	top, second, third map[string]struct{} // nil: the public suffix list that is built in
}

// NewTLDs makes TLDs of lists as util_rb_tld, util_rb_2tld and util_rb_3tld have them: top-level domains, and names of two
// and of three labels below which names are registered.
func NewTLDs(top, second, third []string) *TLDs {
	return &TLDs{set(top), set(second), set(third)}
}

// DefaultTLDs are those of the public suffix list (the part of ICANN's, and that of private registries for what is
// registered) that is built in.
var DefaultTLDs = &TLDs{}

func set(names []string) map[string]struct{} {
	m := make(map[string]struct{}, len(names))
	for _, n := range names {
		if d, err := mail.Domain(n); err == nil {
			n = d
		}
		m[strings.ToLower(n)] = struct{}{}
	}
	return m
}

// IsTop reports whether a label, in lower case, is a top-level domain.
func (t *TLDs) IsTop(label string) bool {
	if t.top == nil {
		return recentTops.get(label, isPublicTop)
	}
	_, ok := t.top[label]
	return ok
}

// What the public suffix list says of labels, and of hosts.
var (
	recentTops  recent[bool]
	recentHosts recent[string]
)

func isPublicTop(label string) bool {
	_, icann := publicsuffix.PublicSuffix(label)
	return icann
}

func publiclyRegistered(host string) string {
	if d, err := publicsuffix.EffectiveTLDPlusOne(host); err == nil {
		return d
	}
	return host
}

// isTopOctets is IsTop for a label in any case.
func (t *TLDs) isTopOctets(label []byte) bool {
	var low [64]byte
	if len(label) > len(low) {
		return false
	}
	for i, c := range label {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		low[i] = c
	}
	if t.top == nil {
		return recentTops.getOctets(low[:len(label)], isPublicTop)
	}
	_, ok := t.top[string(low[:len(label)])]
	return ok
}

// Valid reports whether a host's name, in lower case, has a dot and ends in a top-level domain.
func (t *TLDs) Valid(host string) bool {
	n := strings.LastIndexByte(host, '.')
	return n >= 0 && n+1 < len(host) && !strings.ContainsAny(host, asciiSpace) && t.IsTop(host[n+1:])
}

// Registered gives the domain that is registered of a host's name, in lower case: one label more than what is registered
// below. Of a name that is no longer than that, it gives the name.
func (t *TLDs) Registered(host string) string {
	for strings.Contains(host, "..") {
		host = strings.ReplaceAll(host, "..", ".")
	}
	host = strings.Trim(host, ".")
	if t.top == nil {
		return recentHosts.get(host, publiclyRegistered)
	}
	rest := host
	last := "" // the label that was taken off last
	for {
		n := strings.Count(rest, ".")
		if n == 0 || t.boundary(rest, n+1) {
			break
		}
		last, rest, _ = strings.Cut(rest, ".")
		last += "."
	}
	return last + rest
}

// boundary reports whether names are registered right below a name of n labels.
func (t *TLDs) boundary(name string, n int) bool {
	switch n {
	case 2:
		_, ok := t.second[name]
		return ok
	case 3:
		if strings.HasSuffix(name, ".us") {
			_, rest, _ := strings.Cut(name, ".")
			return isState(strings.TrimSuffix(rest, ".us"))
		}
		_, ok := t.third[name]
		return ok
	case 4:
		labels := strings.Split(name, ".")
		return labels[3] == "us" && isState(labels[2]) && (labels[0] == "pvt" && labels[1] == "k12" || labels[0] == "ci" || labels[0] == "co")
	}
	return false
}

// isState reports whether a label is a state of the United States (RFC 1480 2).
func isState(s string) bool {
	return len(s) == 2 && strings.Contains(" ak al ar az ca co ct dc de fl ga gu hi ia id il in ks ky la ma md me mi mn mo ms mt nc nd ne nh nj nm nv ny oh "+
		"ok or pa pr ri sc sd tn tx ut va vi vt wa wi wv wy ", " "+s+" ")
}

// isHostName reports whether a name in lower case is one of a host, with at least two labels. Dots at its end do not count.
func isHostName(host string) bool {
	host = strings.TrimRight(host, ".")
	if len(host) > 253 {
		return false
	}
	left := strings.Count(host, ".") + 1
	if left < 2 {
		return false
	}
	for label := range strings.SplitSeq(host, ".") {
		if !isHostLabel(label, left > 2) {
			return false
		}
		left--
	}
	return true
}

func isHostLabel(label string, underscore bool) bool {
	if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
		return false
	}
	for i := range len(label) {
		switch c := label[i]; {
		case 'a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '-' || c == '_' && underscore:
		default:
			return false
		}
	}
	return true
}

// HostOf gives the host that a URI names, and the domain of it that is registered; ok is false where there is none that a
// look-up would be worth.
func (t *TLDs) HostOf(uri string) (host, domain string, ok bool) {
	return t.judge(hostIn(uri))
}

// hostIn gives what stands in the place of the host in a URI, "" where there is no such place, in lower case.
func hostIn(uri string) (host string) {
	if hasPrefixFold(uri, "javascript:") || hasPrefixFold(uri, "cid:") || hasPrefixFold(uri, "file:") {
		return ""
	}
	if !hasPrefixFold(uri, "mailto:") {
		return lowerText(authority(uri))
	}
	rest, _, _ := strings.Cut(uri[len("mailto:"):], "?")
	if strings.Count(rest, "@") != 1 {
		return ""
	}
	_, host, _ = strings.Cut(rest, "@")
	return lowerText(host)
}

// judge tells whether what stands in the place of a host is one.
func (t *TLDs) judge(name string) (host, domain string, ok bool) {
	if hasEscape(name) {
		return "", "", false
	}
	host = toASCII(name)
	if isAddress(host) {
		return host, host, true
	}
	if !isHostName(host) || !t.Valid(host) {
		return "", "", false
	}
	return host, t.Registered(host), true
}

// authority gives the host of a URI: without scheme, path, user and port.
func authority(uri string) string {
	n := 0
	for n < len(uri) && isLetter(uri[n]) {
		n++
	}
	if n > 0 && n < len(uri) && uri[n] == ':' {
		uri = uri[n+1:]
		for range 2 {
			uri = strings.TrimPrefix(uri, "/")
		}
	}
	if n = strings.IndexAny(uri, "/?#"); n >= 0 {
		uri = uri[:n]
	}
	uri = uri[strings.LastIndexByte(uri, '@')+1:]
	if n = strings.LastIndexByte(uri, ':'); n >= 0 && strings.Trim(uri[n+1:], "0123456789") == "" {
		uri = uri[:n]
	}
	return uri
}

// hasEscape reports whether a printable character of ASCII is escaped: then there is another form of the URI.
func hasEscape(s string) bool {
	for i := 0; i+2 < len(s); i++ {
		if s[i] == '%' && digit(s[i+1]) < 16 && digit(s[i+2]) < 16 {
			if c := digit(s[i+1])<<4 | digit(s[i+2]); c > ' ' && c < 0x7f {
				return true
			}
		}
	}
	return false
}

// isAddress reports whether a host is an IP address.
func isAddress(host string) bool {
	if host == "" || (host[0] < '0' || host[0] > '9') && !strings.Contains(host, ":") {
		return false
	}
	_, err := netip.ParseAddr(host)
	return err == nil
}

// toASCII gives a host's name with A-labels, in lower case; what is none stays.
func toASCII(host string) string {
	if plainASCII([]byte(host)) {
		return lowerText(host)
	}
	if d, err := mail.Domain(host); err == nil {
		return d
	}
	return lowerText(host)
}

// lowerText puts letters of ASCII in lower case.
func lowerText(s string) string { return mail.LowerASCII(s) }
