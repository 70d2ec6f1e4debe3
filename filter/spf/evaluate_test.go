package spf

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/filter/auth"
	"github.com/postern-mail/postern/internal/dns"
)

// countingDNS counts what is asked, and can be asked for one family.
type countingDNS struct {
	fakeDNS
	asked map[string]int
}

func (d countingDNS) LookupTXT(ctx context.Context, name string) ([]string, error) {
	d.asked["TXT "+name]++
	return d.fakeDNS.LookupTXT(ctx, name)
}

func (d countingDNS) LookupAddr(ctx context.Context, addr string) ([]string, error) {
	d.asked["PTR "+addr]++
	return d.fakeDNS.LookupAddr(ctx, addr)
}

func (d countingDNS) LookupNetIP(ctx context.Context, network, name string) (all []netip.Addr, err error) {
	d.asked[network+" "+name]++
	both, err := d.LookupIPAddr(ctx, name)
	for _, a := range both {
		if ip, _ := netip.AddrFromSlice(a.IP); ip.Is4() == (network == "ip4") {
			all = append(all, ip)
		}
	}
	if err == nil && len(all) == 0 {
		err = &net.DNSError{Name: name, IsNotFound: true}
	}
	return all, err
}

func evaluateWith(t testing.TB, d filter.Resolver, client string) auth.SPFResult {
	t.Helper()
	c := &check{dns: lookups{d}, host: "mx.example.org"}
	id := identity{kind: "mailfrom", shown: "user@example.org", local: "user", domain: "example.org"}
	r, err := c.examine(t.Context(), t.Context(), netip.MustParseAddr(client), "mail.example.org", id)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestWorstRecord: however a domain puts it, an evaluation asks a bounded number of questions.
func TestWorstRecord(t *testing.T) {
	d := countingDNS{fakeDNS{txt: map[string][]string{}, mx: map[string][]string{}, ip: map[string][]string{}, ptr: map[string][]string{}}, map[string]int{}}
	record := "v=spf1"
	for i := range 10 {
		domain := fmt.Sprintf("m%d.example.org", i)
		record += " mx:" + domain
		for j := range 10 {
			host := fmt.Sprintf("h%d.%s", j, domain)
			d.mx[domain] = append(d.mx[domain], host)
			d.ip[host] = []string{"198.51.100.1"}
		}
	}
	d.txt["example.org"] = []string{record + " -all exp=%{p}.example.org"}
	for i := range 100 {
		d.ptr["192.0.2.1"] = append(d.ptr["192.0.2.1"], fmt.Sprintf("p%d.example.com.", i))
	}
	if r := evaluateWith(t, d, "192.0.2.1"); r.Result != auth.Fail {
		t.Errorf("got %+v", r)
	}
	asked := 0
	for _, n := range d.asked {
		asked += n
	}
	// The record, 10 x 10 hosts (MX itself is not counted here), the client's names, ten of them, the explanation.
	if want := 1 + 100 + 1 + 10 + 1; asked != want {
		t.Errorf("%d questions, want %d", asked, want)
	}
}

// TestFamilyAndNamesAreAskedForOnce: only the client's family, and the client's names once for all terms.
func TestFamilyAndNamesAreAskedForOnce(t *testing.T) {
	d := countingDNS{fakeDNS{
		txt: map[string][]string{"example.org": {"v=spf1 a ptr:a.example ptr:b.example exists:%{p}.example.org exists:%{p1}.example.org include:c.example -all"}, "c.example": {"v=spf1 ptr"}},
		ip:  map[string][]string{"example.org": {"198.51.100.1"}, "unknown.example.org": {"2001:db8::1"}},
		ptr: map[string][]string{"192.0.2.1": {"x.example."}},
	}, map[string]int{}}
	r := evaluateWith(t, d, "192.0.2.1")
	if r.Result != auth.Fail {
		t.Errorf("got %+v", r)
	}
	for q, n := range d.asked {
		if strings.HasPrefix(q, "ip6 ") || strings.HasPrefix(q, "PTR ") && n != 1 || q == "ip4 x.example" && n != 1 {
			t.Errorf("asked %d times: %s", n, q)
		}
	}
}

func TestMappedClientIsIPv4(t *testing.T) {
	d := fakeDNS{txt: map[string][]string{"example.org": {"v=spf1 ip6:::ffff:192.0.2.1 -ip4:192.0.2.1 +all"}}}
	_, f := build(t, d, "")
	in := input(t, "user@example.org")
	in.Session.Client = netip.MustParseAddrPort("[::ffff:192.0.2.1]:25")
	got, err := f.Check(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	if r, _ := auth.SPF.Among(got.Facts); r.Result != auth.Fail {
		t.Errorf("got %+v", r)
	}
}

// TestFailuresAreWorded: without the address of our server, which is in the errors.
func TestFailuresAreWorded(t *testing.T) {
	fails := func(err error) filter.Resolver { return failingDNS{fakeDNS{}, err} }
	for _, c := range []struct {
		name string
		err  error
		want string
	}{
		{"time-out", &net.DNSError{Name: "example.org.", Server: "10.0.0.53:53", IsTimeout: true}, "DNS: example.org: no answer"},
		{"failure", &net.DNSError{Err: "dial 10.0.0.53", Name: "example.org", IsTemporary: true}, "DNS: example.org: server failure"},
		{"budget", &net.DNSError{UnwrapErr: dns.ErrBudget, Name: "example.org", IsTemporary: true}, "DNS: example.org: the check has asked enough"},
		{"not of the DNS", errors.New("10.0.0.53 burns"), "DNS: server failure"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if r := evaluateWith(t, fails(c.err), "192.0.2.1"); r.Result != auth.TempError || r.Reason != c.want {
				t.Errorf("got %s: %s, want %s", r.Result, r.Reason, c.want)
			}
		})
	}
}

type failingDNS struct {
	fakeDNS
	err error
}

func (d failingDNS) LookupTXT(context.Context, string) ([]string, error) { return nil, d.err }

// FuzzCheck: whatever a domain publishes and a client says, what leaves the filter is bounded and can be shown: no line of a
// reply or a field is begun by others.
func FuzzCheck(f *testing.F) {
	f.Add("v=spf1 -all exp=e.example", "%{h} may not: %{s}", "mail.example.org", "user")
	f.Add("v=spf1 exists:%{h}.%{l1r-} ~a:\r\nX", "%{p}%{c}%{t}\xc3\xa4", "x)\r\n\" ;\\", "a\"b\r\nc")
	f.Add("v=spf1 include:example.org", "", "[192.0.2.1]", "\u00e9")
	f.Add("v=spf1 redirect=%{h} exp=e.example", "%{H}", "e.example", "\x00")
	f.Fuzz(func(t *testing.T, record, explanation, helo, local string) {
		d := fakeDNS{txt: map[string][]string{"example.org": {record}, "e.example": {explanation}, strings.ToLower(helo): {record}}}
		c := &check{dns: lookups{d}, host: "mx.example.org", config: config{ReceivedSPF: true}}
		id := identity{kind: "mailfrom", shown: local + "@example.org", local: local, domain: "example.org"}
		for _, id := range []identity{id, heloIdentity(helo)} {
			r, err := c.examine(t.Context(), t.Context(), netip.MustParseAddr("192.0.2.1"), helo, id)
			if err != nil {
				t.Fatal(err)
			}
			if r.Explanation != "" && r.Result != auth.Fail || len(r.Explanation) > explanationLimit+3 || len(r.Reason) > reasonLimit+3 {
				t.Fatalf("%+v", r)
			}
			for _, s := range []string{r.Reason, r.Mechanism, r.Explanation, strings.ReplaceAll(r.Received, "\r\n\t", ""), strings.Replace(reply(r, netip.Addr{}).Text, "\n", "", 1)} {
				if printable(s) != s {
					t.Fatalf("not printable: %q", s)
				}
			}
			for line := range strings.SplitSeq(r.Received, "\r\n") {
				if len(line) > 998 {
					t.Fatalf("%d octets in a line", len(line))
				}
			}
			if n := strings.Count(r.Received, "\r\n\t"); n != 6 {
				t.Fatalf("%d lines follow: %q", n, r.Received)
			}
		}
	})
}

func TestConfigRefuses(t *testing.T) {
	for _, c := range []struct{ name, settings string }{
		{"unknown word", "fail: drop"},
		{"defer of a fail", "fail: defer"},
		{"reject of a softfail", "softfail: reject"},
		{"reject of a temperror", "temperror: reject"},
		{"unknown key", "neutral: tag"},
		{"not a word", "fail: [tag]"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, _, err := Factory.New(filter.Env{}, func(into any) error { return decodeYAML(c.settings, into) })
			if err == nil {
				t.Error("accepted")
			}
		})
	}
}

// typical is what a domain with a hosted mail service publishes.
var typical = fakeDNS{
	txt: map[string][]string{
		"example.org":       {"v=spf1 mx include:_spf.example.net ip4:198.51.100.0/24 ~all", "google-site-verification=x"},
		"_spf.example.net":  {"v=spf1 include:_a.example.net include:_b.example.net ~all"},
		"_a.example.net":    {"v=spf1 ip4:203.0.113.0/25 ip4:203.0.113.128/26 ip4:198.18.0.0/15 ~all"},
		"_b.example.net":    {"v=spf1 ip6:2001:db8:1::/48 ip4:192.0.2.0/24 ~all"},
		"mail.example.org":  {"v=spf1 a -all"},
		"other.example.org": {"v=spf1 -all"},
	},
	mx: map[string][]string{"example.org": {"mx1.example.org", "mx2.example.org"}},
	ip: map[string][]string{"mx1.example.org": {"198.51.100.1"}, "mx2.example.org": {"198.51.100.2"}, "mail.example.org": {"192.0.2.1"}},
}

// BenchmarkCheck: a typical record (seven terms in four records, a pass by the second include) and the HELO name, with
// answers that are there at once.
func BenchmarkCheck(b *testing.B) {
	_, f := build(b, countingDNS{typical, map[string]int{}}, "")
	in := input(b, "user@example.org")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := f.Check(b.Context(), in); err != nil {
			b.Fatal(err)
		}
	}
	got, _ := f.Check(b.Context(), in)
	if r, _ := auth.SPF.Among(got.Facts); r.Result != auth.Pass {
		b.Fatalf("got %+v", r)
	}
}
