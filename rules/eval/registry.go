package eval

import (
	"github.com/postern-mail/postern/mail"
	"github.com/postern-mail/postern/rules/text"
)

// registry knows below which names domains are registered.
type registry struct{ tlds *text.TLDs }

// registryOf gives what the settings say; without a word of theirs the public suffix list counts.
func registryOf(s *Settings) *registry { return &registry{s.Text().TLDs} }

// trim gives the registered domain of a host name.
func (r *registry) trim(host string) string { return r.tlds.Registered(mail.LowerASCII(host)) }

// valid reports whether a name of several labels ends in a top-level domain.
func (r *registry) valid(name string) bool { return r.tlds.Valid(mail.LowerASCII(name)) }

// hostOf gives the host of a URI, in lower case, and its registered domain: of an address that itself. It is false for what
// has none that can be.
func (r *registry) hostOf(uri string) (host, domain string, ok bool) { return r.tlds.HostOf(uri) }
