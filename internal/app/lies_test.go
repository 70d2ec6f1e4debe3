package app

import (
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/postern-mail/postern/internal/peertest"
)

// lies are what programs say that are not what they should be, or no more.
var lies = map[string]func(net.Conn){
	"garbage": func(c net.Conn) { _, _ = io.WriteString(c, "220 mail.example ESMTP\r\n\x00\x00\x00\x01c") },
	"endless": func(c net.Conn) {
		go func() { _, _ = io.Copy(io.Discard, c) }()
		for b := []byte(strings.Repeat("x", 4096)); ; {
			if _, err := c.Write(b); err != nil {
				return
			}
		}
	},
	"drip": func(c net.Conn) {
		go func() { _, _ = io.Copy(io.Discard, c) }()
		for {
			if _, err := c.Write([]byte("1")); err != nil {
				return
			}
			time.Sleep(20 * time.Millisecond)
		}
	},
	"closes": func(c net.Conn) { _, _ = c.Read(make([]byte, 1)) },
}

// TestScannersLie has programs behind each of the filters that ask one which are none of their kind: no message is let through
// for what they say, the breaker opens, and still is when the configuration was read anew. With on_error: continue mail passes.
func TestScannersLie(t *testing.T) {
	for _, kind := range []string{"clamd", "rspamd", "http", "milter"} {
		for name, say := range lies {
			t.Run(kind+"/"+name, func(t *testing.T) {
				t.Parallel()
				options := fmt.Sprintf(`%s: {servers: [%q], faults: 2, pause: 1h, timeout: 1s`, kind, peertest.Serve(t, say))
				g := startGatewayWith(t, fmt.Sprintf(scannerGateway, options+"}"))
				content := fmt.Sprintf(plainText, "x", "x")
				g.wants(t, "first", content, "451")
				g.wants(t, "second", content, "451")
				if got := g.breaker(t, kind); got != "open" {
					t.Errorf("the breaker is %q", got)
				}
				g.wants(t, "breaker open", content, "451")
				text := strings.ReplaceAll(fmt.Sprintf(scannerGateway, options+", on_error: continue}"), "{{dir}}", g.dir)
				g.take(t, text)
				g.wants(t, "breaker open, and passed on", content, "250")
				if got := g.runs(t, kind, "breaker_open"); got != "2" {
					t.Errorf("breaker_open %s times: it was asked again after a reload", got)
				}
				if got := len(g.stored(t)); got != 1 {
					t.Errorf("%d messages went through", got)
				}
			})
		}
	}
}
