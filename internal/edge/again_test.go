package edge

import (
	"encoding/binary"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/postern-mail/postern/mail"
	"github.com/postern-mail/postern/upstream"
)

// connected gives how many connections there are.
func (d *door) connected() int {
	d.srv.mu.Lock()
	defer d.srv.mu.Unlock()
	return len(d.srv.wires)
}

// deserted waits until there is no connection any more.
func deserted(t *testing.T, d *door) {
	t.Helper()
	waitFor(t, func() bool { return d.connected() == 0 })
}

// hook is called at the beginning of each Deliver; nil is nothing.
type hook = atomic.Pointer[func()]

// leaves brings a message and goes where its reply would be waited for: the server inside takes its time until then.
func leaves(t *testing.T, d *door, h *hook, content string, to ...string) {
	t.Helper()
	gone, goes := make(chan struct{}), make(chan struct{})
	f := func() { close(goes); <-gone }
	h.Store(&f)
	c := begin(t, d)
	c.steps("C: MAIL FROM:<a@client.example>\nS: 250")
	for _, rcpt := range to {
		c.steps("C: RCPT TO:<" + rcpt + ">\nS: 250")
	}
	c.steps("C: DATA\nS: 354")
	c.send(content + ".\r\n")
	<-goes
	c.close()
	close(gone)
	deserted(t, d)
	h.Store(nil)
}

// comes brings a message, and gives the reply to it.
func comes(t *testing.T, d *door, content string, to ...string) string {
	t.Helper()
	c := begin(t, d)
	c.steps("C: MAIL FROM:<a@client.example>\nS: 250")
	for _, rcpt := range to {
		c.steps("C: RCPT TO:<" + rcpt + ">\nS: 250")
	}
	c.steps("C: DATA\nS: 354")
	c.send(content + ".\r\n")
	reply := c.reply()
	c.steps("C: QUIT\nS: 221")
	deserted(t, d)
	return reply
}

const once = "Message-ID: <1@client.example>\r\nSubject: once\r\n\r\nonce\r\n"

// TestComesAgain has clients go before they hear that their message was taken, and come again.
func TestComesAgain(t *testing.T) {
	everybody := []string{"u@ours.example", "v@ours.example"}
	for _, c := range []struct {
		name    string
		slow    time.Duration // a reply that counts as late
		first   string
		second  string
		to      []string // the second time
		handed  int      // to the server inside
		repeats int
	}{
		{"the same", time.Nanosecond, once, once, []string{"v@ours.example", "u@ours.example"}, 1, 1},
		{"another octet", time.Nanosecond, once, strings.Replace(once, "\r\nonce", "\r\nOnce", 1), everybody, 2, 0},
		{"other recipients", time.Nanosecond, once, once, everybody[:1], 2, 0},
		{"nothing tells it from another one", time.Nanosecond, "Subject: probe\r\n\r\nx\r\n", "Subject: probe\r\n\r\nx\r\n", everybody, 2, 0},
		{"a reply that was there at once", time.Hour, once, once, everybody, 2, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := &hook{}
			d := newDoor(t, nil, func(d *door, cfg *ListenerConfig) {
				cfg.slow = c.slow
				d.relay.before = func() {
					if f := h.Load(); f != nil {
						(*f)()
					}
				}
			})
			leaves(t, d, h, c.first, everybody...)
			reply := comes(t, d, c.second, c.to...)
			if !strings.HasPrefix(reply, "250 2.0.0 Ok: queued as ") {
				t.Errorf("the second time: %s", reply)
			}
			if n := len(d.relay.all()); n != c.handed {
				t.Errorf("handed on %d times, not %d", n, c.handed)
			}
			if n := d.metrics.repeats[AgainTaken]; n != c.repeats {
				t.Errorf("%d repeats were counted, not %d", n, c.repeats)
			}
			if c.repeats == 0 {
				return
			}
			first := d.relay.all()[0].env.ID
			if !strings.Contains(reply, first) {
				t.Errorf("%q does not name %s", reply, first)
			}
			if log := strings.Join(d.log.lines(), "\n"); !strings.Contains(log, `"again":"`+first+`"`) {
				t.Errorf("the log does not say which message came again:\n%s", log)
			}
			if comes(t, d, c.second, c.to...); len(d.relay.all()) != c.handed+1 {
				t.Error("who has heard the reply, and sends the same once more, is not believed")
			}
		})
	}
}

// TestComesAgainAndBreaks: a fault of ours beside a message that came again does not have it handed on twice.
func TestComesAgainAndBreaks(t *testing.T) {
	h, m := &hook{}, &endBreaks{&fakeMetrics{rejects: map[string]int{}, commands: map[string]int{}}, "again"}
	d := newDoor(t, nil, func(d *door, cfg *ListenerConfig) {
		d.gw.Metrics, cfg.slow = m, time.Nanosecond
		d.relay.before = func() {
			if f := h.Load(); f != nil {
				(*f)()
			}
		}
	})
	leaves(t, d, h, once, "u@ours.example")
	reply := comes(t, d, once, "u@ours.example")
	if got := d.relay.all(); !strings.HasPrefix(reply, "250 2.0.0 Ok: queued as ") || len(got) != 1 || !strings.Contains(reply, got[0].env.ID) {
		t.Errorf("%s; handed on %d times", reply, len(got))
	}
	if n := m.panicked(); n != 1 {
		t.Errorf("%d panics were counted", n)
	}
	if comes(t, d, once, "u@ours.example"); len(d.relay.all()) != 2 {
		t.Error("who has heard the reply, and sends the same once more, is not believed")
	}
}

// TestSaysNoMore has a client that hears its reply, and one that only falls silent.
func TestSaysNoMore(t *testing.T) {
	d := newDoor(t, nil, func(_ *door, cfg *ListenerConfig) { cfg.slow = time.Nanosecond })
	comes(t, d, once, "u@ours.example")
	if reply := comes(t, d, once, "u@ours.example"); len(d.relay.all()) != 2 {
		t.Errorf("the second one was not handed on: %s", reply)
	}
}

// TestUnknownAgain has the server inside say nothing about a message.
func TestUnknownAgain(t *testing.T) {
	var answers atomic.Int32
	d := newDoor(t, nil, func(d *door, _ *ListenerConfig) {
		d.relay.answer = func(mail.Envelope) upstream.Outcome {
			if answers.Add(1) == 1 {
				return upstream.Outcome{Kind: upstream.Unknown, Stage: upstream.StageDot, Server: "backend:25"}
			}
			return upstream.Outcome{Kind: upstream.Delivered, Stage: upstream.StageDot, Server: "backend:25", Reply: mail.NewReply(250, 2, 0, 0, "has it")}
		}
	})
	reply := comes(t, d, once, "u@ours.example")
	if !strings.HasPrefix(reply, "451 4.4.2") {
		t.Errorf("unknown: %s", reply)
	}
	_, id, _ := strings.Cut(reply, "(")
	id, _, _ = strings.Cut(id, ")")
	if reply = comes(t, d, once, "u@ours.example"); !strings.HasPrefix(reply, "250") || len(d.relay.all()) != 1 {
		t.Errorf("again: %s", reply)
	}
	if !strings.Contains(strings.Join(d.log.lines(), "\n"), `"again":"`+id+`"`) || d.metrics.repeats[AgainUnknown] != 1 {
		t.Errorf("nobody says that %s came again: %v", id, d.metrics.repeats)
	}
}

// TestRepeatsAreBounded has more messages than are remembered, and some that are too old.
func TestRepeatsAreBounded(t *testing.T) {
	r, now := newRepeats(), time.Now()
	id := func(i int) (s sameness) {
		binary.BigEndian.PutUint64(s[:], uint64(i))
		return s
	}
	for i := range 2 * againMost {
		r.remember(id(i), before{what: AgainTaken, size: int64(i % 7), at: now})
	}
	if len(r.all) != againMost || len(r.order) != againMost {
		t.Errorf("%d messages are remembered, in an order of %d", len(r.all), len(r.order))
	}
	if _, ok := r.find(id(0), now); ok {
		t.Error("the oldest is still there")
	}
	if _, ok := r.find(id(2*againMost-1), now.Add(againFor)); ok {
		t.Error("one is remembered for ever")
	}
	if n := len(r.all); n != againMost-1 {
		t.Errorf("%d messages are remembered, and one of them is too old", n)
	}
	for i := range 2 * againMost {
		r.drop(id(i))
	}
	if len(r.all) != 0 || len(r.sizes) != 0 {
		t.Errorf("%d, %v are left", len(r.all), r.sizes)
	}
}
