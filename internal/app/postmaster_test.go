package app

import "testing"

// TestPostmasterOfSingleMailboxes: mail for <postmaster> is taken also where only other mailboxes of its domain are named.
func TestPostmasterOfSingleMailboxes(t *testing.T) {
	g := startGateway(t, `
hostname: mx.postern.example
listeners: {public: {address: "127.0.0.1:0"}}
big_senders: []
routes: [{to: [bob@postern.example, "*.other.example"], upstream: local}]
upstreams: {local: {maildir: "{{dir}}/mail"}}
state: {directory: "{{dir}}/state"}
dns: {servers: ["127.0.0.1:1"]}
filters: []
`)
	for to, want := range map[string]string{
		"postmaster": "250 250 250", "PostMaster@postern.example": "250 250 250", "bob@postern.example": "250 250 250",
		"ann@postern.example": "250 554 503", "postmaster@other.example": "250 554 503",
	} {
		if got := codes(dialog(t, g.addr, "127.0.0.1", "MAIL FROM:<a@client.example>", "RCPT TO:<"+to+">", hello)); got != want {
			t.Errorf("%s: %s, want %s", to, got, want)
		}
	}
	if n := g.delivered(t); n != 3 {
		t.Errorf("%d messages were delivered", n)
	}
}
