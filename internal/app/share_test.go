package app

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/postern-mail/postern/filter"
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
	for end := time.Now().Add(20 * time.Second); len(all) < 4 && time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		all = g.stored(t)
	}
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
