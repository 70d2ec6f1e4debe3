package doctor

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"net"
	"strings"
	"time"

	"github.com/postern-mail/postern/internal/certs"
	"github.com/postern-mail/postern/mail"
	"github.com/postern-mail/postern/upstream"
)

// secure begins TLS as the gateway would, and looks at what it gets. False means that no mail can go to the server.
func (v *visit) secure(ctx context.Context, d *dialog) bool {
	s := v.server
	must := s.TLS == upstream.TLSRequired || s.TLS == upstream.TLSVerify
	switch {
	case v.clear:
		return true
	case s.TLS == upstream.TLSNone:
		if d.offers("STARTTLS") && !s.Near {
			v.find("tls-unused", Note, "it offers STARTTLS, and the upstream has tls: none")
		}
		return true
	case !d.offers("STARTTLS"):
		if must {
			v.find("tls-missing", Fault, "STARTTLS is not among what it offers, and the upstream has tls: %s", s.TLS)
		} else if !s.Near {
			v.find("tls-missing", Warning, "STARTTLS is not among what it offers: mail goes there in clear")
		}
		return !must
	}
	v.step("TLS")
	r, err := d.say("STARTTLS")
	if err != nil || r.Code != 220 {
		v.find("tls-missing", v.tlsLevel(), "to STARTTLS %s", said(r, err))
		return !must && err == nil
	}
	host := s.Name
	if host == "" {
		host, _, _ = net.SplitHostPort(s.Address)
	}
	state, err := d.handshake(ctx, s.handshake(host))
	if err != nil {
		v.failed = err
		v.weak(ctx, host, err)
		return false
	}
	v.unproved = !v.certificate(host, state) && s.TLS == upstream.TLSVerify
	if r, err = d.say("%s %s", v.verb(), s.Hello); err != nil || r.Code != 250 {
		v.find("protocol", Fault, "within TLS, to %s %s", v.verb(), said(r, err))
		return false
	}
	d.learn(r)
	return true
}

// handshake says with what TLS is begun: the certificate is looked at afterwards, whatever it is.
func (s *Server) handshake(host string) *tls.Config {
	cfg := &tls.Config{ServerName: host, InsecureSkipVerify: true, MinVersion: tls.VersionTLS12} //nolint:gosec // see above
	if s.Own != nil {
		cfg.Certificates = []tls.Certificate{*s.Own}
	}
	return cfg
}

func (v *visit) verb() string {
	if v.server.LMTP {
		return "LHLO"
	}
	return "EHLO"
}

// tlsLevel is how much it matters that TLS can't be had.
func (v *visit) tlsLevel() Level {
	if v.server.TLS == upstream.TLSOpportunistic {
		return Warning
	}
	return Fault
}

// handshake goes over to TLS.
func (d *dialog) handshake(ctx context.Context, cfg *tls.Config) (tls.ConnectionState, error) {
	if d.br.Buffered() > 0 {
		return tls.ConnectionState{}, errors.New("words in clear came after the reply to STARTTLS")
	}
	ctx, cancel := context.WithTimeout(ctx, d.wait)
	defer cancel()
	_ = d.nc.SetDeadline(time.Time{})
	secure := tls.Client(d.nc, cfg)
	if err := secure.HandshakeContext(ctx); err != nil {
		return tls.ConnectionState{}, err
	}
	d.nc, d.br, d.tls = secure, bufio.NewReaderSize(secure, replyBuffer), true
	return secure.ConnectionState(), nil
}

// weak finds out, on another connection, why a handshake has failed: whether the server has old versions or ciphers only.
func (v *visit) weak(ctx context.Context, host string, cause error) {
	var all []uint16
	for _, c := range append(tls.CipherSuites(), tls.InsecureCipherSuites()...) {
		all = append(all, c.ID)
	}
	cfg := v.server.handshake(host)
	cfg.MinVersion, cfg.CipherSuites = tls.VersionTLS10, all // to see what it has
	state, ok := v.again(ctx, cfg)
	if !ok {
		v.find("tls-handshake", v.tlsLevel(), "the handshake failed: %s", errText(cause))
		return
	}
	v.find("tls-old", v.tlsLevel(), "the best that it has is %s with %s (with what the gateway takes: %s)",
		tls.VersionName(state.Version), tls.CipherSuiteName(state.CipherSuite), errText(cause))
}

// again begins TLS on a connection of its own.
func (v *visit) again(ctx context.Context, cfg *tls.Config) (tls.ConnectionState, bool) {
	d, err := v.dial(ctx)
	if err != nil {
		return tls.ConnectionState{}, false
	}
	defer d.leave()
	for _, line := range []string{"", v.verb() + " " + v.server.Hello, "STARTTLS"} {
		var r mail.Reply
		if line == "" {
			r, err = d.reply()
		} else {
			r, err = d.say("%s", line)
		}
		if err != nil || !r.Positive() {
			return tls.ConnectionState{}, false
		}
	}
	state, err := d.handshake(ctx, cfg)
	return state, err == nil
}

// certificate looks at the server's certificate, and reports whether the gateway would take it with tls: verify. Unless the upstream
// has that, nobody goes by its name and chain.
func (v *visit) certificate(host string, state tls.ConnectionState) (proved bool) {
	proved = true
	level := Note
	if v.server.TLS == upstream.TLSVerify {
		level = Fault
	}
	now, leaf := time.Now(), state.PeerCertificates[0]
	switch {
	case now.After(leaf.NotAfter):
		proved = false
		v.find("tls-expired", max(level, Warning), "its certificate has expired on %s", leaf.NotAfter.UTC().Format(time.DateOnly))
	case now.Before(leaf.NotBefore):
		proved = false
		v.find("tls-expired", max(level, Warning), "its certificate is valid from %s on", leaf.NotBefore.UTC().Format(time.DateOnly))
	case now.Add(certs.Soon).After(leaf.NotAfter):
		v.find("tls-expired", min(level, Warning), "its certificate expires on %s", leaf.NotAfter.UTC().Format(time.DateOnly))
	}
	if leaf.VerifyHostname(host) != nil {
		proved = false
		v.find("tls-name", level, "its certificate is for %s, and the upstream asks for %s", strings.Join(names(leaf), ", "), host)
	}
	between := x509.NewCertPool()
	for _, c := range state.PeerCertificates[1:] {
		between.AddCert(c)
	}
	// What its dates say was said: here the chain is asked for, at a moment at which the leaf is valid.
	at := now
	if now.After(leaf.NotAfter) || now.Before(leaf.NotBefore) {
		at = leaf.NotAfter.Add(-time.Second)
	}
	if _, err := leaf.Verify(x509.VerifyOptions{Roots: v.server.Roots, Intermediates: between, CurrentTime: at}); err != nil {
		proved = false
		v.find("tls-chain", level, "its certificate, issued by %q, leads to no authority that is trusted: %s", leaf.Issuer.String(), err)
	}
	return proved
}

// names gives whom a certificate is for.
func names(c *x509.Certificate) []string {
	all := append([]string(nil), c.DNSNames...)
	for _, ip := range c.IPAddresses {
		all = append(all, ip.String())
	}
	if len(all) == 0 {
		return []string{"nobody (" + c.Subject.String() + ")"}
	}
	return all[:min(len(all), 5)]
}

// login authenticates us, where we are to. The texts of replies are not shown: some repeat what they were sent.
func (v *visit) login(d *dialog) bool {
	a := v.server.Auth
	if a == nil {
		return true
	}
	if v.unproved { // the gateway would not say its password to whoever answers there, and neither do we
		v.find("auth", Warning, "logging in was not tried: the server has not proved who it is")
		return false
	}
	v.step("AUTH")
	mechanisms := strings.Fields(strings.ToUpper(d.ext["AUTH"]))
	var lines []string
	switch has := func(m string) bool { return contains(mechanisms, m) }; {
	case !d.tls:
		v.find("auth", Fault, "the upstream has auth, and there is no TLS to log in within")
		return false
	case has("PLAIN"):
		lines = []string{"AUTH PLAIN", encode("\x00" + a.User + "\x00" + a.Password)}
	case has("LOGIN"):
		lines = []string{"AUTH LOGIN", encode(a.User), encode(a.Password)}
	case d.offers("AUTH"):
		v.find("auth", Fault, "the upstream has auth, and of AUTH it offers %s alone: neither PLAIN nor LOGIN", strings.Join(mechanisms, " "))
		return false
	default:
		v.find("auth", Fault, "the upstream has auth, and AUTH is not among what it offers")
		return false
	}
	for i, line := range lines {
		want := 334
		if i == len(lines)-1 {
			want = 235
		}
		r, err := d.say("%s", line)
		if err != nil || r.Code != want {
			v.find("auth", Fault, "logging in as %s: the reply to line %d of %s was %d, not %d", a.User, i+1, lines[0], r.Code, want)
			return false
		}
	}
	return true
}

func contains(all []string, s string) bool {
	for _, a := range all {
		if a == s {
			return true
		}
	}
	return false
}

func encode(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
