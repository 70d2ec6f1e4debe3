package access

import (
	"io"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/postern-mail/postern/internal/lines"
)

// roll has the entries of a list, in their order.
type roll[E interface{ base() *entry }] struct{ entries []E }

func (r *roll[E]) add(e E, file string, line int, note string) {
	b := e.base()
	b.file, b.line, b.note = file, line, note
	r.entries = append(r.entries, e)
}

func (r *roll[E]) size() int { return len(r.entries) }

// expired gives the places of entries that have expired.
func (r *roll[E]) expired(now time.Time) (places []string) {
	for _, e := range r.entries {
		if b := e.base(); b.expiredAt(now) {
			places = append(places, b.place())
		}
	}
	return places
}

// allowList is what an allow file says, by the domains that its entries name; it is immutable.
type allowList struct {
	roll[*allowEntry]
	by map[string][]*allowEntry // by pattern, as it is written
}

// parseAllow reads an allow list; waivable is what may be waived.
func parseAllow(name string, r io.Reader, waivable []string) (*allowList, error) {
	l := &allowList{by: map[string][]*allowEntry{}}
	err := lines.Each(name, r, func(n int, text, comment string) error {
		e, err := parseAllowEntry(text, waivable)
		if err != nil {
			return err
		}
		l.add(e, name, n, comment)
		for _, p := range e.names {
			l.by[p.String()] = append(l.by[p.String()], e)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return l, nil
}

// byCertificate reports whether an entry goes by certificates of clients.
func (l *allowList) byCertificate() bool {
	return slices.ContainsFunc(l.entries, func(e *allowEntry) bool {
		return slices.ContainsFunc(e.proofs, func(p proof) bool { return p.kind == proofCertificate })
	})
}

// blockList is what a block file says; it is immutable.
type blockList struct {
	roll[*blockEntry]
	by       map[string][]*blockEntry // by subject: domain, "*." and domain, mailbox, and names behind heloPrefix
	networks map[netip.Prefix][]*blockEntry
	bits     map[bool][]int // the lengths of prefixes that occur, of IPv4 and of IPv6
}

// parseBlock reads a block list.
func parseBlock(name string, r io.Reader) (*blockList, error) {
	l := &blockList{by: map[string][]*blockEntry{}, networks: map[netip.Prefix][]*blockEntry{}, bits: map[bool][]int{}}
	err := lines.Each(name, r, func(n int, text, comment string) error {
		e, err := parseBlockEntry(text)
		if err != nil {
			return err
		}
		l.add(e, name, n, comment)
		for _, s := range e.subjects {
			l.by[s] = append(l.by[s], e)
		}
		for _, p := range e.networks {
			l.networks[p] = append(l.networks[p], e)
			if is4 := p.Addr().Is4(); !slices.Contains(l.bits[is4], p.Bits()) {
				l.bits[is4] = append(l.bits[is4], p.Bits())
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return l, nil
}

// ofClient gives the entries for an address.
func (l *blockList) ofClient(a netip.Addr) (found []*blockEntry) {
	a = a.Unmap().WithZone("")
	if !a.IsValid() {
		return nil
	}
	for _, bits := range l.bits[a.Is4()] {
		if p, err := a.Prefix(bits); err == nil {
			found = append(found, l.networks[p]...)
		}
	}
	return found
}

// ofDomain gives the entries for a domain, in the namespace that a prefix marks.
func (l *blockList) ofDomain(prefix, domain string) (found []*blockEntry) {
	for _, p := range patternsOf(domain) {
		found = append(found, l.by[prefix+p]...)
	}
	return found
}

// patternsOf lists the patterns that match a domain, as they are written.
func patternsOf(domain string) []string {
	if domain == "" {
		return nil
	}
	all := []string{domain}
	for rest, ok := domain, true; ok; {
		if _, rest, ok = strings.Cut(rest, "."); ok {
			all = append(all, "*."+rest)
		}
	}
	return all
}
