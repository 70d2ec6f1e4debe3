package upstream

import (
	"errors"
	"io"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/postern-mail/postern/mail"
)

func TestClientReply(t *testing.T) {
	said := mail.NewReply(554, 5, 7, 1, "content refused by mail1.corp")
	for _, c := range []struct {
		name           string
		o              Outcome
		want, verbatim string // verbatim "" is as want
	}{
		{"zero value", Outcome{}, "451 4.4.0 the next server is not ready for us, please try again later (ID)", ""},
		{"delivered", Outcome{Kind: Delivered, Reply: mail.NewReply(250, 2, 6, 0, "mail1.corp has it")}, "250 2.0.0 Ok: queued as ID", ""},
		{"refused", Outcome{Kind: Refused, Reply: said}, "554 5.7.1 the next server refused the message (ID)", "554 5.7.1 content refused by mail1.corp (ID)"},
		{"refused without words", Outcome{Kind: Refused, Reply: mail.Reply{Code: 550}}, "550 5.0.0 the next server refused the message (ID)", ""},
		{
			"deferred",
			Outcome{Kind: Refused, Reply: mail.NewReply(452, 4, 2, 2, "full")},
			"452 4.2.2 the next server cannot take the message now, please try again later (ID)", "452 4.2.2 full (ID)",
		},
		{"our fault in spite of a 5yz", Outcome{Reply: said, Stage: StageMail}, "451 4.4.0 the next server is not ready for us, please try again later (ID)", ""},
		{"recipient", Outcome{Kind: RecipientRefused, Reply: said}, "451 4.3.0 a recipient is no longer accepted, please try again (ID)", ""},
		{"no connection", Outcome{Kind: Unreachable, Stage: StageDial}, "451 4.4.1 the next server cannot be reached, please try again later (ID)", ""},
		{"lost", Outcome{Kind: Unreachable, Stage: StageBody}, "451 4.4.2 the connection to the next server was lost, please try again later (ID)", ""},
		{"unknown", Outcome{Kind: Unknown, Stage: StageDot}, "451 4.4.2 the next server did not confirm the message, please try again later (ID)", ""},
		{"disk full", Outcome{Stage: StageStore, Err: syscall.ENOSPC}, "452 4.3.1 insufficient system storage, please try again later (ID)", ""},
		{"disk", Outcome{Stage: StageStore, Err: errors.New("bad")}, "451 4.3.0 local error, please try again later (ID)", ""},
		{"content", Outcome{Stage: StageContent, Err: io.EOF}, "451 4.3.0 local error, please try again later (ID)", ""},
		{"a kind that is none", Outcome{Kind: 99, Reply: said}, "451 4.4.0 the next server is not ready for us, please try again later (ID)", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := c.o.ClientReply("ID", false).String(); got != c.want {
				t.Errorf("got %s", got)
			}
			if c.verbatim == "" {
				c.verbatim = c.want
			}
			if got := c.o.ClientReply("ID", true).String(); got != c.verbatim {
				t.Errorf("verbatim: got %s", got)
			}
		})
	}
}

// TestClientReplyProperty: only what was delivered is acknowledged, and only a refused message is refused
// for good, with a code and an enhanced code of one class.
func TestClientReplyProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		o := Outcome{
			Kind:  rapid.SampledFrom(Kinds()).Draw(t, "kind"),
			Stage: rapid.SampledFrom(Stages()).Draw(t, "stage"),
			Reply: mail.Reply{
				Code:     rapid.IntRange(400, 599).Draw(t, "code"),
				Enhanced: mail.Enhanced{rapid.IntRange(0, 5).Draw(t, "class"), rapid.IntRange(0, 7).Draw(t, "subject"), 1},
			},
		}
		r := o.ClientReply("ID", rapid.Bool().Draw(t, "verbatim"))
		if r.Positive() != (o.Kind == Delivered) || r.Permanent() != (o.Kind == Refused && o.Reply.Permanent()) ||
			r.Enhanced[0] != r.Code/100 || r.Code == 421 || r.Text == "" {
			t.Fatalf("%v for %+v", r, o)
		}
	})
}

func TestAnswersAreBounded(t *testing.T) {
	synctest.Test(t, testAnswersAreBounded)
}

func testAnswersAreBounded(t *testing.T) {
	a, now := newAnswers(), time.Now()
	from, to := address(t, "a@x.test"), address(t, "b@y.test")
	a.refused(from, to, mail.NewReply(550, 5, 1, 1, "no"), now)
	for i := range 5 * maxAnswers {
		other, err := mail.ParseAddress("u" + string(rune('a'+i%26)) + time.Duration(i).String() + "@y.test")
		if err != nil {
			t.Fatal(err)
		}
		a.accepted(from, []mail.Address{other}, now, false)
		a.refused(other, from, mail.NewReply(450, 4, 7, 1, "later"), now)
		if i%1000 == 0 {
			if _, ok := a.refusal(nil, to); !ok {
				t.Fatalf("what is asked for is forgotten after %d", i)
			}
		}
		if yes, no := len(a.yes.young)+len(a.yes.elder), len(a.no.young)+len(a.no.elder); yes > 2*maxAnswers || no > 2*maxAnswers {
			t.Fatalf("%d acceptances, %d refusals", yes, no)
		}
	}
	time.Sleep(keepRefused)
	if _, ok := a.refusal(nil, to); ok {
		t.Error("remembered for ever")
	}
	now = time.Now()
	a.refused(from, to, mail.NewReply(550, 5, 1, 1, "no"), now)
	good := func(after time.Duration) bool {
		good, fresh := a.good([]mail.Address{to}, now.Add(after))
		if fresh != (good && after <= renewAccepted) {
			t.Errorf("after %v fresh: %v", after, fresh)
		}
		return good
	}
	a.accepted(from, []mail.Address{to}, now, false)
	if _, ok := a.refusal(&from, to); ok || !good(0) || !good(renewAccepted) || !good(renewAccepted+1) || !good(keepAccepted-1) || good(keepAccepted) {
		t.Error("an acceptance does not end a refusal, or not hold")
	}
	a.refused(from, to, mail.NewReply(450, 4, 7, 1, "later"), now)
	if good(0) {
		t.Error("a refusal does not end an acceptance")
	}
}

func TestAboutMailbox(t *testing.T) {
	for text, want := range map[string]bool{
		"550 5.1.1 x": true, "550 5.1.10 x": true, "550 5.2.1 disabled": true, "452 4.2.2 full": true,
		"450 4.2.0 greylisted": false, "550 5.1.8 sender": false, "550 5.7.1 x": false, "550 5.1.7 x": false, "550 5.0.0 x": false,
		"550 User unknown": true, "550 No such mailbox": true, "550 Sender unknown": false, "550 unknown": true,
		"550 Domain of sender does not exist": false, "550 rejected": false, "450 unknown": false, "554 unknown": false,
		"550 unknown@evil.test is blocked here": false, "550 <no such@evil.test>: blocked": false, `550 "not found"@evil.test: blocked`: false,
		"550 unknown.evil.test is blocked here": false, "550 <bob@y.test>: unknown": true, "550 bob@y.test: no such mailbox": true,
	} {
		r, err := parseReply(text + "\r\n")
		if err != nil {
			t.Fatal(err)
		}
		if aboutMailbox(r) != want {
			t.Errorf("%s: %v", text, !want)
		}
	}
}

// TestStrangersWords: what a sender calls himself does not become a refusal for everybody, nor a fault of ours.
func TestStrangersWords(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{name: "s1", scripts: [][]string{{
			"S 220 s", "C EHLO gw.test", "S 250 s",
			"C MAIL FROM:<unknown@evil.test>", "S 250 ok", "C RCPT TO:<bob@y.test>", "S 550 unknown@evil.test is blocked here", "C RSET", "S 250 ok",
			`C MAIL FROM:<"a relay b"@evil.test>`, "S 250 ok", "C RCPT TO:<bob@y.test>", `S 550 5.7.1 <"a relay b"@evil.test>: rejected`, "C RSET", "S 250 ok",
			"WAIT",
		}}, done: make(chan struct{})}
		p := pool(t, Config{Servers: []string{"s1.test:25"}, Hello: "gw.test", Dial: pipeNet{"s1.test:25": b}.dial})
		to := address(t, "bob@y.test")
		for _, from := range []string{"unknown@evil.test", `"a relay b"@evil.test`} {
			env := mail.Envelope{From: address(t, from), To: []mail.Address{to}}
			if o := p.Deliver(t.Context(), env, message(t, "Subject: x\r\n\r\nx\r\n")); o.Kind != RecipientRefused {
				t.Errorf("%s: %s, %v", from, o.Kind, o.Err)
			}
			if r, ok := p.Cached(to); ok {
				t.Errorf("%s: everybody is told %s", from, r)
			}
			if _, ok := p.CachedFrom(env.From, to); !ok {
				t.Errorf("%s: he himself is not told", from)
			}
		}
		p.Close()
		if err := b.stop(); err != nil {
			t.Error(err)
		}
	})
}
