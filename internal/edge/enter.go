package edge

import (
	"bytes"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"time"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/internal/limits"
	"github.com/postern-mail/postern/internal/proxy"
)

// proxyTimeout is how long a proxy has for its header; haproxy's proxy-protocol.txt 2 asks for no less than 3 seconds.
const proxyTimeout = 5 * time.Second

// denial is why a connection is not let in, for metric and log, and what it is told. The zero value lets it in.
type denial struct {
	reason, reply string
	quiet         bool  // it is not worth a line in the log
	err           error // what the log is to say beside
}

// guest is what a wire knows of its client's standing with us.
type guest struct {
	proxied  bool // the connection comes from a proxy: its header is read first, and client and local are those it names
	unnamed  bool // but it names nobody: the ends are the proxy's and ours
	fronted  bool // a host in front has named the client by XCLIENT: TLS is the host's
	early    bool // it spoke before the greeting, now or a short while ago
	known    bool // good mail is to be expected of it, or it is none of our business
	visit    limits.Visit
	accepted int // messages that were taken without reserve
	unwanted int // messages that were refused or held for what they are
}

// take begins a connection, or refuses it.
func (s *Server) take(c net.Conn) {
	w := newWire(s.cfg.Load(), s.gateway, s.ctx, c)
	w.server = s
	w.proxied = within(w.cfg.Proxies, w.client.Addr())
	if no := s.enter(w); no.reason != "" {
		s.deny(w, no)
		_ = c.Close()
		return
	}
	go s.serve(w, nil)
}

// deny refuses a connection before its greeting.
func (s *Server) deny(w *wire, no denial) {
	gw := s.gateway()
	gw.metrics().ConnectionRejected(w.cfg.Name, no.reason)
	level := slog.LevelInfo
	if no.quiet {
		level = slog.LevelDebug
	}
	if gw.Log.Enabled(w.ctx, level) { // a flood is not to be written down for nobody
		log := gw.Log.With(KeyListener, w.cfg.Name, KeyClient, w.client.Addr().String(), KeyBecause, no.reason)
		if no.err != nil {
			log = log.With(gw.fault(no.err))
		}
		log.Log(w.ctx, level, "connection refused")
	}
	if no.reply == "" || w.cfg.Implicit { // in clear a TLS client would only be confused by it
		return
	}
	_ = w.raw.SetWriteDeadline(time.Now().Add(time.Second)) // a fresh socket's buffer takes it at once
	_, _ = w.raw.Write([]byte(no.reply + "\r\n"))
}

// enter counts a connection in, or says why not. Of a proxied one the client is not known yet.
func (s *Server) enter(w *wire) denial {
	if no := s.occupy(w); no.reason != "" {
		return no
	}
	if w.proxied {
		return denial{}
	}
	no := s.count(w)
	if no.reason != "" {
		s.vacate(w)
		s.wg.Done()
	}
	return no
}

// occupy takes one of the listener's places for a connection.
func (s *Server) occupy(w *wire) denial {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.stopped:
		return denial{reason: RejectedDraining, reply: "421 4.3.2 Service shutting down"}
	case len(s.wires) >= w.cfg.Limits.Connections:
		return denial{reason: RejectedConnections, reply: "421 4.3.2 Too many connections, please try again later", quiet: s.told(w.began)}
	}
	load := s.gateway().Load
	if !load.Enter() {
		return denial{reason: RejectedOverload, reply: tooBusy, quiet: s.told(w.began)}
	}
	s.wires[w] = load
	s.recount(w.cfg)
	s.wg.Add(1)
	return denial{}
}

const tooBusy = "421 4.3.2 Too busy for new clients, please try again later"

// told reports whether it was said within the last minute that we are full. The lock is held.
func (s *Server) told(now time.Time) bool {
	if now.Sub(s.fullTold) < time.Minute {
		return true
	}
	s.fullTold = now
	return false
}

// shed refuses a client where we come near the end of our means, so that those who are there can finish: strangers first.
// Exempt clients are not asked here.
func (s *Server) shed(w *wire) denial {
	pressure := s.gateway().Load.Pressure(w.began)
	s.mu.Lock()
	defer s.mu.Unlock()
	crowded := pressure == limits.Tight || s.crowded.Load()
	if pressure == limits.Spent || crowded && !w.known {
		return denial{reason: RejectedOverload, reply: tooBusy, quiet: s.told(w.began)}
	}
	return denial{}
}

// reserve is the part of a listener's places that strangers do not get: a tenth.
const reserve = 10

func (s *Server) vacate(w *wire) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if load, ok := s.wires[w]; ok {
		load.Leave()
		delete(s.wires, w)
		s.recount(w.cfg)
	}
}

// recount sees whether places are short. The lock is held.
func (s *Server) recount(cfg *ListenerConfig) {
	most := cfg.Limits.Connections
	s.crowded.Store(len(s.wires) > most-most/reserve)
}

// crowds are the denials of those who come too often or with too many.
var crowds = map[limits.Reason]denial{
	limits.ClientOpen:  {reason: RejectedPerClient, reply: "421 4.7.0 Too many connections from your address at once"},
	limits.NetworkOpen: {reason: RejectedPerNetwork, reply: "421 4.7.0 Too many connections from your network at once"},
	limits.ClientRate:  {reason: RejectedRate, reply: "421 4.7.0 Too many new connections from your address, please try again in a minute"},
	limits.NetworkRate: {reason: RejectedRate, reply: "421 4.7.0 Too many new connections from your network, please try again in a minute"},
	limits.TotalRate:   {reason: RejectedOverload, reply: "421 4.3.2 Too many new connections, please try again in a minute"},
}

// count counts a connection as one of its client's, or says why not.
func (s *Server) count(w *wire) denial {
	client := w.client.Addr()
	if w.unnamed || s.gateway().exempt(client) || w.isFront() {
		w.known = true
		return denial{}
	}
	w.known = s.knows(w)
	if no := s.shed(w); no.reason != "" {
		return no
	}
	w.suspect = !w.known && s.memory().guesses(client)
	v, why, news := s.clients.Enter(w.began, client, w.cfg.Limits.rules(), w.known)
	w.visit = v
	no := crowds[why]
	no.quiet = !news
	return no
}

// isFront reports whether the connection is that of a host that speaks for others by XCLIENT, and has not yet said for whom.
func (w *wire) isFront() bool { return !w.fronted && within(w.cfg.Fronts, w.client.Addr()) }

// knows reports whether the client is one of whom good mail is to be expected: a big sender, one that may relay, or one that
// has brought good mail for days.
func (s *Server) knows(w *wire) bool {
	client := w.client.Addr()
	if s.gateway().big(client) != "" {
		return true
	}
	return within(w.cfg.Relay.Networks, client) || s.memory().good(client)
}

// rules gives the limits on connections. Those of an IPv6 /32 have no key of their own: nobody is to have more than a
// quarter of all places, however many networks are his.
func (l *Limits) rules() limits.Rules {
	return limits.Rules{
		Client: l.PerClient, Network: l.PerNetwork, Rate: l.Rate, Total: l.TotalRate,
		Wide: max(l.PerNetwork, l.Connections/4),
	}
}

// leave counts a connection out. What it has cost its client goes by what it brought.
func (s *Server) leave(w *wire) {
	s.vacate(w)
	s.settle(w)
}

// settle counts a connection out of its client's, and remembers what it brought.
func (s *Server) settle(w *wire) {
	if w.visit == (limits.Visit{}) {
		return
	}
	refused := w.errors + w.unwanted
	s.clients.Leave(time.Now(), w.visit, w.cfg.Limits.rules(), limits.Cost(w.accepted, refused))
	memory, client := s.memory(), w.client.Addr()
	memory.note(client, w.accepted, refused)
	if !w.known {
		memory.noteGuesses(client, w.unknown-goodForGuess*w.accepted)
	}
	w.visit = limits.Visit{}
}

// tally takes note of what became of a message.
func (w *wire) tally(o *outcome) {
	switch {
	case o.changed == ChangedStripped: // nobody's merit, and perhaps nobody's fault
	case o.reply.Positive() && o.action == filter.Continue:
		w.accepted++
	case o.action >= filter.Quarantine && o.action != filter.Defer:
		w.unwanted++
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
	// 2.1: the header of a proxy's own health check has the ends of the very connection.
	if w.unnamed = h.Local || h.Source == w.client; !h.Local {
		w.client, w.local = h.Source, h.Destination
	}
	if no := s.count(w); no.reason != "" {
		s.deny(w, no)
		return false
	}
	return true
}

// mayRelay reports whether what the client's connection shows gives it the right to relay. An address that is the proxy's
// own gives none: who is behind it is not known.
func (w *wire) mayRelay() bool {
	return w.cfg.Relay.allows(w.address(), w.proof())
}

// address gives the client's address, and none where it is only that of a proxy.
func (w *wire) address() netip.Addr {
	if w.unnamed {
		return netip.Addr{}
	}
	return w.client.Addr()
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
