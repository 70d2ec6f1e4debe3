package doctor

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/postern-mail/postern/internal/certs"
	"github.com/postern-mail/postern/internal/dns"
	"github.com/postern-mail/postern/internal/dns/zone"
)

// goodZone is how the DNS should be.
const goodZone = `
mx.example.org A 192.0.2.25
mx.example.org AAAA 2001:db8::25
25.2.0.192.in-addr.arpa PTR mx.example.org.
5.2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa PTR mx.example.org.
example.org MX 10 mx.example.org.
example.net MX 10 mail.example.net.
mail.example.net A 192.0.2.25
2.0.0.127.bl.example A 127.0.0.2
`

// certificate writes a certificate for names and reads it as a listener's.
func certificate(t *testing.T, end time.Duration, names ...string) *certs.Certificate {
	t.Helper()
	c := new(authority).issue(t, &x509.Certificate{DNSNames: names, NotAfter: time.Now().Add(end)})
	key, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	p := certs.Pair{Place: "public", Certificate: filepath.Join(t.TempDir(), "cert.pem"), Key: filepath.Join(t.TempDir(), "key.pem")}
	for path, b := range map[string]*pem.Block{p.Certificate: {Type: "CERTIFICATE", Bytes: c.Certificate[0]}, p.Key: {Type: "PRIVATE KEY", Bytes: key}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(b), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	read, err := certs.Read(p)
	if err != nil {
		t.Fatal(err)
	}
	return read
}

// TestOutside changes one line after another of a DNS that is as it should be.
func TestOutside(t *testing.T) {
	t.Parallel()
	const months = 90 * 24 * time.Hour
	ours := certificate(t, months, "mx.example.org", "mail.example.net")
	for _, c := range []struct {
		name    string
		replace []string // lines, or parts, and what stands for them
		g       func(*Gateway)
		want    []string
		seen    string
	}{
		{name: "clean"},
		{name: "no address", replace: []string{"mx.example.org A 192.0.2.25\nmx.example.org AAAA 2001:db8::25\n", ""}, want: []string{"fault hostname", "fault mx"}},
		{name: "inner view", replace: []string{"mx.example.org A 192.0.2.25", "mx.example.org A 10.0.0.1", "mail.example.net A 192.0.2.25", "mail.example.net A 10.0.0.1"}, want: []string{"note hostname-private"}},
		{name: "no resolver", replace: []string{"mx.example.org A 192.0.2.25\nmx.example.org AAAA 2001:db8::25\n", "mx.example.org SERVFAIL\n"}, want: []string{"fault resolver"}},
		{name: "no PTR", replace: []string{"25.2.0.192.in-addr.arpa PTR mx.example.org.\n", ""}, want: []string{"warning ptr"}, seen: "192.0.2.25 has no name"},
		{name: "another PTR that leads back", replace: []string{"25.2.0.192.in-addr.arpa PTR mx.example.org.", "25.2.0.192.in-addr.arpa PTR mail.example.net."}, want: []string{"warning ptr"}, seen: "is called mail.example.net"},
		{name: "another PTR that does not", replace: []string{"25.2.0.192.in-addr.arpa PTR mx.example.org.", "25.2.0.192.in-addr.arpa PTR host.isp.example."}, want: []string{"warning ptr", "warning ptr-forward"}},
		{name: "PTR can't be asked for", replace: []string{"25.2.0.192.in-addr.arpa PTR mx.example.org.", "25.2.0.192.in-addr.arpa SERVFAIL"}, want: []string{"warning ptr"}},
		{name: "no MX, own address", replace: []string{"example.org MX 10 mx.example.org.", "example.org A 192.0.2.25"}},
		{name: "no MX", replace: []string{"example.org MX 10 mx.example.org.\n", ""}, want: []string{"fault mx"}},
		{name: "null MX", replace: []string{"example.org MX 10 mx.example.org.", "example.org MX 0 ."}, want: []string{"fault mx"}},
		{name: "MX elsewhere", replace: []string{"example.org MX 10 mx.example.org.", "example.org MX 10 mx.isp.example.\nmx.isp.example A 198.51.100.1"}, want: []string{"fault mx"}, seen: "mx.isp.example"},
		{name: "another MX", replace: []string{"example.org MX 10 mx.example.org.", "example.org MX 10 mx.example.org.\nexample.org MX 20 old.example.org.\nold.example.org A 198.51.100.1"}, want: []string{"note mx-others"}},
		{name: "dead MX", replace: []string{"example.org MX 10 mx.example.org.", "example.org MX 10 mx.example.org.\nexample.org MX 20 gone.example.org."}, want: []string{"warning mx-dead"}},
		{name: "MX can't be asked for", replace: []string{"example.org MX 10 mx.example.org.", "example.org SERVFAIL"}, want: []string{"warning mx"}},
		{name: "public resolver", replace: []string{"bl.example A 127.0.0.2", "bl.example A 127.255.255.254"}, want: []string{"fault resolver-refused"}, seen: "public resolver"},
		{name: "list is gone", replace: []string{"2.0.0.127.bl.example A 127.0.0.2\n", ""}, want: []string{"fault resolver-refused"}},
		{name: "list is parked", replace: []string{"bl.example A 127.0.0.2", "bl.example A 203.0.113.1"}, want: []string{"fault resolver-refused"}},
		{name: "list is silent", replace: []string{"bl.example A 127.0.0.2", "bl.example SERVFAIL"}, want: []string{"warning resolver-refused"}},
		{name: "resolver lies", replace: []string{"bl.example A", "bl.example A 127.0.0.2\n*.invalid A"}, want: []string{"fault resolver-lies"}},
		{name: "no TLS", g: func(g *Gateway) { g.Listeners = []Listener{{Name: "public"}} }, want: []string{"warning listener-tls"}},
		{name: "certificate of another name", g: func(g *Gateway) {
			g.Listeners[0].Certificates = []*certs.Certificate{certificate(t, months, "mail.example.net")}
		}, want: []string{"warning certificate"}, seen: "no certificate of it is for mx.example.org"},
		{name: "certificate without the MX", g: func(g *Gateway) {
			g.Listeners[0].Certificates = []*certs.Certificate{certificate(t, months, "mx.example.org")}
		}, want: []string{"note certificate"}, seen: "its MX calls us mail.example.net"},
		{name: "certificate ends", g: func(g *Gateway) {
			g.Listeners[0].Certificates = []*certs.Certificate{certificate(t, time.Hour, "mx.example.org", "mail.example.net")}
		}, want: []string{"warning certificate"}, seen: "expires soon"},
		{name: "postmaster", g: func(g *Gateway) { g.Postmaster = func() error { return errors.New("no route takes mail for him") } }, want: []string{"warning postmaster"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			text := goodZone
			for i := 0; i < len(c.replace); i += 2 {
				if !strings.Contains(text, c.replace[i]) {
					t.Fatalf("no %q", c.replace[i])
				}
				text = strings.Replace(text, c.replace[i], c.replace[i+1], 1)
			}
			z, err := zone.Serve(text)
			if err != nil {
				t.Fatal(err)
			}
			defer z.Close()
			resolver, err := dns.New([]netip.AddrPort{netip.MustParseAddrPort(z.Addr())})
			if err != nil {
				t.Fatal(err)
			}
			g := &Gateway{
				Hostname: "mx.example.org", Domains: []string{"example.org", "example.net"}, Lists: []string{"bl.example"}, DNS: resolver,
				Listeners: []Listener{{Name: "public", Certificates: []*certs.Certificate{ours}}}, Postmaster: func() error { return nil },
			}
			if c.g != nil {
				c.g(g)
			}
			r := Examination{Gateway: g, Limits: patient}.Run(t.Context())
			if got := codes(r); !slices.Equal(got, append([]string{}, c.want...)) {
				t.Errorf("found %q, not %q\n%s", got, c.want, shownFindings(r))
			}
			if !strings.Contains(shownFindings(r), c.seen) {
				t.Errorf("%q is not in\n%s", c.seen, shownFindings(r))
			}
		})
	}
}
