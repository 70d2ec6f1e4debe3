package mail

import "time"

// Envelope is what is said of a message outside its content (RFC 5321 2.3.1), for one transaction with
// the next server.
type Envelope struct {
	ID       string    // Postern's id of the transaction
	From     Address   // reverse-path; the zero Address is the null reverse-path <>
	To       []Address // forward-paths, at least one, in the order of the client's RCPT commands
	SMTPUTF8 bool      // the client said SMTPUTF8 (RFC 6531)
	Body8Bit bool      // the client said BODY=8BITMIME (RFC 6152)
	Client   *Client   // whom it came from, for a next server that is told; nil where none is, or it is not known
	DSN      *DSN      // what the client asked about notifications, nil for nothing

	// Patience is how long the next servers may take until one has asked for the content: for whoever has another way then. It
	// does not bound the wait for the reply to the content, since who breaks that off does not know what became of it. 0: the
	// context alone bounds it.
	Patience time.Duration
}

// DSN is what a client asks about delivery status notifications (RFC 3461 4). It is for the next server to obey.
type DSN struct {
	Return     string   // RET: "FULL", "HDRS" or ""
	EnvelopeID string   // ENVID, as the client wrote it, in xtext; "" for none
	Notify     []Notify // of each of Envelope.To, in that order
}

// Notify is what is asked for one recipient. The zero value asks nothing.
type Notify struct {
	When     string // NOTIFY: "NEVER", or some of "SUCCESS", "FAILURE", "DELAY" with commas between; "" for none
	Original string // ORCPT, as the client wrote it: type, ";" and encoded address, such as "rfc822;a+2Bb@c.example"; "" for none
}
