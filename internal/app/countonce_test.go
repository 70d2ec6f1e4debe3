package app

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/internal/learner"
	"github.com/postern-mail/postern/mail"
)

// countingGateway has a policy soft for the recipients soft and soft2, and takes mail for several policies.
func countingGateway(t *testing.T, filters, soft string, more ...filter.Factory) *testGateway {
	return startGatewayWith(t, `
hostname: mx.postern.example
exempt_networks: []
listeners: {public: {address: "127.0.0.1:0"}}
routes:
- {to: [soft@postern.example, soft2@postern.example], upstream: local, policy: soft, spool: true}
- {to: [postern.example], upstream: local, spool: true}
upstreams: {local: {maildir: "{{dir}}/mail"}}
state: {directory: "{{dir}}/state"}
filters: `+filters+`
policies:
  default: {tag: 5}
  soft: `+soft+`
`, more...)
}

// sendsOctets brings a message of so many KiB, all of whose recipients are to be taken, and gives the reply to it.
func (g *testGateway) sendsOctets(t *testing.T, kib int, to ...string) string {
	t.Helper()
	const head, line = "From: a@client.example\r\nSubject: x\r\n\r\n", "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcd\r\n"
	lines := []string{"MAIL FROM:<a@client.example>"}
	for _, r := range to {
		lines = append(lines, "RCPT TO:<"+r+"@postern.example>")
	}
	lines = append(lines, "DATA "+head+strings.Repeat(line, kib<<10/len(line)-1)+line[:len(line)-2])
	replies := dialog(t, g.addr, "127.0.0.1", lines...)
	if got := codes(replies[:len(replies)-1]); got != strings.TrimSpace(strings.Repeat("250 ", len(to)+1)) {
		t.Fatalf("%v: %q", to, replies)
	}
	return replies[len(replies)-1]
}

// ofOctets is a message, and what the reply to it begins with.
type ofOctets struct {
	kib   int
	to    string
	reply string
}

func (g *testGateway) sendsAll(t *testing.T, all []ofOctets) {
	t.Helper()
	for i, m := range all {
		if reply := g.sendsOctets(t, m.kib, strings.Fields(m.to)...); !strings.HasPrefix(reply, m.reply) {
			t.Errorf("message %d, %d KiB to %s: %q, want %s", i+1, m.kib, m.to, reply, m.reply)
		}
	}
}

// TestOctetsCountOnce: a message for recipients of several policies is counted once, whatever the policies have in common.
func TestOctetsCountOnce(t *testing.T) {
	t.Parallel()
	const reached = "450 4.7.1 Limit of 102400 octets in 1h for your network is reached"
	for name, soft := range map[string]string{
		"a threshold":          "{tag: 20}",
		"own recipients' rate": "{tag: 20, filters: {ratelimit: {recipient: {messages: 50/1h}}}}",
		"other facts":          "{tag: 20, filters: {access: {block_entries: [other.example]}}}",
		"no access":            "{tag: 20, filters: {access: off}}",
		"who is let off":       `{tag: 20, filters: {access: {allow_entries: ["client.example proof=network:127.0.0.0/8 waive=ratelimit until=never"]}}}`,
		"two limits":           "{tag: 20, filters: {ratelimit: {recipient: {octets: 100KiB/1h}}}}",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := countingGateway(t, "[access: {block_entries: [foe.example]}, ratelimit: {client: {octets: 100KiB/1h}}]", soft)
			g.sendsAll(t, []ofOctets{
				{62, "plain soft", "250 "},
				{62, "plain soft", reached},
				{62, "soft2 plain", reached},
				{35, "soft2 plain", "250 "},
				{35, "plain", reached},
			})
		})
	}
}

// TestOctetsComeBackOnce: what one policy puts off is counted for none.
func TestOctetsComeBackOnce(t *testing.T) {
	t.Parallel()
	g := countingGateway(t, "[ratelimit: {client: {octets: 100KiB/1h}}]", "{filters: {ratelimit: {recipient: {octets: 50KiB/1h}}}}")
	const reached = "450 4.7.1 Limit of 51200 octets in 1h for a recipient is reached"
	g.sendsAll(t, []ofOctets{
		{5, "soft", "250 "},
		{60, "plain soft", reached},
		{60, "soft plain", reached},
		{90, "plain", "250 "},
	})
	g = countingGateway(t, "[ratelimit: {client: {octets: 100KiB/1h}}]", "{observe: true, filters: {ratelimit: {recipient: {octets: 50KiB/1h}}}}")
	g.sendsAll(t, []ofOctets{
		{5, "soft", "250 "},
		{60, "soft plain", "250 "}, // what would be put off by the one is counted for the other
		{60, "plain", "450 4.7.1 Limit of 102400 octets in 1h for your network is reached"},
	})
}

// TestOctetsOfRecipients: the limit on octets for a recipient is that of the recipient's policy, and counts for nobody else.
func TestOctetsOfRecipients(t *testing.T) {
	t.Parallel()
	const reached = "450 4.7.1 Limit of 102400 octets in 1h for a recipient is reached"
	t.Run("a policy's own", func(t *testing.T) {
		t.Parallel()
		g := countingGateway(t, "[ratelimit: {user: {recipients: 500/1h}}]", "{tag: 20, filters: {ratelimit: {recipient: {octets: 100KiB/1h}}}}")
		g.sendsAll(t, []ofOctets{
			{62, "plain soft", "250 "},
			{62, "plain soft2", "250 "},
			{62, "plain soft2", reached},
			{62, "soft", reached},
			{30, "soft soft2 soft plain", "250 "},
			{30, "soft", reached},
		})
	})
	t.Run("of all", func(t *testing.T) {
		t.Parallel()
		g := countingGateway(t, "[ratelimit: {recipient: {octets: 100KiB/1h}}]", "{tag: 20}")
		g.sendsAll(t, []ofOctets{
			{62, "plain soft", "250 "},
			{62, "soft", reached},
			{62, "plain", reached},
			{62, "other soft", reached},
			{62, "other soft2", "250 "},
		})
	})
}

// TestWhoseRecipients: in the data phase a filter is told all recipients of a message, and which are those of the policy that asks; what it keeps
// of the message is there for each policy. So it is where a message is only looked at.
func TestWhoseRecipients(t *testing.T) {
	t.Parallel()
	type notes struct{ asked []string }
	var last atomic.Pointer[notes] // plans run one after another
	look := filter.Factory{Kind: "look", New: func(env filter.Env, decode func(any) error) (filter.Spec, filter.Filter, error) {
		return filter.Spec{Phases: filter.In(filter.Data), Apart: true}, filter.Func(func(_ context.Context, in *filter.Input) (filter.Result, error) {
			names := func(all []mail.Address) (out []string) {
				for _, a := range all {
					out = append(out, strings.TrimSuffix(a.String(), "@postern.example"))
				}
				return out
			}
			kept := filter.KeptBy[notes](in, env.Name)
			kept.asked = append(kept.asked, fmt.Sprint(names(in.For), " of ", names(in.Transaction.Recipients)))
			last.Store(kept)
			return filter.Result{}, nil
		}), decode(new(struct{}))
	}}
	g := countingGateway(t, "[look]", "{tag: 20}", look)
	want := []string{"[plain other] of [plain soft other soft2]", "[soft soft2] of [plain soft other soft2]"}
	for range 2 {
		if reply := g.sendsOctets(t, 1, "plain", "soft", "other", "soft2"); reply[:3] != "250" || !slices.Equal(last.Load().asked, want) {
			t.Errorf("%s: asked for %q, want %q", reply, last.Load().asked, want)
		}
	}
	file := filepath.Join(g.dir, "message")
	if err := os.WriteFile(file, []byte("Subject: x\r\n\r\nx\r\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var to []string
	for _, name := range []string{"plain", "soft", "other", "soft2"} {
		to = append(to, name+"@postern.example")
	}
	if out, err := g.output(func() error { return g.app.Scan(t.Context(), ScanOptions{IP: "192.0.2.1", Rcpt: to, File: file}) }); err != nil || !slices.Equal(last.Load().asked, want) {
		t.Errorf("scan: %v, asked for %q, want %q: %s", err, last.Load().asked, want, out)
	}
}

// TestPoliciesTeachOnce: of a message of which one policy's rules are sure there is a lesson, and none where those of another are sure of the contrary.
func TestPoliciesTeachOnce(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	const common = "header BAD Subject =~ /bad/\nscore BAD 4\nbody WORSE /worse/\nscore WORSE 4\nbody GOOD /good/\nscore GOOD -2\n"
	for name, text := range map[string]string{
		"a.cf": common,
		"b.cf": common + "header MINE Subject =~ /mine/\nscore MINE 6\nbody TOO /too/\nscore TOO 6\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, own := range map[string]string{"own rules": "", "own rules and own autolearn": ", bayes: {autolearn: {ham: 0.5, spam: 7}}"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := countingGateway(t, fmt.Sprintf("[rules: {default: false, files: [%q]}, bayes: {least: 20, samples: 1000, autolearn: {ham: 0, spam: 8}}]", dir+"/a.cf"),
				fmt.Sprintf("{filters: {rules: {files: [%q]}%s}}", dir+"/b.cf", own))
			var want learner.Counts
			for i, m := range []struct {
				subject, body string
				ham, spam     int
			}{
				{"mine", "good too", 0, 0}, // ham by the one, spam by the other
				{"mine", "too", 0, 1},      // nothing, and spam
				{"hello", "good", 1, 0},
				{"bad", "worse", 0, 1},
				{"hello", "good indeed", 1, 0},
			} {
				content := fmt.Sprintf("From: A <a@client.test>\r\nSubject: %s\r\nMessage-ID: <%d@client.test>\r\n\r\n%s", m.subject, i, m.body)
				replies := dialog(t, g.addr, "127.0.0.1", "MAIL FROM:<a@client.test>", "RCPT TO:<plain@postern.example>", "RCPT TO:<soft@postern.example>", "DATA "+content)
				if got := codes(replies); got != "250 250 250 250" {
					t.Fatalf("%q", replies)
				}
				want.Ham, want.Spam = want.Ham+m.ham, want.Spam+m.spam
			}
			// Lessons are taken in their order: when the last one is there, no other is to come.
			if !comesTrue(func() bool { return g.learnerStatus(t).Counts.Ham >= want.Ham }) || g.learnerStatus(t).Counts != want {
				t.Errorf("it has learned %+v, not %+v", g.learnerStatus(t).Counts, want)
			}
		})
	}
}
