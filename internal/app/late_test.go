package app

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/internal/dns/zone"
)

const lateZones = `
fail.example TXT v=spf1 -all
fail.example A 192.0.2.1
_dmarc.fail.example TXT v=DMARC1; p=none
client.example A 127.0.0.1
bl.example SOA ns.example. h.example. 1 2 3 4 60
2.0.0.127.bl.example A 127.0.0.2
7.113.0.203.bl.example A 127.0.0.2
test.names.example A 127.0.0.2
client.example.names.example A 127.0.0.2
fail.example.names.example A 127.0.0.2
listed.com.names.example A 127.0.0.2
`

// lateGateway has the policies plain, which is the default one, and own, of recipients of these names.
func lateGateway(t *testing.T, filters, plain, own string, factories ...filter.Factory) *testGateway {
	t.Helper()
	names, err := zone.Serve(lateZones)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = names.Close() })
	return startGatewayWith(t, fmt.Sprintf(`
hostname: mx.postern.example
exempt_networks: [127.0.8.0/24]
listeners: {public: {address: "127.0.0.1:0", early_talkers: 1s, relay: {networks: [127.0.9.0/24]}}}
big_senders: []
routes:
- {to: [own@postern.example, other@postern.example], upstream: local, policy: own}
- {to: [postern.example], upstream: local}
- {to: ["*"], upstream: local}
upstreams: {local: {maildir: "{{dir}}/mail"}}
state: {directory: "{{dir}}/state"}
dns: {servers: [%q]}
filters: %s
policies: {default: %s, own: %s}
`, names.Addr(), filters, plain, own), factories...)
}

// TestPolicyOptionsBeforeRcpt: what filters of the phases before RCPT say to a recipient is said by the options of its policy.
func TestPolicyOptionsBeforeRcpt(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, filters         string
		plain, own            string // policies
		early                 bool   // the client does not wait
		from                  string
		toPlain, toOwn        string // replies to RCPT
		becausePlain, because string
	}{
		{
			name: "spf refuses for a policy", filters: "[spf]", plain: "{}", own: "{filters: {spf: {fail: reject}}}",
			from: "a@fail.example", toPlain: "250", toOwn: "550 5.7.23 ", because: "spf: SPF_FAIL ",
		},
		{
			name: "spf only scores for a policy", filters: "[spf: {fail: reject}]", plain: "{}", own: "{filters: {spf: {fail: score}}}",
			from: "a@fail.example", toPlain: "550 5.7.23 ", toOwn: "250", becausePlain: "spf: SPF_FAIL ",
		},
		{
			name: "options of the policy default are not those of others", filters: "[spf]", plain: "{filters: {spf: {fail: reject}}}", own: "{filters: {spf: {fail: score}}}",
			from: "a@fail.example", toPlain: "550 5.7.23 ", toOwn: "250",
		},
		{
			name: "and hold where a policy has none", filters: "[spf, heuristics]", plain: "{filters: {spf: {fail: reject}}}", own: "{filters: {heuristics: {off: [HTML_ONLY]}}}",
			from: "a@fail.example", toPlain: "550 5.7.23 ", toOwn: "550 5.7.23 ",
		},
		{
			name: "sender_domain scores for a policy", filters: "[heuristics]", plain: "{}", own: "{filters: {heuristics: {sender_domain: score}}}",
			from: "a@nowhere.example", toPlain: "550 5.1.8 ", toOwn: "250",
		},
		{
			name: "sender_domain is off for a policy", filters: "[heuristics]", plain: "{tag: 5}", own: "{reject: 1, filters: {heuristics: {sender_domain: off}}}",
			from: "a@nowhere.example", toPlain: "550 5.1.8 ", toOwn: "250",
		},
		{
			name: "sender_domain refuses for a policy alone", filters: "[heuristics: {sender_domain: off}]", plain: "{}", own: "{filters: {heuristics: {sender_domain: reject}}}",
			from: "a@nowhere.example", toPlain: "250", toOwn: "550 5.1.8 ", because: "heuristics: SENDER_DOMAIN_NXDOMAIN ",
		},
		{
			name: "the score is that of the policy's own findings", filters: "[heuristics: {sender_domain: off}]", plain: "{}", own: "{reject: 3, filters: {heuristics: {sender_domain: score}}}",
			from: "a@nowhere.example", toPlain: "250", toOwn: "550 5.7.1 ", because: "score 4 reaches reject 3 (SENDER_DOMAIN_NXDOMAIN 4)",
		},
		{
			name: "a policy that only observes", filters: "[spf]", plain: "{}", own: "{observe: true, filters: {spf: {fail: reject}}}",
			from: "a@fail.example", toPlain: "250", toOwn: "250",
		},
		{
			name: "access lists", filters: "[access: {block_entries: [fail.example]}]", plain: "{}", own: "{filters: {access: {block_entries: [nowhere.example]}}}",
			from: "a@nowhere.example", toPlain: "250", toOwn: "550 5.7.1 refused by local policy", because: "access: ACCESS_BLOCKED ",
		},
		{
			name: "access lists, the other way", filters: "[access: {block_entries: [nowhere.example]}]", plain: "{}", own: "{filters: {access: {block_entries: []}}}",
			from: "a@nowhere.example", toPlain: "550 5.7.1 refused by local policy", toOwn: "250",
		},
		{
			name: "who talks early", filters: "[pregreet]", plain: "{}", own: "{filters: {pregreet: {action: reject}}}", early: true,
			from: "a@fail.example", toPlain: "250", toOwn: "550 5.5.1 ", because: "pregreet: EARLY_TALKER ",
		},
		{
			name: "who talks early, the other way", filters: "[pregreet: {action: defer}]", plain: "{}", own: "{filters: {pregreet: {action: score}}}", early: true,
			from: "a@fail.example", toPlain: "450 4.5.1 ", toOwn: "250",
		},
		{
			name:    "DNS lists of the client, the HELO name and the sender",
			filters: "[dnsbl]", plain: "{}",
			own:  "{reject: 6, filters: {dnsbl: {lists: {bl.example: {weight: 2}, names.example: {of: [helo, sender], weight: 2}}}}}",
			from: "a@fail.example", toPlain: "250", toOwn: "550 5.7.1 ", because: "score 6 reaches reject 6 (",
		},
		{
			name: "what is off has said nothing", filters: "[spf: {fail: reject}]", plain: "{}", own: "{filters: {spf: off}}",
			from: "a@fail.example", toPlain: "550 5.7.23 ", toOwn: "250",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			g := lateGateway(t, c.filters, c.plain, c.own)
			if c.early { // as long as it may take until it has spoken, on a machine under load
				text, err := os.ReadFile(g.app.o.Config)
				if err != nil {
					t.Fatal(err)
				}
				g.take(t, strings.Replace(string(text), "early_talkers: 1s", "early_talkers: 15s", 1))
			}
			addr := g.from(t, "203.0.113.7")
			for _, to := range []struct{ recipient, reply, because string }{
				{"plain", c.toPlain, c.becausePlain}, {"own", c.toOwn, c.because}, {"postmaster", "250", ""},
			} {
				got := rcpt(t, addr, c.early, c.from, to.recipient)
				if !strings.HasPrefix(got[0], to.reply) {
					t.Errorf("%s: %q, want %s", to.recipient, got[0], to.reply)
				}
				verdicts := g.log.lines(t, "verdict")
				if to.because != "" && (len(verdicts) == 0 || !strings.HasPrefix(fmt.Sprint(verdicts[len(verdicts)-1]["because"]), to.because)) {
					t.Errorf("%s: the log does not say %s: %v", to.recipient, to.because, verdicts)
				}
			}
		})
	}
}

// TestListsOfPoliciesAreCounted: a list that a policy alone has is one of its name in the metrics.
func TestListsOfPoliciesAreCounted(t *testing.T) {
	t.Parallel()
	g := lateGateway(t, "[dnsbl]", "{}", "{filters: {dnsbl: {lists: {names.example: {of: links, weight: 2}}}}}")
	replies := dialog(t, g.from(t, "203.0.113.7"), "127.0.0.1", "MAIL FROM:<a@fail.example>", "RCPT TO:<own@postern.example>",
		"DATA From: a@fail.example\r\nSubject: x\r\n\r\nhttps://listed.com/")
	if codes(replies) != "250 250 250" {
		t.Fatalf("%q", replies)
	}
	if got := g.metric(t, `postern_dnsbl_queries_total{result="listed",zone="names.example"}`); got != "1" {
		t.Errorf("%s listings", got)
	}
}

// TestSharedFiltersCountOnce: a message that is judged by several policies is one in what is counted of messages and runs, and one more for a
// filter of which a policy has its own.
func TestSharedFiltersCountOnce(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, own, times string }{
		{"shared", "{filters: {spf: {received_spf: true}}}", "1"},
		{"the same options in other words", "{filters: {dnsbl: {lists: {names.example: {of: links, weight: 2}}}}}", "1"},
		{"its own", "{filters: {dnsbl: {lists: {names.example: {of: links, weight: 3}}}}}", "2"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			g := lateGateway(t, "[spf, dnsbl: {lists: {}}]", "{filters: {dnsbl: {lists: {names.example: {of: links, weight: 2}}}}}", c.own)
			text, err := os.ReadFile(g.app.o.Config)
			if err != nil {
				t.Fatal(err)
			}
			g.take(t, strings.ReplaceAll(string(text), "upstream: local", "upstream: local, spool: true"))
			replies := dialog(t, g.from(t, "203.0.113.7"), "127.0.0.1", "MAIL FROM:<a@fail.example>", "RCPT TO:<own@postern.example>", "RCPT TO:<plain@postern.example>",
				"DATA From: a@fail.example\r\nSubject: x\r\n\r\nhttps://listed.com/")
			if codes(replies) != "250 250 250 250" {
				t.Fatalf("%q", replies)
			}
			for series, want := range map[string]string{
				`postern_dnsbl_queries_total{result="listed",zone="names.example"}`:        c.times,
				`postern_filter_runs_total{filter="dnsbl",mode="enforce",outcome="match"}`: c.times,
			} {
				if got := g.metric(t, series); got != want {
					t.Errorf("%s is %s, not %s", series, got, want)
				}
			}
		})
	}
}

// querying makes a filter "ask" that asks the DNS so many questions in the mail phase and in the data phase.
func querying() filter.Factory {
	return filter.Factory{Kind: "ask", New: func(env filter.Env, decode func(any) error) (filter.Spec, filter.Filter, error) {
		c := struct {
			Mail int `yaml:"mail"`
			Data int `yaml:"data"`
		}{}
		err := decode(&c)
		return filter.Spec{Phases: filter.In(filter.Mail, filter.Data)}, filter.Func(func(ctx context.Context, in *filter.Input) (r filter.Result, err error) {
			n := c.Mail
			if in.Phase == filter.Data {
				n = c.Data
			}
			faults := make([]error, n)
			var all sync.WaitGroup // together: one by one they take too long on a busy machine
			for i := range n {
				all.Go(func() {
					_, err := env.DNS.LookupTXT(ctx, fmt.Sprintf("n%d-%d-%s.example", i, c.Mail, in.Phase))
					var fault *net.DNSError
					if errors.As(err, &fault) && !fault.IsNotFound {
						faults[i] = err
					}
				})
			}
			all.Wait()
			return r, errors.Join(faults...)
		}), err
	}}
}

// TestLateBudget: what policies ask the DNS late is not taken from what a message may ask, and has its bound.
func TestLateBudget(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, own, want string }{
		{"a recipient who is to come by itself", "{filters: {ask: {mail: 150}}}", "250 452 250"},
		{"more than a message may ask", "{filters: {ask: {mail: 250}}}", "250 451 250"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			g := lateGateway(t, "[ask: {data: 150, timeout: 1m}]", "{}", c.own, querying())
			replies := dialog(t, g.from(t, "203.0.113.7"), "127.0.0.1", "MAIL FROM:<a@fail.example>", "RCPT TO:<plain@postern.example>", "RCPT TO:<own@postern.example>",
				"DATA From: a@fail.example\r\nSubject: x\r\n\r\nx")
			if got := codes(replies[1:]); got != c.want {
				t.Errorf("%q, not %s", replies, c.want)
			}
			var out bytes.Buffer
			a, err := New(Options{Config: g.app.o.Config, ConfigGiven: true, Factories: []filter.Factory{querying()}, Stdin: strings.NewReader("Subject: x\r\n\r\nx"), Stdout: &out, Stderr: &out})
			if err != nil {
				t.Fatal(err)
			}
			from := "a@fail.example"
			err = a.Scan(t.Context(), ScanOptions{IP: "203.0.113.7", From: &from, Rcpt: []string{"plain@postern.example", "own@postern.example"}, File: "-", JSON: true})
			if err != nil || !strings.Contains(out.String(), `"action": "continue"`) {
				t.Errorf("scan says %v\n%s", err, out.String())
			}
		})
	}
}

// rcpt gives the replies to recipients of one transaction.
func rcpt(t *testing.T, addr string, early bool, from string, recipients ...string) (replies []string) {
	t.Helper()
	if !early {
		lines := []string{"MAIL FROM:<" + from + ">"}
		for _, r := range recipients {
			lines = append(lines, "RCPT TO:<"+r+"@postern.example>")
		}
		return dialog(t, addr, "127.0.0.1", lines...)[1:]
	}
	c, err := net.DialTimeout("tcp", addr, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(2 * time.Minute))
	lines := []string{"EHLO client.example", "MAIL FROM:<" + from + ">"}
	for _, r := range recipients {
		lines = append(lines, "RCPT TO:<"+r+"@postern.example>")
	}
	r := bufio.NewReader(c)
	for i, line := range append(lines, "QUIT") {
		if _, err := fmt.Fprintf(c, "%s\r\n", line); err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			if _, err := readReply(r); err != nil {
				t.Fatal(err)
			}
		}
		reply, err := readReply(r)
		if err != nil {
			t.Fatal(err)
		}
		replies = append(replies, reply)
	}
	return replies[2 : len(replies)-1]
}

// TestPoliciesOfOneTransaction: recipients of one transaction are each judged by their own policy, whoever comes first; what that takes is done
// once, and what is found is counted once.
func TestPoliciesOfOneTransaction(t *testing.T) {
	t.Parallel()
	g := lateGateway(t, "[spf, dkim, dmarc]", "{}", "{filters: {spf: {fail: reject, received_spf: true}}}")
	addr := g.from(t, "203.0.113.7")
	if got := codes(rcpt(t, addr, false, "a@fail.example", "plain", "own", "other", "plain2", "postmaster")); got != "250 550 550 250 452" {
		t.Errorf("replies %s", got)
	}
	for series, want := range map[string]string{
		`postern_filter_runs_total{filter="spf",mode="enforce",outcome="match"}`: "2", // by the default policy, and for the other one
		`postern_auth_results_total{method="spf",result="fail"}`:                 "1",
	} {
		if got := g.metric(t, series); got != want {
			t.Errorf("%s is %s, not %s", series, got, want)
		}
	}
	if got := codes(rcpt(t, addr, false, "a@fail.example", "own", "plain", "other")); got != "550 250 550" {
		t.Errorf("replies %s", got)
	}
}

// TestLateFactsReachTheMessage: what later filters and the fields on the message go by is the word of the policy's own filter.
func TestLateFactsReachTheMessage(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, own, to, has, hasNot string }{
		{"the default policy", "{filters: {spf: {received_spf: true}}}", "plain", "spf=fail", "Received-SPF"},
		{"a policy's own", "{filters: {spf: {received_spf: true}}}", "own", "Received-SPF: fail", "X-None"},
		{"off", "{filters: {spf: off, dmarc: off}}", "own", "dkim=none", "spf="},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			g := lateGateway(t, "[spf, dkim, dmarc]", "{}", c.own)
			replies := dialog(t, g.from(t, "203.0.113.7"), "127.0.0.1", "MAIL FROM:<a@fail.example>", "RCPT TO:<"+c.to+"@postern.example>",
				"DATA From: a@fail.example\r\nSubject: x\r\n\r\nx")
			if codes(replies) != "250 250 250" {
				t.Fatalf("%q", replies)
			}
			got := g.message(t)
			if !strings.Contains(got, c.has) || strings.Contains(got, c.hasNot) {
				t.Errorf("want %s and no %s:\n%s", c.has, c.hasNot, got)
			}
			if strings.Contains(c.own, "dmarc: off") == strings.Contains(got, "dmarc=fail") {
				t.Errorf("DMARC goes by something else:\n%s", got)
			}
		})
	}
}

// message gives the one that was delivered.
func (g *testGateway) message(t *testing.T) string {
	t.Helper()
	all, err := filepath.Glob(filepath.Join(g.dir, "mail", "new", "*"))
	if err != nil || len(all) != 1 {
		t.Fatalf("%d messages, %v", len(all), err)
	}
	b, err := os.ReadFile(all[0])
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// saying makes a filter "say" of the phases before RCPT, which says what its option tells it to, and gives that as a fact; and a filter "see" that
// needs the fact, and goes by it at RCPT and the end.
func saying(runs *atomic.Int64) []filter.Factory {
	const said = filter.Key[string]("said")
	symbol := func(name string) filter.Symbol { return filter.Symbol{Name: name, Weight: 1, Description: "x"} }
	say := filter.Factory{Kind: "say", New: func(env filter.Env, decode func(any) error) (filter.Spec, filter.Filter, error) {
		c := struct {
			Say string `yaml:"say"`
		}{"nothing"}
		err := decode(&c)
		spec := filter.Spec{
			Phases: filter.In(filter.Connect, filter.Helo, filter.Mail), Provides: []string{string(said)}, Symbols: []filter.Symbol{symbol("SAID")},
		}
		return spec, filter.Func(func(_ context.Context, in *filter.Input) (r filter.Result, err error) {
			runs.Add(1)
			if c.Say == "error" {
				return r, errors.New("no idea")
			}
			r.Facts = []filter.Fact{said.Of(c.Say + " in " + in.Phase.String())}
			r.Findings = []filter.Finding{{Symbol: "SAID", Strength: 1, Detail: c.Say}}
			if c.Say == "reject" && in.Phase == filter.Mail {
				r.Propose, r.Hold = filter.Reject, true
			}
			return r, nil
		}), err
	}}
	see := filter.Factory{Kind: "see", New: func(_ filter.Env, decode func(any) error) (filter.Spec, filter.Filter, error) {
		spec := filter.Spec{
			Phases: filter.In(filter.Mail, filter.Rcpt, filter.Data), Needs: []string{string(said)}, Symbols: []filter.Symbol{symbol("SEEN")},
		}
		return spec, filter.Func(func(_ context.Context, in *filter.Input) (filter.Result, error) {
			word, _ := said.From(in)
			return filter.Result{Findings: []filter.Finding{{Symbol: "SEEN", Strength: 1, Detail: word}}}, nil
		}), decode(&struct{}{})
	}}
	return []filter.Factory{say, see}
}

// TestLateFilters: a user's own filters: facts of the session, those that need them, and failures.
func TestLateFilters(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, filters, own, plainTo, ownTo, because string }{
		{"facts", "[say: {say: yes}, see]", "{filters: {say: {say: no}}}", "250 250", "250 250", ""},
		{"a failure defers", "[say, see]", "{filters: {say: {say: error}}}", "250 250", "451 503", "see: could not tell: error: a needed fact is not known: said"},
		{"or what on_error says", "[say: {on_error: continue}, see: {on_error: reject}]", "{filters: {say: {say: error}}}", "250 250", "554 503", "see: could not tell: error: a needed fact is not known: said"},
		{"a failure of the default policy's is none of others", "[say: {say: error}, see]", "{filters: {say: {say: yes}}}", "451 503", "250 250", ""},
		{"observed", "[say: {observe: true}, see]", "{filters: {say: {say: reject}}}", "250 250", "250 250", ""},
		{"a refusal of the default policy's is none of others", "[say: {say: reject}, see]", "{filters: {say: {say: yes}}}", "550 503", "250 250", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var runs atomic.Int64
			g := lateGateway(t, c.filters, "{}", c.own, saying(&runs)...)
			for to, want := range map[string]string{"plain": c.plainTo, "own": c.ownTo} {
				runs.Store(0)
				replies := dialog(t, g.addr, "127.0.0.1", "MAIL FROM:<a@fail.example>", "RCPT TO:<"+to+"@postern.example>", hello)
				if got := codes(replies[1:]); got != want {
					t.Errorf("%s: %q, want %s", to, replies, want)
				}
				if got, want := runs.Load(), map[string]int64{"plain": 3, "own": 6}[to]; got != want {
					t.Errorf("%s: %d runs, not %d", to, got, want)
				}
			}
			if c.because != "" && !strings.Contains(g.log.String(), c.because) {
				t.Errorf("the log does not say %q", c.because)
			}
			if c.name == "facts" {
				for _, v := range g.log.lines(t, "verdict") {
					if v["stage"] != "eod" {
						continue
					}
					word := map[any]string{"own": "no in mail", "default": "yes in mail"}[v["policy"]]
					if text := fmt.Sprint(v["findings"]); strings.Count(text, word) != 3 {
						t.Errorf("%v is told %s, not %s thrice", v["policy"], text, word)
					}
				}
			}
		})
	}
}

// TestLateForOurOwn: relay clients and exempt ones are spared by the policy's own filters, too.
func TestLateForOurOwn(t *testing.T) {
	t.Parallel()
	g := lateGateway(t, "[iprev, spf, heuristics: {sender_domain: off}, pregreet]", "{}",
		"{filters: {spf: {fail: reject}, pregreet: {action: reject}, heuristics: {sender_domain: reject}}}")
	for _, c := range []struct{ client, sender, want string }{
		{"127.0.0.1", "a@fail.example", "250 550"},
		{"127.0.0.1", "a@nowhere.example", "250 550"},
		{"127.0.8.1", "a@nowhere.example", "250 250"},
		{"127.0.9.1", "a@fail.example", "250 250"},
		{"127.0.9.1", "a@nowhere.example", "250 250"},
	} {
		if got := dialog(t, g.addr, c.client, "MAIL FROM:<"+c.sender+">", "RCPT TO:<own@postern.example>"); codes(got) != c.want {
			t.Errorf("%s from %s: %q, want %s", c.sender, c.client, got, c.want)
		}
	}
}

// TestLateAfterReload: a transaction goes by the policies that it began with, the next one by the new.
func TestLateAfterReload(t *testing.T) {
	t.Parallel()
	g := lateGateway(t, "[spf]", "{}", "{filters: {spf: {fail: reject}}}")
	addr := g.from(t, "203.0.113.7")
	if got := codes(rcpt(t, addr, false, "a@fail.example", "own")); got != "550" {
		t.Fatalf("before: %s", got)
	}
	text, err := os.ReadFile(g.app.o.Config)
	if err != nil {
		t.Fatal(err)
	}
	g.take(t, strings.NewReplacer("spf: {fail: reject}", "spf: {fail: quarantine}").Replace(string(text)))
	if got := codes(rcpt(t, addr, false, "a@fail.example", "own")); got != "250" {
		t.Errorf("after: %s", got)
	}
}

// TestSplitByPolicy: with the spool, groups of one message by different policies get each its own fields.
func TestSplitByPolicy(t *testing.T) {
	t.Parallel()
	g := lateGateway(t, "[spf, dkim, dmarc]", "{}", "{filters: {spf: {received_spf: true}}}")
	text, err := os.ReadFile(g.app.o.Config)
	if err != nil {
		t.Fatal(err)
	}
	g.take(t, strings.ReplaceAll(string(text), "upstream: local", "upstream: local, spool: true"))
	replies := dialog(t, g.from(t, "203.0.113.7"), "127.0.0.1", "MAIL FROM:<a@fail.example>", "RCPT TO:<own@postern.example>", "RCPT TO:<plain@postern.example>",
		"DATA From: a@fail.example\r\nSubject: x\r\n\r\nx")
	if codes(replies) != "250 250 250 250" {
		t.Fatalf("%q", replies)
	}
	var all []string
	comesTrue(func() bool {
		if all, err = filepath.Glob(filepath.Join(g.dir, "mail", "new", "*")); err != nil {
			t.Fatal(err)
		}
		return len(all) >= 2
	})
	var got []bool
	for _, file := range all {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, strings.Contains(string(b), "Received-SPF: fail"))
	}
	if !slices.Contains(got, true) || !slices.Contains(got, false) || len(got) != 2 {
		t.Errorf("Received-SPF: %v", got)
	}
}
