package edge

import (
	"context"
	"encoding/base64"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/filter/auth"
	"github.com/postern-mail/postern/pipeline"
)

// loggedIn is a client that has logged in as ann, who may send as ours.example.
func loggedIn(t *testing.T, engine string, change func(*door, *ListenerConfig)) (*door, *client, *ListenerConfig) {
	t.Helper()
	var listener *ListenerConfig
	d := newDoor(t, nil, func(d *door, cfg *ListenerConfig) {
		cfg.Engine = engine
		configureRelay(t, d, cfg, "user", "ann secret ours.example")
		configureRelay(t, d, cfg, "require_tls", "false")
		if change != nil {
			change(d, cfg)
		}
		listener = cfg
	})
	c := begin(t, d)
	c.steps("C: AUTH PLAIN " + plainResponse("", "ann", "secret") + "\nS: 235")
	return d, c, listener
}

func plainResponse(as, name, password string) string {
	return base64.StdEncoding.EncodeToString([]byte(as + "\x00" + name + "\x00" + password))
}

// What becomes of a user's line holds from his next message on: when he is gone, or has another password, he has to log in
// again; what he may send as changes at once.
func TestLoginEnds(t *testing.T) {
	for _, engine := range engines {
		for name, tt := range map[string]struct{ line, mail string }{
			"gone":             {userLine("bob", "secret", "ours.example"), "421 4\\.7\\.0"},
			"another password": {userLine("ann", "secret2", "ours.example"), "421 4\\.7\\.0"},
			"another address":  {userLine("ann", "secret", "other.example"), "553 5\\.7\\.1"},
			"another order":    {userLine("bob", "x", "*") + userLine("ANN", "secret", "ours.example"), "250"},
		} {
			t.Run(engine+"/"+name, func(t *testing.T) {
				d, c, cfg := loggedIn(t, engine, nil)
				c.steps(oneOutward)
				if err := os.WriteFile(d.usersFile, []byte(tt.line), 0o600); err != nil {
					t.Fatal(err)
				}
				if err := cfg.Relay.Users.Reload(); err != nil {
					t.Fatal(err)
				}
				c.steps("C: MAIL FROM:<a@ours.example>\nS: " + tt.mail)
				switch tt.mail[:3] {
				case "421":
					c.steps("EOF:")
					c = begin(t, d)
					c.steps("C: AUTH PLAIN " + plainResponse("", "ann", "secret") + "\nS: 535")
				case "250":
					c.steps("C: RCPT TO:<b@foreign.example>\nS: 250")
				}
			})
		}
	}
}

// However the exchange is cut into packets and whatever stands in it, nobody is in who has not the password, and no line
// of the exchange is done as a command.
func TestLoginNoWayAround(t *testing.T) {
	b64 := base64.StdEncoding.EncodeToString
	for _, engine := range engines {
		for name, lines := range map[string][]string{
			"other case":             {"AUTH PLAIN " + plainResponse("", "ann", "Secret")},
			"as ann":                 {"AUTH PLAIN " + plainResponse("ann", "bob", "secret")},
			"empty password":         {"AUTH PLAIN " + plainResponse("", "ann", "")},
			"password with a NUL":    {"AUTH PLAIN " + plainResponse("", "ann", "secret\x00")},
			"name with a NUL":        {"AUTH LOGIN", b64([]byte("ann\x00")), b64([]byte("secret"))},
			"name with blanks":       {"AUTH PLAIN " + plainResponse("", " ann", "secret")},
			"password with blanks":   {"AUTH PLAIN " + plainResponse("", "ann", "secret ")},
			"password with CRLF":     {"AUTH PLAIN " + plainResponse("", "ann", "secret\r\n")},
			"a hash for a password":  {"AUTH PLAIN " + plainResponse("", "ann", strings.Fields(userLine("ann", "secret", "*"))[1])},
			"everything empty":       {"AUTH PLAIN " + plainResponse("", "", "")},
			"not UTF-8":              {"AUTH PLAIN " + plainResponse("", "\xff", "\xff")},
			"long name":              {"AUTH PLAIN " + plainResponse("", strings.Repeat("a", 1000), "secret")},
			"long password":          {"AUTH PLAIN " + plainResponse("", "ann", strings.Repeat("x", 2000))},
			"commands for responses": {"AUTH LOGIN", "MAIL FROM:<a@ours.example>"},
			"data for responses":     {"AUTH PLAIN", "DATA"},
			"auth within auth":       {"AUTH LOGIN", "AUTH PLAIN " + plainResponse("", "ann", "secret")},
			"AUTH= of MAIL":          {"MAIL FROM:<a@ours.example> AUTH=ann"},
		} {
			t.Run(engine+"/"+name, func(t *testing.T) {
				d := newDoor(t, nil, func(d *door, cfg *ListenerConfig) {
					cfg.Engine = engine
					configureRelay(t, d, cfg, "user", "ann secret ours.example")
					configureRelay(t, d, cfg, "user", "bob geheim *")
					configureRelay(t, d, cfg, "require_tls", "false")
				})
				c := begin(t, d)
				for _, line := range lines {
					c.send(line + "\r\n")
					if r := c.reply(); strings.HasPrefix(r, "235") {
						c.fatal("%q is let in: %s", line, r)
					}
				}
				c.steps("C: RSET\nS: 250\nC: MAIL FROM:<a@ours.example>\nS: 250\nC: RCPT TO:<b@foreign.example>\nS: 554 5\\.7\\.1\nC: RCPT TO:<b@ours.example>\nS: 250")
				if n := len(d.relay.all()) + len(d.second.all()); n != 0 {
					t.Errorf("%d delivered", n)
				}
				for _, line := range d.log.lines() {
					if strings.Contains(line, "secret") || strings.Contains(line, "geheim") {
						t.Errorf("a password in the log: %s", line)
					}
				}
			})
		}
	}
}

// A login lasts as long as its connection: the next one begins without it.
func TestLoginIsOfOneConnection(t *testing.T) {
	for _, engine := range engines {
		d, c, _ := loggedIn(t, engine, nil)
		c.steps(oneOutward)
		begin(t, d).steps("C: MAIL FROM:<a@ours.example>\nS: 250\nC: RCPT TO:<b@foreign.example>\nS: 554")
		c.steps(oneOutward)
		if n := len(d.second.all()); n != 2 {
			t.Errorf("%s: %d went out", engine, n)
		}
	}
}

// Logins are counted with their results, which are of a closed set.
func TestLoginMetrics(t *testing.T) {
	d, _, _ := loggedIn(t, EnginePostern, nil)
	c := begin(t, d)
	c.steps("C: AUTH PLAIN " + plainResponse("", "ann", "wrong") + "\nS: 535\nC: AUTH PLAIN =\nS: 501")
	d.metrics.mu.Lock()
	defer d.metrics.mu.Unlock()
	if a := d.metrics.auths; len(a) != 3 || a[AuthOK] != 1 || a[AuthWrong] != 1 || a[AuthMalformed] != 1 {
		t.Errorf("counted: %v", a)
	}
}

// A user's own limits are a fact of his session, from the login on and behind another EHLO.
func TestLoginTellsLimits(t *testing.T) {
	var told [][]auth.UserLimit
	d := newDoor(t, nil, func(d *door, cfg *ListenerConfig) {
		d.users = userLine("app", "secret", "* rate=5/1h,20/1d")
		configureRelay(t, d, cfg, "user", "ann secret *")
		configureRelay(t, d, cfg, "require_tls", "false")
		plan, err := pipeline.Compile([]pipeline.Stage{{
			Spec: filter.Spec{Name: "s", Phases: filter.In(filter.Mail)},
			Filter: filter.Func(func(_ context.Context, in *filter.Input) (filter.Result, error) {
				l, _ := auth.UserLimits.From(in)
				told = append(told, l)
				return filter.Result{}, nil
			}),
		}})
		if err != nil {
			t.Fatal(err)
		}
		d.gw.Plan = plan
	})
	for _, user := range []string{"app", "ann"} {
		c := begin(t, d)
		c.steps("C: AUTH PLAIN " + plainResponse("", user, "secret") + "\nS: 235\nC: MAIL FROM:<>\nS: 250\nC: EHLO x.example\nS: 250\nC: MAIL FROM:<>\nS: 250")
	}
	if want := "[[{5 1h0m0s} {20 24h0m0s}] [{5 1h0m0s} {20 24h0m0s}] [] []]"; fmt.Sprint(told) != want {
		t.Errorf("told %v, want %s", told, want)
	}
}
