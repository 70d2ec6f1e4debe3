package pregreet

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/goccy/go-yaml"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/mail"
)

// fakeDNS has addresses of names; SERVFAIL and SILENT are faults.
type fakeDNS struct {
	addr  map[string]string
	asked []string
}

func (f *fakeDNS) LookupIPAddr(ctx context.Context, host string) (all []net.IPAddr, err error) {
	f.asked = append(f.asked, host)
	value, ok := f.addr[host]
	switch {
	case !ok:
		return nil, &net.DNSError{Name: host, Err: "no such host", IsNotFound: true}
	case value == "SERVFAIL":
		return nil, &net.DNSError{Name: host, Err: "servfail", IsTemporary: true}
	case value == "SILENT":
		<-ctx.Done()
		return nil, &net.DNSError{Name: host, Err: "no answer", IsTemporary: true, IsTimeout: true}
	}
	for _, a := range strings.Fields(value) {
		all = append(all, net.IPAddr{IP: net.ParseIP(a)})
	}
	return all, nil
}

func (f *fakeDNS) LookupTXT(context.Context, string) ([]string, error) { panic("not asked for") }

func (f *fakeDNS) LookupMX(context.Context, string) ([]*net.MX, error) { panic("not asked for") }

func (f *fakeDNS) LookupAddr(context.Context, string) ([]string, error) { panic("not asked for") }

func newFilter(t testing.TB, settings string, addr map[string]string) (filter.Filter, *fakeDNS, error) {
	t.Helper()
	d := &fakeDNS{addr: addr}
	spec, f, err := Factory.New(filter.Env{
		Name: "pregreet", Hostname: "MX.example.org", DNS: d, Ours: func(d string) bool { return mail.Within(d, "example.org") },
	}, func(v any) error { return yaml.UnmarshalWithOptions([]byte(settings), v, yaml.Strict()) })
	if err == nil && spec.Phases != filter.In(filter.Connect, filter.Helo) {
		t.Errorf("phases %b", spec.Phases)
	}
	return f, d, err
}

func session(client string) *filter.Session {
	return &filter.Session{Client: netip.AddrPortFrom(netip.MustParseAddr(client), 4711), Server: netip.MustParseAddrPort("198.51.100.25:25")}
}

func shown(r filter.Result) string {
	var all []string
	for _, f := range r.Findings {
		all = append(all, fmt.Sprintf("%s*%g %s", f.Symbol, f.Strength, f.Detail))
	}
	return strings.Join(all, "\n")
}

func TestEarlyTalker(t *testing.T) {
	for _, c := range []struct {
		name, settings string
		early          bool
		want, reply    string
		propose        filter.Action
	}{
		{name: "waits", settings: "action: reject"},
		{name: "by default", early: true, want: "EARLY_TALKER*1 203.0.113.7"},
		{name: "score", settings: "action: score", early: true, want: "EARLY_TALKER*1 203.0.113.7"},
		{name: "tag", settings: "action: tag", early: true, want: "EARLY_TALKER*1 203.0.113.7", propose: filter.Tag},
		{name: "defer", settings: "action: defer", early: true, want: "EARLY_TALKER*1 203.0.113.7", propose: filter.Defer, reply: "450 4.5.1 Protocol error: you spoke before you were greeted"},
		{name: "reject", settings: "action: reject", early: true, want: "EARLY_TALKER*1 203.0.113.7", propose: filter.Reject, reply: "550 5.5.1 Protocol error: you spoke before you were greeted"},
		{name: "off", settings: "{action: reject, off: [EARLY_TALKER]}", early: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			f, _, err := newFilter(t, c.settings, nil)
			if err != nil {
				t.Fatal(err)
			}
			s := session("203.0.113.7")
			s.Early = c.early
			r, err := f.Check(t.Context(), &filter.Input{Phase: filter.Connect, Session: s})
			if err != nil || shown(r) != c.want || r.Propose != c.propose || r.Hold != (c.reply != "") {
				t.Errorf("%q, %v, proposes %v, held %v", shown(r), err, r.Propose, r.Hold)
			}
			if got := r.Reply; (got == nil) != (c.reply == "") || got != nil && got.String() != c.reply {
				t.Errorf("reply %v", got)
			}
			for _, change := range []func(*filter.Session){func(s *filter.Session) { s.Relay = true }, func(s *filter.Session) { s.Exempt = true }} {
				if r, err := f.Check(t.Context(), &filter.Input{Phase: filter.Connect, Session: s.With(change)}); err != nil || shown(r) != "" || r.Propose != filter.Continue {
					t.Errorf("of ours: %q, %v", shown(r), err)
				}
			}
		})
	}
}

func TestHelo(t *testing.T) {
	addr := map[string]string{
		"h.example": "203.0.113.7", "two.example": "192.0.2.9 203.0.113.7", "six.example": "2001:db8::8", "other.example": "192.0.2.9",
		"broken.example": "SERVFAIL", "slow.example": "SILENT", "xn--h-eha.example": "203.0.113.7",
		"example.org": "198.51.100.25", "branch.example.org": "203.0.113.7", "slow.example.org": "SILENT",
		"203-0-113-7.isp.example": "203.0.113.7", "dsl-77.isp.example": "203.0.113.7", "mail-dsl7.isp.example": "203.0.113.7",
		"x7.adsl.isp.example": "SERVFAIL",
	}
	for _, c := range []struct{ name, helo, ptr, client, want string }{
		{name: "the confirmed name", helo: "P.example.", ptr: "p.example"},
		{name: "leads to the client", helo: "h.example", ptr: "p.example"},
		{name: "leads to the client, without a confirmed name", helo: "H.Example"},
		{name: "one of its addresses", helo: "two.example"},
		{name: "IPv6", helo: "six.example", client: "2001:db8::8"},
		{name: "in U-labels", helo: "h\u00fc.example"},
		{name: "leads elsewhere", helo: "other.example", want: "HELO_MISMATCH*1 other.example"},
		{name: "another family", helo: "h.example", client: "2001:db8::8", want: "HELO_MISMATCH*1 h.example"},
		{name: "leads nowhere", helo: "nowhere.example", ptr: "p.example", want: "HELO_UNRESOLVABLE*1 nowhere.example"},
		{name: "local", helo: "localhost.localdomain", want: "HELO_UNRESOLVABLE*1 localhost.localdomain"},
		{name: "can't be told", helo: "broken.example"},
		{name: "no answer", helo: "slow.example"},

		{name: "our name", helo: "mx.EXAMPLE.org", want: "HELO_OURS*1 mx.EXAMPLE.org"},
		{name: "our name, confirmed by whom he asks", helo: "mx.example.org", ptr: "mx.example.org", want: "HELO_OURS*1 mx.example.org"},
		{name: "our address", helo: "198.51.100.25", want: "HELO_OURS*1 198.51.100.25"},
		{name: "our address in brackets", helo: "[198.51.100.25]", want: "HELO_OURS*1 [198.51.100.25]"},
		{name: "our domain", helo: "example.org", want: "HELO_OUR_DOMAIN*1 example.org"},
		{name: "a name of ours that is nowhere", helo: "pc7.example.org", want: "HELO_OUR_DOMAIN*1 pc7.example.org"},
		{name: "a branch of ours", helo: "branch.example.org"},
		{name: "a name of ours that can't be asked for", helo: "slow.example.org"},

		{name: "one label", helo: "localhost", want: "HELO_NOT_FULL*1 localhost"},
		{name: "an address", helo: "203.0.113.7", want: "HELO_BARE_ADDRESS*1 203.0.113.7"},
		{name: "another address", helo: "10.0.0.1", want: "HELO_BARE_ADDRESS*1 10.0.0.1"},
		{name: "an IPv6 address", helo: "2001:db8::8", want: "HELO_BARE_ADDRESS*1 2001:db8::8"},
		{name: "no address", helo: "203.0.113.777", want: "HELO_INVALID*1 203.0.113.777"},
		{name: "no name", helo: "a b;c", want: "HELO_INVALID*1 a b;c"},
		{name: "empty label", helo: "a..example", want: "HELO_INVALID*1 a..example"},

		{name: "a literal", helo: "[203.0.113.7]", want: "HELO_LITERAL*1 [203.0.113.7]"},
		{name: "an IPv6 literal", helo: "[IPv6:2001:db8::8]", client: "2001:db8::8", want: "HELO_LITERAL*1 [IPv6:2001:db8::8]"},
		{name: "in another case", helo: "[ipv6:2001:DB8::8]", client: "2001:db8::8", want: "HELO_LITERAL*1 [ipv6:2001:DB8::8]"},
		{name: "of another address", helo: "[192.168.1.10]", want: "HELO_LITERAL_OTHER*1 [192.168.1.10]"},
		{name: "of another IPv6 address", helo: "[IPv6:2001:db8::9]", client: "2001:db8::8", want: "HELO_LITERAL_OTHER*1 [IPv6:2001:db8::9]"},
		{name: "half a literal", helo: "[203.0.113.7", want: "HELO_LITERAL_MALFORMED*1 [203.0.113.7"},
		{name: "without its tag", helo: "[2001:db8::8]", client: "2001:db8::8", want: "HELO_LITERAL_MALFORMED*1 [2001:db8::8]"},
		{name: "with a wrong tag", helo: "[IPv6:203.0.113.7]", want: "HELO_LITERAL_MALFORMED*1 [IPv6:203.0.113.7]"},
		{name: "with a zone", helo: "[IPv6:fe80::1%eth0]", want: "HELO_LITERAL_MALFORMED*1 [IPv6:fe80::1%eth0]"},
		{name: "a name in brackets", helo: "[h.example]", want: "HELO_LITERAL_MALFORMED*1 [h.example]"},
		{name: "nothing in brackets", helo: "[]", want: "HELO_LITERAL_MALFORMED*1 []"},

		{name: "carries the address", helo: "203-0-113-7.isp.example", want: "HELO_DYNAMIC*1 203-0-113-7.isp.example"},
		{name: "carries it, and is confirmed", helo: "203-0-113-7.isp.example", ptr: "203-0-113-7.isp.example", want: "HELO_DYNAMIC*1 203-0-113-7.isp.example"},
		{name: "carries it, and leads nowhere", helo: "7.113.0.203.isp.example", want: "HELO_UNRESOLVABLE*1 7.113.0.203.isp.example\nHELO_DYNAMIC*1 7.113.0.203.isp.example"},
		{name: "a word and a number", helo: "dsl-77.isp.example", want: "HELO_DYNAMIC*1 dsl-77.isp.example"},
		{name: "can't be told, and is of a line", helo: "x7.adsl.isp.example", want: "HELO_DYNAMIC*1 x7.adsl.isp.example"},
		{name: "a word for mail as well", helo: "mail-dsl7.isp.example"},
		{name: "our name is none", helo: "mx.example.org", want: "HELO_OURS*1 mx.example.org"},
		{name: "nothing"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f, _, err := newFilter(t, "{}", addr)
				if err != nil {
					t.Fatal(err)
				}
				if c.client == "" {
					c.client = "203.0.113.7"
				}
				s := session(c.client)
				s.Helo, s.PTR, s.Early = c.helo, c.ptr, true
				r, err := f.Check(t.Context(), &filter.Input{Phase: filter.Helo, Session: s})
				if err != nil || shown(r) != c.want {
					t.Errorf("got %q, %v; want %q", shown(r), err, c.want)
				}
				if r.Propose != filter.Continue || r.Reply != nil || len(r.Facts) > 0 {
					t.Errorf("proposes %v, facts %v", r.Propose, r.Facts)
				}
			})
		})
	}
}

func TestDynamicNames(t *testing.T) {
	c := &check{}
	for _, x := range []struct {
		name, client string
		dynamic      bool
	}{
		{"host203-0-113-7.isp.example", "203.0.113.7", true},
		{"host7-113-0-203.isp.example", "203.0.113.7", true},
		{"203000113007.isp.example", "203.0.113.7", true},
		{"p203.000.113.007.isp.example", "203.0.113.7", true},
		{"xcb007107.isp.example", "203.0.113.7", true},
		{"x077100cb.isp.example", "203.0.113.7", true}, // backwards
		{"x770010bc.isp.example", "203.0.113.7", false},
		{"1-203-0-113-7-2.isp.example", "203.0.113.7", true},
		{"203-0-113-8.isp.example", "203.0.113.7", false},
		{"203-0-113.isp.example", "203.0.113.7", false},
		{"203-0-113-7.static.isp.example", "203.0.113.7", false},
		{"smtp203-0-113-7.isp.example", "203.0.113.7", false},
		{"mail.203-0-113-7.isp.example", "203.0.113.7", false},
		{"ec2-203-0-113-7.compute.example", "203.0.113.7", true},
		{"a-b-c.dyn.example", "203.0.113.7", false}, // no number
		{"a7.dyn.example", "203.0.113.7", true},
		{"a7.dyn.example", "2001:db8::8", true},
		{"adsl.a7.example", "203.0.113.7", false}, // the number is not the host's
		{"dynamics365.example", "203.0.113.7", false},
		{"pool7.example", "203.0.113.7", false},
		{"dsl7", "203.0.113.7", false},
		{"203.0.113.7", "203.0.113.7", false},
		{"[203.0.113.7]", "203.0.113.7", false},
	} {
		if got := c.looksDynamic(x.name, netip.MustParseAddr(x.client)) == dynamic; got != x.dynamic {
			t.Errorf("%s of %s: %v", x.name, x.client, got)
		}
	}
}

// TestOff: a symbol that is off is not reported, whatever else is.
func TestOff(t *testing.T) {
	f, _, err := newFilter(t, "off: [HELO_UNRESOLVABLE, HELO_OURS]", nil)
	if err != nil {
		t.Fatal(err)
	}
	for helo, want := range map[string]string{"n.example": "", "mx.example.org": "", "dsl7.example": "HELO_DYNAMIC*1 dsl7.example"} {
		s := session("203.0.113.7")
		s.Helo = helo
		if r, err := f.Check(t.Context(), &filter.Input{Phase: filter.Helo, Session: s}); err != nil || shown(r) != want {
			t.Errorf("%s: %q, %v", helo, shown(r), err)
		}
	}
}

func TestConfigurationErrors(t *testing.T) {
	for settings, want := range map[string]string{
		"action: quarantine": "is none of score, tag, defer, reject",
		"action: [reject]":   "string",
		"off: [HELO]":        `"HELO" is none of EARLY_TALKER, HELO_BARE_ADDRESS`,
		"weight: 2":          "unknown field",
	} {
		if _, _, err := newFilter(t, settings, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", settings, err, want)
		}
	}
}

// TestNotForOurOwn: relay clients, exempt networks and a client that nobody knows are not looked at.
func TestNotForOurOwn(t *testing.T) {
	f, d, err := newFilter(t, "action: reject", nil)
	if err != nil {
		t.Fatal(err)
	}
	relay, exempt, unknown := session("203.0.113.7"), session("203.0.113.7"), session("203.0.113.7")
	relay.Relay, exempt.Exempt, unknown.Client = true, true, netip.AddrPort{}
	for _, s := range []*filter.Session{relay, exempt, unknown} {
		s.Helo, s.Early = "n.example", true
		for _, ph := range []filter.Phase{filter.Connect, filter.Helo} {
			if r, err := f.Check(t.Context(), &filter.Input{Phase: ph, Session: s}); err != nil || len(r.Findings) > 0 || r.Propose != filter.Continue {
				t.Errorf("%+v, %v", r, err)
			}
		}
	}
	if len(d.asked) > 0 {
		t.Errorf("asked %q", d.asked)
	}
}

// TestSessionEnds: a session that is over is no result.
func TestSessionEnds(t *testing.T) {
	f, _, err := newFilter(t, "{}", map[string]string{"h.example": "SILENT"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	s := session("203.0.113.7")
	s.Helo = "h.example"
	if r, err := f.Check(ctx, &filter.Input{Phase: filter.Helo, Session: s}); err == nil {
		t.Errorf("got %+v", r)
	}
}

func FuzzHelo(f *testing.F) {
	for _, s := range []string{
		"h.example", "[203.0.113.7]", "[IPv6:2001:db8::8]", "[", "203.0.113.7", "203-0-113-7.isp.example", "7.113.0.203.in-addr.arpa",
		"x\r\ny.example", "h\u00fc.example", strings.Repeat("1-", 120) + ".example", "mx.example.org", "[IPv6:", "99999999999999999999.example",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		c, d, err := newFilter(t, "{}", map[string]string{"h.example": "203.0.113.7"})
		if err != nil {
			t.Fatal(err)
		}
		in := session("203.0.113.7")
		in.Helo = s
		r, err := c.Check(t.Context(), &filter.Input{Phase: filter.Helo, Session: in})
		if err != nil {
			t.Fatal(err)
		}
		if len(r.Findings) > 2 || len(d.asked) > 1 || r.Propose != filter.Continue {
			t.Errorf("%q: %+v, asked %q", s, r, d.asked)
		}
		for _, x := range r.Findings {
			if !slices.Contains(names(), x.Symbol) {
				t.Errorf("%q: %s", s, x.Symbol)
			}
		}
		for _, name := range d.asked {
			if _, err := mail.Domain(name); err != nil || !strings.Contains(name, ".") {
				t.Errorf("%q: asked for %q", s, name)
			}
		}
	})
}
