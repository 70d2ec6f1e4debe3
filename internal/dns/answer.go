package dns

import (
	"cmp"
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/postern-mail/postern/internal/dns/name"
)

// question is what is asked for: a canonical plain name and a type, in class IN.
type question struct {
	name string
	kind uint16
}

// answer is the outcome of a question. It is shared, and changed by nobody.
type answer struct {
	rcode  string
	server string // who gave it, "" for nobody
	cause  error  // of a failure
	ttl    time.Duration
	secure bool

	addrs   []netip.Addr // A, AAAA
	texts   []string     // TXT
	hosts   []host       // MX, PTR
	strange []host       // those left out that are names nevertheless, plain
	tlsa    []TLSA
	left    int // records that were left out, being malformed
}

type host struct {
	name string
	pref uint16
}

// unaskable is the answer to a question that can't be put.
var unaskable = &answer{rcode: NXDomain}

// failed reports whether the outcome says nothing about the name.
func (a *answer) failed() bool {
	return a.rcode != NoError && a.rcode != NoData && a.rcode != NXDomain
}

// silent reports whether the server gave no sign of life.
func (a *answer) silent() bool { return a.rcode == TimedOut || a.rcode == Unreachable }

// err gives the outcome as the error that it is for whoever asked; nil for NoError.
func (a *answer) err(asked string) error {
	e := &net.DNSError{Name: asked, Server: a.server, UnwrapErr: a.cause}
	switch a.rcode {
	case NoError:
		return nil
	case NXDomain:
		e.UnwrapErr, e.IsNotFound = ErrNXDomain, true
	case NoData:
		e.UnwrapErr, e.IsNotFound = ErrNoData, true
	default:
		e.IsTemporary = true
		e.IsTimeout = a.rcode == TimedOut || errors.Is(a.cause, context.DeadlineExceeded)
	}
	switch {
	case e.UnwrapErr != nil:
		e.Err = e.UnwrapErr.Error()
	case e.IsTimeout:
		e.Err = "no answer"
	default:
		e.Err = "server misbehaving: " + a.rcode
	}
	return e
}

// odd gives the error that comes with what is good of an answer.
func (a *answer) odd(asked string) error {
	if a.left == 0 {
		return nil
	}
	return &net.DNSError{Name: asked, Server: a.server, Err: "malformed records were left out", IsTemporary: true}
}

// size estimates what the answer takes in memory, in octets.
func (a *answer) size() int {
	n := 184 + len(a.addrs)*24 + len(a.texts)*16 + (len(a.hosts)+len(a.strange))*24 + len(a.tlsa)*32
	for _, t := range a.texts {
		n += len(t)
	}
	for _, all := range [][]host{a.hosts, a.strange} {
		for _, h := range all {
			n += len(h.name)
		}
	}
	for _, t := range a.tlsa {
		n += len(t.Data)
	}
	return n
}

// Limits of how long answers are kept.
const (
	maxTTL      = time.Hour
	maxDenied   = 15 * time.Minute // RFC 2308 5: a limit is advised; who mends a record does not want to wait
	maxChain    = 8                // CNAMEs that one answer may lead through
	maxRecords  = 500              // in one message, of all kinds: work for nothing beyond
	ednsSize    = 1232             // octets; DNS flag day 2020: what no path fragments
	headerSize  = 12               // octets of a message's header (RFC 1035 4.1.1)
	flagQR      = 1 << 15
	flagTC      = 1 << 9
	maskOpcode  = 0xf << 11
	serverError = "the server says "
)

// fits reports whether a message can be the answer to a question: a response, under the id, with the question
// repeated (RFC 5452 9.1). truncated tells that it says there is more over TCP.
func fits(b []byte, id uint16, q question) (ok, truncated bool) {
	if len(b) < headerSize || binary.BigEndian.Uint16(b) != id {
		return false, false
	}
	flags := binary.BigEndian.Uint16(b[2:])
	if flags&flagQR == 0 || flags&maskOpcode != 0 || binary.BigEndian.Uint16(b[4:]) != 1 {
		return false, false
	}
	asked, off, err := dns.UnpackDomainName(b, headerSize)
	if err != nil || len(b) < off+4 || dns.CanonicalName(asked) != name.Escape(q.name) {
		return false, false
	}
	if binary.BigEndian.Uint16(b[off:]) != q.kind || binary.BigEndian.Uint16(b[off+2:]) != dns.ClassINET {
		return false, false
	}
	return true, flags&flagTC != 0
}

// read reads a message that fits.
func read(b []byte, q question, trusted bool) *answer {
	n := 0
	for at := 6; at < headerSize; at += 2 {
		n += int(binary.BigEndian.Uint16(b[at:]))
	}
	if n > maxRecords {
		return malformed("%d records", n)
	}
	m := new(dns.Msg)
	if err := m.Unpack(b); err != nil {
		return malformed("%w", err)
	}
	a := &answer{secure: trusted && m.AuthenticatedData, ttl: maxTTL}
	switch m.Rcode {
	case dns.RcodeSuccess, dns.RcodeNameError:
	case dns.RcodeServerFailure:
		return &answer{rcode: ServFail}
	case dns.RcodeRefused:
		return &answer{rcode: Refused}
	default:
		return &answer{rcode: OtherRcode, cause: errors.New(serverError + cmp.Or(dns.RcodeToString[m.Rcode], fmt.Sprint(m.Rcode)))}
	}
	owner, err := a.follow(m.Answer, q)
	if err != nil {
		return malformed("%w", err)
	}
	found := len(a.addrs)+len(a.texts)+len(a.hosts)+len(a.tlsa)+a.left > 0
	switch {
	case m.Rcode == dns.RcodeNameError && found:
		return malformed("records of a name that does not exist")
	case m.Rcode == dns.RcodeNameError:
		a.rcode = NXDomain
	case found:
		a.rcode = NoError
		slices.SortStableFunc(a.hosts, func(x, y host) int { return cmp.Compare(x.pref, y.pref) })
		return a
	case !m.Authoritative && !m.RecursionAvailable:
		// RFC 2308 2.2: a referral looks like NODATA. It comes from a server that does not recurse.
		return malformed("a referral")
	default:
		a.rcode = NoData
	}
	a.ttl = min(a.ttl, denial(m.Ns, owner))
	return a
}

func malformed(format string, args ...any) *answer {
	return &answer{rcode: Malformed, cause: fmt.Errorf("malformed answer: "+format, args...)}
}

// follow takes in the records that answer the question, through CNAMEs, and gives the name at which it ended.
func (a *answer) follow(records []dns.RR, q question) (owner string, err error) {
	owner = name.Escape(q.name)
	for i := range maxChain + 1 {
		alias := ""
		matched, related := false, false
		for _, rr := range records {
			h := rr.Header()
			if h.Class != dns.ClassINET || dns.CanonicalName(h.Name) != owner {
				continue
			}
			related = true
			if h.Rrtype == q.kind {
				a.take(rr)
				matched = true
			} else if c, ok := rr.(*dns.CNAME); ok && alias == "" {
				alias = dns.CanonicalName(c.Target)
				a.limit(h.Ttl)
			}
		}
		switch {
		case i == 0 && !related && len(records) > 0:
			return "", errors.New("records of another name")
		case matched || alias == "":
			return owner, nil
		}
		owner = alias
	}
	return "", errors.New("too many CNAMEs")
}

// take takes in one record of the type that was asked for.
func (a *answer) take(rr dns.RR) {
	a.limit(rr.Header().Ttl)
	switch rr := rr.(type) {
	case *dns.A:
		a.address(rr.A)
	case *dns.AAAA:
		a.address(rr.AAAA)
	case *dns.TXT:
		a.texts = append(a.texts, name.Octets(strings.Join(rr.Txt, "")))
	case *dns.MX:
		a.host(rr.Mx, rr.Preference)
	case *dns.PTR:
		a.host(rr.Ptr, 0)
	case *dns.TLSA:
		data, err := hex.DecodeString(rr.Certificate)
		if err != nil || len(data) == 0 {
			a.left++
			return
		}
		a.tlsa = append(a.tlsa, TLSA{Usage: rr.Usage, Selector: rr.Selector, MatchingType: rr.MatchingType, Data: data})
	default:
		a.left++
	}
}

func (a *answer) address(ip net.IP) {
	addr, ok := netip.AddrFromSlice(ip)
	if !ok {
		a.left++
		return
	}
	a.addrs = append(a.addrs, addr.Unmap())
}

// host takes in a name that is a value. What is no host name is left out: it would be shown to people, and go
// into header fields.
func (a *answer) host(escaped string, pref uint16) {
	if escaped == "" { // a record without data, which only an update may have
		a.left++
		return
	}
	for i := range len(escaped) {
		c := escaped[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '_' && c != '.' {
			a.left++
			if plain, ok := name.Plain(escaped); ok {
				a.strange = append(a.strange, host{name: plain, pref: pref})
			}
			return
		}
	}
	a.hosts = append(a.hosts, host{name: escaped, pref: pref})
}

// limit shortens how long the answer is kept to the TTL of a record, in seconds.
func (a *answer) limit(ttl uint32) {
	if ttl > 1<<31-1 { // RFC 2181 8: taken as zero
		ttl = 0
	}
	a.ttl = min(a.ttl, time.Duration(ttl)*time.Second)
}

// denial gives how long it may be kept that a name, or a record of it, does not exist: by the SOA record of a zone
// that it is in (RFC 2308 5). Without one it is not kept.
func denial(authority []dns.RR, owner string) time.Duration {
	for _, rr := range authority {
		soa, ok := rr.(*dns.SOA)
		if !ok || soa.Hdr.Class != dns.ClassINET || !dns.IsSubDomain(dns.CanonicalName(soa.Hdr.Name), owner) {
			continue
		}
		kept := answer{ttl: maxDenied}
		kept.limit(soa.Hdr.Ttl)
		kept.limit(soa.Minttl)
		return kept.ttl
	}
	return 0
}
