// Package dsn writes delivery status notifications: the reports by which a mail system tells a sender what became of a
// message (RFC 3461, 3464, 6522, 6533). It does not know when one is due, and sends none.
package dsn

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/postern-mail/postern/mail"
)

// ErrNullSender is the error of a report about a message that must have none: its reverse-path is null (RFC 5321 4.5.5).
var ErrNullSender = errors.New("dsn: a message from the null reverse-path gets no report")

// Action is what was done for a recipient (RFC 3464 2.3.3).
type Action string

// The actions. Of Relayed the next server sends no notice of delivery; Expanded is the delivery to an alias of several.
const (
	Failed    Action = "failed"
	Delayed   Action = "delayed"
	Delivered Action = "delivered"
	Relayed   Action = "relayed"
	Expanded  Action = "expanded"
)

// Report is what is to be told about one message. Text in it that comes from strangers (the words of a server, a client's
// name, parameters) may be anything: it is cut, and what has no place in a report is replaced.
type Report struct {
	ReportingMTA string       // our name
	From         mail.Address // whom the sender may ask; the reverse-path of a report is the null one all the same
	To           mail.Address // the reverse-path of the message
	ID           string       // of the report: its Message-ID is <ID@ReportingMTA>
	Time         time.Time    // of the report

	EnvelopeID   string     // ENVID (RFC 3461 4.4), as the client wrote it; "" for none
	QueueID      string     // id of the message
	Arrival      time.Time  // of the message; zero where it is not to be told
	ReceivedFrom string     // name by which the client said EHLO; "" where it is not to be told
	ReceivedAddr netip.Addr // its address, beside the name; the zero one where it is not to be told
	Until        time.Time  // when delayed recipients are given up; zero where that is not known

	Recipients []Recipient // at least one
	Full       bool        // RET=FULL: the whole message comes along with a failure, and not its header alone
}

// Recipient is what became of a message for one recipient.
type Recipient struct {
	Address    mail.Address
	Original   string // ORCPT (RFC 3461 4.2), as the client wrote it: type, ";", encoded address; "" for none
	Action     Action
	Status     mail.Enhanced // zero: that of Diagnostic, or the general one of the action
	RemoteMTA  string        // the server that was asked: a name or an address, with a port or without; "" where it is not to be told
	Diagnostic mail.Reply    // its reply; zero for none
	Last       time.Time     // of the last try; zero for none
	Why        string        // for people, in place of a reply: what went wrong, as the end of a sentence
}

// Notification is a report as a message.
type Notification struct {
	Octets   []byte // canonical
	SMTPUTF8 bool   // an address in its header is not ASCII: only SMTPUTF8 may carry it (RFC 6531)
	EightBit bool   // it has octets that are not ASCII: BODY=8BITMIME (RFC 6152)
}

// Write writes a report. The original is the message as its sender may see it again, nil where it can't be read any more. The
// error is ErrNullSender, that of an incomplete report, or of reading the original.
//
// It is all in US-ASCII unless the sender's own address is not, or the whole message comes along and is not: whoever takes
// mail for the sender's address takes the report, too. Of the original comes the header, at most 64 KiB and 1000 fields of it.
// The whole message comes where the report asks for it, a recipient has failed, and it is a message of at most 1 MiB that
// can be put into another one as it is.
func Write(r Report, original *mail.Message) (Notification, error) {
	if err := r.check(); err != nil {
		return Notification{}, err
	}
	back, err := r.returned(original)
	if err != nil {
		return Notification{}, fmt.Errorf("dsn: read the original: %w", err)
	}
	parts := []part{r.explanation(back), r.status()}
	if original != nil {
		parts = append(parts, back.part)
	}
	n := Notification{Octets: assemble(r.header(back), parts), SMTPUTF8: !r.To.IsASCII() || !r.From.IsASCII()}
	n.EightBit = !isASCII(n.Octets)
	return n, nil
}

func (r *Report) check() error {
	switch {
	case r.To.IsZero():
		return ErrNullSender
	case r.From.IsZero():
		return errors.New("dsn: a report of nobody")
	case r.Time.IsZero():
		return errors.New("dsn: a report without a time")
	case len(r.Recipients) == 0:
		return errors.New("dsn: a report about no recipient")
	case !isDotAtom(r.ID):
		return fmt.Errorf("dsn: %q is no id of a report", r.ID)
	}
	if mtaName(r.ReportingMTA) == "" {
		return fmt.Errorf("dsn: %q is no name of a host", r.ReportingMTA)
	}
	for _, to := range r.Recipients {
		if to.Address.IsZero() {
			return errors.New("dsn: a report about no address")
		}
		if actions[to.Action].subject == "" {
			return fmt.Errorf("dsn: unknown action %q", to.Action)
		}
	}
	return nil
}

// global reports whether the report has the types of RFC 6533 where they are needed: it goes to an address that only
// SMTPUTF8 can reach, so that UTF-8 passes. Everybody else gets all in ASCII (RFC 6533 4.5).
func (r *Report) global() bool { return !r.To.IsASCII() }

// part is one of the three of a report.
type part struct {
	fields string // its header, each field with its CRLF
	body   []byte
}

// header writes the header of the report, without what says that it is a multipart.
func (r *Report) header(back returned) []byte {
	var b bytes.Buffer
	field := func(name, body string) { fmt.Fprintf(&b, "%s: %s\r\n", name, body) }
	field("Date", date(r.Time))
	field("From", "Mail Delivery System <"+r.address(r.From)+">")
	field("To", "<"+r.address(r.To)+">")
	field("Subject", actions[r.worst()].subject)
	field("Message-ID", "<"+r.ID+"@"+mtaName(r.ReportingMTA)+">")
	if back.messageID != "" {
		// RFC 3834 3.1.5, 3.1.6: so that it is shown beside the message.
		field("In-Reply-To", back.messageID)
		field("References", back.messageID)
	}
	// RFC 3834 5: no program is to answer it.
	field("Auto-Submitted", "auto-replied")
	field("MIME-Version", "1.0")
	return b.Bytes()
}

// address gives an address as it stands in a header, where one without a domain is none (RFC 5322 3.4.1).
func (r *Report) address(a mail.Address) string {
	if a.Domain() == "" {
		return a.Local() + "@" + mtaName(r.ReportingMTA)
	}
	return a.String()
}

// assemble puts the parts together (RFC 2046 5.1.1, RFC 6522 3).
func assemble(header []byte, parts []part) []byte {
	boundary := newBoundary(parts)
	b := bytes.NewBuffer(header)
	fmt.Fprintf(b, "Content-Type: multipart/report; report-type=delivery-status;\r\n\tboundary=\"%s\"\r\n", boundary)
	eight := false
	for _, p := range parts {
		eight = eight || !isASCII(p.body)
	}
	if eight {
		// RFC 2045 6.4: what holds a part in 8bit is 8bit itself.
		b.WriteString("Content-Transfer-Encoding: 8bit\r\n")
	}
	for _, p := range parts {
		fmt.Fprintf(b, "\r\n--%s\r\n%s\r\n", boundary, p.fields)
		b.Write(p.body)
	}
	fmt.Fprintf(b, "\r\n--%s--\r\n", boundary)
	return b.Bytes()
}

// date writes a time as RFC 5322 3.3 has it. RFC 3464 2.2.5: with a numeric zone.
func date(t time.Time) string { return t.Format("Mon, 02 Jan 2006 15:04:05 -0700") }
