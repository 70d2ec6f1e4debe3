package edge

import (
	"bytes"
	"errors"
	"net"
	"strconv"
	"strings"
	"time"
)

// guard is the net.Conn that one run of the engine is given. The engine never sees more than one command
// line at a time, so that everything behind the line is still ours: the content after DATA, and what a
// client pipelined behind STARTTLS. It never sees content at all: the session reads that from the wire,
// and the engine then finds an empty one.
//
// What the engine does not do right, or can not know, is done here, on the command line or on its reply:
//
//   - STARTTLS: the handshake is made here and the engine started anew, so that nothing said in clear
//     outlives it (RFC 3207 4.2), and a failed handshake ends the connection;
//   - CHUNKING (RFC 3030): the engine offers it and confuses the results of two messages when RSET comes
//     between chunks. It is not offered, and BDAT, whose chunk can't be told from commands by a server
//     that refuses it, ends the connection;
//   - RCPT TO:<postmaster>, which RFC 5321 4.5.1 demands and the engine's parser refuses;
//   - the 421 to MAIL when we drain or the session is old, or to anything after too many errors, and the
//     end of the connection behind it;
//   - soft_bounce for replies that are the engine's own.
type guard struct {
	w       *wire
	mute    bool   // drop the greeting: a run after STARTTLS
	pending []byte // of what the engine is to read
	over    bool
	closed  chan struct{}
}

func newGuard(w *wire, mute bool) *guard {
	return &guard{w: w, mute: mute, closed: make(chan struct{})}
}

// Read gives the engine the next command line, or a part of it.
func (g *guard) Read(p []byte) (n int, err error) {
	if g.over {
		return 0, errEnded
	}
	defer func() {
		if v := recover(); v != nil { // the engine recovers from panics in its commands only
			g.w.crashed(v)
			n, err = 0, errEnded
		}
	}()
	for len(g.pending) == 0 {
		if g.w.lieDown() {
			g.w.rested()
		}
		line, err := g.w.readLine()
		if err != nil {
			return 0, errEnded
		}
		if g.w.sasl { // RFC 4954 4: a line of AUTH is for the engine to read, whatever it looks like
			g.w.sasl, g.pending = false, line
			break
		}
		g.pending = g.command(line)
		if g.w.upgrade {
			return 0, errEnded
		}
	}
	n = copy(p, g.pending)
	g.pending = g.pending[n:]
	return n, nil
}

// Write collects replies.
func (g *guard) Write(p []byte) (int, error) {
	if g.over {
		return len(p), nil
	}
	defer func() {
		if v := recover(); v != nil {
			g.w.crashed(v)
		}
	}()
	if g.mute {
		g.mute = !bytes.HasSuffix(p, crlf)
		return len(p), nil
	}
	g.w.put(p)
	g.w.inspect()
	if len(g.w.out) > replyBuffer && g.w.seen == len(g.w.out) {
		if err := g.w.flush(); err != nil {
			g.w.end(errEnded)
		}
	}
	return len(p), nil
}

// Close ends this run of the engine; the wire is closed by who made it.
func (g *guard) Close() error {
	if !g.over {
		g.over = true
		close(g.closed)
	}
	return nil
}

func (g *guard) LocalAddr() net.Addr  { return g.w.raw.LocalAddr() }
func (g *guard) RemoteAddr() net.Addr { return g.w.raw.RemoteAddr() }

// SetDeadline does nothing, as its kin: the wire sets the deadlines.
func (g *guard) SetDeadline(time.Time) error { return nil }

// SetReadDeadline see SetDeadline.
func (g *guard) SetReadDeadline(time.Time) error { return nil }

// SetWriteDeadline see SetDeadline.
func (g *guard) SetWriteDeadline(time.Time) error { return nil }

var endOfContent = []byte(".\r\n")

// contentRead lets the engine find an empty content: the session has taken the real one.
func (g *guard) contentRead() { g.pending = endOfContent }

// command looks at one command line and gives what the engine is to read of it; nothing if the line was
// answered here.
func (g *guard) command(line []byte) []byte {
	w := g.w
	verb, arg := splitCommand(line)
	w.verb, w.last = verb, verb
	if w.enough(verb) {
		return nil
	}
	switch verb {
	case "EHLO", "HELO":
		w.hellos++
		w.esmtp, w.helo = verb == "EHLO", arg
	case "MAIL":
		if w.noMore() {
			return nil
		}
		w.path, w.params = linePath(line)
		if declaresTooMuch(w.params, w.maxSize()) {
			w.say("552 5.3.4 Message size exceeds the limit")
			return nil
		}
	case "RCPT":
		w.path, w.params = linePath(line)
		line = domainPostmaster(line, w.gateway().Hostname)
	case "STARTTLS":
		w.upgrade = w.offerTLS(arg) && w.secure(w.wait(w.helloEnds)) == nil
		return nil
	case "BDAT":
		w.say("502 5.5.1 BDAT is not offered")
		w.hangUp()
		return nil
	case "AUTH":
		if w.cfg.Relay.Users == nil {
			w.say("502 5.5.1 AUTH is not offered")
			return nil
		}
	case VerbOther, "XCLIENT":
		if w.strayHeader(line) {
			return nil
		}
		// The engine ends the connection at its fourth unknown command, whatever our limit is.
		w.say(unknownCommand(line))
		return nil
	}
	if arg == "" {
		return []byte(verb + "\r\n") // RFC 5321 4.1.1: blanks before the line's end are tolerated
	}
	return line
}

// verbs holds the four-letter verbs and the others that have a name in the metrics.
var verbs = func() map[string]bool {
	m := map[string]bool{}
	for _, v := range Verbs() {
		m[v] = true
	}
	delete(m, VerbEOD)
	delete(m, VerbOther)
	return m
}()

// splitCommand gives a line's verb in upper case, VerbOther if we do not know it, and its argument.
func splitCommand(line []byte) (verb, arg string) {
	text := strings.TrimRight(string(line), "\r\n")
	// The engine takes any line that begins so for STARTTLS; it must never see one.
	if strings.HasPrefix(strings.ToUpper(text), "STARTTLS") {
		return "STARTTLS", strings.TrimSpace(text[len("STARTTLS"):])
	}
	word, rest, _ := strings.Cut(text, " ")
	if verb = strings.ToUpper(word); !verbs[verb] {
		return VerbOther, ""
	}
	return verb, strings.TrimSpace(rest)
}

// linePath gives the path in a line of MAIL or RCPT, and what stands behind it.
func linePath(line []byte) (path, parameters string) {
	_, s, _ := strings.Cut(string(line), ":")
	s = strings.TrimLeft(s, " \t")
	path = commandPath(s)
	_, parameters, _ = strings.Cut(s, path)
	return path, parameters
}

// declaresTooMuch reports whether the parameters of a MAIL have a SIZE (RFC 1870 6.1) above the limit. The engine reads
// no more than 32 bits of it, and calls what is larger a syntax error.
func declaresTooMuch(parameters string, limit int64) bool {
	for _, word := range strings.Fields(parameters) {
		name, value, ok := strings.Cut(word, "=")
		if !ok || !strings.EqualFold(name, "SIZE") || strings.Trim(value, "0123456789") != "" {
			continue
		}
		size, err := strconv.ParseInt(value, 10, 64)
		return errors.Is(err, strconv.ErrRange) || err == nil && size > limit
	}
	return false
}

// domainPostmaster gives the line, with our domain put behind a <postmaster> that has none (RFC 5321
// 4.1.1.3, 4.5.1): the engine takes no path without one. The session goes by the path as it came.
func domainPostmaster(line []byte, hostname string) []byte {
	const path = "<postmaster>"
	i := bytes.IndexByte(line, '<')
	if i < 0 || len(line) < i+len(path) || !bytes.EqualFold(line[i:i+len(path)], []byte(path)) {
		return line
	}
	at := i + len(path) - 1
	out := make([]byte, 0, len(line)+1+len(hostname))
	out = append(append(out, line[:at]...), '@')
	return append(append(out, hostname...), line[at:]...)
}
