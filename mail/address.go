package mail

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// Limits of RFC 5321 4.5.3.1, in octets. That of 64 for the local part is not kept: bounce addresses that
// carry their recipient's (VERP) exceed it, and the same section asks servers to take more where they can.
const (
	maxDomain = 255
	maxPath   = 256 // with the angle brackets
)

// Address is a mailbox in the form it has on the wire (RFC 5321 4.1.2): a quoted local part stays quoted.
// The domain is in lower case and, where it is a domain name, as A-labels; an address literal keeps its
// brackets. The zero Address is the null reverse-path. Addresses are comparable; two that name the same
// mailbox may differ in the case and the quoting of the local part, see Mailbox.
//
// No Address holds a control character: CR, LF and NUL can't get into a command or a field by way of one.
type Address struct {
	local  string
	domain string // "" only in the zero Address and in the domainless <postmaster>
}

// ParseAddress reads a Mailbox in wire form (RFC 5321 4.1.2, with RFC 6531 3.3: UTF-8 in local part and
// domain), without angle brackets. Only "postmaster" may lack a domain (RFC 5321 4.5.1). Of the limits of RFC
// 5321 4.5.3.1 those hold of 255 octets for the domain, as A-labels, and of 254 for the whole, quotes included;
// the local part has none of its own.
func ParseAddress(s string) (Address, error) {
	n, err := localLength(s)
	if err != nil {
		return Address{}, err
	}
	if n == len(s) {
		return domainless(s)
	}
	if s[n] != '@' {
		return Address{}, fmt.Errorf("mail: address: %q in the local part", s[n:n+1])
	}
	return newAddress(s[:n], s[n+1:])
}

// ParsePath reads a Path (RFC 5321 4.1.2) in its angle brackets; a source route is read and dropped (RFC
// 5321 appendix C). "<>", the null reverse-path, gives the zero Address.
func ParsePath(s string) (Address, error) {
	if len(s) < 2 || s[0] != '<' || s[len(s)-1] != '>' {
		return Address{}, errors.New("mail: address: no angle brackets around the path")
	}
	if len(s) > 4*maxPath {
		return Address{}, errors.New("mail: address: path is too long")
	}
	if s = s[1 : len(s)-1]; s == "" {
		return Address{}, nil
	}
	s, err := dropRoute(s)
	if err != nil {
		return Address{}, err
	}
	return ParseAddress(s)
}

var errRoute = errors.New("mail: address: malformed source route")

// dropRoute cuts off an A-d-l: "@" domain, more of them behind commas, and a colon.
func dropRoute(s string) (string, error) {
	for more := strings.HasPrefix(s, "@"); more; {
		if s == "" || s[0] != '@' {
			return "", errRoute
		}
		end := strings.IndexAny(s, ",:")
		if strings.HasPrefix(s, "@[") { // the literal may hold colons
			if end = strings.IndexByte(s, ']') + 1; end == len(s) {
				return "", errRoute
			}
		}
		if end <= 0 || s[end] != ',' && s[end] != ':' {
			return "", errRoute
		}
		if _, err := parseDomain(s[1:end]); err != nil {
			return "", err
		}
		more = s[end] == ','
		s = s[end+1:]
	}
	return s, nil
}

func domainless(s string) (Address, error) {
	// RFC 5321 4.1.1.3, 4.5.1: <postmaster> without a domain, in any case.
	if !strings.EqualFold(s, "postmaster") || len(s) != len("postmaster") {
		return Address{}, errors.New("mail: address: no domain")
	}
	return Address{local: s}, nil
}

// newAddress puts a valid local part and a domain together.
func newAddress(local, domain string) (Address, error) {
	domain, err := parseDomain(domain)
	if err != nil {
		return Address{}, err
	}
	if len("<@>")+len(local)+len(domain) > maxPath {
		return Address{}, errors.New("mail: address: path is too long")
	}
	return Address{local: local, domain: domain}, nil
}

// localLength finds the end of the Local-part that s begins with.
func localLength(s string) (int, error) {
	if !utf8.ValidString(s) {
		return 0, errors.New("mail: address: malformed UTF-8")
	}
	if strings.HasPrefix(s, `"`) {
		return quotedLength(s)
	}
	n := strings.IndexFunc(s, func(r rune) bool { return r != '.' && !isAtext(r) })
	if n < 0 {
		n = len(s)
	}
	if !isDotString(s[:n]) {
		return 0, errors.New("mail: address: malformed local part")
	}
	return n, nil
}

// quotedLength finds the end of the Quoted-string that s begins with (RFC 5321 4.1.2, RFC 6531 3.3).
func quotedLength(s string) (int, error) {
	escaped := false
	for i, r := range s {
		switch {
		case i == 0:
		case isControl(r), escaped && r >= utf8.RuneSelf: // quoted-pairSMTP = %d92 %d32-126
			return 0, fmt.Errorf("mail: address: %+q in a quoted local part", r)
		case escaped:
			escaped = false
		case r == '\\':
			escaped = true
		case r == '"':
			return i + 1, nil
		}
	}
	return 0, errors.New("mail: address: quoted local part has no end")
}

// isDotString reports whether s is a Dot-string: atoms with single dots between them.
func isDotString(s string) bool {
	last := '.'
	for _, r := range s {
		if r == '.' && last == '.' || r != '.' && !isAtext(r) {
			return false
		}
		last = r
	}
	return last != '.'
}

// isAtext reports whether r may stand in an atom (RFC 5322 3.2.3, RFC 6531 3.3).
func isAtext(r rune) bool {
	switch {
	case r >= utf8.RuneSelf:
		return !isControl(r)
	case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9':
		return true
	}
	return strings.ContainsRune("!#$%&'*+-/=?^_`{|}~", r)
}

// isControl reports whether r is a control character, of US-ASCII or of those that Unicode adds (which
// RFC 6531 does not forbid, but terminals obey).
func isControl(r rune) bool { return r < ' ' || 0x7f <= r && r < 0xa0 }

// Local gives the local part in wire form: quotes are kept.
func (a Address) Local() string { return a.local }

// Domain gives the domain: lower case and A-labels, or an address literal in its brackets.
func (a Address) Domain() string { return a.domain }

// String gives the wire form, without angle brackets; "" for the null reverse-path.
func (a Address) String() string {
	if a.domain == "" {
		return a.local
	}
	return a.local + "@" + a.domain
}

// IsZero reports whether a is the null reverse-path.
func (a Address) IsZero() bool { return a == Address{} }

// Unquoted gives the local part without quotes and backslashes: what it means (RFC 5321 4.1.2).
func (a Address) Unquoted() string {
	if !strings.HasPrefix(a.local, `"`) {
		return a.local
	}
	s := a.local[1 : len(a.local)-1]
	if strings.IndexByte(s, '\\') < 0 {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' {
			i++
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// IsQuoted reports whether the local part needs its quotes: "a b" does, "ab" does not, even if it has some.
func (a Address) IsQuoted() bool {
	return strings.HasPrefix(a.local, `"`) && !isDotString(a.Unquoted())
}

// Mailbox gives the key by which mailboxes are compared: the unquoted local part with A-Z in lower case,
// "@", and the domain; "" for the null reverse-path. RFC 5321 2.4 leaves the case of local parts to the
// domain's own host; hardly any tells them apart. It is not for the wire.
func (a Address) Mailbox() string {
	if a.IsZero() {
		return ""
	}
	return LowerASCII(a.Unquoted()) + "@" + a.domain
}

// IsASCII reports whether a can be sent without SMTPUTF8 (RFC 6531).
func (a Address) IsASCII() bool { return isASCII(a.local) }

// MarshalText gives the wire form.
func (a Address) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (a *Address) UnmarshalText(text []byte) (err error) {
	if *a = (Address{}); len(text) > 0 {
		*a, err = ParseAddress(string(text))
	}
	return err
}
