package edge

import (
	"context"
	"io"
	"net"
	"strings"
	"testing"

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
				c.steps("C: EHLO x\nS: 250")
			}
			c.send(verb + " x\r\n")
			_, _ = io.Copy(io.Discard, c.r) // it ends, and the process does not
			c.steps("log: \"msg\":\"connection panicked\"")
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
}
