package text

import (
	"bytes"
	"html"
	"unicode/utf8"

	"golang.org/x/text/encoding/charmap"
)

// longestReference is at least the length of the longest name of a character (WHATWG HTML, 13.5).
const longestReference = 40

// appendReferences appends s with its character references decoded as browsers decode them (WHATWG HTML, 13.2.5.72). In the
// value of an attribute a name without a semicolon is none where a letter, a digit or "=" comes behind it.
func appendReferences(dst, s []byte, attribute bool) []byte {
	for {
		n := bytes.IndexByte(s, '&')
		if n < 0 {
			return append(dst, s...)
		}
		dst, s = append(dst, s[:n]...), s[n:]
		if len(s) > 1 && s[1] == '#' {
			dst, n = appendNumeric(dst, s)
		} else {
			dst, n = appendNamed(dst, s, attribute)
		}
		s = s[n:]
	}
}

// appendNumeric decodes "&#65;" or "&#x41;", and gives how much it has read.
func appendNumeric(dst, s []byte) ([]byte, int) {
	i, base := 2, rune(10)
	if i < len(s) && s[i]|0x20 == 'x' {
		i, base = 3, 16
	}
	from, r := i, rune(0)
	for ; i < len(s) && digit(s[i]) < base; i++ {
		r = min(r*base+digit(s[i]), utf8.MaxRune+1)
	}
	if i == from {
		return append(dst, '&', '#'), 2
	}
	if i < len(s) && s[i] == ';' {
		i++
	}
	switch {
	case r == 0 || r > utf8.MaxRune || r >= 0xd800 && r <= 0xdfff:
		r = utf8.RuneError
	case r >= 0x80 && r < 0xa0:
		if c := charmap.Windows1252.DecodeByte(byte(r)); c != utf8.RuneError {
			r = c
		}
	}
	return utf8.AppendRune(dst, r), i
}

// appendNamed decodes "&amp;" and the like, and gives how much it has read.
func appendNamed(dst, s []byte, attribute bool) ([]byte, int) {
	end := 1
	for end < len(s) && end < longestReference && isAlnum(s[end]) {
		end++
	}
	closed := end < len(s) && s[end] == ';'
	if end == 1 || attribute && !closed && end < len(s) && s[end] == '=' {
		return append(dst, s[:end]...), end
	}
	if closed {
		end++
		switch string(s[:end]) {
		case "&amp;":
			return append(dst, '&'), end
		case "&nbsp;":
			return append(dst, "\u00a0"...), end
		}
	}
	out := html.UnescapeString(string(s[:end]))
	if last := out[len(out)-1]; attribute && (!closed && isAlnum(last) || closed && last == ';' && string(s[:end]) != "&semi;") {
		return append(dst, s[:end]...), end // no more than the beginning of it is a name
	}
	return append(dst, out...), end
}
