package edge

import (
	"context"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/internal/spool"
	"github.com/postern-mail/postern/mail"
	"github.com/postern-mail/postern/upstream"
)

func TestPanicsOfTheSession(t *testing.T) {
	for name, breakIt := range map[string]func(*door){
		"router":     func(d *door) { d.gw.Router = panicRouter{} },
		"exemptions": func(d *door) { d.gw.ExemptRecipients = func(mail.Address) bool { panic("broken") } },
		"quarantine": func(d *door) { d.gw.Quarantine = panicQuarantine{} },
	} {
		t.Run(name, func(t *testing.T) {
			d := newDoor(t, []string{"data propose quarantine"}, func(d *door, _ *ListenerConfig) { breakIt(d) })
			c := begin(t, d)
			c.steps("C: MAIL FROM:<a@sender.example>\nS: 250\nC: RCPT TO:<b@ours.example>")
			if strings.HasPrefix(c.reply(), "250") {
				c.steps("C: DATA\nS: 354\nraw: \"\\r\\nx\\r\\n.\\r\\n\"\nS: 451 4\\.3\\.0 Internal error")
			} else if !strings.HasPrefix(c.last, "451 4.3.0 Internal error") {
				t.Errorf("reply %q", c.last)
			}
			c.steps("no5yz:\nC: RSET\nS: 250\nlog: \"msg\":\"session panicked\".*\"stack\":")
			if d.metrics.panics != 1 {
				t.Errorf("%d panics counted", d.metrics.panics)
			}
		})
	}
}

type panicRouter struct{}

func (panicRouter) Route(upstream.Query) (upstream.Route, error) { panic("broken") }

type panicQuarantine struct{}

func (panicQuarantine) Keep(context.Context, Held, *mail.Blob) (string, error) { panic("broken") }
func (panicQuarantine) Drop(context.Context, string) error                     { panic("broken") }

func TestPanicsOfTheConnection(t *testing.T) {
	for _, verb := range []string{"NOOP", "EHLO"} {
		t.Run(verb, func(t *testing.T) {
			m := &panickingMetrics{verb: verb}
			d := newDoor(t, nil, func(d *door, _ *ListenerConfig) { d.gw.Metrics = m })
			c := dialDoor(t, d)
			t.Cleanup(c.close)
			c.steps("S: 220")
			if verb == "NOOP" {
				c.steps("C: EHLO x\nS: 250\nC: MAIL FROM:<a@sender.example>\nS: 250\nC: RCPT TO:<b@ours.example>\nS: 250")
			}
			c.send(verb + " x\r\n")
			_, _ = io.Copy(io.Discard, c.r) // it ends, and the process does not
			c.steps("log: \"msg\":\"connection panicked\"")
			if verb == "NOOP" {
				c.steps("log: \"to\":\"b@ours.example\".*\"action\":\"aborted\",\"because\":\"a fault of ours ended it\"")
			}
		})
	}
}

// panickingMetrics breaks on one verb.
type panickingMetrics struct {
	noMetrics
	verb string
}

func (m *panickingMetrics) Command(_, verb string, _ int) {
	if verb == m.verb {
		panic("broken")
	}
}

// TestPanicsAroundTheDelivery: the lines of recipients say what became of a message, whatever breaks before or after its delivery.
func TestPanicsAroundTheDelivery(t *testing.T) {
	for _, c := range []struct {
		name        string
		was         int64 // octets of a message that may come again; 0: there is none
		reply, line string
		delivered   int
	}{
		{"before", int64(len(once)), "451 4\\.3\\.0 Internal error", `"stage":"eod","action":"defer","because":"panic",.*"code":451`, 0},
		{"after", 0, "250 2\\.0\\.0 Ok", `"stage":"eod","action":"continue",.*"code":250`, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			var content atomic.Bool
			d := newDoor(t, nil, func(d *door, cfg *ListenerConfig) {
				cfg.slow = time.Nanosecond
				d.gw.Big = func(netip.Addr) string { // who asks when the content is there wants to know whether a message came again
					if content.Load() {
						panic("broken")
					}
					return ""
				}
			})
			if c.was > 0 {
				d.srv.repeats.remember(sameness{}, before{what: AgainTaken, size: c.was, at: time.Now()})
			}
			cl := begin(t, d)
			cl.steps("C: MAIL FROM:<a@sender.example>\nS: 250\nC: RCPT TO:<b@ours.example>\nS: 250\nC: DATA\nS: 354")
			content.Store(true)
			cl.send(once + ".\r\n")
			cl.steps("S: " + c.reply + "\nno5yz:\nC: NOOP\nS: 250\nlog: \"to\":\"b@ours.example\".*" + c.line + "\nnolog: \"action\":\"aborted\"")
			if n := len(d.relay.all()); n != c.delivered || d.metrics.panics != 1 {
				t.Errorf("%d were delivered, %d panics were counted", n, d.metrics.panics)
			}
		})
	}
}

// Content that is not read to its end must not be read as commands, whatever broke.
func TestPanicAmidContent(t *testing.T) {
	d := makeDoor(t, nil, nil)
	ours, theirs := net.Pipe()
	defer func() { _, _ = ours.Close(), theirs.Close() }()
	w := newWire(d.srv.cfg.Load(), d.current.Load, t.Context(), theirs)
	s := &session{w: w}
	broken := func() (err error) {
		defer s.recovered(&err)
		w.body = true
		panic("broken")
	}
	if err := broken(); err == nil || !strings.Contains(err.Error(), "421") || !strings.Contains(err.Error(), "Internal error") {
		t.Errorf("got %v; a 421 ends the connection", err)
	}
	s.in = &filter.Session{}
	tx := &transaction{gw: d.gw, in: &filter.Transaction{ID: "t"}, to: []*recipient{{}}}
	broken = func() (err error) {
		defer s.broke(tx, &err)
		panic("broken")
	}
	if err := broken(); err == nil || !strings.Contains(err.Error(), "421") || !tx.settled {
		t.Errorf("got %v of a transaction; a 421 ends it and the connection", err)
	}
}

// TestPanicDropsTheOriginal: what was kept of a message that does not leave is not left behind, whoever panics.
func TestPanicDropsTheOriginal(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*door)
		to     string
		kept   int
	}{
		"signer, one of two groups": {func(d *door) { d.gw.Signer = &panicSigner{after: 1} }, "c@second.example", 0},
		"what the relay says":       {func(d *door) { d.gw.Relays["one"] = apartPanics{d.relay} }, "c@never.example 452 4\\.5\\.3", 0},
		"the spool, after all":      {func(d *door) { d.gw.Spool = panicSpool{d.gw.Spool} }, "c@second.example", 2},
	} {
		t.Run(name, func(t *testing.T) {
			d, _ := spoolDoor(t, []string{"data strip 1"}, func(d *door, _ *ListenerConfig) {
				d.relay.one = true
				d.relay.answer = func(mail.Envelope) upstream.Outcome {
					return upstream.Outcome{Kind: upstream.Refused, Stage: upstream.StageDot, Reply: mail.NewReply(550, 5, 7, 1, "no")}
				}
				c.change(d)
			})
			from := "b@ours.example"
			if strings.Contains(c.to, "452") {
				from = "b@never.example"
			}
			cl := begin(t, d)
			to, reply, _ := strings.Cut(c.to, " ")
			cl.steps("C: MAIL FROM:<a@sender.example>\nS: 250\nC: RCPT TO:<" + from + ">\nS: 250\nC: RCPT TO:<" + to + ">\nS: " + cmpOr(reply, "250"))
			cl.steps("C: DATA\nS: 354")
			cl.send("Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nx\r\n--b--\r\n.\r\n")
			cl.steps("S: 451 4\\.3\\.0 Internal error\nno5yz:")
			if held := d.quarantine.all(); len(held) != c.kept {
				t.Errorf("%d originals are left", len(held))
			}
			if d.metrics.panics != 1 {
				t.Errorf("%d panics", d.metrics.panics)
			}
		})
	}
}

// panicSigner signs some messages, and breaks.
type panicSigner struct{ after int }

func (p *panicSigner) Sign(context.Context, *filter.Input, *mail.Message) ([]byte, string, error) {
	if p.after--; p.after < 0 {
		panic("broken")
	}
	return nil, "none", nil
}

type apartPanics struct{ *fakeRelay }

func (apartPanics) Apart(mail.Address, mail.Address, upstream.Outcome) upstream.Outcome {
	panic("broken")
}

type panicSpool struct{ Spool }

func (panicSpool) Put(context.Context, spool.Entry, *mail.Blob, []*mail.Message) error {
	panic("broken")
}
