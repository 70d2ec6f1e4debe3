package app

import (
	"context"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/internal/peertest"
)

// TestPoliciesShareFilters: of a message for recipients of four policies each filter is asked once, and once more where a policy has options of
// its own; each recipient gets what its own policy makes of it.
func TestPoliciesShareFilters(t *testing.T) {
	t.Parallel()
	var asked atomic.Int64
	count := filter.Factory{Kind: "count", New: func(_ filter.Env, decode func(any) error) (filter.Spec, filter.Filter, error) {
		spec := filter.Spec{Phases: filter.In(filter.Data), Symbols: []filter.Symbol{{Name: "COUNTED", Weight: 6, Description: "x"}}}
		return spec, filter.Func(func(context.Context, *filter.Input) (filter.Result, error) {
			asked.Add(1)
			return filter.Result{Findings: []filter.Finding{{Symbol: "COUNTED", Strength: 1}}}, nil
		}), decode(new(struct{}))
	}}
	g := startGatewayWith(t, `
hostname: mx.postern.example
listeners: {public: {address: "127.0.0.1:0"}}
routes:
- {to: [soft@postern.example], upstream: local, policy: soft, spool: true}
- {to: [keep@postern.example], upstream: local, policy: keep, spool: true}
- {to: [again@postern.example], upstream: local, policy: again, spool: true}
- {to: [postern.example], upstream: local, spool: true}
upstreams: {local: {maildir: "{{dir}}/mail"}}
state: {directory: "{{dir}}/state"}
filters: [count, attachments]
policies:
  default: {tag: 5}
  soft: {tag: 20}
  keep: {tag: 20, filters: {attachments: {classes: {script: pass}}}}
  again: {tag: 5, filters: {attachments: {classes: {"script": pass}}}}
`, count)
	content := "From: a@client.example\r\nSubject: x\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n" +
		"--b\r\n\r\ntext\r\n--b\r\nContent-Type: application/javascript; name=run.js\r\nContent-Disposition: attachment; filename=run.js\r\n\r\nalert(1)\r\n--b--"
	lines := []string{"MAIL FROM:<a@client.example>"}
	for _, to := range []string{"plain", "soft", "keep", "again"} {
		lines = append(lines, "RCPT TO:<"+to+"@postern.example>")
	}
	if replies := dialog(t, g.addr, "127.0.0.1", append(lines, "DATA "+content)...); codes(replies) != "250 250 250 250 250 250" {
		t.Fatalf("%q", replies)
	}
	var all []string
	comesTrue(func() bool { all = g.stored(t); return len(all) >= 4 })
	got := map[string][2]bool{} // marked, changed
	for _, m := range all {
		for _, to := range []string{"plain", "soft", "keep", "again"} {
			if strings.Contains(m, "for <"+to+"@") {
				got[to] = [2]bool{strings.Contains(m, "X-Spam-Flag: YES\r\n"), !strings.HasSuffix(m, "\r\n"+content+"\r\n")}
				if changed := got[to][1]; changed == strings.Contains(m, "alert(1)") {
					t.Errorf("%s: %s", to, m)
				}
			}
		}
	}
	want := map[string][2]bool{"plain": {true, true}, "soft": {false, true}, "keep": {false, false}, "again": {true, false}}
	if !maps.Equal(got, want) {
		t.Errorf("marked and changed: %v, want %v", got, want)
	}
	runs := []string{g.runs(t, "count", "match"), g.runs(t, "attachments", "match"), g.runs(t, "attachments", "pass")}
	if n := asked.Load(); n != 1 || !slices.Equal(runs, []string{"1", "1", "1"}) {
		t.Errorf("asked %d times; counted %v", n, runs)
	}
}

// TestPoliciesShareFailures: a milter that dies behind RCPT is asked once for all policies of a message, and that it could not tell is held against it
// once; each policy has it in its verdict.
func TestPoliciesShareFailures(t *testing.T) {
	t.Parallel()
	for onError, want := range map[string]string{"defer": "451 4.3.0 ", "continue": "250", "reject": "554 5.7.1 "} {
		t.Run(onError, func(t *testing.T) {
			t.Parallel()
			var asked atomic.Int64
			milter := peertest.Serve(t, func(net.Conn) { asked.Add(1) })
			g := faultyGateway(t, "127.0.0.1:9", fmt.Sprintf("[milter: {servers: [%q], faults: 2, pause: 1h, on_error: %s}]", milter, onError),
				map[string]string{"soft": "{tag: 20}", "hard": "{reject: 1}", "off": "{filters: {milter: off}}"})
			for i, breaker := range []string{"closed", "open"} {
				say, end := talks(t, g.addr)
				say("MAIL FROM:<a@client.example>")
				wantsRcpt(t, onError, say, "plain", "250", "soft", "250", "hard", "250")
				say("DATA")
				if reply := say("Subject: x\r\n\r\nx\r\n."); !strings.HasPrefix(reply, want) {
					t.Errorf("%q, want %s", reply, want)
				}
				end()
				runs, state := g.runs(t, "milter", "error"), g.breaker(t, "milter")
				if n := asked.Load(); n != int64(i+1) || runs != fmt.Sprint(i+1) || state != breaker {
					t.Errorf("asked %d times, %s errors counted, the breaker is %s, not %s", n, runs, state, breaker)
				}
			}
			for _, policy := range []string{"default", "soft", "hard"} {
				if got := g.outcomeIn(t, policy, "milter"); strings.Count(got, "error") < 2 {
					t.Errorf("the verdicts of %s say %q", policy, got)
				}
			}
			say, end := talks(t, g.addr)
			say("MAIL FROM:<a@client.example>")
			wantsRcpt(t, onError, say, "off", "250")
			say("DATA")
			if reply := say("Subject: x\r\n\r\nx\r\n."); !strings.HasPrefix(reply, "250") {
				t.Errorf("without the milter: %q", reply)
			}
			end()
		})
	}
}
