package app

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/postern-mail/postern/internal/config"
	"github.com/postern-mail/postern/internal/peertest"
	"github.com/postern-mail/postern/upstream"
)

// TestUpstreamPassword follows the password of an upstream: a reload that finds another makes the relay anew, and neither
// the configuration that is shown, nor the log, nor an error has it.
func TestUpstreamPassword(t *testing.T) {
	const secret = "open sesame"
	file := filepath.Join(t.TempDir(), "p")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(secret + "\n")
	cfg, err := config.Parse("test", []byte(`hostname: mx.example.org
listeners: {public: {address: ":25"}}
routes: [{to: [example.org], upstream: up}]
upstreams: {up: {servers: ["127.0.0.1:1"], tls: required, auth: {user: u, password_file: `+file+`}}}
filters: []
`), nil)
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	logger := slog.New(slog.NewTextHandler(&log, nil))
	var r relays
	take := func() (upstream.Relay, int) {
		t.Helper()
		all, adopt, err := r.forConfig(cfg, upstream.Hooks{})
		if err != nil {
			t.Fatal(err)
		}
		warnOfAuth(cfg, logger)
		return all["up"], len(adopt())
	}
	first, _ := take()
	if again, closed := take(); again != first || closed != 0 {
		t.Errorf("the same password made a new relay, %d to close", closed)
	}
	if strings.Contains(log.String(), "may read") || !strings.Contains(log.String(), "tls: verify asks who it is") {
		t.Errorf("log: %s", log.String())
	}
	write(secret + " two\n")
	if err := os.Chmod(file, 0o644); err != nil {
		t.Fatal(err)
	}
	if other, closed := take(); other == first || closed != 1 {
		t.Errorf("another password kept the relay, %d to close", closed)
	}
	if !strings.Contains(log.String(), "everybody on this host may read a password") {
		t.Errorf("log: %s", log.String())
	}
	write(secret + "\n" + secret + "\n")
	_, _, err = r.forConfig(cfg, upstream.Hooks{})
	if err == nil || !strings.Contains(err.Error(), "must be one line") {
		t.Errorf("two lines: %v", err)
	}
	for name, text := range map[string]string{"log": log.String(), "error": err.Error(), "config show": string(cfg.Show())} {
		if strings.Contains(text, secret) {
			t.Errorf("%s has the password:\n%s", name, text)
		}
	}
	if _, err := config.Parse("shown", cfg.Show(), nil); err != nil {
		t.Errorf("what is shown is not read: %v", err)
	}
}

// TestAuthToExim hands mail on to a real Exim that takes none without a user: by PLAIN and by LOGIN; with another password
// the client is put off, and the log says why.
func TestAuthToExim(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, mechanism, password, reply, log string }{
		{"PLAIN", "PLAIN", "open sesame", "250 ", `A=server:gateway`},
		{"LOGIN", "LOGIN", "open sesame", "250 ", `A=server:gateway`},
		{"wrong password", "PLAIN", "open barley", "451 4.4.0 ", `535 Incorrect authentication data`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			cert, key := writeCertificate(t, dir, "mx.example.org")
			e := peertest.StartExim(t, peertest.MTAOptions{
				Domain: "example.org", CertFile: cert, KeyFile: key,
				Login: peertest.Login{Mechanism: c.mechanism, User: "gateway", Password: "open sesame"},
			})
			file := filepath.Join(dir, "password")
			if err := os.WriteFile(file, []byte(c.password+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			g := startGateway(t, fmt.Sprintf(`
hostname: mx.example.org
listeners: {public: {address: 127.0.0.1:0}}
routes: [{to: [example.org], upstream: exim}]
upstreams: {exim: {servers: [%q], tls: verify, ca_file: %q, auth: {user: gateway, password_file: %q}}}
filters: []
state: {directory: "{{dir}}/state"}
dns: {servers: ["127.0.0.1:9"]}
`, e.Addr, cert, file))
			if r := sendFrom(t, "127.0.0.1", g.addr, "client.test"); !strings.HasPrefix(r, c.reply) {
				t.Errorf("the client was told %s\n%s", r, g.log.String())
			}
			if !comesTrue(func() bool { return strings.Contains(e.Log(), c.log) }) {
				t.Errorf("no %q in Exim's log\n%s", c.log, e.Log())
			}
			faults := g.log.lines(t, "upstream server does not take mail from us: mend this")
			if c.reply == "250 " {
				e.Messages(t, 1)
			} else if len(faults) != 1 || faults[0]["stage"] != "auth" {
				t.Errorf("faults: %v", faults)
			}
			if strings.Contains(g.log.String(), c.password) {
				t.Errorf("the password is in the log\n%s", g.log.String())
			}
		})
	}
}
