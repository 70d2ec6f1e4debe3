package upstream

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/postern-mail/postern/mail"
)

// unixPrefix is how a server begins that is a socket of this machine.
const unixPrefix = "unix:"

// errMixed is the cause where a server of LMTP took a message for some recipients, and not for others.
var errMixed = errors.New("upstream: taken for some recipients only")

// OneRecipient reports whether the servers speak LMTP, which answers for each recipient by itself when the message is
// there already: a client that waits for one reply can be told the truth about one recipient only.
func (p *Pool) OneRecipient() bool { return p.cfg.LMTP }

// Apart makes of the refusal of a message by LMTP, which is about its one recipient, that of the recipient, so that its client comes
// again. When it does, with mail from the same reverse-path, the recipient is put off once at RCPT: the others go before it then, and
// it comes alone in the end, and hears of the refusal. It is for clients who brought others in the same transaction and were asked to
// come again with them. The refusal itself is not remembered: it may be about this message, and anyone can send one in another's name.
func (p *Pool) Apart(from, to mail.Address, o Outcome) Outcome {
	if !p.cfg.LMTP || o.Kind != Refused || o.Stage != StageDot || !o.Reply.Permanent() {
		return o
	}
	p.answers.apart(from, to, mail.Reply{Code: 450, Enhanced: mail.Enhanced{4, 5, 0}, Text: "others of the transaction first"}, time.Now())
	o.Kind, o.Refused = RecipientRefused, map[mail.Address]mail.Reply{to: o.Reply}
	return o
}

// socketPath gives the path of a server that is a UNIX socket.
func socketPath(server string) (path string, ok bool) { return strings.CutPrefix(server, unixPrefix) }

// endpoint gives a server as net.Dial takes it.
func endpoint(server string) (network, address string) {
	if path, ok := socketPath(server); ok {
		return "unix", path
	}
	return "tcp", server
}

// lhlo is hello for LMTP. There is nothing to fall back to: RFC 2033 4.1 has such a server know neither EHLO nor HELO.
func (d *dialer) lhlo(c *conn) (mail.Reply, error) {
	r, err := c.ask("LHLO " + d.cfg.Hello)
	if err == nil && unknownCommand(r) {
		err = fmt.Errorf("upstream: %s: %w: it does not know LHLO: it seems to speak SMTP, and protocol is lmtp", c.server, errProtocol)
	}
	return r, err
}

// unknownCommand reports whether a server says that it does not know a command.
func unknownCommand(r mail.Reply) bool { return r.Code == 500 || r.Code == 502 }

// final reads what the server says to the final dot. In LMTP that is one reply for each recipient, and there are no fewer
// than the envelope has: of one who was refused nothing is sent. The one reply that it gives speaks for all of them: that of a
// refusal which may pass before that of one which does not, so that no one is refused on the word about another. Where
// some have the message and some have not, no reply could: that is an error, which leaves the connection in step.
func (t *transaction) final() (mail.Reply, error) {
	all, err := t.c.reply(t.c.timeouts.Dot)
	if !t.c.lmtp {
		return all, err
	}
	some := all.Positive()
	for n := 1; n < len(t.env.To) && err == nil && !t.c.broken; n++ { // RFC 2033 4.2: in the order of the RCPTs
		var r mail.Reply
		r, err = t.c.reply(t.c.timeouts.Dot)
		some = some || r.Positive()
		if all.Positive() || all.Permanent() && !r.Permanent() && !r.Positive() {
			all = r
		}
	}
	if err == nil && some && !all.Positive() {
		err = fmt.Errorf("%w: %s said %d to others", errMixed, t.c.server, all.Code)
	}
	return all, err
}
