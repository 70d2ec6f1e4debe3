// Package zone is a small authoritative DNS server on loopback, for tests and for `postern demo`. It answers
// from a few lines of text, fails on demand, and is no name server for the open internet.
package zone

import (
	"fmt"
	"strings"

	"github.com/miekg/dns"
)

// table is what a text of zones says: records by lower-case rooted name, and how names misbehave.
type table struct {
	records map[string][]dns.RR
	faults  map[string]fault // by name, or by name, blank, type
	nodes   map[string]bool  // every name with something at or below it
}

type fault uint8

const (
	healthy  fault = iota
	servFail       // answer SERVFAIL
	silent         // do not answer
)

var faultWords = map[string]fault{"SERVFAIL": servFail, "SILENT": silent}

const ttl = 60 // seconds; nothing here caches

// parse reads zones, one record to a line: `name TYPE value…`. Names need no final dot. The value is as in a
// master file (RFC 1035 5.1), but that of TXT may stand without quotes and be of any length. Blank lines
// and lines that begin with # or ; say nothing. `name SERVFAIL` and `name SILENT` make a name misbehave,
// `name TYPE SERVFAIL` and `name TYPE SILENT` one type of it.
func parse(text string) (*table, error) {
	t := &table{records: map[string][]dns.RR{}, faults: map[string]fault{}, nodes: map[string]bool{}}
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
	name, rest, _ := strings.Cut(line, " ")
	kind, value, _ := strings.Cut(strings.TrimSpace(rest), " ")
	value = strings.TrimSpace(value)
	kind = strings.ToUpper(kind)
	if _, ok := dns.IsDomainName(name); !ok {
		return fmt.Errorf("%q is not a domain name", name)
	}
	name = dns.CanonicalName(name)
	typeFault, failsByType := faultWords[value]
	nameFault, fails := faultWords[kind]
	switch {
	case kind == "":
		return fmt.Errorf("%q: want `name TYPE value`", line)
	case fails:
		t.faults[name] = nameFault
	case failsByType:
		t.faults[name+" "+kind] = typeFault
	case kind == "TXT":
		strs, err := txtStrings(value)
		if err != nil {
			return err
		}
		hdr := dns.RR_Header{Name: name, Rrtype: dns.TypeTXT, Class: dns.ClassINET, Ttl: ttl}
		t.records[name] = append(t.records[name], &dns.TXT{Hdr: hdr, Txt: strs})
	default:
		rr, err := dns.NewRR(fmt.Sprintf("%s %d IN %s %s", name, ttl, kind, value))
		if err != nil {
			return err
		}
		if rr == nil {
			return fmt.Errorf("%q: no record", line)
		}
		t.records[name] = append(t.records[name], rr)
	}
	for n := name; n != "."; n = parent(n) {
		t.nodes[n] = true
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

var txtEscaper = strings.NewReplacer(`\`, `\\`, `"`, `\"`)

func split(s string) []string {
	var parts []string
	for len(s) > 255 {
		parts = append(parts, txtEscaper.Replace(s[:255]))
		s = s[255:]
	}
	return append(parts, txtEscaper.Replace(s))
}

// chainLimit bounds how many CNAMEs one answer follows.
const chainLimit = 8

// answer fills in m for the question. It reports the fault of the name asked for or of one on the way.
func (t *table) answer(m *dns.Msg, q dns.Question) fault {
	name := dns.CanonicalName(q.Name)
	owner := q.Name
	for range chainLimit {
		if f := max(t.faults[name], t.faults[name+" "+dns.TypeToString[q.Qtype]]); f != healthy {
			return f
		}
		rrs, found := t.lookup(name)
		if !found {
			m.Rcode = dns.RcodeNameError
			return healthy
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
		if matched || cname == nil {
			return healthy
		}
		rr := dns.Copy(cname)
		rr.Header().Name = owner
		m.Answer = append(m.Answer, rr)
		owner = cname.Target
		name = dns.CanonicalName(owner)
	}
	return servFail // a loop of CNAMEs
}

// lookup finds the records of a name, by a wildcard if need be (RFC 4592 3.3.1). A name that has none, but
// others below it, is there nevertheless.
func (t *table) lookup(name string) ([]dns.RR, bool) {
	if t.nodes[name] {
		return t.records[name], true
	}
	for n := name; n != "."; {
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
