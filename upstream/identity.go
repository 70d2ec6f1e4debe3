package upstream

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/postern-mail/postern/mail"
)

// Identity says how a pool tells its servers who the client of a message is.
type Identity uint8

const (
	IdentityNone     Identity = iota // not at all: the client is this gateway
	IdentityXForward                 // by XFORWARD before each MAIL, for the server's log
	IdentityXClient                  // by XCLIENT before the MAIL of a client whom the connection does not know
	IdentityProxy                    // by a PROXY header (version 2) before anything else, on a connection for one message
)

var identityNames = [...]string{"none", "xforward", "xclient", "proxy"}

// String gives the name of i as it stands in the configuration.
func (i Identity) String() string {
	if int(i) < len(identityNames) {
		return identityNames[i]
	}
	return fmt.Sprintf("identity(%d)", uint8(i))
}

// ParseIdentity reads the name of an Identity; "" is the default, none.
func ParseIdentity(s string) (Identity, error) {
	if s == "" {
		return IdentityNone, nil
	}
	for i, name := range identityNames {
		if s == name {
			return Identity(i), nil
		}
	}
	return 0, fmt.Errorf("upstream: identity %q: %s", s, strings.Join(identityNames[:], ", "))
}

// errIdentity marks a server that can't be told who the client is.
var errIdentity = errors.New("the client's identity can't be told")

// attributes are those of XFORWARD or XCLIENT that a server knows, as a set: bit i stands for attributeNames[i] or xclientNames[i].
type attributes uint16

// attributeNames are those of XFORWARD, in the order in which they are said.
var attributeNames = [...]string{"NAME", "ADDR", "PORT", "PROTO", "HELO", "SOURCE", "IDENT"}

// parseAttributes reads what follows the keyword XFORWARD or XCLIENT.
func parseAttributes(value string, names []string) (set attributes) {
	for name := range strings.FieldsSeq(value) {
		for i, known := range names {
			if strings.EqualFold(name, known) {
				set |= 1 << i
			}
		}
	}
	return set
}

const (
	// maxAttribute is how long a value may be, encoded: Postfix takes 255 octets.
	maxAttribute = 255
	unavailable  = "[UNAVAILABLE]"
)

// appendXForward appends XFORWARD commands with the attributes of the set, and gives their number. All are said, those
// that are not known as such: none may be left from another transaction. c may be nil. A server refuses none of what is
// said, whatever the client calls itself: a refusal stands for a fault of ours.
func appendXForward(buf []byte, set attributes, c *mail.Client, id string) ([]byte, int) {
	values := [len(attributeNames)]string{unavailable, unavailable, unavailable, unavailable, unavailable, "REMOTE", xtext(id)}
	if c != nil {
		if isHostName(c.Name) {
			values[0] = c.Name
		}
		if c.Addr.IsValid() {
			values[1], values[2] = attributeAddr(c.Addr.Addr()), strconv.Itoa(int(c.Addr.Port()))
		}
		if c.Helo != "" {
			values[3], values[4] = "SMTP", xtext(c.Helo)
			if c.ESMTP {
				values[3] = "ESMTP"
			}
		}
	}
	return appendAttributes(buf, "XFORWARD", attributeNames[:], values[:], set, len(values))
}

// appendAttributes appends commands of the verb with the attributes of the set, and gives their number. Those from the number
// together on are in one, whatever their length.
func appendAttributes(buf []byte, verb string, names, values []string, set attributes, together int) ([]byte, int) {
	word := func(i int) int { return len(" ") + len(names[i]) + len("=") + len(values[i]) }
	commands, start := 0, 0
	for i, name := range names {
		if set&(1<<i) == 0 {
			continue
		}
		length := word(i)
		if i >= together {
			together = len(names)
			for j := i + 1; j < len(names); j++ {
				if set&(1<<j) != 0 {
					length += word(j)
				}
			}
		}
		if commands == 0 || len(buf)-start+length > maxCommand {
			if commands > 0 {
				buf = append(buf, "\r\n"...)
			}
			start = len(buf)
			buf = append(buf, verb...)
			commands++
		}
		buf = append(append(append(append(buf, ' '), name...), '='), values[i]...)
	}
	if commands > 0 {
		buf = append(buf, "\r\n"...)
	}
	return buf, commands
}

// attributeAddr writes an address as Postfix reads it.
func attributeAddr(a netip.Addr) string {
	a = a.Unmap().WithZone("")
	if a.Is6() {
		return "IPV6:" + a.String()
	}
	return a.String()
}

// xtext encodes s (RFC 3461 4). What is too long then, has control characters or is nothing becomes [UNAVAILABLE].
func xtext(s string) string {
	const digits = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(s) {
		switch c := s[i]; {
		case c < ' ' || c == 0x7f:
			return unavailable
		case c == '+' || c == '=' || c == ' ' || c >= 0x80:
			b.WriteByte('+')
			b.WriteByte(digits[c>>4])
			b.WriteByte(digits[c&15])
		default:
			b.WriteByte(c)
		}
		if b.Len() > maxAttribute {
			return unavailable
		}
	}
	if b.Len() == 0 {
		return unavailable
	}
	return b.String()
}

// isHostName reports whether a server will take s for the name of a host: DNS has stranger ones.
func isHostName(s string) bool {
	s = strings.TrimSuffix(s, ".")
	if s == "" || len(s) > maxAttribute || strings.Trim(s, "0123456789.") == "" {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for i := range len(label) {
			if c := label[i] | 0x20; !isDigit(label[i]) && (c < 'a' || c > 'z') && label[i] != '-' && label[i] != '_' {
				return false
			}
		}
	}
	return true
}

// introduce tells a server without PIPELINING who the client is, before MAIL.
func (t *transaction) introduce() bool {
	commands, n := appendXForward(nil, t.c.tells, t.env.Client, t.env.ID)
	for line := range strings.SplitSeq(string(commands[:max(len(commands)-len("\r\n"), 0)]), "\r\n") {
		if n == 0 {
			break
		}
		r, err := t.c.ask(line)
		if err != nil || t.c.broken {
			return t.fail(StageIdentity, r, err)
		}
		if !r.Positive() {
			return t.untold(r)
		}
	}
	return true
}

// untold says what a refused XFORWARD means: the server is not ready for us.
func (t *transaction) untold(r mail.Reply) bool {
	if !r.Temporary() && !r.Permanent() {
		return t.fail(StageIdentity, r, nil)
	}
	return t.end(OurFault, StageIdentity, r, nil)
}
