package mail

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// addressGrammar reads a mailbox-list (RFC 5322 3.4), with what careless programs write and nobody misreads: names with
// commas, dots and 8-bit octets outside of quotes, and an address in place of a name. Everything else is a flaw, that
// of groups (RFC 6854) and routes too, since readers show different things for them.
type addressGrammar struct {
	s string
	i int
	r *authorReader

	// Of the mailbox that is being read.
	words   []string // the text outside of quotes, comments and brackets, cut at blanks
	quoted  []string // quoted strings, without the quotes
	quoteAt int      // where the last quoted string ended
	angle   bool     // its address was read
}

func (g *addressGrammar) bad(what string) { g.r.flaw(MalformedFrom, what) }

func (g *addressGrammar) list() {
	for _, c := range []byte(g.s) {
		if c < ' ' && c != '\t' || c == 0x7f {
			g.bad("a control character")
			return
		}
	}
	for g.i < len(g.s) && g.r.found.Flaw == "" {
		g.token()
	}
	if g.r.found.Flaw == "" {
		g.end()
	}
}

func (g *addressGrammar) token() {
	rest := g.s[g.i:]
	n := 1
	switch rest[0] {
	case ' ', '\t':
	case ',':
		g.end()
	case '"':
		var ok bool
		if n, ok = quotedEnd(rest); !ok {
			g.bad("a quoted string without an end")
			return
		}
		if len(g.words) > 0 && strings.Contains(g.words[len(g.words)-1], "@") && !blankAt(g.s, g.i-1) {
			g.bad("an address next to a quoted string")
		}
		content := unescape(rest[1 : n-1])
		g.quoteAt = g.i + n
		if rest = rest[n:]; !strings.HasPrefix(rest, "@") {
			if g.angle && strings.Contains(DecodeWords(content), "@") {
				g.bad("an address behind an address in brackets") // some read two
			}
			g.quoted = append(g.quoted, content)
			break
		}
		if g.angle || len(g.words)+len(g.quoted) > 0 {
			g.bad("an address among words")
		}
		m := wordLength(rest)
		g.quotedAddress(content, rest[:m])
		n += m
	case '(':
		var ok bool
		if n, ok = commentLength(rest); !ok {
			g.bad("a comment without an end")
			return
		}
	case '<':
		n = g.brackets(rest)
	case ':', ';', '>', ')', '\\':
		g.bad("an unexpected " + rest[:1])
	default:
		n = wordLength(rest)
		if g.angle {
			g.bad("text behind an address in brackets")
		}
		g.words = append(g.words, rest[:n])
		if g.quoteAt == g.i && g.quoteAt > 0 && strings.Contains(rest[:n], "@") {
			g.bad("an address next to a quoted string")
		}
	}
	g.i += n
}

// wordLength gives the length of the text at the start of s up to a blank or special.
func wordLength(s string) int {
	if n := strings.IndexAny(s, " \t,\"(<:;>)\\"); n >= 0 {
		return n
	}
	return len(s)
}

// brackets reads an angle-addr and gives its length.
func (g *addressGrammar) brackets(rest string) int {
	n := 1
	for n < len(rest) && rest[n] != '>' {
		switch rest[n] {
		case '"':
			m, ok := quotedEnd(rest[n:])
			if !ok {
				g.bad("a quoted string without an end")
				return len(rest)
			}
			n += m
			continue
		case '<', '(':
			g.bad("an unexpected " + rest[n:n+1])
			return len(rest)
		}
		n++
	}
	switch {
	case n == len(rest):
		g.bad("a bracket without an end")
		return n
	case g.angle:
		g.bad("two addresses without a comma between them")
	}
	g.angle = true
	g.address(strings.Trim(rest[1:n], " \t"))
	return n + 1
}

// address reads an addr-spec, as the word that it is.
func (g *addressGrammar) address(s string) {
	if s == "" {
		return // "<>": nobody
	}
	if s[0] == '"' {
		n, _ := quotedEnd(s) // brackets has found its end
		g.quotedAddress(unescape(s[1:n-1]), s[n:])
		return
	}
	local, domain, ok := strings.Cut(s, "@")
	switch {
	case !ok && strings.Contains(s, "=?"):
		g.bad("an encoded word in place of an address")
	case !ok:
		g.r.flaw(NoAuthorDomain, "an address without a domain")
	case local == "" || strings.Contains(domain, "@"):
		g.bad("an address with a route, or with several @")
	case strings.Contains(s, "=?"):
		g.bad("an encoded word in an address") // RFC 2047 5 (3)
	case !utf8.ValidString(local) || strings.ContainsFunc(local, func(c rune) bool { return c != '.' && !isAtext(c) || misleading(c) }):
		g.bad("an unexpected octet in a local part")
	default:
		g.domain(domain)
	}
}

// quotedAddress reads an address with a quoted local part, whose content is local.
func (g *addressGrammar) quotedAddress(local, rest string) {
	g.angle = true
	if !strings.HasPrefix(rest, "@") || strings.ContainsAny(local, `@<>,"\`) || strings.Contains(local, "=?") || strings.ContainsFunc(local, misleading) {
		g.bad("a quoted local part that looks like something else")
		return
	}
	g.domain(rest[1:])
}

// misleading reports whether c is a character that shows nothing itself and may change how others are shown, or that
// shows, or is by compatibility (NFKC), an "@".
func misleading(c rune) bool {
	return c == utf8.RuneError || c == '\uff20' || c == '\ufe6b' || unicode.Is(unicode.Cf, c)
}

func blankAt(s string, i int) bool { return i < 0 || s[i] == ' ' || s[i] == '\t' || s[i] == ',' }

func (g *addressGrammar) domain(s string) {
	if strings.HasPrefix(s, "[") {
		if _, err := parseDomain(s); err == nil {
			g.r.flaw(NoAuthorDomain, "an address literal")
			return
		}
	}
	d, err := Domain(s)
	if err != nil {
		g.bad("an address with a malformed domain")
		return
	}
	g.r.domain(d)
}

// end ends a mailbox. Without brackets it is an address, or part of a name with a comma.
func (g *addressGrammar) end() {
	// RFC 5322 3.2.5: a phrase has no "@", no square brackets and no raw octets. Where one has, there are readers that take
	// the words up to there for the address, the encoded ones decoded.
	open := !g.angle || slices.ContainsFunc(g.words, func(w string) bool { return strings.ContainsAny(w, "@[]") || !isASCII(w) })
	for i, w := range g.words {
		switch {
		case strings.Contains(w, "@"):
			if !g.angle && (i > 0 || len(g.words) > 1 || len(g.quoted) > 0) {
				g.bad("an address among words")
			}
			g.address(w)
		case open && strings.Contains(DecodeWords(w), "@"):
			g.bad("an encoded word in place of an address")
		}
	}
	for _, q := range g.quoted {
		if open && strings.Contains(DecodeWords(q), "@") {
			g.bad("a quoted string in place of an address")
		}
	}
	g.words, g.quoted, g.angle, g.quoteAt = nil, nil, false, 0
}
