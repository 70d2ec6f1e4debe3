package text

import (
	"bytes"
	"strings"
)

// Kinds of octets for the search for URIs in a text.
const (
	endsURI     = 1 << iota // ends a URI
	endsMail                // ends an address
	startsURI               // a URI may begin behind it
	startsHost1             // a bare host's name may begin behind it
	inHost                  // stands in a host's name
	promises                // stands in every URI
)

var uriClass = func() (t [256]uint8) {
	set := func(kind uint8, octets string) {
		for _, c := range []byte(octets) {
			t[c] |= kind
		}
	}
	const end = "><\"`}]{[|\x1b\xa0" + asciiSpace
	set(endsURI, end)
	set(endsMail, end+",('")
	set(startsURI, "><\"'`,{[(|\x1b\xa0"+asciiSpace)
	set(startsHost1, "!\"#$&'()*+,/:;<=>?@[\\]^`{|}~\x1b\xa0"+asciiSpace)
	set(promises, "@.:")
	set(inHost, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")
	for c := 0x80; c < 0x100; c++ {
		t[c] |= endsMail
	}
	return t
}()

// Lengths of what is taken for a URI, and its pieces.
const (
	maxURIText = 2048
	maxAddress = 251
	maxPort    = 5
)

// What was found is a URI with its scheme, or the beginning of one; an address; or a bare host's name.
const (
	foundScheme = iota
	foundMail
	foundHost
)

// textURI is what was found in a text, as it stands, and of a bare host its name.
type textURI struct {
	raw, host []byte
	kind      int
}

// scanText finds what looks like a URI in a line: what mail clients make a link of, and names of hosts besides, if they end
// in a top-level domain. It is one pass: white space and brackets end everything, and only what lies between such, and has a
// dot, a colon or "@" within, is looked at more closely.
func scanText(line []byte, tlds *TLDs, found func(textURI)) {
	for i := 0; i < len(line); {
		c := line[i]
		if uriClass[c]&promises == 0 || c != '@' && (i == 0 || uriClass[line[i-1]]&endsURI != 0 || i+1 == len(line) || uriClass[line[i+1]]&endsURI != 0) {
			i++
			continue
		}
		from, to := i, i+1
		for from > 0 && uriClass[line[from-1]]&endsURI == 0 {
			from--
		}
		for to < len(line) && uriClass[line[to]]&endsURI == 0 {
			to++
		}
		scanToken(line, from, to, tlds, found)
		i = to
	}
}

// scanToken looks for URIs in line[from:to], in which nothing ends one.
func scanToken(line []byte, from, to int, tlds *TLDs, found func(textURI)) {
	s := tokenScan{line: line, to: to, tlds: tlds}
	for i := from; i < to; {
		u, next := s.at(i)
		if next == 0 {
			i++
			continue
		}
		found(u)
		i = next
	}
}

// tokenScan is the search in a piece of a line.
type tokenScan struct {
	line []byte
	to   int
	tlds *TLDs
	run  int // where the octets end that may stand before the "@" of an address, for all places before it
	mail int // where those end that may stand behind it
}

// at looks for a URI that begins at i, and gives what comes behind it, 0 if there is none.
func (s *tokenScan) at(i int) (u textURI, next int) {
	line := s.line
	before, c := byte(0), line[i]
	if i > 0 {
		before = line[i-1]
	}
	boundary := isWord(c) != (i > 0 && isWord(before)) ||
		i > 0 && uriClass[before]&startsURI != 0 || i > 2 && line[i-3] == 0x1b && line[i-2] == '('
	if !boundary {
		return u, 0
	}
	if n := s.scheme(i); n > 0 {
		return textURI{raw: line[i:n], kind: foundScheme}, n
	}
	if n := s.address(i); n > 0 {
		return textURI{raw: line[i:n], kind: foundMail}, n
	}
	if i == 0 || uriClass[before]&startsHost1 != 0 {
		if end, n := s.host(i); n > 0 {
			return textURI{raw: line[i:n], host: line[i:end], kind: foundHost}, n
		}
	}
	return u, 0
}

// scheme reads a URI with a known scheme, or a name that begins with www or ftp.
func (s *tokenScan) scheme(i int) int {
	b := s.line[i:s.to]
	n := 0
	switch b[0] | 0x20 {
	case 'h':
		switch {
		case hasFold(b, "http://"):
			n = 7
		case hasFold(b, "https://"):
			n = 8
		}
	case 'f':
		switch {
		case hasFold(b, "ftp://"):
			n = 6
		case hasFold(b, "ftp."):
			n = 4
		}
	case 'w':
		if !hasFold(b, "www") {
			return 0
		}
		n = 3
		for n < len(b) && n < 5 && '0' <= b[n] && b[n] <= '9' {
			n++
		}
		if n == len(b) || b[n] != '.' {
			return 0
		}
		n++
	}
	if n == 0 || len(b) == n || len(b)-n > maxURIText {
		return 0
	}
	return s.to
}

// address reads an address, or what stands behind mailto:.
func (s *tokenScan) address(i int) int {
	line := s.line
	if c := line[i] | 0x20; c == 'm' && hasFold(line[i:s.to], "mailto:") {
		if end := s.mailEnd(i + 7); end > i+7 && end-i-7 <= maxURIText {
			return end
		}
	}
	if s.run < i || s.run == 0 {
		for s.run = i; s.run < s.to && line[s.run] != '@' && uriClass[line[s.run]]&endsMail == 0; {
			s.run++
		}
	}
	if s.run == i || s.run-i > maxAddress || s.run == s.to || line[s.run] != '@' {
		return 0
	}
	if end := s.mailEnd(s.run + 1); end > s.run+1 && end-s.run-1 <= maxAddress {
		return end
	}
	return 0
}

// mailEnd finds where the octets end that may stand in an address, from i on.
func (s *tokenScan) mailEnd(i int) int {
	if s.mail < i {
		for s.mail = i; s.mail < s.to && uriClass[s.line[s.mail]]&endsMail == 0; {
			s.mail++
		}
	}
	return s.mail
}

// host reads a host's name that ends in a top-level domain, with a port and a path behind it. It gives where the name ends,
// and where all ends, 0 if it is none. The longest name counts that fits.
func (s *tokenScan) host(i int) (end, next int) {
	line := s.line
	if c := line[i]; uriClass[c]&inHost == 0 || c == '.' || c == '_' || c == '-' {
		return 0, 0
	}
	run := i + 1
	for run < s.to && uriClass[line[run]]&inHost != 0 {
		run++
	}
	for dot := min(run-1, i+1+maxAddress); dot > i; dot-- {
		if line[dot] != '.' {
			continue
		}
		end = dot + 1
		for end < s.to && (isWord(line[end]) && line[end] != '_' || line[end] == '-') {
			end++
		}
		if end == dot+1 || end+1 < s.to && line[end] == '.' && isWord(line[end+1]) && line[end+1] != '_' || !s.tlds.isTopOctets(line[dot+1:end]) {
			continue
		}
		if next = s.behindHost(end); next > 0 {
			return end, next
		}
	}
	return 0, 0
}

// behindHost reads what may stand behind a host's name: a dot, a port, a path; all up to the end.
func (s *tokenScan) behindHost(end int) int {
	rest := s.line[end:s.to]
	if len(rest) > 0 && rest[0] == '.' {
		rest = rest[1:]
	}
	if len(rest) > 1 && rest[0] == ':' {
		n := 1
		for n < len(rest) && n <= maxPort && '0' <= rest[n] && rest[n] <= '9' {
			n++
		}
		if n > 1 {
			rest = rest[n:]
		}
	}
	if len(rest) == 0 || rest[0] == '/' && len(rest) > 1 && len(rest)-1 <= maxURIText {
		return s.to
	}
	return 0
}

// trimText drops what stands behind a URI in a sentence and is no part of it.
func trimText(raw []byte) []byte {
	if n := bytes.IndexByte(raw, ')'); n >= 0 && bytes.IndexByte(raw[:n], '(') < 0 {
		raw = raw[:n]
	}
	return bytes.TrimRight(raw, "-~!@#^&*()_+=:;'?,.")
}

// complete gives the URI that was meant by what was found, ok is false where none was; linked says that mail clients make a
// link of it, schemed that it had a scheme.
func (u *textURI) complete(raw string) (uri string, schemed, linked, ok bool) {
	low := lowerText(raw[:min(len(raw), len("mailto:"))])
	switch {
	case strings.HasPrefix(low, "cid:") || strings.HasPrefix(low, "mid:") || isBareScheme(raw):
		return "", false, false, false
	case strings.HasPrefix(low, "http:") || strings.HasPrefix(low, "https:") || strings.HasPrefix(low, "ftp:") || strings.HasPrefix(low, "mailto:"):
		return raw, true, true, true
	case strings.HasPrefix(low, "ftp."):
		return "ftp://" + raw, false, true, true
	case isWWW(low):
		return "http://" + raw, false, true, true
	case slashBeforeAt(raw):
		return "http://" + raw, false, true, true
	case strings.Contains(raw, "@"):
		_, host, _ := strings.Cut(raw, "@")
		if !dotWithin(host) || strings.Contains(raw, "&nbsp;") {
			return "", false, false, false
		}
		return "mailto:" + dropMailWord(raw), false, true, true
	case !strings.Contains(raw, "."):
		return "", false, false, false
	}
	return "http://" + raw, false, false, true
}

// isBareScheme reports whether there is nothing behind a scheme.
func isBareScheme(s string) bool {
	n := 0
	for n < len(s) && isWord(s[n]) {
		n++
	}
	return n > 0 && n < len(s) && s[n] == ':' && len(s)-n <= 3 && strings.Trim(s[n+1:], "/") == ""
}

// isWWW reports whether a name begins with www, up to two digits and a dot.
func isWWW(low string) bool {
	rest, ok := strings.CutPrefix(low, "www")
	n := 0
	for n < len(rest) && n < 2 && '0' <= rest[n] && rest[n] <= '9' {
		n++
	}
	return ok && n < len(rest) && rest[n] == '.'
}

// slashBeforeAt reports whether a slash, and something else, stands before an "@".
func slashBeforeAt(s string) bool {
	n, at := strings.IndexByte(s, '/'), strings.LastIndexByte(s, '@')
	return n >= 0 && at > n+1
}

// dotWithin reports whether a dot stands in s behind its first character.
func dotWithin(s string) bool { return len(s) > 1 && strings.IndexByte(s[1:], '.') >= 0 }

// dropMailWord drops words and colons that stand before an address.
func dropMailWord(s string) string {
	low := lowerText(s[:min(len(s), 8)])
	for _, w := range []string{"skype:", "email:", "e-mail:", "mail:", ":"} {
		if strings.HasPrefix(low, w) {
			return strings.TrimLeft(s[len(w):], ":")
		}
	}
	return s
}
