//go:build unix

package edge

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"
)

// benchTLS is a certificate of the kind that most sites have.
func benchTLS(b *testing.B) (func() *tls.Config, *tls.Config) {
	b.Helper()
	server := &tls.Config{
		Certificates: []tls.Certificate{*newAuthority(b, "authority").client(b, 1, time.Now().Add(time.Hour))},
		MinVersion:   tls.VersionTLS12,
	}
	return func() *tls.Config { return server }, &tls.Config{InsecureSkipVerify: true}
}

// benchTalk says lines and reads their replies.
func benchTalk(c net.Conn, r *bufio.Reader, lines ...string) error {
	for _, line := range lines {
		if line != "" {
			if _, err := io.WriteString(c, line+"\r\n"); err != nil {
				return err
			}
		}
		for {
			reply, err := r.ReadSlice('\n')
			if err != nil {
				return fmt.Errorf("%.10q: %w", line, err)
			}
			if reply[0] > '3' {
				return fmt.Errorf("%.10q: %s", line, reply)
			}
			if reply[3] == ' ' {
				break
			}
		}
	}
	return nil
}

// benchClients runs one client after another, as many at once as there are processors, and reports their rate.
func benchClients(b *testing.B, addr string, one func(net.Conn) error) {
	b.Helper()
	b.ReportAllocs()
	before := processorTime(b)
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			c, err := net.Dial("tcp", addr)
			if err == nil {
				err = errors.Join(one(c), c.Close())
			}
			if err != nil {
				b.Error(err)
				return
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "handshakes/s")
	// On a machine with other work this is the figure to compare.
	b.ReportMetric(float64((processorTime(b)-before).Microseconds())/float64(b.N), "cpu-µs/op")
}

// processorTime is what this process has used.
func processorTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkTLS compares handshakes through the door, client and server in one process, with what package tls alone can do:
// bare is a TCP connection and a handshake; starttls is greeting, EHLO, STARTTLS, handshake, EHLO and QUIT; message sends a
// message of 4 KB as well.
func BenchmarkTLS(b *testing.B) {
	handshake := func(c net.Conn, cfg *tls.Config) (*tls.Conn, error) {
		s := tls.Client(c, cfg)
		return s, s.Handshake()
	}
	b.Run("bare", func(b *testing.B) {
		server, client := benchTLS(b)
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			b.Fatal(err)
		}
		defer l.Close()
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				go func() {
					defer c.Close()
					s := tls.Server(c, server())
					if s.Handshake() == nil {
						_, _ = s.Read(make([]byte, 1)) // until the client goes
					}
				}()
			}
		}()
		benchClients(b, l.Addr().String(), func(c net.Conn) error {
			_, err := handshake(c, client)
			return err
		})
	})
	message := strings.Repeat("The quick brown fox jumps over the lazy dog.\r\n", 90)
	for _, c := range []struct {
		name     string
		implicit bool
		lines    []string
	}{
		{"implicit", true, []string{"EHLO client.test", "QUIT"}},
		{"starttls", false, []string{"EHLO client.test", "QUIT"}},
		{"message", false, []string{
			"EHLO client.test", "MAIL FROM:<a@client.test>", "RCPT TO:<u@ours.example>", "DATA", "Subject: x\r\n\r\n" + message + ".", "QUIT",
		}},
	} {
		b.Run(c.name, func(b *testing.B) {
			server, client := benchTLS(b)
			d := newDoor(b, nil, func(d *door, cfg *ListenerConfig) {
				cfg.Implicit, cfg.TLS = c.implicit, server
				d.gw.Log = slog.New(slog.DiscardHandler)
			})
			benchClients(b, d.addr, func(raw net.Conn) error {
				if !c.implicit {
					if err := benchTalk(raw, bufio.NewReaderSize(raw, 1024), "", "EHLO client.test", "STARTTLS"); err != nil {
						return err
					}
				}
				s, err := handshake(raw, client)
				if err != nil {
					return err
				}
				r := bufio.NewReaderSize(s, 1024)
				if c.implicit {
					if err := benchTalk(s, r, ""); err != nil {
						return err
					}
				}
				return benchTalk(s, r, c.lines...)
			})
		})
	}
}
