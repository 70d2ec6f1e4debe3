package directory

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	ber "github.com/go-asn1-ber/asn1-ber"
	"github.com/go-ldap/ldap/v3"
)

const (
	// maxPacket bounds one message of a server, which holds one entry, in octets. Active Directory gives 1500 values of an
	// attribute at once, and an address has 254 octets.
	maxPacket = 1 << 20
	// maxRead bounds all that a server may send over one connection, in octets.
	maxRead = 1 << 30
	// readFor bounds how long one server may take for everything.
	readFor = 10 * time.Minute
)

// The decoder's limit is a variable of its package, and nobody else here decodes BER.
func init() { ber.MaxPacketLengthBytes = maxPacket }

// conn is a connection to one server, bound.
type conn struct {
	*ldap.Conn
	stop func() bool
}

// dial connects to a server and binds. The end of ctx ends the connection, whatever it waits for.
func dial(ctx context.Context, s *Settings, url string) (*conn, error) {
	secure, addr, err := parseURL(url)
	if err != nil {
		return nil, err
	}
	var config *tls.Config
	if secure || s.TLS != TLSNone {
		if config, err = s.tlsConfig(addr); err != nil {
			return nil, err
		}
	}
	early, cancel := context.WithTimeout(ctx, s.Timeout)
	defer cancel()
	raw, err := (&net.Dialer{}).DialContext(early, "tcp", addr)
	if err != nil {
		return nil, err
	}
	_ = raw.SetDeadline(time.Now().Add(readFor))
	limited := net.Conn(&bounded{Conn: raw, left: maxRead})
	if secure {
		t := tls.Client(limited, config)
		if err := t.HandshakeContext(early); err != nil {
			_ = raw.Close()
			return nil, fmt.Errorf("TLS: %w", err)
		}
		limited = t
	}
	c := &conn{Conn: ldap.NewConn(limited, secure), stop: context.AfterFunc(ctx, func() { _ = raw.Close() })}
	c.SetTimeout(s.Timeout)
	c.Start()
	if err := c.begin(s, secure, config, raw); err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

// begin does what comes before searches: StartTLS, and the bind.
func (c *conn) begin(s *Settings, secure bool, config *tls.Config, raw net.Conn) error {
	if !secure && config != nil {
		_ = raw.SetDeadline(time.Now().Add(s.Timeout)) // of the handshake, which has no limit of its own
		if err := c.StartTLS(config); err != nil {
			return fmt.Errorf("StartTLS: %w", err)
		}
		_ = raw.SetDeadline(time.Now().Add(readFor))
	}
	if s.User == "" {
		return nil
	}
	// RFC 4513 5.1.2: without a password this would be an anonymous bind that looks like another; go-ldap refuses it.
	if err := c.Bind(s.User, s.Password); err != nil {
		if ldap.IsErrorAnyOf(err, ldap.LDAPResultInvalidCredentials, ldap.LDAPResultInappropriateAuthentication) {
			return fmt.Errorf("%w: %w", errLogin, err)
		}
		return fmt.Errorf("bind: %w", err)
	}
	return nil
}

// errLogin says that a server has refused the login. To log in again without a change brings the account nearer to its lock.
var errLogin = errors.New("bind: the login is refused")

func (c *conn) close() {
	c.stop()
	_ = c.Close()
}

func (s *Settings) tlsConfig(addr string) (*tls.Config, error) {
	host, _, _ := net.SplitHostPort(addr)
	config := &tls.Config{ServerName: host, MinVersion: tls.VersionTLS12, InsecureSkipVerify: s.TLS != TLSVerify} //nolint:gosec // as configured
	if s.TLS != TLSVerify || s.CAFile == "" {
		return config, nil
	}
	pem, err := os.ReadFile(s.CAFile)
	if err != nil {
		return nil, err
	}
	config.RootCAs = x509.NewCertPool()
	if !config.RootCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s holds no certificate in PEM form", s.CAFile)
	}
	return config, nil
}

// bounded is a connection that gives so many octets only.
type bounded struct {
	net.Conn
	left int64
}

var errTooMuch = errors.New("directory: the server sends too much")

// Read implements net.Conn.
func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errTooMuch
	}
	n, err := b.Conn.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	return n, err
}

// elsewhere reports whether another server may have an answer where one gave this error.
func elsewhere(err error) bool {
	return !ldap.IsErrorAnyOf(err, ldap.LDAPResultInvalidCredentials, ldap.LDAPResultInappropriateAuthentication,
		ldap.LDAPResultNoSuchObject, ldap.LDAPResultInvalidDNSyntax, ldap.LDAPResultFilterError)
}
