package app

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/internal/dns/zone"
	"github.com/postern-mail/postern/internal/learner"
)

// TestListsTeachNothing: a gateway learns from rules, and not from what the site has written down of senders, whoever writes under their names.
func TestListsTeachNothing(t *testing.T) {
	file := filepath.Join(t.TempDir(), "a.cf")
	rules := "welcomelist_from *@friend.test\nblocklist_from *@foe.test\n" +
		"header FRIEND eval:check_from_in_welcomelist()\nscore FRIEND -100\ntflags FRIEND userconf nice noautolearn\n" +
		"header FOE eval:check_from_in_blocklist()\nscore FOE 100\ntflags FOE userconf noautolearn\n" +
		"header BAD Subject =~ /bad/\nscore BAD 4\nbody WORSE /worse/\nscore WORSE 4\nbody LONG /long/\nscore LONG 8\nbody GOOD /good/\nscore GOOD -2\n"
	if err := os.WriteFile(file, []byte(rules), 0o600); err != nil {
		t.Fatal(err)
	}
	marking := filter.Factory{Kind: "marking", New: func(filter.Env, func(any) error) (filter.Spec, filter.Filter, error) {
		check := func(_ context.Context, in *filter.Input) (r filter.Result, err error) {
			if strings.Contains(in.Content.Header().Get("From"), "@poor.test") {
				r.Propose = filter.Tag
			}
			return r, nil
		}
		return filter.Spec{Phases: filter.In(filter.Data)}, filter.Func(check), nil
	}}
	g := startGatewayWith(t, strings.NewReplacer(
		"filters: [", fmt.Sprintf(`policies: {default: {tag: 5}}
filters: [access: {allow_entries: ["let.test proof=network:127.0.0.0/8 waive=score until=never"]}, marking, rules: {default: false, files: [%q]}, `, file),
		"bayes: {", "bayes: {autolearn: {ham: 0, spam: 8}, ",
	).Replace(learningGateway), marking)
	var want learner.Counts
	for i, c := range []struct {
		name, from, subject, body string
		ham, spam                 int
	}{
		{"spam of a friend", "friend.test", "bad", "worse", 0, 0},
		{"nothing of a friend", "friend.test", "hello", "hello", 0, 0},
		{"ham of a foe", "foe.test", "hello", "good", 0, 0},
		{"nothing of a foe", "foe.test", "hello", "hello", 0, 0},
		{"spam of one whose score is waived", "let.test", "bad", "worse", 0, 0},
		{"ham of one who is marked", "poor.test", "hello", "good", 0, 0},
		{"spam by its text alone", "client.test", "hello", "long", 0, 0},
		{"spam", "client.test", "bad", "worse", 0, 1},
		{"ham", "client.test", "hello", "good", 1, 0},
	} {
		content := fmt.Appendf(nil, "From: A <a@%s>\r\nSubject: %s\r\nMessage-ID: <%d@client.test>\r\n\r\n%s\r\n", c.from, c.subject, i, c.body)
		if reply, err := (sample{from: "a@client.test", to: "bob@example.org", content: content}).send(context.Background(), g.addr); err != nil || reply[:3] != "250" {
			t.Fatalf("%s: %s, %v", c.name, reply, err)
		}
		want.Ham, want.Spam = want.Ham+c.ham, want.Spam+c.spam
	}
	// Lessons are taken in their order: when the last one is there, no other is to come.
	if !comesTrue(func() bool { return g.learnerStatus(t).Counts == want }) {
		t.Fatalf("it has learned %+v, not %+v", g.learnerStatus(t).Counts, want)
	}
}

// TestDeadNameServersHideNoSpam: who lets the name server of his links die keeps his spam from no learner. Where a list could make
// what there is no spam, or no ham, nothing is learned.
func TestDeadNameServersHideNoSpam(t *testing.T) {
	file := filepath.Join(t.TempDir(), "a.cf")
	rules := "uridnsbl BLACK black.test. A\nbody BLACK eval:check_uridnsbl('BLACK')\ntflags BLACK net a\nscore BLACK 3\n" +
		"header WELCOME eval:check_rbl_from_host('w', 'welcome.test.')\ntflags WELCOME net nice\nscore WELCOME -5\n" +
		"header BAD Subject =~ /bad/\nscore BAD 4\nbody WORSE /worse/\nscore WORSE 4\nbody GOOD /good/\nscore GOOD -2\n"
	if err := os.WriteFile(file, []byte(rules), 0o600); err != nil {
		t.Fatal(err)
	}
	server, err := zone.Serve("www.dead.com SERVFAIL\nwww.live.com A 198.51.100.1\nmute.test.welcome.test SERVFAIL\n")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	g := startGatewayWith(t, strings.NewReplacer(
		"filters: [", fmt.Sprintf("dns: {servers: [%q]}\nfilters: [rules: {default: false, scores: network, files: [%q]}, ", server.Addr(), file),
		"bayes: {", "bayes: {autolearn: {ham: 0, spam: 8}, ",
	).Replace(learningGateway))
	var want learner.Counts
	for i, c := range []struct {
		name, from, subject, body string
		ham, spam                 int
	}{
		{"ham with a link of which nobody knows", "client.test", "hello", "good http://www.dead.com/", 0, 0},
		{"spam with such a link", "client.test", "bad", "worse http://www.dead.com/", 0, 1},
		{"spam that a welcome list might speak for", "mute.test", "bad", "worse http://www.live.com/", 0, 0},
		{"ham that it might speak for, too", "mute.test", "hello", "good", 1, 0},
		{"ham", "client.test", "hello", "good http://www.live.com/", 1, 0},
	} {
		content := fmt.Appendf(nil, "From: A <a@%s>\r\nSubject: %s\r\nMessage-ID: <%d@client.test>\r\n\r\n%s\r\n", c.from, c.subject, i, c.body)
		if reply, err := (sample{from: "a@client.test", to: "bob@example.org", content: content}).send(context.Background(), g.addr); err != nil || reply[:3] != "250" {
			t.Fatalf("%s: %s, %v", c.name, reply, err)
		}
		want.Ham, want.Spam = want.Ham+c.ham, want.Spam+c.spam
		if c.ham+c.spam == 0 {
			continue // one that is learned behind it tells that this was not
		}
		if !comesTrue(func() bool { return g.learnerStatus(t).Counts == want }) {
			t.Fatalf("%s: it has learned %+v, not %+v", c.name, g.learnerStatus(t).Counts, want)
		}
	}
}
