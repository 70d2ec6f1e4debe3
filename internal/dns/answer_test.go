package dns

import (
	"errors"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// message packs an answer to a question: its flags and code as set by change, and records as in a master file.
func message(t testing.TB, q question, change func(*dns.Msg), answer, authority []string) []byte {
	t.Helper()
	m := new(dns.Msg)
	m.SetQuestion(q.name+".", q.kind)
	m.Id, m.Response, m.RecursionAvailable = 7, true, true
	for i, lines := range [][]string{answer, authority} {
		for _, line := range lines {
			rr, err := dns.NewRR(line)
			if err != nil {
				t.Fatal(err)
			}
			if i == 0 {
				m.Answer = append(m.Answer, rr)
			} else {
				m.Ns = append(m.Ns, rr)
			}
		}
	}
	if change != nil {
		change(m)
	}
	b, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

type answerCase struct {
	name      string
	q         question
	change    func(*dns.Msg)
	answer    []string
	authority []string
	rcode     string
	ttl       time.Duration
	values    string // addresses, texts, hosts, joined by blanks
}

func nx(m *dns.Msg) { m.Rcode = dns.RcodeNameError }

// answerCases are messages as servers send them, and as they should not.
func answerCases() []answerCase {
	a, mx, txt := question{"a.example", dns.TypeA}, question{"a.example", dns.TypeMX}, question{"a.example", dns.TypeTXT}
	soa := []string{"example. 300 IN SOA ns.example. root.example. 1 2 3 4 60"}
	var chain []string
	for i, name := range "abcdefghijk" {
		chain = append(chain, string(name)+".example. 60 IN CNAME "+string(name+1)+".example.")
		if i == maxChain-1 {
			break
		}
	}
	return []answerCase{
		{"an address", a, nil, []string{"a.example. 60 IN A 192.0.2.1"}, nil, NoError, time.Minute, "192.0.2.1"},
		{"case differs", a, nil, []string{"A.EXAMPLE. 60 IN A 192.0.2.1"}, nil, NoError, time.Minute, "192.0.2.1"},
		{"the shortest TTL counts", a, nil, []string{"a.example. 60 IN A 192.0.2.1", "a.example. 5 IN A 192.0.2.2"}, nil, NoError, 5 * time.Second, "192.0.2.1 192.0.2.2"},
		{"a TTL of days", a, nil, []string{"a.example. 864000 IN A 192.0.2.1"}, nil, NoError, maxTTL, "192.0.2.1"},
		{"a TTL with the highest bit", a, nil, []string{"a.example. 4294967295 IN A 192.0.2.1"}, nil, NoError, 0, "192.0.2.1"},
		{"a TTL of nothing", a, nil, []string{"a.example. 0 IN A 192.0.2.1"}, nil, NoError, 0, "192.0.2.1"},
		{"a mapped address", question{"a.example", dns.TypeAAAA}, nil, []string{"a.example. 60 IN AAAA ::ffff:192.0.2.1"}, nil, NoError, time.Minute, "192.0.2.1"},
		{
			"a CNAME", a, nil,
			[]string{"a.example. 30 IN CNAME b.example.", "b.example. 60 IN A 192.0.2.1"},
			nil,
			NoError, 30 * time.Second, "192.0.2.1",
		},
		{
			"a CNAME after its target", a, nil,
			[]string{"b.example. 60 IN A 192.0.2.1", "a.example. 30 IN CNAME B.example."},
			nil,
			NoError, 30 * time.Second, "192.0.2.1",
		},
		{
			"a CNAME to nothing", a, nx,
			[]string{"a.example. 30 IN CNAME b.example."},
			soa,
			NXDomain, 30 * time.Second, "",
		},
		{
			"as many CNAMEs as are followed", a, nil, append(slices.Clone(chain), string("abcdefghijk"[maxChain])+".example. 60 IN A 192.0.2.1"), nil,
			NoError, time.Minute, "192.0.2.1",
		},
		{
			"too many CNAMEs", a, nil, append(slices.Clone(chain), "i.example. 60 IN CNAME j.example.", "j.example. 60 IN A 192.0.2.1"), nil,
			Malformed, 0, "",
		},
		{
			"CNAMEs in a circle", a, nil,
			[]string{"a.example. 60 IN CNAME b.example.", "b.example. 60 IN CNAME a.example."},
			nil,
			Malformed, 0, "",
		},
		{"a CNAME to itself", a, nil, []string{"a.example. 60 IN CNAME a.example."}, nil, Malformed, 0, ""},
		{"records of another name", a, nil, []string{"b.example. 60 IN A 192.0.2.1"}, nil, Malformed, 0, ""},
		{"denied, and records of another name", a, nx, []string{"b.example. 60 IN A 192.0.2.1"}, soa, Malformed, 0, ""},
		{"denied, and there", a, nx, []string{"a.example. 60 IN A 192.0.2.1"}, soa, Malformed, 0, ""},
		{"another class", a, nil, []string{"a.example. 60 CH A 192.0.2.1"}, nil, Malformed, 0, ""},
		{"another type", a, nil, []string{`a.example. 60 IN TXT "x"`}, soa, NoData, time.Minute, ""},
		{"no such record", a, nil, nil, soa, NoData, time.Minute, ""},
		{"no such name", a, nx, nil, soa, NXDomain, time.Minute, ""},
		{"no such name, a long time", a, nx, nil, []string{"example. 86400 IN SOA n. r. 1 2 3 4 86400"}, NXDomain, maxDenied, ""},
		{"no such name, a short time", a, nx, nil, []string{"example. 5 IN SOA n. r. 1 2 3 4 86400"}, NXDomain, 5 * time.Second, ""},
		{"no such name, without SOA", a, nx, nil, nil, NXDomain, 0, ""},
		{"no such name, the SOA of another zone", a, nx, nil, []string{"example.org. 300 IN SOA n. r. 1 2 3 4 60"}, NXDomain, 0, ""},
		{
			"a referral", a, func(m *dns.Msg) { m.RecursionAvailable = false }, nil,
			[]string{"example. 300 IN NS ns.example."},
			Malformed, 0, "",
		},
		{"more records than anybody has", txt, nil, slices.Repeat([]string{`a.example. 60 IN TXT "x"`}, maxRecords+1), nil, Malformed, 0, ""},
		{"SERVFAIL", a, func(m *dns.Msg) { m.Rcode = dns.RcodeServerFailure }, nil, nil, ServFail, 0, ""},
		{"REFUSED", a, func(m *dns.Msg) { m.Rcode = dns.RcodeRefused }, nil, nil, Refused, 0, ""},
		{"FORMERR", a, func(m *dns.Msg) { m.Rcode = dns.RcodeFormatError }, nil, nil, OtherRcode, 0, ""},
		{"BADVERS", a, func(m *dns.Msg) { m.SetEdns0(1232, false); m.Rcode = dns.RcodeBadVers }, nil, nil, OtherRcode, 0, ""},
		{
			"texts in octets", txt, nil,
			[]string{`a.example. 60 IN TXT "v=\"x\\" "\000\255;y \009"`, `a.example. 60 IN TXT ""`},
			nil,
			NoError, time.Minute, "v=\"x\\\x00\xff;y \t ",
		},
		{
			"hosts by preference", mx, nil,
			[]string{"a.example. 60 IN MX 20 b.example.", "a.example. 60 IN MX 10 C.example.", "a.example. 60 IN MX 20 a.example."},
			nil,
			NoError, time.Minute, "C.example. b.example. a.example.",
		},
		{"a null MX", mx, nil, []string{"a.example. 60 IN MX 0 ."}, nil, NoError, time.Minute, "."},
		{
			"hosts that are none", mx, nil,
			[]string{`a.example. 60 IN MX 1 a\.b.example.`, `a.example. 60 IN MX 2 <b>.example.`, `a.example. 60 IN MX 3 a\010b.example.`, "a.example. 60 IN MX 4 c_d.example."},
			nil,
			NoError, time.Minute, "c_d.example.",
		},
		{"only hosts that are none", mx, nil, []string{`a.example. 60 IN MX 1 a\.b.example.`}, nil, NoError, time.Minute, ""},
	}
}

func TestRead(t *testing.T) {
	for _, c := range answerCases() {
		t.Run(c.name, func(t *testing.T) {
			b := message(t, c.q, c.change, c.answer, c.authority)
			if ok, truncated := fits(b, 7, c.q); !ok || truncated {
				t.Fatalf("fits: %v, truncated: %v", ok, truncated)
			}
			got := read(b, c.q, false)
			values := slices.Clone(got.texts)
			for _, x := range got.addrs {
				values = append(values, x.String())
			}
			for _, x := range got.hosts {
				values = append(values, x.name)
			}
			if got.rcode != c.rcode || strings.Join(values, " ") != c.values {
				t.Errorf("got %s %q, %v; want %s %q", got.rcode, values, got.cause, c.rcode, c.values)
			}
			if !got.failed() && got.ttl != c.ttl {
				t.Errorf("kept for %s, want %s", got.ttl, c.ttl)
			}
		})
	}
}

func TestFits(t *testing.T) {
	q := question{"a.example", dns.TypeA}
	for _, c := range []struct {
		name          string
		change        func(*dns.Msg)
		ok, truncated bool
	}{
		{"it does", func(*dns.Msg) {}, true, false},
		{"case is no matter", func(m *dns.Msg) { m.Question[0].Name = "A.eXample." }, true, false},
		{"truncated", func(m *dns.Msg) { m.Truncated = true }, true, true},
		{"another id", func(m *dns.Msg) { m.Id++ }, false, false},
		{"a question", func(m *dns.Msg) { m.Response = false }, false, false},
		{"another operation", func(m *dns.Msg) { m.Opcode = dns.OpcodeNotify }, false, false},
		{"another name", func(m *dns.Msg) { m.Question[0].Name = "b.example." }, false, false},
		{"another type", func(m *dns.Msg) { m.Question[0].Qtype = dns.TypeAAAA }, false, false},
		{"another class", func(m *dns.Msg) { m.Question[0].Qclass = dns.ClassCHAOS }, false, false},
		{"no question", func(m *dns.Msg) { m.Question = nil }, false, false},
		{"two questions", func(m *dns.Msg) { m.Question = append(m.Question, m.Question[0]) }, false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			ok, truncated := fits(message(t, q, c.change, nil, nil), 7, q)
			if ok != c.ok || truncated != c.truncated {
				t.Errorf("got %v, %v", ok, truncated)
			}
		})
	}
}

// TestErrorsTell: what an outcome is can be told from its error.
func TestErrorsTell(t *testing.T) {
	for rcode, want := range map[string]struct {
		notFound, temporary, timeout bool
		is                           error
	}{
		NXDomain:    {notFound: true, is: ErrNXDomain},
		NoData:      {notFound: true, is: ErrNoData},
		ServFail:    {temporary: true},
		Refused:     {temporary: true},
		OtherRcode:  {temporary: true},
		Malformed:   {temporary: true},
		TimedOut:    {temporary: true, timeout: true},
		Unreachable: {temporary: true},
		Canceled:    {temporary: true},
	} {
		var e *net.DNSError
		err := (&answer{rcode: rcode, server: "127.0.0.1:53"}).err("a.example")
		if !errors.As(err, &e) || e.IsNotFound != want.notFound || e.IsTemporary != want.temporary || e.IsTimeout != want.timeout {
			t.Errorf("%s: %+v", rcode, err)
		}
		if want.is != nil && !errors.Is(err, want.is) || e.Name != "a.example" || e.Err == "" {
			t.Errorf("%s: %+v", rcode, err)
		}
	}
	for _, w := range Rcodes() {
		if a := (&answer{rcode: w}); a.failed() != (a.err("x") != nil && !errors.Is(a.err("x"), ErrNoData) && !errors.Is(a.err("x"), ErrNXDomain)) {
			t.Errorf("%s: failed %v, error %v", w, a.failed(), a.err("x"))
		}
	}
}

// FuzzAnswer reads whatever a server may send. It must not panic, and never make records of nothing, or keep for
// longer than is allowed.
func FuzzAnswer(f *testing.F) {
	kinds := []uint16{dns.TypeA, dns.TypeAAAA, dns.TypeMX, dns.TypePTR, dns.TypeTLSA, dns.TypeTXT}
	for _, c := range answerCases() {
		f.Add(uint8(slices.Index(kinds, c.q.kind)), message(f, c.q, c.change, c.answer, c.authority))
	}
	for _, line := range []string{"a.example. 60 IN PTR b.example.", "a.example. 60 IN TLSA 3 1 1 00ff", "a.example. 60 IN AAAA 2001:db8::1"} {
		rr, err := dns.NewRR(line)
		if err != nil {
			f.Fatal(err)
		}
		kind := rr.Header().Rrtype
		f.Add(uint8(slices.Index(kinds, kind)), message(f, question{"a.example", kind}, nil, []string{line}, nil))
	}
	f.Add(uint8(0), []byte("\x00\x07\x84\x00\x00\x01\x00\x03\x00\x00\x00\x00\x01a\x07example\x00\x00\x01\x00\x01\xc0\x0c\x00"))
	f.Fuzz(func(t *testing.T, kind uint8, b []byte) {
		q := question{"a.example", kinds[int(kind)%len(kinds)]}
		if ok, _ := fits(b, 7, q); !ok {
			return
		}
		a := read(b, q, true)
		if !slices.Contains(Rcodes(), a.rcode) || a.ttl < 0 || a.ttl > maxTTL {
			t.Fatalf("%+v", a)
		}
		n := len(a.addrs) + len(a.texts) + len(a.hosts) + len(a.tlsa) + a.left
		if (a.rcode == NoError) != (n > 0) && !a.failed() {
			t.Fatalf("%s with %d records", a.rcode, n)
		}
		if len(b) < a.size()/400 {
			t.Fatalf("%d octets became %d", len(b), a.size())
		}
		for _, h := range a.hosts {
			if h.name == "" || strings.ContainsAny(h.name, "\\ \r\n\x00<>\"") {
				t.Fatalf("host %q", h.name)
			}
		}
	})
}
