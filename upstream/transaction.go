package upstream

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/postern-mail/postern/mail"
)

const (
	// batchSize is how many RCPTs go out before their replies are read. RFC 2920 3.1 warns of a client
	// that writes on while the server, whose replies nobody reads, reads no more: the replies of a batch
	// fit any socket buffer.
	batchSize = 100
	// scanHeader is how much of a message is searched for octets that only SMTPUTF8 may carry in a header.
	scanHeader = 256 << 10
)

// errContent is the cause where the message itself could not be read to its end.
var errContent = errors.New("content cut short")

// transaction is one message on its way over one connection.
type transaction struct {
	c     *conn
	env   mail.Envelope
	m     *mail.Message   // nil: the recipients are only asked about
	whole context.Context //nolint:containedctx // what bounds the content, where that is not what bounds all before; else nil
	eager bool            // all recipients are known good here: DATA goes out with them

	presents bool // the server is told of the client by XCLIENT
	chunked  bool // the content goes out by BDAT

	refused map[mail.Address]mail.Reply
	client  *aside     // the replies to RCPTs that speak about the client
	fault   *aside     // the replies to RCPTs that speak about us
	data    mail.Reply // the reply to a DATA that went out with the RCPTs; zero if none did

	out Outcome // how it has ended
}

// aside are replies to RCPTs that speak about somebody else than the recipient.
type aside struct {
	first mail.Reply
	all   map[mail.Address]mail.Reply
}

// add gives a with one more reply.
func (a *aside) add(to mail.Address, r mail.Reply) *aside {
	if a == nil {
		a = &aside{first: r, all: map[mail.Address]mail.Reply{}}
	}
	a.all[to] = r
	return a
}

// run carries the transaction through, to its outcome. Afterwards the connection is fit for another one, unless it is
// broken. Nothing of the content is sent unless every recipient was accepted, so that one reply speaks
// for all of them.
func (t *transaction) run() {
	t.c.uses++
	if t.presents && !t.present() {
		t.abandon()
		return
	}
	if !t.c.ext.utf8 {
		if r, err := t.needsUTF8(); err != nil {
			t.out = t.unreadable(err)
			return
		} else if !r.IsZero() {
			t.end(Refused, StageMail, r, errNoUTF8)
			return
		}
	}
	t.chunked = t.c.chunking > 0 && t.c.ext.chunking
	if !t.envelope() || t.m != nil && !t.chunked && !t.begin() {
		t.abandon()
		return
	}
	if t.m == nil { // there is nothing to send: the recipients were asked about
		t.end(Delivered, StageRcpt, mail.Reply{Code: 250}, nil)
		t.abandon()
		return
	}
	if t.whole != nil && !t.c.relax(t.whole) {
		cause := context.Cause(t.c.ctx)
		if cause == nil {
			cause = errDown // found so meanwhile
		}
		t.fail(StageData, mail.Reply{}, cause)
		return
	}
	start := t.c.now
	var o Outcome
	if t.chunked {
		o = t.chunks()
	} else {
		o = t.content()
	}
	t.c.mark(StageBody, start)
	if o.Kind != Delivered {
		t.out = o
		return
	}
	start = t.c.now
	r, err := t.final()
	t.c.mark(StageDot, start)
	if t.chunked && err == nil && (r.Temporary() || r.Permanent()) {
		t.out = t.chunkRefused(r, true)
		return
	}
	t.verdict(r, err)
}

// verdict says what the reply to the final dot means.
func (t *transaction) verdict(r mail.Reply, err error) {
	switch {
	case err != nil:
		// RFC 1047: it may have been taken. To try again would double it, so that is the client's to decide.
		t.end(Unknown, StageDot, mail.Reply{}, err)
	case r.Positive():
		t.end(Delivered, StageDot, r, nil)
	case t.oursAtDot(r):
		t.end(OurFault, StageDot, r, nil) // not taken, and not for a reason of the message's
	case r.Temporary(), r.Permanent():
		t.end(Refused, StageDot, r, nil)
	default:
		t.c.broken = true
		t.end(Unknown, StageDot, r, fmt.Errorf("upstream: %s: %w: reply %d to the final dot", t.c.server, errProtocol, r.Code))
	}
}

// end sets the outcome. It gives false, which tells those who called that there is one. It is kept out of them: with it,
// each would need the room of many outcomes for every message.
//
//go:noinline
func (t *transaction) end(k Kind, stage Stage, r mail.Reply, err error) bool {
	t.out = t.outcome(k, stage, r, err)
	return false
}

// endFor is end for what some RCPTs were answered.
func (t *transaction) endFor(k Kind, about *aside) bool {
	t.end(k, StageRcpt, about.first, nil)
	if len(about.all) < len(t.env.To) {
		t.out.Concerned = about.all
	}
	return false
}

// fail is end for what breaks the connection.
//
//go:noinline
func (t *transaction) fail(stage Stage, r mail.Reply, err error) bool {
	t.out = t.c.failed(stage, r, err)
	return false
}

func (t *transaction) outcome(k Kind, stage Stage, r mail.Reply, err error) Outcome {
	return Outcome{
		Kind: k, Stage: stage, Server: t.c.server, Reply: r, TLS: t.c.tls, Refused: t.refused, Err: err, DSN: t.c.ext.dsn, Final: t.c.lmtp,
	}
}

// unreadable is the outcome where our own storage fails us.
func (t *transaction) unreadable(err error) Outcome {
	return t.outcome(OurFault, StageContent, mail.Reply{}, fmt.Errorf("upstream: %w: %w", errContent, err))
}

// abandon leaves a transaction of which no content was sent. After a 354 there is no other way than to
// close: whatever were said next would be taken for content, and its end for an empty message.
func (t *transaction) abandon() {
	if t.data.Code == 354 {
		t.c.broken = true
	}
	t.c.reset()
}

// envelope says MAIL and the RCPTs, in as few writes as the server can take, and reads all replies. The
// RCPTs after one that was refused are still asked, so that all answers are known when the client comes
// again. It reports whether all were accepted.
func (t *transaction) envelope() bool {
	batch := 1
	if t.c.ext.pipelining {
		batch = batchSize
	}
	if t.c.tells != 0 && batch == 1 && !t.introduce() {
		return false
	}
	start := t.c.now
	to := t.env.To
	for first := true; first || len(to) > 0; first = false {
		buf, n, told := t.c.commands[:0], min(batch, len(to)), 0
		if first {
			if t.c.tells != 0 && batch > 1 {
				// XFORWARD may be in a group of commands, as RSET may.
				buf, told = appendXForward(buf, t.c.tells, t.env.Client, t.env.ID)
			}
			buf = t.mailFrom(buf)
			if batch == 1 {
				n = 0 // MAIL stands alone
			}
		}
		for i, a := range to[:n] {
			buf = append(appendAddress(append(buf, "RCPT TO:<"...), a), '>')
			buf = append(t.notify(buf, len(t.env.To)-len(to)+i), "\r\n"...)
		}
		withData := t.eager && !t.chunked && n == len(to) && t.c.ext.pipelining && len(t.refused) == 0 && t.client == nil
		if withData {
			buf = append(buf, "DATA\r\n"...)
		}
		t.c.commands = buf
		if err := t.c.command(buf); err != nil {
			return t.fail(t.stage(first), mail.Reply{}, err)
		}
		if !t.replies(first, told, to[:n], withData, start) {
			return false
		}
		to = to[n:]
	}
	switch {
	case t.fault != nil:
		return t.endFor(OurFault, t.fault)
	case t.client != nil:
		return t.endFor(Refused, t.client)
	case len(t.refused) > 0:
		return t.end(RecipientRefused, StageRcpt, t.refused[t.firstRefused()], nil)
	}
	return true
}

func (t *transaction) stage(first bool) Stage {
	if first {
		return StageMail
	}
	return StageRcpt
}

func (t *transaction) firstRefused() mail.Address {
	for _, a := range t.env.To {
		if _, ok := t.refused[a]; ok {
			return a
		}
	}
	return mail.Address{}
}

// mailFrom appends the MAIL command. Content with eight-bit octets goes to a server without 8BITMIME as
// it is: to recode it would change what was scanned and break its signatures, and there is no such server
// any more that would mind.
func (t *transaction) mailFrom(buf []byte) []byte {
	buf = append(appendAddress(append(buf, "MAIL FROM:<"...), t.env.From), '>')
	if t.c.ext.size && t.m != nil {
		buf = strconv.AppendInt(append(buf, " SIZE="...), t.m.Size(), 10)
	}
	if t.c.ext.eightBit && t.env.Body8Bit {
		buf = append(buf, " BODY=8BITMIME"...)
	}
	if t.international() {
		buf = append(buf, " SMTPUTF8"...)
	}
	if d := t.env.DSN; d != nil && t.c.ext.dsn {
		if d.Return != "" {
			buf = append(append(buf, " RET="...), d.Return...)
		}
		if d.EnvelopeID != "" {
			buf = append(append(buf, " ENVID="...), d.EnvelopeID...)
		}
	}
	return append(buf, "\r\n"...)
}

// international reports whether the transaction says SMTPUTF8 (RFC 6531 3.4).
func (t *transaction) international() bool {
	return t.c.ext.utf8 && (t.env.SMTPUTF8 || !t.asciiPaths())
}

// appendAddress appends the wire form of a; the null reverse-path has none.
func appendAddress(buf []byte, a mail.Address) []byte {
	buf = append(buf, a.Local()...)
	if a.Domain() != "" {
		buf = append(append(buf, '@'), a.Domain()...)
	}
	return buf
}

// replies reads what one batch is answered, which began with told commands that told of the client. A reply to MAIL that is not 250 ends the transaction, once
// the replies behind it are read: the connection has to stay in step.
func (t *transaction) replies(first bool, told int, to []mail.Address, withData bool, start time.Time) bool {
	goesOn := true
	for range told {
		r, err := t.c.expect(250, t.c.timeouts.Command)
		if err != nil || t.c.broken {
			return t.fail(StageIdentity, r, err)
		}
		if goesOn && !r.Positive() {
			goesOn = t.untold(r)
		}
	}
	if first {
		r, err := t.c.expect(250, t.c.timeouts.Command)
		t.c.mark(StageMail, start)
		if err != nil || t.c.broken {
			return t.fail(StageMail, r, err)
		}
		if goesOn && !r.Positive() {
			goesOn = t.mailRefused(r)
		}
	}
	for _, a := range to {
		r, err := t.c.expect(250, t.c.timeouts.Command)
		if err != nil || t.c.broken {
			return t.fail(StageRcpt, r, err)
		}
		if goesOn && !t.answered(a, r) {
			return t.fail(StageRcpt, r, nil)
		}
	}
	if len(to) > 0 {
		t.c.mark(StageRcpt, start)
	}
	if withData {
		r, err := t.c.expect(354, t.c.timeouts.Data)
		if err != nil || t.c.broken {
			return t.fail(StageData, r, err)
		}
		t.data = r
	}
	return goesOn
}

// mailRefused says what a refused MAIL means. The one refusal there that speaks about the message is that
// it is too big (RFC 1870 6.1); everything else is the server's view of us, or of the client that it was told of.
func (t *transaction) mailRefused(r mail.Reply) bool {
	if r.Permanent() && (r.Code == 552 || r.Enhanced[1] == 3 && r.Enhanced[2] == 4) {
		return t.end(Refused, StageMail, r, nil)
	}
	if !r.Temporary() && !r.Permanent() {
		return t.fail(StageMail, r, nil)
	}
	if t.aboutClient(r) {
		return t.end(Refused, StageMail, r, nil)
	}
	return t.end(OurFault, StageMail, r, nil)
}

// answered notes the reply to an RCPT; false means that no such reply may stand there.
func (t *transaction) answered(a mail.Address, r mail.Reply) bool {
	switch {
	case r.Positive():
		t.c.accepted = append(t.c.accepted, a)
	case !r.Temporary() && !r.Permanent():
		return false
	case t.aboutUs(r):
		t.fault = t.fault.add(a, r)
	case t.aboutClient(r):
		t.client = t.client.add(a, r)
	default:
		if t.refused == nil {
			t.refused = map[mail.Address]mail.Reply{}
		}
		t.refused[a] = r
	}
	return true
}

// begin says DATA, unless it was said with the RCPTs, and takes the 354.
func (t *transaction) begin() bool {
	r := t.data
	if r.IsZero() {
		start := t.c.now
		if err := t.c.write([]byte("DATA\r\n"), t.c.timeouts.Command); err != nil {
			return t.fail(StageData, mail.Reply{}, err)
		}
		var err error
		r, err = t.c.expect(354, t.c.timeouts.Data)
		t.c.mark(StageData, start)
		if err != nil || t.c.broken {
			return t.fail(StageData, r, err)
		}
	}
	switch {
	case r.Code == 354:
		return true
	case !r.Temporary() && !r.Permanent():
		return t.fail(StageData, r, nil)
	case t.aboutUs(r):
		return t.end(OurFault, StageData, r, nil)
	}
	// The server does not know the content yet: it speaks about sender and recipients.
	return t.end(Refused, StageData, r, nil)
}

func (t *transaction) asciiPaths() bool {
	ascii := t.env.From.IsZero() || t.env.From.IsASCII()
	for _, a := range t.env.To {
		ascii = ascii && a.IsASCII()
	}
	return ascii
}

// errNoUTF8 is the cause where a server does not offer SMTPUTF8 and the message needs it.
var errNoUTF8 = errors.New("SMTPUTF8 is not offered")

// needsUTF8 gives the refusal of a message that may go only to a server that offers SMTPUTF8, and the zero Reply for another: an
// address is not ASCII, or the client said SMTPUTF8 and the header has eight-bit octets. Many clients say so without need.
// RFC 6531 3.5: what needs it must not be sent without; the codes are those of that section.
func (t *transaction) needsUTF8() (mail.Reply, error) {
	switch {
	case !t.env.From.IsZero() && !t.env.From.IsASCII():
		return mail.NewReply(550, 5, 6, 7, "internationalized senders are not supported by the next server"), nil
	case !t.asciiPaths():
		return mail.NewReply(553, 5, 6, 7, "internationalized recipients are not supported by the next server"), nil
	case !t.env.SMTPUTF8 || t.m == nil:
		return mail.Reply{}, nil
	}
	r := t.m.Open()
	defer r.Close() //nolint:errcheck // read only
	header, err := io.ReadAll(io.LimitReader(r, scanHeader))
	if err != nil {
		return mail.Reply{}, err
	}
	if end := bytes.Index(header, []byte("\r\n\r\n")); end >= 0 {
		header = header[:end]
	}
	if bytes.ContainsFunc(header, func(r rune) bool { return r >= 0x80 }) {
		return mail.NewReply(554, 5, 6, 9, "internationalized mail is not supported by the next server"), nil
	}
	return mail.Reply{}, nil
}

// aboutProtocol reports whether a refusal says that the server did not understand, or did not expect,
// what we said: a fault of ours or its own, and none of the message's.
func aboutProtocol(r mail.Reply) bool {
	if r.Enhanced[1] == 1 || r.Enhanced[1] == 2 {
		return false // RFC 3463 3.2, 3.3: about an address or a mailbox, whatever the code
	}
	switch r.Code {
	case 500, 501, 502, 503, 504, 530, 534, 535, 538:
		return true
	}
	// RFC 3463 3.6: X.5.z is the mail delivery protocol; X.5.3 is "too many recipients".
	return r.Enhanced[1] == 5 && r.Enhanced[2] != 3
}
