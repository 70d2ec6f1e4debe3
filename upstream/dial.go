package upstream

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/postern-mail/postern/mail"
)

// errTLS marks a connection that could not be made secure.
var errTLS = errors.New("no tls")

// dialer makes connections with one server that are ready for MAIL.
type dialer struct {
	cfg    *Config
	server string
	host   *host       // the server's, if it is given by its name
	tls    *tls.Config // nil: never
	owner  *server     // whose it is
}

// dial connects, greets, begins TLS as the mode says, and authenticates us if we are to. Where that fails, the Outcome says how, and the
// connection is nil. The connection is not attached to ctx any more.
// client is whom it is for, with IdentityProxy; the connection itself is to be made within that time. It is what is needed, or the outcome
// says that it can't be.
func (d *dialer) dial(ctx context.Context, client *mail.Client, within time.Duration, need security) (*conn, Outcome) {
	c, o := d.attempt(ctx, client, within, d.tls != nil && (d.cfg.TLS != TLSNone || need > inClear))
	if c == nil && (d.cfg.TLS == TLSOpportunistic || d.cfg.TLS == TLSNone) && o.Stage == StageTLS &&
		lacksTLS(&o) && !over(ctx) {
		if need > inClear {
			o.Err = insecureBecause(d.server, o)
			return nil, o
		}
		// After a failed handshake nobody knows what the two sides think of the stream: a fresh one.
		return d.attempt(ctx, client, within, false)
	}
	return c, o
}

// lacksTLS reports whether TLS can't be had of the server: it says so, or the handshake failed. A connection that was lost or taken away says
// nothing of it, and mail must not go in clear for that.
func lacksTLS(o *Outcome) bool {
	if o.Err == nil {
		return o.Reply.Temporary() || o.Reply.Permanent()
	}
	return errors.Is(o.Err, errTLS) && !errors.Is(o.Err, errProtocol)
}

// connect makes the connection itself.
func (d *dialer) connect(ctx context.Context, within time.Duration) (c *conn, err error) {
	start := time.Now()
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	var nc net.Conn
	var addr netip.Addr
	if d.host != nil {
		nc, addr, err = d.host.connect(ctx)
	} else {
		network, address := endpoint(d.server)
		nc, err = d.cfg.Dial(ctx, network, address)
	}
	if err != nil {
		return nil, fmt.Errorf("upstream: dial %s: %w", d.server, err)
	}
	c = newConn(nc, d.server, &d.cfg.Timeouts)
	c.lmtp, c.addr, c.trust = d.cfg.LMTP, addr, d.tls
	if d.cfg.Chunking {
		c.chunking = maxChunk
	}
	c.dialed = c.now.Sub(start)
	return c, nil
}

// suspicious gives who is to be told where the server makes us wait: nobody, where there is no other one to turn to.
func (d *dialer) suspicious() *server {
	if d.owner == nil || len(d.owner.others) == 0 || !d.cfg.Probe {
		return nil
	}
	return d.owner
}

func (d *dialer) attempt(ctx context.Context, client *mail.Client, within time.Duration, withTLS bool) (*conn, Outcome) {
	o := Outcome{Server: d.server, Stage: StageDial}
	c, err := d.connect(ctx, within)
	if err != nil {
		o.Kind, o.Err = Unreachable, err
		return nil, o
	}
	d.cfg.Hooks.phase(d.server, StageDial, c.dialed)
	c.owner = d.suspicious()
	c.attach(ctx)
	if o = d.announce(c, client); o.Kind == Delivered {
		o = d.open(ctx, c, withTLS)
	}
	c.detach()
	if o.Kind != Delivered || c.broken {
		if o.Kind == Delivered {
			cause := context.Cause(ctx)
			if cause == nil {
				cause = errDown // interrupted
			}
			o.Kind, o.Err = Unreachable, fmt.Errorf("upstream: dial %s: %w", d.server, cause)
		}
		c.quit()
		return nil, o
	}
	return c, o
}

// announce says whose connection it is, where the server wants to hear that first.
func (d *dialer) announce(c *conn, client *mail.Client) Outcome {
	if d.cfg.Identity != IdentityProxy {
		return Outcome{Kind: Delivered}
	}
	c.proxied = client != nil && client.Addr.IsValid()
	if err := c.write(proxyHeader(client), c.timeouts.Command); err != nil {
		return c.failed(StageIdentity, mail.Reply{}, err)
	}
	return Outcome{Kind: Delivered}
}

// open takes a new connection to where MAIL may be said. Kind is Delivered if it got there.
func (d *dialer) open(ctx context.Context, c *conn, withTLS bool) Outcome {
	o := d.greet(ctx, c, withTLS)
	if o.Kind == Delivered && d.cfg.Auth != nil {
		o = d.authenticate(c)
	}
	if o.Kind == Delivered && d.cfg.Identity == IdentityXClient && c.ext.xclient&xclientAddr == 0 {
		return c.failed(StageIdentity, mail.Reply{}, fmt.Errorf("upstream: %s: %w: XCLIENT is not offered, or without ADDR", c.server, errIdentity))
	}
	if o.Kind == Delivered && d.cfg.Identity == IdentityXForward {
		if c.tells = c.ext.xforward; c.tells == 0 {
			return c.failed(StageIdentity, mail.Reply{}, fmt.Errorf("upstream: %s: %w: XFORWARD is not offered", c.server, errIdentity))
		}
	}
	return o
}

// greet is open without AUTH.
func (d *dialer) greet(ctx context.Context, c *conn, withTLS bool) Outcome {
	start := c.now
	r, err := c.reply(d.cfg.Timeouts.Greeting)
	if err != nil || r.Code != 220 {
		return c.failed(StageGreeting, r, err)
	}
	c.greeted = c.now.Sub(start)
	d.cfg.Hooks.phase(c.server, StageGreeting, c.greeted)
	if o := d.hello(c); o.Kind != Delivered {
		return o
	}
	if !withTLS {
		return Outcome{Kind: Delivered}
	}
	if c.ext.startTLS {
		start = c.now
		began, o := d.startTLS(ctx, c)
		if o.Kind != Delivered {
			return o
		}
		if began {
			d.cfg.Hooks.phase(c.server, StageTLS, c.now.Sub(start))
			// RFC 3207 4.2: what was learnt before TLS is forgotten.
			return d.hello(c)
		}
	} else if d.cfg.TLS != TLSOpportunistic {
		return c.failed(StageTLS, mail.Reply{}, fmt.Errorf("upstream: %s: %w: STARTTLS is not offered", c.server, errTLS))
	}
	return Outcome{Kind: Delivered}
}

// hello says who we are, and takes what the server offers.
func (d *dialer) hello(c *conn) Outcome {
	start := c.now
	o := d.sayHello(c)
	if o.Kind == Delivered {
		d.cfg.Hooks.phase(c.server, StageHello, c.now.Sub(start))
	}
	return o
}

// sayHello is hello that counts nowhere.
func (d *dialer) sayHello(c *conn) Outcome {
	greet := d.ehlo
	if d.cfg.LMTP {
		greet = d.lhlo
	}
	r, err := greet(c)
	if err != nil || r.Code != 250 {
		return c.failed(StageHello, r, err)
	}
	c.ext = parseExtensions(r)
	return Outcome{Kind: Delivered}
}

// ehlo says EHLO, and HELO to a server that does not know it (RFC 5321 4.1.4).
func (d *dialer) ehlo(c *conn) (mail.Reply, error) {
	r, err := c.ask("EHLO " + d.cfg.Hello)
	if err != nil || !r.Permanent() {
		return r, err
	}
	c.doubted = !unknownCommand(r) && r.Code != 504
	r, err = c.ask("HELO " + d.cfg.Hello)
	switch {
	case err != nil:
	case r.Code == 250:
		r.Text = "" // whatever it says, it offers no extensions
	case unknownCommand(r):
		err = fmt.Errorf("upstream: %s: %w: it knows neither EHLO nor HELO: if it speaks LMTP, say protocol: lmtp", c.server, errProtocol)
	}
	return r, err
}

// startTLS asks for TLS and makes the handshake. Where the server refuses, an opportunistic connection
// goes on in plain: began is false.
func (d *dialer) startTLS(ctx context.Context, c *conn) (began bool, o Outcome) {
	r, err := c.ask("STARTTLS")
	if err != nil || c.broken {
		return false, c.failed(StageTLS, r, err)
	}
	if r.Code != 220 {
		if d.cfg.TLS == TLSOpportunistic {
			return false, Outcome{Kind: Delivered}
		}
		return false, c.failed(StageTLS, r, nil)
	}
	// RFC 3207 6: what came in plain behind the reply is not from the peer of the handshake.
	if c.br.Buffered() > 0 {
		return false, c.failed(StageTLS, r,
			fmt.Errorf("upstream: %s: %w: octets after the reply to STARTTLS", c.server, errProtocol))
	}
	c.watch()
	if err := c.arm(time.Now().Add(d.cfg.Timeouts.TLS)); err != nil {
		return false, c.failed(StageTLS, mail.Reply{}, err)
	}
	secure := tls.Client(c.nc, d.tls)
	err = secure.HandshakeContext(ctx)
	c.now = time.Now()
	state := secure.ConnectionState()
	d.cfg.Hooks.handshake(c.server, state, err)
	c.mu.Lock()
	cut := c.cut
	if err == nil {
		c.nc = secure // interrupt may be looking at it
	}
	c.mu.Unlock()
	switch {
	case err != nil && cut:
		return false, c.failed(StageTLS, mail.Reply{}, fmt.Errorf("upstream: %s: the handshake was cut short: %w", c.server, err))
	case err != nil:
		return false, c.failed(StageTLS, mail.Reply{}, fmt.Errorf("upstream: %s: %w: %w", c.server, errTLS, err))
	}
	c.tls = &state
	return true, Outcome{Kind: Delivered}
}

// failed says what a failure before the final dot is: no reply where one was due means that the server
// can't be reached; a reply, one that makes no sense and a failed handshake are about us and it.
func (c *conn) failed(stage Stage, r mail.Reply, err error) Outcome {
	c.broken = true
	o := Outcome{Kind: OurFault, Stage: stage, Server: c.server, Reply: r, TLS: c.tls, Err: err}
	if err != nil && !errors.Is(err, errTLS) && !errors.Is(err, errAuth) && !errors.Is(err, errIdentity) && !errors.Is(err, errProtocol) {
		o.Kind = Unreachable
	}
	if err == nil && !r.Temporary() && !r.Permanent() {
		o.Err = fmt.Errorf("upstream: %s: %w: reply %d in stage %s", c.server, errProtocol, r.Code, stage)
	}
	return o
}
