package zone

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"

	"github.com/miekg/dns"
)

// Server answers over UDP and TCP on one port of 127.0.0.1. Names that its text does not hold do not exist.
type Server struct {
	zones   atomic.Pointer[table]
	asked   sync.Map // "name type" -> *atomic.Int64
	address string
	udp     *dns.Server
	tcp     *dns.Server
	done    sync.WaitGroup
}

// Serve starts a server for the zones of a text; see the package's parse for its form: lines of
// `name TYPE value…`, `name SERVFAIL` and `name SILENT`.
func Serve(text string) (*Server, error) {
	zones, err := parse(text)
	if err != nil {
		return nil, err
	}
	packet, stream, err := listen()
	if err != nil {
		return nil, fmt.Errorf("zone: listen: %w", err)
	}
	s := &Server{address: packet.LocalAddr().String()}
	s.zones.Store(zones)
	handler := dns.HandlerFunc(s.serve)
	s.udp = &dns.Server{PacketConn: packet, Handler: handler}
	s.tcp = &dns.Server{Listener: stream, Handler: handler}
	for _, d := range []*dns.Server{s.udp, s.tcp} {
		if err := s.start(d); err != nil {
			return nil, errors.Join(fmt.Errorf("zone: serve: %w", err), packet.Close(), stream.Close())
		}
	}
	return s, nil
}

// start lets one of the two servers run, and returns when it does.
func (s *Server) start(d *dns.Server) error {
	started := make(chan struct{})
	failed := make(chan error, 1)
	d.NotifyStartedFunc = func() { close(started) }
	s.done.Go(func() { failed <- d.ActivateAndServe() })
	select {
	case <-started:
		return nil
	case err := <-failed:
		return err
	}
}

// listen finds a port that is free for both protocols.
func listen() (net.PacketConn, net.Listener, error) {
	var last error
	for range 16 {
		stream, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, nil, err
		}
		packet, err := net.ListenPacket("udp", stream.Addr().String())
		if err == nil {
			return packet, stream, nil
		}
		last = errors.Join(err, stream.Close())
	}
	return nil, nil, last
}

// Addr gives the server's address and port.
func (s *Server) Addr() string { return s.address }

// Replace puts the zones of another text in the place of all that were served.
func (s *Server) Replace(text string) error {
	zones, err := parse(text)
	if err != nil {
		return err
	}
	s.zones.Store(zones)
	return nil
}

// Asked tells how often a name and type have been asked for, over both protocols.
func (s *Server) Asked(name, kind string) int {
	if n, ok := s.asked.Load(dns.CanonicalName(name) + " " + kind); ok {
		return int(n.(*atomic.Int64).Load())
	}
	return 0
}

// Close ends the server and waits until it has ended.
func (s *Server) Close() error {
	err := errors.Join(s.udp.Shutdown(), s.tcp.Shutdown())
	s.done.Wait()
	return err
}

func (s *Server) serve(w dns.ResponseWriter, r *dns.Msg) {
	m := new(dns.Msg)
	m.SetReply(r)
	m.Authoritative = true
	// It has all that there is, so that nobody takes an empty answer for a lame delegation.
	m.RecursionAvailable = true
	if r.Opcode != dns.OpcodeQuery || len(r.Question) != 1 {
		m.Rcode = dns.RcodeNotImplemented
	} else {
		q := r.Question[0]
		n, _ := s.asked.LoadOrStore(dns.CanonicalName(q.Name)+" "+dns.TypeToString[q.Qtype], new(atomic.Int64))
		n.(*atomic.Int64).Add(1)
		switch s.zones.Load().answer(m, q) {
		case silent:
			return
		case servFail:
			m.Answer = nil
			m.Rcode = dns.RcodeServerFailure
		case healthy:
		}
	}
	if w.LocalAddr().Network() == "udp" {
		size := dns.MinMsgSize
		if opt := r.IsEdns0(); opt != nil {
			size = max(size, int(opt.UDPSize()))
		}
		m.Truncate(size)
	}
	// A client that has gone can not be told.
	_ = w.WriteMsg(m)
}
