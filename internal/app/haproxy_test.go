package app

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/postern-mail/postern/internal/peertest"
)

// TestBehindHAProxy has a real haproxy before the gateway, which is told by it who its clients are, whichever version of the
// header it sends; while health checks of all kinds go on.
func TestBehindHAProxy(t *testing.T) {
	cert, key := writeCertificate(t, t.TempDir(), "mx.example.org")
	smtp, smtps := peertest.FreeAddr(t), peertest.FreeAddr(t)
	g := startGateway(t, fmt.Sprintf(`
hostname: mx.example.org
listeners:
  smtp: {address: %q, proxy_protocol: [127.0.0.1], early_talkers: 300ms, limits: {per_client: 2}}
  smtps: {address: %q, proxy_protocol: [127.0.0.1], tls: {certificate: %q, key: %q, mode: implicit}}
routes: [{to: [example.org], upstream: local}]
upstreams: {local: {maildir: "{{dir}}/mail"}}
state: {directory: "{{dir}}/state"}
exempt_networks: []
filters: []
`, smtp, smtps, cert, key))
	_, port, _ := net.SplitHostPort(smtp)
	h := peertest.StartHAProxy(
		t,
		peertest.Forward{Name: "v1", Server: smtp, Options: "send-proxy"},
		peertest.Forward{Name: "v2", Server: smtp, Options: "send-proxy-v2"},
		peertest.Forward{Name: "v2more", Server: smtp, Options: "send-proxy-v2 proxy-v2-options crc32c,unique-id", More: []string{"unique-id-format %{+X}o%ci:%cp"}},
		peertest.Forward{Name: "tls", Server: smtps, Options: "send-proxy-v2 proxy-v2-options crc32c"},
		// Health checks: LOCAL headers, lines that name haproxy itself, and connections without a word.
		peertest.Forward{Name: "checklocal", Server: smtp, Options: "send-proxy-v2 check inter 50ms", More: []string{"option smtpchk EHLO balancer.example"}},
		peertest.Forward{Name: "checkline", Server: smtp, Options: "send-proxy check inter 50ms", More: []string{"option smtpchk"}},
		peertest.Forward{Name: "checkbare", Server: smtp, Options: "send-proxy-v2 check inter 50ms port " + port},
		peertest.Forward{Name: "wrong", Server: smtp, Options: ""},
	)
	for i, way := range []string{"v1", "v2", "v2more", "tls"} {
		client := fmt.Sprintf("127.0.0.%d", 70+i)
		c := dialVia(t, h.Addr(way), client)
		if way == "tls" {
			c = tls.Client(c, &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // our own certificate
		}
		text := talk(t, c, "EHLO x.example", "MAIL FROM:<a@client.test>", "RCPT TO:<u@example.org>", "DATA", "Subject: x\r\n\r\nx\r\n.", "QUIT")
		if !strings.Contains(text, "250 2.0.0 Ok: queued as ") {
			t.Errorf("%s: %s", way, text)
		}
		lines := g.log.lines(t, "delivery")
		if len(lines) != i+1 || lines[i]["client"] != client {
			t.Errorf("%s: client %s is logged as %v", way, client, lines)
		}
	}
	for _, check := range []string{"checklocal", "checkline", "checkbare"} {
		h.Healthy(t, check)
	}
	time.Sleep(200 * time.Millisecond) // some more checks
	if lines := g.log.lines(t, "connection refused"); len(lines) > 0 {
		t.Errorf("health checks are seen in the log: %v", lines)
	}
	// Who comes a way that sends no headers gets nowhere, since he would be taken for haproxy.
	c := dialVia(t, h.Addr("wrong"), "127.0.0.80")
	if _, err := io.WriteString(c, "EHLO x.example\r\n"); err != nil {
		t.Fatal(err)
	}
	if b, _ := io.ReadAll(c); len(b) > 0 {
		t.Errorf("without a header: %q", b)
	}
	if lines := g.log.lines(t, "connection refused"); len(lines) != 1 || lines[0]["because"] != "proxy_bad" {
		t.Errorf("without a header: %v", lines)
	}
	// Two connections each: the limit is the client's, not haproxy's.
	for i := range 3 {
		client := fmt.Sprintf("127.0.0.%d", 90+i)
		for j := range 3 {
			c := dialVia(t, h.Addr("v2"), client)
			line, err := bufio.NewReader(c).ReadString('\n')
			if want := []string{"220", "220", "421"}[j]; err != nil || !strings.HasPrefix(line, want) {
				t.Errorf("connection %d of %s: %q, %v; want %s", j+1, client, line, err, want)
			}
		}
	}
}

// dialVia connects from a loopback address.
func dialVia(t *testing.T, addr, from string) net.Conn {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	c, err := d.DialContext(t.Context(), "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(2 * time.Minute))
	return c
}

// talk says each line when the reply to the one before is there, and gives all that was answered.
func talk(t *testing.T, c net.Conn, lines ...string) string {
	t.Helper()
	var all strings.Builder
	r := bufio.NewReader(io.TeeReader(c, &all))
	for _, l := range lines {
		if _, err := readReply(r); err != nil {
			return all.String()
		}
		if _, err := io.WriteString(c, l+"\r\n"); err != nil {
			return all.String()
		}
	}
	_, _ = io.Copy(io.Discard, r)
	return all.String()
}
