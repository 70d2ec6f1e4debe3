package senders

import (
	"fmt"
	"strings"
	"testing"
)

func (r record) String() string {
	var all []string
	for _, t := range r.terms {
		text := t.mechanism
		if !t.pass {
			text = "-" + text
		}
		if t.domain != "" {
			text += ":" + t.domain
		}
		if t.network.IsValid() {
			text += ":" + t.network.String()
		}
		if t.bits != [2]int{32, 128} {
			text += fmt.Sprint(t.bits)
		}
		all = append(all, text)
	}
	if r.redirect != "" {
		all = append(all, "redirect="+r.redirect)
	}
	if r.omitted > 0 {
		all = append(all, fmt.Sprint(r.omitted, " omitted"))
	}
	return strings.Join(all, " ")
}

func TestRecords(t *testing.T) {
	for _, c := range []struct{ text, want, fails string }{
		{text: "v=spf1", want: ""},
		{text: "v=spf1 ip4:192.0.2.0/24  ip6:2001:db8::/32 ~all", want: "ip4:192.0.2.0/24 ip6:2001:db8::/32 -all"},
		{text: "V=SPF1 IP4:192.0.2.1 Include:_SPF.Example. ?ALL", want: "ip4:192.0.2.1/32 include:_spf.example -all"},
		{text: "v=spf1 +a a:h.example a/24 mx//64 a:h.example/24//64 mx:m.example ?a", want: "a a:h.example a[24 128] mx[32 64] a:h.example[24 64] mx:m.example -a"},
		{text: "v=spf1 redirect=_spf.example exp=e.%{d} x-other=y", want: "redirect=_spf.example"},
		{text: "v=spf1 ptr ptr:p.example exists:%{i}.e.example include:%{d}.e.example a:%{h} redirect=%{d}", want: "6 omitted"},
		{text: "v=spf1 +all", want: "all"},
		{text: "v=spf1 ip4:192.0.2.0/33", fails: "not a prefix length"},
		{text: "v=spf1 ip4:2001:db8::1", fails: "not an address of that kind"},
		{text: "v=spf1 ip6:192.0.2.1", fails: "not an address of that kind"},
		{text: "v=spf1 ip4", fails: "not an address of that kind"},
		{text: "v=spf1 ip6:fe80::1%eth0", fails: "not an address of that kind"},
		{text: "v=spf1 include", fails: "needs a domain"},
		{text: "v=spf1 include:", fails: "domain"},
		{text: "v=spf1 include:a..b", fails: "domain"},
		{text: "v=spf1 include/24", fails: "needs a domain"},
		{text: "v=spf1 all:x", fails: "takes nothing"},
		{text: "v=spf1 a/x", fails: "not a prefix length"},
		{text: "v=spf1 a/-1", fails: "not a prefix length"},
		{text: "v=spf1 ipv4:192.0.2.1", fails: "unknown mechanism"},
		{text: "v=spf1 redirect=a.example redirect=b.example", fails: "second one"},
		{text: "v=spf1 -", fails: "unknown mechanism"},
		{text: "v=spf1 " + strings.Repeat("a ", maxTerms+1), fails: "more than 2000 terms"},
	} {
		if !isRecord(c.text) {
			t.Errorf("%q is no record", c.text)
			continue
		}
		r, err := parseRecord(c.text)
		if c.fails != "" {
			if err == nil || !strings.Contains(err.Error(), c.fails) {
				t.Errorf("%q: %v, want %s", c.text, err, c.fails)
			}
		} else if err != nil || r.String() != c.want {
			t.Errorf("%q: %q, %v, want %q", c.text, r, err, c.want)
		}
	}
	for _, text := range []string{"", "v=spf", "v=spf10 a", "v=spf1\ta", "spf2.0/pra a", " v=spf1"} {
		if isRecord(text) {
			t.Errorf("%q is a record", text)
		}
	}
}

func FuzzRecord(f *testing.F) {
	for _, s := range []string{
		"v=spf1 ip4:192.0.2.0/24 ip6:2001:db8::/32 include:a.example ~all", "v=spf1 a/24//64 mx:m.example//64 -ptr redirect=r.example",
		"v=spf1 exists:%{i}.e.example a:%{h}/24", "v=spf1 +", "v=spf1 ip4:1.2.3.4/", "v=spf1 a//", "v=spf1 =", "v=spf1 redirect=",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if !isRecord(s) {
			return
		}
		r, err := parseRecord(s)
		if err != nil {
			return
		}
		for _, x := range r.terms {
			switch {
			case strings.ContainsAny(x.domain, "%/ :"), x.domain != strings.ToLower(x.domain):
				t.Errorf("%q: domain %q", s, x.domain)
			case x.mechanism == "include" && x.domain == "":
				t.Errorf("%q: an include of nothing", s)
			case strings.HasPrefix(x.mechanism, "ip") && !x.network.IsValid():
				t.Errorf("%q: network %s", s, x.network)
			case x.bits[0] < 0 || x.bits[0] > 32 || x.bits[1] < 0 || x.bits[1] > 128:
				t.Errorf("%q: lengths %v", s, x.bits)
			}
		}
	})
}
