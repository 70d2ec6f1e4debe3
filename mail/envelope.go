package mail

// Envelope is what is said of a message outside its content (RFC 5321 2.3.1), for one transaction with
// the next server.
type Envelope struct {
	ID       string    // Postern's id of the transaction
	From     Address   // reverse-path; the zero Address is the null reverse-path <>
	To       []Address // forward-paths, at least one, in the order of the client's RCPT commands
	SMTPUTF8 bool      // the client said SMTPUTF8 (RFC 6531)
	Body8Bit bool      // the client said BODY=8BITMIME (RFC 6152)
}
