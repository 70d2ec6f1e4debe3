package text

import (
	"bytes"
	"strings"
)

// Header gives what a header rule with the selector s matches against: all values, each with a line end or, where it is a
// part of a field, separated by line ends. ok is false where there is none; a value may be there and empty. Computed once.
func (m *Message) Header(s Selector) (value []byte, ok bool) {
	g := m.get(s)
	return g.joined, len(g.values) > 0
}

// Values gives the values one by one. Those of whole fields end in a line end.
func (m *Message) Values(s Selector) [][]byte { return m.get(s).values }

// Value gives what eval functions compare: of a part of a field (:addr and the like) the first value without a line end, of
// whole fields all of them; empty where there is none.
func (m *Message) Value(s Selector) []byte {
	g := m.get(s)
	if len(g.values) == 0 {
		return nil
	}
	if s.s.linewise {
		return bytes.TrimSuffix(g.values[0], []byte("\n"))
	}
	if len(g.values) == 1 {
		return g.values[0]
	}
	return bytes.Join(g.values, nil)
}

// gotNothing is the number of what a selector gave that found nothing; behind it comes what was found.
const gotNothing = 1

// get computes what s gives, once for all who ask.
func (m *Message) get(s Selector) (g got) {
	if s.s == nil {
		return g
	}
	h := &m.heads
	if id := s.s.id; id >= 0 {
		h.mu.Lock()
		if id < len(h.got) && h.got[id] > 0 {
			if n := h.got[id]; n > gotNothing {
				g = h.found[n-gotNothing-1]
			}
			h.mu.Unlock()
			return g
		}
		h.mu.Unlock()
	}
	if g.values = m.find(s.s); len(g.values) > 0 {
		g.joined = joinValues(g.values)
	}
	h.mu.Lock()
	if id := s.s.id; id >= 0 {
		if id >= len(h.got) {
			h.got = append(h.got, make([]uint16, max(192, id+1)-len(h.got))...)
		}
		if h.got[id] == 0 { // nobody has computed the same meanwhile
			if h.got[id] = gotNothing; len(g.values) > 0 {
				if h.found == nil {
					h.found = make([]got, 0, 20)
				}
				h.found = append(h.found, g)
				h.got[id] += uint16(len(h.found)) //nolint:gosec // at most maxInterned
			}
		}
	}
	h.mu.Unlock()
	return g
}

// joinValues puts values together as header rules see them: values that end their lines themselves need nothing between.
func joinValues(values [][]byte) []byte {
	if len(values) == 1 {
		return values[0]
	}
	if bytes.HasSuffix(values[0], []byte("\n")) {
		return bytes.Join(values, nil)
	}
	return bytes.Join(values, []byte("\n"))
}

// find computes the values of a selector.
func (m *Message) find(s *selector) [][]byte {
	var values [][]byte
	switch s.kind {
	case allFields:
		if s.raw {
			return m.readHead().rawLines()
		}
		return one(m.readHead().all())
	case allTrusted, allInternal, allUntrusted, allExternal:
		return m.rangeOf(s.kind, s.raw)
	case envelopeFrom:
		if from, ok := m.EnvelopeFrom(); ok {
			values = [][]byte{from}
		}
	case relaysUntrusted:
		values = [][]byte{writeRelays(m.Relays().Untrusted)}
	case relaysTrusted:
		values = [][]byte{writeRelays(m.near().Trusted)}
	case relaysExternal:
		values = [][]byte{writeRelays(m.Relays().External)}
	case relayExternal:
		ext := m.near().External
		values = [][]byte{writeRelays(ext[:min(len(ext), 1)])}
	case relaysInternal:
		values = [][]byte{writeRelays(m.near().Internal)}
	case toAndCc:
		values = m.readHead().join(values, "to", s.raw)
		values = m.readHead().join(values, "cc", s.raw)
	case messageIDs:
		for _, name := range [...]string{"x-message-id", "resent-message-id", "x-original-message-id", "message-id"} {
			values = m.readHead().join(values, name, s.raw)
		}
	case plainField:
		values = m.readHead().named(s.low, s.hash, s.needsRawBody)
		if len(values) == 0 {
			values = m.derived(s.low)
		}
	}
	return m.refine(s, values)
}

// one makes a list of a value, of nothing the empty list.
func one(value []byte) [][]byte {
	if len(value) == 0 {
		return nil
	}
	return [][]byte{value}
}

// named gives the values of the fields of a name, decoded or raw.
func (h *header) named(low string, hash uint32, raw bool) (values [][]byte) {
	for i := range h.fields {
		f := &h.fields[i]
		if !f.is(low, hash) {
			continue
		}
		v := &f.value
		if raw {
			v = &f.raw
		}
		if values == nil {
			values = v[:1:1]
		} else {
			values = append(values, v[0])
		}
	}
	return values
}

// join appends the values of a field to those of others, which makes a difference with raw ones: they are unfolded.
func (h *header) join(values [][]byte, low string, raw bool) [][]byte {
	for _, v := range h.named(low, nameHash(low), raw) {
		if raw {
			v = unfoldRaw(v)
		}
		values = append(values, v)
	}
	return values
}

// unfoldRaw puts a blank in place of a line end and the white space behind it.
func unfoldRaw(raw []byte) []byte {
	i := bytes.IndexByte(raw, '\n')
	if i < 0 || i == len(raw)-1 {
		return raw
	}
	out := make([]byte, 0, len(raw))
	for ; i >= 0; i = bytes.IndexByte(raw, '\n') {
		rest := raw[i+1:]
		n := 0
		for n < len(rest) && isSpace(rest[n]) {
			n++
		}
		if n == 0 {
			out = append(out, raw[:i+1]...)
		} else {
			out = append(append(out, raw[:i]...), ' ')
		}
		raw = rest[n:]
	}
	return append(out, raw...)
}

// rawLines gives the fields and whatever else stands in the header, each with its folds.
func (h *header) rawLines() (lines [][]byte) {
	b := h.raw
	for len(b) > 0 {
		n := 0
		for { // a line, and those that continue it
			i := bytes.IndexByte(b[n:], '\n')
			if i < 0 {
				return lines // a last line without an end is no line
			}
			n += i + 1
			if n == len(b) || b[n] != ' ' && b[n] != '\t' {
				break
			}
		}
		// The blank line is passed over, and so are continuations of nothing.
		if b[0] != '\n' && b[0] != ' ' && b[0] != '\t' {
			lines = append(lines, b[:n:n])
		}
		b = b[n:]
	}
	return lines
}

// refine applies the modifiers of a selector to values.
func (m *Message) refine(s *selector, values [][]byte) [][]byte {
	if len(values) == 0 {
		return nil
	}
	switch {
	case s.first:
		values = values[:1]
	case s.last:
		values = values[len(values)-1:]
	}
	switch {
	case s.addr:
		values = addressesOf(values)
	case s.person:
		values = namesOf(values, s.raw)
	}
	switch {
	case s.host:
		return m.hostsOf(s, values)
	case s.ip:
		return ipsOf(s, values)
	}
	return values
}

// addressesOf gives the addresses in some values.
func addressesOf(values [][]byte) (out [][]byte) {
	for _, v := range values {
		for _, a := range parseAddresses(v) {
			if a.hasAddress {
				out = append(out, a.address)
			}
		}
	}
	return out
}

// namesOf gives the names beside the addresses in some values.
func namesOf(values [][]byte, raw bool) (out [][]byte) {
	for _, v := range values {
		for _, a := range parseAddresses(v) {
			if !a.hasName {
				continue
			}
			name := a.name
			if !raw {
				name = readableName(name)
			}
			out = append(out, name)
		}
	}
	return out
}

// readableName decodes a name, makes its white space blanks and takes a pair of quotes off.
func readableName(name []byte) []byte {
	if len(name) == 0 {
		return name
	}
	name = decodeText(foldLines(name), 0, true)
	fields := bytes.FieldsFunc(name, func(r rune) bool { return r < 0x80 && isSpace(byte(r)) })
	if len(fields) == 0 {
		return name // nothing but white space stays as it is
	}
	name = bytes.Join(fields, []byte(" "))
	if n := len(name); n >= 2 && name[0] == '\'' && name[n-1] == '\'' {
		name = name[1 : n-1]
	}
	return name
}

// foldLines takes line ends out of a value, and puts a blank for a blank or tab behind one.
func foldLines(b []byte) []byte {
	out := make([]byte, 0, len(b))
	for i := 0; i < len(b); i++ {
		switch {
		case b[i] == '\r' && i+1 < len(b) && b[i+1] == '\n':
		case b[i] == '\n' && i+1 < len(b) && (b[i+1] == ' ' || b[i+1] == '\t'):
			out = append(out, ' ')
			i++
		case b[i] == '\n':
		default:
			out = append(out, b[i])
		}
	}
	return out
}

// hostsOf finds a host name in each value.
func (m *Message) hostsOf(s *selector, values [][]byte) (out [][]byte) {
	for _, v := range values {
		var host []byte
		if s.addr {
			host = hostBehind(v)
		} else {
			host = m.hostIn(v)
		}
		if len(host) == 0 || string(host) == "0" {
			continue
		}
		if s.domain {
			host = []byte(m.RegisteredDomain(strings.ToLower(string(host))))
		}
		out = append(out, host)
	}
	return out
}

// hostBehind gives what stands behind the last "@" that anything stands behind.
func hostBehind(v []byte) []byte {
	for at := bytes.LastIndexByte(v, '@'); at >= 0; at = bytes.LastIndexByte(v[:at], '@') {
		host := v[at+1:]
		if i := bytes.IndexAny(host, " \t\n\v\f\r"); i >= 0 {
			host = host[:i]
		}
		if len(host) > 0 {
			return host
		}
	}
	return nil
}

// ipsOf finds an address in each value.
func ipsOf(s *selector, values [][]byte) (out [][]byte) {
	for _, v := range values {
		ip := findIP(v)
		if ip == nil {
			continue
		}
		if s.rev {
			if ip = reverseIP(ip); ip == nil {
				continue
			}
		}
		out = append(out, ip)
	}
	return out
}
