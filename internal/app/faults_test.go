package app

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/postern-mail/postern/filter"
)

// trouble is a filter that fails in the way its configuration asks for.
var trouble = filter.Factory{Kind: "trouble", New: func(_ filter.Env, decode func(any) error) (filter.Spec, filter.Filter, error) {
	var cfg struct {
		How   string `yaml:"how"`
		Phase string `yaml:"phase"`
	}
	if err := decode(&cfg); err != nil {
		return filter.Spec{}, nil, err
	}
	phase := map[string]filter.Phase{"connect": filter.Connect, "helo": filter.Helo, "mail": filter.Mail, "rcpt": filter.Rcpt, "data": filter.Data}[cfg.Phase]
	check := func(ctx context.Context, _ *filter.Input) (filter.Result, error) {
		switch cfg.How {
		case "panic":
			panic("trouble")
		case "hang":
			<-ctx.Done()
			return filter.Result{}, ctx.Err()
		}
		return filter.Result{}, errors.New("trouble: service is down")
	}
	return filter.Spec{Phases: filter.In(phase)}, filter.Func(check), nil
}}

// backend is a scripted SMTP server: for each verb the reply it gives, 2yz or 354 where none is said. "drop" ends
// the connection in place of a reply.
func backend(t *testing.T, replies map[string]string) string {
	t.Helper()
	return backendAt(t, "127.0.0.1:0", replies)
}

// backendAt is backend at an address.
func backendAt(t *testing.T, addr string, replies map[string]string) string {
	t.Helper()
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	serve := func(c net.Conn) {
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(2 * time.Minute))
		r := bufio.NewReader(c)
		say := func(verb, otherwise string) bool {
			reply := replies[verb]
			if reply == "" {
				reply = otherwise
			}
			if reply == "drop" {
				return false
			}
			_, err := fmt.Fprintf(c, "%s\r\n", reply)
			return err == nil
		}
		if !say("greeting", "220 backend ESMTP") {
			return
		}
		for {
			line, err := r.ReadString('\n')
			if err != nil {
				return
			}
			verb := strings.ToUpper(strings.TrimSpace(line[:min(4, len(line))]))
			switch verb {
			case "EHLO":
				if !say(verb, "250-backend\r\n250-PIPELINING\r\n250 8BITMIME") {
					return
				}
			case "DATA":
				if !say(verb, "354 go on") {
					return
				}
				if replies[verb] != "" {
					continue
				}
				for line != ".\r\n" {
					if line, err = r.ReadString('\n'); err != nil {
						return
					}
				}
				if !say("dot", "250 2.0.0 stored") {
					return
				}
			case "QUIT":
				say(verb, "221 bye")
				return
			default:
				if !say(verb, "250 2.0.0 ok") {
					return
				}
			}
		}
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go serve(c)
		}
	}()
	return l.Addr().String()
}

// TestOurFaultsRefuseNobody breaks each thing of ours, one at a time, and asks for a 4yz or a delivery: never a
// 5yz, and a 250 only where the backend has given one.
func TestOurFaultsRefuseNobody(t *testing.T) {
	ok := func(t *testing.T) string { return backend(t, nil) }
	with := func(replies map[string]string) func(*testing.T) string {
		return func(t *testing.T) string { return backend(t, replies) }
	}
	cases := []struct {
		name     string
		upstream func(*testing.T) string
		config   string
		break_   func(*testing.T, *testGateway)
		large    bool
		route    string // more of the route
		tls      string // of the upstream
		want     string // how the reply begins
	}{
		{name: "filter fails", config: "filters: [{trouble: {how: error, phase: data}}]", want: "451 4.3.0"},
		{name: "filter panics", config: "filters: [{trouble: {how: panic, phase: data}}]", want: "451 4.3.0"},
		{name: "filter hangs", config: "filters: [{trouble: {how: hang, phase: data, timeout: 200ms}}]", want: "451 4.3.0"},
		{name: "filter panics at connect", config: "filters: [{trouble: {how: panic, phase: connect}}]", want: "451 4.3.0"},
		{name: "filter panics at helo", config: "filters: [{trouble: {how: panic, phase: helo}}]", want: "451 4.3.0"},
		{name: "filter fails at mail", config: "filters: [{trouble: {how: error, phase: mail}}]", want: "451 4.3.0"},
		{name: "filter hangs at rcpt", config: "filters: [{trouble: {how: hang, phase: rcpt, timeout: 200ms}}]", want: "451 4.3.0"},
		{name: "filter fails open by configuration", config: "filters: [{trouble: {how: error, phase: data, on_error: continue}}]", want: "250 2.0.0 Ok: queued as "},
		{name: "observed filter panics", config: "filters: [{trouble: {how: panic, phase: data, observe: true}}]", want: "250 2.0.0 Ok: queued as "},
		{name: "no DNS", config: "exempt_networks: []", want: "250 2.0.0 Ok: queued as "},
		{name: "backend is down", upstream: func(*testing.T) string { return "127.0.0.1:1" }, want: "451 4.4.1"},
		{name: "backend greets with 554", upstream: with(map[string]string{"greeting": "554 no service"}), want: "451 4.4.0"},
		{name: "backend refuses EHLO and HELO", upstream: with(map[string]string{"EHLO": "550 go away", "HELO": "550 go away"}), want: "451 4.4.0"},
		{name: "backend refuses MAIL for good", upstream: with(map[string]string{"MAIL": "550 5.7.1 client blocked"}), want: "451 4.4.0"},
		{name: "backend answers MAIL with 421", upstream: with(map[string]string{"MAIL": "421 4.3.2 later"}), want: "451 4.4.0"},
		{name: "backend does not relay for us", upstream: with(map[string]string{"RCPT": "554 5.7.1 Relay access denied"}), want: "451 4.4.0"},
		{name: "backend refuses DATA for now", upstream: with(map[string]string{"DATA": "451 4.3.0 later"}), want: "451 4.3.0"},
		{name: "backend goes at RCPT", upstream: with(map[string]string{"RCPT": "drop"}), want: "451 4.4.2"},
		{name: "backend goes after the dot", upstream: with(map[string]string{"dot": "drop"}), want: "451 4.4.2"},
		{name: "backend's system is full, it says at RCPT", upstream: with(map[string]string{"RCPT": "550 5.3.1 system full"}), want: "451 4.4.0"},
		{name: "backend is out of step at the dot", upstream: with(map[string]string{"dot": "503 5.5.1 bad sequence"}), want: "451 4.4.0"},
		{name: "backend wants a login at the dot", upstream: with(map[string]string{"dot": "530 5.7.0 login first"}), want: "451 4.4.0"},
		{name: "backend closes with its reply to the dot", upstream: with(map[string]string{"dot": "421 4.3.2 closing"}), want: "451 4.4.0"},
		{name: "backend speaks nonsense", upstream: with(map[string]string{"EHLO": "\x00\x01 hello"}), want: "451 4.4.0"},
		{name: "quarantine is full", config: "quarantine: {size: 1}", want: "452 4.3.1"},
		{name: "quarantine's folder is gone", break_: func(t *testing.T, g *testGateway) {
			if err := os.RemoveAll(filepath.Join(g.dir, "state", "quarantine")); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(g.dir, "state", "quarantine"), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}, want: "451 4.3.0"},
		{name: "folder for large content is gone", large: true, break_: func(t *testing.T, g *testGateway) {
			if err := os.RemoveAll(g.tmp); err != nil {
				t.Fatal(err)
			}
		}, want: "451 4.3.0"},
		{name: "recipients file is emptied", config: "", break_: func(t *testing.T, g *testGateway) {
			if err := os.WriteFile(filepath.Join(g.dir, "recipients"), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}, want: "250 2.0.0 Ok: queued as "},
		{name: "backend is down, with a spool", route: "spool: true", upstream: func(*testing.T) string { return "127.0.0.1:1" }, want: "250 2.0.0 Ok: queued as "},
		{name: "backend greets with 554, with a spool", route: "spool: true", upstream: with(map[string]string{"greeting": "554 no service"}), want: "250 2.0.0 Ok: queued as "},
		{name: "backend does not relay for us, with a spool", route: "spool: true", upstream: with(map[string]string{"RCPT": "554 5.7.1 Relay access denied"}), want: "250 2.0.0 Ok: queued as "},
		{name: "backend goes at RCPT, with a spool", route: "spool: true", upstream: with(map[string]string{"RCPT": "drop"}), want: "250 2.0.0 Ok: queued as "},
		{name: "filter fails, with a spool", route: "spool: true", config: "filters: [{trouble: {how: error, phase: data}}]", want: "451 4.3.0"},
		{name: "spool is full", route: "spool: true", config: "spool: {size: 1}", upstream: func(*testing.T) string { return "127.0.0.1:1" }, want: "452 4.3.1"},
		{name: "disk is full", route: "spool: true", config: "spool: {min_free: 100000TiB}", upstream: func(*testing.T) string { return "127.0.0.1:1" }, want: "452 4.3.1"},
		{name: "spool's folder is gone", route: "spool: true", upstream: func(*testing.T) string { return "127.0.0.1:1" }, break_: func(t *testing.T, g *testGateway) {
			if err := os.RemoveAll(filepath.Join(g.dir, "state", "spool")); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(g.dir, "state", "spool"), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}, want: "451 4.3.0"},
		{name: "no certificate of the backend, with a spool", route: "spool: true", tls: "required", want: "250 2.0.0 Ok: queued as "},
		{name: "no certificate of the backend", tls: "required", want: "451 4.4.0"},
		{name: "nothing is broken", want: "250 2.0.0 Ok: queued as "},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			up := ok
			if c.upstream != nil {
				up = c.upstream
			}
			text := fmt.Sprintf("hostname: mx.example.org\nlisteners: {public: {address: \"127.0.0.1:0\", early_talkers: 0s}}\n"+
				"routes: [{to: [example.org], upstream: up, recipients: {verify: file, file: \"{{dir}}/recipients\"}, %s}]\n"+
				"upstreams: {up: {servers: [%q], tls: %s}}\nstate: {directory: \"{{dir}}/state\"}\ndns: {servers: [\"127.0.0.1:1\"]}\n%s\n", c.route, up(t), cmp.Or(c.tls, "opportunistic"), c.config)
			g := startGatewayWith(t, text, trouble)
			if c.break_ != nil {
				c.break_(t, g)
			}
			content := invoice
			if c.large {
				content += strings.Repeat("a line of the epilogue\r\n", 50_000)
			}
			for range 2 { // the second time, what was learned from the first counts too
				reply, err := sample{from: "alice@client.test", to: "bob@example.org", content: []byte(content)}.send(context.Background(), g.addr)
				if err != nil {
					t.Fatal(err)
				}
				if !strings.HasPrefix(reply, c.want) {
					t.Errorf("reply %q, not %s", reply, c.want)
				}
				if strings.Contains(reply, "trouble") || strings.Contains(reply, "127.0.0.1") {
					t.Errorf("the reply %q tells of our inside", reply)
				}
			}
		})
	}
}

// startGatewayWith is startGateway with filters of the test's own.
func startGatewayWith(t *testing.T, text string, factories ...filter.Factory) *testGateway {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "postern.yaml")
	for name, content := range map[string]string{
		file:                             strings.ReplaceAll(text, "{{dir}}", dir),
		filepath.Join(dir, "recipients"): "bob@example.org\n",
	} {
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var out, log lockedBuffer
	a, err := New(Options{Config: file, ConfigGiven: true, Factories: factories, Stdin: strings.NewReader(""), Stdout: &out, Stderr: &out})
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := a.load()
	if err != nil {
		t.Fatal(err)
	}
	g, err := a.start(context.Background(), cfg, slog.New(slog.NewJSONHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		g.close()
		if t.Failed() {
			t.Logf("the gateway said:\n%s", log.String())
		}
	})
	return &testGateway{gateway: g, app: a, addr: g.listeners[0].net.Addr().String(), log: &log, dir: dir}
}
