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

// conn is a connection with a server, by SMTP or LMTP, in one transaction at a time. Each reply and each write that does not get out
// at once has a deadline of its own; the context of the Deliver that uses the connection bounds them all, by its deadline
// and by interrupt.
type conn struct {
	raw      net.Conn
	nc       net.Conn      // raw, or TLS over it
	br       *bufio.Reader // over Read
	sock     *socket       // of raw; nil where it has none
	server   string
	hello    string // the name that we gave last
	doubted  bool   // it refused EHLO, and not since it does not know it: what it offers is not known
	lmtp     bool   // RFC 2033: there is a reply for each recipient after the final dot
	chunking int64  // RFC 3030: how many octets one BDAT announces, where it is offered; 0: there is none
	timeouts *Timeouts
	ext      extensions
	tls      *tls.ConnectionState
	proved   bool        // its certificate is good for the server's name
	trust    *tls.Config // by which it is
	tells    attributes  // of the client, said in each transaction
	told     string      // what has made another client the connection's, "" for nothing
	offered  attributes  // of XCLIENT, when nothing had yet
	proxied  bool        // the server was told the client's address

	transaction transaction    // the one under way; here for its memory, as what follows
	commands    []byte         // the batch that is being put together
	parts       [1][]byte      // that, as say takes it
	lastOctets  [2]byte        // of a message
	accepted    []mail.Address // by the server, in this transaction
	took        []Took         // the stages of this transaction

	addr    netip.Addr    // of the server's, which is given by its name
	dialed  time.Duration // how long the connection took to make
	greeted time.Duration // and the greeting to come

	owner   *server // is told where its server makes us wait; nil: nobody is
	hanging bool    // and was

	age    int // of the server when it was made; see there
	born   time.Time
	idle   time.Time // since when; of those in the pool
	uses   int       // transactions begun
	broken bool      // of no more use: an error, a 421, or out of step
	spent  bool      // in step, but the server takes no more over it

	now   time.Time // when something was written or read last: the clock is not read again for what costs no time
	due   time.Time // when the reply that is being read must have come
	armed bool      // and a deadline has been set for it
	soon  time.Time // the deadline of reads while it is one of an unwatched connection, else zero

	answer     []byte // what say has read; it comes before what Read reads
	answerErr  error  // and what comes after it
	answeredAt time.Time

	ctx   context.Context //nolint:containedctx // of the Deliver that uses the connection, nil for none
	limit time.Time       // its deadline, zero for none
	stop  func() bool     // ends the watch over it, nil while there is none

	mu        sync.Mutex
	cut       bool // interrupted: no deadline may be moved any more
	committed bool // the final dot is on its way: only the server can say what becomes of the message
}

func newConn(nc net.Conn, server string, t *Timeouts) *conn {
	now := time.Now()
	c := &conn{raw: nc, nc: nc, sock: socketOf(nc), server: server, timeouts: t, born: now, now: now}
	c.br = bufio.NewReaderSize(c, maxReplyLine)
	return c
}

// unwatched is how long a server may make us wait before the context is watched. That costs more than a command does, and
// most servers answer before.
const unwatched = 100 * time.Millisecond

// attach puts the connection under a context until detach. Its deadline holds as it is; its end otherwise is noticed where
// the server makes us wait, within unwatched.
func (c *conn) attach(ctx context.Context) {
	c.ctx = ctx
	c.limit, _ = ctx.Deadline()
	if ctx.Err() != nil {
		c.interrupt()
	}
}

// detach ends what attach began.
func (c *conn) detach() {
	if c.hanging {
		c.hanging = false
		c.owner.goesOn(c)
	}
	c.committed = false
	if c.stop != nil && !c.stop() || c.cut {
		c.broken = true // interrupt has run, or is about to
	}
	c.ctx, c.limit, c.stop = nil, time.Time{}, nil
}

// watch lets the end of the context interrupt the connection from now on.
func (c *conn) watch() {
	if c.ctx != nil && c.stop == nil {
		c.stop = context.AfterFunc(c.ctx, c.interrupt)
		if c.owner != nil {
			c.hanging = true
			c.owner.hangs(c)
		}
	}
}

// commit takes down that the final dot is about to be written.
func (c *conn) commit() {
	if c.owner == nil {
		return
	}
	c.mu.Lock()
	c.committed = true
	c.mu.Unlock()
}

// leave is interrupt for a server that was found down. It does nothing when the final dot is on its way.
func (c *conn) leave() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.committed {
		c.cut = true
		_ = c.nc.SetDeadline(time.Unix(1, 0)) // fails only on a closed connection
	}
}

// interrupt ends every read and write, those under way and those to come.
func (c *conn) interrupt() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cut = true
	_ = c.nc.SetDeadline(time.Unix(1, 0)) // fails only on a closed connection
}

// await sets the deadline of the reply that is to be read. As long as the context is not watched, that is no more than
// when to begin with it: one that was set for a reply before will do. It costs more than to read what is there.
func (c *conn) await() error {
	if c.ctx == nil || c.stop != nil {
		return c.arm(c.due)
	}
	until := c.due
	if !c.limit.IsZero() && c.limit.Before(until) {
		until = c.limit
	}
	if !c.soon.After(until) && c.soon.Sub(c.now) >= unwatched/2 {
		return nil
	}
	if first := c.now.Add(unwatched); first.Before(until) {
		until = first
	}
	if err := c.arm(until); err != nil {
		return err
	}
	c.soon = until
	return nil
}

// arm lets the reads and writes to come take until t, of an unwatched connection the reads only.
func (c *conn) arm(t time.Time) error {
	c.soon = time.Time{}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cut {
		return nil // the deadline in the past stays
	}
	if !c.limit.IsZero() && c.limit.Before(t) {
		t = c.limit
	}
	if c.ctx != nil && c.stop == nil {
		return c.nc.SetReadDeadline(t)
	}
	return c.nc.SetDeadline(t)
}

// write puts out p within d. On an error the server can't have seen the whole of p.
func (c *conn) write(p []byte, d time.Duration) (err error) {
	n := 0
	if c.sock != nil && c.sock.bare && c.tls == nil {
		n = c.sock.write(p)
	}
	if n < len(p) {
		c.watch()
		if err = c.arm(time.Now().Add(d)); err == nil {
			_, err = c.nc.Write(p[n:])
		}
	}
	return c.wrote(err)
}

// say is write for what is to be answered within wait, and of octets that may lie apart; it changes parts. Where it can, it
// waits for the answer as well, which saves looking for it before it can be there. It gives what it has not written.
func (c *conn) say(parts [][]byte, wait time.Duration) (rest [][]byte, err error) {
	if c.ctx == nil || c.stop != nil || c.unread() {
		rest = c.sock.writeParts(parts)
		c.now = time.Now()
		return rest, nil
	}
	c.due = c.now.Add(wait)
	if err := c.await(); err != nil {
		return nil, c.wrote(err)
	}
	rest, sentAt, answer, err := c.sock.swap(parts)
	if len(rest) > 0 {
		return rest, nil
	}
	c.now = sentAt
	c.answer, c.answerErr = answer, err
	if len(answer) == 0 && err == nil {
		c.watch()
	} else {
		c.answeredAt = time.Now()
	}
	return nil, nil
}

// command is write for commands that are to be answered.
func (c *conn) command(p []byte) error {
	if c.gathers() {
		c.parts[0] = p
		rest, err := c.say(c.parts[:], c.timeouts.Command)
		if len(rest) == 0 || err != nil {
			return err
		}
		p = rest[0]
	}
	return c.write(p, c.timeouts.Command)
}

// wrote takes note of a write.
func (c *conn) wrote(err error) error {
	c.now = time.Now()
	if err != nil {
		c.broken = true
		return fmt.Errorf("upstream: write to %s: %w", c.server, err)
	}
	return nil
}

// Read is what replies are read from. It sets the deadline of the reply when there is something to wait for.
func (c *conn) Read(p []byte) (int, error) {
	if len(c.answer) > 0 || c.answerErr != nil {
		return c.answered(p)
	}
	if !c.armed {
		c.armed = true
		if err := c.await(); err != nil {
			return 0, err
		}
	}
	n, err := c.nc.Read(p)
	if n == 0 && late(err) && c.ctx != nil && c.stop == nil {
		c.watch()
		if err = c.arm(c.due); err == nil {
			n, err = c.nc.Read(p)
		}
	}
	c.now = time.Now()
	return n, err
}

// answered is Read of what say has read.
func (c *conn) answered(p []byte) (n int, err error) {
	c.now = c.answeredAt
	if len(c.answer) > 0 {
		n = copy(p, c.answer)
		c.answer = c.answer[n:]
		return n, nil
	}
	err, c.answerErr = c.answerErr, nil
	return 0, err
}

// unread reports whether something came that has not been read as a reply.
func (c *conn) unread() bool { return c.br.Buffered() > 0 || len(c.answer) > 0 || c.answerErr != nil }

// late reports whether err says that a deadline has passed.
func late(err error) bool {
	var e net.Error
	return err != nil && errors.As(err, &e) && e.Timeout()
}

// reply reads one reply within d. With a 421 the server says that it closes (RFC 5321 3.8).
func (c *conn) reply(d time.Duration) (mail.Reply, error) { return c.expect(0, d) }

// expect is reply, without the text of a reply that is hoped for: one line with this code.
func (c *conn) expect(hoped int, d time.Duration) (mail.Reply, error) {
	c.due, c.armed = c.now.Add(d), false
	r, err := readReply(c.br, hoped)
	if err != nil {
		c.broken = true
		return mail.Reply{}, fmt.Errorf("upstream: reply of %s: %w", c.server, err)
	}
	if r.Code == 421 {
		c.broken = true
	}
	return r, nil
}

// mark notes how long a stage took that began at start.
func (c *conn) mark(s Stage, start time.Time) { c.took = append(c.took, Took{s, c.now.Sub(start)}) }

// localAddr gives the address of our end, which the server knows us by unless it is translated on the way.
// It is the zero Addr where the connection has none.
func (c *conn) localAddr() netip.Addr {
	local, err := netip.ParseAddrPort(c.raw.LocalAddr().String())
	if err != nil {
		return netip.Addr{} // a pipe
	}
	return local.Addr().Unmap().WithZone("")
}

// ask sends one command and reads its reply. It notes the name that an EHLO, HELO or LHLO gives.
func (c *conn) ask(command string) (mail.Reply, error) {
	if verb, name, _ := strings.Cut(command, " "); verb == "EHLO" || verb == "HELO" || verb == "LHLO" {
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
	if c.unread() {
		return false
	}
	wait := glance
	if c.sock != nil {
		if quiet := c.sock.peek(); !quiet || c.tls == nil {
			return quiet
		}
		// TLS may hold a record that it has read already. A passed deadline keeps it off the socket.
		wait = -time.Second
	}
	if err := c.nc.SetReadDeadline(time.Now().Add(wait)); err != nil {
		return false
	}
	c.armed, c.soon = true, time.Time{}
	_, err := c.br.Peek(1)
	return late(err)
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
