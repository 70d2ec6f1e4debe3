package upstream

import (
	"bufio"
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// What becomes of packets on the way to a fleetServer.
const (
	fleetUp      = iota
	fleetHole    // they vanish, also those of connections that there are
	fleetRefuses // nobody listens; connections are reset
	fleetHung    // the kernel takes connections, and nobody says a word
	fleetLoses   // it is well until MAIL, and closes then
	fleetFull    // it says 421 in place of a greeting
	fleetDenies  // it says 451 to MAIL
)

// fleetServer is an in-memory server that takes all mail.
type fleetServer struct {
	mu       sync.Mutex
	mode     int
	changed  chan struct{} // closed when mode changes
	dials    int
	messages int
	pause    time.Duration // before the reply to the final dot
	greets   time.Duration // before the greeting
}

// fleet is a network of servers, by address.
type fleet struct {
	servers map[string]*fleetServer
	ends    chan struct{}
	wg      sync.WaitGroup
}

func newFleet(t testing.TB, addresses ...string) *fleet {
	f := &fleet{servers: map[string]*fleetServer{}, ends: make(chan struct{})}
	for _, a := range addresses {
		f.servers[a] = &fleetServer{changed: make(chan struct{})}
	}
	t.Cleanup(func() {
		close(f.ends)
		f.wg.Wait()
	})
	return f
}

func (s *fleetServer) set(mode int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mode = mode
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *fleetServer) now() (mode int, changed <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mode, s.changed
}

// slow sets one of the pauses.
func (s *fleetServer) slow(which *time.Duration, d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	*which = d
}

func (s *fleetServer) waits(which *time.Duration) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return *which
}

func (s *fleetServer) count() (dials, messages int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.dials, s.messages
}

func (f *fleet) dial(ctx context.Context, _, address string) (net.Conn, error) {
	s := f.servers[address]
	if s == nil {
		return nil, errors.New("no such host")
	}
	s.mu.Lock()
	s.dials++
	s.mu.Unlock()
	for {
		mode, changed := s.now()
		switch mode {
		case fleetRefuses:
			return nil, errors.New("connection refused")
		case fleetHole:
			select {
			case <-changed:
				continue
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
		client, server := net.Pipe()
		f.wg.Go(func() {
			defer server.Close() //nolint:errcheck // a test's
			f.serve(s, server)
		})
		return client, nil
	}
}

// hold waits while the server is a hole, and reports whether the connection goes on.
func (f *fleet) hold(s *fleetServer) bool {
	for {
		mode, changed := s.now()
		switch mode {
		case fleetRefuses:
			return false
		case fleetHole, fleetHung:
			select {
			case <-changed:
				continue
			case <-f.ends:
				return false
			}
		}
		return true
	}
}

func (f *fleet) serve(s *fleetServer, nc net.Conn) {
	br := bufio.NewReader(nc)
	say := func(reply string) bool {
		if !f.hold(s) {
			return false
		}
		_, err := nc.Write([]byte(reply + "\r\n"))
		return err == nil
	}
	time.Sleep(s.waits(&s.greets))
	if mode, _ := s.now(); mode == fleetFull {
		say("421 4.3.2 too many")
		return
	}
	if !say("220 fleet") {
		return
	}
	for {
		line, err := br.ReadString('\n')
		if err != nil {
			return
		}
		reply := "250 2.0.0 Ok"
		switch mode, _ := s.now(); {
		case strings.HasPrefix(line, "MAIL") && mode == fleetLoses:
			return
		case strings.HasPrefix(line, "MAIL") && mode == fleetDenies:
			reply = "451 4.3.0 not now"
		case strings.HasPrefix(line, "DATA"):
			if !say("354 go") {
				return
			}
			for line != ".\r\n" && err == nil {
				line, err = br.ReadString('\n')
			}
			time.Sleep(s.waits(&s.pause))
			s.mu.Lock()
			s.messages++
			s.mu.Unlock()
		}
		if !say(reply) {
			return
		}
	}
}
