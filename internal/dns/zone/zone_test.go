package zone

import (
	"strings"
	"testing"

	"github.com/miekg/dns"
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

func TestParseRefuses(t *testing.T) {
	for name, line := range map[string]string{
		"no type":      "example.org",
		"unknown type": "example.org FOO bar",
		"bad address":  "example.org A 192.0.2.999",
		"bad name":     "a..b A 192.0.2.1",
		"open quote":   `example.org TXT "abc`,
		"after quote":  `example.org TXT "abc" def`,
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
