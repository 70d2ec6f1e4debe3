package app

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/postern-mail/postern/internal/edge"
	"github.com/postern-mail/postern/internal/peertest"
)

// TestStrangers lets each client come as one that nobody knows: it has to wait before the greeting, which has two lines. None
// of them speaks too early.
func TestStrangers(t *testing.T) {
	t.Parallel()
	for _, engine := range edge.Engines() {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			strangers(t, engine)
		})
	}
}

func strangers(t *testing.T, engine string) {
	sink := peertest.StartSink(t)
	g := startGateway(t, fmt.Sprintf(`
hostname: mx.example.org
exempt_networks: []
listeners: {public: {address: "127.0.0.1:0", engine: %s, proxy_protocol: [127.0.0.0/8], early_talkers: 400ms}}
routes: [{to: [stranger.test], upstream: sink}]
upstreams: {sink: {servers: [%q], tls: none}}
state: {directory: "{{dir}}/state"}
dns: {servers: ["127.0.0.1:9"]}
filters: [{pregreet: {action: reject}}]
`, engine, sink.Addr))
	w := way{name: "stranger", tls: "none"}
	e := errand{name: "first", to: []string{"bob"}, body: "\r\nhello\r\n"}
	var sent atomic.Int64 // by those that can run here
	t.Run("all", func(t *testing.T) {
		n := 0
		from := func() string { n++; return inFront(t, g.addr, fmt.Sprintf("198.51.100.%d", n)) }
		for _, c := range peertest.Clients() {
			addr, sender := from(), strings.ReplaceAll(c.Name, " ", "-")
			t.Run(c.Name, func(t *testing.T) {
				t.Parallel()
				answers := c.Send(t, peertest.Session{Addr: addr, TLS: "none", Submission: []peertest.Submission{
					{From: e.from(sender), To: e.recipients(w), Content: e.content(sender, w)},
				}})
				if !answers[0].Sent {
					t.Error(answers[0].Said)
				}
				sent.Add(1)
			})
		}
		for _, m := range mtas {
			addr := from()
			t.Run(m.name, func(t *testing.T) {
				t.Parallel()
				mta := m.start(t, peertest.MTAOptions{Domain: "client.test", Paths: []peertest.Path{{Domain: w.domain(), Addr: addr, TLS: "none"}}})
				hand(t, mta.Addr, e, m.name, w)
				mta.Settle(t, 5*time.Minute)
				if bounces := mta.Stored(t); len(bounces) > 0 {
					t.Errorf("given back:\n%s", bounces[0])
				}
				sent.Add(1)
			})
		}
	})
	if n := len(sink.Taken()); n != int(sent.Load()) {
		t.Errorf("%d messages arrived, %d were sent", n, sent.Load())
	}
	if strings.Contains(g.log.String(), "EARLY_TALKER") {
		t.Error("somebody spoke early")
	}
	// One that does is found out, or the test would show nothing.
	if reply := speakEarly(t, g.addr); !strings.HasPrefix(reply, "550 5.5.1") {
		t.Errorf("one who spoke early was told %q", reply)
	}
}

// speakEarly says EHLO before the greeting, and gives the reply to its RCPT.
func speakEarly(t *testing.T, addr string) (reply string) {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(time.Minute))
	fmt.Fprint(c, "PROXY TCP4 198.51.100.99 127.0.0.1 40000 25\r\nEHLO early.test\r\n")
	r := bufio.NewReader(c)
	for _, line := range []string{"", "MAIL FROM:<a@early.test>\r\n", "RCPT TO:<bob@stranger.test>\r\n", ""} {
		if reply, err = readReply(r); err == nil {
			_, err = io.WriteString(c, line)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return reply
}

// inFront is a proxy that tells the gateway of a client's address.
func inFront(t *testing.T, addr, client string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	t.Cleanup(func() { _ = l.Close(); running.Wait() })
	running.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			running.Go(func() {
				defer c.Close()
				up, err := net.Dial("tcp", addr)
				if err != nil {
					return
				}
				defer up.Close()
				fmt.Fprintf(up, "PROXY TCP4 %s 127.0.0.1 40000 25\r\n", client)
				go func() {
					_, _ = io.Copy(up, c)
					_ = up.(*net.TCPConn).CloseWrite()
				}()
				_, _ = io.Copy(c, up)
			})
		}
	})
	return l.Addr().String()
}
