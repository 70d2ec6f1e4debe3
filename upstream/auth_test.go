package upstream

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/postern-mail/postern/mail"
)

// TestAuthConfig: no pool is made that would send a password in plain, or one that can't be sent.
func TestAuthConfig(t *testing.T) {
	good := Auth{User: "u", Password: "p"}
	for name, c := range map[string]struct {
		tls  TLSMode
		auth Auth
		err  string
	}{
		"verify":          {TLSVerify, good, ""},
		"required":        {TLSRequired, good, ""},
		"none":            {TLSNone, good, "required or verify"},
		"opportunistic":   {TLSOpportunistic, good, "required or verify"},
		"no user":         {TLSVerify, Auth{Password: "p"}, "needs a user and a password"},
		"no password":     {TLSVerify, Auth{User: "u"}, "needs a user and a password"},
		"NUL in user":     {TLSVerify, Auth{User: "u\x00v", Password: "p"}, "NUL"},
		"NUL in password": {TLSVerify, Auth{User: "u", Password: "p\x00q"}, "NUL"},
		"long user":       {TLSVerify, Auth{User: strings.Repeat("u", 1025), Password: "p"}, "1024 octets"},
		"long password":   {TLSVerify, Auth{User: "u", Password: strings.Repeat("p", 1025)}, "1024 octets"},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := NewPool(Config{Name: "t", Servers: []string{"s.test:587"}, TLS: c.tls, Auth: &c.auth})
			switch {
			case c.err == "" && err != nil, c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)):
				t.Errorf("%v, want %q", err, c.err)
			case err == nil:
				p.Close()
			}
		})
	}
	if s := fmt.Sprintf("%v %+v", &Auth{User: "u", Password: "sesame"}, Config{Auth: &Auth{Password: "sesame"}}); strings.Contains(s, "sesame") {
		t.Error(s)
	}
}

// TestEcho: replies that repeat what authenticates us lose their text, and no others.
func TestEcho(t *testing.T) {
	a := &Auth{User: "user", Password: "open sesame"}
	response, password := encode("\x00user\x00open sesame"), encode("open sesame")
	for text, kept := range map[string]bool{
		"authentication failed":  true,
		"no such user: user":     true,
		"":                       true,
		"AUTH PLAIN " + response: false,
		"AUTH PLAIN " + strings.ToUpper(response):    false,
		"cut: " + response[:12] + "…":                false,
		"in lines\n" + response[8:] + "\nof several": false,
		"what is " + password + "?":                  false,
		"what is open sesame?":                       false,
		"what is n sesame?":                          false,
		strings.Repeat("x", 999) + response:          true, // cut before
	} {
		r := a.withoutEcho(mail.Reply{Code: 500, Text: text})
		if got := r.Text == text || len(text) > maxAuthText && strings.HasPrefix(text, r.Text); got != kept || r.Code != 500 {
			t.Errorf("%q: %+v", text, r)
		}
	}
	short := &Auth{User: "u", Password: "pw"}
	if r := short.withoutEcho(mail.Reply{Code: 535, Text: "bad password: pw"}); strings.Contains(r.Text, "pw") {
		t.Error(r)
	}
}

// TestRefusedLogin: a login that was refused is tried again by one message after a back-off, and by no other and no callout, also where there is
// no other server.
func TestRefusedLogin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cert, _ := certificate(t, "s1.test")
		login := func(then ...string) []string {
			return append([]string{
				"S 220 s1", "C EHLO gw.test", `S "250-s1\r\n250 STARTTLS\r\n"`, "C STARTTLS", "S 220 go", "TLS", "C EHLO gw.test", `S "250-s1\r\n250 AUTH PLAIN\r\n"`,
				"C AUTH PLAIN " + encode("\x00u\x00open sesame"),
			}, then...)
		}
		b := &backend{name: "s1", cert: &cert, done: make(chan struct{}), scripts: [][]string{
			login("S 535 5.7.8 no", "DRAIN"),
			login("PAUSE 5s", "S 535 5.7.8 no", "DRAIN"),
			login("S 235 welcome", "C MAIL FROM:<a@x.test>", "S 250 Ok", "C RCPT TO:<b@y.test>", "S 250 Ok", "C DATA", "S 354 go", "BODY", "S 250 Ok", "DRAIN"),
		}}
		faults := 0
		p := pool(t, Config{
			Servers: []string{"s1.test:25"}, TLS: TLSRequired, Auth: &Auth{User: "u", Password: "open sesame"}, Dial: pipeNet{"s1.test:25": b}.dial,
			Hooks: Hooks{Fault: func(string, Stage, mail.Reply, error) { faults++ }},
		})
		check := func(what string, connections int, want Kind) {
			t.Helper()
			o, _ := deliver(t, p)
			if o.Kind != want || want == OurFault && (o.Stage != StageAuth || o.Reply.Code != 535 || !o.ClientReply("x", false).Temporary()) {
				t.Errorf("%s: %+v", what, o)
			}
			if b.mu.Lock(); b.accepted != connections {
				t.Errorf("%s: %d connections, not %d", what, b.accepted, connections)
			}
			b.mu.Unlock()
		}
		check("the first", 1, OurFault)
		check("the next", 1, OurFault)
		if known, err := (Ask{Pool: p, Positive: time.Hour, Negative: time.Hour}).Lookup(t.Context(), address(t, "b@y.test")); known != NoSource || err == nil {
			t.Errorf("a callout: %v, %v", known, err)
		}
		time.Sleep(backoffFirst - time.Second)
		check("before the back-off is over", 1, OurFault)
		time.Sleep(2 * time.Second)
		var trial sync.WaitGroup
		trial.Go(func() { deliver(t, p) })
		time.Sleep(time.Second)
		check("while one tries", 2, OurFault)
		trial.Wait()
		check("when it has failed", 2, OurFault)
		time.Sleep(2*backoffFirst - time.Second)
		check("before the longer back-off is over", 2, OurFault)
		time.Sleep(2 * time.Second)
		check("mended", 3, Delivered)
		if faults != 2 {
			t.Errorf("%d faults were told", faults)
		}
		p.Close()
		if err := b.stop(); err != nil {
			t.Error(err)
		}
	})
}
