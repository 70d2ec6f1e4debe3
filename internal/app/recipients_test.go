package app

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	entries "github.com/postern-mail/postern/internal/lines"
	"github.com/postern-mail/postern/internal/metrics"
	"github.com/postern-mail/postern/internal/peertest"
	"github.com/postern-mail/postern/internal/store"
)

// writeRecipients writes a file of recipients as if it were a minute old: u0, u1 and so on of example.org.
func writeRecipients(t *testing.T, path string, n int, modified time.Time) {
	t.Helper()
	var text strings.Builder
	for i := range n {
		fmt.Fprintf(&text, "u%d@example.org\n", i)
	}
	if err := os.WriteFile(path, []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(path, modified, modified); err != nil {
		t.Fatal(err)
	}
}

// TestShrunkRecipients: a list with many fewer entries is not taken, neither by itself nor by a HUP, which takes the rest of
// the configuration; one word of an administrator's takes it.
func TestShrunkRecipients(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "recipients")
	at := time.Now().Add(-time.Hour)
	writeRecipients(t, path, 10, at)
	g := startGateway(t, fmt.Sprintf(`
hostname: mx.example.org
listeners: {public: {address: "127.0.0.1:0", early_talkers: 0s}}
routes: [{to: [example.org], upstream: local, recipients: {verify: file, file: %q}}]
upstreams: {local: {maildir: "{{dir}}/mail"}}
state: {directory: "{{dir}}/state"}
filters: []
`, path))
	check := func(what, want string, entries int, taken bool) {
		t.Helper()
		var reply string
		var states []metrics.RecipientList
		// A file that is read for long, on a machine under load, does not keep the one who finds it changed.
		if !comesTrue(func() (ok bool) {
			var err error
			reply, err = sample{from: "a@client.test", to: "u9@example.org", content: []byte("Subject: x\r\n\r\nx\r\n")}.send(context.Background(), g.addr)
			if err != nil {
				reply = err.Error()
			}
			states = g.relays.listStates()
			return strings.HasPrefix(reply, want) && len(states) == 1 && states[0].Entries == entries && states[0].Taken == taken
		}) {
			t.Errorf("%s: %q, %+v", what, reply, states)
		}
	}
	told := func() []map[string]any {
		return g.log.lines(t, "recipients file can't be used: the last good one is in force")
	}
	check("at first", "250", 10, true)
	writeRecipients(t, path, 5, at.Add(time.Minute))
	g.reload(t.Context())
	check("after a HUP", "250", 10, false)
	if n := len(g.log.lines(t, "configuration taken")); n != 1 {
		t.Errorf("configurations taken: %d", n)
	}
	if all := told(); len(all) != 1 || !strings.Contains(fmt.Sprint(all[0]["error"]), "5 entries, 10 are in force") ||
		!strings.Contains(fmt.Sprint(all[0]["error"]), "touch "+path+".take") {
		t.Errorf("told: %v", all)
	}
	g.reload(t.Context())
	if n := len(told()); n != 2 {
		t.Errorf("a second HUP: told %d times", n)
	}
	if err := os.WriteFile(path+".take", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	time.Sleep(entries.CheckEvery + 10*time.Millisecond)
	check("after the word", "550", 5, true)

	writeRecipients(t, path, 0, at.Add(2*time.Minute))
	g.reload(t.Context())
	if n := len(g.log.lines(t, "configuration not taken: the old one is in force")); n != 1 {
		t.Errorf("a HUP with an empty list: %d", n)
	}
}

// TestShrunkOverStart: a start with a list that has many fewer entries goes on with the one of before.
func TestShrunkOverStart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "recipients")
	text := fmt.Sprintf(`
hostname: mx.example.org
listeners: {public: {address: "127.0.0.1:0", early_talkers: 0s}}
routes: [{to: [example.org], upstream: local, recipients: {verify: file, file: %q}}]
upstreams: {local: {maildir: "{{dir}}/mail"}}
state: {directory: %q}
filters: []
`, path, filepath.Join(dir, "state"))
	at := time.Now().Add(-time.Hour)
	for _, c := range []struct {
		entries, inForce int
		damage           bool
	}{{10, 10, false}, {5, 10, false}, {9, 9, false}, {3, 3, true}} {
		if c.damage {
			kept, _ := filepath.Glob(filepath.Join(dir, "state", "recipients", "file-*.list"))
			if len(kept) != 1 || os.WriteFile(kept[0], []byte("postern recipients 1\n"), 0o600) != nil {
				t.Fatalf("kept: %q", kept)
			}
		}
		writeRecipients(t, path, c.entries, at)
		g := startGateway(t, text)
		states := g.relays.lists.states(recipientLists)
		if len(states) != 1 || states[0].Entries != c.inForce || states[0].Taken != (c.entries == c.inForce) {
			t.Errorf("%d entries: %+v", c.entries, states)
		}
		if n := len(g.log.lines(t, "recipients file can't be used: the last good one is in force")); n == 0 != (c.entries == c.inForce) {
			t.Errorf("%d entries: told %d times", c.entries, n)
		}
		if n := len(g.log.lines(t, "recipients that were kept can't be read: the file is taken as it is")); n == 1 != c.damage {
			t.Errorf("%d entries: damage told %d times", c.entries, n)
		}
		g.close()
	}
}

// TestCalloutToPostfix: unknown mailboxes of a real Postfix are refused at RCPT, before any content, and those that it does not
// relay for are put off.
func TestCalloutToPostfix(t *testing.T) {
	t.Parallel()
	p := peertest.StartPostfix(t, peertest.MTAOptions{Domain: "example.org", Mailboxes: []string{"bob", "carl"}})
	g := startGateway(t, fmt.Sprintf(`
hostname: mx.example.org
listeners: {public: {address: "127.0.0.1:0", early_talkers: 0s}}
routes: [{to: [example.org, elsewhere.test], upstream: postfix, recipients: callout}]
upstreams: {postfix: {servers: [%q]}}
state: {directory: "{{dir}}/state"}
filters: []
`, p.Addr))
	for _, c := range []struct{ to, want string }{
		{"bob@example.org", "250"},
		{"BOB@example.org", "250"},
		{"nobody@example.org", "550 5.1.1 "},
		{"nobody@example.org", "550 5.1.1 "},
		{"bob@elsewhere.test", "451 4.4.3 "}, // Postfix denies to relay: a fault of ours
	} {
		reply, err := sample{from: "a@client.test", to: c.to, content: []byte("Subject: x\r\n\r\nx\r\n")}.send(context.Background(), g.addr)
		if err != nil {
			reply = err.Error()
		}
		if !strings.HasPrefix(reply, c.want) {
			t.Errorf("%s: %q", c.to, reply)
		}
	}
	// Postfix's lines come in order, and some time after its replies: with the last one all are there.
	if !comesTrue(func() bool { return strings.Contains(p.Log(), "<bob@elsewhere.test>: Relay access denied") }) {
		t.Errorf("nothing of the last recipient in Postfix's log\n%s", p.Log())
	}
	if n := strings.Count(p.Log(), "<nobody@example.org>: Recipient address rejected"); n != 1 {
		t.Errorf("Postfix was asked %d times for one unknown mailbox\n%s", n, p.Log())
	}
	if n := len(p.Messages(t, 2)); n != 2 {
		t.Errorf("%d messages", n)
	}
	if faults := g.log.lines(t, "upstream server does not take mail from us: mend this"); len(faults) != 1 {
		t.Errorf("faults: %v", faults)
	}
}

// TestAcceptsAny: it is told where the server inside takes mail for anybody.
func TestAcceptsAny(t *testing.T) {
	t.Parallel()
	began := time.Now().UTC()
	g := startGateway(t, fmt.Sprintf(`
hostname: mx.example.org
listeners: {public: {address: "127.0.0.1:0", early_talkers: 0s}}
routes:
  - {to: [boss@example.org, "*.example.org"], upstream: inside, recipients: callout}
  - {to: ["*.example.net", example.net], upstream: inside, recipients: callout}
  - {to: [example.com], upstream: inside}
upstreams: {inside: {servers: [%q]}}
state: {directory: "{{dir}}/state"}
filters: []
`, newCountingSink(t).addr))
	const told = "the upstream accepts recipients that nobody can have: recipients: callout refuses none there"
	comesTrue(func() bool { return len(g.log.lines(t, told)) > 0 })
	if all := g.log.lines(t, told); len(all) != 1 || all[0]["route"] != "*.example.net" || all[0]["upstream"] != "inside" {
		t.Errorf("told: %v", all)
	}
	check := func(file string) string {
		t.Helper()
		var out, errs lockedBuffer
		a, err := New(Options{Config: file, ConfigGiven: true, Stdin: strings.NewReader(""), Stdout: &out, Stderr: &errs})
		if err != nil {
			t.Fatal(err)
		}
		if err := a.Check(); err != nil || !strings.Contains(out.String(), ": ok: ") {
			t.Errorf("check: %v, %s", err, out.String())
		}
		return errs.String()
	}
	saved := filepath.Join(g.cfg.Load().State.Directory, "callouts.json")
	comesTrue(func() bool { _, err := os.Stat(saved); return err == nil })
	const warned = " of the upstream inside took a recipient of example.net that nobody can have: recipients: callout refuses none there"
	if out := check(g.app.o.Config); strings.Count(out, warned) != 1 || !strings.Contains(out, "at "+began.Format("2006-01-02T")) && !strings.Contains(out, "at "+time.Now().UTC().Format("2006-01-02T")) {
		t.Errorf("check: %s", out)
	}
	text, err := os.ReadFile(g.app.o.Config)
	if err != nil {
		t.Fatal(err)
	}
	other := filepath.Join(t.TempDir(), "postern.yaml")
	for old, now := range map[string]string{
		`example.net], upstream: inside, recipients: callout`: `example.net], upstream: inside`, // not asked any more
		g.cfg.Load().Upstreams[0].Servers[0].Address:          "192.0.2.1:25",                   // another server
		`"*.example.net", example.net`:                        `example.net`,                    // another route
	} {
		if err := os.WriteFile(other, []byte(strings.Replace(string(text), old, now, 1)), 0o600); err != nil {
			t.Fatal(err)
		}
		if out := check(other); strings.Contains(out, warned) {
			t.Errorf("check with %s: %s", now, out)
		}
	}
	if err := os.WriteFile(saved, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if out := check(g.app.o.Config); strings.Contains(out, "that nobody can have") {
		t.Errorf("damaged: %s", out)
	}
	if err := saveTrials(store.OS, g.cfg.Load(), []trial{{Route: "*.example.net"}, {Route: "gone"}}); err != nil {
		t.Fatal(err)
	}
	if all, err := loadTrials(store.OS, g.cfg.Load()); err != nil || len(all) != 1 || all[0].Any {
		t.Errorf("%+v, %v", all, err)
	}
}

// askingOf gives the configuration of a gateway with this folder that asks a server inside whether it knows a recipient.
func askingOf(dir string) func(server string) string {
	return func(server string) string {
		return fmt.Sprintf(`
hostname: mx.example.org
listeners: {public: {address: "127.0.0.1:0", early_talkers: 0s}}
routes: [{to: [example.org], upstream: inside, recipients: callout}]
upstreams: {inside: {servers: [%q]}}
state: {directory: %q}
filters: []
`, server, filepath.Join(dir, "state"))
	}
}

// TestAcceptsAnyAfterReload: what was found out about one upstream says nothing of the next one of the same route.
func TestAcceptsAnyAfterReload(t *testing.T) {
	t.Parallel()
	text := askingOf(t.TempDir())
	g := startGateway(t, text(newCountingSink(t).addr))
	tried := map[asking]time.Time{}
	for i, want := range []string{"1", "0"} {
		if i == 1 {
			g.take(t, text(backend(t, map[string]string{"RCPT": "550 5.1.1 no such user"})))
		}
		g.tryRoutes(t.Context(), tried)
		if got := g.metric(t, `postern_recipient_callout_accepts_any{route="example.org"}`); got != want || len(tried) != 1 {
			t.Errorf("upstream %d: %s, %d are remembered", i, got, len(tried))
		}
	}
}

// TestFlush: what the server inside has said of a recipient is forgotten on a word, in any case, and that of others is not.
func TestFlush(t *testing.T) {
	t.Parallel()
	g := startGateway(t, fmt.Sprintf(`
hostname: mx.example.org
listeners: {public: {address: "127.0.0.1:0", early_talkers: 0s}}
routes: [{to: [example.org], upstream: inside, recipients: callout}]
upstreams: {inside: {servers: [%q]}}
state: {directory: "{{dir}}/state"}
filters: []
`, backend(t, map[string]string{"RCPT": "550 5.1.1 no such user"})))
	asked := func(want string) {
		t.Helper()
		if got := dialog(t, g.addr, "127.0.0.1", "MAIL FROM:<ann@client.test>", "RCPT TO:<bob@example.org>", "RCPT TO:<carl@example.org>"); codes(got) != "250 550 550" {
			t.Errorf("got %q", got)
		}
		if n := g.metric(t, `postern_recipient_callouts_total{result="no"}`); n != want {
			t.Errorf("asked %s times, not %s", n, want)
		}
	}
	flush := func(recipients ...string) (out string, err error) {
		t.Helper()
		var b lockedBuffer
		a, err := New(Options{Config: g.app.o.Config, ConfigGiven: true, Stdin: strings.NewReader(""), Stdout: &b, Stderr: &b})
		if err != nil {
			t.Fatal(err)
		}
		err = a.Flush(t.Context(), recipients)
		return b.String(), err
	}
	asked("2")
	asked("2")
	if out, err := flush("BOB@example.org"); err != nil || out != "BOB@example.org: an answer of the upstream inside forgotten\n" {
		t.Errorf("%q, %v", out, err)
	}
	asked("3")
	out, err := flush("nobody", "a@elsewhere.test", "ann@example.org")
	var exit *Exit
	if !errors.As(err, &exit) || exit.Code != ExitData || !strings.Contains(out, "a@elsewhere.test: no route") ||
		!strings.Contains(out, "ann@example.org: nothing was remembered by the upstream inside\n") {
		t.Errorf("%q, %v", out, err)
	}
	g.close()
	if _, err := flush("bob@example.org"); !errors.As(err, &exit) || exit.Code != ExitUnavailable {
		t.Errorf("none runs: %v", err)
	}
}
