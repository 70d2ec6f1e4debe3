package edge

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/postern-mail/postern/internal/spool"
	"github.com/postern-mail/postern/mail"
	"github.com/postern-mail/postern/upstream"
)

// TestCloseBeforeTheSpool: who is hung up on hears no 250, and brings the message again: nothing of it is stored.
func TestCloseBeforeTheSpool(t *testing.T) {
	for name, within := range map[string]bool{"while it is handed on": false, "while it is stored": true} {
		t.Run(name, func(t *testing.T) {
			var server atomic.Pointer[Server]
			shut := func() {
				go func() { _ = server.Load().Close() }()
				<-server.Load().ctx.Done()
			}
			d, f := spoolDoor(t, []string{"data strip 1"}, func(d *door, _ *ListenerConfig) {
				d.relay.answer = func(mail.Envelope) upstream.Outcome {
					if !within {
						shut()
					}
					return upstream.Outcome{Kind: upstream.Unreachable, Stage: upstream.StageMail, Server: "in:25"}
				}
				if within {
					d.gw.Spool = closingSpool{d.gw.Spool, shut}
				}
			})
			server.Store(d.srv)
			c := begin(t, d)
			c.steps("C: MAIL FROM:<a@sender.example>\nS: 250\nC: RCPT TO:<b@ours.example>\nS: 250\nC: DATA\nS: 354")
			c.send("Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nx\r\n--b--\r\n.\r\n")
			if line, _ := c.r.ReadString('\n'); line != "" && !strings.HasPrefix(line, "421 4.3.2 ") { // it may still hear that
				t.Errorf("the client got %q", line)
			}
			_ = d.srv.Close() // waits for the session
			if all := f.all(); len(all) != 0 {
				t.Errorf("in the spool: %+v", all)
			}
			if held := d.quarantine.all(); len(held) != 0 {
				t.Errorf("an original is left behind: %+v", held)
			}
			c.steps("log: 421 4\\.3\\.2 Service shutting down")
		})
	}
}

// closingSpool heeds its context, as the real one does, while the server is being closed.
type closingSpool struct {
	Spool
	shut func()
}

func (s closingSpool) Put(ctx context.Context, e spool.Entry, original *mail.Blob, messages []*mail.Message) error {
	s.shut()
	if err := ctx.Err(); err != nil {
		return err
	}
	return s.Spool.Put(ctx, e, original, messages)
}

// TestOriginalWithTheSpool: what is stripped is kept as it came where the spool takes the message, and only there.
func TestOriginalWithTheSpool(t *testing.T) {
	for name, c := range map[string]struct {
		to    []string
		some  bool // the next server refuses one recipient
		err   error
		reply string
		kept  int
	}{
		"taken":                   {to: []string{"b@ours.example"}, reply: "250 2.0.0", kept: 1},
		"taken for some":          {to: []string{"b@ours.example", "c@ours.example"}, some: true, reply: "250 2.0.0", kept: 1},
		"taken apart":             {to: []string{"b@ours.example", "c@second.example"}, reply: "250 2.0.0", kept: 2},
		"disk broken":             {to: []string{"b@ours.example"}, err: errors.New("EIO"), reply: "451 4.3.0"},
		"disk broken, for some":   {to: []string{"b@ours.example", "c@ours.example"}, some: true, err: errors.New("EIO"), reply: "451 4.3.0"},
		"disk full, for two ends": {to: []string{"b@ours.example", "c@second.example"}, err: spool.ErrFull, reply: "452 4.3.1"},
	} {
		t.Run(name, func(t *testing.T) {
			d, f := spoolDoor(t, []string{spf, "data strip 1"}, func(d *door, _ *ListenerConfig) {
				d.relay.answer = func(env mail.Envelope) upstream.Outcome {
					if c.some {
						last := env.To[len(env.To)-1]
						return upstream.Outcome{
							Kind: upstream.RecipientRefused, Stage: upstream.StageRcpt,
							Refused: map[mail.Address]mail.Reply{last: mail.NewReply(550, 5, 1, 1, "no")},
						}
					}
					return upstream.Outcome{Kind: upstream.Unreachable, Stage: upstream.StageDial}
				}
			})
			f.is(c.err, false)
			reply := sendContent(t, d, "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nx\r\n--b--\r\n", "a@sender.example", c.to...)
			if !strings.HasPrefix(reply, c.reply) {
				t.Errorf("reply %q, not %s", reply, c.reply)
			}
			held := d.quarantine.all()
			if len(held) != c.kept || slices.ContainsFunc(held, func(h Held) bool { return h.Kind != HeldOriginal }) {
				t.Errorf("%d are kept: %+v", len(held), held)
			}
			if all := f.all(); (len(all) == 1) != (c.err == nil) || len(all) == 1 && !strings.Contains(all[0].contents[0], "removed") {
				t.Errorf("in the spool: %+v", all)
			}
		})
	}
}
