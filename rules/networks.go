package rules

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/postern-mail/postern/rules/text"
)

// What files say of relays: trusted_networks, internal_networks, msa_networks, and the same with clear_ before them.

// networkKeys are the keywords, and whether a configuration that names networks takes their place.
var networkKeys = map[string]bool{"trusted_networks": true, "internal_networks": true, "msa_networks": false}

// maxNetworks bounds the entries of one keyword.
const maxNetworks = 2000

// network takes a line of these.
func (r *reader) network(key, value string) bool {
	of, empty := strings.CutPrefix(key, "clear_")
	replaced, ok := networkKeys[of]
	switch {
	case !ok:
		return false
	case replaced && r.o.Networks:
		r.once(Inexact, key, "%s does nothing here, on this line and on those to come: the filter's keys trusted and internal are set, and count", key)
		return true
	case empty:
		delete(r.networks, of)
		delete(r.networksAt, of)
		return true
	}
	all := slices.Clip(r.networks[of])
	words := strings.Fields(value)
	if len(words) == 0 {
		r.tell(r.at, Fault, "", "%s: no network is named", key)
	}
	for _, w := range words {
		n, err := readNetwork(w)
		switch {
		case err != nil:
			r.tell(r.at, Fault, "", "%s: the line is not taken: %v", key, err)
			return true
		case len(all) == maxNetworks:
			r.tell(r.at, Fault, "", "%s: the line is not taken: more than %d networks", key, maxNetworks)
			return true
		}
		if i := slices.IndexFunc(all, func(k text.Network) bool { return !k.Not && covers(k.Prefix, n.Prefix) }); i >= 0 && n.Not {
			r.tell(r.at, Inexact, "", "%s: %s excludes nothing: %s stands before it, and the first decides", key, cut(w, 60), all[i].Prefix)
		}
		all = append(all, n)
	}
	r.networks[of] = all
	for len(r.networksAt[of]) < len(all) {
		r.networksAt[of] = append(r.networksAt[of], r.at)
	}
	return true
}

// withinTrusted leaves out what internal_networks and msa_networks name beyond trusted_networks, or msa_networks beyond internal_networks
// where there are no others, as SpamAssassin does: who is not trusted is neither.
func (l *loader) withinTrusted() {
	outer := "trusted_networks"
	if len(l.networks[outer]) == 0 {
		outer = "internal_networks"
	}
	for _, of := range [...]string{"internal_networks", "msa_networks"} {
		if all := l.networks[of]; of != outer && len(all) > 0 && len(l.networks[outer]) > 0 {
			kept := make(text.Networks, 0, len(all))
			for i, n := range all {
				if n.Not || l.networks[outer].Holds(n.Prefix) {
					kept = append(kept, n)
				} else {
					l.tell(l.networksAt[of][i], Fault, "", "%s: %s is not taken, as in SpamAssassin: it does not lie in one network of %s", of, n.Prefix, outer)
				}
			}
			if len(kept) == 0 { // some were named, so that trusted_networks does not stand in
				kept = text.Loopback()
			}
			l.networks[of] = kept
		}
	}
}

// readNetwork reads 192.0.2.1, 192.0.2., 192.0.2.0/24, 192.0.2.0/255.255.255.0, 2001:db8::/32 or [2001:db8::]/32, with or without "!".
func readNetwork(s string) (n text.Network, err error) {
	rest, not := strings.CutPrefix(s, "!")
	n.Not = not
	addr, length, hasLength := strings.Cut(rest, "/")
	if strings.HasPrefix(addr, "[") && strings.HasSuffix(addr, "]") {
		addr = addr[1 : len(addr)-1]
	}
	wrong := fmt.Errorf("%q is no network; allowed: 192.0.2.1, 192.0.2.0/24, 192.0.2., 2001:db8::/32, and ! before one", cut(s, 60))
	bits := 128
	if !strings.Contains(addr, ":") {
		parts := strings.Split(strings.TrimSuffix(addr, "."), ".")
		if len(parts) > 4 || len(parts) == 4 && strings.HasSuffix(addr, ".") {
			return n, wrong
		}
		bits = 8 * len(parts)
		for i, p := range parts { // leading zeros are no octal numbers
			if v, err := strconv.ParseUint(p, 10, 8); err == nil {
				parts[i] = strconv.FormatUint(v, 10)
			}
		}
		addr = strings.Join(append(parts, slices.Repeat([]string{"0"}, 4-len(parts))...), ".")
	}
	a, err := netip.ParseAddr(addr)
	if err != nil || a.Zone() != "" {
		return n, wrong
	}
	if hasLength {
		if bits, err = readLength(length, a); err != nil {
			return n, wrong
		}
	}
	if a.Is4In6() && bits >= 96 {
		a, bits = a.Unmap(), bits-96
	}
	n.Prefix, err = a.Prefix(bits)
	if err != nil {
		return n, wrong
	}
	return n, nil
}

// readLength reads what stands behind the "/": a number of bits, or of an IPv4 network a mask.
func readLength(s string, a netip.Addr) (int, error) {
	if mask, err := netip.ParseAddr(s); err == nil && mask.Is4() && a.Is4() {
		n := numberOf(mask)
		bits := 0
		for n&(1<<31) != 0 {
			n, bits = n<<1, bits+1
		}
		if n != 0 {
			return 0, fmt.Errorf("%q is no mask", s)
		}
		return bits, nil
	}
	n, err := strconv.ParseUint(s, 10, 8)
	return int(n), err //nolint:gosec // 8 bits
}

// covers reports whether all addresses of b are in a.
func covers(a, b netip.Prefix) bool { return a.Bits() <= b.Bits() && a.Contains(b.Addr()) }

// Texts says how messages are to be read for these rules, by what the files say; the client and the envelope are for the caller to add.
func (s *Set) Texts() text.Options {
	o := s.settings.Text()
	o.Trusted, o.Internal, o.MSA = s.trusted, s.internal, s.msa
	if len(o.Internal) == 0 {
		o.Internal = o.Trusted
	} else if len(o.Trusted) == 0 {
		o.Trusted = o.Internal
	}
	return o
}
