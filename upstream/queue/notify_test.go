package queue

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/postern-mail/postern/internal/spool"
	"github.com/postern-mail/postern/internal/store/storetest"
	"github.com/postern-mail/postern/mail"
	"github.com/postern-mail/postern/upstream"
)

// takes is a server that takes everything, and is as the arguments say.
func takes(dsn, final bool) func(mail.Envelope) upstream.Outcome {
	return func(mail.Envelope) upstream.Outcome {
		return upstream.Outcome{
			Kind: upstream.Delivered, Stage: upstream.StageDot, Server: "mail.inside.example:25", Reply: mail.NewReply(250, 2, 6, 0, "as 4711"),
			DSN: dsn, Final: final,
		}
	}
}

// TestSuccess: the sender of a message that was handed on is told so where NOTIFY=SUCCESS asks for it and the next server
// will not do it, and nobody else is.
func TestSuccess(t *testing.T) {
	for name, c := range map[string]struct {
		m          message
		dsn, final bool
		want       string // what the report says; "" for none
	}{
		"no DSN":                {m: message{notify: "SUCCESS"}, want: "Action: relayed"},
		"no DSN, and more":      {m: message{notify: "FAILURE,SUCCESS"}, want: "Action: relayed"},
		"no DSN, the last stop": {m: message{notify: "SUCCESS"}, final: true, want: "Action: delivered"},
		"DSN":                   {m: message{notify: "SUCCESS"}, dsn: true},
		"DSN, the last stop":    {m: message{notify: "SUCCESS"}, dsn: true, final: true},
		"not asked for":         {m: message{}},
		"failures asked for":    {m: message{notify: "FAILURE,DELAY"}},
		"never":                 {m: message{notify: "NEVER"}},
		"null reverse-path":     {m: message{notify: "SUCCESS", from: "<>"}},
		"report of our own":     {m: message{notify: "SUCCESS", report: true}},
		"no way to the sender":  {m: message{notify: "SUCCESS", from: "a@nowhere.example"}},
	} {
		for _, proved := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s/%t", name, proved), func(t *testing.T) {
				run(t, func(t *testing.T, b *bench) {
					b.in.is(takes(c.dsn, c.final))
					m := c.m
					if m.id, m.bounce, m.to = "m-1", proved, []string{"in x@example.org", "in y@example.org"}; m.from == "" {
						m.from = "a@sender.example"
					}
					m.from = strings.Trim(m.from, "<>")
					b.put(m)
					sleep(time.Hour)
					equal(t, "left", b.left())
					equal(t, "kept", b.noted(&b.kept))
					out := b.out.taken()
					if want := c.want != "" && proved; !want || len(out) != 1 {
						if want || len(out) > 0 {
							t.Errorf("sent: %+v", out)
						}
						return
					}
					g := out[0]
					if g.from != "" || len(g.to) != 1 || g.to[0] != m.from || strings.Count(g.content, c.want) != 2 || strings.Count(g.content, "Status: 2.6.0") != 2 {
						t.Errorf("%+v", g)
					}
					if strings.Contains(g.content, "inside.example") || strings.Contains(g.content, "4711") || strings.Contains(g.content, "body of m-1") {
						t.Errorf("a stranger is told too much:\n%s", g.content)
					}
				})
			})
		}
	}
}

// TestSuccessOfSome: the report names those of whom it was asked for, and clients of our own learn who has the message.
func TestSuccessOfSome(t *testing.T) {
	run(t, func(t *testing.T, b *bench) {
		b.in.is(takes(false, false))
		blob := mail.NewBlob([]byte("Subject: x\r\n\r\nbody\r\n"))
		defer blob.Release()
		e := spool.Entry{ID: "m-1", Time: time.Now(), From: "a@sender.example", Bounce: true, Relay: true, EnvelopeID: "QQ+2B3", Groups: []spool.Group{{
			Route: "in", Upstream: "in", To: []spool.Recipient{
				{Address: "x@example.org"}, {Address: "y@example.org", Notify: "SUCCESS", Original: "rfc822;y+2By@old.example"},
			},
		}}}
		o := takes(false, false)(mail.Envelope{})
		if err := b.q.HandedOn(t.Context(), &e, &o, blob); err != nil {
			t.Fatal(err)
		}
		sleep(time.Minute)
		out := b.out.taken()
		if len(out) != 1 {
			t.Fatalf("sent: %+v", out)
		}
		for _, want := range []string{
			"Original-Envelope-Id: QQ+3\r\n", "Original-Recipient: rfc822; y+y@old.example\r\n", "Final-Recipient: rfc822; y@example.org\r\n",
			"Remote-MTA: dns; mail.inside.example\r\n", "smtp; 250 2.6.0 as 4711\r\n", "\r\n\r\nSubject: x\r\n",
		} {
			if strings.Count(out[0].content, want) != 1 {
				t.Errorf("the report lacks %q:\n%s", want, out[0].content)
			}
		}
		if strings.Contains(out[0].content, "x@example.org") {
			t.Errorf("the report names one of whom nothing was asked:\n%s", out[0].content)
		}
		equal(t, "reported", b.noted(&b.reported), "a@sender.example relayed")
	})
}

// TestSuccessOneByOne: of servers that answer for each recipient by itself the sender has a report for each.
func TestSuccessOneByOne(t *testing.T) {
	run(t, func(t *testing.T, b *bench) {
		b.in.one = true
		b.in.is(takes(false, true))
		b.put(message{id: "m-1", from: "a@sender.example", bounce: true, notify: "SUCCESS", to: []string{"in x@example.org", "in y@example.org"}})
		sleep(time.Minute)
		out := b.out.taken()
		if len(out) != 2 || out[0].id == out[1].id {
			t.Fatalf("%+v", out)
		}
		for _, g := range out {
			if strings.Count(g.content, "Action: delivered") != 1 {
				t.Error(g.content)
			}
		}
	})
}

// TestSuccessUntold: a message that was handed on is not tried again since its sender can't be told.
func TestSuccessUntold(t *testing.T) {
	for name, broken := range map[string]func(*Settings){
		"error": func(s *Settings) {
			s.Sign = func(context.Context, *mail.Message) ([]byte, error) { return nil, errors.New("no key") }
		},
		"panic": func(s *Settings) { s.Sign = func(context.Context, *mail.Message) ([]byte, error) { panic("bug") } },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t)
				defer b.stop()
				broken(&b.s)
				b.q.Configure(b.s)
				b.put(message{id: "m-1", from: "a@sender.example", bounce: true, notify: "SUCCESS", to: []string{"in x@example.org"}})
				sleep(24 * time.Hour)
				if n := len(b.in.taken()); n != 1 || len(b.left()) > 0 {
					t.Errorf("delivered %d times, left: %q", n, b.left())
				}
				equal(t, "reported", b.noted(&b.reported))
				if len(b.noted(&b.faults)) != 1 && name == "error" {
					t.Errorf("faults: %q", b.noted(&b.faults))
				}
			})
		})
	}
}

// TestPutAgain puts a message of an id at the moment in which the one before is removed, and still known. Reports are made twice so, by
// the id that they had, where a power cut came between the report and its mark.
func TestPutAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		defer b.stop()
		m := message{id: "m-1", from: "a@sender.example", to: []string{"in x@example.org"}}
		var again sync.Once
		b.disk.removed = func() {
			again.Do(func() {
				if err := b.tryPut(m); err != nil {
					t.Error(err)
				}
			})
		}
		b.put(m)
		sleep(time.Minute)
		if n := len(b.in.taken()); n != 2 {
			t.Errorf("%d of 2 were delivered", n)
		}
		equal(t, "left", b.left())
	})
}

// TestSuccessPowerCut cuts the power at each moment of a message's life: its sender has a report when it is over, and where
// there are two, both have one id.
func TestSuccessPowerCut(t *testing.T) {
	for at := 1; ; at++ {
		over := false
		for _, loss := range storetest.Losses() {
			t.Run(fmt.Sprintf("%d/%d", at, loss), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					b := newBench(t)
					defer b.stop()
					b.fs.CutAt(at)
					before := b.fs.Ops()
					err := b.tryPut(message{id: "m-1", from: "a@sender.example", bounce: true, notify: "SUCCESS", to: []string{"in x@example.org"}})
					sleep(time.Minute)
					over = b.fs.Ops() < before+at
					b.stopped = true
					b.q.Close(t.Context())
					_ = b.store.Close() // fails where the power is gone
					b.fs.Reboot(loss, uint64(at))
					b.start()
					sleep(time.Hour)
					ids := map[string]int{}
					for _, g := range b.out.taken() {
						ids[g.id]++
					}
					if len(ids) > 1 || err == nil && len(ids) == 0 || len(b.left()) > 0 {
						t.Errorf("acknowledged: %t, reports: %v, left: %q", err == nil, ids, b.left())
					}
				})
			})
		}
		if over {
			if at < 10 {
				t.Errorf("it is over after %d operations", at)
			}
			return
		}
	}
}
