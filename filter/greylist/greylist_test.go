package greylist

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/filter/auth"
	"github.com/postern-mail/postern/internal/ledger"
	"github.com/postern-mail/postern/internal/peertest/leaks"
)

func TestMain(m *testing.M) { leaks.Main(m) }

// client is one way to come to us.
type client struct {
	ip, ptr, from, to string
	spf               string // the domain that SPF passes for, "" for none
	helo              string // the HELO name that SPF passes for
	mechanism         string // of SPF
	localPart         bool
	session           func(*filter.Session)
	exempt            bool
	waived            string
}

func (c client) input(t testing.TB) *filter.Input {
	t.Helper()
	in := &filter.Input{
		Session:     &filter.Session{PTR: c.ptr},
		Transaction: &filter.Transaction{From: address(t, c.from)},
		Recipient:   &filter.Recipient{Address: address(t, c.to), Exempt: c.exempt},
	}
	if c.ip != "" {
		in.Session.Client = netip.AddrPortFrom(netip.MustParseAddr(c.ip), 25)
	}
	if c.session != nil {
		c.session(in.Session)
	}
	identity := "mailfrom"
	if c.from == "" {
		identity = "helo"
	}
	if c.spf != "" {
		in.Transaction.Record(auth.SPF.Of(auth.SPFResult{Result: auth.Pass, Domain: c.spf, Identity: identity, Mechanism: c.mechanism, LocalPart: c.localPart}))
	} else {
		in.Transaction.Record(auth.SPF.Of(auth.SPFResult{Result: auth.None, Domain: "x.example", Identity: identity}))
	}
	if c.helo != "" {
		in.Transaction.Record(auth.HeloSPF.Of(auth.SPFResult{Result: auth.Pass, Domain: c.helo, Identity: "helo"}))
	}
	if c.waived != "" {
		in.Transaction.Record(auth.Waivers.Of([]auth.Waiver{{Waives: []string{c.waived}}}))
	}
	return in
}

// list is a greylist under test.
type list struct {
	t *testing.T
	f filter.Filter
}

func newList(t *testing.T, state filter.State, change func(*config)) *list {
	t.Helper()
	if state == nil {
		state = ledger.New()
	}
	_, f, err := Factory.New(filter.Env{
		Name: "greylist", State: state, Ours: func(d string) bool { return d == "ours.example" }, Log: slog.New(slog.DiscardHandler),
	}, func(to any) error {
		if change != nil {
			change(to.(*config))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return &list{t, f}
}

// try gives the reply, "" for none, and the detail of the finding. The message has the given fate if it is let through.
func (l *list) try(c client, fate filter.Fate) (reply, detail string) {
	l.t.Helper()
	r, err := l.f.Check(context.Background(), c.input(l.t))
	if err != nil {
		l.t.Fatal(err)
	}
	if len(r.Findings) > 1 {
		l.t.Fatalf("%d findings", len(r.Findings))
	}
	for _, f := range r.Findings {
		detail = f.Detail
		if (f.Symbol == symDeferred) != (r.Propose == filter.Defer) || f.Strength != 1 {
			l.t.Errorf("%+v and %s", f, r.Propose)
		}
	}
	if r.Propose == filter.Defer {
		if r.Reply == nil || r.Hold {
			l.t.Fatalf("%+v", r)
		}
		reply, fate = r.Reply.String(), filter.Unfinished
	}
	if r.Settle != nil {
		r.Settle(fate)
	}
	return reply, detail
}

// deferred expects that the client is to come again, and passes that it is let through.
func (l *list) deferred(c client) {
	l.t.Helper()
	if reply, detail := l.try(c, filter.Taken); !strings.HasPrefix(reply, "451 4.7.1 Greylisted") {
		l.t.Errorf("%s, %s", reply, detail)
	}
}

func (l *list) passes(c client, why string) {
	l.t.Helper()
	reply, detail := l.try(c, filter.Taken)
	if reply != "" || !strings.Contains(detail, why) || (why == "") != (detail == "") {
		l.t.Errorf("%s, %q, not %q", reply, detail, why)
	}
}

var bob = client{ip: "192.0.2.1", from: "bob@client.example", to: "u@ours.example"}

func TestComeAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newList(t, nil, nil)
		if reply, detail := l.try(bob, 0); reply != "451 4.7.1 Greylisted, please come again in 300 seconds" || detail != "first seen (192.0.2.0/24), waits 5m0s" {
			t.Errorf("%s, %s", reply, detail)
		}
		time.Sleep(100 * time.Second)
		if reply, detail := l.try(bob, 0); !strings.HasSuffix(reply, "in 200 seconds") || detail != "first seen 1m40s ago (192.0.2.0/24), waits 3m20s" {
			t.Errorf("%s, %s", reply, detail)
		}
		time.Sleep(169 * time.Second)
		l.deferred(bob)
		time.Sleep(time.Second) // half a minute before the five are over
		near, other := bob, bob
		near.ip, other.ip = "192.0.2.77", "198.51.100.1"
		if _, detail := l.try(other, 0); detail != "first seen 4m30s ago (anywhere), waits 5m0s" {
			t.Error(detail)
		}
		l.passes(near, "came again after 4m30s (192.0.2.0/24)")
		l.passes(bob, "192.0.2.0/24, this sender and this recipient are known")
		time.Sleep(30 * 24 * time.Hour)
		l.passes(bob, "are known")
		time.Sleep(30 * 24 * time.Hour) // kept on by its use
		l.passes(bob, "are known")
		time.Sleep(36*24*time.Hour + time.Hour)
		l.deferred(bob)
		time.Sleep(25 * time.Hour) // RFC 6647 5: after the range it is a new one
		l.deferred(bob)
		time.Sleep(23 * time.Hour)
		l.passes(bob, "came again after 23h0m0s")
	})
}

// TestWhoNeedNotComeAgain at all, and has no finding, so that all recipients come to the same.
func TestWhoNeedNotComeAgain(t *testing.T) {
	l := newList(t, nil, nil)
	for name, change := range map[string]func(*client){
		"exempt network":   func(c *client) { c.session = func(s *filter.Session) { s.Exempt = true } },
		"big sender":       func(c *client) { c.session = func(s *filter.Session) { s.Big = "big.example" } },
		"may relay":        func(c *client) { c.session = func(s *filter.Session) { s.Relay = true } },
		"user":             func(c *client) { c.session = func(s *filter.Session) { s.User = "u" } },
		"exempt recipient": func(c *client) { c.exempt = true },
		"waived":           func(c *client) { c.waived = "greylist" },
	} {
		t.Run(name, func(t *testing.T) {
			l.t = t
			c := bob
			change(&c)
			l.passes(c, "")
		})
	}
	l.t = t
	other := bob
	other.waived = "spf"
	l.deferred(other)
}

// TestPools: whoever sends from many networks gets through at the second try after the delay, by its SPF record or the
// names of its hosts, and whoever has neither after twice the delay.
func TestPools(t *testing.T) {
	for _, c := range []struct {
		name   string
		client func(i int) client
		waits  time.Duration
		why    string
	}{
		{"SPF", func(i int) client {
			return client{ip: fmt.Sprintf("192.0.%d.1", i), from: "bob@client.example", spf: "client.example", to: "u@ours.example"}
		}, 5 * time.Minute, "came again after 5m0s (client.example (SPF))"},
		{"SPF of the HELO name, and a bounce", func(i int) client {
			return client{ip: fmt.Sprintf("192.0.%d.1", i), spf: "out.client.example", to: "u@ours.example"}
		}, 5 * time.Minute, "out.client.example (SPF)"},
		{"names", func(i int) client {
			return client{ip: fmt.Sprintf("192.0.%d.1", i), ptr: fmt.Sprintf("mail-%d.out.client.co.uk", i), from: "bob@x.example", to: "u@ours.example"}
		}, 5 * time.Minute, "client.co.uk (name)"},
		{"HELO names", func(i int) client {
			return client{ip: fmt.Sprintf("192.0.%d.1", i), helo: fmt.Sprintf("m%d.client.example", i), from: "bob@x.example", to: "u@ours.example"}
		}, 5 * time.Minute, "client.example (name)"},
		{"IPv6 in one network", func(i int) client {
			return client{ip: fmt.Sprintf("2001:db8::%d", i), from: "bob@x.example", to: "u@ours.example"}
		}, 5 * time.Minute, "2001:db8::/64"},
		{"nothing", func(i int) client {
			return client{ip: fmt.Sprintf("192.0.%d.1", i), from: "bob@x.example", to: "u@ours.example"}
		}, 10 * time.Minute, "came again after 10m0s (anywhere)"},
		{"everybody's SPF", func(i int) client {
			return client{ip: fmt.Sprintf("192.0.%d.1", i), from: "bob@x.example", spf: "x.example", mechanism: "+all", to: "u@ours.example"}
		}, 10 * time.Minute, "anywhere"},
		{"names of a dial-up pool", func(i int) client {
			return client{ip: fmt.Sprintf("192.0.%d.1", i), ptr: fmt.Sprintf("dyn-192-0-%d-1.isp.example", i), from: "bob@x.example", to: "u@ours.example"}
		}, 10 * time.Minute, "anywhere"},
		{"no address", func(i int) client { return client{from: "bob@x.example", to: "u@ours.example"} }, 10 * time.Minute, "anywhere"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newList(t, nil, nil)
				l.deferred(c.client(1))
				time.Sleep(c.waits - 2*time.Minute)
				l.deferred(c.client(2))
				time.Sleep(2 * time.Minute)
				l.passes(c.client(3), c.why)
				l.passes(c.client(3), " ")
				if next := c.client(4); strings.Contains(c.why, "anywhere") {
					l.passes(next, "this sender, who comes from many networks, and this recipient are known")
					next.from = "other@x.example"
					l.deferred(next)
				} else {
					l.passes(next, " ")
				}
			})
		})
	}
}

// TestSchedules: with the times at which real servers try again, no message waits for more than a quarter of an hour, and a
// pool's message to several recipients reaches all of them at the same time.
func TestSchedules(t *testing.T) {
	host := func(spf, domain string) func(int) client {
		return func(i int) client {
			return client{
				ip: fmt.Sprintf("192.0.%d.%d", i, 7*i+1), ptr: fmt.Sprintf("mail-%c%d.%s", 'a'+i, i, domain), from: "a@" + spf, spf: spf, to: "u@ours.example",
			}
		}
	}
	one := func(int) client { return bob }
	for _, c := range []struct {
		name  string
		tries []float64 // minutes
		from  func(i int) client
		want  float64
	}{
		{"Postfix", []float64{0, 5.2, 10.4, 20}, one, 5.2},
		{"Postfix, in a hurry", []float64{0, 4.6, 9, 18}, one, 4.6},
		{"Exim", []float64{0, 15, 30}, one, 15},
		{"qmail", []float64{0, 6.7, 26.7}, one, 6.7},
		{"Exchange", []float64{0, 1, 5, 10}, one, 5},
		{"Exchange Online's pool", []float64{0, 1, 5, 10, 20}, host("client.example", "outbound.protection.outlook.com"), 5},
		{"Google's pool", []float64{0, 2.5, 7, 15}, host("client.example", "google.com"), 7},
		{"a pool with names and no SPF", []float64{0, 2, 5, 9}, func(i int) client {
			c := host("client.example", "mailer.example")(i)
			c.spf = ""
			return c
		}, 5},
		{"a pool without anything", []float64{0, 3, 6, 9, 12}, func(i int) client {
			return client{ip: fmt.Sprintf("192.0.%d.1", i), from: "a@client.example", to: "u@ours.example"}
		}, 9},
		{"a list with a tag for each message", []float64{0, 5, 10}, func(int) client {
			return client{ip: "192.0.2.1", from: "list-bounces+u=ours.example@lists.example", to: "u@ours.example"}
		}, 5},
		{"a printer that tries each minute", []float64{0, 1, 2, 3, 4, 5, 6}, one, 5},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newList(t, nil, nil)
				began := time.Now()
				for i, at := range c.tries {
					time.Sleep(time.Until(began.Add(time.Duration(at * float64(time.Minute)))))
					again := c.from(i)
					for _, to := range []string{"u", "v", "w"} {
						again.to = to + "@ours.example"
						reply, detail := l.try(again, filter.Taken)
						if (reply == "") != (at >= c.want) || c.want > 15 {
							t.Errorf("%s after %g minutes: %s, %s", again.to, at, reply, detail)
						}
					}
					if at >= c.want {
						break
					}
				}
			})
		})
	}
}

// TestBots: who comes from everywhere with the same sender does not profit from others.
func TestBots(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newList(t, nil, nil)
		for i := range 9 {
			l.deferred(client{ip: fmt.Sprintf("192.0.%d.1", i), ptr: fmt.Sprintf("dyn-192-0-%d-1.isp.example", i), from: "x@y.example", to: "u@ours.example"})
			time.Sleep(time.Minute)
		}
		l.deferred(client{ip: "192.0.0.1", from: "z@y.example", to: "u@ours.example"})
		l.deferred(client{ip: "192.0.0.1", from: "x@y.example", to: "v@ours.example"})
	})
}

// again lets a client come again in time.
func (l *list) again(c client) {
	l.t.Helper()
	l.deferred(c)
	time.Sleep(5 * time.Minute)
	l.passes(c, "came again")
}

func TestKnownOrigins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newList(t, nil, nil)
		for i := range 10 {
			l.again(client{ip: "192.0.2.1", from: fmt.Sprintf("%c@client.example", 'a'+i), to: "u@ours.example"})
		}
		l.passes(client{ip: "192.0.2.200", from: "new@other.example", to: "v@ours.example"}, "192.0.2.0/24 has come again 10 times")
		l.deferred(client{ip: "192.0.3.1", from: "new@other.example", to: "v@ours.example"})

		with := client{ip: "198.51.100.1", from: "a@spf.example", spf: "spf.example", to: "u@ours.example"}
		l.again(with)
		with.ip, with.from, with.to = "203.0.113.1", "b@spf.example", "v@ours.example"
		l.passes(with, "spf.example (SPF) has come again before")
		with.spf = ""
		l.deferred(with)

		mailbox := client{ip: "198.51.101.1", from: "a@boxes.example", spf: "boxes.example", localPart: true, to: "u@ours.example"}
		l.again(mailbox)
		l.passes(mailbox, "are known")
		mailbox.from = "b@boxes.example"
		mailbox.ip = "198.51.102.1"
		l.deferred(mailbox)
	})
	synctest.Test(t, func(t *testing.T) {
		l := newList(t, nil, func(c *config) { c.AutoAllow = 0 })
		for i := range 12 {
			l.again(client{ip: "192.0.2.1", from: fmt.Sprintf("%c@client.example", 'a'+i), to: "u@ours.example"})
		}
		l.deferred(client{ip: "192.0.2.1", from: "new@other.example", to: "v@ours.example"})
	})
}

// TestOnlyWhatIsTakenTeaches: whose content is refused is not known after it, and need not wait a second time either;
// whose content is deferred is let through when it comes again.
func TestOnlyWhatIsTakenTeaches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newList(t, nil, nil)
		c := bob
		c.spf = "client.example"
		l.deferred(c)
		time.Sleep(5 * time.Minute)
		for _, fate := range []filter.Fate{filter.Refused, filter.Unfinished, filter.Refused} {
			if reply, detail := l.try(c, fate); reply != "" || !strings.Contains(detail, "came again") {
				t.Errorf("%s, %s", reply, detail)
			}
			time.Sleep(time.Minute)
		}
		other := c
		other.from = "alice@client.example"
		l.deferred(other)
		time.Sleep(25 * time.Hour)
		l.deferred(c)
	})
}

// TestCorrespondents: answers to what our people have sent do not wait, nor do bounces of it.
func TestCorrespondents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newList(t, nil, nil)
		ours := func(s *filter.Session) { s.Relay = true }
		out := client{ip: "10.0.0.1", from: "prvs=1234abcdef=u@ours.example", to: "Bob+shop@client.example", session: ours}
		if _, detail := l.try(out, filter.Unfinished); detail != "" {
			t.Error(detail)
		}
		l.deferred(bob)
		l.try(out, filter.Taken)
		l.passes(bob, "the recipient has written to the sender")
		bounce := client{ip: "203.0.113.9", to: "prvs=9999abcdef=u@ours.example"}
		l.passes(bounce, "this is a bounce")
		colleague := client{ip: "203.0.113.9", from: "support@client.example", to: "u@ours.example"}
		l.deferred(colleague)
		colleague.spf = "client.example"
		l.passes(colleague, "the recipient has written to client.example (SPF)")

		for _, c := range []client{
			{ip: "203.0.113.9", to: "v@ours.example"},
			{ip: "192.0.2.1", from: "bob@client.example", to: "v@ours.example"},
			{ip: "192.0.2.1", from: "carol@client.example", to: "u@ours.example"},
		} {
			l.deferred(c)
		}
		l.try(client{ip: "10.0.0.1", from: "v@ours.example", to: "w@ours.example", session: ours}, filter.Taken) // not outward
		l.deferred(client{ip: "203.0.113.10", to: "v@ours.example"})
		time.Sleep(37 * 24 * time.Hour)
		l.deferred(bob)
	})
}

// TestTagsDoNotCount: the next message of a sender that writes numbers into its address is known.
func TestTagsDoNotCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newList(t, nil, nil)
		c := client{ip: "192.0.2.1", from: "bounces+1234-6f3a-u=ours.example@em.example", to: "u@ours.example"}
		l.again(c)
		c.from = "bounces+9999-7e11-u=ours.example@em.example"
		l.passes(c, "are known")
	})
}

// TestNothingIsRefusedForWantOfMemory, and each recipient has the same symbol.
func TestNothingIsRefusedForWantOfMemory(t *testing.T) {
	l := newList(t, filter.NoState{}, nil)
	l.passes(bob, "nothing new can be remembered")
	small := ledger.New()
	l = newList(t, small, nil)
	small.Table("greylist/waiting", filter.TableOptions{Most: 100, Fresh: time.Hour})
	var deferred, passed int
	for i := range 1000 {
		c := bob
		c.from = strings.NewReplacer("0", "a", "1", "b", "2", "c", "3", "d", "4", "e", "5", "g", "6", "h", "7", "i", "8", "j", "9", "k").Replace(fmt.Sprintf("x%d@client.example", i))
		if reply, _ := l.try(c, filter.Unfinished); reply == "" {
			passed++
		} else {
			deferred++
		}
	}
	if deferred < 10 || passed < 800 {
		t.Errorf("%d deferred, %d passed", deferred, passed)
	}
}

// TestStagesAreApart: one that observes does not disturb the one that is enforced, and policies share what is known.
func TestStagesAreApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		state := ledger.New()
		one, two := newList(t, state, nil), newList(t, state, func(c *config) { c.Delay = time.Minute })
		one.deferred(bob)
		time.Sleep(time.Minute)
		two.passes(bob, "came again after 1m0s")
		one.passes(bob, "are known")
		u := state.Usage()
		if len(u.Tables) != 4 || u.Tables[1].Name != "greylist/passed" {
			t.Errorf("%+v", u.Tables)
		}
		if u.Tables[2].Name != "greylist/waiting" || u.Tables[2].Records != 0 {
			t.Errorf("%d still wait", u.Tables[2].Records)
		}
	})
}

func TestConfig(t *testing.T) {
	for name, change := range map[string]func(*config){
		"no delay":     func(c *config) { c.Delay = 0 },
		"a long delay": func(c *config) { c.Delay = 2 * time.Hour },
		"short retry":  func(c *config) { c.Retry = 15 * time.Minute },
		"long retry":   func(c *config) { c.Retry = 8 * 24 * time.Hour },
		"short keep":   func(c *config) { c.Keep = time.Hour },
		"long keep":    func(c *config) { c.Keep = 10_000 * time.Hour },
		"negative":     func(c *config) { c.AutoAllow = -1 },
	} {
		_, _, err := Factory.New(filter.Env{Name: "greylist", State: filter.NoState{}}, func(to any) error {
			change(to.(*config))
			return nil
		})
		if err == nil || !strings.Contains(err.Error(), "; allowed: ") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestGenerated(t *testing.T) {
	for _, c := range []struct {
		name, addr string
		want       bool
	}{
		{"dyn-192-0-2-17.isp.example", "192.0.2.17", true},
		{"17.2.0.192.isp.example", "192.0.2.17", true},
		{"host-0-2-17.isp.example", "192.0.2.17", true},
		{"host-002-017-192.isp.example", "192.0.2.17", true},
		{"c0000211.isp.example", "192.0.2.17", true},
		{"a2-17.smtp-out.amazonses.example", "192.0.2.17", false},
		{"mail-17.example.com", "192.0.2.17", false},
		{"mail5.example.com", "5.5.5.7", false},
		{"mail.example.com", "2001:db8::1", false},
	} {
		if got := generated(c.name, netip.MustParseAddr(c.addr)); got != c.want {
			t.Errorf("%s of %s: %v", c.name, c.addr, got)
		}
	}
}

func BenchmarkKnown(b *testing.B) {
	state := ledger.New()
	_, f, err := Factory.New(filter.Env{Name: "greylist", State: state}, func(any) error { return nil })
	if err != nil {
		b.Fatal(err)
	}
	c := bob
	c.spf, c.ptr = "client.example", "mail.client.example"
	in := c.input(b)
	b.ReportAllocs()
	for b.Loop() {
		r, _ := f.Check(context.Background(), in)
		if r.Settle != nil {
			r.Settle(filter.Unfinished)
		}
	}
}
