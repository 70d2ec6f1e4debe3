package zone

import (
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/postern-mail/postern/internal/dns/name"
)

const text = `
# a comment
; another
example.org        MX 10 mail
example.org        MX 10 mail.example.org.
example.org        TXT v=spf1 mx -all
quoted.example.org TXT "one; \"two\"" " three\\"
mail.example.org   A 192.0.2.1
mail.example.org   AAAA 2001:db8::1
www.example.org    CNAME web.example.org
web.example.org    CNAME mail.example.org
loop.example.org   CNAME loop.example.org
*.wild.example.org A 192.0.2.2
a.wild.example.org TXT here
broken.example.org SERVFAIL
mute.example.org   SILENT
half.example.org   A 192.0.2.4
half.example.org   AAAA SERVFAIL
1.2.0.192.in-addr.arpa PTR mail.example.org
x.deep.example.org A 192.0.2.3
`

func TestAnswer(t *testing.T) {
	zones, err := parse(text)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, kind string
		rcode      int
		fault      fault
		want       string // the values of the answers, joined
	}{
		{"example.org", "MX", dns.RcodeSuccess, healthy, "10 mail.|10 mail.example.org."},
		{"EXAMPLE.org", "TXT", dns.RcodeSuccess, healthy, `"v=spf1 mx -all"`},
		{"quoted.example.org", "TXT", dns.RcodeSuccess, healthy, `"one; \"two\"" " three\\"`},
		{"example.org", "AAAA", dns.RcodeSuccess, healthy, ""},
		{"mail.example.org", "AAAA", dns.RcodeSuccess, healthy, "2001:db8::1"},
		{"www.example.org", "A", dns.RcodeSuccess, healthy, "web.example.org.|mail.example.org.|192.0.2.1"},
		{"www.example.org", "CNAME", dns.RcodeSuccess, healthy, "web.example.org."},
		{"loop.example.org", "A", dns.RcodeSuccess, servFail, ""},
		{"b.wild.example.org", "A", dns.RcodeSuccess, healthy, "192.0.2.2"},
		{"c.b.wild.example.org", "A", dns.RcodeSuccess, healthy, "192.0.2.2"},
		{"a.wild.example.org", "A", dns.RcodeSuccess, healthy, ""},
		{"x.a.wild.example.org", "A", dns.RcodeNameError, healthy, ""},
		{"deep.example.org", "A", dns.RcodeSuccess, healthy, ""},
		{"nobody.example.org", "A", dns.RcodeNameError, healthy, ""},
		{"example.net", "MX", dns.RcodeNameError, healthy, ""},
		{"broken.example.org", "A", dns.RcodeSuccess, servFail, ""},
		{"half.example.org", "A", dns.RcodeSuccess, healthy, "192.0.2.4"},
		{"half.example.org", "AAAA", dns.RcodeSuccess, servFail, ""},
		{"mute.example.org", "A", dns.RcodeSuccess, silent, ""},
		{"1.2.0.192.in-addr.arpa", "PTR", dns.RcodeSuccess, healthy, "mail.example.org."},
	} {
		t.Run(c.kind+" "+c.name, func(t *testing.T) {
			m := new(dns.Msg)
			f := zones.answer(m, dns.Question{Name: c.name + ".", Qtype: dns.StringToType[c.kind], Qclass: dns.ClassINET})
			if f != c.fault || m.Rcode != c.rcode {
				t.Fatalf("fault %d, rcode %d; want %d, %d", f, m.Rcode, c.fault, c.rcode)
			}
			if f != healthy {
				return
			}
			var got []string
			for _, rr := range m.Answer {
				_, value, _ := strings.Cut(rr.String(), "IN\t")
				_, value, _ = strings.Cut(value, "\t")
				got = append(got, value)
			}
			if g := strings.Join(got, "|"); g != c.want {
				t.Errorf("got %s, want %s", g, c.want)
			}
		})
	}
}

// TestRecords: what no text can carry comes out as it went in.
func TestRecords(t *testing.T) {
	octets := strings.Repeat("\x00\\\"é\xff", 100)
	zones, err := newRecords([]Record{
		{Name: "a b\\.Example", Type: "TXT", Text: []string{octets}, TTL: 7},
		{Name: "mx.example", Type: "MX", Pref: 5, Host: "x\x01y.example"},
		{Name: "mx.example", Type: "A", Value: "192.0.2.1"},
		{Name: "all.example", Fault: "SILENT"},
		{Name: "mx.example", Type: "AAAA", Fault: "REFUSED"},
	})
	if err != nil {
		t.Fatal(err)
	}
	ask := func(owner string, kind uint16) (*dns.Msg, fault) {
		m := new(dns.Msg)
		f := zones.answer(m, dns.Question{Name: owner, Qtype: kind, Qclass: dns.ClassINET})
		return m, f
	}
	m, _ := ask(`a\ b\\.example.`, dns.TypeTXT)
	if len(m.Answer) != 1 || m.Answer[0].Header().Ttl != 7 {
		t.Fatal(m.Answer)
	}
	if got := name.Octets(strings.Join(m.Answer[0].(*dns.TXT).Txt, "")); got != octets {
		t.Errorf("got %q", got)
	}
	m, _ = ask("mx.example.", dns.TypeMX)
	if len(m.Answer) != 1 || m.Answer[0].(*dns.MX).Mx != `x\001y.example.` {
		t.Error(m.Answer)
	}
	if _, f := ask("all.example.", dns.TypeMX); f != silent {
		t.Error(f)
	}
	if _, f := ask("mx.example.", dns.TypeAAAA); f != refused {
		t.Error(f)
	}
	for what, r := range map[string]Record{
		"no name":       {Name: "a..b", Type: "A", Value: "192.0.2.1"},
		"unknown fault": {Name: "a", Fault: "HUNGRY"},
		"bad value":     {Name: "a", Type: "A", Value: "x"},
		"no value":      {Name: "a"},
	} {
		if _, err := newRecords([]Record{r}); err == nil {
			t.Errorf("%s: taken", what)
		}
	}
}

// TestNegativeAnswers have the SOA record of the zone, and records their TTL.
func TestNegativeAnswers(t *testing.T) {
	zones, err := parse("example.org 90 SOA ns.example.org. root.example.org. 1 2 3 4 5\na.example.org 30 A 192.0.2.1\nslow.example.org DELAY 5ms\nslow.example.org TXT DELAY 9ms\n")
	if err != nil {
		t.Fatal(err)
	}
	for _, owner := range []string{"a.example.org.", "b.a.example.org."} {
		m := new(dns.Msg)
		zones.answer(m, dns.Question{Name: owner, Qtype: dns.TypeMX})
		if len(m.Ns) != 1 || m.Ns[0].Header().Ttl != 90 {
			t.Errorf("%s: %v", owner, m.Ns)
		}
	}
	m := new(dns.Msg)
	zones.answer(m, dns.Question{Name: "a.example.org.", Qtype: dns.TypeA})
	if len(m.Ns) != 0 || m.Answer[0].Header().Ttl != 30 {
		t.Error(m)
	}
	for kind, want := range map[uint16]time.Duration{dns.TypeA: 5 * time.Millisecond, dns.TypeTXT: 9 * time.Millisecond} {
		if d := zones.delayOf(dns.Question{Name: "slow.example.org.", Qtype: kind}); d != want {
			t.Errorf("delay of %d: %s", kind, d)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for name, line := range map[string]string{
		"no type":      "example.org",
		"unknown type": "example.org FOO bar",
		"bad address":  "example.org A 192.0.2.999",
		"bad name":     "a..b A 192.0.2.1",
		"open quote":   `example.org TXT "abc`,
		"after quote":  `example.org TXT "abc" def`,
		"bad delay":    "example.org DELAY soon",
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := parse("ok.example A 192.0.2.1\n" + line); err == nil || !strings.Contains(err.Error(), "line 2") {
				t.Errorf("%q: got %v, want an error that names line 2", line, err)
			}
		})
	}
}

func TestLongTXT(t *testing.T) {
	zones, err := parse("long.example TXT " + strings.Repeat("x", 600))
	if err != nil {
		t.Fatal(err)
	}
	m := new(dns.Msg)
	zones.answer(m, dns.Question{Name: "long.example.", Qtype: dns.TypeTXT})
	if len(m.Answer) != 1 || len(m.Answer[0].(*dns.TXT).Txt) != 3 {
		t.Errorf("got %v, want one record of three strings", m.Answer)
	}
}
