// Package zone is a small authoritative DNS server on loopback, for tests and for `postern demo`. It answers
// from a few lines of text (Serve) or from records in octets (ServeRecords), and fails or lies on demand. It is
// no name server for the open internet.
package zone

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/postern-mail/postern/internal/dns/name"
)

// table is what a text of zones says: records by lower-case rooted name, and how names misbehave.
type table struct {
	records map[string][]dns.RR
	faults  map[string]fault         // by name, or by name, blank, type
	delays  map[string]time.Duration // likewise
	nodes   map[string]bool          // every name with something at or below it
}

func newTable() *table {
	return &table{
		records: map[string][]dns.RR{}, faults: map[string]fault{}, delays: map[string]time.Duration{},
		nodes: map[string]bool{},
	}
}

type fault uint8

const (
	healthy   fault = iota
	secure          // no fault: the answer has the AD bit
	servFail        // answer SERVFAIL
	silent          // do not answer
	refused         // answer REFUSED
	denied          // answer NXDOMAIN
	noEDNS          // answer FORMERR to whoever uses EDNS
	truncated       // over UDP say nothing but that TCP has more
	wrongID         // answer under another id
	wrongName       // answer a question that was not put
	strange         // answer with records of another name
	looping         // answer with CNAMEs that run in a circle
	garbage         // answer with records that can't be read
	noisy           // over UDP send wrong ids, wrong questions and garbage before the answer
	lame            // refer to other servers
)

var faultWords = map[string]fault{
	"SECURE": secure, "SERVFAIL": servFail, "SILENT": silent, "REFUSED": refused, "NXDOMAIN": denied, "NOEDNS": noEDNS,
	"TRUNCATED": truncated, "WRONGID": wrongID, "WRONGNAME": wrongName, "STRANGE": strange, "LOOPING": looping,
	"GARBAGE": garbage, "NOISY": noisy, "LAME": lame,
}

const ttl = 60 // seconds, of records that say nothing else

// parse reads zones, one record to a line: `name TYPE value…`, or `name ttl TYPE value…`. Names need no final
// dot. The value is as in a master file (RFC 1035 5.1), but that of TXT may stand without quotes and be of any
// length. Blank lines and lines that begin with # or ; say nothing. `name FAULT` makes a name misbehave, `name TYPE
// FAULT` one type of it; the faults are the keys of faultWords. `name DELAY 100ms` and `name TYPE DELAY 100ms` make
// the answers slow. A negative answer has the SOA record of the nearest name above it that has one.
func parse(text string) (*table, error) {
	t := newTable()
	for i, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' || line[0] == ';' {
			continue
		}
		if err := t.add(line); err != nil {
			return nil, fmt.Errorf("zone: line %d: %w", i+1, err)
		}
	}
	return t, nil
}

func (t *table) add(line string) error {
	owner, rest := word(line)
	kind, value := word(rest)
	seconds := uint64(ttl)
	if n, err := strconv.ParseUint(kind, 10, 32); err == nil {
		seconds = n
		kind, value = word(value)
	}
	kind = strings.ToUpper(kind)
	if _, ok := dns.IsDomainName(owner); !ok {
		return fmt.Errorf("%q is not a domain name", owner)
	}
	owner = dns.CanonicalName(owner)
	if kind == "" {
		return fmt.Errorf("%q: want `name TYPE value`", line)
	}
	if done, err := t.misbehave(owner, kind, value); done || err != nil {
		return err
	}
	if kind == "TXT" {
		strs, err := txtStrings(value)
		if err != nil {
			return err
		}
		hdr := dns.RR_Header{Name: owner, Rrtype: dns.TypeTXT, Class: dns.ClassINET, Ttl: uint32(seconds)}
		t.put(&dns.TXT{Hdr: hdr, Txt: strs})
		return nil
	}
	rr, err := dns.NewRR(fmt.Sprintf("%s %d IN %s %s", owner, seconds, kind, value))
	if err != nil {
		return err
	}
	if rr == nil {
		return fmt.Errorf("%q: no record", line)
	}
	t.put(rr)
	return nil
}

// word cuts the first word off a text.
func word(s string) (first, rest string) {
	first, rest, _ = strings.Cut(s, " ")
	return first, strings.TrimSpace(rest)
}

// misbehave takes note of a fault or a delay, if the words are of one.
func (t *table) misbehave(owner, kind, value string) (bool, error) {
	at := owner
	what, length := kind, value
	if f, ok := faultWords[value]; ok {
		t.note(owner)
		t.faults[owner+" "+kind] = f
		return true, nil
	}
	if v, rest := word(value); v == "DELAY" {
		at, what, length = owner+" "+kind, v, rest
	}
	if what == "DELAY" {
		d, err := time.ParseDuration(length)
		t.note(owner)
		t.delays[at] = d
		return true, err
	}
	f, ok := faultWords[kind]
	if ok {
		t.note(owner)
		t.faults[owner] = f
	}
	return ok, nil
}

// put adds a record.
func (t *table) put(rr dns.RR) {
	owner := dns.CanonicalName(rr.Header().Name)
	t.records[owner] = append(t.records[owner], rr)
	t.note(owner)
}

// note takes note that a name exists, and with it all names above it.
func (t *table) note(owner string) {
	for n := owner; n != "."; n = parent(n) {
		t.nodes[n] = true
	}
	t.nodes["."] = true
}

// Record is one record, or how a name misbehaves, for what the text of Serve can't carry. Names are plain:
// raw octets, dots between the labels, the final dot may be missing.
type Record struct {
	Name  string
	Type  string   // "A", "TXT" …; with a Fault, "" is every type
	TTL   uint32   // seconds; 0 is 60
	Text  []string // of TXT and SPF: the character-strings, in raw octets of any length
	Host  string   // of MX, PTR and CNAME: the name
	Pref  uint16   // of MX
	Value string   // of every other type: as in a master file
	Fault string   // "SERVFAIL", "SILENT" and the other words of Serve's text; then there is no record
}

// newRecords makes a table of records.
func newRecords(records []Record) (*table, error) {
	t := newTable()
	for i, r := range records {
		if err := t.record(r); err != nil {
			return nil, fmt.Errorf("zone: record %d: %s %s: %w", i, r.Name, r.Type, err)
		}
	}
	return t, nil
}

func (t *table) record(r Record) error {
	plain, ok := name.Canonical(r.Name)
	if !ok {
		return fmt.Errorf("%q is not a domain name", r.Name)
	}
	owner := name.Escape(plain)
	if r.Fault != "" {
		f, ok := faultWords[r.Fault]
		if !ok {
			return fmt.Errorf("unknown fault %q", r.Fault)
		}
		t.note(owner)
		t.faults[strings.TrimSuffix(owner+" "+r.Type, " ")] = f
		return nil
	}
	hdr := dns.RR_Header{Name: owner, Rrtype: dns.StringToType[r.Type], Class: dns.ClassINET, Ttl: r.TTL}
	if hdr.Ttl == 0 {
		hdr.Ttl = ttl
	}
	var text []string
	for _, s := range r.Text {
		text = append(text, split(s)...)
	}
	switch r.Type {
	case "TXT":
		t.put(&dns.TXT{Hdr: hdr, Txt: text})
	case "SPF":
		t.put(&dns.SPF{Hdr: hdr, Txt: text})
	case "MX":
		t.put(&dns.MX{Hdr: hdr, Preference: r.Pref, Mx: name.Escape(r.Host)})
	case "PTR":
		t.put(&dns.PTR{Hdr: hdr, Ptr: name.Escape(r.Host)})
	case "CNAME":
		t.put(&dns.CNAME{Hdr: hdr, Target: name.Escape(r.Host)})
	default:
		rr, err := dns.NewRR(fmt.Sprintf("%s %d IN %s %s", owner, hdr.Ttl, r.Type, r.Value))
		if err != nil || rr == nil {
			return fmt.Errorf("value %q: %w", r.Value, err)
		}
		t.put(rr)
	}
	return nil
}

// parent cuts the first label off a rooted name.
func parent(name string) string {
	i, end := dns.NextLabel(name, 0)
	if end {
		return "."
	}
	return name[i:]
}

// txtStrings gives the character-strings of a TXT record in the library's escaped form. A value that begins
// with a quote is a list of quoted strings; any other is one text. Texts longer than 255 octets become
// several strings (RFC 1035 3.3).
func txtStrings(value string) ([]string, error) {
	if !strings.HasPrefix(value, `"`) {
		return split(value), nil
	}
	var all []string
	for value != "" {
		if value[0] != '"' {
			return nil, fmt.Errorf("TXT: want a quoted string at %q", value)
		}
		var b strings.Builder
		i, closed := 1, false
		for ; i < len(value) && !closed; i++ {
			switch c := value[i]; {
			case c == '\\' && i+1 < len(value):
				i++
				b.WriteByte(value[i])
			case c == '"':
				closed = true
			default:
				b.WriteByte(c)
			}
		}
		if !closed {
			return nil, fmt.Errorf("TXT: a quote is not closed")
		}
		all = append(all, split(b.String())...)
		value = strings.TrimSpace(value[i:])
	}
	return all, nil
}

// split cuts a text of raw octets into character-strings, in the library's escaped form.
func split(s string) []string {
	var parts []string
	for len(s) > 255 {
		parts = append(parts, txtEscape(s[:255]))
		s = s[255:]
	}
	return append(parts, txtEscape(s))
}

func txtEscape(s string) string {
	var b strings.Builder
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			b.WriteByte('\\')
			b.WriteByte(c)
		case c < ' ' || c > '~':
			fmt.Fprintf(&b, `\%03d`, c)
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}

// chainLimit bounds how many CNAMEs one answer follows.
const chainLimit = 8

// faultOf gives how a name misbehaves for a type.
func (t *table) faultOf(owner, kind string) fault {
	if f := t.faults[owner+" "+kind]; f != healthy {
		return f
	}
	return t.faults[owner]
}

// delayOf gives how long answers about a name and type take.
func (t *table) delayOf(q dns.Question) time.Duration {
	owner := dns.CanonicalName(q.Name)
	return max(t.delays[owner], t.delays[owner+" "+dns.TypeToString[q.Qtype]])
}

// answer fills in m for the question. It reports the fault of the name asked for or of one on the way.
func (t *table) answer(m *dns.Msg, q dns.Question) fault {
	at := dns.CanonicalName(q.Name)
	owner := q.Name
	found := healthy
	for range chainLimit {
		switch f := t.faultOf(at, dns.TypeToString[q.Qtype]); f {
		case healthy:
		case secure, noEDNS, truncated, noisy: // there is an answer nevertheless
			found = f
		default:
			return f
		}
		rrs, ok := t.lookup(at)
		if !ok {
			m.Rcode = dns.RcodeNameError
			t.deny(m, at)
			return found
		}
		var cname *dns.CNAME
		matched := false
		for _, rr := range rrs {
			c, isCNAME := rr.(*dns.CNAME)
			if rr.Header().Rrtype == q.Qtype || q.Qtype == dns.TypeANY {
				rr = dns.Copy(rr)
				rr.Header().Name = owner // also where a wildcard matched
				m.Answer = append(m.Answer, rr)
				matched = true
			} else if isCNAME {
				cname = c
			}
		}
		if matched {
			return found
		}
		if cname == nil {
			t.deny(m, at)
			return found
		}
		rr := dns.Copy(cname)
		rr.Header().Name = owner
		m.Answer = append(m.Answer, rr)
		owner = cname.Target
		at = dns.CanonicalName(owner)
	}
	return servFail // a loop of CNAMEs
}

// deny puts the SOA record into a negative answer (RFC 2308 3), if there is one at or above the name.
func (t *table) deny(m *dns.Msg, at string) {
	for n := at; ; n = parent(n) {
		for _, rr := range t.records[n] {
			if rr.Header().Rrtype == dns.TypeSOA {
				m.Ns = append(m.Ns, rr)
				return
			}
		}
		if n == "." {
			return
		}
	}
}

// lookup finds the records of a name, by a wildcard if need be (RFC 4592 3.3.1). A name that has none, but
// others below it, is there nevertheless.
func (t *table) lookup(at string) ([]dns.RR, bool) {
	if t.nodes[at] {
		return t.records[at], true
	}
	for n := at; n != "."; {
		n = parent(n)
		if rrs := t.records["*."+n]; n != "." && len(rrs) > 0 {
			return rrs, true
		}
		if t.nodes[n] {
			return nil, false
		}
	}
	return nil, false
}
