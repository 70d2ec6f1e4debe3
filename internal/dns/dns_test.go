package dns_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/postern-mail/postern/internal/dns"
	"github.com/postern-mail/postern/internal/dns/zone"
	"github.com/postern-mail/postern/internal/peertest/leaks"
)

func TestMain(m *testing.M) { leaks.Main(m) }

func serve(t *testing.T, text string) *zone.Server {
	t.Helper()
	s, err := zone.Serve(text)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return s
}

// resolver makes one that waits much longer for a server than one on loopback takes, however busy the machine is.
func resolver(t *testing.T, servers ...string) *dns.Resolver {
	t.Helper()
	var addrs []netip.AddrPort
	for _, s := range servers {
		addrs = append(addrs, netip.MustParseAddrPort(s))
	}
	r, err := dns.New(addrs)
	if err != nil {
		t.Fatal(err)
	}
	r.SetTimeout(time.Minute)
	return r
}

// hasty makes one for servers that do not answer.
func hasty(t *testing.T, servers ...string) *dns.Resolver {
	t.Helper()
	r := resolver(t, servers...)
	r.SetTimeout(300 * time.Millisecond)
	return r
}

const zones = `
example.org      MX 10 mail.example.org
example.org      TXT v=spf1 -all
null.example     MX 0 .
mail.example.org A 192.0.2.1
mail.example.org AAAA 2001:db8::1
broken.example   SERVFAIL
mute.example     SILENT
1.2.0.192.in-addr.arpa PTR mail.example.org
local.corp.test  A 192.0.2.9
`

func TestLookups(t *testing.T) {
	s := serve(t, zones+"big.example TXT "+strings.Repeat("x", 4000)+"\n")
	r := resolver(t, s.Addr())
	ctx := t.Context()

	if got, err := r.LookupTXT(ctx, "example.org"); err != nil || !slices.Equal(got, []string{"v=spf1 -all"}) {
		t.Errorf("TXT: %q, %v", got, err)
	}
	if got, err := r.LookupTXT(ctx, "big.example"); err != nil || len(got) != 1 || len(got[0]) != 4000 {
		t.Errorf("TXT over TCP: %d records, %v", len(got), err)
	}
	if got, err := r.LookupMX(ctx, "Example.ORG."); err != nil || len(got) != 1 || got[0].Host != "mail.example.org." {
		t.Errorf("MX: %v, %v", got, err)
	}
	if got, err := r.LookupMX(ctx, "null.example"); err != nil || len(got) != 1 || got[0].Host != "." {
		t.Errorf("null MX: %v, %v", got, err)
	}
	if got, err := r.LookupAddr(ctx, "192.0.2.1"); err != nil || !slices.Equal(got, []string{"mail.example.org."}) {
		t.Errorf("PTR: %v, %v", got, err)
	}
	got, err := r.LookupIPAddr(ctx, "mail.example.org")
	if err != nil || len(got) != 2 || got[0].IP.String() != "192.0.2.1" || got[1].IP.String() != "2001:db8::1" {
		t.Errorf("addresses: %v, %v", got, err)
	}
	if len(got) > 0 && got[0].IP.To4() == nil {
		t.Errorf("the IPv4 address is mapped: %v", []byte(got[0].IP))
	}
}

func TestLookupNetIP(t *testing.T) {
	s := serve(t, "both.example A 192.0.2.1\nboth.example AAAA 2001:db8::1\nfour.example A 192.0.2.1\nhalf.example A 192.0.2.1\nhalf.example AAAA SERVFAIL\n")
	r := resolver(t, s.Addr())
	for _, c := range []struct{ network, host, want, err string }{
		{"ip4", "both.example", "192.0.2.1", ""},
		{"ip6", "both.example", "2001:db8::1", ""},
		{"ip6", "four.example", "", "not found"},
		{"ip4", "half.example", "192.0.2.1", ""},
		{"ip6", "half.example", "", "temporary"},
		{"ip4", "192.0.2.1", "", "not found"},
		{"ip4", "a..b", "", "not found"},
		{"ip", "both.example", "", "temporary"},
	} {
		t.Run(c.network+" "+c.host, func(t *testing.T) {
			got, err := r.LookupNetIP(t.Context(), c.network, c.host)
			want := ""
			if len(got) > 0 {
				want = got[0].String()
			}
			var de *net.DNSError
			errors.As(err, &de)
			switch {
			case want != c.want || (err == nil) != (c.err == ""):
				t.Errorf("got %v, %v", got, err)
			case de != nil && (de.IsNotFound != (c.err == "not found") || de.IsTemporary != (c.err == "temporary")):
				t.Errorf("got %+v", de)
			}
		})
	}
	if n := s.Asked("four.example", "A"); n != 0 {
		t.Errorf("the other family was asked for %d times", n)
	}
}

// TestLookupExchangers: hosts that are no host names are there, in plain octets, but for those that have no plain name.
func TestLookupExchangers(t *testing.T) {
	s, err := zone.ServeRecords([]zone.Record{
		{Name: "example.org", Type: "MX", Pref: 1, Host: "foo:bar/b z.example"},
		{Name: "example.org", Type: "MX", Pref: 2, Host: "mail.example.org"},
		{Name: "null.example", Type: "MX", Host: "."},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	r := resolver(t, s.Addr())
	got, err := r.LookupExchangers(t.Context(), "example.org")
	if want := []string{"mail.example.org", "foo:bar/b z.example"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("got %q, %v", got, err)
	}
	if got, err := r.LookupExchangers(t.Context(), "null.example"); err != nil || !slices.Equal(got, []string{""}) {
		t.Errorf("null MX: %q, %v", got, err)
	}
	if got, err := r.LookupMX(t.Context(), "example.org"); err == nil || len(got) != 1 {
		t.Errorf("LookupMX gives what is no host name: %v, %v", got, err)
	}
}

func TestErrors(t *testing.T) {
	s := serve(t, zones)
	for _, c := range []struct {
		name, ask                    string
		notFound, temporary, timeout bool
	}{
		{"no such name", "nobody.example", true, false, false},
		{"no such record", "null.example", true, false, false},
		{"an address is no name", "192.0.2.1", true, false, false},
		{"octets that no name has", "a b.example", true, false, false},
		{"server failure", "broken.example", false, true, false},
		{"silence", "mute.example", false, true, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := resolver(t, s.Addr())
			if c.timeout {
				r = hasty(t, s.Addr())
			}
			for kind, lookup := range map[string]func() error{
				"TXT": func() error { _, err := r.LookupTXT(t.Context(), c.ask); return err },
				"IP":  func() error { _, err := r.LookupIPAddr(t.Context(), c.ask); return err },
			} {
				var de *net.DNSError
				err := lookup()
				// A type assertion, because the SPF and DKIM libraries use one.
				if d, ok := err.(*net.DNSError); ok { //nolint:errorlint
					de = d
				} else {
					t.Fatalf("%s: got %T %v, want a *net.DNSError", kind, err, err)
				}
				if de.IsNotFound != c.notFound || de.Temporary() != c.temporary || de.IsTimeout != c.timeout {
					t.Errorf("%s: got %+v", kind, de)
				}
			}
		})
	}
}

func TestOneFamilyFails(t *testing.T) {
	s := serve(t, "half.example A 192.0.2.1\nhalf.example AAAA SERVFAIL\nnone.example AAAA SERVFAIL\n")
	r := resolver(t, s.Addr())
	got, err := r.LookupIPAddr(t.Context(), "half.example")
	var de *net.DNSError
	if !errors.As(err, &de) || !de.IsTemporary || len(got) != 1 || got[0].IP.String() != "192.0.2.1" {
		t.Errorf("got %v, %v; want the address and the error", got, err)
	}
	// "No A record" must not hide "nobody knows about AAAA": the name may well exist.
	got, err = r.LookupIPAddr(t.Context(), "none.example")
	if !errors.As(err, &de) || de.IsNotFound || len(got) != 0 {
		t.Errorf("got %v, %v; want a temporary error", got, err)
	}
}

func TestFailOver(t *testing.T) {
	t.Parallel()
	good := serve(t, zones)
	dead := "127.0.0.1:9" // where nobody listens

	t.Run("a dead server is passed over", func(t *testing.T) {
		r := resolver(t, dead, good.Addr())
		if _, err := r.LookupTXT(t.Context(), "example.org"); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("a silent server is passed over, then left out", func(t *testing.T) {
		mute := serve(t, "example.org SILENT\nother.example SILENT\nthird.example SILENT\n")
		good := serve(t, "example.org TXT x\nother.example TXT x\nthird.example TXT x\n")
		r := resolver(t, mute.Addr(), good.Addr())
		r.SetTimeout(3 * time.Second) // also for the one that answers
		asked := 0
		for _, name := range []string{"example.org", "other.example", "third.example"} {
			if _, err := r.LookupTXT(t.Context(), name); err != nil {
				t.Fatal(err)
			}
			asked += mute.Asked(name, "TXT")
		}
		if asked != 1 {
			t.Errorf("the silent server was asked %d times, want once", asked)
		}
	})
	t.Run("a lone server is asked again when it is silent, and not when it fails", func(t *testing.T) {
		lone := serve(t, "lost.example SILENT\nfailing.example SERVFAIL\n")
		r := resolver(t, lone.Addr())
		r.SetTimeout(3 * time.Second) // by when it must have changed its mind
		go func() {
			for lone.Asked("lost.example", "TXT") == 0 {
				time.Sleep(time.Millisecond)
			}
			_ = lone.Replace("lost.example TXT found\nfailing.example SERVFAIL\n")
		}()
		if got, err := r.LookupTXT(t.Context(), "lost.example"); err != nil || got[0] != "found" {
			t.Errorf("got %q, %v", got, err)
		}
		_, _ = r.LookupTXT(t.Context(), "failing.example")
		if n := lone.Asked("failing.example", "TXT"); n != 1 {
			t.Errorf("asked %d times for what fails", n)
		}
	})
	t.Run("a failing server is passed over and asked again", func(t *testing.T) {
		failing := serve(t, "example.org SERVFAIL\nother.example TXT x\n")
		r := resolver(t, failing.Addr(), good.Addr())
		if _, err := r.LookupTXT(t.Context(), "example.org"); err != nil {
			t.Fatal(err)
		}
		if got, err := r.LookupTXT(t.Context(), "other.example"); err != nil || len(got) != 1 {
			t.Errorf("got %v, %v", got, err)
		}
	})
	t.Run("no answer is found twice", func(t *testing.T) {
		r := resolver(t, good.Addr(), dead)
		before := good.Asked("nobody.example", "TXT")
		if _, err := r.LookupTXT(t.Context(), "nobody.example"); err == nil {
			t.Error("a name was found that does not exist")
		}
		if n := good.Asked("nobody.example", "TXT") - before; n != 1 {
			t.Errorf("asked %d times, want once: NXDOMAIN is an answer", n)
		}
	})
}

func TestContextEnds(t *testing.T) {
	s := serve(t, zones)
	r := resolver(t, s.Addr())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := r.LookupTXT(ctx, "mute.example")
	var de *net.DNSError
	if !errors.As(err, &de) || de.IsNotFound {
		t.Errorf("got %v, want an error that is not `not found`", err)
	}
	if n := s.Asked("mute.example", "TXT"); n > 1 {
		t.Errorf("asked %d times with a dead context", n)
	}
}

func TestSearchListIsNotUsed(t *testing.T) {
	s := serve(t, zones)
	r := resolver(t, s.Addr())
	if got, err := r.LookupIPAddr(t.Context(), "local"); err == nil {
		t.Errorf("a single label was found: %v", got)
	}
	if n := s.Asked("local", "A"); n != 1 {
		t.Errorf("`local.` was asked for %d times, want once", n)
	}
}

// observed takes down what the resolver tells.
type observed struct {
	mu           sync.Mutex
	queries      []string
	hits, misses int
	budgets      []string
	odd          []dns.Query // words outside the closed sets, or no time
}

func (o *observed) DNSQuery(q dns.Query) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !slices.Contains(dns.Types(), q.Type) || !slices.Contains(dns.Rcodes(), q.Rcode) || q.Elapsed <= 0 {
		o.odd = append(o.odd, q)
	}
	o.queries = append(o.queries, q.Type+" "+q.Rcode)
}

func (o *observed) DNSCache(hit bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if hit {
		o.hits++
	} else {
		o.misses++
	}
}

func (o *observed) missed() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.misses
}

func (o *observed) DNSBudget(limit string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.budgets = append(o.budgets, limit)
}

func TestObserve(t *testing.T) {
	s := serve(t, zones+"no.example REFUSED\nbad.example GARBAGE\n")
	r := resolver(t, s.Addr())
	o := new(observed)
	r.Observe(o)
	ctx := t.Context()
	_, _ = r.LookupTXT(ctx, "example.org")
	_, _ = r.LookupTXT(ctx, "example.org")
	_, _ = r.LookupTXT(ctx, "nobody.example")
	_, _ = r.LookupMX(ctx, "broken.example")
	_, _ = r.LookupMX(ctx, "no.example")
	_, _ = r.LookupMX(ctx, "bad.example")
	_, _ = r.LookupMX(ctx, "mail.example.org")
	_, _ = r.LookupAddr(ctx, "192.0.2.1")
	mute := hasty(t, s.Addr())
	mute.Observe(o)
	_, _ = mute.LookupTXT(ctx, "mute.example")
	_, _ = r.LookupIPAddr(ctx, "mail.example.org")
	_, _, _ = r.LookupTLSA(ctx, "_25._tcp.example.org")
	_, _ = r.LookupTXT(ctx, "not..a.name")
	slices.Sort(o.queries)
	want := []string{
		"A noerror", "AAAA noerror", "MX malformed", "MX nodata", "MX refused", "MX servfail", "PTR noerror",
		"TLSA nxdomain", "TXT noerror", "TXT nxdomain", "TXT timeout",
	}
	if !slices.Equal(o.queries, want) || len(o.odd) > 0 {
		t.Errorf("got %q, %v\nwant %q", o.queries, o.odd, want)
	}
	if o.hits != 1 || o.misses != len(want) {
		t.Errorf("%d hits, %d misses", o.hits, o.misses)
	}
}

// BenchmarkMiss asks a server on loopback, which takes its share of the time: nothing of it is kept.
func BenchmarkMiss(b *testing.B) {
	s, err := zone.Serve("example.org 0 TXT v=spf1 -all\n")
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	r, err := dns.New([]netip.AddrPort{netip.MustParseAddrPort(s.Addr())})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.LookupTXT(b.Context(), "example.org"); err != nil {
			b.Fatal(err)
		}
	}
}

func TestServersNeedAnAddress(t *testing.T) {
	good := netip.MustParseAddrPort("127.0.0.1:53")
	for _, bad := range []netip.AddrPort{{}, netip.AddrPortFrom(good.Addr(), 0), netip.AddrPortFrom(netip.Addr{}, 53)} {
		if _, err := dns.New([]netip.AddrPort{good, bad}); err == nil {
			t.Errorf("New took %v", bad)
		}
	}
}
