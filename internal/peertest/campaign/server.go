package campaign

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/postern-mail/postern/internal/peertest"
)

// Fault is what a server does at a stage in place of what it should, with a probability.
type Fault struct {
	Stage  string // greeting, ehlo, mail, rcpt, data, body, dot
	Action string // a reply; "drop": it closes the connection; "lost", at dot: it takes the message first; "pause": it is slow
	P      float64
}

// Server is an SMTP server that notes in a Ledger what it takes.
type Server struct {
	Addr   string
	ledger *Ledger
	tb     testing.TB

	mu     sync.Mutex
	faults []Fault
	l      net.Listener
	conns  map[*serverConn]bool
	run    sync.WaitGroup
}

// NewServer starts a server that ends with the test. It keeps its address through Down and Up.
func NewServer(tb testing.TB, l *Ledger, faults ...Fault) *Server {
	s := &Server{Addr: peertest.FreeAddr(tb), ledger: l, tb: tb, faults: faults, conns: map[*serverConn]bool{}}
	s.Up()
	tb.Cleanup(func() { s.Down(false); s.run.Wait() })
	return s
}

// Heal takes all faults away.
func (s *Server) Heal() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = nil
}

// Up lets the server listen.
func (s *Server) Up() {
	var l net.Listener
	var err error
	for range 100 { // another process may have the port for a moment
		if l, err = net.Listen("tcp", s.Addr); err == nil {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	if err != nil {
		s.tb.Error(err)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.l = l
	s.run.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s.run.Go(func() { s.serve(c) })
		}
	})
}

// Down ends the server. At ease it says 421 to the next command of each connection, and no reply of its is lost; else all
// connections are cut.
func (s *Server) Down(ease bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.l == nil {
		return
	}
	_ = s.l.Close()
	s.l = nil
	for c := range s.conns {
		if ease {
			c.leave()
		} else {
			c.cut()
		}
	}
}

type serverConn struct {
	net.Conn
	s  *Server
	r  *bufio.Reader
	by string
	to []string

	mu      sync.Mutex
	waits   bool // for a command
	leaves  bool
	sure    bool // the client has the reply to its last final dot
	id      int  // of the last message
	last    []string
	counted bool
}

// leave closes the connection where it waits for a command, else lets it end by itself.
func (c *serverConn) leave() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.leaves = true
	if c.waits {
		_ = c.SetReadDeadline(time.Now())
	}
}

// cut closes the connection. A reply that may not have been read counts as lost.
func (c *serverConn) cut() {
	_ = c.Conn.(*net.TCPConn).SetLinger(0)
	_ = c.Close()
	c.doubt()
}

func (c *serverConn) doubt() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.last != nil && !c.sure && !c.counted {
		c.counted = true
		c.s.ledger.lost(c.id, c.last)
	}
}

// command reads a command.
func (c *serverConn) command() (string, error) {
	c.mu.Lock()
	c.waits = c.r.Buffered() == 0
	if c.leaves {
		_ = c.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	} else {
		_ = c.SetReadDeadline(time.Now().Add(time.Minute))
	}
	c.mu.Unlock()
	line, err := c.r.ReadString('\n')
	c.mu.Lock()
	defer c.mu.Unlock()
	c.waits = false
	if err == nil || errors.Is(err, io.EOF) {
		c.sure = true // whoever goes on has had the reply, and who ends in peace too
	}
	if c.leaves {
		_, _ = io.WriteString(c, "421 4.3.2 going\r\n")
		return "", io.EOF
	}
	return line, err
}

func (s *Server) serve(nc net.Conn) {
	c := &serverConn{Conn: nc, s: s, r: bufio.NewReaderSize(nc, 32<<10)}
	s.mu.Lock()
	open := s.l != nil
	s.conns[c] = open
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.conns, c)
		s.mu.Unlock()
		_ = c.Close()
	}()
	if !open || !c.say("greeting", "220 server.test ESMTP") {
		return
	}
	for {
		line, err := c.command()
		if err != nil {
			return
		}
		line = strings.TrimRight(line, "\r\n")
		verb, argument, _ := strings.Cut(line, " ")
		goesOn := true
		switch strings.ToUpper(verb) {
		case "EHLO":
			c.by = argument
			goesOn = c.say("ehlo", "250-server.test\r\n250-PIPELINING\r\n250 8BITMIME")
		case "MAIL":
			c.to = nil
			goesOn = c.say("mail", "250 2.1.0 ok")
		case "RCPT":
			goesOn = c.recipient(argument)
		case "DATA":
			goesOn = c.data()
		case "QUIT":
			_, _ = io.WriteString(c, "221 2.0.0 bye\r\n")
			return
		default:
			goesOn = c.reply("250 2.0.0 ok")
		}
		if !goesOn {
			return
		}
	}
}

func (c *serverConn) reply(text string) bool {
	_, err := io.WriteString(c, text+"\r\n")
	return err == nil && !strings.HasPrefix(text, "421")
}

// fault gives the fault of a stage, if there is one this time.
func (c *serverConn) fault(stage string) string {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	for _, f := range c.s.faults {
		if f.Stage == stage && rand.Float64() < f.P {
			return f.Action
		}
	}
	return ""
}

// say gives a reply, or what the stage has in its place. It reports whether the connection goes on.
func (c *serverConn) say(stage, text string) bool {
	switch action := c.fault(stage); action {
	case "":
		return c.reply(text)
	case "drop":
		return false
	case "pause":
		time.Sleep(200 * time.Millisecond)
		return c.reply(text)
	default:
		return c.reply(action)
	}
}

func (c *serverConn) recipient(argument string) bool {
	switch action := c.fault("rcpt"); action {
	case "drop":
		return false
	case "":
	default:
		return c.reply(action)
	}
	_, a, _ := strings.Cut(argument, "<")
	a, _, _ = strings.Cut(a, ">")
	c.to = append(c.to, a)
	return c.reply("250 2.1.5 ok")
}

// data takes a message.
func (c *serverConn) data() bool {
	if len(c.to) == 0 {
		return c.reply("503 5.5.1 no recipient")
	}
	switch action := c.fault("data"); action {
	case "drop":
		return false
	case "":
	default:
		return c.reply(action)
	}
	if !c.reply("354 go on") {
		return false
	}
	_ = c.SetReadDeadline(time.Now().Add(time.Minute))
	drop := c.fault("body") == "drop"
	var content []byte
	for {
		line, err := c.r.ReadSlice('\n')
		if err != nil {
			return false
		}
		if string(line) == ".\r\n" {
			break
		}
		if line[0] == '.' {
			line = line[1:]
		}
		content = append(content, line...)
		if drop && len(content) > 500 {
			return false
		}
	}
	return c.dot(content)
}

// dot answers a final dot.
func (c *serverConn) dot(content []byte) bool {
	to := c.to
	c.to = nil
	action := c.fault("dot")
	switch action {
	case "", "lost", "pause":
	case "drop":
		return false
	default:
		return c.reply(action)
	}
	if action == "pause" {
		time.Sleep(200 * time.Millisecond)
	}
	c.mu.Lock()
	c.id = c.s.ledger.stored(content, to, c.by)
	c.last, c.sure, c.counted = to, false, false
	c.mu.Unlock()
	if action == "lost" {
		c.doubt()
		return false
	}
	if _, err := fmt.Fprint(c, "250 2.0.0 stored\r\n"); err != nil {
		c.doubt()
		return false
	}
	return true
}
