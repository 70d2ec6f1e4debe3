package app

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/internal/config"
	"github.com/postern-mail/postern/internal/ledger"
	"github.com/postern-mail/postern/upstream"
)

// TestAnswersSurviveRestart: what the server inside has said of a mailbox is known to the next process.
func TestAnswersSurviveRestart(t *testing.T) {
	t.Parallel()
	text := fmt.Sprintf(`
hostname: mx.example.org
listeners: {public: {address: "127.0.0.1:0", early_talkers: 0s}}
routes: [{to: [example.org], upstream: inside, recipients: callout}]
upstreams: {inside: {servers: [%q]}}
state: {directory: %q}
filters: []
`, backend(t, map[string]string{"RCPT": "550 5.1.1 no such user"}), filepath.Join(t.TempDir(), "state"))
	for i, want := range []string{"1", "0"} {
		g := startGateway(t, text)
		if got := dialog(t, g.addr, "127.0.0.1", "MAIL FROM:<ann@client.test>", "RCPT TO:<bob@example.org>"); codes(got) != "250 550" {
			t.Errorf("start %d: %q", i, got)
		}
		if n := g.metric(t, `postern_recipient_callouts_total{result="no"}`); n != want {
			t.Errorf("start %d: asked %s times, not %s", i, n, want)
		}
		g.close()
	}
}

// TestAnswersOf: each upstream has its own answers, and other servers are another upstream.
func TestAnswersOf(t *testing.T) {
	state := ledger.New()
	of := func(name string, servers ...string) upstream.Memory {
		u := config.Upstream{Name: name}
		for _, s := range servers {
			u.Servers = append(u.Servers, config.Server{Address: s})
		}
		return answersOf(state, u)
	}
	now := time.Now().Truncate(time.Microsecond)
	m := of("a", "one:25", "two:25")
	check := func(what string, m upstream.Memory, want upstream.Known) {
		t.Helper()
		if known, at := m.Recall("bob@y.test"); known != want || known != upstream.NoSource && !at.Equal(now) {
			t.Errorf("%s: %v since %s", what, known, at)
		}
	}
	check("at first", m, upstream.NoSource)
	m.Keep("bob@y.test", upstream.Yes, now, time.Hour)
	check("found", of("a", "one:25", "two:25"), upstream.Yes)
	check("of another upstream", of("b", "one:25", "two:25"), upstream.NoSource)
	check("of other servers", of("a", "one:25"), upstream.NoSource)
	m.Keep("bob@y.test", upstream.No, now, time.Hour)
	check("gone", m, upstream.No)
	m.Keep("bob@y.test", upstream.Yes, now, time.Hour)
	check("back", m, upstream.Yes)
	m.Forget("bob@y.test")
	check("forgotten", m, upstream.NoSource)
	m.Keep("bob@y.test", upstream.Yes, now, -time.Second)
	check("of no use", m, upstream.NoSource)
	if answersOf(nil, config.Upstream{}) != nil {
		t.Error("a memory of nothing")
	}
	if m := answersOf(filter.NoState{}, config.Upstream{}); m == nil {
		t.Error("no memory")
	} else {
		m.Keep("bob@y.test", upstream.Yes, now, time.Hour)
		check("nothing is kept", m, upstream.NoSource)
	}
}
