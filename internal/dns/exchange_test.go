package dns

import (
	"net"
	"net/netip"
	"testing"

	"github.com/miekg/dns"

	"github.com/postern-mail/postern/internal/dns/zone"
)

// TestQuestion looks at what goes out.
func TestQuestion(t *testing.T) {
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ids, ports := map[uint16]bool{}, map[string]bool{}
	for _, tt := range []struct {
		name               string
		kind               uint16
		trusted, edns, sec bool
	}{
		{"a text", dns.TypeTXT, true, true, false},
		{"TLSA of one who is trusted", dns.TypeTLSA, true, true, true},
		{"TLSA of another", dns.TypeTLSA, false, true, false},
		{"without EDNS", dns.TypeTXT, false, false, false},
		{"one more", dns.TypeA, false, true, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			done := make(chan *answer)
			go func() {
				done <- exchange(t.Context(), server{c.LocalAddr().String(), tt.trusted}, question{"a\\b.example", tt.kind}, tt.edns)
			}()
			b := make([]byte, 512)
			n, from, err := c.ReadFrom(b)
			if err != nil {
				t.Fatal(err)
			}
			m := new(dns.Msg)
			if err := m.Unpack(b[:n]); err != nil {
				t.Fatal(err)
			}
			ids[m.Id], ports[from.String()] = true, true
			if len(m.Question) != 1 || m.Question[0] != (dns.Question{Name: `a\\b.example.`, Qtype: tt.kind, Qclass: dns.ClassINET}) || !m.RecursionDesired {
				t.Errorf("asked %v", m)
			}
			opt := m.IsEdns0()
			if (opt != nil) != tt.edns || tt.edns && (opt.UDPSize() != ednsSize || opt.Do() != tt.sec) || m.AuthenticatedData != tt.sec {
				t.Errorf("asked %v", m)
			}
			reply := new(dns.Msg).SetRcode(m, dns.RcodeRefused)
			packed, err := reply.Pack()
			if err != nil {
				t.Fatal(err)
			}
			if _, err := c.WriteTo(packed, from); err != nil {
				t.Fatal(err)
			}
			if a := <-done; a.rcode != Refused {
				t.Error(a)
			}
		})
	}
	// A port may come again by chance, and so may an id.
	if len(ids) < 4 || len(ports) < 4 {
		t.Errorf("%d ids and %d sockets in five questions", len(ids), len(ports))
	}
}

// TestOnlyTheTrustedSayAD: the AD bit of another server says nothing.
func TestOnlyTheTrustedSayAD(t *testing.T) {
	s, err := zone.Serve("a.example TLSA 3 1 1 00ff\na.example SECURE\n")
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, trusted := range []bool{true, false} {
		a := exchange(t.Context(), server{s.Addr(), trusted}, question{"a.example", dns.TypeTLSA}, true)
		if a.rcode != NoError || a.secure != trusted {
			t.Errorf("trusted %v: secure %v, %s", trusted, a.secure, a.rcode)
		}
	}
	var all []netip.AddrPort
	for _, a := range []string{"127.0.0.1:53", "127.8.8.8:5300", "[::1]:53", "[::ffff:127.0.0.1]:53", "192.0.2.1:53", "[2001:db8::1]:53", "0.0.0.0:53"} {
		all = append(all, netip.MustParseAddrPort(a))
	}
	r, err := New(all)
	if err != nil {
		t.Fatal(err)
	}
	for i, s := range r.servers.fixed {
		if s.trusted != (i < 4) {
			t.Errorf("%s: trusted %v", s.address, s.trusted)
		}
	}
}
