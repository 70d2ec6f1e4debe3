package app

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/postern-mail/postern/internal/peertest"
	"github.com/postern-mail/postern/internal/users"
)

// comesTrue waits for what is soon to be so: servers write their logs when they have answered. On a machine under load soon is late.
func comesTrue(is func() bool) bool {
	for end := time.Now().Add(2 * time.Minute); !is(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			return false
		}
	}
	return true
}

// TestIdentity sends mail from an address of its own through the gateway to a real Postfix, whose log says who the client
// was.
func TestIdentity(t *testing.T) {
	t.Parallel()
	for identity, want := range map[string]string{
		"none":     `client=\S+\[127\.0\.0\.1\]\n`,
		"xforward": `client=\S+\[127\.0\.0\.1\], orig_queue_id=\S+, orig_client=unknown\[127\.0\.0\.7\]`,
		"xclient":  `client=unknown\[127\.0\.0\.7\]\n`,
		"proxy":    `client=\S+\[127\.0\.0\.7\]\n`,
	} {
		t.Run(identity, func(t *testing.T) {
			t.Parallel()
			p := peertest.StartPostfix(t, peertest.MTAOptions{Domain: "example.org", XForward: true, XClient: identity == "xclient", Proxy: identity == "proxy"})
			g := startGateway(t, fmt.Sprintf(`
hostname: mx.example.org
listeners: {public: {address: 127.0.0.1:0}}
routes: [{to: [example.org], upstream: postfix}]
upstreams: {postfix: {servers: [%q], identity: %s}}
filters: []
state: {directory: "{{dir}}/state"}
dns: {servers: ["127.0.0.1:9"]}
`, p.Addr, identity))
			for _, helo := range []string{"client.test", "[127.0.0.7]", "odd+helo="} {
				if r := sendFrom(t, "127.0.0.7", g.addr, helo); r[:4] != "250 " {
					t.Fatal(r)
				}
			}
			if identity == "proxy" || identity == "xclient" {
				r := sendFrom(t, "127.0.0.8", g.addr, "client.test")
				if !strings.HasPrefix(r, "554 5.7.1 the next server refused the message") {
					t.Errorf("a client whom Postfix refuses: %s", r)
				}
			}
			p.Messages(t, 3)
			n := 0
			if !comesTrue(func() bool { n = len(regexp.MustCompile(want).FindAllString(p.Log(), -1)); return n == 3 }) {
				t.Errorf("%d of 3 such clients\n%s", n, p.Log())
			}
			if faults := g.log.lines(t, "upstream server does not take mail from us: mend this"); len(faults) > 0 {
				t.Errorf("faults: %v", faults)
			}
		})
	}
}

// sendFrom sends a message from an address of this host, and gives the reply to its end.
func sendFrom(t *testing.T, from, to, helo string) (last string) {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}, Timeout: time.Minute}
	c, err := d.DialContext(t.Context(), "tcp", to)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(2 * time.Minute))
	r := bufio.NewReader(c)
	for _, line := range []string{
		"", "EHLO " + helo, "MAIL FROM:<a@client.test>", "RCPT TO:<bob@example.org>", "DATA", strings.ReplaceAll(invoice, "\r\n.", "\r\n..") + ".",
	} {
		if line != "" {
			if _, err := io.WriteString(c, line+"\r\n"); err != nil {
				t.Fatal(err)
			}
		}
		if last, err = readReply(r); err != nil || last[0] != '2' && last[0] != '3' && !strings.HasSuffix(line, "\r\n.") {
			t.Fatalf("%.40q: %s, %v", line, last, err)
		}
	}
	return last
}

// TestLogin: with identity: xclient Postfix knows as whom a client has logged in here, and how it has called itself.
func TestLogin(t *testing.T) {
	t.Parallel()
	p := peertest.StartPostfix(t, peertest.MTAOptions{Domain: "example.org", XClient: true})
	dir := t.TempDir()
	cert, key := writeCertificate(t, dir, "mx.example.org")
	file := filepath.Join(dir, "users")
	if err := users.Add(file, users.New{Name: "ann@example.org", Password: "secret", Send: []string{"ann@example.org"}}); err != nil {
		t.Fatal(err)
	}
	g := startGateway(t, fmt.Sprintf(`
hostname: mx.example.org
listeners: {public: {address: 127.0.0.1:0, tls: {certificate: %q, key: %q}, relay: {users: %q}}}
routes: [{to: [example.org], upstream: postfix}]
upstreams: {postfix: {servers: [%q], identity: xclient}}
filters: []
state: {directory: "{{dir}}/state"}
dns: {servers: ["127.0.0.1:9"]}
`, cert, key, file, p.Addr))
	for range 2 {
		if err := submit(t, g.addr, "ann@example.org", "secret", "ann@example.org", "bob@example.org", "From: ann@example.org\r\nSubject: x\r\n\r\nx\r\n"); err != nil {
			t.Fatal(err)
		}
	}
	for _, m := range p.Messages(t, 2) {
		if !strings.Contains(string(m), "Received: from localhost (unknown [127.0.0.1])\r\n\tby backend.test (Postfix) with UTF8SMTPA id") {
			t.Errorf("Postfix writes:\n%s", m)
		}
	}
	var n int
	if !comesTrue(func() bool {
		n = strings.Count(p.Log(), "client=unknown[127.0.0.1], sasl_method=XCLIENT, sasl_username=ann@example.org\n")
		return n == 2
	}) {
		t.Errorf("%d of 2\n%s", n, p.Log())
	}
}
