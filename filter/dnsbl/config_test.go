package dnsbl

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/postern-mail/postern/filter"
)

func TestPatterns(t *testing.T) {
	for _, c := range []struct {
		text     string
		has, not string
		fails    string
	}{
		{text: "127.0.0.2", has: "127.0.0.2", not: "127.0.0.1 127.0.0.3 127.0.1.2 127.1.0.2 126.0.0.2"},
		{text: "127.0.0.[2..11]", has: "127.0.0.2 127.0.0.7 127.0.0.11", not: "127.0.0.1 127.0.0.12"},
		{text: "127.0.0.[2;4..6;255]", has: "127.0.0.2 127.0.0.4 127.0.0.6 127.0.0.255", not: "127.0.0.3 127.0.0.7"},
		{text: "127.0.[0..255].[1;3]", has: "127.0.0.1 127.0.255.3", not: "127.0.7.2 127.1.0.1"},
		{text: "[127].[0].[0].[2]", has: "127.0.0.2", not: "127.0.0.3"},
		{text: "", fails: "is no code"},
		{text: "127.0.0", fails: "is no code"},
		{text: "127.0.0.2.3", fails: "is no code"},
		{text: "127.0.0.2.", fails: "is no code"},
		{text: "127.0.0.[2", fails: "bracket is not closed"},
		{text: "127.0.0.[2]3", fails: "is no code"},
		{text: "127.0.[0]0.2", fails: "is no code"},
		{text: "127.0.0.2]", fails: "an octet is a number"},
		{text: "127.0.0.2;3", fails: "is no code"},
		{text: "127.0.0.[]", fails: "an octet is a number"},
		{text: "127.0.0.[5..2]", fails: "range 5..2 is empty"},
		{text: "127.0.0.[1..2..3]", fails: "an octet is a number"},
		{text: "127.0.0.256", fails: "an octet is a number"},
		{text: "127.0.0.02", fails: "an octet is a number"},
		{text: "127.0.0.+2", fails: "an octet is a number"},
		{text: "127.0.0.*", fails: "an octet is a number"},
		{text: "127.0.0.0/24", fails: "an octet is a number"},
		{text: "128.0.0.2", fails: "no code begins with anything but 127"},
		{text: "[126..127].0.0.2", fails: "no code begins with anything but 127"},
	} {
		t.Run(c.text, func(t *testing.T) {
			p, err := parsePattern(c.text)
			if c.fails != "" {
				if err == nil || !strings.Contains(err.Error(), c.fails) || !strings.Contains(err.Error(), patternForm) {
					t.Errorf("error %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range strings.Fields(c.has) {
				if !p.has(netip.MustParseAddr(s)) {
					t.Errorf("has no %s", s)
				}
			}
			for _, s := range strings.Fields(c.not) {
				if p.has(netip.MustParseAddr(s)) {
					t.Errorf("has %s", s)
				}
			}
		})
	}
}

func FuzzPattern(f *testing.F) {
	for _, s := range []string{"127.0.0.2", "127.0.0.[2..11]", "127.0.[0..255].[1;3]", "127.0.0.[", "[127].[0].[0].[2;]", "127.0.0.[2..", "127...2"} {
		f.Add(s, byte(0), byte(2))
	}
	f.Fuzz(func(t *testing.T, s string, c, d byte) {
		p, err := parsePattern(s)
		if err != nil {
			return
		}
		if p.has(netip.AddrFrom4([4]byte{126, 0, c, d})) {
			t.Errorf("%q has what is no code", s)
		}
		if q := p; !p.meets(&q) {
			t.Errorf("%q is empty", s)
		}
		// An address is in it if and only if the pattern of that address alone meets it.
		a := netip.AddrFrom4([4]byte{127, 0, c, d})
		single, err := parsePattern(a.String())
		if err != nil {
			t.Fatal(err)
		}
		if p.has(a) != p.meets(&single) {
			t.Errorf("%q and %s: %v", s, a, p.has(a))
		}
	})
}

func TestSymbols(t *testing.T) {
	l := newLab(t, settings)
	var got []string
	for _, s := range l.spec.Symbols {
		got = append(got, fmt.Sprintf("%s %g", s.Name, s.Weight))
	}
	want := []string{"DNSBL_BL_EXAMPLE 2", "MIXED_SPAM 3", "MIXED_BOT 4", "DNSBL_NAMES_EXAMPLE 1.5", "DNSWL_WL_EXAMPLE -1", "WL_HIGH -4", "DNSBL_UNKNOWN 0"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
	if l.spec.Phases != filter.In(filter.Connect, filter.Helo, filter.Mail) {
		t.Errorf("phases %b", l.spec.Phases)
	}
	if l := newLab(t, one); l.spec.Phases != filter.In(filter.Connect) {
		t.Errorf("phases %b", l.spec.Phases)
	}
	if l := newLab(t, "{}"); l.spec.Phases != filter.In(filter.Connect) || l.client("203.0.113.7") != "" {
		t.Errorf("phases %b without lists", l.spec.Phases)
	}
	// Two codes of two lists may share a symbol.
	l = newLab(t, "lists: {a.example: {weight: 2, symbol: S}, b.example: {codes: {127.0.0.2: {symbol: S, weight: 2}}}}")
	if len(l.spec.Symbols) != 2 {
		t.Errorf("symbols %v", l.spec.Symbols)
	}
}

func TestConfigurationErrors(t *testing.T) {
	many := "lists: {"
	for i := range maxLists + 1 {
		many += fmt.Sprintf("l%d: {zone: l.example, weight: 1}, ", i)
	}
	codes := "lists: {bl.example: {codes: {"
	for i := range maxCodes + 1 {
		codes += fmt.Sprintf("127.0.1.%d: error, ", i)
	}
	for _, c := range []struct{ settings, want string }{
		{"budget: 50ms", "from 100ms to 15s is allowed"},
		{"budget: 16s", "from 100ms to 15s is allowed"},
		{many + "}", "at most 32 are allowed"},
		{codes + "}}}", "at most 64 are allowed"},
		{"lists: {bl.example: {}}", "bl.example: weight is missing"},
		{"lists: {bl.example: {weight: 2000}}", "from -1000 to 1000 is allowed"},
		{"lists: {bl: {weight: 2}}", "no zone of the DNS"},
		{"lists: {bl: {zone: a..b, weight: 2}}", "no zone of the DNS"},
		{"lists: {bl: {zone: " + strings.Repeat("a.", 95) + "example, weight: 2}}", "no zone of the DNS"},
		{"lists: {\"a b\": {zone: bl.example, weight: 2}}", "a list's name is of letters"},
		{"lists: {" + strings.Repeat("a", 65) + ": {zone: bl.example, weight: 2}}", "a list's name is of letters"},
		{"lists: {" + strings.Repeat("a", 64) + ": {zone: bl.example, weight: 2}}", "can't be a symbol"},
		{"lists: {bl.example: {weight: 2, of: rcpt}}", "is none of client, helo, sender"},
		{"lists: {bl.example: {weight: 2, symbol: lower}}", "can't be a symbol"},
		{"lists: {bl.example: {weight: 2, symbol: DNSBL_UNKNOWN}}", "is taken"},
		{"lists: {bl.example: {symbol: S, codes: {127.0.0.2: {symbol: T, weight: 1}}}}", "symbol is for codes"},
		{"lists: {bl.example: {codes: {127.0.0.2: {weight: 1}}}}", "both needed"},
		{"lists: {bl.example: {codes: {127.0.0.2: {symbol: T}}}}", "both needed"},
		{"lists: {bl.example: {codes: {127.0.0.2: {symbol: t, weight: 1}}}}", "can't be a symbol"},
		{"lists: {bl.example: {codes: {127.0.0.2: listed}}}", "or the word error"},
		{"lists: {bl.example: {codes: {127.0.0.300: error}}}", "an octet is a number"},
		{"lists: {bl.example: {codes: {\"127.0.0.[2..5]\": error, 127.0.0.3: error}}}", "have a code in common"},
		{"lists: {bl.example: {codes: {\"127.0.0.&3\": error}}}", "a bit is 1, 2, 4, 8"},
		{"lists: {bl.example: {codes: {\"127.0.0.&\": error}}}", "a bit is 1, 2, 4, 8"},
		{"names: 0", "names: from 1 to 50"},
		{"skip: ['a b']", "skip: \"a b\" is no domain"},
		{"lists: {a.example: {weight: 2, symbol: S}, b.example: {weight: 3, symbol: S}}", "b.example: S has two weights, 2 and 3"},
		{"list: {}", "unknown field"},
	} {
		l := &lab{t: t, dns: &fakeDNS{}}
		if err := l.open(c.settings, l.dns); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s", c.settings, err, c.want)
		}
	}
}
