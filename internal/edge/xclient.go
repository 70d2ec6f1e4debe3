package edge

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// XCLIENT (Postfix's XCLIENT_README): a host in front of us that we trust says for whom it speaks. From then on that
// client is the connection's, for everything: filters, limits, the log, the right to relay. What TLS shows stays the host's
// own, and is no proof of the client's.
//
// Of the attributes those count that say who the client is. NAME does not: we look names up ourselves. Nor do HELO and
// PROTO, since the host says EHLO again, nor LOGIN: whoever was let in elsewhere is not let in here.

// xclientAttributes are those that are taken.
var xclientAttributes = []string{"ADDR", "PORT", "DESTADDR", "DESTPORT", "NAME", "HELO", "PROTO", "LOGIN"}

// mayXclient reports whether the host that the connection comes from may say for whom it speaks.
func (d *dialog) mayXclient() bool { return within(d.w.cfg.Fronts, d.host) }

// xclient serves XCLIENT.
func (d *dialog) xclient(arg string) {
	w := d.w
	switch {
	case !d.mayXclient():
		w.say("550 5.7.0 XCLIENT is not for you")
		return
	case d.open:
		w.say("503 5.5.1 Not during a mail transaction")
		return
	case !d.inTurn():
		return
	}
	client, local, named, ok := spokenFor(arg, w.client, w.local)
	if !ok {
		w.say("501 5.5.4 Malformed XCLIENT attribute")
		return
	}
	d.logout()
	w.helo, w.esmtp, w.errors = "", false, 0
	if no := w.server.exchange(w, client, local, named || w.fronted && !w.unnamed); no.reason != "" {
		w.say(no.reply)
		w.hangUp()
		return
	}
	w.say("220 " + w.gateway().Hostname + " ESMTP ready")
}

// spokenFor reads the attributes. What they do not say, or call unavailable, stays as it is; named tells whether they say
// the client's address.
func spokenFor(arg string, client, local netip.AddrPort) (_, _ netip.AddrPort, named, ok bool) {
	words := strings.Fields(arg)
	for _, word := range words {
		name, value, has := strings.Cut(word, "=")
		name = strings.ToUpper(name)
		value, valid := decodeXtext(value)
		if !has || !valid || !slices.Contains(xclientAttributes, name) {
			return client, local, named, false
		}
		if value == "[UNAVAILABLE]" || value == "[TEMPUNAVAIL]" {
			continue
		}
		end := &client
		if strings.HasPrefix(name, "DEST") {
			end = &local
		}
		switch strings.TrimPrefix(name, "DEST") {
		case "ADDR":
			if len(value) > len("IPv6:") && strings.EqualFold(value[:len("IPv6:")], "IPv6:") {
				value = value[len("IPv6:"):]
			}
			a, err := netip.ParseAddr(value)
			if err != nil {
				return client, local, named, false
			}
			*end = netip.AddrPortFrom(a.Unmap().WithZone(""), end.Port())
			named = named || name == "ADDR"
		case "PORT":
			n, err := strconv.ParseUint(value, 10, 16)
			if err != nil {
				return client, local, named, false
			}
			*end = netip.AddrPortFrom(end.Addr(), uint16(n))
		}
	}
	return client, local, named, len(words) > 0
}

// exchange makes another client the connection's, and counts the connection as his. One that is not named is nobody, and has
// not the rights of the host in front.
func (s *Server) exchange(w *wire, client, local netip.AddrPort, named bool) denial {
	s.settle(w)
	w.guest = guest{fronted: true, unnamed: !named}
	w.user, w.failures = nil, 0 // the other client's
	w.client, w.local = client, local
	no := s.count(w)
	if no.reason != "" {
		s.gateway().metrics().ConnectionRejected(w.cfg.Name, no.reason)
	}
	return no
}
