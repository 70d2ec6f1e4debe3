package edge

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// garbage is what the connections of a flood send.
var garbage = map[string]func(*rand.Rand) string{
	"nothing":  func(*rand.Rand) string { return "" },
	"octets":   func(r *rand.Rand) string { return noise(r, 1000) },
	"endless":  func(*rand.Rand) string { return strings.Repeat("x", 1<<20) },
	"lines":    func(*rand.Rand) string { return strings.Repeat("\r\n", 1000) },
	"NUL":      func(*rand.Rand) string { return strings.Repeat("\x00\n", 1000) },
	"web":      func(*rand.Rand) string { return "GET / HTTP/1.1\r\nHost: x\r\n\r\n" },
	"TLS":      func(r *rand.Rand) string { return "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + noise(r, 508) },
	"STARTTLS": func(r *rand.Rand) string { return "EHLO x\r\nSTARTTLS\r\n" + noise(r, 500) },
	"commands": func(*rand.Rand) string { return "EHLO x\r\n" + strings.Repeat("RCPT TO:<x@ours.example>\r\n", 1000) },
	"content": func(r *rand.Rand) string {
		return "EHLO x\r\nMAIL FROM:<a@s.example>\r\nRCPT TO:<b@ours.example>\r\nDATA\r\n" + noise(r, 5000)
	},
	"half": func(*rand.Rand) string { return "EHLO x\r\nMAIL FROM:<a@s.exa" },
	"a message": func(*rand.Rand) string {
		return "EHLO x\r\nMAIL FROM:<a@s.example>\r\nRCPT TO:<x@file.example>\r\nDATA\r\n.\r\nQUIT\r\n"
	},
}

func noise(r *rand.Rand, n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return string(b)
}

// TestFlood: while hundreds of connections a second bring garbage, from as many clients as there are addresses in a network, an honest
// client is served. It may be told to come again, as all may who come at such a time, and is served before long.
func TestFlood(t *testing.T) {
	for _, engine := range engines {
		t.Run(engine, func(t *testing.T) {
			d := newDoor(t, nil, func(d *door, cfg *ListenerConfig) {
				cfg.Engine, cfg.Limits.Connections, d.gw.ExemptNetworks = engine, 100, nil
			})
			var flooded atomic.Int64
			var all sync.WaitGroup
			end := make(chan struct{})
			for i := range 40 {
				all.Go(func() { flood(d.addr, i, end, &flooded) })
			}
			waitFor(t, func() bool { return flooded.Load() > 200 })
			for i := range 10 {
				begin := time.Now()
				for {
					err := bring(d.addr)
					if err == nil {
						break
					}
					if took := time.Since(begin); took > longWait || !errors.Is(err, errLater) {
						t.Fatalf("message %d, after %v: %v", i, took, err)
					}
					time.Sleep(20 * time.Millisecond)
				}
			}
			close(end)
			all.Wait()
			t.Logf("%d connections brought garbage", flooded.Load())
			got := 0
			for _, m := range d.relay.all() {
				if m.env.From.String() == "honest@sender.example" {
					got++
				}
			}
			if got != 10 || d.metrics.panics != 0 {
				t.Errorf("%d of 10 messages, %d panics", got, d.metrics.panics)
			}
		})
	}
}

// flood connects again and again, from an address of its own, and sends garbage.
func flood(addr string, who int, end <-chan struct{}, count *atomic.Int64) {
	r := rand.New(rand.NewPCG(uint64(who), 1))
	from := net.Dialer{Timeout: time.Second, LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 2, byte(1+who))}}
	for {
		for _, make := range garbage {
			select {
			case <-end:
				return
			default:
			}
			conn, err := from.Dial("tcp", addr)
			if err != nil {
				continue
			}
			_ = conn.SetDeadline(time.Now().Add(200 * time.Millisecond))
			_, _ = io.WriteString(conn, make(r))
			switch r.IntN(3) {
			case 0:
				_ = conn.(*net.TCPConn).SetLinger(0) // RST
			case 1:
				_, _ = io.Copy(io.Discard, conn)
			}
			_ = conn.Close()
			count.Add(1)
		}
	}
}

var errLater = errors.New("421")

// bring sends one message.
func bring(addr string) error {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(longWait))
	r := bufio.NewReader(conn)
	for _, step := range [][2]string{
		{"", "220"},
		{"EHLO honest.example\r\n", "250"},
		{"MAIL FROM:<honest@sender.example>\r\n", "250"},
		{"RCPT TO:<b@ours.example>\r\n", "250"},
		{"DATA\r\n", "354"},
		{"Subject: x\r\n\r\nx\r\n.\r\n", "250"},
		{"QUIT\r\n", "221"},
	} {
		if _, err := io.WriteString(conn, step[0]); err != nil {
			return err
		}
		for {
			line, err := r.ReadString('\n')
			switch {
			case strings.HasPrefix(line, "421"):
				return errLater
			case err != nil:
				return err
			case !strings.HasPrefix(line, step[1]):
				return fmt.Errorf("%q to %q", line, step[0])
			}
			if line[3] == ' ' {
				break
			}
		}
	}
	return nil
}
