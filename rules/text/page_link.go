package text

import (
	"strings"
)

// webURL is a link as browsers read it (WHATWG URL, 4.4), as far as the host: the path stays as it is written.
type webURL struct {
	uri    string // the link, in the form that all readers take for the same
	odd    Traits // in which ways it was written so that others read something else
	scheme string // in lower case, "" for a relative link
	host   string // "" for none
	port   string // with the colon
	rest   string // path, query and fragment
}

// String gives the whole of it.
func (u *webURL) String() string { return u.uri }

// isWebScheme reports whether what comes behind the colon is a host, however many slashes there are.
func isWebScheme(s string) bool { return s == "http" || s == "https" || s == "ftp" }

// readURL reads a link. base is the scheme of the page's base, "" for none.
func readURL(s, base string) (u webURL) {
	s = strings.TrimFunc(s, func(r rune) bool { return r <= ' ' })
	at := schemeEnd(s)
	if strings.ContainsAny(s, "\t\n\r") {
		clean := strings.NewReplacer("\t", "", "\n", "", "\r", "").Replace(s)
		if plain := schemeEnd(clean); plain > 0 && strings.ContainsAny(s[:min(len(s), plain+3)], "\t\n\r") {
			u.odd |= BrokenScheme
		}
		s = clean
		at = schemeEnd(s)
	}
	u.uri = s
	rest := s
	if at > 0 {
		if u.scheme, rest = lowerText(s[:at]), s[at+1:]; !isWebScheme(u.scheme) {
			return u
		}
	}
	after := strings.TrimLeft(rest, `/\`)
	slashes := rest[:len(rest)-len(after)]
	if at <= 0 { // relative, and with two slashes a host's name
		if len(slashes) < 2 {
			return u
		}
		if u.scheme = base; u.scheme == "" {
			u.scheme = "http"
		}
	}
	if slashes != "//" {
		u.odd |= OddSlashes
	}
	u.readAuthority(after)
	return u
}

// schemeEnd gives where the colon behind a scheme stands (RFC 3986 3.1), -1 where there is none.
func schemeEnd(s string) int {
	for i := range len(s) {
		switch c := s[i]; {
		case c == ':' && i > 0:
			return i
		case isLetter(c), i > 0 && ('0' <= c && c <= '9' || c == '+' || c == '-' || c == '.'):
		default:
			return -1
		}
	}
	return -1
}

// readAuthority reads what comes behind the slashes.
func (u *webURL) readAuthority(s string) {
	if n := strings.IndexAny(s, `/\?#`); n >= 0 {
		s, u.rest = s[:n], s[n:]
	}
	user := ""
	if n := strings.LastIndexByte(s, '@'); n >= 0 {
		user, s = s[:n+1], s[n+1:]
	}
	if n := strings.LastIndexByte(s, ':'); n >= 0 && strings.Trim(s[n+1:], "0123456789") == "" {
		s, u.port = s[:n], s[n:]
	}
	if strings.HasPrefix(u.rest, `\`) {
		u.odd |= OddSlashes
		u.rest = "/" + u.rest[1:]
	}
	u.host = u.readHost(s)
	if u.uri != "" && u.odd == 0 && u.host == s && schemeEnd(u.uri) > 0 {
		return // as all read it
	}
	u.uri = u.scheme + "://" + user + u.host + u.port + u.rest
}

// readHost reads the name of a host, or its address in whatever form.
func (u *webURL) readHost(s string) string {
	host := s
	if strings.IndexByte(host, '%') >= 0 {
		if host = unescapeHost(host); host != s {
			u.odd |= EscapedHost
		}
	}
	if !plainASCII([]byte(host)) {
		if plain := toASCII(host); !strings.Contains(plain, "xn--") && plainASCII([]byte(plain)) {
			u.odd |= FoldedHost
			host = plain
		}
	}
	if a, ok := numericHost(host); ok {
		if a != strings.TrimSuffix(host, ".") {
			u.odd |= NumericHost
		}
		host = a
	}
	return host
}

// unescapeHost decodes all escapes of a host's name.
func unescapeHost(s string) string {
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) && digit(s[i+1]) < 16 && digit(s[i+2]) < 16 {
			out = append(out, byte(digit(s[i+1])<<4|digit(s[i+2])))
			i += 2
			continue
		}
		out = append(out, s[i])
	}
	return string(out)
}

// numericHost reads an IPv4 address of one to four numbers, decimal, octal or hexadecimal, the last of which fills what is left
// (WHATWG URL, 3.5).
func numericHost(host string) (addr string, ok bool) {
	host = strings.TrimSuffix(host, ".")
	if host == "" || len(host) > 60 || digit(host[len(host)-1]) == 16 && host[len(host)-1]|0x20 != 'x' {
		return "", false
	}
	numbers := strings.Split(host, ".")
	if len(numbers) > 4 {
		return "", false
	}
	var value uint64
	for i, s := range numbers {
		n, ok := hostNumber(s)
		if !ok {
			return "", false
		}
		bits := uint(8)
		if i == len(numbers)-1 {
			bits = uint(8 * (5 - len(numbers)))
		}
		if n>>bits != 0 {
			return "", false
		}
		value = value<<bits | n
	}
	return dotted(value), true
}

// hostNumber reads one number of an address.
func hostNumber(s string) (n uint64, ok bool) {
	base := rune(10)
	switch {
	case s == "":
		return 0, false
	case len(s) >= 2 && s[0] == '0' && s[1]|0x20 == 'x':
		s, base = s[2:], 16
	case len(s) >= 2 && s[0] == '0':
		s, base = s[1:], 8
	}
	for i := range len(s) {
		d := digit(s[i])
		if d >= base {
			return 0, false
		}
		if n = n*uint64(base) + uint64(d); n > 1<<33 {
			n = 1 << 33
		}
	}
	return n, true
}
