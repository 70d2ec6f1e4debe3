package edge

import (
	"bufio"
	"context"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/emersion/go-smtp"

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

// TestPanicsOfTheConnection: it ends, and the process does not. The client hears why, behind what it was told before, and so does the log.
func TestPanicsOfTheConnection(t *testing.T) {
	for _, verb := range []string{"NOOP", "EHLO", "EOD"} {
		for _, engine := range engines {
			t.Run(verb+" "+engine, func(t *testing.T) {
				m := &panickingMetrics{fakeMetrics: &fakeMetrics{rejects: map[string]int{}, commands: map[string]int{}}, verb: verb}
				d, spool := spoolDoor(t, nil, func(d *door, cfg *ListenerConfig) {
					d.gw.Metrics, cfg.Engine = m, engine
				})
				c := dialDoor(t, d)
				t.Cleanup(c.close)
				c.steps("S: 220")
				if verb != "EHLO" {
					c.steps("C: EHLO x\nS: 250\nC: MAIL FROM:<a@sender.example>\nS: 250\nC: RCPT TO:<b@ours.example>\nS: 250")
				}
				if verb == "EOD" {
					c.steps("C: RCPT TO:<c@second.example>\nS: 250\nC: DATA\nS: 354")
					c.send("\r\nx\r\n.\r\n")
				} else {
					c.send(verb + " x\r\n")
				}
				said, _ := io.ReadAll(c.r)
				if !strings.HasPrefix(string(said), "250") || !strings.HasSuffix(string(said), "\r\n421 4.3.0 Internal error, closing the connection\r\n") {
					t.Errorf("said %q", said)
				}
				c.steps("log: \"msg\":\"connection panicked\",\"id\":\"[^\"]+\",\"client\":.*\"error\":\"broken\",\"stack\":\".*answered")
				switch verb {
				case "NOOP":
					c.steps("log: \"to\":\"b@ours.example\".*\"action\":\"aborted\",\"because\":\"a fault of ours ended it\"")
				case "EOD":
					c.steps("log: \"to\":\"b@ours.example\".*\"action\":\"continue\",.*\"code\":250\nnolog: \"action\":\"aborted\"")
					if n := len(spool.all()); n != 1 {
						t.Errorf("%d messages in the spool", n)
					}
				}
				if n := m.panicked(); n != 1 {
					t.Errorf("%d panics counted", n)
				}
			})
		}
	}
}

// panickingMetrics breaks on one verb.
type panickingMetrics struct {
	*fakeMetrics
	verb string
}

func (m *fakeMetrics) panicked() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.panics
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

// endBreaks breaks in one of the things that come after a message's end is settled.
type endBreaks struct {
	*fakeMetrics
	in string
}

func (m *endBreaks) Score(float64) { m.breakIn("score") }
func (m *endBreaks) Message(string, filter.Action, string, bool, int64) {
	m.breakIn("message")
}
func (m *endBreaks) Again(string, string)               { m.breakIn("again") }
func (m *endBreaks) DataDuration(string, time.Duration) { m.breakIn("duration") }
func (m *endBreaks) Reject(string, string, mail.Reply, string) {
	m.breakIn("reject")
}

func (m *endBreaks) breakIn(what string) {
	if m.in == what {
		panic("broken")
	}
}

// lineBreaks is a log that breaks on the line of one recipient, once.
type lineBreaks struct {
	slog.Handler
	to   string
	done *atomic.Bool
}

func (h lineBreaks) Handle(ctx context.Context, r slog.Record) error {
	r.Attrs(func(a slog.Attr) bool {
		if r.Message != MsgDelivery {
			return false
		}
		for _, a := range a.Value.Group() {
			if a.Key == KeyTo && a.Value.String() == h.to && h.done.CompareAndSwap(false, true) {
				panic("broken")
			}
		}
		return false
	})
	return h.Handler.Handle(ctx, r)
}

// TestPanicsAfterTheEnd: what has come to its end is answered by that, whatever breaks behind it. What is in the spool stays there.
func TestPanicsAfterTheEnd(t *testing.T) {
	for _, engine := range engines {
		for _, c := range []struct {
			in, filter, reply string
			lines             []string // of b and c: their codes
			panics            int
		}{
			{"score", "", "250 2\\.0\\.0 Ok: queued as ", []string{"250", "250"}, 2},
			{"message", "", "250 2\\.0\\.0 Ok: queued as ", []string{"250", "250"}, 2},
			{"duration", "", "250 2\\.0\\.0 Ok: queued as ", []string{"250", "250"}, 1},
			{"line", "", "250 2\\.0\\.0 Ok: queued as ", []string{"", "250"}, 1},
			{"reject", "data propose reject", "550 5\\.7\\.1 ", []string{"550", "550"}, 1},
			{"duration", "data propose defer", "451 4\\.3\\.0 temporary problem", []string{"451", "451"}, 1},
		} {
			t.Run(engine+" "+c.in+" "+c.filter, func(t *testing.T) {
				m := &endBreaks{&fakeMetrics{rejects: map[string]int{}, commands: map[string]int{}}, c.in}
				var filters []string
				if c.filter != "" {
					filters = append(filters, c.filter)
				}
				d, spool := spoolDoor(t, filters, func(d *door, cfg *ListenerConfig) {
					d.gw.Metrics, cfg.Engine = m, engine
					if c.in == "line" {
						d.gw.Log = slog.New(lineBreaks{d.gw.Log.Handler(), "b@ours.example", new(atomic.Bool)})
					}
				})
				cl := begin(t, d)
				cl.steps("C: MAIL FROM:<a@sender.example>\nS: 250\nC: RCPT TO:<b@ours.example>\nS: 250\nC: RCPT TO:<c@second.example>\nS: 250\nC: DATA\nS: 354")
				cl.send("\r\nx\r\n.\r\n")
				cl.steps("S: " + c.reply + "\nC: NOOP\nS: 250\nnolog: \"action\":\"aborted\"")
				id := regexp.MustCompile(`mx-[0-9a-z]+`).FindString(strings.Join(d.log.lines(), "\n"))
				for i, to := range []string{"b@ours.example", "c@second.example"} {
					if line := `log: "to":"` + to + `".*"stage":"eod",.*"code":` + c.lines[i]; c.lines[i] != "" {
						cl.steps(line)
					} else {
						cl.steps("no" + line)
					}
				}
				cl.steps(`log: "msg":"session panicked","id":"` + id + `","client":.*"error":"broken","stack":"`)
				if n := m.panicked(); n != c.panics {
					t.Errorf("%d panics counted", n)
				}
				if n, want := len(spool.all()), c.reply[:3] == "250"; n == 1 != want {
					t.Errorf("%d messages in the spool", n)
				}
			})
		}
	}
}

// alwaysBreaks is a log that breaks on each line, once it is told to.
type alwaysBreaks struct {
	slog.Handler
	lines *atomic.Int64 // that broke
	on    *atomic.Bool
	from  string // but for what comes before the first line that says so
}

func (h alwaysBreaks) Handle(ctx context.Context, r slog.Record) error {
	if h.on.Load() && (h.lines.Load() > 0 || h.from == "" || r.Message == h.from) {
		h.lines.Add(1)
		panic("the log is broken")
	}
	return h.Handler.Handle(ctx, r)
}

// panicsToo breaks on one verb, and when it is told of that.
type panicsToo struct{ *panickingMetrics }

func (panicsToo) Panic() { panic("broken") }

// TestPanicsThatNobodyHears: where nothing can be told of a panic, as the log and the metrics break, too, clients are served all the same. What was
// delivered is acknowledged.
func TestPanicsThatNobodyHears(t *testing.T) {
	for _, engine := range engines {
		for _, c := range []struct {
			name, from, filter, verb, reply string
			delivered                       int
		}{
			{"behind the delivery", MsgDelivery, "", "", "250 2\\.0\\.0 Ok", 1},
			{"before it", "", "data propose quarantine", "", "451 4\\.3\\.0 Internal error", 0},
			{"of the connection", "", "", "NOOP", "250.*\nS: 421 4\\.3\\.0 Internal error, closing the connection", 0},
		} {
			t.Run(engine+" "+c.name, func(t *testing.T) {
				var broken atomic.Bool
				var lines atomic.Int64
				var filters []string
				if c.filter != "" {
					filters = append(filters, c.filter)
				}
				d := newDoor(t, filters, func(d *door, cfg *ListenerConfig) {
					cfg.Engine, d.gw.Quarantine = engine, panicQuarantine{}
					d.gw.Log = slog.New(alwaysBreaks{d.gw.Log.Handler(), &lines, &broken, c.from})
					d.gw.Metrics = panicsToo{&panickingMetrics{&fakeMetrics{rejects: map[string]int{}, commands: map[string]int{}}, c.verb}}
				})
				other, cl := begin(t, d), begin(t, d)
				if c.verb == "" {
					cl.steps("C: MAIL FROM:<a@sender.example>\nS: 250\nC: RCPT TO:<b@ours.example>\nS: 250\nC: DATA\nS: 354")
					broken.Store(true)
					cl.send("\r\nx\r\n.\r\n")
				} else {
					broken.Store(true)
					cl.send(c.verb + "\r\n")
				}
				cl.steps("S: " + c.reply + "\nno5yz:")
				if n := len(d.relay.all()); n != c.delivered || lines.Load() == 0 {
					t.Errorf("%d were delivered, %d lines broke", n, lines.Load())
				}
				broken.Store(false)
				other.steps("C: MAIL FROM:<a@sender.example>\nS: 250\nC: RCPT TO:<b@ours.example>\nS: 250")
			})
		}
	}
}

// brokenSession breaks in go-smtp's hands.
type brokenSession struct {
	*session
	in string
}

func (b brokenSession) Rcpt(path string, o *smtp.RcptOptions) error {
	if b.in == "RCPT" && strings.HasPrefix(path, "c@") {
		panic("broken: now")
	}
	return b.session.Rcpt(path, o)
}

func (b brokenSession) Reset() {
	if b.in == "RSET" {
		panic("broken: now")
	}
	b.session.Reset()
}

// TestPanicsOfGoSMTP: a panic that go-smtp has recovered from is one as ours are, and not the client's end.
func TestPanicsOfGoSMTP(t *testing.T) {
	for _, command := range []string{"RCPT TO:<c@ours.example>", "RSET"} {
		t.Run(command, func(t *testing.T) {
			d := makeDoor(t, nil, nil)
			ours, theirs := net.Pipe()
			defer func() { _, _ = ours.Close(), theirs.Close() }()
			_ = ours.SetDeadline(time.Now().Add(20 * time.Second))
			w := newWire(d.srv.cfg.Load(), d.current.Load, t.Context(), theirs)
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				g := newGuard(w, false)
				runGoSMTP(w, g, func(*smtp.Conn) (smtp.Session, error) {
					s, err := newSession(w, g.contentRead)
					return brokenSession{s.(*session), command[:4]}, err
				})
				w.close()
			}()
			r := bufio.NewReader(ours)
			for _, line := range []string{"", "HELO x", "MAIL FROM:<a@sender.example>", "RCPT TO:<b@ours.example>", command} {
				if line != "" {
					_, _ = io.WriteString(ours, line+"\r\n")
				}
				reply, err := r.ReadString('\n')
				if is := strings.HasPrefix(reply, "2"); err != nil || is != (line != command) {
					t.Fatalf("%s: %q, %v", line, reply, err)
				}
				if line == command && reply != "421 4.3.0 Internal error, closing the connection\r\n" {
					t.Errorf("%q", reply)
				}
			}
			<-ended
			waitFor(t, func() bool { return strings.Contains(strings.Join(d.log.lines(), "\n"), "engine panicked") })
			log := strings.Join(d.log.lines(), "\n")
			aborted := regexp.MustCompile(`"id":"([^"]+)",.*"to":"b@ours.example",.*"action":"aborted","because":"a fault of ours ended it"`).FindStringSubmatch(log)
			crash := regexp.MustCompile(`"level":"ERROR","msg":"engine panicked","id":"([^"]+)",.*"error":"broken: now","stack":"goroutine`).FindStringSubmatch(log)
			if aborted == nil || crash == nil || aborted[1] != crash[1] || strings.Contains(log, `"msg":"engine",`) {
				t.Errorf("log:\n%s", log)
			}
			if n := d.metrics.panicked(); n != 1 {
				t.Errorf("%d panics counted", n)
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
