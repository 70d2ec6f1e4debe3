package upstream

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"time"
)

// TLSMode says what a pool asks of TLS.
type TLSMode uint8

const (
	// TLSOpportunistic uses STARTTLS where it is offered, without looking at the certificate; where the
	// handshake fails, a fresh connection is used without it (RFC 7435).
	TLSOpportunistic TLSMode = iota
	TLSNone                  // never
	TLSRequired              // no mail without TLS; the certificate may be anyone's
	TLSVerify                // no mail without TLS and a certificate that is valid for the server's name
)

var tlsNames = [...]string{"opportunistic", "none", "required", "verify"}

// String gives the name of m as it stands in the configuration.
func (m TLSMode) String() string {
	if int(m) < len(tlsNames) {
		return tlsNames[m]
	}
	return fmt.Sprintf("tls(%d)", uint8(m))
}

// ParseTLSMode reads the name of a TLSMode; "" is the default, opportunistic.
func ParseTLSMode(s string) (TLSMode, error) {
	if s == "" {
		return TLSOpportunistic, nil
	}
	for i, name := range tlsNames {
		if s == name {
			return TLSMode(i), nil
		}
	}
	return 0, fmt.Errorf("upstream: tls %q: none, opportunistic, required or verify", s)
}

// Timeouts bound each wait of a relay; the context of Deliver bounds them all. Zero fields mean the
// defaults, which are below the minima of RFC 5321 4.5.3.2: those are for hosts with a queue, while
// Postern's own client is waiting.
type Timeouts struct {
	Wait     time.Duration // for one of the pool's connections: 30 s
	Dial     time.Duration // 10 s
	Greeting time.Duration // 30 s
	Command  time.Duration // each write and each reply of EHLO, STARTTLS, AUTH, MAIL, RCPT, RSET: 30 s
	TLS      time.Duration // the handshake: 30 s
	Data     time.Duration // the reply to DATA: 30 s
	Block    time.Duration // the writing of each block of 64 KiB: 60 s
	Dot      time.Duration // the reply to the final dot: 120 s
	Ask      time.Duration // a question about a recipient, with all servers that are asked: 2 s
}

// Config describes a Pool. Zero fields mean the defaults.
type Config struct {
	Name           string   // of the upstream, for errors
	Servers        []string // host:port, in the order of preference; at least one. With LMTP also unix:/path
	Ranks          []Rank   // of each of Servers, in place of their order; nil: that
	LMTP           bool     // the servers speak LMTP (RFC 2033), not SMTP
	TLS            TLSMode
	CAFile         string           // PEM certificates to trust in place of the system's, where certificates are verified
	ServerName     string           // which TLS asks for, and TLSVerify wants in the certificate; "": the server's host
	Certificate    *tls.Certificate // to show to servers that ask for one; nil: none
	Auth           *Auth            // for TLSRequired and TLSVerify; nil: we do not authenticate ourselves
	Chunking       bool             // content goes by BDAT to servers of SMTP that offer it (RFC 3030); by DATA otherwise
	Secure         *SecureDomains   // whose mail leaves within TLS only; nil: nobody's
	Identity       Identity         // how the servers are told of the client
	Hello          string           // our name in EHLO or LHLO; default: the host's
	MaxConnections int              // per server: 20, as many as Exchange takes of one source
	MaxIdle        int              // per server: MaxConnections; negative: none are kept
	IdleTimeout    time.Duration    // 3 min: Exchange closes at 5, Edge servers may sooner
	MaxAge         time.Duration    // 8 min: Exchange closes at 10
	MaxUses        int              // transactions per connection: 1000
	Verbatim       bool             // clients get the next server's own words
	Timeouts       Timeouts
	Source         []netip.Addr // to connect from, of each family one at most; of one without, the system chooses
	Probe          bool         // servers are looked at from time to time, once Watch was called

	// Dial connects with an address, and in place of the system also with a name where Resolve is nil. Resolve gives
	// the addresses of a name.
	Dial    func(ctx context.Context, network, address string) (net.Conn, error)
	Resolve func(ctx context.Context, host string) ([]netip.Addr, error)
	Hooks   Hooks
	Memory  Memory // of what Asks have found out; nil: it ends with the pool
}

// Rank says which share of the work a server has.
type Rank struct {
	Priority int // of those that are up, the lowest has all of it, as in MX records (RFC 5321 5.1)
	Weight   int // its share among those of the same priority; at least 1
}

// withDefaults checks c and fills in what is zero.
func (c Config) withDefaults() (Config, error) {
	if err := c.checkServers(); err != nil {
		return c, err
	}
	if c.Auth != nil {
		if c.TLS != TLSRequired && c.TLS != TLSVerify {
			return c, fmt.Errorf("upstream: %s: auth with tls %s: required or verify", c.Name, c.TLS)
		}
		if err := c.Auth.check(); err != nil {
			return c, fmt.Errorf("upstream: %s: %w", c.Name, err)
		}
	}
	if c.Auth != nil && c.Identity == IdentityXClient {
		// Each XCLIENT makes the server forget who has logged in.
		return c, fmt.Errorf("upstream: %s: auth with identity %s: the server has to know this gateway by its address", c.Name, c.Identity)
	}
	if c.Chunking && c.LMTP {
		return c, fmt.Errorf("upstream: %s: chunking with LMTP, which has DATA alone here", c.Name)
	}
	if c.Hello == "" {
		name, err := os.Hostname()
		if err != nil {
			return c, fmt.Errorf("upstream: %s: %w", c.Name, err)
		}
		c.Hello = name
	}
	if c.Dial == nil {
		c.Dial = dialFrom(c.Source)
		if c.Resolve == nil {
			c.Resolve = lookUp
		}
	}
	setDefault(&c.MaxConnections, 20)
	setDefault(&c.MaxIdle, c.MaxConnections)
	setDefault(&c.IdleTimeout, 3*time.Minute)
	setDefault(&c.MaxAge, 8*time.Minute)
	setDefault(&c.MaxUses, 1000)
	t := &c.Timeouts
	setDefault(&t.Wait, 30*time.Second)
	setDefault(&t.Dial, 10*time.Second)
	setDefault(&t.Greeting, 30*time.Second)
	setDefault(&t.Command, 30*time.Second)
	setDefault(&t.TLS, 30*time.Second)
	setDefault(&t.Data, 30*time.Second)
	setDefault(&t.Block, time.Minute)
	setDefault(&t.Dot, 2*time.Minute)
	setDefault(&t.Ask, askFor)
	return c, nil
}

// checkServers checks the servers and their ranks.
func (c *Config) checkServers() error {
	if len(c.Servers) == 0 {
		return fmt.Errorf("upstream: %s: no servers", c.Name)
	}
	if c.Ranks != nil && len(c.Ranks) != len(c.Servers) {
		return fmt.Errorf("upstream: %s: %d servers and %d ranks", c.Name, len(c.Servers), len(c.Ranks))
	}
	for _, r := range c.Ranks {
		if r.Weight < 1 {
			return fmt.Errorf("upstream: %s: weight %d: at least 1", c.Name, r.Weight)
		}
	}
	for _, s := range c.Servers {
		if path, ok := socketPath(s); ok {
			switch {
			case path == "":
				return fmt.Errorf("upstream: %s: server %q: the socket's path is needed", c.Name, s)
			case !c.LMTP:
				return fmt.Errorf("upstream: %s: server %q: a socket is for LMTP", c.Name, s)
			case c.TLS == TLSRequired || c.TLS == TLSVerify:
				return fmt.Errorf("upstream: %s: server %q: there is no TLS on a socket of this machine", c.Name, s)
			}
			continue
		}
		if host, port, err := net.SplitHostPort(s); err != nil {
			return fmt.Errorf("upstream: %s: server %q: %w", c.Name, s, err)
		} else if host == "" || port == "" {
			return fmt.Errorf("upstream: %s: server %q: host:port is needed", c.Name, s)
		}
	}
	return nil
}

func setDefault[T int | time.Duration](v *T, d T) {
	if *v == 0 {
		*v = d
	}
}

// hostOf gives the host that a server is by its name, nil where it is an address or a socket, and where a Dial of its own
// knows names.
func (c *Config) hostOf(server string) *host {
	if _, local := socketPath(server); local || c.Resolve == nil {
		return nil
	}
	name, port, err := net.SplitHostPort(server)
	if err != nil {
		return nil // it was checked
	}
	if _, err := netip.ParseAddr(name); err == nil {
		return nil
	}
	return &host{name: name, port: port, resolve: c.Resolve, dial: c.Dial}
}

// rank gives the rank of a server.
func (c *Config) rank(i int) Rank {
	if c.Ranks == nil {
		return Rank{Priority: i, Weight: 1}
	}
	return c.Ranks[i]
}

// tlsConfig makes the configuration of the handshakes with server, nil for TLSNone and where nobody could listen.
func (c *Config) tlsConfig(server string) (*tls.Config, error) {
	if _, local := socketPath(server); local || c.TLS == TLSNone && c.Secure == nil {
		return nil, nil
	}
	host, _, err := net.SplitHostPort(server)
	if err != nil {
		return nil, fmt.Errorf("upstream: %s: server %q: %w", c.Name, server, err)
	}
	if c.ServerName != "" {
		host = c.ServerName
	}
	cfg := &tls.Config{ServerName: host, MinVersion: tls.VersionTLS12}
	if c.Certificate != nil {
		cfg.Certificates = []tls.Certificate{*c.Certificate}
	}
	// RFC 7435: against a listener on the wire an unverified certificate is better than none; who
	// wants the server proved says "verify".
	cfg.InsecureSkipVerify = c.TLS != TLSVerify
	if c.CAFile == "" {
		return cfg, nil
	}
	pem, err := os.ReadFile(c.CAFile)
	if err != nil {
		return nil, fmt.Errorf("upstream: %s: %w", c.Name, err)
	}
	cfg.RootCAs = x509.NewCertPool()
	if !cfg.RootCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("upstream: %s: %s: %w", c.Name, c.CAFile, errors.New("no certificate in it"))
	}
	return cfg, nil
}
