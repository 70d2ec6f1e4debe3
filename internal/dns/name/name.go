// Package name turns domain names between plain text, which is raw octets with dots between the labels, and
// the escaped text of miekg/dns, which can hold every name that the wire can. It asks nobody.
package name

import "strings"

// Limits of names on the wire (RFC 1035 2.3.4).
const (
	maxLabel = 63
	maxName  = 253 // of the plain text without its final dot; 255 octets on the wire
)

// Canonical gives a plain name in lower case and without its final dot; that of the root is "". It reports
// false for what is no name that the wire could carry: an empty label, a label of more than 63 octets, a name
// of more than 255, and "".
func Canonical(plain string) (string, bool) {
	if plain == "." {
		return "", true
	}
	plain = strings.TrimSuffix(plain, ".")
	if plain == "" || len(plain) > maxName {
		return "", false
	}
	label, upper := 0, false
	for i := range len(plain) {
		switch c := plain[i]; {
		case c != '.':
			label++
			upper = upper || 'A' <= c && c <= 'Z'
			if label > maxLabel {
				return "", false
			}
		case label == 0:
			return "", false
		default:
			label = 0
		}
	}
	if label == 0 {
		return "", false
	}
	if upper {
		return lower(plain), true
	}
	return plain, true
}

// lower changes ASCII letters only: other octets are no letters to the DNS (RFC 4343 2).
func lower(s string) string {
	b := []byte(s)
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}

// Escape gives the escaped text of a plain name, with its final dot. Two names are one if and only if these
// texts are the same but for the case of letters.
func Escape(plain string) string {
	plain = strings.TrimSuffix(plain, ".")
	if plain == "" {
		return "."
	}
	b := make([]byte, 0, len(plain)+1)
	for i := range len(plain) {
		switch c := plain[i]; {
		case c == '.':
			b = append(b, c)
		case c < ' ' || c > '~':
			b = append(b, '\\', '0'+c/100, '0'+c/10%10, '0'+c%10)
		case strings.IndexByte(` '@;()"\`, c) >= 0: // those that miekg/dns escapes
			b = append(b, '\\', c)
		default:
			b = append(b, c)
		}
	}
	return string(append(b, '.'))
}

// Plain gives the plain name of an escaped text. It reports false where the name has no plain text, since a
// dot is part of a label.
func Plain(escaped string) (string, bool) {
	if strings.IndexByte(escaped, '\\') < 0 {
		return escaped, true
	}
	if strings.Contains(strings.ReplaceAll(escaped, `\\`, ""), `\.`) {
		return "", false
	}
	plain := Octets(escaped)
	return plain, strings.Count(plain, ".") == strings.Count(escaped, ".")
}

// Octets undoes the escapes of a text of miekg/dns, be it a name or a character-string.
func Octets(escaped string) string {
	if strings.IndexByte(escaped, '\\') < 0 {
		return escaped
	}
	b := make([]byte, 0, len(escaped))
	for i := 0; i < len(escaped); i++ {
		c := escaped[i]
		if c == '\\' && i+1 < len(escaped) {
			i++
			c = escaped[i]
			if i+2 < len(escaped) && digit(c) && digit(escaped[i+1]) && digit(escaped[i+2]) {
				c = (c-'0')*100 + (escaped[i+1]-'0')*10 + escaped[i+2] - '0'
				i += 2
			}
		}
		b = append(b, c)
	}
	return string(b)
}

func digit(c byte) bool { return '0' <= c && c <= '9' }
