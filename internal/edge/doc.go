// Package edge is the SMTP door: it takes connections, speaks the dialog, takes content in, has the
// pipeline judge it, asks upstream to take it, and answers with what came of that. It filters nothing,
// stores nothing and configures nothing itself, and it is the only place that turns a mail.Reply into
// what a client reads.
//
// The wire engine is our own, or go-smtp's server; the files say, from the socket upward:
//
//	server.go    the listener: tracking, drain; the life of a connection
//	enter.go     who is let in
//	wire.go      one connection: deadlines, replies, TLS, hang-up
//	input.go     what has come and was not handed over yet
//	records.go   the socket as TLS reads it
//	doze.go      pauses of the client
//	dots.go      content on the wire: where it ends, and its dots
//	dialog.go    our engine: the commands
//	bdat.go      content in chunks
//	arrival.go   content on its way in
//	guard.go     the net.Conn that go-smtp is given; command lines and replies pass through it
//	inspect.go   go-smtp's replies on their way out
//	engine.go    go-smtp's settings, and its errors
//	session.go   one client: EHLO, MAIL, RSET
//	relay.go     who may relay
//	rcpt.go      one recipient: the design's table "Recipients and replies", row by row
//	data.go      one message: taken in, judged
//	deliver.go   one message: kept, changed, handed on
package edge
