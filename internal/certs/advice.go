package certs

import (
	"bytes"
	"fmt"
	"time"
)

// Soon is how long before its end a certificate should have been renewed; authorities and their clients do so a month
// ahead.
const Soon = 14 * 24 * time.Hour

// Oddities says what is wrong with a certificate that can be used all the same, in words for people. That a chain is
// complete can't be told: it takes the list of authorities that each client has.
func (c *Certificate) Oddities(now time.Time) []string {
	var all []string
	const day = time.DateOnly
	switch leaf := c.chain[0]; {
	case now.After(leaf.NotAfter):
		all = append(all, "the certificate has expired, on "+leaf.NotAfter.UTC().Format(day))
	case now.Add(Soon).After(leaf.NotAfter):
		all = append(all, "the certificate expires soon, on "+leaf.NotAfter.UTC().Format(day))
	case now.Before(leaf.NotBefore):
		all = append(all, "the certificate is not valid yet: it begins on "+leaf.NotBefore.UTC().Format(day))
	}
	if s := c.disorder(); s != "" {
		all = append(all, s)
	}
	if mode := c.keyMode.Perm(); mode&0o007 != 0 {
		all = append(all, fmt.Sprintf("everybody on this host may use the key: its file has mode %04o", mode))
	}
	return all
}

// disorder says what is wrong with the chain of the file. RFC 8446 4.4.2: each certificate should certify the one
// before it; many clients look no further.
func (c *Certificate) disorder() string {
	for i, x := range c.chain[:len(c.chain)-1] {
		next := c.chain[i+1]
		if !bytes.Equal(x.RawIssuer, next.RawSubject) || x.CheckSignatureFrom(next) != nil {
			return fmt.Sprintf("the chain is not in order: behind %q stands %q, which has not signed it", x.Subject.String(), next.Subject.String())
		}
	}
	last := c.chain[len(c.chain)-1]
	// RFC 5280 4.2.2.1: where an authority says where its own certificate is to be had, it is one that clients have not.
	if len(c.chain) == 1 && len(last.IssuingCertificateURL) > 0 && !bytes.Equal(last.RawIssuer, last.RawSubject) {
		return fmt.Sprintf("the chain seems to be missing: the certificate of its issuer %q stands not behind it", last.Issuer.String())
	}
	return ""
}
