package pdf

import (
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// docEncoding are the characters of PDFDocEncoding that Latin-1 has not (ISO 32000-1 annex D.2).
var docEncoding = func() (t [256]rune) {
	for i := range t {
		t[i] = rune(i)
	}
	copy(t[0x18:], []rune("\u02d8\u02c7\u02c6\u02d9\u02dd\u02db\u02da\u02dc"))
	copy(t[0x80:], []rune("\u2022\u2020\u2021\u2026\u2014\u2013\u0192\u2044\u2039\u203a\u2212\u2030\u201e\u201c\u201d\u2018"+
		"\u2019\u201a\u2122\ufb01\ufb02\u0141\u0152\u0160\u0178\u017d\u0131\u0142\u0153\u0161\u017e\ufffd\u20ac"))
	return t
}()

// textString decodes a text string (ISO 32000-2 7.9.2.2).
func textString(s string) string { return textStrings(s)[0] }

// textStrings gives every text that some reader takes for a string; there is at least one.
func textStrings(s string) []string {
	switch {
	case strings.HasPrefix(s, "\xfe\xff"):
		return []string{fromUTF16(s[2:], 0)}
	case strings.HasPrefix(s, "\xff\xfe"):
		return []string{fromUTF16(s[2:], 1)}
	case strings.HasPrefix(s, "\xef\xbb\xbf"):
		return []string{strings.ToValidUTF8(s[3:], "\ufffd")}
	}
	var b strings.Builder
	for i := range len(s) {
		b.WriteRune(docEncoding[s[i]])
	}
	latin := b.String()
	if latin != s && utf8.ValidString(s) {
		return []string{s, latin}
	}
	return []string{latin}
}

// fromUTF16 decodes UTF-16, with the low octet first where low is 1; language codes between escapes are left out.
func fromUTF16(s string, low int) string {
	units := make([]uint16, 0, len(s)/2)
	escaped := false
	for i := 0; i+1 < len(s); i += 2 {
		u := uint16(s[i+low])<<8 | uint16(s[i+1-low])
		switch {
		case u == 0x1b:
			escaped = !escaped
		case !escaped:
			units = append(units, u)
		}
	}
	return string(utf16.Decode(units))
}

// quote gives a text of the file for people, quoted and not too long.
func quote(s string) string {
	const most = 100
	if utf8.RuneCountInString(s) > most {
		s = string([]rune(s)[:most]) + "…"
	}
	return strconv.Quote(s)
}
