package edge

import (
	"fmt"
	"io"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// visits connects again and again from an address, talks, and gives how often it was let in before a 421, 2000 times at most.
func visits(connect func(string) *slow, from func(i int) string, talk func(*slow)) (n int, why string) {
	for ; n < 2000; n++ {
		s := connect(from(n))
		line, _ := s.r.ReadString('\n')
		if !strings.HasPrefix(line, "220") {
			_ = s.conn.Close()
			return n, strings.TrimSpace(line)
		}
		talk(s)
		s.say("QUIT\r\n", "221")
		_ = s.conn.Close()
		synctest.Wait()
	}
	return n, ""
}

func always(a string) func(int) string { return func(int) string { return a } }

// brings sends a message.
func brings(s *slow) {
	s.say("EHLO x\r\n", "250")
	s.say("MAIL FROM:<a@s.example>\r\n", "250")
	s.say("RCPT TO:<b@ours.example>\r\n", "250")
	s.say("DATA\r\n", "354")
	s.say("Subject: x\r\n\r\nx\r\n.\r\n", "250")
}

// isRefused sends one that the filters refuse.
func isRefused(s *slow) {
	s.say("EHLO x\r\n", "250")
	s.say("MAIL FROM:<a@s.example>\r\n", "250")
	s.say("RCPT TO:<b@ours.example>\r\n", "250")
	s.say("DATA\r\n", "354")
	s.say("Subject: x\r\n\r\nx\r\n.\r\n", "550")
}

// guesses asks for mailboxes that do not exist.
func guesses(s *slow) {
	s.say("EHLO x\r\n", "250")
	s.say("MAIL FROM:<a@s.example>\r\n", "250")
	for i := range 8 {
		s.say(fmt.Sprintf("RCPT TO:<b%d@file.example>\r\n", i), "550")
	}
}

// TestRateCountsRefusedWork: who brings mail may come often, who guesses may not.
func TestRateCountsRefusedWork(t *testing.T) {
	for _, tt := range []struct {
		name    string
		talk    func(*slow)
		filters []string
		from    func(int) string
		setup   func(*door, *ListenerConfig)
		most    int
		why     string
	}{
		{name: "nothing", talk: func(*slow) {}, most: 60, why: "421 4.7.0 Too many new connections from your address"},
		{name: "mail", talk: brings, most: 600, why: "421 4.7.0"},
		{name: "guesses", talk: guesses, most: 6, why: "421 4.7.0"},
		{name: "refused mail", talk: isRefused, filters: []string{"data propose reject"}, most: 30, why: "421 4.7.0"},
		{
			name: "refused mail with soft_bounce", filters: []string{"data propose reject 450 later"}, most: 30, why: "421 4.7.0",
			setup: func(d *door, _ *ListenerConfig) { d.gw.SoftBounce = true },
			talk: func(s *slow) {
				s.say("EHLO x\r\n", "250")
				s.say("MAIL FROM:<a@s.example>\r\n", "250")
				s.say("RCPT TO:<b@ours.example>\r\n", "250")
				s.say("DATA\r\n", "354")
				s.say("Subject: x\r\n\r\nx\r\n.\r\n", "4")
			},
		},
		{name: "deferred mail is nobody's guilt", filters: []string{"rcpt propose defer"}, most: 60, why: "421 4.7.0", talk: func(s *slow) {
			s.say("EHLO x\r\n", "250")
			s.say("MAIL FROM:<a@s.example>\r\n", "250")
			s.say("RCPT TO:<b@ours.example>\r\n", "45")
		}},
		{
			name: "a network", talk: func(*slow) {}, from: func(i int) string { return fmt.Sprintf("203.0.113.%d", i%250) },
			most: 300, why: "421 4.7.0 Too many new connections from your network",
		},
		{
			name: "a big sender", talk: func(*slow) {}, most: 600, why: "421 4.7.0",
			setup: func(d *door, _ *ListenerConfig) { d.gw.Big = func(netip.Addr) string { return "big.example" } },
		},
		{
			name: "one that may relay", talk: func(*slow) {}, most: 600, why: "421 4.7.0",
			setup: func(_ *door, cfg *ListenerConfig) {
				cfg.Relay.Networks = []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")}
			},
		},
		{
			name: "all", talk: func(*slow) {}, from: func(i int) string { return fmt.Sprintf("198.51.%d.1", i) },
			most: 100, why: "421 4.3.2 Too many new connections",
			setup: func(_ *door, cfg *ListenerConfig) { cfg.Limits.TotalRate = 100 },
		},
		{
			name: "a front", talk: func(*slow) {}, most: 2000,
			setup: func(_ *door, cfg *ListenerConfig) {
				cfg.Fronts = []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")}
			},
		},
		{
			name: "exempt", talk: func(*slow) {}, most: 2000,
			setup: func(d *door, _ *ListenerConfig) {
				d.gw.ExemptNetworks = []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")}
			},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d, connect := bubbleDoor(t, tt.filters, func(d *door, cfg *ListenerConfig) {
					cfg.Limits.Errors = 20
					if tt.setup != nil {
						tt.setup(d, cfg)
					}
				})
				from := tt.from
				if from == nil {
					from = always("203.0.113.5")
				}
				n, why := visits(connect, from, tt.talk)
				if n < tt.most*9/10 || n > tt.most*11/10+1 || !strings.HasPrefix(why, tt.why) {
					t.Errorf("was let in %d times, want %d; then %q", n, tt.most, why)
				}
				if why != "" {
					time.Sleep(2 * time.Minute)
					if again, _ := visits(connect, from, tt.talk); again < n*9/10 {
						t.Errorf("was let in %d times after a pause", again)
					}
				}
				_ = d.srv.Close()
			})
		})
	}
}

// TestNetworkLimit: many addresses of one network do not take all places.
func TestNetworkLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, connect := bubbleDoor(t, nil, func(_ *door, cfg *ListenerConfig) { cfg.Limits.PerNetwork = 30 })
		in := 0
		var last string
		for i := range 60 {
			last, _ = connect(fmt.Sprintf("203.0.113.%d", i)).r.ReadString('\n')
			if strings.HasPrefix(last, "220") {
				in++
			}
		}
		if in != 30 || !strings.HasPrefix(last, "421 4.7.0 Too many connections from your network") {
			t.Errorf("%d came in, the last got %q", in, last)
		}
		told := 0
		for _, l := range d.log.lines() {
			if strings.Contains(l, `"INFO"`) && strings.Contains(l, `"because":"network_limit"`) {
				told++
			}
		}
		if told != 1 || d.metrics.refused != 30 {
			t.Errorf("%d lines in the log, %d counted", told, d.metrics.refused)
		}
		if line, _ := connect("198.51.100.1").r.ReadString('\n'); !strings.HasPrefix(line, "220") {
			t.Errorf("another network got %q", line)
		}
		_ = d.srv.Close()
	})
}

// TestFullIsToldOnceAMinute: a flood does not fill the log.
func TestFullIsToldOnceAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, connect := bubbleDoor(t, nil, func(_ *door, cfg *ListenerConfig) { cfg.Limits.Connections = 1 })
		connect("198.51.100.1").expect("220")
		for i := range 120 {
			if b, _ := io.ReadAll(connect(fmt.Sprintf("203.0.%d.1", i)).r); !strings.HasPrefix(string(b), "421 4.3.2") {
				t.Fatalf("got %q", b)
			}
			time.Sleep(time.Second)
		}
		told := 0
		for _, l := range d.log.lines() {
			if strings.Contains(l, `"INFO"`) && strings.Contains(l, `"because":"conn_limit"`) {
				told++
			}
		}
		if told != 2 {
			t.Errorf("told %d times in two minutes", told)
		}
		_ = d.srv.Close()
	})
}
