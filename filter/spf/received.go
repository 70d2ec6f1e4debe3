package spf

import (
	"net/netip"
	"strings"

	"github.com/postern-mail/postern/filter/auth"
)

// received writes the body of a Received-SPF field (RFC 7208 9.1), each part on a line of its own. Values are
// quoted and without controls, so that none can end its field or begin another.
func (c *check) received(r auth.SPFResult, client netip.Addr, helo, envelope string) string {
	mechanism := strings.TrimLeft(r.Mechanism, "+-~?")
	if mechanism == "" {
		mechanism = "default"
	}
	pairs := []struct{ key, value string }{
		{"client-ip", client.String()},
		{"envelope-from", envelope},
		{"helo", helo},
		{"receiver", c.host},
		{"identity", r.Identity},
		{"mechanism", mechanism},
	}
	if r.Result == auth.TempError || r.Result == auth.PermError {
		pairs[len(pairs)-1] = struct{ key, value string }{"problem", r.Reason}
	}
	var b strings.Builder
	b.WriteString(string(r.Result) + " (" + comment(c.host+": "+r.Reason) + ")")
	for i, p := range pairs {
		b.WriteString("\r\n\t" + p.key + "=" + dotAtomOrQuoted(p.value))
		if i < len(pairs)-1 {
			b.WriteByte(';')
		}
	}
	return b.String()
}

// valueLimit bounds a value, in octets, so that with every octet escaped a line keeps to the 998 of RFC 5322 2.1.1.
const valueLimit = 400

// comment gives what may stand in a comment (RFC 5322 3.2.2): nothing that ends or nests it.
func comment(s string) string {
	return strings.NewReplacer("(", "[", ")", "]", `\`, "?").Replace(printable(clipTo(s, valueLimit)))
}

// dotAtomOrQuoted writes a value as a dot-atom (RFC 5322 3.2.3) where it is one, and else as a quoted string.
func dotAtomOrQuoted(s string) string {
	s = printable(clipTo(s, valueLimit))
	if isDotAtom(s) {
		return s
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}

func isDotAtom(s string) bool {
	for atom := range strings.SplitSeq(s, ".") {
		if atom == "" {
			return false
		}
		for i := range len(atom) {
			if c := atom[i]; !isAlpha(c) && !isDigit(c) && strings.IndexByte("!#$%&'*+-/=?^_`{|}~", c) < 0 {
				return false
			}
		}
	}
	return true
}
