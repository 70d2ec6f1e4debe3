package upstream

import (
	"crypto/x509"
	"errors"
	"fmt"
	"strings"

	"github.com/postern-mail/postern/mail"
)

// ErrInsecure is the cause where a server could have the message over a connection that others might read, and a recipient's mail
// may not go over one. The server is no worse for other mail.
var ErrInsecure = errors.New("mail to a recipient's domain may leave within TLS only")

// SecureDomain names recipients whose mail leaves within TLS only, whatever the TLSMode of a pool is.
type SecureDomain struct {
	Domain string // in the form of mail.Address.Domain, or "*." and such a domain for those below it
	Verify bool   // the certificate must be valid for the server's name, too
}

// SecureDomains are those of all pools. It is immutable, and nil stands for none.
type SecureDomains struct {
	names, below map[string]security // by domain
}

// security is what a connection is, or has to be.
type security uint8

const (
	inClear security = iota
	withinTLS
	verified
)

// NewSecureDomains makes SecureDomains of a list.
func NewSecureDomains(list []SecureDomain) *SecureDomains {
	if len(list) == 0 {
		return nil
	}
	s := &SecureDomains{names: map[string]security{}, below: map[string]security{}}
	for _, d := range list {
		of, name := s.names, d.Domain
		if parent, ok := strings.CutPrefix(name, "*."); ok {
			of, name = s.below, parent
		}
		need := withinTLS
		if d.Verify {
			need = verified
		}
		of[name] = max(of[name], need)
	}
	return s
}

// need gives what a connection has to be for all of to.
func (s *SecureDomains) need(to []mail.Address) (need security) {
	if s == nil {
		return inClear
	}
	for _, a := range to {
		domain := a.Domain()
		need = max(need, s.names[domain])
		for rest := domain; len(s.below) > 0; {
			_, parent, ok := strings.Cut(rest, ".")
			if !ok {
				break
			}
			need, rest = max(need, s.below[parent]), parent
		}
	}
	return need
}

// neediest gives those of to whose mail needs just that; nil for all of them.
func (s *SecureDomains) neediest(to []mail.Address, need security) map[mail.Address]mail.Reply {
	var some map[mail.Address]mail.Reply
	for i := range to {
		if s.need(to[i:i+1]) != need {
			continue
		}
		if some == nil {
			some = map[mail.Address]mail.Reply{}
		}
		some[to[i]] = mail.Reply{}
	}
	if len(some) == len(to) {
		return nil
	}
	return some
}

// secure says why the connection is not what is needed; nil if it is. A socket of this machine leads nowhere else.
func (c *conn) secure(need security) error {
	if need == inClear {
		return nil
	}
	if _, local := socketPath(c.server); local {
		return nil
	}
	if c.tls == nil {
		return fmt.Errorf("upstream: %s: %w", c.server, ErrInsecure)
	}
	if need == verified && !c.proved {
		if err := c.prove(); err != nil {
			return fmt.Errorf("upstream: %s: %w, to a server whose certificate is good: %w", c.server, ErrInsecure, err)
		}
		c.proved = true
	}
	return nil
}

// prove verifies the server's certificate, which the handshake has done with TLSVerify alone.
func (c *conn) prove() error {
	if len(c.tls.VerifiedChains) > 0 {
		return nil
	}
	if len(c.tls.PeerCertificates) == 0 {
		return errors.New("no certificate")
	}
	o := x509.VerifyOptions{DNSName: c.trust.ServerName, Roots: c.trust.RootCAs, Intermediates: x509.NewCertPool()}
	for _, cert := range c.tls.PeerCertificates[1:] {
		o.Intermediates.AddCert(cert)
	}
	_, err := c.tls.PeerCertificates[0].Verify(o)
	return err
}

// insecureBecause is the error where TLS that is needed could not be had, as o says.
func insecureBecause(server string, o Outcome) error {
	if o.Err == nil {
		return fmt.Errorf("upstream: %s: %w, and STARTTLS is refused", server, ErrInsecure)
	}
	return fmt.Errorf("%w: %w", ErrInsecure, o.Err)
}

// insecure is the outcome where the connection is not what is needed because of err.
func (c *conn) insecure(err error) Outcome {
	return Outcome{Kind: OurFault, Stage: StageTLS, Server: c.server, TLS: c.tls, Err: err}
}
