package app

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/internal/dns/zone"
	"github.com/postern-mail/postern/internal/peertest"
	"github.com/postern-mail/postern/internal/scanner"
)

// faultyGateway has a policy for each of these names, by which recipients of the same name are judged; the spool lets all be in one message.
func faultyGateway(t *testing.T, dns, filters string, policies map[string]string, factories ...filter.Factory) *testGateway {
	t.Helper()
	var routes, all strings.Builder
	for name, p := range policies {
		fmt.Fprintf(&routes, "- {to: [%s@postern.example], upstream: local, policy: %s, spool: true}\n", name, name)
		fmt.Fprintf(&all, "  %s: %s\n", name, p)
	}
	return startGatewayWith(t, fmt.Sprintf(`
hostname: mx.postern.example
big_senders: []
listeners: {public: {address: "127.0.0.1:0"}}
routes:
%s- {to: [postern.example], upstream: local, spool: true}
upstreams: {local: {maildir: "{{dir}}/mail"}}
state: {directory: "{{dir}}/state"}
dns: {servers: [%q]}
filters: %s
policies:
  default: {}
%s`, &routes, dns, filters, &all), factories...)
}

// talks begins a dialog, and gives who says a line in it and hears the answer.
func talks(t *testing.T, addr string) (say func(line string) string, end func()) {
	t.Helper()
	c, err := net.DialTimeout("tcp", addr, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	_ = c.SetDeadline(time.Now().Add(2 * time.Minute))
	r := bufio.NewReader(c)
	say = func(line string) string {
		t.Helper()
		if line != "" {
			if _, err := fmt.Fprintf(c, "%s\r\n", line); err != nil {
				t.Fatal(err)
			}
		}
		reply, err := readReply(r)
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		return reply
	}
	say("")
	say("EHLO client.example")
	return say, func() { _ = c.Close() }
}

// wantsRcpt tells recipients of one transaction, and compares how each is answered.
func wantsRcpt(t *testing.T, what string, say func(string) string, want ...string) {
	t.Helper()
	for i := 0; i < len(want); i += 2 {
		if reply := say("RCPT TO:<" + want[i] + "@postern.example>"); !strings.HasPrefix(reply, want[i+1]) {
			t.Errorf("%s: %s: %q, want %s", what, want[i], reply, want[i+1])
		}
	}
}

// outcomeIn gives what the verdict of a policy on a message says of a filter: how its runs ended, with their errors, and its symbols.
func (g *testGateway) outcomeIn(t *testing.T, policy, name string) string {
	t.Helper()
	var out []string
	for _, v := range g.log.lines(t, "verdict") {
		if v["policy"] != policy || v["stage"] != "eod" {
			continue
		}
		for _, key := range []string{"filters", "findings"} {
			all, _ := v[key].([]any)
			for _, one := range all {
				if m, ok := one.(map[string]any); ok && m["filter"] == name {
					out = append(out, fmt.Sprint(m["outcome"], m["error"], m["symbol"]))
				}
			}
		}
	}
	return strings.Join(out, " ")
}

// TestLateDNSFails: the name servers answer at EHLO and MAIL, and fail in some way by RCPT, when policies ask by their own options. What is known
// already stands; what a filter of its own could not find out is what its on_error says; of ours it is a result that names itself. Nothing is left behind,
// and when the servers are back so is everything.
func TestLateDNSFails(t *testing.T) {
	t.Parallel()
	ask := filter.Factory{Kind: "ask", New: func(env filter.Env, decode func(any) error) (filter.Spec, filter.Filter, error) {
		c := struct {
			Ask bool `yaml:"ask"`
		}{}
		err := decode(&c)
		return filter.Spec{Phases: filter.In(filter.Mail)}, filter.Func(func(ctx context.Context, in *filter.Input) (r filter.Result, err error) {
			if c.Ask {
				_, err = env.DNS.LookupTXT(ctx, "x."+in.Transaction.From.Domain())
			}
			return r, err
		}), err
	}}
	names := func(domain, fault string) string {
		all := "test.names.example A 127.0.0.2\nnames.example SOA ns.example. h.example. 1 2 3 4 60\n"
		for name, record := range map[string]string{domain: "A 127.0.0.1", "x." + domain: "TXT x", domain + ".names.example": "A 127.0.0.2"} {
			all += name + " " + record + "\n"
			if fault != "" {
				all += name + " " + fault + "\n"
			}
		}
		return all + domain + " TXT v=spf1 -all\n"
	}
	for fault, counted := range map[string]string{
		"dead": "unreachable", "SILENT": "timeout", "SERVFAIL": "servfail", "REFUSED": "refused", "GARBAGE": "malformed", "WRONGID": "timeout", "WRONGNAME": "", "LAME": "",
	} {
		t.Run(fault, func(t *testing.T) {
			t.Parallel()
			ended := watchGoroutines(t)
			server, err := zone.Serve(names("one.example", ""))
			if err != nil {
				t.Fatal(err)
			}
			g := faultyGateway(t, server.Addr(),
				"[spf, ask: {name: defers}, ask: {name: goes, on_error: continue}, ask: {name: refuses, on_error: reject}, heuristics: {sender_domain: off}, dnsbl: {lists: {}}]",
				map[string]string{
					"known": "{filters: {spf: {fail: reject}}}", "defers": "{filters: {defers: {ask: true}}}", "goes": "{filters: {goes: {ask: true}}}",
					"refuses": "{filters: {refuses: {ask: true}}}", "sender": "{filters: {heuristics: {sender_domain: reject}}}",
					"listed": "{reject: 3, filters: {dnsbl: {lists: {names.example: {of: sender, weight: 3}}}}}",
				}, ask)
			addr := g.from(t, "203.0.113.7")
			say, end := talks(t, addr)
			if reply := say("MAIL FROM:<a@one.example>"); !strings.HasPrefix(reply, "250") {
				t.Fatal(reply)
			}
			if fault == "dead" {
				err = server.Close()
			} else {
				err = server.Replace(names("one.example", fault))
			}
			if err != nil {
				t.Fatal(err)
			}
			wantsRcpt(t, fault, say, "plain", "250", "known", "550 5.7.23 ", "defers", "451 4.3.0 ", "goes", "250", "refuses", "554 5.7.1 ", "sender", "250", "listed", "250")
			say("DATA")
			if reply := say("Subject: x\r\n\r\nx\r\n."); !strings.HasPrefix(reply, "250") {
				t.Errorf("content: %q", reply)
			}
			end()
			for _, c := range [][3]string{
				{"goes", "goes", "error"}, {"sender", "heuristics", "SENDER_DNS_TEMPERROR"}, {"listed", "dnsbl", "DNSBL_UNKNOWN"}, {"default", "goes", "pass"},
			} {
				if got := g.outcomeIn(t, c[0], c[1]); !strings.Contains(got, c[2]) || strings.Contains(got, "error") != (c[2] == "error") {
					t.Errorf("of %s the verdict for %s says %q", c[1], c[0], got)
				}
			}
			for _, name := range []string{"defers", "goes", "refuses"} {
				if got := g.runs(t, name, "error"); got != "1" {
					t.Errorf("%s could not tell %s times", name, got)
				}
			}
			g.wantsNoneAbandoned(t)
			if series := regexp.MustCompile(`(?m)^postern_dns_queries_total\{rcode="` + counted + `",type="[A-Z]+"\} [1-9]`); counted != "" && !series.MatchString(g.scrape()) {
				t.Errorf("no %s is counted", counted)
			}
			if fault != "dead" {
				g.asksAgain(t, addr, func(domain string) error { return server.Replace(names(domain, "")) })
				if err := server.Close(); err != nil {
					t.Error(err)
				}
			}
			g.close()
			ended()
		})
	}
}

// asksAgain sees to it that policies get their answers from servers that are well: of lists as soon as these are asked again.
func (g *testGateway) asksAgain(t *testing.T, addr string, serve func(domain string) error) {
	t.Helper()
	var got string
	const want = "250 550 250 250 250 250 550"
	end := time.Now().Add(4 * time.Minute)
	for i := 0; got != want && time.Now().Before(end); i++ {
		domain := fmt.Sprintf("two%d.example", i)
		if err := serve(domain); err != nil {
			t.Fatal(err)
		}
		got = codes(rcpt(t, addr, false, "a@"+domain, "plain", "known", "defers", "goes", "refuses", "sender", "listed"))
	}
	if got != want {
		t.Errorf("with servers that are well again: %s", got)
	}
}

// oracle is a server that filters ask by a line, and that answers by one. What it does is changed at any time.
type oracle struct {
	net.Listener
	addr string
	does atomic.Pointer[func(net.Conn)]
}

func startOracle(t *testing.T) *oracle {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	o := &oracle{Listener: l, addr: l.Addr().String()}
	o.answers("no objection\n")
	peertest.ServeOn(t, l, func(c net.Conn) {
		if _, err := bufio.NewReader(c).ReadString('\n'); err == nil {
			(*o.does.Load())(c)
		}
	})
	return o
}

// answers has it say this, and hang up.
func (o *oracle) answers(text string) {
	f := func(c net.Conn) { _, _ = c.Write([]byte(text)) }
	o.does.Store(&f)
}

// consulting makes a filter "consult" of the phases before RCPT, which asks an oracle where it has one.
func consulting() filter.Factory {
	pools := new(scanner.Pools)
	return filter.Factory{Kind: "consult", New: func(env filter.Env, decode func(any) error) (filter.Spec, filter.Filter, error) {
		c := struct {
			scanner.Config
			Stubborn bool `yaml:"stubborn"` // it does not heed its deadline
		}{Config: scanner.Defaults(1)}
		spec := filter.Spec{Phases: filter.In(filter.Connect, filter.Mail)}
		if err := decode(&c); err != nil || len(c.Servers) == 0 {
			return spec, filter.Func(func(context.Context, *filter.Input) (r filter.Result, _ error) { return r, nil }), err
		}
		pool, err := pools.Pool(env, scanner.Options{Kind: "consult", Config: c.Config})
		if err != nil {
			return spec, nil, err
		}
		spec.Health = pool.Health
		return spec, filter.Func(func(ctx context.Context, _ *filter.Input) (r filter.Result, err error) {
			err = pool.Ask(ctx, func(asking context.Context, s *scanner.Server) error {
				dial := s.Dial
				if c.Stubborn {
					dial = func(context.Context) (net.Conn, error) { return net.Dial("tcp", s.Address) }
				}
				conn, err := dial(asking)
				if err != nil {
					return err
				}
				defer func() { _ = conn.Close() }()
				if _, err := conn.Write([]byte("what of it?\n")); err != nil {
					return err
				}
				switch answer, err := bufio.NewReader(conn).ReadString('\n'); {
				case err != nil:
					return err
				case answer == "objection\n":
					r.Propose, r.Hold = filter.Reject, true
				case answer != "no objection\n":
					return errors.New("an answer that makes no sense")
				}
				return nil
			})
			return r, err
		}), nil
	}}
}

// TestLateServerFails: what a policy's own filter asks answers at first, and dies, stalls or talks nonsense between MAIL and RCPT. The answer is by on_error,
// the one turn that there is comes free, the breaker opens and closes, metrics tell, and nothing is left running.
func TestLateServerFails(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		fails    func(o *oracle, stop <-chan struct{})
		outcome  string // of the first runs
		stubborn bool
	}{
		"dies":       {fails: func(o *oracle, _ <-chan struct{}) { _ = o.Close() }, outcome: "error"},
		"hangs up":   {fails: func(o *oracle, _ <-chan struct{}) { o.answers("") }, outcome: "error"},
		"breaks off": {fails: func(o *oracle, _ <-chan struct{}) { o.answers("no objection") }, outcome: "error"},
		"nonsense":   {fails: func(o *oracle, _ <-chan struct{}) { o.answers("\x00\xff250 ok\r\n") }, outcome: "error"},
		"stalls": {fails: func(o *oracle, stop <-chan struct{}) {
			f := func(net.Conn) { <-stop }
			o.does.Store(&f)
		}, outcome: "timeout"},
		"stalls, and the filter waits": {fails: func(o *oracle, stop <-chan struct{}) {
			f := func(net.Conn) { <-stop }
			o.does.Store(&f)
		}, outcome: "timeout", stubborn: true},
	} {
		for onError, want := range map[string]string{"defer": "451 4.3.0 ", "continue": "250", "reject": "554 5.7.1 "} {
			t.Run(name+" "+onError, func(t *testing.T) {
				t.Parallel()
				ended := watchGoroutines(t)
				well, own := startOracle(t), startOracle(t)
				stop := make(chan struct{})
				options := func(o *oracle, faults int) string {
					return fmt.Sprintf("servers: [%q], parallel: 1, faults: %d, pause: 500ms, stubborn: %v", o.addr, faults, c.stubborn)
				}
				limit := "1m"
				if c.outcome == "timeout" {
					limit = "3s"
				}
				g := faultyGateway(t, "127.0.0.1:9", fmt.Sprintf("[consult: {timeout: %s, on_error: %s, %s}]", limit, onError, options(well, 1000)),
					map[string]string{"own": "{filters: {consult: {" + options(own, 4) + "}}}"}, consulting())
				begin := func(want ...string) {
					t.Helper()
					say, end := talks(t, g.addr)
					defer end()
					if reply := say("MAIL FROM:<a@one.example>"); !strings.HasPrefix(reply, "250") {
						t.Fatal(reply)
					}
					wantsRcpt(t, name, say, want...)
				}
				own.answers("objection\n")
				begin("plain", "250", "own", "550 5.7.1 ")
				own.answers("no objection\n")
				begin("own", "250", "plain", "250")
				before := g.runs(t, "consult", "pass")

				say, end := talks(t, g.addr)
				say("MAIL FROM:<a@one.example>")
				c.fails(own, stop)
				wantsRcpt(t, name, say, "plain", "250", "own", want, "plain2", "250")
				say("DATA")
				if reply := say("Subject: x\r\n\r\nx\r\n."); !strings.HasPrefix(reply, "250") {
					t.Errorf("content: %q", reply)
				}
				end()
				got := g.outcomeIn(t, "own", "consult")
				if (onError == "continue") != strings.Contains(got, c.outcome) || strings.Contains(g.outcomeIn(t, "default", "consult"), c.outcome) {
					t.Errorf("the verdicts say %q", got)
				}
				if after := g.runs(t, "consult", "pass"); after <= before {
					t.Errorf("others' runs: %s, then %s", before, after)
				}
				if got := g.runs(t, "consult", c.outcome); got != "2" { // at connect and at MAIL
					t.Errorf("%s %s times", c.outcome, got)
				}
				begin("own", want, "plain", "250")
				if abandoned := g.metric(t, "postern_filter_abandoned"); c.stubborn {
					if abandoned == "0" { // of all such tests, which run side by side
						t.Error("no filter is abandoned")
					}
				} else {
					g.wantsBreaker(t, "open")
					begin("own", want, "plain", "250")
					if got := g.runs(t, "consult", "breaker_open"); got == "0" || got == "absent" {
						t.Errorf("breaker_open %s times", got)
					}
				}
				close(stop)
				if name != "dies" {
					own.answers("objection\n")
					reply := ""
					for end := time.Now().Add(time.Minute); !strings.HasPrefix(reply, "550 5.7.1 ") && time.Now().Before(end); {
						say, end := talks(t, g.addr)
						say("MAIL FROM:<a@one.example>")
						reply = say("RCPT TO:<own@postern.example>")
						end()
					}
					if !strings.HasPrefix(reply, "550 5.7.1 ") {
						t.Errorf("well again: %q", reply)
					}
					g.wantsBreaker(t, "closed")
				}
				g.wantsNoneAbandoned(t)
				_, _ = well.Close(), own.Close()
				g.close()
				ended()
			})
		}
	}
}

// wantsNoneAbandoned waits until no filter runs that was given up, in the whole process.
func (g *testGateway) wantsNoneAbandoned(t *testing.T) {
	t.Helper()
	if !comesTrue(func() bool { return g.metric(t, "postern_filter_abandoned") == "0" }) {
		t.Fatalf("%s filters are abandoned", g.metric(t, "postern_filter_abandoned"))
	}
}

// wantsBreaker waits for the state of the breaker of what "consult" asks.
func (g *testGateway) wantsBreaker(t *testing.T, want string) {
	t.Helper()
	if !comesTrue(func() bool { return g.breaker(t, "consult") == want }) {
		t.Fatalf("the breaker is %q, not %s", g.breaker(t, "consult"), want)
	}
}
