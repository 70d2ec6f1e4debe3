package edge

import (
	"bytes"
	"errors"
	"net"
	"net/netip"
	"time"

	"github.com/postern-mail/postern/internal/proxy"
)

// proxyTimeout is how long a proxy has for its header; haproxy's proxy-protocol.txt 2 asks for no less than 3 seconds.
const proxyTimeout = 5 * time.Second

// denial is why a connection is not let in, for metric and log, and what it is told. The zero value lets it in.
type denial struct {
	reason, reply string
	err           error // what the log is to say beside
}

// take begins a connection, or refuses it.
func (s *Server) take(c net.Conn) {
	w := newWire(s.cfg.Load(), s.gateway, s.ctx, c)
	w.proxied = within(w.cfg.Proxies, w.client.Addr())
	if no := s.enter(w); no.reason != "" {
		s.deny(w, no)
		_ = c.Close()
		return
	}
	go func() {
		defer s.wg.Done()
		s.serve(w)
	}()
}

// deny refuses a connection before its greeting.
func (s *Server) deny(w *wire, no denial) {
	gw := s.gateway()
	gw.metrics().ConnectionRejected(w.cfg.Name, no.reason)
	log := gw.Log.With(KeyListener, w.cfg.Name, KeyClient, w.client.Addr().String(), KeyBecause, no.reason)
	if no.err != nil {
		log = log.With(gw.fault(no.err))
	}
	log.Info("connection refused")
	if no.reply == "" || w.cfg.Implicit { // in clear a TLS client would only be confused by it
		return
	}
	_ = w.raw.SetWriteDeadline(time.Now().Add(time.Second)) // a fresh socket's buffer takes it at once
	_, _ = w.raw.Write([]byte(no.reply + "\r\n"))
}

// enter counts a connection in, or says why not. Of a proxied one the client is not known yet.
func (s *Server) enter(w *wire) denial {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.stopped:
		return denial{reason: RejectedDraining, reply: "421 4.3.2 Service shutting down"}
	case len(s.wires) >= w.cfg.Limits.Connections:
		return denial{reason: RejectedConnections, reply: "421 4.3.2 Too many connections, please try again later"}
	}
	if !w.proxied {
		if no := s.count(w); no.reason != "" {
			return no
		}
	} else {
		s.wires[w] = netip.Prefix{}
	}
	s.wg.Add(1)
	return denial{}
}

// count counts a connection as one of its client's, or says why not. The lock is held.
func (s *Server) count(w *wire) denial {
	key := clientKey(w.client.Addr())
	if !key.IsValid() || w.unnamed || s.gateway().exempt(w.client.Addr()) {
		s.wires[w] = netip.Prefix{}
		return denial{}
	}
	if s.clients[key] >= w.cfg.Limits.PerClient {
		return denial{reason: RejectedPerClient, reply: "421 4.7.0 Too many connections from your address"}
	}
	s.wires[w] = key
	s.clients[key]++
	return denial{}
}

// clientKey is what a client is counted by: a site with IPv6 has at least a /64 of addresses.
func clientKey(a netip.Addr) netip.Prefix {
	bits := a.BitLen()
	if a.Is6() {
		bits = 64
	}
	p, _ := a.Prefix(bits)
	return p
}

func (s *Server) leave(w *wire) {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := s.wires[w]
	delete(s.wires, w)
	if !key.IsValid() {
		return
	}
	if s.clients[key]--; s.clients[key] <= 0 {
		delete(s.clients, key)
	}
}

// introduce reads what a proxy says about its client, who from then on is the connection's, and counts the connection as
// his. It reports whether he may go on.
//
// Proxies and load balancers also look whether we are there: they connect and close, or connect and wait, with no word.
// That is nobody's fault, and seen with the log's level debug only.
func (s *Server) introduce(w *wire) bool {
	err := w.setReadDeadline(time.Now().Add(proxyTimeout))
	var h proxy.Header
	if err == nil {
		h, err = proxy.Read(w.raw)
	}
	switch {
	case err == nil:
	case w.isDraining(), w.isKilled():
		return false
	case errors.Is(err, proxy.ErrMalformed):
		s.deny(w, denial{reason: RejectedProxy, err: err})
		return false
	default:
		gw := s.gateway()
		gw.Log.Debug("proxy said nothing", KeyListener, w.cfg.Name, KeyClient, w.client.Addr().String(), gw.fault(err))
		return false
	}
	if w.unnamed = h.Local; !h.Local {
		w.client, w.local = h.Source, h.Destination
	}
	s.mu.Lock()
	no := s.count(w)
	s.mu.Unlock()
	if no.reason != "" {
		s.deny(w, no)
		return false
	}
	return true
}

// mayRelay reports whether what the client's connection shows gives it the right to relay. An address that is the proxy's
// own gives none: who is behind it is not known.
func (w *wire) mayRelay() bool {
	client := w.client.Addr()
	if w.unnamed {
		client = netip.Addr{}
	}
	return w.cfg.Relay.allows(client, w.tls)
}

// strayHeader reports whether a command is the header of a proxy that is not one of ours, and then ends the connection:
// what comes behind it is of another client than the one we take it for. A 5yz would be our fault's, and the client's loss.
func (w *wire) strayHeader(line []byte) bool {
	if w.hellos > 0 || !bytes.HasPrefix(line, []byte("PROXY ")) {
		return false
	}
	w.gateway().Log.Info("PROXY header from outside the networks of proxy_protocol", KeyListener, w.cfg.Name, KeyClient, w.client.Addr().String())
	w.say("421 4.3.5 System not configured for PROXY headers from your address")
	w.hangUp()
	return true
}
