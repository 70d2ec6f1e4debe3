package filter

import (
	"crypto/tls"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/postern-mail/postern/mail"
)

// Input is what a filter is given. It is read-only, and so is all that it points to: a filter that has
// been abandoned may still be reading while the session goes on. What a phase has not reached is nil.
type Input struct {
	Phase       Phase // in which Check is called
	Session     *Session
	Transaction *Transaction  // from the mail phase on
	Recipient   *Recipient    // in the rcpt phase only
	Content     *mail.Content // in the data phase only
	// For are those of Transaction.Recipients whose policy asks, in the data phase only. See Spec.Apart.
	For  []mail.Address
	Kept *Kept // of the message, for all policies that ask about it, in the data phase only; nil keeps nothing. See KeptBy
}

// Session is what is known of the client. It is made anew by EHLO, STARTTLS and AUTH, never changed.
type Session struct {
	Scope
	ID       string         // id of the connection
	Listener string         // name of the listener in the configuration
	Client   netip.AddrPort // unmapped: never ::ffff:a.b.c.d
	Server   netip.AddrPort // our side, unmapped
	PTR      string         // confirmed name of the client, "" when not looked up or not confirmed
	Helo     string         // argument of EHLO or HELO, "" before
	ESMTP    bool           // EHLO
	TLS      *tls.ConnectionState
	User     string // authenticated user, "" for none
	Relay    bool   // may relay: SPF and the like never run for it
	Exempt   bool   // of exempt_networks: no lists, greylisting, rates
	Early    bool   // spoke before it was greeted (RFC 5321 3.1)
	Big      string // the domain of the big sender whose networks the client belongs to, "" for none
	Began    time.Time
}

// With gives a session of its own that differs from s in what change sets, with the facts of s. The old one, which a
// filter that was abandoned may still be reading, stays as it is.
func (s *Session) With(change func(*Session)) *Session {
	c := s.Knowing(s.Facts())
	change(c)
	return c
}

// Knowing gives a session of its own like s, with these facts in place of those of s.
func (s *Session) Knowing(facts []Fact) *Session {
	c := &Session{
		ID: s.ID, Listener: s.Listener, Client: s.Client, Server: s.Server, PTR: s.PTR, Helo: s.Helo, ESMTP: s.ESMTP, TLS: s.TLS,
		User: s.User, Relay: s.Relay, Exempt: s.Exempt, Early: s.Early, Big: s.Big, Began: s.Began,
	}
	c.Record(facts...)
	return c
}

// Network gives the IPv4 /24 or IPv6 /64 that the client's address is in: the least that a site has. It is not valid where
// the address is not known.
func (s *Session) Network() netip.Prefix {
	client := s.Client.Addr().Unmap().WithZone("")
	bits := 64
	if client.Is4() {
		bits = 24
	}
	n, _ := client.Prefix(bits)
	return n
}

// Transaction is one mail transaction (RFC 5321 3.3), from MAIL to its end.
type Transaction struct {
	Scope
	ID       string // Postern's id: in replies, log, records and the Received field
	From     mail.Address
	Size     int64 // SIZE= of MAIL, 0 for none
	SMTPUTF8 bool
	Body8Bit bool
	// Recipients are those accepted, in order: complete in the data phase, nil before.
	Recipients []mail.Address
	Began      time.Time
}

// Knowing gives a transaction of its own like t, with these facts in place of those of t.
func (t *Transaction) Knowing(facts []Fact) *Transaction {
	c := &Transaction{
		ID: t.ID, From: t.From, Size: t.Size, SMTPUTF8: t.SMTPUTF8, Body8Bit: t.Body8Bit, Recipients: t.Recipients, Began: t.Began,
	}
	c.Record(facts...)
	return c
}

// Recipient is one RCPT.
type Recipient struct {
	Scope
	Address mail.Address
	Route   string // name of the route that was chosen
	Exempt  bool   // postmaster, abuse and the like
}

// Scope holds the facts found in one session, transaction or for one recipient. It is safe for concurrent
// use.
type Scope struct {
	facts atomic.Pointer[[]Fact]
}

// Record adds facts; a fact recorded again under the same key takes the place of the older one. It is
// for the pipeline: a filter returns its facts in its Result.
func (s *Scope) Record(facts ...Fact) {
	if len(facts) == 0 {
		return
	}
	for {
		old := s.facts.Load()
		var all []Fact
		if old != nil {
			all = append(all, *old...)
		}
		all = append(all, facts...)
		if s.facts.CompareAndSwap(old, &all) {
			return
		}
	}
}

// Facts lists what was recorded, oldest first. The slice is not to be changed.
func (s *Scope) Facts() []Fact {
	if s == nil {
		return nil
	}
	if p := s.facts.Load(); p != nil {
		return *p
	}
	return nil
}

func (s *Scope) find(key string) (any, bool) {
	facts := s.Facts()
	for i := len(facts) - 1; i >= 0; i-- {
		if facts[i].Key == key {
			return facts[i].Value, true
		}
	}
	return nil, false
}

// Fact is one thing known, under the name of its Key.
type Fact struct {
	Key   string
	Value any
}

// Key names a kind of fact and fixes its type: filters that share a fact share the key, which lives in
// package filter/auth or beside the filter that provides it.
type Key[T any] string

// Of makes a fact.
func (k Key[T]) Of(v T) Fact { return Fact{Key: string(k), Value: v} }

// From finds the fact in the narrowest scope of in that has it.
func (k Key[T]) From(in *Input) (T, bool) {
	for _, s := range in.scopes() {
		if s == nil {
			continue
		}
		if v, ok := s.find(string(k)); ok {
			t, ok := v.(T)
			return t, ok
		}
	}
	var none T
	return none, false
}

// Among finds the newest fact of this key in a list.
func (k Key[T]) Among(facts []Fact) (T, bool) {
	for i := len(facts) - 1; i >= 0; i-- {
		if facts[i].Key == string(k) {
			t, ok := facts[i].Value.(T)
			return t, ok
		}
	}
	var none T
	return none, false
}

// scopes lists the scopes, the narrowest first; nil for one that is not there.
func (in *Input) scopes() (s [3]*Scope) {
	if in.Recipient != nil {
		s[0] = &in.Recipient.Scope
	}
	if in.Transaction != nil {
		s[1] = &in.Transaction.Scope
	}
	if in.Session != nil {
		s[2] = &in.Session.Scope
	}
	return s
}
