package edge

import (
	"bufio"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"
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
			s.say("RSET\r\n", "250")
			time.Sleep(time.Minute)
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

func TestTimeOfChatter(t *testing.T) {
	inBubble(t, func(_ *door, s *slow) {
		s.expect("220")
		for {
			if _, err := io.WriteString(s.conn, "NOOP\r\n"); err != nil {
				break
			}
			line, err := s.r.ReadString('\n')
			if err != nil || strings.HasPrefix(line, "421") {
				break
			}
			time.Sleep(time.Minute)
		}
		about(t, "a session of NOOPs", time.Since(s.began), sessionLife+5*time.Minute)
	})
}
