package directory

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/postern-mail/postern/internal/peertest"
	"github.com/postern-mail/postern/internal/store"
)

// certificate writes a certificate for 127.0.0.1 that signed itself, and its key.
func certificate(t *testing.T) (cert, key string) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "dc1"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &k.PublicKey, k)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	if err := errors.Join(
		os.WriteFile(cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644),
		os.WriteFile(key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}), 0o644)); err != nil {
		t.Fatal(err)
	}
	return cert, key
}

// TestTLS: by LDAPS and StartTLS, with the authority that is right, with another one and with none to ask; a
// password never crosses the network where it was to be protected.
func TestTLS(t *testing.T) {
	cert, key := certificate(t)
	wrong, _ := certificate(t)
	p := peertest.StartSlapd(t, peertest.SlapdOptions{Entries: people(3), CertFile: cert, KeyFile: key})
	plain := peertest.StartSlapd(t, peertest.SlapdOptions{Entries: people(3)})
	name := "localhost" // which the certificate is not for
	_, port, _ := net.SplitHostPort(p.Secure)
	for what, c := range map[string]struct {
		url, ca string
		mode    TLSMode
		fault   string
	}{
		"LDAPS":               {"ldaps://" + p.Secure, cert, TLSVerify, ""},
		"StartTLS":            {"ldap://" + p.Addr, cert, TLSVerify, ""},
		"LDAPS, any":          {"ldaps://" + p.Secure, "", TLSRequired, ""},
		"StartTLS, any":       {"ldap://" + p.Addr, "", TLSRequired, ""},
		"LDAPS, wrong CA":     {"ldaps://" + p.Secure, wrong, TLSVerify, "certificate"},
		"StartTLS, wrong CA":  {"ldap://" + p.Addr, wrong, TLSVerify, "certificate"},
		"LDAPS, system's":     {"ldaps://" + p.Secure, "", TLSVerify, "certificate"},
		"LDAPS, wrong name":   {"ldaps://" + name + ":" + port, cert, TLSVerify, "wanted to match localhost"},
		"StartTLS not there":  {"ldap://" + plain.Addr, cert, TLSVerify, "StartTLS"},
		"LDAPS at LDAP":       {"ldaps://" + p.Addr, cert, TLSVerify, "TLS"},
		"no file of CAs":      {"ldaps://" + p.Secure, cert + ".none", TLSVerify, "no such file"},
		"no CA in its file":   {"ldaps://" + p.Secure, key, TLSVerify, "holds no certificate"},
		"LDAPS, nobody there": {"ldaps://" + peertest.FreeAddr(t), cert, TLSVerify, "refused"},
	} {
		t.Run(what, func(t *testing.T) {
			s := settings("")
			s.URLs, s.CAFile, s.TLS, s.Timeout = []string{c.url}, c.ca, c.mode, 20*time.Second
			d := Open("test", store.OS, t.TempDir(), s, Hooks{})
			switch err := read(t, d, true); {
			case c.fault == "" && err != nil:
				t.Error(err)
			case c.fault != "" && (err == nil || !strings.Contains(err.Error(), c.fault)):
				t.Errorf("%v, not %q", err, c.fault)
			}
		})
	}
}
