package edge

import (
	"crypto/tls"
	"net/netip"

	"github.com/postern-mail/postern/internal/users"
	"github.com/postern-mail/postern/mail"
)

// Partner is whose mail must come within TLS: that of a domain, or that of a network.
type Partner struct {
	Domain      string             // of the reverse-path; "": the network counts
	Below       bool               // the domains below Domain, in its place
	Network     netip.Prefix       // unmapped
	Certificate *users.Certificate // that the client must show; nil: any, or none
}

// names reports whether mail of this client and domain is meant.
func (p *Partner) names(client netip.Addr, domain string) bool {
	switch {
	case p.Domain == "":
		return p.Network.Contains(client)
	case p.Below:
		return domain != p.Domain && mail.Within(domain, p.Domain)
	}
	return domain == p.Domain
}

// insecure says how a mail of this client and reverse-path fails to come as its partner promised; the zero Reply is
// that it does not. Clients that may relay promised nothing: they are ours.
func (gw *Gateway) insecure(client netip.Addr, from mail.Address, t *tls.ConnectionState) mail.Reply {
	for i := range gw.Partners {
		p := &gw.Partners[i]
		switch {
		case !p.names(client, from.Domain()):
		case t == nil: // RFC 3207 4
			return replyNeedsTLS
		case p.Certificate != nil && !p.Certificate.Shown(t):
			return replyNeedsCertificate
		}
	}
	return mail.Reply{}
}
