package zone

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

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
	closing chan struct{} // ends delays
}

// Serve starts a server for the zones of a text; see the package's parse for its form: lines of
// `name TYPE value…`, `name SERVFAIL`, `name SILENT` and the like.
func Serve(text string) (*Server, error) {
	zones, err := parse(text)
	if err != nil {
		return nil, err
	}
	return serve(zones)
}

// ServeRecords starts a server for records.
func ServeRecords(records []Record) (*Server, error) {
	zones, err := newRecords(records)
	if err != nil {
		return nil, err
	}
	return serve(zones)
}

func serve(zones *table) (*Server, error) {
	packet, stream, err := listen()
	if err != nil {
		return nil, fmt.Errorf("zone: listen: %w", err)
	}
	s := &Server{address: packet.LocalAddr().String(), closing: make(chan struct{})}
	s.zones.Store(zones)
	handler := dns.HandlerFunc(s.handle)
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
	close(s.closing)
	err := errors.Join(s.udp.Shutdown(), s.tcp.Shutdown())
	s.done.Wait()
	return err
}

func (s *Server) handle(w dns.ResponseWriter, r *dns.Msg) {
	m := new(dns.Msg)
	m.SetReply(r)
	m.Authoritative = true
	// It has all that there is, so that nobody takes an empty answer for a lame delegation.
	m.RecursionAvailable = true
	udp := w.LocalAddr().Network() == "udp"
	opt := r.IsEdns0()
	if r.Opcode != dns.OpcodeQuery || len(r.Question) != 1 {
		m.Rcode = dns.RcodeNotImplemented
		_ = w.WriteMsg(m)
		return
	}
	q := r.Question[0]
	n, _ := s.asked.LoadOrStore(dns.CanonicalName(q.Name)+" "+dns.TypeToString[q.Qtype], new(atomic.Int64))
	n.(*atomic.Int64).Add(1)
	zones := s.zones.Load()
	if d := zones.delayOf(q); d > 0 {
		select {
		case <-time.After(d):
		case <-s.closing:
		}
	}
	f := zones.answer(m, q)
	if opt != nil && f != noEDNS {
		m.SetEdns0(dns.DefaultMsgSize, opt.Do())
	}
	for _, b := range misbehave(m, f, udp, opt != nil) {
		_, _ = w.Write(b)
	}
	if f == silent || f == garbage {
		return
	}
	if udp {
		size := dns.MinMsgSize
		if opt != nil {
			size = max(size, int(opt.UDPSize()))
		}
		m.Truncate(size)
		m.Truncated = m.Truncated || f == truncated
	}
	// A client that has gone can not be told.
	_ = w.WriteMsg(m)
}

// misbehave makes of a good answer what the fault asks for, and gives what is to be sent before it.
func misbehave(m *dns.Msg, f fault, udp, edns bool) (before [][]byte) {
	q := m.Question[0]
	other := "lie.example."
	address := &dns.A{Hdr: dns.RR_Header{Name: other, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: ttl}, A: net.IPv4(203, 0, 113, 66)}
	switch f {
	case healthy, silent:
	case secure:
		m.AuthenticatedData = true
	case servFail:
		m.Rcode, m.Answer = dns.RcodeServerFailure, nil
	case refused:
		m.Rcode = dns.RcodeRefused
	case denied:
		m.Rcode = dns.RcodeNameError
	case noEDNS:
		if edns {
			m.Rcode, m.Answer, m.Ns = dns.RcodeFormatError, nil, nil
		}
	case truncated:
		if udp {
			m.Answer = nil
		}
	case wrongID:
		m.Id++
		m.Answer = []dns.RR{address}
	case wrongName:
		m.Question[0].Name = other
		m.Answer = []dns.RR{address}
	case strange:
		m.Answer = []dns.RR{address}
	case looping:
		m.Answer = []dns.RR{cname(q.Name, other), cname(other, q.Name)}
	case garbage:
		return [][]byte{spoilt(m)}
	case noisy:
		if udp {
			return noise(m)
		}
	case lame:
		m.Authoritative, m.RecursionAvailable = false, false
		m.Ns = []dns.RR{&dns.NS{Hdr: dns.RR_Header{Name: ".", Rrtype: dns.TypeNS, Class: dns.ClassINET, Ttl: ttl}, Ns: other}}
	}
	return nil
}

func cname(owner, target string) dns.RR {
	return &dns.CNAME{Hdr: dns.RR_Header{Name: owner, Rrtype: dns.TypeCNAME, Class: dns.ClassINET, Ttl: ttl}, Target: target}
}

// spoilt gives an answer that begins well and tells of records that are not there.
func spoilt(m *dns.Msg) []byte {
	bare := m.Copy()
	bare.Answer, bare.Ns, bare.Extra = nil, nil, nil
	b, err := bare.Pack()
	if err != nil {
		return nil
	}
	b[7] = 3 // ANCOUNT
	return append(b, "\xc0\x0c\x00"...)
}

// noise gives what a datagram from nowhere might be, for each way in which it does not fit.
func noise(m *dns.Msg) (all [][]byte) {
	lie := m.Copy()
	lie.Rcode, lie.Answer = dns.RcodeNameError, nil
	add := func(change func(*dns.Msg)) {
		c := lie.Copy()
		change(c)
		if b, err := c.Pack(); err == nil {
			all = append(all, b)
		}
	}
	add(func(c *dns.Msg) { c.Id++ })
	add(func(c *dns.Msg) { c.Response = false })
	add(func(c *dns.Msg) { c.Question[0].Name = "lie.example." })
	add(func(c *dns.Msg) { c.Question[0].Qtype = dns.TypeHINFO })
	add(func(c *dns.Msg) { c.Question = nil })
	return append(all, nil, []byte("x"), []byte(strings.Repeat("\xff", 600)))
}
