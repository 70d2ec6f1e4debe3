package edge

import (
	"strings"
	"time"
)

// What both engines do with a command line before they know what it means, or where they do not.

// enough ends the connection of a client that has made too many errors, or that only keeps its place. QUIT is still
// answered.
func (w *wire) enough(verb string) bool {
	if w.lingers(verb) {
		w.gateway().Log.Info("client only keeps its place", KeyListener, w.cfg.Name, KeyClient, w.client.Addr().String(), KeyHelo, cut(w.helo, maxHello))
		w.say("421 4.4.2 No mail for too long")
		w.hangUp()
		return true
	}
	if w.errors < w.mostErrors() || verb == "QUIT" {
		return false
	}
	w.gateway().Log.Info("too many errors", KeyListener, w.cfg.Name, KeyClient, w.client.Addr().String(), KeyHelo, cut(w.helo, maxHello))
	w.say("421 4.7.0 Too many errors")
	w.hangUp()
	return true
}

// lingers reports whether a client has said nothing for long but what brings no mail. Silence is not all that keeps a
// place: NOOP now and then would do so for the session's whole life. What counts is that a recipient was accepted, or
// content came; MAIL does not, as RSET undoes it. Who is known, or has logged in, may keep a connection for later.
func (w *wire) lingers(verb string) bool {
	switch verb {
	case "MAIL", "RCPT", "DATA", "BDAT", "STARTTLS", "AUTH", "QUIT":
		return false
	}
	now, most := time.Now(), 2*w.cfg.Limits.Idle
	if w.moved {
		w.moved, w.movedAt = false, now
	}
	return !w.known && w.user == nil && now.Sub(w.began) > most && now.Sub(w.movedAt) > most
}

// noMore ends the connection at a MAIL that we will not take.
func (w *wire) noMore() bool {
	why := w.whyNoMore()
	if why == "" {
		return false
	}
	w.say(why)
	w.hangUp()
	return true
}

func (w *wire) whyNoMore() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.busy:
		return "" // the session refuses a second MAIL itself
	case w.draining:
		return "421 4.3.2 Service shutting down"
	case time.Since(w.began) > sessionLife:
		return "421 4.3.2 This session has lasted long enough"
	}
	return ""
}

// unknownCommand gives the reply to a command that is not ours to know: RFC 5321 4.2.4 tells those that are not
// implemented from those that do not exist.
func unknownCommand(line []byte) string {
	switch word, _, _ := strings.Cut(strings.ToUpper(strings.TrimSpace(string(line))), " "); word {
	case "EXPN", "HELP", "SEND", "SOML", "SAML", "TURN", "ETRN":
		return "502 5.5.1 Command not implemented"
	}
	return "500 5.5.2 Command not recognized"
}

// commandPath gives the path that s, what stands behind the colon of MAIL or RCPT, begins with: as it stands on the wire,
// with its angle brackets; without them where the client left them out. go-smtp hands on a mailbox whose quotes are gone, from which
// nobody can tell <"a@b"@c> from <a@b@c>.
func commandPath(s string) string {
	quoted := false
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '>':
			return s[:i+1]
		case c == ' ' || c == '\t' || c == '\r' || c == '\n':
			return s[:i]
		}
	}
	return strings.TrimRight(s, "\r\n")
}
