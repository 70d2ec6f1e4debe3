package dnsbl

import (
	"context"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/filter/auth"
	"github.com/postern-mail/postern/internal/dns"
	"github.com/postern-mail/postern/mail"
	"github.com/postern-mail/postern/rules/text"
)

// honest are the test entries of a zone.
func honest(zone string) []string {
	return []string{"2.0.0.127." + zone + "=127.0.0.2", "test." + zone + "=127.0.0.2"}
}

const settings = `
lists:
  bl.example: {weight: 2}
  mixed:
    zone: mixed.example
    reason: true
    codes:
      127.0.0.[2;3]: {symbol: MIXED_SPAM, weight: 3}
      127.0.0.[4..7]: {symbol: MIXED_BOT, weight: 4}
      127.0.0.255: error
  wl.example: {weight: -1, codes: {"127.0.[0..255].3": {symbol: WL_HIGH, weight: -4}}}
  names.example: {of: [helo, sender], weight: 1.5}
`

func TestClient(t *testing.T) {
	const seven = "7.113.0.203."
	const six = "8.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2."
	for _, c := range []struct {
		name   string
		client string // 203.0.113.7 if not said
		names  []string
		want   string
	}{
		{name: "on no list"},
		{"on one", "", []string{seven + "bl.example=127.0.0.2"}, "DNSBL_BL_EXAMPLE*1 203.0.113.7: bl.example 127.0.0.2"},
		{"any code counts where none is named", "", []string{seven + "bl.example=127.99.1.7"}, "DNSBL_BL_EXAMPLE*1 203.0.113.7: bl.example 127.99.1.7"},
		{"IPv6", "2001:db8::8", []string{six + "bl.example=127.0.0.2"}, "DNSBL_BL_EXAMPLE*1 2001:db8::8: bl.example 127.0.0.2"},
		{"mapped", "::ffff:203.0.113.7", []string{seven + "bl.example=127.0.0.2"}, "DNSBL_BL_EXAMPLE*1 203.0.113.7: bl.example 127.0.0.2"},
		{
			"a code with its words", "",
			[]string{seven + "mixed.example=127.0.0.3", "TXT " + seven + "mixed.example= https://mixed.example/?203.0.113.7\r\n\u00fc "},
			"MIXED_SPAM*1 203.0.113.7: mixed 127.0.0.3 (https://mixed.example/?203.0.113.7???)",
		},
		{
			"several codes, each symbol once", "",
			[]string{seven + "mixed.example=127.0.0.6 127.0.0.2 127.0.0.4 127.0.0.3 127.0.0.2"},
			"MIXED_SPAM*1 203.0.113.7: mixed 127.0.0.2 127.0.0.3 127.0.0.4 127.0.0.6\nMIXED_BOT*1 203.0.113.7: mixed 127.0.0.2 127.0.0.3 127.0.0.4 127.0.0.6",
		},
		{"a code that is not named", "", []string{seven + "mixed.example=127.0.0.10"}, "*0 203.0.113.7: mixed 127.0.0.10: no code that counts"},
		{
			"one that is beside one that is", "",
			[]string{seven + "mixed.example=127.0.0.10 127.0.0.2"},
			"MIXED_SPAM*1 203.0.113.7: mixed 127.0.0.2 127.0.0.10",
		},
		{"good", "", []string{seven + "wl.example=127.0.9.3"}, "WL_HIGH*1 203.0.113.7: wl.example 127.0.9.3"},
		{"less good", "", []string{seven + "wl.example=127.0.9.1"}, "DNSWL_WL_EXAMPLE*1 203.0.113.7: wl.example 127.0.9.1"},
		{
			"all at once", "",
			[]string{seven + "wl.example=127.0.9.3", seven + "bl.example=127.0.0.2", seven + "mixed.example=127.0.0.5"},
			"DNSBL_BL_EXAMPLE*1 203.0.113.7: bl.example 127.0.0.2\nMIXED_BOT*1 203.0.113.7: mixed 127.0.0.5\nWL_HIGH*1 203.0.113.7: wl.example 127.0.9.3",
		},
		{"an error", "", []string{seven + "bl.example=127.255.255.254"}, "DNSBL_UNKNOWN?*1 bl.example 127.255.255.254: it answers with an error"},
		{"an error beside a code", "", []string{seven + "bl.example=127.0.0.2 127.255.255.1"}, "DNSBL_UNKNOWN?*1 bl.example 127.0.0.2 127.255.255.1: it answers with an error"},
		{"a resolver that lies", "", []string{seven + "bl.example=198.51.100.80"}, "DNSBL_UNKNOWN?*1 bl.example 198.51.100.80: it answers with an error"},
		{"127.0.0.1 is no code", "", []string{seven + "bl.example=127.0.0.1"}, "DNSBL_UNKNOWN?*1 bl.example 127.0.0.1: it answers with an error"},
		{"nor is 127.0.0.255", "", []string{seven + "bl.example=127.0.0.255"}, "DNSBL_UNKNOWN?*1 bl.example 127.0.0.255: it answers with an error"},
		{"an error by configuration", "", []string{seven + "mixed.example=127.0.0.255"}, "DNSBL_UNKNOWN?*1 mixed 127.0.0.255: it answers with an error"},
		{
			"faults", "",
			[]string{seven + "bl.example=SERVFAIL", seven + "mixed.example=SILENT", seven + "wl.example=BUDGET"},
			"DNSBL_UNKNOWN?*1 bl.example: server failure; mixed: no answer; wl.example: the check has asked enough",
		},
		{"words that do not come", "", []string{seven + "mixed.example=127.0.0.2", "TXT " + seven + "mixed.example=SILENT"}, "MIXED_SPAM*1 203.0.113.7: mixed 127.0.0.2"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				for _, z := range []string{"bl.example", "mixed.example", "wl.example"} {
					c.names = append(c.names, honest(z)...)
				}
				l := newLab(t, settings, c.names...)
				if c.client == "" {
					c.client = "203.0.113.7"
				}
				began := time.Now()
				if got := l.client(c.client); got != c.want {
					t.Errorf("got\n%s\nwant\n%s", got, c.want)
				}
				if took := time.Since(began); took > defaultBudget {
					t.Errorf("took %s", took)
				}
			})
		})
	}
}

// TestFamilies: IPv6 has test entries of its own, and need not have that which each list should have.
func TestFamilies(t *testing.T) {
	l := newLab(t, "lists: {bl.example: {weight: 2}}", honest("bl.example")...)
	for _, c := range []struct{ client, want string }{
		{"203.0.113.7", "1.0.0.127.bl.example 2.0.0.127.bl.example 7.113.0.203.bl.example"},
		{"203.0.113.8", "8.113.0.203.bl.example"},
		{"2001:db8::8", "1.0.0.0.0.0.f.7.f.f.f.f.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.bl.example 8.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.bl.example"},
		{"2001:db8::9", "9.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.bl.example"},
	} {
		if got := l.client(c.client); got != "" {
			t.Errorf("%s: %s", c.client, got)
		}
		if got := strings.Join(l.dns.questions(), " "); got != c.want {
			t.Errorf("%s asked %s", c.client, got)
		}
	}
	if got := l.said(); got != "" {
		t.Errorf("said %s", got)
	}
	// RFC 5782 5: the entries are those of ::FFFF:7F00:1 and ::FFFF:7F00:2.
	if got := text.Reversed(netip.AddrFrom16([16]byte{10: 0xff, 11: 0xff, 12: 127, 15: 1})); got != tests[ipv6].never {
		t.Errorf("the test entry of IPv6 is %s", got)
	}
}

func TestNames(t *testing.T) {
	for _, c := range []struct{ name, helo, from, want string }{
		{name: "neither is listed", helo: "good.example", from: "a@good.example"},
		{name: "HELO", helo: "Bad.Example.", from: "a@good.example", want: "DNSBL_NAMES_EXAMPLE*1 bad.example: names.example 127.0.1.2"},
		{name: "sender", helo: "good.example", from: "a@bad.example", want: "DNSBL_NAMES_EXAMPLE*1 bad.example: names.example 127.0.1.2"},
		{name: "null reverse-path", helo: "good.example"},
		{name: "literals", helo: "[203.0.113.7]", from: "a@[203.0.113.7]"},
		{name: "addresses", helo: "203.0.113.7"},
		{name: "one label", helo: "bad"},
		{name: "no name", helo: "a b"},
		{name: "our own", helo: "mx.example.org", from: "a@example.org"},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := newLab(t, settings, append(honest("names.example"),
				"bad.example.names.example=127.0.1.2", "*.203.names.example=127.0.1.255", "bad.names.example=127.0.1.2",
				"mx.example.org.names.example=127.0.1.2", "example.org.names.example=127.0.1.2")...)
			s := client("203.0.113.7")
			s.Helo = c.helo
			var from mail.Address
			if c.from != "" {
				var err error
				if from, err = mail.ParseAddress(c.from); err != nil {
					t.Fatal(err)
				}
			}
			got := strings.TrimSpace(l.ask(filter.Helo, s, from) + "\n" + l.ask(filter.Mail, s, from))
			if got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

// TestNotForOurOwn: relay clients, exempt networks, private addresses and a client that nobody knows are asked about
// nowhere, and neither are the names that they give.
func TestNotForOurOwn(t *testing.T) {
	l := newLab(t, settings)
	relay, exempt := client("203.0.113.7"), client("203.0.113.7")
	relay.Relay, exempt.Exempt = true, true
	all := []*filter.Session{relay, exempt, {}}
	for _, a := range []string{"127.0.0.1", "10.1.2.3", "172.31.0.1", "192.168.1.1", "169.254.1.1", "100.64.0.1", "0.1.2.3", "192.0.0.8", "224.0.0.1", "255.255.255.255", "::1", "fe80::1%eth0", "fd00::1", "ff02::1", "::", "::ffff:10.0.0.1"} {
		all = append(all, client(a))
	}
	from, err := mail.ParseAddress("a@bad.example")
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range all {
		s.Helo = "bad.example"
		for _, ph := range []filter.Phase{filter.Connect, filter.Helo, filter.Mail} {
			if got := l.ask(ph, s, from); got != "" {
				t.Errorf("%v: %s", s.Client, got)
			}
		}
	}
	if q := l.dns.questions(); len(q) > 0 {
		t.Errorf("asked %q", q)
	}
}

// TestFacts: what each list said is there for metrics and for other filters, also that it could not tell.
func TestFacts(t *testing.T) {
	l := newLab(t, settings, append(append(honest("bl.example"), honest("mixed.example")...), "7.113.0.203.mixed.example=127.0.0.2", "TXT 7.113.0.203.mixed.example=why", "7.113.0.203.wl.example=SERVFAIL")...)
	r, err := l.f.Check(t.Context(), &filter.Input{Phase: filter.Connect, Session: client("203.0.113.7")})
	if err != nil {
		t.Fatal(err)
	}
	got, _ := auth.Lists.Among(r.Facts)
	want := []auth.ListResult{
		{List: "bl.example", Of: "client", Result: auth.ListClean},
		{List: "mixed", Of: "client", Result: auth.ListListed, Codes: []string{"127.0.0.2"}, Reason: "why"},
		{List: "wl.example", Of: "client", Result: auth.ListFailed, Reason: "server failure"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	if diff := cmp.Diff([]string{"bl.example", "mixed", "names.example", "wl.example"}, l.spec.Lists); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

// TestSessionEnds: a session that is over is no result, and says nothing of the list.
func TestSessionEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, "lists: {bl.example: {weight: 2}}", "*.bl.example=SILENT")
		for range 2 * maxFailures {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			limited := func() context.Context {
				c, end := context.WithCancel(ctx)
				time.AfterFunc(10*time.Millisecond, end)
				return c
			}()
			if r, err := l.f.Check(limited, &filter.Input{Phase: filter.Connect, Session: client("203.0.113.7")}); err == nil {
				t.Fatalf("got %+v", r)
			}
			cancel()
		}
		if got := l.client("203.0.113.7"); got != "DNSBL_UNKNOWN?*1 bl.example: no answer" {
			t.Errorf("got %s", got)
		}
	})
}

// TestStageEndsFirst: with less time than the budget, the lists have what is left but for a margin.
func TestStageEndsFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, "budget: 15s\nlists: {bl.example: {weight: 2}}", "*.bl.example=SILENT")
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		began := time.Now()
		r, err := l.f.Check(ctx, &filter.Input{Phase: filter.Connect, Session: client("203.0.113.7")})
		if err != nil || shown(r) != "DNSBL_UNKNOWN?*1 bl.example: no answer" || time.Since(began) != 4*time.Second {
			t.Errorf("%s, %v after %s", shown(r), err, time.Since(began))
		}
	})
}

// TestOtherResolver: a resolver that asks for both families only will do.
func TestOtherResolver(t *testing.T) {
	f := &fakeDNS{names: map[string]string{"7.113.0.203.bl.example": "127.0.0.2"}}
	l := &lab{t: t, dns: f}
	if err := l.open("lists: {bl.example: {weight: 2}}", bothFamilies{f}); err != nil {
		t.Fatal(err)
	}
	if got := l.client("203.0.113.7"); got != "DNSBL_BL_EXAMPLE*1 203.0.113.7: bl.example 127.0.0.2" {
		t.Errorf("got %s", got)
	}
}

var _ addresses = (*dns.Resolver)(nil)
