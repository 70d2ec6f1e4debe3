package edge

import (
	"context"
	"errors"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/postern-mail/postern/mail"
	"github.com/postern-mail/postern/upstream"
)

// A sender that is told to come back does, with the same message: it is held once, and each reply names it.
func TestHeldMessageComesAgain(t *testing.T) {
	d := newDoor(t, []string{"data propose quarantine"}, func(d *door, _ *ListenerConfig) { d.gw.SoftBounce = true })
	c := begin(t, d)
	heldAs, ids := regexp.MustCompile(`Message held as (mx-\w+)`), map[string]bool{}
	for range 3 {
		c.steps(strings.Replace(oneMessage, "250 2\\.0\\.0 Ok: queued", "450 4\\.7\\.1", 1))
		if m := heldAs.FindStringSubmatch(c.last); m == nil {
			t.Fatalf("reply %q", c.last)
		} else {
			ids[m[1]] = true
		}
	}
	kept := d.quarantine.all()
	if len(kept) != 1 || len(ids) != 1 || !ids[kept[0].ID] {
		t.Errorf("%d are kept, replies name %v", len(kept), ids)
	}
	again := regexp.MustCompile(`"msg":"delivery","id":"(mx-\w+)".*"because":"sdatapropose\d+: proposes quarantine \(held already as ` + kept[0].ID + `\)"`)
	n := 0
	for _, line := range d.log.lines() {
		if m := again.FindStringSubmatch(line); m != nil && m[1] != kept[0].ID {
			n++
		}
	}
	if n != 2 {
		t.Errorf("%d lines name the message that is held\n%s", n, strings.Join(d.log.lines(), "\n"))
	}
}

// The original of a changed message stays where the message may have arrived, and nowhere else: the sender
// has it, and every retry would add one.
func TestOriginalsOfWhatWasNotDelivered(t *testing.T) {
	for name, c := range map[string]struct {
		answer upstream.Outcome
		drop   error
		reply  string
		kept   int
	}{
		"delivered":   {upstream.Outcome{Kind: upstream.Delivered}, nil, "250", 2},
		"unknown":     {upstream.Outcome{Kind: upstream.Unknown}, nil, "451", 2},
		"refused":     {upstream.Outcome{Kind: upstream.Refused, Reply: mail.NewReply(554, 5, 6, 0, "no")}, nil, "554", 0},
		"deferred":    {upstream.Outcome{Kind: upstream.Refused, Reply: mail.NewReply(451, 4, 2, 0, "no")}, nil, "451", 0},
		"recipient":   {upstream.Outcome{Kind: upstream.RecipientRefused}, nil, "451", 0},
		"unreachable": {upstream.Outcome{Kind: upstream.Unreachable}, nil, "451", 0},
		"fault":       {upstream.Outcome{Kind: upstream.OurFault}, nil, "451", 0},
		"stuck":       {upstream.Outcome{Kind: upstream.Refused, Reply: mail.NewReply(554, 5, 6, 0, "no")}, errors.New("disk on fire"), "554", 2},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDoor(t, []string{"data strip 0"}, func(d *door, _ *ListenerConfig) {
				d.relay.answer = func(mail.Envelope) upstream.Outcome { return c.answer }
				d.quarantine.dropErr = c.drop
			})
			client := begin(t, d)
			for range 2 {
				client.steps(strings.Replace(oneMessage, "250 2\\.0\\.0 Ok: queued", c.reply, 1))
			}
			if n := len(d.quarantine.all()); n != c.kept {
				t.Errorf("%d originals are kept, want %d", n, c.kept)
			}
			if c.drop != nil {
				client.steps("log: \"msg\":\"original can not be dropped\",\"id\":\"mx-.*\"error\":\"disk on fire\"")
			}
		})
	}
}

// TestKeptBeforeTheReply: nobody is answered, and nothing is handed on, before the quarantine has said that its copy is durable.
func TestKeptBeforeTheReply(t *testing.T) {
	for name, c := range map[string]struct {
		filter, reply string
		delivered     int
	}{
		"held":     {"data propose quarantine", "550 5.7.1 Message held", 0},
		"original": {"data strip 0", "250 2.0.0 Ok: queued", 1},
	} {
		t.Run(name, func(t *testing.T) {
			q := &slowQuarantine{begun: make(chan struct{}), synced: make(chan struct{})}
			d := newDoor(t, []string{c.filter}, func(d *door, _ *ListenerConfig) {
				q.Quarantine = d.gw.Quarantine
				d.gw.Quarantine = q
			})
			client := begin(t, d)
			client.steps("C: MAIL FROM:<a@sender.example>\nS: 250\nC: RCPT TO:<b@ours.example>\nS: 250\nC: DATA\nS: 354")
			client.send("Subject: x\r\n\r\nx\r\n.\r\n")
			<-q.begun
			_ = client.conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
			if b, err := client.r.Peek(1); err == nil || len(d.relay.all()) > 0 {
				t.Errorf("%q came, %d were delivered", b, len(d.relay.all()))
			}
			close(q.synced)
			if r := client.reply(); !strings.HasPrefix(r, c.reply) || len(d.relay.all()) != c.delivered || len(d.quarantine.all()) != 1 {
				t.Errorf("%q, %d delivered, %d kept", r, len(d.relay.all()), len(d.quarantine.all()))
			}
		})
	}
}

// slowQuarantine has a disk that takes its time.
type slowQuarantine struct {
	Quarantine
	begun, synced chan struct{}
}

func (q *slowQuarantine) Keep(ctx context.Context, h Held, b *mail.Blob) (string, error) {
	close(q.begun)
	<-q.synced
	return q.Quarantine.Keep(ctx, h, b)
}
