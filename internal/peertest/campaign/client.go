package campaign

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"time"
)

// Client sends messages one after the other.
type Client struct {
	Ledger *Ledger
	Addr   string
	To     [][]string // who gets a message: one of these
	Size   func() int // octets of a message; nil: mostly some thousand, some of them 300 kB
	Retry  bool       // what was put off, or had no answer, is sent again until it is taken; else the next message follows
	Most   int        // messages in the ledger, of all its clients; 0: until the context ends
	Pause  time.Duration
}

// sizes of most mail, and of what is too large for memory.
func size() int {
	if rand.IntN(50) == 0 {
		return 300_000
	}
	return 600 + rand.IntN(12_000)
}

// Run sends until the context ends, or there have been enough.
func (c *Client) Run(ctx context.Context) {
	if c.Size == nil {
		c.Size = size
	}
	var conn *clientConn
	defer func() {
		if conn != nil {
			_ = conn.Close()
		}
	}()
	for ctx.Err() == nil && (c.Most == 0 || c.Ledger.numbers() < c.Most) {
		id := c.Ledger.number()
		to := c.To[rand.IntN(len(c.To))]
		content := stuff(Content(id, c.Size()))
		for ctx.Err() == nil {
			var taken bool
			conn, taken = c.send(ctx, conn, id, to, content)
			if taken || !c.Retry {
				break
			}
			pause(ctx, 20*time.Millisecond)
		}
		pause(ctx, c.Pause)
		if conn != nil && rand.IntN(20) == 0 {
			_ = conn.Close()
			conn = nil
		}
	}
}

func pause(ctx context.Context, d time.Duration) {
	if d == 0 {
		return
	}
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// send sends one message, and gives the connection if it can be used again, and whether that was the message's last word.
func (c *Client) send(ctx context.Context, conn *clientConn, id int, to []string, content []byte) (*clientConn, bool) {
	if conn == nil {
		var err error
		if conn, err = connect(c.Addr); err != nil {
			pause(ctx, 10*time.Millisecond)
			return nil, false
		}
	}
	reply, dotted, err := conn.transaction(to, content)
	switch {
	case err == nil:
		c.Ledger.answered(id, to, reply)
		if reply[0] == '4' && !strings.HasPrefix(reply, "421") {
			_, err = conn.say("RSET")
		}
	case dotted:
		c.Ledger.answered(id, to, "")
	}
	if err != nil || strings.HasPrefix(reply, "421") {
		_ = conn.Close()
		conn = nil
	}
	return conn, reply != "" && reply[0] != '4'
}

// stuff makes content ready for the wire (RFC 5321 4.5.2), with the final dot.
func stuff(content []byte) []byte {
	b := bytes.ReplaceAll(content, []byte("\n."), []byte("\n.."))
	return append(b, ".\r\n"...)
}

type clientConn struct {
	net.Conn
	r *bufio.Reader
}

func connect(addr string) (*clientConn, error) {
	nc, err := net.DialTimeout("tcp", addr, 10*time.Second)
	if err != nil {
		return nil, err
	}
	c := &clientConn{nc, bufio.NewReader(nc)}
	if err = c.positive(""); err == nil {
		err = c.positive("EHLO client.test")
	}
	if err != nil {
		_ = nc.Close()
		return nil, err
	}
	return c, nil
}

// positive says a line, "" for none, and wants a positive reply.
func (c *clientConn) positive(line string) error {
	reply, err := c.say(line)
	if err == nil && reply[0] > '3' {
		err = io.ErrUnexpectedEOF
	}
	return err
}

// say says a line, "" for none, and gives the reply's last line.
func (c *clientConn) say(line string) (string, error) {
	_ = c.SetDeadline(time.Now().Add(3 * time.Minute))
	if line != "" {
		if _, err := io.WriteString(c, line+"\r\n"); err != nil {
			return "", err
		}
	}
	for {
		reply, err := c.r.ReadString('\n')
		if err != nil {
			return "", err
		}
		if len(reply) > 3 && reply[3] != '-' {
			return reply, nil
		}
	}
}

// transaction sends one message, and gives the reply that ended it; dotted: the final dot may have been sent.
func (c *clientConn) transaction(to []string, content []byte) (reply string, dotted bool, err error) {
	if reply, err = c.say("MAIL FROM:<a@client.test>"); err != nil || reply[0] != '2' {
		return reply, false, err
	}
	for _, a := range to {
		if reply, err = c.say("RCPT TO:<" + a + ">"); err != nil || reply[0] != '2' {
			return reply, false, err
		}
	}
	if reply, err = c.say("DATA"); err != nil || reply[0] != '3' {
		return reply, false, err
	}
	if _, err = c.Write(content); err != nil {
		return "", true, err
	}
	reply, err = c.say("")
	return reply, true, err
}
