// Package signing decides which keys sign and seal a message that is about to leave, and makes the fields that belong
// on top of it. It reads no files, judges no mail and changes none.
package signing

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/internal/dkim"
	"github.com/postern-mail/postern/mail"
)

// Key is a private key and the place of its record in the DNS.
type Key struct {
	Domain     string // d=, A-labels in lower case
	Selector   string // s=
	Subdomains bool   // it also signs for the domains below that have no key
	Private    crypto.Signer
}

func (k Key) name() string { return k.Domain + "/" + k.Selector }

// Options say what is signed, and how.
type Options struct {
	Keys     []Key         // for mail of clients that may relay
	Seal     *Key          // for mail from elsewhere; nil: none is sealed
	Oversign []string      // names of fields that nobody may add to a signed message
	Expire   time.Duration // how long signatures are good; 0: for ever
	Now      func() time.Time
}

// Signer signs and seals. It is safe for concurrent use.
type Signer struct {
	o       Options
	signers map[string]*dkim.Signer // by name of the key
}

// New makes a Signer. The error says which key can't sign.
func New(o Options) (*Signer, error) {
	s := &Signer{o: o, signers: map[string]*dkim.Signer{}}
	for _, k := range o.Keys {
		if k.Private == nil {
			return nil, fmt.Errorf("signing: the key %s is missing", k.name())
		}
		s.signers[k.name()] = &dkim.Signer{Domain: k.Domain, Selector: k.Selector, Key: k.Private, Lifetime: o.Expire, Now: o.Now}
	}
	if o.Seal != nil && o.Seal.Private == nil {
		return nil, fmt.Errorf("signing: the key %s is missing", o.Seal.name())
	}
	return s, nil
}

// The bounds of a header that is signed: those of what is taken in are less, and our own fields are few.
const (
	maxHeader = 64 << 20
	maxFields = 100_000
)

// Sign gives the fields that belong on top of m: DKIM signatures for a client that may relay, an ARC Set for any other,
// and says for the log what they are or why there are none. An error means that a signature that is due can't be made.
func (s *Signer) Sign(ctx context.Context, in *filter.Input, m *mail.Message) (top []byte, note string, err error) {
	relay := in.Session != nil && in.Session.Relay
	if relay && len(s.o.Keys) == 0 || !relay && s.o.Seal == nil {
		return nil, "", nil
	}
	h, err := m.Header(mail.Limits{HeaderOctets: maxHeader, Fields: maxFields})
	switch {
	case err != nil:
		return nil, "", fmt.Errorf("signing: %w", err)
	case h.Truncated():
		return nil, "", errors.New("signing: the header is too large")
	case ctx.Err() != nil:
		return nil, "", fmt.Errorf("signing: %w", ctx.Err())
	}
	why := unreadable(h)
	switch {
	case why != "" && relay:
		return nil, "not signed: " + why, nil
	case why != "":
		return nil, "not sealed: " + why, nil
	case relay:
		return s.sign(h, m)
	}
	return s.seal(in, h, m)
}

// sign makes a signature with every key for the author's domain.
func (s *Signer) sign(h *mail.Header, m *mail.Message) (top []byte, note string, err error) {
	domain, why := author(h)
	if why != "" {
		return nil, "not signed: " + why, nil
	}
	keys := keysFor(s.o.Keys, domain)
	if len(keys) == 0 {
		return nil, "not signed: no key for " + domain, nil
	}
	fields := dkim.NewFields(h.Fields())
	names := s.names(fields)
	signers := make([]*dkim.Signer, len(keys))
	note = "dkim"
	for i, k := range keys {
		one := *s.signers[k.name()]
		one.Names = names
		signers[i] = &one
		note += " " + k.name()
	}
	signatures, err := dkim.Sign(fields, m.Tail(h.Octets()), signers...)
	if err != nil {
		return nil, "", fmt.Errorf("signing: %w", err)
	}
	return []byte(strings.Join(signatures, "")), note, nil
}

// names gives the names for h=: those that are worth to be signed as often as they stand, and those of the option, and
// From, once more (RFC 6376 5.4.2, 8.15).
func (s *Signer) names(fields *dkim.Fields) []string {
	over := map[string]bool{"from": true}
	all := []string{"From"}
	for _, name := range s.o.Oversign {
		if !over[strings.ToLower(name)] {
			over[strings.ToLower(name)] = true
			all = append(all, name)
		}
	}
	for _, name := range dkim.SignedNames(fields) {
		if !slices.ContainsFunc(all, func(s string) bool { return strings.EqualFold(s, name) }) {
			all = append(all, name)
		}
	}
	var names []string
	for _, name := range all {
		n := len(fields.Named(strings.ToLower(name)))
		if over[strings.ToLower(name)] {
			n++
		}
		for range n {
			names = append(names, name)
		}
	}
	return names
}
