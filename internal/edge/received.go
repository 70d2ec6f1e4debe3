package edge

import (
	"crypto/tls"
	"strings"
	"sync/atomic"
	"time"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/mail"
)

// Received makes the trace field that we put on top of what we take (RFC 5321 4.4).
func Received(hostname string, s *filter.Session, t *filter.Transaction, to []mail.Address, now time.Time) mail.AddField {
	return received(fromClause(s), hostname, s, t, to, now)
}

// fromClause names the client in a trace field, and how it is connected.
func fromClause(s *filter.Session) string {
	from := "from " + helloName(s.Helo)
	if s.Client.IsValid() { // a message from a file has no client to name, and RFC 5321 4.4 lets TCP-info be absent
		from += " (" + tcpInfo(s) + ")"
	}
	if s.TLS != nil {
		from += "\r\n\t(using " + tls.VersionName(s.TLS.Version) + " with cipher " + tls.CipherSuiteName(s.TLS.CipherSuite) + ")"
	}
	return from
}

// received makes a trace field of which all that is the same for each message of a client is there.
func received(from, hostname string, s *filter.Session, t *filter.Transaction, to []mail.Address, now time.Time) mail.AddField {
	b := append(make([]byte, 0, 512), from...)
	b = append(append(append(b, "\r\n\tby "...), hostname...), " with "...)
	b = append(append(append(b, protocol(s, t)...), " id "...), t.ID...)
	// RFC 5321 7.2: naming one of several recipients would show the others' copies to each other.
	if len(to) == 1 {
		b = append(append(append(b, "\r\n\tfor <"...), to[0].String()...), '>')
	}
	b = append(append(b, ";\r\n\t"...), date(now)...)
	return mail.AddField{Name: "Received", Body: string(b)}
}

// dateTime is RFC 5322's date-time (3.3), for package time.
const dateTime = "Mon, 2 Jan 2006 15:04:05 -0700"

// lastDate is the date-time of the second at hand, which many messages share.
var lastDate atomic.Pointer[struct {
	second int64
	zone   *time.Location
	text   string
}]

// date writes a time as a date-time.
func date(t time.Time) string {
	last := lastDate.Load()
	if last == nil || last.second != t.Unix() || last.zone != t.Location() {
		last = &struct {
			second int64
			zone   *time.Location
			text   string
		}{t.Unix(), t.Location(), t.Format(dateTime)}
		lastDate.Store(last)
	}
	return last.text
}

// tcpInfo names the client by what the connection shows: a confirmed name if there is one, and the
// address as a literal.
func tcpInfo(s *filter.Session) string {
	name := "unknown"
	if s.PTR != "" {
		name = helloName(s.PTR)
	}
	addr := s.Client.Addr()
	if addr.Is6() {
		return name + " [IPv6:" + addr.String() + "]" // RFC 5321 4.1.3
	}
	return name + " [" + addr.String() + "]"
}

// protocol is the "with" keyword of the transaction (RFC 3848, RFC 6531 4.3).
func protocol(s *filter.Session, t *filter.Transaction) string {
	if !s.ESMTP {
		return "SMTP"
	}
	p := "ESMTP"
	if t.SMTPUTF8 {
		p = "UTF8SMTP"
	}
	if s.TLS != nil {
		p += "S"
	}
	if s.User != "" {
		p += "A"
	}
	return p
}

// helloName makes the argument of EHLO, or another name from outside, fit for a field: what could end a
// comment, a word or the field becomes "?".
func helloName(s string) string {
	if isPlainName(s) {
		return s
	}
	s = strings.Map(func(c rune) rune {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', strings.ContainsRune("-._:[]", c):
			return c
		}
		return '?'
	}, s)
	if s == "" {
		return "unknown"
	}
	return s
}

// isPlainName reports whether helloName would leave a name as it is, as it does with nearly all.
func isPlainName(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < 'a' || 'z' < c) && (c < 'A' || 'Z' < c) && (c < '0' || '9' < c) && strings.IndexByte("-._:[]", c) < 0 {
			return false
		}
	}
	return s != ""
}

// Missing makes the fields that a message of a client that may relay lacks (RFC 6409 8.2, 8.3), which nobody behind us could
// make without breaking our signature: Date, and a Message-ID of the transaction's id. They belong below our Received field.
// Who wrote the message is for the client to say: no From is made up.
func Missing(h *mail.Header, hostname, id string, now time.Time) (all []mail.Edit) {
	if h.Count("Date") == 0 {
		all = append(all, mail.AddField{Name: "Date", Body: date(now)})
	}
	if h.Count("Message-ID") == 0 {
		all = append(all, mail.AddField{Name: "Message-ID", Body: ownMessageID(hostname, id)})
	}
	return all
}

// ownMessageID is the Message-ID of a message that came without one.
func ownMessageID(hostname, id string) string { return "<" + id + "@" + hostname + ">" }
