// Package spool keeps mail that was acknowledged and is not delivered yet, as files that survive a crash and a power cut. It
// does not know when to try what, nor with whom: that is upstream/queue's.
package spool

import (
	"errors"
	"net/netip"
	"time"

	"github.com/postern-mail/postern/mail"
)

// Errors that callers tell apart.
var (
	ErrFull     = errors.New("spool: full")
	ErrNotFound = errors.New("spool: no such entry")
	ErrExists   = errors.New("spool: the id is taken")
	ErrID       = errors.New("spool: malformed id")
	ErrDamaged  = errors.New("spool: damaged")
	ErrVersion  = errors.New("spool: written by a newer version of Postern")
	ErrOwned    = errors.New("spool: another process owns it")
)

// Entry is one acknowledged message: envelope, verdict, and what is to become of it.
type Entry struct {
	ID         string    `json:"id"`
	Time       time.Time `json:"time"` // when it was taken
	Node       string    `json:"node,omitempty"`
	Listener   string    `json:"listener,omitempty"`
	Client     Client    `json:"client,omitzero"`
	User       string    `json:"user,omitempty"`  // who had logged in
	Relay      bool      `json:"relay,omitempty"` // of a client that may relay
	From       string    `json:"from"`            // reverse-path, "" for the null one
	SMTPUTF8   bool      `json:"smtputf8,omitempty"`
	Body8Bit   bool      `json:"body8bit,omitempty"`
	Return     string    `json:"ret,omitempty"`   // RET (RFC 3461 4.3)
	EnvelopeID string    `json:"envid,omitempty"` // ENVID (RFC 3461 4.4), in xtext
	// Bounce says that the reverse-path is proved, or a client's of our own: a report about the message may be sent there.
	Bounce    bool    `json:"bounce,omitempty"`
	Report    bool    `json:"report,omitempty"` // a delivery status notification of our own
	Size      int64   `json:"size"`             // octets as it came; set by Put
	MessageID string  `json:"message_id,omitempty"`
	Subject   string  `json:"subject,omitempty"`
	Groups    []Group `json:"groups"` // at least one
}

// Client is whom a message came from, as mail.Client has it; as whom it has logged in is Entry.User.
type Client struct {
	Addr     netip.AddrPort `json:"addr,omitzero"`
	Server   netip.AddrPort `json:"server,omitzero"`
	Name     string         `json:"name,omitempty"`
	Reverse  string         `json:"reverse,omitempty"`
	Nameless bool           `json:"nameless,omitempty"`
	Helo     string         `json:"helo,omitempty"`
	ESMTP    bool           `json:"esmtp,omitempty"`
}

// Group is recipients of a message who share an upstream, a verdict and the octets that are delivered.
type Group struct {
	Route    string      `json:"route"`
	Upstream string      `json:"upstream"`
	Policy   string      `json:"policy,omitempty"`
	Action   string      `json:"action,omitempty"` // of the verdict
	Because  string      `json:"because,omitempty"`
	Score    float64     `json:"score,omitempty"`
	Size     int64       `json:"size"` // octets that are delivered; set by Put
	To       []Recipient `json:"to"`   // at least one

	// What was marked since the entry was put; Load fills it in.
	Attempts int       `json:"-"` // tries that ended, and left recipients who wait for the next one
	Next     time.Time `json:"-"` // not before; zero: at once
	Warned   bool      `json:"-"` // its sender was told of the delay
	Held     bool      `json:"-"` // by an operator: not tried
}

// Recipient is one of a Group.
type Recipient struct {
	Address  string `json:"address"`
	Notify   string `json:"notify,omitempty"`   // NOTIFY (RFC 3461 4.1)
	Original string `json:"original,omitempty"` // ORCPT (RFC 3461 4.2), as the client wrote it

	// What was marked since; Load fills it in.
	State  State      `json:"-"`
	Reply  mail.Reply `json:"-"` // the last word of a next server; zero for none
	Server string     `json:"-"` // that said it, or was asked last
	Cause  string     `json:"-"` // where there was no word: what went wrong
	Last   time.Time  `json:"-"` // of the last try; zero for none
}

// State is what has become of a recipient.
type State string

// The states. All but Waiting are final.
const (
	Waiting   State = ""
	Delivered State = "delivered" // the next server has taken the responsibility
	Failed    State = "failed"    // given up, and its sender told where that is due
	Kept      State = "kept"      // given up, and the message kept in the quarantine, since its sender can't be told
	Removed   State = "removed"   // by an operator
)

// Mark is one thing that happened to recipients of a group. What is zero in it changes nothing.
type Mark struct {
	Time  time.Time `json:"time"`
	Group int       `json:"group"`
	To    []int     `json:"to,omitempty"` // the recipients' places in the group; none: it is about the group only
	State State     `json:"state,omitempty"`

	Tried  bool       `json:"tried,omitempty"` // the next three are the result of a try; with Next the try has ended, and counts
	Reply  mail.Reply `json:"reply,omitzero"`
	Server string     `json:"server,omitempty"`
	Cause  string     `json:"cause,omitempty"`

	Next   time.Time `json:"next,omitzero"`
	Warned bool      `json:"warned,omitempty"`
	Held   *bool     `json:"held,omitempty"`
}

// Settled reports whether a mark must be on disk before anything else happens: one that ends a recipient's wait, without
// which a second delivery or a second report would come of a crash, or one that an operator asked for.
func (m *Mark) Settled() bool { return m.State != Waiting || m.Warned || m.Held != nil }
