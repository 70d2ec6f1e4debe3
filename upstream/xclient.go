package upstream

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/postern-mail/postern/mail"
)

// XCLIENT (Postfix's XCLIENT_README) makes another client that of a connection: the server begins again with its greeting,
// judges the client by its address, name and EHLO, and logs it.
//
// It holds until it is said again. Postfix asks the address that it knows by then whether it may: there a connection that tells
// of somebody serves messages of his alone. Where the EHLO after it offers XCLIENT again, it serves everybody's.

// xclientNames are the attributes in the order in which they are said. Where one command does not hold them all, LOGIN is in
// the last, since each command logs out whom the one before has logged in, and ADDR with it, since the right to say more
// may end with it. NAME sets REVERSE_NAME as well, which comes behind it.
var xclientNames = [...]string{"PROTO", "HELO", "DESTADDR", "DESTPORT", "NAME", "REVERSE_NAME", "LOGIN", "ADDR", "PORT"}

const (
	inLast      = 6      // the attributes from this one on are in the last command
	xclientAddr = 1 << 7 // ADDR, without which there is no other client
	// notNow is said of a name that there may be: of one that is unavailable a server believes that there is none, and may
	// refuse the client for good.
	notNow = "[TEMPUNAVAIL]"
)

// appendXClient appends XCLIENT commands with the attributes of the set, and gives their number. As with XFORWARD none is left
// from another client, and nothing that a client calls itself makes a command that is refused.
func appendXClient(buf []byte, set attributes, c *mail.Client) ([]byte, int) {
	proto, helo, name, reverse := unavailable, unavailable, notNow, notNow
	if c.Helo != "" {
		proto, helo = "SMTP", xtext(c.Helo)
		if c.ESMTP {
			proto = "ESMTP"
		}
	}
	switch {
	case isHostName(c.Name):
		name = c.Name
	case c.Nameless:
		name = unavailable
	}
	switch {
	case isHostName(c.Reverse):
		reverse = c.Reverse
	case isHostName(c.Name):
		reverse = c.Name
	case c.Nameless && c.Reverse == "":
		reverse = unavailable
	}
	to, toPort := attributeAddrPort(c.Server)
	from, fromPort := attributeAddrPort(c.Addr)
	values := [...]string{proto, helo, to, toPort, name, reverse, xtext(c.Login), from, fromPort}
	return appendAttributes(buf, "XCLIENT", xclientNames[:], values[:], set, inLast)
}

// attributeAddrPort gives the values of an address and its port.
func attributeAddrPort(a netip.AddrPort) (addr, port string) {
	if !a.IsValid() {
		return unavailable, unavailable
	}
	return attributeAddr(a.Addr()), strconv.Itoa(int(a.Port()))
}

// helloOf gives the name with which EHLO is said for a client: his own, for it is that by which the server judges. It is "" where
// that can't stand in a command.
func helloOf(c *mail.Client) string {
	if len(c.Helo) > maxAttribute || strings.ContainsFunc(c.Helo, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return ""
	}
	return c.Helo
}

// presentation appends what makes a client that of the connection: commands, and the name for EHLO on a line of its own.
func (c *conn) presentation(buf []byte, client *mail.Client) []byte {
	buf, _ = appendXClient(buf, c.offered, client)
	return append(buf, helloOf(client)...)
}

// fits reports whether an idle connection may serve a message of this envelope.
func (p *Pool) fits(c *conn, env *mail.Envelope) bool {
	switch {
	case p.cfg.Identity != IdentityXClient, c.told == "":
		return true
	case env.Client == nil: // the gateway itself, which it is not any more
		return false
	case c.ext.xclient&xclientAddr != 0:
		return true
	}
	c.commands = c.presentation(c.commands[:0], env.Client)
	return string(c.commands) == c.told
}

// present makes the client that of the connection, unless he is. It reports whether the transaction may begin.
func (t *transaction) present() bool {
	c, client := t.c, t.env.Client
	if client == nil {
		return true
	}
	if c.told == "" {
		c.offered = c.ext.xclient
	}
	c.commands = c.presentation(c.commands[:0], client)
	if string(c.commands) == c.told {
		return true
	}
	again, start := c.told != "", c.now
	c.told, c.proxied = string(c.commands), client.Addr.IsValid()
	rest := c.told
	for {
		line, more, found := strings.Cut(rest, "\r\n")
		if !found {
			break
		}
		rest = more
		r, err := c.ask(line)
		if err != nil || c.broken {
			return t.fail(StageIdentity, r, err)
		}
		if !r.Positive() {
			return t.notPresented(r, again)
		}
	}
	if !t.helloAgain(rest) {
		return false
	}
	c.mark(StageIdentity, start)
	return true
}

// notPresented says what a refused XCLIENT means. The server's reply to it is its greeting to the client, whom it may refuse.
func (t *transaction) notPresented(r mail.Reply, again bool) bool {
	switch {
	case !r.Temporary() && !r.Permanent():
		return t.fail(StageIdentity, r, nil)
	case t.aboutClient(r):
		t.c.broken = true // nobody else's connection
		return t.end(Refused, StageIdentity, r, nil)
	case again:
		return t.fail(StageIdentity, r, fmt.Errorf("upstream: %s: %w: XCLIENT is offered, and refused", t.c.server, errProtocol))
	}
	return t.fail(StageIdentity, r, nil)
}

// helloAgain says EHLO for the client whom the server was told of, and takes what it offers him. Where the server can't read his
// name, ours has served before.
func (t *transaction) helloAgain(name string) bool {
	c, own := t.c, t.c.hello
	verb := "EHLO "
	if c.lmtp {
		verb = "LHLO "
	}
	var r mail.Reply
	for _, name := range [...]string{name, own} {
		if name == "" {
			continue
		}
		var err error
		r, err = c.ask(verb + name)
		c.hello = own // a reply that names it speaks about us
		if err != nil || c.broken {
			return t.fail(StageIdentity, r, err)
		}
		if r.Code == 250 {
			c.ext = parseExtensions(r)
			return true
		}
		if (r.Temporary() || r.Permanent()) && t.aboutClient(r) {
			c.broken = true
			return t.end(Refused, StageIdentity, r, nil)
		}
	}
	return t.fail(StageIdentity, r, nil)
}
