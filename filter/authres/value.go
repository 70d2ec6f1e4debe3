package authres

import (
	"net/netip"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/postern-mail/postern/mail"
)

// What senders choose stands in our Authentication-Results field: names, addresses, octets of signatures, pieces of
// their records within the reasons. The grammar has quoted strings for that; many a reader has not, and looks for
// "dkim=pass" wherever it stands. So a value is written only where it is of the kind that it claims to be: a name, an
// address, a mailbox of plain words. What is none is left out, rather than changed into what nobody sent, and the
// reasons are stripped of what could be taken for syntax.

// maxValue bounds one value, in octets: a mailbox has 320 at most. A longer one is left out, as a piece of a name is
// another name.
const maxValue = 400

// nameValue gives a domain name or selector as A-labels, "" for what is none. RFC 8616 3: A-labels are right in every
// message, U-labels in an internationalized one only.
func nameValue(s string) string {
	d, err := mail.Domain(s)
	switch {
	case err != nil:
		return ""
	case strings.EqualFold(d, s):
		return s
	}
	return d
}

// hostValue gives a domain name or an address literal.
func hostValue(s string) string {
	if !strings.HasPrefix(s, "[") {
		return nameValue(s)
	}
	a, err := mail.ParseAddress("x@" + s)
	if err != nil || strings.ContainsAny(a.Domain(), "\"\\;() =") {
		return ""
	}
	return a.Domain()
}

// mailboxValue gives a mailbox whose local part is of plain words, and the domain alone where it is a quoted string,
// holds what a careless reader takes for a result that passes, or has octets that the message's header has no place for:
// RFC 8601 2.2 has the local part of an internationalized message as RFC 6531 has it, and leaves it to us what we reveal.
func mailboxValue(s string, internationalized bool) string {
	at := strings.LastIndexByte(s, '@')
	local, domain := s[:max(at, 0)], hostValue(s[at+1:])
	if domain == "" || at < 0 {
		return domain
	}
	whole := local + "@" + domain
	switch {
	case len(whole) > maxValue, strings.Contains(mail.LowerASCII(local), "=pass"):
		return domain
	case local == "", isDotString(local, internationalized):
		return whole
	}
	return domain
}

// isDotString reports whether s is a Dot-string of RFC 5321 4.1.2, or of RFC 6531 3.3 where the message is
// internationalized; of that, only what can be seen.
func isDotString(s string, internationalized bool) bool {
	if s == "" || s[0] == '.' || s[len(s)-1] == '.' || strings.Contains(s, "..") || !utf8.ValidString(s) {
		return false
	}
	return !strings.ContainsFunc(s, func(r rune) bool {
		switch {
		case r >= utf8.RuneSelf: // RFC 6531 3.3
			return !internationalized || !unicode.IsPrint(r) || r == utf8.RuneError
		case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9':
			return false
		}
		return !strings.ContainsRune("!#$%&'*+-/=?^_`{|}~.", r) // RFC 5322 3.2.3: atext
	})
}

// wordValue gives an algorithm's name.
func wordValue(s string) string {
	if len(s) > 40 || !isToken(s) {
		return ""
	}
	return s
}

// base64Value gives the beginning of a signature.
func base64Value(s string) string {
	const digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	if len(s) > 40 || strings.Trim(strings.TrimRight(s, "="), digits) != "" {
		return ""
	}
	return s
}

// addrValue gives an IP address.
func addrValue(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.Unmap().WithZone("").String()
}

// reasonWords gives the words of a reason, as far as they may stand in a quoted string that also a careless reader
// takes for text: printable ASCII without quotes, backslashes, parentheses, semicolons and equals signs.
func reasonWords(s string) []string {
	n := 0
	return strings.Fields(strings.Map(func(r rune) rune {
		if n++; n > maxReason {
			return -1
		}
		switch r {
		case ' ', '\t', '\r', '\n':
			return ' '
		case '"':
			return '\''
		case '(':
			return '['
		case ')':
			return ']'
		case ';':
			return ','
		case '=':
			return ':'
		}
		if r < ' ' || r > '~' || r == '\\' {
			return '?'
		}
		return r
	}, s))
}

// quotedValue writes a value of RFC 8601 2.2: a token as it is; a mailbox, too, whose local part is a dot-atom, be it of
// octets that no token may have, for an address must not be within quotes; anything else as a quoted string.
func quotedValue(s string) string {
	at := strings.LastIndexByte(s, '@')
	if isToken(s) || at >= 0 && isToken(s[at+1:]) && (at == 0 || isDotString(s[:at], true)) {
		return s
	}
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r < ' ' || r == 0x7f || r == utf8.RuneError:
			b.WriteByte('?')
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// isToken reports whether s is a token of RFC 2045 5.1, which also is what a dot-atom may hold and a
// reader of Authentication-Results takes without quotes.
func isToken(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return r <= ' ' || r > '~' || strings.ContainsRune(`()<>@,;:\"/[]?=`, r)
	})
}
