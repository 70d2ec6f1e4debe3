package upstream

import (
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/postern-mail/postern/mail"
)

// TestSocket: a server of LMTP that is a UNIX socket gets what was sent, without TLS though it offers it.
func TestSocket(t *testing.T) {
	b := &backend{name: "server1", done: make(chan struct{}), tcp: true, scripts: [][]string{{
		"S 220 s1 LMTP", "C LHLO gw.test", "S 250-s1", "S 250-STARTTLS", "S 250 PIPELINING",
		"C MAIL FROM:<a@x.test>", "C+ RCPT TO:<b@y.test>", "S 250 OK", "S 250 OK", "C DATA", "S 354 OK", "BODY", "S 250 2.0.0 Saved", "WAIT",
	}}}
	path := filepath.Join(t.TempDir(), "lmtp")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	var accepting sync.WaitGroup
	accepting.Go(func() {
		if nc, err := l.Accept(); err == nil {
			b.serve(nc)
		}
	})
	relay := pool(t, Config{Servers: []string{"unix:" + path}, LMTP: true, Hello: "gw.test"})
	o := relay.Deliver(t.Context(), envelope(t, "b@y.test"), message(t, "Subject: x\r\n\r\n.dot\r\n"))
	if o.Kind != Delivered || o.Server != "unix:"+path || o.TLS != nil || !relay.OneRecipient() {
		t.Errorf("%+v", o)
	}
	relay.Close()
	_ = l.Close()
	accepting.Wait()
	if err := b.stop(); err != nil {
		t.Error(err)
	}
	if len(b.bodies) != 1 || b.bodies[0] != "Subject: x\r\n\r\n.dot\r\n" {
		t.Errorf("%q", b.bodies)
	}
}

// TestSocketGone: without its server a socket is a server that cannot be reached.
func TestSocketGone(t *testing.T) {
	relay := pool(t, Config{Servers: []string{"unix:" + filepath.Join(t.TempDir(), "none")}, LMTP: true})
	if o := relay.Deliver(t.Context(), envelope(t, "b@y.test"), message(t, "x\r\n")); o.Kind != Unreachable || o.Stage != StageDial {
		t.Errorf("%+v", o)
	}
}

func TestSocketConfig(t *testing.T) {
	for _, c := range []struct {
		name string
		cfg  Config
		want string
	}{
		{"without LMTP", Config{Servers: []string{"unix:/run/x"}}, "a socket is for LMTP"},
		{"no path", Config{Servers: []string{"unix:"}, LMTP: true}, "path is needed"},
		{"TLS required", Config{Servers: []string{"unix:/run/x"}, LMTP: true, TLS: TLSRequired}, "no TLS on a socket"},
		{"TLS verified", Config{Servers: []string{"unix:/run/x"}, LMTP: true, TLS: TLSVerify}, "no TLS on a socket"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := NewPool(c.cfg); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v", err)
			}
		})
	}
}

// TestApart: of a refusal for good to the final dot, and of nothing else, there becomes one of the recipient, who is put off once
// for its sender, and never refused.
func TestApart(t *testing.T) {
	a, b, to := address(t, "a@x.test"), address(t, "b@x.test"), address(t, "full@y.test")
	full := mail.NewReply(552, 5, 2, 2, "Quota exceeded")
	for _, c := range []struct {
		name string
		lmtp bool
		o    Outcome
		want Kind
	}{
		{"quota", true, Outcome{Kind: Refused, Stage: StageDot, Reply: full}, RecipientRefused},
		{"SMTP", false, Outcome{Kind: Refused, Stage: StageDot, Reply: full}, Refused},
		{"for now", true, Outcome{Kind: Refused, Stage: StageDot, Reply: mail.NewReply(452, 4, 2, 2, "full")}, Refused},
		{"before the dot", true, Outcome{Kind: Refused, Stage: StageData, Reply: full}, Refused},
		{"delivered", true, Outcome{Kind: Delivered, Stage: StageDot, Reply: mail.NewReply(250, 2, 0, 0, "Saved")}, Delivered},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := pool(t, Config{Servers: []string{"127.0.0.1:1"}, LMTP: c.lmtp})
			o := p.Apart(a, to, c.o)
			_, others := p.CachedFrom(b, to)
			_, all := p.Cached(to)
			told, known := p.CachedFrom(a, to)
			_, again := p.CachedFrom(a, to)
			if o.Kind != c.want || known != (c.want == RecipientRefused) || others || all || again {
				t.Errorf("%v, known %v, to others %v, to all %v, again %v", o.Kind, known, others, all, again)
			}
			if known && (told.String() != "450 4.5.0 the next server cannot take this recipient now, please try again later" || !o.ClientReply("ID", false).Temporary()) {
				t.Errorf("told %v, then %v", o.ClientReply("ID", false), told)
			}
		})
	}
}
