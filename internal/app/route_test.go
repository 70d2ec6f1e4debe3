package app

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const routed = `hostname: mx.example.org
listeners:
  public: {address: ":25"}
  office: {address: ":587", relay: {networks: [10.1.0.0/16]}}
exempt_recipients: [help@example.org]
routes:
  - {to: [boss@example.org, vip.example], upstream: local, policy: strict}
  - to: [example.org, "*.example.org"]
    upstream: inside
    recipients: {verify: file, file: list}
  - {to: ["*"], upstream: outward}
upstreams:
  inside: {servers: ["a.corp.example:25", "b.corp.example:25"], tls: required}
  outward: {servers: ["smtp.isp.example:25"]}
  local: {maildir: mail}
policies: {strict: {tag: 2, reject: 8}}
`

// routeOf runs the command on a configuration.
func routeOf(t *testing.T, text, stdin string, o RouteOptions) (out, errs string, err error) {
	t.Helper()
	return routeWith(t, text, stdin, o, map[string]string{"list": "known@example.org\n@sub.example.org\n"})
}

// routeWith runs the command on a configuration and the files beside it.
func routeWith(t *testing.T, text, stdin string, o RouteOptions, files map[string]string) (out, errs string, err error) {
	t.Helper()
	t.Chdir(t.TempDir())
	files["c.yaml"], files["c.list"] = text, "known@example.org\n"
	for name, content := range files {
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var stdout, stderr bytes.Buffer
	a, err := New(Options{Config: "c.yaml", ConfigGiven: true, Stdin: strings.NewReader(stdin), Stdout: &stdout, Stderr: &stderr})
	if err != nil {
		t.Fatal(err)
	}
	err = a.Route(t.Context(), o)
	if _, gone := os.Stat("mail"); gone == nil {
		t.Error("a maildir was made")
	}
	return stdout.String(), stderr.String(), err
}

// TestRouteNamesRanks: weights and priorities are told where the order does not say all.
func TestRouteNamesRanks(t *testing.T) {
	ranked := strings.Replace(routed, `"a.corp.example:25", "b.corp.example:25"`, `{address: "a.corp.example:25", weight: 3}, "b.corp.example:25"`, 1)
	for text, want := range map[string]string{
		routed: "upstream   inside: a.corp.example:25, b.corp.example:25; smtp, tls required\n",
		ranked: "upstream   inside: a.corp.example:25 (priority 10, weight 3), b.corp.example:25 (priority 10, weight 1); smtp, tls required\n",
	} {
		out, _, err := routeOf(t, text, "", RouteOptions{Addresses: []string{"known@example.org"}})
		if err != nil || !strings.Contains(out, want) {
			t.Errorf("%v: no %q in\n%s", err, want, out)
		}
	}
	out, _, err := routeOf(t, ranked, "", RouteOptions{Addresses: []string{"known@example.org"}, JSON: true})
	if want := `"ranks":[{"server":"a.corp.example:25","priority":10,"weight":3},{"server":"b.corp.example:25","priority":10,"weight":1}]`; err != nil || !strings.Contains(out, want) {
		t.Errorf("%v: no %s in\n%s", err, want, out)
	}
}

func TestRouteAnswers(t *testing.T) {
	for _, c := range []struct {
		name, address string
		relay         bool
		want          []string // rows, "KEY VALUE"
		without       []string // keys
	}{
		{
			"known", "known@Example.org", false,
			[]string{
				"address known@example.org", "route example.org (c.yaml:8:10)", "policy default",
				"upstream inside: a.corp.example:25, b.corp.example:25; smtp, tls required", "known yes (file list)", "reply 250 2.1.5 Recipient ok",
			},
			[]string{"exempt", "because", "passed", "relay", "together", "error"},
		},
		{
			"unknown", "who@example.org", false,
			[]string{"known no (file list)", "reply 550 5.1.1 No such mailbox here", "because no such mailbox"},
			[]string{"address"},
		},
		{
			"below", "a@sub.example.org", false,
			[]string{"route example.org, by its entry *.example.org (c.yaml:8:23)", "known yes (file list)", "reply 250 2.1.5 Recipient ok"},
			nil,
		},
		{
			"first route", "BOSS@example.org", false,
			[]string{"route boss@example.org (c.yaml:7:11)", "policy strict", "upstream local: maildir mail", "known no source: every mailbox may exist"},
			nil,
		},
		{"second entry", "x@vip.example", false, []string{"route boss@example.org, by its entry vip.example (c.yaml:7:29)"}, nil},
		{"source route", "<@a.example,@b.example:known@example.org>", false, []string{"address known@example.org", "reply 250 2.1.5 Recipient ok"}, nil},
		{
			"postmaster", "Postmaster", false,
			[]string{"address postmaster@example.org", "exempt yes: score, lists and greylisting do not apply", "known not asked (file list)", "reply 250 2.1.5 Recipient ok"},
			nil,
		},
		{"exempt", "help@example.org", false, []string{"known not asked (file list)", "reply 250 2.1.5 Recipient ok"}, []string{"address"}},
		{
			"foreign", "a@elsewhere.example", false,
			[]string{
				"route none", "reply 554 5.7.1 Relay access denied", "because no route",
				"relay of a client that may relay, the route * (c.yaml:11:11) takes it to the upstream outward",
			},
			[]string{"known", "policy", "upstream"},
		},
		{
			"foreign, for who may relay", "a@elsewhere.example", true,
			[]string{"route * (c.yaml:11:11)", "upstream outward: smtp.isp.example:25; smtp, tls opportunistic", "reply 250 2.1.5 Recipient ok"},
			[]string{"relay", "because"},
		},
		{"percent", "a%elsewhere.example@vip.example", true, []string{"reply 550 5.7.1 Relay access denied", "because local part that names another host"}, nil},
		{"quoted", `"a@elsewhere.example"@vip.example`, false, []string{"reply 550 5.1.1 No such mailbox here"}, nil},
		{"not ASCII", "bö@vip.example", false, []string{"reply 250 2.1.5 Recipient ok"}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			out, errs, err := routeOf(t, routed, "", RouteOptions{Addresses: []string{c.address}, Relay: c.relay})
			if err != nil || errs != "" {
				t.Fatalf("%v, %s", err, errs)
			}
			rows := map[string]bool{}
			for line := range strings.Lines(out) {
				key, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
				rows[key], rows[key+" "+strings.TrimSpace(value)] = true, true
			}
			for _, want := range append(c.want, "recipient "+c.address) {
				if !rows[want] {
					t.Errorf("no row %q in\n%s", want, out)
				}
			}
			for _, key := range c.without {
				if rows[key] {
					t.Errorf("row %s in\n%s", key, out)
				}
			}
		})
	}
}

func TestRouteOptions(t *testing.T) {
	for _, c := range []struct {
		name, config, stdin string
		o                   RouteOptions
		code                int
		out, errs           string // some of it each; ! before what must not be there
	}{
		{name: "bad address among others", o: RouteOptions{Addresses: []string{"nowhere@", "known@example.org"}}, code: ExitData, out: "250 2.1.5", errs: "postern: route: nowhere@: mail: domain: label is empty or too long; a client is told 501 5.1.3 Malformed recipient address\n"},
		{name: "no address", o: RouteOptions{Addresses: []string{""}}, code: ExitData, errs: "no address; a client is told 501"},
		{name: "for a terminal", o: RouteOptions{Addresses: []string{"a\x1b[2J@example.org"}}, code: ExitData, errs: "a\\u001b[2J@example.org: "},
		{name: "standard input", stdin: "known@example.org\r\n\n  a@sub.example.org\nbad\n", o: RouteOptions{Addresses: []string{"-"}}, code: ExitData, out: "a@sub.example.org", errs: "standard input:4: bad: "},
		{name: "long line", stdin: strings.Repeat("x", maxAddressLine+1), o: RouteOptions{Addresses: []string{"-"}}, code: ExitData},
		{name: "nothing on standard input", o: RouteOptions{Addresses: []string{"-"}}},
		{name: "listener", o: RouteOptions{Addresses: []string{"known@example.org"}, Listener: "office", JSON: true}, out: `"listener":"office"`},
		{name: "listener of who may relay", o: RouteOptions{Addresses: []string{"known@example.org"}, Relay: true, JSON: true}, out: `"listener":"office"`},
		{name: "relay where nobody may", o: RouteOptions{Addresses: []string{"known@example.org"}, Relay: true, Listener: "public"}, errs: "no client may relay at the listener public"},
		{name: "no such listener", o: RouteOptions{Addresses: []string{"known@example.org"}, Listener: "pubic"}, code: ExitUsage},
		{name: "from", o: RouteOptions{Addresses: []string{"known@example.org"}, From: "a@b.example"}, out: "250 2.1.5"},
		{name: "null from", o: RouteOptions{Addresses: []string{"known@example.org"}, From: "<>"}, out: "250 2.1.5"},
		{name: "bad from", o: RouteOptions{Addresses: []string{"known@example.org"}, From: "a@"}, code: ExitUsage},
		{name: "passed over", o: RouteOptions{Addresses: []string{"a@b.example"}, Verbose: true}, out: "passed     * (c.yaml:11:11): \"*\" is for clients that may relay\n"},
		{name: "together", o: RouteOptions{Addresses: []string{"who@example.org", "known@example.org", "boss@example.org"}}, out: "together   452 4.5.3 Please send to this recipient in a transaction of its own (in one transaction with known@example.org)"},
		{name: "together, of LMTP", config: strings.NewReplacer("tls: required", "protocol: lmtp", "corp.example:25", "corp.example:24").Replace(routed), o: RouteOptions{Addresses: []string{"known@example.org", "known@example.org", "a@sub.example.org"}}, out: "together   452 4.5.3 One recipient at a time here"},
		{name: "callout", config: strings.Replace(routed, "{verify: file, file: list}", "callout", 1), o: RouteOptions{Addresses: []string{"who@example.org"}}, out: "known      not asked (callout)\nreply      250 2.1.5 Recipient ok\n"},
		{name: "soft bounce", config: "soft_bounce: true\n" + routed, o: RouteOptions{Addresses: []string{"a@b.example"}}, out: "reply      454 4.7.1 Relay access denied"},
		{name: "postmaster without a route", config: "postmaster: a@b.example\n" + routed, o: RouteOptions{Addresses: []string{"postmaster"}}, out: "reply      451 4.3.5 "},
		{name: "bad configuration", config: "hostnam: x\n", o: RouteOptions{Addresses: []string{"a@b.example"}}, code: ExitConfig},
		{name: "no recipients file", config: strings.Replace(routed, "file: list", "file: gone", 1), o: RouteOptions{Addresses: []string{"a@b.example"}}, code: ExitConfig},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.config == "" {
				c.config = routed
			}
			out, errs, err := routeOf(t, c.config, c.stdin, c.o)
			code := 0
			if exit := new(Exit); errors.As(err, &exit) {
				code = exit.Code
			} else if err != nil {
				t.Fatal(err)
			}
			if code != c.code || !strings.Contains(out, c.out) || !strings.Contains(errs, c.errs) {
				t.Errorf("exit %d (%v), not %d\n%s\n%s", code, err, c.code, out, errs)
			}
		})
	}
}

func TestRouteJSON(t *testing.T) {
	out, _, err := routeOf(t, routed, "", RouteOptions{Addresses: []string{"a@sub.example.org", "a@b.example"}, JSON: true, Verbose: true})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		`{"given":"a@sub.example.org","address":"a@sub.example.org","exempt":false,"listener":"public",` +
			`"route":{"file":"c.yaml","line":8,"column":23,"name":"example.org","entry":"*.example.org"},` +
			`"passed":[{"file":"c.yaml","line":7,"column":11,"name":"boss@example.org","why":"no entry fits"}],"policy":"default",` +
			`"upstream":{"name":"inside","servers":["a.corp.example:25","b.corp.example:25"],` +
			`"ranks":[{"server":"a.corp.example:25","priority":10,"weight":1},{"server":"b.corp.example:25","priority":20,"weight":1}],"protocol":"smtp","tls":"required"},` +
			`"source":"file list","known":"yes","accepted":true,"code":250,"reply":"250 2.1.5 Recipient ok"}`,
		`{"given":"a@b.example","address":"a@b.example","exempt":false,"listener":"public","route":null,` +
			`"passed":[{"file":"c.yaml","line":7,"column":11,"name":"boss@example.org","why":"no entry fits"},` +
			`{"file":"c.yaml","line":8,"column":10,"name":"example.org","why":"no entry fits"},` +
			`{"file":"c.yaml","line":11,"column":11,"name":"*","why":"\"*\" is for clients that may relay"}],` +
			`"accepted":false,"code":554,"reply":"554 5.7.1 Relay access denied","because":"no route",` +
			`"with_relay":{"file":"c.yaml","line":11,"column":11,"route":"*","upstream":"outward"}}`,
	}
	if out != strings.Join(want, "\n")+"\n" {
		t.Errorf("%s", out)
	}
	for _, line := range strings.Split(strings.TrimSpace(out), "\n") {
		if !json.Valid([]byte(line)) {
			t.Errorf("no JSON: %s", line)
		}
	}
}

// TestRouteOutput: what can't be written is told.
func TestRouteOutput(t *testing.T) {
	path := filepath.Join(t.TempDir(), "c.yaml")
	if err := os.WriteFile(path, []byte(standard), 0o600); err != nil {
		t.Fatal(err)
	}
	a, err := New(Options{Config: path, ConfigGiven: true, Stdout: full{}, Stderr: full{}})
	if err != nil {
		t.Fatal(err)
	}
	for _, asJSON := range []bool{false, true} {
		var exit *Exit
		if err := a.Route(t.Context(), RouteOptions{Addresses: []string{"a@b.example"}, JSON: asJSON}); !errors.As(err, &exit) || exit.Code != ExitCannotWrite {
			t.Errorf("%v", err)
		}
	}
}

// full takes nothing.
type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("full") }
