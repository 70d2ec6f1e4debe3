package app

import (
	"bytes"
	"errors"
	"fmt"
	"net/textproto"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	entries "github.com/postern-mail/postern/internal/lines"
)

// rewrite writes a file as if at that time, and waits until it is looked at again.
func rewrite(t *testing.T, path, text string, at time.Time) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(path, at, at); err != nil {
		t.Fatal(err)
	}
	time.Sleep(entries.CheckEvery + 10*time.Millisecond)
}

// TestDomainsFile: a file of domains that a route names is followed without a reload, also while a transaction is under way;
// what is broken or cut short leaves what was in force, is told and counted, and is taken on a word.
func TestDomainsFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "domains")
	at := time.Now().Add(-time.Hour)
	rewrite(t, path, "one.test\n*.two.test\nx@three.test\n", at)
	g := startGateway(t, fmt.Sprintf(`
hostname: mx.example.org
postmaster: admin@one.test
listeners: {public: {address: "127.0.0.1:0", early_talkers: 0s}}
routes: [{to: [%q], upstream: local}]
upstreams: {local: {maildir: "{{dir}}/mail"}}
state: {directory: "{{dir}}/state"}
filters: []
`, path))
	check := func(what, want, taken string) {
		t.Helper()
		var got []string
		var is string
		// A file that is read for long, on a machine under load, does not keep the one who finds it changed.
		if !comesTrue(func() bool {
			got = dialog(t, g.addr, "127.0.0.1", "MAIL FROM:<ann@client.test>", "RCPT TO:<a@one.test>", "RCPT TO:<a@sub.two.test>",
				"RCPT TO:<x@three.test>", "RCPT TO:<y@three.test>", "RCPT TO:<a@four.test>", "RCPT TO:<postmaster>")
			is = g.metric(t, fmt.Sprintf("postern_recipient_snapshot_last_read_successful{source=%q}", "route:"+path))
			return codes(got) == "250 "+want && is == taken
		}) {
			t.Errorf("%s: %q, not %s; taken %s, not %s", what, got, want, is, taken)
		}
		for domain, i := range map[string]int{"one.test": 0, "four.test": 4} {
			if ours := strings.Fields(want)[i] == "250"; ours != g.tableOurs(domain) {
				t.Errorf("%s: %s is ours: %v", what, domain, !ours)
			}
		}
	}
	told := func(n int, part string) {
		t.Helper()
		var all []map[string]any
		comesTrue(func() bool { // it is told after the state
			all = g.log.lines(t, "file of a route can't be used: the last good one is in force")
			return len(all) >= n
		})
		if len(all) != n || all[n-1]["file"] != path || !strings.Contains(fmt.Sprint(all[n-1]["error"]), part) {
			t.Errorf("told %v, not %d times and %q", all, n, part)
		}
	}
	check("at first", "250 250 250 554 554 452", "1") // the postmaster can't share a message with others
	c, err := textproto.Dial("tcp", g.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	say := func(want int, line string) {
		t.Helper()
		if line != "" {
			if err := c.PrintfLine("%s", line); err != nil {
				t.Fatal(err)
			}
		}
		if _, text, err := c.ReadResponse(want); err != nil {
			t.Errorf("%s: %v %s", line, err, text)
		}
	}
	say(220, "")
	say(250, "EHLO client.test")
	say(250, "MAIL FROM:<ann@client.test>")
	say(250, "RCPT TO:<a@one.test>")
	rewrite(t, path, "four.test\n*.two.test\nx@three.test\n", at.Add(time.Minute))
	check("another domain", "554 250 250 554 250 451", "1") // no route for the postmaster
	say(554, "RCPT TO:<b@one.test>")
	say(354, "DATA")
	say(250, "Subject: x\r\n\r\nx\r\n.")

	rewrite(t, path, "one.test\n*\n", at.Add(2*time.Minute))
	check("broken", "554 250 250 554 250 451", "0")
	told(1, path+`:2: "*": `)
	rewrite(t, path, "one.test\n", at.Add(3*time.Minute))
	check("cut short", "554 250 250 554 250 451", "0")
	told(2, "1 entries, 3 are in force: over 20 % fewer; if that is right: touch "+path+".take")
	g.reload(t.Context())
	told(3, "1 entries")
	check("reloaded", "554 250 250 554 250 451", "0")
	if n := len(g.log.lines(t, "configuration taken")); n != 1 {
		t.Errorf("taken %d times", n)
	}
	rewrite(t, path+".take", "", at.Add(3*time.Minute))
	check("after the word", "250 554 554 554 554 452", "1")
	rewrite(t, path, "", at.Add(4*time.Minute))
	g.reload(t.Context())
	if all := g.log.lines(t, "configuration not taken: the old one is in force"); len(all) != 1 || !strings.Contains(fmt.Sprint(all[0]["error"]), path+": no entry in it") {
		t.Errorf("an empty file: %v", all)
	}
	check("empty", "250 554 554 554 554 452", "0")
}

// tableOurs asks the table in force.
func (g *testGateway) tableOurs(domain string) bool {
	return g.current.Load().Router.(interface{ Ours(string) bool }).Ours(domain)
}

// TestCheckReadsDomainsFiles: what is wrong in a file of a route is told with its line, at the place that names the file.
func TestCheckReadsDomainsFiles(t *testing.T) {
	t.Chdir(t.TempDir())
	const text = `hostname: mx.example.org
listeners: {public: {address: ":25"}}
routes:
  - {to: [./domains], from: [example.net, ./senders], upstream: inside}
  - {to: [./domains], upstream: inside}
upstreams: {inside: {servers: ["10.1.0.9:25"]}}
`
	for _, c := range []struct{ name, domains, senders, want, warns string }{
		{"good", "example.org # ours\n", "ann@example.com\n", "", "no route takes mail for the postmaster"},
		{"domains", "a.test\n\nb test\n", "x.test", `c.yaml:4:11: upstream: routes: ./domains:3: "b test": not a domain`, ""},
		{"senders", "a.test\n", "<>\n", `c.yaml:4:43: upstream: routes: ./senders:1: "<>": not a domain`, ""},
		{"empty", "#\n", "x.test\n", "c.yaml:4:11: upstream: routes: ./domains: no entry in it", ""},
	} {
		for name, content := range map[string]string{"c.yaml": text, "domains": c.domains, "senders": c.senders} {
			if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		var out, errs bytes.Buffer
		a, err := New(Options{Config: "c.yaml", ConfigGiven: true, Stdin: strings.NewReader(""), Stdout: &out, Stderr: &errs})
		if err != nil {
			t.Fatal(err)
		}
		err = a.Check()
		var exit *Exit
		if c.want == "" {
			if err != nil || !strings.Contains(errs.String(), c.warns) {
				t.Errorf("%s: %v, %s", c.name, err, errs.String())
			}
		} else if !errors.As(err, &exit) || exit.Code != ExitConfig || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// TestRouteNamesLineOfFile: the command names the line of the file that takes a recipient.
func TestRouteNamesLineOfFile(t *testing.T) {
	text := strings.Replace(routed, `to: ["*"]`, `to: [last.example, ./list, "*"]`, 1)
	for address, want := range map[string]string{
		"a@Sub.Example.NET":    "route      last.example, by its entry ./list (c.yaml:11:25), which has *.example.net (./list:2)\n",
		"Known@example.net":    "route      last.example, by its entry ./list (c.yaml:11:25), which has known@example.net (./list:1)\n",
		"a@last.example":       "route      last.example (c.yaml:11:11)\n",
		"a@sub.example.org":    "route      example.org, by its entry *.example.org (c.yaml:8:23)\n",
		"else@example.net":     "route      none\n",
		"x@elsewhere.example":  "of a client that may relay, the route last.example (c.yaml:11:33) takes it",
		"who@list.example.net": "which has *.example.net (./list:2)\n",
	} {
		lists := map[string]string{"list": "known@example.net\n*.example.net\n"}
		out, _, err := routeWith(t, strings.Replace(text, ", file: list", ", file: c.list", 1), "", RouteOptions{Addresses: []string{address}}, lists)
		if err != nil || !strings.Contains(out, want) {
			t.Errorf("%s: %v: no %q in\n%s", address, err, want, out)
		}
	}
	out, _, err := routeWith(t, text, "", RouteOptions{Addresses: []string{"a@b.example.net"}, JSON: true}, map[string]string{"list": "@example.org\n*.example.net\n"})
	if err == nil {
		t.Errorf("a list of recipients is one of a route: %s", out)
	}
	out, _, err = routeWith(t, text, "", RouteOptions{Addresses: []string{"known@example.net"}, JSON: true}, map[string]string{"list": "known@example.net\n"})
	if want := `"name":"last.example","entry":"./list","listed":{"file":"./list","line":1,"entry":"known@example.net"}}`; err != nil || !strings.Contains(out, want) {
		t.Errorf("%v: no %s in\n%s", err, want, out)
	}
}
