package dsn

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// newBoundary makes a boundary that stands in none of the parts. No writer of a message knows it before.
func newBoundary(parts []part) string {
	for {
		b := "=_" + rand.Text()
		if !slices.ContainsFunc(parts, func(p part) bool { return bytes.Contains(p.body, []byte(b)) }) {
			return b
		}
	}
}

func isASCII[T string | []byte](s T) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

// isAtom reports whether s is an atom (RFC 5322 3.2.3).
func isAtom(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return r <= ' ' || r >= 0x7f || strings.ContainsRune(`()<>[]:;@\,."`, r)
	})
}

// isDotAtom reports whether s is a dot-atom of some length (RFC 5322 3.2.3).
func isDotAtom(s string) bool {
	for atom := range strings.SplitSeq(s, ".") {
		if !isAtom(atom) {
			return false
		}
	}
	return len(s) <= maxName
}

// clean makes words of a stranger one line of valid UTF-8 without control characters, of at most limit octets.
func clean(s string, limit int) string {
	cut := len(s) > limit
	if cut {
		s = s[:limit]
		for i := 1; i <= utf8.UTFMax && i <= len(s); i++ { // a character that was cut goes
			if c := s[len(s)-i:]; utf8.RuneStart(c[0]) {
				if !utf8.FullRuneInString(c) {
					s = s[:len(s)-i]
				}
				break
			}
		}
	}
	s = strings.Map(func(r rune) rune {
		switch {
		case r == utf8.RuneError, '\u202a' <= r && r <= '\u202e', '\u2066' <= r && r <= '\u2069':
			return '?' // no text at all, or one that turns the direction of ours
		case unicode.IsControl(r), unicode.IsSpace(r):
			return ' '
		}
		return r
	}, s)
	s = strings.Join(strings.Fields(s), " ")
	if cut {
		s += " ..."
	}
	return s
}

// asciiOnly puts a question mark in the place of what is not ASCII.
func asciiOnly(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= utf8.RuneSelf {
			return '?'
		}
		return r
	}, s)
}

// decodeXtext decodes xtext (RFC 3461 4); what is none stays as it is.
func decodeXtext(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '+' && i+2 < len(s) {
			if c, err := strconv.ParseUint(s[i+1:i+3], 16, 8); err == nil {
				b.WriteByte(byte(c))
				i += 2
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// decodeUnitext takes the "\x{...}" out of an address (RFC 6533 3). RFC 6533 3: what does not conform stays as it is.
func decodeUnitext(s string) string {
	var b strings.Builder
	for s != "" {
		before, rest, ok := strings.Cut(s, `\x{`)
		b.WriteString(before)
		if !ok {
			break
		}
		hex, after, ok := strings.Cut(rest[:min(len(rest), 7)], "}")
		n, err := strconv.ParseUint(hex, 16, 32)
		if !ok || err != nil || !utf8.ValidRune(rune(n)) {
			b.WriteString(`\x{`)
			s = rest
			continue
		}
		b.WriteRune(rune(n))
		s = after + rest[min(len(rest), 7):]
	}
	return b.String()
}

// encodeUnitext writes an address as utf-8-addr-xtext (RFC 6533 3): what is not ASCII, and what xtext would encode, as
// "\x{...}". One that is encoded already stays as it is.
func encodeUnitext(s string) string {
	var b strings.Builder
	for i, r := range s {
		switch {
		case r == '\\' && strings.HasPrefix(s[i:], `\x{`):
			b.WriteByte('\\')
		case r <= ' ', r == 0x7f, r == '\\', r == '+', r == '=', r >= utf8.RuneSelf:
			fmt.Fprintf(&b, `\x{%02X}`, r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// quotedPrintable encodes octets in lines of text (RFC 2045 6.7). A CR or LF that ends no line is encoded, as is all that
// programs on the way have mangled: a blank at the end of a line, and "From " at its start.
func quotedPrintable(octets []byte) []byte {
	out := make([]byte, 0, len(octets)+len(octets)/16)
	for len(octets) > 0 {
		line, rest, ended := bytes.Cut(octets, []byte("\r\n"))
		width := 0
		for i, c := range line {
			plain := ' ' <= c && c <= '~' && c != '=' || c == '\t'
			if (c == ' ' || c == '\t') && i == len(line)-1 || c == 'F' && i == 0 && bytes.HasPrefix(line, []byte("From ")) {
				plain = false
			}
			n := 1
			if !plain {
				n = 3
			}
			// RFC 2045 6.7 (5): at most 76, with the "=" of a soft line break.
			if width+n > 75 {
				out = append(out, "=\r\n"...)
				width = 0
			}
			if width += n; plain {
				out = append(out, c)
			} else {
				out = fmt.Appendf(out, "=%02X", c)
			}
		}
		if ended {
			out = append(out, "\r\n"...)
		}
		octets = rest
	}
	return out
}

// isPlain reports whether octets are lines that go as they are (RFC 5321 4.5.3.1.6, RFC 2045 2.7): of at most 998 octets,
// without NULs or bare CRs and LFs, and of ASCII unless eight is set.
func isPlain(octets []byte, eight bool) bool {
	if !eight && !isASCII(octets) || bytes.IndexByte(octets, 0) >= 0 {
		return false
	}
	for len(octets) > 0 {
		line, rest, _ := bytes.Cut(octets, []byte("\r\n"))
		if len(line) > 998 || bytes.ContainsAny(line, "\r\n") {
			return false
		}
		octets = rest
	}
	return true
}
