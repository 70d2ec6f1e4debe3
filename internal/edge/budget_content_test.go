package edge

import (
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/postern-mail/postern/internal/ledger"
	"github.com/postern-mail/postern/internal/limits"
)

const kib = 1 << 10

// budgetDoor has a budget of 100 KiB for content.
func budgetDoor(t *testing.T, change func(*door, *ListenerConfig)) *door {
	d := newDoor(t, nil, func(d *door, cfg *ListenerConfig) {
		d.gw.Content = limits.NewBudget(100 * kib)
		cfg.Chunking = true
		if change != nil {
			change(d, cfg)
		}
	})
	t.Cleanup(func() {
		if n := d.gw.Content.Used(); n != 0 {
			t.Errorf("%d octets are not given back", n)
		}
	})
	return d
}

const toOurs = "\nS: 250\nC: RCPT TO:<b@ours.example>\nS: 250\n"

func TestContentBudget(t *testing.T) {
	for _, tt := range []struct{ name, begin, more, end string }{
		{"DATA", "C: DATA\nS: 354\nraw: \"\\r\\n${80x" + strings.Repeat("x", 1022) + "\\r\\n}\"", "raw: \".\\r\\n\"\nS: 250", "raw: \"x\\r\\n.\\r\\n\"\nS: 250"},
		{"BDAT", "C: BDAT 81920\nraw: \"${81920xx}\"\nS: 250", "C: BDAT 0 LAST\nS: 250", "C: BDAT 3 LAST\nraw: \"x\\r\\n\"\nS: 250"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := budgetDoor(t, nil)
			first, second := begin(t, d), begin(t, d)
			first.steps("C: MAIL FROM:<a@s.example>" + toOurs + tt.begin)
			waitFor(t, func() bool { return d.gw.Content.Used() >= 80*kib })
			// A size that is said and does not fit is refused at once.
			second.steps("C: MAIL FROM:<a@s.example> SIZE=50000\nS: 452 4\\.3\\.1 Too much mail")
			second.steps("C: MAIL FROM:<a@s.example> SIZE=5000\nS: 250\nC: RSET\nS: 250")
			// One that is not said is when it shows, after all of it was read.
			second.steps("C: MAIL FROM:<a@s.example>" + toOurs + "C: DATA\nS: 354\nraw: \"\\r\\n${60x" + strings.Repeat("y", 1022) +
				"\\r\\n}RSET\\r\\n.\\r\\n\"\nS: 452 4\\.3\\.1 Too much mail\nC: NOOP\nS: 250\ndelivered: 0")
			second.steps("C: MAIL FROM:<a@s.example>" + toOurs + "raw: \"BDAT 61440 LAST\\r\\n${61440xz}\"\nS: 452 4\\.3\\.1 Too much mail\nC: NOOP\nS: 250")
			if n := d.gw.Content.Used(); n > 100*kib {
				t.Errorf("%d octets are used", n)
			}
			first.steps(tt.end)
			waitFor(t, func() bool { return d.gw.Content.Used() == 0 })
			second.steps("C: MAIL FROM:<a@s.example> SIZE=50000" + toOurs + "C: DATA\nS: 354\nraw: \"\\r\\n${40x" + strings.Repeat("y", 1022) + "\\r\\n}.\\r\\n\"\nS: 250")
			second.steps("delivered: 2\nC: QUIT\nS: 221")
		})
	}
}

// TestBudgetIsGivenBack: however a message ends.
func TestBudgetIsGivenBack(t *testing.T) {
	body := "raw: \"\\r\\n${50x" + strings.Repeat("x", 1022) + "\\r\\n}"
	for name, script := range map[string]string{
		"lost":           "C: DATA\nS: 354\n" + body + "\"",
		"lost in BDAT":   "C: BDAT 51200\nraw: \"${5000xx}\"",
		"RSET in BDAT":   "C: BDAT 5000\nraw: \"${5000xx}\"\nS: 250\nC: RSET\nS: 250",
		"EHLO in BDAT":   "C: BDAT 5000\nraw: \"${5000xx}\"\nS: 250\nC: EHLO x\nS: 250",
		"QUIT in BDAT":   "C: BDAT 5000\nraw: \"${5000xx}\"\nS: 250\nC: QUIT\nS: 221",
		"refused":        "C: DATA\nS: 354\nraw: \"\\r\\n\\x00\\r\\n.\\r\\n\"\nS: 554",
		"panic":          "C: DATA\nS: 354\n" + body + ".\\r\\n\"\nS: 451",
		"too big":        "C: DATA\nS: 354\n" + body + body[len("raw: \""):] + ".\\r\\n\"\nS: 552",
		"BDAT too big":   "C: BDAT 80000\nraw: \"${80000xx}\"\nS: 552",
		"nothing at all": "",
	} {
		t.Run(name, func(t *testing.T) {
			d := budgetDoor(t, func(d *door, cfg *ListenerConfig) {
				cfg.Limits.Message = 70 * kib
				if name == "panic" {
					d.relay.before = func() { panic("broken") }
				}
			})
			c := begin(t, d)
			c.steps("C: MAIL FROM:<a@s.example> SIZE=60000" + toOurs + script)
			c.close()
			waitFor(t, func() bool { return d.gw.Content.Used() == 0 })
		})
	}
}

// TestLargerThanTheBudget: one message goes through whatever the budget is.
func TestLargerThanTheBudget(t *testing.T) {
	d := budgetDoor(t, nil)
	c := begin(t, d)
	for _, size := range []string{"", " SIZE=307200"} {
		c.steps("C: MAIL FROM:<a@s.example>" + size + toOurs + "C: DATA\nS: 354\nraw: \"\\r\\n${300x" + strings.Repeat("y", 1022) + "\\r\\n}.\\r\\n\"\nS: 250")
	}
	c.steps("delivered: 2\nC: QUIT\nS: 221")
}

// sized is a relay whose server has said how much it takes.
type sized struct {
	*fakeRelay
	most int64
}

func (s sized) MaxSize() int64 { return s.most }

// TestAdvertisedSize: no more than the servers inside take, with room for what we add.
func TestAdvertisedSize(t *testing.T) {
	const mib = 1 << 20
	for _, tt := range []struct {
		name                     string
		own, first, second, want int64
	}{
		{"ours", 50 * mib, 0, 0, 50 * mib},
		{"one is without a limit", 50 * mib, 10 * mib, 0, 50 * mib},
		{"both take more", 50 * mib, 100 * mib, 60 * mib, 50 * mib},
		{"both take less", 50 * mib, 10 * mib, 20 * mib, 20*mib - headRoom},
		{"a little more", 50 * mib, 50*mib + 1, 50*mib + 1, 50*mib + 1 - headRoom},
		{"tiny", 50 * mib, 8000, 8000, 7000},
	} {
		for _, engine := range []string{EnginePostern, EngineGoSMTP} {
			t.Run(tt.name+" "+engine, func(t *testing.T) {
				d := newDoor(t, nil, func(d *door, cfg *ListenerConfig) {
					cfg.Limits.Message, cfg.Engine = tt.own, engine
					d.gw.Relays["one"], d.gw.Relays["two"] = sized{d.relay, tt.first}, sized{d.second, tt.second}
				})
				c := dialDoor(t, d)
				defer c.close()
				c.steps("S: 220\nC: EHLO x\nS: 250.*SIZE " + strconv.FormatInt(tt.want, 10) + `(\n|$)`)
				c.steps(fmt.Sprintf("C: MAIL FROM:<a@s.example> SIZE=%d\nS: 552 5\\.3\\.4", tt.want+1))
				c.steps(fmt.Sprintf("C: MAIL FROM:<a@s.example> SIZE=%d\nS: 250", tt.want))
			})
		}
	}
}

// TestTooBigForOneRecipient: what one server inside takes another need not.
func TestTooBigForOneRecipient(t *testing.T) {
	d := newDoor(t, nil, func(d *door, _ *ListenerConfig) {
		d.gw.Relays["one"], d.gw.Relays["two"] = sized{d.relay, 1 << 20}, sized{d.second, 10 << 20}
	})
	c := begin(t, d)
	c.steps("C: MAIL FROM:<a@s.example> SIZE=2000000\nS: 250\nC: RCPT TO:<b@ours.example>\nS: 550 5\\.2\\.3\nC: RCPT TO:<c@second.example>\nS: 250\nC: RSET\nS: 250")
	c.steps("C: MAIL FROM:<a@s.example> SIZE=900000" + toOurs + "log: too big for the next server")
}

// TestShedding: when it gets tight strangers are sent away first, and whoever is there finishes.
func TestShedding(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		used := 0.1
		d, connect := bubbleDoor(t, nil, func(d *door, cfg *ListenerConfig) {
			cfg.Limits.Connections = 20
			d.gw.State = ledger.New()
			d.gw.Load = limits.NewLoad(25, func() float64 { return used })
			becomeGood(d.gw.State, "203.0.113.5")
		})
		first := func(from string) string {
			line, _ := connect(from).r.ReadString('\n')
			return strings.TrimSpace(line)
		}
		there := connect("198.51.100.1")
		there.expect("220")
		for i := range 17 {
			if got := first(fmt.Sprintf("198.51.%d.1", i)); !strings.HasPrefix(got, "220") {
				t.Fatalf("%d: %s", i, got)
			}
		}
		if got := first("192.0.2.1"); got != tooBusy {
			t.Errorf("a stranger got %q", got)
		}
		if got := first("203.0.113.5"); !strings.HasPrefix(got, "220") {
			t.Errorf("one with a good history got %q", got)
		}
		if got := first("203.0.113.5"); !strings.HasPrefix(got, "220") {
			t.Errorf("one with a good history got %q", got)
		}
		if got := first("203.0.113.5"); !strings.HasPrefix(got, "421 4.3.2 Too many connections") {
			t.Errorf("one more than there are places got %q", got)
		}
		brings(there)
		_ = d.srv.Close()
	})
}

func TestSheddingForMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		used := 0.1
		d, connect := bubbleDoor(t, nil, func(d *door, _ *ListenerConfig) {
			d.gw.State = ledger.New()
			d.gw.Load = limits.NewLoad(0, func() float64 { return used })
			becomeGood(d.gw.State, "203.0.113.5")
		})
		for _, tt := range []struct {
			used            float64
			stranger, known string
		}{{0.1, "220", "220"}, {0.8, "421 4.3.2", "220"}, {0.95, "421 4.3.2", "421 4.3.2"}, {0.1, "220", "220"}} {
			used = tt.used
			time.Sleep(2 * time.Second)
			for from, want := range map[string]string{"192.0.2.1": tt.stranger, "203.0.113.5": tt.known} {
				s := connect(from)
				if line, _ := s.r.ReadString('\n'); !strings.HasPrefix(line, want) {
					t.Errorf("%s got %q with %g of the memory in use", from, line, tt.used)
				}
				_ = s.conn.Close()
			}
		}
		_ = d.srv.Close()
	})
}

// TestPlacesOfTheProcess: two listeners share them.
func TestPlacesOfTheProcess(t *testing.T) {
	load := limits.NewLoad(3, func() float64 { return 0 })
	one := newDoor(t, nil, func(d *door, _ *ListenerConfig) { d.gw.Load = load })
	two := newDoor(t, nil, func(d *door, _ *ListenerConfig) { d.gw.Load = load })
	first := begin(t, one)
	begin(t, two)
	begin(t, one)
	conn, err := net.Dial("tcp", two.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if b, _ := io.ReadAll(conn); strings.TrimSpace(string(b)) != tooBusy {
		t.Errorf("got %q", b)
	}
	first.steps("C: QUIT\nS: 221\nEOF:")
	waitFor(t, func() bool { one.srv.mu.Lock(); defer one.srv.mu.Unlock(); return len(one.srv.wires) == 1 })
	begin(t, two)
}
