package app

import (
	"fmt"
	"strings"
	"testing"
)

// TestRateLimit sends until a limit is reached, with greylisting beside it, and over a restart.
func TestRateLimit(t *testing.T) {
	g := greylistGateway(t, "ratelimit: {client: {messages: 3/1d}, relay: {recipients: 2/1d}}, access: {block_entries: [later.example action=quarantine]}")
	message := func(from, to string) []string {
		return []string{"MAIL FROM:<" + from + ">", "RCPT TO:<" + to + "@postern.example>", hello}
	}
	for i := range 2 {
		if got := codes(dialog(t, g.addr, "127.0.1.1", message("a@client.example", "u")...)); got != "250 250 250" {
			t.Fatalf("message %d: %s", i, got)
		}
	}
	if got := codes(dialog(t, g.addr, "127.0.1.1", "MAIL FROM:<a@client.example>", "RCPT TO:<u@postern.example>", "RSET", "MAIL FROM:<a@client.example>", "RCPT TO:<u@postern.example>", "QUIT")); got != "250 250 250 250 250 221" {
		t.Fatalf("broken off: %s", got)
	}
	g.restart(t)
	if got := codes(dialog(t, g.addr, "127.0.1.2", message("a@later.example", "u")...)); got != "250 250 550" {
		t.Fatalf("held, which is an end: %s", got)
	}
	replies := dialog(t, g.addr, "127.0.1.3", message("b@client.example", "u")...)
	if codes(replies) != "250 450 503" || !strings.HasPrefix(replies[1], "450 4.7.1 Limit of 3 messages in 1d for your network is reached, please come again in ") {
		t.Errorf("a fourth: %q", replies)
	}
	if got := codes(dialog(t, g.addr, "127.0.1.3", message("b@client.example", "postmaster")...)); got != "250 250 250" {
		t.Errorf("to the postmaster: %s", got)
	}
	if got := codes(dialog(t, g.addr, "127.0.2.3", message("b@client.example", "u")...)); got != "250 250 250" {
		t.Errorf("from another network: %s", got)
	}
	if got := codes(dialog(t, g.addr, "127.0.9.3", "MAIL FROM:<u@postern.example>", "RCPT TO:<a@client.example>", "RCPT TO:<b@client.example>", "RCPT TO:<c@client.example>", hello)); got != "250 250 250 450 250" {
		t.Errorf("from a host of ours: %s", got)
	}
	verdicts := g.log.lines(t, "verdict")
	found := false
	for _, v := range verdicts {
		found = found || strings.HasPrefix(fmt.Sprint(v["because"]), "ratelimit: RATELIMIT_EXCEEDED client 127.0.1.0/24: 3 messages in 1d, to come again in ")
	}
	if !found {
		t.Errorf("the log does not say why: %v", verdicts)
	}
}

// TestRateLimitCountsOnce: what is greylisted, or what the server inside can't take now, is counted when it is taken.
func TestRateLimitCountsOnce(t *testing.T) {
	answer := map[string]string{"dot": "451 4.3.0 later"}
	up := backend(t, answer)
	g := startGateway(t, fmt.Sprintf(`
hostname: mx.postern.example
exempt_networks: []
listeners: {public: {address: "127.0.0.1:0", early_talkers: 0s}}
big_senders: []
routes: [{to: [postern.example], upstream: up}]
upstreams: {up: {servers: [%q]}}
state: {directory: "{{dir}}/state"}
dns: {servers: ["127.0.0.1:1"]}
filters: [ratelimit: {client: {messages: 2/1d, recipients: 2/1d, octets: 100/1d}}]
`, up))
	for range 5 {
		if got := codes(dialog(t, g.addr, "127.0.1.1", "MAIL FROM:<a@client.example>", "RCPT TO:<u@postern.example>", hello)); got != "250 250 451" {
			t.Fatalf("deferred inside: %s", got)
		}
	}
}
