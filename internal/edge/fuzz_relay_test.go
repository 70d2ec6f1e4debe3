package edge

import (
	"strings"
	"testing"

	"github.com/postern-mail/postern/internal/limits"
	"github.com/postern-mail/postern/internal/users"
)

// relayWords are what FuzzRelay makes dialogs of, as words are for FuzzSession.
var relayWords = []string{
	"EHLO client.example\r\n", "HELO x\r\n", "MAIL FROM:<a@ours.example>\r\n", "MAIL FROM:<a@else.example>\r\n", "MAIL FROM:<> AUTH=<>\r\n",
	"RCPT TO:<x@foreign.example>\r\n", "RCPT TO:<@ours.example:x@foreign.example>\r\n", "RCPT TO:<x%foreign.example@ours.example>\r\n",
	"RCPT TO:<b@ours.example>\r\n", "DATA\r\n", "From: a@ours.example\r\n\r\nx", "\r\n.\r\n", "RSET\r\n", "NOOP\r\n", "QUIT\r\n", "STARTTLS\r\n",
	"AUTH PLAIN AGFubgBzZWNyZXQ=\r\n", "AUTH PLAIN AGFubgB3cm9uZw==\r\n", "AUTH PLAIN\r\n", "AUTH LOGIN\r\n", "AUTH LOGIN YW5u\r\n",
	"AGFubgBzZWNyZXQ=\r\n", "YW5u\r\n", "c2VjcmV0\r\n", "d3Jvbmc=\r\n", "=\r\n", "*\r\n", "\r\n", "\n", "auth plain YW5uAGFubgBzZWNyZXQ=\r\n", "\x00",
}

// secrets are the responses without which nobody is ann.
var secrets = []string{"AGFubgBzZWNyZXQ=", "YW5uAGFubgBzZWNyZXQ=", "c2VjcmV0"}

// FuzzRelay has random dialogs with doors of both engines at which ann may log in: nobody is let in without her password,
// nothing leaves the site but from who was let in, and as what she may send.
func FuzzRelay(f *testing.F) {
	f.Add([]byte{0, 16, 2, 5, 9, 10, 11, 14}, uint64(1))
	f.Add([]byte{0, 19, 22, 23, 2, 5, 9, 10, 11, 14}, uint64(2))
	f.Add([]byte{0, 18, 21, 12, 0, 3, 2, 6, 9, 10, 11}, uint64(3))
	f.Add([]byte{0, 17, 2, 5, 20, 26, 5, 7, 9, 14}, uint64(4))
	f.Add([]byte{0, 29, 15, 0, 2, 5, 9, 10, 11}, uint64(5))
	f.Add([]byte{1, 16, 0, 20, 24, 16, 4, 5, 8, 9, 10, 11}, uint64(6))
	type tried struct {
		d   *door
		cfg ListenerConfig
	}
	var all []tried
	for _, engine := range engines {
		var t tried
		t.d = newDoor(f, nil, func(d *door, cfg *ListenerConfig) {
			cfg.Engine = engine
			cfg.Relay = Relay{Checker: users.NewChecker()}
			addUser(f, d, &cfg.Relay, userLine("ann", "secret", "ours.example"))
			d.gw.Router, d.gw.Content = outward(f), limits.NewBudget(1<<20)
			cfg.Limits.Errors = 1000 // or who makes many has to wait
			t.cfg = *cfg
		})
		all = append(all, t)
	}
	f.Fuzz(func(t *testing.T, script []byte, cuts uint64) {
		if len(script) > 200 {
			return
		}
		var in strings.Builder
		for _, b := range script {
			if int(b) < len(relayWords) {
				in.WriteString(relayWords[b])
			} else {
				in.WriteByte(b)
			}
		}
		for _, x := range all {
			d := x.d
			d.forget()
			x.cfg.Relay.Checker = users.NewChecker() // failures of the runs before would make this one wait
			d.srv.Configure(x.cfg)
			talks, _ := converse(t, d.addr, in.String(), cuts)
			d.empty(t)
			var replies []string
			for _, talk := range talks {
				replies = append(replies, talk.replies...)
			}
			if p := d.metrics.panics; p != 0 {
				t.Fatalf("%d panics:\n%s", p, strings.Join(d.log.lines(), "\n"))
			}
			let := false
			for _, r := range replies {
				let = let || strings.HasPrefix(r, "235")
			}
			knew := false
			for _, s := range secrets {
				knew = knew || strings.Contains(in.String(), s)
			}
			switch got := d.second.all(); {
			case let && !knew:
				t.Fatalf("%s: let in without the password: %q\n%q", x.cfg.Engine, in.String(), replies)
			case len(got) > 0 && !let:
				t.Fatalf("%s: relayed for a stranger: %q\n%q", x.cfg.Engine, in.String(), replies)
			default:
				for _, m := range got {
					if from := m.env.From; !from.IsZero() && from.Domain() != "ours.example" {
						t.Fatalf("%s: sent as %s: %q", x.cfg.Engine, from, in.String())
					}
				}
			}
		}
	})
}
