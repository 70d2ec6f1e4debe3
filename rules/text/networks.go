package text

import "net/netip"

// Networks are networks in their order: of several that hold an address the first decides, as in SpamAssassin (Mail::SpamAssassin::NetSet).
type Networks []Network

// Network is one of them.
type Network struct {
	netip.Prefix
	Not bool // none of its addresses is meant
}

// NetworksOf gives networks that are all meant.
func NetworksOf(prefixes ...netip.Prefix) Networks {
	all := make(Networks, len(prefixes))
	for i, p := range prefixes {
		all[i].Prefix = p
	}
	return all
}

// Has reports whether an address is meant.
func (all Networks) Has(a netip.Addr) bool {
	for i := range all {
		if all[i].Contains(a) {
			return !all[i].Not
		}
	}
	return false
}

// Holds reports whether all addresses of a network are meant: of several that hold it whole the first decides. Loopback addresses always
// are, as a message that passes on one host does not leave it.
func (all Networks) Holds(p netip.Prefix) bool {
	for _, own := range loopback {
		if own.Bits() <= p.Bits() && own.Contains(p.Addr()) {
			return true
		}
	}
	for i := range all {
		if all[i].Bits() <= p.Bits() && all[i].Contains(p.Addr()) {
			return !all[i].Not
		}
	}
	return false
}

var loopback = [...]netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}

// Loopback gives networks that mean this host alone, for where no other is meant.
func Loopback() Networks { return NetworksOf(loopback[:]...) }
