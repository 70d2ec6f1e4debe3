package eval

import (
	"strings"
	"unicode"

	"github.com/postern-mail/postern/filter/auth"
)

// leastKey is how many bits a key has to have that proves something (RFC 8301 3.2).
const leastKey = 1024

// sentBy reports whether it is known that an organisation sent the message, or let it pass: its reverse-path passes SPF, a signature of
// its verifies, or the client is a host of its. What stands in the message proves nothing.
func (m *Mail) sentBy(org string) bool {
	if m.In == nil {
		return false
	}
	if r, ok := m.spf(false); ok && r.Result == auth.Pass && !r.Everybody() && orgOf(r.Domain) == org {
		return true
	}
	if name := m.Text.Options().Client.Name; isServerOf(name, org) {
		return true
	}
	all := m.signatures()
	for i := range all {
		if r := &all[i]; relied(r, leastKey) && !r.Limited && orgOf(r.Domain) == org {
			return true
		}
	}
	return false
}

// mostDigits is how many digits the name of a server has at most. Those of a provider's customers are made of their addresses.
const mostDigits = 3

// isServerOf reports whether a name of a client, which its address confirms, is that of an organisation's own server: the
// organisation's name, or one word before it.
func isServerOf(name, org string) bool {
	word, ok := strings.CutSuffix(strings.TrimSuffix(strings.ToLower(name), "."), org)
	word, dot := strings.CutSuffix(word, ".")
	digits := 0
	for _, r := range word {
		if unicode.IsDigit(r) {
			digits++
		}
	}
	return ok && org != "" && dot == (word != "") && !strings.Contains(word, ".") && digits <= mostDigits
}
