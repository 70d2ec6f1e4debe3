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
