package eval

import (
	"regexp"
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
	named := isServerOf(m.Text.Options().Client.Name, org)
	if r, ok := m.spf(false); ok && orgOf(r.Domain) == org {
		if r.Result == auth.Pass && !r.Everybody() {
			return true
		}
		named = named && r.Result == auth.None // who says which servers are his means no other
	}
	if r, ok := auth.DMARC.From(m.In); ok && r.Result == auth.Fail && orgOf(r.From) == org {
		named = false
	}
	if named {
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

// customers are in names of the machines that a provider's customers have.
var customers = regexp.MustCompile(`(?:^|[-_0-9])(?:vps|vds|vm|srv|server|host|node|a?dsl|ppp|ip|dyn|dynamic|pool|static|client|customer|cust|user|dedi|cloud|root)s?[-_]?[0-9]`)

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
	return ok && org != "" && dot == (word != "") && !strings.Contains(word, ".") && digits <= mostDigits && !customers.MatchString(word)
}
