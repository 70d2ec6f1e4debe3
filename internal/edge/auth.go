package edge

import (
	"bytes"
	"context"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/internal/users"
	"github.com/postern-mail/postern/mail"
)

var _ smtp.AuthSession = (*session)(nil)

// The mechanisms: passwords that cross the connection as they are, which TLS protects. Every client knows PLAIN (RFC 4616);
// LOGIN, which was never a standard, is what printers and old programs know.
const (
	mechanismPlain = "PLAIN"
	mechanismLogin = "LOGIN"
)

// maxFailures is how many failed logins a connection may have.
const maxFailures = 5

// maxShownName is how many octets of a name go to the log.
const maxShownName = 255

// AuthMechanisms lists what EHLO offers: nothing where nobody may log in, or not in clear. It is the same after a
// login, since it also says that MAIL may have AUTH= (RFC 4954 5).
func (s *session) AuthMechanisms() []string {
	if r := &s.w.cfg.Relay; r.Users == nil || !s.in.ESMTP || r.RequireTLS && s.w.tls == nil {
		return nil
	}
	return []string{mechanismPlain, mechanismLogin}
}

// Auth begins a login with a mechanism, its name in upper case, or says why there can be none. The engine has seen
// to a base64 that is none, and to "*" (RFC 4954 4).
func (s *session) Auth(mechanism string) (_ sasl.Server, err error) {
	defer s.recovered(&err)
	r := &s.w.cfg.Relay
	switch {
	case r.Users == nil:
		return nil, engineError(replyNoAuth)
	case !s.in.ESMTP: // RFC 4954 3: AUTH is one of the extensions that EHLO asks for
		return nil, engineError(replyAuthEHLO)
	case s.w.user != nil: // RFC 4954 4: after a login there is no other
		return nil, engineError(replyAuthAgain)
	case s.tx != nil:
		return nil, engineError(replyAuthOpen)
	case r.RequireTLS && s.w.tls == nil: // RFC 4954 6: said to whoever tries what he was not offered
		return nil, engineError(replyAuthTLS)
	}
	switch mechanism {
	case mechanismPlain:
		return &plain{s}, nil
	case mechanismLogin:
		return &login{s: s}, nil
	}
	return nil, engineError(replyMechanism)
}

// plain is the server's side of PLAIN (RFC 4616).
type plain struct{ s *session }

// Next implements sasl.Server.
func (p *plain) Next(response []byte) (challenge []byte, done bool, err error) {
	defer p.s.recovered(&err)
	if response == nil {
		return []byte{}, false, nil
	}
	// RFC 4616 2: message = [authzid] UTF8NUL authcid UTF8NUL passwd
	parts := bytes.Split(response, []byte{0})
	if len(parts) != 3 || len(parts[1]) == 0 || len(parts[2]) == 0 {
		return nil, false, p.s.malformed(mechanismPlain)
	}
	return nil, true, p.s.login(attempt{
		mechanism: mechanismPlain, as: string(parts[0]), name: string(parts[1]), password: string(parts[2]),
	})
}

// login is the server's side of LOGIN: it asks for a name, then for a password. Many clients send the name with the
// command, which RFC 4954 4 would have us refuse; see docs/quirks.md.
type login struct {
	s     *session
	name  string
	asked int
}

// The challenges are those that clients look for, in their own words.
var loginChallenges = []string{"Username:", "Password:"}

// Next implements sasl.Server.
func (l *login) Next(response []byte) (challenge []byte, done bool, err error) {
	defer l.s.recovered(&err)
	if response == nil && l.asked == 0 {
		l.asked++
		return []byte(loginChallenges[0]), false, nil
	}
	if len(response) == 0 || bytes.IndexByte(response, 0) >= 0 {
		return nil, false, l.s.malformed(mechanismLogin)
	}
	if l.name == "" {
		l.name = string(response)
		return []byte(loginChallenges[1]), false, nil
	}
	return nil, true, l.s.login(attempt{mechanism: mechanismLogin, name: l.name, password: string(response)})
}

// attempt is what a client says who it is.
type attempt struct {
	mechanism string
	as        string // whom it wants to be: nobody but itself
	name      string
	password  string
}

// malformed answers a response that is none of the mechanism's.
func (s *session) malformed(mechanism string) error {
	s.recordAuth(attempt{mechanism: mechanism}, nil, AuthMalformed)
	return engineError(named(replyAuthSyntax, s.in.ID))
}

// login says whether the client is who it says, and gives it the right to relay if it is.
func (s *session) login(a attempt) error {
	r := &s.w.cfg.Relay
	client := s.w.client.Addr()
	list := r.Users.List()
	u, result := r.Checker.Check(s.w.ctx, list, users.Attempt{
		Client: client, Home: s.in.Exempt || s.w.mayRelay(), Name: a.name, Password: a.password,
	})
	if u != nil && a.as != "" && list.Find(a.as) != u {
		u, result = nil, users.Wrong // RFC 4616 2: nobody acts for another here
	}
	s.recordAuth(a, list.Find(a.name), authWords[result])
	switch result {
	case users.Right:
		s.w.user = u
		s.become(u)
		return nil
	case users.Busy:
		return engineError(named(replyAuthBusy, s.in.ID))
	case users.Throttled, users.Wrong:
	}
	if s.w.failures++; s.w.failures >= maxFailures {
		return engineError(named(replyAuthEnough, s.in.ID))
	}
	if result == users.Throttled {
		return engineError(named(replyAuthThrottled, s.in.ID))
	}
	return engineError(named(replyAuthWrong, s.in.ID))
}

// become makes the session that of a user: it may relay, and what was said against a stranger is forgotten.
func (s *session) become(u *users.User) {
	s.in = s.in.With(func(in *filter.Session) { asUser(in, u) })
	s.reports, s.refusal = nil, nil
}

// stillMay takes note of what has become of the user since the last message. A user that is gone, or has another password,
// has to log in again.
func (s *session) stillMay() bool {
	if s.w.user == nil {
		return true
	}
	u := s.w.cfg.Relay.Users.List().Still(s.w.user)
	if u == nil {
		return false
	}
	s.w.user = u
	return true
}

// What is told of a login to the metrics and the log.
const (
	AuthOK        = "ok"
	AuthWrong     = "wrong"     // no such user, or not his password
	AuthThrottled = "throttled" // too many failures before it
	AuthBusy      = "busy"      // too many at the same time
	AuthMalformed = "malformed" // not what the mechanism has
)

// AuthResults lists the values of the result label of logins.
func AuthResults() []string {
	return []string{AuthOK, AuthWrong, AuthThrottled, AuthBusy, AuthMalformed}
}

var authWords = map[users.Result]string{
	users.Right: AuthOK, users.Wrong: AuthWrong, users.Throttled: AuthThrottled, users.Busy: AuthBusy,
}

// recordAuth writes the one line of a login, and counts it. u is the user of the name, if there is one. A name that is
// neither a user's nor an address is not shown: many a password was typed there.
func (s *session) recordAuth(a attempt, u *users.User, result string) {
	gw := s.gw
	name := "?"
	if address, err := mail.ParseAddress(a.name); u != nil || err == nil && address.Domain() != "" {
		name = cut(a.name, maxShownName)
	}
	gw.metrics().Auth(s.w.cfg.Name, result)
	gw.Log.InfoContext(context.WithoutCancel(s.w.ctx), MsgAuth, KeyID, s.in.ID, KeyListener, s.w.cfg.Name, KeyClient, s.in.Client.Addr().String(),
		KeyHelo, s.in.Helo, KeyUser, gw.Privacy.name(name), KeyMechanism, a.mechanism, KeyTLS, s.w.tlsMode, KeyResult, result)
}

// mayYetRelay reports whether a client that may not relay could come to it: by a login, or by TLS with a certificate.
// It is not refused before it can.
func (s *session) mayYetRelay() bool {
	r := &s.w.cfg.Relay
	secure := s.w.tls == nil && s.w.cfg.TLS != nil
	return s.in.ESMTP && (len(s.AuthMechanisms()) > 0 || secure && (r.Users != nil || len(r.Certificates) > 0))
}

// completesAtOnce reports whether a mechanism with an initial response needs no more of the client, so that its AUTH may
// stand anywhere in a group of commands (RFC 4954 4).
func completesAtOnce(mechanism string) bool { return mechanism == mechanismPlain }

// maySend tells as whom the user may send; nil: as anybody, for there is no user, or no bounds for him.
func (s *session) maySend() func(mail.Address) bool {
	u := s.w.user
	if u == nil || u.MaySendAsAnybody() {
		return nil
	}
	return u.MaySend
}
