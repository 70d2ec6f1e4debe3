package text

import "bytes"

// parsedAddress is an entry of an address field, with what could be made out of it.
type parsedAddress struct {
	address, name       []byte
	hasAddress, hasName bool
}

// maxAddressSteps bounds the work for one value: each step looks at an octet or so.
const maxAddressSteps = 400_000

// addressReader takes address fields apart as leniently as SpamAssassin does, for which a name may hold whatever it likes
// and an address is what has an "@". What stands before each entry's comma is one of
//
//	name <address>   <address>   address   name
//
// with a comment in parentheses behind it.
type addressReader struct {
	b     []byte
	steps int
}

// entry is what an entry holds, nil for what it lacks.
type entry struct {
	name, address, comment []byte
	angle                  bool // the address stood in angle brackets
}

// parseAddresses reads an address field: what is an address, and what is the name to it.
func parseAddresses(value []byte) []parsedAddress {
	b := trimRightSpace(value)
	if len(b) == 0 {
		return nil
	}
	if bytes.Contains(b, []byte(`\\`)) {
		b = bytes.ReplaceAll(b, []byte(`\\`), nil)
	}
	b = cutGroup(b)
	if allSpace(b) {
		return nil
	}
	r := &addressReader{b: b, steps: maxAddressSteps}
	var out []parsedAddress
	for {
		e, n, ok := r.entry()
		if !ok {
			break
		}
		out = append(out, e.settle())
		r.b = r.b[n:]
	}
	if bytes.IndexByte(r.b, '@') >= 0 {
		out = appendBracketed(out, r.b)
	}
	if len(out) <= bytes.Count(value, []byte(",")) {
		if broken := brokenAddresses(b, value); len(broken) > len(out) {
			return broken
		}
	}
	return out
}

func trimRightSpace(b []byte) []byte {
	for len(b) > 0 && isSpace(b[len(b)-1]) {
		b = b[:len(b)-1]
	}
	return b
}

func allSpace(b []byte) bool {
	return len(trimRightSpace(b)) == 0
}

func skipSpace(b []byte, at int) int {
	for at < len(b) && isSpace(b[at]) {
		at++
	}
	return at
}

// cutGroup takes the name of a group (RFC 5322 3.4) off the beginning, and all where the group is empty.
func cutGroup(b []byte) []byte {
	end := bytes.IndexAny(b, `"()<>`)
	if end < 0 {
		end = len(b)
	}
	colon := bytes.LastIndexByte(b[:end], ':')
	if colon < 1 {
		return b
	}
	b = b[skipSpace(b, colon+1):]
	if len(b) > 0 && b[0] == ';' {
		return nil
	}
	return b
}

// quoted gives the end of a quoted string that begins at at, -1 where there is none. A backslash does not quote a line end.
func quoted(b []byte, at int) int {
	return quotedText(b, at, false)
}

func quotedText(b []byte, at int, lines bool) int {
	if at >= len(b) || b[at] != '"' {
		return -1
	}
	for i := at + 1; i < len(b); i++ {
		switch b[i] {
		case '"':
			return i + 1
		case '\\':
			if i++; i < len(b) && b[i] == '\n' && !lines {
				return -1
			}
		}
	}
	return -1
}

// stringEnds tells for each octet of a text where the quoted string ends that begins there, 0 for none; nil where there is
// none at all.
type stringEnds []int

// quotedEnds finds the ends of all quoted strings in one go from the last octet on, however many begin and do not end.
func quotedEnds(b []byte) stringEnds {
	if bytes.IndexByte(b, '"') < 0 {
		return nil
	}
	e := make(stringEnds, len(b)+2)
	for i := len(b) - 1; i >= 0; i-- {
		switch {
		case b[i] == '"':
			e[i] = i + 1
		case b[i] != '\\':
			e[i] = e[i+1]
		case i+1 < len(b) && b[i+1] != '\n':
			e[i] = e[i+2]
		}
	}
	for i := range b { // from here on by the octet of the mark itself
		if b[i] == '"' {
			e[i] = e[i+1]
		} else {
			e[i] = 0
		}
	}
	return e
}

// of gives the end of the quoted string that begins at i, 0 for none.
func (e stringEnds) of(i int) int {
	if e == nil {
		return 0
	}
	return e[i]
}

// comment gives the end of a comment that begins at at, -1 where there is none. It holds no other.
func comment(b []byte, at int, lines bool) int {
	if at >= len(b) || b[at] != '(' {
		return -1
	}
	for i := at + 1; i < len(b); i++ {
		switch b[i] {
		case ')':
			return i + 1
		case '(':
			return -1
		case '\\':
			if i++; i < len(b) && b[i] == '\n' && !lines {
				return -1
			}
		}
	}
	return -1
}

// entry reads the entry at the beginning of r.b; n is its length with the comma.
func (r *addressReader) entry() (e entry, n int, ok bool) {
	at := skipSpace(r.b, 0)
	ends := r.phrase(at)
	// A name, or none, and an address in brackets.
	last := at
	if len(ends) > 0 {
		last = ends[len(ends)-1]
	}
	if last < len(r.b) && r.b[last] == '<' {
		if e, n, ok := r.bracketed(last); ok {
			if last > at {
				e.name = r.b[at:last]
			}
			return e, n, true
		}
	}
	// An address by itself.
	for _, end := range [...]int{quoted(r.b, at), r.atom(at)} {
		if end = mailbox(r.b, end); end > 0 {
			if c, n, ok := r.tail(end); ok {
				return entry{address: r.b[at:end], comment: c}, n, true
			}
		}
	}
	// A name by itself.
	for i := len(ends) - 1; i >= 0; i-- {
		if c, n, ok := r.tail(ends[i]); ok {
			return entry{name: r.b[at:ends[i]], comment: c}, n, true
		}
	}
	if at > 0 && len(ends) == 0 {
		if c, n, ok := r.tail(at); ok {
			return entry{name: r.b[at-1 : at], comment: c}, n, true
		}
	}
	return e, 0, false
}

// phrase gives the places where a name that begins at at may end: behind each quoted string and each run of other octets.
func (r *addressReader) phrase(at int) (ends []int) {
	for at < len(r.b) {
		end := at
		for end < len(r.b) && r.b[end] != '"' && r.b[end] != ',' && r.b[end] != ';' && r.b[end] != '<' {
			end++
		}
		if end == at {
			if end = quoted(r.b, at); end < 0 {
				return ends
			}
		}
		r.steps -= end - at
		ends = append(ends, end)
		at = end
	}
	return ends
}

// atom gives the end of an unquoted local part, -1 where there is none.
func (r *addressReader) atom(at int) int {
	end := at
	for end < len(r.b) && r.b[end] != '@' && !isSpecial(r.b[end]) {
		end++
	}
	if end == at {
		return -1
	}
	return end
}

func isSpecial(c byte) bool {
	return isSpace(c) || bytes.IndexByte([]byte("<>()[],:;"), c) >= 0
}

// mailbox gives the end of an address whose local part ends at at, -1 where there is none.
func mailbox(b []byte, at int) int {
	if at < 0 || at >= len(b) || b[at] != '@' {
		return -1
	}
	at++
	end := at
	for end < len(b) && b[end] != '"' && !isSpecial(b[end]) {
		end++
	}
	if end > at {
		return end
	}
	if at < len(b) && b[at] == '[' {
		for end = at + 1; end < len(b) && (isDigit(b[end]) || b[end] == ':' || b[end] == '.'); end++ {
		}
		if end > at+1 && end < len(b) && b[end] == ']' {
			return end + 1
		}
	}
	return -1
}

// isMailbox reports whether b is an address and nothing else.
func isMailbox(b []byte) bool {
	b = bytes.TrimSuffix(b, []byte("\n"))
	r := addressReader{b: b}
	return mailbox(b, quoted(b, 0)) == len(b) && len(b) > 0 || mailbox(b, r.atom(0)) == len(b) && len(b) > 0
}

// bracketed reads "<address>", which begins at at, and what may stand behind it. The address has as many octets as fit.
func (r *addressReader) bracketed(at int) (e entry, n int, ok bool) {
	from := skipSpace(r.b, at+1)
	end := from
	for end < len(r.b) && r.b[end] != '>' && r.b[end] != '@' {
		end++
	}
	for a := end; a >= from; a-- {
		to := a
		for to < len(r.b) && !isSpace(r.b[to]) {
			to++
		}
		for ; to > a; to-- {
			if r.steps--; r.steps < 0 {
				return e, 0, false
			}
			gt := skipSpace(r.b, to)
			if gt == len(r.b) || r.b[gt] != '>' {
				if gt > to { // the octets before are no white space: none of them ends there either
					r.steps -= gt - to
				}
				continue
			}
			if c, n, ok := r.repeated(gt + 1); ok {
				return entry{address: r.b[from:to], comment: c, angle: true}, n, true
			}
		}
	}
	if from < len(r.b) && r.b[from] == '>' {
		if c, n, ok := r.repeated(from + 1); ok {
			return entry{address: r.b[from:from:from], comment: c, angle: true}, n, true
		}
	}
	return e, 0, false
}

// repeated passes over further addresses in brackets, which some programs write.
func (r *addressReader) repeated(at int) (c []byte, n int, ok bool) {
	if r.steps--; r.steps < 0 {
		return nil, 0, false
	}
	lt := skipSpace(r.b, at)
	if lt == len(r.b) || r.b[lt] != '<' {
		return r.tail(at)
	}
	from := skipSpace(r.b, lt+1)
	word := from
	if q := quoted(r.b, from); q > 0 {
		word = q
	}
	to := word
	for to < len(r.b) && !isSpace(r.b[to]) {
		to++
	}
	for ; to > from; to-- {
		if r.steps--; r.steps < 0 {
			return nil, 0, false
		}
		if gt := skipSpace(r.b, to); gt < len(r.b) && r.b[gt] == '>' {
			if c, n, ok := r.repeated(gt + 1); ok {
				return c, n, true
			}
		}
	}
	if from < len(r.b) && r.b[from] == '>' {
		if c, n, ok := r.repeated(from + 1); ok {
			return c, n, true
		}
	}
	return r.tail(at)
}

// tail reads what must stand behind an entry: perhaps a comment, and a comma, a semicolon or the end.
func (r *addressReader) tail(at int) (c []byte, n int, ok bool) {
	next := skipSpace(r.b, at)
	r.steps -= next - at + 1
	if end := comment(r.b, next, false); end > 0 {
		r.steps -= end - next
		if n, ok := r.stop(end); ok {
			return r.b[next+1 : end-1 : end-1], n, true
		}
	}
	n, ok = r.stop(at)
	return nil, n, ok
}

func (r *addressReader) stop(at int) (n int, ok bool) {
	at = skipSpace(r.b, at)
	switch {
	case at == len(r.b):
		return at, true
	case r.b[at] == ',' || r.b[at] == ';':
		return at + 1, true
	}
	return 0, false
}

// appendBracketed finds addresses in brackets in what is no entry.
func appendBracketed(out []parsedAddress, b []byte) []parsedAddress {
	for i := 0; i < len(b); i++ {
		if b[i] != '<' {
			continue
		}
		r := addressReader{b: b}
		for _, end := range [...]int{quoted(b, i+1), r.atom(i + 1)} {
			if end = mailbox(b, end); end > 0 && end < len(b) && b[end] == '>' {
				if a := b[i+1 : end]; wellQuoted(a) {
					out = append(out, parsedAddress{address: oneAt(a), hasAddress: true})
				}
				i = end
				break
			}
		}
	}
	return out
}

// brokenAddresses is for a field with fewer entries than commas would have it. Its entries end at commas, be it between angle
// brackets; of each it takes the local part and as much of a host as stands behind the first bracket, or at the beginning,
// whatever follows. So does the parser that SpamAssassin turns to then.
func brokenAddresses(b, value []byte) (out []parsedAddress) {
	ends, from := quotedEnds(b), 0 // where b begins in what ends is of
	for len(b) > 0 {
		end := 0
		for end < len(b) && b[end] != ',' {
			if q := ends.of(from + end); q > 0 {
				end = q - from
				continue
			}
			end++
		}
		from += min(end+1, len(b))
		piece := b[:end]
		if allSpace(piece) {
			b = b[min(end+1, len(b)):]
			continue
		}
		out = append(out, parsedAddress{name: value, hasName: true}) // without an address, the whole field is the name
		b = b[min(end+1, len(b)):]
		name, angle := []byte(nil), false
		if lt := bytes.IndexByte(piece, '<'); lt >= 0 {
			name, piece, angle = bytes.TrimSpace(unquoteName(piece[:lt])), piece[lt+1:], true
		}
		piece = piece[skipSpace(piece, 0):]
		r := addressReader{b: piece}
		at := max(quoted(piece, 0), r.atom(0))
		host := at + 1
		for host > 0 && host < len(piece) && (isAlnum(piece[host]) || bytes.IndexByte([]byte(".-_"), piece[host]) >= 0) {
			host++
		}
		rest := piece
		if at > 0 && at < len(piece) && piece[at] == '@' && host > at+1 {
			out[len(out)-1] = parsedAddress{address: piece[:host:host], name: name, hasAddress: true, hasName: len(name) > 0}
			if rest = piece[host:]; angle {
				rest = bytes.TrimPrefix(rest, []byte(">"))
			}
		}
		if len(bytes.TrimLeftFunc(rest, func(r rune) bool { return r >= 0x80 || r == '@' || isSpace(byte(r)) || !isSpecial(byte(r)) })) > 0 ||
			len(rest) < len(piece) && !allSpace(rest) {
			break // no comma follows, and nothing behind this is read
		}
	}
	return out
}
