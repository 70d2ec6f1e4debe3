package users

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/postern-mail/postern/mail"
)

// Certificate says which certificates of clients are meant: one by its fingerprint, those with one key by the key's, or
// those that an authority has given to a name.
type Certificate struct {
	of   certificateKind
	sum  [sha256.Size]byte
	name string // a domain, "*.domain" or a mailbox
}

type certificateKind uint8

const (
	byName certificateKind = iota
	byCertificate
	byKey
)

// The prefixes of fingerprints.
const (
	prefixCertificate = "sha256:"
	prefixKey         = "key-sha256:"
)

// ParseCertificate reads sha256:HEX (the SHA-256 of the certificate), key-sha256:HEX (the SHA-256 of its public key, as
// in RFC 7469 2.4; it outlives a renewal), or a name that the certificate bears: a domain, "*.domain" for those below
// it, or a mailbox.
func ParseCertificate(s string) (c Certificate, err error) {
	for _, p := range []struct {
		prefix string
		of     certificateKind
	}{{prefixCertificate, byCertificate}, {prefixKey, byKey}} {
		digits, ok := strings.CutPrefix(s, p.prefix)
		if !ok {
			continue
		}
		sum, err := hex.DecodeString(strings.ReplaceAll(digits, ":", ""))
		if err != nil || len(sum) != sha256.Size {
			return c, fmt.Errorf("a SHA-256 has %d hex digits, and this is %q", 2*sha256.Size, s)
		}
		return Certificate{of: p.of, sum: [sha256.Size]byte(sum)}, nil
	}
	if strings.Contains(s, "@") {
		a, err := mail.ParseAddress(s)
		if err != nil {
			return c, fmt.Errorf("%q is no mailbox: %w", s, err)
		}
		return Certificate{name: a.Mailbox()}, nil
	}
	below, wild := strings.CutPrefix(s, "*.")
	d, err := mail.Domain(below)
	switch {
	case err != nil || strings.Contains(s, ":"):
		return c, fmt.Errorf("%q is neither a name nor sha256:HEX nor key-sha256:HEX", s)
	case wild && !strings.Contains(d, "."):
		return c, fmt.Errorf("%q is every name below a top-level domain", s)
	case wild:
		d = "*." + d
	}
	return Certificate{name: d}, nil
}

// String writes c as ParseCertificate reads it.
func (c Certificate) String() string {
	switch c.of {
	case byCertificate:
		return prefixCertificate + hex.EncodeToString(c.sum[:])
	case byKey:
		return prefixKey + hex.EncodeToString(c.sum[:])
	}
	return c.name
}

// Named reports whether c goes by a name, which needs an authority that has verified it.
func (c Certificate) Named() bool { return c.of == byName }

// Shown reports whether a client has shown such a certificate. A fingerprint needs no authority, nor an end of
// validity: who has finished the handshake has the key that it stands for. A name counts in a verified certificate only.
func (c Certificate) Shown(t *tls.ConnectionState) bool {
	if t == nil || !t.HandshakeComplete || len(t.PeerCertificates) == 0 {
		return false
	}
	leaf := t.PeerCertificates[0]
	switch c.of {
	case byCertificate:
		return sha256.Sum256(leaf.Raw) == c.sum
	case byKey:
		return sha256.Sum256(leaf.RawSubjectPublicKeyInfo) == c.sum
	}
	if len(t.VerifiedChains) == 0 || len(t.VerifiedChains[0]) == 0 {
		return false
	}
	return c.bears(t.VerifiedChains[0][0])
}

// bears reports whether a certificate bears the name.
func (c Certificate) bears(leaf *x509.Certificate) bool {
	if strings.Contains(c.name, "@") {
		for _, e := range leaf.EmailAddresses {
			if a, err := mail.ParseAddress(e); err == nil && a.Mailbox() == c.name {
				return true
			}
		}
		return false
	}
	names := leaf.DNSNames
	if len(names) == 0 && len(leaf.EmailAddresses) == 0 && len(leaf.IPAddresses) == 0 && len(leaf.URIs) == 0 {
		// RFC 6125 6.4.4: the common name is looked at only where there is no other. Authorities of a site's own
		// still make such certificates.
		names = []string{leaf.Subject.CommonName}
	}
	for _, name := range names {
		d, err := mail.Domain(name)
		if err != nil {
			continue
		}
		if below, wild := strings.CutPrefix(c.name, "*."); d == c.name || wild && d != below && mail.Within(d, below) {
			return true
		}
	}
	return false
}
