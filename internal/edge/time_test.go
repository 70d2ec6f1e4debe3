package edge

import (
	"bufio"
	"context"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/internal/users"
	"github.com/postern-mail/postern/pipeline"
	"github.com/postern-mail/postern/upstream"
)

// slow is a client in a bubble where waiting takes no time.
type slow struct {
	t     *testing.T
	conn  net.Conn
	r     *bufio.Reader
	began time.Time
}

// inBubble runs a client against a door whose clock is the bubble's.
func inBubble(t *testing.T, talk func(*door, *slow)) {
	synctest.Test(t, func(t *testing.T) {
		d := makeDoor(t, nil, func(_ *door, cfg *ListenerConfig) { cfg.TLS = nil })
		ours, theirs := net.Pipe()
		d.srv.take(theirs)
		talk(d, &slow{t, ours, bufio.NewReader(ours), time.Now()})
		_ = ours.Close()
		_ = d.srv.Close()
	})
}

func (s *slow) expect(want string) {
	s.t.Helper()
	for {
		line, err := s.r.ReadString('\n')
		if err != nil || !strings.HasPrefix(line, want) {
			s.t.Fatalf("got %q, %v; want %q, after %v", line, err, want, time.Since(s.began))
		}
		if line[3] == ' ' {
			return
		}
	}
}

func (s *slow) say(line, want string) {
	s.t.Helper()
	if _, err := io.WriteString(s.conn, line); err != nil {
		s.t.Fatalf("%q: %v", line, err)
	}
	s.expect(want)
}

// drip sends one octet at a time until the server hangs up, and gives the time that this took.
func (s *slow) drip(every time.Duration) time.Duration {
	start := time.Now()
	gone := make(chan struct{})
	go func() {
		s.expect("421")
		close(gone)
	}()
	for {
		select {
		case <-gone:
			return time.Since(start)
		case <-time.After(every):
			_ = s.conn.SetWriteDeadline(time.Now().Add(every))
			_, _ = s.conn.Write([]byte("x"))
		}
	}
}

func about(t *testing.T, what string, got, want time.Duration) {
	t.Helper()
	if got < want-time.Second || got > want+2*time.Minute {
		t.Errorf("%s ended after %v, want %v", what, got, want)
	}
}

func TestTimeOfACommand(t *testing.T) {
	inBubble(t, func(_ *door, s *slow) {
		s.expect("220")
		about(t, "a command line that never ends", s.drip(time.Minute), 5*time.Minute)
	})
}

func TestTimeOfContent(t *testing.T) {
	inBubble(t, func(d *door, s *slow) {
		s.expect("220")
		s.say("EHLO x\r\n", "250")
		s.say("MAIL FROM:<a@s.example>\r\n", "250")
		s.say("RCPT TO:<b@ours.example>\r\n", "250")
		s.say("DATA\r\n", "354")
		about(t, "content that never ends", s.drip(time.Second), 5*time.Minute)
		if n := len(d.relay.all()); n != 0 {
			t.Errorf("%d messages delivered", n)
		}
	})
	inBubble(t, func(_ *door, s *slow) {
		s.expect("220")
		s.say("EHLO x\r\n", "250")
		s.say("MAIL FROM:<a@s.example>\r\n", "250")
		s.say("RCPT TO:<b@ours.example>\r\n", "250")
		s.say("DATA\r\n", "354")
		start := time.Now()
		s.expect("421 4.4.2")
		about(t, "content that never begins", time.Since(start), 5*time.Minute)
	})
}

func TestTimeOfASlowSender(t *testing.T) {
	inBubble(t, func(d *door, s *slow) {
		s.expect("220")
		for _, line := range []string{"EHLO x\r\n", "MAIL FROM:<a@s.example>\r\n", "RCPT TO:<b@ours.example>\r\n"} {
			time.Sleep(4 * time.Minute)
			s.say(line, "250")
		}
		s.say("DATA\r\n", "354")
		if _, err := io.WriteString(s.conn, "\r\n"); err != nil {
			t.Fatal(err)
		}
		for range 2 * 60 { // 2 KiB/s, for four minutes, as over a bad line
			time.Sleep(2 * time.Second)
			if _, err := io.WriteString(s.conn, strings.Repeat(strings.Repeat("x", 1022)+"\r\n", 4)); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(4*time.Minute + 50*time.Second) // and then it is silent for a while
		s.say("\r\n.\r\n", "250 2.0.0 Ok")
		if n := len(d.relay.all()); n != 1 {
			t.Errorf("%d messages delivered", n)
		}
	})
}

func TestTimeOfASession(t *testing.T) {
	inBubble(t, func(_ *door, s *slow) {
		s.expect("220")
		s.say("EHLO x\r\n", "250")
		for time.Since(s.began) <= sessionLife {
			s.say("MAIL FROM:<a@s.example>\r\n", "250")
			s.say("RCPT TO:<b@ours.example>\r\n", "250")
			s.say("RSET\r\n", "250")
			time.Sleep(4 * time.Minute)
			s.say("NOOP\r\n", "250")
		}
		s.say("MAIL FROM:<a@s.example>\r\n", "421 4.3.2")
		if _, err := s.r.ReadByte(); err == nil {
			t.Error("still connected")
		}
	})
}

func TestTimeOfAClientThatDoesNotRead(t *testing.T) {
	inBubble(t, func(d *door, s *slow) {
		time.Sleep(writeTimeout + time.Second) // the greeting is not read
		synctest.Wait()
		if n := len(d.srv.stop()); n != 0 {
			t.Errorf("%d connections are still there", n)
		}
	})
}

// chatter says one thing after another, with pauses, until it is told to go.
func (s *slow) chatter(pause time.Duration, lines ...string) {
	s.t.Helper()
	for i := 0; ; i++ {
		if _, err := io.WriteString(s.conn, lines[i%len(lines)]+"\r\n"); err != nil {
			s.t.Fatal(err)
		}
		for {
			line, err := s.r.ReadString('\n')
			if err != nil || strings.HasPrefix(line, "421 ") && !strings.HasPrefix(line, "421 4.4.2 No mail") {
				s.t.Fatalf("%q, %v after %s", line, err, time.Since(s.began))
			}
			if strings.HasPrefix(line, "421") {
				return
			}
			if line[3] == ' ' {
				break
			}
		}
		time.Sleep(pause)
	}
}

func TestTimeOfChatter(t *testing.T) {
	for name, lines := range map[string][]string{
		"NOOP": {"NOOP"}, "RSET": {"RSET"}, "EHLO": {"EHLO x"}, "VRFY": {"VRFY <b@ours.example>"},
		"MAIL that comes to nothing": {"EHLO x", "MAIL FROM:<a@s.example>", "RSET"},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(d *door, s *slow) {
				s.expect("220")
				s.chatter(time.Minute, lines...)
				about(t, "chatter", time.Since(s.began), 10*time.Minute)
				if _, err := s.r.ReadByte(); err == nil {
					t.Error("still connected")
				}
				if !strings.Contains(strings.Join(d.log.lines(), ""), "client only keeps its place") {
					t.Error("the log does not tell")
				}
			})
		})
	}
}

// TestTimeOfChatterBetweenMail: who gets mail in has as long again, and none of the commands that bring mail is ever refused for it.
func TestTimeOfChatterBetweenMail(t *testing.T) {
	inBubble(t, func(_ *door, s *slow) {
		s.expect("220")
		s.say("EHLO x\r\n", "250")
		for range 2 {
			time.Sleep(4 * time.Minute)
			s.say("NOOP\r\n", "250")
		}
		time.Sleep(4 * time.Minute)
		s.say("MAIL FROM:<a@s.example>\r\n", "250") // after 12 minutes
		time.Sleep(4 * time.Minute)
		s.say("RCPT TO:<b@ours.example>\r\n", "250")
		time.Sleep(4 * time.Minute)
		s.say("NOOP\r\n", "250")
		s.say("DATA\r\n", "354")
		s.say("\r\nx\r\n.\r\n", "250")
		mail := time.Now()
		s.chatter(time.Minute, "NOOP")
		about(t, "chatter behind a message", time.Since(mail), 10*time.Minute)
	})
}

func TestLingering(t *testing.T) {
	long := time.Now().Add(-11 * time.Minute)
	for _, c := range []struct {
		name string
		w    *wire
		verb string
		want bool
	}{
		{"a stranger", &wire{began: long}, "NOOP", true},
		{"one who asks for more", &wire{began: long}, VerbOther, true},
		{"one who leaves", &wire{began: long}, "QUIT", false},
		{"one who has come now", &wire{began: time.Now()}, "NOOP", false},
		{"one who has sent mail now", &wire{began: long, moved: true}, "NOOP", false},
		{"one who has sent mail before", &wire{began: long, movedAt: time.Now().Add(-time.Minute)}, "NOOP", false},
		{"one who is known", &wire{began: long, guest: guest{known: true}}, "NOOP", false},
		{"a user", &wire{began: long, user: &users.User{}}, "NOOP", false},
	} {
		c.w.cfg = &ListenerConfig{Limits: Limits{Idle: 5 * time.Minute}}
		if got := c.w.lingers(c.verb); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}

// TestOneTimeForAllGroups: the filters of several policies share the time of the message, or its client would have left.
func TestOneTimeForAllGroups(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := makeDoor(t, nil, func(d *door, cfg *ListenerConfig) {
			cfg.TLS = nil
			d.gw.Spool = &fakeSpool{}
			var rules []upstream.Rule
			for _, name := range []string{"one", "two", "three"} {
				plan, err := pipeline.Compile([]pipeline.Stage{{
					Spec: filter.Spec{Name: "slow" + name, Phases: filter.In(filter.Data)}, Timeout: time.Hour,
					Filter: filter.Func(func(ctx context.Context, _ *filter.Input) (filter.Result, error) {
						<-ctx.Done()
						return filter.Result{}, ctx.Err()
					}),
				}})
				if err != nil {
					t.Fatal(err)
				}
				d.gw.Policies[name] = &Policy{Plan: plan, Policy: d.gw.Policy}
				rules = append(rules, upstream.Rule{To: []string{name + ".example"}, Route: upstream.Route{Upstream: "one", Policy: name, Spool: true}})
			}
			if d.gw.Router, _ = upstream.NewTable(rules); d.gw.Router == nil {
				t.Fatal("no table")
			}
		})
		ours, theirs := net.Pipe()
		d.srv.take(theirs)
		s := &slow{t, ours, bufio.NewReader(ours), time.Now()}
		s.expect("220")
		s.say("EHLO client.example\r\n", "250")
		s.say("MAIL FROM:<a@sender.example>\r\n", "250")
		for _, name := range []string{"one", "two", "three"} {
			s.say("RCPT TO:<b@"+name+".example>\r\n", "250")
		}
		s.say("DATA\r\n", "354")
		began := time.Now()
		s.say("\r\nx\r\n.\r\n", "451")
		about(t, "the wait for the reply", time.Since(began), judgeTime)
		_ = ours.Close()
		_ = d.srv.Close()
	})
}
