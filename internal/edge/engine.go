package edge

import (
	"errors"
	"log"
	"net"
	"strings"

	"github.com/emersion/go-smtp"
)

// The names of the engines: what runs the dialog of a listener's connections.
const (
	EnginePostern = "postern" // our own, see dialog
	EngineGoSMTP  = "go-smtp" // go-smtp's server behind a guard
)

// Engines lists them, the default first.
func Engines() []string { return []string{EnginePostern, EngineGoSMTP} }

// Each connection has an instance of go-smtp of its own: a go-smtp server that takes just this one, and is started
// anew by STARTTLS. Its time-outs and its handling of TLS and content are out of play (see guard); what is
// used is its dialog: the order of commands, the syntax of paths and parameters.

// runGoSMTP serves one connection by go-smtp until it has done with it; sessions are made by begin.
func runGoSMTP(w *wire, g *guard, begin smtp.BackendFunc) {
	gw := w.gateway()
	srv := smtp.NewServer(begin)
	srv.Domain = gw.Hostname
	srv.MaxMessageBytes = w.maxSize() // RFC 1870: said at EHLO, compared with SIZE= of MAIL
	srv.MaxLineLength = 0             // it would end connections over long lines of content; readLine has a limit
	srv.EnableSMTPUTF8 = true
	srv.EnableDSN = w.cfg.DSN
	srv.AllowInsecureAuth = true // it sees no TLS; the session offers AUTH or not
	if w.tls == nil && w.cfg.TLS != nil {
		srv.TLSConfig = w.cfg.TLS() // so that STARTTLS is offered
	}
	srv.ErrorLog = log.New(engineLog{gw, w}, "", 0)
	if err := srv.Serve(&one{conn: g}); !errors.Is(err, errTaken) {
		gw.Log.Error("engine", gw.fault(err))
		return
	}
	<-g.closed
}

var errTaken = errors.New("edge: the one connection is taken")

// one is a listener with one connection.
type one struct {
	conn net.Conn
}

// Accept gives the connection, then errTaken, on which the engine's accept loop ends.
func (o *one) Accept() (net.Conn, error) {
	if o.conn == nil {
		return nil, errTaken
	}
	c := o.conn
	o.conn = nil
	return c, nil
}

func (o *one) Close() error   { return nil }
func (o *one) Addr() net.Addr { return nil }

// engineLog takes what the engine writes to its log: of a panic in a command, among others, with the stack behind it.
type engineLog struct {
	gw *Gateway
	w  *wire
}

func (l engineLog) Write(p []byte) (int, error) {
	text := strings.TrimSpace(string(p))
	if crash, ok := strings.CutPrefix(text, "panic serving "); ok {
		crash, stack, _ := strings.Cut(crash, "\n")
		_, what, _ := strings.Cut(crash, ": ") // behind the client's address
		l.gw.metrics().Panic()
		l.gw.Log.Error("engine panicked", KeyID, l.w.id, KeyClient, l.w.client.Addr().String(), l.gw.fault(what), KeyStack, stack)
		return len(p), nil
	}
	l.gw.Log.Warn("engine", l.gw.fault(text))
	return len(p), nil
}
