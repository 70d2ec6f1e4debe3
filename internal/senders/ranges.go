package senders

import (
	"net/netip"
	"slices"
)

// span is a range of addresses of one family, both ends in it.
type span struct{ lo, hi netip.Addr }

// set is a set of addresses: spans that ascend and do not touch, IPv4 before IPv6.
type set []span

// spanOf gives the addresses of a network.
func spanOf(p netip.Prefix) span {
	p = p.Masked()
	lo := p.Addr()
	b := lo.AsSlice()
	for i := p.Bits(); i < lo.BitLen(); i++ {
		b[i/8] |= 1 << (7 - i%8)
	}
	hi, _ := netip.AddrFromSlice(b)
	return span{lo, hi}
}

// union gives the addresses of both sets.
func union(a, b set) set {
	all := slices.Concat(a, b)
	slices.SortFunc(all, func(x, y span) int { return x.lo.Compare(y.lo) })
	out := all[:0]
	for _, s := range all {
		if n := len(out); n > 0 && meets(out[n-1], s) {
			if out[n-1].hi.Less(s.hi) {
				out[n-1].hi = s.hi
			}
			continue
		}
		out = append(out, s)
	}
	return out
}

// meets reports whether b, which begins no sooner than a, overlaps it or follows right behind.
func meets(a, b span) bool {
	if a.hi.BitLen() != b.lo.BitLen() {
		return false
	}
	next := a.hi.Next() // the zero Addr behind the last one
	return !next.IsValid() || b.lo.Compare(next) <= 0
}

// minus gives the addresses of a that are not in b.
func minus(a, b set) set {
	var out set
	j := 0
	for _, s := range a {
		for j < len(b) && b[j].hi.Less(s.lo) {
			j++
		}
		rest, left := s, true
		for k := j; left && k < len(b) && b[k].lo.Compare(rest.hi) <= 0; k++ {
			if rest.lo.Less(b[k].lo) {
				out = append(out, span{rest.lo, b[k].lo.Prev()})
			}
			if left = b[k].hi.Less(rest.hi); left {
				rest.lo = b[k].hi.Next()
			}
		}
		if left {
			out = append(out, rest)
		}
	}
	return out
}

// index finds the big sender of an address. It never changes.
type index struct {
	spans   []span
	owners  []uint16 // of the spans
	domains []string // of the owners
}

// newIndex makes an index. Of several domains with an address the first counts.
func newIndex(domains []string, sets []set) *index {
	type owned struct {
		span
		owner uint16
	}
	var all []owned
	var taken set
	for i, s := range sets {
		for _, own := range minus(s, taken) {
			all = append(all, owned{own, uint16(i)})
		}
		taken = union(taken, s)
	}
	slices.SortFunc(all, func(x, y owned) int { return x.lo.Compare(y.lo) })
	x := &index{domains: domains, spans: make([]span, len(all)), owners: make([]uint16, len(all))}
	for i, o := range all {
		x.spans[i], x.owners[i] = o.span, o.owner
	}
	return x
}

// of gives the domain that has an address, "" for none.
func (x *index) of(a netip.Addr) string {
	// The last span that begins no later than it.
	i, beyond := -1, len(x.spans)
	for beyond-i > 1 {
		if m := int(uint(i+beyond) >> 1); x.spans[m].lo.Compare(a) <= 0 {
			i = m
		} else {
			beyond = m
		}
	}
	if i < 0 || x.spans[i].hi.Less(a) {
		return ""
	}
	return x.domains[x.owners[i]]
}
