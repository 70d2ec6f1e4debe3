// Package exchange is a stand-in for an Exchange server in tests: it speaks the SMTP dialog of a Receive connector, with
// its limits, its tarpit and its words, and has a switch for each way in which one may be set up wrongly. It is no mail
// server: what it takes it keeps in memory, and it does no more of Exchange than can be seen from port 25.
package exchange

import (
	"crypto/tls"
	"net"
	"sync"
	"testing"
	"time"
)

// When says at which point a recipient that does not exist is refused.
type When uint8

const (
	AtRcpt   When = iota // by an Edge server, or one that looks recipients up
	AtData               // at the end of DATA, for the whole message: a Mailbox server
	AtBounce             // never: it takes the message, and sends a bounce
)

// Options are what tests vary. Zero fields mean Exchange's defaults.
type Options struct {
	Host      string           // its name; ex01.corp.test
	Domains   []string         // the accepted domains; example.org
	Mailboxes []string         // addresses that there are, in lower case; none: all of the accepted domains
	Unknown   When             // when others are refused
	Cert      *tls.Certificate // nil: STARTTLS is not offered
	TLSMax    uint16           // the newest version that it has; 0: any
	Login     [2]string        // user and password; it offers AUTH LOGIN within TLS then

	Size         int64         // octets of a message; 37748736. Negative: SIZE is not offered
	Recipients   int           // of one message; 200
	PerSource    int           // connections of one address at once; 20
	Idle         time.Duration // 5 min
	Session      time.Duration // 10 min
	Tarpit       time.Duration // before each 5yz; 5 s. Negative: none
	Acknowledges time.Duration // the delay of the reply to the final dot (shadow redundancy); none

	// Organization lets clients bring X-MS-Exchange-Organization fields along: ms-Exch-Accept-Headers-Organization.
	Organization bool

	// The faults.
	Internal     bool          // "externally secured": whoever connects is one of the organization's own servers
	NoAnonymous  bool          // anonymous users may not submit
	BackPressure time.Duration // MAIL is answered after that, with a lack of resources
	Refuse       string        // the greeting, with its code, in place of the usual one
	Slow         time.Duration // the greeting is late by that
	Lacks        []string      // extensions that are not offered
	OldStyle     bool          // the extensions of Exchange 2010
}

// Server is a running stand-in.
type Server struct {
	Addr string

	o    Options
	stop chan struct{}

	mu       sync.Mutex
	conns    map[net.Conn]bool
	per      map[string]int
	most     int
	commands []string
	taken    []Message
}

// Message is what a server has taken, behind its header firewall.
type Message struct {
	From    string
	To      []string
	Options string // what stood behind the path of MAIL
	Content string
	Bounced bool // a recipient does not exist: a bounce would go to From
}

// Start starts a stand-in that ends with the test.
func Start(t testing.TB, o Options) *Server {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{
		Addr: l.Addr().String(), o: o.withDefaults(), stop: make(chan struct{}),
		conns: map[net.Conn]bool{}, per: map[string]int{},
	}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			running.Go(func() { s.serve(nc) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		close(s.stop)
		s.mu.Lock()
		for nc := range s.conns {
			_ = nc.Close()
		}
		s.mu.Unlock()
		running.Wait()
	})
	return s
}

func (o Options) withDefaults() Options {
	if o.Host == "" {
		o.Host = "ex01.corp.test"
	}
	if o.Domains == nil {
		o.Domains = []string{"example.org"}
	}
	or(&o.Size, 36<<20)
	or(&o.Recipients, 200)
	or(&o.PerSource, 20)
	or(&o.Idle, 5*time.Minute)
	or(&o.Session, 10*time.Minute)
	or(&o.Tarpit, 5*time.Second)
	return o
}

func or[T int | int64 | time.Duration](v *T, d T) {
	if *v == 0 {
		*v = d
	}
}

// Taken gives the messages that were taken so far.
func (s *Server) Taken() []Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Message(nil), s.taken...)
}

// Commands gives the commands of all connections, in the order in which they came.
func (s *Server) Commands() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.commands...)
}

// MostConnections gives how many connections were served at once, at most.
func (s *Server) MostConnections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.most
}

// enter counts a connection; false is one too many of its source.
func (s *Server) enter(nc net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conns[nc] = true
	host, _, _ := net.SplitHostPort(nc.RemoteAddr().String())
	if s.per[host] >= s.o.PerSource {
		return false
	}
	s.per[host]++
	s.most = max(s.most, s.per[host])
	return true
}

func (s *Server) leave(nc net.Conn, counted bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, nc)
	if host, _, _ := net.SplitHostPort(nc.RemoteAddr().String()); counted {
		s.per[host]--
	}
}

// pause waits, unless the server ends.
func (s *Server) pause(d time.Duration) {
	if d <= 0 {
		return
	}
	select {
	case <-time.After(d):
	case <-s.stop:
	}
}
