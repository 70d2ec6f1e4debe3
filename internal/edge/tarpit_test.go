package edge

import (
	"fmt"
	"io"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/postern-mail/postern/internal/ledger"
)

// guess asks for a mailbox that does not exist, and gives how long the answer took, and its code.
func (s *slow) guess(i int) (took time.Duration, code string) {
	s.t.Helper()
	began := time.Now()
	if _, err := fmt.Fprintf(s.conn, "RCPT TO:<guess%d@file.example>\r\n", i); err != nil {
		s.t.Fatal(err)
	}
	line, err := s.r.ReadString('\n')
	if err != nil {
		s.t.Fatal(err)
	}
	return time.Since(began), line[:3]
}

func TestTarpit(t *testing.T) {
	for _, engine := range []string{EnginePostern, EngineGoSMTP} {
		t.Run(engine, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d, connect := bubbleDoor(t, nil, func(_ *door, cfg *ListenerConfig) { cfg.Engine = engine })
				s := connect("203.0.113.5")
				s.expect("220")
				s.say("EHLO x\r\n", "250")
				s.say("MAIL FROM:<a@s.example>\r\n", "250")
				for i, want := range []time.Duration{0, 0, 0, 0, 0, 0, 1, 2, 3, 4} { // the wait is before the next command
					if took, code := s.guess(i); took != want*time.Second || code != "550" {
						t.Errorf("guess %d: %s after %v, want %v", i+1, code, took, want*time.Second)
					}
				}
				if took, code := s.guess(11); took != 5*time.Second || code != "421" {
					t.Errorf("at last: %s after %v", code, took)
				}
				if d.metrics.waits != 5 {
					t.Errorf("%d waits are counted", d.metrics.waits)
				}
				if !strings.Contains(strings.Join(d.log.lines(), "\n"), `"msg":"too many errors"`) {
					t.Error("not in the log")
				}
				_ = d.srv.Close()
			})
		})
	}
}

// TestTarpitOfPipelines: what is pipelined waits between its commands, and is answered in the end.
func TestTarpitOfPipelines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, connect := bubbleDoor(t, nil, nil)
		s := connect("203.0.113.5")
		s.expect("220")
		s.say("EHLO x\r\n", "250")
		began := time.Now()
		var all strings.Builder
		all.WriteString("MAIL FROM:<a@s.example>\r\n")
		for i := range 8 {
			fmt.Fprintf(&all, "RCPT TO:<guess%d@file.example>\r\n", i)
		}
		if _, err := io.WriteString(s.conn, all.String()+"RCPT TO:<known@file.example>\r\n"); err != nil {
			t.Fatal(err)
		}
		s.expect("250")
		for range 8 {
			s.expect("550")
		}
		s.expect("250")
		if took := time.Since(began); took != 6*time.Second {
			t.Errorf("answered after %v", took)
		}
		s.say("DATA\r\n", "354")
		s.say("\r\nx\r\n.\r\n", "250")
		_ = d.srv.Close()
	})
}

// TestWhoIsSpared: who is known makes errors without waiting, and is hung up on all the same.
func TestWhoIsSpared(t *testing.T) {
	network := []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")}
	for name, change := range map[string]func(*door, *ListenerConfig){
		"exempt":      func(d *door, _ *ListenerConfig) { d.gw.ExemptNetworks = network },
		"relay":       func(_ *door, cfg *ListenerConfig) { cfg.Relay.Networks = network },
		"big sender":  func(d *door, _ *ListenerConfig) { d.gw.Big = func(netip.Addr) string { return "big.example" } },
		"good sender": func(d *door, _ *ListenerConfig) { becomeGood(d.gw.State, "203.0.113.5") },
		"crowded":     func(*door, *ListenerConfig) {},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d, connect := bubbleDoor(t, nil, func(d *door, cfg *ListenerConfig) {
					d.gw.State = ledger.New()
					change(d, cfg)
				})
				d.srv.crowded.Store(name == "crowded")
				s := connect("203.0.113.5")
				s.expect("220")
				s.say("EHLO x\r\n", "250")
				s.say("MAIL FROM:<a@s.example>\r\n", "250")
				d.srv.crowded.Store(name == "crowded")
				for i := range 10 {
					if took, code := s.guess(i); took != 0 || code != "550" {
						t.Errorf("guess %d: %s after %v", i+1, code, took)
					}
				}
				if took, code := s.guess(11); took != 0 || code != "421" {
					t.Errorf("at last: %s after %v", code, took)
				}
				_ = d.srv.Close()
			})
		})
	}
}

// TestGuessersAreRemembered: who reconnects to go on is made to wait from the first error on.
func TestGuessersAreRemembered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, connect := bubbleDoor(t, nil, func(d *door, _ *ListenerConfig) { d.gw.State = ledger.New() })
		// until gives how many guesses a client has before the 421, and what the last but one took.
		until := func(from string, most int) (n int, waited time.Duration) {
			s := connect(from)
			s.expect("220")
			s.say("EHLO x\r\n", "250")
			s.say("MAIL FROM:<a@s.example>\r\n", "250")
			for ; n < most; n++ {
				took, code := s.guess(n)
				waited += took
				if code == "421" {
					_ = s.conn.Close()
					synctest.Wait()
					return n, waited
				}
			}
			s.say("QUIT\r\n", "221")
			_ = s.conn.Close()
			synctest.Wait()
			return n, waited
		}
		for i := range 3 {
			if n, _ := until(fmt.Sprintf("203.0.113.%d", i), 100); n != 10 {
				t.Errorf("client %d had %d guesses", i, n)
			}
		}
		if n, waited := until("203.0.113.77", 100); n != 5 || waited != 25*time.Second {
			t.Errorf("a fourth one of the network had %d guesses in %v", n, waited)
		}
		if n, waited := until("203.0.114.77", 3); n != 3 || waited != 0 {
			t.Errorf("one of another network waited %v", waited)
		}
		time.Sleep(61 * time.Minute) // half of 35 is forgotten
		if n, waited := until("203.0.113.77", 3); n != 3 || waited != 0 {
			t.Errorf("an hour later %d guesses took %v", n, waited)
		}
		_ = d.srv.Close()
	})
}

// TestMailingListIsNoGuesser: some mailboxes that are gone are no harm beside mail that is taken.
func TestMailingListIsNoGuesser(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, connect := bubbleDoor(t, nil, func(d *door, _ *ListenerConfig) { d.gw.State = ledger.New() })
		for range 20 {
			s := connect("203.0.113.5")
			s.expect("220")
			s.say("EHLO x\r\n", "250")
			s.say("MAIL FROM:<a@s.example>\r\n", "250")
			for i := range 4 {
				s.guess(i)
			}
			s.say("RCPT TO:<b@ours.example>\r\n", "250")
			s.say("DATA\r\n", "354")
			s.say("\r\nx\r\n.\r\n", "250")
			s.say("QUIT\r\n", "221")
			_ = s.conn.Close()
			synctest.Wait()
		}
		if d.srv.memory().guesses(netip.MustParseAddr("203.0.113.5")) {
			t.Error("taken for a guesser")
		}
		_ = d.srv.Close()
	})
}

func TestRestEndsWithDrain(t *testing.T) {
	for _, end := range []string{"drain", "close"} {
		t.Run(end, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d, connect := bubbleDoor(t, nil, nil)
				s := connect("203.0.113.5")
				s.expect("220")
				s.say("EHLO x\r\n", "250")
				for range 10 {
					s.say("WHAT\r\n", "500")
				}
				synctest.Wait()
				began := time.Now()
				if end == "drain" {
					go func() { _ = d.srv.Drain(t.Context()) }()
					s.expect("421 4.3.2")
				} else {
					go func() { _ = d.srv.Close() }()
				}
				if _, err := s.r.ReadByte(); err == nil || time.Since(began) > 0 {
					t.Errorf("ended after %v, %v", time.Since(began), err)
				}
				synctest.Wait()
			})
		})
	}
}

// TestRestHoldsNothing: on sockets, with neither buffers nor a goroutine that has more than to wait.
func TestRestHoldsNothing(t *testing.T) {
	d := newDoor(t, nil, func(d *door, cfg *ListenerConfig) { d.gw.ExemptNetworks, cfg.Limits.Errors = nil, 2 })
	c := begin(t, d)
	c.steps("C: WHAT\nS: 500\nC: WHAT\nS: 500")
	waitFor(t, func() bool {
		d.srv.mu.Lock()
		defer d.srv.mu.Unlock()
		for w := range d.srv.wires {
			w.mu.Lock()
			defer w.mu.Unlock()
			return w.wakeup != nil && w.buf == nil && w.out == nil
		}
		return false
	})
}
