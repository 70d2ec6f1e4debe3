package text

import (
	"bytes"
	"net/netip"
	"slices"
)

// hop is what a Received field says, as it is gathered.
type hop struct {
	ip, helo, rdns, by, id, ident []byte
	env                           []byte // nil: not said
	auth                          string
	looked                        bool // the server looked for the client's name
}

// verdict is what a Received field is worth.
type verdict uint8

const (
	unreadable verdict = iota // something that nobody knows how to read
	skipped                   // it tells of no hop
	fetched                   // a program fetched the mail: what came before is our own affair
	readable
)

// receivedReader reads Received fields, the newest first.
type receivedReader struct {
	m       matcher
	scanner []byte // the sender that a qmail-scanner field named: it belongs to the next field
}

// stepsPerOctet bounds the work for a field by its length.
const (
	stepsPerOctet = 64
	stepsAtLeast  = 20000
)

// read reads a Received field, unfolded.
func (r *receivedReader) read(value []byte) (Relay, verdict) {
	env := r.scanner
	r.scanner = nil
	line := squeezeBlanks(value)
	r.m = matcher{line: line, steps: stepsPerOctet*len(line) + stepsAtLeast}
	var h hop
	v := r.parse(line, &h)
	if v != readable {
		return Relay{}, v
	}
	relay := h.relay()
	if len(env) > 0 && string(env) != "0" {
		relay.EnvFrom, relay.HasEnvFrom = string(env), true
	}
	return relay, readable
}

// squeezeBlanks makes each run of white space a blank, and takes it off the ends, and semicolons off the end.
func squeezeBlanks(b []byte) []byte {
	if even := bytes.TrimRight(bytes.Trim(b, asciiSpace), ";"); isEven(even) && !bytes.HasSuffix(even, []byte(" ")) {
		return slices.Clip(even)
	}
	out := make([]byte, 0, len(b))
	for i := 0; i < len(b); i++ {
		if !isSpace(b[i]) {
			out = append(out, b[i])
		} else if len(out) > 0 && out[len(out)-1] != ' ' {
			out = append(out, ' ')
		}
	}
	out = bytes.TrimSuffix(out, []byte(" "))
	for len(out) > 0 && out[len(out)-1] == ';' {
		out = out[:len(out)-1]
		out = bytes.TrimSuffix(out, []byte(" "))
	}
	return out
}

// isEven reports whether all white space of a line is single blanks.
func isEven(b []byte) bool {
	b = b[evenRun(b):]
	for _, c := range []byte("\t\n\v\f\r") {
		if bytes.IndexByte(b, c) >= 0 {
			return false
		}
	}
	return !bytes.Contains(b, []byte("  "))
}

// hasFold reports whether b begins with prefix, which is in lower case, in any case.
func hasFold(b []byte, prefix string) bool {
	if len(b) < len(prefix) {
		return false
	}
	for i := range len(prefix) {
		if lower(b[i]) != prefix[i] {
			return false
		}
	}
	return true
}

// parse reads a squeezed line.
func (r *receivedReader) parse(line []byte, h *hop) verdict {
	if !hasFold(line, "from ") && !hasFold(line, "(from ") {
		return skipped
	}
	if i := bytes.Index(line, []byte("with local for")); i > 0 && atBoundary(line, i) && atBoundary(line, i+14) {
		return skipped
	}
	if saysNothing(line) {
		return skipped
	}
	line = cutDate(line)
	if i := bytes.Index(line, []byte(")by ")); i >= 0 {
		line = bytes.Join([][]byte{line[:i+1], line[i+1:]}, []byte(" "))
	}
	h.guess(line)
	h.auth = authOf(line)
	done := unreadable
	switch {
	case bytes.HasPrefix(line, []byte("from ")):
		line = line[5:]
		h.env = envelopeOf(line)
		done = r.parseFrom(line, h)
	case bytes.HasPrefix(line, []byte("FROM ")):
		line = line[5:]
		done = r.first(line, h, simtaForm)
	case bytes.HasPrefix(line, []byte("(from ")):
		line = line[6:]
		done = r.first(line, h, nortonForm, submitForm, jqueueForm)
	}
	if done != unreadable {
		return done
	}
	if len(h.ip) == 0 {
		h.ip = bracketedIP(line)
	}
	if truthy(h.ip) && truthy(h.by) {
		return readable
	}
	return unreadable
}

// truthy is Perl's notion of a text that says something.
func truthy(b []byte) bool { return len(b) > 0 && string(b) != "0" }

// saysNothing reports whether a field names no more than two hosts and a date.
func saysNothing(line []byte) bool {
	if !hasFold(line, "from ") {
		return false
	}
	from, rest, ok := bytes.Cut(line[5:], []byte(" "))
	if !ok || len(from) == 0 || !hasFold(rest, "by ") {
		return false
	}
	rest = rest[3:]
	i := 0
	for i < len(rest) && rest[i] != ' ' && rest[i] != ';' {
		i++
	}
	if i == 0 {
		return false
	}
	if i < len(rest) && rest[i] == ' ' {
		i++
	}
	if i >= len(rest) || rest[i] != ';' {
		return false
	}
	if len(from) < 3 || from[0] != '[' || from[len(from)-1] != ']' {
		return true
	}
	for _, c := range from[1 : len(from)-1] {
		if !isDigit(c) && c != '.' {
			return true
		}
	}
	return false
}

// parseFrom reads what stands behind "from ".
func (r *receivedReader) parseFrom(line []byte, h *hop) verdict {
	if squirrelMail(line, h) {
		return readable
	}
	if bytes.Contains(line, []byte("aol.com")) {
		if v := r.first(line, h, aolForm); v != unreadable {
			return v
		}
	}
	if v := r.byMaker(line, h); v != unreadable {
		return v
	}
	if i := bytes.Index(line, []byte("with HTTP")); i >= 0 && atBoundary(line, i) && atBoundary(line, i+9) {
		if v := r.first(line, h, webmailForm); v != unreadable {
			return v
		}
	}
	if !bytes.Contains(line, []byte("(qmail-")) || !r.fits(line, qmailLDAPMark) {
		if v := r.first(line, h, sendmailForm); v != unreadable {
			return v
		}
	}
	if v := r.first(line, h, general...); v != unreadable {
		return v
	}
	if hotmail(line, h) {
		return readable
	}
	if v := r.first(line, h, greeted...); v != unreadable {
		return v
	}
	if r.fits(line, qmail) {
		r.first(line, h, qmailForms...)
		if string(h.rdns) == "unknown" {
			h.rdns = nil
		} else {
			h.looked = true
		}
		return readable
	}
	if v := r.first(line, h, others...); v != unreadable {
		return v
	}
	if bytes.Contains(line, []byte("with POP3")) || bytes.Contains(line, []byte("with IMAP")) {
		return fetched
	}
	if v := r.first(line, h, rest...); v != unreadable {
		return v
	}
	return r.parseIgnored(line, h)
}

// byMaker reads what a server with a mark of its own writes.
func (r *receivedReader) byMaker(line []byte, h *hop) verdict {
	for i := range makers {
		mk := &makers[i]
		if !mk.mark(line) {
			continue
		}
		if mk.local != nil && mk.local(line) {
			return skipped
		}
		if v := r.first(line, h, mk.forms...); v != unreadable {
			return v
		}
		if mk.more != nil && mk.more(h, line) {
			return readable
		}
		return unreadable
	}
	return unreadable
}

// parseIgnored looks for fields that tell of no hop; of what is left the first word may be a HELO name.
func (r *receivedReader) parseIgnored(line []byte, h *hop) verdict {
	for i := range ignored {
		f := &ignored[i]
		if f.gate != "" && !bytes.Contains(line, []byte(f.gate)) || !r.fits(line, f.shape) {
			continue
		}
		if f.more != nil {
			f.more(h, &r.m)
			r.scanner = cleanEnvelope(h.env)
		}
		return skipped
	}
	if !truthy(h.helo) {
		h.helo = firstName(line)
	}
	return unreadable
}

// firstName gives the first word, or as much of it as stands before an octet that is in no name.
func firstName(line []byte) []byte {
	end := bytes.IndexByte(line, ' ')
	if end > 0 {
		return line[:end]
	}
	if end < 0 {
		end = len(line)
	}
	for i := end - 1; i > 0; i-- {
		if c := line[i]; !isAlnum(c) && c != '-' && c != '.' {
			return line[:i]
		}
	}
	return nil
}

// fits reports whether a line has a shape.
func (r *receivedReader) fits(line []byte, s *shape) bool {
	r.m.line = line
	return r.m.fit(s)
}

// first tries forms, and takes what the first that fits keeps.
func (r *receivedReader) first(line []byte, h *hop, forms ...form) verdict {
	for i := range forms {
		f := &forms[i]
		if f.gate != "" && !bytes.Contains(line, []byte(f.gate)) || !r.fits(line, f.shape) {
			continue
		}
		if f.skip {
			return skipped
		}
		h.take(&r.m)
		if f.looked {
			h.looked = true
		}
		if f.more != nil {
			f.more(h, &r.m)
		}
		return readable
	}
	return unreadable
}

// take takes over what a shape kept.
func (h *hop) take(m *matcher) {
	set := func(to *[]byte, s slot) {
		if m.kept[s] != nil {
			*to = m.kept[s]
		}
	}
	set(&h.helo, slotHelo)
	set(&h.rdns, slotRDNS)
	set(&h.ip, slotIP)
	set(&h.by, slotBy)
	set(&h.ident, slotIdent)
	set(&h.id, slotID)
	if m.kept[slotBoth] != nil {
		h.helo, h.rdns = m.kept[slotBoth], m.kept[slotBoth]
	}
}

// relay makes the Relay of a hop.
func (h *hop) relay() Relay {
	rdns := bytes.TrimRight(h.rdns, ".")
	if bytes.EqualFold(rdns, []byte("unknown")) || len(rdns) > 0 && rdns[0] == '[' {
		rdns = nil
	}
	r := Relay{
		IP: string(cleanIP(h.ip)), RDNS: stripped(rdns), Helo: stripped(h.helo),
		By: stripped(bytes.TrimSuffix(h.by, []byte(";"))), Ident: stripped(h.ident), ID: string(h.id), Auth: h.auth,
		NoRDNS: len(rdns) == 0 && h.looked,
	}
	if h.env != nil {
		r.EnvFrom, r.HasEnvFrom = string(cleanEnvelope(h.env)), true
	}
	if a, err := netip.ParseAddr(r.IP); err == nil {
		r.Addr = a.Unmap().WithZone("")
	}
	r.Private = r.Addr.IsValid() && IsPrivate(r.Addr)
	return r
}

// cleanIP takes off an address what is not of it.
func cleanIP(ip []byte) []byte {
	if len(ip) > 5 && bytes.EqualFold(ip[:5], []byte("ipv6:")) {
		ip = ip[5:]
	}
	ip = bytes.TrimSuffix(bytes.TrimPrefix(ip, []byte("[")), []byte("]"))
	if a, err := netip.ParseAddr(string(ip)); err == nil && a.Is4In6() && bytes.IndexByte(ip, '.') >= 0 {
		ip = []byte(a.Unmap().String())
	}
	return ip
}

// stripped puts "!" for each octet that could be mistaken for the syntax of a list of relays.
func stripped(b []byte) string {
	if !bytes.ContainsAny(b, " \t\n\v\f\r\x00#[]()<>|") {
		return string(b)
	}
	out := bytes.Clone(b)
	for i, c := range out {
		if isSpace(c) || bytes.IndexByte([]byte("\x00#[]()<>|"), c) >= 0 {
			out[i] = '!'
		}
	}
	return string(out)
}

// cleanEnvelope takes angle brackets off an envelope's sender.
func cleanEnvelope(env []byte) []byte {
	if env == nil {
		return nil
	}
	env = bytes.TrimLeft(bytes.TrimLeft(env, " \t\n\v\f\r"), "<")
	env = bytes.TrimRight(bytes.TrimRight(env, " \t\n\v\f\r"), ">")
	return []byte(stripped(env))
}
