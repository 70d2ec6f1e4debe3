package config

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/postern-mail/postern/internal/users"
)

// Relay says which clients of a listener may send to domains that are not ours. Nobody may whom it does not name.
type Relay struct {
	Networks     []netip.Prefix `yaml:"networks"`     // masked, unmapped
	Users        string         `yaml:"users"`        // file of users; "": AUTH is not offered
	Certificates []string       `yaml:"certificates"` // as users.ParseCertificate reads them
	RequireTLS   bool           `yaml:"require_tls"`  // AUTH is offered within TLS only
}

func (r *Relay) defaults() { r.RequireTLS = true }

func (k *checker) relay(path string, l *Listener) {
	r := l.Relay
	if r == nil {
		return
	}
	broken := slices.ContainsFunc([]string{".networks", ".certificates"}, func(key string) bool {
		n, _, ok := locate(k.c.root, path+key)
		return ok && k.spoilt(n)
	})
	if len(r.Networks) == 0 && len(r.Certificates) == 0 && r.Users == "" && !k.wrote(path+".users") && !broken {
		k.failAllowed(path, []string{"networks", "users", "certificates"}, "names nobody who may relay")
	}
	for i, n := range r.Networks {
		if why := tooWide(n); why != "" {
			k.fail(fmt.Sprintf("%s.networks[%d]", path, i), "%s", why)
		}
	}
	if !broken && together(r.Networks) {
		k.fail(path+".networks", "the networks together hold more addresses than one /8: that would be an open relay; who comes from anywhere needs users or certificates")
	}
	if k.wrote(path+".users") && r.Users == "" {
		k.fail(path+".users", "must name a file, which postern user add FILE NAME makes")
	}
	if l.NoAuth() && len(r.Networks) == 0 {
		k.fail(path+".users", "AUTH is offered within TLS only, and the listener has no tls: nobody could log in; require_tls: false lets passwords cross the network in clear")
	}
	for i, s := range r.Certificates {
		at := fmt.Sprintf("%s.certificates[%d]", path, i)
		c, err := users.ParseCertificate(s)
		switch {
		case err != nil:
			k.fail(at, "%s", err)
		case l.TLS == nil:
			k.fail(at, "certificates are shown within TLS only, and the listener has no tls")
		case c.Named() && l.TLS.ClientCA == "":
			k.fail(at, "a name counts in a verified certificate only, and the listener's tls has no client_ca: name the authority there, or a fingerprint here (sha256:, key-sha256:)")
		default:
			r.Certificates[i] = c.String()
		}
	}
}

// Networks of these hold nobody but a site's own hosts (RFC 1918, 6598, 4193, 4291).
var private = []netip.Prefix{
	netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("172.16.0.0/12"), netip.MustParsePrefix("192.168.0.0/16"),
	netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("169.254.0.0/16"), netip.MustParsePrefix("127.0.0.0/8"),
	netip.MustParsePrefix("fc00::/7"), netip.MustParsePrefix("fe80::/10"),
}

func isPrivate(n netip.Prefix) bool {
	return slices.ContainsFunc(private, func(p netip.Prefix) bool { return p.Bits() <= n.Bits() && p.Contains(n.Addr()) })
}

// The shortest prefixes of networks that may relay. Nobody has more addresses than these.
const (
	shortest4 = 8
	shortest6 = 16
)

func shortest(n netip.Prefix) int {
	if n.Addr().Is4() {
		return shortest4
	}
	return shortest6
}

// tooWide says why the clients of a network may not all relay, "" if they may.
func tooWide(n netip.Prefix) string {
	switch {
	case n.IsValid() && n.Bits() == 0:
		return fmt.Sprintf("%s is every address: that would be an open relay, which is listed within hours; name your own networks, or users, or certificates", n)
	case n.IsValid() && n.Bits() < shortest(n) && !isPrivate(n):
		return fmt.Sprintf("%s is wider than /%d, and no site has so many addresses: that would be an open relay", n, shortest(n))
	}
	return ""
}

// NoAuth tells whether the listener has users who can never log in, since it has no TLS for them.
func (l *Listener) NoAuth() bool {
	return l.Relay != nil && l.Relay.Users != "" && l.Relay.RequireTLS && l.TLS == nil
}

// together reports whether networks of which none is too wide are that all together.
func together(all []netip.Prefix) bool {
	var four, six float64 // in networks of the shortest prefix
	for _, n := range all {
		switch {
		case !n.IsValid() || isPrivate(n) || tooWide(n) != "":
		case n.Addr().Is4():
			four += 1 / float64(uint64(1)<<min(n.Bits()-shortest4, 60))
		default:
			six += 1 / float64(uint64(1)<<min(n.Bits()-shortest6, 60))
		}
	}
	return four > 1 || six > 1
}

// Wide lists the public networks that are allowed and larger than all but a few sites are: of IPv4 those shorter than /16,
// of IPv6 than /32.
func (r *Relay) Wide() (wide []netip.Prefix) {
	for _, n := range r.Networks {
		if n.Bits() < 2*shortest(n) && !isPrivate(n) {
			wide = append(wide, n)
		}
	}
	return wide
}
