package text

import (
	"unicode/utf8"

	"github.com/postern-mail/postern/mail/charset"
)

// decodeOctets makes UTF-8 of octets in a charset. Where the charset was only supposed, octets that are UTF-8 are left alone;
// declared, it is believed as far as it is known. What can't be read is read as Windows-1252.
func decodeOctets(octets []byte, name string, declared bool) []byte {
	if !declared && isStrictUTF8(octets) {
		return octets
	}
	switch low := lowerText(name); low {
	case "iso-8859-1", "iso8859-1", "windows-1252", "cp1252", "latin1":
		return fromWindows1252(octets)
	case "utf-8", "utf8":
		if declared {
			return validUTF8(octets)
		}
	case "us-ascii", "ascii":
		if declared {
			return asciiOnly(octets)
		}
	case "utf-16", "utf-16le", "utf-16be", "utf16":
		if _, ok := decodeUTF16(octets); ok {
			return octets // SpamAssassin sees that it could be decoded, and leaves it
		}
	default:
		if c := charset.Of(low); c.Clear() || len(c.Conversions()) > 0 {
			return []byte(c.Decode(string(octets)))
		}
	}
	if plainASCII(octets) {
		return octets
	}
	return fromWindows1252(octets)
}

// asciiOnly puts U+FFFD in place of what is not ASCII.
func asciiOnly(octets []byte) []byte {
	if plainASCII(octets) {
		return octets
	}
	out := make([]byte, 0, len(octets)+16)
	for _, c := range octets {
		if c < utf8.RuneSelf {
			out = append(out, c)
		} else {
			out = utf8.AppendRune(out, utf8.RuneError)
		}
	}
	return out
}

// validUTF8 puts U+FFFD in place of what is no UTF-8: one for each sequence as far as it began well (Unicode 3.9, D93b).
func validUTF8(octets []byte) []byte {
	if utf8.Valid(octets) {
		return octets
	}
	out := make([]byte, 0, len(octets)+16)
	for len(octets) > 0 {
		r, n := utf8.DecodeRune(octets)
		if r == utf8.RuneError && n <= 1 {
			n = begunWell(octets)
		}
		if r == utf8.RuneError {
			out = utf8.AppendRune(out, r)
		} else {
			out = append(out, octets[:n]...)
		}
		octets = octets[n:]
	}
	return out
}

// begunWell gives the length of the longest beginning of b that could begin a character of UTF-8, at least 1.
func begunWell(b []byte) int {
	if b[0] < 0xc2 || b[0] > 0xf4 {
		return 1
	}
	lo, hi, want := byte(0x80), byte(0xbf), 1
	switch c := b[0]; {
	case c >= 0xf0:
		want = 3
		if c == 0xf0 {
			lo = 0x90
		} else if c == 0xf4 {
			hi = 0x8f
		}
	case c >= 0xe0:
		want = 2
		if c == 0xe0 {
			lo = 0xa0
		} else if c == 0xed {
			hi = 0x9f
		}
	}
	n := 1
	for n <= want && n < len(b) && lo <= b[n] && b[n] <= hi {
		lo, hi = 0x80, 0xbf
		n++
	}
	return n
}
