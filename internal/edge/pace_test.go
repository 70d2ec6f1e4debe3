package edge

import (
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestPace: who sends how fast is let for how long.
func TestPace(t *testing.T) {
	for _, tt := range []struct {
		name   string
		octets int // at once
		every  time.Duration
		want   time.Duration // until the connection is ended; 0: never, as long as the message may take
	}{
		{"an octet a second", 1, time.Second, 5 * time.Minute},
		{"100 octets a second", 100, time.Second, 5*time.Minute + 30*time.Second},
		{"500 octets a second", 500, time.Second, 10 * time.Minute},
		{"a modem", 1200, time.Second, 10 * time.Minute},
		{"a modem in bursts", 120 << 10, 100 * time.Second, 10 * time.Minute},
		{"a slow uplink", 20 << 10, time.Second, time.Hour},
		{"a burst, then nothing", 1 << 20, time.Hour, 5 * time.Minute},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d, connect := bubbleDoor(t, nil, func(_ *door, cfg *ListenerConfig) { cfg.Limits.Message = 1 << 40 })
				s := connect("203.0.113.5")
				s.expect("220")
				for _, line := range []string{"EHLO x\r\n", "MAIL FROM:<a@s.example>\r\n", "RCPT TO:<b@ours.example>\r\n"} {
					s.say(line, "250")
				}
				s.say("DATA\r\n", "354")
				began := time.Now()
				ended := make(chan time.Duration, 1)
				go func() {
					s.expect("421 4.4.2")
					ended <- time.Since(began)
				}()
				block := []byte(strings.Repeat("x", tt.octets))
				for {
					_ = s.conn.SetWriteDeadline(time.Now().Add(time.Second / 2))
					_, _ = s.conn.Write(block)
					select {
					case took := <-ended:
						if took < tt.want || took > tt.want+40*time.Second {
							t.Errorf("ended after %v, want %v", took, tt.want)
						}
						_ = d.srv.Close()
						return
					case <-time.After(tt.every):
					}
				}
			})
		})
	}
}

// TestSlowMessageArrives: 40 MiB at 50 KiB a second take longer than Limits.Data, and are welcome.
func TestSlowMessageArrives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, connect := bubbleDoor(t, nil, nil)
		s := connect("203.0.113.5")
		s.expect("220")
		for _, line := range []string{"EHLO x\r\n", "MAIL FROM:<a@s.example>\r\n", "RCPT TO:<b@ours.example>\r\n"} {
			s.say(line, "250")
		}
		s.say("DATA\r\n", "354")
		block := "\r\n" + strings.Repeat(strings.Repeat("x", 1022)+"\r\n", 500)
		for range 80 {
			time.Sleep(10 * time.Second)
			if _, err := io.WriteString(s.conn, block); err != nil {
				t.Fatal(err)
			}
		}
		s.say("\r\n.\r\n", "250 2.0.0 Ok")
		if n := len(d.relay.all()); n != 1 {
			t.Errorf("%d messages delivered", n)
		}
		_ = d.srv.Close()
	})
}

// TestPauseBetweenChunks: a client that thinks between chunks is not slow.
func TestPauseBetweenChunks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, connect := bubbleDoor(t, nil, func(_ *door, cfg *ListenerConfig) { cfg.Chunking, cfg.Limits.Data = true, 20*time.Minute })
		s := connect("203.0.113.5")
		s.expect("220")
		for _, line := range []string{"EHLO x\r\n", "MAIL FROM:<a@s.example>\r\n", "RCPT TO:<b@ours.example>\r\n"} {
			s.say(line, "250")
		}
		for range 3 {
			time.Sleep(4 * time.Minute)
			if _, err := io.WriteString(s.conn, "BDAT 4\r\n"); err != nil {
				t.Fatal(err)
			}
			time.Sleep(4 * time.Second)
			s.say("x\r\n\n", "250")
		}
		s.say("BDAT 0 LAST\r\n", "250 2.0.0 Ok")
		// Within chunks the pauses add up.
		s.say("MAIL FROM:<a@s.example>\r\n", "250")
		s.say("RCPT TO:<b@ours.example>\r\n", "250")
		for i := range 4 {
			if _, err := io.WriteString(s.conn, "BDAT 4\r\nx"); err != nil {
				t.Fatal(err)
			}
			if i == 3 {
				break
			}
			time.Sleep(99 * time.Second)
			s.say("\r\n\n", "250")
		}
		began := time.Now()
		s.expect("421")
		if took := time.Since(began); took < 2*time.Second || took > 5*time.Second {
			t.Errorf("ended %v into the fourth chunk", took)
		}
		_ = d.srv.Close()
	})
}

// TestIdleWhenCrowded: while places are short, strangers who say nothing lose theirs.
func TestIdleWhenCrowded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, connect := bubbleDoor(t, nil, func(_ *door, cfg *ListenerConfig) { cfg.Limits.Connections = 10 })
		early := connect("198.51.100.1")
		early.expect("220")
		for i := range 8 {
			connect("198.51." + string(rune('0'+i)) + ".1").expect("220")
		}
		busy, idle := connect("203.0.113.1"), connect("203.0.114.1")
		_ = idle.conn.Close() // refused: all places but the last are taken
		busy.began = time.Now()
		if line, _ := busy.r.ReadString('\n'); !strings.HasPrefix(line, tooBusy[:9]) {
			t.Errorf("a stranger got the last place: %q", line)
		}
		for _, line := range []string{"EHLO x\r\n", "MAIL FROM:<a@s.example>\r\n"} {
			early.say(line, "250")
		}
		d.srv.crowded.Store(true) // as it is with the last place taken
		early.say("RSET\r\n", "250")
		began := time.Now()
		early.expect("421 4.4.2")
		if took := time.Since(began); took < crowdedIdle || took > crowdedIdle+time.Second {
			t.Errorf("an idle stranger lost its place after %v", took)
		}
		_ = d.srv.Close()
	})
}
