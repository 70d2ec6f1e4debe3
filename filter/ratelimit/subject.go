package ratelimit

import (
	"fmt"
	"strings"

	"golang.org/x/net/publicsuffix"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/filter/auth"
	"github.com/postern-mail/postern/internal/rates"
)

// What is counted.
const (
	messages   = "messages"
	recipients = "recipients"
	octets     = "octets"
)

// subject is one whose mail is counted.
type subject struct {
	about  string // ofClient …
	name   string
	shown  string // to the client
	limits limits
	table  filter.Table
	times  int64
}

// claim is what is to be taken of one rate.
type claim struct {
	subject
	what string
	rate rates.Rate
	key  filter.Digest
	n    int64
}

// String names the limit: "100 messages in 1h".
func (c claim) String() string {
	_, per, _ := strings.Cut(c.rate.String(), "/")
	return fmt.Sprintf("%d %s in %s", c.rate.Most, c.what, per)
}

func (s subject) claims(what string, all list, n int64) (out []claim) {
	for _, r := range all {
		// The key has no factor in it: what is used is a share of the whole.
		out = append(out, claim{s, what, r.Times(s.times), r.Key(what, s.name), n})
	}
	return out
}

// subjects lists who is counted at this client and sender. Hosts that may relay and users are counted as such only: a
// mail server of ours is a network with many senders.
func (c *check) subjects(in *filter.Input) []subject {
	s := in.Session
	switch {
	case s.User != "":
		return c.one(nil, subject{about: ofUser, name: s.User, shown: "your account", limits: c.ofUser(in), times: 1})
	case s.Relay:
		return c.one(nil, subject{about: ofRelay, name: s.Client.Addr().Unmap().WithZone("").String(), shown: "your address", limits: c.Relay, times: 1})
	}
	factor, network := int64(1), "unknown"
	if n := s.Network(); n.IsValid() {
		network = n.String()
	}
	client := network
	if s.Big != "" { // one of many networks, each with a share of its mail
		factor, client = times, s.Big+" "+network
	}
	all := c.one(nil, subject{about: ofClient, name: client, shown: "your network", limits: c.Client, times: factor})
	if from := in.Transaction.From; from.Domain() != "" {
		name := registered(from.Domain())
		shown := "mail of " + name
		if auth.SendsFor(in) == "" {
			// Nobody uses up the limit of a domain that he only claims to be.
			name, shown = name+" from "+network, shown+" from your network"
		}
		all = c.one(all, subject{about: ofSender, name: name, shown: shown, limits: c.Sender, times: factor})
	}
	return all
}

// ofUser gives the limits of a user: where he has some of his own, they are in the place of those on the recipients of all.
func (c *check) ofUser(in *filter.Input) limits {
	l := c.User
	own, ok := auth.UserLimits.From(in)
	if !ok || len(own) == 0 {
		return l
	}
	l.Recipients = nil
	for _, o := range own {
		l.Recipients = append(l.Recipients, rates.Rate{Most: o.Recipients, Per: o.Per})
	}
	return l
}

// one adds a subject that there are limits for.
func (c *check) one(all []subject, s subject) []subject {
	if s.table = c.tables[s.about]; s.table == nil {
		return all
	}
	return append(all, s)
}

// registered gives the domain that somebody has registered, so that nobody has a limit for each name below it.
func registered(domain string) string {
	if d, err := publicsuffix.EffectiveTLDPlusOne(domain); err == nil {
		return d
	}
	return domain
}
