package dnsbl

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/filter/auth"
	"github.com/postern-mail/postern/internal/dns"
)

// list is one list and what is known of it.
type list struct {
	name     string // in the configuration
	zone     string
	of       []string
	symbol   string // of codes without a meaning of their own; "": they do not count
	meanings []meaning
	reason   bool // its own words are asked for
	health   health
}

// question is what the lists of one subject are asked.
type question struct {
	of    string
	kind  kind
	name  string // in front of the zone
	shown string // how people call it
}

// opinion is what a list says.
type opinion struct {
	auth.ListResult
	shown   string
	symbols []string // of a listing, in the order of the configuration
	asked   bool     // the question went to the list: a failure is the list's
}

// addresses is a resolver that asks for addresses of one family only; a filter.Resolver asks for both, and no list has
// any of IPv6 to answer with (RFC 5782 2.4).
type addresses interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// asker puts questions to lists.
type asker struct {
	dns filter.Resolver
	log *slog.Logger
	now func() time.Time
}

// ask puts a question to a list before the limited context ends, and tests the list where that is due. What comes after
// the session's own context has ended says nothing of the list.
func (a *asker) ask(session, limited context.Context, l *list, q question) opinion {
	p := l.health.enter(q.kind, a.now())
	if p.not != "" {
		return opinion{shown: q.shown, ListResult: auth.ListResult{List: l.name, Of: q.of, Result: p.not, Reason: offReasons[p.not]}}
	}
	var never, always opinion
	var wait filter.Group
	if p.test {
		wait.Go(func() { never = a.look(limited, l, tests[q.kind].never) })
		if q.kind != ipv6 {
			wait.Go(func() { always = a.look(limited, l, tests[q.kind].always) })
		}
	}
	o := a.look(limited, l, q.name)
	wait.Wait()
	o.Of, o.shown = q.of, q.shown
	if session.Err() != nil {
		return o
	}
	now := a.now()
	if p.test {
		l.health.tested(q.kind, never.Result, always.Result, now, a.log, l.name)
	}
	if o.asked {
		l.health.answered(o.Result != auth.ListTimeout && o.Result != auth.ListFailed, p, now, a.log, l.name)
	}
	for _, x := range []opinion{o, never} {
		if x.Result == auth.ListErrorCode {
			l.health.refused(strings.Join(x.Codes, " "), now, a.log, l.name)
			break
		}
	}
	if o.Result != auth.ListListed {
		return o
	}
	if off := l.health.standing(q.kind).off(); off != "" {
		o.Result, o.symbols, o.Reason = off, nil, offReasons[off]
		return o
	}
	if l.reason {
		o.Reason = a.words(limited, l, q.name)
	}
	return o
}

// offReasons says why a listing does not count, or why a list was not asked.
var offReasons = map[string]string{
	auth.ListResting:   "not asked: it has had no answers for a while",
	auth.ListOff:       "off: it lists what no list may",
	auth.ListErrorCode: "off: it answers with errors",
	auth.ListFailed:    "not proved: its test entry could not be asked for",
}

// look looks up one name of a list and says what its answer means.
func (a *asker) look(ctx context.Context, l *list, label string) opinion {
	o := opinion{ListResult: auth.ListResult{List: l.name}, asked: true}
	found, err := a.addresses(ctx, label+"."+l.zone)
	var de *net.DNSError
	switch {
	case err == nil && len(found) > 0:
		l.read(&o, found)
	case err == nil, dns.NotFound(err):
		o.Result = auth.ListClean
	case dns.NotAsked(err):
		o.Result, o.Reason, o.asked = auth.ListFailed, dns.Failure(err), false
	case errors.As(err, &de) && de.IsTimeout, errors.Is(err, context.DeadlineExceeded):
		o.Result, o.Reason = auth.ListTimeout, dns.Failure(err)
	default:
		o.Result, o.Reason = auth.ListFailed, dns.Failure(err)
	}
	return o
}

// addresses gives the IPv4 addresses of a name.
func (a *asker) addresses(ctx context.Context, name string) (all []netip.Addr, err error) {
	if r, ok := a.dns.(addresses); ok {
		return r.LookupNetIP(ctx, "ip4", name)
	}
	found, err := a.dns.LookupIPAddr(ctx, name)
	for _, f := range found {
		if ip, ok := netip.AddrFromSlice(f.IP); ok && ip.Unmap().Is4() {
			all = append(all, ip.Unmap())
		}
	}
	if len(all) > 0 {
		err = nil // that the other family can't be asked for is no matter
	}
	return all, err
}

// maxAnswers is how many codes of one answer are looked at; lists that put several together have four or five.
const maxAnswers = 16

// read says what an answer with addresses means. One code that is an error spoils them all.
func (l *list) read(o *opinion, found []netip.Addr) {
	found = slices.Clone(found[:min(len(found), maxAnswers)])
	slices.SortFunc(found, netip.Addr.Compare)
	found = slices.Compact(found)
	o.Result = auth.ListOtherCode
	for _, f := range found {
		o.Codes = append(o.Codes, f.String())
		symbols, isError := l.means(f.Unmap())
		if isError {
			o.Result, o.Reason = auth.ListErrorCode, "it answers with an error"
		}
		for _, s := range symbols {
			if !slices.Contains(o.symbols, s) {
				o.symbols = append(o.symbols, s)
			}
		}
	}
	switch {
	case o.Result == auth.ListErrorCode:
		o.symbols = nil
	case len(o.symbols) > 0:
		o.Result = auth.ListListed
	}
}

// means gives the symbols of a code, none for one that does not count: that of a pattern of numbers, else those of all bits
// that it has.
func (l *list) means(code netip.Addr) (symbols []string, isError bool) {
	if !codes.Contains(code) || errorCodes.Contains(code) {
		return nil, true // of a resolver that lies about names that do not exist, or of a list that does not answer
	}
	for i := range l.meanings {
		if m := &l.meanings[i]; !m.codes.bits && m.codes.has(code) {
			return m.counts(), m.isError
		}
	}
	if slices.Contains(refusals, code) {
		return nil, true
	}
	for i := range l.meanings {
		if m := &l.meanings[i]; m.codes.bits && m.codes.has(code) {
			symbols, isError = append(symbols, m.counts()...), isError || m.isError
		}
	}
	if symbols == nil && !isError && l.symbol != "" {
		symbols = []string{l.symbol}
	}
	return symbols, isError
}

func (m *meaning) counts() []string {
	if m.isError {
		return nil
	}
	return []string{m.symbol}
}

// maxWords bounds what a list says of a listing, in octets.
const maxWords = 200

// words gives what a list says of a listing (RFC 5782 2.1), printable; "" where it says nothing in time.
func (a *asker) words(ctx context.Context, l *list, label string) string {
	all, err := a.dns.LookupTXT(ctx, label+"."+l.zone)
	if err != nil || len(all) == 0 {
		return ""
	}
	slices.Sort(all)
	text := strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, all[0][:min(len(all[0]), maxWords)])
	return strings.TrimSpace(text)
}
