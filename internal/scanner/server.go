package scanner

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Server is one program that is asked.
type Server struct {
	Network string   // "tcp" or "unix"
	Address string   // host:port, or the path of the socket
	URL     *url.URL // where HTTP is spoken; nil else

	dial    time.Duration
	breaker breaker

	mu     sync.Mutex
	memory any
	client *http.Client
}

// String gives the server as the configuration writes it.
func (s *Server) String() string {
	switch {
	case s.Network == "unix":
		return "unix:" + s.Address
	case s.URL != nil:
		return s.URL.Scheme + "://" + s.URL.Host
	}
	return s.Address
}

// State gives the state of the server's breaker.
func (s *Server) State() State { return s.breaker.now() }

// parseServer reads host:port or unix:/path.
func parseServer(text string) (*Server, error) {
	if path, ok := strings.CutPrefix(text, "unix:"); ok {
		if !filepath.IsAbs(path) {
			return nil, fmt.Errorf("%q: the path of a socket begins with a slash: unix:/run/…", text)
		}
		return &Server{Network: "unix", Address: path}, nil
	}
	host, port, err := net.SplitHostPort(text)
	if err != nil || host == "" || strings.ContainsAny(host, " /@") || !isPort(port) {
		return nil, fmt.Errorf("%q is neither host:port nor unix:/path", text)
	}
	return &Server{Network: "tcp", Address: net.JoinHostPort(host, port)}, nil
}

func isPort(s string) bool {
	n, err := strconv.ParseUint(s, 10, 16)
	return err == nil && n > 0
}

// parseURL reads http://host:port/path, https://…, host:port or unix:/path.
func parseURL(text, path string) (*Server, error) {
	if !strings.Contains(text, "://") {
		s, err := parseServer(text)
		if err != nil {
			return nil, err
		}
		host := s.Address
		if s.Network == "unix" {
			host = "localhost"
		}
		s.URL = &url.URL{Scheme: "http", Host: host, Path: path}
		return s, nil
	}
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.User != nil || u.Fragment != "" {
		return nil, fmt.Errorf("%q is none of http://host:port/path, https://host:port/path, host:port, unix:/path", text)
	}
	if u.Path == "" {
		u.Path = path
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	if !isPort(port) {
		return nil, fmt.Errorf("%q: no such port", text)
	}
	return &Server{Network: "tcp", Address: net.JoinHostPort(u.Hostname(), port), URL: u}, nil
}

// Dial connects to the server. What is read and written ends with the context, and the connection is then closed.
func (s *Server) Dial(ctx context.Context) (net.Conn, error) {
	c, err := s.connect(ctx)
	if err != nil {
		return nil, err
	}
	at, _ := ctx.Deadline() // zero: none
	_ = c.SetDeadline(at)
	stop := context.AfterFunc(ctx, func() { _ = c.Close() })
	return &conn{Conn: c, stop: stop, deadline: at}, nil
}

func (s *Server) connect(ctx context.Context) (net.Conn, error) {
	d := net.Dialer{Timeout: s.dial}
	c, err := d.DialContext(ctx, s.Network, s.Address)
	if err != nil {
		err = fmt.Errorf("connect: %w", err)
		if isOurs(err) {
			err = Blameless(err)
		}
		return nil, err
	}
	return c, nil
}

// isOurs reports whether a connection can't be made because this machine has no room for one.
func isOurs(err error) bool {
	return slices.ContainsFunc([]error{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM}, func(e error) bool { return errors.Is(err, e) })
}

// talk connects for HTTP.
func (s *Server) talk(ctx context.Context, _, _ string) (net.Conn, error) {
	c, err := s.connect(ctx)
	if err != nil {
		return nil, err
	}
	return &talker{Conn: c, closed: make(chan struct{})}, nil
}

// conn is a connection that ends with a context.
type conn struct {
	net.Conn
	stop     func() bool
	deadline time.Time
}

// Close closes the connection.
func (c *conn) Close() error {
	c.stop()
	return c.Conn.Close()
}

// Early gives what a server has sent that is not read yet, as far as b has room, and waits for nothing. What stands there before the
// question was asked whole is no answer to it. c is a connection of Dial's; another one has sent nothing.
func Early(c net.Conn, b []byte) int {
	own, ok := c.(*conn)
	if !ok {
		return 0
	}
	n := arrived(own.Conn, b) // what goes wrong goes wrong again
	_ = own.SetReadDeadline(own.deadline)
	return n
}

// Memory gives what the filter keeps of the server, which make makes once. It outlives reloads.
func Memory[T any](s *Server, make func() *T) *T {
	s.mu.Lock()
	defer s.mu.Unlock()
	if m, ok := s.memory.(*T); ok {
		return m
	}
	m := make()
	s.memory = m
	return m
}

// maxHeader bounds the header of an answer over HTTP.
const maxHeader = 64 << 10

var errRedirect = errors.New("scanner: redirected")

// client gives the client for the server's URL: it goes to this server whatever the environment says of proxies, keeps
// connections, follows no redirection, and inflates nothing.
func (s *Server) httpClient(o *Options) *http.Client {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.client == nil {
		s.client = &http.Client{
			Transport: &http.Transport{
				DialContext:            s.talk,
				TLSClientConfig:        o.TLS,
				TLSHandshakeTimeout:    s.dial + 3*time.Second,
				MaxIdleConns:           o.Parallel,
				MaxIdleConnsPerHost:    o.Parallel,
				IdleConnTimeout:        15 * time.Second,
				MaxResponseHeaderBytes: maxHeader,
				DisableCompression:     true,
				WriteBufferSize:        32 << 10,
			},
			CheckRedirect: func(*http.Request, []*http.Request) error { return errRedirect },
		}
	}
	return s.client
}
