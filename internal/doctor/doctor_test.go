package doctor

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/postern-mail/postern/internal/peertest/exchange"
	"github.com/postern-mail/postern/internal/peertest/leaks"
	"github.com/postern-mail/postern/upstream"
)

func TestMain(m *testing.M) { leaks.Main(m) }

// late is when a server answers that is to be found slow: on a busy machine others may take a second.
const late = 3 * time.Second

// patient are limits that nothing on loopback reaches, however busy the machine is.
var patient = Limits{Reply: 30 * time.Second, Slow: 20 * time.Second}

// authority issues certificates for tests.
type authority struct {
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
}

func newAuthority(t *testing.T) (*authority, *x509.CertPool) {
	t.Helper()
	a := &authority{}
	c := a.issue(t, &x509.Certificate{Subject: pkix.Name{CommonName: "test authority"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign})
	a.key, a.cert = c.PrivateKey.(*ecdsa.PrivateKey), c.Leaf
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return a, pool
}

// issue makes a certificate of a template, signed by the authority, or by itself where there is none yet.
func (a *authority) issue(t *testing.T, template *x509.Certificate) *tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template.SerialNumber = big.NewInt(time.Now().UnixNano())
	if template.NotBefore.IsZero() {
		template.NotBefore = time.Now().Add(-time.Hour)
	}
	if template.NotAfter.IsZero() {
		template.NotAfter = time.Now().Add(90 * 24 * time.Hour)
	}
	parent, signer := template, key
	if a.cert != nil {
		parent, signer = a.cert, a.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

func (a *authority) good(t *testing.T) *tls.Certificate {
	t.Helper()
	return a.issue(t, &x509.Certificate{IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}})
}

// codes gives what was found, "LEVEL CODE" each, notes too.
func codes(r *Result) []string {
	all := []string{}
	for _, f := range r.Findings {
		all = append(all, f.Level.String()+" "+f.Code)
	}
	return all
}

func shownFindings(r *Result) string {
	var b strings.Builder
	for _, f := range r.Findings {
		fmt.Fprintf(&b, "%s %s: %s: %s\n", f.Level, f.Code, f.Where, f.Seen)
	}
	return b.String()
}

var manyDomains = func() (all []string) {
	for i := range 60 {
		all = append(all, fmt.Sprintf("d%d.test", i))
	}
	return all
}()

// TestExchangeFaults plants one fault after another into a server that is set up well: just that one is found.
func TestExchangeFaults(t *testing.T) {
	t.Parallel()
	a, roots := newAuthority(t)
	login := &upstream.Auth{User: "gateway", Password: "secret password"}
	for _, c := range []struct {
		name string
		o    func(*exchange.Options)
		s    func(*Server)
		want []string
		seen string // somewhere in what was seen

		noLogin bool // it says no AUTH
	}{
		{name: "clean"},
		{name: "clean, without profile", s: func(s *Server) { s.Exchange = false }, want: []string{"note profile"}},
		{name: "clean, with a login", o: func(o *exchange.Options) { o.Login, o.NoAnonymous = [2]string{login.User, login.Password}, true }, s: func(s *Server) { s.Auth, s.Outward = login, true }},
		{name: "size", o: func(o *exchange.Options) { o.Size = 10 << 20 }, want: []string{"warning size"}, seen: "10.0 MiB (SIZE 10485760, files of 7.3 MiB"},
		{name: "no size", o: func(o *exchange.Options) { o.Size = -1 }, want: []string{"note size"}},
		{name: "unknown taken", o: func(o *exchange.Options) { o.Unknown = exchange.AtBounce }, want: []string{"fault unknown-taken"}},
		{name: "unknown refused at the end", o: func(o *exchange.Options) { o.Unknown = exchange.AtData }, want: []string{"fault unknown-taken"}},
		{name: "unknown taken behind a list", o: func(o *exchange.Options) { o.Unknown = exchange.AtBounce }, s: func(s *Server) { s.Recipients = Listed }, want: []string{"note unknown-taken"}},
		{name: "externally secured", o: func(o *exchange.Options) { o.Internal = true }, want: []string{"fault trusted"}},
		{name: "a smarthost relays", o: func(o *exchange.Options) { o.Internal = true }, s: func(s *Server) { s.Outward = true }},
		{name: "a smarthost does not relay", s: func(s *Server) { s.Outward, s.Domains = true, nil }, want: []string{"fault relay-denied"}},
		{name: "not an accepted domain", o: func(o *exchange.Options) { o.Domains = []string{"other.test"} }, want: []string{"fault relay-denied"}, seen: "550 5.7.54"},
		{name: "another domain that is no accepted one", s: func(s *Server) { s.Domains = []string{"example.org", "example.net"} }, want: []string{"fault relay-denied"}, seen: "postmaster@example.net"},
		{name: "other domains that are", o: func(o *exchange.Options) { o.Domains, o.Mailboxes = manyDomains, []string{"postmaster@d0.test"} }, s: func(s *Server) { s.Domains = manyDomains }},
		{
			name: "many that are not", s: func(s *Server) { s.Domains = append([]string{"example.org"}, manyDomains...) },
			want: slices.Repeat([]string{"fault relay-denied"}, enough),
		},
		{name: "no postmaster", o: func(o *exchange.Options) { o.Mailboxes = []string{"bob@example.org"} }, want: []string{"warning postmaster-inside"}},
		{name: "anonymous users", o: func(o *exchange.Options) { o.NoAnonymous = true }, want: []string{"fault mail"}, seen: "530 5.7.57"},
		{name: "back pressure", o: func(o *exchange.Options) { o.BackPressure = late }, want: []string{"warning slow", "fault resources"}, seen: "452 4.3.1"},
		{name: "turned away", o: func(o *exchange.Options) { o.Refuse = "421 4.3.2 Service not active" }, want: []string{"fault greeting"}},
		{name: "slow greeting", o: func(o *exchange.Options) { o.Slow = late }, want: []string{"warning slow"}},
		{name: "tarpit", s: func(s *Server) { s.Callout = 20 * time.Millisecond }, want: []string{"warning tarpit"}},
		{name: "connections", o: func(o *exchange.Options) { o.PerSource = 5 }, want: []string{"warning connections"}, seen: "of 20 connections at once it took 5; to one of the others, it said 421 4.3.2"},
		{name: "8bitmime", o: func(o *exchange.Options) { o.Lacks = []string{"8BITMIME"} }, want: []string{"warning 8bitmime"}},
		{name: "pipelining", o: func(o *exchange.Options) { o.Lacks = []string{"PIPELINING"} }, want: []string{"warning pipelining"}},
		{name: "smtputf8, enhanced codes", o: func(o *exchange.Options) { o.Lacks = []string{"SMTPUTF8", "ENHANCEDSTATUSCODES"} }, want: []string{"note smtputf8", "note codes"}},
		{name: "dsn", o: func(o *exchange.Options) { o.Lacks = []string{"DSN"} }, want: []string{"warning dsn"}},
		{name: "dsn that nobody wants", o: func(o *exchange.Options) { o.Lacks = []string{"DSN"} }, s: func(s *Server) { s.DSN = false }},
		{name: "no TLS", o: func(o *exchange.Options) { o.Cert = nil }, want: []string{"fault tls-missing"}},
		{name: "no TLS, opportunistic", o: func(o *exchange.Options) { o.Cert = nil }, s: func(s *Server) { s.TLS = upstream.TLSOpportunistic }, want: []string{"warning tls-missing"}},
		{name: "no TLS, near", o: func(o *exchange.Options) { o.Cert = nil }, s: func(s *Server) { s.TLS, s.Near = upstream.TLSOpportunistic, true }},
		{name: "TLS unused", s: func(s *Server) { s.TLS = upstream.TLSNone }, want: []string{"note tls-unused"}},
		{name: "old TLS", o: func(o *exchange.Options) { o.TLSMax = tls.VersionTLS11 }, want: []string{"fault tls-old"}, seen: "TLS 1.1 with TLS_"},
		{name: "old TLS, opportunistic", o: func(o *exchange.Options) { o.TLSMax = tls.VersionTLS11; o.Lacks = []string{"DSN"} }, s: func(s *Server) { s.TLS = upstream.TLSOpportunistic }, want: []string{"warning tls-old", "warning dsn"}},
		{name: "name", o: func(o *exchange.Options) {
			o.Cert = a.issue(t, &x509.Certificate{DNSNames: []string{"ex01.corp.test"}})
		}, want: []string{"fault tls-name"}, seen: "ex01.corp.test"},
		{name: "server_name", o: func(o *exchange.Options) {
			o.Cert = a.issue(t, &x509.Certificate{DNSNames: []string{"ex01.corp.test"}})
		}, s: func(s *Server) { s.Name = "ex01.corp.test" }},
		{name: "self-signed", o: func(o *exchange.Options) { o.Cert = new(authority).good(t) }, want: []string{"fault tls-chain"}},
		{name: "self-signed, opportunistic", o: func(o *exchange.Options) { o.Cert = new(authority).good(t) }, s: func(s *Server) { s.TLS = upstream.TLSOpportunistic }, want: []string{"note tls-chain"}},
		{name: "expired", o: func(o *exchange.Options) {
			o.Cert = a.issue(t, &x509.Certificate{IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, NotAfter: time.Now().Add(-time.Minute)})
		}, want: []string{"fault tls-expired"}},
		{name: "expires", o: func(o *exchange.Options) {
			o.Cert = a.issue(t, &x509.Certificate{IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, NotAfter: time.Now().Add(48 * time.Hour)})
		}, want: []string{"warning tls-expired"}},
		{name: "xclient", s: func(s *Server) { s.Identity = "xclient" }, want: []string{"fault identity"}},
		{name: "proxy", s: func(s *Server) { s.Identity = "proxy" }, want: []string{"fault identity"}},
		{name: "no AUTH", s: func(s *Server) { s.Auth = login }, want: []string{"fault auth"}, seen: "neither PLAIN nor LOGIN"},
		{name: "wrong password", o: func(o *exchange.Options) { o.Login = [2]string{"gateway", "other"} }, s: func(s *Server) { s.Auth = login }, want: []string{"fault auth"}, seen: "was 535, not 235"},
		{name: "a login, and another name", o: func(o *exchange.Options) {
			o.Cert, o.Login = a.issue(t, &x509.Certificate{DNSNames: []string{"ex01.corp.test"}}), [2]string{login.User, login.Password}
		}, s: func(s *Server) { s.Auth = login }, want: []string{"fault tls-name", "warning auth"}, seen: "was not tried", noLogin: true},
		{name: "a login, and no authority", o: func(o *exchange.Options) {
			o.Cert, o.Login = new(authority).good(t), [2]string{login.User, login.Password}
		}, s: func(s *Server) { s.Auth = login }, want: []string{"fault tls-chain", "warning auth"}, noLogin: true},
		{name: "a login, and expired", o: func(o *exchange.Options) {
			o.Cert = a.issue(t, &x509.Certificate{IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, NotAfter: time.Now().Add(-time.Minute)})
			o.Login = [2]string{login.User, login.Password}
		}, s: func(s *Server) { s.Auth = login }, want: []string{"fault tls-expired", "warning auth"}, noLogin: true},
		{name: "a login, and it expires", o: func(o *exchange.Options) {
			o.Cert = a.issue(t, &x509.Certificate{IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, NotAfter: time.Now().Add(48 * time.Hour)})
			o.Login = [2]string{login.User, login.Password}
		}, s: func(s *Server) { s.Auth, s.Outward = login, true }, want: []string{"warning tls-expired"}},
		{name: "a login where any certificate will do", o: func(o *exchange.Options) {
			o.Cert, o.Login = new(authority).good(t), [2]string{login.User, login.Password}
		}, s: func(s *Server) { s.Auth, s.TLS, s.Outward = login, upstream.TLSRequired, true }, want: []string{"note tls-chain"}},
		{name: "lmtp", s: func(s *Server) { s.LMTP = true }, want: []string{"fault protocol"}},
		{name: "2010", o: func(o *exchange.Options) { o.OldStyle = true }, want: []string{"note smtputf8"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			o := exchange.Options{Cert: a.good(t), Mailboxes: []string{"postmaster@example.org", "bob@example.org"}, Tarpit: 50 * time.Millisecond}
			if c.o != nil {
				c.o(&o)
			}
			e := exchange.Start(t, o)
			s := Server{
				Upstream: "exchange", Address: e.Addr, TLS: upstream.TLSVerify, Roots: roots, Exchange: true, Hello: "mx.example.org", Domains: []string{"example.org"},
				Recipients: Asked, Callout: 20 * time.Second, Message: 30 << 20, Connections: 20, Most: 100, DSN: true,
			}
			if c.s != nil {
				c.s(&s)
			}
			limits := patient
			if slices.Contains(c.want, "warning slow") {
				limits.Slow = late - 100*time.Millisecond
			}
			r := Examination{Servers: []Server{s}, Limits: limits}.Run(t.Context())
			if got := codes(r); !slices.Equal(got, append([]string{}, c.want...)) {
				t.Errorf("found %q, not %q\n%s", got, c.want, shownFindings(r))
			}
			if !strings.Contains(shownFindings(r), c.seen) {
				t.Errorf("%q is not in\n%s", c.seen, shownFindings(r))
			}
			if strings.Contains(shownFindings(r), login.Password) {
				t.Errorf("the password is shown:\n%s", shownFindings(r))
			}
			for _, f := range r.Findings {
				if f.Why == "" || f.Mend == (Mend{}) {
					t.Errorf("%s: without advice", f.Code)
				}
			}
			if c.noLogin && slices.ContainsFunc(e.Commands(), func(line string) bool { return strings.HasPrefix(line, "AUTH") }) {
				t.Errorf("it logs in with a server that has not proved who it is: %q", e.Commands())
			}
			delivered(t, e)
		})
	}
}

// delivered fails the test if anything was delivered, or begun to be.
func delivered(t *testing.T, e *exchange.Server) {
	t.Helper()
	for _, line := range e.Commands() {
		if verb := strings.ToUpper(strings.Fields(line + " x")[0]); verb == "DATA" || verb == "BDAT" {
			t.Errorf("it said %s", line)
		}
	}
	if n := len(e.Taken()); n > 0 {
		t.Errorf("%d messages were delivered", n)
	}
}

// TestBounds: a server that swallows what it is told ends the examination in time, and so does the end of the context.
func TestBounds(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	server := Server{Upstream: "x", Address: l.Addr().String(), Hello: "mx.example.org", Domains: []string{"example.org"}, Connections: 20}
	t.Run("silent", func(t *testing.T) {
		start := time.Now()
		r := Examination{Servers: []Server{server}, Limits: Limits{Reply: 100 * time.Millisecond}}.Run(t.Context())
		if got := codes(r); !slices.Equal(got, []string{"fault greeting"}) || time.Since(start) > 15*time.Second { // 20 is what it waits by default
			t.Errorf("%q after %v", got, time.Since(start))
		}
	})
	t.Run("total", func(t *testing.T) {
		start := time.Now()
		r := Examination{Servers: []Server{server, server}, Limits: Limits{Total: 100 * time.Millisecond, Reply: 5 * time.Minute}}.Run(t.Context())
		if got := codes(r); !slices.Contains(got, "warning unfinished") || time.Since(start) > time.Minute {
			t.Errorf("%q after %v", got, time.Since(start))
		}
	})
	t.Run("interrupted", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(50*time.Millisecond, cancel)
		start := time.Now()
		Examination{Servers: []Server{server}, Limits: Limits{Reply: 5 * time.Minute}}.Run(ctx)
		if time.Since(start) > time.Minute {
			t.Errorf("after %v", time.Since(start))
		}
	})
	t.Run("nobody there", func(t *testing.T) {
		_ = l.Close()
		r := Examination{Servers: []Server{server}, Limits: patient}.Run(t.Context())
		if got := codes(r); !slices.Equal(got, []string{"fault unreachable"}) {
			t.Errorf("%q", got)
		}
	})
}

// TestSource: connections come from the address that the upstream is configured with, to an address and to a name.
func TestSource(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	for _, host := range []string{"127.0.0.1", "localhost"} {
		from := make(chan string, 1)
		go func() {
			nc, err := l.Accept()
			if err != nil {
				from <- err.Error()
				return
			}
			from <- nc.RemoteAddr().String()
			_ = nc.Close()
		}()
		s := Server{Upstream: "x", Address: host + ":" + port, Hello: "mx.example.org", Source: []netip.Addr{netip.MustParseAddr("127.0.0.3")}}
		r := Examination{Servers: []Server{s}, Limits: patient}.Run(t.Context())
		if got := <-from; !strings.HasPrefix(got, "127.0.0.3:") || !slices.Equal(codes(r), []string{"fault greeting"}) {
			t.Errorf("%s: from %s\n%s", host, got, shownFindings(r))
		}
	}
}
