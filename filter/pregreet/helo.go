package pregreet

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/internal/dns"
	"github.com/postern-mail/postern/mail"
)

// heloBudget is how long the look-ups for a name may take.
const heloBudget = 5 * time.Second

// helo looks at the argument of EHLO (RFC 5321 4.1.1.1): the client's name, or an address literal where it has none.
func (c *check) helo(ctx context.Context, s *filter.Session, client netip.Addr) (filter.Result, error) {
	if s.Helo == "" {
		return filter.Result{}, nil
	}
	symbol, err := c.judge(ctx, s, client)
	if ctx.Err() != nil {
		return filter.Result{}, fmt.Errorf("pregreet: %q: %w", s.Helo, ctx.Err())
	}
	if err != nil {
		symbol = "" // what could not be told is no evidence
	}
	var r filter.Result
	for _, found := range []string{symbol, c.looksDynamic(s.Helo, client)} {
		if found != "" && !c.off[found] {
			r.Findings = append(r.Findings, filter.Finding{Symbol: found, Strength: 1, Detail: s.Helo})
		}
	}
	return r, nil
}

// judge gives the symbol that says what is wrong with the name, "" for nothing.
func (c *check) judge(ctx context.Context, s *filter.Session, client netip.Addr) (string, error) {
	if inner, is := strings.CutPrefix(s.Helo, "["); is {
		return judgeLiteral(s, client, inner), nil
	}
	if a, err := netip.ParseAddr(s.Helo); err == nil {
		if isOurs(s, a) {
			return ours, nil
		}
		return bareAddress, nil
	}
	name, err := mail.Domain(s.Helo)
	switch {
	case err != nil || isNumber(name):
		return invalid, nil
	case name == c.hostname:
		return ours, nil
	case !strings.Contains(name, "."):
		return notFull, nil
	case s.PTR != "" && strings.EqualFold(strings.TrimSuffix(s.PTR, "."), name):
		return "", nil
	}
	limited, cancel := context.WithTimeout(ctx, heloBudget)
	defer cancel()
	leads, found, err := dns.Leads(limited, c.dns, name, client)
	switch {
	case err != nil || leads:
		return "", err
	case c.ours != nil && c.ours(name):
		return ourDomain, nil
	case !found:
		return unresolvable, nil
	}
	return mismatch, nil
}

// judgeLiteral judges an address literal (RFC 5321 4.1.3); inner stands behind the bracket.
func judgeLiteral(s *filter.Session, client netip.Addr, inner string) string {
	inner, closed := strings.CutSuffix(inner, "]")
	tagged := false
	if i := strings.IndexByte(inner, ':'); i >= 0 && strings.EqualFold(inner[:i], "IPv6") {
		inner, tagged = inner[i+1:], true
	}
	a, err := netip.ParseAddr(inner)
	if !closed || err != nil || a.Zone() != "" || a.Is6() != tagged {
		return literalMalformed
	}
	switch a = a.Unmap(); {
	case a == client:
		return literal
	case isOurs(s, a):
		return ours
	}
	return literalOther
}

// isOurs reports whether an address is the one at which the client found us.
func isOurs(s *filter.Session, a netip.Addr) bool {
	return s.Server.IsValid() && a.Unmap() == s.Server.Addr().Unmap().WithZone("")
}

// isNumber reports whether the last label is a number, which no top-level domain is (RFC 3696 2).
func isNumber(name string) bool {
	return strings.Trim(name[strings.LastIndexByte(name, '.')+1:], "0123456789") == ""
}

// Words of names. Providers call the lines of their customers after how they are connected, and what sends mail on purpose is
// called so. Words that both may have ("pool", "host", "cust") are in neither list.
var (
	lineWords = wordSet("adsl catv dhcp dialin dialup dip dsl dyn dynamic dynip ftth ppp pppoe vdsl xdsl broadband")
	mailWords = wordSet("fix fixed mail mailer mailout mta mx out outbound relay send sender server smtp smtpout stat static")
)

func wordSet(all string) map[string]bool {
	set := map[string]bool{}
	for _, w := range strings.Fields(all) {
		set[w] = true
	}
	return set
}

// looksDynamic gives the symbol for a name that carries the client's address, or that has a number and a word for lines.
func (c *check) looksDynamic(helo string, client netip.Addr) string {
	name, err := mail.Domain(helo)
	if err != nil || !strings.Contains(name, ".") || isNumber(name) || name == c.hostname {
		return ""
	}
	line, number := false, false
	for i, label := range strings.Split(name, ".") {
		number = number || i == 0 && strings.ContainsAny(label, "0123456789")
		for _, w := range strings.FieldsFunc(label, func(r rune) bool { return r < 'a' || r > 'z' }) {
			if mailWords[w] {
				return ""
			}
			line = line || lineWords[w]
		}
	}
	if line && number || client.Is4() && carries(name, client.As4()) {
		return dynamic
	}
	return ""
}

// carries reports whether a name has the octets of an address in it, forwards or backwards: as four numbers one after another,
// as twelve digits, or as eight hex digits.
func carries(name string, octets [4]byte) bool {
	back := [4]byte{octets[3], octets[2], octets[1], octets[0]}
	for _, o := range [2][4]byte{octets, back} {
		if strings.Contains(name, fmt.Sprintf("%03d%03d%03d%03d", o[0], o[1], o[2], o[3])) || strings.Contains(name, fmt.Sprintf("%x", o)) {
			return true
		}
	}
	var run []int // of the last four numbers
	for rest := name; ; {
		i := strings.IndexAny(rest, "0123456789")
		if i < 0 {
			return false
		}
		n, width := 0, 0
		for rest = rest[i:]; width < len(rest) && '0' <= rest[width] && rest[width] <= '9'; width++ {
			n = min(10*n+int(rest[width]-'0'), 1000)
		}
		rest = rest[width:]
		if run = append(run, n); len(run) > 4 {
			run = run[1:]
		}
		if len(run) == 4 && (same(run, octets) || same(run, back)) {
			return true
		}
	}
}

func same(run []int, octets [4]byte) bool {
	for i, o := range octets {
		if run[i] != int(o) {
			return false
		}
	}
	return true
}
