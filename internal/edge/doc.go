// Package edge is the SMTP door: it takes connections, speaks the dialog, takes content in, has the
// pipeline judge it, asks upstream to take it, and answers with what came of that. It filters nothing,
// stores nothing and configures nothing itself, and it is the only place that turns a mail.Reply into
// what a client reads.
//
// The wire engine is go-smtp's server; the files say, from the socket upward:
//
//	server.go    the listener: limits on connections, tracking, drain
//	wire.go      one connection: buffers, deadlines, TLS, hang-up
//	dots.go      content on the wire: where it ends, and its dots
//	guard.go     the net.Conn that the engine is given; command lines and replies pass through it
//	inspect.go   the replies on their way out
//	engine.go    go-smtp's settings, and its errors
//	session.go   one client: EHLO, MAIL, RSET
//	relay.go     who may relay
//	rcpt.go      one recipient: the design's table "Recipients and replies", row by row
//	data.go      one message: taken in, judged
//	deliver.go   one message: kept, changed, handed on
package edge
