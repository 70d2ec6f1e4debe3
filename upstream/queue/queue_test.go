package queue

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/postern-mail/postern/mail"
	"github.com/postern-mail/postern/upstream"
)

func run(t *testing.T, f func(t *testing.T, b *bench)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		defer b.stop()
		f(t, b)
		b.stop()
		if faults := b.noted(&b.faults); len(faults) > 0 {
			t.Errorf("faults: %q", faults)
		}
	})
}

// TestDelivers: each group gets what is its own, and the spool is empty afterwards.
func TestDelivers(t *testing.T) {
	run(t, func(t *testing.T, b *bench) {
		b.put(message{id: "m-1", from: "a@sender.example", to: []string{"in x@example.org", "in y@example.org", "out z@elsewhere.example"}})
		sleep(time.Second)
		in, out := b.in.taken(), b.out.taken()
		if len(in) != 1 || !slices.Equal(in[0].to, []string{"x@example.org", "y@example.org"}) || in[0].id != "m-1" || in[0].from != "a@sender.example" ||
			in[0].content != "X-Upstream: in\r\nFrom: a@sender.example\r\nSubject: x\r\n\r\nbody of m-1\r\n" {
			t.Errorf("%+v", in)
		}
		if len(out) != 1 || !strings.HasPrefix(out[0].content, "X-Upstream: out\r\n") {
			t.Errorf("%+v", out)
		}
		equal(t, "left", b.left())
		if n, loaded := b.q.Len(); n != 0 || !loaded {
			t.Errorf("%d in the queue", n)
		}
	})
}

// TestDown: what lies there leaves within two seconds once the server is back, however long it was away; until then one
// connection is tried at a time, and no message has lost its turn.
func TestDown(t *testing.T) {
	run(t, func(t *testing.T, b *bench) {
		b.in.is(down)
		for i := range 50 {
			b.put(message{id: fmt.Sprintf("m-%02d", i), from: "a@sender.example", to: []string{"in x@example.org"}})
			sleep(time.Millisecond)
		}
		b.put(message{id: "o-1", from: "a@sender.example", to: []string{"out x@elsewhere.example"}})
		sleep(10 * time.Hour)
		if len(b.out.taken()) != 1 {
			t.Error("another upstream has to wait, too")
		}
		if b.in.most != 1 {
			t.Errorf("%d tries at once of a server that is down", b.in.most)
		}
		if n := b.in.tries; n < 10*3600/2 || n > 10*3600 {
			t.Errorf("%d tries in 10 h", n)
		}
		back := time.Now()
		b.in.is(nil)
		sleep(5 * time.Second)
		all := b.in.taken()
		if len(all) != 50 || all[0].at.Sub(back) > 2*time.Second || all[0].id != "m-00" {
			t.Fatalf("%d delivered, the first %s after %v", len(all), all[0].id, all[0].at.Sub(back))
		}
		changes := b.noted(&b.changes)
		if len(changes) != 2 || changes[0] != "in connection refused" || changes[1] != "in " {
			t.Errorf("told %q", changes)
		}
		if len(b.noted(&b.tried)) != 51 {
			t.Errorf("%d lines in the log: one for each that was delivered is enough", len(b.noted(&b.tried)))
		}
	})
}

// TestDeferred: what is put off by itself waits for its own time, longer each time; others go on.
func TestDeferred(t *testing.T) {
	run(t, func(t *testing.T, b *bench) {
		start := time.Now()
		var at []time.Duration
		b.in.is(func(env mail.Envelope) upstream.Outcome {
			if env.ID == "m-1" {
				at = append(at, time.Since(start))
				return refuses(map[string]mail.Reply{"x@example.org": mail.NewReply(452, 4, 2, 2, "full")})(env)
			}
			return refuses(nil)(env)
		})
		b.put(message{id: "m-1", from: "a@sender.example", to: []string{"in x@example.org"}})
		b.put(message{id: "m-2", from: "a@sender.example", to: []string{"in x@example.org"}})
		sleep(3 * time.Hour)
		if len(b.in.taken()) != 1 {
			t.Error("the other one waits, too")
		}
		for i := 1; i < len(at); i++ {
			want := min(time.Minute<<(i-1), 30*time.Minute)
			if d := at[i] - at[i-1]; d < want*4/5 || d > want*6/5 {
				t.Errorf("try %d came after %v, not about %v", i+1, d, want)
			}
		}
		if len(at) < 9 || len(at) > 11 {
			t.Errorf("%d tries in three hours", len(at))
		}
		b.restart()
		sleep(time.Millisecond)
		l, err := b.q.Get("m-1")
		if err != nil || l.Groups[0].Attempts != len(at) || l.Groups[0].State != StateDeferred || l.Groups[0].To[0].Reply != "452 4.2.2 full" {
			t.Errorf("after a restart: %+v, %v", l, err)
		}
	})
}

// TestSomeRefused: a recipient who is refused does not keep the message from the others, and the sender is told, once.
func TestSomeRefused(t *testing.T) {
	run(t, func(t *testing.T, b *bench) {
		b.in.is(refuses(map[string]mail.Reply{"y@example.org": mail.NewReply(550, 5, 1, 1, "no such user here")}))
		b.put(message{id: "m-1", from: "a@sender.example", bounce: true, to: []string{"in x@example.org", "in y@example.org", "in z@example.org"}})
		sleep(time.Minute)
		in, out := b.in.taken(), b.out.taken()
		if len(in) != 1 || !slices.Equal(in[0].to, []string{"x@example.org", "z@example.org"}) {
			t.Errorf("%+v", in)
		}
		if len(out) != 1 || out[0].from != "" || !slices.Equal(out[0].to, []string{"a@sender.example"}) {
			t.Fatalf("reports: %+v", out)
		}
		for _, want := range []string{"report-type=delivery-status", "Final-Recipient: rfc822; y@example.org", "Action: failed", "Status: 5.1.1", "From: "} {
			if !strings.Contains(out[0].content, want) {
				t.Errorf("the report lacks %q:\n%s", want, out[0].content)
			}
		}
		if strings.Contains(out[0].content, "no such user here") || strings.Contains(out[0].content, "in:25") {
			t.Errorf("a stranger is told of what is inside:\n%s", out[0].content)
		}
		told := b.noted(&b.tried)
		slices.Sort(told)
		equal(t, "told", told, "a@sender.example delivered", "x@example.org delivered", "y@example.org failed", "z@example.org delivered")
		equal(t, "left", b.left())
	})
}

// TestOwnClientsAreTold: those who may relay are told what the server said.
func TestOwnClientsAreTold(t *testing.T) {
	run(t, func(t *testing.T, b *bench) {
		b.out.is(func(env mail.Envelope) upstream.Outcome {
			return upstream.Outcome{Kind: upstream.Refused, Stage: upstream.StageDot, Server: "mx.elsewhere.example:25", Reply: mail.NewReply(554, 5, 7, 1, "no spam please")}
		})
		b.put(message{id: "m-1", from: "ann@example.org", bounce: true, relay: true, ret: "FULL", to: []string{"out x@elsewhere.example"}})
		sleep(time.Minute)
		in := b.in.taken()
		if len(in) != 1 {
			t.Fatalf("%+v", in)
		}
		for _, want := range []string{"no spam please", "mx.elsewhere.example", "body of m-1"} {
			if !strings.Contains(in[0].content, want) {
				t.Errorf("the report lacks %q:\n%s", want, in[0].content)
			}
		}
	})
}

// TestNobodyToTell: what is given up is kept where its sender can't be told, and reports are never reported.
func TestNobodyToTell(t *testing.T) {
	refused := func(mail.Envelope) upstream.Outcome {
		return upstream.Outcome{Kind: upstream.Refused, Stage: upstream.StageDot, Server: "in:25", Reply: mail.NewReply(554, 5, 7, 1, "no")}
	}
	for why, m := range map[Silence]message{
		UnprovenSender: {from: "a@sender.example"},
		NullSender:     {from: "", bounce: true},
		OwnReport:      {from: "a@sender.example", bounce: true, report: true, notify: "NEVER"}, // as all of them have it
		NoRoute:        {from: "a@nowhere.example", bounce: true},
	} {
		t.Run(string(why), func(t *testing.T) {
			run(t, func(t *testing.T, b *bench) {
				b.in.is(refused)
				m.id, m.to = "m-1", []string{"in x@example.org"}
				b.put(m)
				sleep(time.Minute)
				equal(t, "kept", b.noted(&b.kept), "x@example.org: refused by in:25: 554 5.7.1 no")
				equal(t, "told", b.noted(&b.tried), "x@example.org kept")
				equal(t, "silent", b.noted(&b.silent), string(why))
				equal(t, "left", b.left())
				if len(b.out.taken()) > 0 {
					t.Error("a report was sent")
				}
			})
		})
	}
	t.Run("never asked for", func(t *testing.T) {
		run(t, func(t *testing.T, b *bench) {
			b.in.is(refused)
			b.put(message{id: "m-1", from: "a@sender.example", bounce: true, notify: "NEVER", to: []string{"in x@example.org"}})
			sleep(time.Minute)
			equal(t, "kept", b.noted(&b.kept))
			equal(t, "reported", b.noted(&b.reported))
			equal(t, "silent", b.noted(&b.silent), string(NotWanted))
			equal(t, "left", b.left())
		})
	})
	t.Run("told", func(t *testing.T) {
		run(t, func(t *testing.T, b *bench) {
			b.in.is(refused)
			b.put(message{id: "m-1", from: "a@sender.example", bounce: true, to: []string{"in x@example.org"}})
			sleep(time.Minute)
			equal(t, "reported", b.noted(&b.reported), "a@sender.example failed")
			equal(t, "silent", b.noted(&b.silent))
		})
	})
}

// TestLate: a sender is told of a delay, once, and then that we have given up; also while nothing is tried.
func TestLate(t *testing.T) {
	run(t, func(t *testing.T, b *bench) {
		b.s.Expire = 9 * time.Hour
		b.q.Configure(b.s)
		b.in.is(down)
		b.put(message{id: "m-1", from: "a@sender.example", bounce: true, to: []string{"in x@example.org"}})
		b.put(message{id: "m-2", from: "b@sender.example", bounce: true, notify: "FAILURE", to: []string{"in x@example.org"}})
		sleep(6 * time.Hour)
		out := b.out.taken()
		if len(out) != 1 || !strings.Contains(out[0].content, "Action: delayed") || !strings.Contains(out[0].content, "Will-Retry-Until: ") {
			t.Fatalf("after six hours: %+v", out)
		}
		b.restart()
		sleep(2 * time.Hour)
		if n := len(b.out.taken()); n != 1 {
			t.Fatalf("%d reports of the delay", n)
		}
		sleep(2 * time.Hour)
		out = b.out.taken()
		if len(out) != 3 || !strings.Contains(out[1].content, "Action: failed") || !strings.Contains(out[1].content, "Status: 5.4.7") {
			t.Fatalf("after ten hours: %+v", out)
		}
		told := b.noted(&b.reported)
		slices.Sort(told)
		equal(t, "reported", told, "a@sender.example delayed", "a@sender.example failed", "b@sender.example failed")
		equal(t, "left", b.left())
	})
}

// TestOneByOne: a server that answers for each recipient by itself is asked so, and each has an end of its own.
func TestOneByOne(t *testing.T) {
	run(t, func(t *testing.T, b *bench) {
		b.in.one = true
		full := true
		b.in.is(func(env mail.Envelope) upstream.Outcome {
			if env.To[0].String() == "y@example.org" && full {
				return upstream.Outcome{Kind: upstream.Refused, Stage: upstream.StageDot, Server: "in:25", Reply: mail.NewReply(452, 4, 2, 2, "full")}
			}
			return refuses(nil)(env)
		})
		b.put(message{id: "m-1", from: "a@sender.example", to: []string{"in x@example.org", "in y@example.org", "in z@example.org"}})
		sleep(30 * time.Second)
		if n := len(b.in.taken()); n != 2 {
			t.Fatalf("%d delivered", n)
		}
		full = false
		b.restart()
		sleep(2 * time.Minute)
		all := b.in.taken()
		if len(all) != 3 || all[2].to[0] != "y@example.org" {
			t.Errorf("%+v", all)
		}
		equal(t, "left", b.left())
	})
}

// TestTooMany: recipients for whom a transaction has no room come in the next, at once.
func TestTooMany(t *testing.T) {
	run(t, func(t *testing.T, b *bench) {
		b.in.is(func(env mail.Envelope) upstream.Outcome {
			no := map[string]mail.Reply{}
			for _, a := range env.To[min(2, len(env.To)):] {
				no[a.String()] = mail.NewReply(452, 4, 5, 3, "too many recipients")
			}
			return refuses(no)(env)
		})
		m := message{id: "m-1", from: "a@sender.example"}
		for i := range 7 {
			m.to = append(m.to, fmt.Sprintf("in u%d@example.org", i))
		}
		b.put(m)
		sleep(time.Second)
		var to []string
		for _, g := range b.in.taken() {
			to = append(to, strings.Join(g.to, ","))
		}
		equal(t, "transactions", to, "u0@example.org,u1@example.org", "u2@example.org,u3@example.org", "u4@example.org,u5@example.org", "u6@example.org")
	})
}

// TestTurns: somebody's many messages do not stand before another's one, and no more than so many go at once.
func TestTurns(t *testing.T) {
	run(t, func(t *testing.T, b *bench) {
		b.in.is(down)
		for i := range 200 {
			b.put(message{id: fmt.Sprintf("m-%03d", i), from: "a@example.org", user: "ann", to: []string{"in x@example.org"}})
		}
		b.put(message{id: "n-1", from: "b@example.org", user: "bob", to: []string{"in x@example.org"}})
		b.in.slow(time.Second)
		b.in.is(nil)
		sleep(time.Minute)
		all := b.in.taken()
		if i := slices.IndexFunc(all, func(g got) bool { return g.id == "n-1" }); i < 0 || i > 2 || len(all) != 201 {
			t.Errorf("%d of %d came before the other user's", i, len(all))
		}
		if b.in.most != 10 {
			t.Errorf("%d at once", b.in.most)
		}
	})
}

// TestFaultsInARow: a server that refuses each message at MAIL is left alone for longer and longer.
func TestFaultsInARow(t *testing.T) {
	run(t, func(t *testing.T, b *bench) {
		b.in.is(func(mail.Envelope) upstream.Outcome {
			return upstream.Outcome{Kind: upstream.OurFault, Stage: upstream.StageMail, Server: "in:25", Reply: mail.NewReply(451, 4, 7, 1, "not you")}
		})
		for i := range 500 {
			b.put(message{id: fmt.Sprintf("m-%03d", i), from: "a@sender.example", to: []string{"in x@example.org"}})
		}
		sleep(time.Hour)
		if n := b.in.tries; n > 60 {
			t.Errorf("%d tries in an hour", n)
		}
		b.in.is(nil)
		sleep(40 * time.Minute)
		if n := len(b.in.taken()); n != 500 {
			t.Errorf("%d delivered", n)
		}
	})
}

// TestUnknown: where the answer to the final dot is lost, the message is tried again: it is better doubled than lost.
func TestUnknown(t *testing.T) {
	run(t, func(t *testing.T, b *bench) {
		first := true
		b.in.is(func(env mail.Envelope) upstream.Outcome {
			if first {
				first = false
				return upstream.Outcome{Kind: upstream.Unknown, Stage: upstream.StageDot, Server: "in:25", Err: errors.New("connection reset")}
			}
			return refuses(nil)(env)
		})
		b.put(message{id: "m-1", from: "a@sender.example", to: []string{"in x@example.org"}})
		sleep(30 * time.Second)
		if len(b.in.taken()) > 0 {
			t.Error("tried again at once")
		}
		sleep(time.Minute)
		if len(b.in.taken()) != 1 {
			t.Error("not tried again")
		}
	})
}

// TestNoUpstream: mail for an upstream that the configuration has lost waits until it has it again.
func TestNoUpstream(t *testing.T) {
	run(t, func(t *testing.T, b *bench) {
		none := b.s
		none.Relays = map[string]upstream.Relay{}
		b.q.Configure(none)
		b.put(message{id: "m-1", from: "a@sender.example", to: []string{"in x@example.org"}})
		sleep(time.Hour)
		equal(t, "left", b.left(), "m-1")
		b.q.Configure(b.s)
		sleep(time.Second)
		equal(t, "left", b.left())
	})
}

// TestPanic: a relay that panics has delivered nothing that we know of, and stops nothing else.
func TestPanic(t *testing.T) {
	run(t, func(t *testing.T, b *bench) {
		b.in.is(func(env mail.Envelope) upstream.Outcome {
			if env.ID == "m-1" {
				panic("x")
			}
			return refuses(nil)(env)
		})
		b.put(message{id: "m-1", from: "a@sender.example", to: []string{"in x@example.org"}})
		b.put(message{id: "m-2", from: "a@sender.example", to: []string{"in x@example.org"}})
		sleep(time.Minute)
		equal(t, "left", b.left(), "m-1")
	})
}

// TestDamaged: an entry that can't be read is set aside, and the others go on.
func TestDamaged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.in.is(down)
		b.put(message{id: "m-1", from: "a@sender.example", to: []string{"in x@example.org"}})
		b.put(message{id: "m-2", from: "a@sender.example", to: []string{"in x@example.org"}})
		b.stop()
		data := b.fs.Files()["/spool/m-1.msg"]
		if data == nil {
			t.Fatalf("no such file: %v", b.left())
		}
		data[len(data)/2] ^= 1
		b.fs.Put("/spool/m-1.msg", data)
		b.in.is(nil)
		b.start()
		sleep(time.Minute)
		equal(t, "damaged", b.noted(&b.damaged), "m-1")
		if all := b.in.taken(); len(all) != 1 || all[0].id != "m-2" {
			t.Errorf("%+v", all)
		}
		equal(t, "left", b.left())
		if u := b.store.Usage(); u.Damaged != 1 {
			t.Errorf("%+v", u)
		}
		b.stop()
	})
}

// TestPlaces: the id of a report is that of its recipients, and of no others.
func TestPlaces(t *testing.T) {
	seen := map[string]bool{}
	for _, to := range [][]int{{0}, {1}, {0, 1}, {0, 2}, {0, 1, 2}, {1, 2}, {12}, {11, 2}, {1, 12}} {
		w := Places(to)
		if seen[w] || strings.Trim(w, "abcdefghijklmnopqrstuvwxyz0123456789") != "" {
			t.Errorf("%v: %q", to, w)
		}
		seen[w] = true
	}
	if Places([]int{2, 0}) != Places([]int{0, 2}) {
		t.Error("the order counts")
	}
}
