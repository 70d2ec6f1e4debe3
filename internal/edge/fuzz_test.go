package edge

import (
	"io"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/postern-mail/postern/internal/limits"
	"github.com/postern-mail/postern/internal/users"
	"github.com/postern-mail/postern/mail"
)

// words are what FuzzSession makes dialogs of. A byte below len(words) is one of them, any other itself.
var words = []string{
	"EHLO client.example\r\n", "HELO x\r\n", "MAIL FROM:<a@s.example>\r\n", "MAIL FROM:<> SIZE=10 BODY=8BITMIME\r\n",
	"RCPT TO:<b@ours.example>\r\n", "RCPT TO:<c@second.example>\r\n", "RCPT TO:<postmaster>\r\n", "RCPT TO:<x@elsewhere.example>\r\n",
	"DATA\r\n", "\r\n.\r\n", ".\r\n", "RSET\r\n", "NOOP\r\n", "\r\n", "\n", ".", "\r", "\n.\n", "\r\n..", "Subject: x\r\n\r\n",
	"BDAT 3\r\nabc", "BDAT 2 LAST\r\nab", "STARTTLS\r\n", "AUTH PLAIN\r\n", "VRFY x\r\n", "QUIT\r\n", "\x00", "\xff", "MAIL FROM:<a@s.example>\n",
	"some text that is a little longer than the rest ", "RCPT TO:<\"q r\"@ours.example>\r\n", "mail from:<a@s.example> smtputf8\r\n",
	"AUTH PLAIN AHUAcA==\r\n", "AUTH PLAIN AHUAeA==\r\n", "AUTH LOGIN\r\n", "AUTH LOGIN dQ==\r\n", "AHUAcA==\r\n", "dQ==\r\n", "cA==\r\n", "*\r\n",
	"XCLIENT ADDR=192.0.2.1 PORT=25\r\n", "XCLIENT NAME=x\r\n", "BDAT 0 LAST\r\n", "BDAT 1\r\n", "BDAT 4000 LAST\r\n", "BDAT x\r\n", "BDAT 5 LAST\r\n", "HELP\r\n",
	"MAIL FROM:<a@s.example> RET=HDRS ENVID=x SIZE=1999\r\n", "RCPT TO:<b@ours.example> NOTIFY=NEVER ORCPT=rfc822;b@ours.example\r\n",
	"RCPT TO:<d@ours.example>\r\n", strings.Repeat("x", 998) + "\r\n",
}

// fuzzDoors are the doors of FuzzSession: our engine, ours with a pause at each wait, and go-smtp.
func fuzzDoors(f *testing.F) (doors []*door, cfg []ListenerConfig) {
	for i := range 3 {
		d := newDoor(f, nil, func(d *door, c *ListenerConfig) {
			c.Limits.Message, c.Limits.Recipients, c.Limits.Errors = 2000, 3, 20
			c.Fronts = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
			d.gw.ExemptNetworks = []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")}
			d.gw.Big = func(netip.Addr) string { return "x" } // nobody is made to wait for his errors
			d.gw.Router, d.gw.Content = outward(f), limits.NewBudget(1500)
			c.Chunking, c.DSN, c.dozesAtOnce = i < 2, i < 2, i == 1
			if i == 2 {
				c.Engine = EngineGoSMTP
			}
			addUser(f, d, &c.Relay, userLine("u", "p", "*"))
			cfg = append(cfg, *c)
		})
		doors = append(doors, d)
	}
	return doors, cfg
}

// FuzzSession has random dialogs with a door, and follows each with a model of SMTP of its own: nothing is acknowledged
// that was not delivered just so, nothing is delivered that was not sent, nobody relays who has not logged in, and
// nothing is left behind.
func FuzzSession(f *testing.F) {
	f.Add([]byte{0, 2, 4, 8, 19, 29, 9, 25}, uint64(1))
	f.Add([]byte{0, 2, 4, 8, 17, 2, 4, 8, 29, 9, 2, 4, 8, 9, 25}, uint64(2))
	f.Add([]byte{0, 2, 4, 20, 11, 2, 4, 21, 25}, uint64(3))
	f.Add([]byte{0, 22, 0, 2, 4, 8, 19, 9}, uint64(4))
	f.Add([]byte{0, 2, 4, 8, 19, 16, 16, 14, 15, 16, 14, 29, 13, 10, 11}, uint64(5))
	f.Add([]byte{1, 3, 6, 6, 8, 18, 29, 26, 9, 3, 6, 8, 18, 29, 9, 12}, uint64(6))
	f.Add([]byte{0, 32, 2, 7, 8, 19, 9, 0, 34, 37, 38, 3, 5, 20, 42}, uint64(10))
	f.Add([]byte{0, 40, 0, 41, 0, 48, 49, 50, 20, 20, 21, 45}, uint64(11))
	f.Add([]byte{0, 2, 4, 5, 8, 51, 51, 51, 9, 2, 4, 44, 0}, uint64(97*2+1))
	f.Add([]byte{0, 32, 22, 0, 2, 7, 4, 8, 19, 9}, uint64(12)) // the right to relay ends with the client that had it
	f.Add([]byte{0, 32, 40, 0, 2, 7, 4, 8, 19, 9}, uint64(13))
	f.Add([]byte{0, 2, 4, 20, 11, 2, 4, 8, 19, 9, 2, 4, 20, 0, 2, 4, 42}, uint64(15))
	doors, cfgs := fuzzDoors(f)
	var before goleak.Option
	goroutines := 0
	f.Fuzz(func(t *testing.T, script []byte, choices uint64) {
		if len(script) > 300 {
			return // long dialogs find nothing that short ones do not
		}
		if before == nil {
			before, goroutines = goleak.IgnoreCurrent(), runtime.NumGoroutine()
		}
		var in strings.Builder
		for _, b := range script {
			if int(b) < len(words) {
				in.WriteString(words[b])
			} else {
				in.WriteByte(b)
			}
		}
		which := []int{0, 1, 0, 1, 2}[choices%5]
		d, cfg := doors[which], cfgs[which]
		cfg.Relay.Checker = users.NewChecker()
		d.srv.Configure(cfg)
		d.forget()
		talks, whole := converse(t, d.addr, in.String(), choices/5)
		d.empty(t)
		examine(t, d, talks, whole)
		if n := runtime.NumGoroutine(); n > goroutines+20 { // to look at them all takes longer than a dialog
			if err := goleak.Find(before); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// forget lets a door be as new.
func (d *door) forget() {
	for _, r := range []*fakeRelay{d.relay, d.second} {
		r.mu.Lock()
		r.got = nil
		r.mu.Unlock()
	}
	d.log.mu.Lock()
	d.log.b.Reset()
	d.log.mu.Unlock()
	d.metrics.mu.Lock()
	d.metrics.handshakes = nil
	d.metrics.mu.Unlock()
}

// empty waits until nobody is in.
func (d *door) empty(t *testing.T) {
	end := time.Now().Add(longWait)
	for {
		d.srv.mu.Lock()
		n := len(d.srv.wires)
		d.srv.mu.Unlock()
		if n == 0 {
			break
		}
		if time.Now().After(end) {
			t.Fatal("a connection does not end")
		}
		time.Sleep(20 * time.Microsecond)
	}
	if n := d.gw.Content.Used(); n != 0 {
		t.Fatalf("%d octets of the content budget are not given back", n)
	}
}

// examine compares what was delivered with what the model says.
func examine(t *testing.T, d *door, talks []*spoken, whole bool) {
	tell := func() string {
		var b strings.Builder
		for _, k := range talks {
			b.WriteString("\nsaid    " + quoted(k.said.String()) + "\nreplies " + quoted(strings.Join(k.replies, "")))
		}
		return b.String()
	}
	if d.metrics.panics != 0 {
		t.Fatalf("%d panics:\n%s", d.metrics.panics, strings.Join(d.log.lines(), "\n"))
	}
	m := follow(talks)
	if len(m.strange) > 0 {
		t.Fatalf("replies %q%s", m.strange, tell())
	}
	for _, got := range slices.Concat(d.relay.all(), d.second.all()) {
		_, content := splitTop(got.content)
		want, ok := m.sent[got.env.ID]
		delete(m.sent, got.env.ID)
		if !ok {
			if whole {
				t.Fatalf("delivered %q as %s, not acknowledged%s", content, got.env.ID, tell())
			}
			continue
		}
		var to []string
		for _, a := range got.env.To {
			to = append(to, a.String())
			if !want.relay && a.Domain() != "ours.example" && a.Domain() != "file.example" {
				t.Fatalf("relayed to %s%s", a, tell())
			}
		}
		if want.content != content && !(want.relay && strings.HasSuffix(content, want.content)) {
			t.Fatalf("delivered %q as %s, acknowledged %q%s", content, got.env.ID, want.content, tell())
		}
		if want.readable && (got.env.From.String() != want.from || !slices.Equal(to, want.to)) {
			t.Fatalf("delivered from %s to %q, acknowledged from %s to %q%s", got.env.From, to, want.from, want.to, tell())
		}
	}
	if len(m.sent) > 0 {
		t.Fatalf("acknowledged and not delivered: %v%s", m.sent, tell())
	}
}

func quoted(s string) string { return strings.ReplaceAll(strings.TrimSpace(s), "\r\n", "⏎") }

// canonical gives the content as it is delivered below a field of ours: package mail alone says how. dots says that it
// came by DATA.
func canonical(content string, dots bool) string {
	g := mail.NewIngest(mail.IngestOptions{Unstuff: dots})
	if _, err := io.WriteString(g, content); err != nil {
		return err.Error()
	}
	b, faults, err := g.Blob()
	if err != nil {
		return err.Error()
	}
	c := mail.NewContent(b, faults, mail.Limits{})
	defer c.Release()
	m, err := mail.Rewrite(c, []mail.Edit{mail.AddField{Name: "X-Top", Body: "1"}}, false)
	if err != nil {
		return err.Error()
	}
	defer m.Release()
	var out strings.Builder
	if _, err := m.WriteTo(&out); err != nil {
		return err.Error()
	}
	return strings.TrimPrefix(out.String(), "X-Top: 1\r\n")
}
