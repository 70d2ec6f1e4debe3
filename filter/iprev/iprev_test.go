package iprev

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/filter/auth"
)

// fakeDNS knows names of addresses and addresses of names; "SERVFAIL" and "SILENT" among them are faults.
type fakeDNS struct {
	ptr, addr map[string][]string
	asked     []string
}

func (f *fakeDNS) answer(ctx context.Context, m map[string][]string, key string) ([]string, error) {
	f.asked = append(f.asked, key)
	found, ok := m[key]
	if !ok {
		return nil, &net.DNSError{Name: key, Err: "no such host", IsNotFound: true}
	}
	if slices.Contains(found, "SILENT") {
		<-ctx.Done()
		return nil, &net.DNSError{Name: key, Err: "timeout", IsTimeout: true, Server: "10.0.0.53"}
	}
	rest := slices.DeleteFunc(slices.Clone(found), func(s string) bool { return s == "SERVFAIL" })
	if len(rest) < len(found) {
		return rest, &net.DNSError{Name: key, Err: "server misbehaving", IsTemporary: true, Server: "10.0.0.53"}
	}
	return rest, nil
}

func (f *fakeDNS) LookupAddr(ctx context.Context, addr string) ([]string, error) {
	return f.answer(ctx, f.ptr, addr)
}

func (f *fakeDNS) LookupIPAddr(ctx context.Context, host string) ([]net.IPAddr, error) {
	found, err := f.answer(ctx, f.addr, host)
	var out []net.IPAddr
	for _, s := range found {
		out = append(out, net.IPAddr{IP: net.ParseIP(s)})
	}
	return out, err
}

func (f *fakeDNS) LookupTXT(context.Context, string) ([]string, error) { panic("not asked for") }

func (f *fakeDNS) LookupMX(context.Context, string) ([]*net.MX, error) { panic("not asked for") }

func newFilter(t testing.TB, dns filter.Resolver) (filter.Spec, filter.Filter) {
	spec, f, err := Factory.New(filter.Env{Name: "iprev", Hostname: "MX.example.org", DNS: dns}, func(any) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	return spec, f
}

func session(client string) *filter.Session {
	addr := netip.MustParseAddr(client)
	return &filter.Session{Client: netip.AddrPortFrom(addr, 4711), Helo: "h.example"}
}

func shown(r filter.Result) string {
	var all []string
	for _, f := range r.Findings {
		all = append(all, fmt.Sprintf("%s*%g %s", f.Symbol+unsure(f), f.Strength, f.Detail))
	}
	return strings.Join(all, "\n")
}

func TestReverse(t *testing.T) {
	many := make([]string, 30)
	addresses := map[string][]string{"h30.example": {"192.0.2.1"}}
	for i := range many {
		many[i] = fmt.Sprintf("h%d.example.", i+1)
	}
	for _, c := range []struct {
		name      string
		client    string // 192.0.2.1 if not said
		ptr       []string
		addr      map[string][]string
		fact      auth.IPRevResult
		finding   string
		questions int
	}{
		{
			name: "confirmed", ptr: []string{"H.example."}, addr: map[string][]string{"h.example": {"198.51.100.1", "192.0.2.1"}},
			fact: auth.IPRevResult{Result: auth.Pass, Name: "h.example"}, finding: "IPREV_PASS*1 192.0.2.1: h.example", questions: 2,
		},
		{
			name: "confirmed, IPv6", client: "2001:db8::1", ptr: []string{"h.example."}, addr: map[string][]string{"h.example": {"192.0.2.1", "2001:db8::1"}},
			fact: auth.IPRevResult{Result: auth.Pass, Name: "h.example"}, finding: "IPREV_PASS*1 2001:db8::1: h.example", questions: 2,
		},
		{
			name: "mapped client", client: "::ffff:192.0.2.1", ptr: []string{"h.example."}, addr: map[string][]string{"h.example": {"192.0.2.1"}},
			fact: auth.IPRevResult{Result: auth.Pass, Name: "h.example"}, finding: "IPREV_PASS*1 192.0.2.1: h.example", questions: 2,
		},
		{
			name: "the second of two", ptr: []string{"b.example.", "a.example.", "b.example."}, addr: map[string][]string{"b.example": {"192.0.2.1"}, "a.example": {"192.0.2.9"}},
			fact: auth.IPRevResult{Result: auth.Pass, Name: "b.example"}, finding: "IPREV_PASS*1 192.0.2.1: b.example", questions: 3,
		},
		{
			name: "leads elsewhere", ptr: []string{"a.example."}, addr: map[string][]string{"a.example": {"192.0.2.9"}},
			fact: auth.IPRevResult{Result: auth.Fail, Published: "a.example", Reason: "a.example does not lead back to the address"}, finding: "IPREV_FAIL*1 192.0.2.1: a.example does not lead back to the address", questions: 2,
		},
		{
			name: "leads nowhere", ptr: []string{"a.example."},
			fact: auth.IPRevResult{Result: auth.Fail, Published: "a.example", Reason: "a.example does not lead back to the address"}, finding: "IPREV_FAIL*1 192.0.2.1: a.example does not lead back to the address", questions: 2,
		},
		{
			name: "no name", fact: auth.IPRevResult{Result: auth.PermError, Reason: "the address has no name"}, finding: "IPREV_NONE*1 192.0.2.1: the address has no name", questions: 1,
		},
		{
			name: "names that are none", ptr: []string{"a b.example.", "x\r\ny.example.", "localhost.", "h\xfc.example.", "." /* root */, "a;b.example."},
			fact: auth.IPRevResult{Result: auth.Fail, Reason: "no name leads back to the address"}, finding: "IPREV_FAIL*1 192.0.2.1: no name leads back to the address", questions: 1,
		},
		{
			name: "name can't be asked for", ptr: []string{"SERVFAIL"},
			fact: auth.IPRevResult{Result: auth.TempError, Reason: "asked for a name: server failure"}, finding: "IPREV_TEMPERROR?*1 192.0.2.1: asked for a name: server failure", questions: 1,
		},
		{
			name: "some names, and a fault", ptr: []string{"h.example.", "SERVFAIL"}, addr: map[string][]string{"h.example": {"192.0.2.1"}},
			fact: auth.IPRevResult{Result: auth.Pass, Name: "h.example"}, finding: "IPREV_PASS*1 192.0.2.1: h.example", questions: 2,
		},
		{
			name: "address can't be asked for", ptr: []string{"a.example.", "b.example."}, addr: map[string][]string{"a.example": {"SERVFAIL"}, "b.example": {"192.0.2.9"}},
			fact: auth.IPRevResult{Result: auth.TempError, Published: "a.example", Reason: "asked for a.example: server failure"}, finding: "IPREV_TEMPERROR?*1 192.0.2.1: asked for a.example: server failure", questions: 3,
		},
		{
			name: "one family fails and the other answers", ptr: []string{"h.example."}, addr: map[string][]string{"h.example": {"192.0.2.1", "SERVFAIL"}},
			fact: auth.IPRevResult{Result: auth.Pass, Name: "h.example"}, finding: "IPREV_PASS*1 192.0.2.1: h.example", questions: 2,
		},
		{
			name: "silent", ptr: []string{"SILENT"},
			fact: auth.IPRevResult{Result: auth.TempError, Reason: "asked for a name: no answer"}, finding: "IPREV_TEMPERROR?*1 192.0.2.1: asked for a name: no answer", questions: 1,
		},
		{
			name: "silent for the name", ptr: []string{"a.example."}, addr: map[string][]string{"a.example": {"SILENT"}},
			fact: auth.IPRevResult{Result: auth.TempError, Published: "a.example", Reason: "asked for a.example: no answer"}, finding: "IPREV_TEMPERROR?*1 192.0.2.1: asked for a.example: no answer", questions: 2,
		},
		{
			name: "more names than are looked at", ptr: many, addr: addresses,
			fact: auth.IPRevResult{Result: auth.Fail, Published: "h1.example", Reason: "h1.example does not lead back to the address"}, finding: "IPREV_FAIL*1 192.0.2.1: h1.example does not lead back to the address", questions: 1 + maxNames,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				if c.client == "" {
					c.client = "192.0.2.1"
				}
				c.fact.Client = netip.MustParseAddr(c.client).Unmap().String()
				dns := &fakeDNS{ptr: map[string][]string{}, addr: c.addr}
				if c.ptr != nil {
					dns.ptr[c.fact.Client] = c.ptr
				}
				_, f := newFilter(t, dns)
				r, err := f.Check(t.Context(), &filter.Input{Session: session(c.client)})
				if err != nil {
					t.Fatal(err)
				}
				got, _ := auth.IPRev.Among(r.Facts)
				if diff := cmp.Diff(c.fact, got); diff != "" {
					t.Errorf("fact: -want +got\n%s", diff)
				}
				if got := shown(r); got != c.finding {
					t.Errorf("finding %q, want %q", got, c.finding)
				}
				if len(dns.asked) != c.questions {
					t.Errorf("asked %q", dns.asked)
				}
				if r.Propose != filter.Continue || r.Reply != nil {
					t.Errorf("proposes %v", r.Propose)
				}
			})
		})
	}
}

// TestNotForOurOwn: relay clients, exempt networks and a client that nobody knows are not looked at.
func TestNotForOurOwn(t *testing.T) {
	dns := &fakeDNS{}
	_, f := newFilter(t, dns)
	relay, exempt, unknown := session("192.0.2.1"), session("192.0.2.1"), session("192.0.2.1")
	relay.Relay, exempt.Exempt, unknown.Client = true, true, netip.AddrPort{}
	for _, s := range []*filter.Session{relay, exempt, unknown} {
		r, err := f.Check(t.Context(), &filter.Input{Session: s})
		if err != nil || len(r.Findings) > 0 || len(r.Facts) > 0 {
			t.Errorf("%+v, %v", r, err)
		}
	}
	if len(dns.asked) > 0 {
		t.Errorf("asked %q", dns.asked)
	}
}

// TestSessionEnds: a session that is over is no result.
func TestSessionEnds(t *testing.T) {
	dns := &fakeDNS{ptr: map[string][]string{"192.0.2.1": {"SILENT"}}}
	_, f := newFilter(t, dns)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if r, err := f.Check(ctx, &filter.Input{Session: session("192.0.2.1")}); err == nil {
		t.Errorf("got %+v", r)
	}
}

func FuzzNames(f *testing.F) {
	for _, s := range []string{"h.example.", "x\r\ny.example", "a.b\nlocalhost", "h\u00fc.example", "1.2.3.4", strings.Repeat("a.", 200), "[192.0.2.1]", "mx.example.org"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		names := strings.Split(s, "\n")
		dns := &fakeDNS{ptr: map[string][]string{"192.0.2.1": names}, addr: map[string][]string{}}
		for _, n := range names {
			dns.addr[n] = []string{"192.0.2.1"}
		}
		_, c := newFilter(t, dns)
		in := session("192.0.2.1")
		if slices.Contains(names, "SILENT") {
			return
		}
		r, err := c.Check(t.Context(), &filter.Input{Session: in})
		if err != nil {
			t.Fatal(err)
		}
		got, _ := auth.IPRev.Among(r.Facts)
		if strings.Trim(got.Name, "abcdefghijklmnopqrstuvwxyz0123456789-_.") != "" || len(got.Name) > 253 || (got.Name != "") != (got.Result == auth.Pass) {
			t.Errorf("%+v", got)
		}
		if len(dns.asked) > 1+maxNames {
			t.Errorf("%d questions", len(dns.asked))
		}
	})
}

// unsure marks a finding that stands for what was not found out.
func unsure(f filter.Finding) string {
	if f.Unknown {
		return "?"
	}
	return ""
}
