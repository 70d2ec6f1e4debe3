package app

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/postern-mail/postern/internal/peertest"
)

const spoolConfig = `hostname: mx.example.org
listeners: {public: {address: "127.0.0.1:0", early_talkers: 0s}}
routes:
  - {to: [example.org], upstream: up, spool: true}
  - {to: [other.example], upstream: other, spool: true}
upstreams: {up: {servers: [%q]}, other: {maildir: "{{dir}}/other"}}
state: {directory: "{{dir}}/state"}
dns: {servers: ["127.0.0.1:1"]}
filters: []
big_senders: []
metrics: {address: "127.0.0.1:0"}
`

// TestSpooled: mail that comes while the backend is down is there when it is back, also over a restart of the gateway, as it
// would have been without; the log tells its whole story.
func TestSpooled(t *testing.T) {
	t.Parallel()
	address := peertest.FreeAddr(t)
	g := startGatewayWith(t, fmt.Sprintf(spoolConfig, address))
	large := invoice + strings.Repeat("a line of the epilogue\r\n", 30_000)
	for i, content := range []string{invoice, large, invoice} {
		reply, err := sample{from: "alice@client.test", to: fmt.Sprintf("u%d@example.org", i), content: []byte(content)}.send(t.Context(), g.addr)
		if err != nil || !strings.HasPrefix(reply, "250 2.0.0 Ok: queued as ") {
			t.Fatalf("%q, %v", reply, err)
		}
	}
	g.restart(t)
	if n, _ := g.queue.Len(); !comesTrue(func() bool { n, _ = g.queue.Len(); return n == 3 }) {
		t.Fatalf("%d messages wait after a restart", n)
	}
	inbox := filepath.Join(g.dir, "inbox")
	sink(t, address, inbox)
	if !comesTrue(func() bool { n, _ := g.queue.Len(); return n == 0 }) {
		n, _ := g.queue.Len()
		t.Fatalf("%d messages wait although the backend is back", n)
	}
	all := files(t, inbox)
	if len(all) != 3 {
		t.Fatalf("%d messages arrived", len(all))
	}
	for _, m := range all {
		if !strings.HasPrefix(m, "Authentication-Results: ") && !strings.HasPrefix(m, "X-") && !strings.HasPrefix(m, "Received: ") ||
			!strings.HasSuffix(m, invoice) && !strings.HasSuffix(m, large) {
			t.Errorf("%.300s", m)
		}
	}
	lines := g.log.lines(t, "delivery")
	taken, out := 0, 0
	for _, l := range lines {
		switch {
		case l["stage"] == "eod" && l["code"] == 250.0 && (l["queued"] == "failed" || l["queued"] == "down"):
			taken++
		case l["stage"] == "queue" && l["code"] == 250.0 && strings.HasPrefix(l["upstream"].(string), "up "+address):
			out++
		}
	}
	if taken != 3 || out != 3 || len(lines) != 6 {
		t.Errorf("%d lines say taken, %d delivered, of %d", taken, out, len(lines))
	}
	if !comesTrue(func() bool {
		left, err := filepath.Glob(filepath.Join(g.dir, "state", "spool", "mx-*"))
		return err == nil && len(left) == 0
	}) {
		t.Error("files are left in the spool")
	}
}

// TestDrainBeginsNothing: while a client has its time to end, the spool takes mail, and gives none away that might be cut off.
func TestDrainBeginsNothing(t *testing.T) {
	t.Parallel()
	address := peertest.FreeAddr(t)
	g := startGatewayWith(t, fmt.Sprintf(spoolConfig, address))
	send := func(c net.Conn, r *bufio.Reader, lines ...string) (reply string) {
		t.Helper()
		for _, line := range lines {
			if _, err := io.WriteString(c, line+"\r\n"); err != nil {
				t.Fatal(err)
			}
			var err error
			if reply, err = readReply(r); err != nil {
				t.Fatal(err)
			}
		}
		return reply
	}
	if reply, err := (sample{from: "alice@client.test", to: "u1@example.org", content: []byte(invoice)}).send(t.Context(), g.addr); err != nil {
		t.Fatalf("%q, %v", reply, err)
	}
	c, err := net.Dial("tcp", g.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(time.Minute))
	r := bufio.NewReader(c)
	if _, err := readReply(r); err != nil {
		t.Fatal(err)
	}
	send(c, r, "EHLO client.test", "MAIL FROM:<a@client.test>", "RCPT TO:<u2@example.org>", "DATA")
	ended := make(chan error, 1)
	go func() { ended <- g.drain(nil) }()
	// It takes no new connection, and then the server comes back.
	if !comesTrue(func() bool {
		other, err := net.Dial("tcp", g.addr)
		if err == nil {
			_ = other.Close()
		}
		return err != nil
	}) {
		t.Fatal("it still takes connections")
	}
	sink(t, address, filepath.Join(g.dir, "inbox"))
	time.Sleep(4 * time.Second) // more than two tries would need
	if n, _ := g.queue.Len(); n != 1 {
		t.Errorf("%d messages wait while the gateway drains", n)
	}
	if reply := send(c, r, "Subject: x\r\n\r\nbody\r\n."); !strings.HasPrefix(reply, "250") {
		t.Error(reply)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// TestSpoolHasOneOwner: a second gateway on the same state directory does not start.
func TestSpoolHasOneOwner(t *testing.T) {
	t.Parallel()
	g := startGatewayWith(t, fmt.Sprintf(spoolConfig, peertest.FreeAddr(t)))
	cfg, err := g.app.load()
	if err != nil {
		t.Fatal(err)
	}
	second, err := g.app.start(t.Context(), cfg, slog.New(slog.DiscardHandler))
	if err == nil {
		second.close()
		t.Fatal("it started")
	}
	if e, ok := err.(*Exit); !ok || e.Code != ExitUnavailable { //nolint:errorlint // as the command looks at it
		t.Errorf("%v", err)
	}
}

// sink listens on an address as a server that puts what it takes into files.
func sink(t *testing.T, address, dir string) {
	t.Helper()
	dir = filepath.Join(dir, "new") // as a maildir has it
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	peertest.ServeOn(t, l, func(c net.Conn) {
		_ = c.SetDeadline(time.Now().Add(2 * time.Minute))
		takeInto(c, dir)
	})
}

// takeInto speaks the server's side of SMTP.
func takeInto(c net.Conn, dir string) {
	say := func(s string) { fmt.Fprintf(c, "%s\r\n", s) }
	var b bytes.Buffer
	buf := make([]byte, 64<<10)
	line := func() (string, bool) {
		for {
			if i := bytes.Index(b.Bytes(), []byte("\r\n")); i >= 0 {
				return string(b.Next(i + 2)), true
			}
			n, err := c.Read(buf)
			if b.Write(buf[:n]); err != nil {
				return "", false
			}
		}
	}
	say("220 sink ESMTP")
	for {
		l, ok := line()
		if !ok {
			return
		}
		switch strings.ToUpper(l[:min(4, len(l))]) {
		case "EHLO":
			say("250-sink\r\n250-PIPELINING\r\n250 8BITMIME")
		case "DATA":
			say("354 go on")
			var content strings.Builder
			for l, ok = line(); ok && l != ".\r\n"; l, ok = line() {
				content.WriteString(strings.TrimPrefix(l, "."))
			}
			if !ok {
				return
			}
			f, err := os.CreateTemp(dir, "m")
			if err != nil {
				say("451 disk")
				continue
			}
			_, _ = f.WriteString(content.String())
			_ = f.Close()
			say("250 stored")
		case "QUIT":
			say("221 bye")
			return
		default:
			say("250 ok")
		}
	}
}
