package users

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"net"
	"strings"
	"testing"
)

func TestParseCertificate(t *testing.T) {
	hex := strings.Repeat("0a", 32)
	for in, want := range map[string]string{
		"sha256:" + hex: "sha256:" + hex, "key-sha256:" + strings.ToUpper(hex): "key-sha256:" + hex,
		"sha256:" + strings.TrimSuffix(strings.Repeat("0A:", 32), ":"): "sha256:" + hex,
		"App.Example.ORG": "app.example.org", "*.example.org": "*.example.org", "bücher.example": "xn--bcher-kva.example",
		"Ann@Example.org": "ann@example.org", "localhost": "localhost",
	} {
		c, err := ParseCertificate(in)
		if err != nil || c.String() != want {
			t.Errorf("%s: %s, %v; want %s", in, c, err, want)
		}
		again, err := ParseCertificate(c.String())
		if err != nil || again != c {
			t.Errorf("%s, read again: %v, %v", c, again, err)
		}
	}
	for _, in := range []string{"", "*", "*.org", "*.*.example.org", "sha256:", "sha256:0a", "sha1:0a0a", "a b", "@", "ann@", "a/b", "*example.org"} {
		if c, err := ParseCertificate(in); err == nil {
			t.Errorf("%q is taken for %v", in, c)
		}
	}
}

func TestCertificateNames(t *testing.T) {
	for _, tt := range []struct {
		name, wanted string
		leaf         x509.Certificate
		shown        bool
	}{
		{"alternative name", "app.example.org", x509.Certificate{DNSNames: []string{"x.example", "APP.example.org"}}, true},
		{"another one", "app.example.org", x509.Certificate{DNSNames: []string{"app.example.org.evil.example", "xapp.example.org"}}, false},
		{"a name below", "app.example.org", x509.Certificate{DNSNames: []string{"a.app.example.org"}}, false},
		{"wildcard wanted", "*.example.org", x509.Certificate{DNSNames: []string{"a.b.example.org"}}, true},
		{"wildcard wanted, the name itself", "*.example.org", x509.Certificate{DNSNames: []string{"example.org"}}, false},
		{"wildcard shown", "app.example.org", x509.Certificate{DNSNames: []string{"*.example.org"}}, false},
		{"common name", "app.example.org", x509.Certificate{Subject: pkix.Name{CommonName: "app.example.org"}}, true},
		{"common name beside others", "app.example.org", x509.Certificate{Subject: pkix.Name{CommonName: "app.example.org"}, DNSNames: []string{"x.example"}}, false},
		{"common name beside an address", "app.example.org", x509.Certificate{Subject: pkix.Name{CommonName: "app.example.org"}, IPAddresses: []net.IP{{127, 0, 0, 1}}}, false},
		{"mailbox", "ann@example.org", x509.Certificate{EmailAddresses: []string{"Ann@example.org"}}, true},
		{"mailbox, and a host wanted", "example.org", x509.Certificate{EmailAddresses: []string{"ann@example.org"}}, false},
		{"host, and a mailbox wanted", "ann@example.org", x509.Certificate{DNSNames: []string{"example.org"}}, false},
		{"nonsense", "app.example.org", x509.Certificate{DNSNames: []string{"", "a b", "app.example.org\x00"}}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, err := ParseCertificate(tt.wanted)
			if err != nil {
				t.Fatal(err)
			}
			state := &tls.ConnectionState{HandshakeComplete: true, PeerCertificates: []*x509.Certificate{&tt.leaf}}
			if c.Shown(state) {
				t.Error("a name counts that nobody has verified")
			}
			state.VerifiedChains = [][]*x509.Certificate{{&tt.leaf}}
			if got := c.Shown(state); got != tt.shown {
				t.Errorf("shown: %v", got)
			}
			state.HandshakeComplete = false
			if c.Shown(state) || c.Shown(nil) || c.Shown(&tls.ConnectionState{HandshakeComplete: true}) {
				t.Error("shown by nobody")
			}
		})
	}
}

func FuzzParseCertificate(f *testing.F) {
	for _, s := range []string{"app.example.org", "*.example.org", "ann@example.org", "sha256:" + strings.Repeat("0a:", 32), "key-sha256:00", "*"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		c, err := ParseCertificate(s)
		if err != nil {
			return
		}
		if again, err := ParseCertificate(c.String()); err != nil || again != c {
			t.Errorf("%q is %q, which is %q, %v", s, c, again, err)
		}
	})
}
