package upstream

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"time"

	"github.com/postern-mail/postern/mail"
)

// Relay takes a message to where it goes. Deliver makes one transaction for all recipients of the
// envelope, and returns when the next server has given its word, or none can be had from it. It keeps
// neither the envelope nor the message. It is safe for concurrent use.
type Relay interface {
	Deliver(ctx context.Context, env mail.Envelope, m *mail.Message) Outcome
}

// Kind says what became of a delivery. The zero value is a fault of ours, so that an Outcome which
// nobody filled in is never taken for a delivery.
type Kind uint8

const (
	OurFault         Kind = iota // connect, EHLO, TLS, AUTH, MAIL, "relay denied": about us, not about the mail
	Delivered                    // the next server has taken the responsibility (RFC 5321 6.1)
	Refused                      // the whole message was refused, on evidence about it
	RecipientRefused             // at least one RCPT was refused; nothing was sent
	Unreachable                  // no connection, or it was lost before our final dot
	Unknown                      // the connection was lost after our final dot (RFC 1047)
)

var kindNames = [...]string{"our-fault", "delivered", "refused", "recipient-refused", "unreachable", "unknown"}

// String gives the name of k as it stands in logs and metrics.
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return fmt.Sprintf("kind(%d)", uint8(k))
}

// Kinds gives all kinds, for those who prepare a metric's series.
func Kinds() []Kind {
	return []Kind{OurFault, Delivered, Refused, RecipientRefused, Unreachable, Unknown}
}

// Stage is how far a delivery came.
type Stage string

// The stages of a delivery, in their order.
const (
	StageWait     Stage = "wait" // for one of the connections that the pool may have
	StageDial     Stage = "dial"
	StageGreeting Stage = "greeting"
	StageHello    Stage = "ehlo"
	StageTLS      Stage = "starttls"
	StageAuth     Stage = "auth"
	StageIdentity Stage = "identity" // what tells the server of the client
	StageMail     Stage = "mail"
	StageRcpt     Stage = "rcpt"
	StageData     Stage = "data"
	StageBody     Stage = "body"
	StageDot      Stage = "dot"
	StageContent  Stage = "content" // the message itself could not be read
	StageStore    Stage = "store"   // the embedded destination's disk
)

// Stages gives all stages, for those who prepare a metric's series.
func Stages() []Stage {
	return []Stage{
		StageWait, StageDial, StageGreeting, StageHello, StageTLS, StageAuth, StageIdentity, StageMail,
		StageRcpt, StageData, StageBody, StageDot, StageContent, StageStore,
	}
}

// Outcome is what became of one delivery, and on whose word.
type Outcome struct {
	Kind    Kind
	Reply   mail.Reply                  // the next server's own words; zero if it said none
	Stage   Stage                       // where it ended; StageDot for what was delivered by SMTP
	Server  string                      // host:port that answered, or was asked last
	Refused map[mail.Address]mail.Reply // the RCPTs that were refused, with the next server's own words
	// Concerned are the recipients whom a fault or a refusal before the content is about, where it is not about all: the others are
	// worth a transaction of their own. It has the replies to their RCPTs; zero ones where it is about what their mail needs.
	Concerned map[mail.Address]mail.Reply
	TLS       *tls.ConnectionState // nil: the connection was plain, or there was none
	Err       error                // the cause where there was no reply; for the log only
	Verbatim  bool                 // the configuration lets the client have the server's own words
	DSN       bool                 // the server offers DSN, and knows the envelope's wishes: notifications are its (RFC 3461 5.2.1)
	Final     bool                 // behind the server there is none: what it takes is delivered (RFC 2033; a Maildir)
	Elapsed   time.Duration

	repeated bool // the server said so before, and was not asked again
}

// Insecure reports whether the message was not sent since it needs a connection within TLS, and there is none. To other mail
// the next server is what it was.
func (o *Outcome) Insecure() bool { return errors.Is(o.Err, ErrInsecure) }

// relayDenied reports whether the reply to an RCPT says that the next server would not relay for us: it
// knows us, or this domain, not yet. That is between its administrator and ours.
func relayDenied(r mail.Reply) bool {
	if r.Code != 550 && r.Code != 551 && r.Code != 553 && r.Code != 554 && r.Code != 454 && r.Code != 451 {
		return false
	}
	if e := r.Enhanced; e != (mail.Enhanced{}) && (e[1] != 7 || e[2] != 0 && e[2] != 1 && e[2] != 54 && e[2] != 64) {
		return false
	}
	for _, word := range strings.Fields(withoutAddresses(r.Text)) {
		word = strings.Trim(word, ".,:;()")
		if strings.Contains(word, "relay") && !strings.ContainsAny(word, ".@") { // a host may be called so
			return true
		}
	}
	return false
}

// ClientReply gives the reply to Postern's own client, by the table "Recipients and replies" of the
// design: a 5yz only on the next server's word about this message, a 4yz for everything about us. id is
// the transaction's. With verbatim the text of a refusal is the next server's own, else it is ours: its
// words may name hosts that are nobody's business.
func (o Outcome) ClientReply(id string, verbatim bool) mail.Reply {
	switch o.Kind {
	case Delivered:
		return mail.NewReply(250, 2, 0, 0, "Ok: queued as "+id)
	case Refused:
		return refusal(o.Reply, "the message", id, verbatim)
	case RecipientRefused:
		return mail.NewReply(451, 4, 3, 0, "a recipient is no longer accepted, please try again ("+id+")")
	case Unreachable:
		if o.Stage == StageDial || o.Stage == StageWait {
			return mail.NewReply(451, 4, 4, 1, "the next server cannot be reached, please try again later ("+id+")")
		}
		return mail.NewReply(451, 4, 4, 2, "the connection to the next server was lost, please try again later ("+id+")")
	case Unknown:
		return mail.NewReply(451, 4, 4, 2, "the next server did not confirm the message, please try again later ("+id+")")
	}
	return o.fault(id)
}

// fault is the reply for what is ours to mend.
func (o Outcome) fault(id string) mail.Reply {
	switch {
	case errors.Is(o.Err, syscall.ENOSPC), errors.Is(o.Err, syscall.EDQUOT):
		return mail.NewReply(452, 4, 3, 1, "insufficient system storage, please try again later ("+id+")")
	case errors.Is(o.Err, ErrInsecure):
		return mail.NewReply(451, 4, 7, 0, "the next server has no secure connection, which mail to this domain needs, please try again later ("+id+")")
	case o.Stage == StageStore, o.Stage == StageContent:
		return mail.NewReply(451, 4, 3, 0, "local error, please try again later ("+id+")")
	}
	return mail.NewReply(451, 4, 4, 0, "the next server is not ready for us, please try again later ("+id+")")
}

// refusal puts the next server's refusal of what into our words. Its code is kept, but for 421, which
// would speak of our own connection with the client; its enhanced code is kept where it agrees with the
// code (RFC 3463 2: the class must be the reply's).
func refusal(r mail.Reply, what, id string, verbatim bool) mail.Reply {
	if r.Code == 421 {
		r.Code = 451
	}
	out := mail.Reply{Code: r.Code, Enhanced: r.Enhanced}
	if class := r.Code / 100; out.Enhanced[0] != class {
		out.Enhanced = mail.Enhanced{class, 0, 0}
	}
	switch {
	case verbatim && r.Text != "":
		out.Text = r.Text
	case r.Temporary():
		out.Text = "the next server cannot take " + what + " now, please try again later"
	default:
		out.Text = "the next server refused " + what
	}
	if id != "" {
		out.Text += " (" + id + ")"
	}
	return out
}
