package dnsbl

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/mail"
	"github.com/postern-mail/postern/rules/text"
)

// domains reads a list of domains.
func domains(written []string) (all []string, err error) {
	for i, s := range written {
		d, err := mail.Domain(s)
		if err != nil {
			return nil, filter.At(fmt.Errorf("dnsbl: skip: %q is no domain", s), "skip", strconv.Itoa(i))
		}
		all = append(all, d)
	}
	return all, nil
}

// linked gives the questions about the names in a content: the registered domains of its links and mail addresses, and the
// addresses that links go to by number. What readers can click on comes first, and of that the first and the last: who
// hides his own name in a heap of others would have to do so at both ends.
func (c *check) linked(ctx context.Context, content *mail.Content) (all []question, err error) {
	m := text.Of(content, text.Options{})
	if err := filter.Hold(ctx, m.Memory()); err != nil {
		return nil, err
	}
	defer func() { _ = filter.Hold(ctx, 0) }() // lists are waited for without it
	uris := m.Links()
	if err := m.Err(); err != nil {
		return nil, err
	}
	var clicked, others []question
	for i := range uris {
		u := &uris[i]
		if u.Is("domainkeys") {
			continue // who has signed it, which nobody follows
		}
		for _, h := range u.Hosts {
			q, ok := c.about(h.Domain)
			switch {
			case !ok:
			case u.Is("a") || u.Is("area") || u.Is("form"):
				clicked = append(clicked, q)
			default:
				others = append(others, q)
			}
		}
	}
	return pick(append(fromBothEnds(clicked), fromBothEnds(others)...), c.names), nil
}

// about gives the question about a domain or an address; false for none.
func (c *check) about(name string) (question, bool) {
	if a, err := netip.ParseAddr(name); err == nil {
		a = a.Unmap()
		return question{of: ofHosts, kind: ipv4, name: text.Reversed(a), shown: a.String()}, a.Is4() && public(a)
	}
	if !c.foreign(name) || slices.ContainsFunc(c.skip, func(s string) bool { return mail.Within(name, s) }) {
		return question{}, false
	}
	return question{of: ofLinks, kind: domain, name: name, shown: name}, true
}

// fromBothEnds gives the first, the last, the second, the last but one, and so on.
func fromBothEnds(all []question) []question {
	out := make([]question, 0, len(all))
	for i, j := 0, len(all)-1; i <= j; i, j = i+1, j-1 {
		out = append(out, all[i])
		if i < j {
			out = append(out, all[j])
		}
	}
	return out
}

// pick gives the first n that differ.
func pick(all []question, n int) (out []question) {
	seen := map[string]bool{}
	for _, q := range all {
		if len(out) == n {
			break
		}
		if !seen[q.name] {
			seen[q.name] = true
			q.name, q.shown = strings.Clone(q.name), strings.Clone(q.shown) // not to keep the text they are of
			out = append(out, q)
		}
	}
	return out
}
