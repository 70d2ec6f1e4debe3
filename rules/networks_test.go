package rules

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/postern-mail/postern/rules/text"
)

// TestNetworks: which addresses are believed, ours, and of our users, by the lines of files.
func TestNetworks(t *testing.T) {
	for _, c := range []struct{ lines, addr, want string }{
		{"", "10.0.1.1", ""},
		{"trusted_networks 10.0.1/24", "10.0.1.1", "trusted internal"},
		{"trusted_networks 10.0.1.", "10.0.1.200", "trusted internal"},
		{"trusted_networks 10", "10.9.9.9", "trusted internal"},
		{"trusted_networks 10.0.1", "10.0.2.1", ""},
		{"trusted_networks 192.0.2.0/255.255.255.128", "192.0.2.127", "trusted internal"},
		{"trusted_networks 192.0.2.0/255.255.255.128", "192.0.2.128", ""},
		{"trusted_networks 010.000.001.001", "10.0.1.1", "trusted internal"},
		{"trusted_networks ::ffff:10.0.1.0/120", "10.0.1.9", "trusted internal"},
		{"trusted_networks [2001:db8::]/32 2001:db9::1", "2001:db8:7::9", "trusted internal"},
		{"trusted_networks [2001:db8::]/32 2001:db9::1", "2001:db9::2", ""},
		{"trusted_networks !10.0.1.5 10.0.1/24", "10.0.1.5", ""},
		{"trusted_networks !10.0.1.5 10.0.1/24", "10.0.1.4", "trusted internal"},
		{"trusted_networks !10.0.1.5 10.0.1/24", "10.0.1.6", "trusted internal"},
		{"trusted_networks !10/8 10.0.1/24", "10.0.1.6", ""},
		{"trusted_networks 10.0.1.5 !10.0.1/24 10/8", "10.0.1.5", "trusted internal"},
		{"trusted_networks 2001:db8:1::1 !2001:db8:1::/64 2001:db8::/32", "2001:db8:1::2", ""},
		{"trusted_networks 2001:db8:1::1 !2001:db8:1::/64 2001:db8::/32", "2001:db8:1::1", "trusted internal"},
		{"trusted_networks 10/8\ninternal_networks 10.0.1/24", "10.9.9.9", "trusted"},
		{"trusted_networks 10/8\ninternal_networks !0/0", "10.9.9.9", "trusted"},
		{"internal_networks 10.0.1/24", "10.0.1.1", "trusted internal"},
		{"trusted_networks 10/8\nmsa_networks 10.0.1.1", "10.0.1.1", "trusted internal msa"},
		{"trusted_networks 10/8\nclear_trusted_networks\ntrusted_networks 192.0.2.1", "10.0.1.1", ""},
	} {
		s, problems := load(t, c.lines, Options{})
		o, addr := s.Texts(), netip.MustParseAddr(c.addr)
		var got []string
		for _, k := range []struct {
			name string
			nets text.Networks
		}{{"trusted", o.Trusted}, {"internal", o.Internal}, {"msa", o.MSA}} {
			if k.nets.Has(addr) {
				got = append(got, k.name)
			}
		}
		if strings.Join(got, " ") != c.want || len(problems) > 0 {
			t.Errorf("%q: %s is %q, not %q; %v", c.lines, c.addr, got, c.want, problems)
		}
	}
}

func TestNetworksAsWritten(t *testing.T) {
	for _, c := range []struct {
		lines    string
		o        Options
		severity Severity
		why      string
	}{
		{"trusted_networks", Options{}, Fault, "no network is named"},
		{"trusted_networks 10.0.1.256", Options{}, Fault, "is no network"},
		{"trusted_networks 10.0.1.1-10.0.1.9", Options{}, Fault, "is no network"},
		{"trusted_networks 10/33", Options{}, Fault, "is no network"},
		{"trusted_networks 10/255.0.255.0", Options{}, Fault, "is no network"},
		{"trusted_networks mx.example.org", Options{}, Fault, "is no network"},
		{"trusted_networks 10.0.0.0.", Options{}, Fault, "is no network"},
		{"trusted_networks fe80::1%eth0", Options{}, Fault, "is no network"},
		{"internal_networks 10/8 !10.0.1.1", Options{}, Inexact, "excludes nothing"},
		{"internal_networks 10.0.1.0/24 10.0.2.0/24\ntrusted_networks 10.0.2.0/24", Options{}, Fault, "internal_networks: 10.0.1.0/24 is not taken"},
		{"trusted_networks 10/8\ntrusted_networks 192.0.2.1", Options{Networks: true}, Inexact, "the filter's keys trusted and internal are set"},
	} {
		_, problems := load(t, c.lines, c.o)
		if len(problems) != 1 || problems[0].Severity != c.severity || !strings.Contains(problems[0].What, c.why) {
			t.Errorf("%q: %v", c.lines, problems)
		}
	}
	var many strings.Builder
	for i := range maxNetworks + 1 {
		fmt.Fprintf(&many, "msa_networks 10.%d.%d.1\n", i>>8, i&255)
	}
	if _, problems := load(t, many.String(), Options{}); len(problems) != 1 || !strings.Contains(problems[0].What, "more than 2000") {
		t.Errorf("%v", problems)
	}
}

// TestNetworksStayAsWritten: exclusions in large networks, over and over, take no more room than the lines, and the first that holds an
// address decides.
func TestNetworksStayAsWritten(t *testing.T) {
	var lines strings.Builder
	for i := range 400 {
		fmt.Fprintf(&lines, "trusted_networks !2001:db8:%x::1\n", i)
	}
	lines.WriteString(strings.Repeat("trusted_networks ::/0\n", 150))
	s := mustLoad(t, lines.String())
	o := s.Texts()
	if len(o.Trusted) != 550 {
		t.Errorf("%d networks", len(o.Trusted))
	}
	for addr, want := range map[string]bool{"2001:db8:18f::1": false, "2001:db8:18f::2": true, "2001:db8:190::1": true, "192.0.2.1": false} {
		if o.Trusted.Has(netip.MustParseAddr(addr)) != want {
			t.Errorf("%s: not %v", addr, want)
		}
	}
}

// TestNetworksOfWrongLines: a line of which one word is wrong is not taken, which the problem says; those beside it are.
func TestNetworksOfWrongLines(t *testing.T) {
	s, problems := load(t, "trusted_networks 10.0.0.1\ntrusted_networks 10.0.0.2 wrong 10.0.0.3\ntrusted_networks 10.0.0.4\n", Options{})
	if len(problems) != 1 || !strings.Contains(problems[0].What, "the line is not taken") {
		t.Errorf("%v", problems)
	}
	if got := s.Texts().Trusted; len(got) != 2 || !got.Has(netip.MustParseAddr("10.0.0.4")) || got.Has(netip.MustParseAddr("10.0.0.2")) {
		t.Errorf("%v", got)
	}
}

// TestNetworksWithinTrusted: what is said to be internal and is not trusted is neither. SpamAssassin 4.0.1 takes the same.
func TestNetworksWithinTrusted(t *testing.T) {
	for _, c := range []struct {
		name, lines       string
		internal, foreign string // addresses that are internal, and that are not
		dropped           int
	}{
		{name: "a host of two", lines: "trusted_networks 10.1.2.0/24 203.0.113.7\ninternal_networks 10.1.2.0/24 203.0.113.0/24", internal: "10.1.2.3", foreign: "203.0.113.7 203.0.113.8", dropped: 1},
		{name: "before trusted_networks", lines: "internal_networks 10.1.2.0/24 203.0.113.7\ntrusted_networks 10.1.2.0/24", internal: "10.1.2.3", foreign: "203.0.113.7", dropped: 1},
		{name: "none is left", lines: "trusted_networks 10.1.2.0/24\ninternal_networks 203.0.113.7", internal: "127.0.0.1", foreign: "10.1.2.3 203.0.113.7", dropped: 1},
		{name: "none is named", lines: "trusted_networks 10.1.2.0/24", internal: "10.1.2.3"},
		{name: "no trusted_networks", lines: "internal_networks 10.1.2.0/24", internal: "10.1.2.3"},
		{name: "excluded", lines: "trusted_networks !10.1.2.0/24 10/8\ninternal_networks 10.1.2.4 10.1.3.4", internal: "10.1.3.4", foreign: "10.1.2.4", dropped: 1},
		{name: "excludes", lines: "trusted_networks 10.1.2.0/24\ninternal_networks !203.0.113.7 10.1.2.4", internal: "10.1.2.4", foreign: "203.0.113.7"},
		{name: "this host", lines: "trusted_networks 10.1.2.0/24\ninternal_networks 127.0.0.1 10.1.2.4", internal: "10.1.2.4 127.0.0.1", foreign: "10.1.2.3"},
		{name: "two halves", lines: "trusted_networks 10.1.2.0/25 10.1.2.128/25\ninternal_networks 10.1.2.0/24", foreign: "10.1.2.3", dropped: 1},
		{name: "cleared", lines: "trusted_networks 10.1.2.0/24\ninternal_networks 203.0.113.7\nclear_internal_networks\ninternal_networks 10.1.2.4", internal: "10.1.2.4", foreign: "203.0.113.7 10.1.2.3"},
		{name: "hosts that people send from", lines: "internal_networks 10.1.2.0/24\nmsa_networks 10.1.2.4 192.0.2.1", internal: "10.1.2.4", dropped: 1},
	} {
		s, problems := load(t, c.lines, Options{})
		if len(problems) != c.dropped {
			t.Errorf("%s: %v", c.name, problems)
		}
		o := s.Texts()
		for is, all := range map[bool]string{true: c.internal, false: c.foreign} {
			for a := range strings.FieldsSeq(all) {
				if addr := netip.MustParseAddr(a); (addr.IsLoopback() || o.Internal.Has(addr)) != is {
					t.Errorf("%s: %s is internal: %v", c.name, a, !is)
				}
			}
		}
		if o.MSA.Has(netip.MustParseAddr("192.0.2.1")) {
			t.Errorf("%s: who is foreign is one of ours", c.name)
		}
	}
}
