package app

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/internal/config"
	"github.com/postern-mail/postern/internal/dns/zone"
)

// TestBigSenders: sessions of clients in the networks that a domain's SPF record has are of a big sender, as soon as that is
// known; mail does not wait for it; a reload changes the domains.
func TestBigSenders(t *testing.T) {
	ended := watchGoroutines(t)
	server, err := zone.Serve("big.example TXT v=spf1 include:_spf.big.example redirect=more.example\n" +
		"_spf.big.example TXT v=spf1 ip4:203.0.113.0/25 ~all\nmore.example TXT v=spf1 ip6:2001:db8::/32 -all\n" +
		"other.example TXT v=spf1 ip4:203.0.113.0/24 -all\nsilent.example SILENT\n")
	if err != nil {
		t.Fatal(err)
	}
	seen := make(chan string, 10)
	see := filter.Factory{Kind: "see", New: func(_ filter.Env, decode func(any) error) (filter.Spec, filter.Filter, error) {
		return filter.Spec{Phases: filter.In(filter.Connect)}, filter.Func(func(_ context.Context, in *filter.Input) (filter.Result, error) {
			seen <- in.Session.Big
			return filter.Result{}, nil
		}), decode(&struct{}{})
	}}
	text := fmt.Sprintf("hostname: mx.example.org\nlisteners: {public: {address: \"127.0.0.1:0\", early_talkers: 0s}}\n"+
		"routes: [{to: [example.org], upstream: local}]\nupstreams: {local: {maildir: \"{{dir}}/mail\"}}\nstate: {directory: \"{{dir}}/state\"}\n"+
		"dns: {servers: [%q]}\nfilters: [see]\nbig_senders: [silent.example, big.example]\n", server.Addr())
	g := startGatewayWith(t, text, see)
	if !comesTrue(func() bool { return g.metric(t, "postern_big_senders_networks") == "2" }) {
		t.Fatalf("%+v", g.senders.Usage())
	}
	check := func(client, want string) {
		t.Helper()
		reply, err := sample{from: "a@client.test", to: "bob@example.org", content: []byte(invoice)}.send(context.Background(), g.from(t, client))
		if err != nil || !strings.HasPrefix(reply, "250") {
			t.Fatalf("%s: %q, %v", client, reply, err)
		}
		if got := <-seen; got != want {
			t.Errorf("%s is of %q, want %q", client, got, want)
		}
	}
	check("203.0.113.7", "big.example")
	check("203.0.113.200", "")
	check("2001:db8::7", "big.example")
	for series, want := range map[string]string{"postern_big_senders": "2", "postern_big_senders_known": "1", "postern_big_senders_networks": "2"} {
		if got := g.metric(t, series); got != want {
			t.Errorf("%s is %s, want %s", series, got, want)
		}
	}
	for _, c := range []struct{ domains, want string }{{"[big.example, other.example]", "other.example"}, {"[]", ""}} {
		next, err := config.Parse("new", []byte(strings.NewReplacer("{{dir}}", g.dir, "[silent.example, big.example]", c.domains).Replace(text)), g.app.kinds)
		if err != nil {
			t.Fatal(err)
		}
		if err := g.swap(context.Background(), next); err != nil {
			t.Fatal(err)
		}
		if !comesTrue(func() bool { return g.senders.Usage().Known == g.senders.Usage().Domains }) {
			t.Fatalf("%+v", g.senders.Usage())
		}
		check("203.0.113.200", c.want)
	}
	g.close()
	if err := server.Close(); err != nil {
		t.Error(err)
	}
	ended()
}
