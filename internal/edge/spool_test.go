package edge

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/postern-mail/postern/internal/spool"
	"github.com/postern-mail/postern/mail"
	"github.com/postern-mail/postern/upstream"
)

// fakeSpool remembers what it takes.
type fakeSpool struct {
	mu   sync.Mutex
	err  error
	full bool
	got  []spooled
	told []spooled // of whom the sender is to be told that the next server has it
}

type spooled struct {
	e        spool.Entry
	original string
	contents []string // of each group
}

// Put implements Spool.
func (f *fakeSpool) Put(_ context.Context, e spool.Entry, original *mail.Blob, messages []*mail.Message) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil {
		return f.err
	}
	s := spooled{e: e}
	b, _ := original.Bytes()
	s.original = string(b)
	for _, m := range messages {
		var b bytes.Buffer
		if _, err := m.WriteTo(&b); err != nil {
			return err
		}
		s.contents = append(s.contents, b.String())
	}
	f.got = append(f.got, s)
	return nil
}

// HandedOn implements Spool.
func (f *fakeSpool) HandedOn(_ context.Context, e spool.Entry, _ *upstream.Outcome, original *mail.Blob) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.full {
		panic("bug")
	}
	if f.err != nil {
		return f.err
	}
	b, _ := original.Bytes()
	f.told = append(f.told, spooled{e: e, original: string(b)})
	return nil
}

// Room implements Spool.
func (f *fakeSpool) Room(int64) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return !f.full
}

// is makes it fail, or full.
func (f *fakeSpool) is(err error, full bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.err, f.full = err, full
}

func (f *fakeSpool) all() []spooled {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.got)
}

func (f *fakeSpool) notified() []spooled {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.told)
}

// groups writes down who got what under which upstream.
func (s *spooled) groups() string {
	var all []string
	for _, g := range s.e.Groups {
		var to []string
		for _, r := range g.To {
			to = append(to, r.Address)
		}
		all = append(all, g.Upstream+": "+strings.Join(to, " "))
	}
	return strings.Join(all, "; ")
}

// spoolDoor is a door whose routes ours and second have spool: true.
func spoolDoor(t *testing.T, filters []string, change func(*door, *ListenerConfig)) (*door, *fakeSpool) {
	f := &fakeSpool{}
	d := newDoor(t, filters, func(d *door, cfg *ListenerConfig) {
		d.gw.Spool = f
		table, err := upstream.NewTable([]upstream.Rule{
			{To: []string{"ours.example"}, Route: upstream.Route{Upstream: "one", Policy: "default", Spool: true}},
			{To: []string{"strict.example"}, Route: upstream.Route{Upstream: "one", Policy: "strict", Spool: true}},
			{To: []string{"second.example"}, Route: upstream.Route{Upstream: "two", Policy: "default", Spool: true}},
			{To: []string{"never.example"}, Route: upstream.Route{Upstream: "one", Policy: "default"}},
			{To: []string{"*"}, Route: upstream.Route{Upstream: "two", Policy: "default"}},
		})
		if err != nil {
			t.Fatal(err)
		}
		d.gw.Router = table
		strict := *d.gw.Policy
		one := 1.0
		strict.Name, strict.Reject = "strict", &one
		d.gw.Policies["strict"] = &Policy{Plan: d.gw.Plan, Policy: &strict}
		if change != nil {
			change(d, cfg)
		}
	})
	return d, f
}

// send brings one message for some recipients, each of whom must be accepted, or refused with the reply behind its
// address. It gives the reply to the message.
func send(t *testing.T, d *door, from string, to ...string) string {
	t.Helper()
	return sendContent(t, d, "From: a@sender.example\r\nSubject: s\r\n\r\nx\r\n", from, to...)
}

// sendContent is send for a message of its own.
func sendContent(t *testing.T, d *door, content, from string, to ...string) string {
	t.Helper()
	c := begin(t, d)
	c.steps("C: MAIL FROM:<" + from + ">\nS: 250")
	for _, rcpt := range to {
		address, reply, _ := strings.Cut(rcpt, " ")
		if reply == "" {
			reply = "250"
		}
		c.steps("C: RCPT TO:<" + address + ">\nS: " + reply)
	}
	c.steps("C: DATA\nS: 354")
	c.send(content + ".\r\n")
	return c.reply()
}

const spf, noSPF = "mail spf pass ip4:192.0.2.1", "mail spf none -"

// TestHybrid: what becomes of a message whose route has a spool, by what the next server does.
func TestHybrid(t *testing.T) {
	refusedOne := func(env mail.Envelope) upstream.Outcome {
		return upstream.Outcome{
			Kind: upstream.RecipientRefused, Stage: upstream.StageRcpt, Server: "in:25",
			Refused: map[mail.Address]mail.Reply{env.To[len(env.To)-1]: mail.NewReply(550, 5, 1, 1, "no")},
		}
	}
	is := func(k upstream.Kind, s upstream.Stage) func(mail.Envelope) upstream.Outcome {
		return func(mail.Envelope) upstream.Outcome {
			return upstream.Outcome{Kind: k, Stage: s, Server: "in:25", Err: errors.New("trouble")}
		}
	}
	both := []string{"b@ours.example", "c@ours.example"}
	for name, c := range map[string]struct {
		filter string
		answer func(mail.Envelope) upstream.Outcome
		one    bool
		down   bool
		to     []string
		err    error
		reply  string
		queued string // "" for none
	}{
		"delivered":                     {to: both, reply: "250 2.0.0"},
		"no connection":                 {to: both, answer: is(upstream.Unreachable, upstream.StageDial), reply: "250 2.0.0", queued: "failed"},
		"lost within the content":       {to: both, answer: is(upstream.Unreachable, upstream.StageBody), reply: "250 2.0.0", queued: "failed"},
		"does not take mail from us":    {to: both, answer: is(upstream.OurFault, upstream.StageMail), reply: "250 2.0.0", queued: "failed"},
		"lost after the dot":            {to: both, answer: is(upstream.Unknown, upstream.StageDot), reply: "451 4.4.2"},
		"421 to the dot":                {to: both, answer: is(upstream.OurFault, upstream.StageDot), reply: "451 4.4.0"},
		"content can't be read":         {to: both, answer: is(upstream.OurFault, upstream.StageContent), reply: "451 4.3.0"},
		"store of the embedded one":     {to: both, answer: is(upstream.OurFault, upstream.StageStore), reply: "451 4.3.0"},
		"nobody knows how far it came":  {to: both, answer: is(upstream.OurFault, ""), reply: "451 4.4.0"},
		"a relay that panics":           {to: both, answer: func(mail.Envelope) upstream.Outcome { panic("broken") }, reply: "451 4.4.2"},
		"down as we know":               {to: both, down: true, reply: "250 2.0.0", queued: "down"},
		"route without":                 {to: []string{"b@never.example"}, answer: is(upstream.Unreachable, upstream.StageDial), reply: "451 4.4.1"},
		"one recipient refused, proved": {to: both, answer: refusedOne, filter: spf, reply: "250 2.0.0", queued: "recipients"},
		"one recipient refused":         {to: both, answer: refusedOne, reply: "451 4.3.0"},
		"all recipients refused":        {to: both[:1], answer: refusedOne, filter: spf, reply: "451 4.3.0"},
		"LMTP, one":                     {to: both[:1], one: true, reply: "250 2.0.0"},
		"LMTP, two":                     {to: both, one: true, reply: "250 2.0.0", queued: "single"},
		"LMTP, two, route without":      {to: []string{"b@never.example", "c@never.example 452 4\\.5\\.3"}, one: true, reply: "250 2.0.0"},
		"disk full":                     {to: both, down: true, err: fmt.Errorf("x: %w", spool.ErrFull), reply: "452 4.3.1"},
		"disk broken":                   {to: both, down: true, err: errors.New("EIO"), reply: "451 4.3.0"},
	} {
		t.Run(name, func(t *testing.T) {
			d, f := spoolDoor(t, []string{cmpOr(c.filter, noSPF)}, func(d *door, _ *ListenerConfig) {
				d.relay.answer, d.relay.one = c.answer, c.one
				if c.down {
					d.gw.Relays["one"] = downRelay{d.relay}
				}
			})
			f.is(c.err, false)
			reply := send(t, d, "a@sender.example", c.to...)
			if !strings.HasPrefix(reply, c.reply) {
				t.Errorf("reply %q, not %s", reply, c.reply)
			}
			all := f.all()
			if (len(all) == 1) != (c.queued != "" && c.err == nil) || len(all) > 1 {
				t.Fatalf("in the spool: %+v", all)
			}
			if n := strings.Count(strings.Join(d.log.lines(), "\n"), `"queued":"`+c.queued+`"`); c.queued != "" && n != len(c.to) {
				t.Errorf("%d lines say queued=%s", n, c.queued)
			}
			if len(all) == 0 {
				return
			}
			if got := all[0].groups(); got != "one: b@ours.example c@ours.example" {
				t.Errorf("groups %q", got)
			}
			if !strings.HasPrefix(all[0].original, "From: a@sender.example\r\n") || !strings.Contains(all[0].contents[0], "Received: ") ||
				!strings.HasSuffix(all[0].contents[0], all[0].original) {
				t.Errorf("%+v", all[0])
			}
			if e := &all[0].e; e.From != "a@sender.example" || !e.Client.Addr.IsValid() || e.Client.Helo == "" || e.Relay {
				t.Errorf("%+v", e)
			}
		})
	}
}

func cmpOr(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// downRelay knows that none of its servers is up.
type downRelay struct{ *fakeRelay }

func (downRelay) Available() bool { return false }

// TestApart: recipients of several upstreams and policies share a transaction, and one reply.
func TestApart(t *testing.T) {
	const three = "data score BAD 1"
	for name, c := range map[string]struct {
		filters []string
		to      []string
		accept  bool // quarantine_reply
		err     error
		reply   string
		groups  string
		held    string // recipients of what is held
	}{
		"two upstreams": {
			to: []string{"b@ours.example", "c@second.example", "d@ours.example"}, reply: "250 2.0.0",
			groups: "one: b@ours.example d@ours.example; two: c@second.example",
		},
		"a route without a spool": {
			to: []string{"b@never.example", "c@second.example 452 4\\.5\\.3"}, reply: "250 2.0.0", groups: "",
		},
		"a route without a spool like the first, of others who part": {
			to:    []string{"b@ours.example", "c@second.example", "d@never.example 452 4\\.5\\.3"},
			reply: "250 2.0.0", groups: "one: b@ours.example; two: c@second.example",
		},
		"a route without a spool, of others whom the rcpt phase parts": {
			filters: []string{"rcpt rcptscore marked EXTRA"},
			to:      []string{"b@ours.example", "marked@ours.example", "c@never.example 452 4\\.5\\.3"},
			reply:   "250 2.0.0", groups: "one: b@ours.example; one: marked@ours.example",
		},
		"a route without a spool beside one with it": {
			to: []string{"b@ours.example", "c@never.example"}, reply: "250 2.0.0",
		},
		"nobody may relay so": {
			to: []string{"b@ours.example", "c@elsewhere.example 554"}, reply: "250 2.0.0",
		},
		"postmaster beside others": {
			to: []string{"postmaster@ours.example", "b@ours.example"}, reply: "250 2.0.0",
			groups: "one: postmaster@ours.example; one: b@ours.example",
		},
		"refused for some": {
			filters: []string{three}, to: []string{"b@ours.example", "c@strict.example"}, reply: "250 2.0.0",
			groups: "one: b@ours.example", held: "c@strict.example",
		},
		"refused for all": {
			filters: []string{"data propose reject 550 no"}, to: []string{"b@ours.example", "c@strict.example"}, reply: "550 5.7.1",
		},
		"put off for one": {
			filters: []string{three, "data propose defer"}, to: []string{"b@ours.example", "c@strict.example"}, reply: "4",
		},
		"held for all": {
			filters: []string{"data propose quarantine"}, to: []string{"b@ours.example", "c@second.example"}, reply: "550 5.7.1",
			held: "b@ours.example|c@second.example",
		},
		"held for all, nobody is told": {
			filters: []string{"data propose quarantine"}, to: []string{"b@ours.example", "c@second.example"}, accept: true, reply: "250 2.0.0 Ok: held as",
			held: "b@ours.example|c@second.example",
		},
		"held for one, nobody is told": {
			filters: []string{three}, to: []string{"b@ours.example", "c@strict.example"}, accept: true, reply: "250 2.0.0 Ok: queued as",
			groups: "one: b@ours.example", held: "c@strict.example",
		},
		"refused for some, held for others": {
			filters: []string{three, "data propose quarantine"}, to: []string{"b@ours.example", "c@strict.example"}, reply: "550 5.7.1 Message held",
			held: "b@ours.example|c@strict.example",
		},
		"refused for some, held for others, nobody is told": {
			filters: []string{three, "data propose quarantine"}, to: []string{"c@strict.example", "b@ours.example"}, accept: true, reply: "250 2.0.0 Ok: held as",
			held: "c@strict.example|b@ours.example",
		},
		"a filter that fails":  {filters: []string{"data error"}, to: []string{"b@ours.example", "c@second.example"}, reply: "451"},
		"a filter that panics": {filters: []string{"data panic"}, to: []string{"b@ours.example", "c@second.example"}, reply: "451"},
		"disk full":            {err: spool.ErrFull, to: []string{"b@ours.example", "c@second.example"}, reply: "452 4.3.1"},
	} {
		t.Run(name, func(t *testing.T) {
			d, f := spoolDoor(t, c.filters, func(d *door, _ *ListenerConfig) {
				for _, p := range d.gw.Policies {
					if c.accept {
						p.QuarantineReply = QuarantineAccept
					}
				}
			})
			f.is(c.err, false)
			reply := send(t, d, "a@sender.example", c.to...)
			if !strings.HasPrefix(reply, c.reply) {
				t.Errorf("reply %q, not %s", reply, c.reply)
			}
			if want := strings.Count(strings.Join(c.to, "|"), " 452"); d.metrics.rejects["rcpt 452 split"] != want {
				t.Errorf("%v are counted, not %d", d.metrics.rejects, want)
			}
			got := ""
			for _, s := range f.all() {
				got += s.groups()
			}
			if got != c.groups {
				t.Errorf("groups %q, not %q", got, c.groups)
			}
			var held []string
			ids := map[string]bool{}
			for _, h := range d.quarantine.all() {
				ids[h.ID] = true
				for _, a := range h.To {
					held = append(held, a.String())
				}
			}
			if s := strings.Join(held, "|"); s != c.held || len(ids) != len(d.quarantine.all()) {
				t.Errorf("held for %q, not %q", s, c.held)
			}
			if c.groups != "" && len(d.relay.all())+len(d.second.all()) > 0 {
				t.Error("handed on as well")
			}
			n := 0
			for _, to := range c.to {
				address, refused, _ := strings.Cut(to, " ")
				if refused == "" {
					n += strings.Count(strings.Join(d.log.lines(), "\n"), `"to":"`+address+`"`)
				}
			}
			if accepted := len(slices.DeleteFunc(slices.Clone(c.to), func(s string) bool { return strings.Contains(s, " ") })); n != accepted {
				t.Errorf("%d lines of the log for %d recipients", n, accepted)
			}
		})
	}
}

// TestRelayQueues: mail of clients that may relay waits in the spool, wherever it goes, and is completed before.
func TestRelayQueues(t *testing.T) {
	d, f := spoolDoor(t, nil, func(_ *door, cfg *ListenerConfig) { cfg.Relay.Networks = loopback })
	reply := send(t, d, "a@sender.example", "b@never.example", "c@elsewhere.example", "d@ours.example")
	all := f.all()
	if !strings.HasPrefix(reply, "250 2.0.0") || len(all) != 1 || all[0].groups() != "one: b@never.example d@ours.example; two: c@elsewhere.example" {
		t.Fatalf("%q %+v", reply, all)
	}
	if e := &all[0].e; !e.Relay || !e.Bounce || !strings.Contains(e.MessageID, "@mx.example.org>") {
		t.Errorf("%+v", e)
	}
	for _, content := range all[0].contents {
		if !strings.Contains(content, "\r\nMessage-ID: ") || !strings.Contains(content, "\r\nDate: ") {
			t.Errorf("not completed:\n%s", content)
		}
	}
	down, g := spoolDoor(t, nil, func(d *door, cfg *ListenerConfig) {
		cfg.Relay.Networks, d.gw.Relays["one"] = loopback, downRelay{d.relay}
	})
	if reply := send(t, down, "a@sender.example", "b@never.example"); !strings.HasPrefix(reply, "250 2.0.0 Ok: queued as ") || len(g.all()) != 1 {
		t.Errorf("while the next server is down: %q, %d in the spool", reply, len(g.all()))
	}
	f.is(nil, true)
	c := begin(t, d)
	c.steps("C: MAIL FROM:<a@sender.example>\nS: 250\nC: RCPT TO:<b@ours.example>\nS: 452 4\\.3\\.1")
}

// TestMayBounce: who may be told that a message was given up.
func TestMayBounce(t *testing.T) {
	for name, c := range map[string]struct {
		filter, from string
		want         bool
	}{
		"nothing known":           {"data propose tag", "a@sender.example", false},
		"SPF":                     {spf, "a@sender.example", true},
		"SPF of all":              {"mail spf pass +all", "a@sender.example", false},
		"SPF fails":               {"mail spf softfail ~all", "a@sender.example", false},
		"DKIM of the domain":      {"data dkim pass sender.example", "a@sender.example", true},
		"DKIM of the one above":   {"data dkim pass sender.example", "a@mail.sender.example", true},
		"DKIM of one below":       {"data dkim pass mail.sender.example", "a@sender.example", false},
		"DKIM of another":         {"data dkim pass other.example", "a@sender.example", false},
		"DKIM of a like one":      {"data dkim pass sender.example", "a@evilsender.example", false},
		"DKIM fails":              {"data dkim fail sender.example", "a@sender.example", false},
		"null reverse-path, DKIM": {"data dkim pass sender.example", "", false},
	} {
		t.Run(name, func(t *testing.T) {
			d, f := spoolDoor(t, []string{c.filter}, func(d *door, _ *ListenerConfig) { d.gw.Relays["one"] = downRelay{d.relay} })
			send(t, d, c.from, "b@ours.example")
			if all := f.all(); len(all) != 1 || all[0].e.Bounce != c.want {
				t.Errorf("%+v", all)
			}
		})
	}
}
