package upstream

import (
	"context"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// unanswered are the beginnings of dialogs that a server does not carry on.
var unanswered = map[string]struct {
	script string
	stage  Stage
	after  time.Duration // of waiting, with time-outs of 30 s for commands and 120 s for the dot
}{
	"silent":                  {script: "STALL", stage: StageMail, after: 30 * time.Second},
	"an octet every 20 s":     {script: "S \"2\"\nPAUSE 20s\nS \"5\"\nPAUSE 20s\nS? \"0\"\nSTALL", stage: StageMail, after: 30 * time.Second},
	"a line every 20 s":       {script: "S 250-a\nPAUSE 20s\nS 250-b\nPAUSE 20s\nS? 250 c\nSTALL", stage: StageMail, after: 30 * time.Second},
	"an octet, soon":          {script: "S \"2\"\nSTALL", stage: StageMail, after: 30 * time.Second},
	"a slow reply, then none": {script: "PAUSE 29s\nS 250 Ok\nSTALL", stage: StageRcpt, after: 59 * time.Second},
	"half of two replies":     {script: "S \"250 Ok\\r\\n2\"\nSTALL", stage: StageRcpt, after: 30 * time.Second},
	"no reply to the dot":     {script: "S 250 Ok\nS 250 Ok\nC DATA\nS 354 go\nBODY\nSTALL", stage: StageDot, after: 120 * time.Second},
}

// TestDeadlines: no reply outlives its time by a moment, however it comes.
func TestDeadlines(t *testing.T) {
	for name, c := range unanswered {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				greet := "S 220 s1\nC EHLO gw.test\nS 250-s1\nS 250 PIPELINING\nC MAIL FROM:<a@x.test>\nC+ RCPT TO:<b@y.test>\n"
				b := &backend{name: "s1", done: make(chan struct{}), scripts: [][]string{strings.Split(greet+c.script, "\n")}}
				took := map[Stage]time.Duration{}
				p := pool(t, Config{Servers: []string{"s1.test:25"}, Dial: pipeNet{"s1.test:25": b}.dial, Hooks: Hooks{
					Phases: func(_ string, all []Took) {
						for _, one := range all {
							took[one.Stage] += one.For
						}
					},
				}})
				start := time.Now()
				o := p.Deliver(t.Context(), envelope(t, "b@y.test"), message(t, "x\r\n"))
				if waited := time.Since(start); o.Stage != c.stage || waited != c.after || o.Elapsed != c.after || !late(o.Err) {
					t.Errorf("%+v after %v", o, waited)
				}
				// A stage is told where it has ended.
				if last := took[c.stage]; c.stage != StageRcpt && last != c.after {
					t.Errorf("told %v", took)
				}
				if err := b.stop(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// TestInterruptedSocket: over TCP, too, the end of the context is noticed while a server makes us wait, be it soon or late,
// and in a write as well.
func TestInterruptedSocket(t *testing.T) {
	hello := "S 220 s1\nC EHLO gw.test\nS 250 s1\n"
	data := hello + "C MAIL FROM:<a@x.test>\nS 250 Ok\nC RCPT TO:<b@y.test>\nS 250 Ok\nC DATA\nS 354 go\n"
	for name, c := range map[string]struct {
		script  string
		after   time.Duration // of the reply to EHLO
		content int
		stage   Stage
	}{
		"soon, in a read": {script: hello + "DRAIN", after: unwatched / 10, stage: StageMail},
		"late, in a read": {script: hello + "DRAIN", after: 2 * unwatched, stage: StageMail},
		"in a write":      {script: data + "STALL", after: 10 * unwatched, content: 16 << 20, stage: StageBody},
	} {
		t.Run(name, func(t *testing.T) {
			b := &backend{name: "s1", done: make(chan struct{}), scripts: [][]string{strings.Split(c.script, "\n")}}
			m := message(t, strings.Repeat("0123456789abc\r\n", c.content/15+1))
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			var begun time.Time
			p := pool(t, Config{Servers: []string{listen(t, b)}, Hooks: Hooks{Phases: func(_ string, took []Took) {
				if took[0].Stage == StageHello {
					begun = time.Now()
					time.AfterFunc(c.after, cancel)
				}
			}}})
			o := p.Deliver(ctx, envelope(t, "b@y.test"), m)
			if waited := time.Since(begun); o.Kind != Unreachable || o.Stage != c.stage || waited < c.after || waited > c.after+25*time.Second {
				t.Errorf("%+v after %v", o, waited)
			}
			if err := b.stop(); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestAnswerPieces: over TCP, replies are taken together in whatever pieces and at whatever time they come.
func TestAnswerPieces(t *testing.T) {
	hello := "S 220 s1\nC EHLO gw.test\nS 250-s1\nS 250 PIPELINING\nC MAIL FROM:<a@x.test>\nC+ RCPT TO:<b@y.test>\n"
	rest := "\nC DATA\nS 354 go\nBODY\n"
	long := strings.Repeat("x", 400)
	for name, c := range map[string]struct {
		script  string
		content int
		reply   string
	}{
		"cut in a code":      {script: "S \"25\"\nPAUSE 20ms\nS \"0 Ok\\r\\n250 Ok\\r\\n\"" + rest + "S 250 taken", reply: "taken"},
		"cut, and late":      {script: "S \"25\"\nPAUSE 250ms\nS \"0 Ok\\r\\n250 Ok\\r\\n\"" + rest + "S \"250 ta\"\nPAUSE 250ms\nS ken", reply: "taken"},
		"late":               {script: "PAUSE 250ms\nS 250 Ok\nPAUSE 250ms\nS 250 Ok" + rest + "PAUSE 250ms\nS 250 taken", reply: "taken"},
		"longer than a look": {script: "S 250 " + long + "\nS 250 " + long + rest + "S 250-" + long + "\nS 250 " + long, reply: long + "\n" + long},
		"large content":      {script: "S 250 Ok\nS 250 Ok" + rest + "S 250 taken", content: 8 << 20, reply: "taken"},
	} {
		t.Run(name, func(t *testing.T) {
			b := &backend{name: "s1", done: make(chan struct{}), scripts: [][]string{strings.Split(hello+c.script+"\nWAIT", "\n")}}
			p := pool(t, Config{Servers: []string{listen(t, b)}})
			content := "Subject: x\r\n\r\n" + strings.Repeat("0123456789abc\r\n", c.content/15)
			o := p.Deliver(t.Context(), envelope(t, "b@y.test"), message(t, content))
			if o.Kind != Delivered || o.Reply.Text != c.reply {
				t.Errorf("%+v", o)
			}
			p.Close()
			if err := b.stop(); err != nil {
				t.Error(err)
			}
			if len(b.bodies) != 1 || b.bodies[0] != content {
				t.Errorf("%d came, of %d octets", len(b.bodies), len(content))
			}
		})
	}
}

// TestPatience: what a server may take until it asks for the content has a bound of its own, which does not hold for the
// reply to the final dot: who breaks that off does not know what became of the message.
func TestPatience(t *testing.T) {
	hello := "S 220 s1\nC EHLO gw.test\nS 250 s1\nC MAIL FROM:<a@x.test>\nS 250 Ok\nC RCPT TO:<b@y.test>\nS 250 Ok\nC DATA\n"
	for name, c := range map[string]struct {
		script string
		kind   Kind
		stage  Stage
		after  time.Duration
		blamed bool
	}{
		"before the content": {script: hello + "PAUSE 8s\nSTALL", kind: Unreachable, stage: StageData, after: 5 * time.Second},
		"a slow reply to the dot": {
			script: hello + "PAUSE 4s\nS 354 go\nBODY\nPAUSE 90s\nS 250 taken\nC QUIT", kind: Delivered, stage: StageDot, after: 94 * time.Second,
		},
		"no reply to the dot": {script: hello + "S 354 go\nBODY\nSTALL", kind: Unknown, stage: StageDot, after: 120 * time.Second, blamed: true},
		"broken off within the content, late": {
			script: hello + "PAUSE 4s\nS 354 go\nPAUSE 8s\nRST", kind: Unreachable, stage: StageBody, after: 12 * time.Second, blamed: true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := &backend{name: "s1", done: make(chan struct{}), scripts: [][]string{strings.Split(c.script, "\n")}}
				p := pool(t, Config{Servers: []string{"s1.test:25"}, Dial: pipeNet{"s1.test:25": b}.dial})
				env := envelope(t, "b@y.test")
				env.Patience = 5 * time.Second
				o := p.Deliver(t.Context(), env, message(t, "x\r\n"))
				if o.Kind != c.kind || o.Stage != c.stage || o.Elapsed != c.after {
					t.Errorf("%+v", o)
				}
				if down := p.servers[0].down.Load(); down != c.blamed {
					t.Errorf("blamed: %v", down)
				}
				p.Close()
				if err := b.stop(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// TestLeaveWhileRelaxing: a server may be found down at the moment at which the content gets a bound of its own.
func TestLeaveWhileRelaxing(t *testing.T) {
	for range 100 {
		client, server := net.Pipe()
		c := newConn(client, "s1.test:25", &Timeouts{})
		soon, cancel := hurry(t.Context(), time.Minute)
		c.attach(soon)
		var wg sync.WaitGroup
		wg.Go(c.leave)
		relaxed := c.relax(soon.whole)
		wg.Wait()
		if !relaxed && !c.isCut() {
			t.Error("given up, and nobody left")
		}
		c.detach()
		cancel()
		_, _ = client.Close(), server.Close()
	}
}
