package queue

import (
	"context"
	"testing"
	"time"

	"github.com/postern-mail/postern/mail"
	"github.com/postern-mail/postern/upstream"
)

// TestRest: a queue that is to end begins no try, ends those under way, and takes what comes.
func TestRest(t *testing.T) {
	run(t, func(t *testing.T, b *bench) {
		b.s.Parallel = 1
		b.q.Configure(b.s)
		b.in.slow(20 * time.Second)
		b.put(message{id: "m-1", from: "a@sender.example", to: []string{"in x@example.org"}})
		b.put(message{id: "m-2", from: "a@sender.example", to: []string{"in x@example.org"}})
		sleep(10 * time.Second)
		b.q.Rest()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		go b.q.Close(ctx)
		sleep(5 * time.Second)
		b.put(message{id: "m-3", from: "a@sender.example", to: []string{"in x@example.org"}})
		sleep(time.Minute)
		if b.in.tries != 1 || len(b.in.taken()) != 1 {
			t.Errorf("%d tries, %d deliveries", b.in.tries, len(b.in.taken()))
		}
		equal(t, "left", b.left(), "m-2", "m-3")
		b.restart()
		sleep(5 * time.Minute)
		equal(t, "left", b.left())
	})
}

// TestCut: a try that is cut off at the end says nothing about its upstream, and the message waits.
func TestCut(t *testing.T) {
	run(t, func(t *testing.T, b *bench) {
		b.in.slow(time.Hour)
		b.in.is(func(env mail.Envelope) upstream.Outcome {
			return upstream.Outcome{Kind: upstream.Unreachable, Stage: upstream.StageDial, Server: "in:25", Err: context.Canceled}
		})
		b.put(message{id: "m-1", from: "a@sender.example", to: []string{"in x@example.org"}})
		sleep(10 * time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		began := time.Now()
		b.q.Close(ctx)
		if took := time.Since(began); took != 3*time.Second {
			t.Errorf("it took %v", took)
		}
		equal(t, "changes", b.noted(&b.changes))
		b.in.slow(0)
		b.in.is(nil)
		b.restart()
		sleep(time.Second)
		equal(t, "left", b.left())
	})
}

// TestSlowRefusal: a server that takes all the time that a try has leaves time to tell the sender what it said.
func TestSlowRefusal(t *testing.T) {
	run(t, func(t *testing.T, b *bench) {
		b.in.slow(tryTime)
		b.in.is(refuses(map[string]mail.Reply{"x@example.org": mail.NewReply(550, 5, 1, 1, "no"), "y@example.org": mail.NewReply(550, 5, 7, 1, "never")}))
		b.put(message{id: "m-1", from: "a@sender.example", bounce: true, to: []string{"in x@example.org"}})
		b.put(message{id: "m-2", from: "a@sender.example", to: []string{"in x@example.org", "in y@example.org"}})
		sleep(2*tryTime + time.Minute)
		equal(t, "reported", b.noted(&b.reported), "a@sender.example failed")
		const why = ": refused by in:25: 550 5.1.1 no; refused by in:25: 550 5.7.1 never"
		equal(t, "kept", b.noted(&b.kept), "x@example.org"+why, "y@example.org"+why)
		equal(t, "left", b.left())
	})
}

// TestDuringTry: what is ordered, and configured, while a message is being tried holds from the end of that try on.
func TestDuringTry(t *testing.T) {
	run(t, func(t *testing.T, b *bench) {
		b.in.slow(time.Minute)
		b.in.is(refuses(map[string]mail.Reply{"x@example.org": mail.NewReply(450, 4, 2, 1, "later")}))
		b.put(message{id: "m-1", from: "a@sender.example", to: []string{"in x@example.org"}})
		sleep(10 * time.Second)
		if _, err := b.q.Do(Hold, "m-1", Filter{}); err != nil {
			t.Fatal(err)
		}
		if d, err := b.q.Do(Retry, "m-1", Filter{}); err != nil || d.Held != 1 {
			t.Errorf("%+v, %v", d, err)
		}
		sleep(5 * time.Hour)
		if b.in.tries != 1 {
			t.Errorf("%d tries of what is held", b.in.tries)
		}
		b.in.is(nil)
		if _, err := b.q.Do(Release, "m-1", Filter{}); err != nil {
			t.Fatal(err)
		}
		sleep(10 * time.Second)
		without := b.s
		without.Relays = map[string]upstream.Relay{}
		b.q.Configure(without)
		b.put(message{id: "m-2", from: "a@sender.example", to: []string{"in x@example.org"}})
		sleep(10 * time.Minute)
		equal(t, "left", b.left(), "m-2")
		b.q.Configure(b.s)
		sleep(2 * time.Minute)
		equal(t, "left", b.left())
	})
}
