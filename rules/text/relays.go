package text

import (
	"bytes"
	"net/netip"
	"slices"
	"strings"
)

// Relay is a host that has handed the message over, as the Received field of the next one tells, or as the gateway knows
// its client. Nothing of it is sure but what a trusted host has written.
type Relay struct {
	IP         string     // address, without the prefix of a mapped IPv4 one; may be no address, or empty
	Addr       netip.Addr // IP, not valid where that is none
	RDNS       string     // name of the address, "" for none or not told
	NoRDNS     bool       // the server looked for a name and there was none
	Helo       string     // what it said in HELO or EHLO
	By         string     // the host that took the message
	Ident      string     // user (RFC 1413)
	EnvFrom    string     // envelope's sender, where the field tells
	HasEnvFrom bool
	ID         string // of the message with the host that took it
	Auth       string // how the client has authenticated itself, "" for not
	MSA        bool   // it is one of msa_networks: its clients are our users
	Internal   bool   // it and all newer ones are ours
	Private    bool   // the address is used inside organisations only
}

// Relays is the chain of hosts that a message has passed, the newest first in each list.
type Relays struct {
	Trusted, Untrusted []Relay // those that are believed, and all that are older than the first that is not
	Internal, External []Relay // those that are ours, and all that are older than the first that is not
	Unparseable        int     // Received fields that could not be read

	// How many Received fields, readable or not, stand before those that an untrusted (external) host may have written, less
	// one. The hop that has no field is counted.
	lastTrusted, lastInternal int
}

// String gives the relay as rules see it.
func (r *Relay) String() string { return string(r.append(nil)) }

// append writes the relay in the form that rules know.
func (r *Relay) append(b []byte) []byte {
	const most = len("[ ip= rdns= helo= by= ident= envfrom= intl=0 id= auth= msa=0 ]")
	b = slices.Grow(b, most+len(r.IP)+len(r.RDNS)+len(r.Helo)+len(r.By)+len(r.Ident)+len(r.EnvFrom)+len(r.ID)+len(r.Auth))
	flag := func(set bool) string {
		if set {
			return "1"
		}
		return "0"
	}
	env := r.EnvFrom
	if env == "0" {
		env = ""
	}
	for _, part := range [...][2]string{
		{"[ ip=", r.IP},
		{" rdns=", r.RDNS},
		{" helo=", r.Helo},
		{" by=", r.By},
		{" ident=", r.Ident},
		{" envfrom=", env},
		{" intl=", flag(r.Internal)},
		{" id=", r.ID},
		{" auth=", r.Auth},
		{" msa=", flag(r.MSA)},
		{" ]", ""},
	} {
		b = append(append(b, part[0]...), part[1]...)
	}
	return b
}

// writeRelays writes a list of relays.
func writeRelays(all []Relay) []byte {
	b := []byte{}
	for i := range all {
		if i > 0 {
			b = append(b, ' ')
		}
		b = all[i].append(b)
	}
	return b
}

// Relays gives the chain of relays; never nil.
func (m *Message) Relays() *Relays {
	m.heads.chained.Do(func() {
		c := *m.nearChain()
		c.Untrusted, c.External = slices.Clip(c.Untrusted), slices.Clip(c.External)
		m.follow(&c, false)
		m.heads.relays = &c.Relays
	})
	return m.heads.relays
}

// near gives the chain up to the first relay that is not believed, which is all that is known for sure: Trusted and Internal are
// whole, Untrusted has one relay at most. What lies behind is read for those who ask for it only.
func (m *Message) near() *Relays { return &m.nearChain().Relays }

// ExternalRelay gives the host that brought the message in: the newest relay that is not ours. There may be none.
func (m *Message) ExternalRelay() (r Relay, ok bool) {
	if ext := m.near().External; len(ext) > 0 {
		return ext[0], true
	}
	return r, false
}

func (m *Message) nearChain() *chain {
	m.heads.neared.Do(func() {
		c := &chain{opt: &m.opt, trusted: true, internal: true, fetchable: true}
		c.lastTrusted, c.lastInternal = -1, -1
		if m.opt.Client.Addr.IsValid() {
			c.add(m.opt.clientRelay())
		}
		m.follow(c, true)
		m.heads.nearest = c
	})
	return m.heads.nearest
}

// chain follows the Received fields back, and parts those who are believed from those who are not. A host is believed whose
// address is in the networks that are configured, or who has authenticated itself with one who is. Where no networks are
// configured, one with a private address is.
type chain struct {
	Relays
	opt               *Options
	trusted, internal bool // we are still among those
	msa               bool // one of msa_networks was met: all older ones are believed
	fetchable         bool // a program that fetches mail begins the chain anew

	next   int // the field that is to be read next
	reader receivedReader
}

// originating are the fields of services whose users' addresses make a last hop, in lower case.
var originating = []string{
	"x-yahoo-post-ip", "x-originating-ip", "x-apparently-from", "x-senderip", "x-aol-ip",
	"x-ms-exchange-crosstenant-originalattributedtenantconnectingip",
}

// follow goes on with a chain; with near set only until there is somebody who is not believed.
func (m *Message) follow(c *chain, near bool) {
	var (
		received = nameHash("received")
		h        = m.readHead()
	)
	for ; c.next < len(h.fields); c.next++ {
		if near && !c.trusted {
			return
		}
		f := &h.fields[c.next]
		if f.own || !f.is("received", received) {
			continue
		}
		relay, v := c.reader.read(f.value[0])
		switch v {
		case readable:
			c.add(relay)
			continue
		case unreadable:
			c.Unparseable++
		case fetched:
			if c.fetchable {
				c.Trusted, c.Internal, c.External = nil, nil, nil
			}
		}
		if c.trusted {
			c.lastTrusted++
		}
		if c.internal {
			c.lastInternal++
		}
	}
	names := m.opt.Originating
	if names == nil {
		names = originating
	}
	for n := c.next - len(h.fields); n < len(names); n++ {
		if near && !c.trusted {
			return
		}
		c.next++
		low := lowerText(names[n])
		if v := h.named(low, nameHash(low), false); len(v) > 0 {
			if ip := anyIP(v[len(v)-1]); ip != nil {
				c.add((&hop{ip: ip}).relay())
			}
		}
	}
}

// add puts a relay at the end of the chain.
func (c *chain) add(r Relay) {
	if c.trusted && !c.msa {
		c.judge(&r)
	}
	r.Internal = c.internal
	if c.trusted {
		c.Trusted = append(c.Trusted, r)
		c.fetchable = true
		c.lastTrusted++
	} else {
		c.Untrusted = append(c.Untrusted, r)
		c.fetchable = false
	}
	if c.internal {
		c.Internal = append(c.Internal, r)
		c.lastInternal++
	} else {
		c.External = append(c.External, r)
	}
}

// judge decides whether a relay is still trusted and internal.
func (c *chain) judge(r *Relay) {
	trusted, internal := c.opt.Trusted, c.opt.Internal
	if len(trusted) == 0 && len(internal) == 0 {
		if !r.Private && !truthy([]byte(r.Auth)) {
			c.trusted, c.internal = false, false
		}
		return
	}
	// Of one that is not configured the other is taken.
	if len(internal) == 0 {
		internal = trusted
	} else if len(trusted) == 0 {
		trusted = internal
	}
	auth := truthy([]byte(r.Auth))
	if !auth && !within(r.Addr, trusted, true) {
		c.trusted, c.internal = false, false
		return
	}
	if c.internal && !auth && !within(r.Addr, internal, true) {
		c.internal = false
	}
	if within(r.Addr, c.opt.MSA, false) {
		c.msa, r.MSA = true, true
	}
}

// within reports whether an address is in one of the networks, or, with loopback, the machine's own.
func within(ip netip.Addr, nets Networks, loopback bool) bool {
	if !ip.IsValid() {
		return false
	}
	if loopback && ip.IsLoopback() {
		return true
	}
	return nets.Has(ip)
}

// clientRelay is the newest hop, which the gateway itself has seen.
func (o *Options) clientRelay() Relay {
	c := &o.Client
	addr := c.Addr.Unmap().WithZone("")
	r := Relay{
		IP: addr.String(), Addr: addr, RDNS: stripped([]byte(c.Name)), NoRDNS: c.Name == "", Helo: stripped([]byte(c.Helo)),
		By: stripped([]byte(c.By)), ID: stripped([]byte(c.ID)), Private: IsPrivate(addr),
	}
	if c.Login != "" {
		r.Auth = c.protocol()
	}
	if o.HasEnvelope {
		r.EnvFrom, r.HasEnvFrom = stripped([]byte(o.From.String())), true
	}
	return r
}

// protocol is the word for the client's protocol (RFC 3848).
func (c *Client) protocol() string {
	p := "SMTP"
	if c.ESMTP || c.TLS || c.Login != "" {
		p = "ESMTP"
	}
	if c.TLS {
		p += "S"
	}
	if c.Login != "" {
		p += "A"
	}
	return p
}

// receivedField writes the field that stands for the newest hop, nil where there is none. The gateway's own is written when
// all is decided; rules look for it now.
func (o *Options) receivedField() []byte {
	c := &o.Client
	if !c.Addr.IsValid() {
		return nil
	}
	word := func(s, absent string) string {
		if s = strings.Map(func(r rune) rune {
			if r <= ' ' || r == 0x7f {
				return '!'
			}
			return r
		}, s); s == "" {
			return absent
		}
		return s
	}
	addr := c.Addr.Unmap().WithZone("")
	ip := addr.String()
	if addr.Is6() {
		ip = "IPv6:" + ip
	}
	b := []byte(" from " + word(c.Helo, "unknown") + " (" + word(c.Name, "unknown") + " [" + ip + "]) by " + word(c.By, "localhost") +
		" (Postern) with " + c.protocol())
	if c.ID != "" {
		b = append(b, " id "+word(c.ID, "")...)
	}
	if !c.Time.IsZero() {
		b = c.Time.AppendFormat(append(b, "; "...), "Mon, 02 Jan 2006 15:04:05 -0700")
	}
	return append(b, '\n')
}

// rangeOf gives the fields that hosts of one kind only can have written, or those that others may have. The field in which
// our last host tells of the first foreign one is among the foreign ones, though it is our own.
func (m *Message) rangeOf(k kind, raw bool) [][]byte {
	var (
		r          = m.near()
		start, end = -1, -1 // numbers of Received fields; -1: from the top, to the end
	)
	switch k {
	case allTrusted:
		end = r.lastTrusted + 1
	case allInternal:
		end = r.lastInternal + 1
	case allUntrusted:
		start = r.lastTrusted + 1
	default:
		start = r.lastInternal + 1
	}
	h := m.readHead()
	if raw {
		return h.rawRange(start, end)
	}
	at, n := 0, -1
	from, to, text := -1, -1, h.all()
	for at < len(text) {
		line := text[at:]
		if i := bytes.IndexByte(line, '\n'); i >= 0 {
			line = line[:i+1]
		}
		take, last := inRange(line, &n, start, end)
		if take {
			if from < 0 {
				from = at
			}
			to = at + len(line)
		}
		if last {
			break
		}
		at += len(line)
	}
	if from < 0 {
		return nil
	}
	return [][]byte{text[from:to:to]}
}

// rawRange is rangeOf for fields as they came.
func (h *header) rawRange(start, end int) (lines [][]byte) {
	n := -1
	for _, line := range h.rawLines() {
		take, last := inRange(line, &n, start, end)
		if take {
			lines = append(lines, line)
		}
		if last {
			break
		}
	}
	return lines
}

// inRange counts Received fields, and tells whether a line is in the range, and whether it is the last.
func inRange(line []byte, n *int, start, end int) (take, last bool) {
	if hasFold(line, "received:") {
		*n++
	}
	take = (start < 0 || start <= *n) && (end < 0 || *n <= end)
	return take, end >= 0 && *n == end
}
