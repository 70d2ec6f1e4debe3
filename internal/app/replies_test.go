package app

import (
	"fmt"
	"strings"
	"testing"

	"github.com/postern-mail/postern/internal/dns/zone"
)

// repliesConfig is a gateway in front of a server, to be completed with what is told of the recipients and the filters.
const repliesConfig = `hostname: mx.example.org
listeners: {public: {address: "127.0.0.1:0", early_talkers: 0s}}
routes: [{to: [example.org], upstream: up, recipients: {verify: %s}}]
upstreams: {up: {servers: [%q]}}
state: {directory: "{{dir}}/state"}
dns: {servers: ["127.0.0.1:1"]}
filters: [%s]
`

const toBob = "RCPT TO:<bob@example.org>"

// TestSilentCallout: a server that can't be asked about a recipient is no evidence against it, and postmaster needs no answer.
func TestSilentCallout(t *testing.T) {
	t.Parallel()
	for name, replies := range map[string]map[string]string{
		"closes": {"RCPT": "drop"}, "closes before": {"greeting": "drop"}, "will not say": {"RCPT": "451 4.3.0 later"}, "takes no mail from us": {"MAIL": "550 5.7.1 go away"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := startGatewayWith(t, fmt.Sprintf(repliesConfig, "callout", backend(t, replies), ""))
			got := dialog(t, g.addr, "127.0.0.1", "MAIL FROM:<ann@client.test>", toBob, "RCPT TO:<postmaster@example.org>")
			if codes(got) != "250 451 250" || !strings.HasPrefix(got[1], "451 4.4.3 ") {
				t.Errorf("%q", got)
			}
		})
	}
}

// TestRefusedAfterOur250: of a recipient whom the server inside refuses when ours has been accepted, the client hears at once that it
// is to come again, and when it does, why.
func TestRefusedAfterOur250(t *testing.T) {
	t.Parallel()
	for reply, at := range map[string]string{
		"550 5.1.1 no such user":        "550 5.1.1 the next server refused this recipient",
		"452 4.2.2 mailbox is full":     "452 4.2.2 the next server cannot take this recipient now",
		"550 5.4.1 access denied":       "550 5.4.1 the next server refused this recipient", // as Exchange Online says it of mailboxes
		"554 5.7.1 Relay access denied": "250 ",
	} {
		t.Run(reply, func(t *testing.T) {
			t.Parallel()
			g := startGatewayWith(t, fmt.Sprintf(repliesConfig, "none", backend(t, map[string]string{"RCPT": reply}), ""))
			lines := []string{"MAIL FROM:<ann@client.test>", toBob, hello, "MAIL FROM:<ann@client.test>", toBob}
			got := dialog(t, g.addr, "127.0.0.1", lines...)
			first := "451 4.3.0 a recipient is no longer accepted"
			if at == "250 " {
				first = "451 4.4.0 " // that is about us, and not remembered
			}
			if len(got) != 5 || !strings.HasPrefix(got[2], first) || !strings.HasPrefix(got[4], at) {
				t.Errorf("%q", got)
			}
		})
	}
}

// TestUnknownOutcomeIsCounted: what became of a message after the final dot is not known where the connection ends then.
func TestUnknownOutcomeIsCounted(t *testing.T) {
	t.Parallel()
	at := backend(t, map[string]string{"dot": "drop"})
	g := startGatewayWith(t, fmt.Sprintf(repliesConfig, "none", at, ""))
	got := dialog(t, g.addr, "127.0.0.1", "MAIL FROM:<ann@client.test>", toBob, hello)
	if !strings.HasPrefix(got[len(got)-1], "451 4.4.2 the next server did not confirm the message") {
		t.Errorf("%q", got)
	}
	series := fmt.Sprintf(`postern_upstream_deliveries_total{backend=%q,code="none",result="unknown"}`, at)
	if v := g.metric(t, series); v != "1" {
		t.Errorf("%s is %s", series, v)
	}
}

// TestOnError: what a filter that can't tell comes to is what its configuration says.
func TestOnError(t *testing.T) {
	t.Parallel()
	for onError, want := range map[string]string{"defer": "451 4.3.0 ", "continue": "250 2.0.0 ", "reject": "554 5.7.1 "} {
		for _, how := range []string{"error", "panic", "hang"} {
			t.Run(onError+", "+how, func(t *testing.T) {
				t.Parallel()
				stage := fmt.Sprintf("{trouble: {how: %s, phase: data, timeout: 200ms, on_error: %s}}", how, onError)
				g := startGatewayWith(t, fmt.Sprintf(repliesConfig, "none", backend(t, nil), stage), trouble)
				got := dialog(t, g.addr, "127.0.0.1", "MAIL FROM:<ann@client.test>", toBob, hello)
				if !strings.HasPrefix(got[len(got)-1], want) {
					t.Errorf("%q", got)
				}
			})
		}
	}
}

// TestListsAndPostmaster: whoever stands on a list reaches the postmaster all the same, by any of his addresses, and nobody else.
func TestListsAndPostmaster(t *testing.T) {
	t.Parallel()
	server, err := zone.Serve("bl.example SOA ns.example. h.example. 1 2 3 4 60\n2.0.0.127.bl.example A 127.0.0.2\n7.113.0.203.bl.example A 127.0.0.2\n")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	g := startGatewayWith(t, fmt.Sprintf(`hostname: mx.example.org
postmaster: admin@example.org
listeners: {public: {address: "127.0.0.1:0", early_talkers: 0s}}
routes: [{to: [example.org], upstream: up}]
upstreams: {up: {servers: [%q]}}
state: {directory: "{{dir}}/state"}
dns: {servers: [%q]}
policies: {default: {tag: 5, reject: 10}}
filters: [{dnsbl: {budget: 15s, lists: {bl.example: {weight: 20}}}}]
`, backend(t, nil), server.Addr()))
	got := dialog(t, g.from(t, "203.0.113.7"), "127.0.0.1", "MAIL FROM:<ann@client.test>", toBob,
		"RCPT TO:<Postmaster@example.org>", "RCPT TO:<abuse@example.org>", "RCPT TO:<postmaster>", hello)
	if codes(got) != "250 550 250 250 250 250" {
		t.Errorf("%q", got)
	}
}
