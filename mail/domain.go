package mail

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

// lookup turns U-labels into A-labels as one does to look a name up (UTS 46, RFC 5891 5). What it lets
// through beyond that is judged by checkName.
var lookup = idna.New(idna.MapForLookup(), idna.BidiRule(), idna.Transitional(false), idna.CheckHyphens(false),
	idna.StrictDomainName(false))

// Domain gives a domain name in the form in which names are compared: lower case, A-labels, without the
// dot at its end. It allows what is in use beyond RFC 5321 4.1.2, which is "_" anywhere, and hyphens at the
// ends of a label. Address literals are no names.
func Domain(s string) (string, error) {
	if len(s) > 4*maxDomain { // as UTF-8 a name may be longer than its A-labels
		return "", errors.New("mail: domain: name is too long")
	}
	if !isASCII(s) {
		if !utf8.ValidString(s) {
			return "", errors.New("mail: domain: malformed UTF-8")
		}
		a, err := lookup.ToASCII(s)
		if err != nil {
			return "", fmt.Errorf("mail: domain: %w", err)
		}
		s = a
	}
	s = LowerASCII(strings.TrimSuffix(s, "."))
	if err := checkName(s); err != nil {
		return "", err
	}
	return s, nil
}

// Within reports whether domain is base or lies below it; both are in the form of Domain. No domain is within "".
func Within(domain, base string) bool {
	above, ok := strings.CutSuffix(domain, base)
	return ok && base != "" && (above == "" || strings.HasSuffix(above, "."))
}

var errLabel = errors.New("mail: domain: label is empty or too long")

// checkName checks a name in lower case US-ASCII.
func checkName(s string) error {
	if len(s) > maxDomain {
		return errors.New("mail: domain: name is too long")
	}
	start := 0 // of the label
	for i := 0; i <= len(s); i++ {
		if i == len(s) || s[i] == '.' {
			// RFC 1035 2.3.4: 63 octets or less.
			if i == start || i-start > 63 {
				return errLabel
			}
			start = i + 1
		} else if c := s[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' {
			return fmt.Errorf("mail: domain: %+q in a label", rune(c))
		}
	}
	return nil
}

// parseDomain reads a Domain or an address-literal (RFC 5321 4.1.2, 4.1.3).
func parseDomain(s string) (string, error) {
	if !strings.HasPrefix(s, "[") {
		return Domain(s)
	}
	inner, ok := strings.CutSuffix(s[1:], "]")
	const tag = "IPv6:"
	six := len(inner) > len(tag) && strings.EqualFold(inner[:len(tag)], tag)
	if six {
		inner = inner[len(tag):]
	}
	ip, err := netip.ParseAddr(inner)
	if !ok || err != nil || ip.Is4() == six || ip.Zone() != "" {
		return "", errors.New("mail: domain: malformed address literal")
	}
	if six {
		return "[" + tag + ip.String() + "]", nil
	}
	return "[" + ip.String() + "]", nil
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}
