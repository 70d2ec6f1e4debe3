package edge

import (
	"crypto/tls"
	"net/netip"
	"slices"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/filter/auth"
	"github.com/postern-mail/postern/internal/users"
	"github.com/postern-mail/postern/pipeline"
)

// Relay says which clients of a listener may send to domains that are not ours. The zero value is nobody: nothing but
// what stands here gives the right to relay.
type Relay struct {
	Networks     []netip.Prefix      // unmapped; in clear too
	Certificates []users.Certificate // whoever has shown one
	Users        *users.File         // whoever has logged in as one; nil: AUTH is not offered
	Checker      *users.Checker      // compares their passwords; not nil where Users is not
	RequireTLS   bool                // AUTH is offered within TLS only
}

// dropHeld takes out of reports what is held for the rcpt phase: it does not count for clients that may relay.
func dropHeld(rs pipeline.Reports) pipeline.Reports {
	rs = slices.Clone(rs)
	for i := range rs {
		if r := &rs[i].Result; r.Hold {
			r.Propose, r.Aggravated, r.Reply, r.Hold = filter.Continue, filter.Continue, nil, false
		}
	}
	return rs
}

// allows reports whether a client may relay by what its connection shows. The address is unmapped.
func (r *Relay) allows(client netip.Addr, t *tls.ConnectionState) bool {
	return within(r.Networks, client) ||
		slices.ContainsFunc(r.Certificates, func(c users.Certificate) bool { return c.Shown(t) })
}

// asUser notes in a session whose it is.
func asUser(in *filter.Session, u *users.User) {
	in.User, in.Relay = u.Name, true
	var limits []auth.UserLimit
	for _, r := range u.Rates {
		limits = append(limits, auth.UserLimit{Recipients: int64(r.Recipients), Per: r.Per})
	}
	if len(limits) > 0 {
		in.Record(auth.UserLimits.Of(limits))
	}
}
