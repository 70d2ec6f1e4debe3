package doctor

import (
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/postern-mail/postern/internal/peertest"
	"github.com/postern-mail/postern/upstream"
)

// pemFiles writes a certificate of the authority for loopback.
func (a *authority) pemFiles(t *testing.T) (cert, key string) {
	t.Helper()
	c := a.good(t)
	der, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for path, b := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: c.Certificate[0]}, key: {Type: "PRIVATE KEY", Bytes: der}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(b), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}

// TestPeers examines real servers: set up well, and with faults.
func TestPeers(t *testing.T) {
	t.Parallel()
	a, roots := newAuthority(t)
	cert, key := a.pemFiles(t)
	mta := func(start func(testing.TB, peertest.MTAOptions) *peertest.MTA, o peertest.MTAOptions) func(t *testing.T) string {
		return func(t *testing.T) string { return start(t, o).Addr }
	}
	dovecot := func(o peertest.DovecotOptions) func(t *testing.T) string {
		return func(t *testing.T) string { return peertest.StartDovecot(t, o).Addr }
	}
	boxes := []string{"postmaster", "bob"}
	storing := map[string]int{"postmaster@example.org": 0, "bob@example.org": 0}
	for _, c := range []struct {
		name     string
		start    func(t *testing.T) string
		s        func(*Server)
		software Software
		want     []string
	}{
		{
			"Postfix", mta(peertest.StartPostfix, peertest.MTAOptions{CertFile: cert, KeyFile: key, Mailboxes: boxes, XForward: true}),
			func(s *Server) { s.Identity = "xforward" }, "postfix", nil,
		},
		{
			"Postfix with XCLIENT", mta(peertest.StartPostfix, peertest.MTAOptions{CertFile: cert, KeyFile: key, Mailboxes: boxes, XClient: true}),
			func(s *Server) { s.Identity = "xclient" }, "postfix", nil,
		},
		{
			"Postfix without XCLIENT", mta(peertest.StartPostfix, peertest.MTAOptions{CertFile: cert, KeyFile: key, Mailboxes: boxes}),
			func(s *Server) { s.Identity = "xclient" }, "postfix",
			[]string{"fault identity"},
		},
		{
			"Postfix behind PROXY headers", mta(peertest.StartPostfix, peertest.MTAOptions{CertFile: cert, KeyFile: key, Mailboxes: boxes, Proxy: true}),
			func(s *Server) { s.Identity = "proxy" }, "postfix", nil,
		},
		{
			"Postfix that wants PROXY headers", mta(peertest.StartPostfix, peertest.MTAOptions{Mailboxes: boxes, Proxy: true}),
			nil, "",
			[]string{"fault greeting"},
		},
		{
			"Postfix that trusts us", mta(peertest.StartPostfix, peertest.MTAOptions{CertFile: cert, KeyFile: key, Paths: []peertest.Path{{Domain: "far.test", Addr: "127.0.0.1:9", TLS: "none"}}}),
			func(s *Server) { s.Identity = "xforward" }, "postfix",
			[]string{"fault identity", "fault unknown-taken", "fault trusted"},
		},
		{
			"Exim that knows nobody", mta(peertest.StartExim, peertest.MTAOptions{}),
			func(s *Server) { s.Auth = nil; s.TLS = upstream.TLSOpportunistic }, "exim",
			[]string{"warning tls-missing", "note codes", "fault unknown-taken"},
		},
		{
			"Exim with a login", mta(peertest.StartExim, peertest.MTAOptions{CertFile: cert, KeyFile: key, Login: peertest.Login{Mechanism: "PLAIN", User: "gateway", Password: "secret"}}),
			func(s *Server) {
				s.Auth, s.Recipients = &upstream.Auth{User: "gateway", Password: "secret"}, Listed
			}, "exim",
			[]string{"note codes", "note unknown-taken"},
		},
		{
			"Exim whose login we lack", mta(peertest.StartExim, peertest.MTAOptions{CertFile: cert, KeyFile: key, Login: peertest.Login{Mechanism: "PLAIN", User: "gateway", Password: "secret"}}),
			nil, "exim",
			[]string{"note codes", "fault refuses"},
		},
		{
			"Dovecot", dovecot(peertest.DovecotOptions{Mailboxes: storing, CertFile: cert, KeyFile: key}),
			func(s *Server) { s.LMTP, s.DSN = true, false }, "dovecot",
			[]string{"note smtputf8"},
		},
		{
			"Dovecot by SMTP", dovecot(peertest.DovecotOptions{Mailboxes: storing}),
			nil, "dovecot",
			[]string{"fault protocol"},
		},
		{
			"Dovecot without the domain", dovecot(peertest.DovecotOptions{Mailboxes: map[string]int{"bob@other.test": 0}, CertFile: cert, KeyFile: key}),
			func(s *Server) { s.LMTP, s.DSN = true, true }, "dovecot",
			[]string{"note smtputf8", "warning dsn", "warning postmaster-inside"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := Server{
				Upstream: "inside", Address: c.start(t), TLS: upstream.TLSVerify, Roots: roots, Hello: "mx.example.org", Domains: []string{"example.org"},
				Recipients: Asked, Callout: 20 * time.Second, Message: 50 << 20, Connections: 20, Most: 100, DSN: true,
			}
			if c.s != nil {
				c.s(&s)
			}
			r := Examination{Servers: []Server{s}, Limits: patient}.Run(t.Context())
			if got := codes(r); !slices.Equal(got, append([]string{}, c.want...)) || r.Software[s.Where()] != c.software {
				t.Errorf("%q: found %q, not %q\n%s", r.Software[s.Where()], got, c.want, shownFindings(r))
			}
		})
	}
}
