package app

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/postern-mail/postern/internal/peertest"
)

// TestReloadOfListeners opens, changes and closes doors while the gateway runs.
func TestReloadOfListeners(t *testing.T) {
	const head = `
hostname: mx.example.org
routes: [{to: [example.org], upstream: local}]
upstreams: {local: {maildir: "{{dir}}/mail"}}
state: {directory: "{{dir}}/state"}
filters: []
`
	first, second := peertest.FreeAddr(t), peertest.FreeAddr(t)
	g := startGateway(t, head+fmt.Sprintf("listeners: {a: {address: %q}}\n", first))
	reload := func(listeners string) {
		t.Helper()
		text := strings.ReplaceAll(head, "{{dir}}", g.dir) + listeners
		if err := os.WriteFile(g.app.o.Config, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		g.reload(t.Context())
		if n := len(g.log.lines(t, "configuration not taken: the old one is in force")); n > 0 {
			t.Fatalf("the configuration was not taken")
		}
	}
	try := func(addr string, size int) string {
		t.Helper()
		content := []byte("Subject: x\r\n\r\n" + strings.Repeat("0123456789\r\n", size/12) + "x\r\n")
		reply, err := sample{from: "a@client.test", to: "u@example.org", content: content}.send(context.Background(), addr)
		if err != nil {
			return err.Error()
		}
		return reply[:3]
	}
	if got := try(first, 5000); got != "250" {
		t.Fatalf("at first: %s", got)
	}
	reload(fmt.Sprintf("listeners: {a: {address: %q, limits: {message: 1000}}, b: {address: %q}}\n", first, second))
	if small, large, other := try(first, 100), try(first, 5000), try(second, 5000); small != "250" || large != "552" || other != "250" {
		t.Errorf("after a limit and a listener: %s, %s, %s", small, large, other)
	}
	reload(fmt.Sprintf("listeners: {b: {address: %q}}\n", second))
	if got := try(second, 5000); got != "250" {
		t.Errorf("the listener that stays: %s", got)
	}
	if c, err := net.Dial("tcp", first); err == nil {
		c.Close()
		if got := try(first, 100); got == "250" {
			t.Error("the listener that went still takes mail")
		}
	}
}

// TestRemovedListenerDoesNotHoldUpTheEnd closes a gateway while a listener that a reload has removed still waits for a
// client that has begun a transaction and says no more.
func TestRemovedListenerDoesNotHoldUpTheEnd(t *testing.T) {
	const head = `
hostname: mx.example.org
routes: [{to: [example.org], upstream: local}]
upstreams: {local: {maildir: "{{dir}}/mail"}}
state: {directory: "{{dir}}/state"}
filters: []
`
	first, second := peertest.FreeAddr(t), peertest.FreeAddr(t)
	g := startGateway(t, head+fmt.Sprintf("listeners: {a: {address: %q}, b: {address: %q}}\n", first, second))
	c, err := net.Dial("tcp", first)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	r := bufio.NewReader(c)
	for _, line := range []string{"", "EHLO client.test\r\n", "MAIL FROM:<a@client.test>\r\n"} {
		if _, err := c.Write([]byte(line)); err != nil {
			t.Fatal(err)
		}
		if _, err := readReply(r); err != nil {
			t.Fatal(err)
		}
	}
	text := strings.ReplaceAll(head, "{{dir}}", g.dir) + fmt.Sprintf("listeners: {b: {address: %q}}\n", second)
	if err := os.WriteFile(g.app.o.Config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	g.reload(t.Context())
	if len(g.leaving) != 1 {
		t.Fatalf("%d listeners are leaving", len(g.leaving))
	}
	ended := make(chan struct{})
	go func() { g.close(); close(ended) }()
	select {
	case <-ended:
	case <-time.After(g.cfg.Load().Drain / 2):
		t.Error("the gateway waits for a listener that is gone")
	}
}
