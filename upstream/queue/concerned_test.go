package queue

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/postern-mail/postern/mail"
	"github.com/postern-mail/postern/upstream"
)

// concerns answers with a fault, or a refusal, at stage for those of the recipients whom replies names, as upstream.Pool does.
func concerns(kind upstream.Kind, stage upstream.Stage, replies map[string]mail.Reply) func(mail.Envelope) upstream.Outcome {
	return func(env mail.Envelope) upstream.Outcome {
		o := refuses(nil)(env)
		all := map[mail.Address]mail.Reply{}
		for _, a := range env.To {
			if r, is := replies[a.String()]; is {
				all[a] = r
				o.Kind, o.Stage, o.Reply = kind, stage, r
			}
		}
		if len(all) > 0 && len(all) < len(env.To) {
			o.Concerned = all
		}
		return o
	}
}

func to(n int) (all []string) {
	for i := range n {
		all = append(all, fmt.Sprintf("in u%d@example.org", i))
	}
	return all
}

// whose gives to whom all that was taken went.
func whose(all []got) (to []string) {
	for _, g := range all {
		to = append(to, g.to...)
	}
	slices.Sort(to)
	return to
}

// TestConcerned: a fault, or a refusal on account of the client, in reply to one RCPT costs the others nothing.
func TestConcerned(t *testing.T) {
	denied := mail.NewReply(550, 5, 7, 54, "Unable to relay")
	for _, one := range []bool{false, true} {
		t.Run(fmt.Sprintf("fault, one by one %v", one), func(t *testing.T) {
			run(t, func(t *testing.T, b *bench) {
				b.in.one = one
				b.in.is(concerns(upstream.OurFault, upstream.StageRcpt, map[string]mail.Reply{"u0@example.org": denied, "u2@example.org": denied}))
				b.put(message{id: "m-1", from: "a@sender.example", to: to(4)})
				sleep(10 * time.Second)
				equal(t, "taken for", whose(b.in.taken()), "u1@example.org", "u3@example.org")
				l, err := b.q.Get("m-1")
				if err != nil || l.Groups[0].To[2].Reply != denied.String() || l.Groups[0].To[0].State != "waiting" {
					t.Errorf("%+v, %v", l, err)
				}
				equal(t, "changes", b.noted(&b.changes))
				b.in.is(nil)
				sleep(2 * time.Minute)
				equal(t, "left", b.left())
			})
		})
	}
	t.Run("the client", func(t *testing.T) {
		run(t, func(t *testing.T, b *bench) {
			listed := mail.NewReply(554, 5, 7, 1, "Client host blocked")
			b.in.is(concerns(upstream.Refused, upstream.StageRcpt, map[string]mail.Reply{"u1@example.org": listed}))
			b.put(message{id: "m-1", from: "a@sender.example", bounce: true, to: to(3)})
			sleep(10 * time.Second)
			equal(t, "taken for", whose(b.in.taken()), "u0@example.org", "u2@example.org")
			ended := b.noted(&b.ended)
			slices.Sort(ended)
			equal(t, "ended", ended[:3], "m-1 u0@example.org delivered", "m-1 u1@example.org failed", "m-1 u2@example.org delivered")
			equal(t, "left", b.left())
		})
	})
	t.Run("the first of many", func(t *testing.T) { // one by one, with more who end a try than a try bears
		run(t, func(t *testing.T, b *bench) {
			b.in.one = true
			no := map[string]mail.Reply{}
			for i := range 17 {
				no[fmt.Sprintf("u%d@example.org", i)] = denied
			}
			b.in.is(concerns(upstream.OurFault, upstream.StageRcpt, no))
			b.put(message{id: "m-1", from: "a@sender.example", to: to(20)})
			sleep(time.Hour)
			equal(t, "taken for", whose(b.in.taken()), "u17@example.org", "u18@example.org", "u19@example.org")
		})
	})
}

// TestCountsTries: a try counts once, for however many it had something to tell of.
func TestCountsTries(t *testing.T) {
	run(t, func(t *testing.T, b *bench) {
		b.in.one = true
		b.in.is(refuses(map[string]mail.Reply{"u7@example.org": mail.NewReply(452, 4, 2, 2, "full"), "u8@example.org": mail.NewReply(550, 5, 1, 1, "no")}))
		b.put(message{id: "m-1", from: "a@sender.example", bounce: true, to: to(10)})
		sleep(10 * time.Second)
		for i := range 2 {
			l, err := b.q.Get("m-1")
			if err != nil || l.Groups[0].Attempts != i+1 || l.Groups[0].Next == nil {
				t.Fatalf("%+v, %v", l, err)
			}
			if d, want := time.Until(*l.Groups[0].Next), time.Minute<<i; d > want*6/5 || d < want*4/5-45*time.Second {
				t.Errorf("after try %d: %v", i+1, d)
			}
			sleep(80 * time.Second)
		}
	})
}

// insecure is what a pool says of recipients whose mail needs TLS where there is none.
func insecure(domain string) func(mail.Envelope) upstream.Outcome {
	return func(env mail.Envelope) upstream.Outcome {
		replies := map[string]mail.Reply{}
		for _, a := range env.To {
			if a.Domain() == domain {
				replies[a.String()] = mail.Reply{}
			}
		}
		o := concerns(upstream.OurFault, upstream.StageTLS, replies)(env)
		if o.Kind == upstream.OurFault {
			o.Err = fmt.Errorf("in:25: %w", upstream.ErrInsecure)
		}
		return o
	}
}

// TestInsecure: what may leave within TLS only waits by itself. The rest of its origin's mail, of its destination's, and of its own
// recipients goes on.
func TestInsecure(t *testing.T) {
	run(t, func(t *testing.T, b *bench) {
		b.in.is(insecure("bank.example"))
		b.put(message{id: "m-1", from: "a@sender.example", to: []string{"in x@bank.example"}})
		b.put(message{id: "m-2", from: "a@sender.example", to: []string{"in x@bank.example", "in x@example.org"}})
		for i := range 20 {
			b.put(message{id: fmt.Sprintf("n-%02d", i), from: "a@sender.example", to: []string{"in y@example.org"}})
		}
		sleep(3 * time.Second)
		if n := len(b.in.taken()); n != 21 {
			t.Errorf("%d delivered, not 21", n)
		}
		equal(t, "left", b.left(), "m-1", "m-2")
		equal(t, "changes", b.noted(&b.changes))
		sleep(6 * time.Hour)
		if n := b.in.tries; n < 40 || n > 70 {
			t.Errorf("%d tries", n)
		}
		b.in.is(nil)
		sleep(time.Hour)
		equal(t, "left", b.left())
	})
}

// TestFaultFirst: a message that a server answers with a fault before it has heard of it stands before no other, also where nobody
// can tell that it is the message's own.
func TestFaultFirst(t *testing.T) {
	for name, o := range map[string]upstream.Outcome{
		"auth":     {Kind: upstream.OurFault, Stage: upstream.StageAuth, Server: "in:25", Err: errors.New("no")},
		"greeting": {Kind: upstream.OurFault, Stage: upstream.StageGreeting, Server: "in:25", Reply: mail.NewReply(554, 5, 7, 1, "not you")},
	} {
		t.Run(name, func(t *testing.T) {
			run(t, func(t *testing.T, b *bench) {
				b.in.is(func(env mail.Envelope) upstream.Outcome {
					if strings.HasPrefix(env.ID, "m-") {
						return o
					}
					return refuses(nil)(env)
				})
				b.put(message{id: "m-1", from: "a@sender.example", to: []string{"in x@example.org"}})
				sleep(time.Second)
				for i := range 20 {
					b.put(message{id: fmt.Sprintf("n-%02d", i), from: "a@sender.example", to: []string{"in y@example.org"}})
				}
				sleep(time.Minute)
				if n := len(b.in.taken()); n != 20 {
					t.Errorf("%d delivered, not 20", n)
				}
			})
		})
	}
	t.Run("identity", func(t *testing.T) { // the server was told of the client, and answers him
		run(t, func(t *testing.T, b *bench) {
			b.in.identifies = true
			b.in.is(func(env mail.Envelope) upstream.Outcome {
				if env.Client == nil {
					t.Errorf("%s: no client", env.ID)
				}
				if env.ID != "m-1" {
					return refuses(nil)(env)
				}
				return upstream.Outcome{Kind: upstream.OurFault, Stage: upstream.StageIdentity, Server: "in:25", Reply: mail.NewReply(550, 5, 7, 0, "x")}
			})
			for _, id := range []string{"m-1", "m-2", "m-3"} {
				b.put(message{id: id, from: "a@sender.example", helo: "c.example", to: []string{"in x@example.org"}})
			}
			sleep(2 * time.Second)
			equal(t, "left", b.left(), "m-1")
			equal(t, "changes", b.noted(&b.changes))
		})
	})
}
