package app

import (
	"fmt"
	"testing"

	"github.com/postern-mail/postern/internal/config"
	"github.com/postern-mail/postern/mail"
	"github.com/postern-mail/postern/upstream"
)

// configure parses a configuration with one upstream and more lines.
func configure(t *testing.T, servers, more string) *config.Config {
	t.Helper()
	cfg, err := config.Parse("test", fmt.Appendf(nil, "hostname: mx.example.org\nlisteners: {public: {address: \":25\"}}\n"+
		"routes: [{to: [example.org], upstream: up}]\nupstreams: {up: {servers: [%s]}}\n%s", servers, more), nil)
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// TestRelaysOutliveReloads keeps the relay of an upstream that a reload does not change, and gives back the one of
// an upstream that it does.
func TestRelaysOutliveReloads(t *testing.T) {
	var r relays
	defer func() {
		for _, k := range r.known {
			k.relay.(closer).Close()
		}
	}()
	rest := "filters: []"
	take := func(servers string) (upstream.Relay, int) {
		t.Helper()
		all, adopt, err := r.forConfig(configure(t, servers, rest), upstream.Hooks{})
		if err != nil {
			t.Fatal(err)
		}
		old := adopt()
		for _, o := range old {
			o.Close()
		}
		return all["up"], len(old)
	}
	first, closed := take(`"127.0.0.1:1"`)
	if closed != 0 {
		t.Errorf("%d relays to close at the start", closed)
	}
	same, closed := take(`"127.0.0.1:1"`)
	if same != first || closed != 0 {
		t.Errorf("an unchanged upstream got a new relay, %d to close", closed)
	}
	rest = "filters: []\nrequire_tls_to: [example.org]\n"
	if other, closed := take(`"127.0.0.1:1"`); other == first || closed != 1 {
		t.Errorf("an upstream kept its relay where other domains need TLS, %d to close", closed)
	}
	last := first
	for _, servers := range []string{
		`"127.0.0.1:2"`, `"127.0.0.1:2", "127.0.0.1:3"`, `{address: "127.0.0.1:2", weight: 2}, "127.0.0.1:3"`,
		`{address: "127.0.0.1:2", weight: 2}, {address: "127.0.0.1:3", priority: 20}`, `"127.0.0.1:2"], source: [127.0.0.1`,
		`"127.0.0.1:2"], limits: {uses: 10}, source: [127.0.0.1`, `"127.0.0.1:2"], probe: none, source: [127.0.0.1`,
		`"127.0.0.1:2"], server_name: x.example, source: [127.0.0.1`, `"127.0.0.1:2"], chunking: auto, source: [127.0.0.1`,
	} {
		other, closed := take(servers)
		if other == last || closed != 1 {
			t.Errorf("%s: a changed upstream kept its relay, %d to close", servers, closed)
		}
		if same, closed := take(servers); same != other || closed != 0 {
			t.Errorf("%s: an unchanged upstream got a new relay, %d to close", servers, closed)
		}
		last = other
	}
}

func TestExemptRecipients(t *testing.T) {
	exempt := exemptRecipients(configure(t, `"127.0.0.1:1"`, "exempt_recipients: [noc@example.org, open.example.org]\nfilters: []"))
	for address, want := range map[string]bool{
		"postmaster@example.org": true, "PostMaster@example.org": true, "abuse@example.org": true, `"postmaster"@example.org`: true,
		"noc@example.org": true, "NOC@example.org": true, "anyone@open.example.org": true,
		"bob@example.org": false, "postmasters@example.org": false, "noc@open.example": false,
	} {
		a, err := mail.ParseAddress(address)
		if err != nil {
			t.Fatal(err)
		}
		if got := exempt(a); got != want {
			t.Errorf("%s: %v", address, got)
		}
	}
}
