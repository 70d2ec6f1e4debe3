package campaign

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/postern-mail/postern/internal/dns/zone"
	"github.com/postern-mail/postern/internal/peertest"
)

// routed is a gateway with a listener for relay clients and one for strangers, and routes with and without the spool.
const routed = `hostname: %%s
listeners:
  public: {address: %q, early_talkers: 0s, limits: {per_client: 1000, per_network: 1000, rate: 1000000, total_rate: 1000000}}
  relay: {address: %q, relay: {networks: [127.0.0.1]}, limits: {per_client: 1000, per_network: 1000, rate: 1000000, total_rate: 1000000}}
routes:
  - {to: [in.test], upstream: inside, spool: true}
  - {to: [too.test], upstream: too, spool: true}
  - {to: [cut.test], upstream: inside}
  - {to: ["*"], upstream: out}
upstreams:
  inside: {servers: [%q], tls: none}
  too: {servers: [%q], tls: none}
  out: {servers: [%q], tls: none}
state: {directory: "{{dir}}/state"}
spool: {retry: {first: 1s, most: 5s}}
%s
`

// scene is a gateway, three servers, and what goes over them.
type scene struct {
	ledger           *Ledger
	gateway          *Gateway
	public, relay    string
	inside, too, out *Server
}

func newScene(tb testing.TB, binary, more string, faults ...Fault) *scene {
	l := NewLedger()
	s := &scene{
		ledger: l, public: peertest.FreeAddr(tb), relay: peertest.FreeAddr(tb),
		inside: NewServer(tb, l, faults...), too: NewServer(tb, l, faults...), out: NewServer(tb, l, faults...),
	}
	s.gateway = NewGateway(tb, binary, fmt.Sprintf(routed, s.public, s.relay, s.inside.Addr, s.too.Addr, s.out.Addr, more))
	return s
}

func (s *scene) servers() []*Server { return []*Server{s.inside, s.too, s.out} }

// clients are strangers and relay clients. Who retries has recipients with the spool and without it.
func (s *scene) clients(n int, of Client) (all []*Client) {
	of.Ledger = s.ledger
	for i := range n {
		c := of
		c.Addr, c.To = s.public, [][]string{{"u@in.test"}, {"v@too.test"}, {"u@in.test", "v@too.test"}, {"u@in.test", "w@in.test"}, {"c@cut.test"}}
		if i%2 == 1 {
			c.Addr, c.To = s.relay, [][]string{{"x@far.test"}, {"x@far.test", "u@in.test"}, {"x@far.test", "y@away.test"}, {"c@cut.test"}}
		}
		all = append(all, &c)
	}
	return all
}

// Kills lets clients send through a gateway whose process is killed at so many random instants, while the servers behind come and go.
// A machine on which fewer than least recipients are acknowledged meanwhile, since it takes long to start, sees more kills, after longer
// lives. It returns when all that was acknowledged has been delivered, or no more comes. No reply of a server is lost but by a kill.
func Kills(tb testing.TB, binary string, kills, least int) Account {
	s := newScene(tb, binary, "filters: []")
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var clients, turns sync.WaitGroup
	for _, c := range s.clients(10, Client{Pause: 5 * time.Millisecond}) {
		clients.Go(func() { c.Run(ctx) })
	}
	for _, server := range s.servers() {
		turns.Go(func() {
			for ctx.Err() == nil {
				pause(ctx, 100*time.Millisecond+rand.N(700*time.Millisecond))
				server.Down(true)
				pause(ctx, 50*time.Millisecond+rand.N(400*time.Millisecond))
				server.Up()
			}
		})
	}
	for i := 0; i < kills || i < 10*kills && s.ledger.Account().Acknowledged < least; i++ {
		s.gateway.Start()
		// Some fall into the start itself, where the spool is recovered.
		time.Sleep((50*time.Millisecond + rand.N(1200*time.Millisecond)) * time.Duration(1+i/kills))
		name := s.gateway.Name
		s.gateway.Kill()
		s.ledger.Killed(name)
	}
	cancel()
	turns.Wait()
	clients.Wait()
	s.gateway.Start()
	s.gateway.Drain(s.ledger, 3*time.Minute)
	_, damaged := s.gateway.Spooled()
	a := s.ledger.Account()
	if damaged > 0 {
		a.Broken += damaged
		a.Details = append(a.Details, fmt.Sprintf("%d messages were set aside as damaged", damaged))
	}
	return a
}

// everyFault has each stage fail in each way that says nothing of a message, or of a recipient, for good.
func everyFault() (all []Fault) {
	add := func(stage string, p float64, actions ...string) {
		for _, a := range actions {
			all = append(all, Fault{stage, a, p})
		}
	}
	add("greeting", .02, "drop", "421 4.3.2 later", "554 5.3.2 no service", "450 4.3.2 later")
	add("ehlo", .01, "drop", "421 4.3.2 later", "550 5.7.1 go away")
	add("mail", .01, "drop", "421 4.3.2 later", "451 4.3.0 later", "550 5.7.1 client blocked")
	add("rcpt", .01, "drop", "421 4.3.2 later", "451 4.3.0 later", "452 4.2.2 full", "554 5.7.1 Relay access denied")
	add("data", .01, "drop", "421 4.3.2 later", "451 4.3.0 later")
	add("body", .02, "drop")
	add("dot", .02, "drop", "lost", "421 4.3.2 later", "451 4.3.0 later", "pause")
	return all
}

// Faults lets so many messages through a gateway to servers that restart, lose replies, and cut connections in every state;
// more are lines of its configuration, and during is called all the while. Clients send until they are answered 250.
func Faults(tb testing.TB, binary string, messages, sessions int, more string, during func(ctx context.Context)) Account {
	s := newScene(tb, binary, more, everyFault()...)
	s.gateway.Start()
	s.gateway.Await(s.public, time.Minute)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var clients, turns sync.WaitGroup
	for _, server := range s.servers() {
		turns.Go(func() {
			for ctx.Err() == nil {
				pause(ctx, 500*time.Millisecond+rand.N(2*time.Second))
				server.Down(false)
				pause(ctx, rand.N(500*time.Millisecond))
				server.Up()
			}
		})
	}
	if during != nil {
		turns.Go(func() { during(ctx) })
	}
	for _, c := range s.clients(sessions, Client{Retry: true, Most: messages}) {
		clients.Go(func() { c.Run(ctx) })
	}
	clients.Wait()
	cancel()
	turns.Wait()
	for _, server := range s.servers() {
		server.Heal()
	}
	s.gateway.Drain(s.ledger, 3*time.Minute)
	return s.ledger.Account()
}

// names are the zones of the clients' domain; nobody may keep an answer.
var names = []string{"client.test 0 TXT v=spf1 ip4:127.0.0.1 -all", "client.test 0 A 127.0.0.1", "_dmarc.client.test 0 TXT v=DMARC1; p=reject", "1.0.0.127.in-addr.arpa 0 PTR client.test."}

// Names starts name servers that fall silent, or fail, every now and then while during runs, and gives lines of a configuration
// that asks them about each message.
func Names(tb testing.TB) (more string, during func(ctx context.Context)) {
	server, err := zone.Serve(strings.Join(names, "\n"))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = server.Close() })
	more = fmt.Sprintf("exempt_networks: []\ndns: {servers: [%q]}\nfilters: [iprev, spf, dkim, dmarc]\n", server.Addr())
	return more, func(ctx context.Context) {
		for i := 0; ctx.Err() == nil; i++ {
			var gone strings.Builder
			for _, line := range names {
				name, _, _ := strings.Cut(line, " ")
				fmt.Fprintln(&gone, name, []string{"SILENT", "SERVFAIL"}[i%2])
			}
			for _, text := range []string{strings.Join(names, "\n"), gone.String()} {
				if err := server.Replace(text); err != nil {
					tb.Error(err)
					return
				}
				pause(ctx, 300*time.Millisecond+rand.N(700*time.Millisecond))
			}
		}
	}
}
