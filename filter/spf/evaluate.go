package spf

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"

	"github.com/postern-mail/postern/filter/auth"
	"github.com/postern-mail/postern/internal/dns"
)

// The limits of RFC 7208 4.6.4.
const (
	askLimit  = 10 // terms that cause look-ups, in all records of one evaluation together
	voidLimit = 2  // terms whose look-ups come back empty
	mxLimit   = 10 // MX records of one term; more are an error, as the domain has chosen them
	ptrLimit  = 10 // names of the client; more are ignored, as the client has chosen them
)

// evaluation is one run of check_host (RFC 7208 4) with all that it includes and is redirected to. It is not
// safe for concurrent use.
type evaluation struct {
	dns    lookups
	client netip.Addr // unmapped
	id     identity
	helo   string
	host   string // our own name

	local bool // a record hangs on the sender's local part
	asked int  // terms that cause look-ups
	void  int  // terms that found nothing
	names clientNames
}

// outcome is the result of check_host for one domain.
type outcome struct {
	result auth.Result
	reason string
	term   string // the directive that matched, as in the record; "" for none
	domain string // whose record gave the result
	exp    *template
}

func permerror(format string, args ...any) *outcome {
	return &outcome{result: auth.PermError, reason: fmt.Sprintf(format, args...)}
}

// failed makes an outcome of the failure of a look-up (RFC 7208 4.4, 5).
func failed(err error) *outcome {
	return &outcome{result: auth.TempError, reason: wording(err)}
}

// wording words the failure of a look-up.
func wording(err error) string {
	var de *net.DNSError
	if errors.As(err, &de) && de.Name != "" {
		return "DNS: " + strings.TrimSuffix(de.Name, ".") + ": " + dns.Failure(err)
	}
	return "DNS: " + dns.Failure(err)
}

// check evaluates a domain, following redirections in a loop. Includes are recursion, which askLimit bounds.
func (e *evaluation) check(ctx context.Context, domain string) *outcome {
	var from string // the redirect that led here
	for {
		rec, stop := e.fetch(ctx, domain)
		if stop != nil {
			if stop.result == auth.None && from != "" {
				return permerror("redirect=%s: %s", from, stop.reason) // RFC 7208 6.1
			}
			return stop
		}
		if o := e.run(ctx, rec, domain); o != nil {
			return o
		}
		if rec.redirect == nil { // RFC 7208 5.1: "all" switches a redirect off; it matches, and this is not reached
			return &outcome{result: auth.Neutral, reason: "no mechanism matched", domain: domain} // RFC 7208 4.7
		}
		if stop := e.count(); stop != nil {
			return stop
		}
		domain = rec.redirect.expandName(e.values(ctx, domain))
		if rec.redirect.local && !isASCII(e.id.local) {
			domain = "" // RFC 8616 4
		}
		from = clipTo(domain, 100)
	}
}

// fetch gets and selects the record of a domain (RFC 7208 4.3 to 4.5); an outcome says that there is no evaluating it.
func (e *evaluation) fetch(ctx context.Context, domain string) (*record, *outcome) {
	if !isName(domain) || strings.IndexByte(domain, '.') < 0 {
		return nil, &outcome{result: auth.None, reason: "not a domain name that could have a record"}
	}
	all, err := e.dns.text(ctx, domain)
	if err != nil {
		return nil, failed(err)
	}
	found := ""
	for _, txt := range all {
		if !isRecord(txt) {
			continue
		}
		if found != "" {
			return nil, permerror("%s has several records", domain)
		}
		found = txt
	}
	if found == "" {
		return nil, &outcome{result: auth.None, reason: domain + " has no record"}
	}
	rec, err := parseRecord(found)
	if err != nil {
		return nil, permerror("the record of %s is malformed: %v", domain, err)
	}
	e.local = e.local || rec.local
	return rec, nil
}

// run tries the directives from left to right; nil says that none matched.
func (e *evaluation) run(ctx context.Context, rec *record, domain string) *outcome {
	for i := range rec.directives {
		d := &rec.directives[i]
		if d.mechanism.asks() {
			if stop := e.count(); stop != nil {
				return stop
			}
		}
		matched, note, stop := e.match(ctx, d, domain)
		if stop != nil {
			return stop
		}
		if !matched {
			continue
		}
		o := &outcome{result: d.result, term: d.text, domain: domain, reason: "matched " + d.text + note}
		if d.result == auth.Fail {
			o.exp = rec.exp
		}
		if domain != e.id.domain {
			o.reason += " of " + domain
		}
		if i == 0 && d.mechanism == mechAll && d.result == auth.Fail && domain == e.id.domain {
			o.reason = domain + " sends no mail at all: " + o.reason
		}
		return o
	}
	return nil
}

// count counts a term that causes look-ups.
func (e *evaluation) count() *outcome {
	if e.asked++; e.asked > askLimit {
		return permerror("more than %d terms cause look-ups", askLimit)
	}
	return nil
}

// countVoid counts a term for which a look-up came back empty. RFC 7208 4.6.4 counts terms, not look-ups: an
// "mx" whose ten hosts have no IPv6 address is one.
func (e *evaluation) countVoid() *outcome {
	if e.void++; e.void > voidLimit {
		return permerror("more than %d terms found nothing in the DNS", voidLimit)
	}
	return nil
}

// match reports whether a directive matches. The note adds to what is said of a match.
func (e *evaluation) match(ctx context.Context, d *directive, domain string) (matched bool, note string, stop *outcome) {
	switch d.mechanism {
	case mechAll:
		return true, "", nil
	case mechIP4, mechIP6:
		return d.network.Contains(e.client), "", nil
	}
	target := domain
	if d.target != nil {
		target = d.target.expandName(e.values(ctx, domain))
		if d.target.local && !isASCII(e.id.local) {
			return false, "", nil // RFC 8616 4: such terms match nothing
		}
	}
	if d.mechanism == mechInclude {
		return e.include(ctx, target)
	}
	if !isName(target) {
		return false, "", nil // RFC 7208 4.8 leaves it open: there is nothing to ask, so nothing is found
	}
	switch d.mechanism {
	case mechA:
		matched, stop = e.matchA(ctx, d, target)
	case mechMX:
		matched, stop = e.matchMX(ctx, d, target)
	case mechPTR:
		matched, stop = e.matchPTR(ctx, target)
	case mechExists:
		matched, stop = e.matchExists(ctx, target)
	}
	return matched, "", stop
}

// include: RFC 7208 5.2.
func (e *evaluation) include(ctx context.Context, target string) (matched bool, note string, stop *outcome) {
	o := e.check(ctx, target)
	switch o.result {
	case auth.Pass:
		return true, ", there " + o.term, nil
	case auth.Fail, auth.SoftFail, auth.Neutral:
		return false, "", nil
	case auth.TempError, auth.PermError:
		return false, "", &outcome{result: o.result, reason: o.reason}
	}
	return false, "", permerror("include:%s: %s", clipTo(target, 100), o.reason)
}

// matchA: RFC 7208 5.3.
func (e *evaluation) matchA(ctx context.Context, d *directive, target string) (bool, *outcome) {
	addrs, err := e.dns.addresses(ctx, target, e.client.Is4())
	if err != nil {
		return false, failed(err)
	}
	if len(addrs) == 0 {
		return false, e.countVoid()
	}
	return e.within(addrs, d), nil
}

// matchMX: RFC 7208 5.4. A target without MX records is not its own MX.
func (e *evaluation) matchMX(ctx context.Context, d *directive, target string) (bool, *outcome) {
	hosts, err := e.dns.hosts(ctx, target)
	if err != nil {
		return false, failed(err)
	}
	if len(hosts) > mxLimit {
		return false, permerror("%s has more than %d MX records", target, mxLimit)
	}
	void := len(hosts) == 0
	for _, host := range hosts {
		if !isName(host) {
			continue // a null MX (RFC 7505), or what can't be asked for
		}
		addrs, err := e.dns.addresses(ctx, host, e.client.Is4())
		if err != nil {
			return false, failed(err)
		}
		if e.within(addrs, d) {
			return true, nil
		}
		void = void || len(addrs) == 0
	}
	if void {
		return false, e.countVoid()
	}
	return false, nil
}

func (e *evaluation) within(addrs []netip.Addr, d *directive) bool {
	bits := d.bits[1]
	if e.client.Is4() {
		bits = d.bits[0]
	}
	for _, a := range addrs {
		if netip.PrefixFrom(a, bits).Contains(e.client) {
			return true
		}
	}
	return false
}

// matchExists: RFC 7208 5.7. A is asked for, also where the client has an IPv6 address.
func (e *evaluation) matchExists(ctx context.Context, target string) (bool, *outcome) {
	addrs, err := e.dns.addresses(ctx, target, true)
	if err != nil {
		return false, failed(err)
	}
	if len(addrs) == 0 {
		return false, e.countVoid()
	}
	return true, nil
}

// matchPTR: RFC 7208 5.5. Failures are no match: they are the doing of whoever runs the client's network, not the
// domain's. Only the look-up of the client's names counts among the empty ones, for the same reason.
func (e *evaluation) matchPTR(ctx context.Context, target string) (bool, *outcome) {
	names, void := e.clientNames(ctx)
	if void {
		return false, e.countVoid()
	}
	for _, name := range names {
		if isWithin(name, target) && e.confirmed(ctx, name) {
			return true, nil
		}
	}
	return false, nil
}

// isWithin reports whether a name is a domain or lies below it, whatever the case.
func isWithin(name, domain string) bool {
	cut := len(name) - len(domain)
	return cut >= 0 && strings.EqualFold(name[cut:], domain) && (cut == 0 || name[cut-1] == '.')
}

// isName reports whether a name can be asked for: labels of 1 to 63 octets, 253 in all, none of them above 0x7f.
// What octets names made by macros hold is nobody's business else.
func isName(s string) bool {
	if len(s) > nameLimit || !isASCII(s) {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 {
			return false
		}
	}
	return true
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] > 0x7f {
			return false
		}
	}
	return true
}
