package upstream

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/postern-mail/postern/mail"
)

// conn is an SMTP connection with a server, in one transaction at a time. Each read and each write has a
// deadline of its own; the context of the Deliver that uses the connection bounds them all, by its
// deadline and by interrupt.
type conn struct {
	raw      net.Conn
	nc       net.Conn // raw, or TLS over it
	br       *bufio.Reader
	server   string
	hello    string // the name that we gave last
	timeouts *Timeouts
	ext      extensions
	tls      *tls.ConnectionState
	commands []byte // the batch that is being put together; kept for its memory

	born   time.Time
	idle   time.Time // since when; of those in the pool
	uses   int       // transactions begun
	broken bool      // of no more use: an error, a 421, or out of step
	spent  bool      // in step, but the server takes no more over it

	mu    sync.Mutex
	limit time.Time // the deadline of the context in use, zero for none
	cut   bool      // interrupted: no deadline may be moved any more
}

func newConn(nc net.Conn, server string, t *Timeouts) *conn {
	return &conn{
		raw: nc, nc: nc, br: bufio.NewReaderSize(nc, maxReplyLine), server: server, timeouts: t, born: time.Now(),
	}
}

// attach puts the connection under a context until the returned func is called.
func (c *conn) attach(ctx context.Context) (detach func()) {
	limit, _ := ctx.Deadline()
	c.mu.Lock()
	c.limit = limit
	c.mu.Unlock()
	stop := context.AfterFunc(ctx, c.interrupt)
	return func() {
		if !stop() {
			c.broken = true // interrupt has run, or is about to
		}
	}
}

// interrupt ends every read and write, those under way and those to come.
func (c *conn) interrupt() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cut = true
	_ = c.nc.SetDeadline(time.Unix(1, 0)) // fails only on a closed connection
}

// arm gives the reads and writes to come d from now.
func (c *conn) arm(d time.Duration) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cut {
		return nil // the deadline in the past stays
	}
	t := time.Now().Add(d)
	if !c.limit.IsZero() && c.limit.Before(t) {
		t = c.limit
	}
	return c.nc.SetDeadline(t)
}

// write puts out p within d. On an error the server can't have seen the whole of p.
func (c *conn) write(p []byte, d time.Duration) error {
	if err := c.arm(d); err != nil {
		c.broken = true
		return fmt.Errorf("upstream: write to %s: %w", c.server, err)
	}
	if _, err := c.nc.Write(p); err != nil {
		c.broken = true
		return fmt.Errorf("upstream: write to %s: %w", c.server, err)
	}
	return nil
}

// reply reads one reply within d. With a 421 the server says that it closes (RFC 5321 3.8).
func (c *conn) reply(d time.Duration) (mail.Reply, error) {
	err := c.arm(d)
	var r mail.Reply
	if err == nil {
		r, err = readReply(c.br)
	}
	if err != nil {
		c.broken = true
		return mail.Reply{}, fmt.Errorf("upstream: reply of %s: %w", c.server, err)
	}
	if r.Code == 421 {
		c.broken = true
	}
	return r, nil
}

// localAddr gives the address of our end, which the server knows us by unless it is translated on the way.
// It is the zero Addr where the connection has none.
func (c *conn) localAddr() netip.Addr {
	local, err := netip.ParseAddrPort(c.raw.LocalAddr().String())
	if err != nil {
		return netip.Addr{} // a pipe
	}
	return local.Addr().Unmap().WithZone("")
}

// ask sends one command and reads its reply. It notes the name that an EHLO or HELO gives.
func (c *conn) ask(command string) (mail.Reply, error) {
	if verb, name, _ := strings.Cut(command, " "); verb == "EHLO" || verb == "HELO" {
		c.hello = name
	}
	if err := c.write([]byte(command+"\r\n"), c.timeouts.Command); err != nil {
		return mail.Reply{}, err
	}
	return c.reply(c.timeouts.Command)
}

// reset ends a transaction that came to nothing, so that the connection can serve another.
func (c *conn) reset() {
	if c.broken {
		return
	}
	if r, err := c.ask("RSET"); err != nil || !r.Positive() {
		c.broken = true
	}
}

// glance is how long a connection without a socket of its own is listened to before it is used again.
const glance = time.Millisecond

// undisturbed reports whether a connection that was idle is still open, and nothing came that nobody asked
// for: a server that gives up says 421 or closes, and a reply too many would be taken for the answer to
// the next command, with which the honest mail of somebody else would be refused. It is not attached.
func (c *conn) undisturbed() bool {
	if c.br.Buffered() > 0 {
		return false
	}
	wait := glance
	if quiet, ok := peek(c.raw); ok {
		if !quiet || c.tls == nil {
			return quiet
		}
		// TLS may hold a record that it has read already. A passed deadline keeps it off the socket.
		wait = -time.Second
	}
	if err := c.nc.SetReadDeadline(time.Now().Add(wait)); err != nil {
		return false
	}
	_, err := c.br.Peek(1)
	var late net.Error
	return errors.As(err, &late) && late.Timeout()
}

// quit says good bye where that costs nothing, and closes. The reply is not awaited: nothing hangs on it.
func (c *conn) quit() {
	if c.broken {
		_ = c.raw.Close() // TLS would wait to say its own good bye
		return
	}
	_ = c.write([]byte("QUIT\r\n"), time.Second)
	_ = c.nc.Close()
}
