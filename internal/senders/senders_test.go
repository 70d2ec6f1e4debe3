package senders

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/postern-mail/postern/internal/dns"
	"github.com/postern-mail/postern/mail"
)

var _ Resolver = (*dns.Resolver)(nil)

// fakeDNS has "name TYPE" → values; a value SERVFAIL or SILENT is a fault.
type fakeDNS struct {
	mu      sync.Mutex
	records map[string][]string
	life    time.Duration
	asked   int
}

func newDNS(lines ...string) *fakeDNS {
	f := &fakeDNS{records: map[string][]string{}, life: 20 * time.Minute}
	for _, l := range lines {
		f.add(l)
	}
	return f
}

func (f *fakeDNS) add(line string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	w := strings.SplitN(line, " ", 3)
	f.records[w[0]+" "+w[1]] = append(f.records[w[0]+" "+w[1]], w[2])
}

func (f *fakeDNS) set(line string) {
	w := strings.SplitN(line, " ", 3)
	f.mu.Lock()
	delete(f.records, w[0]+" "+w[1])
	f.mu.Unlock()
	f.add(line)
}

func (f *fakeDNS) find(ctx context.Context, name, kind string) ([]string, error) {
	f.mu.Lock()
	f.asked++
	all := slices.Clone(f.records[name+" "+kind])
	f.mu.Unlock()
	switch {
	case len(all) == 0:
		return nil, &net.DNSError{Name: name, Err: "no such record", IsNotFound: true}
	case slices.Contains(all, "SERVFAIL"):
		return nil, &net.DNSError{Name: name, Err: "servfail", IsTemporary: true, Server: "192.0.2.53"}
	case slices.Contains(all, "SILENT"):
		<-ctx.Done()
		return nil, &net.DNSError{Name: name, Err: "no answer", IsTemporary: true, IsTimeout: true}
	}
	return all, nil
}

func (f *fakeDNS) LookupTXTFor(ctx context.Context, name string) ([]string, time.Duration, error) {
	all, err := f.find(ctx, name, "TXT")
	return all, f.life, err
}

func (f *fakeDNS) LookupMX(ctx context.Context, name string) (all []*net.MX, err error) {
	found, err := f.find(ctx, name, "MX")
	for _, h := range found {
		all = append(all, &net.MX{Host: h})
	}
	return all, err
}

func (f *fakeDNS) LookupIPAddr(ctx context.Context, name string) (all []net.IPAddr, err error) {
	found, err := f.find(ctx, name, "A")
	for _, a := range found {
		all = append(all, net.IPAddr{IP: net.ParseIP(a)})
	}
	return all, err
}

func TestExpand(t *testing.T) {
	chain := []string{}
	for i := range maxRecords + 1 {
		chain = append(chain, fmt.Sprintf("c%d.example TXT v=spf1 include:c%d.example", i, i+1))
	}
	many := "big.example TXT v=spf1"
	for i := range maxTerms {
		many += fmt.Sprintf(" ip4:10.%d.%d.0", i/256, i%256)
	}
	hosts := []string{"big.example TXT v=spf1 mx"}
	for i := range maxHosts + 1 {
		hosts = append(hosts, fmt.Sprintf("big.example MX h%d.example.", i))
	}
	for _, c := range []struct {
		name        string
		dns         []string
		want, fails string
	}{
		{name: "networks", dns: []string{"big.example TXT v=spf1 ip4:192.0.2.0/24 ip6:2001:db8::/32 ~all"}, want: "192.0.2.0-192.0.2.255 2001:db8::-2001:db8:ffff:ffff:ffff:ffff:ffff:ffff"},
		{name: "beside other texts", dns: []string{"big.example TXT verify=7", "big.example TXT v=spf1 ip4:192.0.2.1"}, want: "192.0.2.1-192.0.2.1"},
		{
			name: "include and redirect", dns: []string{
				"big.example TXT v=spf1 include:a.example redirect=b.example", "a.example TXT v=spf1 ip4:192.0.2.1 -all", "b.example TXT v=spf1 ip4:192.0.2.3 include:a.example -all",
			}, want: "192.0.2.1-192.0.2.1 192.0.2.3-192.0.2.3",
		},
		{
			name: "no redirect behind all", dns: []string{"big.example TXT v=spf1 ip4:192.0.2.1 ~all redirect=b.example"}, want: "192.0.2.1-192.0.2.1",
		},
		{
			name: "hosts", dns: []string{
				"big.example TXT v=spf1 a/31 mx//127 a:h.example", "big.example A 192.0.2.1", "big.example MX m.example.", "m.example A 192.0.2.9", "m.example A 2001:db8::9", "h.example A 192.0.2.20",
			}, want: "192.0.2.0-192.0.2.1 192.0.2.9-192.0.2.9 192.0.2.20-192.0.2.20 2001:db8::8-2001:db8::9",
		},
		{name: "hosts that are not there", dns: []string{"big.example TXT v=spf1 a mx ip4:192.0.2.1"}, want: "192.0.2.1-192.0.2.1"},
		{name: "null MX", dns: []string{"big.example TXT v=spf1 mx ip4:192.0.2.1", "big.example MX ."}, want: "192.0.2.1-192.0.2.1"},
		{
			name: "what an earlier term refuses", dns: []string{"big.example TXT v=spf1 -ip4:192.0.2.7 ip4:192.0.2.6 ?include:a.example ip4:192.0.2.4/30 -all", "a.example TXT v=spf1 ip4:192.0.2.4 ip4:192.0.2.6"}, want: "192.0.2.5-192.0.2.6",
		},
		{name: "what a redirect may not give back", dns: []string{"big.example TXT v=spf1 -ip4:192.0.2.1 redirect=b.example", "b.example TXT v=spf1 ip4:192.0.2.0/31"}, want: "192.0.2.0-192.0.2.0"},
		{name: "names are left out", dns: []string{"big.example TXT v=spf1 ptr:p.example exists:%{i}.e.example ip4:192.0.2.1 ?all"}, want: "192.0.2.1-192.0.2.1"},
		{name: "nothing but names", dns: []string{"big.example TXT v=spf1 ptr:p.example ?all"}, fails: "names no network"},
		{name: "no record", fails: "has 0 SPF records"},
		{name: "two records", dns: []string{"big.example TXT v=spf1 a", "big.example TXT v=spf1 mx"}, fails: "has 2 SPF records"},
		{name: "malformed", dns: []string{"big.example TXT v=spf1 ip4:192.0.2.1 ip5:1"}, fails: "unknown mechanism"},
		{name: "include of nothing", dns: []string{"big.example TXT v=spf1 ip4:192.0.2.1 include:n.example"}, fails: "n.example has 0 SPF records"},
		{name: "failure", dns: []string{"big.example TXT SERVFAIL"}, fails: "asked for the record of big.example: server failure"},
		{name: "failure of a part", dns: []string{"big.example TXT v=spf1 ip4:192.0.2.1 include:a.example", "a.example TXT SERVFAIL"}, fails: "asked for the record of a.example: server failure"},
		{name: "failure of an MX", dns: []string{"big.example TXT v=spf1 ip4:192.0.2.1 mx", "big.example MX SERVFAIL"}, fails: "the MX of big.example"},
		{name: "failure of a host", dns: []string{"big.example TXT v=spf1 ip4:192.0.2.1 a", "big.example A SERVFAIL"}, fails: "the addresses of big.example"},
		{name: "everybody", dns: []string{"big.example TXT v=spf1 +all"}, fails: "passes everybody"},
		{name: "everybody, included", dns: []string{"big.example TXT v=spf1 include:a.example", "a.example TXT v=spf1 all"}, fails: "a.example passes everybody"},
		{name: "too wide", dns: []string{"big.example TXT v=spf1 ip4:128.0.0.0/7"}, fails: "too wide"},
		{name: "too wide, IPv6", dns: []string{"big.example TXT v=spf1 ip6:2000::/19"}, fails: "too wide"},
		{name: "too wide around a host", dns: []string{"big.example TXT v=spf1 a/0", "big.example A 192.0.2.1"}, fails: "too wide"},
		{name: "loop", dns: []string{"big.example TXT v=spf1 include:a.example", "a.example TXT v=spf1 redirect=big.example"}, fails: "leads back to itself"},
		{name: "too many records", dns: append(chain, "big.example TXT v=spf1 include:c0.example"), fails: "more than 30 records"},
		{name: "too many hosts", dns: hosts, fails: "more than 10 MX"},
		{name: "many networks", dns: []string{many}, want: "long"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, life, err := expand(t.Context(), newDNS(c.dns...), "big.example")
			switch {
			case c.fails != "":
				if err == nil || !strings.Contains(err.Error(), c.fails) || !strings.HasPrefix(err.Error(), "senders: big.example: ") || strings.Contains(err.Error(), "192.0.2.53") {
					t.Errorf("%s, %v; want %s", got, err, c.fails)
				}
			case err != nil || got.String() != c.want && c.want != "long":
				t.Errorf("%s, %v; want %s", got, err, c.want)
			case life != 20*time.Minute:
				t.Errorf("holds for %s", life)
			}
		})
	}
}

// TestTooManyRanges: a record tree can't make a set of any size.
func TestTooManyRanges(t *testing.T) {
	d := newDNS("big.example TXT v=spf1 include:a0.example include:a1.example include:a2.example")
	for i := range 3 {
		text := fmt.Sprintf("a%d.example TXT v=spf1", i)
		for j := range maxTerms {
			text += fmt.Sprintf(" ip4:10.%d.%d.%d", i, j/128, j%128*2)
		}
		d.add(text)
	}
	if s, _, err := expand(t.Context(), d, "big.example"); err == nil || !strings.Contains(err.Error(), "more than 4000 ranges") {
		t.Errorf("%d ranges, %v", len(s), err)
	}
}

// lab is a table with a DNS and a log.
type lab struct {
	*Table
	dns *fakeDNS
	log bytes.Buffer
}

func newLab(lines ...string) *lab {
	l := &lab{dns: newDNS(lines...)}
	l.Table = New(slog.New(slog.NewTextHandler(&l.log, nil)))
	return l
}

func (l *lab) of(addr string) string { return l.Of(netip.MustParseAddr(addr)) }

func TestTable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab("a.example TXT v=spf1 ip4:192.0.2.0/24", "b.example TXT v=spf1 ip4:192.0.2.0/23 ip6:2001:db8::/32")
		defer l.Close()
		if got := l.of("192.0.2.1"); got != "" {
			t.Errorf("before anything is known: %q", got)
		}
		l.Configure(l.dns, []string{"a.example", "b.example"})
		synctest.Wait()
		for addr, want := range map[string]string{
			"192.0.2.1": "a.example", "192.0.3.1": "b.example", "::ffff:192.0.3.1": "b.example", "2001:db8::1": "b.example",
			"192.0.4.0": "", "192.0.1.255": "", "0.0.0.0": "", "255.255.255.255": "", "::": "", "fe80::1%eth0": "",
		} {
			if got := l.of(addr); got != want {
				t.Errorf("%s is of %q, want %q", addr, got, want)
			}
		}
		if got := l.Of(netip.Addr{}); got != "" {
			t.Errorf("no address is of %q", got)
		}
		if u := l.Usage(); u.Domains != 2 || u.Known != 2 || u.Failing != 0 || u.Networks != 3 || !u.Oldest.Equal(time.Now()) {
			t.Errorf("%+v", u)
		}
		l.Configure(l.dns, []string{"b.example"})
		synctest.Wait()
		if got := l.of("192.0.2.1"); got != "b.example" {
			t.Errorf("is of %q", got)
		}
		l.Configure(l.dns, nil)
		if got := l.of("192.0.2.1"); got != "" {
			t.Errorf("is of %q, switched off", got)
		}
		if u := l.Usage(); u != (Usage{}) {
			t.Errorf("%+v, switched off", u)
		}
	})
}

// TestFind: of one address is found what the table would know, and nothing where nobody answers.
func TestFind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		names := newDNS("a.example TXT v=spf1 ip4:192.0.2.0/24", "b.example TXT v=spf1 ip4:192.0.2.0/23 ip6:2001:db8::/32",
			"bad.example TXT SERVFAIL", "silent.example TXT SILENT")
		find := func(addr string, domains ...string) string {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			return Find(ctx, names, domains, netip.MustParseAddr(addr))
		}
		for _, c := range []struct{ addr, want string }{
			{"192.0.2.1", "a.example"}, {"::ffff:192.0.3.1", "b.example"}, {"2001:db8::1", "b.example"}, {"192.0.4.0", ""},
		} {
			began := time.Now()
			if got := find(c.addr, "bad.example", "silent.example", "a.example", "b.example"); got != c.want {
				t.Errorf("%s is of %q, want %q", c.addr, got, c.want)
			}
			if took := time.Since(began); took > time.Second {
				t.Errorf("%s took %s", c.addr, took)
			}
		}
		if got := find("192.0.2.1"); got != "" {
			t.Errorf("of no domains %q", got)
		}
	})
}

// TestRefresh: what changes is seen when the TTL says so, and no sooner than the floor.
func TestRefresh(t *testing.T) {
	for _, c := range []struct{ life, after time.Duration }{
		{20 * time.Minute, 20 * time.Minute}, {time.Second, floor}, {48 * time.Hour, ceiling},
	} {
		synctest.Test(t, func(t *testing.T) {
			l := newLab("a.example TXT v=spf1 ip4:192.0.2.0/24")
			defer l.Close()
			l.dns.life = c.life
			l.Configure(l.dns, []string{"a.example"})
			synctest.Wait()
			l.dns.set("a.example TXT v=spf1 ip4:198.51.100.0/24")
			time.Sleep(c.after - time.Second)
			synctest.Wait()
			if got := l.of("192.0.2.1"); got == "" {
				t.Errorf("%s: asked too soon", c.life)
			}
			time.Sleep(time.Second)
			synctest.Wait()
			if l.of("192.0.2.1") != "" || l.of("198.51.100.1") == "" {
				t.Errorf("%s: not asked after %s", c.life, c.after)
			}
			l.dns.mu.Lock()
			defer l.dns.mu.Unlock()
			if l.dns.asked != 2 {
				t.Errorf("%s: %d questions", c.life, l.dns.asked)
			}
		})
	}
}

// TestFailure: what was known serves on, is asked for again and again, and is forgotten after a week.
func TestFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab("a.example TXT v=spf1 ip4:192.0.2.0/24")
		defer l.Close()
		l.Configure(l.dns, []string{"a.example"})
		synctest.Wait()
		began := time.Now()
		l.dns.set("a.example TXT SERVFAIL")
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		if l.of("192.0.2.1") == "" {
			t.Error("forgotten")
		}
		if u := l.Usage(); u.Failing != 1 || u.Known != 1 || !u.Oldest.Equal(began) {
			t.Errorf("%+v", u)
		}
		if got := l.log.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, `level=WARN msg="networks of a big sender can't be found out: the last ones known serve on" domain=a.example networks=1 error="senders: a.example: asked for the record of a.example: server failure"`) {
			t.Errorf("said %s", got)
		}
		l.dns.mu.Lock()
		asked := l.dns.asked
		l.dns.mu.Unlock()
		if asked < 7 || asked > 9 { // at once, after 20, 21, 23, 27, 35, 51, 83 minutes
			t.Errorf("%d questions", asked)
		}
		l.dns.set("a.example TXT v=spf1 ip4:192.0.2.0/25")
		time.Sleep(ceiling)
		synctest.Wait()
		if l.of("192.0.2.1") == "" || l.of("192.0.2.200") != "" || !strings.Contains(l.log.String(), "known again") {
			t.Errorf("not known again: %s", l.log.String())
		}
		l.dns.set("a.example TXT SILENT")
		time.Sleep(keepFor + 3*ceiling)
		synctest.Wait()
		if l.of("192.0.2.1") != "" || !strings.Contains(l.log.String(), "level=ERROR msg=\"networks of a big sender are forgotten") {
			t.Errorf("not forgotten: %s", l.log.String())
		}
		if u := l.Usage(); u.Known != 0 || u.Networks != 0 || !u.Oldest.IsZero() {
			t.Errorf("%+v", u)
		}
	})
}

// TestReconfigure: what is known of a domain outlives a change of the others, and another resolver; the same settings change
// nothing.
func TestReconfigure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab("a.example TXT v=spf1 ip4:192.0.2.0/24")
		l.Configure(l.dns, []string{"a.example"})
		synctest.Wait()
		for range 3 {
			l.Configure(l.dns, []string{"a.example"})
		}
		synctest.Wait()
		if l.dns.asked != 1 {
			t.Errorf("%d questions", l.dns.asked)
		}
		silent := newDNS("a.example TXT SILENT", "c.example TXT SILENT")
		l.Configure(silent, []string{"c.example", "a.example"})
		synctest.Wait()
		if got := l.of("192.0.2.1"); got != "a.example" {
			t.Errorf("is of %q", got)
		}
		l.Close() // and does not wait for the silent one
		l.Close()
		if got := l.of("192.0.2.1"); got != "a.example" {
			t.Errorf("is of %q after the end", got)
		}
	})
}

// TestSideBySide: silent domains keep the others waiting for a while, not for ever.
func TestSideBySide(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab("a.example TXT v=spf1 ip4:192.0.2.0/24")
		defer l.Close()
		var domains []string
		for i := range MaxDomains {
			l.dns.add(fmt.Sprintf("s%d.example TXT SILENT", i))
			domains = append(domains, fmt.Sprintf("s%d.example", i))
		}
		domains[MaxDomains-1] = "a.example"
		l.Configure(l.dns, append(domains, "one-too-many.example"))
		time.Sleep(MaxDomains / sideBySide * maxTime * 2)
		synctest.Wait()
		if got := l.of("192.0.2.1"); got != "a.example" {
			t.Errorf("is of %q", got)
		}
		if u := l.Usage(); u.Domains != MaxDomains || u.Failing != MaxDomains-1 {
			t.Errorf("%+v", u)
		}
	})
}

func TestDefault(t *testing.T) {
	seen := map[string]bool{}
	for _, d := range Default() {
		if name, err := mail.Domain(d); err != nil || name != d || seen[d] {
			t.Errorf("%s: %v", d, err)
		}
		seen[d] = true
	}
	if n := len(Default()); n == 0 || n > MaxDomains {
		t.Errorf("%d domains", n)
	}
}

// TestExpandEnds: an expansion ends with its context.
func TestExpandEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, _, err := expand(ctx, newDNS("a.example TXT SILENT"), "a.example")
	if err == nil || errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}
