package upstream

import (
	"crypto/tls"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/emersion/go-smtp"
	"github.com/google/go-cmp/cmp"

	"github.com/postern-mail/postern/mail"
)

// peer is the backend of a server that others wrote.
type peer struct {
	mu   sync.Mutex
	seen []string
}

func (p *peer) NewSession(*smtp.Conn) (smtp.Session, error) { return &peerSession{p: p}, nil }

type peerSession struct {
	p        *peer
	envelope string
}

func (s *peerSession) Reset()        { s.envelope = "" }
func (s *peerSession) Logout() error { return nil }

func (s *peerSession) Mail(from string, o *smtp.MailOptions) error {
	s.envelope = "from " + from + " " + string(o.Body) + map[bool]string{true: " SMTPUTF8"}[o.UTF8]
	return nil
}

func (s *peerSession) Rcpt(to string, _ *smtp.RcptOptions) error {
	if strings.HasPrefix(to, "unknown@") {
		return &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 1}, Message: "unknown"}
	}
	s.envelope += " to " + to
	return nil
}

func (s *peerSession) Data(r io.Reader) error {
	content, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	s.p.mu.Lock()
	defer s.p.mu.Unlock()
	s.p.seen = append(s.p.seen, s.envelope+": "+string(content))
	return nil
}

// TestPeer: a server of another make, over TLS, gets what was sent.
func TestPeer(t *testing.T) {
	cert, _ := certificate(t, "127.0.0.1")
	p := &peer{}
	server := smtp.NewServer(p)
	server.Domain, server.EnableSMTPUTF8 = "peer.test", true
	server.TLSConfig = &tls.Config{Certificates: []tls.Certificate{cert}}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(l) })
	defer serving.Wait()
	defer server.Close() //nolint:errcheck // a test's
	relay := pool(t, Config{Servers: []string{l.Addr().String()}, TLS: TLSRequired})

	contents := []string{
		"Subject: x\r\n\r\n.\r\n..\r\n.two\r\nend\r\n",
		"Subject: big\r\n\r\n" + strings.Repeat(".0123456789abcdef\r\nx\r\n", 20000),
		"Subject: none\r\n\r\n",
	}
	var want []string
	for i, content := range contents {
		env := envelope(t, "b@y.test", `"c d"@y.test`)
		env.Body8Bit, env.SMTPUTF8 = true, i == 1
		o := relay.Deliver(t.Context(), env, message(t, content))
		if o.Kind != Delivered || o.TLS == nil {
			t.Fatalf("%+v", o)
		}
		utf8 := map[bool]string{true: " SMTPUTF8"}[env.SMTPUTF8]
		want = append(want, "from a@x.test 8BITMIME"+utf8+" to b@y.test to c d@y.test: "+content)
	}
	o := relay.Deliver(t.Context(), envelope(t, "b@y.test", "unknown@y.test"), message(t, "x\r\n"))
	if r := o.Refused[address(t, "unknown@y.test")]; o.Kind != RecipientRefused || r != mail.NewReply(550, 5, 1, 1, "unknown") {
		t.Errorf("%+v", o)
	}
	if r, ok := relay.Cached(address(t, "unknown@y.test")); !ok || r.Code != 550 {
		t.Errorf("%v, %v", r, ok)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if diff := cmp.Diff(want, p.seen); diff != "" {
		t.Errorf("-want +got:\n%.1000s", diff)
	}
}

// TestCertificates: the server is known by the name that the configuration gives, and knows us by our certificate.
func TestCertificates(t *testing.T) {
	theirs, pem := certificate(t, "mail.corp.test")
	ours, _ := certificate(t, "gw.test")
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem, 0o600); err != nil {
		t.Fatal(err)
	}
	var asked, shown atomic.Value
	server := smtp.NewServer(&peer{})
	server.TLSConfig = &tls.Config{ClientAuth: tls.RequireAnyClientCert, GetCertificate: func(h *tls.ClientHelloInfo) (*tls.Certificate, error) {
		asked.Store(h.ServerName)
		return &theirs, nil
	}, VerifyConnection: func(s tls.ConnectionState) error {
		shown.Store(s.PeerCertificates[0].DNSNames[0])
		return nil
	}}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(l) })
	defer serving.Wait()
	defer server.Close() //nolint:errcheck // a test's
	for name, c := range map[string]struct {
		server string
		cert   *tls.Certificate
		want   Kind
	}{
		"both":           {"mail.corp.test", &ours, Delivered},
		"another name":   {"other.test", &ours, OurFault},
		"no name":        {"", &ours, OurFault},
		"no certificate": {"mail.corp.test", nil, Unreachable}, // RFC 8446 4.4.2.4: said when the handshake is over for us
	} {
		relay := pool(t, Config{Servers: []string{l.Addr().String()}, TLS: TLSVerify, CAFile: ca, ServerName: c.server, Certificate: c.cert})
		if o := relay.Deliver(t.Context(), envelope(t, "b@y.test"), message(t, "x\r\n")); o.Kind != c.want {
			t.Errorf("%s: %+v", name, o)
		}
		if name == "both" && (asked.Load() != c.server || shown.Load() != "gw.test") {
			t.Errorf("asked for %v, shown %v", asked.Load(), shown.Load())
		}
	}
}
