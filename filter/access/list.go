package access

import (
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/postern-mail/postern/internal/lines"
)

type reader = io.Reader

// allowList is what an allow file says, by the domains that its entries name; it is immutable.
type allowList struct {
	entries []*allowEntry
	by      map[string][]*allowEntry // by pattern, as it is written
}

// parseAllow reads an allow list; waivable is what may be waived.
func parseAllow(name string, r reader, waivable []string) (*allowList, error) {
	l := &allowList{by: map[string][]*allowEntry{}}
	err := lines.Each(name, r, func(n int, text, comment string) error {
		e, err := parseAllowEntry(text, waivable)
		if err != nil {
			return err
		}
		e.line, e.place, e.note = n, fmt.Sprintf("%s:%d", name, n), comment
		l.entries = append(l.entries, e)
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

func (l *allowList) size() int { return len(l.entries) }

func (l *allowList) expired(now time.Time) (places []string) {
	for _, e := range l.entries {
		if e.expiredAt(now) {
			places = append(places, e.place)
		}
	}
	return places
}

// blockList is what a block file says; it is immutable.
type blockList struct {
	entries  []*blockEntry
	by       map[string][]*blockEntry // by subject: domain, "*." and domain, mailbox, and names behind heloPrefix
	networks map[netip.Prefix][]*blockEntry
	bits     map[bool][]int // the lengths of prefixes that occur, of IPv4 and of IPv6
}

// parseBlock reads a block list.
func parseBlock(name string, r reader) (*blockList, error) {
	l := &blockList{by: map[string][]*blockEntry{}, networks: map[netip.Prefix][]*blockEntry{}, bits: map[bool][]int{}}
	err := lines.Each(name, r, func(n int, text, comment string) error {
		e, err := parseBlockEntry(text)
		if err != nil {
			return err
		}
		e.line, e.place, e.note = n, fmt.Sprintf("%s:%d", name, n), comment
		l.entries = append(l.entries, e)
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

func (l *blockList) size() int { return len(l.entries) }

func (l *blockList) expired(now time.Time) (places []string) {
	for _, e := range l.entries {
		if e.expiredAt(now) {
			places = append(places, e.place)
		}
	}
	return places
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
