package edge

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"runtime/debug"
	"sync"
	"time"

	"github.com/postern-mail/postern/internal/users"
)

// errEnded is what the engine reads when we have done with the client. It wraps net.ErrClosed, on which
// the engine leaves without a word; io.EOF it would take for the end of a command line.
var errEnded = fmt.Errorf("edge: connection ended: %w", net.ErrClosed)

// replyBuffer is how many octets of replies may wait for the next read; more are sent at once.
const replyBuffer = 32 << 10

// wire is one connection from accept to close. It is the only one that touches the socket.
//
// Replies are collected, and sent when the next read would have to wait: a batch of pipelined commands is
// answered in one write (RFC 2920 3.2). Deadlines are set before each read and write of the socket, and
// nowhere else: one idle period for a whole command line, so that nobody lives by one octet a minute, and
// for content an idle period between reads within a total.
//
// All fields but those below mu belong to the goroutine that runs the dialog.
type wire struct {
	cfg     *ListenerConfig
	server  *Server
	gateway func() *Gateway
	ctx     context.Context // ends when the server is closed; here, since the engine hands none to sessions
	raw     net.Conn        // the socket
	conn    net.Conn        // raw, or TLS on it
	client  netip.AddrPort
	local   netip.AddrPort
	guest
	began   time.Time
	opened  bool // it counts in the metrics
	tls     *tls.ConnectionState
	tlsMode string

	input
	out  []byte      // replies not sent; whole lines up to out[seen]
	room *replyBlock // where out begins
	seen int

	verb      string      // the command that the next reply answers
	last      string      // the last command, answered or not
	path      string      // of the last MAIL or RCPT
	params    string      // what stood behind that path
	most      int64       // octets that the message may have, as the last MAIL was judged; 0 where the engine is go-smtp
	hellos    int         // EHLO and HELO commands seen
	esmtp     bool        // the last one was EHLO
	helo      string      // its argument
	met       met         // by the filters of EHLO
	refused   bool        // the session's answer to it is a 5yz, whatever soft_bounce made of that
	user      *users.User // who has logged in; nil: nobody
	failures  int         // failed logins
	sasl      bool        // the next line is a response to a challenge of AUTH, and no command
	errors    int         // 5yz replies, those that soft_bounce changed among them
	upgrade   bool        // TLS has begun: the engine starts anew
	ended     error       // nothing more is read
	hungUp    bool        // we ended it
	broken    bool        // by a panic
	id        string      // of the transaction, without one of the session: for the log
	moved     bool        // mail has moved on since movedAt, see lingers
	movedAt   time.Time
	lineEnds  time.Time
	writeEnds time.Time // of writes that began lately
	helloEnds time.Time
	hello     bool     // TLS is to begin
	body      bool     // content is being read; what is left of it must not be read as commands
	arrival   *arrival // content that the dialog has read, for the session to take
	untold    func()   // the last reply was that a message is taken, and came late; see again.go
	nap
	tarpit
	pace pace

	mu       sync.Mutex
	readEnds time.Time // the socket's deadline, zero where it has passed
	busy     bool      // a transaction is open
	draining bool
	killed   bool
}

func newWire(cfg *ListenerConfig, gateway func() *Gateway, ctx context.Context, raw net.Conn) *wire {
	w := &wire{
		cfg: cfg, gateway: gateway, ctx: ctx, raw: raw, conn: raw,
		client: addrPort(raw.RemoteAddr()), local: addrPort(raw.LocalAddr()),
		began: time.Now(), tlsMode: TLSNone,
	}
	w.attach(raw)
	return w
}

// addrPort gives an address of a peer, unmapped: an IPv6 socket shows IPv4 clients as ::ffff:a.b.c.d.
func addrPort(a net.Addr) netip.AddrPort {
	t, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	ap := t.AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap().WithZone(""), ap.Port())
}

// hangUp ends the connection after the replies that are on their way.
func (w *wire) hangUp() {
	w.hungUp = true
	w.end(errEnded)
}

// end lets every further read fail; the first cause stays.
func (w *wire) end(err error) error {
	if w.ended == nil {
		w.ended = err
	}
	return w.ended
}

// crashed takes note of a panic of ours, in the goroutine that has it, and ends the connection. A client whose command has no answer yet hears
// that it is our fault (RFC 5321 3.8).
func (w *wire) crashed(v any) {
	gw := w.gateway()
	quietly(func() {
		gw.Log.Error("connection panicked", KeyID, w.id, KeyClient, w.client.Addr().String(), gw.fault(v), KeyStack, string(debug.Stack()))
	})
	quietly(func() { gw.metrics().Panic() })
	w.broken = true
	if w.ended != nil {
		return
	}
	w.out = w.out[:w.seen] // the rest is not whole
	w.put([]byte(replyPanicEnd.String() + "\r\n"))
	w.seen = len(w.out)
	w.hangUp()
}

// fill waits for input, at least one octet. The replies collected so far are sent first.
func (w *wire) fill(deadline time.Time) error {
	if w.ended != nil {
		return w.ended
	}
	if err := w.flush(); err != nil {
		w.lostBy(errEnded)
		return w.end(fmt.Errorf("%w: write: %v", errEnded, err)) // no time-out of reading, which would be answered
	}
	if err := w.wait(deadline); err != nil {
		if errors.Is(err, errDoze) {
			return err
		}
		w.lostBy(err)
		return w.end(err)
	}
	return nil
}

// setReadDeadline sets the socket's deadline, or one in the past when the server drains and no
// transaction is open. The lock makes it one step with drain, which may come at any time.
//
// A deadline that is as good, later by half a second at most, stays: to move a timer for each read
// costs more than the rest of the bookkeeping.
func (w *wire) setReadDeadline(t time.Time) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.draining && !w.busy {
		w.readEnds = time.Time{}
		return w.raw.SetReadDeadline(time.Unix(1, 0))
	}
	slack := min(w.cfg.Limits.Idle/64, 250*time.Millisecond)
	if !w.readEnds.Before(t) && w.readEnds.Sub(t) <= 2*slack {
		return nil
	}
	w.readEnds = t.Add(slack)
	return w.raw.SetReadDeadline(w.readEnds)
}

// flush sends the collected replies.
func (w *wire) flush() error {
	if len(w.out) == 0 {
		return nil
	}
	if err := w.setWriteDeadline(time.Now()); err != nil {
		return err
	}
	_, err := w.conn.Write(w.out)
	w.out, w.seen = nil, 0
	replyBlocks.Put(w.room)
	w.room = nil
	return err
}

// setWriteDeadline gives the writes to come writeTimeout, or a little more.
func (w *wire) setWriteDeadline(now time.Time) error {
	if w.writeEnds.Sub(now) >= writeTimeout {
		return nil
	}
	w.writeEnds = now.Add(writeTimeout + writeTimeout/64)
	return w.raw.SetWriteDeadline(w.writeEnds)
}

// replyBlock is memory for the replies of one turn. Nobody holds one while waiting.
type replyBlock [1 << 10]byte

var replyBlocks = sync.Pool{New: func() any { return new(replyBlock) }}

// put collects octets of replies.
func (w *wire) put(s []byte) {
	if w.room == nil {
		w.room = replyBlocks.Get().(*replyBlock)
		w.out = w.room[:0]
	}
	w.out = append(w.out, s...)
}

// readLine gives the next command line with its line end; it is valid until the next read. A line that
// never ended is never given: what a time-out or a lost connection cut off is no command.
func (w *wire) readLine() ([]byte, error) {
	for {
		if w.ended != nil {
			return nil, w.ended
		}
		if line := w.line(); line != nil {
			w.lineEnds, w.untold = time.Time{}, nil
			return line, nil
		}
		if w.lineEnds.IsZero() {
			w.lineEnds = earlier(time.Now().Add(w.idle()), w.began.Add(sessionLife+w.cfg.Limits.Idle))
		}
		if w.buffered() >= maxLine {
			w.say(w.tooLong())
			w.hangUp()
			return nil, w.ended
		}
		if err := w.fill(w.lineEnds); err != nil {
			w.sayGoodbye(err)
			return nil, err
		}
	}
}

// tooLong answers a line that is.
func (w *wire) tooLong() string {
	if w.sasl { // RFC 4954 6
		return "500 5.5.6 Authentication exchange line too long"
	}
	return "500 5.5.2 Line too long"
}

// sayGoodbye answers a time-out between commands.
func (w *wire) sayGoodbye(err error) {
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		return
	}
	w.hungUp = true
	if w.isDraining() {
		w.say("421 4.3.2 Service shutting down") // RFC 5321 3.8: the server may say so at any time
		return
	}
	w.say("421 4.4.2 Idle for too long")
}

// say puts one reply line of our own on its way.
func (w *wire) say(line string) {
	start := len(w.out)
	w.put([]byte(line))
	w.put(crlf)
	w.seen = len(w.out)
	w.settle(w.out[start:])
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// offerTLS answers STARTTLS (RFC 3207 4). It reports whether the handshake is to follow.
func (w *wire) offerTLS(arg string) bool {
	switch {
	case arg != "":
		w.say("501 5.5.4 STARTTLS takes no parameters")
		return false
	case w.tls != nil:
		w.say("503 5.5.1 TLS is active already")
		return false
	case w.cfg.TLS == nil:
		w.say("502 5.5.1 STARTTLS is not offered")
		return false
	}
	w.discard() // what came in clear behind the command may be anybody's
	w.say("220 2.0.0 Ready to start TLS")
	if err := w.flush(); err != nil {
		_ = w.end(err)
		return false
	}
	w.expectHello()
	return true
}

// expectHello lets the next thing to wait for be what TLS begins with.
func (w *wire) expectHello() { w.hello, w.helloEnds = true, time.Now().Add(tlsTimeout) }

// secure makes the TLS handshake. err is what waiting for its beginning came to; what TLS needs of memory is not there
// before.
func (w *wire) secure(err error) error {
	w.hello = false
	if err == nil {
		err = w.setReadDeadline(w.helloEnds)
	}
	if err == nil {
		w.writeEnds = w.helloEnds
		err = w.raw.SetWriteDeadline(w.helloEnds)
	}
	cfg := w.cfg.TLS()
	c := tls.Server(&records{Conn: w.raw}, cfg)
	if err == nil {
		// Close closes the socket too; a context that ends would take a goroutine for each handshake.
		err = c.HandshakeContext(context.WithoutCancel(w.ctx))
	}
	m := w.gateway().metrics()
	if err != nil {
		m.TLSHandshake(w.cfg.Name, "none", "failed")
		err = fmt.Errorf("edge: tls: %w", err)
		w.gateway().Log.Debug("tls", KeyListener, w.cfg.Name, KeyClient, w.client.Addr().String(), KeyError, err)
		w.hungUp = !w.cfg.Implicit
		return w.end(err)
	}
	state := c.ConnectionState()
	state.VerifiedChains = clientChains(state.PeerCertificates, cfg.ClientCAs, time.Now())
	m.TLSHandshake(w.cfg.Name, tlsVersion(state.Version), "ok")
	w.conn, w.tls, w.tlsMode = c, &state, TLSStart
	if w.cfg.Implicit {
		w.tlsMode = TLSImplicit
	}
	w.user = nil  // RFC 3207 4.2: what was said in clear does not count
	w.behindTLS() // from here on TLS reads the socket
	return nil
}

// close sends what is left and closes the socket. A client that we hung up on may still be sending, as may
// one that sent more behind QUIT: were
// the socket closed over unread input, the peer's system would throw our last words away (RFC 1122
// 4.2.2.13), so that its input is read off for a moment.
func (w *wire) close() {
	_ = w.flush()
	if (w.hungUp || w.buffered() > 0) && !w.isKilled() {
		w.linger()
	}
	if w.tls != nil {
		_ = w.conn.Close()
	}
	_ = w.raw.Close()
	w.discard()
}

func (w *wire) linger() {
	if c, ok := w.conn.(*tls.Conn); ok {
		_ = w.raw.SetWriteDeadline(time.Now().Add(lingerTime))
		_ = c.CloseWrite()
	}
	t, ok := w.raw.(interface{ CloseWrite() error })
	if !ok || t.CloseWrite() != nil {
		return
	}
	w.mu.Lock()
	if w.killed {
		w.mu.Unlock()
		return
	}
	_ = w.raw.SetReadDeadline(time.Now().Add(lingerTime))
	w.mu.Unlock()
	scratch := lineBlocks.Get().(*lineBlock)
	defer lineBlocks.Put(scratch)
	_, _ = io.CopyBuffer(io.Discard, struct{ io.Reader }{w.raw}, scratch[:])
}

// setBusy says whether a transaction is open.
func (w *wire) setBusy(busy bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.busy = busy
}

// drain lets the connection end as soon as no transaction is open.
func (w *wire) drain() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.draining = true
	w.rouse()
	if !w.busy {
		w.readEnds = time.Time{}
		_ = w.raw.SetReadDeadline(time.Unix(1, 0))
	}
}

// kill ends the connection now.
func (w *wire) kill() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.killed = true
	w.rouse()
	_ = w.raw.Close()
}

func (w *wire) isBusy() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.busy
}

func (w *wire) isDraining() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.draining
}

func (w *wire) isKilled() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.killed
}
