package text

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Redirector finds the target in the URI of a redirector, as redirector_pattern of a configuration does.
type Redirector interface {
	Target(uri string) (target string, ok bool)
}

// maxVariants is how many URIs are made of one.
const maxVariants = 60

// variants collects what readers may take a URI for.
type variants struct {
	tlds       *TLDs
	redirector Redirector
	queue, all []string
	chars      bool // the URI is of characters, not of octets
}

// variantsOf adds to none what readers may take a URI for, the URI first: with escapes decoded, without user and port, the target of
// a redirector, an address in place of a number, and so on. There are none of what is relative.
func variantsOf(none []string, uri string, chars bool, tlds *TLDs, red Redirector) []string {
	var room [2][2]string
	v := variants{tlds: tlds, redirector: red, queue: append(room[0][:0], uri), all: room[1][:0], chars: chars}
	for i := 0; i < len(v.queue) && i < maxVariants; i++ {
		v.queue[i] = v.one(v.queue[i])
	}
	if len(v.queue) == 1 && len(v.all) == 0 {
		return append(none, v.queue[0])
	}
	out := slices.Grow(none, len(v.queue)+len(v.all))
	for _, all := range [...][]string{v.queue, v.all} {
		for _, s := range all {
			if len(out) < maxVariants && !slices.Contains(out, s) {
				out = append(out, s)
			}
		}
	}
	return out
}

func (v *variants) add(s string) {
	if len(v.all) < maxVariants {
		v.all = append(v.all, s)
	}
}

// one makes variants of a URI, and gives it without white space around it.
func (v *variants) one(uri string) string {
	if strings.ContainsAny(uri, "\r\n") {
		uri = strings.NewReplacer("\n", "", "\r", "").Replace(uri)
	}
	uri = strings.Trim(uri, asciiSpace)
	if len(uri) <= 1 || uri[0] == '#' || uri[0] == '?' || uri[0] == '&' || uri[0] == '/' && uri[1] != '/' {
		return uri
	}
	if hasPrefixFold(uri, "mailto:") || atBeforeColon(uri) {
		v.mailto(uri)
		return uri
	}
	full := fullForm(uri, v.chars)
	if full != uri {
		v.add(full)
	}
	v.web(full)
	return uri
}

func hasPrefixFold(s, low string) bool {
	return len(s) >= len(low) && strings.EqualFold(s[:len(low)], low)
}

// atBeforeColon reports whether there is an "@" with no colon before it.
func atBeforeColon(s string) bool {
	n := strings.IndexAny(s, ":@")
	return n >= 0 && s[n] == '@'
}

// mailto makes variants of an address.
func (v *variants) mailto(uri string) {
	at := strings.IndexByte(uri, '@')
	if at <= 0 {
		return
	}
	if n := strings.IndexByte(uri[at+1:], '?'); n > 0 {
		v.add(uri[:at+1+n])
	}
	if n := strings.IndexAny(uri[at+1:], "?&"); n > 0 && uri[at+1+n] == '&' {
		v.add(uri[:at+1+n])
	}
	if strings.Contains(uri, "%20") {
		s := uri
		if hasPrefixFold(s, "mailto:") {
			s = s[len("mailto:"):]
		}
		for strings.HasPrefix(s, "%20") {
			s = s[3:]
		}
		if a := strings.IndexByte(s, '@'); a > 0 {
			n := strings.IndexAny(s[a+1:], "?&%")
			if n < 0 {
				n = len(s) - a - 1
			}
			if n > 0 {
				v.add("mailto:" + s[:a+1+n])
			}
		}
	}
	v.bracketed(uri)
}

// bracketed makes a variant of an address in angle brackets.
func (v *variants) bracketed(uri string) {
	head := uri
	if n := strings.IndexAny(uri, "?&"); n >= 0 {
		head = uri[:n]
	}
	for tries, open := 0, strings.LastIndexByte(head, '<'); open >= 0 && tries < maxBrackets; tries, open = tries+1, strings.LastIndexByte(head[:open], '<') {
		inner, _, closed := strings.Cut(uri[open+1:], ">")
		if at := strings.IndexByte(inner, '@'); closed && at > 0 && at+1 < len(inner) {
			v.add("mailto:" + inner)
			return
		}
	}
}

// maxBrackets is how many of the opening ones are tried, from the last one on.
const maxBrackets = 10

// fullForm gives a URI of the web with a scheme, without escapes and other disguises.
func fullForm(uri string, chars bool) string {
	s := strings.ReplaceAll(uri, "\\", "/")
	if n := schemeLength(s); n > 0 && !strings.HasPrefix(s[n:], "//") {
		rest := s[n:]
		for range 2 {
			rest = strings.TrimPrefix(rest, "/")
		}
		s = s[:n] + "//" + rest
	}
	if hasPercent(s) {
		s = unescape(s, chars)
	}
	if !hasScheme(s) {
		if strings.HasPrefix(s, "ftp.") {
			s = "ftp://" + s
		} else {
			s = "http://" + s
		}
	}
	if n := schemeLength(s); n > 0 && strings.HasPrefix(s[n:], "//") {
		if k := strings.IndexAny(s[n+2:], "/?#"); k > 0 && s[n+2+k] != '/' {
			s = s[:n+2+k] + "/" + s[n+2+k:]
		}
	}
	if strings.Contains(s, "&#") {
		s = decodeVisible(s)
	}
	return s
}

// schemeLength gives the length of "http:" or "https:" at the start, 0 for none.
func schemeLength(s string) int {
	switch {
	case hasPrefixFold(s, "http:"):
		return 5
	case hasPrefixFold(s, "https:"):
		return 6
	}
	return 0
}

// hasScheme reports whether s begins with what may be a scheme.
func hasScheme(s string) bool {
	n := 0
	for n < len(s) && (isWord(s[n]) || s[n] == '-') {
		n++
	}
	return n > 0 && n < len(s) && s[n] == ':'
}

// hasPercent reports whether there is an escape.
func hasPercent(s string) bool {
	for i := strings.IndexByte(s, '%'); i >= 0 && i+2 < len(s); i++ {
		if s[i] == '%' && digit(s[i+1]) < 16 && digit(s[i+2]) < 16 {
			return true
		}
	}
	return false
}

// unescape decodes the escapes of visible characters of ASCII, and escapes those that have to be.
func unescape(s string, chars bool) string {
	out := make([]byte, 0, len(s)+16)
	for i := 0; i < len(s); {
		c := s[i]
		switch {
		case c == '%' && i+2 < len(s) && digit(s[i+1]) < 16 && digit(s[i+2]) < 16:
			if d := byte(digit(s[i+1])<<4 | digit(s[i+2])); d > ' ' && d < 0x7f {
				out = append(out, d)
			} else {
				out = append(out, s[i:i+3]...)
			}
			i += 3
		case c <= ' ' || c == 0x7f || c == '"' || c == '%' || c == '<' || c == '>' || c >= 0x80 && !chars:
			out = fmt.Appendf(out, "%%%02x", c)
			i++
		case c >= 0x80:
			r, n := utf8.DecodeRuneInString(s[i:])
			if r <= 0xff {
				out = fmt.Appendf(out, "%%%02x", r)
			} else {
				out = append(out, s[i:i+n]...)
			}
			i += n
		default:
			out = append(out, c)
			i++
		}
	}
	return string(out)
}

// decodeVisible decodes character references to visible characters of ASCII, and to what is a dot in names of hosts.
func decodeVisible(s string) string {
	var out strings.Builder
	for {
		n := strings.Index(s, "&#")
		if n < 0 {
			out.WriteString(s)
			return out.String()
		}
		out.WriteString(s[:n])
		s = s[n:]
		r, size := numericReference([]byte(s[:min(len(s), 40)]))
		switch {
		case size == 0 || s[size-1] != ';':
			size, r = 2, 0
		case r == 0x3002 || r == 0xff0e || r == 0xff61:
			r = '.'
		case r <= ' ' || r >= 0x7f:
			r = 0
		}
		if r == 0 {
			out.WriteString(s[:size])
		} else {
			out.WriteRune(r)
		}
		s = s[size:]
	}
}

// web makes variants of a URI of the web.
func (v *variants) web(uri string) {
	n := schemeLength(uri)
	if n == 0 || !strings.HasPrefix(uri[n:], "//") || strings.Contains(uri, "\n") {
		return
	}
	w := website{scheme: uri[:n+2]}
	rest := uri[n+2:]
	if k := strings.IndexAny(rest, "@/?#"); k >= 0 && rest[k] == '@' {
		w.user, rest = rest[:k+1], rest[k+1:]
	}
	k := strings.IndexAny(rest, "/?#:")
	if k < 0 {
		k = len(rest)
	}
	if w.host, w.rest = rest[:k], rest[k:]; w.host == "" {
		if w.user == "" {
			return
		}
		// Nothing but a user: its name is the host's then.
		all := uri[n+2:]
		if k = strings.IndexAny(all, "/?#:"); k <= 0 {
			return
		}
		w = website{scheme: w.scheme, host: all[:k], rest: all[k:]}
	}
	w.readPort()
	v.hosts(&w)
}

// website is a URI of the web in pieces; rest has the port, too.
type website struct {
	scheme, user, host, rest string
	port, noPort             string // noPort: rest without the port, where it is the scheme's own; else rest, where there is a port
}

func (w *website) readPort() {
	digits := ""
	if strings.HasPrefix(w.rest, ":") {
		digits = w.rest[1:]
		if k := strings.IndexFunc(digits, func(r rune) bool { return r < '0' || r > '9' }); k >= 0 {
			digits = digits[:k]
		}
	}
	usual := "443"
	if w.scheme == "http://" {
		usual = "80"
	}
	if w.port = digits; digits == "" {
		w.port = usual
		return
	}
	w.noPort = w.rest
	if own := ":" + usual; strings.HasPrefix(w.rest, own) && (len(w.rest) == len(own) || !isWord(w.rest[len(own)])) {
		w.noPort = w.rest[len(own):]
	}
}

// hosts makes variants by what stands in the place of the host.
func (v *variants) hosts(w *website) {
	if w.noPort != w.rest && w.port != "" && strings.HasPrefix(w.rest, ":"+w.port) {
		v.add(w.scheme + w.host + w.noPort)
	}
	plain := toASCII(w.host)
	if plain != lowerText(w.host) {
		if h := strings.TrimRightFunc(w.host, func(r rune) bool { return !isAlnumRune(r) }); strings.Contains(h, ".") && plainASCII([]byte(h)) {
			v.add(w.scheme + h + w.rest) // words of a script without spaces stand behind it
		}
		v.add(w.scheme + plain + w.rest)
		if w.noPort != "" {
			v.add(w.scheme + plain + w.noPort)
		}
		w.host = plain
	}
	if strings.IndexFunc(w.host, func(r rune) bool { return r <= ' ' }) >= 0 {
		w.host = strings.Map(func(r rune) rune {
			if r <= ' ' {
				return -1
			}
			return r
		}, w.host)
		v.add(w.scheme + w.host + w.rest)
	}
	v.redirected(w)
	if k := strings.LastIndexByte(w.host, '@'); k > 0 {
		if w.host[0] == '@' {
			k = 0
		}
		if k > 0 {
			w.host = dropUsers(w.host)
			v.add(w.scheme + w.host + w.rest)
		}
	}
	if h := strings.TrimRightFunc(w.host, func(r rune) bool { return !isAlnumRune(r) }); h != w.host && w.host != "" {
		w.host = h
		v.add(w.scheme + w.host + w.rest)
	}
	v.numeric(w, plain)
}

// dropUsers drops all that stands before the first "@".
func dropUsers(host string) string {
	_, rest, _ := strings.Cut(host, "@")
	return rest
}

func isAlnumRune(r rune) bool { return r < utf8.RuneSelf && isAlnum(byte(r)) }

// redirected queues the target of a redirector, and a URI that stands in the path or the query.
func (v *variants) redirected(w *website) {
	if len(v.queue) >= maxVariants {
		return
	}
	if v.redirector != nil {
		if t, ok := v.redirector.Target(w.scheme + w.host + w.rest); ok && strings.Contains(t, ".") {
			v.queue = append(v.queue, t)
			return
		}
	}
	for i := 0; i+5 < len(w.rest); i++ {
		if w.rest[i]|0x20 != 'h' {
			continue
		}
		n := schemeLength(w.rest[i:])
		if n == 0 {
			continue
		}
		t := w.rest[i:]
		if k := strings.IndexAny(t[n:], "&#"); k >= 0 {
			t = t[:n+k]
		}
		if len(t) > n {
			if strings.Contains(t, ".") {
				v.queue = append(v.queue, t)
			}
			return
		}
	}
}

// numeric makes variants of hosts that are numbers, and of single words.
func (v *variants) numeric(w *website, plain string) {
	dots := strings.Count(w.host, ".")
	if dots == 3 && '0' <= w.host[0] && w.host[0] <= '9' {
		if octets := strings.Split(w.host, "."); allNumbers(octets) {
			for i, o := range octets {
				octets[i] = readOctet(o)
			}
			v.add(w.scheme + strings.Join(octets, ".") + w.rest)
			return
		}
	}
	switch {
	case dots == 0 && isHex(w.host):
		n, _ := strconv.ParseUint(w.host[max(2, len(w.host)-8):], 16, 64)
		v.add(w.scheme + dotted(n) + w.rest)
	case dots == 0 && isDecimal(w.host):
		n, _ := strconv.ParseUint(w.host, 10, 64)
		v.add(w.scheme + dotted(n) + w.rest)
	case w.scheme == "http://" && w.user == "" && plain != "localhost" && w.port == "80":
		word := strings.TrimPrefix(plain, "www.")
		if strings.Contains(word, ".") {
			word = plain
		}
		if word != "" && !strings.Contains(word, ".") && !v.tlds.Valid(plain) {
			v.add(w.scheme + "www." + word + ".com" + w.rest)
		}
	}
}

func allNumbers(s []string) bool {
	for _, o := range s {
		if !isDecimal(o) && !isHex(o) {
			return false
		}
	}
	return true
}

func isDecimal(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }

func isHex(s string) bool {
	if len(s) < 3 || s[0] != '0' || s[1]|0x20 != 'x' {
		return false
	}
	for i := 2; i < len(s); i++ {
		if digit(s[i]) == 16 {
			return false
		}
	}
	return true
}

// readOctet reads a number as programs read it that know octal and hexadecimal ones. Zero becomes nothing: so SpamAssassin
// has it.
func readOctet(s string) string {
	if isHex(s) {
		n, err := strconv.ParseUint(s[2:], 16, 63)
		if err != nil {
			return "-1"
		}
		s = strconv.FormatUint(n, 10)
	}
	if trimmed := strings.TrimLeft(s, "0"); trimmed != s && trimmed != "" && strings.Trim(trimmed, "01234567") == "" {
		if len(trimmed) < 3 || len(trimmed) == 3 && trimmed[0] <= '3' {
			n, _ := strconv.ParseUint(trimmed, 8, 64)
			s = strconv.FormatUint(n, 10)
		}
	}
	return strings.TrimLeft(s, "0")
}

// dotted writes the first four octets of a number as an address.
func dotted(n uint64) string {
	h := fmt.Sprintf("%08x", n)
	if len(h)%2 != 0 {
		h += "0"
	}
	var o [4]uint64
	for i := range o {
		o[i], _ = strconv.ParseUint(h[2*i:2*i+2], 16, 8)
	}
	return fmt.Sprintf("%d.%d.%d.%d", o[0], o[1], o[2], o[3])
}
