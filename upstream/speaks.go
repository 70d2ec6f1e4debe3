package upstream

import (
	"bufio"
	"context"
	"errors"
	"net"
	"net/netip"

	"github.com/postern-mail/postern/mail"
)

// Subject is what a server's refusal of an RCPT is about, for those who look at servers without delivering.
type Subject uint8

const (
	SubjectOther   Subject = iota // the sender, a policy, or nothing that can be told
	SubjectMailbox                // there is no such mailbox
	SubjectHost                   // us: our address, name or place in DNS and lists
	SubjectRelay                  // it does not take mail for the recipient's domain from us
	SubjectDialog                 // what we said, or that we did not authenticate ourselves
)

// SubjectOf says what a refusal is about that an RCPT of the envelope got over nc, after we had called ourselves hello. A
// relay goes by the same judgement.
func SubjectOf(nc net.Conn, hello string, env mail.Envelope, r mail.Reply) Subject {
	t := transaction{c: &conn{raw: nc, hello: hello}, env: env}
	switch {
	case relayDenied(r):
		return SubjectRelay
	case aboutProtocol(r):
		return SubjectDialog
	case t.judgesHost(r, false):
		return SubjectHost
	case speaksOfMailbox(r), r.Permanent() && plainMailbox.MatchString(withoutAddresses(r.Text)):
		return SubjectMailbox
	}
	return SubjectOther
}

// ReadReply reads one reply of a server, with limits on its length. br must have a buffer of 4096 octets. After an
// error nothing more can be read that makes sense.
func ReadReply(br *bufio.Reader) (mail.Reply, error) { return readReply(br, 0) }

// LocalProxyHeader is a header of the PROXY protocol, version 2, that says that the connection is our own.
func LocalProxyHeader() []byte { return proxyHeader(nil) }

// DialFrom connects with a server as a Pool of these Config.Source does; of a name, with the first of its addresses that
// answers.
func DialFrom(ctx context.Context, sources []netip.Addr, server string) (net.Conn, error) {
	network, address := endpoint(server)
	dial := dialFrom(sources)
	name, port, err := net.SplitHostPort(address)
	if err != nil || network == "unix" || len(sources) == 0 {
		return dial(ctx, network, address)
	}
	if _, err := netip.ParseAddr(name); err == nil {
		return dial(ctx, network, address)
	}
	found, err := lookUp(ctx, name)
	if err != nil {
		return nil, err
	}
	var all error
	for _, a := range usable(found) {
		nc, err := dial(ctx, network, net.JoinHostPort(a.String(), port))
		if err == nil {
			return nc, nil
		}
		all = errors.Join(all, err)
	}
	if all == nil {
		all = errors.New("upstream: " + name + " has no address")
	}
	return nil, all
}
