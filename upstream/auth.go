package upstream

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"github.com/postern-mail/postern/mail"
)

// Auth is what a pool authenticates itself with to its servers (RFC 4954). The password goes only to servers with which
// TLS was begun, and into no text of this package's making.
type Auth struct {
	User     string
	Password string
}

// String gives the user alone.
func (a *Auth) String() string { return "user " + a.User }

const (
	// maxCredential is how many octets a user's name and a password may have. RFC 4616 2 lets servers stop at 255;
	// there are tokens that are longer.
	maxCredential = 1024
	// maxCommand is how long a command line may be without its CRLF (RFC 5321 4.5.3.1.4).
	maxCommand = 510
	// maxAuthText is how much of a reply to AUTH is kept.
	maxAuthText = 1000
	// echo is how many octets in a row of what authenticates us make a text unfit to be shown.
	echo = 8
)

// errAuth marks a server to which we can't authenticate ourselves.
var errAuth = errors.New("no authentication")

// check reports what can't be sent. RFC 4616 2: neither part may be empty or have a NUL.
func (a *Auth) check() error {
	switch {
	case a.User == "" || a.Password == "":
		return errors.New("auth needs a user and a password")
	case strings.Contains(a.User, "\x00") || strings.Contains(a.Password, "\x00"):
		return errors.New("auth: a NUL in the user or the password")
	case len(a.User) > maxCredential || len(a.Password) > maxCredential:
		return fmt.Errorf("auth: a user or a password of more than %d octets", maxCredential)
	}
	return nil
}

// mechanisms are those of a server's AUTH that a password can be used with; offered says that it has AUTH at all.
type mechanisms struct{ offered, plain, login bool }

// parseMechanisms reads what follows the keyword AUTH (RFC 4954 3).
func parseMechanisms(value string) mechanisms {
	m := mechanisms{offered: true}
	for name := range strings.FieldsSeq(value) {
		switch strings.ToUpper(name) {
		case "PLAIN":
			m.plain = true
		case "LOGIN":
			m.login = true
		}
	}
	return m
}

// authenticate says AUTH, with PLAIN (RFC 4616) or else with LOGIN: within TLS, mechanisms that hide the password keep it
// from nobody but the server. Whatever the server says but 235 is a matter between its administrator and ours.
func (d *dialer) authenticate(c *conn) Outcome {
	a, start := d.cfg.Auth, c.now
	if c.tls == nil {
		// RFC 4954 4, RFC 4616 4: no password over a connection that others can read.
		return c.failed(StageAuth, mail.Reply{}, fmt.Errorf("upstream: %s: %w: without TLS", c.server, errAuth))
	}
	var lines []string // what is said, each but the last to be answered with 334
	switch m := c.ext.auth; {
	case m.plain:
		lines = plain(a)
	case m.login:
		lines = []string{"AUTH LOGIN", encode(a.User), encode(a.Password)}
	case m.offered:
		return c.failed(StageAuth, mail.Reply{}, fmt.Errorf("upstream: %s: %w: AUTH without PLAIN and LOGIN", c.server, errAuth))
	default:
		return c.failed(StageAuth, mail.Reply{}, fmt.Errorf("upstream: %s: %w: AUTH is not offered", c.server, errAuth))
	}
	for i, line := range lines {
		r, err := c.ask(line)
		want := 334
		if i == len(lines)-1 {
			want = 235
		}
		// What stands in a challenge is not looked at: PLAIN has none, and those of LOGIN come in many words.
		if err != nil || r.Code != want || c.broken {
			if errors.Is(err, errProtocol) {
				err = fmt.Errorf("upstream: %s: %w: in reply to AUTH", c.server, errProtocol) // the cause quotes the server
			}
			return c.failed(StageAuth, a.withoutEcho(r), err)
		}
	}
	d.cfg.Hooks.phase(c.server, StageAuth, c.now.Sub(start))
	return Outcome{Kind: Delivered}
}

// plain gives the lines of AUTH PLAIN. RFC 4954 4: an initial response that makes the command too long is sent after the
// 334.
func plain(a *Auth) []string {
	const command = "AUTH PLAIN"
	response := encode("\x00" + a.User + "\x00" + a.Password)
	if len(command)+1+len(response) > maxCommand {
		return []string{command, response}
	}
	return []string{command + " " + response}
}

func encode(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

// withoutEcho takes the text off a reply that repeats what we said, as servers do with a command that they do not know.
// Replies go to the log.
func (a *Auth) withoutEcho(r mail.Reply) mail.Reply {
	if len(r.Text) > maxAuthText {
		r.Text = strings.ToValidUTF8(r.Text[:maxAuthText], "")
	}
	text := strings.ToLower(r.Text)
	for _, s := range []string{a.Password, encode(a.Password), encode("\x00" + a.User + "\x00" + a.Password)} {
		s = strings.ToLower(s)
		for n := min(echo, len(s)); len(s) >= n; s = s[1:] {
			if strings.Contains(text, s[:n]) {
				r.Text = "(not shown: it repeats what authenticates us)"
				return r
			}
		}
	}
	return r
}
