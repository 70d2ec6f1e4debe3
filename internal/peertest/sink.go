package peertest

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// Sink is an SMTP server that keeps what it is sent as it came, and is strict: lines end with CRLF, and nothing
// but CRLF.CRLF ends content.
type Sink struct {
	Addr string
	// Refuse gives the reply to an RCPT; "" takes the recipient. It is set before the first message comes.
	Refuse func(from, to string) string

	mu    sync.Mutex
	taken []Taken
	conns map[net.Conn]bool
}

// Taken is a message that a Sink has acknowledged.
type Taken struct {
	From    string // without angle brackets
	To      []string
	Options string // what stood behind the path of MAIL
	Wishes  string // what stood behind the paths of RCPT
	Content string // without the dots of the dialog
	Time    time.Time
}

// StartSink starts a Sink that ends with the test.
func StartSink(t testing.TB) *Sink {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	s := &Sink{Addr: l.Addr().String(), conns: map[net.Conn]bool{}}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s.mu.Lock()
			s.conns[c] = true
			s.mu.Unlock()
			running.Go(func() {
				defer c.Close()
				if err := s.serve(c); err != nil {
					t.Errorf("sink: %v", err)
				}
				s.mu.Lock()
				delete(s.conns, c)
				s.mu.Unlock()
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		s.mu.Lock()
		for c := range s.conns {
			_ = c.Close()
		}
		s.mu.Unlock()
		running.Wait()
	})
	return s
}

// Taken gives what was acknowledged so far.
func (s *Sink) Taken() []Taken {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Taken(nil), s.taken...)
}

// serve is one connection. Its error is a fault of the client's; that the connection is lost is none.
func (s *Sink) serve(c net.Conn) error {
	r := bufio.NewReaderSize(c, 64<<10)
	say := func(reply string) { _, _ = fmt.Fprintf(c, "%s\r\n", reply) }
	say("220 sink.test ESMTP")
	var m Taken
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return nil
		}
		if !strings.HasSuffix(line, "\r\n") {
			return fmt.Errorf("a command that does not end with CRLF: %q", line)
		}
		line = strings.TrimSuffix(line, "\r\n")
		path, rest := pathOf(line)
		switch verb := strings.ToUpper(line[:min(4, len(line))]); verb {
		case "EHLO":
			say("250-sink.test\r\n250-PIPELINING\r\n250-SIZE 104857600\r\n250-DSN\r\n250-8BITMIME\r\n250 SMTPUTF8")
		case "MAIL":
			m = Taken{From: path, Options: rest}
			say("250 2.1.0 Ok")
		case "RCPT":
			reply := ""
			if s.Refuse != nil {
				reply = s.Refuse(m.From, path)
			}
			if reply == "" {
				m.To = append(m.To, path)
				m.Wishes += " " + rest
				reply = "250 2.1.5 Ok"
			}
			say(reply)
		case "DATA":
			if len(m.To) == 0 {
				say("503 5.5.1 no recipients")
				continue
			}
			say("354 go ahead")
			if m.Content, err = content(r); err != nil {
				return nil
			}
			m.Time = time.Now()
			s.mu.Lock()
			s.taken = append(s.taken, m)
			s.mu.Unlock()
			m = Taken{}
			say("250 2.0.0 Ok")
		case "RSET":
			m = Taken{}
			say("250 2.0.0 Ok")
		case "QUIT":
			say("221 2.0.0 Bye")
			return nil
		default:
			return fmt.Errorf("a command that it does not know: %q", line)
		}
	}
}

// pathOf gives the path of a command and what stands behind it.
func pathOf(line string) (path, rest string) {
	_, s, _ := strings.Cut(line, "<")
	i := strings.LastIndex(s, ">")
	if i < 0 {
		return "", ""
	}
	return s[:i], strings.TrimSpace(s[i+1:])
}

// content reads up to CRLF.CRLF and takes the dots away.
func content(r *bufio.Reader) (string, error) {
	end := []byte("\r\n.\r\n")
	all := []byte("\r\n")
	for !bytes.HasSuffix(all, end) {
		b, err := r.ReadSlice('\n')
		all = append(all, b...)
		if err != nil && err != bufio.ErrBufferFull { //nolint:errorlint // ReadSlice gives it as it is
			return "", err
		}
	}
	return strings.ReplaceAll(string(all[:len(all)-len(end)+2]), "\r\n.", "\r\n")[2:], nil
}
