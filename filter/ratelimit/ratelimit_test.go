package ratelimit

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/filter/auth"
	"github.com/postern-mail/postern/internal/ledger"
	"github.com/postern-mail/postern/internal/peertest/leaks"
	"github.com/postern-mail/postern/internal/rates"
	"github.com/postern-mail/postern/mail"
)

func TestMain(m *testing.M) { leaks.Main(m) }

func rate(t *testing.T, s string) rates.Rate {
	t.Helper()
	r, err := rates.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func address(t *testing.T, s string) mail.Address {
	t.Helper()
	if s == "" {
		return mail.Address{}
	}
	a, err := mail.ParseAddress(s)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// limiter is a filter under test.
type limiter struct {
	t      *testing.T
	f      filter.Filter
	phases filter.Phases
	state  *ledger.Ledger
}

func newLimiter(t *testing.T, change func(*config)) *limiter {
	t.Helper()
	state := ledger.New()
	spec, f, err := Factory.New(filter.Env{Name: "ratelimit", State: state}, func(to any) error {
		change(to.(*config))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return &limiter{t, f, spec.Phases, state}
}

// message is one transaction.
type message struct {
	ip, from, spf string
	to            []string
	size          int // of the content; 0 is 100
	declared      int64
	session       func(*filter.Session)
	exempt        bool
	waived        bool
	fate          filter.Fate // of what is not refused here
}

// send takes a message through the phases, and gives the replies to MAIL, each RCPT and the content that are refusals.
func (l *limiter) send(m message) (refusals []string) {
	l.t.Helper()
	s := &filter.Session{Client: netip.AddrPortFrom(netip.MustParseAddr(m.ip), 25)}
	if m.session != nil {
		m.session(s)
	}
	tx := &filter.Transaction{From: address(l.t, m.from), Size: m.declared}
	if m.spf != "" {
		tx.Record(auth.SPF.Of(auth.SPFResult{Result: auth.Pass, Domain: m.spf, Identity: "mailfrom"}))
	}
	if m.waived {
		tx.Record(auth.Waivers.Of([]auth.Waiver{{Waives: []string{"ratelimit"}}}))
	}
	var owed []func(filter.Fate)
	settle := func(f filter.Fate) {
		for _, o := range owed {
			o(f)
		}
	}
	check := func(p filter.Phase, in *filter.Input) (ok bool) {
		if !l.phases.Has(p) {
			return true
		}
		r, err := l.f.Check(context.Background(), in)
		if err != nil {
			l.t.Fatal(err)
		}
		if r.Settle != nil {
			owed = append(owed, r.Settle)
		}
		if r.Propose != filter.Defer {
			if len(r.Findings) > 0 {
				l.t.Errorf("%+v", r.Findings) // recipients must not differ by it
			}
			return true
		}
		if r.Settle != nil || len(r.Findings) != 1 || r.Findings[0].Symbol != symExceeded {
			l.t.Errorf("%+v", r)
		}
		if r.Hold == (s.Relay || s.User != "") {
			l.t.Errorf("held: %v", r.Hold)
		}
		refusals = append(refusals, r.Reply.String())
		return false
	}
	if !check(filter.Mail, &filter.Input{Session: s, Transaction: tx}) {
		settle(filter.Unfinished)
		return refusals
	}
	for _, to := range m.to {
		a := address(l.t, to)
		if check(filter.Rcpt, &filter.Input{Session: s, Transaction: tx, Recipient: &filter.Recipient{Address: a, Exempt: m.exempt}}) {
			tx.Recipients = append(tx.Recipients, a)
		}
	}
	if len(tx.Recipients) == 0 {
		settle(filter.Unfinished)
		return refusals
	}
	ingest := mail.NewIngest(mail.IngestOptions{Dir: l.t.TempDir()})
	fmt.Fprint(ingest, strings.Repeat("x", max(m.size, 100)-2)+"\r\n")
	blob, _, err := ingest.Blob()
	if err != nil {
		l.t.Fatal(err)
	}
	content := mail.NewContent(blob, mail.LineFaults{}, mail.Limits{})
	defer content.Release()
	if !check(filter.Data, &filter.Input{Session: s, Transaction: tx, Content: content, For: tx.Recipients}) {
		settle(filter.Unfinished)
		return refusals
	}
	settle(m.fate)
	return refusals
}

// takes expects that n such messages are taken, and the next is not, with a reply that has text in it.
func (l *limiter) takes(n int, m message, text string) {
	l.t.Helper()
	if m.fate == filter.Unfinished {
		m.fate = filter.Taken
	}
	for i := range n {
		if got := l.send(m); got != nil {
			l.t.Fatalf("message %d of %d: %q", i+1, n, got)
		}
	}
	if got := l.send(m); len(got) == 0 || !strings.Contains(got[0], text) || !strings.HasPrefix(got[0], "450 4.7.1 ") {
		l.t.Errorf("one more: %q", got)
	}
}

var bob = message{ip: "192.0.2.1", from: "bob@client.example", to: []string{"u@ours.example"}}

func with(change func(*message)) message {
	m := bob
	change(&m)
	return m
}

func TestClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimiter(t, func(c *config) { c.Client.Messages = list{rate(t, "5/1h")} })
		l.takes(5, bob, "Limit of 5 messages in 1h for your network is reached, please come again in 720 seconds")
		if got := l.send(with(func(m *message) { m.ip, m.from = "192.0.2.99", "x@other.example" })); got == nil {
			t.Error("another host of the network")
		}
		l.takes(5, with(func(m *message) { m.ip = "192.0.3.1" }), "your network")
		l.takes(5, with(func(m *message) { m.ip = "2001:db8::1" }), "your network")
		if got := l.send(with(func(m *message) { m.ip = "2001:db8::ffff:1" })); got == nil {
			t.Error("another host of the /64")
		}
		l.takes(50, with(func(m *message) {
			m.ip, m.session = "198.51.100.1", func(s *filter.Session) { s.Big = "big.example" }
		}), "Limit of 50 messages")
		time.Sleep(12 * time.Minute)
		l.takes(1, bob, "720 seconds")
		for name, m := range map[string]message{
			"exempt": with(func(m *message) { m.session = func(s *filter.Session) { s.Exempt = true } }),
			"relay":  with(func(m *message) { m.session = func(s *filter.Session) { s.Relay = true } }),
			"user":   with(func(m *message) { m.session = func(s *filter.Session) { s.User, s.Relay = "ann", true } }),
			"waived": with(func(m *message) { m.waived = true }),
		} {
			for range 20 {
				if got := l.send(m); got != nil {
					t.Fatalf("%s: %q", name, got)
				}
			}
		}
	})
}

// TestOnlyWhatEndsIsCounted: what has to come again is counted when it comes.
func TestOnlyWhatEndsIsCounted(t *testing.T) {
	l := newLimiter(t, func(c *config) {
		all := limits{Messages: list{rate(t, "5/1d")}, Recipients: list{rate(t, "10/1d")}, Octets: list{rate(t, "1000/1d")}}
		c.Client, c.Sender = all, all
		c.Recipient.Messages, c.Recipient.Octets = list{rate(t, "5/1d")}, list{rate(t, "1000/1d")}
	})
	unfinished := bob
	for range 30 {
		if got := l.send(unfinished); got != nil {
			t.Fatalf("a message that comes again: %q", got)
		}
	}
	l.takes(5, bob, "5 messages in 1d")
}

func TestRefusedCounts(t *testing.T) {
	l := newLimiter(t, func(c *config) { c.Client.Messages = list{rate(t, "5/1d")} })
	l.takes(5, with(func(m *message) { m.fate = filter.Refused }), "5 messages in 1d")
}

// TestSender: a domain has its limit where SPF passes, whatever the client; who only claims to be it has one of his own.
func TestSender(t *testing.T) {
	l := newLimiter(t, func(c *config) { c.Sender.Messages = list{rate(t, "5/1d")} })
	l.takes(5, bob, "for mail of client.example from your network")
	real := with(func(m *message) { m.ip, m.from, m.spf = "198.51.100.1", "a@mail.client.example", "mail.client.example" })
	l.takes(5, real, "Limit of 5 messages in 1d for mail of client.example is reached")
	real.ip, real.from, real.spf = "203.0.113.1", "b@news.client.example", "news.client.example"
	if got := l.send(real); got == nil {
		t.Error("another name below the domain, from another network")
	}
	for range 20 {
		if got := l.send(with(func(m *message) { m.from = "" })); got != nil {
			t.Fatalf("bounces: %q", got)
		}
	}
}

func TestRecipients(t *testing.T) {
	l := newLimiter(t, func(c *config) { c.Client.Recipients = list{rate(t, "5/1d")} })
	many := with(func(m *message) {
		m.fate = filter.Taken
		m.to = nil
		for i := range 8 {
			m.to = append(m.to, fmt.Sprintf("u%d@ours.example", i))
		}
	})
	if got := l.send(many); len(got) != 3 || !strings.Contains(got[0], "5 recipients in 1d") {
		t.Errorf("%q", got)
	}
	if got := l.send(with(func(m *message) { m.exempt = true })); got != nil {
		t.Errorf("the postmaster: %q", got)
	}

	l = newLimiter(t, func(c *config) { c.Recipient.Messages = list{rate(t, "5/1d")} })
	for i := range 5 {
		m := with(func(m *message) { m.ip, m.fate = fmt.Sprintf("192.0.%d.1", i), filter.Taken })
		if got := l.send(m); got != nil {
			t.Fatalf("%q", got)
		}
	}
	two := with(func(m *message) { m.to, m.fate = []string{"U@ours.example", "v@ours.example"}, filter.Taken })
	if got := l.send(two); len(got) != 1 || !strings.Contains(got[0], "for this recipient") {
		t.Errorf("%q", got)
	}
	two.session = func(s *filter.Session) { s.Relay = true }
	if got := l.send(two); got != nil {
		t.Errorf("from inside: %q", got)
	}
}

func TestOctets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimiter(t, func(c *config) { c.Client.Octets = list{rate(t, "10k/1h")} })
		big := with(func(m *message) { m.size, m.fate = 4000, filter.Taken })
		for range 2 {
			if got := l.send(big); got != nil {
				t.Fatalf("%q", got)
			}
		}
		if got := l.send(big); len(got) != 1 || !strings.Contains(got[0], "10000 octets in 1h") {
			t.Errorf("%q", got)
		}
		big.declared = 4000 // so that MAIL is refused
		if got := l.send(big); len(got) != 1 || !strings.Contains(got[0], "in 720 seconds") {
			t.Errorf("%q", got)
		}
		if got := l.send(with(func(m *message) { m.fate = filter.Taken })); got != nil {
			t.Errorf("a small one: %q", got)
		}
		time.Sleep(time.Hour)
		big.size = 50_000 // more than the limit: alone
		if got := l.send(big); got != nil {
			t.Errorf("%q", got)
		}
		if got := l.send(bob); len(got) != 1 {
			t.Errorf("after it: %q", got)
		}

		l = newLimiter(t, func(c *config) { c.Recipient.Octets = list{rate(t, "10k/1h")} })
		l.takes(2, with(func(m *message) { m.size = 4000; m.to = []string{"u@ours.example", "v@ours.example"} }), "for a recipient")
	})
}

func TestRelayAndUser(t *testing.T) {
	l := newLimiter(t, func(c *config) {
		c.Relay.Messages = list{rate(t, "5/1d")}
		c.User = limits{Messages: list{rate(t, "3/1d")}}
	})
	relay := with(func(m *message) { m.session = func(s *filter.Session) { s.Relay = true } })
	l.takes(5, relay, "for your address")
	relay.ip = "192.0.2.2"
	l.takes(5, relay, "for your address")
	user := func(name string) message {
		return with(func(m *message) { m.session = func(s *filter.Session) { s.Relay, s.User = true, name } })
	}
	l.takes(3, user("ann"), "for your account")
	l.takes(3, user("ben"), "for your account")
}

// TestUsersOwnLimits: what is said of one user is in the place of what is said of all, also where nothing is said of them.
func TestUsersOwnLimits(t *testing.T) {
	for name, all := range map[string]list{"all have some": {rate(t, "2/1h")}, "nobody else has": nil} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newLimiter(t, func(c *config) {
					c.User, c.Client.Messages = limits{Recipients: all}, list{rate(t, "1000/1h")}
				})
				as := func(user string, own ...auth.UserLimit) message {
					return with(func(m *message) {
						m.session = func(s *filter.Session) {
							s.User, s.Relay = user, true
							s.Record(auth.UserLimits.Of(own))
						}
					})
				}
				l.takes(5, as("app", auth.UserLimit{Recipients: 5, Per: time.Hour}), "Limit of 5 recipients in 1h for your account")
				if all != nil {
					l.takes(2, as("ann"), "Limit of 2 recipients in 1h for your account")
				}
			})
		})
	}
}

// TestSeveralRates: each of them holds, and one that refuses takes nothing of the others.
func TestSeveralRates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimiter(t, func(c *config) { c.Client.Messages = list{rate(t, "10/1d"), rate(t, "2/1m")} })
		taken := with(func(m *message) { m.fate = filter.Taken })
		for range 4 {
			l.takes(2, taken, "2 messages in 1m")
			for range 10 {
				l.send(bob)
			}
			time.Sleep(time.Minute)
		}
		l.takes(2, taken, "10 messages in 1d")
		time.Sleep(time.Minute)
		l.takes(0, taken, "10 messages in 1d")
		if n := l.state.Usage().Tables[0].Records; n > 2 {
			t.Errorf("%d records", n)
		}
	})
}

func TestWithoutMemory(t *testing.T) {
	spec, f, err := Factory.New(filter.Env{Name: "x", State: filter.NoState{}}, func(to any) error {
		to.(*config).Client.Messages = list{rate(t, "1/1d")}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	l := &limiter{t: t, f: f, phases: spec.Phases}
	for range 10 {
		if got := l.send(bob); got != nil {
			t.Fatalf("%q", got)
		}
	}
}

func TestConfig(t *testing.T) {
	for _, c := range []struct {
		given any
		want  string // of the rates, or of the error
	}{
		{"100/1h", "[100/1h]"},
		{[]any{"100/1h", "1000/d"}, "[100/1h 1000/1d]"},
		{[]any{}, "[]"},
		{"100", "such as 100/1h"},
		{100, "a rate such as 100/1h is needed"},
		{[]any{"100/1h", "200/60m"}, "two rates for the same time"},
		{nil, "is needed"},
	} {
		l := list{{Most: 1, Per: 1}}
		err := l.UnmarshalYAML(func(to any) error { *to.(*any) = c.given; return nil })
		if got := fmt.Sprint([]rates.Rate(l)); err == nil && got != c.want || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: %s, %v", c.given, got, err)
		}
	}
	if _, _, err := Factory.New(filter.Env{Name: "x", State: filter.NoState{}}, func(to any) error {
		*to.(*config) = config{}
		return nil
	}); err == nil || !strings.Contains(err.Error(), "allowed: client") {
		t.Errorf("no limit: %v", err)
	}
}

func BenchmarkMail(b *testing.B) {
	hour := func(n int64) list { return list{{Most: n, Per: time.Hour}} }
	_, f, err := Factory.New(filter.Env{Name: "x", State: ledger.New()}, func(to any) error {
		c := to.(*config)
		c.Client, c.Sender = limits{Messages: hour(1 << 40)}, limits{Messages: hour(1 << 40)}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	from, err := mail.ParseAddress("bob@client.example")
	if err != nil {
		b.Fatal(err)
	}
	in := &filter.Input{
		Session:     &filter.Session{Client: netip.MustParseAddrPort("192.0.2.1:25")},
		Transaction: &filter.Transaction{From: from},
	}
	b.ReportAllocs()
	for b.Loop() {
		r, _ := f.Check(context.Background(), in)
		r.Settle(filter.Taken)
	}
}
