package edge

import (
	"encoding/base64"
	"strings"

	"github.com/emersion/go-smtp"
)

// mechanisms lists the SASL mechanisms that the session offers here and now.
func (d *dialog) mechanisms() []string {
	if s, ok := d.session.(smtp.AuthSession); ok {
		return s.AuthMechanisms()
	}
	return nil
}

// auth serves AUTH (RFC 4954 4).
func (d *dialog) auth(arg string) {
	w := d.w
	name, initial, has := strings.Cut(arg, " ")
	s, ok := d.session.(smtp.AuthSession)
	switch {
	case d.session == nil:
		w.say("503 5.5.1 EHLO first")
		return
	case !ok || w.cfg.Relay.Users == nil:
		w.say("502 5.5.1 AUTH is not offered")
		return
	case name == "":
		w.say("501 5.5.4 AUTH wants a mechanism")
		return
	case !(has && completesAtOnce(strings.ToUpper(name))) && !d.inTurn():
		return
	}
	server, err := s.Auth(strings.ToUpper(name))
	if err != nil {
		d.answer(err, "")
		return
	}
	var response []byte
	if has {
		if response, ok = decodeSASL(strings.TrimSpace(initial)); !ok {
			w.say("501 5.5.2 Malformed base64")
			return
		}
	}
	for {
		challenge, done, err := server.Next(response)
		switch {
		case err != nil:
			d.answer(err, "")
			return
		case done:
			w.say("235 2.7.0 Authentication succeeded")
			return
		}
		if response, ok = d.challenge(challenge); !ok {
			return
		}
	}
}

// challenge sends a challenge and gives the client's response to it; ok is false where the exchange is over.
func (d *dialog) challenge(c []byte) (response []byte, ok bool) {
	w := d.w
	w.say("334 " + base64.StdEncoding.EncodeToString(c))
	line, err := w.readLine()
	w.sasl = false
	if err != nil {
		return nil, false
	}
	text := strings.TrimRight(string(line), "\r\n")
	switch {
	case text == "*": // RFC 4954 4
		w.say("501 5.7.0 Authentication cancelled")
		return nil, false
	case !d.inTurn():
		return nil, false
	}
	if response, ok = decodeSASL(text); !ok {
		w.say("501 5.5.2 Malformed base64")
	}
	return response, ok
}

// decodeSASL decodes a response; "=" is an empty one. RFC 4954 4: a character that is none of base64 is refused, which
// Go does but for line ends.
func decodeSASL(s string) ([]byte, bool) {
	if s == "=" {
		return []byte{}, true
	}
	b, err := base64.StdEncoding.Strict().DecodeString(s)
	return b, err == nil && !strings.ContainsAny(s, "\r\n")
}
