package edge

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/pipeline"
)

// authority is a maker of certificates.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t testing.TB, name string) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	a := &authority{key: key, cert: &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}}
	der, err := x509.CreateCertificate(rand.Reader, a.cert, a.cert, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	return a
}

func (a *authority) pool() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(a.cert)
	return p
}

// client makes the certificate of a client.
func (a *authority) client(t testing.TB, usage x509.ExtKeyUsage, notAfter time.Time) *tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "client.test"}, DNSNames: []string{"client.test"},
		NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: notAfter, ExtKeyUsage: []x509.ExtKeyUsage{usage},
	}, a.cert, &key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// seeing makes the door show what its sessions know of TLS at EHLO.
func seeing(t testing.TB, d *door) <-chan *tls.ConnectionState {
	t.Helper()
	seen := make(chan *tls.ConnectionState, 10)
	plan, err := pipeline.Compile([]pipeline.Stage{{
		Spec: filter.Spec{Name: "see", Phases: filter.In(filter.Helo)},
		Filter: filter.Func(func(_ context.Context, in *filter.Input) (filter.Result, error) {
			seen <- in.Session.TLS
			return filter.Result{}, nil
		}),
	}})
	if err != nil {
		t.Fatal(err)
	}
	d.gw.Plan = plan
	return seen
}

// hello connects to an implicit door, says EHLO, and gives what the client knows of the handshake.
func hello(t testing.TB, addr string, cfg *tls.Config) tls.ConnectionState {
	t.Helper()
	cfg.InsecureSkipVerify = true
	c, err := tls.Dial("tcp", addr, cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	r := bufio.NewReader(c)
	for _, say := range []string{"", "EHLO client.test\r\n", "QUIT\r\n"} {
		if _, err := fmt.Fprint(c, say); err != nil {
			t.Fatal(err)
		}
		for {
			line, err := r.ReadString('\n')
			if err != nil || line[0] != '2' {
				t.Fatalf("%q: %q, %v", say, line, err)
			}
			if line[3] == ' ' {
				break
			}
		}
	}
	return c.ConnectionState()
}

// TestClientCertificates: a certificate that is not ours to verify breaks no handshake, and vouches for nothing.
func TestClientCertificates(t *testing.T) {
	ours, foreign := newAuthority(t, "ours"), newAuthority(t, "foreign")
	later, past := time.Now().Add(time.Hour), time.Now().Add(-time.Hour)
	var seen <-chan *tls.ConnectionState
	d := newDoor(t, nil, func(d *door, cfg *ListenerConfig) {
		seen = seeing(t, d)
		made := &tls.Config{
			Certificates: []tls.Certificate{serverCertificate()}, ClientAuth: tls.RequestClientCert, ClientCAs: ours.pool(),
		}
		cfg.Implicit, cfg.TLS = true, func() *tls.Config { return made }
	})
	for _, c := range []struct {
		name     string
		show     *tls.Certificate
		verified bool
	}{
		{"none", nil, false},
		{"of our authority", ours.client(t, x509.ExtKeyUsageClientAuth, later), true},
		{"of another authority", foreign.client(t, x509.ExtKeyUsageClientAuth, later), false},
		{"expired", ours.client(t, x509.ExtKeyUsageClientAuth, past), false},
		{"of a server", ours.client(t, x509.ExtKeyUsageServerAuth, later), false},
	} {
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			t.Run(c.name+" "+tls.VersionName(version), func(t *testing.T) {
				cfg := &tls.Config{MaxVersion: version}
				if c.show != nil { // whatever authorities the server names
					cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return c.show, nil }
				}
				hello(t, d.addr, cfg)
				state := <-seen
				if (len(state.PeerCertificates) > 0) != (c.show != nil) || (len(state.VerifiedChains) > 0) != c.verified {
					t.Errorf("shown: %d certificates, verified: %d chains", len(state.PeerCertificates), len(state.VerifiedChains))
				}
			})
		}
	}
}

// TestResumedClientCertificate changes the authorities between a handshake and the one that resumes it.
func TestResumedClientCertificate(t *testing.T) {
	ours, other := newAuthority(t, "ours"), newAuthority(t, "other")
	// serverCertificate may have been made in a bubble, whose time is past: clients resume no session of an expired one.
	server := *ours.client(t, x509.ExtKeyUsageServerAuth, time.Now().Add(time.Hour))
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		t.Run(tls.VersionName(version), func(t *testing.T) {
			first := &tls.Config{
				Certificates: []tls.Certificate{server}, ClientAuth: tls.RequestClientCert, ClientCAs: ours.pool(),
			}
			first.SetSessionTicketKeys([][32]byte{{1}})
			second := &tls.Config{
				Certificates: first.Certificates, ClientAuth: tls.RequestClientCert, ClientCAs: other.pool(),
			}
			second.SetSessionTicketKeys([][32]byte{{1}})
			current := make(chan *tls.Config, 3)
			current <- first
			current <- first
			current <- second
			var seen <-chan *tls.ConnectionState
			d := newDoor(t, nil, func(d *door, cfg *ListenerConfig) {
				seen = seeing(t, d)
				cfg.Implicit, cfg.TLS = true, func() *tls.Config { return <-current }
			})
			client := &tls.Config{
				MaxVersion: version, ClientSessionCache: tls.NewLRUClientSessionCache(1), ServerName: "mx.example.org",
				Certificates: []tls.Certificate{*ours.client(t, x509.ExtKeyUsageClientAuth, time.Now().Add(time.Hour))},
			}
			for i, verified := range []bool{true, true, false} {
				resumed := hello(t, d.addr, client).DidResume
				if state := <-seen; (len(state.VerifiedChains) > 0) != verified {
					t.Errorf("handshake %d (resumed: %v): %d chains", i, resumed, len(state.VerifiedChains))
				}
				if i == 1 && !resumed {
					t.Error("the second handshake did not resume: nothing is tried here")
				}
			}
		})
	}
}

// TestOldVersions: each version that a configuration lets in has a word of its own.
func TestOldVersions(t *testing.T) {
	d := newDoor(t, nil, func(_ *door, cfg *ListenerConfig) {
		made := &tls.Config{Certificates: []tls.Certificate{serverCertificate()}, MinVersion: tls.VersionTLS10}
		cfg.Implicit, cfg.TLS = true, func() *tls.Config { return made }
	})
	var want []string
	for _, v := range []uint16{tls.VersionTLS10, tls.VersionTLS11, tls.VersionTLS12, tls.VersionTLS13} {
		hello(t, d.addr, &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: v})
		want = append(want, strings.TrimPrefix(tls.VersionName(v), "TLS ")+" ok")
	}
	d.metrics.mu.Lock()
	defer d.metrics.mu.Unlock()
	if got := d.metrics.handshakes; !slices.Equal(got, want) {
		t.Errorf("handshakes %q, not %q", got, want)
	}
}
