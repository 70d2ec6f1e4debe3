package app

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/postern-mail/postern/internal/dns/zone"
)

// TestNamesInEHLO: the standard filters look at what a client calls itself, and a failing DNS is no evidence.
func TestNamesInEHLO(t *testing.T) {
	for _, c := range []struct{ name, zone, want string }{
		{"nowhere", "", "HELO_UNRESOLVABLE"},
		{"elsewhere", "client.example A 203.0.113.8\n", "HELO_MISMATCH"},
		{"its own", "client.example A 203.0.113.7\n", ""},
		{"SERVFAIL", "client.example SERVFAIL\n", ""},
		{"garbage", "client.example GARBAGE\n", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			server, err := zone.Serve(c.zone + "client.test A 203.0.113.7\n")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = server.Close() })
			g := startGatewayWith(t, fmt.Sprintf("hostname: mx.example.org\nlisteners: {public: {address: \"127.0.0.1:0\", early_talkers: 0s}}\nbig_senders: []\n"+
				"routes: [{to: [example.org], upstream: local}]\nupstreams: {local: {maildir: \"{{dir}}/mail\"}}\n"+
				"state: {directory: \"{{dir}}/state\"}\ndns: {servers: [%q]}\n", server.Addr()))
			reply, err := sample{from: "a@client.test", to: "bob@example.org", content: []byte(invoice)}.send(context.Background(), g.from(t, "203.0.113.7"))
			if err != nil || !strings.HasPrefix(reply, "250") {
				t.Errorf("%q, %v", reply, err)
			}
			log := g.log.String()
			if got := strings.Count(log, `"symbol":"HELO_`); c.want == "" && got > 0 || c.want != "" && !strings.Contains(log, `"symbol":"`+c.want+`"`) {
				t.Errorf("%d findings, want %q", got, c.want)
			}
			if !strings.Contains(log, `"filter":"pregreet","phase":"helo"`) {
				t.Error("pregreet did not run")
			}
		})
	}
}

// TestEarlyTalkers: a client that does not wait for the greeting is scored or, if so configured, refused at RCPT, where
// postmaster can still be reached; one that waits is not.
func TestEarlyTalkers(t *testing.T) {
	t.Parallel()
	server, err := zone.Serve("client.example A 203.0.113.7\nclient.test A 203.0.113.7\n")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	for _, c := range []struct {
		name, action  string
		waits, exempt bool
		bob           string
	}{
		{"waits", "reject", true, false, "250"},
		{"scored", "score", false, false, "250"},
		{"deferred", "defer", false, false, "450 4.5.1 "},
		{"refused", "reject", false, false, "550 5.5.1 "},
		{"exempt", "reject", false, true, "250"},
	} {
		t.Run(c.name, func(t *testing.T) {
			wait := time.Second
			if !c.waits { // as long as it may take until it has spoken, on a machine under load
				wait = 15 * time.Second
			}
			g := startGatewayWith(t, fmt.Sprintf("hostname: mx.example.org\nlisteners: {public: {address: \"127.0.0.1:0\", early_talkers: %s}}\nbig_senders: []\n"+
				"routes: [{to: [example.org], upstream: local}]\nupstreams: {local: {maildir: \"{{dir}}/mail\"}}\n"+
				"state: {directory: \"{{dir}}/state\"}\ndns: {servers: [%q]}\nfilters: [pregreet: {action: %s}]\n", wait, server.Addr(), c.action))
			client := "203.0.113.7"
			if c.exempt {
				client = "127.0.0.1"
			}
			conn, err := net.Dial("tcp", g.from(t, client))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			_ = conn.SetDeadline(time.Now().Add(time.Minute))
			r := bufio.NewReader(conn)
			say := func(line, want string) {
				t.Helper()
				if line != "" {
					if _, err := fmt.Fprintf(conn, "%s\r\n", line); err != nil {
						t.Fatal(err)
					}
				}
				if want == "" {
					return
				}
				if got, err := readReply(r); err != nil || !strings.HasPrefix(got, want) {
					t.Fatalf("%s: %q, %v; want %s", line, got, err, want)
				}
			}
			if !c.waits {
				say("EHLO client.example", "")
			}
			say("", "220")
			if c.waits {
				say("EHLO client.example", "")
			}
			say("", "250")
			say("MAIL FROM:<a@client.test>", "250")
			say("RCPT TO:<bob@example.org>", c.bob)
			say("RSET", "250")
			say("MAIL FROM:<a@client.test>", "250")
			say("RCPT TO:<postmaster@example.org>", "250")
			say("QUIT", "221")
		})
	}
}
