package edge

import (
	"crypto/tls"
	"crypto/x509"
	"time"
)

// TLSVersions are the words that Metrics.TLSHandshake is given for a version; "none" is that of a handshake that
// failed.
func TLSVersions() []string { return []string{"1.0", "1.1", "1.2", "1.3", "none"} }

func tlsVersion(v uint16) string {
	switch v {
	case tls.VersionTLS10:
		return "1.0"
	case tls.VersionTLS11:
		return "1.1"
	case tls.VersionTLS12:
		return "1.2"
	}
	return "1.3"
}

// clientChains gives the chains from the certificate of a client to one of the authorities; none where it showed no
// certificate, no authorities are named, or they do not vouch for it.
//
// It stands in the place of tls.VerifyClientCertIfGiven, which breaks the handshake off over a certificate that it can't
// verify. Mail servers show theirs to whoever asks, and of those most are of authorities that are none of ours: a stranger
// is to be treated as if it had shown none, not refused. It is done after resumed handshakes too, with the authorities
// of the moment.
func clientChains(shown []*x509.Certificate, authorities *x509.CertPool, now time.Time) [][]*x509.Certificate {
	if len(shown) == 0 || authorities == nil {
		return nil
	}
	o := x509.VerifyOptions{
		Roots: authorities, Intermediates: x509.NewCertPool(), CurrentTime: now,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	for _, c := range shown[1:] {
		o.Intermediates.AddCert(c)
	}
	chains, err := shown[0].Verify(o)
	if err != nil {
		return nil
	}
	return chains
}

// proof gives what TLS shows of the client: nothing of its certificates where the connection is that of a host in front,
// which speaks for many.
func (w *wire) proof() *tls.ConnectionState {
	if w.tls == nil || !w.fronted {
		return w.tls
	}
	bare := *w.tls
	bare.PeerCertificates, bare.VerifiedChains = nil, nil
	return &bare
}
